package rpc

import (
	"context"
	"time"

	"github.com/chuishao/dispatch/internal/rule"
)

const (
	// pushApart is the least time between two messages of a watch.
	pushApart = 100 * time.Millisecond
	// lookAgain is how often a watch looks although nothing was recorded: limits pass by themselves.
	lookAgain = time.Second
)

// watch looks now, and again whenever a view has moved on or lookAgain is over, until the look fails, or the call or this server ends: it always
// returns an error.
func (s viewService) watch(ctx context.Context, view string, look func(now time.Time) error) error {
	apart := time.NewTicker(pushApart)
	defer apart.Stop()
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	stopping := &rule.Refusal{Reason: ServerStopping, Message: "this server is about to stop: call again"}
	for {
		moved, err := s.projector.Watch(view) // before the look, so that nothing is missed between the two
		if err != nil {
			return err
		}
		if err := look(s.dispatcher.Now()); err != nil {
			return err
		}
		select {
		case <-apart.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.stopping:
			return stopping
		}
		select {
		case <-moved:
		case <-again.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.stopping:
			return stopping
		}
	}
}
