package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chuishao/dispatch/internal/eventstore/jetstream"
	"github.com/chuishao/dispatch/internal/servers"
)

func TestMain(m *testing.M) {
	servers.Main()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "jetstream")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	for _, s := range []*shared{&single, &cluster, single.restarted, cluster.restarted} {
		if s.dir, err = os.MkdirTemp(dir, "nats"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer s.close()
	}
	return m.Run()
}

// shared are servers that all tests of the package use, each with a stream of its own. They start when the first test asks for them.
type shared struct {
	nodes int
	dir   string
	query string

	restarted *shared // those like these whose nodes are killed

	once sync.Once
	nats *servers.NATS
	err  error
}

var (
	single  = shared{nodes: 1, query: "unsafe=single-node", restarted: &shared{nodes: 1, query: "unsafe=single-node"}}
	cluster = shared{nodes: 3, restarted: &shared{nodes: 3}}
)

func (s *shared) get(t testing.TB) *servers.NATS {
	t.Helper()
	s.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		s.nats, s.err = servers.StartNATS(ctx, servers.NATSOptions{Nodes: s.nodes, Dir: s.dir})
	})
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.nats
}

func (s *shared) close() {
	if s.nats != nil {
		if err := s.nats.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
}

// url is that of a stream on the servers.
func (s *shared) url(t testing.TB, stream string) string {
	t.Helper()
	n := s.get(t)
	query := []string{"monitor=" + strings.Join(n.Monitors(), ",")}
	if s.query != "" {
		query = append(query, s.query)
	}
	return address(n.URLs(), stream, query...)
}

// address makes a URL of the addresses of servers.
func address(servers []string, stream string, query ...string) string {
	var hosts []string
	for _, s := range servers {
		hosts = append(hosts, strings.TrimPrefix(s, "nats://"))
	}
	return "jetstream://" + strings.Join(hosts, ",") + "/" + stream + "?" + strings.Join(query, "&")
}

// restart kills the leader of a stream and starts it again.
func (s *shared) restart(ctx context.Context, stream string) error {
	leader, err := s.nats.Leader(ctx, stream)
	if err != nil {
		return err
	}
	if err := leader.Kill(); err != nil {
		return err
	}
	if err := leader.Start(); err != nil {
		return err
	}
	if err := s.nats.WaitHealthy(ctx); err != nil {
		return err
	}
	_, err = s.nats.Leader(ctx, stream)
	return err
}

var streams atomic.Int64

// fresh is the name of a stream that no other test uses.
func fresh() string { return fmt.Sprintf("S%d", streams.Add(1)) }

// open opens what must open, and closes it at the end.
func open(t testing.TB, url string) *jetstream.Store {
	t.Helper()
	store, err := jetstream.Open(t.Context(), url, jetstream.Options{})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return store
}

// refused opens what must not open.
func refused(t *testing.T, url, reason string) *jetstream.OpenError {
	t.Helper()
	store, err := jetstream.Open(t.Context(), url, jetstream.Options{Patience: 2 * time.Second})
	if err == nil {
		store.Close()
		t.Errorf("opened, want it refused with %q", reason)
		return nil
	}
	e, ok := errors.AsType[*jetstream.OpenError](err)
	if !ok || !strings.Contains(e.Error(), reason) {
		t.Errorf("open: got %v, want an *OpenError that says %q", err, reason)
	}
	return e
}
