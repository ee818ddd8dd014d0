package view

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// bannedDeliveries is the metric of what the ban list kept out of communities.
const bannedDeliveries = "M44"

// nodes gives every node that an attempt counts at: the areas of the unit it was meant for, the last of them directly, and the unit that tried with those above it.
func (a *attempt) nodes(yield func(level, code, name, path string)) {
	yield("all", "", "", "")
	var names []string
	for _, n := range a.path {
		names = append(names, n.Name)
		yield(n.Level, n.Code, n.Name, strings.Join(names, "/"))
	}
	if n := len(a.path); n > 0 && a.path[n-1].Level != finest {
		yield(DirectLevel, a.path[n-1].Code, a.path[n-1].Name, strings.Join(names, "/"))
	}
	for _, u := range a.units {
		yield("unit", u, u, "")
	}
}

// bannedMetrics is M44 of the nodes of a level: each refused request once, when it was tried first, and how many of each item of the ban list.
func (r *Reader) bannedMetrics(ctx context.Context, q MetricQuery) ([]*pb.MetricFigure, eventstore.Position, error) {
	from, to, t, err := q.span()
	if err != nil {
		return nil, 0, err
	}
	list, at, err := r.attempts(ctx, &q)
	if err != nil {
		return nil, 0, err
	}
	figures := map[string]*pb.MetricFigure{}
	for _, a := range list {
		if a.at < from || a.at >= to || a.at > t {
			continue
		}
		if q.Area != "" && !slices.ContainsFunc(a.path, func(n *pb.AreaNode) bool { return n.Code == q.Area }) {
			continue
		}
		a.nodes(func(level, code, name, path string) {
			if level != q.Level || code == "" && level != "all" || above(a.path, q.Area, level, code) {
				return
			}
			f := figures[code]
			if f == nil {
				f = &pb.MetricFigure{Metric: q.Metric, Level: level, Code: code, Name: name, Path: path, Parts: map[string]int64{}}
				figures[code] = f
			}
			f.Numerator++
			f.Parts[strings.ToLower(a.item)]++
		})
	}
	all := make([]*pb.MetricFigure, 0, len(figures))
	for _, f := range figures {
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b *pb.MetricFigure) int { return cmp.Compare(a.Code, b.Code) })
	return all, at, nil
}

// attempts are all that were made, as the query knows of them and on its map.
func (r *Reader) attempts(ctx context.Context, q *MetricQuery) (list []*attempt, at eventstore.Position, err error) {
	if q.KnownAt != nil {
		at = *q.KnownAt
		list, err = r.rememberAttempts(ctx, at)
	} else {
		list, at, err = r.presentAttempts(ctx)
	}
	if q.Map != nil {
		for _, a := range list {
			a.path = present(q.Map, a.path)
		}
	}
	return list, at, err
}

func (r *Reader) presentAttempts(ctx context.Context) (list []*attempt, at eventstore.Position, err error) {
	err = r.db.Read(ctx, func(tx *viewdb.Tx) error {
		if at, err = projector.Position(tx, AdmissionsView); err != nil {
			return err
		}
		list, err = queryAttempts(tx)
		return err
	})
	return list, at, err
}

// rememberAttempts are the attempts as known at a position, from the history.
func (r *Reader) rememberAttempts(ctx context.Context, until eventstore.Position) ([]*attempt, error) {
	var list []*attempt
	seen := map[string]bool{}
	for e, err := range r.store.ReadAll(ctx, 0) {
		if err != nil {
			return nil, err
		}
		if e.Position > until {
			break
		}
		if !strings.HasPrefix(e.Stream, "audit-") {
			continue
		}
		d, err := event.Decode(e)
		if err != nil {
			return nil, err
		}
		if a := attempted(&d); a != nil && !seen[a.request] {
			seen[a.request] = true
			list = append(list, a)
		}
	}
	return list, nil
}

// bannedBehind gives the tickets, whistles and posts with which it was tried; one that was tried several times stands once, where it was first.
// What never came to be, such as a whistle that was not blown, stands by the name it would have had.
func (r *Reader) bannedBehind(ctx context.Context, q BehindQuery, m *MetricQuery, after int64, size int, bound []byte) (page []*pb.BehindTicket, next string, total int64, at eventstore.Position, err error) {
	from, to, t, err := m.span()
	if err != nil {
		return nil, "", 0, 0, err
	}
	list, at, err := r.attempts(ctx, m)
	if err != nil {
		return nil, "", 0, 0, err
	}
	seen := map[string]bool{}
	var last int64
	for _, a := range list {
		in := false
		if q.Set == pb.FigureSet_FIGURE_SET_NUMERATOR && a.at >= from && a.at < to && a.at <= t {
			a.nodes(func(level, code, _, _ string) { in = in || level == q.Level && code == q.Code })
		}
		if !in || seen[a.stream] {
			continue
		}
		seen[a.stream] = true
		total++
		switch {
		case a.refused <= after:
		case len(page) == size:
			if next == "" {
				next = token(bound, strconv.FormatInt(last, 10))
			}
		default:
			page = append(page, &pb.BehindTicket{Name: rule.NameOf(a.stream)})
			last = a.refused
		}
	}
	return page, next, total, at, nil
}
