package rule

import (
	"fmt"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// Letters are what a text that is recorded in clear may be made of, so that nobody writes a petitioner's name there.
type Letters int

// The kinds of letters.
const (
	UpperCode Letters = iota // A-Z 0-9 _
	LowerWord                // a-z 0-9 - _
	Printable                // printable ASCII
)

func (l Letters) String() string {
	switch l {
	case UpperCode:
		return "A-Z 0-9 _"
	case LowerWord:
		return "a-z 0-9 - _"
	}
	return "printable ASCII characters"
}

func (l Letters) has(c byte) bool {
	digit := c >= '0' && c <= '9' || c == '_'
	switch l {
	case UpperCode:
		return digit || c >= 'A' && c <= 'Z'
	case LowerWord:
		return digit || c == '-' || c >= 'a' && c <= 'z'
	}
	return c >= ' ' && c <= '~'
}

// Word refuses a text with other letters. An empty one is none of its business.
func Word(field, text string, of Letters) error {
	for i := range len(text) {
		if !of.has(text[i]) {
			return Bad(field, BadField, "want only %s", of)
		}
	}
	return nil
}

// PublicWords refuses words for everybody, the reply of a command, that are missing or hold what identifies a person: a telephone or identity
// number, an address of a door, the poster's name. Whether they do is looked up beforehand (Unredacted).
func (a *Asked) PublicWords(reply string) error {
	if reply == "" {
		return Bad("particulars.reply", MissingField, "is required")
	}
	if a.Unredacted {
		return Bad("particulars.reply", NeedsRedaction, "holds what identifies a person: a number, an address or a name")
	}
	return nil
}

// Attachments refuses attachments whose place is not printable ASCII.
func Attachments(list []*pb.Attachment) error {
	for i, a := range list {
		if err := Word(fmt.Sprintf("attachments[%d].uri", i), a.GetUri(), Printable); err != nil {
			return err
		}
	}
	return nil
}
