package view

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// MetricQuery asks for a metric's figures in a period.
type MetricQuery struct {
	// Metric is one of MetricNames.
	Metric string
	Level  string
	// Code is of the node; ListMetrics does not look at it.
	Code string
	// Area restricts ListMetrics as it does ListClosure.
	Area string
	// From and To are the period [From, To). A zero From is the beginning, a zero To just after At.
	From, To time.Time
	// At is the instant of evaluation. The zero time is the end of all times.
	At      time.Time
	KnownAt *eventstore.Position
	// Map restates ListMetrics on a map; nil: areas as at acceptance.
	Map Map
	// Weights are those of M37; nil: the defaults.
	Weights *pb.ReviewWeights
	// LevelOf names the level of a unit, for M31's parts; nil leaves those out.
	LevelOf func(unit string) string
	// Worked is how much of a time was office hours, which M21 counts too; nil: it counts natural hours alone.
	Worked    func(from, to time.Time) (time.Duration, error)
	PageSize  int32
	PageToken string
}

// MetricNames are the metrics that can be asked for, in order.
var MetricNames = func() []string {
	names := append([]string{stockOfHolds}, countedNames...)
	for name := range metrics {
		names = append(names, name)
	}
	for i := range serviceFigures {
		if n := serviceFigures[i].metric; n != 0 {
			names = append(names, fmt.Sprintf("M%02d", n))
		}
	}
	slices.Sort(names)
	return names
}()

// countedNames are the metrics that are counted row by row when they are asked for: there are few of what they count.
var countedNames = append([]string{"M29", "M37", untrueMetric, "M40", "M45", bannedDeliveries}, whistleMetricNames...)

// counting is how such a metric is counted.
type counting struct {
	view   string // its rows
	list   func(context.Context, MetricQuery) ([]*pb.MetricFigure, eventstore.Position, error)
	behind func(ctx context.Context, q BehindQuery, m *MetricQuery, after int64, size int, bound []byte) (
		page []*pb.BehindTicket, next string, total int64, at eventstore.Position, err error)
	// nothing makes the figure of a node at which nothing counts; nil: one with a denominator of 0.
	nothing func(f *pb.MetricFigure)
}

// counting is how the metric is counted; ok is false for one that is not counted row by row.
func (r *Reader) counting(name string) (c counting, ok bool) {
	switch name {
	case whistlesBlown, whistlesIssued, reportedInInTime, absentOrLeft, whistlesResolved, whistledOnceMore:
		return counting{WhistlesView, r.whistleMetrics, r.whistlesBehind, nil}, true
	case "M29", "M45":
		return counting{WallsView, r.wallMetrics, r.postsBehind, func(f *pb.MetricFigure) { new(echoed).figure(f) }}, true
	case "M37", "M40":
		return counting{ReviewsView, r.reviewMetrics, r.reviewsBehind, nil}, true
	case clearedMetric, untrueMetric:
		return counting{ListingsView, r.listingMetrics, r.listingsBehind, nil}, true
	case bannedDeliveries:
		return counting{AdmissionsView, r.bannedMetrics, r.bannedBehind, func(*pb.MetricFigure) {}}, true
	}
	return counting{}, false
}

// of is the figure of one node: of one that nothing counts at, zeros.
func (c *counting) of(ctx context.Context, q MetricQuery) (*pb.MetricFigure, eventstore.Position, error) {
	all, at, err := c.list(ctx, q)
	if err != nil {
		return nil, 0, err
	}
	for _, f := range all {
		if f.Code == q.Code {
			return f, at, nil
		}
	}
	f := &pb.MetricFigure{Metric: q.Metric, Level: q.Level, Code: q.Code}
	if c.nothing == nil {
		f.Denominator = new(int64)
	} else {
		c.nothing(f)
	}
	return f, at, nil
}

// MetricView is the view that a metric's figures come from.
func MetricView(name string) string {
	if c, ok := new(Reader).counting(name); ok {
		return c.view
	}
	if isServiceMetric(name) {
		return ServiceView
	}
	return ClosureView
}

