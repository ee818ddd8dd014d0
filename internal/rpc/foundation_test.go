package rpc

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// echo answers a report with its own area as the number, and panics if that is "panic".
type echo struct {
	pb.UnimplementedTicketServiceServer
	err error
}

func (e echo) ReportTicket(_ context.Context, r *pb.ReportTicketRequest) (*pb.TicketAnswer, error) {
	if r.Area == "panic" {
		panic("as asked")
	}
	return &pb.TicketAnswer{No: r.Area}, e.err
}

func (e echo) GetTicket(context.Context, *pb.GetTicketRequest) (*pb.Ticket, error) { return nil, e.err }

func (e echo) IntakeTickets(s grpc.BidiStreamingServer[pb.IntakeTicketsRequest, pb.IntakeTicketsResponse]) error {
	key := func(in *pb.IntakeTicketsRequest) string { return in.GetReport().GetRequestId() }
	return bulk(s, true, key, func(ctx context.Context, in *pb.IntakeTicketsRequest, wrong error) *pb.IntakeTicketsResponse {
		out := &pb.IntakeTicketsResponse{Sequence: in.Sequence}
		if wrong != nil {
			out.Outcome = &pb.IntakeTicketsResponse_Failure{Failure: failure(statusOf(ctx, slog.Default(), "", wrong))}
		} else {
			out.Outcome = &pb.IntakeTicketsResponse_Answer{Answer: &pb.TicketAnswer{No: in.Report.Area}}
		}
		return out
	})
}

const devActor = "person=zhang;roles=AGENT,DISPATCHER;unit=320200"

// serve starts a server on a port of its own and gives a connection to it.
func serve(t testing.TB, c Config, register func(grpc.ServiceRegistrar, *interceptor), options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.Listens = append(c.Listens, listener.Addr())
	if c.Log == nil {
		c.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	server := newServer(c, register)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	options = append([]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}, options...)
	conn, err := grpc.NewClient(listener.Addr().String(), options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func asDev(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "chuishao-dev-actor", devActor)
}

// details checks that an error has the code, and an ErrorInfo of our domain, and gives what it says.
func details(t testing.TB, err error, code codes.Code) (info *errdetails.ErrorInfo, all []any) {
	t.Helper()
	st, _ := status.FromError(err)
	if st.Code() != code {
		t.Errorf("got %v (%v); want code %v", st.Code(), err, code)
	}
	for _, d := range st.Details() {
		if i, ok := d.(*errdetails.ErrorInfo); ok {
			info = i
		}
	}
	if info == nil || info.Domain != Domain {
		t.Errorf("%v: no ErrorInfo of domain %q", err, Domain)
		return &errdetails.ErrorInfo{}, st.Details()
	}
	return info, st.Details()
}

func (e echo) register(r grpc.ServiceRegistrar, _ *interceptor) { pb.RegisterTicketServiceServer(r, e) }

func TestEveryErrorSaysWhichFieldAndWhy(t *testing.T) {
	t.Parallel()
	conn := serve(t, Config{DevActor: true}, echo{}.register)
	ctx := asDev(t.Context())
	report := func(r *pb.ReportTicketRequest) error {
		_, err := pb.NewTicketServiceClient(conn).ReportTicket(ctx, r)
		return err
	}
	if err := report(&pb.ReportTicketRequest{RequestId: "a", Area: "1"}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		err           error
		code          codes.Code
		reason, field string
	}{
		{report(&pb.ReportTicketRequest{}), codes.InvalidArgument, "MISSING_FIELD", "request_id"},
		{report(&pb.ReportTicketRequest{RequestId: strings.Repeat("x", 129)}), codes.InvalidArgument, "INVALID_REQUEST_ID", "request_id"},
		{report(&pb.ReportTicketRequest{RequestId: "a", Channel: 99}), codes.InvalidArgument, "UNKNOWN_VALUE", "channel"},
		{report(&pb.ReportTicketRequest{RequestId: "a", Area: "panic"}), codes.Internal, "INTERNAL_FAULT", ""},
		{report(&pb.ReportTicketRequest{RequestId: "a", Particulars: &pb.Particulars{Text: strings.Repeat("字", 1_500_000)}}),
			codes.ResourceExhausted, "MESSAGE_TOO_LARGE", ""},
		{conn.Invoke(ctx, "/chuishao.v1.TicketService/Nothing", &pb.GetTicketRequest{}, &pb.Ticket{}), codes.Unimplemented, "UNKNOWN_METHOD", ""},
		{conn.Invoke(ctx, "/nowhere.Nothing/Nothing", &pb.GetTicketRequest{}, &pb.Ticket{}), codes.Unimplemented, "UNKNOWN_METHOD", ""},
	} {
		info, _ := details(t, c.err, c.code)
		if info.Reason != c.reason || info.Metadata["field"] != c.field {
			t.Errorf("%v: got %s %q; want %s %q", c.err, info.Reason, info.Metadata["field"], c.reason, c.field)
		}
	}
}
