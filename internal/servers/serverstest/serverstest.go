// Package serverstest gives tests the servers they need: one of each kind for all tests of a package.
package serverstest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chuishao/dispatch/internal/eventstore/esdb/double"
	"github.com/chuishao/dispatch/internal/servers"
)

var (
	postgres = shared[*servers.Postgres]{start: func(ctx context.Context, home string) (*servers.Postgres, error) {
		return servers.StartPostgres(ctx, home, servers.NoSync)
	}}
	nats = shared[*servers.NATS]{start: func(ctx context.Context, home string) (*servers.NATS, error) {
		return servers.StartNATS(ctx, servers.NATSOptions{Dir: home})
	}}
	eventStoreDB = shared[closer]{start: func(context.Context, string) (closer, error) {
		cluster, err := double.Start(1)
		return closer{cluster}, err
	}}
	made atomic.Int64 // databases
)

// shared is a server that starts when the first test asks for it.
type shared[S interface{ Close() error }] struct {
	start func(ctx context.Context, home string) (S, error)

	once   sync.Once
	server S
	home   string
	failed error
	up     bool
}

func (s *shared[S]) get() (S, error) {
	s.once.Do(func() {
		ctx, stop := context.WithTimeout(context.Background(), 2*time.Minute)
		defer stop()
		if s.home, s.failed = os.MkdirTemp("", "chuishao-server-"); s.failed != nil {
			return
		}
		if s.server, s.failed = s.start(ctx, s.home); s.failed != nil {
			s.failed = errors.Join(s.failed, os.RemoveAll(s.home))
			return
		}
		s.up = true
	})
	return s.server, s.failed
}

func (s *shared[S]) end() error {
	if !s.up {
		return nil
	}
	return errors.Join(s.server.Close(), os.RemoveAll(s.home))
}

type closer struct{ *double.Cluster }

func (c closer) Close() error {
	c.Cluster.Close()
	return nil
}

// Main runs a package's tests and then ends what they started. It is all that TestMain does.
func Main(m *testing.M) {
	servers.Main()
	code := m.Run()
	if err := errors.Join(postgres.end(), nats.end(), eventStoreDB.end()); err != nil {
		fmt.Fprintln(os.Stderr, "end the servers of the tests:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// Postgres is a PostgreSQL server that all tests of the package share, so that nobody kills it; its package's TestMain is Main. Where PostgreSQL is not
// installed the test is skipped, and says what to install.
func Postgres(t testing.TB) *servers.Postgres {
	t.Helper()
	p, err := postgres.get()
	if missing := new(servers.MissingError); errors.As(err, &missing) {
		t.Skip(missing)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Database is the URL of an empty database on the shared server. It goes with the test.
func Database(t testing.TB) string {
	t.Helper()
	p := Postgres(t)
	name := fmt.Sprintf("test_%d", made.Add(1))
	if err := p.Create(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Drop(context.Background(), name); err != nil {
			t.Error(err)
		}
	})
	return p.URL(name)
}

// NATS is one node, a process of its own that flushes before it acknowledges. All tests of the package share it, each with streams of its own, so
// that nobody kills it; its package's TestMain is Main.
func NATS(t testing.TB) *servers.NATS {
	t.Helper()
	n, err := nats.get()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// EventStoreDB is the double of one node. All tests of the package share it, each with streams of its own, so that nobody kills it; its package's
// TestMain is Main.
func EventStoreDB(t testing.TB) *double.Cluster {
	t.Helper()
	c, err := eventStoreDB.get()
	if err != nil {
		t.Fatal(err)
	}
	return c.Cluster
}
