package ticket

import (
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/rule"
)

// suspendingRank is the rank of the lowest level that may stop a clock: the district's. Ranks grow from 1 at the root of the area tree.
const suspendingRank = 2

// requestSuspension: the lead asks that the clock be stopped (挂账), since nothing can be done for now, and has a plan; or, while it stands,
// that it go on standing.
func requestSuspension(s State, a *rule.Asked, c *pb.RequestSuspensionRequest) ([]proto.Message, error) {
	if err := s.byLead(a); err != nil {
		return nil, err
	}
	if err := s.in(pb.TicketState_TICKET_STATE_HANDLING, pb.TicketState_TICKET_STATE_SUSPENDED); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.Decided.At); err != nil {
		return nil, err
	}
	if c.Reason == pb.SuspensionReason_SUSPENSION_REASON_UNSPECIFIED {
		return nil, rule.Bad("reason", rule.MissingField, "is required")
	}
	if c.ReviewAt == nil {
		return nil, rule.Bad("review_at", rule.MissingField, "is required")
	}
	if err := said("text", c.GetParticulars().GetText()); err != nil {
		return nil, err
	}
	if err := said("reply", c.GetParticulars().GetReply()); err != nil {
		return nil, err
	}
	if s.Suspension != nil {
		return nil, rule.No(rule.AlreadyProposed, "a suspension is asked for already and waits to be decided")
	}
	if err := s.suspendable(a); err != nil {
		return nil, err
	}
	review := c.ReviewAt.AsTime()
	if !review.After(a.At) {
		return nil, rule.Bad("review_at", rule.BadField, "must lie ahead")
	}
	d := s.due(a)
	latest := d.by(calendar.SuspensionReview, a.At)
	if d.err != nil {
		return nil, d.err
	}
	if review.After(latest.AsTime()) {
		return nil, rule.Bad("review_at", rule.ReviewTooLate, "at the latest %s", latest.AsTime().In(a.Calendar.Zone()).Format(time.RFC3339))
	}
	return rule.One(&pb.SuspensionRequested{Reason: c.Reason, ReviewAt: c.ReviewAt, Sealed: a.Sealed})
}

// suspendable refuses where the clock may not be stopped: for a grade that the profile gives no review, and after the limit has passed.
func (s *State) suspendable(a *rule.Asked) error {
	limit, err := a.Profile.Limit(calendar.SuspensionReview, Column(s.Grade))
	if err != nil || limit.None() {
		return rule.No(rule.SuspensionNotAllowed, "a matter of grade %s is never suspended", Column(s.Grade))
	}
	if s.State == pb.TicketState_TICKET_STATE_SUSPENDED {
		return nil // the clock stands: nothing can have passed
	}
	return s.beforeLimit(a)
}

// decideSuspension: a supervisor of a district or above stops the clock, keeps it stopped, or says no.
func decideSuspension(s State, a *rule.Asked, c *pb.DecideSuspensionRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_SUPERVISOR); err != nil {
		return nil, err
	}
	if err := s.decidesForOthers(a); err != nil {
		return nil, err
	}
	if _, rank := a.Registry.Level(a.Actor.Unit); rank == 0 || rank > suspendingRank {
		return nil, rule.No(rule.OutOfScope, "only a supervisor of a district or above stops a clock")
	}
	if err := s.in(pb.TicketState_TICKET_STATE_HANDLING, pb.TicketState_TICKET_STATE_SUSPENDED); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.LastAt); err != nil {
		return nil, err
	}
	asked := s.Suspension
	if asked == nil {
		return nil, rule.No(rule.NothingProposed, "no suspension is asked for")
	}
	if err := s.suspendable(a); err != nil {
		return nil, err
	}
	if !c.Granted {
		if err := said("note", c.GetParticulars().GetNote()); err != nil {
			return nil, err
		}
		return rule.One(&pb.SuspensionRefused{Sealed: a.Sealed})
	}
	review := asked.ReviewAt.AsTime()
	if !review.After(a.At) {
		return nil, rule.No(rule.LimitPassed, "the review was to be at %s, which has passed; refuse it, so that it is asked for anew", review.In(a.Calendar.Zone()).Format(time.RFC3339))
	}
	d := s.due(a)
	e := &pb.SuspensionGranted{
		Reason: asked.Reason, Remaining: s.Remaining, ReviewAt: asked.ReviewAt, ReviewOverdueAt: d.by(calendar.SuspensionGrace, review),
		Renewed: s.State == pb.TicketState_TICKET_STATE_SUSPENDED, Sealed: a.Sealed,
	}
	e.Provisional = d.provisional
	if d.err != nil {
		return nil, d.err
	}
	if !e.Renewed {
		left, err := s.remaining(a, a.OccurredAt)
		if err != nil {
			return nil, err
		}
		e.Remaining = left.String()
	}
	return rule.One(e)
}

// remaining is what is left of the handle limit when the clock stops at an instant: its own units less those that have run out whole. A
// limit that was extended counts as the working days from its start to its end, so that of it is left what lies between the instant and its end.
func (s *State) remaining(a *rule.Asked, stop time.Time) (calendar.Limit, error) {
	limit, err := s.handleLimit(a.Profile)
	if err == nil && sum(s.ExtendedBy) > 0 {
		limit = calendar.Limit{Unit: calendar.WorkingDay}
		limit.N, _, err = a.Calendar.Between(s.HandleStart, s.Limits.HandleBy, calendar.WorkingDay)
	}
	if err != nil {
		return calendar.Limit{}, rule.No(rule.DeadlineOutOfRange, "what is left of the limit cannot be computed")
	}
	_, left, _, err := a.Calendar.Remaining(s.HandleStart, limit, stop)
	if err != nil {
		return calendar.Limit{}, rule.No(rule.DeadlineOutOfRange, "what is left of the limit cannot be computed")
	}
	return left, nil
}

