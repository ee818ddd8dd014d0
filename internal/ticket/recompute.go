package ticket

import (
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/rule"
)

// recompute: the calendar was corrected, or knows another year, and the limits of an open ticket, and the rights that run once it has ended, are counted again from where each began. Only
// those change whose instant comes out otherwise and lies ahead, before or after. A limit that was set for a grade the ticket no
// longer has, or under a profile before the last that set one, is left, since what it was counted with is not known here; the handle limit says itself
// what it is.
func recompute(s State, a *rule.Asked, _ *pb.RecomputeLimitsRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_SYSTEM); err != nil {
		return nil, err
	}
	if s.State == pb.TicketState_TICKET_STATE_CLOSED || s.State == pb.TicketState_TICKET_STATE_DECLINED {
		return recomputeRights(s, a)
	}
	if !s.Open() {
		// Nor are the limits of a merged ticket counted again, that are laid by: it waits for its primary, and runs by what they were if it is
		// none any more.
		return nil, nil
	}
	r := recount{asked: a, state: &s}
	l, e := &s.Limits, new(pb.LimitsRecomputed)
	deciding := func(state pb.TicketState) (start time.Time) {
		if s.State == state {
			start = s.Decided.At
		}
		return start
	}
	r.timer(0, calendar.Accept, s.LearntAt, &e.AcceptBy)
	r.timer(1, calendar.Dispatch, s.dispatchFrom(), &e.DispatchBy)
	r.timer(2, calendar.Sign, s.DispatchedAt, &e.SignBy)
	r.timer(3, calendar.Contact, s.ContactStart, &e.ContactBy)
	r.timer(4, calendar.ReturnWindow, s.DispatchedAt, &e.ReturnBy)
	r.timer(6, calendar.Verify, s.SubmittedAt, &e.VerifyBy)
	r.timer(7, calendar.Callback, s.VerifiedAt, &e.CallbackBy)
	r.timer(10, calendar.ReturnDecision, deciding(pb.TicketState_TICKET_STATE_RETURN_REVIEW), &e.DecideReturnBy)
	r.timer(11, calendar.Ruling, deciding(pb.TicketState_TICKET_STATE_ADJUDICATION), &e.RulingBy)
	r.timer(13, calendar.SuspensionGrace, l.ReviewAt, &e.SuspensionOverdueAt)
	if handle := r.handle(&e.HandleBy); handle.Equal(l.HandleBy) {
		r.timer(8, calendar.Close, handle, &e.CloseBy)
		r.timer(14, calendar.OverdueGrace, handle, &e.LongOverdueAt)
		r.keep(9)
	} else {
		// What follows from it goes along.
		r.mustMove(8, calendar.Close, handle, &e.CloseBy)
		r.mustMove(14, calendar.OverdueGrace, handle, &e.LongOverdueAt)
		segment := l.SegmentBy
		if segment.Equal(l.HandleBy) || segment.Before(handle) {
			segment = handle
		}
		r.set(9, segment, r.provisional, &e.SegmentBy)
	}
	r.timer(exclusionPlace, calendar.ExclusionRequest, s.SettledAt, &e.ExclusionBy)
	for _, place := range []int{12, 15, 17, 18, 19} {
		r.keep(place)
	}
	if r.err != nil {
		return nil, r.err
	}
	if e.Provisional = r.provisional; r.changed == 0 && e.Provisional == l.Provisional {
		return nil, nil
	}
	return rule.One(e)
}

// The places in Limits.all of what runs when a ticket has ended.
const (
	appealPlace    = 15
	exclusionPlace = 16
)

