package deliberation

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

var noon = time.Date(2025, 3, 5, 4, 0, 0, 0, time.UTC)

func meta(at time.Time) *pb.EventMeta {
	return &pb.EventMeta{OccurredAt: timestamppb.New(at), RecordedAt: timestamppb.New(at)}
}

// lived is a matter after events, a minute apart.
func lived(t *testing.T, events ...proto.Message) State {
	t.Helper()
	var s State
	for i, e := range events {
		before := s
		m := meta(noon.Add(time.Duration(i) * time.Minute))
		var err error
		if s, err = Evolve(s, m, e); err != nil {
			t.Fatal(err)
		}
		if err := CheckInvariants(before, s, m, e); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestAnEventThatBreaksAnInvariantIsFound(t *testing.T) {
	t.Parallel()
	place := []*pb.AreaNode{{Code: "m"}}
	chosen := &pb.MatterChosen{No: "1", Path: place, Month: "2025-03", Keeper: "u"}
	held := &pb.MatterDeliberated{HeldAt: timestamppb.New(noon.Add(time.Second))}
	decided := &pb.MatterDecided{}
	published := &pb.MatterPublished{Sealed: &pb.Sealed{Subject: "s"}}
	for what, c := range map[string]struct {
		before []proto.Message
		event  proto.Message
	}{
		"chosen twice":                   {[]proto.Message{chosen}, chosen},
		"chosen for no month":            {nil, &pb.MatterChosen{Path: place, Month: "March", Keeper: "u"}},
		"chosen by nobody":               {nil, &pb.MatterChosen{Path: place, Month: "2025-03"}},
		"chosen nowhere":                 {nil, &pb.MatterChosen{Month: "2025-03", Keeper: "u"}},
		"about a post twice":             {nil, &pb.MatterChosen{Path: place, Month: "2025-03", Keeper: "u", Posts: []string{"a", "b", "a"}}},
		"deliberated before it was":      {nil, held},
		"held before it was chosen":      {[]proto.Message{chosen}, &pb.MatterDeliberated{HeldAt: timestamppb.New(noon.Add(-time.Second))}},
		"held after it was recorded":     {[]proto.Message{chosen}, &pb.MatterDeliberated{HeldAt: timestamppb.New(noon.Add(2 * time.Hour))}},
		"decided without a deliberation": {[]proto.Message{chosen}, decided},
		"published undecided":            {[]proto.Message{chosen, held}, published},
		"published without words":        {[]proto.Message{chosen, held, decided}, &pb.MatterPublished{}},
		"published twice":                {[]proto.Message{chosen, held, decided, published}, published},
	} {
		before := lived(t, c.before...)
		m := meta(noon.Add(time.Hour))
		after, err := Evolve(before, m, c.event)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if CheckInvariants(before, after, m, c.event) == nil {
			t.Errorf("%s: nothing is wrong", what)
		}
	}
	s := lived(t, chosen)
	late := &pb.EventMeta{OccurredAt: timestamppb.New(noon.Add(time.Hour)), RecordedAt: timestamppb.New(noon)}
	after, err := Evolve(s, late, held)
	if err != nil || CheckInvariants(s, after, late, held) == nil {
		t.Errorf("it was recorded before it happened: %v", err)
	}
	other := after
	other.Month = "2025-04"
	if CheckInvariants(s, other, meta(noon.Add(time.Hour)), held) == nil {
		t.Error("it is another month's now: nothing is wrong")
	}
	if _, err := Evolve(s, meta(noon), &pb.EntryFreed{}); err == nil {
		t.Error("an event of an exchange is taken for one of a deliberation")
	}
	whole := lived(t, chosen, held, decided, published)
	if no, state := whole.Standing(); no != "1" || state != "PUBLISHED" || whole.Owner() != "s" || !whole.PublishedAt.Equal(noon.Add(3*time.Minute)) {
		t.Errorf("got %+v", whole)
	}
}