// MetricViews are all views that a metric's figures come from.
func MetricViews(name string) []string {
	if name == clearedMetric {
		return []string{ListingsView, ServiceView} // what is listed is both tickets and other problems
	}
	return []string{MetricView(name)}
}

func noMetric(also string) error {
	return rule.Bad("metric", rule.UnknownValue, "want %s%s", also, strings.Join(MetricNames, ", "))
}

// metric is how a figure is made.
type metric struct {
	family   family
	num, den int // columns of rates
	excluded map[string]int
	// Of the stock's columns, for those that are no rates.
	stock bool
	flow  int
}

var metrics = map[string]metric{
	"M01": {stock: true, flow: cReported},
	"M02": {family: reportedIn, num: rTaken, den: rIntake},
	"M04": {stock: true, flow: cDispatched},
	"M12": {family: dueIn, num: rClosed, den: rDue, excluded: map[string]int{"X1": rDueX1, "X2": rDueX2, "X3": rDueX3, "X4": rDueX4}},
	"M13": {family: dueIn, num: rInTime, den: rTimed, excluded: map[string]int{"X1": rDueX1, "X2": rDueX2, "X3": rDueX3, "X4": rDueX4,
		"X9": rTimedX9, "X11": rTimedX11, "X12": rTimedX12}},
	"M14": {family: acceptedIn, num: rDone, den: rAccepted, excluded: map[string]int{"X1": rAccepted1, "X2": rAccepted2}},
	"M15": {stock: true, flow: -1},
	"M16": {stock: true, flow: -1},
}

// span is a query's period and instant.
func (q *MetricQuery) span() (from, to, at int64, err error) {
	from, to, at = never, ever, instant(q.At)
	if !q.From.IsZero() {
		from = q.From.UnixMicro()
	}
	switch {
	case !q.To.IsZero():
		to = q.To.UnixMicro()
	case at != ever:
		to = at + 1
	}
	if to < from {
		return 0, 0, 0, rule.Bad("to", rule.BadField, "lies before from")
	}
	return from, to, at, nil
}

// MetricOf gives the figure of one node. A node that nothing was ever told of is a refusal with NOT_FOUND.
func (r *Reader) MetricOf(ctx context.Context, q MetricQuery) (figure *pb.MetricFigure, at eventstore.Position, err error) {
	if c, ok := r.counting(q.Metric); ok {
		return c.of(ctx, q)
	}
	if isServiceMetric(q.Metric) {
		return r.serviceMetricOf(ctx, q)
	}
	at, err = r.open(ctx, q.KnownAt, func(b book) error {
		n, err := b.node(q.Level, q.Code)
		if err != nil {
			return err
		}
		if n == nil {
			return rule.Bad("code", rule.NotFound, "no ticket was ever reported there")
		}
		all, err := figures(b, []*node{n}, &selection{nodes: map[int64]*node{n.id: n}}, &q, true)
		if err != nil {
			return err
		}
		figure = all[0]
		return nil
	})
	return figure, at, err
}

// FiguresOf gives figures of the closure view of many nodes, named by the codes of each level, all as of one position: of each node those of the metrics, in their
// order. A node that nothing was ever told of has none. q's Metric, Level, Code and pages are not looked at.
func (r *Reader) FiguresOf(ctx context.Context, metrics []string, nodes map[string][]string, q MetricQuery) (all []*pb.MetricFigure, at eventstore.Position, err error) {
	at, err = r.open(ctx, q.KnownAt, func(b book) error {
		for level, codes := range nodes {
			list, err := b.level(level)
			if err != nil {
				return err
			}
			wanted := map[string]bool{}
			for _, c := range codes {
				wanted[c] = true
			}
			of := &selection{nodes: map[int64]*node{}, level: level}
			list = slices.DeleteFunc(list, func(n *node) bool { return !wanted[n.code] })
			for _, n := range list {
				of.nodes[n.id] = n
			}
			for _, q.Metric = range metrics {
				found, err := figures(b, list, of, &q, true)
				if err != nil {
					return err
				}
				all = append(all, found...)
			}
		}
		return nil
	})
	return all, at, err
}

