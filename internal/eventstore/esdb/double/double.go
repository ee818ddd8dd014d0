// Package double is a server that speaks EventStoreDB's protocol, for tests of the adapter. It answers on a real port
// with the server stubs of the client's own module, and does what the server's sources say: expected revisions,
// idempotence by event ids, positions with gaps, filters, checkpoints, redirects to the leader, limits.
//
// Its history is in memory and outlives Kill. It shows nothing of durability, replication or elections: those are the
// server's own, and only a run against a real one shows them.
package double

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

// MaxAppendSize is the largest sum of data, metadata and twice the types' lengths in one append, as servers up to 25.0 have it.
const MaxAppendSize = 1 << 20

// Version is what a node says it is.
const Version = "24.10.4"

// Call is one call that a node is about to answer.
type Call struct {
	Method string // Append, ReadStream, ReadAll, Subscribe, Delete, Tombstone, Features or Gossip
	Stream string // what it is about; empty for $all, Features and Gossip
	N      int    // how many calls of this method the node has had before
}

// Fault is what goes wrong with a call. The zero value is nothing.
type Fault struct {
	Before error // answered before anything is done
	After  error // answered after all has been done: the outcome is lost
	Hang   bool  // no answer until the caller gives up or the node is killed; nothing is done
	Drop   int   // a subscription breaks off after so many events
}

// Cluster is nodes of one history.
type Cluster struct {
	history *history
	mu      sync.Mutex
	nodes   []*Node
	leader  *Node
}

// Node is one node of a cluster.
type Node struct {
	cluster  *Cluster
	listener net.Listener
	running  sync.WaitGroup

	mu      sync.Mutex
	up      *serving // nil while the node is down
	hook    func(Call) Fault
	calls   map[string]int
	version string
	behind  int
	closed  bool
}

// serving is the life of a node from a start to a kill.
type serving struct {
	grpc  *grpc.Server
	conns chan net.Conn
	addr  net.Addr
	dead  chan struct{}
	once  sync.Once
}

// Start starts a cluster of so many nodes on free ports of 127.0.0.1. The first leads.
func Start(nodes int) (*Cluster, error) {
	c := &Cluster{history: newHistory()}
	for range nodes {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			c.Close()
			return nil, fmt.Errorf("listen: %w", err)
		}
		n := &Node{cluster: c, listener: l, calls: make(map[string]int), version: Version}
		c.nodes = append(c.nodes, n)
		n.running.Go(n.accept)
		n.Restart()
	}
	c.leader = c.nodes[0]
	return c, nil
}

// Node is the cluster's node of a number, from 0.
func (c *Cluster) Node(i int) *Node { return c.nodes[i] }

// Lead makes a node the leader.
func (c *Cluster) Lead(n *Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leader = n
}

func (c *Cluster) leads() *Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leader
}

// URL is the connection string of the cluster: of its one node, or of all of them as seeds of gossip.
func (c *Cluster) URL() string {
	url := "esdb://"
	for i, n := range c.nodes {
		if i > 0 {
			url += ","
		}
		url += n.Addr()
	}
	return url + "?tls=false"
}

// Close stops all nodes for good.
func (c *Cluster) Close() {
	for _, n := range c.nodes {
		n.mu.Lock()
		n.closed = true
		n.mu.Unlock()
		n.Kill()
		n.listener.Close()
		n.running.Wait()
	}
}

// Addr is the node's host and port, the same after each restart.
func (n *Node) Addr() string { return n.listener.Addr().String() }

// Kill breaks all the node's connections in the middle of whatever it does, and refuses new ones.
func (n *Node) Kill() {
	n.mu.Lock()
	up := n.up
	n.up = nil
	n.mu.Unlock()
	if up != nil {
		up.Close()
		up.grpc.Stop()
	}
}

// Restart lets a killed node serve again, with the same history on the same port.
func (n *Node) Restart() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.up != nil || n.closed {
		return
	}
	up := &serving{conns: make(chan net.Conn), addr: n.listener.Addr(), dead: make(chan struct{})}
	up.grpc = grpc.NewServer(
		// The client pings every 10 s, whether or not there is a call. Without this it would be sent away.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.MaxConcurrentStreams(100),
		grpc.MaxRecvMsgSize(16<<20),
	)
	streams.RegisterStreamsServer(up.grpc, &service{node: n, up: up})
	gossip.RegisterGossipServer(up.grpc, &members{node: n, up: up})
	serverfeatures.RegisterServerFeaturesServer(up.grpc, &features{node: n, up: up})
	n.up = up
	n.running.Go(func() { up.grpc.Serve(up) })
}

