// Package rpc is the gRPC side of the service. It only translates: who calls, what a message says, and how an error is told.
// Every error of every method has one form, made in errors.go.
package rpc

import (
	"context"
	"io"
	"log/slog"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/principal"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/suggest"
	"github.com/chuishao/dispatch/internal/view"
)

// Config is what a server is made of.
type Config struct {
	// Log gets one line for each fault. slog.Default if nil.
	Log *slog.Logger
	// Metrics count what is called; nil counts nothing.
	Metrics *Metrics
	// Health answers the probes.
	Health Health

	// Principals knows who may call. nil: nobody is known.
	Principals Principals
	// TLS is how connections are secured, and asks for client certificates where these are credentials. nil: not at all.
	TLS credentials.TransportCredentials
	// DevActor believes the metadata chuishao-dev-actor of callers on this machine, if every address in Listens is a loopback
	// address.
	DevActor bool
	// Listens are the addresses the server will be reached at.
	Listens []net.Addr

	// Dispatcher carries out commands, and knows tickets and whistles as they are now.
	Dispatcher *dispatch.Dispatcher
	// Views answers queries, and Projector says how far they have come; nil: this server has no views.
	Views     *view.Reader
	Projector projector.Progress
	// Suggest knows what a dispatcher would look up; nil: this server suggests nothing. The caller runs it.
	Suggest *suggest.Index
	// Stopping is closed when the server is about to stop: watches, which never end by themselves, then do. May be nil.
	Stopping <-chan struct{}
	// Verify replays and checks everything, telling how far it is; nil: this server cannot.
	Verify func(ctx context.Context, historyOnly bool, tell func(*pb.VerifyHistoryResponse) error) error
	// Backup writes a consistent copy of history and keys; nil: this server cannot.
	Backup func(ctx context.Context, to io.Writer) error
}

// hardLimit is the size from which on grpc itself refuses a message, unread and in its own words. Between MaxMessage and this the
// refusal has the form of all others.
const hardLimit = 2 * MaxMessage

// workers is how many calls are handled without a goroutine of their own.
const workers = 256

// New makes a server. The caller serves it on listeners and stops it.
func New(c Config) *grpc.Server {
	return newServer(c, c.register)
}

func newServer(c Config, register func(grpc.ServiceRegistrar, *interceptor)) *grpc.Server {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	dev := c.DevActor && len(c.Listens) > 0
	for _, addr := range c.Listens {
		dev = dev && principal.Loopback(addr)
	}
	i := &interceptor{
		auth:    authenticator{principals: c.Principals, dev: dev},
		codec:   newCodec(),
		log:     c.Log,
		metrics: c.Metrics,
	}
	if c.Dispatcher != nil {
		i.store = c.Dispatcher.Store()
	}
	options := []grpc.ServerOption{
		grpc.ForceServerCodecV2(i.codec),
		grpc.UnaryInterceptor(i.unary),
		grpc.StreamInterceptor(i.stream),
		grpc.UnknownServiceHandler(unknown),
		grpc.MaxRecvMsgSize(hardLimit),
		grpc.MaxConcurrentStreams(1024),
		grpc.MaxHeaderListSize(16 << 10),
		grpc.ConnectionTimeout(10 * time.Second),
		grpc.WaitForHandlers(true),
		// A handler's stack has to grow some times before it holds a command. Workers that stay save that of each call.
		grpc.NumStreamWorkers(workers),
		// A caller that goes silent is noticed within a minute and a half; one that pings more often than this is a fault of its own.
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 20 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	}
	if c.TLS != nil {
		options = append(options, grpc.Creds(c.TLS))
	}
	server := grpc.NewServer(options...)
	if c.Health.Server != nil {
		healthpb.RegisterHealthServer(server, c.Health)
	}
	reflection.Register(server)
	register(server, i)
	return server
}

// register registers the services that the server has what they need for.
func (c Config) register(to grpc.ServiceRegistrar, i *interceptor) {
	if c.Dispatcher == nil {
		return
	}
	s := service{interceptor: i, dispatcher: c.Dispatcher}
	pb.RegisterTicketServiceServer(to, ticketService{service: s, suggest: c.Suggest})
	pb.RegisterWhistleServiceServer(to, whistleService{service: s})
	pb.RegisterWallServiceServer(to, wallService{service: s})
	pb.RegisterAdmissionServiceServer(to, admissionService{service: s})
	pb.RegisterReviewServiceServer(to, reviewService{service: s})
	pb.RegisterImportServiceServer(to, importService{service: s})
	pb.RegisterRegistryServiceServer(to, registryService{service: s})
	pb.RegisterAuditServiceServer(to, auditService{
		service: s, verify: c.Verify, backup: c.Backup, verifying: make(chan bool, 1), backingUp: make(chan bool, 1),
	})
	listings := listingService{service: s}
	if c.Views != nil && c.Projector != nil {
		views := viewService{service: s, reader: c.Views, projector: c.Projector, stopping: c.Stopping}
		pb.RegisterViewServiceServer(to, views)
		listings.views = &views
	}
	pb.RegisterListingServiceServer(to, listings)
}