// ListMetrics gives the figures of all nodes of a level, in the order of their codes. A node that adds nothing has no row.
func (r *Reader) ListMetrics(ctx context.Context, q MetricQuery) (all []*pb.MetricFigure, next string, at eventstore.Position, err error) {
	size, err := closurePages.size(q.PageSize)
	if err != nil {
		return nil, "", 0, err
	}
	from, to, t, err := q.span()
	if err != nil {
		return nil, "", 0, err
	}
	bound := bind("metrics", q.Metric, q.Level, q.Area, strconv.FormatInt(from, 10), strconv.FormatInt(to, 10), strconv.FormatInt(t, 10), knownText(q.KnownAt), mapText(q.Map))
	after, paged, err := cursor(bound, q.PageToken)
	if err != nil {
		return nil, "", 0, err
	}
	if c, ok := r.counting(q.Metric); ok {
		all, at, err = c.list(ctx, q)
	} else if isServiceMetric(q.Metric) {
		at, err = r.openService(ctx, q.KnownAt, func(b logbook) error {
			b, err := logOnMap(b, q.Map)
			if err != nil {
				return err
			}
			list, of, err := selectNodes(b, q.Level, q.Area, false)
			if err != nil {
				return err
			}
			all, err = serviceMetrics(b, list, of, &q, false)
			return err
		})
	} else {
		at, err = r.open(ctx, q.KnownAt, func(b book) error {
			b, err := onMap(b, q.Map)
			if err != nil {
				return err
			}
			list, of, err := selectNodes(b, q.Level, q.Area, false)
			if err != nil {
				return err
			}
			all, err = figures(b, list, of, &q, false)
			return err
		})
	}
	if err != nil {
		return nil, "", 0, err
	}
	if paged {
		all = slices.DeleteFunc(all, func(f *pb.MetricFigure) bool { return f.Code <= after })
	}
	if len(all) > size {
		all = all[:size]
		next = token(bound, all[size-1].Code)
	}
	return all, next, at, nil
}

// figures makes a metric's figures for the nodes; those that nothing adds to only if empty is asked for.
func figures(b book, list []*node, of *selection, q *MetricQuery, empty bool) ([]*pb.MetricFigure, error) {
	m, ok := metrics[q.Metric]
	if !ok {
		return nil, noMetric("")
	}
	from, to, at, err := q.span()
	if err != nil {
		return nil, err
	}
	var begin, end, rated map[int64]*counts
	if m.stock {
		// Just before the period's end, as far as T has come, and just before its beginning.
		last := min(to-1, at)
		if q.Metric == "M15" {
			last = at
		}
		if end, err = b.stock(last, of); err != nil {
			return nil, err
		}
		if from != never && q.Metric != "M15" {
			if begin, err = b.stock(min(from-1, last), of); err != nil {
				return nil, err
			}
		}
	} else if rated, err = b.rates(period{from, to, at, m.family}, of); err != nil {
		return nil, err
	}
	var all []*pb.MetricFigure
	for _, n := range list {
		f := &pb.MetricFigure{Metric: q.Metric, Level: n.level, Code: n.code, Name: n.label(), Path: n.path}
		if m.stock {
			is, was := end[n.id], begin[n.id]
			if is == nil {
				is = new(counts)
			}
			if was == nil {
				was = new(counts)
			}
			if !empty && is[cReported] == 0 {
				continue
			}
			switch q.Metric {
			case "M15":
				f.Numerator = is[cPast]
			case "M16":
				f.Parts = ledger(was, is)
				f.Numerator = f.Parts["closing"]
			default:
				f.Numerator = is[m.flow] - was[m.flow]
			}
		} else {
			c := rated[n.id]
			if c == nil {
				c = new(counts)
			}
			if !empty && *c == (counts{}) {
				continue
			}
			f.Numerator = c.rate(m.num)
			den := c.rate(m.den)
			f.Denominator, f.Rate = &den, rate(f.Numerator, den)
			for code, col := range m.excluded {
				if x := c.rate(col); x != 0 {
					if f.Excluded == nil {
						f.Excluded = map[string]int64{}
					}
					f.Excluded[code] = x
				}
			}
		}
		all = append(all, f)
	}
	return all, nil
}

