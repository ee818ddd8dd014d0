package importing_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/importing"
	"github.com/chuishao/dispatch/internal/rule"
)

type server struct {
	pb.UnimplementedImportServiceServer
	serve func(grpc.BidiStreamingServer[pb.ImportRecordsRequest, pb.ImportRecordsResponse]) error
}

func (s server) ImportRecords(stream grpc.BidiStreamingServer[pb.ImportRecordsRequest, pb.ImportRecordsResponse]) error {
	return s.serve(stream)
}

func client(t testing.TB, serve func(grpc.BidiStreamingServer[pb.ImportRecordsRequest, pb.ImportRecordsResponse]) error) pb.ImportServiceClient {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	pb.RegisterImportServiceServer(s, server{serve: serve})
	var served sync.WaitGroup
	served.Go(func() { _ = s.Serve(l) })
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		s.Stop()
		served.Wait()
	})
	return pb.NewImportServiceClient(conn)
}

// echo answers two messages at a time, the later first.
func echo(stream grpc.BidiStreamingServer[pb.ImportRecordsRequest, pb.ImportRecordsResponse]) error {
	var held []*pb.ImportRecordsRequest
	got := make(chan *pb.ImportRecordsRequest)
	go func() {
		defer close(got)
		for {
			r, err := stream.Recv()
			if err != nil {
				return
			}
			select {
			case got <- r:
			case <-stream.Context().Done():
				return
			}
		}
	}()
	answer := func() error {
		for i := len(held) - 1; i >= 0; i-- {
			if err := stream.Send(answered(held[i])); err != nil {
				return err
			}
		}
		held = nil
		return nil
	}
	for {
		select {
		case r, more := <-got:
			if !more {
				return answer()
			}
			if held = append(held, r); len(held) < 2 {
				continue
			}
		case <-time.After(10 * time.Millisecond): // no second will come
		}
		if err := answer(); err != nil {
			return err
		}
	}
}

func answered(r *pb.ImportRecordsRequest) *pb.ImportRecordsResponse {
	to := &pb.ImportRecordsResponse{Sequence: r.Sequence}
	if strings.HasPrefix(r.Record.SourceRef, "bad") {
		to.Outcome = &pb.ImportRecordsResponse_Failure{Failure: &pb.Failure{Code: uint32(codes.InvalidArgument), Reason: string(rule.BadField), Field: "source_ref", Message: "is bad"}}
	} else {
		to.Outcome = &pb.ImportRecordsResponse_Answer{Answer: &pb.ImportAnswer{Name: r.Record.SourceRef}}
	}
	return to
}

func TestEachCallerOfAStreamGetsItsOwnAnswer(t *testing.T) {
	t.Parallel()
	sink, err := importing.NewStreamSink(t.Context(), client(t, echo))
	if err != nil {
		t.Fatal(err)
	}
	var callers sync.WaitGroup
	for c := range 64 {
		callers.Go(func() {
			for i := range 50 {
				ref := fmt.Sprintf("%d-%d", c, i)
				got, err := sink.Import(t.Context(), &pb.ImportRecordRequest{SourceRef: ref})
				if err != nil || got.Name != ref {
					t.Errorf("%s: got %v, %v", ref, got, err)
					return
				}
			}
		})
	}
	callers.Wait()
	if err := sink.Close(); err != nil {
		t.Error(err)
	}
	if _, err := sink.Import(t.Context(), &pb.ImportRecordRequest{}); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("after Close: got %v", err)
	}
}

func TestRefusalsOfAStreamGoToQuarantine(t *testing.T) {
	t.Parallel()
	sink, err := importing.NewStreamSink(t.Context(), client(t, echo))
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	file := write(t, t.TempDir(), "a.csv", "id,at\n1,2024-01-01T00:00:00Z\nbad,2024-01-01T00:00:00Z\n3,2024-01-01T00:00:00Z\n")
	report, err := run(t, mapping(t, "source: s\nid: id\nreported: at\n"), sink, file)
	if err != nil || report.Imported != 2 || report.Reasons["refused: BAD_FIELD"] != 1 {
		t.Errorf("got %+v, %v", report, err)
	}
}

func TestABrokenStreamEndsTheRun(t *testing.T) {
	t.Parallel()
	for name, serve := range map[string]func(grpc.BidiStreamingServer[pb.ImportRecordsRequest, pb.ImportRecordsResponse]) error{
		"the store is full": func(stream grpc.BidiStreamingServer[pb.ImportRecordsRequest, pb.ImportRecordsResponse]) error {
			for range 100 {
				r, err := stream.Recv()
				if err != nil {
					return err
				}
				if err := stream.Send(answered(r)); err != nil {
					return err
				}
			}
			return status.Error(codes.Unavailable, "the store is full")
		},
		"ended by the server": func(grpc.BidiStreamingServer[pb.ImportRecordsRequest, pb.ImportRecordsResponse]) error { return nil },
		"Unavailable : try again": func(stream grpc.BidiStreamingServer[pb.ImportRecordsRequest, pb.ImportRecordsResponse]) error {
			r, err := stream.Recv()
			if err != nil {
				return err
			}
			_ = stream.Send(&pb.ImportRecordsResponse{Sequence: r.Sequence,
				Outcome: &pb.ImportRecordsResponse_Failure{Failure: &pb.Failure{Code: uint32(codes.Unavailable), Message: "try again"}}})
			for err == nil {
				_, err = stream.Recv()
			}
			return nil
		},
	} {
		sink, err := importing.NewStreamSink(t.Context(), client(t, serve))
		if err != nil {
			t.Fatal(err)
		}
		file := write(t, t.TempDir(), "a.csv", "id,at\n"+strings.Repeat("1,2024-01-01T00:00:00Z\n", 5000))
		report, err := run(t, mapping(t, "source: s\nid: id\nreported: at\n"), sink, file)
		if err == nil || !strings.Contains(err.Error(), name) || report.Imported > 100 || report.Quarantined != 0 {
			t.Errorf("%s: got %+v, %v", name, report, err)
		}
		if err := sink.Close(); err != nil {
			t.Errorf("%s: close: %v", name, err)
		}
	}
}

func TestACallerThatGivesUpDoesNotBreakTheStream(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	sink, err := importing.NewStreamSink(t.Context(), client(t, func(stream grpc.BidiStreamingServer[pb.ImportRecordsRequest, pb.ImportRecordsResponse]) error {
		<-release
		return echo(stream)
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := sink.Import(ctx, &pb.ImportRecordRequest{SourceRef: "1"}); err != context.Canceled {
		t.Errorf("got %v", err)
	}
	close(release)
	if got, err := sink.Import(t.Context(), &pb.ImportRecordRequest{SourceRef: "2"}); err != nil || got.Name != "2" {
		t.Errorf("got %v, %v", got, err)
	}
}

func BenchmarkStreamSink(b *testing.B) {
	file, m := sample(b, "nyc311-sample.csv.gz"), example(b, "nyc311")
	sink, err := importing.NewStreamSink(b.Context(), client(b, func(stream grpc.BidiStreamingServer[pb.ImportRecordsRequest, pb.ImportRecordsResponse]) error {
		for {
			r, err := stream.Recv()
			if err != nil {
				return nil
			}
			if err := stream.Send(answered(r)); err != nil {
				return err
			}
		}
	}))
	if err != nil {
		b.Fatal(err)
	}
	defer sink.Close()
	var rows int64
	for b.Loop() {
		report, err := importing.Run(b.Context(), m, []string{file}, sink, importing.Options{})
		if err != nil {
			b.Fatal(err)
		}
		rows += report.Rows
	}
	b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "records/s")
}
