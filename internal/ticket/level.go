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

// movesEnough is how often, in one round, a ticket may pass between the units of two levels, up or down, before a ruling between
// them is needed.
const movesEnough = 2

// movers are the roles that pass a ticket down.
var movers = []pb.Role{
	pb.Role_ROLE_DISPATCHER, pb.Role_ROLE_STREET_CLERK, pb.Role_ROLE_STREET_LEADER, pb.Role_ROLE_STREET_SECRETARY, pb.Role_ROLE_STREET_DIRECTOR,
}

// escalate: the ticket moves to the next higher level (上报), as many as are missing there. No clock starts anew.
func escalate(s State, a *rule.Asked, c *pb.EscalateTicketRequest) ([]proto.Message, error) {
	if err := a.Require(append([]pb.Role{pb.Role_ROLE_GRID_WORKER, pb.Role_ROLE_COMMUNITY_CLERK, pb.Role_ROLE_COMMUNITY_SECRETARY}, movers...)...); err != nil {
		return nil, err
	}
	if err := s.passes(a); err != nil {
		return nil, err
	}
	if err := s.in(pb.TicketState_TICKET_STATE_HANDLING); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.Decided.At); err != nil {
		return nil, err
	}
	if c.Reason == pb.EscalationReason_ESCALATION_REASON_UNSPECIFIED {
		return nil, rule.Bad("reason", rule.MissingField, "is required")
	}
	if !s.Seen && c.GetParticulars().GetNote() == "" {
		return nil, rule.Bad("particulars.note", rule.MissingField, "no progress is recorded: say what was seen and why it cannot be done")
	}
	to, ok := a.Registry.Above(s.Lead, a.At)
	if !ok {
		return nil, rule.No(rule.NotNextLevel, "no level is above that of unit %q", s.Lead)
	}
	if rule.Within(a.Registry, to, s.ComplainedOf) {
		return nil, rule.No(rule.LeadComplainedOf, "unit %q, one level up, or one above it is complained of", to)
	}
	if slices.Contains(s.RuledOut, to) {
		return nil, rule.No(rule.RuledOut, "it was ruled that unit %q, one level up, does not lead", to)
	}
	if s.moves(s.Lead, to) >= movesEnough {
		return s.tooOften(a, s.Lead, to, to)
	}
	d := s.due(a)
	e := &pb.TicketEscalated{
		From: s.Lead, To: to, LeadPath: a.Registry.UnitPath(to), Reason: c.Reason, SignBy: d.by(calendar.Sign, a.OccurredAt),
		SegmentBy: s.segment(d, a.OccurredAt), Sealed: a.Sealed,
	}
	e.FromLevel, _ = a.Registry.Level(s.Lead)
	e.ToLevel, _ = a.Registry.Level(to)
	e.Provisional = d.provisional
	if d.err != nil {
		return nil, d.err
	}
	return rule.One(e)
}

func (s *State) escalated(at time.Time, e *pb.TicketEscalated) {
	s.Moves = append(slices.Clip(s.Moves), Move{From: e.From, To: e.To})
	s.takes(e.To, e.LeadPath)
	s.DispatchedAt = at
	s.Limits.SignBy, s.Limits.SegmentBy, s.Limits.ReturnBy = rule.Instant(e.SignBy), rule.Instant(e.SegmentBy), time.Time{}
}

