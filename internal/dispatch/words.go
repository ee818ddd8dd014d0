package dispatch

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/privacy"
	"github.com/chuishao/dispatch/internal/ticket"
)

// Words are what a matter is about, for whoever compares matters: no petitioner stands in them, and they are never to be recorded.
type Words struct {
	Title, Text, Place string
	// Hidden says that the petitioner must not be told of.
	Hidden bool
}

// Words are those of a sealed box of a stream. Erased says that the data subject's key was destroyed; nil: there is no box.
func (d *Dispatcher) Words(ctx context.Context, stream string, box *pb.Sealed) (w *Words, erased bool, err error) {
	p, err := d.unseal(ctx, stream, box)
	if errors.Is(err, privacy.ErrErased) {
		return nil, true, nil
	}
	return WordsOf(p), false, err
}

// TicketWords are those of a ticket as it is now. Erased says that part of what was told can never be read again.
func (d *Dispatcher) TicketWords(ctx context.Context, stream string, s *ticket.State) (w *Words, erased bool, err error) {
	p, erased, err := d.told(ctx, stream, s)
	return WordsOf(p), erased, err
}

// WordsOf are those of particulars, masked as particulars are shown, and without the petitioner's name and address wherever they stand.
// Nil gives nil.
func WordsOf(p *pb.Particulars) *Words {
	if p == nil {
		return nil
	}
	who := p.GetPetitioner()
	clean := func(text string) string {
		for _, known := range called(who) {
			text = strings.ReplaceAll(text, known, " ")
		}
		return unstarred(privacy.MaskText(text))
	}
	return &Words{Title: clean(p.GetTitle()), Text: clean(p.GetText()), Place: unstarred(privacy.MaskAddress(clean(p.GetPlace()))), Hidden: who.GetConfidential()}
}

// unstarred is a masked text without what masking left of a number: its last digits help nobody here, and would tell people apart.
func unstarred(text string) string {
	return strings.Join(strings.FieldsFunc(masked.ReplaceAllString(text, " "), unicode.IsSpace), " ")
}

var masked = regexp.MustCompile(`[0-9A-Za-z*.@_-]*\*[0-9A-Za-z*.@_-]*`)

// called are the ways in which a text may name the petitioner, the longest first.
func called(who *pb.Petitioner) []string {
	var all []string
	for _, known := range []string{who.GetAddress(), who.GetName()} {
		if utf8.RuneCountInString(known) > 1 {
			all = append(all, known)
		}
	}
	if first, size := utf8.DecodeRuneInString(who.GetName()); first > 0x2e7f && size < len(who.GetName()) {
		for _, title := range []string{"先生", "女士", "小姐", "师傅", "老师", "阿姨"} {
			all = append(all, string(first)+title)
		}
	}
	return all
}

// Person is the data subject that a petitioner is known as; empty if nobody is identified or nobody of that identity is known. Nothing
// is recorded.
func (d *Dispatcher) Person(ctx context.Context, p *pb.Petitioner) (subject string, err error) {
	who := identity(p)
	if who == "" {
		return "", nil
	}
	subject, _, err = d.keys.Find(ctx, who)
	return subject, err
}
