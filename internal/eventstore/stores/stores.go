// Package stores opens for tests each of the stores that histories may lie in, so that what holds on one is shown on all. Servers are those of package
// serverstest, whose Main is the TestMain of a package that uses them.
//
// EventStoreDB is a double of it, which has its history in memory. Where ESDB_URL is set to a server whose history may be written to, tests run on that
// too. What was not shown for want of it is logged in lines that begin with NOT SHOWN.
package stores

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/eventstore/esdb"
	"github.com/chuishao/dispatch/internal/eventstore/jetstream"
	"github.com/chuishao/dispatch/internal/eventstore/sqlite"
	"github.com/chuishao/dispatch/internal/servers/serverstest"
)

// Store is a history that is open.
type Store interface {
	eventstore.Store
	// Head is the position of the last event, 0 if there is none.
	Head(context.Context) (eventstore.Position, error)
	Close() error
}

// Kind is a place that histories may lie in.
type Kind struct {
	Name string
	// place begins an empty history in a folder of its own and returns what opens it.
	place func(t testing.TB, dir string) func(context.Context) (Store, error)
}

// History is one history, of its own among those that share a server with it.
type History struct {
	dir  string
	open func(context.Context) (Store, error)
}

// Embedded is the embedded store.
var Embedded = Kind{"SQLite", func(_ testing.TB, dir string) func(context.Context) (Store, error) {
	return func(context.Context) (Store, error) {
		return sqlite.Open(filepath.Join(dir, "history.db"), sqlite.Options{})
	}
}}

// Each returns all kinds, the embedded store first, and logs what tests on them do not show.
func Each(t testing.TB) []Kind {
	t.Helper()
	kinds := []Kind{
		Embedded,
		{"EventStoreDB's double", func(t testing.TB, _ string) func(context.Context) (Store, error) {
			return inEventStoreDB(serverstest.EventStoreDB(t).URL())
		}},
		{"JetStream", inJetStream},
	}
	if url := os.Getenv("ESDB_URL"); url != "" {
		return append(kinds, Kind{"EventStoreDB", func(testing.TB, string) func(context.Context) (Store, error) { return inEventStoreDB(url) }})
	}
	t.Log("NOT SHOWN: that this holds on an EventStoreDB; a double with its history in memory stands for it, which shows neither durability nor elections. " +
		"Set ESDB_URL=esdb://… to a server whose history may be written to.")
	return kinds
}

// inEventStoreDB is a history of its own among all others on the server.
func inEventStoreDB(url string) func(context.Context) (Store, error) {
	of := make([]byte, 6)
	rand.Read(of)
	prefix := hex.EncodeToString(of) + "_"
	return func(ctx context.Context) (Store, error) {
		s, err := esdb.Open(ctx, url, esdb.Options{})
		if err != nil {
			return nil, err
		}
		return &apart{store: s, prefix: prefix}, nil
	}
}

var streams atomic.Int64

// inJetStream is a history in a stream of its own on one node.
func inJetStream(t testing.TB, _ string) func(context.Context) (Store, error) {
	n := serverstest.NATS(t)
	url := fmt.Sprintf("jetstream://%s/HISTORY_%d?unsafe=single-node&monitor=%s", strings.TrimPrefix(n.Node(0).URL(), "nats://"), streams.Add(1), n.Node(0).Monitor())
	return func(ctx context.Context) (Store, error) { return jetstream.Open(ctx, url, jetstream.Options{}) }
}

// New begins an empty history. The caller removes it.
func (k Kind) New(t testing.TB) *History {
	t.Helper()
	dir, err := os.MkdirTemp("", "chuishao-history-")
	if err != nil {
		t.Fatal(err)
	}
	return &History{dir, k.place(t, dir)}
}

// Open opens the history, which may be done again when it was closed.
func (h *History) Open(ctx context.Context) (Store, error) { return h.open(ctx) }

// Remove takes away what the history keeps in files here. It must be closed.
func (h *History) Remove() error { return os.RemoveAll(h.dir) }

// Open opens an empty history, which is closed when the test ends.
func (k Kind) Open(t testing.TB) Store {
	t.Helper()
	h := k.New(t)
	t.Cleanup(func() {
		if err := h.Remove(); err != nil {
			t.Error(err)
		}
	})
	s, err := h.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
