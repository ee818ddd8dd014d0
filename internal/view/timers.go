package view

import (
	"context"
	"fmt"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/ticket"
	"github.com/chuishao/dispatch/internal/viewdb"
)

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
		if at, err = projector.Position(tx, TicketsView); err != nil {
			return err
		}
		for row, err := range tx.Query("SELECT id, kept FROM tickets_4 WHERE due < $1 ORDER BY due, ticket LIMIT $2", from.UnixMicro(), tickets) {
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
		for row, err := range tx.Query("SELECT due FROM tickets_4 WHERE due >= $1 ORDER BY due LIMIT 1", now.Truncate(time.Second).UnixMicro()) {
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
		for row, err := range tx.Query("SELECT ticket, id, closed = 0 OR due IS NOT NULL FROM tickets_4 WHERE ticket > $1 ORDER BY ticket LIMIT $2", after, tickets) {
			if err != nil {
				return err
			}
			if row.Bool(2) {
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

// TimersAt is the position that timers are told as of.
func (r *Reader) TimersAt(ctx context.Context) (at eventstore.Position, err error) {
	err = r.db.Read(ctx, func(tx *viewdb.Tx) error {
		at, err = projector.Position(tx, TicketsView)
		return err
	})
	return at, err
}
