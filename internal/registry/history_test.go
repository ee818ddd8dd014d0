package registry_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/registry"
	"github.com/chuishao/dispatch/internal/rule"
)

func asked(roles ...pb.Role) *rule.Asked {
	return &rule.Asked{Actor: rule.Actor{Person: "p", Roles: roles, Unit: "uc"}, At: now, OccurredAt: now}
}

// do decides and folds what was decided as it would be read back.
func do(t interface {
	Helper()
	Fatal(...any)
}, s registry.State, cmd proto.Message) (registry.State, error) {
	t.Helper()
	events, err := registry.Decide(s, asked(pb.Role_ROLE_SYSTEM), cmd)
	for i, e := range events {
		recorded, bad := event.Encode(registry.Stream, 1, event.Hash{}, &pb.EventMeta{RequestId: "r", Index: uint32(i), RecordedAt: timestamppb.New(now)}, e)
		if bad != nil {
			t.Fatal(bad)
		}
		back, bad := event.Decode(eventstore.Recorded{Event: recorded, Stream: registry.Stream, Version: 1})
		if bad != nil {
			t.Fatal(bad)
		}
		if s, bad = registry.Evolve(s, back.Meta, back.Event); bad != nil {
			t.Fatal(bad)
		}
	}
	return s, err
}

