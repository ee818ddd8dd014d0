package projector

import (
	"context"
	"sync"

	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// build folds the whole history into views that have seen nothing. It is one transaction: half a view is of no use.
func (p *Projector) build(ctx context.Context, tx *viewdb.Tx) error {
	ctx, stop := context.WithCancel(ctx)
	f := newFeed(2 * p.opts.Batch)
	var reading sync.WaitGroup
	reading.Go(func() { f.fill(ctx, p.store.ReadAll(ctx, 0)) })
	defer reading.Wait()
	defer stop()
	folds := make([]Folding, len(p.views))
	for i, v := range p.views {
		if v.Folding != nil {
			folds[i] = v.Folding()
			continue
		}
		folds[i] = oneByOne(func(tx *viewdb.Tx, batch []event.Decoded) error { return v.Apply(ctx, tx, batch) })
	}
	var last eventstore.Position
	for {
		batch, bad, err := f.take(ctx, p.opts.Batch, p.opts.Batch)
		for i, v := range p.views {
			for j := range batch {
				if err := folds[i].Add(tx, &batch[j]); err != nil {
					return stoppedAt(v.Name, &batch[j].Recorded, err)
				}
			}
			if err := folds[i].Write(tx, p.opts.Keep); err != nil {
				return err
			}
		}
		if len(batch) > 0 {
			last = batch[len(batch)-1].Position
			if p.opts.OnProgress != nil {
				p.opts.OnProgress(last)
			}
		}
		switch {
		case bad != nil:
			return stoppedAt(p.views[0].Name, &bad.Recorded, err)
		case err != nil:
			return err
		case len(batch) > 0:
			continue
		}
		for i, v := range p.views {
			if err := folds[i].Write(tx, 0); err != nil {
				return err
			}
			if _, err := tx.Exec("UPDATE checkpoints SET position = $1 WHERE view = $2", int64(last), v.Name); err != nil {
				return err
			}
		}
		return nil
	}
}

func stoppedAt(view string, at *eventstore.Recorded, err error) error {
	if viewdb.IsFault(err) {
		return err
	}
	return &StoppedError{View: view, Stream: at.Stream, Version: at.Version, Position: at.Position, Type: at.Type, Err: err}
}

// oneByOne folds with Apply, so that it is known which event cannot be applied.
type oneByOne func(tx *viewdb.Tx, batch []event.Decoded) error

func (apply oneByOne) Add(tx *viewdb.Tx, d *event.Decoded) error {
	return apply(tx, []event.Decoded{*d})
}

func (apply oneByOne) Write(*viewdb.Tx, int) error { return nil }
