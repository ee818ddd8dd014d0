package importing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// window is how many records may be on one stream without an answer.
const window = 1024

// StreamSink imports over one stream of a node's ImportService. It may be used by many callers at once. Once the stream is
// broken every call fails; whether records without an answer were imported is then unknown, and importing them again is safe.
type StreamSink struct {
	stream grpc.BidiStreamingClient[pb.ImportRecordsRequest, pb.ImportRecordsResponse]
	cancel context.CancelFunc
	slots  chan struct{}
	ended  chan struct{} // closed when no more answers come

	sending sync.Mutex
	last    uint64 // the sequence of the message sent last; under sending

	mu      sync.Mutex
	waiting map[uint64]chan *pb.ImportRecordsResponse
	broken  error
}

// NewStreamSink opens a stream, which lives no longer than ctx. The caller closes the sink.
func NewStreamSink(ctx context.Context, client pb.ImportServiceClient) (*StreamSink, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := client.ImportRecords(ctx)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("open import stream: %w", err)
	}
	s := &StreamSink{
		stream: stream, cancel: cancel,
		slots: make(chan struct{}, window), ended: make(chan struct{}),
		waiting: map[uint64]chan *pb.ImportRecordsResponse{},
	}
	go s.receive()
	return s, nil
}

var errClosed = errors.New("import stream: closed")

// Import sends a record and waits for its answer. A failure whose reason is one of the rules' is a *rule.Refusal.
func (s *StreamSink) Import(ctx context.Context, record *pb.ImportRecordRequest) (*pb.ImportAnswer, error) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-s.ended:
		return nil, s.why()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	sequence, answer, err := s.send(record)
	if err != nil {
		return nil, err
	}
	select {
	case got := <-answer:
		return outcome(got)
	case <-s.ended:
		// The answer may have been the last that came.
		select {
		case got := <-answer:
			return outcome(got)
		default:
			return nil, s.why()
		}
	case <-ctx.Done():
		s.mu.Lock()
		delete(s.waiting, sequence)
		s.mu.Unlock()
		return nil, ctx.Err()
	}
}

func (s *StreamSink) send(record *pb.ImportRecordRequest) (uint64, <-chan *pb.ImportRecordsResponse, error) {
	answer := make(chan *pb.ImportRecordsResponse, 1)
	s.sending.Lock()
	defer s.sending.Unlock()
	s.last++
	// First, since the answer may come before Send returns.
	s.mu.Lock()
	broken := s.broken
	if broken == nil {
		s.waiting[s.last] = answer
	}
	s.mu.Unlock()
	if broken != nil {
		return 0, nil, broken
	}
	switch err := s.stream.Send(&pb.ImportRecordsRequest{Sequence: s.last, Record: record}); {
	case errors.Is(err, io.EOF):
		// Send says only that the stream ended. Why, the receiving side is told.
		<-s.ended
		return 0, nil, s.why()
	case err != nil:
		s.cancel()
		return 0, nil, fmt.Errorf("import stream: send: %w", err)
	}
	return s.last, answer, nil
}

// receive gives each answer to who waits for it, until the stream ends.
func (s *StreamSink) receive() {
	defer close(s.ended)
	for {
		got, err := s.stream.Recv()
		s.mu.Lock()
		if err != nil {
			if s.broken == nil {
				s.broken = fmt.Errorf("import stream: %w", err)
				if errors.Is(err, io.EOF) {
					s.broken = errors.New("import stream: ended by the server")
				}
			}
			s.mu.Unlock()
			return
		}
		answer := s.waiting[got.Sequence]
		delete(s.waiting, got.Sequence)
		s.mu.Unlock()
		if answer != nil {
			answer <- got
		}
	}
}

func (s *StreamSink) why() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken
}

// closing is how long a server may take to end a stream on which nothing is left to do.
const closing = 5 * time.Second

// Close ends the stream and waits until it has ended. Calls that still wait for an answer fail.
func (s *StreamSink) Close() error {
	s.mu.Lock()
	if s.broken == nil {
		s.broken = errClosed
	}
	idle := len(s.waiting) == 0
	s.mu.Unlock()
	var err error
	if idle {
		s.sending.Lock()
		err = s.stream.CloseSend()
		s.sending.Unlock()
		select {
		case <-s.ended:
		case <-time.After(closing):
		}
	}
	s.cancel()
	<-s.ended
	return err
}

func outcome(got *pb.ImportRecordsResponse) (*pb.ImportAnswer, error) {
	switch o := got.Outcome.(type) {
	case *pb.ImportRecordsResponse_Answer:
		return o.Answer, nil
	case *pb.ImportRecordsResponse_Failure:
		f := o.Failure
		if slices.Contains(rule.Reasons, rule.Reason(f.Reason)) {
			return nil, &rule.Refusal{Reason: rule.Reason(f.Reason), Field: f.Field, Message: f.Message}
		}
		return nil, fmt.Errorf("import: %s %s: %s", codes.Code(f.Code), f.Reason, f.Message)
	}
	return nil, errors.New("import: an answer without an outcome")
}