func must(t *testing.T, s registry.State, cmds ...proto.Message) registry.State {
	t.Helper()
	for _, cmd := range cmds {
		var err error
		if s, err = do(t, s, cmd); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func load(version string, from *timestamppb.Timestamp, pieces ...*pb.RegistryPiece) []proto.Message {
	var cmds []proto.Message
	for i, p := range pieces {
		cmds = append(cmds, &pb.RegistryStaged{Version: version, Piece: uint32(i + 1), Content: p})
	}
	hash, _ := registry.ContentHash(pieces)
	return append(cmds, &pb.RegistryVersionPublished{Version: version, Pieces: uint32(len(pieces)), ContentHash: hash, ValidFrom: from})
}

func reason(err error) rule.Reason {
	if r, ok := errors.AsType[*rule.Refusal](err); ok {
		return r.Reason
	}
	return ""
}

func TestAVersionTakesEffectWholeAtItsInstant(t *testing.T) {
	t.Parallel()
	pieces := registry.Split(town(), 100)
	if len(pieces) < 3 {
		t.Fatalf("got %d pieces", len(pieces))
	}
	cmds := load("v1", on("2025-01-01"), pieces...)
	s := must(t, registry.State{}, cmds[:len(cmds)-1]...)
	if v, n := s.Staged(); v != "v1" || n != len(pieces) || s.At(now) != nil {
		t.Errorf("staged: got %s, %d pieces", v, n)
	}
	s = must(t, s, cmds[len(cmds)-1])
	if _, n := s.Staged(); n != 0 || s.At(day("2025-01-01").Add(-1)) != nil || s.At(day("2025-01-01")).Version() != "v1" {
		t.Error("v1 is not in force from its instant on")
	}
	more := town()
	more.Areas = append(more.Areas, area("s9", "street", "d2"))
	s = must(t, s, load("v3", on("2027-01-01"), town())...)
	s = must(t, s, load("v2", nil, more)...)
	for at, want := range map[string]string{"2025-12-31": "v1", "2026-01-01": "v2", "2026-12-31": "v2", "2027-01-01": "v3"} {
		if got := s.At(day(at)).Version(); got != want {
			t.Errorf("at %s: got %s, want %s", at, got, want)
		}
	}
	if _, ok := s.At(now).Path("s9", now); !ok {
		t.Error("v2 does not have its street")
	}
	if _, ok := s.Published("v2"); !ok || len(s.Versions()) != 3 {
		t.Error("v2 is not published")
	}
}

func TestALoadThatBrokeOffIsBegunAnew(t *testing.T) {
	t.Parallel()
	pieces := registry.Split(town(), 100)
	broken := town()
	broken.Areas[3].Parent = "nowhere"
	s := must(t, registry.State{}, load("v1", nil, registry.Split(broken, 100)...)[:2]...)
	before := s
	s = must(t, s, load("v1", nil, pieces...)...)
	if got := s.At(now); got == nil || len(got.Areas()) != len(town().Areas) {
		t.Errorf("got %v", got)
	}
	if _, n := before.Staged(); n != 2 || before.At(now) != nil {
		t.Error("an earlier state has changed")
	}
	// Another version replaces what was staged, too.
	s = must(t, s, load("v2", nil, pieces...)[:2]...)
	s = must(t, s, load("v3", nil, pieces...)...)
	if got := s.At(now).Version(); got != "v3" {
		t.Errorf("got %s, want v3", got)
	}
}

func TestStatesThatShareAPastDoNotDisturbEachOther(t *testing.T) {
	t.Parallel()
	common := must(t, registry.State{}, load("v1", nil, registry.Split(town(), 100)...)[:3]...)
	with := func(code string) registry.State {
		s := must(t, common, &pb.RegistryStaged{Version: "v1", Piece: 4, Content: &pb.RegistryPiece{Areas: []*pb.Area{area(code, "city", "")}}})
		return s
	}
	a, b := with("a"), with("b")
	for code, s := range map[string]registry.State{"a": a, "b": b} {
		_, err := registry.Decide(s, asked(pb.Role_ROLE_SYSTEM), &pb.RegistryVersionPublished{Version: "v1", Pieces: 4, ContentHash: hashOf(t, append(registry.Split(town(), 100)[:3],
			&pb.RegistryPiece{Areas: []*pb.Area{area(code, "city", "")}}))})
		if reason(err) != rule.RegistryInvalid { // the hash is right, the content is not
			t.Errorf("%s: got %v", code, err)
		}
	}
}

func hashOf(t *testing.T, pieces []*pb.RegistryPiece) []byte {
	t.Helper()
	hash, err := registry.ContentHash(pieces)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

func TestWhatIsWrongIsRefusedAndChangesNothing(t *testing.T) {
	t.Parallel()
	pieces := []*pb.RegistryPiece{town()}
	hash := hashOf(t, pieces)
	published := must(t, registry.State{}, load("v1", nil, pieces...)...)
	staged := must(t, published, load("v2", nil, pieces...)[0])
	faulty := town()
	faulty.Areas[1].Level = "hamlet"
	invalid := must(t, published, load("v2", nil, faulty)[0])
	huge := &pb.RegistryPiece{Areas: []*pb.Area{named(area("x", "city", ""), strings.Repeat("x", registry.MaxPieceBytes))}}
	publish := func(change func(c *pb.RegistryVersionPublished)) proto.Message {
		c := &pb.RegistryVersionPublished{Version: "v2", Pieces: 1, ContentHash: hash}
		change(c)
		return c
	}
	for _, c := range []struct {
		name  string
		state registry.State
		cmd   proto.Message
		want  rule.Reason
		field string
	}{
		{"a version without a name", published, &pb.RegistryStaged{Piece: 1, Content: town()}, rule.MissingField, "version"},
		{"a version with a bad name", published, &pb.RegistryStaged{Version: "v/2", Piece: 1, Content: town()}, rule.InvalidName, "version"},
		{"a version with a long name", published, &pb.RegistryStaged{Version: strings.Repeat("v", 65), Piece: 1, Content: town()}, rule.FieldTooLong, "version"},
		{"a version that is published", published, &pb.RegistryStaged{Version: "v1", Piece: 1, Content: town()}, rule.AlreadyExists, "version"},
		{"piece 0", published, &pb.RegistryStaged{Version: "v2", Content: town()}, rule.MissingField, "piece"},
		{"a later piece first", published, &pb.RegistryStaged{Version: "v2", Piece: 2, Content: town()}, rule.WrongState, "piece"},
		{"a piece left out", staged, &pb.RegistryStaged{Version: "v2", Piece: 3, Content: town()}, rule.WrongState, "piece"},
		{"a piece of another version in between", staged, &pb.RegistryStaged{Version: "v3", Piece: 2, Content: town()}, rule.WrongState, "piece"},
		{"too many pieces", staged, &pb.RegistryStaged{Version: "v2", Piece: registry.MaxPieces + 1, Content: town()}, rule.TooMany, "piece"},
		{"no content", published, &pb.RegistryStaged{Version: "v2", Piece: 1}, rule.MissingField, "content"},
		{"too much content", published, &pb.RegistryStaged{Version: "v2", Piece: 1, Content: huge}, rule.FieldTooLong, "content"},
		{"content that is not UTF-8", published, &pb.RegistryStaged{Version: "v2", Piece: 1, Content: &pb.RegistryPiece{Areas: []*pb.Area{{Name: "\xff"}}}}, rule.InvalidUTF8, "content"},

		{"nothing staged", published, publish(func(*pb.RegistryVersionPublished) {}), rule.WrongState, ""},
		{"another version staged", staged, publish(func(c *pb.RegistryVersionPublished) { c.Version = "v3" }), rule.WrongState, ""},
		{"published twice", staged, publish(func(c *pb.RegistryVersionPublished) { c.Version = "v1" }), rule.AlreadyExists, "version"},
		{"another number of pieces", staged, publish(func(c *pb.RegistryVersionPublished) { c.Pieces = 2 }), rule.WrongState, "pieces"},
		{"another hash", staged, publish(func(c *pb.RegistryVersionPublished) { c.ContentHash = make([]byte, 32) }), rule.WrongState, "content_hash"},
		{"no hash", staged, publish(func(c *pb.RegistryVersionPublished) { c.ContentHash = nil }), rule.WrongState, "content_hash"},
		{"other counts", staged, publish(func(c *pb.RegistryVersionPublished) { c.Units = 99 }), rule.WrongState, "units"},
		{"no instant", staged, publish(func(c *pb.RegistryVersionPublished) { c.ValidFrom = &timestamppb.Timestamp{Nanos: -1} }), rule.TimeOutOfRange, "valid_from"},
		{"content with a fault", invalid, publish(func(c *pb.RegistryVersionPublished) { c.ContentHash = hashOf(t, []*pb.RegistryPiece{faulty}) }), rule.RegistryInvalid, "areas[1].level"},
	} {
		events, err := registry.Decide(c.state, asked(pb.Role_ROLE_AUDITOR), c.cmd)
		r, _ := errors.AsType[*rule.Refusal](err)
		if r == nil || r.Reason != c.want || r.Field != c.field || events != nil {
			t.Errorf("%s: got %v, %v, want %s of %q", c.name, events, err, c.want, c.field)
		}
	}
	if _, err := registry.Decide(published, asked(pb.Role_ROLE_DISPATCHER), load("v2", nil, pieces...)[0]); reason(err) != rule.RoleNotAllowed {
		t.Errorf("a dispatcher: got %v", err)
	}
	if _, err := registry.Decide(published, asked(pb.Role_ROLE_SYSTEM), &pb.TicketSigned{}); err == nil || reason(err) != "" {
		t.Errorf("a command of another stream: got %v", err)
	}
}

func TestAnEventThatDoesNotFollowIsAnError(t *testing.T) {
	t.Parallel()
	staged := must(t, registry.State{}, load("v1", nil, town())[0])
	for _, e := range []proto.Message{
		&pb.RegistryStaged{Version: "v1", Piece: 3, Content: town()},
		&pb.RegistryStaged{Version: "v2", Piece: 2, Content: town()},
		&pb.RegistryStaged{Version: "v2", Content: town()},
		&pb.RegistryVersionPublished{Version: "v1", Pieces: 2},
		&pb.RegistryVersionPublished{Version: "v2", Pieces: 1},
		&pb.TicketSigned{},
	} {
		if _, err := registry.Evolve(staged, &pb.EventMeta{}, e); err == nil {
			t.Errorf("%T %v: no error", e, e)
		}
	}
}

// Whatever loads begin, break off and mix, a published version is exactly what one loader meant, and only refusals come back.
func TestLoadsThatInterruptEachOtherPublishOnlyWhatWasMeant(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var s registry.State
		meant := map[string]int{} // the size that a version's loader meant
		type loader struct {
			cmds []proto.Message
			next int
			size int
		}
		var loaders []*loader
		for i := range rapid.IntRange(1, 4).Draw(t, "loaders") {
			p := town()
			for k := range i {
				p.Areas = append(p.Areas, area(fmt.Sprintf("x%d", k), "street", "d1"))
			}
			version := rapid.SampledFrom([]string{"v1", "v2"}).Draw(t, "version")
			loaders = append(loaders, &loader{load(version, nil, registry.Split(p, 200)...), 0, len(p.Areas)})
		}
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			l := rapid.SampledFrom(loaders).Draw(t, "loader")
			if l.next == len(l.cmds) || rapid.IntRange(0, 9).Draw(t, "restart") == 0 {
				l.next = 0
			}
			before := s.Versions()
			cmd := l.cmds[l.next]
			next, err := do(t, s, cmd)
			if err != nil && reason(err) == "" {
				t.Fatalf("%T: %v", cmd, err)
			}
			if err == nil {
				l.next++
				if c, ok := cmd.(*pb.RegistryVersionPublished); ok {
					meant[c.Version] = l.size
				}
			}
			if !slices.Equal(before, s.Versions()) {
				t.Fatal("an earlier state has changed")
			}
			s = next
		}
		if len(s.Versions()) != len(meant) {
			t.Fatalf("got %d versions, want %d", len(s.Versions()), len(meant))
		}
		for version, size := range meant {
			if v, ok := s.Published(version); !ok || len(v.Areas()) != size {
				t.Fatalf("%s is not as it was meant", version)
			}
		}
	})
}

