package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/eventstore/jetstream"
	"github.com/chuishao/dispatch/internal/servers"
)

func TestAnAppendWhoseOutcomeWasNotLearntIsRecordedOnce(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		how    servers.Cut
		events int
	}{
		"one event that did not arrive":          {servers.LoseRequests, 1},
		"one event that was recorded":            {servers.LoseAnswers, 1},
		"several events that did not arrive":     {servers.LoseRequests, 5},
		"several events that were recorded":      {servers.LoseAnswers, 5},
		"events while nothing gets through":      {servers.Blackhole, 3},
		"events while nobody takes a connection": {servers.Refuse, 3},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			cable, store, direct := cabled(t)
			record(t, store, "ticket-1", 0, many(2, 1)...)
			cable.Cut(c.how)
			given := many(c.events, 2)
			type answer struct {
				position eventstore.Position
				err      error
			}
			answers := make(chan answer, 1)
			go func() {
				position, err := store.Append(t.Context(), "ticket-1", 2, given)
				answers <- answer{position, err}
			}()
			if c.how == servers.LoseAnswers {
				eventually(t, func() bool { return len(read(t, direct, "ticket-1")) == 2+c.events })
			} else if c.how != servers.Refuse {
				eventually(t, func() bool { return cable.Lost() > int64(c.events*320) })
			}
			select {
			case a := <-answers:
				t.Errorf("it was answered before anybody could know: %v", a)
			default:
			}
			cable.Heal()
			a := <-answers
			got := read(t, direct, "ticket-1")
			if a.err != nil || len(got) != 2+c.events || got[len(got)-1].Position != a.position {
				t.Errorf("got %d events and %v, want %d", len(got), a, 2+c.events)
			}
			if again := record(t, store, "ticket-1", 2, given...); again != a.position {
				t.Errorf("sent again: got position %d, want %d", again, a.position)
			}
		})
	}
}

func TestASubscriptionGoesOnWhereItWasWhenTheConnectionWasLost(t *testing.T) {
	t.Parallel()
	cable, store, direct := cabled(t)
	next, stop := iter.Pull2(store.Subscribe(t.Context(), 0))
	defer stop()
	written := 0
	write := func(n int) {
		for range n {
			record(t, direct, "ticket-1", written, many(1, uint64(written))...)
			written++
		}
	}
	seen := 0
	take := func(n int) {
		for range n {
			e, err, ok := next()
			if seen++; err != nil || !ok || e.Version != eventstore.Version(seen) {
				t.Fatalf("event %d: got version %d: %v", seen, e.Version, err)
			}
		}
	}
	for _, how := range []servers.Cut{servers.Refuse, servers.Blackhole, servers.LoseAnswers} {
		write(3)
		take(3)
		cable.Cut(how)
		write(50)
		cable.Heal()
		take(50)
		write(1) // and it hears of news again
		take(1)
	}
}

