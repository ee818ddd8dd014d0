package ticket

import (
	"errors"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// Timer is something that is due by an instant.
type Timer struct {
	Which pb.TicketTimer
	By    time.Time
}

const timers = int(pb.TicketTimer_TICKET_TIMER_CLEARING) + 1

// Timers are the timers that run in this state and have not fired, the earliest first. One fires once for an instant: PassTimer
// with exactly that timer and instant, after it. What that makes happen takes it out of here.
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
		if s.Supervision < supervisionUrge {
			add(pb.TicketTimer_TICKET_TIMER_URGE, s.urgeAt())
		}
		add(pb.TicketTimer_TICKET_TIMER_HANDLE, l.HandleBy)
		if s.Supervision < supervisionListed {
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

// urgeAt is when three quarters of the time for handling are used, in wall time, but not that of suspensions; zero where no handle
// limit runs.
func (s *State) urgeAt() time.Time {
	start := s.HandleStart.Add(s.paused)
	if s.HandleStart.IsZero() || !s.Limits.HandleBy.After(start) {
		return time.Time{}
	}
	return start.Add(s.Limits.HandleBy.Sub(start) / 4 * 3).Truncate(time.Microsecond)
}

func passTimer(s State, a *rule.Asked, c *pb.PassTimerRequest) ([]proto.Message, error) {
	return nil, errors.New("to be written")
}

func (s *State) acceptOverdue(meta *pb.EventMeta, e *pb.AcceptOverdue) {}

func (s *State) dispatchOverdue(meta *pb.EventMeta, e *pb.DispatchOverdue) {}

func (s *State) signOverdue(meta *pb.EventMeta, e *pb.SignOverdue) {}

func (s *State) contactOverdue(meta *pb.EventMeta, e *pb.ContactOverdue) {}

func (s *State) handleOverdue(meta *pb.EventMeta, e *pb.HandleOverdue) {}

func (s *State) verifyOverdue(meta *pb.EventMeta, e *pb.VerifyOverdue) {}

func (s *State) callbackOverdue(meta *pb.EventMeta, e *pb.CallbackOverdue) {}

func (s *State) rightLapsed(meta *pb.EventMeta, e *pb.RightLapsed) {}
