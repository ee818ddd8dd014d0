package stores

import (
	"context"
	"errors"
	"iter"
	"strings"
	"sync/atomic"

	"github.com/chuishao/dispatch/internal/eventstore"
)

// apart is a history of its own in a store that holds others too: its streams have a prefix there, and it sees those alone. Their names may have 80
// characters.
type apart struct {
	store  Store
	prefix string // of what follows a stream's kind
	seen   atomic.Uint64
}

// there is a stream's name in the store. What is no name stays what it is, to be refused there.
func (a *apart) there(stream string) string {
	kind, id, ok := strings.Cut(stream, "-")
	if !ok || eventstore.CheckStream(stream) != nil {
		return stream
	}
	return kind + "-" + a.prefix + id
}

// here is what a stream of the store is called here, if it is of this history.
func (a *apart) here(stream string) (string, bool) {
	kind, rest, _ := strings.Cut(stream, "-")
	id, ok := strings.CutPrefix(rest, a.prefix)
	return kind + "-" + id, ok
}

func (a *apart) Append(ctx context.Context, stream string, after eventstore.Version, events []eventstore.Event) (eventstore.Position, error) {
	p, err := a.store.Append(ctx, a.there(stream), after, events)
	if c, ok := errors.AsType[*eventstore.ConflictError](err); ok {
		c.Stream = stream
	}
	return p, err
}

func (a *apart) ReadStream(ctx context.Context, stream string, after eventstore.Version) iter.Seq2[eventstore.Recorded, error] {
	return a.ours(a.store.ReadStream(ctx, a.there(stream), after))
}

func (a *apart) ReadAll(ctx context.Context, after eventstore.Position) iter.Seq2[eventstore.Recorded, error] {
	return a.ours(a.store.ReadAll(ctx, after))
}

func (a *apart) Subscribe(ctx context.Context, after eventstore.Position) iter.Seq2[eventstore.Recorded, error] {
	return a.ours(a.store.Subscribe(ctx, after))
}

// ours are the events of this history.
func (a *apart) ours(all iter.Seq2[eventstore.Recorded, error]) iter.Seq2[eventstore.Recorded, error] {
	return func(yield func(eventstore.Recorded, error) bool) {
		for e, err := range all {
			if err == nil {
				name, ok := a.here(e.Stream)
				if !ok {
					continue
				}
				e.Stream = name
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// Head is that of this history.
func (a *apart) Head(ctx context.Context) (eventstore.Position, error) {
	head := eventstore.Position(a.seen.Load())
	for e, err := range a.ReadAll(ctx, head) {
		if err != nil {
			return 0, err
		}
		head = e.Position
	}
	for known := a.seen.Load(); known < uint64(head); known = a.seen.Load() {
		if a.seen.CompareAndSwap(known, uint64(head)) {
			break
		}
	}
	return head, nil
}

// Close closes the store.
func (a *apart) Close() error { return a.store.Close() }
