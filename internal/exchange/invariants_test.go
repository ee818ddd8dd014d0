package exchange

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

// lived is an entry after events, a minute apart.
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

func opened(kind pb.ExchangeKind) *pb.EntryOpened {
	return &pb.EntryOpened{No: "1", Kind: kind, Path: []*pb.AreaNode{{Code: "m"}}, Unit: "u", Topic: "venue"}
}

func TestAnEventThatBreaksAnInvariantIsFound(t *testing.T) {
	t.Parallel()
	need, resource := opened(pb.ExchangeKind_EXCHANGE_KIND_NEED), opened(pb.ExchangeKind_EXCHANGE_KIND_RESOURCE)
	match := &pb.EntryMatched{With: "x", Unit: "v"}
	past := opened(pb.ExchangeKind_EXCHANGE_KIND_NEED)
	past.OpenUntil = timestamppb.New(noon)
	for what, c := range map[string]struct {
		before []proto.Message
		event  proto.Message
	}{
		"opened twice":                 {[]proto.Message{need}, need},
		"opened without a kind":        {nil, opened(0)},
		"open until it was opened":     {nil, past},
		"matched before it was opened": {nil, match},
		"matched twice":                {[]proto.Message{need, match}, &pb.EntryMatched{With: "y", Unit: "v"}},
		"matched with nothing":         {[]proto.Message{need}, &pb.EntryMatched{Unit: "v"}},
		"a need freed":                 {[]proto.Message{need, match}, &pb.EntryFreed{With: "x"}},
		"freed of another":             {[]proto.Message{resource, match}, &pb.EntryFreed{With: "y"}},
		"freed while it is open":       {[]proto.Message{resource}, &pb.EntryFreed{}},
		"fulfilled with another":       {[]proto.Message{need, match}, &pb.EntryFulfilled{With: "y"}},
		"fulfilled while it is open":   {[]proto.Message{need}, &pb.EntryFulfilled{}},
		"withdrawn while matched":      {[]proto.Message{need, match}, &pb.EntryWithdrawn{}},
		"no event of an exchange":      {[]proto.Message{need}, &pb.PostEchoed{}},
	} {
		before := lived(t, c.before...)
		m := meta(noon.Add(time.Hour))
		if len(c.before) == 0 {
			m = meta(noon)
		}
		after, err := Evolve(before, m, c.event)
		if what == "no event of an exchange" {
			if err == nil {
				t.Error("an event of a wall is taken for one of an exchange")
			}
			after = before
		}
		if CheckInvariants(before, after, m, c.event) == nil {
			t.Errorf("%s: nothing is wrong", what)
		}
	}
	s := lived(t, resource)
	late := &pb.EventMeta{OccurredAt: timestamppb.New(noon.Add(time.Hour)), RecordedAt: timestamppb.New(noon)}
	after, err := Evolve(s, late, match)
	if err != nil || CheckInvariants(s, after, late, match) == nil {
		t.Errorf("it was recorded before it happened: %v", err)
	}
	other := after
	other.Unit = "w"
	if CheckInvariants(s, other, meta(noon.Add(time.Hour)), match) == nil {
		t.Error("it is another unit's now: nothing is wrong")
	}
	freed := lived(t, resource, match, &pb.EntryFreed{With: "x"}, &pb.EntryMatched{With: "y", Unit: "v"}, &pb.EntryFulfilled{With: "y"})
	if freed.With != "y" || freed.State != pb.ExchangeState_EXCHANGE_STATE_FULFILLED || !freed.EndedAt.Equal(noon.Add(4*time.Minute)) {
		t.Errorf("got %+v", freed)
	}
}
