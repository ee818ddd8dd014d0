package projector

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// errAgain says that a checkpoint is not where it was thought to be: somebody else moved it, or the file was replaced.
var errAgain = errors.New("checkpoint moved")

type read func(ctx context.Context, after eventstore.Position) iter.Seq2[eventstore.Recorded, error]

// follow applies what from yields. One goroutine reads and decodes, this one applies, so that both have a processor.
// It waits for batches of at least atLeast events, or the end.
func (p *Projector) follow(ctx context.Context, from read, atLeast int) error {
	if err := p.refresh(ctx); err != nil {
		return err
	}
	after, any := p.behind()
	if !any {
		// All have stopped. They stay visible until somebody acts.
		if atLeast > 1 {
			return nil
		}
		<-ctx.Done()
		return ctx.Err()
	}
	ctx, stop := context.WithCancel(ctx)
	f := newFeed(2 * p.opts.Batch)
	var reading sync.WaitGroup
	reading.Go(func() { f.fill(ctx, from(ctx, after)) })
	defer reading.Wait()
	defer stop()
	for {
		batch, bad, err := f.take(ctx, atLeast, p.opts.Batch)
		if len(batch) > 0 {
			p.waitingSince(batch[0].Meta.RecordedAt.AsTime())
			if err := p.step(ctx, batch); err != nil {
				return err
			}
			p.waitingSince(f.oldest())
			if p.opts.OnProgress != nil {
				p.opts.OnProgress(batch[len(batch)-1].Position)
			}
		}
		switch {
		case bad != nil:
			// Not even its type or envelope is understood, so no view can pass it.
			for _, v := range p.views {
				if p.runs(v) {
					p.stop(v, &bad.Recorded, bad.Meta.GetRecordedAt().AsTime(), err)
				}
			}
			return errAgain
		case err != nil:
			return err
		case len(batch) == 0:
			return nil
		}
	}
}

// refresh reads where the checkpoints are.
func (p *Projector) refresh(ctx context.Context) error {
	return p.db.Write(ctx, func(tx *viewdb.Tx) error {
		for _, v := range p.views {
			at, err := Position(tx, v.Name)
			if err != nil {
				return err
			}
			v.folding = nil
			p.say(v, func(v *running) { v.position = at })
		}
		return nil
	})
}

// behind is the least position of the views that run.
func (p *Projector) behind() (least eventstore.Position, any bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, v := range p.views {
		if v.stopped == nil && (!any || v.position < least) {
			least, any = v.position, true
		}
	}
	return least, any
}

func (p *Projector) runs(v *running) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return v.stopped == nil
}

func (p *Projector) at(v *running) eventstore.Position {
	p.mu.Lock()
	defer p.mu.Unlock()
	return v.position
}

// step hands a batch to the views. Those at the same place share a transaction; one that fails is set apart, so that it
// stops alone.
func (p *Projector) step(ctx context.Context, batch []event.Decoded) error {
	last := batch[len(batch)-1].Position
	for {
		var group []*running
		var from eventstore.Position
		for _, v := range p.views {
			at := p.at(v)
			switch {
			case !p.runs(v) || at >= last:
			case len(group) == 0 || at < from:
				group, from = []*running{v}, at
			case at == from:
				group = append(group, v)
			}
		}
		if len(group) == 0 {
			return nil
		}
		rest := batch[slices.IndexFunc(batch, func(d event.Decoded) bool { return d.Position > from }):]
		failed, err := p.apply(ctx, group, from, rest)
		if failed != nil {
			err = p.corner(ctx, failed, rest)
		}
		if err != nil {
			return err
		}
	}
}

// apply moves the views of a group over a batch in one transaction. If one of them cannot apply it, nothing has moved
// and that one is named; any other error is trouble.
func (p *Projector) apply(ctx context.Context, group []*running, from eventstore.Position, batch []event.Decoded) (failed *running, err error) {
	started := time.Now()
	next := batch[len(batch)-1].Position
	err = p.db.Write(ctx, func(tx *viewdb.Tx) error {
		for _, v := range group {
			// First, since it decides whether the rest counts.
			n, err := tx.Exec("UPDATE checkpoints SET position = $1 WHERE view = $2 AND position = $3", int64(next), v.Name, int64(from))
			if err != nil {
				return err
			}
			if n == 0 {
				return errAgain
			}
		}
		for _, v := range group {
			if err := v.take(ctx, tx, batch); err != nil {
				failed = v
				return err
			}
		}
		return nil
	})
	if err != nil {
		for _, v := range group {
			v.folding = nil
		}
		if viewdb.IsFault(err) || ctx.Err() != nil {
			failed = nil
		}
		return failed, err
	}
	names := make([]string, len(group))
	for i, v := range group {
		p.say(v, func(v *running) { v.position = next })
		names[i] = v.Name
	}
	if p.opts.OnBatch != nil {
		p.opts.OnBatch(names, len(batch), time.Since(started))
	}
	return nil, nil
}

