package whistle

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

var noon = time.Date(2025, 3, 5, 4, 0, 0, 0, time.UTC)

// lived is a whistle in a state, as a history could have left it: one unit has to come, one need not.
func lived(state pb.WhistleState, first, second pb.ParticipantState) State {
	return State{
		Life: rule.Life[pb.WhistleState]{State: state, Events: 3, No: "1"},
		Kind: pb.WhistleKind_WHISTLE_KIND_ROUTINE, Street: "s", BlownAt: noon, IssuedAt: noon,
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
		Life: rule.Life[pb.WhistleState]{State: pb.WhistleState_WHISTLE_STATE_DRAFT, Events: 1},
		Kind: pb.WhistleKind_WHISTLE_KIND_TOUGH, Street: "s",
		DraftedBy: &pb.Actor{Person: "p", Role: pb.Role_ROLE_STREET_SECRETARY},
	}
	const (
		issued  = pb.WhistleState_WHISTLE_STATE_ISSUED
		absent  = pb.ParticipantState_PARTICIPANT_STATE_NO_SHOW
		excused = pb.ParticipantState_PARTICIPANT_STATE_EXCUSED
		left    = pb.ParticipantState_PARTICIPANT_STATE_LEFT_EARLY
	)
	asks := func(s State) State { // "a" asked to be excused, and the street agrees
		s.Participants[0].Excuse, s.Participants[0].Endorsed = &pb.ExcuseRequested{Unit: "a", Replacement: "c"}, true
		return s
	}
	late := func(_ *State, m *pb.EventMeta) { m.RecordedAt = timestamppb.New(noon.Add(time.Second)) }
	fired := func(s State) State {
		s.fired[pb.WhistleTimer_WHISTLE_TIMER_RESOLVE] = true
		return s
	}
	runsOn := func(s State) State {
		s.RunsOn = true
		return s
	}
	resolved := func(s State) State {
		s.Resolved = true
		return s
	}
	other := &pb.UnitRated{Unit: "a", Response: 1, Cooperation: 1, Result: 1, RaterKind: pb.RaterKind_RATER_KIND_COMMUNITY, Rater: "m"}
	resolve := &pb.WhistleTimerPassed{Timer: pb.WhistleTimer_WHISTLE_TIMER_RESOLVE, By: timestamppb.New(noon)}
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
		{name: "a community's rating", before: lived(confirmed, done, pending), event: other, whole: true},
		{name: "a community's rating that is said to be the last", before: lived(confirmed, done, pending), event: func() *pb.UnitRated { e := proto.CloneOf(other); e.AllRated = true; return e }()},
		{name: "a second rating of a community", before: func() State {
			s := lived(confirmed, done, pending)
			s.Participants[0].Others = []*pb.UnitRated{other}
			return s
		}(), event: other},
		{name: "a rating of nobody", before: lived(confirmed, done, pending), event: &pb.UnitRated{Unit: "a", Response: 1, Cooperation: 1, Result: 1, RaterKind: pb.RaterKind_RATER_KIND_RESIDENT}},
		{name: "a limit after the confirmation that nothing is resolved", before: lived(confirmed, done, pending), event: resolve, whole: true, tamper: late},
		{name: "a limit after the confirmation that all is resolved", before: resolved(lived(confirmed, done, pending)), event: resolve, tamper: late},
		{name: "a raise after the confirmation that nothing is resolved", before: fired(runsOn(lived(confirmed, done, pending))), event: &pb.WhistleRaised{To: "t", Child: "c"}, whole: true},
		{name: "a raise after the confirmation that all is resolved", before: resolved(lived(confirmed, done, pending)), event: &pb.WhistleRaised{To: "t", Child: "c"}},
		{name: "a confirmation while one is absent", before: lived(working, absent, here), event: &pb.WhistleConfirmed{}, whole: true},
		{name: "a confirmation while one left its task", before: lived(working, left, here), event: &pb.WhistleConfirmed{}},
		{name: "an excuse", before: asks(lived(issued, pending, pending)), event: &pb.ParticipantExcused{Unit: "a", Replacement: &pb.Participant{Unit: "c", Compulsory: true}}, whole: true},
		{name: "an excuse that is said to convene", before: asks(lived(issued, pending, pending)), event: &pb.ParticipantExcused{Unit: "a", Replacement: &pb.Participant{Unit: "c", Compulsory: true}, Convened: true}},
		{name: "an excuse by another than was asked for", before: asks(lived(issued, pending, pending)), event: &pb.ParticipantExcused{Unit: "a", Replacement: &pb.Participant{Unit: "d", Compulsory: true}}},
		{name: "an excuse by one who is summoned", before: func() State {
			s := asks(lived(issued, pending, pending))
			s.Participants[0].Excuse.Replacement = "b"
			return s
		}(), event: &pb.ParticipantExcused{Unit: "a", Replacement: &pb.Participant{Unit: "b", Compulsory: true}}},
		{name: "an excuse without a ground", before: asks(lived(issued, pending, pending)), event: &pb.ParticipantExcused{Unit: "a"}},
		{name: "an excuse that nobody asked for", before: lived(issued, pending, pending), event: &pb.ParticipantExcused{Unit: "a", RulingRef: "r", Convened: true}},
		{name: "an excuse that the street agrees to and nobody asked for", before: lived(issued, pending, pending), event: &pb.ExcuseEndorsed{Unit: "a"}},
		{name: "one more participant", before: lived(issued, pending, pending), event: &pb.ParticipantAdded{Participant: &pb.Participant{Unit: "c"}}, whole: true},
		{name: "one more participant who is there", before: lived(issued, pending, pending), event: &pb.ParticipantAdded{Participant: &pb.Participant{Unit: "b"}}},
		{name: "an absence", before: lived(issued, pending, pending), event: &pb.NoShow{Unit: "a", Convened: true}, whole: true, tamper: late},
		{name: "an absence before the limit", before: lived(issued, pending, pending), event: &pb.NoShow{Unit: "a", Convened: true}},
		{name: "an absence that is said not to convene", before: lived(issued, pending, pending), event: &pb.NoShow{Unit: "a"}, tamper: late},
		{name: "an absence of who need not come", before: lived(issued, pending, pending), event: &pb.NoShow{Unit: "b"}, tamper: late},
		{name: "an absent one that comes late", before: lived(working, absent, here), event: &pb.ReportedIn{Unit: "a", InTime: true, Convened: true}, whole: true},
		{name: "an excused one that comes", before: lived(working, excused, here), event: &pb.ReportedIn{Unit: "a", InTime: true, Convened: true}},
		{name: "leaving early", before: lived(working, here, pending), event: &pb.LeftEarly{Unit: "a"}, whole: true},
		{name: "leaving without having come", before: lived(working, here, pending), event: &pb.LeftEarly{Unit: "b"}},
		{name: "letting go who did not come", before: lived(working, here, pending), event: &pb.Released{Unit: "b"}},
		{name: "a waived task", before: lived(working, left, pending), event: &pb.TaskWaived{Unit: "a"}, whole: true},
		{name: "a waived task that is done", before: lived(working, done, pending), event: &pb.TaskWaived{Unit: "a"}},
		{name: "another kind", before: blown, event: &pb.WhistleRetyped{Kind: pb.WhistleKind_WHISTLE_KIND_ENFORCEMENT}, whole: true},
		{name: "the same kind again", before: blown, event: &pb.WhistleRetyped{Kind: pb.WhistleKind_WHISTLE_KIND_ROUTINE}},
		{name: "an emergency after the fact", before: blown, event: &pb.WhistleRetyped{Kind: pb.WhistleKind_WHISTLE_KIND_EMERGENCY}},
		{name: "a kind that changed", before: lived(working, here, pending), event: &pb.TaskDone{Unit: "a"}, tamper: func(s *State, _ *pb.EventMeta) { s.Kind = pb.WhistleKind_WHISTLE_KIND_TOUGH }},
		{name: "a limit that passed", before: lived(working, here, pending), event: resolve, whole: true},
		{name: "a limit that passed twice", before: fired(lived(working, here, pending)), event: resolve},
		{name: "a limit of nobody that passed", before: lived(working, here, pending), event: &pb.WhistleTimerPassed{Timer: pb.WhistleTimer_WHISTLE_TIMER_SIGN, Unit: "z"}},
		{name: "a raised whistle", before: lived(working, here, pending), event: &pb.WhistleRaised{To: "t", Child: "k"}, whole: true},
		{name: "a whistle raised to nobody", before: lived(working, here, pending), event: &pb.WhistleRaised{Child: "k"}},
		{name: "a whistle raised to somebody who was not summoned", before: lived(working, here, pending), event: &pb.WhistleRaised{To: "t", Child: "k", Called: []string{"a", "z"}}},
		{name: "a whistle raised for absences that are none", before: lived(working, here, pending), event: &pb.WhistleRaised{To: "t", Child: "k", Cause: pb.RaiseCause_RAISE_CAUSE_NO_SHOWS}},
		{name: "a whistle raised for absences", before: lived(working, absent, absent), event: &pb.WhistleRaised{To: "t", Child: "k", Cause: pb.RaiseCause_RAISE_CAUSE_NO_SHOWS}, whole: true},
		{name: "a whistle raised as unresolved before its limit", before: lived(working, here, pending), event: &pb.WhistleRaised{To: "t", Child: "k", Cause: pb.RaiseCause_RAISE_CAUSE_UNRESOLVED}},
		{name: "a whistle raised as unresolved", before: fired(lived(working, here, pending)), event: &pb.WhistleRaised{To: "t", Child: "k", Cause: pb.RaiseCause_RAISE_CAUSE_UNRESOLVED}, whole: true},
		{name: "a child of a tough whistle", event: &pb.WhistleBlown{Kind: pb.WhistleKind_WHISTLE_KIND_TOUGH, Street: "s", Participants: two, Parent: "p"}, whole: true},
		{name: "a whistle taken back before all are there", before: lived(issued, pending, pending), event: &pb.WhistleCancelled{Reason: "R"}, whole: true},
		{name: "a whistle taken back when all are there", before: lived(pb.WhistleState_WHISTLE_STATE_CONVENED, here, pending), event: &pb.WhistleCancelled{Reason: "R"}},
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
