package rpc

import (
	"context"
	"errors"
	"time"

	"github.com/chuishao/dispatch/internal/rule"
)

const (
	// longestWait is how long a query waits for what it wants to see if its call has no deadline.
	longestWait = 10 * time.Second
	// toAnswer is what of a call's time is kept for its answer, where there is as much.
	toAnswer = 100 * time.Millisecond
)

// waiting is the part of a call's time in which it may wait.
func waiting(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := longestWait
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		limit = left - min(left/10, toAnswer)
	}
	return context.WithTimeout(ctx, limit)
}

// reached waits until the history has come as far as a query wants to see. That of this node may be behind the one that gave the token.
func (i *interceptor) reached(ctx context.Context, m any) error {
	q, ok := m.(interface{ GetMinConsistencyToken() string })
	if !ok || q.GetMinConsistencyToken() == "" || i.store == nil {
		return nil
	}
	position, err := ParseToken("min_consistency_token", q.GetMinConsistencyToken())
	if err != nil || position == 0 {
		return err
	}
	within, cancel := waiting(ctx)
	defer cancel()
	for _, err = range i.store.Subscribe(within, position-1) {
		break
	}
	if err != nil && errors.Is(within.Err(), context.DeadlineExceeded) {
		// Of the wait, or of the call itself where this process was held up: nothing was asked for that could have had an outcome.
		return &rule.Refusal{Reason: ViewBehind, Field: "min_consistency_token", Message: "the history has not come that far within the call's time"}
	}
	return err
}
