package policy

import (
	"context"
	"fmt"
	"iter"

	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/view"
)

// Open finds the tickets that are open.
type Open struct {
	Store eventstore.Store
	Views *view.Reader
	// Projector runs the view of tickets, and must do so for anything to be found.
	Projector projector.Progress
}

// looked is how many tickets are looked at in one step: so many names are held at once, however many tickets there are.
const looked = 2_000

// Tickets yields the names of the tickets that are open once the view has seen the position, or all that is recorded now if that is 0. One
// that is opened again meanwhile may be left out: it was decided on later.
func (o Open) Tickets(ctx context.Context, upTo eventstore.Position) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := o.see(ctx, upTo); err != nil {
			yield("", err)
			return
		}
		for after := int64(0); ; {
			names, next, err := o.Views.OpenTickets(ctx, after, looked)
			if err != nil {
				yield("", fmt.Errorf("look for open tickets: %w", err))
				return
			}
			for _, name := range names {
				if !yield(name, nil) {
					return
				}
			}
			if after = next; after == 0 {
				return
			}
		}
	}
}

// see waits until the view, and what else is named, has seen the position, or all that is recorded now if that is 0.
func (o Open) see(ctx context.Context, upTo eventstore.Position, also ...string) error {
	if upTo == 0 {
		var err error
		if upTo, err = end(ctx, o.Store, o.Views); err != nil {
			return err
		}
	}
	if err := o.Projector.WaitFor(ctx, upTo, append(also, view.TicketsView)...); err != nil {
		return fmt.Errorf("wait for the view of timers: %w", err)
	}
	return nil
}

// end is the position of the last event that is recorded, looked for from where the view of tickets stands.
func end(ctx context.Context, store eventstore.Store, views *view.Reader) (eventstore.Position, error) {
	last, err := views.TimersAt(ctx)
	if err != nil {
		return 0, err
	}
	for r, err := range store.ReadAll(ctx, last) {
		if err != nil {
			return 0, fmt.Errorf("look for the end of the history: %w", err)
		}
		last = r.Position
	}
	return last, nil
}
