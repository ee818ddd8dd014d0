package ticket

import (
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/rule"
)

// dispatch: one unit is made accountable (派单), and its limits begin to run.
func dispatch(s State, a *rule.Asked, c *pb.DispatchTicketRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_DISPATCHER); err != nil {
		return nil, err
	}
	if err := s.scope(a); err != nil {
		return nil, err
	}
	if err := s.in(pb.TicketState_TICKET_STATE_TRIAGED, pb.TicketState_TICKET_STATE_ADJUDICATION); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.Decided.At); err != nil {
		return nil, err
	}
	lead, co := c.Lead, c.Co
	if lead == "" {
		lead = s.ProposedLead
	}
	if len(co) == 0 {
		co = s.ProposedCo
	}
	if lead == "" {
		return nil, rule.Bad("lead", rule.MissingField, "is required; triage proposed none")
	}
	if err := activeUnit(a, "lead", lead); err != nil {
		return nil, err
	}
	if err := coHandlers(a, lead, co); err != nil {
		return nil, err
	}
	if err := complainedOf(a, s.ComplainedOf, s.Confidentiality, lead, co); err != nil {
		return nil, err
	}
	if !rule.Within(a.Registry, lead, a.Actor.Unit) {
		return nil, rule.Bad("lead", rule.OutOfScope, "unit %q is not below yours; blow a whistle for it", lead)
	}
	if c.BasisRule > 8 {
		return nil, rule.Bad("basis_rule", rule.BadField, "want 0 to 8")
	}
	at := a.OccurredAt
	d := s.due(a)
	e := &pb.TicketDispatched{
		Lead: lead, LeadPath: a.Registry.UnitPath(lead), Co: co, Round: max(s.Round, 1), Hop: s.Hop + 1,
		SignBy: d.by(calendar.Sign, at), ContactBy: d.by(calendar.Contact, at), ReturnBy: d.by(calendar.ReturnWindow, at),
		HandleBy: rule.Stamp(s.Limits.HandleBy), CloseBy: rule.Stamp(s.Limits.CloseBy),
		BasisRule: c.BasisRule, CatalogueVersion: a.Registry.Version(), Sealed: a.Sealed,
	}
	if e.HandleBy == nil { // the first hop: dispatching again never restarts the petitioner's clock
		e.HandleBy = d.by(calendar.Handle, at)
		e.CloseBy = d.by(calendar.Close, rule.Instant(e.HandleBy))
	}
	e.SegmentBy = e.HandleBy
	e.Provisional = d.provisional
	if d.err != nil {
		return nil, d.err
	}
	return rule.One(e)
}

func (s *State) dispatched(at time.Time, e *pb.TicketDispatched) {
	s.Lead, s.LeadPath, s.Co, s.Holder, s.Round, s.Hop = e.Lead, e.LeadPath, e.Co, e.Lead, e.Round, e.Hop
	s.DispatchedAt = at
	if e.Hop == 1 {
		s.HandleStart = at
	}
	s.Limits = Limits{
		SignBy: rule.Instant(e.SignBy), ContactBy: rule.Instant(e.ContactBy), ReturnBy: rule.Instant(e.ReturnBy),
		HandleBy: rule.Instant(e.HandleBy), CloseBy: rule.Instant(e.CloseBy), SegmentBy: rule.Instant(e.SegmentBy),
	}
}
