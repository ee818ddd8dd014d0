package view

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/ticket"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// TimersView is the name of the view of timers.
const TimersView = "timers_1"

// Timers is the view of what must happen to tickets by a certain instant. What runs is ticket.State.Timers of what is kept of
// the ticket, which the same events were folded into: there is one definition of it.
func Timers() projector.View {
	return projector.View{
		Name: TimersView,
		Schema: []string{
			// A row a ticket. due and timer are the earliest of its timers, NULL where none runs; kept is what they all follow from. ticket
			// is the position of its first event.
			`CREATE TABLE timers_1 (
	ticket INTEGER PRIMARY KEY,
	id     TEXT NOT NULL UNIQUE,
	due    BIGINT,
	timer  BIGINT,
	kept   BLOB NOT NULL
)`,
		},
		Indexes: []string{
			`CREATE INDEX timers_1_due ON timers_1 (due, ticket) WHERE due IS NOT NULL`,
		},
		Apply: func(ctx context.Context, tx *viewdb.Tx, batch []event.Decoded) error {
			return applyAll(newTimerFolding(), tx, batch)
		},
		Folding: func() projector.Folding { return newTimerFolding() },
	}
}

// timerRow is a ticket whose timers are followed.
type timerRow struct {
	ticket int64
	id     string
	state  ticket.State

	isNew  bool
	wasDue int64 // ever where none ran
}

// timerFolding folds events into rows of timers_1.
type timerFolding struct {
	rows hot[*timerRow]
	buf  []byte
}

func newTimerFolding() *timerFolding { return &timerFolding{rows: newHot[*timerRow]()} }

func (f *timerFolding) Add(tx *viewdb.Tx, d *event.Decoded) error {
	kind, id := kind(d)
	switch kind {
	case "ticket":
	default:
		return others(d, kind)
	}
	r, err := f.rows.of(id, d, func() (*timerRow, error) { return loadTimers(tx, id, d) })
	if err != nil {
		return err
	}
	// Every event of a ticket has its case there, and one that is none is an error.
	r.state, err = ticket.Evolve(r.state, d.Meta, d.Event)
	return err
}

// idle says whether nothing is expected of the ticket soon.
func (r *timerRow) idle() bool { return !isOpen(r.state.State) }

func (f *timerFolding) Write(tx *viewdb.Tx, keep int) error {
	list := f.rows.drop(keep, (*timerRow).idle)
	slices.SortFunc(list, func(a, b *timerRow) int { return cmp.Compare(a.ticket, b.ticket) })
	for _, r := range list {
		f.buf = r.state.AppendKept(f.buf[:0])
		if err := r.save(tx, f.buf); err != nil {
			return err
		}
	}
	return nil
}

func loadTimers(tx *viewdb.Tx, id string, d *event.Decoded) (*timerRow, error) {
	if d.Version == 1 {
		return &timerRow{isNew: true, ticket: int64(d.Position), id: id}, nil
	}
	for row, err := range tx.Query("SELECT ticket, due, kept FROM timers_1 WHERE id = $1", id) {
		if err != nil {
			return nil, err
		}
		r := &timerRow{ticket: row.Int64(0), id: id, wasDue: ever}
		if !row.Null(1) {
			r.wasDue = row.Int64(1)
		}
		r.state, err = ticket.ReadKept(row.Bytes(2, nil))
		return r, err
	}
	return nil, orphan(d)
}

func (r *timerRow) save(tx *viewdb.Tx, kept []byte) error {
	var due, timer any
	by := ever
	if t, ok := firstTimer(&r.state); ok {
		by = t.By.UnixMicro()
		due, timer = by, int64(t.Which)
	}
	var err error
	switch {
	case r.isNew:
		_, err = tx.Exec("INSERT INTO timers_1 (ticket, id, due, timer, kept) VALUES ($1, $2, $3, $4, $5)", r.ticket, r.id, due, timer, kept)
	case by != r.wasDue:
		_, err = tx.Exec("UPDATE timers_1 SET due = $1, timer = $2, kept = $3 WHERE ticket = $4", due, timer, kept, r.ticket)
	default:
		_, err = tx.Exec("UPDATE timers_1 SET timer = $1, kept = $2 WHERE ticket = $3", timer, kept, r.ticket)
	}
	return err
}