// handleLimit is what the handle limit is counted with: what the event that set it says, or else what the profile says.
func (s *State) handleLimit(p calendar.Profile) (calendar.Limit, error) {
	if s.HandleLimit != "" {
		return calendar.ParseLimit(s.HandleLimit)
	}
	return p.Limit(s.handleTimer(), Column(s.Grade))
}

func sum(days []uint32) (sum uint64) {
	for _, n := range days {
		sum += uint64(n)
	}
	return sum
}

// resume: the clock runs again, with what was left (恢复).
func resume(s State, a *rule.Asked, _ *pb.ResumeTicketRequest) ([]proto.Message, error) {
	if err := a.Require(append([]pb.Role{pb.Role_ROLE_SUPERVISOR}, clerks...)...); err != nil {
		return nil, err
	}
	may := s.byLead
	if a.Acting == pb.Role_ROLE_SUPERVISOR {
		may = s.fromAbove
	}
	if err := may(a); err != nil {
		return nil, err
	}
	if err := s.in(pb.TicketState_TICKET_STATE_SUSPENDED); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.Decided.At); err != nil {
		return nil, err
	}
	left, err := calendar.ParseLimit(s.Remaining)
	if err != nil {
		return nil, rule.No(rule.DeadlineOutOfRange, "what was left of the limit cannot be read")
	}
	by, provisional, err := a.Calendar.Resume(a.OccurredAt, left)
	if err != nil {
		return nil, rule.No(rule.DeadlineOutOfRange, "the limit cannot be computed from that time")
	}
	segment, guess, err := s.segmentAfter(a.Calendar, by)
	if err != nil {
		return nil, err
	}
	d := s.due(a)
	e := &pb.TicketResumed{HandleBy: rule.Stamp(by), CloseBy: d.by(calendar.Close, by), SegmentBy: rule.Stamp(segment), Sealed: a.Sealed}
	e.Provisional = provisional || guess || d.provisional
	if d.err != nil {
		return nil, d.err
	}
	return rule.One(e)
}

// segmentAfter is the segment limit where the handle limit is by: as many working days beyond that as it was when the clock stopped.
func (s *State) segmentAfter(c *calendar.Calendar, by time.Time) (segment time.Time, provisional bool, err error) {
	beyond := 0
	if !s.StoppedSegmentBy.IsZero() {
		beyond, _, err = c.Between(s.StoppedHandleBy, s.StoppedSegmentBy, calendar.WorkingDay)
	}
	if err == nil && beyond == 0 {
		return by, false, nil
	}
	if err == nil {
		segment, provisional, err = c.Extend(by, calendar.Limit{N: beyond, Unit: calendar.WorkingDay})
	}
	if err != nil {
		return segment, false, rule.No(rule.DeadlineOutOfRange, "the limit cannot be computed from that time")
	}
	return segment, provisional, nil
}

// lapseSuspension is what becomes of a suspension that nobody decided before the limit passed: it is refused. Nil if none is asked for, or if
// the clock stands already.
func lapseSuspension(s State) []proto.Message {
	if s.Suspension == nil || s.State != pb.TicketState_TICKET_STATE_HANDLING {
		return nil
	}
	return []proto.Message{&pb.SuspensionRefused{Lapsed: true}}
}

func (s *State) suspensionRequested(_ *pb.EventMeta, e *pb.SuspensionRequested) { s.Suspension = e }

func (s *State) suspensionGranted(_ *pb.EventMeta, e *pb.SuspensionGranted) {
	s.Suspension, s.Suspended, s.Remaining = nil, e.Reason, e.Remaining
	if !e.Renewed {
		s.StoppedHandleBy, s.StoppedSegmentBy, s.StoppedContactBy = s.Limits.HandleBy, s.Limits.SegmentBy, s.Limits.ContactBy
	}
	s.setHandle(nil, nil, nil)
	s.Limits.SignBy, s.Limits.ContactBy = time.Time{}, time.Time{}
	s.Limits.ReviewAt, s.Limits.SuspensionOverdueAt = rule.Instant(e.ReviewAt), rule.Instant(e.ReviewOverdueAt)
}

func (s *State) suspensionRefused(_ *pb.EventMeta, _ *pb.SuspensionRefused) { s.Suspension = nil }

func (s *State) resumed(meta *pb.EventMeta, e *pb.TicketResumed) {
	s.HandleStart, s.HandleLimit = meta.GetOccurredAt().AsTime(), s.Remaining
	s.Limits.ContactBy = s.StoppedContactBy
	s.countAnew()
	s.notSuspended()
	s.setHandle(e.HandleBy, e.CloseBy, e.SegmentBy)
}

// notSuspended forgets the suspension.
func (s *State) notSuspended() {
	s.Suspension, s.Suspended, s.Remaining = nil, 0, ""
	s.StoppedHandleBy, s.StoppedSegmentBy, s.StoppedContactBy = time.Time{}, time.Time{}, time.Time{}
	s.Limits.ReviewAt, s.Limits.SuspensionOverdueAt = time.Time{}, time.Time{}
}

func (s *State) suspensionReviewDue(_ *pb.EventMeta, _ *pb.SuspensionReviewDue) {
	s.Limits.ReviewAt = time.Time{}
}
