package esdb

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"

	"github.com/chuishao/dispatch/internal/eventstore"
)

// spread says which writer a stream's appends go over.
var spread = maphash.MakeSeed()

// Append is of the contract. What it met while it tried again stands in the error of the last attempt.
func (s *Store) Append(ctx context.Context, stream string, after eventstore.Version, events []eventstore.Event) (eventstore.Position, error) {
	if err := eventstore.Check(stream, events); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if after > math.MaxInt64-eventstore.MaxEvents { // further than the server can count
		return s.refuse(ctx, stream, after)
	}
	within, cancel := context.WithTimeout(ctx, s.opts.Patience)
	defer cancel()
	w := s.writers[maphash.String(spread, stream)%uint64(len(s.writers))]
	select {
	case w.slots <- struct{}{}:
		defer func() { <-w.slots }()
	case <-within.Done():
		return 0, gaveUp(ctx, "append", nil)
	}
	expected := esdb.ExpectedRevision(esdb.NoStream{})
	if after > 0 {
		expected = esdb.Revision(uint64(after) - 1)
	}
	sent := make([]esdb.EventData, len(events))
	for i := range events {
		e := &events[i]
		sent[i] = esdb.EventData{
			EventID: uuid.UUID(e.ID), EventType: e.Type, ContentType: esdb.ContentTypeBinary, Data: e.Data, Metadata: e.Meta,
		}
	}
	var last error
	for attempt := 1; ; attempt++ {
		done, err := s.send(within, w.line, stream, expected, sent)
		if err == nil {
			return s.accept(within, ctx, stream, after, events, done)
		}
		if errors.Is(err, errClosed) {
			return 0, fmt.Errorf("append: %w", err)
		}
		if within.Err() != nil {
			if errors.Is(err, eventstore.ErrUnavailable) { // why there is no server
				last = err
			}
			return 0, gaveUp(ctx, "append", last)
		}
		last = err
		switch judge(err) {
		case conflicting:
			return s.settle(within, ctx, stream, after, events, actual(err))
		case final, misplaced:
			return 0, fmt.Errorf("append: %w", err)
		case redirected:
			if attempt <= 2 {
				continue // the client has moved already
			}
		}
		if !pause(within, attempt) {
			return 0, gaveUp(ctx, "append", last)
		}
	}
}

// send makes one attempt. It returns in time, whatever the client does; then errSilent says that there was no answer.
func (s *Store) send(within context.Context, l *line, stream string, expected esdb.ExpectedRevision, events []esdb.EventData) (*esdb.WriteResult, error) {
	c, err := l.take(within)
	if err != nil {
		return nil, err
	}
	type answer struct {
		result *esdb.WriteResult
		err    error
	}
	limited, cancel := context.WithTimeout(within, s.opts.Attempt)
	defer cancel()
	answered := make(chan answer, 1)
	go func() { // the line waits for it
		defer l.release(c)
		bound, unbind := c.bind(limited)
		defer unbind()
		entered, left, err := c.enter(bound)
		if err != nil {
			answered <- answer{err: err}
			return
		}
		defer left()
		var a answer
		defer func() {
			if r := recover(); r != nil {
				a = answer{err: errBroken}
			}
			// A caller that has gone cannot say that the client broke.
			if a.err != nil && judge(a.err) == swap && within.Err() == nil {
				l.drop(c)
			}
			answered <- a
		}()
		// Each attempt has the time of the context, not the client's own deadline.
		most := s.opts.Attempt + time.Second
		a.result, a.err = c.esdb.AppendToStream(entered, stream, esdb.AppendToStreamOptions{ExpectedRevision: expected, Deadline: &most}, events...)
		if errors.Is(a.err, io.EOF) {
			if err := peek(bound, c, stream); err != nil && judge(err) == redirected {
				a.err = err
			}
		}
	}()
	select {
	case a := <-answered:
		return a.result, a.err
	case <-limited.Done():
	}
	if within.Err() != nil {
		return nil, within.Err()
	}
	l.drop(c)
	return nil, errSilent
}

// peek reads one event. Of an append that was refused before all of it was sent the client loses the reason; if that was
// that the node does not lead, a read is told so as well, and the client moves to the leader.
func peek(ctx context.Context, c *client, stream string) error {
	r, err := readStream(ctx, c, stream, esdb.Backwards, esdb.End{}, 1)
	if err != nil {
		return err
	}
	defer r.close()
	_, err = r.next()
	return err
}

