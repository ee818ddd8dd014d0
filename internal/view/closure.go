package view

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"time"

	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// ClosureView is the name of the view of figures.
const ClosureView = "closure_3"

func closureCounters() *counters { return newCounters("closure_counts_3", 5) }

const allColumns = int(stockColumns) + int(rateColumns)

// counts are counters of a node: first the stock, in the order of cReported…, then the rates, in that of rIntake….
type counts [allColumns]int64

func (c *counts) stock(delta *stock, sign int64) {
	for i, d := range delta {
		c[i] += sign * int64(d)
	}
}

// packed adds what change.pack made.
func (c *counts) packed(v, sign int64) {
	for i := range int(stockColumns) {
		c[i] += sign * (v>>i&1 - v>>(i+16)&1)
	}
}

func (c *counts) rate(i int) int64 { return c[int(stockColumns)+i] }

// Closure is the view of figures: for every node, from grid to city and in every dimension, additive whole counters.
// The stock at the end of a day is the sum of the node's rows up to it. The part of a day comes from the changes of single
// tickets, what a period's rates were at an earlier instant from the facts of the tickets that changed since.
func Closure(zone *time.Location) projector.View {
	return projector.View{
		Name: ClosureView,
		Schema: []string{
			`CREATE TABLE closure_zone_3 (zone TEXT PRIMARY KEY)`,
			fmt.Sprintf(`INSERT INTO closure_zone_3 (zone) VALUES ('%s')`, strings.ReplaceAll(zone.String(), "'", "''")),
			nodeTable("closure_node_3"),
			// What the figures of a ticket follow from. ticket is the position of its first event.
			`CREATE TABLE closure_ticket_3 (
	ticket      INTEGER PRIMARY KEY,
	id          TEXT NOT NULL UNIQUE,
	no          TEXT NOT NULL,
	reported_at BIGINT NOT NULL,
	accepted_at BIGINT,
	facts       BLOB NOT NULL
)`,
			// Each close_by that a ticket ever had.
			`CREATE TABLE closure_due_3 (
	due    BIGINT NOT NULL,
	ticket BIGINT NOT NULL,
	PRIMARY KEY (due, ticket)
) WITHOUT ROWID`,
			// From at on, the ticket adds one to the columns whose bits are set in delta, and takes one from those whose bits plus 16
			// are. Bit 32: its rates change too. nodes are the ids it counts at, as varints.
			`CREATE TABLE closure_change_3 (
	at     BIGINT NOT NULL,
	ticket BIGINT NOT NULL,
	delta  BIGINT NOT NULL,
	nodes  BLOB NOT NULL,
	PRIMARY KEY (at, ticket)
) WITHOUT ROWID`,
			// Days are counted in the zone. The stock's columns are what the day adds, those of rates what is true now of the tickets that the
			// day decides the period of.
			closureCounters().schema(),
		},
		Indexes: []string{
			`CREATE INDEX closure_ticket_3_reported ON closure_ticket_3 (reported_at)`,
			`CREATE INDEX closure_ticket_3_accepted ON closure_ticket_3 (accepted_at)`,
		},
		Folding: func() projector.Folding { return newClosureFolding(zone) },
	}
}

// touched is a ticket that a batch says something about, as it was and as it becomes.
type touched struct {
	facts
	isNew      bool
	wasKeys    []int64
	wasChanges []change
	wasRates   rates
	wasDues    int
	wasTaken   int64
}

// closureFolding folds events into the rows of the view of figures.
type closureFolding struct {
	tickets hot[*touched]
	nodes   *nodes
	days    *calendar
	sums    *counters

	// Not yet written: rows whose place in their table does not follow the order of the history. They are kept so
	// that they go in by the order of their tables.
	rows   []changeRow
	dues   []limit // the due and its ticket
	ticket []dayCounts
	buf    []byte
}

func newClosureFolding(zone *time.Location) *closureFolding {
	return &closureFolding{tickets: newHot[*touched](), nodes: newNodes(nil, "closure_node_3"), days: calendarOf(zone), sums: closureCounters()}
}

func (f *closureFolding) Add(tx *viewdb.Tx, d *event.Decoded) error {
	kind, id := kind(d)
	switch kind {
	case "ticket":
	default:
		return others(d, kind)
	}
	f.nodes.tx = tx
	t, err := f.tickets.of(id, d, func() (*touched, error) { return loadTouched(tx, id, d) })
	if err != nil {
		return err
	}
	return t.fold(d, f.nodes)
}

