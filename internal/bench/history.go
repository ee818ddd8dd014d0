package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/eventstore/sqlite"
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
		n++
	}
	r.history, r.scanPerSecond = n, float64(n)/time.Since(began).Seconds()
	r.report.add("scan_events_per_second", r.scanPerSecond, "1/s", fmt.Sprintf("%d events, one goroutine", n))
	return nil
}

// rebuild builds all views from the first event, and then puts the rows they came to into empty tables, which is the least that any way of
// building them takes.
func (r *run) rebuild(ctx context.Context) error {
	began := time.Now()
	if _, err := r.full.Rebuild(ctx, nil); err != nil {
		return err
	}
	rate := float64(r.history) / time.Since(began).Seconds()
	rows, took, err := r.insertBare(ctx)
	if err != nil {
		return fmt.Errorf("bare insertion: %w", err)
	}
	inserting := float64(r.history) / took.Seconds()
	limit, which := r.scanPerSecond, "the scan"
	if inserting < limit {
		limit, which = inserting, "the insertion"
	}
	r.report.add("rebuild_events_per_second", rate, "1/s", fmt.Sprintf("%d events", r.history))
	r.report.add("rebuild_ratio", rate/limit, "",
		fmt.Sprintf("to %s; a bare insertion of the %d rows with their indexes takes %.2f s, as if %s events/s", which, rows, took.Seconds(), number(inserting)))
	return nil
}

// insertBare inserts the rows of all views into the same tables elsewhere, in one pass and one transaction, with the indexes last as a rebuild
// has them. Reading them does not count.
func (r *run) insertBare(ctx context.Context) (rows int, took time.Duration, err error) {
	path := filepath.Join(r.dir, "bare.db")
	bare, err := viewdb.Open(path, viewdb.Options{Fresh: true})
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, viewdb.Remove(path)) }()
	defer bare.Close()
	views := view.All(calendar.Default().Zone())
	var began time.Time
	err = bare.Write(ctx, func(to *viewdb.Tx) error {
		for _, v := range views {
			if err := to.Script(v.Schema...); err != nil {
				return err
			}
		}
		err := r.full.Views.Read(ctx, func(from *viewdb.Tx) error {
			tables, err := tablesOf(from)
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

func tablesOf(tx *viewdb.Tx) ([]string, error) {
	var names []string
	for row, err := range tx.Query("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT IN ('checkpoints', 'policy')") {
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
			if _, err := to.Exec(insert, args...); err != nil {
				return err
			}
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

const appenders = 512

// append measures the store alone: single events of the size of the history's, of streams of ten, nothing decided and nothing encoded.
func (r *run) append(ctx context.Context) error {
	var sample []eventstore.Event
	for e, err := range r.full.Store.ReadAll(ctx, 0) {
		if err != nil {
			return err
		}
		if strings.HasPrefix(e.Stream, "ticket-") {
			sample = append(sample, e.Event)
		}
		if len(sample) == 1000 {
			break
		}
	}
	store, err := sqlite.Open(filepath.Join(r.dir, "append.db"), sqlite.Options{})
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
				e := sample[(i*17+n)%len(sample)]
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
	r.report.at(0, "append_raw_per_second", float64(count.Load())/time.Since(began).Seconds(), "1/s", fmt.Sprintf("%d callers", appenders))
	return fault.get()
}
