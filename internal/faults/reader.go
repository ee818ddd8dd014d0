package faults

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	"github.com/chuishao/dispatch/internal/eventstore"
)

// reader follows the history all the while, as a projector does, and notes what it must not see.
type reader struct {
	store eventstore.Store

	mu       sync.Mutex
	position eventstore.Position
	versions map[string]eventstore.Version
	events   int
	sum      uint64 // of the ids and positions so far
	resumed  int    // times that it began again where it was
	faults   []string
}

func newReader(store eventstore.Store) *reader {
	return &reader{store: store, versions: map[string]eventstore.Version{}}
}

// follow reads until the context ends. What breaks off goes on after the last event that was read.
func (r *reader) follow(ctx context.Context) {
	for {
		for e, err := range r.store.Subscribe(ctx, r.at()) {
			if err != nil {
				if ctx.Err() != nil {
					return
				}
				if !errors.Is(err, eventstore.ErrUnavailable) {
					r.note("the subscription ended: %v", err)
					return
				}
				break
			}
			r.see(&e)
		}
		if ctx.Err() != nil {
			return
		}
		r.mu.Lock()
		r.resumed++
		r.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-time.After(betweenTries):
		}
	}
}

func (r *reader) at() eventstore.Position {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.position
}

func (r *reader) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}

func (r *reader) see(e *eventstore.Recorded) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.Position <= r.position {
		r.faults = append(r.faults, fmt.Sprintf("the reader saw position %d after %d", e.Position, r.position))
	}
	if was := r.versions[e.Stream]; e.Version != was+1 {
		r.faults = append(r.faults, fmt.Sprintf("the reader saw %s@%d after @%d", e.Stream, e.Version, was))
	}
	r.position, r.versions[e.Stream] = max(r.position, e.Position), e.Version
	r.events++
	r.sum = add(r.sum, e)
}

// add adds an event to a sum of those before it.
func add(sum uint64, e *eventstore.Recorded) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %x %d %s %d", sum, e.ID, e.Position, e.Stream, e.Version)
	return h.Sum64()
}

// reach waits until the reader has come to a position.
func (r *reader) reach(ctx context.Context, position eventstore.Position, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for r.at() < position {
		select {
		case <-ctx.Done():
			r.note("the reader came to %d only; %d was answered", r.at(), position)
			return nil
		case <-tick.C:
		}
	}
	return nil
}
