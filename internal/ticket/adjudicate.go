package ticket

import (
	"cmp"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/rule"
)

// The rules of the dispatch order by which a dispatch follows from a ruling, or from the lack of one.
const (
	ruleAdjudicated = 7
	ruleFallback    = 8
)

// openAdjudication: whose duty it is will be ruled on (会商裁定). The clock runs on.
func openAdjudication(s State, a *rule.Asked, c *pb.OpenAdjudicationRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_DISPATCHER); err != nil {
		return nil, err
	}
	if err := s.over(a); err != nil {
		return nil, err
	}
	if err := s.in(pb.TicketState_TICKET_STATE_RETURN_REVIEW, pb.TicketState_TICKET_STATE_TRIAGED, pb.TicketState_TICKET_STATE_HANDLING); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.Decided.At); err != nil {
		return nil, err
	}
	if err := said("note", c.GetParticulars().GetNote()); err != nil {
		return nil, err
	}
	if len(c.Parties) < 2 {
		return nil, rule.Bad("parties", rule.MissingField, "at least two are required")
	}
	for i, unit := range c.Parties {
		field := rule.Index("parties", i)
		if err := activeUnit(a, field, unit); err != nil {
			return nil, err
		}
		if slices.Contains(c.Parties[:i], unit) {
			return nil, rule.Bad(field, rule.BadField, "unit %q is named twice", unit)
		}
		if rule.Within(a.Registry, unit, s.ComplainedOf) {
			return nil, rule.Bad(field, rule.LeadComplainedOf, "unit %q, or one above it, is complained of and may not lead", unit)
		}
	}
	e, err := s.dispute(a, c.Parties)
	if err != nil {
		return nil, err
	}
	e.Sealed = a.Sealed
	return rule.One(e)
}

// dispute opens a ruling between the parties, held by the lowest unit that commands them all and is none of them.
func (s *State) dispute(a *rule.Asked, parties []string) (*pb.AdjudicationOpened, error) {
	holder := rule.CommonUnit(a.Registry, parties...)
	for path := a.Registry.UnitPath(holder); len(path) > 1 && slices.Contains(parties, holder); {
		path = path[:len(path)-1]
		holder = path[len(path)-1]
	}
	if holder == "" {
		holder = cmp.Or(s.DispatchedBy.GetUnit(), s.Holder)
	}
	return s.disputeBefore(a, parties, holder)
}

// disputeBefore opens a ruling between the parties before a unit.
func (s *State) disputeBefore(a *rule.Asked, parties []string, holder string) (*pb.AdjudicationOpened, error) {
	holder = above(a.Registry, holder, s.ComplainedOf)
	d := s.due(a)
	e := &pb.AdjudicationOpened{
		Parties: parties, RulingBy: d.by(calendar.Ruling, a.OccurredAt), Holder: holder, HolderPath: a.Registry.UnitPath(holder),
	}
	for _, kind := range []pb.UnitKind{pb.UnitKind_UNIT_KIND_STAFFING_OFFICE, pb.UnitKind_UNIT_KIND_JUSTICE_OFFICE} {
		if office, ok := a.Registry.Office(kind, holder, a.At); ok && !rule.Within(a.Registry, office, s.ComplainedOf) {
			e.Invited = append(e.Invited, office)
		}
	}
	e.Provisional = d.provisional
	return e, d.err
}

func (s *State) adjudicationOpened(e *pb.AdjudicationOpened) {
	s.Parties, s.Holder = e.Parties, e.Holder
	s.Limits.RulingBy = rule.Instant(e.RulingBy)
	s.Limits.DispatchBy, s.Limits.SignBy, s.Limits.ReturnBy, s.Limits.DecideReturnBy = time.Time{}, time.Time{}, time.Time{}, time.Time{}
}

