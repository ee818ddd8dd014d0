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
// version and from when the map became what it is. A ticket that refuses does not keep the others waiting; its refusal is told at the
// end. Any other error leaves the tickets after it as they were.
func (d *Dispatcher) MoveHolders(ctx context.Context, names iter.Seq2[string, error]) error {
	round := "move/" + d.MapInForce() + "/"
	var refused []error
	for name, err := range names {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("open tickets: %w", err)
		}
		stream, err := Stream(name, "tickets")
		if err != nil {
			return err
		}
		_, _, err = do(ctx, d, d.tickets, stream, Request{
			Actor: policyActor, ID: round + ID(stream), Command: &pb.MoveHolderRequest{Name: name},
		}, nil)
		if refusal, ok := errors.AsType[*rule.Refusal](err); ok {
			if refusal.Reason != rule.WrongState { // it has not been closed
				refused = append(refused, fmt.Errorf("move the holder of %s: %w", name, refusal))
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("move the holder of %s: %w", name, err)
		}
	}
	return errors.Join(refused...)
}

// MapInForce names what the map is now: the version of the reference data, and when the map became what it is. Empty before the first version.
func (d *Dispatcher) MapInForce() string {
	now := d.Now()
	registry := d.registry.at(now)
	if registry.Version() == "" {
		return ""
	}
	return fmt.Sprintf("%s/%d", registry.Version(), registry.ChangedAt(now).Unix())
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
