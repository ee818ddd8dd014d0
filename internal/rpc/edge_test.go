package rpc

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/principal"
	"github.com/chuishao/dispatch/internal/rule"
)

func TestBytesThatAreNoMessageAreNoFaultOfTheService(t *testing.T) {
	t.Parallel()
	conn := serve(t, Config{DevActor: true}, echo{}.register, grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{})))
	ctx := asDev(t.Context())
	good, err := proto.Marshal(&pb.IntakeTicketsRequest{Sequence: 3, Report: &pb.ReportTicketRequest{RequestId: "r", Area: "1"}})
	if err != nil {
		t.Fatal(err)
	}
	var answer []byte
	err = conn.Invoke(ctx, pb.TicketService_ReportTicket_FullMethodName, []byte("\x12\x02\xc3\x28"), &answer)
	if info, _ := details(t, err, codes.InvalidArgument); info.Reason != "INVALID_UTF8" || info.Metadata["field"] != "request_id" {
		t.Errorf("invalid UTF-8: %v", err)
	}
	err = conn.Invoke(ctx, pb.TicketService_ReportTicket_FullMethodName, []byte("\xff"), &answer)
	if info, _ := details(t, err, codes.InvalidArgument); info.Reason != "MALFORMED_MESSAGE" {
		t.Errorf("no protobuf: %v", err)
	}

	// A stream goes on after a message that cannot be read, and says which it was.
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, pb.TicketService_IntakeTickets_FullMethodName)
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range [][]byte{[]byte("\x08\x02\x12\x04\x12\x02\xc3\x28"), good} {
		if err := stream.SendMsg(raw); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{`2 INVALID_UTF8 report.request_id`, `3  `} {
		var raw []byte
		if err := stream.RecvMsg(&raw); err != nil {
			t.Fatal(err)
		}
		m := new(pb.IntakeTicketsResponse)
		if err := proto.Unmarshal(raw, m); err != nil {
			t.Fatal(err)
		}
		if got := string(rune('0'+m.Sequence)) + " " + m.GetFailure().GetReason() + " " + m.GetFailure().GetField(); got != want {
			t.Errorf("got %q; want %q", got, want)
		}
	}
}

// lapsing are principals who are known until they are not.
type lapsing struct{ gone bool }

func (l *lapsing) Lookup(string, time.Time) (rule.Actor, error) {
	if l.gone {
		return rule.Actor{}, principal.ErrNotValid
	}
	return rule.Actor{Person: "zhang"}, nil
}

func (l *lapsing) LookupCertificate(string, time.Time) (rule.Actor, error) {
	return rule.Actor{}, principal.ErrUnknown
}

// reading is a stream that gives empty messages for ever.
type reading struct {
	grpc.ServerStream
	ctx context.Context
}

func (r reading) Context() context.Context { return r.ctx }

func (r reading) RecvMsg(any) error { return nil }

func TestAStreamEndsWhenItsCredentialsLapse(t *testing.T) {
	t.Parallel()
	who := new(lapsing)
	ctx := metadata.NewIncomingContext(peer.NewContext(t.Context(), &peer.Peer{}), metadata.Pairs("authorization", "Bearer x"))
	s := &checkedStream{
		ServerStream: reading{ctx: ctx}, i: &interceptor{auth: authenticator{principals: who}, codec: newCodec()}, ctx: ctx, talks: true,
		authenticated: time.Now().Add(-time.Hour),
	}
	receive := func() error { return s.RecvMsg(new(pb.BackupRequest)) }
	if err := receive(); err != nil {
		t.Fatal(err)
	}
	who.gone = true
	s.authenticated = time.Now().Add(-time.Hour)
	for range 2 {
		err := receive()
		refusal := new(rule.Refusal)
		if !errors.As(err, &refusal) || refusal.Reason != CredentialsNotValid {
			t.Errorf("got %v; want %s", err, CredentialsNotValid)
		}
		if _, isMessages := err.(*rule.Refusal); isMessages {
			t.Error("lapsed credentials are taken for what is wrong with one message")
		}
	}
}

func TestMetricsAreNamedAsTheyShouldBe(t *testing.T) {
	t.Parallel()
	counted := prometheus.NewRegistry()
	m, err := NewMetrics(counted)
	if err != nil {
		t.Fatal(err)
	}
	m.revealed(pb.RevealPurpose_REVEAL_PURPOSE_SAFETY)
	for _, method := range methods() {
		m.message(fullName(method), codes.OK, time.Now())
	}
	families, err := counted.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		f.Metric = f.Metric[:1] // the others differ in the values of labels, which Gather has checked
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}
