package ticket

import (
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/rule"
)

// The levels of supervision. A level only rises, until supervision is lifted.
const (
	supervisionUrge    = 1 + iota // 催办: nothing to be answered
	supervisionOrder              // 督办: to be answered
	supervisionListed             // 挂牌督办: to be answered with a plan, carried out, and cleared
	supervisionAccount            // 通报, 约谈
)

// listingRank is the rank of the level that lists by itself: the district's. Ranks grow from 1 at the root of the area tree.
const listingRank = 2

// urgingsEnough is how many times a petitioner asks for haste before that raises supervision.
const urgingsEnough = 2

// opens are the states in which something still needs to be done.
var opens = []pb.TicketState{
	pb.TicketState_TICKET_STATE_REPORTED, pb.TicketState_TICKET_STATE_ACCEPTED, pb.TicketState_TICKET_STATE_TRIAGED,
	pb.TicketState_TICKET_STATE_DISPATCHED, pb.TicketState_TICKET_STATE_HANDLING, pb.TicketState_TICKET_STATE_RETURN_REVIEW,
	pb.TicketState_TICKET_STATE_ADJUDICATION, pb.TicketState_TICKET_STATE_SUSPENDED, pb.TicketState_TICKET_STATE_RESULT_SUBMITTED,
	pb.TicketState_TICKET_STATE_CALLBACK,
}

// urge: the petitioner asks for haste (催单).
func urge(s State, a *rule.Asked, _ *pb.UrgeTicketRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_AGENT, pb.Role_ROLE_CITIZEN, pb.Role_ROLE_CONNECTED_SYSTEM); err != nil {
		return nil, err
	}
	if a.Acting == pb.Role_ROLE_AGENT {
		if err := s.scope(a); err != nil {
			return nil, err
		}
	}
	if err := s.in(opens...); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.ReportedAt); err != nil {
		return nil, err
	}
	e := &pb.TicketUrged{Count: s.Urged + 1, Sealed: a.Sealed}
	if e.Count < urgingsEnough {
		return rule.One(e)
	}
	return s.andRaise(a, supervisionUrge, pb.SupervisionTrigger_SUPERVISION_TRIGGER_URGED, e)
}

func (s *State) urged(_ *pb.EventMeta, e *pb.TicketUrged) { s.Urged = e.Count }

// raiseSupervision: a supervisor raises it, with a reason (督办).
func raiseSupervision(s State, a *rule.Asked, c *pb.RaiseSupervisionRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_SUPERVISOR); err != nil {
		return nil, err
	}
	if err := s.fromAbove(a); err != nil {
		return nil, err
	}
	if err := s.in(opens...); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.Decided.At); err != nil {
		return nil, err
	}
	switch {
	case c.Level == 0:
		return nil, rule.Bad("level", rule.MissingField, "is required")
	case c.Level > supervisionAccount:
		return nil, rule.Bad("level", rule.BadField, "want 1 to %d", supervisionAccount)
	case c.Level < s.Supervision, c.Level == s.Supervision && (c.Level != supervisionListed || s.Listed):
		return nil, rule.Bad("level", rule.AlreadyDone, "supervision is at level %d already and only rises", s.Supervision)
	case c.ClearBy != nil && c.Level != supervisionListed:
		return nil, rule.Bad("clear_by", rule.BadField, "is given only with level %d", supervisionListed)
	case c.ClearBy != nil && !c.ClearBy.AsTime().After(a.At):
		return nil, rule.Bad("clear_by", rule.BadField, "must lie ahead")
	}
	if err := said("note", c.GetParticulars().GetNote()); err != nil {
		return nil, err
	}
	e := &pb.SupervisionRaised{
		Level: c.Level, Trigger: pb.SupervisionTrigger_SUPERVISION_TRIGGER_ORDERED, Issuer: a.Actor.Unit, ClearBy: c.ClearBy, Sealed: a.Sealed,
	}
	if err := s.limit(a, e); err != nil {
		return nil, err
	}
	return rule.One(e)
}

