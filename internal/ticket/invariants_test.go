package ticket

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

var noon = time.Date(2025, 3, 5, 4, 0, 0, 0, time.UTC)

func after(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(noon.Add(d)) }

// lived is a ticket in a state, as a history could have left it.
func lived(state pb.TicketState) State {
	return State{
		Life:       rule.Life[pb.TicketState]{State: state, Events: 4, No: "1"},
		ReportedAt: noon, AcceptedAt: noon, Lead: "a", Holder: "a", Round: 1, Hop: 1,
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
	delegated := &pb.TicketDelegated{
		From: "a", To: "b", LeadPath: []string{"a", "b"}, FromLevel: "street", ToLevel: "community", Round: 1, Hop: 2, HandleBy: after(24 * time.Hour), CloseBy: after(48 * time.Hour),
	}
	returnable := func() State {
		s := lived(pb.TicketState_TICKET_STATE_DISPATCHED)
		s.Limits.ReturnBy, s.Led = noon.Add(time.Hour), []string{"a"}
		return s
	}
	escalatedTwice := func() State {
		s := lived(pb.TicketState_TICKET_STATE_DISPATCHED)
		s.Escalated, s.Moves = true, []Move{{From: "b", To: "a", Refused: true}, {From: "b", To: "a"}}
		return s
	}
	escalatedOnce := func(change func(*State)) State {
		s := escalatedTwice()
		s.Moves = s.Moves[1:]
		change(&s)
		return s
	}
	asked := func(state pb.CoTaskState) State {
		s := lived(handling)
		s.Contacted, s.Co, s.CoTasks = true, []string{"b"}, []CoTask{{Unit: "b", Mandatory: true, State: state}}
		return s
	}
	first := func(s State) State {
		s.Lead, s.Hop, s.Round, s.Limits = "", 0, 0, Limits{}
		return s
	}
	const suspended = pb.TicketState_TICKET_STATE_SUSPENDED
	recorded := func(later time.Duration) func(*State, *pb.EventMeta) {
		return func(_ *State, m *pb.EventMeta) { m.RecordedAt = after(later) }
	}
	late := func(from, until time.Time) State {
		s := lived(handling)
		s.Late = []LateFacts{{Unit: "a", NotBefore: from, Until: until, By: "leader"}}
		return s
	}
	extension := &pb.ExtensionGranted{HandleBy: after(30 * time.Hour), CloseBy: after(50 * time.Hour), Number: 1, WorkingDays: 1}
	suspension := &pb.SuspensionGranted{Remaining: "1 WD", ReviewAt: after(72 * time.Hour)}
	wanted := func(s State) State {
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
	attached := func(s State) State {
		s.Duplicates, s.Attached = []string{"d"}, []Attachment{{Event: 3}}
		return s
	}
	whistled := func(s State) State {
		s.Whistles = []Whistle{{ID: "w"}}
		return s
	}
	merged := lived(pb.TicketState_TICKET_STATE_MERGED)
	merged.MergedInto, merged.Before = "b", &Shelved{State: pb.TicketState_TICKET_STATE_DISPATCHED, Limits: merged.Limits}
	merged.Limits = Limits{}
	appealed := first(lived(pb.TicketState_TICKET_STATE_DECLINED))
	appealed.AcceptedAt, appealed.DeclineAppealed = time.Time{}, true
	corrected := lived(pb.TicketState_TICKET_STATE_ARCHIVED)
	corrected.Correction, corrected.CorrectionBy = &pb.ArchiveCorrectionProposed{}, &pb.Actor{Person: "q"}
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
		{name: "an extension", before: wanted(lived(handling)), event: extension, whole: true},
		{name: "an extension that nobody asked for", before: lived(handling), event: extension},
		{name: "an extension that shortens", before: wanted(lived(handling)), event: changed(extension, func(m proto.Message) { m.(*pb.ExtensionGranted).HandleBy = after(time.Hour) })},
		{name: "an extension in retrospect", before: passed(wanted(lived(handling))), event: extension},
		{name: "a request for an extension in retrospect", before: passed(lived(handling)), event: &pb.ExtensionRequested{Number: 1}},
		{name: "an extension out of count", before: wanted(lived(handling)), event: changed(extension, func(m proto.Message) { m.(*pb.ExtensionGranted).Number = 2 })},
		{name: "a suspension", before: wanted(lived(handling)), event: suspension, whole: true},
		{name: "a suspension that nobody asked for", before: lived(handling), event: suspension},
		{name: "a suspension in retrospect", before: passed(wanted(lived(handling))), event: suspension},
		{name: "a suspension that says it goes on", before: wanted(lived(handling)), event: changed(suspension, func(m proto.Message) { m.(*pb.SuspensionGranted).Renewed = true })},
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
		{name: "late facts admitted", before: lived(handling), event: &pb.LateFactsAdmitted{Unit: "a", NotBefore: after(0)}, whole: true, tamper: recorded(73 * time.Hour)},
		{name: "facts admitted that are not late", before: lived(handling), event: &pb.LateFactsAdmitted{Unit: "a", NotBefore: after(0)}, tamper: recorded(72 * time.Hour)},
		{name: "late facts of nobody", before: lived(handling), event: &pb.LateFactsAdmitted{NotBefore: after(0)}, tamper: recorded(73 * time.Hour)},
		{name: "facts admitted that lie before the dispatch", before: func() State { s := lived(handling); s.DispatchedAt = noon.Add(time.Hour); return s }(), event: &pb.LateFactsAdmitted{Unit: "a", NotBefore: after(0)}, tamper: recorded(80 * time.Hour)},
		{name: "progress of three days ago", before: lived(handling), event: &pb.ProgressRecorded{}, whole: true, tamper: recorded(72 * time.Hour)},
		{name: "progress of longer ago", before: lived(handling), event: &pb.ProgressRecorded{}, tamper: recorded(73 * time.Hour)},
		{name: "progress of longer ago that was admitted", before: late(noon, noon.Add(73*time.Hour)), event: &pb.ProgressRecorded{}, whole: true, tamper: recorded(73 * time.Hour)},
		{name: "progress of before what was admitted", before: late(noon.Add(time.Second), noon.Add(73*time.Hour)), event: &pb.ProgressRecorded{}, tamper: recorded(73 * time.Hour)},
		{name: "progress told after it was admitted", before: late(noon, noon.Add(72*time.Hour)), event: &pb.ProgressRecorded{}, tamper: recorded(73 * time.Hour)},
		{name: "progress told by who admitted it", before: late(noon, noon.Add(80*time.Hour)), event: &pb.ProgressRecorded{}, tamper: func(_ *State, m *pb.EventMeta) {
			m.RecordedAt, m.Actor = after(73*time.Hour), &pb.Actor{Person: "leader"}
		}},
		{name: "a result without a contact", before: lived(handling), event: &pb.ResultSubmitted{}},
		{name: "a result while a whistle is open", before: func() State {
			s := lived(handling)
			s.Contacted, s.Whistles = true, []Whistle{{ID: "w"}}
			return s
		}(), event: &pb.ResultSubmitted{}},
		{name: "a closing", before: verified(lived(callback)), event: &pb.TicketClosed{}, whole: true},
		{name: "a closing of what is listed", before: func() State { s := verified(lived(callback)); s.Listed = true; return s }(), event: &pb.TicketClosed{}},
		{name: "supervision that rises", before: lived(handling), event: &pb.SupervisionRaised{Level: 3}, whole: true},
		{name: "supervision that falls", before: func() State { s := lived(handling); s.Supervision = 3; return s }(), event: &pb.SupervisionRaised{Level: 2}},
		{name: "supervision that something else ends", before: func() State { s := lived(handling); s.Supervision = 3; return s }(), event: &pb.ProgressRecorded{}, tamper: func(s *State, _ *pb.EventMeta) { s.Supervision = 0 }},
		{name: "a listing that is lifted", before: func() State { s := lived(handling); s.Supervision, s.Listed = 3, true; return s }(), event: &pb.SupervisionLifted{Level: 3}},
		{name: "a listing that is cleared before anybody said that it is gone", before: func() State { s := lived(handling); s.Supervision, s.Listed = 3, true; return s }(), event: &pb.ListingCleared{}},
		{name: "an answer to nobody", before: lived(handling), event: &pb.SupervisionReplied{}},
		{name: "an exclusion that nobody asked for", before: lived(closed), event: &pb.ExclusionGranted{Code: pb.ExclusionCode_EXCLUSION_CODE_X7}},
		{name: "an exclusion from another rate", before: lived(closed), event: &pb.ExclusionRequested{Code: pb.ExclusionCode_EXCLUSION_CODE_X7, Metrics: []string{"M22"}}},
		{name: "an exclusion that was denied", before: func() State {
			s := lived(closed)
			s.ExclusionDenied = []pb.ExclusionCode{pb.ExclusionCode_EXCLUSION_CODE_X7}
			return s
		}(), event: &pb.ExclusionRequested{Code: pb.ExclusionCode_EXCLUSION_CODE_X7}},
		{name: "a limit that had not passed", before: lived(handling), event: &pb.HandleOverdue{By: after(24 * time.Hour)}},
		{name: "another limit that had passed", before: lived(handling), event: &pb.HandleOverdue{By: after(-time.Hour)}},
		{name: "a closing that was not verified", before: func() State { s := verified(lived(callback)); s.Verified = false; return s }(), event: &pb.TicketClosed{}},
		{name: "a closing without a callback", before: func() State { s := verified(lived(callback)); s.CallbackSettled = false; return s }(), event: &pb.TicketClosed{}},
		{name: "a reopening to another lead", before: lived(closed), event: &pb.TicketReopened{Round: 2, Lead: "b", RedoBy: after(time.Hour), CloseBy: after(2 * time.Hour)}},
		{name: "a move of the lead", before: lived(handling), event: &pb.HolderMoved{From: "a", To: "b"}, whole: true},
		{name: "a move from a unit that has not got it", before: lived(handling), event: &pb.HolderMoved{From: "x", To: "b"}},
		{name: "a move to nobody", before: lived(handling), event: &pb.HolderMoved{From: "a"}},
		{name: "a move into the unit complained of", before: func() State { s := lived(handling); s.ComplainedOf = "b"; return s }(), event: &pb.HolderMoved{From: "a", To: "b", HolderPath: []string{"c", "b"}}},
		{name: "a move of a closed ticket", before: lived(closed), event: &pb.HolderMoved{From: "a", To: "b"}},
		{name: "a reopening that skips a round", before: lived(closed), event: &pb.TicketReopened{Round: 3, Lead: "a", RedoBy: after(time.Hour), CloseBy: after(2 * time.Hour)}},
		{name: "a decline by its proposer", before: func() State {
			s := first(lived(reported))
			s.DeclineProposal = &pb.Actor{Person: "p"}
			return s
		}(), event: &pb.TicketDeclined{ProposedBy: &pb.Actor{Person: "p"}}},
		{name: "a void that nobody proposed", before: first(lived(triaged)), event: &pb.TicketVoided{}},
		{name: "a dispatch to a unit that was ruled out", before: func() State { s := first(lived(triaged)); s.RuledOut = []string{"a"}; return s }(), event: dispatched},
		{name: "a dispatch after two returns", before: func() State { s := first(lived(triaged)); s.Returns = 2; return s }(), event: dispatched},
		{name: "a delegation", before: lived(handling), event: delegated, whole: true},
		{name: "a delegation by a unit that does not hold the ticket", before: lived(handling), event: changed(delegated, func(m proto.Message) { m.(*pb.TicketDelegated).From = "c" })},
		{name: "a delegation on one level", before: lived(handling), event: changed(delegated, func(m proto.Message) { m.(*pb.TicketDelegated).ToLevel = "street" })},
		{name: "a delegation that restarts the clock", before: lived(handling), event: changed(delegated, func(m proto.Message) { m.(*pb.TicketDelegated).HandleBy = after(30 * time.Hour) })},
		{name: "a delegation of a hop that is not the next", before: lived(handling), event: changed(delegated, func(m proto.Message) { m.(*pb.TicketDelegated).Hop = 3 })},
		{name: "a delegation into the unit complained of", before: func() State { s := lived(handling); s.ComplainedOf = "b"; return s }(), event: delegated},
		{name: "a delegation to a unit that was ruled out", before: func() State { s := lived(handling); s.RuledOut = []string{"b"}; return s }(), event: delegated},
		{name: "a delegation once too often", before: func() State {
			s := lived(handling)
			s.Moves = []Move{{From: "a", To: "b"}, {From: "b", To: "a"}}
			return s
		}(), event: delegated},
		{name: "a delegation that may be returned though the ruling may not", before: func() State { s := lived(handling); s.NonReturnable = true; return s }(), event: changed(delegated, func(m proto.Message) { m.(*pb.TicketDelegated).ReturnBy = after(time.Hour) })},
		{name: "an escalation", before: lived(handling), event: &pb.TicketEscalated{From: "a", To: "b", LeadPath: []string{"b"}, FromLevel: "street", ToLevel: "district"}, whole: true},
		{name: "an escalation by a unit that does not lead", before: lived(handling), event: &pb.TicketEscalated{From: "c", To: "b", LeadPath: []string{"b"}, FromLevel: "street", ToLevel: "district"}},
		{name: "an escalation refused that was none", before: lived(pb.TicketState_TICKET_STATE_DISPATCHED), event: &pb.EscalationRefused{From: "a", To: "b"}},
		{name: "an escalation refused to who is complained of", before: escalatedOnce(func(s *State) { s.ComplainedOf = "b" }), event: &pb.EscalationRefused{From: "a", To: "b", LeadPath: []string{"a", "b"}}},
		{name: "an escalation refused to who is ruled out", before: escalatedOnce(func(s *State) { s.RuledOut = []string{"b"} }), event: &pb.EscalationRefused{From: "a", To: "b", LeadPath: []string{"a", "b"}}},
		{name: "an escalation refused twice", before: escalatedTwice(), event: &pb.EscalationRefused{From: "a", To: "b"}},
		{name: "a return", before: returnable(), event: &pb.ReturnRequested{Unit: "a", Number: 1}, whole: true},
		{name: "a return by a unit that does not lead", before: returnable(), event: &pb.ReturnRequested{Unit: "b", Number: 1}},
		{name: "a return that is not the next", before: returnable(), event: &pb.ReturnRequested{Unit: "a", Number: 2}},
		{name: "a return of what may not be returned", before: func() State { s := returnable(); s.NonReturnable = true; return s }(), event: &pb.ReturnRequested{Unit: "a", Number: 1}},
		{name: "a second return in a hop", before: func() State { s := returnable(); s.ReturnAsked = true; return s }(), event: &pb.ReturnRequested{Unit: "a", Number: 1}},
		{name: "a return after the window", before: func() State { s := returnable(); s.Limits.ReturnBy = noon.Add(-time.Hour); return s }(), event: &pb.ReturnRequested{Unit: "a", Number: 1}},
		{name: "a release of a unit that does not lead", before: lived(pb.TicketState_TICKET_STATE_RETURN_REVIEW), event: &pb.ReturnApproved{Unit: "b"}},
		{name: "a rejection for a unit that does not lead", before: lived(pb.TicketState_TICKET_STATE_RETURN_REVIEW), event: &pb.ReturnRejected{Unit: "b"}},
		{name: "a ruling against its own lead", before: lived(pb.TicketState_TICKET_STATE_ADJUDICATION), event: &pb.AdjudicationRuled{Lead: "a", RuledOut: []string{"a"}}},
		{name: "a fallback that is ruled out", before: lived(pb.TicketState_TICKET_STATE_ADJUDICATION), event: &pb.FallbackAssigned{Unit: "a", RuledOut: []string{"a"}}},
		{name: "a task of the lead", before: lived(handling), event: &pb.CoHandlerRequested{Unit: "a"}},
		{name: "a task that is due after the ticket", before: lived(handling), event: &pb.CoHandlerRequested{Unit: "b", SubmitBy: after(25 * time.Hour)}},
		{name: "a second task of a unit", before: asked(pb.CoTaskState_CO_TASK_STATE_ACCEPTED), event: &pb.CoHandlerRequested{Unit: "b"}},
		{name: "a task taken", before: asked(pb.CoTaskState_CO_TASK_STATE_REQUESTED), event: &pb.CoHandlerAccepted{Unit: "b"}, whole: true},
		{name: "a task taken twice", before: asked(pb.CoTaskState_CO_TASK_STATE_ACCEPTED), event: &pb.CoHandlerAccepted{Unit: "b"}},
		{name: "a task taken by another", before: asked(pb.CoTaskState_CO_TASK_STATE_REQUESTED), event: &pb.CoHandlerAccepted{Unit: "c"}},
		{name: "a task that was released unasked", before: asked(pb.CoTaskState_CO_TASK_STATE_ACCEPTED), event: &pb.CoHandlerDeclined{Unit: "b"}},
		{name: "a task submitted twice", before: asked(pb.CoTaskState_CO_TASK_STATE_SUBMITTED), event: &pb.CoHandlerSubmitted{Unit: "b"}},
		{name: "a result before a task that it must wait for", before: asked(pb.CoTaskState_CO_TASK_STATE_REQUESTED), event: &pb.ResultSubmitted{}},
		{name: "a result after the task that it must wait for", before: asked(pb.CoTaskState_CO_TASK_STATE_SUBMITTED), event: &pb.ResultSubmitted{}, whole: true},
		{name: "a settled whistle that is not linked", before: lived(handling), event: &pb.WhistleSettled{Whistle: "w"}},
		{name: "a rework that is not the next", before: lived(pb.TicketState_TICKET_STATE_RESULT_SUBMITTED), event: &pb.VerificationFailed{Rework: 2}},
		{name: "an import's closing of what was reported here", before: first(lived(reported)), event: &pb.ImportedRecordClosed{}},
		{name: "an overturned decline", before: appealed, event: &pb.DeclineOverturned{}, whole: true},
		{name: "an overturned decline without an appeal", before: func() State { s := appealed; s.DeclineAppealed = false; return s }(), event: &pb.DeclineOverturned{}},
		{name: "an overturned decline of what was accepted", before: func() State { s := appealed; s.AcceptedAt = noon.Add(-time.Hour); return s }(), event: &pb.DeclineOverturned{}},
		{name: "a merge", before: first(lived(triaged)), event: &pb.TicketMerged{Into: "b"}, whole: true},
		{name: "a merge of what is dispatched, whose limits rest", before: lived(pb.TicketState_TICKET_STATE_DISPATCHED), event: &pb.TicketMerged{Into: "b"}, whole: true},
		{name: "a merge into nothing", before: first(lived(triaged)), event: &pb.TicketMerged{}},
		{name: "a merge of what has duplicates", before: attached(first(lived(triaged))), event: &pb.TicketMerged{Into: "b"}},
		{name: "a merge while a whistle is open", before: whistled(first(lived(triaged))), event: &pb.TicketMerged{Into: "b"}},
		{name: "a merge of what is in hand", before: lived(handling), event: &pb.TicketMerged{Into: "b"}},
		{name: "an unmerging", before: merged, event: &pb.TicketUnmerged{From: "b", State: pb.TicketState_TICKET_STATE_DISPATCHED}, whole: true},
		{name: "an unmerging from another", before: merged, event: &pb.TicketUnmerged{From: "c", State: pb.TicketState_TICKET_STATE_DISPATCHED}},
		{name: "an unmerging to another state", before: merged, event: &pb.TicketUnmerged{From: "b", State: handling}},
		{name: "an unmerging to another limit", before: merged, event: &pb.TicketUnmerged{From: "b", State: pb.TicketState_TICKET_STATE_DISPATCHED}, tamper: func(s *State, _ *pb.EventMeta) { s.Limits.HandleBy = noon.Add(25 * time.Hour) }},
		{name: "an unmerging that leaves it a duplicate", before: merged, event: &pb.TicketUnmerged{From: "b", State: pb.TicketState_TICKET_STATE_DISPATCHED}, tamper: func(s *State, _ *pb.EventMeta) { s.MergedInto = "b" }},
		{name: "a duplicate", before: lived(handling), event: &pb.DuplicateAttached{Ticket: "d"}, whole: true},
		{name: "a duplicate without a name", before: lived(handling), event: &pb.DuplicateAttached{}},
		{name: "a duplicate of what is closed", before: lived(closed), event: &pb.DuplicateAttached{Ticket: "d"}},
		{name: "a duplicate of a duplicate", before: merged, event: &pb.DuplicateAttached{Ticket: "d"}},
		{name: "a duplicate that is none any more", before: attached(lived(closed)), event: &pb.DuplicateDetached{Ticket: "d"}, whole: true},
		{name: "a duplicate that never was one", before: lived(closed), event: &pb.DuplicateDetached{Ticket: "d"}},
		{name: "a callback of a duplicate", before: merged, event: &pb.CallbackRecorded{}, whole: true},
		{name: "a closing of a duplicate", before: verified(merged), event: &pb.TicketClosed{}},
		{name: "a withdrawal", before: lived(handling), event: &pb.TicketWithdrawn{}, whole: true},
		{name: "a withdrawal of what speaks for others", before: attached(lived(handling)), event: &pb.TicketWithdrawn{}},
		{name: "a withdrawal while a whistle is open", before: whistled(lived(handling)), event: &pb.TicketWithdrawn{}},
		{name: "a withdrawal that leaves a limit", before: lived(handling), event: &pb.TicketWithdrawn{}, tamper: func(s *State, _ *pb.EventMeta) { s.Limits.HandleBy = noon }},
		{name: "an archiving of what is open", before: lived(callback), event: &pb.TicketArchived{}},
		{name: "a correction by two", before: corrected, event: &pb.ArchiveCorrected{ProposedBy: &pb.Actor{Person: "q"}, Category: "1"}, whole: true},
		{name: "a correction by another than who proposed it", before: corrected, event: &pb.ArchiveCorrected{ProposedBy: &pb.Actor{Person: "r"}}},
		{name: "a correction by one", before: func() State { s := corrected; s.CorrectionBy = &pb.Actor{Person: "p"}; return s }(), event: &pb.ArchiveCorrected{ProposedBy: &pb.Actor{Person: "p"}}},
		{name: "a correction of what is not archived", before: lived(closed), event: &pb.ArchiveCorrectionProposed{}},
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