// accept is the position of an append that succeeded. The server says it, but for old events that it does not have at hand.
func (s *Store) accept(within, ctx context.Context, stream string, after eventstore.Version, events []eventstore.Event, done *esdb.WriteResult) (eventstore.Position, error) {
	if done.NextExpectedVersion != uint64(after)+uint64(len(events))-1 {
		return 0, fmt.Errorf("append: the server put %d events after %d of %s at %d", len(events), after, stream, done.NextExpectedVersion+1)
	}
	if done.CommitPosition == 0 || done.CommitPosition > math.MaxInt64 {
		return s.settle(within, ctx, stream, after, events, nil)
	}
	if done.CommitPosition != done.PreparePosition {
		return 0, fmt.Errorf("append: recorded at %d/%d: it has no one position", done.CommitPosition, done.PreparePosition)
	}
	position := eventstore.Position(done.CommitPosition)
	s.reached(position)
	return position, nil
}

// settle decides what an append came to that the server refused, or whose position it did not say: if the stream's events
// after the version are these very ones, their position; a *eventstore.ConflictError otherwise. at, if known, is where the
// server said that the stream is: whoever does not see as much is not up to date and is not believed.
func (s *Store) settle(within, ctx context.Context, stream string, after eventstore.Version, events []eventstore.Event, at *eventstore.Version) (eventstore.Position, error) {
	if at != nil && *at < after+eventstore.Version(len(events)) {
		// Too short to hold them all.
		return 0, &eventstore.ConflictError{Stream: stream, After: after, Actual: *at}
	}
	for attempt := 1; ; attempt++ {
		version, position, same := after, eventstore.Position(0), true
		for e, err := range s.ReadStream(within, stream, after) {
			if err != nil {
				if within.Err() != nil {
					return 0, gaveUp(ctx, "append", err)
				}
				return 0, fmt.Errorf("append: %w", err)
			}
			i := int(e.Version - after - 1)
			version = e.Version
			if i < len(events) {
				same = same && e.ID == events[i].ID
				position = e.Position
			}
			if i == len(events)-1 && same {
				return position, nil
			}
			if at != nil && !same {
				break
			}
		}
		switch {
		case at != nil && !same:
			return 0, &eventstore.ConflictError{Stream: stream, After: after, Actual: *at}
		case at == nil && version > after:
			return 0, &eventstore.ConflictError{Stream: stream, After: after, Actual: version}
		case at == nil:
			// Nothing is there, as when the stream is shorter than the caller thought.
			if end, err := s.length(within, stream); err == nil && end != after {
				return 0, &eventstore.ConflictError{Stream: stream, After: after, Actual: end}
			}
		}
		if !pause(within, attempt) {
			return 0, gaveUp(ctx, "append", errBehind)
		}
	}
}

// errBehind is a server that does not show what it, or another of its cluster, said was there.
var errBehind = errors.New("the server that answers is behind")

// refuse is what an append after a version gets that no stream can have.
func (s *Store) refuse(ctx context.Context, stream string, after eventstore.Version) (eventstore.Position, error) {
	actual, err := s.length(ctx, stream)
	if err != nil {
		return 0, fmt.Errorf("append: %w", err)
	}
	return 0, &eventstore.ConflictError{Stream: stream, After: after, Actual: actual}
}

// length is the version of a stream.
func (s *Store) length(ctx context.Context, stream string) (eventstore.Version, error) {
	length := eventstore.Version(0)
	err := s.run(ctx, "read "+stream, sequence{
		open: func(ctx context.Context, c *client) (source, error) {
			return readStream(ctx, c, stream, esdb.Backwards, esdb.End{}, 1)
		},
		take: func(e *esdb.RecordedEvent) (bool, error) {
			length = eventstore.Version(e.EventNumber) + 1
			return false, nil
		},
	})
	return length, err
}

// actual is where the stream is, of a refusal for a wrong version. The client gives it as text alone; nil if that is not to
// be read.
func actual(err error) *eventstore.Version {
	_, got, ok := strings.Cut(err.Error(), "but got '")
	got, _, closed := strings.Cut(got, "'")
	if !ok || !closed {
		return nil
	}
	version := eventstore.Version(0)
	if got != "no_stream" {
		revision, err := strconv.ParseInt(got, 10, 64)
		if err != nil || revision < 0 {
			return nil
		}
		version = eventstore.Version(revision) + 1
	}
	return &version
}
