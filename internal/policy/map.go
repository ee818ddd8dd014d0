package policy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chuishao/dispatch/internal/rule"
)

// followMap lets open tickets follow the map whenever that changes: when a version of the reference data takes effect, at once or later
// than it was published, and when an entry of it begins or ends. Which map they follow is kept, so that a change that nobody saw is made up
// for at the start; of several, only the last matters. It ends with the context.
func (p *Policy) followMap(ctx context.Context, published <-chan struct{}) {
	followed := ""
	for {
		now, err := p.moveHolders(ctx, followed)
		if ctx.Err() != nil {
			return
		}
		wait := lookAgain
		if next, ok := p.Dispatcher.NextMapChange(); ok {
			wait = min(wait, next.Sub(p.Dispatcher.Now())+time.Microsecond)
		}
		if err != nil {
			p.trouble(err)
			wait = retryAfter
		} else {
			followed = now
		}
		again := time.NewTimer(max(wait, lookApart))
		select {
		case <-published:
		case <-again.C:
		case <-ctx.Done():
		}
		again.Stop()
	}
}

// moveHolders moves the holders of all open tickets if the map in force is not the one that they followed, and gives the map in force. What is
// decided here meanwhile goes by that map already.
func (p *Policy) moveHolders(ctx context.Context, followed string) (string, error) {
	now := p.Dispatcher.MapInForce()
	if now == followed || now == "" {
		return now, nil
	}
	kept, err := p.Checkpoint.LoadMap(ctx)
	if err != nil {
		return "", fmt.Errorf("read which map the tickets follow: %w", err)
	}
	if now == kept {
		return now, nil
	}
	err = p.Dispatcher.MoveHolders(ctx, p.OpenTickets(ctx, 0))
	if _, ok := errors.AsType[*rule.Refusal](err); ok {
		// As with events: it must be heard of, and nothing may wait for it.
		p.trouble(fmt.Errorf("follow the map %s: %w", now, err))
		err = nil
	}
	if err == nil {
		err = p.Checkpoint.SaveMap(ctx, now)
	}
	if err != nil {
		return "", fmt.Errorf("follow the map %s: %w", now, err)
	}
	return now, nil
}