// ledger is M16: opening + accepted - closed - x1 - merged + reopened = closing.
func ledger(was, is *counts) map[string]int64 {
	return map[string]int64{
		"opening":  openStock(was),
		"accepted": is[cAccepted] - was[cAccepted],
		"closed":   is[cClosings] - was[cClosings],
		"x1":       is[cLeft] - was[cLeft],
		"merged":   is[cMerged] - was[cMerged],
		"reopened": is[cReopened] - was[cReopened],
		"closing":  openStock(is),
	}
}

func openStock(c *counts) int64 {
	return c[cAccepted] - c[cClosings] - c[cLeft] - c[cMerged] + c[cReopened]
}

// BehindQuery asks for the tickets behind a figure.
type BehindQuery struct {
	// Metric is "closure" for the stock view, or as in MetricQuery.
	Metric      string
	Level, Code string
	Set         pb.FigureSet
	From, To    time.Time
	At          time.Time
	// KnownAt and Map are as in MetricQuery.
	KnownAt   *eventstore.Position
	Map       Map
	PageSize  int32
	PageToken string
}

// StockMetric is the name of the stock view among the metrics of ListBehind.
const StockMetric = "closure"

var behindPages = pages{50, 1_000}

// ListBehind gives the tickets behind a figure's numerator, denominator or exclusions, in the order in which they were first
// recorded, and how many there are in all.
func (r *Reader) ListBehind(ctx context.Context, q BehindQuery) (tickets []*pb.BehindTicket, next string, total int64, at eventstore.Position, err error) {
	size, err := behindPages.size(q.PageSize)
	if err != nil {
		return nil, "", 0, 0, err
	}
	m := MetricQuery{Metric: q.Metric, Level: q.Level, Code: q.Code, From: q.From, To: q.To, At: q.At, KnownAt: q.KnownAt, Map: q.Map}
	from, to, t, err := m.span()
	if err != nil {
		return nil, "", 0, 0, err
	}
	if q.Set < pb.FigureSet_FIGURE_SET_NUMERATOR || q.Set > pb.FigureSet_FIGURE_SET_EXCLUDED {
		return nil, "", 0, 0, rule.Bad("set", rule.UnknownValue, "want numerator, denominator or excluded")
	}
	bound := bind("behind", q.Metric, q.Level, q.Code, q.Set.String(), strconv.FormatInt(from, 10), strconv.FormatInt(to, 10), strconv.FormatInt(t, 10), knownText(q.KnownAt), mapText(q.Map))
	text, paged, err := cursor(bound, q.PageToken)
	if err != nil {
		return nil, "", 0, 0, err
	}
	var after int64
	if paged {
		if after, err = strconv.ParseInt(text, 10, 64); err != nil {
			return nil, "", 0, 0, rule.Bad("page_token", rule.BadField, "is none that this service gave")
		}
	}
	if q.Metric == whistlesBlown && q.Set == pb.FigureSet_FIGURE_SET_DENOMINATOR {
		// That is what was dispatched.
		q.Metric, q.Set, m.Metric = "M04", pb.FigureSet_FIGURE_SET_NUMERATOR, "M04"
	}
	if c, ok := r.counting(q.Metric); ok {
		return c.behind(ctx, q, &m, after, size, bound)
	}
	if isServiceMetric(q.Metric) {
		return r.ticketsServed(ctx, q, &m, after, size, bound)
	}
	match, ok := behind(q.Metric, q.Set, from, to, t)
	if !ok {
		return nil, "", 0, 0, noMetric("closure, ")
	}
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
		if total, err = behindTotal(b, n, &m, q.Set, t); err != nil {
			return err
		}
		var last int64
		return b.each(after, func(f *facts) (bool, error) {
			in, exclusion := match(f)
			if !in || !slices.Contains(f.keys(), n.id) {
				return true, nil
			}
			if len(tickets) == size {
				next = token(bound, strconv.FormatInt(last, 10))
				return false, nil
			}
			tickets = append(tickets, &pb.BehindTicket{Name: "tickets/" + f.id, No: f.no, Exclusion: exclusion})
			last = f.ticket
			return int64(len(tickets)) < total || after > 0, nil
		})
	})
	return tickets, next, total, at, err
}

