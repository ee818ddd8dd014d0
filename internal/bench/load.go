package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/chuishao/dispatch/internal/app"
	"github.com/chuishao/dispatch/internal/dispatch"
)

const (
	loaders = 512
	// One ticket in tenth lived here, from report to close; the others are records of other systems.
	tenth = 10
	// One life in unfinished has not come to its end.
	unfinished = 8
)

// clock is a clock that goes as fast as the work does.
type clock struct{ micros atomic.Int64 }

func (c *clock) now() time.Time { return time.UnixMicro(c.micros.Load()) }

// load makes a history of a year in the example city, through the one write path.
func (r *run) load(ctx context.Context) (err error) {
	end := time.Now()
	var at clock
	at.micros.Store(end.Add(-year).UnixMicro())
	node, err := r.openNode(ctx, withTickets, at.now)
	if err != nil {
		return err
	}
	r.full = node
	r.later(node.Close)
	began := time.Now()
	lives := r.Tickets / tenth
	tick := year.Microseconds() / int64(max(lives*steps, 1))
	err = each(ctx, lives, func(ctx context.Context, n int) error {
		l := newLife(r.city, fmt.Sprintf("bench/life/%d", n), uint64(n))
		ends := steps
		if l.random.IntN(unfinished) == 0 {
			ends = 1 + l.random.IntN(steps-1)
		}
		for range ends {
			c := l.next()
			stream, err := carryOut(ctx, node, c.by, c.message)
			if err != nil {
				return err
			}
			l.done("tickets/" + dispatch.ID(stream))
			at.micros.Add(tick)
		}
		return nil
	})
	if err != nil {
		return err
	}
	livesTook := time.Since(began)
	at.micros.Store(end.UnixMicro())
	began = time.Now()
	records := r.Tickets - lives
	err = each(ctx, records, func(ctx context.Context, n int) error {
		_, err := carryOut(ctx, node, system, r.city.record(n, records, end))
		return err
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(r.Progress, "          %d lives in %.1f s, %d records in %.1f s\n", lives, livesTook.Seconds(), records, time.Since(began).Seconds())
	return nil
}

// openNode opens a new node whose registry is the example city's.
func (r *run) openNode(ctx context.Context, name string, now func() time.Time) (*app.Node, error) {
	where, err := r.places.where(name)
	if err != nil {
		return nil, err
	}
	node, err := app.Open(ctx, r.places.nodeDir(name), app.Options{Clock: now, Log: quiet(), Where: where})
	if err != nil {
		return nil, err
	}
	r.places.made(where.Views)
	faults, _, err := node.Dispatcher.LoadRegistry(ctx, system.actor, "bench-1", node.Dispatcher.Now().Add(-2*year), r.city.content.Pieces(), false)
	if err == nil && len(faults) > 0 {
		err = fmt.Errorf("example registry: %v", faults[0])
	}
	if err != nil {
		return nil, errors.Join(err, node.Close())
	}
	return node, nil
}

func carryOut(ctx context.Context, node *app.Node, by *who, message proto.Message) (stream string, err error) {
	_, result, err := node.Dispatcher.Ticket(ctx, dispatch.Request{Actor: by.actor, Command: message})
	return result.Stream, err
}

// each does what is numbered 0 to n-1, many at a time, until one fails.
func each(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var next atomic.Int64
	var fault fault
	var working sync.WaitGroup
	for range loaders {
		working.Go(func() {
			for {
				i := int(next.Add(1) - 1)
				if i >= n {
					return
				}
				err := ctx.Err()
				if err == nil {
					err = do(ctx, i)
				}
				if err != nil {
					fault.set(err)
					cancel()
					return
				}
			}
		})
	}
	working.Wait()
	return fault.get()
}

// open opens the node with the tickets anew, on the clock of this machine, measures what it takes now that its files have been closed once, and
// opens one without tickets if the store has room for it.
func (r *run) open(ctx context.Context) error {
	if err := r.full.Close(); err != nil {
		return err
	}
	var err error
	if r.full, err = r.reopen(ctx); err != nil {
		return err
	}
	r.later(r.full.Close)
	if err := r.sizes(ctx); err != nil {
		return err
	}
	if r.places.one {
		return nil
	}
	if r.empty, err = r.openNode(ctx, withNone, nil); err != nil {
		return err
	}
	r.later(r.empty.Close)
	return nil
}

// reopen opens the node with the tickets anew, on the clock of this machine.
func (r *run) reopen(ctx context.Context) (*app.Node, error) {
	where, err := r.places.where(withTickets)
	if err != nil {
		return nil, err
	}
	return app.Open(ctx, r.places.nodeDir(withTickets), app.Options{Log: quiet(), Where: where})
}
