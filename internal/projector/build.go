package projector

import (
	"cmp"
	"context"
	"errors"
	"sync"

	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// ahead is how many batches a view may be behind the one that is first.
const ahead = 2

// build folds the whole history into views that have seen nothing. It is one transaction: half a view is of no use. The views share nothing but
// that transaction, so each has a goroutine: while one writes the others fold.
func (p *Projector) build(ctx context.Context, tx *viewdb.Tx) error {
	ctx, stop := context.WithCancel(ctx)
	f := newFeed(2 * p.opts.Batch)
	var reading, folding sync.WaitGroup
	reading.Go(func() { f.fill(ctx, p.store.ReadAll(ctx, 0)) })
	defer reading.Wait()
	defer stop()
	failed := make([]error, len(p.views))
	feeds := make([]chan []event.Decoded, len(p.views))
	for i, shared := range tx.Share(len(p.views)) {
		feeds[i] = make(chan []event.Decoded, ahead)
		folding.Go(func() {
			if failed[i] = p.views[i].fold(ctx, shared, feeds[i], p.opts.Keep); failed[i] != nil {
				stop()
			}
			shared.Rest()
		})
	}
	last, err := p.deal(ctx, f, feeds)
	for _, feed := range feeds {
		close(feed)
	}
	if err != nil {
		stop()
	}
	folding.Wait()
	for _, failed := range failed {
		if failed != nil && !errors.Is(failed, context.Canceled) {
			return failed
		}
	}
	if err := cmp.Or(append([]error{err}, failed...)...); err != nil {
		return err
	}
	for _, v := range p.views {
		if _, err := tx.Exec("UPDATE checkpoints SET position = $1 WHERE view = $2", int64(last), v.Name); err != nil {
			return err
		}
		if err := noteCaughtUp(tx, v.Name); err != nil {
			return err
		}
	}
	return nil
}

// deal hands what is read to all views, and says how far it came.
func (p *Projector) deal(ctx context.Context, f *feed, feeds []chan []event.Decoded) (last eventstore.Position, err error) {
	for {
		batch, bad, err := f.take(ctx, p.opts.Batch, p.opts.Batch)
		if len(batch) > 0 {
			for _, feed := range feeds {
				select {
				case feed <- batch:
				case <-ctx.Done():
					return last, ctx.Err()
				}
			}
			last = batch[len(batch)-1].Position
			if p.opts.OnProgress != nil {
				p.opts.OnProgress(last)
			}
		}
		switch {
		case bad != nil:
			return last, stoppedAt(p.views[0].Name, &bad.Recorded, err)
		case err != nil || len(batch) == 0:
			return last, err
		}
	}
}

// fold folds batches into the view until there are no more, and then writes all of it.
func (v *running) fold(ctx context.Context, tx *viewdb.Tx, batches <-chan []event.Decoded, keep int) error {
	var f Folding = &oneByOne{apply: func(tx *viewdb.Tx, batch []event.Decoded) error { return v.Apply(ctx, tx, batch) }}
	if v.Folding != nil {
		f = v.Folding()
	}
	for batch := range batches {
		for i := range batch {
			if err := f.Add(tx, &batch[i]); err != nil {
				return stoppedAt(v.Name, &batch[i].Recorded, err)
			}
		}
		tx.Rest()
		if err := f.Write(tx, keep); err != nil {
			return err
		}
		tx.Rest()
	}
	if ctx.Err() != nil {
		return ctx.Err() // there was more
	}
	if err := f.Write(tx, 0); err != nil {
		return err
	}
	return tx.Flush()
}

func stoppedAt(view string, at *eventstore.Recorded, err error) error {
	if viewdb.IsFault(err) {
		return err
	}
	return &StoppedError{View: view, Stream: at.Stream, Version: at.Version, Position: at.Position, Type: at.Type, Err: err}
}

// oneByOne folds with Apply, so that it is known which event cannot be applied.
type oneByOne struct {
	apply func(tx *viewdb.Tx, batch []event.Decoded) error
	one   [1]event.Decoded
}

func (o *oneByOne) Add(tx *viewdb.Tx, d *event.Decoded) error {
	o.one[0] = *d
	if err := o.apply(tx, o.one[:]); err != nil {
		return err
	}
	return tx.Flush()
}

func (o *oneByOne) Write(*viewdb.Tx, int) error { return nil }
