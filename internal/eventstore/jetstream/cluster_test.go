package jetstream_test

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/eventstore/jetstream"
	"github.com/chuishao/dispatch/internal/servers"
)

// A leader that hangs is replaced, and comes back believing that it leads.
func TestALeaderThatHangsAndComesBackChangesNothing(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	n, err := servers.StartNATS(ctx, servers.NATSOptions{Nodes: 3, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	const writers = 4
	url := address(n.URLs(), "S", "monitor="+strings.Join(n.Monitors(), ","))
	stores := []*jetstream.Store{open(t, url), open(t, url)}

	var written atomic.Int64
	enough := make(chan struct{})
	var writing, subscribed sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			store, stream := stores[w%2], fmt.Sprintf("ticket-%d", w)
			for after := 0; ; {
				select {
				case <-enough:
					return
				default:
				}
				given := many(1+after%2, uint64(w)<<16+uint64(after))
				record(t, store, stream, after, given...)
				after += len(given)
				if got := read(t, store, stream); len(got) != after {
					t.Errorf("%s: got %d events, want the %d that were answered", stream, len(got), after)
					return
				}
				written.Add(int64(len(given)))
			}
		})
	}
	var seen atomic.Int64
	following, stop := context.WithCancel(ctx)
	subscribed.Go(func() {
		at := make(map[string]eventstore.Version)
		for e, err := range stores[0].Subscribe(following, 0) {
			if err != nil {
				if following.Err() == nil {
					t.Errorf("subscribe: %v", err)
				}
				return
			}
			if at[e.Stream]++; e.Version != at[e.Stream] {
				t.Errorf("%s: got version %d, want %d", e.Stream, e.Version, at[e.Stream])
			}
			seen.Add(1)
		}
	})

	more := func() { // has some more events be recorded
		least := written.Load() + 4*writers
		eventually(t, func() bool { return written.Load() >= least || t.Failed() })
	}
	more()
	hangs, err := n.Leader(ctx, "S")
	if err != nil {
		t.Fatal(err)
	}
	if err := hangs.Pause(); err != nil {
		t.Fatal(err)
	}
	more() // which takes another leader
	if err := hangs.Resume(); err != nil {
		t.Fatal(err)
	}
	more()
	if err := n.WaitHealthy(ctx); err != nil {
		t.Error(err)
	}
	close(enough)
	writing.Wait()
	eventually(t, func() bool { return seen.Load() >= written.Load() })
	stop()
	subscribed.Wait()

	recorded := 0
	once := make(map[[16]byte]bool)
	for e, err := range stores[1].ReadAll(ctx, 0) {
		if err != nil {
			t.Fatalf("read all: %v", err)
		}
		if once[e.ID] {
			t.Errorf("version %d of %s is there twice", e.Version, e.Stream)
		}
		once[e.ID] = true
		recorded++
	}
	if int64(recorded) != written.Load() || seen.Load() != written.Load() {
		t.Errorf("recorded %d events and saw %d, want %d", recorded, seen.Load(), written.Load())
	}
}

// A server that others do not reach keeps its clients, and answers none of what the leader is asked.
func TestAStoreLeavesAServerThatIsCutOffFromTheOthers(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	n, err := servers.StartNATS(ctx, servers.NATSOptions{Nodes: 3, Dir: t.TempDir(), Cuttable: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	cables := make([]*servers.Proxy, 2) // to the first server, which will be cut off, and to another
	var hosts []string
	for i := range cables {
		if cables[i], err = servers.StartProxy(n.Node(i).Addr()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cables[i].Close() })
		hosts = append(hosts, cables[i].Addr())
	}
	cables[1].Cut(servers.Refuse)
	url := address(hosts, "S", "monitor="+strings.Join(n.Monitors(), ","))
	store := open(t, url)
	cables[1].Cut(servers.Whole)
	record(t, store, "ticket-1", 0, many(1, 1)...)
	next, stop := iter.Pull2(store.Subscribe(ctx, 0))
	defer stop()
	if _, err, _ := next(); err != nil {
		t.Fatalf("subscribe: %v", err)
	}
	if err := n.Cut(0); err != nil {
		t.Fatal(err)
	}
	record(t, store, "ticket-1", 1, many(2, 2)...)
	for range 2 {
		if _, err, ok := next(); err != nil || !ok {
			t.Fatalf("subscribe: %v", err)
		}
	}
	if got := read(t, store, "ticket-1"); len(got) != 3 {
		t.Errorf("got %d events, want 3", len(got))
	}
	// Of several that are opened some begin at the server that is cut off.
	var opening sync.WaitGroup
	for range 6 {
		opening.Go(func() {
			another, err := jetstream.Open(ctx, url, jetstream.Options{})
			if err != nil {
				t.Errorf("open: %v", err)
				return
			}
			if err := another.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
	opening.Wait()
}
