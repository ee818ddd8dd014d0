package ticket

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/rule"
)

// Timer is something that should happen by an instant.
type Timer struct {
	Which pb.TicketTimer
	By    time.Time
}

// timers is one more than the number of the last timer.
const timers = int(pb.TicketTimer_TICKET_TIMER_CLEARING) + 1

// Timers are the timers that run in this state and have not fired, the earliest first. One fires once for an instant: PassTimer
// with exactly that timer and instant, once the second it lies in is over. What that makes happen takes it out of here: the timer it was is then gone, moot or
// noted as fired, whatever the ticket goes on to.
func (s *State) Timers() []Timer {
	var run []Timer
	add := func(which pb.TicketTimer, by time.Time) {
		if !by.IsZero() && s.fired[which] != by.UnixMicro() {
			run = append(run, Timer{which, by})
		}
	}
	l := &s.Limits
	switch s.State {
	case pb.TicketState_TICKET_STATE_REPORTED:
		add(pb.TicketTimer_TICKET_TIMER_ACCEPT, l.AcceptBy)
	case pb.TicketState_TICKET_STATE_ACCEPTED, pb.TicketState_TICKET_STATE_TRIAGED:
		add(pb.TicketTimer_TICKET_TIMER_DISPATCH, l.DispatchBy)
	case pb.TicketState_TICKET_STATE_DISPATCHED:
		add(pb.TicketTimer_TICKET_TIMER_SIGN, l.SignBy)
	case pb.TicketState_TICKET_STATE_RETURN_REVIEW:
		add(pb.TicketTimer_TICKET_TIMER_RETURN_DECISION, l.DecideReturnBy)
	case pb.TicketState_TICKET_STATE_ADJUDICATION:
		add(pb.TicketTimer_TICKET_TIMER_RULING, l.RulingBy)
	case pb.TicketState_TICKET_STATE_SUSPENDED:
		add(pb.TicketTimer_TICKET_TIMER_SUSPENSION_REVIEW, l.ReviewAt)
		if s.Supervision < supervisionOrder {
			add(pb.TicketTimer_TICKET_TIMER_SUSPENSION_OVERDUE, l.SuspensionOverdueAt)
		}
	case pb.TicketState_TICKET_STATE_RESULT_SUBMITTED:
		add(pb.TicketTimer_TICKET_TIMER_VERIFY, l.VerifyBy)
	case pb.TicketState_TICKET_STATE_CALLBACK:
		if !s.asked() {
			add(pb.TicketTimer_TICKET_TIMER_CALLBACK, l.CallbackBy)
		}
	case pb.TicketState_TICKET_STATE_CLOSED:
		add(pb.TicketTimer_TICKET_TIMER_APPEAL, l.AppealBy)
	case pb.TicketState_TICKET_STATE_DECLINED:
		if !s.DeclineAppealed {
			add(pb.TicketTimer_TICKET_TIMER_APPEAL, l.AppealBy)
		}
	}
	switch s.State {
	case pb.TicketState_TICKET_STATE_DISPATCHED, pb.TicketState_TICKET_STATE_HANDLING:
		if !s.NonReturnable && !s.ReturnAsked && s.Grade != pb.Grade_GRADE_G0 {
			add(pb.TicketTimer_TICKET_TIMER_RETURN_WINDOW, l.ReturnBy)
		}
		fallthrough
	case pb.TicketState_TICKET_STATE_RETURN_REVIEW, pb.TicketState_TICKET_STATE_ADJUDICATION:
		if !s.Contacted && !s.Anonymous && !s.waived(pb.Requirement_REQUIREMENT_CONTACT) {
			add(pb.TicketTimer_TICKET_TIMER_CONTACT, l.ContactBy)
		}
		fallthrough
	case pb.TicketState_TICKET_STATE_TRIAGED: // again, after a return: the petitioner's clock runs on while nobody leads
		if s.Supervision < supervisionUrge {
			add(pb.TicketTimer_TICKET_TIMER_URGE, s.urgeAt())
		}
		add(pb.TicketTimer_TICKET_TIMER_HANDLE, l.HandleBy)
		if !s.Listed {
			add(pb.TicketTimer_TICKET_TIMER_LONG_OVERDUE, l.LongOverdueAt)
		}
	case pb.TicketState_TICKET_STATE_CALLBACK, pb.TicketState_TICKET_STATE_CLOSED:
		if s.Exclusion == nil && s.Excluded == 0 {
			add(pb.TicketTimer_TICKET_TIMER_EXCLUSION, l.ExclusionBy)
		}
	}
	if s.Listed && s.Open() && s.Supervision < supervisionAccount {
		add(pb.TicketTimer_TICKET_TIMER_CLEARING, l.ClearBy)
	}
	slices.SortStableFunc(run, func(a, b Timer) int { return a.By.Compare(b.By) })
	return run
}

