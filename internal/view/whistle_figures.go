package view

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// The metrics of whistles.
const (
	whistlesBlown     = "M31" // 吹哨数, 吹哨率
	whistlesIssued    = "M32" // 哨准率
	reportedInInTime  = "M33" // 报到及时率
	absentOrLeft      = "M34" // 缺席, 早退
	whistlesResolved  = "M35" // 解哨率
	whistledOnceMore  = "M36" // 同题复哨
	sameMatterForHow  = 2     // years in which a whistle on the same matter is one more
	exclusionOfRaised = "raised"
)

var whistleMetricNames = []string{whistlesBlown, whistlesIssued, reportedInInTime, absentOrLeft, whistlesResolved, whistledOnceMore}

// tally is what something adds to a figure.
type tally struct {
	num, den int64
	excluded string           // the code it is left out by; it adds nothing else then
	parts    map[string]int64 // may be nil
	units    []string         // the path of the unit it counts at beside the areas; each counts it
}

// calls counts whistles for one metric, as they were known at an instant.
type calls struct {
	metric      string
	from, to, t int64
	levelOf     func(unit string) string // may be nil
	earlier     map[int64]string         // M36: whistles on a matter whistled before, and why it is the same
}

func (q *calls) in(at int64) bool { return at != never && at >= q.from && at < q.to }

// each yields what the whistle adds: of M33 and M34 for each participant.
func (q *calls) each(w *whistleRow, yield func(c tally)) {
	street := []string{w.street}
	switch q.metric {
	case whistlesBlown, whistledOnceMore:
		switch {
		case !q.in(w.blown) || !seen(w.blown, q.t):
		case w.parent != "": // the matter was whistled once
			yield(tally{excluded: exclusionOfRaised, units: street})
		case q.metric == whistlesBlown:
			yield(tally{num: 1, parts: q.partsOf(w), units: street})
		case q.earlier[w.whistle] != "":
			yield(tally{num: 1, parts: map[string]int64{q.earlier[w.whistle]: 1}, units: street})
		}
	case whistlesIssued:
		screened := w.issued
		if w.refused != never {
			screened = w.refused
		}
		switch {
		case !q.in(screened) || !seen(screened, q.t):
		case w.kind == pb.WhistleKind_WHISTLE_KIND_EMERGENCY: // not screened before it is issued
			yield(tally{excluded: "emergency", units: street})
		case w.parent != "":
			yield(tally{excluded: exclusionOfRaised, units: street})
		default:
			yield(tally{num: flag(w.refused == never), den: 1, units: street})
		}
	case whistlesResolved:
		switch {
		case !q.in(w.resolveBy) || !seen(w.issued, q.t):
		case seen(w.cancelled, q.t):
			yield(tally{excluded: "cancelled", units: street})
		default:
			done := w.resolved && seen(w.confirmed, q.t) && !isPast(w.resolveBy, w.confirmed)
			yield(tally{num: flag(done), den: 1, units: street})
		}
	default:
		for i := range w.parties {
			if p := &w.parties[i]; p.compulsory && seen(p.summoned, q.t) && seen(w.issued, q.t) && q.in(p.by) {
				yield(q.party(w, p))
			}
		}
	}
}

// party is what a compulsory participant that was due adds to M33 or M34.
func (q *calls) party(w *whistleRow, p *party) tally {
	c := tally{den: 1, units: p.path}
	came := seen(p.at, q.t)
	ended := func(at int64) bool { return !came && seen(at, q.t) && at <= p.by }
	switch {
	case seen(p.excused, q.t):
		c = tally{excluded: "excused", units: p.path}
	case ended(w.cancelled):
		c = tally{excluded: "cancelled", units: p.path}
	case ended(w.raised):
		c = tally{excluded: exclusionOfRaised, units: p.path}
	case ended(p.waived):
		c = tally{excluded: "waived", units: p.path}
	case q.metric == reportedInInTime:
		c.num = flag(came && p.inTime)
	case seen(p.left, q.t):
		c.num, c.parts = 1, map[string]int64{"left_early": 1}
	case seen(p.absent, q.t) && !came:
		c.num, c.parts = 1, map[string]int64{"no_show": 1}
	}
	return c
}

