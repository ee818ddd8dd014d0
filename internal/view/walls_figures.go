package view

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// echoed is what a post adds to a metric's figures, wherever it counts.
//
// M29 (子墙自解率, 母墙承接率), by when it was posted: a post on a child wall, whether it was solved there, whether it was lifted, and whether what was lifted is
// closed by the community or a grid of it. One that was not admitted to the wall is left out as X1.
//
// M45 (回音率, 回音时长), by when its ticket was closed, if it is: whether its result was echoed, and how long after it was posted. That is the last
// result echo up to the closing, or else the first after it.
type echoed struct {
	num, den, refused, lifted, taken int64
	took                             []int64 // microseconds
}

func (e *echoed) add(o *echoed) {
	e.num, e.den, e.refused, e.lifted, e.taken = e.num+o.num, e.den+o.den, e.refused+o.refused, e.lifted+o.lifted, e.taken+o.taken
	e.took = append(e.took, o.took...)
}

// closing is when the ticket was closed, as of T; never while it is not. taken says that the community did.
func (w *wallRow) closing(t int64) (at int64, taken bool) {
	at = never
	for _, turn := range w.turns {
		switch {
		case turn.at > t:
		case turn.what == turnClosed, turn.what == turnTaken:
			at, taken = turn.at, turn.what == turnTaken
		case turn.what == turnReopened:
			at, taken = never, false
		}
	}
	return at, taken
}

// echo is when the result that a closing rests on was echoed, as of T; never if it was not.
func (w *wallRow) echo(closed, t int64) int64 {
	before, after := never, never
	for _, turn := range w.turns {
		switch {
		case turn.what != turnEchoed || turn.at > t:
		case turn.at <= closed:
			before = max(before, turn.at)
		case after == never || turn.at < after:
			after = turn.at
		}
	}
	if before != never {
		return before
	}
	return after
}

// adds is what the post adds to a metric's figures of a period at T; ok is false for nothing.
func (w *wallRow) adds(metric string, from, to, t int64) (e echoed, ok bool) {
	if w.posted > t {
		return e, false
	}
	happened := func(at int64) bool { return at != never && at <= t }
	closed, taken := w.closing(t)
	if metric == "M45" {
		if closed == never || closed < from || closed >= to {
			return e, false
		}
		e.den = 1
		if at := w.echo(closed, t); at != never {
			e.num, e.took = 1, []int64{at - w.posted}
		}
		return e, true
	}
	switch {
	case w.mother || w.posted < from || w.posted >= to:
		return e, false
	case happened(w.refused):
		e.refused = 1
		return e, true
	}
	e.den = 1
	if happened(w.solved) {
		e.num = 1
	}
	if happened(w.liftAt) {
		e.lifted = 1
		if taken {
			e.taken = 1
		}
	}
	return e, true
}

// nodes are those at which the post counts: all, the areas where it was posted and the direct row of the last, the unit that had that wall, and the
// category.
func (w *wallRow) nodes(yield func(level, code, name, path string)) {
	yield("all", "", "", "")
	var names []string
	for _, n := range w.path {
		names = append(names, n.Name)
		yield(n.Level, n.Code, n.Name, strings.Join(names, "/"))
	}
	if n := len(w.path); n > 0 && w.path[n-1].Level != finest {
		yield(DirectLevel, w.path[n-1].Code, w.path[n-1].Name, strings.Join(names, "/"))
	}
	yield("unit", w.first, w.first, "")
	if w.category != "" {
		yield("category", w.category, w.category, "")
	}
}

// in says whether the post counts at a node.
func (w *wallRow) in(level, code string) (in bool) {
	w.nodes(func(l, c, _, _ string) { in = in || l == level && c == code })
	return in
}

// wallMetrics are M29 and M45 of the nodes of a level.
func (r *Reader) wallMetrics(ctx context.Context, q MetricQuery) ([]*pb.MetricFigure, eventstore.Position, error) {
	from, to, t, err := q.span()
	if err != nil {
		return nil, 0, err
	}
	sums, figures := map[string]*echoed{}, map[string]*pb.MetricFigure{}
	add := func(w *wallRow) {
		if q.Map != nil {
			w.path = present(q.Map, w.path)
		}
		if q.Area != "" && !slices.ContainsFunc(w.path, func(n *pb.AreaNode) bool { return n.Code == q.Area }) {
			return
		}
		one, ok := w.adds(q.Metric, from, to, t)
		if !ok {
			return
		}
		w.nodes(func(level, code, name, path string) {
			if level != q.Level || above(w.path, q.Area, level, code) {
				return
			}
			if figures[code] == nil {
				sums[code], figures[code] = new(echoed), &pb.MetricFigure{Metric: q.Metric, Level: level, Code: code, Name: name, Path: path}
			}
			sums[code].add(&one)
		})
	}
	at, err := r.posts(ctx, q.KnownAt, q.Metric, from, to, add)
	if err != nil {
		return nil, 0, err
	}
	all := make([]*pb.MetricFigure, 0, len(figures))
	for code, f := range figures {
		sums[code].figure(f)
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b *pb.MetricFigure) int { return cmp.Compare(a.Code, b.Code) })
	return all, at, nil
}