// Runs says whether a timer runs to exactly an instant.
func (s *State) Runs(which pb.TicketTimer, by time.Time) bool {
	return slices.ContainsFunc(s.Timers(), func(t Timer) bool { return t.Which == which && t.By.UnixMicro() == by.UnixMicro() })
}

// urgeAt is when three quarters of the time for handling are used; zero where no handle limit runs.
func (s *State) urgeAt() time.Time {
	if s.HandleStart.IsZero() || !s.Limits.HandleBy.After(s.HandleStart) {
		return time.Time{}
	}
	return s.HandleStart.Add(s.Limits.HandleBy.Sub(s.HandleStart) / 4 * 3).Truncate(time.Microsecond)
}

// passTimer: an instant has passed by which something should have happened. What follows happened at that instant, or where the
// ticket came into its state only later, then; but a fallback's dispatch happens now, since nobody could know of it before. No
// events: the timer does not run any more, or what it waits for could still be done in time, which is so to the end of its second.
func passTimer(s State, a *rule.Asked, c *pb.PassTimerRequest) ([]proto.Message, error) {
	ok, err := rule.Passed(a, c.Timer, c.By, func(by time.Time) bool { return s.Runs(c.Timer, by) })
	if err != nil || !ok {
		return nil, err
	}
	if c.Timer == pb.TicketTimer_TICKET_TIMER_RULING {
		return fallback(s, a)
	}
	events, err := s.passed(a, c.Timer, c.By)
	if err != nil {
		return nil, err
	}
	at := rule.Latest(c.By.AsTime(), s.Decided.At)
	for i, e := range events {
		events[i] = rule.Then(e, at)
	}
	return events, nil
}

// passed is what a timer makes happen that has run out.
func (s *State) passed(a *rule.Asked, which pb.TicketTimer, by *timestamppb.Timestamp) ([]proto.Message, error) {
	switch which {
	case pb.TicketTimer_TICKET_TIMER_ACCEPT:
		return rule.One(&pb.AcceptOverdue{By: by})
	case pb.TicketTimer_TICKET_TIMER_DISPATCH:
		return rule.One(&pb.DispatchOverdue{By: by})
	case pb.TicketTimer_TICKET_TIMER_SIGN:
		return s.andRaise(a, supervisionUrge, pb.SupervisionTrigger_SUPERVISION_TRIGGER_SIGN_OVERDUE, &pb.SignOverdue{By: by})
	case pb.TicketTimer_TICKET_TIMER_CONTACT:
		return rule.One(&pb.ContactOverdue{By: by})
	case pb.TicketTimer_TICKET_TIMER_RETURN_WINDOW, pb.TicketTimer_TICKET_TIMER_APPEAL, pb.TicketTimer_TICKET_TIMER_EXCLUSION:
		return rule.One(&pb.RightLapsed{Right: which, By: by})
	case pb.TicketTimer_TICKET_TIMER_RETURN_DECISION:
		return lapseReturn(*s, a), nil
	case pb.TicketTimer_TICKET_TIMER_URGE:
		return s.andRaise(a, supervisionUrge, pb.SupervisionTrigger_SUPERVISION_TRIGGER_TIME_USED)
	case pb.TicketTimer_TICKET_TIMER_HANDLE:
		return s.handlePassed(a, by)
	case pb.TicketTimer_TICKET_TIMER_LONG_OVERDUE:
		return s.andRaise(a, supervisionListed, pb.SupervisionTrigger_SUPERVISION_TRIGGER_LONG_OVERDUE)
	case pb.TicketTimer_TICKET_TIMER_VERIFY:
		return rule.One(&pb.VerifyOverdue{By: by})
	case pb.TicketTimer_TICKET_TIMER_CALLBACK:
		return rule.One(&pb.CallbackOverdue{By: by})
	case pb.TicketTimer_TICKET_TIMER_SUSPENSION_REVIEW:
		return rule.One(&pb.SuspensionReviewDue{By: by})
	case pb.TicketTimer_TICKET_TIMER_SUSPENSION_OVERDUE:
		return s.andRaise(a, supervisionOrder, pb.SupervisionTrigger_SUPERVISION_TRIGGER_SUSPENSION_REVIEW_MISSED)
	case pb.TicketTimer_TICKET_TIMER_CLEARING:
		return s.andRaise(a, supervisionAccount, pb.SupervisionTrigger_SUPERVISION_TRIGGER_CLEARING_OVERDUE)
	}
	return nil, fmt.Errorf("no rule for timer %s", which)
}

