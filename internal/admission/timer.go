package admission

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// notDecided is the reason of a refusal where nobody decided in time.
const notDecided = "NOT_DECIDED"

// Timers are those that run and have not fired, the earliest first: the decision's limit, then the end of the validity.
func (s *State) Timers() []rule.Timer {
	one := func(which pb.AdmissionTimer, by time.Time) []rule.Timer {
		if by.IsZero() {
			return nil
		}
		return []rule.Timer{{Which: int32(which), By: by}}
	}
	switch {
	case slices.Contains(pending, s.State):
		return one(pb.AdmissionTimer_ADMISSION_TIMER_DECIDE, s.DecideBy)
	case s.State == pb.AdmissionState_ADMISSION_STATE_ADMITTED:
		return one(pb.AdmissionTimer_ADMISSION_TIMER_EXPIRE, s.ValidTo)
	}
	return nil
}

// passTimer: an instant has passed by which something should have happened. What follows happened at that instant, or where something was recorded of a
// later one, then. No events: the timer does not run any more, or its second is not over yet.
func passTimer(s State, a *rule.Asked, c *pb.PassAdmissionTimerRequest) ([]proto.Message, error) {
	ok, err := rule.Passed(a, c.Timer, c.By, rule.Runs(s.Timers(), c.Timer, ""))
	if err != nil || !ok {
		return nil, err
	}
	at := rule.Latest(c.By.AsTime(), s.LastAt)
	if c.Timer == pb.AdmissionTimer_ADMISSION_TIMER_EXPIRE {
		return rule.One(rule.Then(&pb.AdmissionExpired{}, at))
	}
	return rule.One(rule.Then(&pb.AdmissionRefused{Reason: notDecided}, at))
}
