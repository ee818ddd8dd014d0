package ticket

import (
	"slices"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
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
	if s.State == pb.TicketState_TICKET_STATE_ADJUDICATION || s.Returns >= returnsEnough {
		return nil, &rule.Refusal{Reason: rule.RulingNeeded, Message: "whose duty it is must be ruled on first", DecidedBy: s.Decided.String()}
	}
	lead, co := c.Lead, c.Co
	if lead == "" {
		lead = s.ProposedLead
	}
	if len(co) == 0 {
		co = without(s.ProposedCo, lead) // who was to help may lead instead
	}
	if lead == "" {
		return nil, rule.Bad("lead", rule.MissingField, "is required; triage proposed none")
	}
	if c.BasisRule > 8 {
		return nil, rule.Bad("basis_rule", rule.BadField, "want 0 to 8")
	}
	if slices.Contains(s.RuledOut, lead) {
		return nil, rule.Bad("lead", rule.RuledOut, "it was ruled that unit %q does not lead", lead)
	}
	if err := s.mayLead(a, lead, co, c); err != nil {
		return nil, err
	}
	e, err := s.sent(a, lead, co)
	if err != nil {
		return nil, err
	}
	e.BasisRule, e.Sealed = c.BasisRule, a.Sealed
	e.Task, e.Admission = s.ordered(c)
	return rule.One(e)
}

// mayLead refuses a lead and co-handlers that cannot be dispatched to, and a lead that the actor does not command.
func (s *State) mayLead(a *rule.Asked, lead string, co []string, o order) error {
	if err := activeUnit(a, "lead", lead); err != nil {
		return err
	}
	if err := coHandlers(a, lead, co); err != nil {
		return err
	}
	if err := complainedOf(a, s.ComplainedOf, s.Confidentiality, lead, co); err != nil {
		return err
	}
	if !rule.Within(a.Registry, lead, a.Actor.Unit) {
		return rule.Bad("lead", rule.OutOfScope, "unit %q is not below yours; blow a whistle for it", lead)
	}
	if err := s.entrust(a, "lead", lead, o); err != nil {
		return err
	}
	for i, unit := range co {
		if err := s.deliver(a, rule.Index("co", i), unit, o); err != nil {
			return err
		}
	}
	return nil
}

// sent is the dispatch to a lead, now.
func (s *State) sent(a *rule.Asked, lead string, co []string) (*pb.TicketDispatched, error) {
	l, err := s.leg(a, a.OccurredAt)
	if err != nil {
		return nil, err
	}
	return &pb.TicketDispatched{
		Lead: lead, LeadPath: a.Registry.UnitPath(lead), Co: co, Round: max(s.Round, 1), Hop: s.Hop + 1,
		SignBy: l.signBy, ContactBy: l.contactBy, ReturnBy: l.returnBy, HandleBy: l.handleBy, CloseBy: l.closeBy, SegmentBy: l.segmentBy,
		HandleLimit: l.handleLimit, CatalogueVersion: a.Registry.Version(), Provisional: l.provisional,
	}, nil
}

func (s *State) dispatched(meta *pb.EventMeta, e *pb.TicketDispatched) {
	at := meta.GetOccurredAt().AsTime()
	tasks := slices.DeleteFunc(slices.Clone(s.CoTasks), func(t CoTask) bool { return !slices.Contains(e.Co, t.Unit) })
	s.takes(e.Lead, e.LeadPath)
	s.Co, s.CoTasks, s.Round, s.Hop = e.Co, tasks, e.Round, e.Hop
	s.DispatchedAt, s.ContactStart = at, at
	s.dispatchedBy(meta.GetActor())
	s.delivered(e.Task, e.Admission, append([]string{e.Lead}, e.Co...)...)
	s.NonReturnable, s.ReturnAsked, s.Parties = e.NonReturnable, false, nil
	if e.HandleLimit != "" {
		s.HandleLimit, s.RoundLimit = e.HandleLimit, e.HandleLimit
	}
	if e.Hop == 1 {
		s.HandleStart = at
	}
	s.handed(&leg{signBy: e.SignBy, contactBy: e.ContactBy, returnBy: e.ReturnBy, handleBy: e.HandleBy, closeBy: e.CloseBy, segmentBy: e.SegmentBy})
}

// dispatchedBy notes who gave a dispatch.
func (s *State) dispatchedBy(by *pb.Actor) {
	s.DispatchedBy = by
	if !slices.Contains(s.Dispatchers, by.GetPerson()) {
		s.Dispatchers = append(slices.Clip(s.Dispatchers), by.GetPerson())
	}
}
