package dispatch

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/limits"
	"github.com/chuishao/dispatch/internal/rule"
)

// limitsStream is calendars and profiles, kept folded.
type limitsStream struct {
	*streams[limits.State]
	refreshing sync.Mutex
	inForce    atomic.Pointer[limitsInForce]
}

// limitsInForce is what decisions go by. It never changes.
type limitsInForce struct {
	state          limits.State
	calendar       *calendar.Calendar
	profile        calendar.Profile
	profileVersion string // as events name it
}

// Calendar is the calendar in force now, as far as this dispatcher has learnt.
func (d *Dispatcher) Calendar() *calendar.Calendar { return d.limits.inForce.Load().calendar }

// CalendarAt is the calendar that was in force at a position of the history.
func (d *Dispatcher) CalendarAt(ctx context.Context, position eventstore.Position) (*calendar.Calendar, error) {
	s := d.limits.empty.state
	for r, err := range d.store.ReadStream(ctx, limits.Stream, 0) {
		if err != nil {
			return nil, fmt.Errorf("calendar at %d: %w", position, err)
		}
		if r.Position > position {
			break
		}
		e, err := event.Decode(r)
		if err != nil {
			return nil, fmt.Errorf("calendar at %d: %w", position, err)
		}
		if s, err = limits.Evolve(s, e.Meta, e.Event); err != nil {
			return nil, fmt.Errorf("calendar at %d: %w", position, err)
		}
	}
	return s.Calendar(), nil
}

// Profile is the deadline profile in force now, as far as this dispatcher has learnt.
func (d *Dispatcher) Profile() calendar.Profile { return d.limits.inForce.Load().profile }

// RefreshLimits reads calendars and profiles that others loaded since.
func (d *Dispatcher) RefreshLimits(ctx context.Context) error {
	d.limits.refreshing.Lock()
	defer d.limits.refreshing.Unlock()
	f, err := d.limits.latest(ctx, d.store, limits.Stream)
	if err != nil {
		return err
	}
	s := f.state
	d.limits.inForce.Store(&limitsInForce{s, s.Calendar(), s.Profile(), s.Profile().String()})
	return nil
}

// LoadCalendarYear puts the holidays of a year in place of the former ones, for what is decided from now on. The same days again change nothing.
// Limits that run are computed again by policy: see RecomputeOpen.
func (d *Dispatcher) LoadCalendarYear(ctx context.Context, actor rule.Actor, c *pb.LoadCalendarYearRequest) (*calendar.Calendar, Result, error) {
	_, result, err := do(ctx, d, d.limits.streams, limits.Stream, Request{Actor: actor, Command: c}, nil)
	if err == nil {
		err = d.RefreshLimits(ctx)
	}
	return d.Calendar(), result, err
}

// LoadProfile puts a deadline profile in force for what is decided from now on. Limits that run stay what they are.
func (d *Dispatcher) LoadProfile(ctx context.Context, actor rule.Actor, c *pb.LoadProfileRequest) (calendar.Profile, Result, error) {
	_, result, err := do(ctx, d, d.limits.streams, limits.Stream, Request{Actor: actor, Command: c}, nil)
	if err == nil {
		err = d.RefreshLimits(ctx)
	}
	return d.Profile(), result, err
}

// RecomputeOpen has the limits of tickets computed again, after the event causedBy ("<stream>@<version>") loaded the calendar version. Tickets that
// are not open, or whose limits do not change, are left. The request ids are the same at every attempt. A ticket that refuses does not
// keep the others waiting; its refusal is told at the end.
func (d *Dispatcher) RecomputeOpen(ctx context.Context, version, causedBy string, names iter.Seq2[string, error]) error {
	var refused []error
	for name, err := range names {
		if err != nil {
			return fmt.Errorf("open tickets for calendar %s: %w", version, err)
		}
		stream, err := Stream(name, "tickets")
		if err != nil {
			return err
		}
		_, _, err = do(ctx, d, d.tickets, stream, Request{
			Actor: policyActor, CausedBy: causedBy,
			Command: &pb.RecomputeLimitsRequest{Name: name, RequestId: "recompute/" + version + "/" + ID(stream)},
		}, nil)
		if refusal, ok := errors.AsType[*rule.Refusal](err); ok {
			refused = append(refused, fmt.Errorf("limits of %s: %w", name, refusal))
			continue
		}
		if err != nil {
			return fmt.Errorf("limits of %s: %w", name, err)
		}
	}
	return errors.Join(refused...)
}