// refuseEscalation: the higher level sends it back with instructions, once between two units; the second time it must take it.
func refuseEscalation(s State, a *rule.Asked, c *pb.RefuseEscalationRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_DISPATCHER); err != nil {
		return nil, err
	}
	if err := s.over(a); err != nil {
		return nil, err
	}
	if err := s.in(pb.TicketState_TICKET_STATE_DISPATCHED); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.Decided.At); err != nil {
		return nil, err
	}
	if err := said("note", c.GetParticulars().GetNote()); err != nil {
		return nil, err
	}
	last, ok := s.justEscalated()
	if !ok {
		return nil, &rule.Refusal{Reason: rule.WrongState, Message: "the ticket was not escalated last", DecidedBy: s.Decided.String()}
	}
	if s.refusedBefore(last) {
		return nil, rule.No(rule.MustAccept, "unit %q has sent it back to %q once and must take it now", last.To, last.From)
	}
	if err := s.sendsBack(a, last.From); err != nil {
		return nil, err
	}
	d := s.due(a)
	e := &pb.EscalationRefused{
		From: last.To, To: last.From, LeadPath: a.Registry.UnitPath(last.From), SegmentBy: s.segment(d, a.OccurredAt), Sealed: a.Sealed,
	}
	e.Provisional = d.provisional
	if d.err != nil {
		return nil, d.err
	}
	return rule.One(e)
}

// sendsBack refuses a unit below that cannot lead any more: what was corrected or ruled since it passed the ticket up holds for it too.
func (s *State) sendsBack(a *rule.Asked, unit string) error {
	if err := activeUnit(a, "", unit); err != nil {
		return err
	}
	if slices.Contains(s.RuledOut, unit) {
		return rule.No(rule.RuledOut, "it was ruled that unit %q does not lead", unit)
	}
	if rule.Within(a.Registry, unit, s.ComplainedOf) {
		return rule.No(rule.LeadComplainedOf, "unit %q, or one above it, is complained of", unit)
	}
	return s.keep(a, "", unit)
}

// justEscalated is the escalation that the ticket's lead has it from, while that is the last that led to its state.
func (s *State) justEscalated() (Move, bool) {
	if len(s.Moves) == 0 || !s.Escalated {
		return Move{}, false
	}
	return s.Moves[len(s.Moves)-1], true
}

// refusedBefore says whether the same step up was refused in this round.
func (s *State) refusedBefore(m Move) bool {
	return slices.Contains(s.Moves, Move{From: m.From, To: m.To, Refused: true})
}

func (s *State) escalationRefused(at time.Time, e *pb.EscalationRefused) {
	s.Moves = slices.Clone(s.Moves)
	if n := len(s.Moves); n > 0 {
		s.Moves[n-1].Refused = true
	}
	s.takes(e.To, e.LeadPath)
	s.DispatchedAt = at
	s.Limits.SignBy, s.Limits.SegmentBy = time.Time{}, rule.Instant(e.SegmentBy)
}

// delegate: the ticket moves to a lower level (下派). Like a dispatch it sets the limits where none are set.
func delegate(s State, a *rule.Asked, c *pb.DelegateTicketRequest) ([]proto.Message, error) {
	if err := a.Require(movers...); err != nil {
		return nil, err
	}
	if err := s.passes(a); err != nil {
		return nil, err
	}
	if err := s.in(pb.TicketState_TICKET_STATE_TRIAGED, pb.TicketState_TICKET_STATE_HANDLING); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.Decided.At); err != nil {
		return nil, err
	}
	if c.To == "" {
		return nil, rule.Bad("to", rule.MissingField, "is required")
	}
	if c.BasisRule > 8 {
		return nil, rule.Bad("basis_rule", rule.BadField, "want 0 to 8")
	}
	if err := activeUnit(a, "to", c.To); err != nil {
		return nil, err
	}
	from := s.Holder // which in hand is the lead
	if up, ok := a.Registry.Above(c.To, a.At); !ok || up != from || !territorial(a, c.To) {
		return nil, rule.Bad("to", rule.NotNextLevel, "unit %q is not that of an area one level below unit %q", c.To, from)
	}
	if slices.Contains(s.RuledOut, c.To) {
		return nil, rule.Bad("to", rule.RuledOut, "it was ruled that unit %q does not lead", c.To)
	}
	if rule.Within(a.Registry, c.To, s.ComplainedOf) {
		return nil, rule.Bad("to", rule.LeadComplainedOf, "unit %q, or one above it, is complained of", c.To)
	}
	if err := s.entrust(a, "to", c.To, c); err != nil {
		return nil, err
	}
	if s.moves(from, c.To) >= movesEnough {
		return s.tooOften(a, from, c.To, from)
	}
	l, err := s.leg(a, a.OccurredAt)
	if err != nil {
		return nil, err
	}
	e := &pb.TicketDelegated{
		From: from, To: c.To, LeadPath: a.Registry.UnitPath(c.To), Round: max(s.Round, 1), Hop: s.Hop + 1,
		SignBy: l.signBy, ContactBy: l.contactBy, ReturnBy: l.returnBy, HandleBy: l.handleBy, CloseBy: l.closeBy, SegmentBy: l.segmentBy,
		HandleLimit: l.handleLimit, Sealed: a.Sealed, Provisional: l.provisional,
	}
	e.FromLevel, _ = a.Registry.Level(from)
	e.ToLevel, _ = a.Registry.Level(c.To)
	e.Task, e.Admission = s.ordered(c)
	if s.NonReturnable {
		e.ReturnBy = nil // what was ruled holds for the levels below too
	}
	return rule.One(e)
}

