package app

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/bus"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/rpc"
	"github.com/chuishao/dispatch/internal/view"
)

// BusDir is where in the data directory the server of the bus keeps its streams. It can be thrown away: they are told again.
const BusDir = "bus"

// Values of BusConfig.URL that are no URL.
const (
	BusEmbedded = "embedded"
	BusNone     = "none"
)

// BusConfig says where what is recorded is repeated for connected systems.
type BusConfig struct {
	// URL is nats://… of servers elsewhere, BusEmbedded for a server in this process, with its data in the data directory, or BusNone. Empty: BusEmbedded
	// where the history is in the data directory too, BusNone elsewhere.
	URL string
	// Listen is HOST:PORT where connected systems reach an embedded server; empty: nowhere.
	Listen string
	// Credentials is a file of NATS credentials for servers elsewhere; empty: what the URL has.
	Credentials string
	// MaxAge is how long events stay on the bus; 30 days if 0.
	MaxAge time.Duration
	// MaxMessages is how many messages an embedded server keeps of events at most; 250,000 if 0. Each takes it some 230 bytes of memory.
	MaxMessages int64
}

const (
	busMaxAge = 30 * 24 * time.Hour
	// An event has a message for each place and unit that it is for.
	busMaxMessages = 250_000
	busReplicas    = 3 // of a bus elsewhere
	busRetry       = 2 * time.Second
	// Each batch on the bus is a durable write, and each look at an area's figures costs a query: neither is to slow down commands.
	gather     = 250 * time.Millisecond
	ratesEvery = 10 * time.Second
)

// where is the URL, or what stands for it.
func (c *BusConfig) where(n *Node, o Where) (string, error) {
	url := c.URL
	if url == "" {
		if url = BusNone; n.Dir != "" && o.Embedded() {
			url = BusEmbedded
		}
	}
	switch {
	case url == BusEmbedded && n.Dir == "":
		return "", errors.New("--bus embedded: its streams lie in the data directory; want --data")
	case url != BusEmbedded && c.Listen != "":
		return "", errors.New("--bus-listen: only an embedded bus listens; connected systems reach another one by itself")
	case url != BusEmbedded && url != BusNone:
		if err := bus.CheckURL(url); err != nil {
			return "", fmt.Errorf("--bus: want embedded or none, or a URL: %w", err)
		}
	}
	return url, nil
}

// theBus is a bus that is there, or is still looked for.
type theBus struct {
	node       *Node
	config     BusConfig
	url        string
	server     *bus.Server // nil unless embedded
	inner      *inProcess  // carries out commands that come over it
	principals bus.Principals
}

