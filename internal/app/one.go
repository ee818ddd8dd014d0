package app

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/principal"
	"github.com/chuishao/dispatch/internal/rpc"
	"github.com/chuishao/dispatch/internal/rule"
)

// one is the only caller of a server: whoever knows its token, which is made anew each time.
type one struct {
	token string
	actor rule.Actor
}

func (o one) Lookup(token string, _ time.Time) (rule.Actor, error) {
	if subtle.ConstantTimeCompare([]byte(token), []byte(o.token)) != 1 {
		return rule.Actor{}, principal.ErrUnknown
	}
	return o.actor, nil
}

func (o one) LookupCertificate(string, time.Time) (rule.Actor, error) {
	return rule.Actor{}, principal.ErrUnknown
}

// ServeOne serves the node to do alone, as an auditor, and stops when do returns. The views stand still meanwhile.
func (n *Node) ServeOne(ctx context.Context, do func(*grpc.ClientConn) error) (err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	caller := one{token: rand.Text(), actor: rule.Actor{Person: "command line", Roles: []pb.Role{pb.Role_ROLE_AUDITOR}}}
	config := n.rpcConfig()
	config.Principals, config.Listens = caller, []net.Addr{listener.Addr()}
	server := rpc.New(config)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() {
		server.Stop()
		err = errors.Join(err, <-served)
	}()
	as := func(ctx context.Context) context.Context {
		return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+caller.token)
	}
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			return invoke(as(ctx), method, req, reply, cc, opts...)
		}),
		grpc.WithStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, stream grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			return stream(as(ctx), desc, cc, method, opts...)
		}))
	if err != nil {
		return err
	}
	return errors.Join(do(conn), conn.Close())
}
