package ticket

import (
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/rule"
)

// leg are the limits that a unit gets with a ticket.
type leg struct {
	signBy, contactBy, returnBy, handleBy, closeBy, segmentBy *timestamppb.Timestamp

	handleLimit string // what handleBy was computed with; empty if it was set before
	provisional bool
}

// leg computes the limits of a unit that gets the ticket at the instant. The first hop sets the petitioner's clock; whoever gets the
// ticket later finds it running, and has for its own segment what remains of it or half of the whole, whichever is more.
func (s *State) leg(a *rule.Asked, at time.Time) (leg, error) {
	d := s.due(a)
	l := leg{
		signBy: d.by(calendar.Sign, at), returnBy: d.by(calendar.ReturnWindow, at),
		handleBy: rule.Stamp(s.Limits.HandleBy), closeBy: rule.Stamp(s.Limits.CloseBy),
	}
	if !s.Contacted {
		l.contactBy = d.by(calendar.Contact, at)
	}
	if l.handleBy == nil {
		limit, err := a.Profile.Limit(calendar.Handle, Column(s.Grade))
		if err != nil {
			return l, rule.No(rule.DeadlineOutOfRange, "the profile has no limit %q", calendar.Handle)
		}
		l.handleLimit = limit.String()
		l.handleBy = d.by(calendar.Handle, at)
		l.closeBy = d.by(calendar.Close, rule.Instant(l.handleBy))
		l.segmentBy = l.handleBy
	} else {
		l.segmentBy = s.segment(d, at)
	}
	l.provisional = d.provisional
	return l, d.err
}

// segment is the limit of a unit that gets the ticket at the instant, while the ticket's own limit runs already.
func (s *State) segment(d *due, at time.Time) *timestamppb.Timestamp {
	timer := calendar.Handle
	if s.Round > 1 {
		timer = calendar.Redo
	}
	whole, err := d.asked.Profile.Limit(timer, d.grade)
	if s.HandleLimit != "" {
		whole, err = calendar.ParseLimit(s.HandleLimit)
	}
	by := s.Limits.HandleBy
	if err == nil && !whole.None() {
		var half time.Time
		var provisional bool
		whole.N = (whole.N + 1) / 2
		if half, provisional, err = d.asked.Calendar.Due(at, whole); err == nil && half.After(by) {
			by, d.provisional = half, d.provisional || provisional
		}
	}
	if err != nil && d.err == nil {
		d.err = rule.No(rule.DeadlineOutOfRange, "half of the limit %q cannot be computed from that time", whole)
	}
	return rule.Stamp(by)
}

// takes notes that a unit leads from now on, and is not among the co-handlers any more if it was.
func (s *State) takes(unit string, path []string) {
	s.Lead, s.LeadPath, s.Holder, s.Seen = unit, path, unit, false
	s.Co = slices.DeleteFunc(slices.Clone(s.Co), func(co string) bool { return co == unit })
	s.CoTasks = slices.DeleteFunc(slices.Clone(s.CoTasks), func(t CoTask) bool { return t.Unit == unit })
	if !slices.Contains(s.Led, unit) {
		s.Led = append(slices.Clip(s.Led), unit)
	}
}

// over refuses unless the ticket's holder lies in the subtree of the actor's unit: to be lead or co-handler is not enough.
func (s *State) over(a *rule.Asked) error {
	if rule.Within(a.Registry, s.Holder, a.Actor.Unit) || len(a.Registry.UnitPath(s.Holder)) == 0 && len(a.Registry.UnitPath(a.Actor.Unit)) == 1 {
		return nil
	}
	return &rule.Refusal{
		Reason: rule.OutOfScope, Message: "the ticket is held by a unit that is not below yours", DecidedBy: s.Decided.String(),
	}
}

// fromAbove refuses a command centre's word unless it comes from above, over the holder, and from nobody who handles the matter or is
// complained of. The root, above which nobody is, decides of what it leads itself.
func (s *State) fromAbove(a *rule.Asked) error {
	if s.Confidentiality == pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL {
		if err := s.impartial(a); err != nil {
			return err
		}
	}
	if len(a.Registry.UnitPath(a.Actor.Unit)) > 1 {
		for _, unit := range append([]string{s.Lead, s.ComplainedOf}, s.Co...) {
			if rule.Within(a.Registry, a.Actor.Unit, unit) {
				return rule.No(rule.SeparationOfDuties, "this is decided above unit %q, which handles the matter or is complained of", unit)
			}
		}
	}
	return s.over(a)
}

// home is the territorial unit of the ticket's place today, or the nearest above it; the one above a unit that is complained of.
// Empty if there is none.
func (s *State) home(a *rule.Asked) string {
	for _, n := range slices.Backward(s.Path) {
		if u, ok := a.Registry.Responsible(n.Code, a.At); ok {
			return above(a.Registry, u.Code, s.ComplainedOf)
		}
	}
	return ""
}

// reference refuses an empty or unprintable reference to what a claim or ruling rests on.
func reference(field, text string) error {
	if text == "" {
		return rule.Bad(field, rule.MissingField, "is required")
	}
	return rule.Word(field, text, rule.Printable)
}

// without are the units but one.
func without(units []string, unit string) []string {
	return slices.DeleteFunc(slices.Clone(units), func(u string) bool { return u == unit })
}

// handed are the limits of a ticket that another unit got. What runs beside the handling, such as supervision, runs on.
func (s *State) handed(l *leg) {
	s.Limits.DispatchBy, s.Limits.VerifyBy, s.Limits.DecideReturnBy, s.Limits.RulingBy = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	s.Limits.SignBy, s.Limits.ContactBy, s.Limits.ReturnBy = rule.Instant(l.signBy), rule.Instant(l.contactBy), rule.Instant(l.returnBy)
	s.Limits.HandleBy, s.Limits.CloseBy, s.Limits.SegmentBy = rule.Instant(l.handleBy), rule.Instant(l.closeBy), rule.Instant(l.segmentBy)
}
