package rpc

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// pipe is a stream whose other end is in the test's hands.
type pipe struct {
	ctx context.Context
	in  chan uint64
	out chan uint64
}

func (p pipe) Context() context.Context { return p.ctx }

func (p pipe) RecvMsg(m any) error {
	select {
	case n, ok := <-p.in:
		if !ok {
			return io.EOF
		}
		m.(*pb.IntakeTicketsRequest).Sequence = n
		return nil
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
}

func (p pipe) Send(m *pb.IntakeTicketsResponse) error {
	select {
	case p.out <- m.Sequence:
		return nil
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
}

func noKey(*pb.IntakeTicketsRequest) string { return "" }

func own(in *pb.IntakeTicketsRequest) string { return string(rune(in.Sequence)) }

func TestABulkStreamReadsNoFasterThanItsAnswersAreTaken(t *testing.T) {
	t.Parallel()
	for _, inOrder := range []bool{true, false} {
		p := pipe{t.Context(), make(chan uint64), make(chan uint64)}
		ended := make(chan error, 1)
		go func() {
			ended <- bulk(p, inOrder, own, func(_ context.Context, in *pb.IntakeTicketsRequest, _ error) *pb.IntakeTicketsResponse {
				return &pb.IntakeTicketsResponse{Sequence: in.Sequence}
			})
		}()
		// As many as are under way at a time are taken; the next waits for an answer to be.
		for n := range uint64(window) {
			p.in <- n
		}
		select {
		case p.in <- window:
			t.Error("a message more than the window was read")
		case n := <-p.out:
			if inOrder && n != 0 {
				t.Errorf("the first answer is for message %d", n)
			}
		}
		p.in <- window
		close(p.in)
		for range window {
			<-p.out
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func TestABulkStreamThatIsCutOffWaitsForWhatItStarted(t *testing.T) {
	t.Parallel()
	for _, inOrder := range []bool{true, false} {
		ctx, cancel := context.WithCancel(t.Context())
		p := pipe{ctx, make(chan uint64), make(chan uint64)}
		var working atomic.Int32
		started := make(chan bool, window)
		ended := make(chan error, 1)
		go func() {
			ended <- bulk(p, inOrder, own, func(ctx context.Context, in *pb.IntakeTicketsRequest, _ error) *pb.IntakeTicketsResponse {
				working.Add(1)
				defer working.Add(-1)
				started <- true
				<-ctx.Done()
				return &pb.IntakeTicketsResponse{}
			})
		}()
		for n := range uint64(10) {
			p.in <- n
			<-started
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v; want %v", err, context.Canceled)
		}
		if n := working.Load(); n != 0 {
			t.Errorf("%d messages are still worked on", n)
		}
	}
}

func TestMessagesOfOneMatterAreCarriedOutOneAfterTheOther(t *testing.T) {
	t.Parallel()
	p := pipe{t.Context(), make(chan uint64), make(chan uint64, 100)}
	var next atomic.Uint64
	ended := make(chan error, 1)
	go func() {
		ended <- bulk(p, false, noKey, func(_ context.Context, in *pb.IntakeTicketsRequest, _ error) *pb.IntakeTicketsResponse {
			if !next.CompareAndSwap(in.Sequence, in.Sequence+1) {
				t.Errorf("message %d was carried out out of turn", in.Sequence)
			}
			return &pb.IntakeTicketsResponse{Sequence: in.Sequence}
		})
	}()
	for n := range uint64(100) {
		p.in <- n
	}
	close(p.in)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