// firstTimer is the earliest of the timers that run; ok is false where none does.
func firstTimer(s *ticket.State) (first ticket.Timer, ok bool) {
	if run := s.Timers(); len(run) > 0 {
		return run[0], true
	}
	return first, false
}

// DueTimer is a timer of a ticket that has come.
type DueTimer struct {
	Ticket string // "tickets/{ticket}"
	Timer  pb.TicketTimer
	By     time.Time // the instant that has passed
	// Version is how many of the ticket's events the view had seen.
	Version eventstore.Version
}

// Due gives the timers whose instant has passed at now, which is once the second it lies in is over, of at most so many tickets: those first that have
// waited longest; of a ticket all, in the order of their instants. at is the position that the view stands at. An index finds them: what it
// costs does not depend on how many run.
func (r *Reader) Due(ctx context.Context, now time.Time, tickets int) (list []DueTimer, at eventstore.Position, err error) {
	from := now.Truncate(time.Second) // what lies in this second is in time still
	err = r.db.Read(ctx, func(tx *viewdb.Tx) error {
		if at, err = projector.Position(tx, TimersView); err != nil {
			return err
		}
		for row, err := range tx.Query("SELECT id, kept FROM timers_1 WHERE due < $1 ORDER BY due, ticket LIMIT $2", from.UnixMicro(), tickets) {
			if err != nil {
				return err
			}
			s, err := ticket.ReadKept(row.Bytes(1, nil))
			if err != nil {
				return fmt.Errorf("timers of ticket %s: %w", row.Text(0), err)
			}
			name := "tickets/" + row.Text(0)
			for _, t := range s.Timers() {
				if t.By.Before(from) {
					list = append(list, DueTimer{name, t.Which, t.By, eventstore.Version(s.Events)})
				}
			}
		}
		return nil
	})
	return list, at, err
}

// NextDue is the earliest instant, of those that Due does not count as passed at now, by which something must happen to a ticket to which nothing
// should have happened before; the zero time if there is none.
func (r *Reader) NextDue(ctx context.Context, now time.Time) (next time.Time, err error) {
	err = r.db.Read(ctx, func(tx *viewdb.Tx) error {
		for row, err := range tx.Query("SELECT due FROM timers_1 WHERE due >= $1 ORDER BY due LIMIT 1", now.Truncate(time.Second).UnixMicro()) {
			if err != nil {
				return err
			}
			next = time.UnixMicro(row.Int64(0)).UTC()
		}
		return nil
	})
	return next, err
}

// OpenTickets gives the names of tickets that are open, or have ended and a limit runs still, in the order in which they were reported, from after the place that the page before
// ended at; 0 begins. It looks at that many tickets at most, so that a page may be empty; next is where the page after begins, 0 after
// the last.
func (r *Reader) OpenTickets(ctx context.Context, after int64, tickets int) (names []string, next int64, err error) {
	err = r.db.Read(ctx, func(tx *viewdb.Tx) error {
		looked := 0
		for row, err := range tx.Query("SELECT ticket, id, kept FROM timers_1 WHERE ticket > $1 ORDER BY ticket LIMIT $2", after, tickets) {
			if err != nil {
				return err
			}
			s, err := ticket.ReadKept(row.Bytes(2, nil))
			if err != nil {
				return fmt.Errorf("timers of ticket %s: %w", row.Text(1), err)
			}
			if isOpen(s.State) || len(s.Timers()) > 0 {
				names = append(names, "tickets/"+row.Text(1))
			}
			looked, next = looked+1, row.Int64(0)
		}
		if looked < tickets {
			next = 0
		}
		return nil
	})
	return names, next, err
}

// TimersAt is the position that the view of timers stands at.
func (r *Reader) TimersAt(ctx context.Context) (at eventstore.Position, err error) {
	err = r.db.Read(ctx, func(tx *viewdb.Tx) error {
		at, err = projector.Position(tx, TimersView)
		return err
	})
	return at, err
}
