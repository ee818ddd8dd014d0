package policy

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/view"
)

// Timers makes happen what is due: it asks the views of timers which instants have passed by the dispatcher's clock, and has the dispatcher
// pass each. What came due while nobody ran is found when somebody does. Any number of processes may run it, each timer fires once.
// It keeps nothing but what need not be asked again. Its methods may be called by many goroutines; the fields are not changed meanwhile.
type Timers struct {
	Dispatcher *dispatch.Dispatcher
	Views      *view.Reader
	// Projector runs the views of timers, and must do so for anything to happen.
	Projector projector.Progress
	// OnTrouble hears of an error before it is tried again, and of a timer that was refused. May be nil.
	OnTrouble func(error)
	// OnFired hears the name of each timer that fired here, from several goroutines. May be nil.
	OnFired func(timer string)
	// OnRefused hears the name of each timer that was refused, from several goroutines. May be nil.
	OnRefused func(timer string)
	// OnLook hears, at each look, for how long the oldest timer that is due has waited; 0 if none is. May be nil.
	OnLook func(lag time.Duration)

	mu   sync.Mutex
	held [2]map[timerKey]eventstore.Version // of each source; guarded by mu
}

// timerKey is a timer of something at one instant.
type timerKey struct {
	of   string // "tickets/{ticket}"
	name string
	unit string
	by   int64 // Unix microseconds
}

const (
	// ticketsAtOnce is how many tickets' timers are taken up at a look, and how many others', firedAtOnce how many are under way at a time: the store
	// makes one commit of those.
	ticketsAtOnce = 256
	firedAtOnce   = 32
	// lookApart is the least time between two looks, lookAgain the longest: the dispatcher's clock need not go as this machine's does.
	lookApart = 50 * time.Millisecond
	lookAgain = time.Second
	// mostHeld is how many timers that were answered and are due still are kept in mind. Beyond them the oldest that are due are asked for again at
	// every look, and those after them wait.
	mostHeld = 100_000
)

