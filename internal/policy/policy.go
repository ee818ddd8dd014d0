// Package policy does what follows from recorded events: one stream decided, another learns of it. It reacts with request ids that are the same at
// every attempt, so any number of processes may run it and none of it happens twice.
package policy

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/rule"
)

// Checkpoint keeps how far the policy has come. Losing it costs a replay, nothing else.
type Checkpoint interface {
	Load(ctx context.Context) (eventstore.Position, error)
	Save(ctx context.Context, p eventstore.Position) error
	// LoadMap and SaveMap keep the name of the map that open tickets follow; empty if none was kept. Losing it costs a look at each of them.
	LoadMap(ctx context.Context) (string, error)
	SaveMap(ctx context.Context, name string) error
}

// Policy reacts to a history.
type Policy struct {
	Dispatcher *dispatch.Dispatcher
	Checkpoint Checkpoint
	// OnTrouble hears of an error before the policy tries again. May be nil.
	OnTrouble func(error)
	// OpenTickets are the names of the tickets that were open at a position, or, at position 0, are open now, and perhaps of others. Their limits are
	// computed again when a calendar year is loaded, and their holders follow the map when that changes; nil leaves both to other
	// processes.
	OpenTickets func(context.Context, eventstore.Position) iter.Seq2[string, error]
}

const (
	saveEvery  = 20_000
	saveAfter  = 5 * time.Second
	retryAfter = time.Second
)

// Run reacts until the context ends, whose error it gives. An error that stands in the way is told and tried again: what comes after it waits.
func (p *Policy) Run(ctx context.Context) error {
	published := make(chan struct{}, 1)
	var following sync.WaitGroup
	if p.OpenTickets != nil {
		following.Go(func() { p.followMap(ctx, published) })
		defer following.Wait()
	}
	for {
		err := p.run(ctx, published)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		p.trouble(err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryAfter):
		}
	}
}

func (p *Policy) trouble(err error) {
	if p.OnTrouble != nil {
		p.OnTrouble(err)
	}
}

func (p *Policy) run(ctx context.Context, published chan<- struct{}) error {
	at, err := p.Checkpoint.Load(ctx)
	if err != nil {
		return fmt.Errorf("read the policy's checkpoint: %w", err)
	}
	// The checkpoint may be another process's, which has heard of what was loaded; this one need not have.
	if err := errors.Join(p.Dispatcher.RefreshRegistry(ctx), p.Dispatcher.RefreshLimits(ctx)); err != nil {
		return fmt.Errorf("read what was loaded: %w", err)
	}
	seen, saved := 0, time.Now()
	for r, err := range p.Dispatcher.Store().Subscribe(ctx, at) {
		if err != nil {
			return errors.Join(err, p.save(ctx, at))
		}
		if p.Dispatcher.Follows(r.Type) {
			e, err := event.Decode(r)
			if err != nil {
				return err
			}
			err = p.react(ctx, &e, published)
			if refusal, ok := errors.AsType[*rule.Refusal](err); ok {
				// It will be refused for ever: it must be heard of, and nothing may wait for it.
				p.trouble(fmt.Errorf("react to %s@%d: %w", r.Stream, r.Version, refusal))
				err = nil
			}
			if err != nil {
				return errors.Join(err, p.save(ctx, at))
			}
		}
		at = r.Position
		if seen++; seen >= saveEvery || time.Since(saved) > saveAfter {
			if err := p.save(ctx, at); err != nil {
				return err
			}
			seen, saved = 0, time.Now()
		}
	}
	return p.save(ctx, at)
}

// react does what follows from one event. A calendar that was loaded is learnt of before limits are computed again by it, and a map before it is
// followed.
func (p *Policy) react(ctx context.Context, e *event.Decoded, published chan<- struct{}) error {
	if err := p.Dispatcher.React(ctx, e); err != nil || p.OpenTickets == nil {
		return err
	}
	switch body := e.Event.(type) {
	case *pb.RegistryVersionPublished:
		select {
		case published <- struct{}{}:
		default: // it is about to look
		}
	case *pb.CalendarYearLoaded:
		return p.Dispatcher.RecomputeOpen(ctx, body.Version, fmt.Sprintf("%s@%d", e.Stream, e.Version), p.OpenTickets(ctx, e.Position))
	}
	return nil
}

// save keeps the checkpoint even when ctx has just ended.
func (p *Policy) save(ctx context.Context, at eventstore.Position) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := p.Checkpoint.Save(ctx, at); err != nil {
		return fmt.Errorf("keep the policy's checkpoint: %w", err)
	}
	return nil
}