// partsOf are what M31 is made up of: whistles by kind, by class of the call-item list, by level of the screener; and how long it took them in
// seconds to be issued, and their participants to sign and to report in.
func (q *calls) partsOf(w *whistleRow) map[string]int64 {
	kind := w.kind
	if w.retyped != never && !seen(w.retyped, q.t) {
		kind = w.blownAs
	}
	parts := map[string]int64{strings.ToLower(strings.TrimPrefix(kind.String(), "WHISTLE_KIND_")): 1}
	if len(w.item) >= 2 {
		parts["class_"+w.item[:2]] = 1
	} else {
		parts["class_none"] = 1
	}
	if q.levelOf != nil && kind != pb.WhistleKind_WHISTLE_KIND_EMERGENCY {
		if level := q.levelOf(w.screener); level != "" {
			parts["screened_by_"+level] = 1
		}
	}
	took := func(name string, from, to int64) {
		if from != never && seen(to, q.t) && to >= from {
			parts[name]++
			parts[name+"_seconds"] += (to - from) / 1_000_000
		}
	}
	took("issued", w.blown, w.issued)
	for i := range w.parties {
		p := &w.parties[i]
		began := max(w.issued, p.summoned)
		took("signed", began, p.signed)
		took("reported_in", began, p.at)
	}
	return parts
}

// nodes yields the nodes that something counts at: the areas of the whistle, the whole, what lies at the lowest area itself, and units.
func (w *whistleRow) nodes(units []string, yield func(level, code, name, path string)) {
	yield("all", "", "", "")
	var names []string
	for i, n := range w.path {
		names = append(names, n.Name)
		yield(n.Level, n.Code, n.Name, strings.Join(names, "/"))
		if i == len(w.path)-1 && n.Level != finest {
			yield(DirectLevel, n.Code, n.Code, "")
		}
	}
	for _, u := range units {
		if u != "" {
			yield("unit", u, u, "")
		}
	}
}

// repeats finds, among whistles in any order, those of which an earlier one was on the same matter: for the same ticket, or of a category or call item at the
// same area, at most two years before, and neither refused nor cancelled.
func (q *calls) repeats(all []*whistleRow) {
	q.earlier = map[int64]string{}
	all = slices.DeleteFunc(slices.Clone(all), func(w *whistleRow) bool { return !seen(w.blown, q.t) || w.parent != "" })
	slices.SortFunc(all, func(a, b *whistleRow) int {
		return cmp.Or(cmp.Compare(a.blown, b.blown), cmp.Compare(a.whistle, b.whistle))
	})
	last := map[string]int64{} // when a matter was whistled last
	for _, w := range all {
		from := time.UnixMicro(w.blown).AddDate(-sameMatterForHow, 0, 0).UnixMicro()
		before := func(keys []string) bool {
			return slices.ContainsFunc(keys, func(k string) bool { t, ok := last[k]; return ok && t >= from })
		}
		tickets, places := w.matters()
		switch {
		case before(tickets):
			q.earlier[w.whistle] = "same_ticket"
		case before(places):
			q.earlier[w.whistle] = "same_place"
		}
		if seen(w.refused, q.t) || seen(w.cancelled, q.t) {
			continue
		}
		for _, key := range append(tickets, places...) {
			last[key] = w.blown
		}
	}
}

