package rpc

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
)

// inside calls a server that lives in this process. There is no client beside it whose own clock could end a call first: it answers what the server
// says, however slow that is.
type inside struct {
	methods map[string]func(context.Context, func(any) error) (any, error)
}

func serveWithin(c Config) grpc.ClientConnInterface {
	c.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	c.Listens = append(c.Listens, loopback)
	w := inside{methods: map[string]func(context.Context, func(any) error) (any, error){}}
	newServer(c, func(to grpc.ServiceRegistrar, i *interceptor) { c.register(registrar{to, &w, i}, i) })
	return w
}

var loopback = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}

type registrar struct {
	grpc.ServiceRegistrar
	within *inside
	i      *interceptor
}

func (r registrar) RegisterService(d *grpc.ServiceDesc, impl any) {
	for _, m := range d.Methods {
		r.within.methods["/"+d.ServiceName+"/"+m.MethodName] = func(ctx context.Context, read func(any) error) (any, error) {
			return m.Handler(impl, ctx, read, r.i.unary)
		}
	}
}

func (w inside) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	sent, _ := metadata.FromOutgoingContext(ctx)
	ctx = metadata.NewIncomingContext(peer.NewContext(ctx, &peer.Peer{Addr: loopback}), sent)
	answer, err := w.methods[method](ctx, func(into any) error {
		proto.Merge(into.(proto.Message), args.(proto.Message))
		return nil
	})
	if err == nil {
		proto.Merge(reply.(proto.Message), answer.(proto.Message))
	}
	return err
}

func (w inside) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errors.New("streams have no place here")
}

func TestAQueryThatIsHeldUpUntilItsTimeIsOverIsToldThatItIsBehind(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	c := Config{DevActor: true, Dispatcher: city.Dispatcher}
	tickets := pb.NewTicketServiceClient(serveWithin(c))
	name := city.Report(t, dispatchtest.Community)
	agent := acting(t.Context(), dispatchtest.CityCentre, "AGENT")
	q := &pb.GetTicketRequest{Name: name, MinConsistencyToken: Token(1 << 40)}
	over, cancel := context.WithDeadline(agent, time.Now().Add(-time.Second))
	defer cancel()
	_, err := tickets.GetTicket(over, q)
	if info, _ := details(t, err, codes.Unavailable); info.Reason != "VIEW_BEHIND" {
		t.Errorf("got %v; want VIEW_BEHIND", err)
	}
	// Who took the call back is told that.
	cancelled, cancel := context.WithCancel(agent)
	cancel()
	_, err = tickets.GetTicket(cancelled, q)
	if info, _ := details(t, err, codes.Canceled); !strings.HasPrefix(info.Reason, "CANCEL") {
		t.Errorf("got %v; want it cancelled", err)
	}
}