// figure puts the sums into a figure.
func (e *echoed) figure(f *pb.MetricFigure) {
	f.Numerator, f.Denominator, f.Rate = e.num, &e.den, rate(e.num, e.den)
	if e.refused > 0 {
		f.Excluded = map[string]int64{"X1": e.refused}
	}
	if f.Metric == "M29" {
		f.Parts = map[string]int64{"lifted": e.lifted, "lifted_closed": e.taken}
		return
	}
	var sum int64
	for _, us := range e.took {
		sum += us
	}
	f.MeanHours, f.MedianHours = rate(sum, int64(len(e.took))*int64(time.Hour/time.Microsecond)), median(e.took)
}

// posts hands over the posts that may add to a metric of a period: those of the view, or of what was known at a position.
func (r *Reader) posts(ctx context.Context, known *eventstore.Position, metric string, from, to int64, add func(*wallRow)) (at eventstore.Position, err error) {
	if known != nil {
		return *known, r.rememberPosts(ctx, *known, add)
	}
	err = r.db.Read(ctx, func(tx *viewdb.Tx) error {
		if at, err = projector.Position(tx, WallsView); err != nil {
			return err
		}
		where := "WHERE posted_at >= $1 AND posted_at < $2 ORDER BY post"
		if metric == "M45" {
			where = "WHERE post IN (SELECT post FROM walls_turn_1 WHERE turn IN (1, 2) AND at >= $1 AND at < $2) ORDER BY post"
		}
		list, err := queryPosts(tx, where, from, to)
		for _, w := range list {
			add(w)
		}
		return err
	})
	return at, err
}

// rememberPosts hands over the posts as they were known at a position.
func (r *Reader) rememberPosts(ctx context.Context, until eventstore.Position, add func(*wallRow)) error {
	byID := map[string]*wallRow{}
	var list []*wallRow
	for e, err := range r.store.ReadAll(ctx, 0) {
		if err != nil {
			return err
		}
		if e.Position > until {
			break
		}
		of, id, _ := strings.Cut(e.Stream, "-")
		if of != "wall" && (of != "ticket" || byID[id] == nil) {
			continue
		}
		d, err := event.Decode(e)
		if err != nil {
			return err
		}
		w := byID[id]
		if w == nil {
			w = &wallRow{absent: true}
			byID[id], list = w, append(list, w)
		}
		if err := w.fold(of, id, &d); err != nil {
			return err
		}
	}
	for _, w := range list {
		add(w)
	}
	return nil
}

// postsBehind gives the posts behind M29, and the tickets of posts behind M45.
func (r *Reader) postsBehind(ctx context.Context, q BehindQuery, m *MetricQuery, after int64, size int, bound []byte) (page []*pb.BehindTicket, next string, total int64, at eventstore.Position, err error) {
	from, to, t, err := m.span()
	if err != nil {
		return nil, "", 0, 0, err
	}
	collection := "posts/"
	if q.Metric == "M45" {
		collection = "tickets/"
	}
	var last int64
	at, err = r.posts(ctx, m.KnownAt, q.Metric, from, to, func(w *wallRow) {
		if m.Map != nil {
			w.path = present(m.Map, w.path)
		}
		e, ok := w.adds(q.Metric, from, to, t)
		if !ok || !w.in(q.Level, q.Code) {
			return
		}
		in, exclusion := false, ""
		switch q.Set {
		case pb.FigureSet_FIGURE_SET_NUMERATOR:
			in = e.num > 0
		case pb.FigureSet_FIGURE_SET_DENOMINATOR:
			in = e.den > 0
		case pb.FigureSet_FIGURE_SET_EXCLUDED:
			in, exclusion = e.refused > 0, "X1"
		}
		if !in {
			return
		}
		total++
		switch {
		case w.post <= after:
		case len(page) == size:
			if next == "" {
				next = token(bound, strconv.FormatInt(last, 10))
			}
		default:
			page = append(page, &pb.BehindTicket{Name: collection + w.id, No: w.no, Exclusion: exclusion})
			last = w.post
		}
	})
	return page, next, total, at, err
}
