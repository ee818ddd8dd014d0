package projector

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/chuishao/dispatch/internal/eventstore"
)

// Progress is how far views have come, whoever brings them there: a Projector, or a Group.
type Progress interface {
	// WaitFor waits until the views have seen the position; no view means all of them. It ends with the context, or with a
	// *StoppedError if a view will not get there.
	WaitFor(ctx context.Context, position eventstore.Position, views ...string) error
	// Watch gives a channel that is closed when the view next moves or stops. Take it before looking at the view.
	Watch(view string) (<-chan struct{}, error)
	// Status says how far each view is.
	Status() []Status
}

// Group is projectors of several databases, told of as one. A view may run in several of them, each with a part of its rows: it has come as far as the part that is
// farthest behind. It is safe for concurrent use as a Projector is.
type Group struct {
	all []*Projector

	mu    sync.Mutex
	moved map[string]chan struct{} // closed at a view's next move; guarded by mu
}

// NewGroup makes a group of projectors that do not run yet and are in no other.
func NewGroup(all ...*Projector) *Group {
	g := &Group{all: all, moved: map[string]chan struct{}{}}
	for _, p := range all {
		p.told = g.tell
	}
	return g
}

func (g *Group) tell(view string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if signal := g.moved[view]; signal != nil {
		close(signal)
		delete(g.moved, view)
	}
}

// Run keeps the views up with the history until the context ends, whose error it returns.
func (g *Group) Run(ctx context.Context) error {
	return g.together(func(p *Projector) error { return p.Run(ctx) })
}

// Follow learns how far others have brought the views until the context ends, whose error it returns.
func (g *Group) Follow(ctx context.Context, every time.Duration) error {
	return g.together(func(p *Projector) error { return p.Follow(ctx, every) })
}

// CatchUp brings the views up to the present end of the history. A view that stops is a *StoppedError; the others go on first.
func (g *Group) CatchUp(ctx context.Context) error {
	return g.together(func(p *Projector) error { return p.CatchUp(ctx) })
}

func (g *Group) together(do func(p *Projector) error) error {
	errs := make([]error, len(g.all))
	var running sync.WaitGroup
	for i, p := range g.all {
		running.Go(func() { errs[i] = do(p) })
	}
	running.Wait()
	return errors.Join(errs...)
}

// WaitFor implements Progress.
func (g *Group) WaitFor(ctx context.Context, position eventstore.Position, views ...string) error {
	for _, name := range views {
		if !g.has(name) {
			return fmt.Errorf("no view %s runs here", name)
		}
	}
	for _, p := range g.all {
		for _, v := range p.views {
			if len(views) > 0 && !slices.Contains(views, v.Name) {
				continue
			}
			if err := p.WaitFor(ctx, position, v.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// Watch implements Progress.
func (g *Group) Watch(view string) (<-chan struct{}, error) {
	if !g.has(view) {
		return nil, fmt.Errorf("no view %s runs here", view)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.moved[view] == nil {
		g.moved[view] = make(chan struct{})
	}
	return g.moved[view], nil
}

func (g *Group) has(view string) bool {
	return slices.ContainsFunc(g.all, func(p *Projector) bool {
		return slices.ContainsFunc(p.views, func(v *running) bool { return v.Name == view })
	})
}

// Status implements Progress. Of a view that runs in several it gives the least position, the longest lag and the first reason to stop; it
// has caught up once all parts have.
func (g *Group) Status() []Status {
	var all []Status
	for _, p := range g.all {
		for _, s := range p.Status() {
			i := slices.IndexFunc(all, func(of Status) bool { return of.View == s.View })
			if i < 0 {
				all = append(all, s)
				continue
			}
			of := &all[i]
			of.Position, of.Lag, of.CaughtUp = min(of.Position, s.Position), max(of.Lag, s.Lag), of.CaughtUp && s.CaughtUp
			if of.Stopped == nil {
				of.Stopped = s.Stopped
			}
		}
	}
	return all
}