func (s *State) delegated(meta *pb.EventMeta, e *pb.TicketDelegated) {
	at := meta.GetOccurredAt().AsTime()
	s.Moves = append(slices.Clip(s.Moves), Move{From: e.From, To: e.To})
	s.takes(e.To, e.LeadPath)
	s.delivered(e.Task, e.Admission, e.To)
	s.Round, s.Hop, s.ReturnAsked = e.Round, e.Hop, false
	s.DispatchedAt, s.ContactStart = at, at
	s.dispatchedBy(meta.GetActor())
	if e.HandleLimit != "" {
		s.HandleLimit, s.RoundLimit = e.HandleLimit, e.HandleLimit
	}
	if e.Hop == 1 {
		s.HandleStart = at
	}
	s.handed(&leg{signBy: e.SignBy, contactBy: e.ContactBy, returnBy: e.ReturnBy, handleBy: e.HandleBy, closeBy: e.CloseBy, segmentBy: e.SegmentBy})
}

// passes refuses unless the actor is of the unit that holds the ticket, or of one below it on the same level, or dispatches for one
// above. Those of lower levels have no say in what was passed up.
func (s *State) passes(a *rule.Asked) error {
	if err := s.impartial(a); err != nil {
		return err
	}
	_, holds := a.Registry.Level(s.Holder)
	if _, own := a.Registry.Level(a.Actor.Unit); own == holds && rule.Within(a.Registry, a.Actor.Unit, s.Holder) {
		return nil
	}
	if !slices.Contains(a.Actor.Roles, pb.Role_ROLE_DISPATCHER) {
		return rule.No(rule.OutOfScope, "the ticket is held by unit %q, not yours", s.Holder)
	}
	a.Acting = pb.Role_ROLE_DISPATCHER
	return s.over(a)
}

// territorial says whether the unit is the government, committee or grid of an area.
func territorial(a *rule.Asked, unit string) bool {
	u, ok := a.Registry.Unit(unit, a.At)
	return ok && u.GetKind() == pb.UnitKind_UNIT_KIND_AREA
}

// moves is how often the ticket passed between two units in this round, up or down.
func (s *State) moves(a, b string) (n int) {
	for _, m := range s.Moves {
		if m.From == a && m.To == b || m.From == b && m.To == a {
			n++
		}
	}
	return n
}

// tooOften: instead of passing between two levels once more, the ticket goes to a ruling one level above the higher.
func (s *State) tooOften(a *rule.Asked, from, to, higher string) ([]proto.Message, error) {
	judge, ok := a.Registry.Above(higher, a.At)
	if path := a.Registry.UnitPath(higher); !ok && len(path) > 0 {
		judge = path[max(len(path)-2, 0)]
	}
	e, err := s.disputeBefore(a, []string{from, to}, cmp.Or(judge, higher))
	if err != nil {
		return nil, err
	}
	e.Automatic, e.Sealed = true, a.Sealed
	return rule.One(e)
}