// andRaise adds to events that this system raises supervision to a level, unless it is there; or lists a problem again, at the level that
// there is, if that was cleared. Who has to answer can know of it only now, so the limits run from now.
func (s *State) andRaise(a *rule.Asked, level uint32, why pb.SupervisionTrigger, events ...proto.Message) ([]proto.Message, error) {
	again := level == supervisionListed && !s.Listed
	if s.Supervision >= level && !again {
		return events, nil
	}
	e := &pb.SupervisionRaised{Level: max(level, s.Supervision), Trigger: why, Issuer: issuer(a.Registry, s.Holder, level)}
	if again {
		d := s.due(a)
		if e.PlanBy, e.ClearBy = d.by(calendar.RectificationPlan, a.At), d.by(calendar.Clearing, a.At); d.err != nil {
			return nil, d.err
		}
		e.Provisional = d.provisional
	}
	if err := s.limit(a, e); err != nil {
		return nil, err
	}
	return append(events, e), nil
}

// superviseFor: this system raises supervision for what another stream says: what the participants of a whistle missed, or that a spot check found
// the result false. Of a ticket that is not open any more nothing is asked.
func superviseFor(s State, a *rule.Asked, c *pb.SupervisionRaised) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_SYSTEM); err != nil {
		return nil, err
	}
	if !s.Open() {
		return nil, nil
	}
	return s.andRaise(a, c.Level, c.Trigger)
}

// issuer is the unit in whose name this system supervises a holder: for a listing the highest of the district's level above it; at the last
// level, or where there is none such, the root; else the unit next above. Empty if the holder is not known.
func issuer(r rule.Registry, holder string, level uint32) string {
	path := r.UnitPath(holder)
	switch {
	case len(path) == 0:
		return ""
	case level == supervisionListed:
		for _, unit := range path {
			if _, rank := r.Level(unit); rank == listingRank {
				return unit
			}
		}
		return path[0]
	case level == supervisionAccount:
		return path[0]
	}
	return path[max(len(path)-2, 0)]
}

// limit sets the level of the issuer, and the limits of an order that is given now. Where a higher unit supervises already, its order stays
// its own: who raises it below takes nothing out of its hands.
func (s *State) limit(a *rule.Asked, e *pb.SupervisionRaised) error {
	if outranks(a.Registry, s.SupervisionIssuer, e.Issuer) {
		e.Issuer = s.SupervisionIssuer
	}
	e.IssuerLevel, _ = a.Registry.Level(e.Issuer)
	d := s.due(a)
	if e.Level >= supervisionOrder {
		e.ReplyBy = d.by(calendar.SupervisionReply, a.At)
	}
	if e.Level == supervisionListed {
		e.PlanBy = d.by(calendar.RectificationPlan, a.At)
		if e.ClearBy == nil {
			e.ClearBy = d.by(calendar.Clearing, a.At)
		}
	}
	e.Provisional = e.Provisional || d.provisional
	return d.err
}

// Lists says whether supervision lists the problem: at the level of listings, and above where it sets when it is to be cleared.
func Lists(e *pb.SupervisionRaised) bool {
	return e.Level == supervisionListed || e.Level > supervisionListed && (e.PlanBy != nil || e.ClearBy != nil)
}

// outranks says whether a unit stands above the other, in the tree or by its level. Whom this system supervises for, which is nobody, every
// unit outranks.
func outranks(r rule.Registry, unit, other string) bool {
	switch {
	case unit == "" || unit == other:
		return false
	case other == "" || rule.Within(r, other, unit):
		return true
	}
	_, rank := r.Level(unit)
	_, below := r.Level(other)
	return rank > 0 && rank < below
}

func (s *State) supervisionRaised(_ *pb.EventMeta, e *pb.SupervisionRaised) {
	switch e.Trigger {
	case pb.SupervisionTrigger_SUPERVISION_TRIGGER_TIME_USED:
		s.fire(pb.TicketTimer_TICKET_TIMER_URGE, s.urgeAt())
	case pb.SupervisionTrigger_SUPERVISION_TRIGGER_LONG_OVERDUE:
		s.fire(pb.TicketTimer_TICKET_TIMER_LONG_OVERDUE, s.Limits.LongOverdueAt)
	case pb.SupervisionTrigger_SUPERVISION_TRIGGER_SUSPENSION_REVIEW_MISSED:
		s.fire(pb.TicketTimer_TICKET_TIMER_SUSPENSION_OVERDUE, s.Limits.SuspensionOverdueAt)
	case pb.SupervisionTrigger_SUPERVISION_TRIGGER_CLEARING_OVERDUE:
		s.fire(pb.TicketTimer_TICKET_TIMER_CLEARING, s.Limits.ClearBy)
	}
	s.Supervision, s.SupervisionIssuer, s.Limits.ReplyBy = e.Level, e.Issuer, rule.Instant(e.ReplyBy)
	s.SupervisionLevel = e.IssuerLevel
	if Lists(e) {
		s.Listed, s.PlanGiven, s.ListingDone = true, false, false
		s.Limits.PlanBy, s.Limits.ClearBy = rule.Instant(e.PlanBy), rule.Instant(e.ClearBy)
	}
}