// handlePassed: there is no result in time. In a later round that is listed; and what waits to be decided to give more time is
// refused, since time is never given tacitly nor in retrospect.
func (s *State) handlePassed(a *rule.Asked, by *timestamppb.Timestamp) ([]proto.Message, error) {
	d := s.due(a)
	e := &pb.HandleOverdue{By: by, LongOverdueAt: d.by(calendar.OverdueGrace, by.AsTime())}
	e.Provisional = d.provisional
	if d.err != nil {
		return nil, d.err
	}
	level, trigger := uint32(supervisionOrder), pb.SupervisionTrigger_SUPERVISION_TRIGGER_HANDLE_OVERDUE
	if s.Round > 1 {
		level, trigger = supervisionListed, pb.SupervisionTrigger_SUPERVISION_TRIGGER_REDO_OVERDUE
	}
	events, err := s.andRaise(a, level, trigger, e)
	return append(append(events, lapseExtension(*s)...), lapseSuspension(*s)...), err
}

// fire notes that a timer fired for an instant.
func (s *State) fire(which pb.TicketTimer, by time.Time) {
	if !by.IsZero() {
		s.fired[which] = by.UnixMicro()
	}
}

func (s *State) acceptOverdue(_ *pb.EventMeta, e *pb.AcceptOverdue) {
	s.fire(pb.TicketTimer_TICKET_TIMER_ACCEPT, rule.Instant(e.By))
}

func (s *State) dispatchOverdue(_ *pb.EventMeta, e *pb.DispatchOverdue) {
	s.fire(pb.TicketTimer_TICKET_TIMER_DISPATCH, rule.Instant(e.By))
}

// signOverdue: the lead is deemed to have signed.
func (s *State) signOverdue(_ *pb.EventMeta, e *pb.SignOverdue) {
	s.signed()
	s.fire(pb.TicketTimer_TICKET_TIMER_SIGN, rule.Instant(e.By))
}

func (s *State) contactOverdue(_ *pb.EventMeta, e *pb.ContactOverdue) {
	s.fire(pb.TicketTimer_TICKET_TIMER_CONTACT, rule.Instant(e.By))
}

func (s *State) handleOverdue(_ *pb.EventMeta, e *pb.HandleOverdue) {
	s.fire(pb.TicketTimer_TICKET_TIMER_HANDLE, rule.Instant(e.By))
	s.Limits.LongOverdueAt = rule.Instant(e.LongOverdueAt)
}

func (s *State) verifyOverdue(_ *pb.EventMeta, e *pb.VerifyOverdue) {
	s.fire(pb.TicketTimer_TICKET_TIMER_VERIFY, rule.Instant(e.By))
}

func (s *State) callbackOverdue(_ *pb.EventMeta, e *pb.CallbackOverdue) {
	s.fire(pb.TicketTimer_TICKET_TIMER_CALLBACK, rule.Instant(e.By))
}

func (s *State) rightLapsed(_ *pb.EventMeta, e *pb.RightLapsed) {
	if int(e.Right) > 0 && int(e.Right) < timers {
		s.fire(e.Right, rule.Instant(e.By))
	}
}

// lasting keeps limits that a dispatch, a return or a new round sets aside with those that belong to these: the ones of supervision,
// which only supervision changes while the ticket is open; and the one that follows a handle limit that passed, while that is the same.
func (l *Limits) lasting(before *Limits, event proto.Message) {
	switch event.(type) {
	case *pb.SupervisionRaised, *pb.SupervisionReplied, *pb.ListingCleared, *pb.SupervisionLifted, *pb.LimitsRecomputed,
		*pb.TicketUnmerged: // which sets all as they were
		return
	}
	if after := StateAfter(event); after == 0 || open(after) {
		l.ReplyBy, l.PlanBy, l.ClearBy = before.ReplyBy, before.PlanBy, before.ClearBy
	}
	switch same := l.HandleBy.Equal(before.HandleBy); {
	case same && l.LongOverdueAt.IsZero() && !l.HandleBy.IsZero():
		l.LongOverdueAt = before.LongOverdueAt
	case !same && l.LongOverdueAt.Equal(before.LongOverdueAt):
		if _, corrected := event.(*pb.TriageCorrected); !corrected { // it passed before the correction shortened it
			l.LongOverdueAt = time.Time{}
		}
	}
}