// matters are what the whistle is about: its tickets, and what is the matter where.
func (w *whistleRow) matters() (tickets, places []string) {
	for _, t := range w.tickets {
		tickets = append(tickets, "ticket "+t)
	}
	area := w.area()
	if area == "" {
		return tickets, nil
	}
	kinds := map[string]bool{}
	if w.item != "" {
		kinds["item "+w.item] = true
	}
	for i := range w.parties {
		if c := w.parties[i].category; c != "" {
			kinds["category "+c] = true
		}
	}
	for _, k := range slices.Sorted(maps.Keys(kinds)) {
		places = append(places, k+" at "+area)
	}
	return tickets, places
}

// gather reads the whistles that may count, and those that tell them whether their matter was whistled before.
func (q *calls) gather(tx *viewdb.Tx) ([]*whistleRow, error) {
	from := q.from
	if q.metric == whistledOnceMore && from > -hugeMicros {
		from = time.UnixMicro(from).AddDate(-sameMatterForHow, 0, 0).UnixMicro()
	}
	return queryWhistles(tx, "WHERE to_at >= $1 AND from_at < $2 ORDER BY whistle", from, q.to)
}

func (q *MetricQuery) calls() (*calls, error) {
	from, to, t, err := q.span()
	return &calls{metric: q.Metric, from: from, to: to, t: t, levelOf: q.LevelOf}, err
}

// whistleMetrics are the metrics of whistles of the nodes of a level. M31's denominator is M04 of the same node.
func (r *Reader) whistleMetrics(ctx context.Context, q MetricQuery) ([]*pb.MetricFigure, eventstore.Position, error) {
	count, err := q.calls()
	if err != nil {
		return nil, 0, err
	}
	sums := map[string]*pb.MetricFigure{}
	add := func(all []*whistleRow) {
		if q.Map != nil {
			for _, w := range all {
				w.path = present(q.Map, w.path)
			}
		}
		if q.Metric == whistledOnceMore {
			count.repeats(all)
		}
		for _, w := range all {
			if q.Area != "" && !slices.ContainsFunc(w.path, func(n *pb.AreaNode) bool { return n.Code == q.Area }) {
				continue
			}
			count.each(w, func(c tally) {
				w.nodes(c.units, func(level, code, name, path string) {
					if level != q.Level || code == "" && level != "all" || above(w.path, q.Area, level, code) {
						return
					}
					f := sums[code]
					if f == nil {
						f = &pb.MetricFigure{Metric: q.Metric, Level: level, Code: code, Name: name, Path: path}
						sums[code] = f
					}
					c.addTo(f)
				})
			})
		}
	}
	var dispatched []*pb.MetricFigure
	counts := func(b book) error {
		if q.Metric != whistlesBlown {
			return nil
		}
		b, err := onMap(b, q.Map)
		if err != nil {
			return err
		}
		list, of, err := selectNodes(b, q.Level, q.Area, false)
		if err != nil {
			return err
		}
		m := q
		m.Metric = "M04"
		dispatched, err = figures(b, list, of, &m, false)
		return err
	}
	at, err := r.countWhistles(ctx, q.KnownAt, count, add, counts)
	if err != nil {
		return nil, 0, err
	}
	for _, d := range dispatched {
		f := sums[d.Code]
		if f == nil {
			if d.Numerator == 0 {
				continue
			}
			f = &pb.MetricFigure{Metric: q.Metric, Level: d.Level, Code: d.Code, Name: d.Name, Path: d.Path}
			sums[d.Code] = f
		}
		f.Denominator = &d.Numerator
	}
	all := slices.Collect(maps.Values(sums))
	for _, f := range all {
		if q.Metric == whistledOnceMore {
			continue // a count
		}
		if f.Denominator == nil {
			f.Denominator = new(int64)
		}
		f.Rate = rate(f.Numerator, f.GetDenominator())
	}
	slices.SortFunc(all, func(a, b *pb.MetricFigure) int { return cmp.Compare(a.Code, b.Code) })
	return all, at, nil
}

