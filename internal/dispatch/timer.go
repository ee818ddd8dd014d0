package dispatch

import (
	"context"
	"fmt"
	"strings"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/rule"
)

// timersActor is this system where an instant has passed.
var timersActor = rule.Actor{Person: "timers", Roles: []pb.Role{pb.Role_ROLE_SYSTEM}}

// PassTimer makes happen what follows for a ticket, "tickets/{ticket}", from an instant that has passed. seen is the version at which the caller knows
// the timer to run. The request id is the same whoever asks and however often, so it happens once. A Repeated result says that nothing was
// recorded now: it had happened, or the ticket has no such timer any more; or, where runs is true, it has, and by the clock its instant has not passed.
func (d *Dispatcher) PassTimer(ctx context.Context, name string, timer pb.TicketTimer, by time.Time, seen eventstore.Version) (result Result, runs bool, err error) {
	stream, err := Stream(name, "tickets")
	if err != nil {
		return Result{}, false, err
	}
	if f, ok := d.tickets.cache.Get(stream); ok && f.version < seen {
		// Another process went on with it. To what is old the timer may mean nothing.
		d.tickets.cache.Remove(stream)
	}
	state, result, err := do(ctx, d, d.tickets, stream, Request{
		Actor: timersActor, ID: fmt.Sprintf("deadline/%s/%s/%d", ID(stream), TimerName(timer), by.UnixMicro()),
		Command: &pb.PassTimerRequest{Name: name, Timer: timer, By: rule.Stamp(by)},
	}, nil)
	runs = err == nil && result.Repeated && state.Runs(timer, by)
	return result, runs, err
}

// TimerName is a timer's name in small letters, such as "return_window".
func TimerName(t pb.TicketTimer) string {
	return strings.ToLower(rule.Name(t))
}