// take folds a batch into the view's rows.
func (v *running) take(ctx context.Context, tx *viewdb.Tx, batch []event.Decoded) error {
	if v.Folding == nil {
		if err := v.Apply(ctx, tx, batch); err != nil {
			return err
		}
		return tx.Flush() // what is wrong is this view's
	}
	if v.folding == nil {
		v.folding = v.Folding()
	}
	return Fold(v.folding, tx, batch)
}

// Fold folds a batch in and writes all of it.
func Fold(f Folding, tx *viewdb.Tx, batch []event.Decoded) error {
	for i := range batch {
		if err := f.Add(tx, &batch[i]); err != nil {
			return err
		}
	}
	if err := f.Write(tx, 0); err != nil {
		return err
	}
	return tx.Flush()
}

// corner moves a view that failed somewhere in a batch up to the very event that it cannot apply, and stops it there.
func (p *Projector) corner(ctx context.Context, v *running, batch []event.Decoded) error {
	size := len(batch)
	for len(batch) > 0 {
		size = min(size, len(batch))
		failed, err := p.apply(ctx, []*running{v}, p.at(v), batch[:size])
		switch {
		case err == nil:
			batch = batch[size:]
		case failed == nil:
			return err
		case size == 1:
			p.stop(v, &batch[0].Recorded, batch[0].Meta.RecordedAt.AsTime(), err)
			return nil
		default:
			size = (size + 1) / 2
		}
	}
	return nil
}

func (p *Projector) stop(v *running, at *eventstore.Recorded, recorded time.Time, err error) {
	err = stoppedAt(v.Name, at, err)
	p.say(v, func(v *running) { v.stopped, v.unseen = err, recorded })
	if p.opts.OnStop != nil {
		p.opts.OnStop(v.Name, err)
	}
}

// feed is what has been read and decoded and not yet taken.
type feed struct {
	limit int
	more  chan struct{} // there may be more than before, or it has ended
	room  chan struct{} // there may be more room than before

	mu      sync.Mutex
	pending []event.Decoded
	ended   bool
	bad     *event.Decoded // the event that could not be decoded
	err     error
}

func newFeed(limit int) *feed {
	return &feed{limit: limit, more: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

func tell(signal chan struct{}) {
	select {
	case signal <- struct{}{}:
	default:
	}
}

// fill reads until the events end or the context does.
func (f *feed) fill(ctx context.Context, events iter.Seq2[eventstore.Recorded, error]) {
	var bad *event.Decoded
	var failed error
	for r, err := range events {
		if err != nil {
			failed = err
			break
		}
		d, err := event.Decode(r)
		if err != nil {
			bad, failed = &d, err
			break
		}
		if d.Meta.RecordedAt == nil || d.Meta.OccurredAt == nil {
			bad, failed = &d, &event.DecodeError{Stream: r.Stream, Version: r.Version, Err: errors.New("envelope: no time")}
			break
		}
		if !f.put(ctx, d) {
			return
		}
	}
	f.mu.Lock()
	f.ended, f.bad, f.err = true, bad, failed
	f.mu.Unlock()
	tell(f.more)
}

func (f *feed) put(ctx context.Context, d event.Decoded) bool {
	for {
		f.mu.Lock()
		if len(f.pending) < f.limit {
			f.pending = append(f.pending, d)
			f.mu.Unlock()
			tell(f.more)
			return true
		}
		f.mu.Unlock()
		select {
		case <-f.room:
		case <-ctx.Done():
			return false
		}
	}
}

// take waits for at least atLeast events, or the end, and takes at most atMost. No events and no error is the end. With
// bad, err says what is wrong with it; it comes after the events.
func (f *feed) take(ctx context.Context, atLeast, atMost int) (batch []event.Decoded, bad *event.Decoded, err error) {
	for {
		f.mu.Lock()
		if n := len(f.pending); n >= atLeast || f.ended {
			batch = f.pending[:min(n, atMost)]
			// As many are likely to come again.
			f.pending = append(make([]event.Decoded, 0, n), f.pending[len(batch):]...)
			if len(f.pending) == 0 {
				bad, err = f.bad, f.err
			}
			f.mu.Unlock()
			tell(f.room)
			return batch, bad, err
		}
		f.mu.Unlock()
		select {
		case <-f.more:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

// oldest is when the first event that waits was recorded; the zero time if none waits.
func (f *feed) oldest() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.pending) == 0 {
		return time.Time{}
	}
	return f.pending[0].Meta.RecordedAt.AsTime()
}