// behindTotal is the size of a set, from the counters.
func behindTotal(b book, n *node, q *MetricQuery, set pb.FigureSet, t int64) (int64, error) {
	of := &selection{nodes: map[int64]*node{n.id: n}}
	if q.Metric == StockMetric {
		sums, err := b.stock(t, of)
		if err != nil {
			return 0, err
		}
		c := entry(sums, n.id)
		switch set {
		case pb.FigureSet_FIGURE_SET_NUMERATOR:
			return c[cClosed], nil
		case pb.FigureSet_FIGURE_SET_DENOMINATOR:
			return c[cTotal], nil
		}
		return c[cReported] - c[cTotal], nil
	}
	all, err := figures(b, []*node{n}, of, q, true)
	if err != nil {
		return 0, err
	}
	return inSet(all[0], set), nil
}

// inSet is how many a figure counts in a set.
func inSet(f *pb.MetricFigure, set pb.FigureSet) (sum int64) {
	switch set {
	case pb.FigureSet_FIGURE_SET_NUMERATOR:
		return f.Numerator
	case pb.FigureSet_FIGURE_SET_DENOMINATOR:
		return f.GetDenominator()
	}
	for _, x := range f.Excluded {
		sum += x
	}
	return sum
}

// behind says whether a ticket is in a set of a figure, and if it is excluded, why.
func behind(name string, set pb.FigureSet, from, to, t int64) (func(f *facts) (bool, string), bool) {
	const num, den = pb.FigureSet_FIGURE_SET_NUMERATOR, pb.FigureSet_FIGURE_SET_DENOMINATOR
	last := min(to-1, t)
	switch name {
	case StockMetric:
		return func(f *facts) (bool, string) {
			s, _ := f.state(t)
			switch set {
			case num:
				return s[cClosed] == 1, ""
			case den:
				return s[cTotal] == 1, ""
			}
			code := "X1"
			if f.end(t) == merged {
				code = "X2"
			}
			return f.reported <= t && s[cTotal] == 0, code
		}, true
	case "M01":
		return func(f *facts) (bool, string) {
			return set == num && f.reported >= from && f.reported <= last, ""
		}, true
	case "M04":
		return func(f *facts) (bool, string) {
			at := max(f.dispatched, f.reported)
			return set == num && f.dispatched != never && at >= from && at <= last, ""
		}, true
	case "M15":
		return func(f *facts) (bool, string) {
			s, _ := f.state(t)
			return set == num && s[cPast] == 1, ""
		}, true
	case "M16":
		return func(f *facts) (bool, string) {
			_, stands := f.state(last)
			return set == num && stands == open, ""
		}, true
	}
	m, ok := metrics[name]
	if !ok {
		return nil, false
	}
	return func(f *facts) (bool, string) {
		r := f.rates(t)
		bucket := r.bucket(m.family.first)
		if bucket == never || bucket < from || bucket >= to {
			return false, ""
		}
		switch set {
		case num:
			return r.cols[m.num] == 1, ""
		case den:
			return r.cols[m.den] == 1, ""
		}
		for code, col := range m.excluded {
			if r.cols[col] == 1 {
				return true, code
			}
		}
		return false, ""
	}, true
}

// openWhistles is open for questions that are about whistles.
func (r *Reader) openWhistles(ctx context.Context, do func(tx *viewdb.Tx, b book) error) (eventstore.Position, error) {
	var of eventstore.Position
	at, err := r.snapshot(ctx, ClosureView, func(s *snapshot) error {
		b, err := r.closure(s)
		if err != nil {
			return err
		}
		if of, err = projector.Position(s.whole, WhistlesView); err != nil {
			return err
		}
		return do(s.whole, b)
	})
	return min(at, of), err
}
