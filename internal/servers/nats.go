package servers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// nodeVariable carries the configuration of a NATS node to the process that is to be the node.
const nodeVariable = "CHUISHAO_SERVERS_NATS_NODE"

// Sync settings of NATSOptions.
const (
	// SyncAlways flushes to disk before each acknowledgement, the only setting that a store of record accepts.
	SyncAlways = "always"
	// SyncDefault leaves flushing to the server, which does it every two minutes. It is there to be refused.
	SyncDefault = "default"
)

// Main must be called first thing in main, or in TestMain, of a program that calls StartNATS: a node is that same program, run
// again. In a node's process Main does not return; everywhere else it returns at once.
func Main() {
	text, ok := os.LookupEnv(nodeVariable)
	if !ok {
		return
	}
	if err := errors.Join(joinNetwork(), runNode(text)); err != nil {
		fmt.Fprintln(os.Stderr, "nats node:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// runNode is a node until it is told to stop or whoever started it is gone, which closes its standard input.
func runNode(text string) error {
	opts := new(server.Options)
	if err := opts.ProcessConfigString(text); err != nil {
		return err
	}
	node, err := server.NewServer(opts)
	if err != nil {
		return err
	}
	node.ConfigureLogger()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	node.Start() // it handles SIGTERM itself
	node.WaitForShutdown()
	return nil
}

// NATSOptions say what StartNATS starts. The zero value but for Dir is one node that flushes before it acknowledges.
type NATSOptions struct {
	// Nodes is how many nodes there are: 1, or 3 and more, which form a cluster. 0 means 1.
	Nodes int
	// Dir is where the nodes keep their data and logs, each in a directory n1, n2 and so on.
	Dir string
	// Sync is SyncAlways or SyncDefault. "" means SyncAlways.
	Sync string
	// Cuttable has all that reaches a node, and all that nodes say to each other, go through proxies, so that Cut can cut a node off.
	Cuttable bool
	// Isolated gives each node a network namespace of its own, so that Cut can cut it off. It takes the place of Cuttable. This process must have a
	// network of its own: see OwnNetwork.
	Isolated bool
	// Config is added to the configuration of each node: accounts and the like.
	Config string
	// User and Password are what Leader and WaitHealthy connect with, where Config asks for some.
	User, Password string
}

// NATS is a NATS server or cluster whose nodes are processes of their own. It is safe for concurrent use.
type NATS struct {
	opts  NATSOptions
	nodes []*Node
	wires wires
}

// Node is one node. Its address stays the same over restarts.
type Node struct {
	name    string
	dir     string
	config  string
	host    string // where it listens
	port    int
	monitor int
	number  int  // in its cluster, from 1
	own     bool // it has a network namespace of its own

	mu      sync.Mutex
	process *exec.Cmd     // nil while the node is down
	stdin   io.Closer     // closed when this process ends, which ends the node
	ended   chan struct{} // closed when the process is gone
	lives   int           // how often it was started
	link    string        // our end of the wire to its namespace, if it has one
}

// StartNATS starts the nodes on ports of the loopback interface that are free, and returns when they are healthy. The caller closes
// what it gets. It fails if the context ends before.
func StartNATS(ctx context.Context, opts NATSOptions) (*NATS, error) {
	if opts.Nodes == 0 {
		opts.Nodes = 1
	}
	if opts.Dir == "" || opts.Nodes < 1 || opts.Nodes == 2 {
		return nil, fmt.Errorf("start NATS: want a directory, and one node or at least three, got %q and %d", opts.Dir, opts.Nodes)
	}
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, err
	}
	opts.Dir = dir
	if opts.Isolated {
		opts.Cuttable = false
	}
	// A port that is free now may be taken by the time the node wants it: then all begin again with others.
	for attempt := 1; ; attempt++ {
		n, err := startNATS(ctx, opts)
		if err == nil || attempt == 5 || ctx.Err() != nil || !errors.Is(err, errEnded) {
			return n, err
		}
		if err := os.RemoveAll(opts.Dir); err != nil {
			return nil, err
		}
	}
}

func startNATS(ctx context.Context, opts NATSOptions) (*NATS, error) {
	ports, err := freePorts(3 * opts.Nodes)
	if err != nil {
		return nil, err
	}
	n := &NATS{opts: opts}
	if opts.Cuttable {
		if err := n.wires.lay(ports); err != nil {
			return nil, errors.Join(err, n.Close())
		}
	}
	n.wires.cut = make([]bool, opts.Nodes)
	for i := range opts.Nodes {
		node := &Node{name: fmt.Sprintf("n%d", i+1), number: i + 1, own: opts.Isolated, host: opts.host(i), port: ports[3*i], monitor: ports[3*i+1]}
		node.dir = filepath.Join(opts.Dir, node.name)
		if err := os.MkdirAll(node.dir, 0o750); err != nil {
			return nil, errors.Join(err, n.Close())
		}
		node.config = nodeConfig(node, opts, ports[3*i+2], n.routes(i, ports))
		n.nodes = append(n.nodes, node)
	}
	for _, node := range n.nodes {
		if err = node.Start(); err != nil {
			break
		}
	}
	if err == nil {
		err = n.WaitHealthy(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func nodeConfig(node *Node, opts NATSOptions, route int, routes []string) string {
	var c strings.Builder
	fmt.Fprintf(&c, "server_name: %s\nlisten: \"%s:%d\"\nhttp: \"%s:%d\"\n", node.name, node.host, node.port, node.host, node.monitor)
	fmt.Fprintf(&c, "log_file: %q\n", filepath.Join(node.dir, "log"))
	sync := "sync_interval: always"
	if opts.Sync == SyncDefault {
		sync = ""
	}
	fmt.Fprintf(&c, "jetstream { store_dir: %q, max_mem: 256MB, max_file: 20GB, %s\n"+
		"  limits { batch { max_inflight_per_stream: 500, max_inflight_total: 5000 } } }\n", node.dir, sync)
	if opts.Nodes > 1 {
		advertise := ""
		if opts.Cuttable {
			// Where nobody listens: nodes reach each other on the routes that they are told alone.
			advertise = "advertise: \"127.0.0.1:1\", "
		}
		fmt.Fprintf(&c, "cluster { name: test, listen: \"%s:%d\", %sroutes: [%s] }\n", node.host, route, advertise, strings.Join(routes, ", "))
	}
	c.WriteString(opts.Config)
	return c.String()
}

// routes are where a node finds the others.
func (n *NATS) routes(node int, ports []int) []string {
	var routes []string
	for other := range n.opts.Nodes {
		switch {
		case !n.opts.Cuttable:
			routes = append(routes, fmt.Sprintf("nats://%s:%d", n.opts.host(other), ports[3*other+2]))
		case other != node:
			routes = append(routes, "nats://"+n.wires.between[node][other].Addr())
		}
	}
	return routes
}

// URLs returns the address of each node, nats://127.0.0.1:PORT; of a cuttable node, the one that can be cut.
func (n *NATS) URLs() []string {
	if n.opts.Cuttable {
		return n.wires.urls("nats://", n.wires.clients)
	}
	urls := make([]string, len(n.nodes))
	for i, node := range n.nodes {
		urls[i] = node.URL()
	}
	return urls
}

// Monitors returns the address of each node's monitoring, http://127.0.0.1:PORT; of a cuttable node, the one that can be cut.
func (n *NATS) Monitors() []string {
	if n.opts.Cuttable {
		return n.wires.urls("http://", n.wires.monitors)
	}
	urls := make([]string, len(n.nodes))
	for i, node := range n.nodes {
		urls[i] = node.Monitor()
	}
	return urls
}

// Node returns a node, counted from 0.
func (n *NATS) Node(i int) *Node { return n.nodes[i] }

// Nodes returns all nodes.
func (n *NATS) Nodes() []*Node { return n.nodes }

// Close kills all nodes. Their data stay where they are.
func (n *NATS) Close() error {
	var all error
	for _, node := range n.nodes {
		all = errors.Join(all, node.Kill())
	}
	return errors.Join(all, n.wires.close())
}

// errEnded says that a node's process ended by itself.
var errEnded = errors.New("the node ended by itself")

// WaitHealthy returns when all nodes that run say that they are healthy and, in a cluster, have a leader.
func (n *NATS) WaitHealthy(ctx context.Context) error {
	return until(ctx, func() error {
		for _, node := range n.nodes {
			ended, up := node.running()
			if !up {
				continue
			}
			select {
			case <-ended:
				return permanent{fmt.Errorf("%s: %w: %s", node.name, errEnded, node.said())}
			default:
			}
			if err := node.healthy(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

// Leader returns the node that leads a stream, and waits for there to be one that runs.
func (n *NATS) Leader(ctx context.Context, stream string) (*Node, error) {
	// Not a node that is cut off: it may take itself for the leader.
	var urls []string
	for i, node := range n.nodes {
		if !n.IsCut(i) {
			urls = append(urls, node.URL())
		}
	}
	nc, err := nats.Connect(strings.Join(urls, ","), nats.IgnoreDiscoveredServers(), nats.UserInfo(n.opts.User, n.opts.Password),
		nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	var leader *Node
	err = until(ctx, func() error {
		short, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		s, err := js.Stream(short, stream)
		if err != nil {
			return err
		}
		info := s.CachedInfo()
		if info.Cluster == nil || len(n.nodes) == 1 {
			leader = n.nodes[0]
			return nil
		}
		for _, node := range n.nodes {
			if _, up := node.running(); up && node.name == info.Cluster.Leader {
				leader = node
				return nil
			}
		}
		return fmt.Errorf("stream %s has no leader", stream)
	})
	return leader, err
}

// Name is the node's name in its cluster: n1, n2 and so on.
func (d *Node) Name() string { return d.name }

// URL is the node's address, nats://127.0.0.1:PORT.
func (d *Node) URL() string { return "nats://" + d.Addr() }

// Addr is the node's address, 127.0.0.1:PORT.
func (d *Node) Addr() string { return fmt.Sprintf("%s:%d", d.host, d.port) }

// Monitor is the address of the node's monitoring, http://127.0.0.1:PORT.
func (d *Node) Monitor() string { return fmt.Sprintf("http://%s:%d", d.host, d.monitor) }

// Pid is the node's process, 0 while it is down.
func (d *Node) Pid() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.process == nil {
		return 0
	}
	return d.process.Process.Pid
}

// Start starts the node if it is down. WaitHealthy says when it is ready.
func (d *Node) Start() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.process != nil {
		return nil
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), nodeVariable+"="+d.config)
	if d.own {
		d.isolate(cmd)
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	errs, err := os.OpenFile(filepath.Join(d.dir, "stderr"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	defer errs.Close()
	cmd.Stderr = errs
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", d.name, err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(ended)
	}()
	d.process, d.stdin, d.ended = cmd, stdin, ended
	d.lives++
	if d.own {
		return d.connect(stdin)
	}
	return nil
}

// Kill ends the node's process at once, as kill -9 does, and returns when it is gone.
func (d *Node) Kill() error { return d.end(syscall.SIGKILL) }

// Stop has the node end in good order and returns when it is gone.
func (d *Node) Stop() error { return d.end(syscall.SIGTERM) }

func (d *Node) end(signal os.Signal) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.process == nil {
		return nil
	}
	if err := d.process.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end %s: %w", d.name, err)
	}
	<-d.ended
	err := d.stdin.Close()
	d.process, d.stdin, d.ended = nil, nil, nil
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// Pause stops the node's process where it stands, as a host does that hangs, until Resume.
func (d *Node) Pause() error { return d.signal(syscall.SIGSTOP) }

// Resume lets a paused node go on.
func (d *Node) Resume() error { return d.signal(syscall.SIGCONT) }

func (d *Node) signal(signal os.Signal) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.process == nil {
		return fmt.Errorf("%s is down", d.name)
	}
	return d.process.Process.Signal(signal)
}

func (d *Node) running() (ended <-chan struct{}, up bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ended, d.process != nil
}

// said is what the node last told about itself.
func (d *Node) said() string {
	var all []string
	for _, name := range []string{"stderr", "log"} {
		text, _ := os.ReadFile(filepath.Join(d.dir, name))
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		all = append(all, lines[max(0, len(lines)-3):]...)
	}
	return strings.Join(all, "; ")
}

// healthy asks the node whether it has caught up with everything that it is to hold.
func (d *Node) healthy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.Monitor()+"/healthz", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var health struct {
		Status string `json:"status"`
		Error  string `json:"error"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&health); err != nil {
		return err
	}
	if health.Status != "ok" {
		return fmt.Errorf("%s is not healthy: %s", d.name, health.Error)
	}
	return nil
}

// permanent marks an error that waiting does not mend.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// until tries again every 50 ms until try succeeds, fails for good, or the context ends, which gives the last error too.
func until(ctx context.Context, try func() error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		if _, ok := errors.AsType[permanent](err); ok {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// freePorts returns ports of the loopback interface that nobody listens on. They lie below those that systems hand out for
// outgoing connections, so that a node finds its port free when it comes back.
func freePorts(n int) ([]int, error) {
	var ports []int
	var held []net.Listener
	defer func() {
		for _, l := range held {
			l.Close()
		}
	}()
	for range 1000 {
		if len(ports) == n {
			return ports, nil
		}
		port := 12_000 + rand.IntN(20_000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		held = append(held, l)
		ports = append(ports, port)
	}
	return nil, fmt.Errorf("no %d free ports", n)
}
