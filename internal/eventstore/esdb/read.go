package esdb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"github.com/chuishao/dispatch/internal/eventstore"
)

// ahead is how many events of a sequence are fetched before they are asked for.
const ahead = 64

// ReadStream is of the contract. A name that breaks the rules of the port is a *eventstore.LimitError. It goes on where
// it was if the server goes away meanwhile, within Options.Patience.
func (s *Store) ReadStream(ctx context.Context, stream string, after eventstore.Version) iter.Seq2[eventstore.Recorded, error] {
	return func(yield func(eventstore.Recorded, error) bool) {
		if err := eventstore.CheckStream(stream); err != nil {
			yield(eventstore.Recorded{}, err)
			return
		}
		if after > math.MaxInt64 {
			return // further than a stream can be
		}
		at := after
		err := s.run(ctx, "read "+stream, sequence{
			open: func(ctx context.Context, c *client) (source, error) {
				return readStream(ctx, c, stream, esdb.Forwards, esdb.Revision(uint64(at)), math.MaxInt64)
			},
			take: func(e *esdb.RecordedEvent) (bool, error) {
				r, err := recorded(e)
				if err != nil {
					return false, err
				}
				if r.Version != at+1 {
					return false, fmt.Errorf("event %d of %s comes after %d: the stream was cut from outside; restore a backup", r.Version, stream, at)
				}
				at = r.Version
				return yield(r, nil), nil
			},
		})
		if err != nil {
			yield(eventstore.Recorded{}, err)
		}
	}
}

// ReadAll is of the contract. It ends where the log ended when it began, whatever is written meanwhile.
func (s *Store) ReadAll(ctx context.Context, after eventstore.Position) iter.Seq2[eventstore.Recorded, error] {
	return func(yield func(eventstore.Recorded, error) bool) {
		end, found, err := s.end(ctx)
		if err != nil {
			yield(eventstore.Recorded{}, err)
			return
		}
		if !found || eventstore.Position(end) <= after {
			return
		}
		from := place{at: uint64(after)}
		err = s.run(ctx, "read the log", sequence{
			open: from.open,
			take: func(e *esdb.RecordedEvent) (bool, error) {
				return s.pass(&from, e, end, yield)
			},
			misplaced: func() error { return from.misplaced(ctx, s) },
		})
		if err != nil {
			yield(eventstore.Recorded{}, err)
		}
	}
}

// Subscribe is of the contract. A subscription that the server drops goes on where it was; if it cannot within
// Options.Patience, it ends with an error that Is eventstore.ErrUnavailable.
func (s *Store) Subscribe(ctx context.Context, after eventstore.Position) iter.Seq2[eventstore.Recorded, error] {
	return func(yield func(eventstore.Recorded, error) bool) {
		from := place{at: uint64(after)}
		err := s.run(ctx, "subscribe", sequence{
			live: true,
			open: from.subscribe,
			take: func(e *esdb.RecordedEvent) (bool, error) {
				return s.pass(&from, e, math.MaxUint64, yield)
			},
			checkpoint: func(p esdb.Position) {
				if p.Commit == p.Prepare { // otherwise of a transaction of somebody else's
					from.reach(p.Commit)
				}
			},
			misplaced: func() error { return from.misplaced(ctx, s) },
		})
		if err != nil {
			yield(eventstore.Recorded{}, err)
		}
	}
}

// place is how far a sequence over the log has got.
type place struct {
	at uint64 // everything up to here has been seen, or is not wanted

	// begin says where to begin if no event stands at the place, since the server can begin only where one does.
	begin beginning
	end   uint64 // where the log ended, for atEnd
}

type beginning int

const (
	behind  beginning = iota // behind the event at the place
	next                     // with the event right after the place: at+1
	atEnd                    // behind the event at the end: the place is further
	atStart                  // with the first event, and pass by what is not after the place
)

// reach notes that everything up to the position of an event has been seen. From there the server can go on.
func (p *place) reach(at uint64) {
	if at > p.at {
		p.at, p.begin = at, behind
	}
}

// open begins a read of the log, which the server begins with the event at a position.
func (p *place) open(ctx context.Context, c *client) (source, error) {
	from := esdb.AllPosition(esdb.Start{})
	switch {
	case p.begin == next:
		from = esdb.Position{Commit: p.at + 1, Prepare: p.at + 1}
	case p.begin == behind && p.at > 0:
		from = esdb.Position{Commit: p.at, Prepare: p.at}
	}
	return readAll(ctx, c, esdb.Forwards, from, math.MaxInt64)
}

// subscribe begins a subscription to the log, which the server begins behind the event at a position.
func (p *place) subscribe(ctx context.Context, c *client) (source, error) {
	switch {
	case p.begin == next:
		first, err := readAll(ctx, c, esdb.Forwards, esdb.Position{Commit: p.at + 1, Prepare: p.at + 1}, 1)
		if err != nil {
			return nil, err
		}
		at := p.at + 1
		return &chained{first, func() (source, error) { return subscribe(ctx, c, esdb.Position{Commit: at, Prepare: at}) }}, nil
	case p.begin == atEnd && p.end > 0:
		return subscribe(ctx, c, esdb.Position{Commit: p.end, Prepare: p.end})
	case p.begin == behind && p.at > 0:
		return subscribe(ctx, c, esdb.Position{Commit: p.at, Prepare: p.at})
	}
	return subscribe(ctx, c, esdb.Start{})
}

