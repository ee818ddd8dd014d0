package ticket

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/rule"
)

// returnsEnough is after how many requests to return it, in one round, a ticket goes to a ruling instead of to another unit.
const returnsEnough = 2

// requestReturn: the lead claims not to be responsible (退单). The clock runs on. After the second claim of a round nobody is
// tried any more: the units that led it go to a ruling.
func requestReturn(s State, a *rule.Asked, c *pb.RequestReturnRequest) ([]proto.Message, error) {
	if err := s.byLead(a); err != nil {
		return nil, err
	}
	if err := s.in(pb.TicketState_TICKET_STATE_DISPATCHED, pb.TicketState_TICKET_STATE_HANDLING); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.DispatchedAt); err != nil {
		return nil, err
	}
	if c.Reason == pb.ReturnReason_RETURN_REASON_UNSPECIFIED {
		return nil, rule.Bad("reason", rule.MissingField, "is required")
	}
	if err := reference("basis_ref", c.BasisRef); err != nil {
		return nil, err
	}
	if err := said("text", c.GetParticulars().GetText()); err != nil {
		return nil, err
	}
	if c.Suggested == "" {
		return nil, rule.Bad("suggested", rule.MissingField, "is required: the unit that should lead instead")
	}
	if err := activeUnit(a, "suggested", c.Suggested); err != nil {
		return nil, err
	}
	if c.Suggested == s.Lead {
		return nil, rule.Bad("suggested", rule.BadField, "unit %q leads already", c.Suggested)
	}
	switch {
	case s.Grade == pb.Grade_GRADE_G0:
		return nil, rule.No(rule.NotReturnable, "a matter of grade G0 is handled first")
	case s.NonReturnable:
		return nil, rule.No(rule.NotReturnable, "it was ruled, or decided before, that the lead keeps it")
	case s.Limits.ReturnBy.IsZero():
		return nil, rule.No(rule.NotReturnable, "there is no right to return it")
	case !calendar.OnTime(a.OccurredAt, s.Limits.ReturnBy), !calendar.OnTime(a.At, s.Limits.ReturnBy): // nor is it asked for in retrospect
		return nil, rule.No(rule.ReturnLapsed, "the right to return it lapsed at %s", s.Limits.ReturnBy.In(a.Calendar.Zone()).Format(time.RFC3339))
	}
	d := s.due(a)
	e := &pb.ReturnRequested{
		Reason: c.Reason, BasisRef: c.BasisRef, Suggested: c.Suggested, DecideBy: d.by(calendar.ReturnDecision, a.OccurredAt), Sealed: a.Sealed,
		Unit: s.Lead, Number: s.Returns + 1,
	}
	e.Provisional = d.provisional
	if d.err != nil {
		return nil, d.err
	}
	if e.Number < returnsEnough {
		return rule.One(e)
	}
	e.DecideBy, e.Provisional = nil, false // it is not decided alone any more
	opened, err := s.dispute(a, s.Led)
	if err != nil {
		return nil, err
	}
	opened.Automatic = true
	return []proto.Message{e, opened}, nil
}

func (s *State) returnRequested(e *pb.ReturnRequested) {
	s.Returns, s.ReturnAsked = e.Number, true
	s.Limits.SignBy, s.Limits.ReturnBy, s.Limits.DecideReturnBy = time.Time{}, time.Time{}, rule.Instant(e.DecideBy)
}

// decideReturn: the lead is released, or stays. The unit that asks does not decide.
func decideReturn(s State, a *rule.Asked, c *pb.DecideReturnRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_DISPATCHER, pb.Role_ROLE_DUTY_LEADER); err != nil {
		return nil, err
	}
	if err := s.over(a); err != nil {
		return nil, err
	}
	if err := s.in(pb.TicketState_TICKET_STATE_RETURN_REVIEW); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.Decided.At); err != nil {
		return nil, err
	}
	if rule.Within(a.Registry, a.Actor.Unit, s.Lead) {
		return nil, rule.No(rule.SeparationOfDuties, "the unit that asks to return it does not decide")
	}
	if !c.Approved {
		if err := said("note", c.GetParticulars().GetNote()); err != nil {
			return nil, err
		}
		return rule.One(&pb.ReturnRejected{Unit: s.Lead, Sealed: a.Sealed})
	}
	if c.Fault == pb.ReturnFault_RETURN_FAULT_UNSPECIFIED {
		return nil, rule.Bad("fault", rule.MissingField, "is required to approve")
	}
	d := s.due(a)
	e := &pb.ReturnApproved{
		Fault: c.Fault, Sealed: a.Sealed, Unit: s.Lead, Holder: s.home(a), DispatchBy: d.by(calendar.Dispatch, a.OccurredAt),
	}
	e.HolderPath = a.Registry.UnitPath(e.Holder)
	e.Provisional = d.provisional
	if d.err != nil {
		return nil, d.err
	}
	return rule.One(e)
}

// lapseReturn: nobody decided on a return in time, so the lead stays (退单逾期未审).
func lapseReturn(s State, _ *rule.Asked) []proto.Message {
	return []proto.Message{&pb.ReturnRejected{Unit: s.Lead, Lapsed: true}}
}

// returnApproved: nobody leads until another dispatch, which has to name its lead: what triage proposed has failed.
func (s *State) returnApproved(meta *pb.EventMeta, e *pb.ReturnApproved) {
	s.ReturnedAt = rule.Instant(meta.GetOccurredAt())
	s.Lead, s.LeadPath, s.Co, s.CoTasks, s.Holder = "", nil, nil, nil, e.Holder
	s.ProposedLead, s.ProposedCo = "", nil
	s.handed(&leg{handleBy: rule.Stamp(s.Limits.HandleBy), closeBy: rule.Stamp(s.Limits.CloseBy)})
	s.Limits.DispatchBy = rule.Instant(e.DispatchBy)
}

// returnRejected: no time is given back, and the lead does not ask again.
func (s *State) returnRejected() { s.NonReturnable, s.Limits.DecideReturnBy = true, time.Time{} }

// mayReturn says whether the lead could ask at the instant, whoever recorded that it did.
func (s *State) mayReturn(at time.Time, e *pb.ReturnRequested) bool {
	return e.Unit == s.Lead && e.Number == s.Returns+1 && !s.NonReturnable && !s.ReturnAsked && s.Grade != pb.Grade_GRADE_G0 &&
		!s.Limits.ReturnBy.IsZero() && calendar.OnTime(at, s.Limits.ReturnBy) && slices.Contains(s.Led, e.Unit)
}
