package whistle

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

var noon = time.Date(2025, 3, 5, 4, 0, 0, 0, time.UTC)

// lived is a whistle in a state, as a history could have left it: one unit has to come, one need not.
func lived(state pb.WhistleState, first, second pb.ParticipantState) State {
	return State{
		State: state, Events: 3, No: "1", Kind: pb.WhistleKind_WHISTLE_KIND_ROUTINE, Street: "s", BlownAt: noon, IssuedAt: noon,
		Participants: []Participant{
			{Participant: &pb.Participant{Unit: "a", Compulsory: true, ReportInBy: timestamppb.New(noon)}, State: first},
			{Participant: &pb.Participant{Unit: "b"}, State: second},
		},
	}
}

func TestAnEventThatBreaksAnInvariantIsFound(t *testing.T) {
	t.Parallel()
	const (
		working   = pb.WhistleState_WHISTLE_STATE_WORKING
		confirmed = pb.WhistleState_WHISTLE_STATE_CONFIRMED
		pending   = pb.ParticipantState_PARTICIPANT_STATE_PENDING
		here      = pb.ParticipantState_PARTICIPANT_STATE_REPORTED_IN
		done      = pb.ParticipantState_PARTICIPANT_STATE_TASK_DONE
		gone      = pb.ParticipantState_PARTICIPANT_STATE_RELEASED
	)
	two := []*pb.Participant{{Unit: "a", Compulsory: true}, {Unit: "b"}}
	rated := func(s State) State {
		s.State, s.Participants[0].Rated = pb.WhistleState_WHISTLE_STATE_RATED, &pb.UnitRated{}
		return s
	}
	emergency := func(s State) State {
		s.Kind = pb.WhistleKind_WHISTLE_KIND_EMERGENCY
		return s
	}
	draft := State{
		State: pb.WhistleState_WHISTLE_STATE_DRAFT, Events: 1, Kind: pb.WhistleKind_WHISTLE_KIND_TOUGH, Street: "s",
		DraftedBy: &pb.Actor{Person: "p", Role: pb.Role_ROLE_STREET_SECRETARY},
	}
	tough := &pb.WhistleBlown{Kind: pb.WhistleKind_WHISTLE_KIND_TOUGH, Street: "s", Participants: two}
	blown := lived(pb.WhistleState_WHISTLE_STATE_BLOWN, pending, pending)
	blown.IssuedAt = time.Time{}
	for _, c := range []struct {
		name   string
		before State
		event  proto.Message
		whole  bool // nothing is wrong
		tamper func(after *State, meta *pb.EventMeta)
	}{
		{name: "a report-in", before: lived(working, pending, pending), event: &pb.ReportedIn{Unit: "a", InTime: true, Convened: true}, whole: true},
		{name: "a report-in that is said to be late", before: lived(working, pending, pending), event: &pb.ReportedIn{Unit: "a", Convened: true}},
		{name: "a report-in that is said not to convene", before: lived(working, pending, pending), event: &pb.ReportedIn{Unit: "a", InTime: true}},
		{name: "a report-in that is said to convene", before: lived(working, pending, pending), event: &pb.ReportedIn{Unit: "b", InTime: true, Convened: true}},
		{name: "a report-in after the confirmation", before: lived(confirmed, done, pending), event: &pb.ReportedIn{Unit: "b", InTime: true, Convened: true}},
		{name: "a participant that was lost", before: lived(working, here, pending), event: &pb.TaskDone{Unit: "a"}, tamper: func(s *State, _ *pb.EventMeta) { s.Participants = s.Participants[:1] }},
		{name: "a participant that goes back", before: lived(working, here, done), event: &pb.TaskDone{Unit: "a"}, tamper: func(s *State, _ *pb.EventMeta) { s.Participants[1].State = here }},
		{name: "a state that does not follow", before: lived(working, here, pending), event: &pb.TaskDone{Unit: "a"}, tamper: func(s *State, _ *pb.EventMeta) { s.State = confirmed }},
		{name: "an event that was skipped", before: lived(working, here, pending), event: &pb.TaskDone{Unit: "a"}, tamper: func(s *State, _ *pb.EventMeta) { s.Events++ }},
		{name: "a street that changed", before: lived(working, here, pending), event: &pb.TaskDone{Unit: "a"}, tamper: func(s *State, _ *pb.EventMeta) { s.Street = "t" }},
		{name: "a time of issue that changed", before: lived(working, here, pending), event: &pb.TaskDone{Unit: "a"}, tamper: func(s *State, _ *pb.EventMeta) { s.IssuedAt = noon.Add(1) }},
		{name: "an event recorded before it happened", before: lived(working, here, pending), event: &pb.TaskDone{Unit: "a"}, tamper: func(_ *State, m *pb.EventMeta) { m.RecordedAt = timestamppb.New(noon.Add(-1)) }},
		{name: "a confirmation", before: lived(working, done, pending), event: &pb.WhistleConfirmed{}, whole: true},
		{name: "a confirmation while a task is open", before: lived(working, here, pending), event: &pb.WhistleConfirmed{}},
		{name: "a rating", before: lived(confirmed, done, pending), event: &pb.UnitRated{Unit: "a", Response: 1, Cooperation: 1, Result: 5, AllRated: true}, whole: true},
		{name: "a rating of six", before: lived(confirmed, done, pending), event: &pb.UnitRated{Unit: "a", Response: 1, Cooperation: 1, Result: 6, AllRated: true}},
		{name: "a rating that is said to be the last", before: lived(confirmed, done, pending), event: &pb.UnitRated{Unit: "b", Response: 1, Cooperation: 1, Result: 1, AllRated: true}},
		{name: "a second rating", before: rated(lived(confirmed, done, pending)), event: &pb.UnitRated{Unit: "a", Response: 1, Cooperation: 1, Result: 1, AllRated: true}},
		{name: "a closing", before: rated(lived(confirmed, gone, pending)), event: &pb.WhistleClosed{}, whole: true},
		{name: "a closing while somebody is there", before: rated(lived(confirmed, done, pending)), event: &pb.WhistleClosed{}},
		{name: "a closing without a rating", before: func() State { s := rated(lived(confirmed, gone, pending)); s.Participants[0].Rated = nil; return s }(), event: &pb.WhistleClosed{}},
		{name: "an issue", before: blown, event: &pb.WhistleIssued{Participants: two}, whole: true},
		{name: "an issue that leaves somebody out", before: blown, event: &pb.WhistleIssued{Participants: two[:1]}},
		{name: "an issue to one unit twice", before: blown, event: &pb.WhistleIssued{Participants: append(two[:2:2], two[1])}},
		{name: "a routine whistle that is looked at after the fact", before: blown, event: &pb.WhistleIssued{Participants: two, ReviewBy: timestamppb.New(noon)}},
		{name: "a review of a routine whistle", before: lived(working, here, pending), event: &pb.WhistleReviewed{}},
		{name: "a review", before: emergency(lived(working, here, pending)), event: &pb.WhistleReviewed{Justified: true}, whole: true},
		{name: "a second review", before: func() State { s := emergency(lived(working, here, pending)); s.ReviewedAt = noon; return s }(), event: &pb.WhistleReviewed{}},
		{name: "a whistle that nobody has to follow", event: &pb.WhistleBlown{Kind: 1, Participants: two[1:]}},
		{name: "a tough whistle of one signature", event: tough},
		{name: "a tough whistle signed twice by one", before: draft, event: tough},
		{name: "a draft of a routine whistle", event: &pb.WhistleDrafted{Kind: 1, Participants: two}},
		{name: "a ticket's event", before: lived(working, here, pending), event: &pb.TicketClosed{}},
	} {
		meta := &pb.EventMeta{OccurredAt: timestamppb.New(noon), RecordedAt: timestamppb.New(noon), Actor: &pb.Actor{Person: "p", Role: pb.Role_ROLE_STREET_DIRECTOR}}
		now, err := Evolve(c.before, meta, c.event)
		if err != nil {
			now = c.before
			now.Events++
		}
		if c.tamper != nil {
			c.tamper(&now, meta)
		}
		if err := CheckInvariants(c.before, now, meta, c.event); (err == nil) != c.whole {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
}
