package rpc

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/chuishao/dispatch/internal/rule"
)

// window is how many messages of one bulk stream are under way at a time. A caller that sends faster, or does not read its
// answers, is not read from: gRPC's own flow control then holds it back.
const window = 256

// bulkStream is a stream with an answer a message.
type bulkStream[Out any] interface {
	Context() context.Context
	RecvMsg(m any) error
	Send(*Out) error
}

// bulk carries out the messages of a stream, up to window of them at a time, and sends an answer for each: in the order of the
// messages if inOrder, else as they come about. Messages with the same key are carried out one after the other. do answers one
// message; wrong is what its shape was refused for, if it was.
//
// It returns nil at the caller's end of the stream, else why it could not go on, and not before everything it started has ended.
func bulk[In, Out any](stream bulkStream[Out], inOrder bool, key func(*In) string, do func(ctx context.Context, in *In, wrong error) *Out) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()

	// A message under way holds a slot until its answer is sent, so neither channel of answers ever fills up.
	slots := make(chan bool, window)
	ready := make(chan *Out, window)      // answers, where order does not matter
	queue := make(chan chan *Out, window) // where each message's answer will be, in their order
	sent := make(chan error, 1)

	var failed error
	send := func(out *Out) {
		if failed == nil {
			if failed = stream.Send(out); failed != nil {
				cancel()
			}
		}
		<-slots
	}
	go func() {
		if inOrder {
			for place := range queue {
				send(<-place)
			}
		} else {
			for out := range ready {
				send(out)
			}
		}
		sent <- failed
	}()

	// Those who have done one message do the next: a stack that has grown to hold a command is worth keeping.
	var working sync.WaitGroup
	work := make(chan func())
	begin := func(first func()) {
		select {
		case work <- first:
		default:
			working.Go(func() {
				for do := first; do != nil; do = <-work {
					do()
				}
			})
		}
	}
	var turns turns
	received := func() error {
		for {
			select {
			case slots <- true:
			case <-ctx.Done():
				return ctx.Err()
			}
			in := new(In)
			err := stream.RecvMsg(in)
			var wrong error
			if refusal, ok := err.(*rule.Refusal); ok {
				wrong, err = refusal, nil
			}
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			place := ready
			if inOrder {
				place = make(chan *Out, 1)
				queue <- place
			}
			before, done := turns.take(key(in))
			begin(func() {
				defer done()
				if before != nil {
					<-before
				}
				place <- do(ctx, in, wrong)
			})
		}
	}()
	if received != nil {
		cancel()
	}
	close(work)
	working.Wait()
	close(ready)
	close(queue)
	if err := <-sent; err != nil {
		return err
	}
	return received
}

// turns lets what has the same key happen one after the other. The zero value is ready for use.
type turns struct {
	mu   sync.Mutex
	last map[string]chan struct{}
}

// take queues for a key. before is closed when it is one's turn, and nil if that is at once; done ends one's turn.
func (t *turns) take(key string) (before <-chan struct{}, done func()) {
	mine := make(chan struct{})
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last == nil {
		t.last = map[string]chan struct{}{}
	}
	if last, ok := t.last[key]; ok {
		before = last
	}
	t.last[key] = mine
	return before, func() {
		close(mine)
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.last[key] == mine {
			delete(t.last, key)
		}
	}
}
