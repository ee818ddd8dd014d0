package ticket

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

var noon = time.Date(2025, 3, 5, 4, 0, 0, 0, time.UTC)

func after(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(noon.Add(d)) }

// lived is a ticket in a state, as a history could have left it.
func lived(state pb.TicketState) State {
	return State{
		State: state, Events: 4, No: "1", ReportedAt: noon, AcceptedAt: noon, Lead: "a", Holder: "a", Round: 1, Hop: 1,
		Limits: Limits{HandleBy: noon.Add(24 * time.Hour), CloseBy: noon.Add(48 * time.Hour)}, CallbackWanted: true,
	}
}

func TestAnEventThatBreaksAnInvariantIsFound(t *testing.T) {
	t.Parallel()
	const (
		triaged  = pb.TicketState_TICKET_STATE_TRIAGED
		handling = pb.TicketState_TICKET_STATE_HANDLING
		callback = pb.TicketState_TICKET_STATE_CALLBACK
		closed   = pb.TicketState_TICKET_STATE_CLOSED
		reported = pb.TicketState_TICKET_STATE_REPORTED
	)
	dispatched := &pb.TicketDispatched{Lead: "a", Round: 1, Hop: 1, HandleBy: after(time.Hour), CloseBy: after(2 * time.Hour)}
	first := func(s State) State {
		s.Lead, s.Hop, s.Round, s.Limits = "", 0, 0, Limits{}
		return s
	}
	const suspended = pb.TicketState_TICKET_STATE_SUSPENDED
	extension := &pb.ExtensionGranted{HandleBy: after(30 * time.Hour), CloseBy: after(50 * time.Hour), Number: 1, WorkingDays: 1}
	suspension := &pb.SuspensionGranted{Remaining: "1 WD", ReviewAt: after(72 * time.Hour)}
	asked := func(s State) State {
		s.Extension, s.Suspension = &pb.ExtensionRequested{Number: 1}, &pb.SuspensionRequested{}
		return s
	}
	passed := func(s State) State {
		s.Limits.HandleBy = noon.Add(-time.Second)
		return s
	}
	stopped := func(s State) State {
		s.Limits, s.Remaining = Limits{}, "1 WD"
		return s
	}
	verified := func(s State) State {
		s.Verified, s.CallbackSettled = true, true
		return s
	}
	changed := func(e proto.Message, change func(proto.Message)) proto.Message {
		e = proto.Clone(e)
		change(e)
		return e
	}
	for _, c := range []struct {
		name   string
		before State
		event  proto.Message
		whole  bool // nothing is wrong
		tamper func(after *State, meta *pb.EventMeta)
	}{
		{name: "a dispatch", before: first(lived(triaged)), event: dispatched, whole: true},
		{name: "a dispatch out of its state", before: lived(handling), event: dispatched},
		{name: "a dispatch to a lead that co-handles", before: first(lived(triaged)), event: changed(dispatched, func(m proto.Message) { m.(*pb.TicketDispatched).Co = []string{"a"} })},
		{name: "a dispatch without a lead", before: first(lived(triaged)), event: changed(dispatched, func(m proto.Message) { m.(*pb.TicketDispatched).Lead = "" })},
		{name: "a dispatch without a limit", before: first(lived(triaged)), event: changed(dispatched, func(m proto.Message) { m.(*pb.TicketDispatched).HandleBy = nil })},
		{name: "an extension", before: asked(lived(handling)), event: extension, whole: true},
		{name: "an extension that nobody asked for", before: lived(handling), event: extension},
		{name: "an extension that shortens", before: asked(lived(handling)), event: changed(extension, func(m proto.Message) { m.(*pb.ExtensionGranted).HandleBy = after(time.Hour) })},
		{name: "an extension in retrospect", before: passed(asked(lived(handling))), event: extension},
		{name: "a request for an extension in retrospect", before: passed(lived(handling)), event: &pb.ExtensionRequested{Number: 1}},
		{name: "an extension out of count", before: asked(lived(handling)), event: changed(extension, func(m proto.Message) { m.(*pb.ExtensionGranted).Number = 2 })},
		{name: "a suspension", before: asked(lived(handling)), event: suspension, whole: true},
		{name: "a suspension that nobody asked for", before: lived(handling), event: suspension},
		{name: "a suspension in retrospect", before: passed(asked(lived(handling))), event: suspension},
		{name: "a suspension that says it goes on", before: asked(lived(handling)), event: changed(suspension, func(m proto.Message) { m.(*pb.SuspensionGranted).Renewed = true })},
		{name: "a resumption", before: stopped(lived(suspended)), event: &pb.TicketResumed{HandleBy: after(time.Hour), CloseBy: after(2 * time.Hour)}, whole: true},
		{name: "a resumption without a limit", before: stopped(lived(suspended)), event: &pb.TicketResumed{}},
		{name: "limits computed again", before: lived(handling), event: &pb.LimitsRecomputed{HandleBy: after(30 * time.Hour)}, whole: true},
		{name: "a signature that moves the limit", before: lived(pb.TicketState_TICKET_STATE_DISPATCHED), event: &pb.TicketSigned{}, tamper: func(s *State, _ *pb.EventMeta) { s.Limits.HandleBy = noon.Add(time.Hour) }},
		{name: "a dispatch that restarts the clock", before: lived(pb.TicketState_TICKET_STATE_ADJUDICATION), event: changed(dispatched, func(m proto.Message) { m.(*pb.TicketDispatched).Hop = 2 })},
		{name: "a dispatch of a hop that is not the next", before: first(lived(triaged)), event: changed(dispatched, func(m proto.Message) { m.(*pb.TicketDispatched).Hop = 2 })},
		{name: "a dispatch into the unit complained of", before: func() State { s := first(lived(triaged)); s.ComplainedOf = "b"; return s }(), event: changed(dispatched, func(m proto.Message) { m.(*pb.TicketDispatched).LeadPath = []string{"b", "a"} })},
		{name: "a time of acceptance that changed", before: first(lived(triaged)), event: dispatched, tamper: func(s *State, _ *pb.EventMeta) { s.AcceptedAt = s.AcceptedAt.Add(time.Second) }},
		{name: "a number that changed", before: first(lived(triaged)), event: dispatched, tamper: func(s *State, _ *pb.EventMeta) { s.No = "2" }},
		{name: "a state that does not follow", before: first(lived(triaged)), event: dispatched, tamper: func(s *State, _ *pb.EventMeta) { s.State = handling }},
		{name: "an event that was skipped", before: first(lived(triaged)), event: dispatched, tamper: func(s *State, _ *pb.EventMeta) { s.Events++ }},
		{name: "an event recorded before it happened", before: first(lived(triaged)), event: dispatched, tamper: func(_ *State, m *pb.EventMeta) { m.RecordedAt = after(-time.Second) }},
		{name: "a limit that progress moved", before: lived(handling), event: &pb.ProgressRecorded{}, tamper: func(s *State, _ *pb.EventMeta) { s.Limits.HandleBy = s.Limits.HandleBy.Add(-time.Second) }},
		{name: "a round that progress began", before: lived(handling), event: &pb.ProgressRecorded{}, tamper: func(s *State, _ *pb.EventMeta) { s.Round++ }},
		{name: "a correction that shortens", before: lived(handling), event: &pb.TriageCorrected{Grade: 1, HandleBy: after(time.Hour), CloseBy: after(2 * time.Hour)}, whole: true},
		{name: "a correction that lengthens", before: lived(handling), event: &pb.TriageCorrected{Grade: 4, HandleBy: after(30 * time.Hour), CloseBy: after(48 * time.Hour)}},
		{name: "a result without a contact", before: lived(handling), event: &pb.ResultSubmitted{}},
		{name: "a result while a whistle is open", before: func() State {
			s := lived(handling)
			s.Contacted, s.Whistles = true, []Whistle{{ID: "w"}}
			return s
		}(), event: &pb.ResultSubmitted{}},
		{name: "a closing", before: verified(lived(callback)), event: &pb.TicketClosed{}, whole: true},
		{name: "a closing that was not verified", before: func() State { s := verified(lived(callback)); s.Verified = false; return s }(), event: &pb.TicketClosed{}},
		{name: "a closing without a callback", before: func() State { s := verified(lived(callback)); s.CallbackSettled = false; return s }(), event: &pb.TicketClosed{}},
		{name: "a reopening to another lead", before: lived(closed), event: &pb.TicketReopened{Round: 2, Lead: "b", RedoBy: after(time.Hour), CloseBy: after(2 * time.Hour)}},
		{name: "a reopening that skips a round", before: lived(closed), event: &pb.TicketReopened{Round: 3, Lead: "a", RedoBy: after(time.Hour), CloseBy: after(2 * time.Hour)}},
		{name: "a decline by its proposer", before: func() State {
			s := first(lived(reported))
			s.DeclineProposal = &pb.Actor{Person: "p"}
			return s
		}(), event: &pb.TicketDeclined{ProposedBy: &pb.Actor{Person: "p"}}},
		{name: "a void that nobody proposed", before: first(lived(triaged)), event: &pb.TicketVoided{}},
		{name: "a settled whistle that is not linked", before: lived(handling), event: &pb.WhistleSettled{Whistle: "w"}},
		{name: "a rework that is not the next", before: lived(pb.TicketState_TICKET_STATE_RESULT_SUBMITTED), event: &pb.VerificationFailed{Rework: 2}},
		{name: "an import's closing of what was reported here", before: first(lived(reported)), event: &pb.ImportedRecordClosed{}},
		{name: "a life before the report", event: &pb.WhistleLinked{Whistle: "w"}},
		{name: "a whistle's event", before: lived(handling), event: &pb.WhistleClosed{}},
	} {
		meta := &pb.EventMeta{OccurredAt: after(0), RecordedAt: after(0), Actor: &pb.Actor{Person: "p"}}
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
