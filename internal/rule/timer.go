package rule

import (
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
)

// Timer is something that should happen to a whistle, an admission or a listing by an instant.
type Timer struct {
	Which int32  // of the enum of its kind of resource
	Unit  string // the participant, for a timer of one
	By    time.Time
}

// Timed is an aggregate that time makes things happen to.
type Timed interface {
	Aggregate
	// Timers are those that run and have not fired, the earliest first.
	Timers() []Timer
}

// Runs says whether one of the timers runs to exactly an instant: that of a unit, or of the whole where unit is empty.
func Runs[E ~int32](timers []Timer, which E, unit string) func(by time.Time) bool {
	return func(by time.Time) bool {
		return slices.ContainsFunc(timers, func(t Timer) bool {
			return t.Which == int32(which) && t.Unit == unit && t.By.UnixMicro() == by.UnixMicro()
		})
	}
}

// Passed says whether a timer has run out that a command says has: it runs to exactly that instant, and what it waits for cannot be done in time any
// more, which it could to the end of its second. Only this system says so, and names the timer and the instant.
func Passed[E Enum](a *Asked, timer E, by *timestamppb.Timestamp, runs func(by time.Time) bool) (bool, error) {
	if err := a.Require(pb.Role_ROLE_SYSTEM); err != nil {
		return false, err
	}
	if timer == 0 {
		return false, Bad("timer", MissingField, "is required")
	}
	if by == nil {
		return false, Bad("by", MissingField, "is required")
	}
	return !calendar.OnTime(a.At, by.AsTime()) && runs(by.AsTime()), nil
}