// addTo adds to a figure.
func (c *tally) addTo(f *pb.MetricFigure) {
	if c.excluded != "" {
		if f.Excluded == nil {
			f.Excluded = map[string]int64{}
		}
		f.Excluded[c.excluded]++
		return
	}
	f.Numerator += c.num
	if c.den > 0 {
		den := f.GetDenominator() + c.den
		f.Denominator = &den
	}
	for name, n := range c.parts {
		if f.Parts == nil {
			f.Parts = map[string]int64{}
		}
		f.Parts[name] += n
	}
}

// countWhistles hands add the whistles of a question, and counts the book that goes with them.
func (r *Reader) countWhistles(ctx context.Context, known *eventstore.Position, q *calls, add func([]*whistleRow), counts func(b book) error) (eventstore.Position, error) {
	if known == nil {
		return r.openWhistles(ctx, func(tx *viewdb.Tx, b book) error {
			list, err := q.gather(tx)
			if err != nil {
				return err
			}
			add(list)
			return counts(b)
		})
	}
	list, err := r.rememberWhistles(ctx, *known)
	if err != nil {
		return 0, err
	}
	add(list)
	if q.metric != whistlesBlown {
		return *known, nil
	}
	b, err := remember(ctx, r.store, *known)
	if err != nil {
		return 0, err
	}
	return *known, counts(b)
}

// rememberWhistles folds the whistles of a history up to a position.
func (r *Reader) rememberWhistles(ctx context.Context, until eventstore.Position) ([]*whistleRow, error) {
	byID := map[string]*whistleRow{}
	for e, err := range r.store.ReadAll(ctx, 0) {
		if err != nil {
			return nil, err
		}
		if e.Position > until {
			break
		}
		if !strings.HasPrefix(e.Stream, "whistle-") {
			continue
		}
		d, err := event.Decode(e)
		if err != nil {
			return nil, err
		}
		_, id := kind(&d)
		if byID[id] == nil {
			byID[id] = newWhistle(id, &d)
		}
		if err := byID[id].fold(&d); err != nil {
			return nil, err
		}
	}
	return slices.SortedFunc(maps.Values(byID), func(a, b *whistleRow) int { return cmp.Compare(a.whistle, b.whistle) }), nil
}

// whistlesBehind gives the whistles behind a figure; one with several participants in the set stands once.
func (r *Reader) whistlesBehind(ctx context.Context, q BehindQuery, m *MetricQuery, after int64, size int, bound []byte) (page []*pb.BehindTicket, next string, total int64, at eventstore.Position, err error) {
	count, err := m.calls()
	if err != nil {
		return nil, "", 0, 0, err
	}
	at, err = r.countWhistles(ctx, m.KnownAt, count, func(list []*whistleRow) {
		if m.Map != nil {
			for _, w := range list {
				w.path = present(m.Map, w.path)
			}
		}
		if q.Metric == whistledOnceMore {
			count.repeats(list)
		}
		for _, w := range list {
			in, exclusion := false, ""
			count.each(w, func(c tally) {
				w.nodes(c.units, func(level, code, _, _ string) {
					if level != q.Level || code != q.Code {
						return
					}
					switch q.Set {
					case pb.FigureSet_FIGURE_SET_NUMERATOR:
						in = in || c.num > 0
					case pb.FigureSet_FIGURE_SET_DENOMINATOR:
						in = in || c.den > 0
					case pb.FigureSet_FIGURE_SET_EXCLUDED:
						if c.excluded != "" {
							in, exclusion = true, c.excluded
						}
					}
				})
			})
			if !in {
				continue
			}
			total++
			switch {
			case w.whistle <= after:
			case len(page) < size:
				page = append(page, &pb.BehindTicket{Name: "whistles/" + w.id, No: w.no, Exclusion: exclusion})
				after = w.whistle
			case next == "":
				next = token(bound, strconv.FormatInt(after, 10))
			}
		}
	}, func(book) error { return nil })
	return page, next, total, at, err
}
