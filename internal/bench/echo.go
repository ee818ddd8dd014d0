package bench

import (
	"context"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// The services that a life's commands are sent to.
const (
	commandService = "/chuishao.v1.TicketService/"
	echoService    = "/chuishao.bench.Echo/"
)

// echoAnswer is an answer as a command's looks.
var echoAnswer = &pb.TicketAnswer{
	Name: "tickets/6b1f0ac0-7a0c-5d43-9c3e-1f6d1d0e7a55", No: "0A1B-2C3D-4E5F", State: pb.TicketState_TICKET_STATE_HANDLING, Etag: `"5"`,
	ConsistencyToken: "p2n9c", Limits: &pb.Limits{
		ContactBy: stamp(epoch), HandleBy: stamp(epoch), CloseBy: stamp(epoch), SegmentBy: stamp(epoch),
	},
}

// echoRequests makes an empty request of each of the methods.
var echoRequests = [steps]func() proto.Message{
	func() proto.Message { return new(pb.ReportTicketRequest) },
	func() proto.Message { return new(pb.AcceptTicketRequest) },
	func() proto.Message { return new(pb.TriageTicketRequest) },
	func() proto.Message { return new(pb.DispatchTicketRequest) },
	func() proto.Message { return new(pb.SignTicketRequest) },
	func() proto.Message { return new(pb.RecordContactRequest) },
	func() proto.Message { return new(pb.SubmitResultRequest) },
	func() proto.Message { return new(pb.VerifyResultRequest) },
	func() proto.Message { return new(pb.RecordCallbackRequest) },
	func() proto.Message { return new(pb.CloseTicketRequest) },
}

// serveEcho serves the limit that commands are measured against: grpc-go as it comes, with the messages of commands and nothing behind
// them. It serves until stop.
func serveEcho() (addr string, stop func(), err error) {
	service := grpc.ServiceDesc{ServiceName: "chuishao.bench.Echo", HandlerType: (*any)(nil)}
	for i, method := range methods {
		service.Methods = append(service.Methods, grpc.MethodDesc{
			MethodName: method,
			Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				if err := decode(echoRequests[i]()); err != nil {
					return nil, err
				}
				return echoAnswer, nil
			},
		})
	}
	return serve(func(net.Addr) *grpc.Server {
		server := grpc.NewServer()
		server.RegisterService(&service, nil)
		return server
	})
}

// serve serves on a free port of this machine until stop.
func serve(of func(net.Addr) *grpc.Server) (addr string, stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := of(listener.Addr())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(listener) // what it returns after Stop says nothing
	}()
	return listener.Addr().String(), func() {
		server.Stop()
		<-ended
	}, nil
}
