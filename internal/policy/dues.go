package policy

import (
	"context"
	"time"

	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/view"
)

// timer is something that is due.
type timer struct {
	of      string // "tickets/{ticket}"
	name    string // of the timer
	unit    string // the participant, for a timer of one
	by      time.Time
	version eventstore.Version // as of which it is known to run
	ticket  view.DueTimer      // what it is, of a ticket
	other   rule.Timer         // what it is, of anything else
}

func (d *timer) key() timerKey { return timerKey{d.of, d.name, d.unit, d.by.UnixMicro()} }

// source is where timers of a kind are found, and how they are passed.
type source struct {
	due  func(ctx context.Context, now time.Time, limit int) ([]timer, error)
	next func(ctx context.Context, now time.Time) (time.Time, error)
	pass func(ctx context.Context, d timer) (result dispatch.Result, runs bool, err error)
}

// sources are the timers of tickets, and those of whistles, admissions and listings.
func (t *Timers) sources() [2]source {
	return [2]source{
		{
			due: func(ctx context.Context, now time.Time, limit int) (all []timer, err error) {
				list, _, err := t.Views.Due(ctx, now, limit)
				for _, d := range list {
					all = append(all, timer{of: d.Ticket, name: dispatch.TimerName(d.Timer), by: d.By, version: d.Version, ticket: d})
				}
				return all, err
			},
			next: t.Views.NextDue,
			pass: func(ctx context.Context, d timer) (dispatch.Result, bool, error) {
				return t.Dispatcher.PassTimer(ctx, d.of, d.ticket.Timer, d.by, d.version)
			},
		},
		{
			due: func(ctx context.Context, now time.Time, limit int) (all []timer, err error) {
				list, err := t.Views.DueOthers(ctx, now, limit)
				for _, d := range list {
					all = append(all, timer{of: d.Name, name: dispatch.DueName(d.Name, d.Which), unit: d.Unit, by: d.By, version: d.Version, other: d.Timer})
				}
				return all, err
			},
			next: t.Views.NextDueOther,
			pass: func(ctx context.Context, d timer) (dispatch.Result, bool, error) {
				return t.Dispatcher.PassDue(ctx, d.of, d.other, d.version)
			},
		},
	}
}
