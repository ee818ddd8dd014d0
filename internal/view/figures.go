package view

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// zones remembers zones that were looked up by name.
type zones struct{ byName sync.Map }

func (z *zones) load(name string) (*time.Location, error) {
	if known, ok := z.byName.Load(name); ok {
		return known.(*time.Location), nil
	}
	zone, err := time.LoadLocation(name)
	if err == nil {
		z.byName.Store(name, zone)
	}
	return zone, err
}

// atlas is where nodes are found.
type atlas interface {
	// node is nil if nothing was ever told of it.
	node(level, code string) (*node, error)
	byID(id int64) (*node, error)
	// level gives all nodes of a level.
	level(name string) ([]*node, error)
	// coded gives the areas with a code, at whatever level.
	coded(code string) ([]*node, error)
	// areas gives all nodes of the area tree.
	areas() ([]*node, error)
}

// book is where figures are computed from: the rows of the view, or the facts of a history up to a position.
type book interface {
	atlas
	// stock gives the sums of the stock's columns at T for the nodes; one without any has no entry.
	stock(t int64, of *selection) (map[int64]*counts, error)
	// rates gives the sums of the rates' columns of a period at T.
	rates(in period, of *selection) (map[int64]*counts, error)
	// each yields the tickets after one, in order, until it is told to stop. They are good until the next.
	each(after int64, yield func(f *facts) (more bool, err error)) error
}

// selection is what nodes are asked about.
type selection struct {
	nodes map[int64]*node
	level string // they are all of a level; empty: only some
	// area restricts what counts to tickets in one of these areas; nil does not restrict.
	area map[int64]bool
}

func (s *selection) counts(f *facts) bool {
	if s.area == nil {
		return true
	}
	return slices.ContainsFunc(f.area, func(id int64) bool { return s.area[id] })
}

// family is the columns of rates whose periods are decided by the same instant.
type family struct{ first, last int }

var (
	reportedIn = family{rIntake, rTaken}
	dueIn      = family{rDue, rTimedX12}
	acceptedIn = family{rAccepted, rAccepted2}
)

func (f family) mask() uint32 {
	return (1<<(f.last+1) - 1<<f.first) << int(stockColumns)
}

// period is half-open, with the instant that is evaluated at.
type period struct {
	from, to int64
	at       int64
	family   family
}

func (p *period) add(r *rates, keys func(yield func(int64)), sums map[int64]*counts, of *selection, sign int64) {
	bucket := r.bucket(p.family.first)
	if bucket == never || bucket < p.from || bucket >= p.to {
		return
	}
	keys(func(id int64) {
		if of.nodes[id] == nil {
			return
		}
		c := entry(sums, id)
		for i := p.family.first; i <= p.family.last; i++ {
			c[int(stockColumns)+i] += sign * int64(r.cols[i])
		}
	})
}

func entry(sums map[int64]*counts, id int64) *counts {
	c := sums[id]
	if c == nil {
		c = new(counts)
		sums[id] = c
	}
	return c
}

func each(ids []int64) func(yield func(int64)) {
	return func(yield func(int64)) {
		for _, id := range ids {
			yield(id)
		}
	}
}

// slowStock adds up the changes of all tickets: what stock does faster.
func slowStock(b book, t int64, of *selection) (map[int64]*counts, error) {
	sums := map[int64]*counts{}
	err := b.each(0, func(f *facts) (bool, error) {
		if !of.counts(f) {
			return true, nil
		}
		var sum counts
		any := false
		for _, c := range f.changes() {
			if c.at <= t {
				sum.stock(&c.delta, 1)
				any = true
			}
		}
		if any {
			for _, id := range f.keys() {
				if of.nodes[id] != nil {
					c := entry(sums, id)
					for i := range sum {
						c[i] += sum[i]
					}
				}
			}
		}
		return true, nil
	})
	return sums, err
}

// slowRates looks at all tickets: what rates does faster.
func slowRates(b book, in period, of *selection) (map[int64]*counts, error) {
	sums := map[int64]*counts{}
	err := b.each(0, func(f *facts) (bool, error) {
		if of.counts(f) {
			r := f.rates(in.at)
			in.add(&r, each(f.keys()), sums, of, 1)
		}
		return true, nil
	})
	return sums, err
}

// memory is a book of what was known at a position.
type memory struct {
	nodes   *nodes
	tickets []*facts
}

