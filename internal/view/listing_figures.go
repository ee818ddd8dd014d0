package view

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// Listings are of two kinds: tickets whose supervision lists them, which the view of service counts (figListings, figCleared), and problems that are no tickets,
// which are counted here one by one. Figures are the sums of both.

const (
	clearedMetric = "M38"
	untrueMetric  = "M39"
	// listedPart is the part of M38 that tells what is listed at the period's end.
	listedPart = "listed"
)

// issuerParts tells how many listings of each level of issuers were to be cleared, and how many of these are, from the cells that begin at first.
func issuerParts(parts map[string]int64, levels []string, c *cells, first int) {
	for i := range places {
		due, cleared := c[first+2*i], c[first+2*i+1]
		if due == 0 {
			continue
		}
		name := issuerName(levels, i)
		parts[name] += due
		parts[name+"_cleared"] += cleared
	}
}

// issuerName is the name of the level that stands at a place; "other" of those that have none.
func issuerName(levels []string, i int) string {
	if i >= len(levels) {
		return placeName(levels, places-1)
	}
	return placeName(levels, i)
}

// issuerOf is what figures call the level of an issuer.
func issuerOf(level string) string { return cmp.Or(level, placeName(nil, places-1)) }

// eachPlace yields the nodes that something counts at: everything, the areas of its path and the direct row of the last, and the units.
func eachPlace(path []*pb.AreaNode, units []string, yield func(n *node)) {
	yield(&node{level: "all"})
	for i, n := range path {
		yield(&node{level: n.Level, code: n.Code, tree: true, name: n.Name, path: areaNames(path[:i+1])})
	}
	if n := len(path); n > 0 && path[n-1].Level != finest {
		yield(&node{level: DirectLevel, code: path[n-1].Code})
	}
	for _, code := range units {
		yield(&node{level: "unit", code: code})
	}
}

// reach is which nodes are asked about: those of a level, or the one of a code; at or below an area, or, of nodes that are no areas, for what lies there.
type reach struct {
	level, area string
	code        *string
	on          Map
}

// nodes yields those that something counts at.
func (r *reach) nodes(path []*pb.AreaNode, units []string, yield func(n *node)) {
	if r.on != nil {
		path = present(r.on, path)
	}
	below := 0
	if r.area != "" {
		if below = slices.IndexFunc(path, func(n *pb.AreaNode) bool { return n.Code == r.area }); below < 0 {
			return
		}
	}
	eachPlace(path, units, func(n *node) {
		above := n.tree && slices.ContainsFunc(path[:below], func(a *pb.AreaNode) bool { return a.Code == n.code })
		if n.level == r.level && !above && (r.code == nil || n.code == *r.code) {
			yield(n)
		}
	})
}

// adds is what the problem adds to M38 in a period.
func (w *problem) adds(f *pb.MetricFigure, in period) {
	parts := f.Parts
	if at := w.listed; at >= in.from && at < in.to && at <= in.at {
		parts[raisedParts[2]]++ // it was listed
	}
	for _, a := range w.accounts {
		if a.at >= in.from && a.at < in.to && a.at <= in.at {
			parts[raisedParts[3]]++ // it was held to account
		}
	}
	cleared := w.cleared != never && w.cleared <= in.at
	if end := min(in.to, after(in.at)); w.listed < end && (w.cleared == never || w.cleared >= end) {
		parts[listedPart]++
	}
	if w.listed > in.at || w.clearBy == never || w.clearBy < in.from || w.clearBy >= in.to {
		return
	}
	*f.Denominator++
	name := issuerOf(w.level)
	parts[name]++
	parts[name+"_cleared"] += flag(cleared)
	f.Numerator += flag(cleared)
}

// adds is what a ticket of a sample adds to M39 in a period.
func (x *item) adds(f *pb.MetricFigure, in period) {
	if x.checked == never || x.checked < in.from || x.checked >= in.to || x.checked > in.at {
		return
	}
	*f.Denominator++
	f.Numerator += flag(x.untrue)
}

// checks is what was listed and looked at again, as a transaction sees it or as was known at a position.
type checks struct {
	problems []*problem
	spots    []*spot
}

func readChecks(tx *viewdb.Tx) (c checks, err error) {
	if c.problems, err = queryProblems(tx, "ORDER BY listing"); err != nil {
		return c, err
	}
	c.spots, err = querySpots(tx, "ORDER BY spot")
	return c, err
}