func (f *closureFolding) Write(tx *viewdb.Tx, keep int) error {
	list := f.tickets.drop(keep, (*touched).ended)
	slices.SortFunc(list, func(a, b *touched) int { return cmp.Compare(a.ticket, b.ticket) })
	for _, t := range list {
		f.count(t)
	}
	for _, t := range list {
		f.buf = t.bytes(f.buf[:0])
		if err := t.save(tx, f.buf); err != nil {
			return err
		}
	}
	if keep == 0 {
		if err := f.nodes.save(); err != nil {
			return err
		}
	}
	if keep == 0 || len(f.rows) > 4*keep {
		if err := f.saveRows(tx); err != nil {
			return err
		}
	}
	if keep == 0 || f.sums.held > countersKept*keep {
		return f.sums.save(tx)
	}
	return nil
}

func loadTouched(tx *viewdb.Tx, id string, d *event.Decoded) (*touched, error) {
	t := &touched{facts: facts{id: id}, isNew: true, wasRates: rates{intake: never, accepted: never, due: never}, wasTaken: never}
	if d.Version == 1 {
		return t, nil
	}
	for row, err := range tx.Query("SELECT ticket, no, facts FROM closure_ticket_3 WHERE id = $1", id) {
		if err != nil {
			return nil, err
		}
		t.isNew = false
		t.ticket, t.no = row.Int64(0), row.Text(1)
		if err := t.read(row.Bytes(2, nil)); err != nil {
			return nil, err
		}
	}
	if t.isNew {
		return nil, orphan(d)
	}
	t.wasKeys, t.wasChanges, t.wasRates, t.wasDues, t.wasTaken = t.keys(), t.changes(), t.rates(ever), len(t.dues), t.accepted
	return t, nil
}

type changeRow struct {
	at, ticket, delta int64
	nodes             []byte // nil: the row goes
}

// dayCounts is what a ticket adds on a day, to each of its nodes.
type dayCounts struct {
	day    int64
	counts [allColumns]int32
	mask   uint32 // of the columns that are not 0, or were not
}

func (f *closureFolding) add(t int64, column int, n int32) {
	day := f.days.day(t)
	i := slices.IndexFunc(f.ticket, func(d dayCounts) bool { return d.day == day })
	if i < 0 {
		i = len(f.ticket)
		f.ticket = append(f.ticket, dayCounts{day: day})
	}
	f.ticket[i].counts[column] += n
	f.ticket[i].mask |= 1 << column
}

func (f *closureFolding) addChange(c *change, sign int32) {
	for i, d := range c.delta {
		if d != 0 {
			f.add(c.at, i, sign*int32(d))
		}
	}
}

func (f *closureFolding) addRates(r *rates, sign int32) {
	for i, d := range r.cols {
		if d != 0 {
			f.add(r.bucket(i), int(stockColumns)+i, sign*int32(d))
		}
	}
}

// spread adds what was added up of a ticket to the counters of nodes.
func (f *closureFolding) spread(keys []int64) {
	for _, k := range keys {
		for i := range f.ticket {
			d := &f.ticket[i]
			first := cellAt(k, 0, d.day)
			for m := d.mask; m != 0; m &= m - 1 {
				column := bits.TrailingZeros32(m)
				f.sums.add(first, column, int64(d.counts[column]))
			}
		}
	}
	f.ticket = f.ticket[:0]
}

// count notes in what a ticket's contribution differs from the one that is written.
func (f *closureFolding) count(t *touched) {
	keys, changes, rates := t.keys(), t.changes(), t.rates(ever)
	same := slices.Equal(keys, t.wasKeys)
	packed := appendKeys(make([]byte, 0, 3*len(keys)), keys)
	if !same && !t.isNew {
		for i := range t.wasChanges {
			f.addChange(&t.wasChanges[i], -1)
		}
		f.addRates(&t.wasRates, -1)
		f.spread(t.wasKeys)
	}
	// Both lists are in order of time: what stands in both, alike, is left as it is.
	for i, j := 0, 0; i < len(t.wasChanges) || j < len(changes); {
		switch {
		case j == len(changes) || i < len(t.wasChanges) && t.wasChanges[i].at < changes[j].at:
			if same {
				f.addChange(&t.wasChanges[i], -1)
			}
			f.rows = append(f.rows, changeRow{at: t.wasChanges[i].at, ticket: t.ticket})
			i++
		case i == len(t.wasChanges) || changes[j].at < t.wasChanges[i].at:
			f.addChange(&changes[j], 1)
			f.rows = append(f.rows, changeRow{changes[j].at, t.ticket, changes[j].pack(), packed})
			j++
		default:
			if !same || t.wasChanges[i] != changes[j] {
				if same {
					f.addChange(&t.wasChanges[i], -1)
				}
				f.addChange(&changes[j], 1)
				f.rows = append(f.rows, changeRow{changes[j].at, t.ticket, changes[j].pack(), packed})
			}
			i++
			j++
		}
	}
	if !same || rates != t.wasRates {
		if same {
			f.addRates(&t.wasRates, -1)
		}
		f.addRates(&rates, 1)
	}
	f.spread(keys)
	for _, l := range t.dues[t.wasDues:] {
		if l.by != never {
			f.dues = append(f.dues, limit{l.by, t.ticket})
		}
	}
	t.wasKeys, t.wasChanges, t.wasRates, t.wasDues = keys, changes, rates, len(t.dues)
}