// openBus starts an embedded bus. A nil theBus is none. The caller closes it. config is that of the server whose callers come over gRPC.
func (n *Node) openBus(c BusConfig, tls *tls.Config, principals bus.Principals, config rpc.Config) (_ *theBus, err error) {
	url, err := c.where(n, n.where)
	if err != nil || url == BusNone {
		return nil, err
	}
	if c.MaxAge == 0 {
		c.MaxAge = busMaxAge
	}
	b := &theBus{node: n, config: c, url: url, principals: principals}
	if b.inner, err = newInProcess(config); err != nil {
		return nil, err
	}
	if url == BusEmbedded {
		b.server, err = bus.Start(bus.Options{Dir: filepath.Join(n.Dir, BusDir), Listen: c.Listen, TLS: tls, Principals: principals})
	}
	if err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

// stop ends commands that came over the bus.
func (b *theBus) stop() {
	if b != nil {
		b.inner.server.Stop()
	}
}

func (b *theBus) close() error {
	if b == nil {
		return nil
	}
	b.stop()
	err := b.inner.conn.Close()
	if b.server != nil {
		err = errors.Join(err, b.server.Close())
	}
	return err
}

// addr is where an embedded bus listens; nil if nowhere.
func (b *theBus) addr() net.Addr {
	if b == nil || b.server == nil {
		return nil
	}
	return b.server.Addr()
}

// run keeps the bus up until the context ends. What stands in its way is told and tried again: commands over gRPC do not wait for it.
func (b *theBus) run(ctx context.Context) error {
	for {
		err := b.once(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		b.node.log.Warn("bus waits", "error", err)
		timer := time.NewTimer(busRetry)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

func (b *theBus) once(ctx context.Context) error {
	nc, shape, err := b.connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	if err := bus.Prepare(ctx, nc, shape); err != nil {
		return err
	}
	n := b.node
	trouble := func(err error) { n.log.Warn("bus waits", "error", err) }
	relay := &bus.Relay{Conn: nc, Store: n.Store, MaxAge: shape.MaxAge, Gather: gather, OnTrouble: trouble, OnProgress: n.metrics.relay.progressed}
	if b.server != nil {
		relay.Most = b.server.Most()
	}
	if b.server != nil && n.Embedded() { // whose positions count events
		relay.From = func(ctx context.Context) (eventstore.Position, error) {
			// What the stream would not keep is not told: an event has at least one message.
			head, err := n.Store.Head(ctx)
			return head - min(head, eventstore.Position(shape.MaxMessages)), err
		}
	}
	rates := &bus.Rates{Conn: nc, Store: n.Store, Read: n.ratesOf, Every: ratesEvery, OnTrouble: trouble}
	parts := []func(context.Context) error{relay.Run, rates.Run, (&bus.Commands{Conn: nc, Server: b.inner.conn}).Run}
	if b.principals != nil {
		parts = append(parts, (&bus.Consumers{Conn: nc, Principals: b.principals, OnTrouble: trouble}).Run)
	}
	group, failed := errgroup.WithContext(ctx)
	for _, part := range parts {
		group.Go(func() error { return part(failed) })
	}
	return group.Wait()
}

func (b *theBus) connect() (*nats.Conn, bus.Shape, error) {
	shape := bus.Shape{Replicas: 1, MaxAge: b.config.MaxAge}
	if b.server != nil {
		shape.MaxBytes, shape.MaxMessages = b.server.MaxBytes(), cmp.Or(b.config.MaxMessages, busMaxMessages)
		nc, err := b.server.Connect()
		return nc, shape, err
	}
	shape.Replicas = busReplicas
	nc, err := bus.Dial(b.url, b.config.Credentials)
	return nc, shape, err
}

// closureRates are the metrics that go out on the bus, domain.md d.4.
var closureRates = []string{"M12", "M13", "M14"}

// ratesOf are the closure figures of areas in the month that it is, as they go out on the bus.
func (n *Node) ratesOf(ctx context.Context, nodes []bus.Node, atLeast eventstore.Position) (bus.Figures, error) {
	if err := n.Projector.WaitFor(ctx, atLeast, view.ClosureView); err != nil {
		return bus.Figures{}, err
	}
	now := n.Dispatcher.Now()
	here := now.In(n.Dispatcher.Zone())
	month := time.Date(here.Year(), here.Month(), 1, 0, 0, 0, 0, here.Location())
	codes := map[string][]string{}
	for _, a := range nodes {
		codes[a.Level] = append(codes[a.Level], a.Code)
	}
	all, at, err := n.Reader.FiguresOf(ctx, closureRates, codes, view.MetricQuery{From: month, At: now})
	if err != nil {
		return bus.Figures{}, fmt.Errorf("figures of %d areas: %w", len(nodes), err)
	}
	told := bus.Figures{Of: map[bus.Node][]*pb.MetricFigure{}, Position: at, From: month.UTC(), At: now}
	for _, f := range all {
		a := bus.Node{Level: f.Level, Code: f.Code}
		told.Of[a] = append(told.Of[a], f)
	}
	return told, nil
}

// inProcess serves the node to the process itself: what comes over the bus goes the way of every call.
type inProcess struct {
	listener *bufconn.Listener
	server   *grpc.Server
	conn     *grpc.ClientConn
}

func newInProcess(config rpc.Config) (*inProcess, error) {
	p := &inProcess{listener: bufconn.Listen(256 << 10)}
	config.TLS, config.DevActor = nil, false
	p.server = rpc.New(config)
	var err error
	p.conn, err = grpc.NewClient("passthrough:///bus", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return p.listener.DialContext(ctx) }))
	return p, err
}

func (p *inProcess) serve() error {
	if err := p.server.Serve(p.listener); !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil
}

// relayed tells how far the bus is, when it is asked. Of several processes one relays; the others tell what they know of it, so that the least lag is that of the bus.
type relayed struct {
	mu       sync.Mutex
	at       eventstore.Position
	level    time.Time // when nothing was missing on the bus, as far as is known
	lag, pos *prometheus.Desc
}

func newRelayed() *relayed {
	return &relayed{
		lag: prometheus.NewDesc("chuishao_relay_lag_seconds", "For how long something recorded has not been on the bus; 0 when all is. Of several processes the least counts.", nil, nil),
		pos: prometheus.NewDesc("chuishao_relay_position", "Log position up to which events are on the bus, as far as this process knows.", nil, nil),
	}
}

// progressed hears how far the bus is. A zero time says only that.
func (r *relayed) progressed(at eventstore.Position, recorded time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at = at; !recorded.IsZero() {
		r.level = recorded
	}
}

// Embedded says whether the node's history is a file of its data directory, so that a bus in its process has what it records.
func (n *Node) Embedded() bool { return n.where.Embedded() }

// Relayed is how far this node has put what was recorded on the bus; 0 while it has put nothing there.
func (n *Node) Relayed() eventstore.Position {
	r := n.metrics.relay
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at
}

// collect tells of a history of which at least so much is known.
func (r *relayed) collect(to chan<- prometheus.Metric, known eventstore.Position) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, lag := time.Now(), 0.0
	switch {
	case r.at >= known:
		r.level = now
	case r.level.IsZero():
		r.level = now // begins now
	default:
		lag = max(0, now.Sub(r.level).Seconds())
	}
	to <- prometheus.MustNewConstMetric(r.lag, prometheus.GaugeValue, lag)
	to <- prometheus.MustNewConstMetric(r.pos, prometheus.GaugeValue, float64(r.at))
}