// recallChecks reads them from the history up to a position.
func recallChecks(ctx context.Context, store eventstore.Store, until eventstore.Position) (c checks, err error) {
	if store == nil {
		return c, errors.New("figures of what was known need the history")
	}
	problems, spots := map[string]*problem{}, map[string]*spot{}
	for e, err := range store.ReadAll(ctx, 0) {
		if err != nil {
			return c, err
		}
		if e.Position > until {
			break
		}
		if !strings.HasPrefix(e.Stream, "listing-") && !strings.HasPrefix(e.Stream, "check-") {
			continue
		}
		d, err := event.Decode(e)
		if err != nil {
			return c, err
		}
		kind, id := kind(&d)
		if kind == "listing" {
			if problems[id] == nil {
				problems[id] = newProblem(id, &d)
				c.problems = append(c.problems, problems[id])
			}
			err = problems[id].fold(&d)
		} else {
			if spots[id] == nil {
				spots[id] = newSpot(id, &d)
				c.spots = append(c.spots, spots[id])
			}
			err = spots[id].fold(&d)
		}
		if err != nil {
			return c, err
		}
	}
	return c, nil
}

// figures are those that the problems or samples add to, by code.
func (c *checks) figures(metric string, of *reach, in period) map[string]*pb.MetricFigure {
	all := map[string]*pb.MetricFigure{}
	figure := func(n *node) *pb.MetricFigure {
		f := all[n.code]
		if f == nil {
			f = &pb.MetricFigure{Metric: metric, Level: n.level, Code: n.code, Name: n.label(), Path: n.path, Denominator: new(int64)}
			if metric == clearedMetric {
				f.Parts = map[string]int64{}
			}
			all[n.code] = f
		}
		return f
	}
	if metric == clearedMetric {
		for _, w := range c.problems {
			of.nodes(w.path, w.ownerPath, func(n *node) { w.adds(figure(n), in) })
		}
	} else {
		for _, s := range c.spots {
			for i := range s.items {
				if x := &s.items[i]; x.checked != never {
					of.nodes(x.path, x.leadPath, func(n *node) { x.adds(figure(n), in) })
				}
			}
		}
	}
	maps.DeleteFunc(all, func(_ string, f *pb.MetricFigure) bool {
		said := false
		for _, n := range f.Parts {
			said = said || n != 0
		}
		return *f.Denominator == 0 && !said
	})
	return all
}

// withListings runs do on the logbook that a question is about, and on what is no ticket, and says what position its answer is as of.
func (r *Reader) withListings(ctx context.Context, known *eventstore.Position, do func(b logbook, c checks) error) (at eventstore.Position, err error) {
	if known != nil {
		c, err := recallChecks(ctx, r.store, *known)
		if err != nil {
			return 0, err
		}
		return r.openService(ctx, known, func(b logbook) error { return do(b, c) })
	}
	var of eventstore.Position
	at, err = r.openService(ctx, nil, func(b logbook) error {
		tx, _ := wholeOf(b)
		var err error
		if of, err = projector.Position(tx, ListingsView); err != nil {
			return err
		}
		c, err := readChecks(tx)
		if err != nil {
			return err
		}
		return do(b, c)
	})
	return min(at, of), err
}

// listingMetrics are M38 and M39 of the nodes of a level.
func (r *Reader) listingMetrics(ctx context.Context, q MetricQuery) (all []*pb.MetricFigure, at eventstore.Position, err error) {
	from, to, t, err := q.span()
	if err != nil {
		return nil, 0, err
	}
	at, err = r.withListings(ctx, q.KnownAt, func(b logbook, c checks) error {
		own := c.figures(q.Metric, &reach{q.Level, q.Area, nil, q.Map}, period{from: from, to: to, at: t})
		if q.Metric == clearedMetric {
			b, err := logOnMap(b, q.Map)
			if err != nil {
				return err
			}
			list, of, err := selectNodes(b, q.Level, q.Area, false)
			if err != nil {
				return err
			}
			tickets, err := serviceMetrics(b, list, of, &q, false)
			if err != nil {
				return err
			}
			for _, f := range tickets {
				if add := own[f.Code]; add != nil {
					f.Numerator, *f.Denominator = f.Numerator+add.Numerator, *f.Denominator+*add.Denominator
					for name, n := range add.Parts {
						f.Parts[name] += n
					}
				}
				own[f.Code] = f
			}
		}
		for _, f := range own {
			if q.Metric == clearedMetric {
				for _, name := range append(raisedParts[:], listedPart) {
					f.Parts[name] += 0 // it is told where it is zero, too
				}
			}
			f.Rate = rate(f.Numerator, *f.Denominator)
			all = append(all, f)
		}
		return nil
	})
	slices.SortFunc(all, func(a, b *pb.MetricFigure) int { return cmp.Compare(a.Code, b.Code) })
	return all, at, err
}