// recomputeRights counts again until when it may be appealed that a ticket was closed or declined, and until when the lead may ask for exclusion.
func recomputeRights(s State, a *rule.Asked) ([]proto.Message, error) {
	r := recount{asked: a, state: &s}
	e := new(pb.LimitsRecomputed)
	appeal := calendar.Appeal
	if s.State == pb.TicketState_TICKET_STATE_DECLINED {
		appeal = calendar.DeclineAppeal
	}
	r.timer(appealPlace, appeal, s.Decided.At, &e.AppealBy)
	r.timer(exclusionPlace, calendar.ExclusionRequest, s.SettledAt, &e.ExclusionBy)
	for place := range s.Limits.all() {
		if place != appealPlace && place != exclusionPlace {
			r.keep(place)
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	if e.Provisional = r.provisional; r.changed == 0 && e.Provisional == s.Limits.Provisional {
		return nil, nil
	}
	return rule.One(e)
}

// recount counts limits again. A limit is named by its place in Limits.all.
type recount struct {
	asked       *rule.Asked
	state       *State
	changed     int
	provisional bool // one that runs now is
	err         error
}

// profile is the one that a limit was counted with; false where nothing says which, since it was set for another grade or under one before the
// last.
func (r *recount) profile(place int) (calendar.Profile, bool) {
	l, a := &r.state.Limits, r.asked
	switch {
	case l.older&(1<<place) != 0:
		return calendar.Profile{}, false
	case r.state.LimitsProfile == a.ProfileVersion:
		return a.Profile, true
	case a.ProfileNamed == nil:
		return calendar.Profile{}, false
	}
	return a.ProfileNamed(r.state.LimitsProfile)
}

// timer counts a limit again with the profile that it was counted with.
func (r *recount) timer(place int, t calendar.Timer, start time.Time, into **timestamppb.Timestamp) {
	p, known := r.profile(place)
	if start.IsZero() || !known {
		r.keep(place)
		return
	}
	r.count(place, p, t, start, into)
}

// mustMove counts a limit again that follows from one that moved: where nothing says with which profile it was counted, with the one in force.
func (r *recount) mustMove(place int, t calendar.Timer, start time.Time, into **timestamppb.Timestamp) {
	p, known := r.profile(place)
	if !known {
		p = r.asked.Profile
	}
	r.count(place, p, t, start, into)
}

func (r *recount) count(place int, p calendar.Profile, t calendar.Timer, start time.Time, into **timestamppb.Timestamp) {
	if r.state.Limits.all()[place].IsZero() {
		return
	}
	grade := r.state.Grade
	if category, ok := r.asked.Registry.Category(r.state.Category, r.asked.At); ok && grade == pb.Grade_GRADE_UNSPECIFIED {
		grade = category.Grade // nobody graded it yet
	}
	limit, err := p.Limit(t, Column(grade))
	if err == nil && limit.None() {
		r.keep(place)
		return
	}
	by, provisional := time.Time{}, false
	if err == nil {
		by, provisional, err = r.asked.Calendar.Due(start, limit)
	}
	if err != nil {
		r.fail(t)
		return
	}
	r.set(place, by, provisional, into)
}

// handle counts the handle limit again: from its start with what it was counted with, then each extension from where the one before ended. It
// gives what the limit is now.
func (r *recount) handle(into **timestamppb.Timestamp) time.Time {
	s := r.state
	was := s.Limits.HandleBy
	p, known := r.profile(handlePlace)
	if was.IsZero() || s.HandleStart.IsZero() || s.HandleLimit == "" && !known {
		r.keep(handlePlace)
		return was
	}
	limit, err := s.handleLimit(p)
	by, provisional := time.Time{}, false
	if err == nil {
		by, provisional, err = r.asked.Calendar.Due(s.HandleStart, limit)
	}
	for _, days := range s.ExtendedBy {
		if err == nil && days > 0 {
			var guess bool
			by, guess, err = r.asked.Calendar.Extend(by, calendar.Limit{N: int(days), Unit: calendar.WorkingDay})
			provisional = provisional || guess
		}
	}
	if err != nil {
		r.fail(calendar.Handle)
		return was
	}
	if !r.set(handlePlace, by, provisional, into) {
		return was
	}
	return by
}

// set takes a limit's instant over, if that is another and it or the former lies ahead, and says whether it did.
func (r *recount) set(place int, by time.Time, provisional bool, into **timestamppb.Timestamp) bool {
	was, now := r.state.Limits.all()[place], r.asked.At
	if was.IsZero() {
		return false
	}
	if by.Equal(was) || !by.After(now) && !was.After(now) {
		r.provisional = r.provisional || provisional && by.Equal(was) || !by.Equal(was) && r.state.Limits.isGuess(place)
		return false
	}
	*into = rule.Stamp(by)
	r.changed++
	r.provisional = r.provisional || provisional
	return true
}

// keep leaves a limit what it is.
func (r *recount) keep(place int) { r.provisional = r.provisional || r.state.Limits.isGuess(place) }

func (r *recount) fail(t calendar.Timer) {
	r.err = rule.No(rule.DeadlineOutOfRange, "the limit %q cannot be computed from that time", t)
}

func (s *State) limitsRecomputed(_ *pb.EventMeta, e *pb.LimitsRecomputed) {
	l := &s.Limits
	for _, c := range []struct {
		is *time.Time
		by *timestamppb.Timestamp
	}{
		{&l.AcceptBy, e.AcceptBy}, {&l.DispatchBy, e.DispatchBy}, {&l.SignBy, e.SignBy}, {&l.ContactBy, e.ContactBy}, {&l.ReturnBy, e.ReturnBy},
		{&l.HandleBy, e.HandleBy}, {&l.VerifyBy, e.VerifyBy}, {&l.CallbackBy, e.CallbackBy}, {&l.CloseBy, e.CloseBy}, {&l.SegmentBy, e.SegmentBy},
		{&l.DecideReturnBy, e.DecideReturnBy}, {&l.RulingBy, e.RulingBy}, {&l.AppealBy, e.AppealBy}, {&l.ExclusionBy, e.ExclusionBy},
		{&l.SuspensionOverdueAt, e.SuspensionOverdueAt}, {&l.LongOverdueAt, e.LongOverdueAt},
	} {
		if c.by != nil {
			*c.is = rule.Instant(c.by)
		}
	}
}