func TestCallsEndWithUnavailableWhenNoServerAnswers(t *testing.T) {
	t.Parallel()
	n := single.get(t)
	cable, err := servers.StartProxy(n.Node(0).Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer cable.Close()
	store, err := jetstream.Open(t.Context(), address([]string{cable.Addr()}, fresh(), "unsafe=single-node"), jetstream.Options{Patience: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	record(t, store, "ticket-1", 0, many(1, 1)...)
	cable.Cut(servers.Refuse)
	unavailable := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, eventstore.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want an error that Is ErrUnavailable and no context's", what, err)
		}
	}
	_, err = store.Append(t.Context(), "ticket-1", 1, many(1, 2))
	unavailable("append", err)
	_, err = store.Head(t.Context())
	unavailable("head", err)
	unavailable("read stream", lastOf(store.ReadStream(t.Context(), "ticket-1", 0)))
	unavailable("read all", lastOf(store.ReadAll(t.Context(), 0)))
	unavailable("subscribe", lastOf(store.Subscribe(t.Context(), 0)))
	cable.Heal()
	if got := read(t, store, "ticket-1"); len(got) != 1 {
		t.Errorf("got %d events, want 1", len(got))
	}
}

func TestReadersSeeWholeAppendsOnly(t *testing.T) {
	t.Parallel()
	const writers, appends, size = 4, 15, 20
	url := cluster.url(t, fresh())
	stores := []*jetstream.Store{open(t, url), open(t, url)} // as two dispatchers
	ctx, cancel := context.WithCancel(t.Context())
	var reading, writing sync.WaitGroup
	for _, store := range stores {
		reading.Go(func() {
			for ctx.Err() == nil {
				for _, sequence := range []iter.Seq2[eventstore.Recorded, error]{
					store.ReadStream(t.Context(), "ticket-1", 0), store.ReadAll(t.Context(), 0),
				} {
					n := 0
					for e, err := range sequence {
						if n++; err != nil || e.Version != eventstore.Version(n) {
							t.Errorf("event %d: got version %d: %v", n, e.Version, err)
							return
						}
					}
					if n%size != 0 {
						t.Errorf("read %d events, which is not a number of whole appends", n)
					}
				}
			}
		})
	}
	for w := range writers {
		store := stores[w%2]
		writing.Go(func() {
			for i := range appends {
				given := many(size, uint64(w)<<16+uint64(i))
				after := eventstore.Version(0)
				for {
					_, err := store.Append(t.Context(), "ticket-1", after, given)
					conflict, ok := errors.AsType[*eventstore.ConflictError](err)
					if !ok {
						if err != nil {
							t.Errorf("append: %v", err)
						}
						break
					}
					if conflict.Actual%size != 0 || conflict.Actual <= after {
						t.Errorf("conflict after %d: got version %d", after, conflict.Actual)
						return
					}
					after = conflict.Actual
				}
			}
		})
	}
	writing.Wait()
	cancel()
	reading.Wait()
	got := read(t, stores[0], "ticket-1")
	seen := make(map[[16]byte]bool)
	for i, e := range got {
		if seen[e.ID] || e.Position != got[0].Position+eventstore.Position(i) {
			t.Fatalf("event %d is there twice, or something stands before it", i)
		}
		seen[e.ID] = true
	}
	if len(got) != writers*appends*size {
		t.Errorf("got %d events, want %d", len(got), writers*appends*size)
	}
}

func TestManyBatchesAtOnceWaitForEachOther(t *testing.T) {
	t.Parallel()
	single.get(t)
	store, err := jetstream.Open(t.Context(), single.url(t, fresh()), jetstream.Options{Batches: 1, Heads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	var all sync.WaitGroup
	for w := range 16 {
		all.Go(func() {
			stream := fmt.Sprintf("ticket-%d", w)
			for v := range 3 {
				record(t, store, stream, 3*v, many(3, uint64(16*w+v))...)
			}
			if got := read(t, store, stream); len(got) != 9 {
				t.Errorf("got %d events, want 9", len(got))
			}
		})
	}
	all.Wait()
}

func TestAnotherHistoryUnderTheSameNameIsAnError(t *testing.T) {
	t.Parallel()
	js := connect(t, &single)
	for what, change := range map[string]func(t *testing.T, name, url string, store *jetstream.Store) (after eventstore.Position){
		"a position that it has not come to": func(t *testing.T, _, _ string, store *jetstream.Store) eventstore.Position {
			head, err := store.Head(t.Context())
			if err != nil || head != 3 {
				t.Errorf("head: got %d, want 3: %v", head, err)
			}
			return head + 1
		},
		"a stream that was made anew": func(t *testing.T, name, url string, _ *jetstream.Store) eventstore.Position {
			if err := js.DeleteStream(t.Context(), name); err != nil {
				t.Fatal(err)
			}
			record(t, open(t, url), "ticket-2", 0, many(9, 9)...)
			return 3
		},
		"a message of somebody else in a stream of ours": func(t *testing.T, name, _ string, store *jetstream.Store) eventstore.Position {
			s, err := js.Stream(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			m, err := s.GetMsg(t.Context(), 3)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := js.Publish(t.Context(), m.Subject, []byte("hello")); err != nil {
				t.Fatal(err)
			}
			if err := lastOf(store.ReadStream(t.Context(), "ticket-1", 0)); !isHistory(err) {
				t.Errorf("read stream: got %v, want a *HistoryError", err)
			}
			if _, err := store.Append(t.Context(), "ticket-1", 3, many(1, 7)); !isHistory(err) {
				t.Errorf("append: got %v, want a *HistoryError", err)
			}
			return 2
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			name := fresh()
			url := single.url(t, name)
			store := open(t, url)
			record(t, store, "ticket-1", 0, many(3, 1)...)
			after := change(t, name, url, store)
			var both sync.WaitGroup
			for which, sequence := range map[string]iter.Seq2[eventstore.Recorded, error]{
				"read all": store.ReadAll(t.Context(), after), "subscribe": store.Subscribe(t.Context(), after),
			} {
				both.Go(func() {
					if err := lastOf(sequence); !isHistory(err) {
						t.Errorf("%s: got %v, want a *HistoryError", which, err)
					}
				})
			}
			both.Wait()
		})
	}
}

func TestAClosedStoreIsUnavailable(t *testing.T) {
	t.Parallel()
	store := open(t, single.url(t, fresh()))
	record(t, store, "ticket-1", 0, many(1, 1)...)
	waiting := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		var last error
		for e, err := range store.Subscribe(t.Context(), 0) {
			if e.Version == 1 {
				close(waiting)
			}
			last = err
		}
		ended <- last
	}()
	<-waiting
	for range 2 { // closing twice is closing once
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-ended; !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("subscription: got %v, want ErrUnavailable", err)
	}
	if _, err := store.Append(t.Context(), "ticket-1", 1, many(1, 2)); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("append: got %v, want ErrUnavailable", err)
	}
	for what, sequence := range map[string]iter.Seq2[eventstore.Recorded, error]{
		"read all": store.ReadAll(t.Context(), 0), "read stream": store.ReadStream(t.Context(), "ticket-1", 0),
	} {
		if err := lastOf(sequence); !errors.Is(err, eventstore.ErrUnavailable) {
			t.Errorf("%s: got %v, want ErrUnavailable", what, err)
		}
	}
}

func TestAStreamHasOneExactSubject(t *testing.T) {
	t.Parallel()
	name := fresh()
	store := open(t, single.url(t, name))
	js := connect(t, &single)
	s, err := js.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	for i, stream := range []string{"ticket-1", "ticket-A_b:c-d", "registry-main"} {
		record(t, store, stream, 0, many(1, uint64(i))...)
		m, err := s.GetMsg(t.Context(), uint64(i+1))
		if err != nil {
			t.Fatal(err)
		}
		if parts := strings.Split(m.Subject, "."); len(parts) != 3 || parts[0] != name || len(parts[1]) != 2 || parts[2] != stream {
			t.Errorf("got subject %s, want %s.NN.%s", m.Subject, name, stream)
		}
	}
}

func isHistory(err error) bool {
	_, ok := errors.AsType[*jetstream.HistoryError](err)
	return ok && !errors.Is(err, eventstore.ErrUnavailable)
}

// cabled opens a history twice: through a proxy that can be cut, and directly.
func cabled(t *testing.T) (*servers.Proxy, *jetstream.Store, *jetstream.Store) {
	t.Helper()
	name := fresh()
	direct := open(t, single.url(t, name))
	cable, err := servers.StartProxy(single.nats.Node(0).Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cable.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return cable, open(t, address([]string{cable.Addr()}, name, "unsafe=single-node")), direct
}

// record appends what must be recorded.
func record(t testing.TB, store *jetstream.Store, stream string, after int, events ...eventstore.Event) eventstore.Position {
	t.Helper()
	position, err := store.Append(t.Context(), stream, eventstore.Version(after), events)
	if err != nil {
		t.Errorf("append to %s after %d: %v", stream, after, err)
	}
	return position
}

func read(t testing.TB, store *jetstream.Store, stream string) []eventstore.Recorded {
	t.Helper()
	var got []eventstore.Recorded
	for e, err := range store.ReadStream(t.Context(), stream, 0) {
		if err != nil {
			t.Errorf("read %s: %v", stream, err)
			break
		}
		got = append(got, e)
	}
	return got
}

func lastOf(sequence iter.Seq2[eventstore.Recorded, error]) error {
	var last error
	for _, err := range sequence {
		last = err
	}
	return last
}