// listingsBehind gives a page of the tickets and listings behind M38, in the order in which they were first recorded, or of the tickets behind M39, in the order
// in which they were drawn; one that was drawn twice stands twice.
func (r *Reader) listingsBehind(ctx context.Context, q BehindQuery, m *MetricQuery, place int64, size int, bound []byte) (page []*pb.BehindTicket, next string, total int64, at eventstore.Position, err error) {
	from, to, t, err := m.span()
	if err != nil {
		return nil, "", 0, 0, err
	}
	in := period{from: from, to: to, at: t}
	type entry struct {
		place int64
		of    *pb.BehindTicket
	}
	var list []entry
	at, err = r.withListings(ctx, m.KnownAt, func(b logbook, c checks) error {
		of := &reach{q.Level, "", &q.Code, m.Map}
		counts := func(path []*pb.AreaNode, units []string, adds func(*pb.MetricFigure, period)) bool {
			f := &pb.MetricFigure{Denominator: new(int64), Parts: map[string]int64{}}
			of.nodes(path, units, func(*node) { adds(f, in) })
			return inSet(f, q.Set) > 0
		}
		if q.Metric == untrueMetric {
			for _, s := range c.spots {
				for i := range s.items {
					if x := &s.items[i]; counts(x.path, x.leadPath, x.adds) {
						list = append(list, entry{s.spot*drawnAtMost + int64(i), &pb.BehindTicket{Name: "tickets/" + x.ticket}})
					}
				}
			}
			return nil
		}
		for _, w := range c.problems {
			if counts(w.path, w.ownerPath, w.adds) {
				list = append(list, entry{w.listing, &pb.BehindTicket{Name: "listings/" + w.id, No: w.no}})
			}
		}
		b, err := logOnMap(b, m.Map)
		if err != nil {
			return err
		}
		n, err := b.node(q.Level, q.Code)
		if err != nil || n == nil {
			return err
		}
		s, err := servedSet(b, n, &q, in)
		if err != nil {
			return err
		}
		return s.behind(b, 0, func(l *life, _ string) bool {
			list = append(list, entry{l.ticket, &pb.BehindTicket{Name: "tickets/" + l.id, No: l.no}})
			return true
		})
	})
	if err != nil {
		return nil, "", 0, 0, err
	}
	slices.SortFunc(list, func(a, b entry) int { return cmp.Compare(a.place, b.place) })
	total = int64(len(list))
	for i, e := range list {
		if e.place <= place {
			continue
		}
		if len(page) == size {
			next = token(bound, strconv.FormatInt(list[i-1].place, 10))
			break
		}
		page = append(page, e.of)
	}
	return page, next, total, at, nil
}

// drawnAtMost is more than any sample has tickets.
const drawnAtMost = 1_000

