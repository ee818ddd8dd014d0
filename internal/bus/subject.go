package bus

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// none is the token of a level that is absent or not known.
const none = "_"

// unlocated is the code of the node of matters whose place is not known.
const unlocated = "UNLOCATED"

// slug is the token of an id: the id in small letters, if it is made of A-Z a-z 0-9 _ - and no longer than 64 characters; of any other the beginning of its
// SHA-256, led by "h-". Two ids that differ in more than the case of letters have two slugs. An empty id has the token of what is absent.
func slug(id string) string {
	if id == "" {
		return none
	}
	plain := len(id) <= 64 && id != none && !strings.HasPrefix(strings.ToLower(id), "h-")
	for i := 0; plain && i < len(id); i++ {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			plain = false
		}
	}
	if plain {
		return strings.ToLower(id)
	}
	sum := sha256.Sum256([]byte(id))
	return "h-" + hex.EncodeToString(sum[:8])
}

// snake is the token of an event's type: "ticket_reported".
func snake(typ string) string {
	var b strings.Builder
	for i, c := range []byte(typ) {
		if 'A' <= c && c <= 'Z' {
			if i > 0 {
				b.WriteByte('_')
			}
			c += 'a' - 'A'
		}
		b.WriteByte(c)
	}
	return b.String()
}

// area is a path through the areas as tokens, a level each.
type area [depth]string

var nowhere = area{none, none, none, none, none}

// spell gives the path's tokens. A node of one of the Levels has the token of its level; one of another level the first that is free below the node above it. What
// does not fit below the last has none. Nodes must come from the top down, as they do in events.
func spell(path []*pb.AreaNode) area {
	a, next := nowhere, 0
	for _, n := range path {
		at := max(slices.Index(Levels[:], n.GetLevel()), next)
		if at >= depth {
			break
		}
		if n.GetCode() != unlocated {
			a[at] = slug(n.GetCode())
		}
		next = at + 1
	}
	return a
}

func (a area) String() string { return strings.Join(a[:], ".") }

// id is the token of a stream: of a ticket its id, of any other kind its whole name.
func id(stream string) string { return slug(strings.TrimPrefix(stream, "ticket-")) }

// subject is where an event of a stream goes: where it lies, and who has it.
func subject(a area, unit, stream, typ string) string {
	return strings.Join([]string{eventsRoot, a.String(), slug(unit), id(stream), snake(typ)}, ".")
}