// saveRows writes in the order of the tables, so that neighbours are written together.
func (f *closureFolding) saveRows(tx *viewdb.Tx) error {
	// Of one instant of one ticket the later row counts.
	slices.SortStableFunc(f.rows, func(a, b changeRow) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.ticket, b.ticket))
	})
	for i := range f.rows {
		if err := f.rows[i].save(tx); err != nil {
			return err
		}
	}
	slices.SortFunc(f.dues, func(a, b limit) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.by, b.by)) })
	for _, d := range f.dues {
		if err := tx.Put("INSERT INTO closure_due_3 (due, ticket) VALUES ($1, $2) ON CONFLICT DO NOTHING", d.from, d.by); err != nil {
			return err
		}
	}
	f.rows, f.dues = f.rows[:0], f.dues[:0]
	return nil
}

// ended says whether nothing more is expected of the ticket.
func (t *touched) ended() bool {
	if t.end(ever) != stays {
		return true
	}
	n := len(t.rounds)
	return n > 0 && t.rounds[n-1].closed != never
}

func (t *touched) save(tx *viewdb.Tx, facts []byte) error {
	var accepted any
	if t.accepted != never {
		accepted = t.accepted
	}
	var err error
	switch {
	case t.isNew:
		err = tx.Put("INSERT INTO closure_ticket_3 (ticket, id, no, reported_at, accepted_at, facts) VALUES ($1, $2, $3, $4, $5, $6)",
			t.ticket, t.id, t.no, t.reported, accepted, facts)
	case t.accepted != t.wasTaken:
		err = tx.Put("UPDATE closure_ticket_3 SET accepted_at = $1, facts = $2 WHERE ticket = $3", accepted, facts, t.ticket)
	default:
		err = tx.Put("UPDATE closure_ticket_3 SET facts = $1 WHERE ticket = $2", facts, t.ticket)
	}
	t.isNew, t.wasTaken = false, t.accepted
	return err
}

func (r *changeRow) save(tx *viewdb.Tx) error {
	if r.nodes == nil {
		err := tx.Put("DELETE FROM closure_change_3 WHERE at = $1 AND ticket = $2", r.at, r.ticket)
		return err
	}
	err := tx.Put(`INSERT INTO closure_change_3 (at, ticket, delta, nodes) VALUES ($1, $2, $3, $4)
		ON CONFLICT (at, ticket) DO UPDATE SET delta = excluded.delta, nodes = excluded.nodes`, r.at, r.ticket, r.delta, r.nodes)
	return err
}

// calendar tells days of a zone. It belongs to one goroutine.
type calendar struct {
	zone *time.Location
	// The day that was asked for last, and where it begins and ends: the next instant is often of the same.
	number, from, to int64
}

func calendarOf(zone *time.Location) *calendar { return &calendar{zone: zone, from: 1, to: 0} }

// day numbers the days from 1970-01-01.
func (c *calendar) day(t int64) int64 {
	if t >= c.from && t < c.to {
		return c.number
	}
	y, m, d := time.UnixMicro(t).In(c.zone).Date()
	c.from = time.Date(y, m, d, 0, 0, 0, 0, c.zone).UnixMicro()
	c.to = time.Date(y, m, d+1, 0, 0, 0, 0, c.zone).UnixMicro()
	c.number = floor(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix(), 86_400)
	return c.number
}

func floor(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// begins is the first instant of a day.
func (c *calendar) begins(day int64) int64 {
	u := time.Unix(day*86_400, 0).UTC()
	return time.Date(u.Year(), u.Month(), u.Day(), 0, 0, 0, 0, c.zone).UnixMicro()
}
