// Package esdb keeps histories in EventStoreDB, or KurrentDB, 23.10 or later: a store for more than one machine.
//
// The client of this protocol hangs, panics and leaks around reconnects. So no call on it is bare: each runs on a
// goroutine of its own that recovers, and is waited for no longer than its context; a client that broke is thrown away
// with all that hangs on it, and the next one is tried alone before anybody gets it (line.go). Writes and reads have
// clients of their own. All calls are to be answered by the leader, so that what was answered can be read at once: the
// client has a setting for that and never sends it, so the adapter does.
//
// An append whose outcome was not learnt is sent again with the same ids and the same expected revision, which the
// server recognises. Versions are the server's revisions plus one, positions its commit positions.
//
// Tests run on a double of the server (package double), which speaks its protocol on a real port. What a double cannot
// show is not shown there: durability, replication and elections. Set ESDB_URL to run the same tests against a server.
package esdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"github.com/chuishao/dispatch/internal/eventstore"
)

// Options of Open. The zero value is right for a server.
type Options struct {
	// Log gets what the client says of its connections, at debug, and what an operator should know, at warn. Nil is nowhere.
	Log *slog.Logger

	// Writers is how many clients appends are spread over, each with a connection of its own and at most 90 appends at
	// a time; further ones wait. 0 means 2.
	Writers int

	// Patience is how long a call goes on trying while the server does not answer. After that its error Is
	// eventstore.ErrUnavailable. 0 means 15 s.
	Patience time.Duration

	// Attempt is how long one attempt waits for an answer before another is made. 0 means 5 s.
	Attempt time.Duration
}

const (
	// streamsPerClient is how many calls a client may have open at a time. Servers allow 100 on a connection.
	streamsPerClient = 90

	// oldest is the first version of the server that says where in the log an event of a stream stands.
	oldest = "23.10"
)

// errClosed is what calls on a closed store return. An append that was under way may have been recorded all the same.
var errClosed = fmt.Errorf("%w: history is closed", eventstore.ErrUnavailable)

// Store is an eventstore.Store on a server or a cluster. It is safe for concurrent use.
type Store struct {
	opts    Options
	closing context.Context
	close   context.CancelFunc
	writers []*writer
	readers readers
	head    atomic.Uint64 // the last position of ours that is known
}

// writer is a line with a bound on the appends at a time.
type writer struct {
	*line
	slots chan struct{}
}

var _ eventstore.Store = (*Store)(nil)

// Open connects to the server or cluster at a URL, esdb://host:2113,… or esdb+discover://name, and checks that it can be
// used. Of the client's settings in the URL's query all but defaultDeadline are allowed, nodePreference
// as leader alone; another is an error.
// An error that Is eventstore.ErrUnavailable says that no server answered within ctx and Options.Patience. No error holds a password.
// The caller closes the store.
func Open(ctx context.Context, url string, opts Options) (*Store, error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Writers <= 0 {
		opts.Writers = 2
	}
	if opts.Patience <= 0 {
		opts.Patience = 15 * time.Second
	}
	if opts.Attempt <= 0 {
		opts.Attempt = 5 * time.Second
	}
	config, err := parse(url)
	if err != nil {
		return nil, fmt.Errorf("open history: %w", err)
	}
	config.Logger = logging(opts.Log)
	closing, end := context.WithCancel(context.Background())
	s := &Store{opts: opts, closing: closing, close: end}
	dial := func() *line { return newLine(*config, closing, opts) }
	for range opts.Writers {
		s.writers = append(s.writers, &writer{dial(), make(chan struct{}, streamsPerClient)})
	}
	s.readers.dial = dial
	if err := s.check(ctx); err != nil {
		s.Close()
		return nil, fmt.Errorf("open history: %w", err)
	}
	return s, nil
}

// check asks for the end of the log, so that a server that cannot be read is refused at the door.
func (s *Store) check(ctx context.Context) error {
	_, _, err := s.end(ctx)
	if e, ok := errors.AsType[*esdb.Error](err); ok && e.Code() == esdb.ErrorCodeAccessDenied {
		return fmt.Errorf("the user may not read $all; give its role the right to, in the access list of $all: %w", err)
	}
	return err
}

