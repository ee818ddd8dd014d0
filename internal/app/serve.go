package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/bus"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/eventstore/sqlite"
	"github.com/chuishao/dispatch/internal/principal"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/rpc"
	"github.com/chuishao/dispatch/internal/verify"
)

// ServeConfig says where and to whom a node is served.
type ServeConfig struct {
	GRPC string // HOST:PORT; port 0 takes a free one
	HTTP string // HOST:PORT of metrics and probes; port 0 takes a free one
	// Principals is the file of who may call. Without it only callers on this machine are served, in development.
	Principals string
	// TLSCert and TLSKey are PEM files; TLSClientCA, a PEM file, lets client certificates be credentials.
	TLSCert, TLSKey, TLSClientCA string
	// Drain is how long calls may go on once the node is told to stop; 10 s if 0.
	Drain time.Duration
	// Suggest answers SuggestTriage, from an index in memory that is made when somebody asks for the first time.
	Suggest bool
	// NoTimers leaves what is due to other processes, or undone.
	NoTimers bool
	// NoViews leaves the views to other processes that keep them up, and only reads them.
	NoViews bool
	// Bus is where what is recorded is repeated for connected systems.
	Bus BusConfig
	// Ready hears the addresses once calls are taken; that of the bus is nil if it does not listen here. May be nil.
	Ready func(grpc, http, bus net.Addr)
}

// check refuses to serve other machines without knowing who calls, or in clear.
func (c *ServeConfig) check() error {
	host, _, err := net.SplitHostPort(c.GRPC)
	if err != nil {
		return fmt.Errorf("--grpc: %w", err)
	}
	if _, _, err := net.SplitHostPort(c.HTTP); err != nil {
		return fmt.Errorf("--http: %w", err)
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return errors.New("--tls-cert and --tls-key go together")
	}
	if c.TLSClientCA != "" && c.TLSCert == "" {
		return errors.New("--tls-client-ca needs --tls-cert and --tls-key")
	}
	ip := net.ParseIP(host)
	if host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	switch {
	case c.Principals == "":
		return fmt.Errorf("--grpc %s can be reached from other machines: --principals must say who may call", c.GRPC)
	case c.TLSCert == "":
		return fmt.Errorf("--grpc %s can be reached from other machines: --tls-cert and --tls-key are needed, since tokens must not travel in clear", c.GRPC)
	}
	return nil
}

// tls is how callers are shown who serves, nil if they are not. The certificate is renewed with its files.
func (n *Node) tls(c *ServeConfig) (*tls.Config, error) {
	if c.TLSCert == "" {
		return nil, nil
	}
	cert, err := openCertificate(c.TLSCert, c.TLSKey, time.Now, func(err error) { n.log.Error("certificate", "error", err) })
	if err != nil {
		return nil, err
	}
	if n.metrics.registry != nil {
		if err := n.metrics.registry.Register(cert.expiry()); err != nil {
			return nil, err
		}
	}
	config := &tls.Config{GetCertificate: cert.forCall, MinVersion: tls.VersionTLS12}
	if c.TLSClientCA != "" {
		pem, err := os.ReadFile(c.TLSClientCA)
		if err != nil {
			return nil, fmt.Errorf("TLS client CA: %w", err)
		}
		config.ClientCAs, config.ClientAuth = x509.NewCertPool(), tls.VerifyClientCertIfGiven
		if !config.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("TLS client CA %s holds no certificate", c.TLSClientCA)
		}
	}
	return config, nil
}

// Serve serves the node until the context ends: then it is not ready, lets calls end, and returns. The node stays open.
func (n *Node) Serve(ctx context.Context, c ServeConfig) (err error) {
	if err := c.check(); err != nil {
		return err
	}
	Tune()
	if c.Drain == 0 {
		c.Drain = 10 * time.Second
	}
	secure, err := n.tls(&c)
	if err != nil {
		return err
	}
	config := n.rpcConfig()
	stopping := make(chan struct{})
	config.DevActor, config.Stopping = c.Principals == "", stopping
	if secure != nil {
		config.TLS = credentials.NewTLS(secure)
	}
	if c.Suggest {
		if config.Suggest, err = n.Suggest(); err != nil {
			return err
		}
	}
	if n.metrics.registry != nil {
		if config.Metrics, err = rpc.NewMetrics(n.metrics.registry); err != nil {
			return err
		}
	}
	var known bus.Principals
	if c.Principals != "" {
		file, err := principal.Open(c.Principals, func(err error) { n.log.Error("principals", "error", err) })
		if err != nil {
			return err
		}
		config.Principals, known = file, file
	}
	theBus, err := n.openBus(c.Bus, secure, known, config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, theBus.close()) }()
	end, err := n.end(ctx)
	if err != nil {
		return err
	}
	grpcListener, err := net.Listen("tcp", c.GRPC)
	if err != nil {
		return fmt.Errorf("--grpc: %w", err)
	}
	httpListener, err := net.Listen("tcp", c.HTTP)
	if err != nil {
		return errors.Join(fmt.Errorf("--http: %w", err), grpcListener.Close())
	}
	config.Listens = []net.Addr{grpcListener.Addr()}
	server := rpc.New(config)
	web := n.web(config.Health)

	working, stopWorking := context.WithCancel(context.WithoutCancel(ctx))
	relaying, stopRelaying := context.WithCancel(working)
	defer stopRelaying()
	relayed := make(chan struct{})
	group, failed := errgroup.WithContext(ctx)
	group.Go(func() error { return unlessCancelled(n.keepViews(working, c.NoViews)) })
	group.Go(func() error { return unlessCancelled(n.Projector.FirstCatchUp(working, end)) })
	group.Go(func() error { return unlessCancelled(n.Policy().Run(working)) })
	if config.Suggest != nil {
		group.Go(func() error { return unlessCancelled(config.Suggest.Run(working)) })
	}
	if !c.NoTimers {
		group.Go(func() error { return unlessCancelled(n.Timers().Run(working)) })
	}
	if theBus != nil {
		n.metrics.relays = true
		group.Go(theBus.inner.serve)
		group.Go(func() error {
			defer close(relayed)
			return unlessCancelled(theBus.run(relaying))
		})
	} else {
		close(relayed)
	}
	group.Go(func() error {
		// Told to stop before it began, it says so; that is no fault.
		if err := server.Serve(grpcListener); !errors.Is(err, grpc.ErrServerStopped) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		if err := web.Serve(httpListener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		<-failed.Done()
		config.Health.SetReady(false)
		close(stopping)
		// What has come over the bus ends within the same time as what has come as calls, and with all that it may wait for still at work.
		stopRelaying()
		late := time.NewTimer(c.Drain)
		defer late.Stop()
		stopGently(server, c.Drain)
		select {
		case <-relayed:
		case <-late.C:
		}
		theBus.stop()
		stopWorking()
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.Drain)
		defer cancel()
		return web.Shutdown(closing)
	})
	config.Health.SetReady(true)
	if c.Ready != nil {
		c.Ready(grpcListener.Addr(), httpListener.Addr(), theBus.addr())
	}
	err = group.Wait()
	stopWorking()
	return err
}

