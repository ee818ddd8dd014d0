package dispatch

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// MoveHolders lets tickets follow the map that is in force now: of those that are open, each whose holder or lead the map no longer has
// goes to the unit that took its place, and each whose holder lies elsewhere is told so. names are of tickets, "tickets/{ticket}"; closed
// ones and ones that stay change nothing. It may be called any number of times, by any number of processes: the request ids follow from the
// version and from when the map became what it is. An error leaves the tickets after it as they were.
func (d *Dispatcher) MoveHolders(ctx context.Context, names iter.Seq[string]) error {
	registry := d.Registry()
	round := fmt.Sprintf("move/%s/%d/", registry.Version(), registry.ChangedAt(d.Now()).Unix())
	for name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		stream, err := Stream(name, "tickets")
		if err != nil {
			return err
		}
		_, _, err = do(ctx, d, d.tickets, stream, Request{
			Actor: policyActor, ID: round + ID(stream), Command: &pb.MoveHolderRequest{Name: name},
		}, nil)
		if refusal, ok := errors.AsType[*rule.Refusal](err); ok && refusal.Reason == rule.WrongState {
			continue // it has been closed
		}
		if err != nil {
			return fmt.Errorf("move the holder of %s: %w", name, err)
		}
	}
	return nil
}

// NextMapChange is when the map next changes by itself: when a version that was published ahead takes effect, or an entry of the one in
// force begins or ends. Not found if nothing of the kind lies ahead.
func (d *Dispatcher) NextMapChange() (time.Time, bool) {
	now := d.Now()
	next, ok := d.registry.at(now).NextChange(now)
	for _, v := range d.registry.state.Load().Versions() {
		if from := v.ValidFrom(); from.After(now) && (!ok || from.Before(next)) {
			next, ok = from, true
		}
	}
	return next, ok
}