// Close ends all calls and subscriptions and waits for everything that runs for them. Their errors are
// eventstore.ErrUnavailable. While a server is being looked for it waits for that attempt too, a few seconds.
func (s *Store) Close() error {
	s.close()
	for _, w := range s.writers {
		w.line.close()
	}
	s.readers.close()
	return nil
}

// Head is the position of the last event, 0 if there is none. Streams that are not ours do not count; many events of
// theirs behind our last one make it slow the first time.
func (s *Store) Head(ctx context.Context) (eventstore.Position, error) {
	known := eventstore.Position(s.head.Load())
	head := known
	err := s.run(ctx, "read the end of the history", sequence{
		open: func(ctx context.Context, c *client) (source, error) {
			return readAll(ctx, c, esdb.Backwards, esdb.End{}, math.MaxInt64)
		},
		take: func(e *esdb.RecordedEvent) (bool, error) {
			if at := eventstore.Position(e.Position.Commit); at <= known {
				return false, nil
			}
			if eventstore.CheckStream(e.StreamID) != nil {
				return true, nil
			}
			r, err := recorded(e)
			head = r.Position
			return false, err
		},
	})
	if err != nil {
		return 0, err
	}
	s.reached(head)
	return head, nil
}

// reached notes a position that an event of ours has.
func (s *Store) reached(p eventstore.Position) {
	for {
		known := s.head.Load()
		if uint64(p) <= known || s.head.CompareAndSwap(known, uint64(p)) {
			return
		}
	}
}

// end is the position of the last event in the log, whosever it is. found is false if there is none.
func (s *Store) end(ctx context.Context) (at uint64, found bool, err error) {
	err = s.run(ctx, "read the end of the log", sequence{
		open: func(ctx context.Context, c *client) (source, error) {
			return readAll(ctx, c, esdb.Backwards, esdb.End{}, 1)
		},
		take: func(e *esdb.RecordedEvent) (bool, error) {
			at, found = e.Position.Commit, true
			return false, nil
		},
	})
	return at, found, err
}

// recorded is an event of ours as the port has it. What could only be guessed at is an error.
func recorded(e *esdb.RecordedEvent) (eventstore.Recorded, error) {
	switch {
	case len(e.EventType) > 0 && e.EventType[0] == '$':
		return eventstore.Recorded{}, fmt.Errorf("stream %s was deleted from outside; restore a backup", e.StreamID)
	case e.Position.Commit == math.MaxUint64:
		return eventstore.Recorded{}, fmt.Errorf("the server does not say where events of a stream stand; use %s or later", oldest)
	case e.Position.Commit != e.Position.Prepare:
		return eventstore.Recorded{}, fmt.Errorf("event %d of %s was written in a transaction of the old protocol, at %d/%d: it has no one position",
			e.EventNumber, e.StreamID, e.Position.Commit, e.Position.Prepare)
	}
	return eventstore.Recorded{
		Event:    eventstore.Event{ID: e.EventID, Type: e.EventType, Meta: e.UserMetadata, Data: e.Data},
		Stream:   e.StreamID,
		Version:  eventstore.Version(e.EventNumber) + 1,
		Position: eventstore.Position(e.Position.Commit),
	}, nil
}

// pause waits before another attempt, longer each time, and not always as long. It is false if ctx ended first.
func pause(ctx context.Context, attempt int) bool {
	t := time.NewTimer(backOff(attempt))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// gaveUp is the error of a call that ended without an outcome. last is what the last attempt met.
func gaveUp(ctx context.Context, what string, last error) error {
	switch {
	case ctx.Err() != nil && last == nil, errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %s: %w; the last attempt: %v", eventstore.ErrUnavailable, what, ctx.Err(), last)
	case errors.Is(last, eventstore.ErrUnavailable):
		return fmt.Errorf("%s: %w", what, last)
	case last == nil:
		return fmt.Errorf("%w: %s: no answer in time", eventstore.ErrUnavailable, what)
	}
	return fmt.Errorf("%w: %s: %w", eventstore.ErrUnavailable, what, last)
}