// replySupervision: the lead answers an order; to a listing with its plan, and when that was carried out.
func replySupervision(s State, a *rule.Asked, c *pb.ReplySupervisionRequest) ([]proto.Message, error) {
	if err := s.byLead(a); err != nil {
		return nil, err
	}
	if err := s.in(opens...); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.Decided.At); err != nil {
		return nil, err
	}
	plan := c.Kind == pb.SupervisionReplyKind_SUPERVISION_REPLY_KIND_PLAN
	switch {
	case c.Kind == pb.SupervisionReplyKind_SUPERVISION_REPLY_KIND_UNSPECIFIED:
		return nil, rule.Bad("kind", rule.MissingField, "is required")
	case s.Supervision < supervisionOrder:
		return nil, rule.No(rule.NotSupervised, "no answer is required at level %d", s.Supervision)
	case c.Kind != pb.SupervisionReplyKind_SUPERVISION_REPLY_KIND_REPLY && !s.Listed:
		return nil, rule.Bad("kind", rule.NotSupervised, "the problem is not listed")
	case c.Kind == pb.SupervisionReplyKind_SUPERVISION_REPLY_KIND_DONE && !s.PlanGiven:
		return nil, rule.Bad("kind", rule.RectificationNeeded, "there is no plan yet that could have been carried out")
	case !plan && c.Owner != "":
		return nil, rule.Bad("owner", rule.BadField, "is given only with a plan")
	case !plan && c.ClearBy != nil:
		return nil, rule.Bad("clear_by", rule.BadField, "is given only with a plan")
	case plan && c.Owner == "":
		return nil, rule.Bad("owner", rule.MissingField, "is required")
	case plan && c.ClearBy == nil:
		return nil, rule.Bad("clear_by", rule.MissingField, "is required")
	case plan && !s.Limits.ClearBy.IsZero() && c.ClearBy.AsTime().After(s.Limits.ClearBy):
		return nil, rule.Bad("clear_by", rule.LimitLengthened, "lies after the day that the issuer set")
	}
	if err := rule.Word("owner", c.Owner, rule.Printable); err != nil {
		return nil, err
	}
	if err := said("text", c.GetParticulars().GetText()); err != nil {
		return nil, err
	}
	if err := rule.Attachments(c.Attachments); err != nil {
		return nil, err
	}
	return rule.One(&pb.SupervisionReplied{
		Level: s.Supervision, Kind: c.Kind, Owner: c.Owner, ClearBy: c.ClearBy, Attachments: c.Attachments, Sealed: a.Sealed,
	})
}

func (s *State) supervisionReplied(_ *pb.EventMeta, e *pb.SupervisionReplied) {
	switch e.Kind {
	case pb.SupervisionReplyKind_SUPERVISION_REPLY_KIND_REPLY:
		s.Limits.ReplyBy = time.Time{}
	case pb.SupervisionReplyKind_SUPERVISION_REPLY_KIND_PLAN:
		s.PlanGiven, s.ListingDone, s.Limits.PlanBy = true, false, time.Time{}
	case pb.SupervisionReplyKind_SUPERVISION_REPLY_KIND_DONE:
		s.ListingDone = true
	}
}

// clearListing: the issuer, or somebody above, looked and confirms that a listed problem is gone (销号). The level stays until it is lifted.
func clearListing(s State, a *rule.Asked, c *pb.ClearListingRequest) ([]proto.Message, error) {
	if err := s.supervises(a); err != nil {
		return nil, err
	}
	if !s.Listed {
		return nil, rule.No(rule.NotSupervised, "the problem is not listed")
	}
	if !s.ListingDone {
		return nil, rule.No(rule.RectificationNeeded, "the lead did not say yet that its plan was carried out")
	}
	if err := said("note", c.GetParticulars().GetNote()); err != nil {
		return nil, err
	}
	if len(c.Attachments) == 0 {
		return nil, rule.Bad("attachments", rule.MissingField, "evidence is required")
	}
	if err := rule.Attachments(c.Attachments); err != nil {
		return nil, err
	}
	return rule.One(&pb.ListingCleared{Attachments: c.Attachments, Sealed: a.Sealed})
}