func remember(ctx context.Context, store eventstore.Store, until eventstore.Position) (book, error) {
	m := &memory{nodes: newNodes(nil, "")}
	byID := map[string]*facts{}
	for r, err := range store.ReadAll(ctx, 0) {
		if err != nil {
			return nil, err
		}
		if r.Position > until {
			break
		}
		d, err := event.Decode(r)
		if err != nil {
			return nil, err
		}
		kind, id := kind(&d)
		if kind != "ticket" {
			continue
		}
		f := byID[id]
		if f == nil {
			f = &facts{id: id}
			byID[id] = f
			m.tickets = append(m.tickets, f)
		}
		if err := f.fold(&d, m.nodes); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *memory) node(level, code string) (*node, error) {
	return m.nodes.byKey[[2]string{level, code}], nil
}
func (m *memory) byID(id int64) (*node, error) { return m.nodes.byID[id], nil }

func (m *memory) level(name string) ([]*node, error) {
	return m.find(func(n *node) bool { return n.level == name }), nil
}

func (m *memory) coded(code string) ([]*node, error) {
	return m.find(func(n *node) bool { return n.tree && n.code == code }), nil
}

func (m *memory) areas() ([]*node, error) {
	return m.find(func(n *node) bool { return n.tree }), nil
}

func (m *memory) find(match func(*node) bool) []*node {
	var list []*node
	for _, n := range m.nodes.byID {
		if match(n) {
			list = append(list, n)
		}
	}
	return list
}

func (m *memory) stock(t int64, of *selection) (map[int64]*counts, error) { return slowStock(m, t, of) }
func (m *memory) rates(in period, of *selection) (map[int64]*counts, error) {
	return slowRates(m, in, of)
}

func (m *memory) each(after int64, yield func(f *facts) (bool, error)) error {
	for _, f := range m.tickets {
		if f.ticket > after {
			if more, err := yield(f); err != nil || !more {
				return err
			}
		}
	}
	return nil
}

// table is a book of the view's rows, as a transaction sees them.
type table struct {
	tx       *viewdb.Tx
	days     *calendar
	known    *nodes
	counters *counters
}

func (r *Reader) closureTable(tx *viewdb.Tx) (*table, error) {
	return r.table(tx, "closure_zone_3", "closure_node_3", closureCounters())
}

// table opens the tables of a view of figures by what they are called.
func (r *Reader) table(tx *viewdb.Tx, zones, nodes string, counters *counters) (*table, error) {
	for row, err := range tx.Query("SELECT zone FROM " + zones) {
		if err != nil {
			return nil, err
		}
		zone, err := r.zones.load(row.Text(0))
		if err != nil {
			return nil, fmt.Errorf("the views' zone: %w", err)
		}
		return &table{tx, calendarOf(zone), newNodes(tx, nodes), counters}, nil
	}
	return nil, errors.New("the views name no zone")
}

func (b *table) node(level, code string) (*node, error) {
	return b.one("SELECT "+nodeColumns+" FROM "+b.known.table+" WHERE level = $1 AND code = $2", level, code)
}

func (b *table) byID(id int64) (*node, error) {
	if n := b.known.byID[id]; n != nil {
		return n, nil
	}
	return b.one("SELECT "+nodeColumns+" FROM "+b.known.table+" WHERE id = $1", id)
}

func (b *table) one(query string, args ...any) (*node, error) {
	list, err := b.list(query, args...)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return list[0], nil
}

func (b *table) list(query string, args ...any) ([]*node, error) {
	var list []*node
	for row, err := range b.tx.Query(query, args...) {
		if err != nil {
			return nil, err
		}
		n := readNode(row)
		b.known.keep(n)
		list = append(list, n)
	}
	return list, nil
}

func (b *table) level(name string) ([]*node, error) {
	return b.list("SELECT "+nodeColumns+" FROM "+b.known.table+" WHERE level = $1", name)
}

func (b *table) coded(code string) ([]*node, error) {
	return b.list("SELECT "+nodeColumns+" FROM "+b.known.table+" WHERE code = $1 AND tree = 1", code)
}

func (b *table) areas() ([]*node, error) {
	return b.list("SELECT " + nodeColumns + " FROM " + b.known.table + " WHERE tree = 1")
}

// fewNodes are asked one by one; more of a level are cheaper all at once.
const fewNodes = 32

// sum adds up the counters of days from one and before another.
func (b *table) sum(mask uint32, from, to int64, of *selection, into map[int64]*counts) error {
	return b.counters.read(b.tx, b.known.table, of, 0, from, to, func(node int64, column int, n int64) {
		if mask&(1<<column) != 0 {
			entry(into, node)[column] += n
		}
	})
}

const (
	stockMask  = uint32(1)<<int(stockColumns) - 1
	minDay     = -1 << 40
	maxDay     = 1 << 40
	hugeMicros = int64(1) << 60 // beyond what calendars know, on both sides
)

func (b *table) stock(t int64, of *selection) (map[int64]*counts, error) {
	if of.area != nil {
		return slowStock(b, t, of)
	}
	sums := map[int64]*counts{}
	if t >= hugeMicros || t <= -hugeMicros {
		if t < 0 {
			return sums, nil
		}
		return sums, b.sum(stockMask, minDay, maxDay, of, sums)
	}
	day := b.days.day(t)
	begins, ends := b.days.from, b.days.to
	// The shorter part of the day is read change by change: forward from its beginning or backward from its end.
	if t-begins < ends-t {
		if err := b.sum(stockMask, minDay, day, of, sums); err != nil {
			return nil, err
		}
		return sums, b.part(begins, t, 1, of, sums)
	}
	if err := b.sum(stockMask, minDay, day+1, of, sums); err != nil {
		return nil, err
	}
	return sums, b.part(t+1, ends-1, -1, of, sums)
}

// part adds the changes from one instant to another, both included.
func (b *table) part(from, to, sign int64, of *selection, sums map[int64]*counts) error {
	if to < from {
		return nil
	}
	var only *node
	if len(of.nodes) == 1 {
		for _, only = range of.nodes {
		}
	}
	var buf []byte
	for row, err := range b.tx.Query("SELECT delta, nodes FROM closure_change_3 WHERE at >= $1 AND at <= $2", from, to) {
		if err != nil {
			return err
		}
		buf = row.Bytes(1, buf[:0])
		if only != nil {
			if holds(buf, only.id) {
				entry(sums, only.id).packed(row.Int64(0), sign)
			}
			continue
		}
		delta := row.Int64(0)
		eachKey(buf, func(id int64) {
			if of.nodes[id] != nil {
				entry(sums, id).packed(delta, sign)
			}
		})
	}
	return nil
}

// holds says whether an id is among those that appendKeys wrote, in order.
func holds(buf []byte, id int64) bool {
	var v int64
	shift := 0
	for _, c := range buf {
		v |= int64(c&0x7f) << shift
		if c&0x80 != 0 {
			shift += 7
			continue
		}
		if v >= id {
			return v == id
		}
		v, shift = 0, 0
	}
	return false
}

func (b *table) rates(in period, of *selection) (map[int64]*counts, error) {
	if in.to <= in.from {
		return map[int64]*counts{}, nil
	}
	if of.area != nil {
		return slowRates(b, in, of)
	}
	later, err := b.changedSince(in)
	if errors.Is(err, errMany) {
		return b.ratesOneByOne(in, of)
	}
	if err != nil {
		return nil, err
	}
	sums := map[int64]*counts{}
	now := in
	now.at = ever
	// Whole days from the counters, the rest ticket by ticket, both as things are now.
	first, last := int64(minDay), int64(maxDay) // of whole days, last excluded
	if in.from > -hugeMicros {
		first = b.days.day(in.from)
		if b.days.from != in.from {
			first++
		}
	}
	if in.to < hugeMicros {
		last = b.days.day(in.to)
	}
	if first >= last {
		if err := b.edge(now, of, sums); err != nil {
			return nil, err
		}
	} else {
		if err := b.sum(in.family.mask(), first, last, of, sums); err != nil {
			return nil, err
		}
		if in.from > -hugeMicros {
			edge := now
			edge.to = b.days.begins(first)
			if err := b.edge(edge, of, sums); err != nil {
				return nil, err
			}
		}
		if in.to < hugeMicros {
			edge := now
			edge.from = b.days.begins(last)
			if err := b.edge(edge, of, sums); err != nil {
				return nil, err
			}
		}
	}
	// What became true after T is taken back.
	for _, ticket := range later {
		f, err := b.facts(ticket)
		if err != nil {
			return nil, err
		}
		is, was := f.rates(ever), f.rates(in.at)
		in.add(&is, each(f.keys()), sums, of, -1)
		in.add(&was, each(f.keys()), sums, of, 1)
	}
	return sums, nil
}

var errMany = errors.New("more changed than the period holds")

// changedSince gives the tickets whose rates changed after T; errMany if it is quicker to look at each of the period.
func (b *table) changedSince(in period) ([]int64, error) {
	var all *node
	all, err := b.node("all", "")
	if err != nil || all == nil || in.at == ever {
		return nil, err
	}
	sums := map[int64]*counts{}
	first, last := int64(minDay), int64(maxDay)
	if in.from > -hugeMicros {
		first = b.days.day(in.from)
	}
	if in.to < hugeMicros {
		last = b.days.day(in.to) + 1
	}
	if err := b.sum(in.family.mask(), first, last, &selection{nodes: map[int64]*node{all.id: all}}, sums); err != nil {
		return nil, err
	}
	holds := int64(1000)
	for i := in.family.first; i <= in.family.last; i++ {
		holds += entry(sums, all.id).rate(i)
	}
	var list []int64
	for row, err := range b.tx.Query("SELECT ticket, delta FROM closure_change_3 WHERE at > $1", in.at) {
		if err != nil {
			return nil, err
		}
		if row.Int64(1)&ratedBit == 0 {
			continue
		}
		if list = append(list, row.Int64(0)); int64(len(list)) > holds {
			return nil, errMany
		}
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

func (b *table) ratesOneByOne(in period, of *selection) (map[int64]*counts, error) {
	sums := map[int64]*counts{}
	return sums, b.edge(in, of, sums)
}

// edge adds the tickets of a period one by one.
func (b *table) edge(in period, of *selection, sums map[int64]*counts) error {
	if in.to <= in.from {
		return nil
	}
	var query string
	switch in.family {
	case reportedIn:
		query = "SELECT ticket, facts, reported_at FROM closure_ticket_3 WHERE reported_at >= $1 AND reported_at < $2"
	case acceptedIn:
		query = "SELECT ticket, facts, accepted_at FROM closure_ticket_3 WHERE accepted_at >= $1 AND accepted_at < $2"
	default:
		query = "SELECT t.ticket, t.facts, d.due FROM closure_due_3 d JOIN closure_ticket_3 t ON t.ticket = d.ticket WHERE d.due >= $1 AND d.due < $2"
	}
	var f facts
	var buf []byte
	for row, err := range b.tx.Query(query, in.from, in.to) {
		if err != nil {
			return err
		}
		f.ticket = row.Int64(0)
		buf = row.Bytes(1, buf[:0])
		if err := f.read(buf); err != nil {
			return err
		}
		// A ticket stands once for each close_by it ever had; only the one that is in force decides.
		if r := f.rates(in.at); r.bucket(in.family.first) == row.Int64(2) {
			in.add(&r, each(f.keys()), sums, of, 1)
		}
	}
	return nil
}

func (b *table) facts(ticket int64) (*facts, error) {
	for row, err := range b.tx.Query("SELECT facts FROM closure_ticket_3 WHERE ticket = $1", ticket) {
		if err != nil {
			return nil, err
		}
		f := &facts{ticket: ticket}
		return f, f.read(row.Bytes(0, nil))
	}
	return nil, fmt.Errorf("ticket %d has changes but no facts", ticket)
}

func (b *table) each(after int64, yield func(f *facts) (bool, error)) error {
	var f facts
	var buf []byte
	for row, err := range b.tx.Query("SELECT ticket, id, no, facts FROM closure_ticket_3 WHERE ticket > $1 ORDER BY ticket", after) {
		if err != nil {
			return err
		}
		f.ticket, f.id, f.no = row.Int64(0), row.Text(1), row.Text(2)
		buf = row.Bytes(3, buf[:0])
		if err := f.read(buf); err != nil {
			return err
		}
		if more, err := yield(&f); err != nil || !more {
			return err
		}
	}
	return nil
}

// ClosureQuery asks for closure figures: those of a node, or of all nodes of a level.
type ClosureQuery struct {
	Level string
	// Code is of the node; ListClosure does not look at it.
	Code string
	// Area restricts ListClosure to this area: to the areas at or below it, or, of other nodes, to what their tickets in it
	// come to. Empty does not restrict.
	Area string
	// At is T. The zero time is the end of all times.
	At time.Time
	// KnownAt counts only what had been recorded up to a position. It costs a replay. nil: all.
	KnownAt    *eventstore.Position
	WithMedian bool
	// WithDirect adds the direct row of each parent of the nodes listed.
	WithDirect bool
	// Map restates figures on a map; nil: areas as at acceptance.
	Map       Map
	PageSize  int32
	PageToken string
}

var closurePages = pages{1_000, 10_000}

func instant(t time.Time) int64 {
	if t.IsZero() {
		return ever
	}
	return t.UnixMicro()
}

// open runs do on the book that a query is about, and says what position its answer is as of.
func (r *Reader) open(ctx context.Context, known *eventstore.Position, do func(b book) error) (eventstore.Position, error) {
	return ask(ctx, r, ClosureView, known, remember, r.closure, do)
}

// ask runs do on what a question is about: what now makes of a view's rows, or what was known at a position. It says what position that is as of.
func ask[B any](ctx context.Context, r *Reader, view string, known *eventstore.Position, then func(context.Context, eventstore.Store, eventstore.Position) (B, error),
	now func(s *snapshot) (B, error), do func(b B) error) (eventstore.Position, error) {
	if known != nil {
		if r.store == nil {
			return 0, errors.New("figures of what was known need the history")
		}
		b, err := then(ctx, r.store, *known)
		if err != nil {
			return 0, err
		}
		return *known, do(b)
	}
	return r.snapshot(ctx, view, func(s *snapshot) error {
		b, err := now(s)
		if err != nil {
			return err
		}
		return do(b)
	})
}

// ClosureAt gives the closure figures of a node. A node without a ticket at that instant is a refusal with NOT_FOUND.
func (r *Reader) ClosureAt(ctx context.Context, q ClosureQuery) (row *pb.ClosureRow, at eventstore.Position, err error) {
	at, err = r.open(ctx, q.KnownAt, func(b book) error {
		b, err := onMap(b, q.Map)
		if err != nil {
			return err
		}
		n, err := b.node(q.Level, q.Code)
		if err != nil {
			return err
		}
		if n == nil {
			return rule.Bad("code", rule.NotFound, "no ticket was ever reported there")
		}
		rows, err := closureRows(b, []*node{n}, &selection{nodes: map[int64]*node{n.id: n}}, q)
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			return rule.Bad("code", rule.NotFound, "no ticket had been reported there by then")
		}
		row = rows[0]
		return nil
	})
	return row, at, err
}

// ListClosure gives the closure figures of the nodes of a level, in the order of their codes. A node without a ticket
// reported by then has no row.
func (r *Reader) ListClosure(ctx context.Context, q ClosureQuery) (rows []*pb.ClosureRow, next string, at eventstore.Position, err error) {
	size, err := closurePages.size(q.PageSize)
	if err != nil {
		return nil, "", 0, err
	}
	bound := bind("closure", q.Level, q.Area, strconv.FormatInt(instant(q.At), 10), knownText(q.KnownAt), fmt.Sprint(q.WithMedian, q.WithDirect), mapText(q.Map))
	after, paged, err := cursor(bound, q.PageToken)
	if err != nil {
		return nil, "", 0, err
	}
	at, err = r.open(ctx, q.KnownAt, func(b book) error {
		b, err := onMap(b, q.Map)
		if err != nil {
			return err
		}
		list, of, err := selectNodes(b, q.Level, q.Area, q.WithDirect)
		if err != nil {
			return err
		}
		if rows, err = closureRows(b, list, of, q); err != nil {
			return err
		}
		from := 0
		if paged {
			from = slices.IndexFunc(rows, func(row *pb.ClosureRow) bool { return place(row.Code, row.Direct) > after })
			if from < 0 {
				from = len(rows)
			}
		}
		rows = rows[from:]
		if len(rows) > size {
			rows = rows[:size]
			next = token(bound, place(rows[size-1].Code, rows[size-1].Direct))
		}
		return nil
	})
	return rows, next, at, err
}

// place orders rows: direct ones after the others, each in the order of codes.
func place(code string, direct bool) string {
	if direct {
		return "1" + code
	}
	return "0" + code
}

func knownText(p *eventstore.Position) string {
	if p == nil {
		return ""
	}
	return strconv.FormatUint(uint64(*p), 10)
}

// selectNodes finds the nodes of a level, in the order of their codes, direct ones last.
func selectNodes(b atlas, level, area string, withDirect bool) ([]*node, *selection, error) {
	list, err := b.level(level)
	if err != nil {
		return nil, nil, err
	}
	of := &selection{nodes: map[int64]*node{}, level: level}
	if area != "" {
		above, err := b.coded(area)
		if err != nil {
			return nil, nil, err
		}
		within := map[int64]bool{}
		for _, n := range above {
			within[n.id] = true
		}
		tree := slices.ContainsFunc(list, func(n *node) bool { return n.tree })
		if !tree {
			of.area = within
		} else {
			kept := list[:0]
			for _, n := range list {
				below, err := liesIn(b, n, within)
				if err != nil {
					return nil, nil, err
				}
				if below {
					kept = append(kept, n)
				}
			}
			list = kept
		}
	}
	if withDirect {
		parents := map[int64]bool{}
		for _, n := range list {
			if n.parent == 0 || parents[n.parent] {
				continue
			}
			parents[n.parent] = true
			p, err := b.byID(n.parent)
			if err != nil {
				return nil, nil, err
			}
			direct, err := b.node(DirectLevel, p.code)
			if err != nil {
				return nil, nil, err
			}
			if direct != nil {
				// The row is called by the area that it is a part of.
				list = append(list, &node{id: direct.id, level: DirectLevel, code: p.code, tree: true, name: p.name, path: p.path, parent: p.id})
				of.level = ""
			}
		}
	}
	for _, n := range list {
		of.nodes[n.id] = n
	}
	slices.SortFunc(list, func(a, b *node) int {
		return cmp.Compare(place(a.code, a.level == DirectLevel), place(b.code, b.level == DirectLevel))
	})
	return list, of, nil
}

func liesIn(b atlas, n *node, areas map[int64]bool) (bool, error) {
	// Paths are short; a loop in what events said of parents must not go on for ever.
	for range 64 {
		if areas[n.id] {
			return true, nil
		}
		if n.parent == 0 {
			return false, nil
		}
		var err error
		if n, err = b.byID(n.parent); err != nil || n == nil {
			return false, err
		}
	}
	return false, nil
}

func closureRows(b book, list []*node, of *selection, q ClosureQuery) ([]*pb.ClosureRow, error) {
	t := instant(q.At)
	sums, err := b.stock(t, of)
	if err != nil {
		return nil, err
	}
	var hours map[int64][]int64
	if q.WithMedian {
		if hours, err = durations(b, t, of); err != nil {
			return nil, err
		}
	}
	rows := make([]*pb.ClosureRow, 0, len(list))
	for _, n := range list {
		c := sums[n.id]
		if c == nil || c[cReported] == 0 {
			continue
		}
		row := &pb.ClosureRow{Level: n.level, Code: n.code, Name: n.label(), Path: n.path, Figures: closureFigures(c)}
		if n.level == DirectLevel {
			row.Direct = true
			if p, err := b.byID(n.parent); err == nil && p != nil {
				row.Level = p.level
			}
		}
		row.Figures.MedianHoursToClose = median(hours[n.id])
		rows = append(rows, row)
	}
	return rows, nil
}

func closureFigures(c *counts) *pb.ClosureFigures {
	return &pb.ClosureFigures{
		Total: c[cTotal], Closed: c[cClosed], ClosureRate: rate(c[cClosed], c[cTotal]),
		DueTotal: c[cDue], ClosedWithinDue: c[cWithin], ClosedLate: c[cLate], OpenOverdue: c[cOverdue],
		WithinDueRate: rate(c[cWithin], c[cWithin]+c[cLate]+c[cOverdue]),
	}
}

// rate is nil where nothing was to be done: neither 0 nor 1.
func rate(num, den int64) *float64 {
	if den == 0 {
		return nil
	}
	r := float64(num) / float64(den)
	return &r
}

// durations are the times from report to closing of what is closed at T and was not closed before it was reported.
func durations(b book, t int64, of *selection) (map[int64][]int64, error) {
	all := map[int64][]int64{}
	return all, b.each(0, func(f *facts) (bool, error) {
		if f.reported > t || !of.counts(f) {
			return true, nil
		}
		s, _ := f.state(t)
		_, last := f.last(t)
		if s[cClosed] == 0 || last.closed < f.reported {
			return true, nil
		}
		for _, id := range f.keys() {
			if of.nodes[id] != nil {
				all[id] = append(all[id], last.closed-f.reported)
			}
		}
		return true, nil
	})
}

// median is in hours, the mean of the two middle ones for an even number.
func median(micros []int64) *float64 {
	n := len(micros)
	if n == 0 {
		return nil
	}
	slices.Sort(micros)
	hours := float64(micros[n/2]) / 3.6e9
	if n%2 == 0 {
		hours = float64(micros[n/2-1]+micros[n/2]) / 2 / 3.6e9
	}
	return &hours
}
