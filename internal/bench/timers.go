package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/view"
	"github.com/chuishao/dispatch/internal/viewdb"
)

const (
	// duePage is how many tickets with something due are taken at a time.
	duePage = 100
	// timerBatch is how many tickets are put into the view at a time.
	timerBatch = 10_000
)

// timers measures how soon is found what is due among as many open timers as there are tickets: a view of tickets of its own, in which
// every ticket waits to be accepted, with that index alone which finds them. One limit in a thousand has passed.
func (r *run) timers(ctx context.Context) (err error) {
	path, err := r.places.tables(timerRows)
	if err != nil {
		return err
	}
	db, err := viewdb.Open(path, viewdb.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close(), viewdb.Remove(path)) }()
	timers := view.Tickets()
	timers.Indexes = slices.DeleteFunc(timers.Indexes, func(sql string) bool { return !strings.Contains(sql, "_due ON") })
	if _, err := projector.Open(ctx, r.full.Store, db, projector.Options{}, timers); err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(23, 29))
	for done := 0; done < r.Tickets; {
		batch := make([]event.Decoded, min(timerBatch, r.Tickets-done))
		for i := range batch {
			done++
			by := epoch.Add(-time.Duration(random.Int64N(int64(time.Hour))) - 1)
			if random.IntN(1000) > 0 {
				by = epoch.Add(time.Duration(random.Int64N(int64(year))))
			}
			batch[i] = event.Decoded{
				Recorded: eventstore.Recorded{Stream: fmt.Sprintf("ticket-%08x-0000-5000-8000-%012x", random.Uint32(), done), Version: 1, Position: eventstore.Position(done)},
				Meta:     &pb.EventMeta{OccurredAt: stamp(epoch), RecordedAt: stamp(epoch)},
				Event:    &pb.TicketReported{AcceptBy: stamp(by)},
			}
		}
		if err := db.Write(ctx, func(tx *viewdb.Tx) error { return projector.Fold(timers.Folding(), tx, batch) }); err != nil {
			return err
		}
	}
	reader := view.NewReader(db, nil)
	asks := 200
	if !r.Quick {
		asks = 1000
	}
	found := 0
	took, err := ask(asks, func() error {
		list, _, err := reader.Due(ctx, epoch, duePage)
		found = len(list)
		return err
	})
	if err != nil {
		return err
	}
	r.report.add("timers_due_ms", quantile(took, 0.5), "ms", fmt.Sprintf(
		"the %d that have waited longest, among %d that run; p99 %s", found, r.Tickets, number(quantile(took, 0.99))))
	return nil
}
