package servers_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chuishao/dispatch/internal/servers"
)

func TestWhatANodeAcknowledgedIsThereAfterItWasKilled(t *testing.T) {
	t.Parallel()
	n := start(t, servers.NATSOptions{Dir: t.TempDir()})
	js := connect(t, n)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}}); err != nil {
		t.Fatal(err)
	}
	for round, end := range []func() error{n.Node(0).Kill, n.Node(0).Stop} {
		before := n.Node(0).Pid()
		if _, err := js.Publish(t.Context(), "s.x", []byte("x")); err != nil {
			t.Fatal(err)
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if pid := n.Node(0).Pid(); before == 0 || pid != 0 {
			t.Errorf("pid was %d while it ran, is %d now that it does not", before, pid)
		}
		again(t, n)
		js := connect(t, n)
		s, err := js.Stream(t.Context(), "S")
		if err != nil {
			t.Fatal(err)
		}
		if got := s.CachedInfo().State.Msgs; got != uint64(round+1) {
			t.Errorf("got %d messages after a restart, want %d", got, round+1)
		}
	}
}

func TestAClusterHasALeaderAgainWhenItsLeaderIsKilled(t *testing.T) {
	t.Parallel()
	n := start(t, servers.NATSOptions{Nodes: 3, Dir: t.TempDir()})
	js := connect(t, n)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}, Replicas: 3}); err != nil {
		t.Fatal(err)
	}
	first, err := n.Leader(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	second, err := n.Leader(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	if second == first {
		t.Errorf("%s leads though it was killed", first.Name())
	}
	again(t, n)
}

func TestALeaderThatIsCutOffIsReplacedAndCatchesUpWhenItIsBack(t *testing.T) {
	t.Parallel()
	n := start(t, servers.NATSOptions{Nodes: 3, Dir: t.TempDir(), Cuttable: true})
	nc, err := nats.Connect(strings.Join(n.URLs(), ","), nats.IgnoreDiscoveredServers(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.PingInterval(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}, Replicas: 3}); err != nil {
		t.Fatal(err)
	}
	first, err := n.Leader(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	number := slices.Index(n.Nodes(), first)
	if err := n.Cut(number); err != nil {
		t.Fatal(err)
	}
	if err := n.Cut((number + 1) % 3); err == nil || !n.IsCut(number) || n.IsCut((number+1)%3) {
		t.Errorf("got %v; want one node cut off and no other", err)
	}
	second, err := n.Leader(t.Context(), "S")
	if err != nil || second == first || first.Pid() == 0 {
		t.Fatalf("got %v, %v; want another leader while %s runs", second, err, first.Name())
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	for {
		short, done := context.WithTimeout(ctx, 2*time.Second)
		_, err := js.Publish(short, "s.x", []byte("x"), jetstream.WithMsgID("x"))
		done()
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("two of three nodes acknowledge nothing: %v", err)
		}
	}
	if err := n.Heal(number); err != nil {
		t.Fatal(err)
	}
	if err := n.WaitHealthy(ctx); err != nil {
		t.Fatal(err)
	}
	if err := second.Kill(); err != nil { // so that a majority needs the one that is back
		t.Fatal(err)
	}
	if _, err := n.Leader(ctx, "S"); err != nil {
		t.Fatal(err)
	}
	again(t, n)
}

func TestANodeThatIsNotCuttableIsNotCut(t *testing.T) {
	t.Parallel()
	n := start(t, servers.NATSOptions{Dir: t.TempDir()})
	if err := n.Cut(0); err == nil || n.IsCut(0) {
		t.Errorf("got %v, want an error", err)
	}
}

func TestOptionsThatMakeNoClusterAreRefused(t *testing.T) {
	t.Parallel()
	for _, opts := range []servers.NATSOptions{{}, {Nodes: 2, Dir: t.TempDir()}, {Nodes: -1, Dir: t.TempDir()}} {
		if n, err := servers.StartNATS(t.Context(), opts); err == nil {
			t.Errorf("%+v: started", opts)
			n.Close()
		}
	}
	_, err := servers.StartNATS(t.Context(), servers.NATSOptions{Dir: t.TempDir(), Config: "nonsense: {"})
	if err == nil || !strings.Contains(err.Error(), "n1") {
		t.Errorf("a configuration that cannot be read: got %v, want it to name the node", err)
	}
}

func TestACutProxyPassesNothing(t *testing.T) {
	t.Parallel()
	n := start(t, servers.NATSOptions{Dir: t.TempDir()})
	p, err := servers.StartProxy(n.Node(0).Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	try := func(patience time.Duration) error {
		nc, err := nats.Connect("nats://"+p.Addr(), nats.Timeout(patience), nats.NoReconnect())
		if err != nil {
			return err
		}
		defer nc.Close()
		return nc.FlushTimeout(patience)
	}
	held, err := nats.Connect("nats://"+p.Addr(), nats.NoReconnect())
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	lost := held.StatusChanged(nats.CLOSED)
	for _, how := range []servers.Cut{servers.Blackhole, servers.LoseRequests, servers.LoseAnswers, servers.Refuse} {
		if err := try(10 * time.Second); err != nil {
			t.Errorf("whole: %v", err)
		}
		p.Cut(how)
		if err := try(200 * time.Millisecond); err == nil {
			t.Errorf("cut %d: connected", how)
		}
		if lost := p.Lost(); lost == 0 && how != servers.Refuse {
			t.Errorf("cut %d: lost nothing", how)
		}
		p.Heal()
	}
	select {
	case <-lost:
	case <-time.After(10 * time.Second):
		t.Errorf("a connection from before goes on")
	}
	if err := try(10 * time.Second); err != nil {
		t.Errorf("healed: %v", err)
	}
}

func start(t *testing.T, opts servers.NATSOptions) *servers.NATS {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	n, err := servers.StartNATS(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return n
}

// again starts all nodes that are down.
func again(t *testing.T, n *servers.NATS) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var all error
	for _, node := range n.Nodes() {
		all = errors.Join(all, node.Start())
	}
	if err := errors.Join(all, n.WaitHealthy(ctx)); err != nil {
		t.Fatal(fmt.Errorf("start again: %w", err))
	}
}

func connect(t *testing.T, n *servers.NATS) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(strings.Join(n.URLs(), ","))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}