// misplaced finds another way to begin where no event stands at the place. It fails when there is none left.
func (p *place) misplaced(ctx context.Context, s *Store) error {
	switch p.begin {
	case behind:
		end, found, err := s.end(ctx)
		switch {
		case err != nil:
			return err
		case !found || end <= p.at:
			p.begin, p.end = atEnd, end
		default:
			p.begin = next
		}
		return nil
	case next:
		s.opts.Log.Warn("no event stands where a reader wants to go on; the log is read from its start", "position", p.at)
		p.begin = atStart
		return nil
	}
	return errors.New("the server does not begin where it said that an event stands")
}

// pass yields an event if it is ours and behind the place, and reports whether to go on. The event at end is the last.
func (s *Store) pass(from *place, e *esdb.RecordedEvent, end uint64, yield func(eventstore.Recorded, error) bool) (bool, error) {
	at := e.Position.Commit
	switch {
	case at > end:
		return false, nil
	case at <= from.at:
		return at < end, nil
	case eventstore.CheckStream(e.StreamID) != nil:
		if at == e.Position.Prepare { // otherwise of a transaction of somebody else's
			from.reach(at)
		}
		return at < end, nil
	}
	r, err := recorded(e)
	if err != nil {
		return false, err
	}
	from.reach(at)
	s.reached(r.Position)
	return yield(r, nil) && at < end, nil
}

// sequence is what to read, and what to do with it.
type sequence struct {
	// open begins where the sequence has got to.
	open func(context.Context, *client) (source, error)
	// take gets each event and reports whether to go on. Its error ends the sequence.
	take func(*esdb.RecordedEvent) (bool, error)
	// live: the sequence may be silent once it has begun, and ends only with its context.
	live bool
	// checkpoint, if set, gets positions up to which there was nothing more for us.
	checkpoint func(esdb.Position)
	// misplaced, if set, sees to where to open again when the server cannot begin there.
	misplaced func() error
}

// source is an open read or subscription.
type source interface {
	next() (item, error) // io.EOF at the end
	close()
}

// item is what a source gave: one of these.
type item struct {
	event      *esdb.RecordedEvent
	checkpoint *esdb.Position
	begun      bool  // the subscription is confirmed, and may be silent from now on
	err        error // the source ended; io.EOF if it was its end
}

// run reads a sequence until its end, goes on where it was when it breaks off, and gives up when it has not got on for
// Options.Patience.
func (s *Store) run(ctx context.Context, what string, q sequence) error {
	since := time.Now() // when it last got on
	for attempt := 1; ; attempt++ {
		moved, err := s.once(ctx, &q)
		if err == nil {
			return nil
		}
		if moved {
			since, attempt = time.Now(), 1
		}
		if stop, ok := errors.AsType[*stopError](err); ok {
			return stop.err
		}
		if ctx.Err() != nil {
			return gaveUp(ctx, what, nil)
		}
		if errors.Is(err, errClosed) {
			return fmt.Errorf("%s: %w", what, err)
		}
		switch judge(err) {
		case missing:
			return nil
		case misplaced:
			if q.misplaced == nil {
				return fmt.Errorf("%s: %w", what, err)
			}
			if err := q.misplaced(); err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
			continue
		case final, conflicting:
			return fmt.Errorf("%s: %w", what, err)
		}
		if time.Since(since) > s.opts.Patience || !pause(ctx, attempt) {
			if ctx.Err() != nil {
				return gaveUp(ctx, what, nil)
			}
			return gaveUp(ctx, what, err)
		}
	}
}

// stopError is an error of the sequence's taker, which ends it.
type stopError struct{ err error }

func (e *stopError) Error() string { return e.err.Error() }