// supervises refuses who may not end what the issuer of supervision ordered: all but supervisors of its level or a higher one, and those of
// the units that handle the matter.
func (s *State) supervises(a *rule.Asked) error {
	if err := a.Require(pb.Role_ROLE_SUPERVISOR); err != nil {
		return err
	}
	if err := s.scope(a); err != nil {
		return err
	}
	for _, unit := range append([]string{s.Lead}, s.Co...) {
		if rule.Within(a.Registry, a.Actor.Unit, unit) {
			return rule.No(rule.SeparationOfDuties, "whoever ends supervision must not belong to unit %q, which handles the matter", unit)
		}
	}
	if s.SupervisionIssuer != "" && !rule.Within(a.Registry, s.SupervisionIssuer, a.Actor.Unit) {
		_, issuer := a.Registry.Level(s.SupervisionIssuer)
		if len(a.Registry.UnitPath(s.SupervisionIssuer)) == 0 { // the map has it no more: those of the level it had, or else of the root
			issuer = max(a.Registry.Rank(s.SupervisionLevel), 1)
		}
		if _, rank := a.Registry.Level(a.Actor.Unit); rank == 0 || rank > issuer {
			return rule.No(rule.OutOfScope, "unit %q supervises; only its level or a higher one ends that", s.SupervisionIssuer)
		}
	}
	if err := s.in(opens...); err != nil {
		return err
	}
	return a.CheckTime(s.LastAt)
}

// listingCleared: what would have listed it meanwhile, had it not been listed already, does so no more.
func (s *State) listingCleared(meta *pb.EventMeta, _ *pb.ListingCleared) {
	s.Listed, s.PlanGiven, s.ListingDone = false, false, false
	if !s.Limits.LongOverdueAt.After(meta.GetOccurredAt().AsTime()) {
		s.fire(pb.TicketTimer_TICKET_TIMER_LONG_OVERDUE, s.Limits.LongOverdueAt)
	}
	s.Limits.PlanBy, s.Limits.ClearBy = time.Time{}, time.Time{}
}

// unlisted refuses to end a ticket beside a listing: it would leave the ledger without having been cleared.
func (s *State) unlisted() error {
	if s.Listed {
		return rule.No(rule.ListingOpen, "the problem is listed and not cleared")
	}
	return nil
}

// liftSupervision: it ends, with a reason (解除督办). What is listed must be cleared first.
func liftSupervision(s State, a *rule.Asked, c *pb.LiftSupervisionRequest) ([]proto.Message, error) {
	if err := s.supervises(a); err != nil {
		return nil, err
	}
	if s.Supervision == 0 {
		return nil, rule.No(rule.NotSupervised, "the ticket is not supervised")
	}
	if s.Listed {
		return nil, rule.No(rule.ListingOpen, "the problem is listed and not cleared")
	}
	if err := said("note", c.GetParticulars().GetNote()); err != nil {
		return nil, err
	}
	return rule.One(&pb.SupervisionLifted{Level: s.Supervision, Sealed: a.Sealed})
}

// supervisionLifted: what would have raised it meanwhile, had it not been that high already, does so no more.
func (s *State) supervisionLifted(meta *pb.EventMeta, _ *pb.SupervisionLifted) {
	s.Supervision, s.SupervisionIssuer, s.SupervisionLevel, s.Limits.ReplyBy = 0, "", "", time.Time{}
	at := meta.GetOccurredAt().AsTime()
	for _, t := range [...]Timer{
		{pb.TicketTimer_TICKET_TIMER_URGE, s.urgeAt()},
		{pb.TicketTimer_TICKET_TIMER_LONG_OVERDUE, s.Limits.LongOverdueAt},
		{pb.TicketTimer_TICKET_TIMER_SUSPENSION_OVERDUE, s.Limits.SuspensionOverdueAt},
	} {
		if !t.By.After(at) {
			s.fire(t.Which, t.By)
		}
	}
}