// listingLedger adds what is no ticket to the statements of a period, tells what each level of issuers has of them, and counts what is open at the period's end one by
// one, by its age at that instant or at now if that is earlier.
func listingLedger(b logbook, c checks, q *PeriodQuery, in period, list []*node, of *selection, rows []*pb.LedgerRow, was, is map[int64]*cells) ([]*pb.LedgerRow, error) {
	in.to = min(in.to, after(in.at))
	levels, err := b.levels()
	if err != nil {
		return nil, err
	}
	s := statements{byCode: map[string]*statement{}, in: in, until: in.to}
	if now := q.Now; !now.IsZero() {
		s.until = min(in.to, now.UnixMicro())
	}
	for _, row := range rows {
		s.of(row)
	}
	for _, n := range list {
		if at := s.byCode[n.code]; at != nil {
			at.issuers(levels, orNone(was[n.id]), orNone(is[n.id]))
		}
	}
	for _, w := range c.problems {
		(&reach{level: q.Level, area: q.Area, on: q.Map}).nodes(w.path, w.ownerPath, func(n *node) {
			if w.listed >= in.to {
				return
			}
			at := s.of(&pb.LedgerRow{Level: n.level, Code: n.code, Name: n.label(), Path: n.path, Reasons: map[string]int64{}})
			s.count(at, w)
		})
	}
	err = everListed(b, func(l *life) (bool, error) {
		for _, g := range l.walk(in.at).listings {
			if g.from < in.to && (g.to == never || g.to >= in.to) {
				of.counted(l, g.unit, func(id int64) {
					if at := s.byCode[of.nodes[id].code]; at != nil {
						at.age(s.until - g.from)
					}
				})
			}
		}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	return s.rows(), nil
}

// wholeOf is where the other views are read that go with a logbook; none go with what was known at a position.
func wholeOf(b logbook) (*viewdb.Tx, bool) {
	switch b := b.(type) {
	case *logs:
		return b.tx, true
	case *unionLog:
		return b.whole, true
	case *restatedLog:
		return wholeOf(b.log)
	}
	return nil, false
}

// everListed yields the tickets that were listed at some time, and perhaps others.
func everListed(b logbook, yield func(l *life) (bool, error)) error {
	switch b := b.(type) {
	case *logs:
		return b.lives("id IN (SELECT id FROM listings_ticket_1)", nil, yield)
	case *unionLog:
		return b.everListed(yield)
	case *restatedLog:
		return everListed(b.log, func(l *life) (bool, error) { return yield(b.onIt(l)) })
	}
	return b.between(0, never, ever, yield)
}

// statements are those of the nodes of a level.
type statements struct {
	byCode map[string]*statement
	in     period
	until  int64 // when ages are told
}

type statement struct {
	*pb.LedgerRow
	lines map[string]*pb.LedgerLine
}

// of is the statement of a row's node: that row, if there was none.
func (s *statements) of(row *pb.LedgerRow) *statement {
	at := s.byCode[row.Code]
	if at == nil {
		row.Ages = map[string]int64{"to_15_days": 0, "to_30_days": 0, "to_90_days": 0, "over_90_days": 0}
		at = &statement{row, map[string]*pb.LedgerLine{}}
		s.byCode[row.Code] = at
	}
	return at
}

func (s *statement) line(level string) *pb.LedgerLine {
	l := s.lines[level]
	if l == nil {
		l = &pb.LedgerLine{Level: level}
		s.lines[level] = l
	}
	return l
}

// issuers tells what the tickets of each level of issuers come to.
func (s *statement) issuers(levels []string, was, is *cells) {
	for i := range places {
		cell := cellIssuers + 2*i
		opening := was[cell] - was[cell+1]
		if opening == 0 && is[cell] == 0 && is[cell+1] == 0 {
			continue
		}
		l := s.line(issuerName(levels, i))
		l.Opening, l.Added, l.Removed = l.Opening+opening, l.Added+is[cell], l.Removed+is[cell+1]
		l.Closing = l.Opening + l.Added - l.Removed
	}
}

// count adds a problem that is no ticket.
func (s *statements) count(at *statement, w *problem) {
	l := at.line(issuerOf(w.level))
	cleared := w.cleared != never && w.cleared < s.in.to
	switch {
	case w.listed >= s.in.from:
		at.Added, l.Added = at.Added+1, l.Added+1
	case w.cleared == never || w.cleared >= s.in.from:
		at.Opening, l.Opening = at.Opening+1, l.Opening+1
	default:
		return // it was over before
	}
	if cleared {
		at.Removed, l.Removed = at.Removed+1, l.Removed+1
		return
	}
	at.Closing, l.Closing = at.Closing+1, l.Closing+1
	level := "3"
	if len(w.accounts) > 0 && w.accounts[0].at < s.in.to {
		level = "4"
	}
	at.Reasons[level]++
	at.age(s.until - w.listed)
}

// age counts something that is listed for so long, in microseconds.
func (s *statement) age(of int64) {
	switch {
	case of <= 15*oneDay:
		s.Ages["to_15_days"]++
	case of <= 30*oneDay:
		s.Ages["to_30_days"]++
	case of <= 90*oneDay:
		s.Ages["to_90_days"]++
	default:
		s.Ages["over_90_days"]++
	}
}

// rows are the statements in the order of codes, each with its issuers' in the order of their names.
func (s *statements) rows() []*pb.LedgerRow {
	var rows []*pb.LedgerRow
	for _, code := range slices.Sorted(maps.Keys(s.byCode)) {
		at := s.byCode[code]
		for _, level := range slices.Sorted(maps.Keys(at.lines)) {
			at.Issuers = append(at.Issuers, at.lines[level])
		}
		rows = append(rows, at.LedgerRow)
	}
	return rows
}
