package registry

import (
	"bytes"
	"fmt"
	"slices"
	"sort"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// State is the registry as its stream tells it: the versions that were published, and the pieces of one that is being
// loaded. It is a value: Evolve leaves the state it is given as it was. The zero value is an empty registry.
type State struct {
	staging  string // the version whose pieces are staged
	staged   []*pb.RegistryPiece
	versions []*Snapshot // by ValidFrom; of equal ones the last published is last
}

// At is the version in force at the instant; nil if there was none yet.
func (s State) At(t time.Time) *Snapshot {
	n := sort.Search(len(s.versions), func(i int) bool { return s.versions[i].validFrom.After(t) })
	if n == 0 {
		return nil
	}
	return s.versions[n-1]
}

// Versions are the published versions in the order in which they take effect.
func (s State) Versions() []*Snapshot { return slices.Clone(s.versions) }

// Published is the published version of a name.
func (s State) Published(version string) (*Snapshot, bool) {
	for _, v := range s.versions {
		if v.version == version {
			return v, true
		}
	}
	return nil, false
}

// Staged says which version is being loaded, and how many of its pieces are there.
func (s State) Staged() (version string, pieces int) { return s.staging, len(s.staged) }

// Decide carries out a command of the registry's stream. Its commands have the form of the events they become:
//
//   - RegistryStaged stages a piece. Pieces come in order. The first replaces whatever was staged and not published, of
//     this version or another, so that a load that broke off is begun anew.
//   - RegistryVersionPublished makes the staged pieces take effect, all at once, at valid_from or when it is not set as it is
//     recorded. Number of pieces and hash must be those of the pieces; counts are filled in, and if given must fit. The
//     content must be without fault.
//
// Who: AUDITOR, SYSTEM.
func Decide(s State, a *rule.Asked, cmd proto.Message) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_AUDITOR, pb.Role_ROLE_SYSTEM); err != nil {
		return nil, err
	}
	switch c := cmd.(type) {
	case *pb.RegistryStaged:
		return s.stage(c)
	case *pb.RegistryVersionPublished:
		return s.publish(a, c)
	}
	return nil, fmt.Errorf("registry: no rule for %T", cmd)
}

func (s State) stage(c *pb.RegistryStaged) ([]proto.Message, error) {
	if err := s.newVersion(c.GetVersion()); err != nil {
		return nil, err
	}
	want := uint32(1)
	if s.staging == c.GetVersion() {
		want = uint32(len(s.staged)) + 1
	}
	switch {
	case c.GetPiece() == 0:
		return nil, rule.Bad("piece", rule.MissingField, "pieces are numbered from 1")
	case c.GetPiece() > MaxPieces:
		return nil, rule.Bad("piece", rule.TooMany, "a version may have %d pieces", MaxPieces)
	case c.GetPiece() != 1 && c.GetPiece() != want:
		return nil, rule.Bad("piece", rule.WrongState, "want piece %d next, or 1 to begin anew, not %d", want, c.GetPiece())
	case c.GetContent() == nil:
		return nil, rule.Bad("content", rule.MissingField, "the piece has no content")
	case proto.Size(c.GetContent()) > MaxPieceBytes:
		return nil, rule.Bad("content", rule.FieldTooLong, "a piece may have %d bytes, not %d", MaxPieceBytes, proto.Size(c.GetContent()))
	}
	if _, err := proto.Marshal(c.GetContent()); err != nil {
		return nil, rule.Bad("content", rule.InvalidUTF8, "has text that is not UTF-8")
	}
	return []proto.Message{&pb.RegistryStaged{Version: c.GetVersion(), Piece: c.GetPiece(), Content: c.GetContent()}}, nil
}