// end is where the history ends as the node begins to serve. Views that are there already, as of an empty one, have caught up.
func (n *Node) end(ctx context.Context) (eventstore.Position, error) {
	end, err := n.Store.Head(ctx)
	if err != nil {
		return 0, fmt.Errorf("find the end of the history: %w", err)
	}
	if !slices.ContainsFunc(n.Projector.Status(), func(s projector.Status) bool { return s.Position < end }) {
		err = n.Projector.FirstCatchUp(ctx, end)
	}
	return end, err
}

// lookEvery is how often a node that leaves the views to others looks how far they are.
const lookEvery = 50 * time.Millisecond

// keepViews keeps the views up until the context ends, or sees how others do.
func (n *Node) keepViews(ctx context.Context, others bool) error {
	if others {
		return n.Projector.Follow(ctx, lookEvery)
	}
	return n.Projector.Run(ctx)
}

// ServeViews keeps the views up and serves metrics and probes at an address until the context ends. ready hears the address; it may be nil.
func (n *Node) ServeViews(ctx context.Context, address string, ready func(net.Addr)) error {
	Tune()
	end, err := n.end(ctx)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("--http: %w", err)
	}
	health := rpc.NewHealth()
	web := n.web(health)
	group, failed := errgroup.WithContext(ctx)
	group.Go(func() error { return unlessCancelled(n.Projector.Run(failed)) })
	group.Go(func() error { return unlessCancelled(n.Projector.FirstCatchUp(failed, end)) })
	group.Go(func() error {
		if err := web.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		<-failed.Done()
		health.SetReady(false)
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		return web.Shutdown(closing)
	})
	health.SetReady(true)
	if ready != nil {
		ready(listener.Addr())
	}
	return group.Wait()
}

// rpcConfig is what all servers of the node have in common.
func (n *Node) rpcConfig() rpc.Config {
	return rpc.Config{
		Log: n.log, Health: rpc.NewHealth(), Dispatcher: n.Dispatcher, Projector: n.Projector, Views: n.Reader, Backup: n.Backup, Verify: n.Verify,
	}
}

// stopGently lets calls end, and cuts off those that do not.
func stopGently(server *grpc.Server, drain time.Duration) {
	ended := make(chan struct{})
	go func() {
		server.GracefulStop()
		close(ended)
	}()
	timer := time.NewTimer(drain)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
		server.Stop()
		<-ended
	}
}

func unlessCancelled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// web is a server of metrics and probes.
func (n *Node) web(health rpc.Health) *http.Server {
	return &http.Server{
		Handler: n.probes(health), ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(n.log.Handler(), slog.LevelWarn),
	}
}

// probes answers /metrics, /healthz and /readyz.
func (n *Node) probes(health rpc.Health) http.Handler {
	mux := http.NewServeMux()
	if n.metrics.registry != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(prometheus.Gatherer(n.metrics.registry), promhttp.HandlerOpts{}))
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !health.Ready() {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
			return
		}
		var behind []string
		for _, s := range n.Projector.Status() {
			if !s.CaughtUp {
				behind = append(behind, s.View)
			}
		}
		if len(behind) > 0 {
			http.Error(w, "not ready: still being built: "+strings.Join(behind, ", "), http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ok\n")
	})
	return mux
}

// Verify checks history and views, telling what it finds and how far it is.
func (n *Node) Verify(ctx context.Context, historyOnly bool, tell func(*pb.VerifyHistoryResponse) error) error {
	c := verify.Config{Store: n.Store, Dir: n.scratch()}
	if file, ok := n.Store.(*sqlite.Store); ok {
		c.Integrity = file.CheckIntegrity
	}
	if !historyOnly {
		c.Views, c.Parts, c.Zone = n.Views, n.parts, calendar.Default().Zone()
	}
	return verify.Run(ctx, c, tell)
}