// ruleAdjudication: a binding ruling (裁定), and the dispatch that follows from it. Who leads by it cannot return the ticket.
func ruleAdjudication(s State, a *rule.Asked, c *pb.RuleAdjudicationRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_DUTY_LEADER); err != nil {
		return nil, err
	}
	if err := s.over(a); err != nil {
		return nil, err
	}
	if err := s.in(pb.TicketState_TICKET_STATE_ADJUDICATION); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.Decided.At); err != nil {
		return nil, err
	}
	if err := reference("basis_ref", c.BasisRef); err != nil {
		return nil, err
	}
	if err := said("note", c.GetParticulars().GetNote()); err != nil {
		return nil, err
	}
	if c.Lead == "" {
		return nil, rule.Bad("lead", rule.MissingField, "is required")
	}
	if err := s.mayLead(a, c.Lead, c.Co, c); err != nil {
		return nil, err
	}
	released := s.ReturnAsked && !s.NonReturnable && s.Lead != "" && s.Lead != c.Lead
	switch {
	case released && c.Fault == pb.ReturnFault_RETURN_FAULT_UNSPECIFIED:
		return nil, rule.Bad("fault", rule.MissingField, "is required: unit %q asked to return it and is released", s.Lead)
	case !released && c.Fault != pb.ReturnFault_RETURN_FAULT_UNSPECIFIED:
		return nil, rule.Bad("fault", rule.BadField, "no unit that asked to return it is released")
	}
	e := &pb.AdjudicationRuled{
		Lead: c.Lead, Co: c.Co, BasisRef: c.BasisRef, Fault: c.Fault, Sealed: a.Sealed, RuledOut: without(s.Led, c.Lead),
	}
	e.Task, e.Admission = s.ordered(c)
	if c.Precedent {
		e.PrecedentCategory, e.PrecedentArea = s.Category, streetOf(s.Path)
	}
	sent, err := s.sent(a, c.Lead, c.Co)
	if err != nil {
		return nil, err
	}
	sent.NonReturnable, sent.ReturnBy, sent.BasisRule = true, nil, ruleAdjudicated
	sent.Task, sent.Admission = e.Task, e.Admission
	return []proto.Message{e, sent}, nil
}

// streetOf is the street of a path, or the lowest area above where it would be; empty of no path.
func streetOf(path []*pb.AreaNode) (area string) {
	for _, n := range path {
		if n.Level == "community" || n.Level == "grid" || n.Code == "UNLOCATED" {
			break
		}
		area = n.Code
		if n.Level == "street" {
			break
		}
	}
	return area
}

// adjudicationRuled: a unit that a ruling names leads, even if an earlier one released it.
func (s *State) adjudicationRuled(e *pb.AdjudicationRuled) { s.ruledOut(e.Lead, e.RuledOut) }

// fallback: nobody ruled in time, so the fallback unit takes the matter (兜底单位): the one that triage named, otherwise that of the
// street where it lies, otherwise who holds the ticket; none of them if it is complained of.
func fallback(s State, a *rule.Asked) ([]proto.Message, error) {
	street := ""
	if u, ok := a.Registry.Responsible(streetOf(s.Path), a.At); ok {
		street = u.Code
	}
	unit := above(a.Registry, s.Holder, s.ComplainedOf)
	for _, candidate := range []string{s.Fallback, street} {
		if _, ok := a.Registry.Unit(candidate, a.At); ok && !rule.Within(a.Registry, candidate, s.ComplainedOf) && s.free(a, candidate) {
			unit = candidate
			break
		}
	}
	for !s.free(a, unit) {
		up, ok := a.Registry.Above(unit, a.At)
		if !ok {
			break
		}
		unit = up
	}
	sent, err := s.sent(a, unit, nil)
	if err != nil {
		return nil, err
	}
	sent.NonReturnable, sent.ReturnBy, sent.BasisRule, sent.Sealed = true, nil, ruleFallback, nil
	return []proto.Message{&pb.FallbackAssigned{Unit: unit, RuledOut: without(s.Led, unit)}, sent}, nil
}

func (s *State) fallbackAssigned(e *pb.FallbackAssigned) { s.ruledOut(e.Unit, e.RuledOut) }

func (s *State) ruledOut(lead string, units []string) {
	out := without(s.RuledOut, lead)
	for _, u := range units {
		if !slices.Contains(out, u) {
			out = append(out, u)
		}
	}
	s.RuledOut, s.Limits.RulingBy = out, time.Time{}
}
