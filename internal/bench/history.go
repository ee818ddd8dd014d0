package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/view"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// scan reads and decodes the whole history, and does nothing with it.
func (r *run) scan(ctx context.Context) error {
	began := time.Now()
	n := 0
	for e, err := range r.full.Store.ReadAll(ctx, 0) {
		if err != nil {
			return err
		}
		if _, err := event.Decode(e); err != nil {
			return err
		}
		if len(r.sample) < samples && strings.HasPrefix(e.Stream, "ticket-") {
			r.sample = append(r.sample, e.Event)
		}
		n++
	}
	r.history, r.scanPerSecond = n, float64(n)/time.Since(began).Seconds()
	r.report.add("scan_events_per_second", r.scanPerSecond, "1/s", fmt.Sprintf("%d events, one goroutine", n))
	return nil
}

// rebuild builds all views from the first event, and then puts the rows they came to into empty tables, which is the least that any way of
// building them takes.
func (r *run) rebuild(ctx context.Context) error {
	began, spent := time.Now(), processorTime()
	if _, err := r.full.Rebuild(ctx, nil); err != nil {
		return err
	}
	rate := float64(r.history) / time.Since(began).Seconds()
	spent = processorTime() - spent
	rows, took, err := r.insertBare(ctx)
	if err != nil {
		return fmt.Errorf("bare insertion: %w", err)
	}
	inserting := float64(r.history) / took.Seconds()
	limit, which := r.scanPerSecond, "the scan"
	if inserting < limit {
		limit, which = inserting, "the insertion"
	}
	r.report.add("rebuild_events_per_second", rate, "1/s", fmt.Sprintf("%d events; processor time of an event %s µs%s", r.history,
		number(spent.Seconds()*1e6/float64(max(r.history, 1))), r.places.besidePostgres()))
	r.report.add("rebuild_ratio", rate/limit, "",
		fmt.Sprintf("to %s; a bare insertion of the %d rows with their indexes takes %.2f s, as if %s events/s", which, rows, took.Seconds(), number(inserting)))
	return nil
}

// insertBare inserts the rows of all views into the same tables elsewhere, in one pass and one transaction, with the indexes last as a rebuild
// has them. Reading them does not count.
func (r *run) insertBare(ctx context.Context) (rows int, took time.Duration, err error) {
	path, err := r.places.tables(bareRows)
	if err != nil {
		return 0, 0, err
	}
	bare, err := viewdb.Open(path, viewdb.Options{Fresh: true})
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, bare.Close(), viewdb.Remove(path)) }()
	views := view.All(calendar.Default().Zone())
	var began time.Time
	err = bare.Write(ctx, func(to *viewdb.Tx) error {
		for _, v := range views {
			if err := to.Script(v.Schema...); err != nil {
				return err
			}
		}
		err := r.full.Views.Read(ctx, func(from *viewdb.Tx) error {
			tables, err := r.tablesOf(from)
			if err != nil {
				return err
			}
			for _, t := range tables {
				n, t, err := copyTable(from, to, t)
				if err != nil {
					return err
				}
				rows, took = rows+n, took+t
			}
			return nil
		})
		if err != nil {
			return err
		}
		began = time.Now()
		for _, v := range views {
			if err := to.Script(v.Indexes...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	if err := bare.Close(); err != nil {
		return 0, 0, err
	}
	return rows, took + time.Since(began), nil // with the commit
}

// tablesOf are the tables of views, which are those without what is kept beside them.
func (r *run) tablesOf(tx *viewdb.Tx) ([]string, error) {
	list := "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
	if r.places.viewsURL != "" {
		list = "SELECT CAST(table_name AS TEXT) AS name FROM information_schema.tables WHERE table_schema = current_schema()"
	}
	var names []string
	for row, err := range tx.Query("SELECT name FROM (" + list + ") AS tables WHERE name NOT IN ('checkpoints', 'caught_up', 'partitions_1', 'policy', 'policy_map', 'viewdb')") {
		if err != nil {
			return nil, err
		}
		names = append(names, row.Text(0))
	}
	return names, nil
}

// chunk is how many rows are held in memory between reading and inserting them.
const chunk = 20_000

func copyTable(from, to *viewdb.Tx, table string) (rows int, took time.Duration, err error) {
	var held [][]any
	insert := ""
	flush := func() error {
		began := time.Now()
		for _, args := range held {
			// A schema may come with a row.
			if err := to.Put(insert, args...); err != nil {
				return err
			}
		}
		if err := to.Flush(); err != nil {
			return err
		}
		took += time.Since(began)
		rows += len(held)
		held = held[:0]
		return nil
	}
	for row, err := range from.Query("SELECT * FROM " + table) {
		if err != nil {
			return 0, 0, err
		}
		if insert == "" {
			var places []string
			for i := range row.Columns() {
				places = append(places, fmt.Sprintf("$%d", i+1))
			}
			insert = "INSERT INTO " + table + " VALUES (" + strings.Join(places, ", ") + ") ON CONFLICT DO NOTHING"
		}
		args := make([]any, row.Columns())
		for i := range args {
			switch row.Kind(i) {
			case 'i':
				args[i] = row.Int64(i)
			case 'f':
				args[i] = row.Float(i)
			case 's':
				args[i] = row.Text(i)
			case 'b':
				args[i] = row.Bytes(i, nil)
			}
		}
		if held = append(held, args); len(held) == chunk {
			if err := flush(); err != nil {
				return 0, 0, err
			}
		}
	}
	return rows, took, flush()
}

const (
	appenders = 512
	// samples is how many events of the history are appended again and again.
	samples = 1000
)

// append measures the store alone: single events of the size of the history's, of streams of ten, nothing decided and nothing encoded.
func (r *run) append(ctx context.Context) error {
	store, err := r.places.openHistory(ctx, bareStore)
	if err != nil {
		return err
	}
	defer store.Close()
	lasts := 2 * r.slice
	var stop atomic.Bool
	var count atomic.Int64
	var fault fault
	var working sync.WaitGroup
	began := time.Now()
	for i := range appenders {
		working.Go(func() {
			for n := 0; !stop.Load(); n++ {
				e := r.sample[(i*17+n)%len(r.sample)]
				binary.BigEndian.PutUint64(e.ID[:], uint64(i+1))
				binary.BigEndian.PutUint64(e.ID[8:], uint64(n))
				stream := fmt.Sprintf("ticket-%d-%d", i, n/steps)
				if _, err := store.Append(ctx, stream, eventstore.Version(n%steps), []eventstore.Event{e}); err != nil {
					fault.set(err)
					return
				}
				count.Add(1)
			}
		})
	}
	pause(ctx, lasts)
	stop.Store(true)
	working.Wait()
	present := 0
	if r.places.one {
		present = r.Tickets
	}
	r.report.at(present, "append_raw_per_second", float64(count.Load())/time.Since(began).Seconds(), "1/s", fmt.Sprintf("%d callers", appenders))
	return fault.get()
}
