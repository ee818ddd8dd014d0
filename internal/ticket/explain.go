package ticket

import (
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
)

// Counting is how a limit came about: a timer of the profile, from an instant on.
type Counting struct {
	Timer calendar.Timer
	Start time.Time // zero: when the event that set the limit occurred
	By    time.Time // zero: nothing is due
}

// Counting says how one of the ticket's limits is counted; false for those that are not counted but set, and for those derived from another. Of
// the handle limit it says where it began, whatever extensions added.
func (s *State) Counting(timer pb.TicketTimer) (Counting, bool) {
	l := &s.Limits
	switch timer {
	case pb.TicketTimer_TICKET_TIMER_ACCEPT:
		return Counting{calendar.Accept, s.LearntAt, l.AcceptBy}, true
	case pb.TicketTimer_TICKET_TIMER_DISPATCH:
		return Counting{calendar.Dispatch, s.dispatchFrom(), l.DispatchBy}, true
	case pb.TicketTimer_TICKET_TIMER_SIGN:
		return Counting{calendar.Sign, s.DispatchedAt, l.SignBy}, true
	case pb.TicketTimer_TICKET_TIMER_CONTACT:
		return Counting{calendar.Contact, s.ContactStart, l.ContactBy}, true
	case pb.TicketTimer_TICKET_TIMER_RETURN_WINDOW:
		return Counting{calendar.ReturnWindow, s.DispatchedAt, l.ReturnBy}, true
	case pb.TicketTimer_TICKET_TIMER_RETURN_DECISION:
		return Counting{calendar.ReturnDecision, time.Time{}, l.DecideReturnBy}, true
	case pb.TicketTimer_TICKET_TIMER_RULING:
		return Counting{calendar.Ruling, time.Time{}, l.RulingBy}, true
	case pb.TicketTimer_TICKET_TIMER_HANDLE, pb.TicketTimer_TICKET_TIMER_UNSPECIFIED:
		return Counting{s.handleTimer(), s.HandleStart, l.HandleBy}, true
	case pb.TicketTimer_TICKET_TIMER_LONG_OVERDUE:
		return Counting{calendar.OverdueGrace, l.HandleBy, l.LongOverdueAt}, true
	case pb.TicketTimer_TICKET_TIMER_VERIFY:
		return Counting{calendar.Verify, s.SubmittedAt, l.VerifyBy}, true
	case pb.TicketTimer_TICKET_TIMER_CALLBACK:
		return Counting{calendar.Callback, s.VerifiedAt, l.CallbackBy}, true
	case pb.TicketTimer_TICKET_TIMER_SUSPENSION_OVERDUE:
		return Counting{calendar.SuspensionGrace, l.ReviewAt, l.SuspensionOverdueAt}, true
	case pb.TicketTimer_TICKET_TIMER_APPEAL:
		return Counting{calendar.Appeal, time.Time{}, l.AppealBy}, true
	case pb.TicketTimer_TICKET_TIMER_EXCLUSION:
		return Counting{calendar.ExclusionRequest, time.Time{}, l.ExclusionBy}, true
	}
	return Counting{}, false
}