func TestSplitKeepsOrderAndSize(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := trees(t)
		p.Categories = town().Categories
		limit := rapid.IntRange(1, 2000).Draw(t, "limit")
		whole := new(pb.RegistryPiece)
		for _, piece := range registry.Split(p, limit) {
			entries := len(piece.Levels) + len(piece.Areas) + len(piece.Units) + len(piece.Categories)
			if proto.Size(piece) > limit && entries > 1 {
				t.Fatalf("a piece of %d entries has %d bytes, want at most %d", entries, proto.Size(piece), limit)
			}
			proto.Merge(whole, piece)
		}
		if !proto.Equal(whole, p) {
			t.Fatal("the pieces together are not the content")
		}
	})
	if got := registry.Split(new(pb.RegistryPiece), 100); len(got) != 1 {
		t.Errorf("of nothing: got %d pieces, want 1", len(got))
	}
}

// The largest piece that may be staged fits into one append with its envelope.
func TestAStagedPieceFitsAnAppend(t *testing.T) {
	t.Parallel()
	p := &pb.RegistryPiece{}
	for i := range 60_000 {
		p.Areas = append(p.Areas, area(fmt.Sprintf("a%d", i), "street", "d1"))
	}
	pieces := registry.Split(p, registry.MaxPieceBytes)
	if len(pieces) < 2 {
		t.Fatalf("got %d pieces", len(pieces))
	}
	meta := &pb.EventMeta{RequestId: strings.Repeat("r", 128), RecordedAt: timestamppb.New(time.Now())}
	e, err := event.Encode(registry.Stream, 1, event.Hash{}, meta, &pb.RegistryStaged{Version: "v", Piece: 1, Content: pieces[0]})
	if err != nil {
		t.Fatal(err)
	}
	if err := eventstore.Check(registry.Stream, []eventstore.Event{e}); err != nil {
		t.Error(err)
	}
}
