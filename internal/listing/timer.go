package listing

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// Timers are those that run and have not fired, the earliest first: until its first plan, and until it is cleared. One fires once.
func (s *State) Timers() []rule.Timer {
	var run []rule.Timer
	add := func(which pb.ListingTimer, by time.Time) {
		if !by.IsZero() {
			run = append(run, rule.Timer{Which: int32(which), By: by})
		}
	}
	if s.State == pb.ListingState_LISTING_STATE_LISTED && s.Person == "" && !s.PlanMissed {
		add(pb.ListingTimer_LISTING_TIMER_PLAN, s.PlanBy)
	}
	if s.Open() && !s.ClearMissed {
		add(pb.ListingTimer_LISTING_TIMER_CLEAR, s.ClearBy)
	}
	slices.SortStableFunc(run, func(a, b rule.Timer) int { return a.By.Compare(b.By) })
	return run
}

// passTimer: an instant has passed by which there should have been a plan, or the problem cleared. It happened at that instant. No events: the timer
// does not run any more, or what it waits for could still be done in time, which is so to the end of its second.
func passTimer(s State, a *rule.Asked, c *pb.PassListingTimerRequest) ([]proto.Message, error) {
	ok, err := rule.Passed(a, c.Timer, c.By, rule.Runs(s.Timers(), c.Timer, ""))
	if err != nil || !ok {
		return nil, err
	}
	return rule.One(rule.Then(&pb.ListingTimerPassed{Timer: c.Timer, By: c.By}, c.By.AsTime()))
}

func (s *State) timerPassed(e *pb.ListingTimerPassed) {
	switch e.Timer {
	case pb.ListingTimer_LISTING_TIMER_PLAN:
		s.PlanMissed = true
	case pb.ListingTimer_LISTING_TIMER_CLEAR:
		s.ClearMissed = true
	}
}