// Run fires what is due, and what comes to be, until the context ends, whose error it gives. It begins once the view has seen all that is recorded
// as it is called: in a view that is being built there is due what fired long ago.
func (t *Timers) Run(ctx context.Context) error {
	for {
		err := t.see(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		t.trouble(err)
		select {
		case <-time.After(retryAfter):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	apart := time.NewTicker(lookApart)
	defer apart.Stop()
	for {
		moved, err := t.Projector.Watch(view.TicketsView)
		if err != nil {
			return err
		}
		others, err := t.Projector.Watch(view.DuesView)
		if err != nil {
			return err
		}
		answered, _, err := t.look(ctx)
		wait := lookAgain
		if err == nil && answered == 0 {
			wait, err = t.until(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			t.trouble(err)
			moved, others, wait = nil, nil, retryAfter
		case answered > 0:
			continue // there may be more
		}
		select {
		case <-apart.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		again := time.NewTimer(wait)
		select {
		case <-moved:
		case <-others:
		case <-again.C:
		case <-ctx.Done():
		}
		again.Stop()
	}
}

// until is how long nothing more comes due, as far as is known.
func (t *Timers) until(ctx context.Context) (time.Duration, error) {
	now := t.Dispatcher.Now()
	wait := lookAgain
	for _, of := range t.sources() {
		next, err := of.next(ctx, now)
		if err != nil {
			return lookAgain, err
		}
		if !next.IsZero() {
			wait = min(wait, calendar.Late(next).Sub(now))
		}
	}
	return wait, nil
}

// FireDue fires everything that is due by the dispatcher's clock as it stands, what follows from it included, and says how many fired here. Of
// processes whose clocks show the same microsecond each may take the one event that both would record for its own. It first waits until the
// view has seen all that is recorded. For a clock that is driven: an instant has passed when the clock shows a later second.
func (t *Timers) FireDue(ctx context.Context) (int, error) {
	if err := t.see(ctx); err != nil {
		return 0, err
	}
	all := 0
	for {
		answered, fired, err := t.look(ctx)
		all += fired
		if err != nil || answered == 0 {
			return all, err
		}
	}
}

// see waits until the views have seen all that is recorded now.
func (t *Timers) see(ctx context.Context) error {
	return Open{t.Dispatcher.Store(), t.Views, t.Projector}.see(ctx, 0, view.DuesView)
}

// look takes up what is due and was not answered yet, and waits until the views have seen what came of it. answered are those that need not be asked
// for again, fired those of them that fired now and here.
func (t *Timers) look(ctx context.Context) (answered, fired int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.Dispatcher.Now()
	sources := t.sources()
	var due [len(sources)][][]timer
	lag := time.Duration(0)
	for i, of := range sources {
		// What is held may stand before what is not.
		limit := ticketsAtOnce + len(t.held[i])
		list, err := of.due(ctx, now, limit)
		if err != nil {
			return 0, 0, fmt.Errorf("look for timers that are due: %w", err)
		}
		due[i], t.held[i] = fresh(list, t.held[i], limit)
		for _, timers := range due[i] {
			lag = max(lag, now.Sub(timers[0].by))
		}
	}
	if t.OnLook != nil {
		t.OnLook(lag)
	}
	for i, of := range sources {
		if len(due[i]) == 0 {
			continue
		}
		n, here, last, failed := t.fire(ctx, of, due[i], t.held[i])
		answered, fired, err = answered+n, fired+here, errors.Join(err, failed)
		if waiting := t.Projector.WaitFor(ctx, last, view.TicketsView, view.DuesView); waiting != nil {
			err = errors.Join(err, fmt.Errorf("wait for the views of timers: %w", waiting))
		}
	}
	return answered, fired, err
}

// fresh are the timers of each thing that are not held, and what is held still: what is no more due is not.
func fresh(list []timer, was map[timerKey]eventstore.Version, limit int) (due [][]timer, held map[timerKey]eventstore.Version) {
	held = make(map[timerKey]eventstore.Version, len(was))
	n, last := 0, int64(0) // things in the list, and the first instant of the last
	for i, d := range list {
		first := i == 0 || list[i-1].of != d.of
		if first {
			n, last = n+1, d.by.UnixMicro()
		}
		key := d.key()
		if version, ok := was[key]; ok && d.version <= version {
			held[key] = version
			continue
		}
		if k := len(due); k > 0 && due[k-1][0].of == d.of {
			due[k-1] = append(due[k-1], d)
		} else {
			due = append(due, []timer{d})
		}
	}
	if n >= limit { // the list may go on: what could stand there is not known to be gone
		for key, version := range was {
			if _, ok := held[key]; !ok && key.by >= last {
				held[key] = version
			}
		}
	}
	return due, held
}

// fire passes the timers, those of one thing one after the other. What was answered is held: nothing comes of asking again before the thing has moved. What
// was not answered is due again at the next look. answered are those that are held now and were not.
func (t *Timers) fire(ctx context.Context, of source, due [][]timer, held map[timerKey]eventstore.Version) (answered, fired int, last eventstore.Position, err error) {
	var mu sync.Mutex
	var group errgroup.Group
	group.SetLimit(firedAtOnce)
	for _, timers := range due {
		group.Go(func() error {
			for _, d := range timers {
				result, runs, err := of.pass(ctx, d)
				refusal, refused := errors.AsType[*rule.Refusal](err)
				switch {
				case refused:
					t.trouble(fmt.Errorf("pass timer %s of %s: %w", d.name, d.of, refusal))
				case err != nil:
					return fmt.Errorf("pass timer %s of %s: %w", d.name, d.of, err)
				}
				firedHere := !refused && !result.Repeated
				mu.Lock()
				// What runs still, since the clock was set back meanwhile, is asked for again.
				if !runs && hold(held, d.key(), max(result.Version, d.version)) {
					answered++
				}
				last = max(last, result.Position)
				if firedHere {
					fired++
				}
				mu.Unlock()
				switch {
				case firedHere && t.OnFired != nil:
					t.OnFired(d.name)
				case refused && t.OnRefused != nil:
					t.OnRefused(d.name)
				}
			}
			return nil
		})
	}
	err = group.Wait()
	return answered, fired, last, err
}

// hold keeps that a timer was answered as of a version, and says whether there was room.
func hold(held map[timerKey]eventstore.Version, key timerKey, version eventstore.Version) bool {
	if _, there := held[key]; !there && len(held) >= mostHeld {
		return false
	}
	held[key] = version
	return true
}

func (t *Timers) trouble(err error) {
	if t.OnTrouble != nil {
		t.OnTrouble(err)
	}
}
