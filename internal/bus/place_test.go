package bus

import (
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/eventstore/sqlite"
)

// said is a history that a test makes up.
type said struct {
	t     *testing.T
	store *sqlite.Store
	heads map[string]event.Hash
	at    map[string]eventstore.Version
}

func newSaid(t *testing.T) *said {
	t.Helper()
	store, err := sqlite.Open(filepath.Join(t.TempDir(), "history.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return &said{t, store, map[string]event.Hash{}, map[string]eventstore.Version{}}
}

func (s *said) event(stream string, m proto.Message) {
	s.t.Helper()
	meta := &pb.EventMeta{RecordedAt: timestamppb.New(dispatchtest.Start)}
	e, err := event.Encode(stream, s.at[stream]+1, s.heads[stream], meta, m)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.store.Append(s.t.Context(), stream, s.at[stream], []eventstore.Event{e}); err != nil {
		s.t.Fatal(err)
	}
	s.heads[stream] = event.Hash(meta.Hash)
	s.at[stream]++
}

func TestWhatIsNoTicketGoesToWhoHasToDoWithIt(t *testing.T) {
	t.Parallel()
	path := []*pb.AreaNode{{Level: "city", Code: "c"}, {Level: "district", Code: "d"}, {Level: "street", Code: "s"}}
	const here, secret = "events.c.d.s._._.", "events._._._._._."
	confidential := &pb.TicketReported{Path: path, Holder: "d", ComplainedOf: "s", Confidentiality: pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL}
	for _, c := range []struct {
		what   string
		before []proto.Message // of the ticket 1
		stream string
		events []proto.Message
		want   []string // of the last event, without what is the same of all
	}{
		{"a draft of a whistle", nil, "whistle-1", []proto.Message{&pb.WhistleDrafted{Path: path, Street: "s", ScreenedBy: "d", Participants: []*pb.Participant{{Unit: "u"}}}},
			[]string{here + "d", here + "s"}},
		{"a whistle that is issued", nil, "whistle-1", []proto.Message{
			&pb.WhistleBlown{Path: path, Street: "s", ScreenedBy: "d", Tickets: []string{"1"}}, &pb.WhistleIssued{Participants: []*pb.Participant{{Unit: "u"}, {Unit: "v"}}},
		}, []string{here + "d", here + "s", here + "u", here + "v"}},
		{"a participant that another comes for", nil, "whistle-1", []proto.Message{
			&pb.WhistleBlown{Path: path, Street: "s"}, &pb.WhistleIssued{Participants: []*pb.Participant{{Unit: "u"}}}, &pb.ParticipantExcused{Unit: "u", Replacement: &pb.Participant{Unit: "w"}},
		}, []string{here + "s", here + "u", here + "w"}},
		{"a whistle for a confidential ticket", []proto.Message{confidential}, "whistle-1", []proto.Message{
			&pb.WhistleBlown{Path: path, Street: "s", ScreenedBy: "d", Tickets: []string{"2", "1"}}, &pb.WhistleIssued{Participants: []*pb.Participant{{Unit: "u"}}},
		}, []string{secret + "d", secret + "u"}},
		{"a confidential ticket's co-handler", []proto.Message{confidential, &pb.TicketDispatched{Lead: "u", Co: []string{"v"}}}, "ticket-1",
			[]proto.Message{&pb.TicketSigned{}}, []string{secret + "u"}},
		{"a confidential ticket that is returned", []proto.Message{confidential, &pb.TicketDispatched{Lead: "u"}}, "ticket-1",
			[]proto.Message{&pb.ReturnApproved{Unit: "u", Holder: "d"}}, []string{secret + "d"}},
		{"a ticket that is returned", []proto.Message{&pb.TicketReported{Path: path, Holder: "s"}, &pb.TicketDispatched{Lead: "u", Co: []string{"v"}}}, "ticket-1",
			[]proto.Message{&pb.ReturnApproved{Unit: "u", Holder: "s"}}, []string{here + "s", here + "u", here + "v"}},
		{"a ticket that is nobody's, nowhere", nil, "ticket-1", []proto.Message{&pb.RecordImported{}}, []string{secret + "_"}},
		{"a post", nil, "wall-1", []proto.Message{&pb.PostPublished{Path: path, Keeper: "s"}}, []string{here + "s"}},
		{"a post that is lifted", nil, "wall-1", []proto.Message{&pb.PostPublished{Path: path, Keeper: "g"}, &pb.PostLifted{Path: path[:2], Keeper: "m"}},
			[]string{"events.c.d._._._.m", here + "g"}},
		{"a post whose ticket is confidential", []proto.Message{confidential}, "wall-1", []proto.Message{&pb.PostPublished{Path: path, Keeper: "g"}, &pb.PostTicketed{}, &pb.PostEchoed{}},
			[]string{secret + "g"}},
		{"a listed problem", nil, "listing-1", []proto.Message{&pb.ProblemListed{Path: path, Owner: "u", Issuer: "d"}}, []string{here + "d", here + "u"}},
		{"a spot check", nil, "check-1", []proto.Message{&pb.SpotCheckDrawn{Path: path, Unit: "d"}, &pb.SpotCheckRecorded{Ticket: "1", Lead: "u", Path: path}}, []string{secret + "d"}},
		{"an admission", nil, "admission-1", []proto.Message{&pb.AdmissionApplied{Unit: "u", DecidedBy: "d"}, &pb.AdmissionAdmitted{}}, []string{secret + "d", secret + "u"}},
		{"a matter of the month", nil, "deliberation-1", []proto.Message{&pb.MatterChosen{Path: path, Keeper: "s"}, &pb.MatterDecided{Lead: "u"}}, []string{here + "s", here + "u"}},
		{"an entry of the exchange", nil, "exchange-1", []proto.Message{&pb.EntryOpened{Path: path, Unit: "u"}}, []string{here + "u"}},
		{"a review", nil, "review-1", []proto.Message{&pb.ReviewOpened{Unit: "u", UnitPath: []string{"c", "u"}}}, []string{secret + "_"}},
		{"a refused command", nil, "audit-1", []proto.Message{&pb.CommandRefused{TargetPath: path, UnitPath: []string{"d"}}}, []string{secret + "_"}},
		{"an erasure", nil, "subject-1", []proto.Message{&pb.SubjectErased{Subject: "1"}}, []string{secret + "_"}},
		{"a map", nil, "registry-main", []proto.Message{&pb.RegistryStaged{}}, []string{secret + "_"}},
	} {
		// Once with the place remembered, once with every stream read anew.
		for _, most := range []int{100, 0} {
			s := newSaid(t)
			for _, m := range c.before {
				s.event("ticket-1", m)
			}
			for _, m := range c.events {
				s.event(c.stream, m)
			}
			s.event("ticket-2", &pb.TicketReported{Path: path, Holder: "later"})
			s.event("ticket-1", &pb.TriageCorrected{Confidentiality: pb.Confidentiality_CONFIDENTIALITY_OPEN}) // must not be known before
			p, all := newPlaces(s.store), history(t, s.store)
			p.most = most
			var got []string
			for _, d := range all[:len(all)-2] {
				var err error
				if most == 0 {
					p = newPlaces(s.store)
				}
				if got, _, err = p.subjects(t.Context(), &d); err != nil {
					t.Fatal(err)
				}
			}
			end := "." + id(c.stream) + "." + snake(string(c.events[len(c.events)-1].ProtoReflect().Descriptor().Name()))
			for i := range got {
				got[i] = strings.TrimSuffix(got[i], end)
			}
			slices.Sort(got)
			if !slices.Equal(got, c.want) {
				t.Errorf("%s: got %q, want %q", c.what, got, c.want)
			}
		}
	}
}

func TestWhatCannotBeUnderstoodStandsInTheWayOfWhatFollowsNotOfWhatCameBefore(t *testing.T) {
	t.Parallel()
	s := newSaid(t)
	_, nc := open(t, Options{})
	for range 3 {
		s.event("ticket-1", &pb.TicketReported{Holder: "d"})
	}
	at, err := s.store.Append(t.Context(), "ticket-2", 0, []eventstore.Event{{ID: [16]byte{1}, Type: "FromLater", Meta: []byte{}, Data: []byte{}}})
	if err != nil {
		t.Fatal(err)
	}
	s.event("ticket-1", &pb.TicketSigned{})
	heard := make(chan error, 1)
	r := relay(t, nc, s.store)
	r.OnTrouble = func(err error) {
		select {
		case heard <- err:
		default:
		}
	}
	run(t, r.Run)
	select {
	case err := <-heard:
		if !strings.Contains(err.Error(), "ticket-2@1") {
			t.Errorf("heard %v, want which event it is", err)
		}
	case <-time.After(within):
		t.Fatal("nothing was heard")
	}
	m, err := (&journal{nc, Events}).last(t.Context())
	if err != nil || m.seq != 3 || m.position >= at {
		t.Errorf("the bus has %d messages, up to %d, %v; want the 3 before %d", m.seq, m.position, err, at)
	}
}

func TestTheLargestEventIsOnTheBus(t *testing.T) {
	t.Parallel()
	s := newSaid(t)
	_, nc := open(t, Options{})
	large(s, 12) // more than one batch may hold
	var mu sync.Mutex
	batches := 0
	r := relay(t, nc, s.store)
	r.OnProgress = func(_ eventstore.Position, recorded time.Time) {
		mu.Lock()
		defer mu.Unlock()
		if !recorded.IsZero() {
			batches++
		}
	}
	run(t, r.Run)
	relayed(t, nc, s.store)
	check(t, all(t, nc, Events, eventsRoot+".>"), s.store)
	mu.Lock()
	defer mu.Unlock()
	if batches < 3 {
		t.Errorf("12 events of 900 KiB went in %d batches, want at least 3", batches)
	}
}

// large says events of the largest size.
func large(s *said, n int) {
	for i := range n {
		m := &pb.RegistryStaged{Version: "1", Piece: uint32(i + 1), Content: &pb.RegistryPiece{Areas: []*pb.Area{{Name: strings.Repeat("x", eventstore.MaxBytes-300)}}}}
		s.event("registry-main", m)
	}
}

func TestABusThatIsFullGoesOnWithoutTheOldest(t *testing.T) {
	t.Parallel()
	server, nc := open(t, Options{MaxStore: 8 << 20})
	s := newSaid(t)
	large(s, 12)
	r := relay(t, nc, s.store)
	for what, shape := range map[string]Shape{"bytes": {MaxBytes: server.MaxBytes()}, "messages": {MaxMessages: 5}} {
		if err := Prepare(t.Context(), nc, shape); err != nil {
			t.Fatal(err)
		}
		stop := run(t, r.Run)
		relayed(t, nc, s.store)
		stop()
		left := len(all(t, nc, Events, eventsRoot+".>"))
		if left == 0 || left == 12 || what == "messages" && left != 5 {
			t.Errorf("bound by %s: %d events of 12 are left, want the latest", what, left)
		}
	}
}