// On has hook say what goes wrong with each call from now on; nil is nothing. It may be called at the same time by several.
func (n *Node) On(hook func(Call) Fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hook = hook
}

// Says has the node tell clients that it is of another version.
func (n *Node) Says(version string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.version = version
}

// Behind has reads at the node miss the last records of the history while it does not lead, as at a follower that lags.
func (n *Node) Behind(records int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.behind = records
}

// Calls is how many calls of a method the node has had.
func (n *Node) Calls(method string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.calls[method]
}

// accept gives connections to the node while it is up and breaks them while it is down. The port stays taken, so that
// nobody else gets it between a kill and a restart.
func (n *Node) accept() {
	for {
		conn, err := n.listener.Accept()
		if err != nil {
			return
		}
		n.mu.Lock()
		up := n.up
		n.mu.Unlock()
		if up == nil {
			conn.Close()
			continue
		}
		select {
		case up.conns <- conn:
		case <-up.dead:
			conn.Close()
		}
	}
}

// Accept is of net.Listener.
func (s *serving) Accept() (net.Conn, error) {
	select {
	case c := <-s.conns:
		return c, nil
	case <-s.dead:
		return nil, net.ErrClosed
	}
}

// Close is of net.Listener.
func (s *serving) Close() error {
	s.once.Do(func() { close(s.dead) })
	return nil
}

// Addr is of net.Listener.
func (s *serving) Addr() net.Addr { return s.addr }

var errKilled = errors.New("killed")

// begin counts a call and lets what goes wrong before it go wrong.
func (n *Node) begin(ctx context.Context, up *serving, method, stream string) (Fault, error) {
	n.mu.Lock()
	call := Call{method, stream, n.calls[method]}
	n.calls[method]++
	hook := n.hook
	n.mu.Unlock()
	if hook == nil {
		return Fault{}, nil
	}
	fault := hook(call)
	if fault.Hang {
		select {
		case <-ctx.Done():
			return fault, ctx.Err()
		case <-up.dead:
			return fault, errKilled
		}
	}
	return fault, fault.Before
}

// hidden is how many of the last records reads at the node do not see.
func (n *Node) hidden() int {
	leads := n.cluster.leads() == n
	n.mu.Lock()
	defer n.mu.Unlock()
	if leads {
		return 0
	}
	return n.behind
}

// members answers gossip.
type members struct {
	gossip.UnimplementedGossipServer
	node *Node
	up   *serving
}

func (m *members) Read(ctx context.Context, _ *shared.Empty) (*gossip.ClusterInfo, error) {
	if _, err := m.node.begin(ctx, m.up, "Gossip", ""); err != nil {
		return nil, err
	}
	c := m.node.cluster
	info := &gossip.ClusterInfo{}
	for _, n := range c.nodes {
		host, port, err := net.SplitHostPort(n.Addr())
		if err != nil {
			return nil, err
		}
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return nil, err
		}
		state := gossip.MemberInfo_Follower
		if c.leads() == n {
			state = gossip.MemberInfo_Leader
		}
		n.mu.Lock()
		alive := n.up != nil
		n.mu.Unlock()
		info.Members = append(info.Members, &gossip.MemberInfo{
			State: state, IsAlive: alive, TimeStamp: time.Now().UnixNano() / 100,
			HttpEndPoint: &gossip.EndPoint{Address: host, Port: uint32(number)},
		})
	}
	return info, nil
}

// features answers what the node can do.
type features struct {
	serverfeatures.UnimplementedServerFeaturesServer
	node *Node
	up   *serving
}

func (f *features) GetSupportedMethods(ctx context.Context, _ *shared.Empty) (*serverfeatures.SupportedMethods, error) {
	if _, err := f.node.begin(ctx, f.up, "Features", ""); err != nil {
		return nil, err
	}
	f.node.mu.Lock()
	defer f.node.mu.Unlock()
	says := &serverfeatures.SupportedMethods{EventStoreServerVersion: f.node.version}
	for _, method := range []string{"read", "append", "delete", "tombstone"} {
		says.Methods = append(says.Methods, &serverfeatures.SupportedMethod{
			ServiceName: "event_store.client.streams.streams", MethodName: method,
		})
	}
	return says, nil
}