// once reads a sequence with one client, until its end (nil) or until it breaks off. moved: something was read, or a
// subscription held for a while.
func (s *Store) once(ctx context.Context, q *sequence) (moved bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	l := s.readers.line()
	c, err := s.takeOne(ctx, l)
	if err != nil {
		return false, err
	}
	bound, unbind := c.bind(ctx)
	defer unbind()
	items := make(chan item, ahead)
	go func() { // the line waits for it
		defer l.release(c)
		err := fetch(bound, c, q, items)
		if ctx.Err() == nil && bound.Err() == nil && judge(err) == swap {
			l.drop(c)
		}
		select {
		case items <- item{err: err}:
		case <-bound.Done():
		}
	}()
	var t *time.Timer
	var opened time.Time
	defer func() { moved = moved || !opened.IsZero() && time.Since(opened) > s.opts.Attempt }()
	for {
		var i item
		select {
		case i = <-items:
		default:
			var late <-chan time.Time
			if !q.live || opened.IsZero() {
				if t == nil {
					t = time.NewTimer(s.opts.Attempt)
					defer t.Stop()
				} else {
					t.Reset(s.opts.Attempt)
				}
				late = t.C
			}
			select {
			case i = <-items:
			case <-ctx.Done():
				return moved, ctx.Err()
			case <-bound.Done(): // the client was thrown away
				return moved, errBroken
			case <-s.closing.Done():
				return moved, errClosed
			case <-late:
				l.drop(c)
				return moved, errSilent
			}
		}
		switch {
		case ctx.Err() != nil:
			return moved, ctx.Err()
		case errors.Is(i.err, io.EOF):
			return moved, nil
		case i.err != nil:
			return moved, i.err
		}
		if i.begun {
			opened = time.Now()
		}
		if i.checkpoint != nil && q.checkpoint != nil {
			q.checkpoint(*i.checkpoint)
		}
		if i.event != nil {
			moved = true
			on, err := q.take(i.event)
			if err != nil {
				return moved, &stopError{err}
			}
			if !on {
				return moved, nil
			}
		}
	}
}

// takeOne is a client for a read; it is waited for no longer than Options.Patience.
func (s *Store) takeOne(ctx context.Context, l *line) (*client, error) {
	within, cancel := context.WithTimeout(ctx, s.opts.Patience)
	defer cancel()
	return l.take(within)
}

// fetch opens a source and hands on what it gives, until it ends. It returns why it ended.
func fetch(ctx context.Context, c *client, q *sequence, items chan<- item) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errBroken
		}
	}()
	from, err := q.open(ctx, c)
	if err != nil {
		return err
	}
	defer from.close()
	if _, ok := from.(subscription); ok {
		items <- item{begun: true}
	}
	for {
		i, err := from.next()
		if err != nil {
			return err
		}
		select {
		case items <- i:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// reading is a read of a stream or of the log.
type reading struct{ *esdb.ReadStream }

func readStream(ctx context.Context, c *client, stream string, to esdb.Direction, from esdb.StreamPosition, most uint64) (source, error) {
	entered, left, err := c.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer left()
	r, err := c.esdb.ReadStream(entered, stream, esdb.ReadStreamOptions{Direction: to, From: from}, most)
	if err != nil {
		return nil, err
	}
	return reading{r}, nil
}

func readAll(ctx context.Context, c *client, to esdb.Direction, from esdb.AllPosition, most uint64) (source, error) {
	entered, left, err := c.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer left()
	r, err := c.esdb.ReadAll(entered, esdb.ReadAllOptions{Direction: to, From: from}, most)
	if err != nil {
		return nil, err
	}
	return reading{r}, nil
}

func (r reading) next() (item, error) {
	e, err := r.Recv()
	if err != nil {
		return item{}, err
	}
	return item{event: e.OriginalEvent()}, nil
}

func (r reading) close() { r.Close() }

// subscription is a subscription to the log.
type subscription struct{ *esdb.Subscription }

// ours are the beginnings of the names of our streams.
var ours = func() []string {
	var prefixes []string
	for _, kind := range eventstore.Kinds {
		prefixes = append(prefixes, kind+"-")
	}
	return prefixes
}()

func subscribe(ctx context.Context, c *client, from esdb.AllPosition) (source, error) {
	entered, left, err := c.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer left()
	sub, err := c.esdb.SubscribeToAll(entered, esdb.SubscribeToAllOptions{
		From: from,
		// A checkpoint every so many events that are not ours: often enough not to read much again, seldom enough to cost nothing.
		MaxSearchWindow: 500, CheckpointInterval: 20,
		Filter: &esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Prefixes: ours},
	})
	if err != nil {
		return nil, err
	}
	return subscription{sub}, nil
}

func (s subscription) next() (item, error) {
	e := s.Recv()
	switch {
	case e.EventAppeared != nil:
		return item{event: e.EventAppeared.OriginalEvent()}, nil
	case e.CheckPointReached != nil:
		return item{checkpoint: e.CheckPointReached}, nil
	case e.SubscriptionDropped != nil:
		if errors.Is(e.SubscriptionDropped.Error, io.EOF) { // the server ended it, which is not its end
			return item{}, errDropped
		}
		return item{}, e.SubscriptionDropped.Error
	}
	return item{}, nil
}

func (s subscription) close() { s.Close() }

// chained is one source after another.
type chained struct {
	now  source
	then func() (source, error) // nil once it is now
}

func (c *chained) next() (item, error) {
	i, err := c.now.next()
	if !errors.Is(err, io.EOF) || c.then == nil {
		return i, err
	}
	c.now.close()
	second, err := c.then()
	if err != nil {
		return item{}, err
	}
	c.now, c.then = second, nil
	return item{begun: true}, nil
}

func (c *chained) close() { c.now.close() }

// errDropped is a subscription that the server ended without a reason.
var errDropped = errors.New("the subscription was dropped")