func (s State) publish(a *rule.Asked, c *pb.RegistryVersionPublished) ([]proto.Message, error) {
	if err := s.newVersion(c.GetVersion()); err != nil {
		return nil, err
	}
	from := a.At
	if c.GetValidFrom() != nil {
		if !c.GetValidFrom().IsValid() {
			return nil, rule.Bad("valid_from", rule.TimeOutOfRange, "is not an instant of the years 1 to 9999")
		}
		from = c.GetValidFrom().AsTime()
	}
	from = from.UTC().Truncate(time.Microsecond)
	if s.staging != c.GetVersion() || len(s.staged) == 0 {
		return nil, rule.No(rule.WrongState, "nothing of version %s is staged", c.GetVersion())
	}
	if int(c.GetPieces()) != len(s.staged) {
		return nil, rule.Bad("pieces", rule.WrongState, "%d pieces are staged, not %d", len(s.staged), c.GetPieces())
	}
	hash, err := ContentHash(s.staged)
	if err != nil {
		return nil, rule.Bad("content_hash", rule.InvalidUTF8, "the content has text that is not UTF-8")
	}
	if !bytes.Equal(hash, c.GetContentHash()) {
		return nil, rule.Bad("content_hash", rule.WrongState, "differs from the hash of the staged pieces")
	}
	all := gather(s.staged)
	for _, n := range []struct {
		field string
		said  uint32
		are   int
	}{{"areas", c.GetAreas(), len(all.areas)}, {"units", c.GetUnits(), len(all.units)}, {"categories", c.GetCategories(), len(all.categories)}} {
		if n.said != 0 && int(n.said) != n.are {
			return nil, rule.Bad(n.field, rule.WrongState, "%d are staged, not %d", n.are, n.said)
		}
	}
	if faults := Validate(s.staged, s.At(from), from); len(faults) > 0 {
		f := faults[0]
		return nil, rule.Bad(f.Field, rule.RegistryInvalid, "the content has faults, %d in all; the first is %s: %s", len(faults), f.Kind, f.Message)
	}
	return []proto.Message{&pb.RegistryVersionPublished{
		Version: c.GetVersion(), Pieces: c.GetPieces(), ContentHash: hash,
		Areas: uint32(len(all.areas)), Units: uint32(len(all.units)), Categories: uint32(len(all.categories)),
		ValidFrom: timestamppb.New(from),
	}}, nil
}

// newVersion refuses a version's name that is malformed or taken.
func (s State) newVersion(version string) error {
	if version == "" {
		return rule.Bad("version", rule.MissingField, "the version has no name")
	}
	for i := 0; i < len(version); i++ {
		switch c := version[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return rule.Bad("version", rule.InvalidName, "want only A-Z a-z 0-9 - _ .")
		}
	}
	if len(version) > 64 {
		return rule.Bad("version", rule.FieldTooLong, "want at most 64 characters")
	}
	if _, taken := s.Published(version); taken {
		return rule.Bad("version", rule.AlreadyExists, "version %s was published before", version)
	}
	return nil
}

// Evolve is the state after an event of the registry's stream. An error means that the stream is not what Decide wrote.
func Evolve(s State, meta *pb.EventMeta, msg proto.Message) (State, error) {
	switch e := msg.(type) {
	case *pb.RegistryStaged:
		n := int(e.GetPiece()) - 1
		if n == 0 {
			s.staging, s.staged = e.GetVersion(), nil
		}
		if s.staging != e.GetVersion() || n != len(s.staged) {
			return s, fmt.Errorf("piece %d of %s staged after %d pieces of %s", e.GetPiece(), e.GetVersion(), len(s.staged), s.staging)
		}
		// A state before this one may share the array.
		s.staged = append(slices.Clip(s.staged), e.GetContent())
		return s, nil
	case *pb.RegistryVersionPublished:
		if s.staging != e.GetVersion() || len(s.staged) != int(e.GetPieces()) {
			return s, fmt.Errorf("%d pieces of %s published, but %d of %q are staged", e.GetPieces(), e.GetVersion(), len(s.staged), s.staging)
		}
		from := e.GetValidFrom()
		if from == nil {
			from = meta.GetRecordedAt()
		}
		at := from.AsTime()
		v := NewSnapshot(e.GetVersion(), at, s.staged, s.At(at))
		v.hash = e.GetContentHash()
		n := sort.Search(len(s.versions), func(i int) bool { return s.versions[i].validFrom.After(at) })
		s.versions = slices.Insert(slices.Clone(s.versions), n, v)
		s.staging, s.staged = "", nil
		return s, nil
	}
	return s, fmt.Errorf("registry: unknown event %T", msg)
}
