package view

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// logbook is where figures of service are computed from: the rows of the view, or the lives of a history up to a position.
type logbook interface {
	atlas
	// sum adds up a figure in a period as things were at its instant; a node without any has no entry.
	sum(figure byte, in period, of *selection) (map[int64]*cells, error)
	// between yields the tickets after one, in order, of which something may count in [from, to), until it is told to stop. They are
	// good until the next.
	between(after, from, to int64, yield func(l *life) (more bool, err error)) error
	// held yields those that were suspended at some time.
	held(yield func(l *life)) error
	// persons yields the tickets of each person who reported more than one, those of which something may count in [from, to).
	persons(from, to int64, yield func(all []*life)) error
	// levels are those that tickets landed on, by their places from 1.
	levels() ([]string, error)
}

// addPosts adds what a ticket posts to a figure in a period.
func (p *period) addPosts(l *life, figure byte, of *selection, sums map[int64]*cells, sign int64) {
	if of.area != nil && !slices.ContainsFunc(l.area, func(id int64) bool { return of.area[id] }) {
		return
	}
	posts, places := l.postsOf(figure, p.at), l.places()
	for i := range posts {
		x := &posts[i]
		if x.at < p.from || x.at >= p.to {
			continue
		}
		x.eachNode(places, func(id int64) {
			if of.nodes[id] == nil {
				return
			}
			if sums[id] == nil {
				sums[id] = new(cells)
			}
			sums[id][x.cell] += sign * x.n
		})
	}
}

// oneByOne looks at each ticket: what counters do faster.
func oneByOne(b logbook, figure byte, in period, of *selection, sums map[int64]*cells) error {
	if in.to <= in.from {
		return nil
	}
	return b.between(0, in.from, in.to, func(l *life) (bool, error) {
		in.addPosts(l, figure, of, sums, 1)
		return true, nil
	})
}

// logs is a logbook of the view's rows, as a transaction sees them.
type logs struct{ *table }

func (b *logs) sum(figure byte, in period, of *selection) (map[int64]*cells, error) {
	sums := map[int64]*cells{}
	if in.to <= in.from {
		return sums, nil
	}
	if in.at < in.to && !serviceFigures[figure].limits {
		in.to = ever // at T, nothing that has happened lies after it
	}
	if of.area != nil {
		return sums, oneByOne(b, figure, in, of, sums)
	}
	changed, err := b.count("last_at > $1", in.at)
	if err != nil {
		return nil, err
	}
	if changed > 1_000 {
		holds, err := b.count("to_at >= $1 AND from_at < $2", in.from, in.to)
		if err != nil {
			return nil, err
		}
		if holds < changed {
			return sums, oneByOne(b, figure, in, of, sums)
		}
	}
	now := in
	now.at = ever
	if err := b.counters(figure, now, of, sums); err != nil {
		return nil, err
	}
	// What became true after T is taken back.
	return sums, b.lives("last_at > $1", []any{in.at}, func(l *life) (bool, error) {
		now.addPosts(l, figure, of, sums, -1)
		in.addPosts(l, figure, of, sums, 1)
		return true, nil
	})
}

func (b *logs) count(where string, args ...any) (n int64, err error) {
	for row, err := range b.tx.Query("SELECT COUNT(*) FROM service_ticket_3 WHERE "+where, args...) {
		if err != nil {
			return 0, err
		}
		n = row.Int64(0)
	}
	return n, nil
}

// counters adds whole days from the counters and the parts of days ticket by ticket, as things are now.
func (b *logs) counters(figure byte, in period, of *selection, sums map[int64]*cells) error {
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
		return oneByOne(b, figure, in, of, sums)
	}
	if err := b.whole(figure, first, last, of, sums); err != nil {
		return err
	}
	if in.from > -hugeMicros {
		edge := in
		edge.to = b.days.begins(first)
		if err := oneByOne(b, figure, edge, of, sums); err != nil {
			return err
		}
	}
	if in.to < hugeMicros {
		edge := in
		edge.from = b.days.begins(last)
		return oneByOne(b, figure, edge, of, sums)
	}
	return nil
}

// whole adds the counters of days from first and before last.
func (b *logs) whole(figure byte, first, last int64, of *selection, sums map[int64]*cells) error {
	return b.table.counters.read(b.tx, b.known.table, of, shelfOf(figure), first, last, func(node int64, column int, n int64) {
		if column>>cellBits != int(figure) {
			return
		}
		if sums[node] == nil {
			sums[node] = new(cells)
		}
		sums[node][column&(1<<cellBits-1)] += n
	})
}

// lives yields the tickets that a condition holds for, in order.
func (b *logs) lives(where string, args []any, yield func(l *life) (bool, error)) error {
	var l life
	var buf []byte
	for row, err := range b.tx.Query("SELECT ticket, id, no, subject, life FROM service_ticket_3 WHERE "+where+" ORDER BY ticket", args...) {
		if err != nil {
			return err
		}
		l.ticket, l.id, l.no, l.subject = row.Int64(0), row.Text(1), row.Text(2), row.Text(3)
		buf = row.Bytes(4, buf[:0])
		if err := l.read(buf); err != nil {
			return err
		}
		if more, err := yield(&l); err != nil || !more {
			return err
		}
	}
	return nil
}

func (b *logs) between(after, from, to int64, yield func(l *life) (bool, error)) error {
	return b.lives("ticket > $1 AND to_at >= $2 AND from_at < $3", []any{after, from, to}, yield)
}

func (b *logs) held(yield func(l *life)) error {
	return b.lives("held = 1", nil, func(l *life) (bool, error) {
		yield(l)
		return true, nil
	})
}

// queryPersons looks others of a person up by the index of subjects, which has only those that are known: both sides say so.
const queryPersons = `SELECT t.subject, t.ticket, t.life FROM service_ticket_3 t
	WHERE t.subject <> '' AND t.to_at >= $1 AND t.from_at < $2
	AND EXISTS (SELECT 1 FROM service_ticket_3 o WHERE o.subject = t.subject AND o.subject <> '' AND o.ticket <> t.ticket) ORDER BY t.subject, t.ticket`

func (b *logs) persons(from, to int64, yield func(all []*life)) error {
	var all []*life
	for row, err := range b.tx.Query(queryPersons, from, to) {
		if err != nil {
			return err
		}
		l := &life{subject: row.Text(0), ticket: row.Int64(1)}
		if err := l.read(row.Bytes(2, nil)); err != nil {
			return err
		}
		if len(all) > 0 && all[0].subject != l.subject {
			yield(all)
			all = nil
		}
		all = append(all, l)
	}
	if len(all) > 0 {
		yield(all)
	}
	return nil
}

func (b *logs) levels() ([]string, error) { return levelsIn(b.tx) }

// recollection is a logbook of what was known at a position.
type recollection struct {
	*memory
	lives   []*life
	anchors *anchors
}

func recollect(ctx context.Context, store eventstore.Store, until eventstore.Position) (logbook, error) {
	known := &anchors{}
	m := &recollection{memory: &memory{nodes: newNodes(nil, "")}, anchors: known}
	byID := map[string]*life{}
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
		switch kind, id := kind(&d); kind {
		case "registry":
			err = known.fold(&d)
		case "ticket":
			l := byID[id]
			if l == nil {
				l = &life{id: id}
				byID[id] = l
				m.lives = append(m.lives, l)
			}
			err = l.fold(&d, m.nodes, known)
		}
		if err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *recollection) levels() ([]string, error) { return m.anchors.levels, nil }

func (m *recollection) sum(figure byte, in period, of *selection) (map[int64]*cells, error) {
	sums := map[int64]*cells{}
	return sums, oneByOne(m, figure, in, of, sums)
}

func (m *recollection) between(after, from, to int64, yield func(l *life) (bool, error)) error {
	for _, l := range m.lives {
		if l.ticket <= after {
			continue
		}
		if more, err := yield(l); err != nil || !more {
			return err
		}
	}
	return nil
}

func (m *recollection) held(yield func(l *life)) error {
	for _, l := range m.lives {
		yield(l)
	}
	return nil
}

func (m *recollection) persons(from, to int64, yield func(all []*life)) error {
	bySubject := map[string][]*life{}
	for _, l := range m.lives {
		if l.subject != "" {
			bySubject[l.subject] = append(bySubject[l.subject], l)
		}
	}
	for _, all := range bySubject {
		yield(all)
	}
	return nil
}

// openService runs do on the logbook that a question is about, and says what position its answer is as of.
func (r *Reader) openService(ctx context.Context, known *eventstore.Position, do func(b logbook) error) (eventstore.Position, error) {
	return ask(ctx, r, ServiceView, known, recollect, r.service, do)
}

func (r *Reader) serviceTable(tx *viewdb.Tx) (*table, error) {
	return r.table(tx, "service_zone_3", "service_node_3", serviceCounters())
}

// again is how far apart two reports of a person are that count as one matter.
const again = int64(30 * 24 * time.Hour / time.Microsecond)

// repeated yields the tickets, accepted in the period and not merged, whose person had reported a matter of the same category in the
// thirty days before, with the instant of acceptance.
func repeated(b logbook, in period, yield func(l *life, c *course)) error {
	before := never
	if in.from > -hugeMicros {
		before = in.from - again
	}
	return b.persons(before, in.to, func(all []*life) {
		courses := make([]*course, len(all))
		for i, l := range all {
			courses[i] = l.walk(in.at)
		}
		for i, c := range courses {
			if c.accepted == never || c.accepted < in.from || c.accepted >= in.to || c.left() != 0 || c.direct {
				continue
			}
			for k, o := range courses {
				earlier := o.accepted < c.accepted || o.accepted == c.accepted && all[k].ticket < all[i].ticket
				if k != i && o.accepted != never && earlier && c.accepted-o.accepted <= again && o.left() != x1 && all[k].category == all[i].category {
					yield(all[i], c)
					break
				}
			}
		}
	})
}

// counted says whether the ticket counts at a node that is asked about, or at the path of a unit.
func (of *selection) counted(l *life, unit []int64, yield func(id int64)) {
	if of.area != nil && !slices.ContainsFunc(l.area, func(id int64) bool { return of.area[id] }) {
		return
	}
	p := post{unit: unit}
	p.eachNode(l.places(), func(id int64) {
		if of.nodes[id] != nil {
			yield(id)
		}
	})
}

// serviceMetricOf gives the figure of one node.
func (r *Reader) serviceMetricOf(ctx context.Context, q MetricQuery) (figure *pb.MetricFigure, at eventstore.Position, err error) {
	at, err = r.openService(ctx, q.KnownAt, func(b logbook) error {
		n, err := b.node(q.Level, q.Code)
		if err != nil {
			return err
		}
		if n == nil {
			return rule.Bad("code", rule.NotFound, "no ticket was ever reported there")
		}
		all, err := serviceMetrics(b, []*node{n}, &selection{nodes: map[int64]*node{n.id: n}}, &q, true)
		if err != nil {
			return err
		}
		figure = all[0]
		return nil
	})
	return figure, at, err
}

// ticketsServed gives a page of the tickets behind a figure; one that counts more than once stands once.
func (r *Reader) ticketsServed(ctx context.Context, q BehindQuery, m *MetricQuery, after int64, size int, bound []byte) (tickets []*pb.BehindTicket, next string, total int64, at eventstore.Position, err error) {
	from, to, t, err := m.span()
	if err != nil {
		return nil, "", 0, 0, err
	}
	at, err = r.openService(ctx, q.KnownAt, func(b logbook) error {
		b, err := logOnMap(b, q.Map)
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
		s, err := servedSet(b, n, &q, period{from: from, to: to, at: t})
		if err != nil {
			return err
		}
		total = s.total
		var last int64
		return s.behind(b, after, func(l *life, exclusion string) bool {
			if len(tickets) == size {
				next = token(bound, strconv.FormatInt(last, 10))
				return false
			}
			tickets = append(tickets, &pb.BehindTicket{Name: "tickets/" + l.id, No: l.no, Exclusion: exclusion})
			last = l.ticket
			return true
		})
	})
	return tickets, next, total, at, err
}

// isServiceMetric says whether a metric is read from the view of service.
func isServiceMetric(name string) bool {
	_, ok := serviceFigure(name)
	return ok || name == stockOfHolds
}

// stockOfHolds is what is suspended at an instant.
const stockOfHolds = "M30"

// serviceMetrics makes a metric's figures for the nodes; those that nothing adds to only if empty is asked for.
func serviceMetrics(b logbook, list []*node, of *selection, q *MetricQuery, empty bool) ([]*pb.MetricFigure, error) {
	from, to, t, err := q.span()
	if err != nil {
		return nil, err
	}
	in := period{from: from, to: to, at: t}
	number, ok := serviceFigure(q.Metric)
	if !ok {
		number = figHolds
		in.from, in.to = never, after(t)
	}
	sums, err := b.sum(number, in, of)
	if err != nil {
		return nil, err
	}
	figure := &serviceFigures[number]
	var took map[int64]*times
	var ages, persons map[int64][]int64
	var levels []string
	var stock map[int64]*cells
	switch {
	case number == figLevels:
		levels, err = b.levels()
	case number == figHours:
		took, err = hoursOf(b, in, of, q.Worked)
	case number == figHolds:
		ages, err = agesOf(b, t, of)
	case number == figCleared:
		if levels, err = b.levels(); err == nil {
			stock, err = b.sum(figListings, period{from: never, to: min(to, after(t)), at: t}, of)
		}
	case number == figRepeats:
		persons = map[int64][]int64{}
		err = repeated(b, in, func(l *life, c *course) {
			of.counted(l, c.lead, func(id int64) { persons[id] = append(persons[id], l.ticket) })
		})
	}
	if err != nil {
		return nil, err
	}
	var all []*pb.MetricFigure
	for _, n := range list {
		c := sums[n.id]
		if c == nil {
			c = new(cells)
		}
		kept := orNone(stock[n.id])
		if !empty && *c == (cells{}) && kept[cellListed] == kept[cellCleared] {
			continue
		}
		f := &pb.MetricFigure{Metric: q.Metric, Level: n.level, Code: n.code, Name: n.label(), Path: n.path}
		all = append(all, f)
		if number == figHolds {
			f.Parts = map[string]int64{}
			for i := range holdReasons {
				kept := c[i] - c[holdReasons+i]
				f.Numerator += kept
				f.Parts[strings.ToLower(reasonName(i))] = kept
			}
			countAges(f.Parts, ages[n.id])
			continue
		}
		f.Numerator = c[cellNum]
		for i, code := range figure.excluded {
			if x := c[figure.exclusion(i)]; x != 0 {
				if f.Excluded == nil {
					f.Excluded = map[string]int64{}
				}
				f.Excluded[fmt.Sprintf("X%d", code)] = x
			}
		}
		if number == figHours {
			f.MeanHours = rate(c[figure.part(0)], f.Numerator*int64(time.Hour/time.Microsecond))
			if t := took[n.id]; t != nil {
				f.MedianHours, f.P90Hours = median(t.natural), tenth(t.natural)
				f.WorkingMeanHours, f.WorkingMedianHours, f.WorkingP90Hours = mean(t.working), median(t.working), tenth(t.working)
			}
			continue
		}
		for i, name := range figure.parts {
			if f.Parts == nil {
				f.Parts = map[string]int64{}
			}
			f.Parts[name] = c[figure.part(i)]
		}
		if number == figCleared {
			f.Parts[listedPart] = kept[cellListed] - kept[cellCleared]
			issuerParts(f.Parts, levels, c, figure.part(len(raisedParts)))
		}
		for i := 0; number == figLevels && i < min(len(levels), places); i++ {
			name, cell := placeName(levels, i), figure.part(1)+3*i
			f.Parts[name], f.Parts[name+"_escalated"], f.Parts[name+"_own"] = c[cell], c[cell+1], c[cell+2]
		}
		if number == figRepeats {
			f.Parts["repeated"] = int64(len(persons[n.id]))
			f.Numerator += f.Parts["repeated"]
		}
		den := c[cellDen]
		f.Denominator, f.Rate = &den, rate(f.Numerator, den)
	}
	return all, nil
}

// after is the end of a period that an instant is the last of.
func after(t int64) int64 {
	if t == ever {
		return ever
	}
	return t + 1
}

// reasonName is that of the i-th reason of suspension.
func reasonName(i int) string {
	return strings.TrimPrefix(pb.SuspensionReason(i+1).String(), "SUSPENSION_REASON_")
}

// times are how long something took each time, in microseconds of the clock and of office hours.
type times struct{ natural, working []int64 }

// hoursOf are the times that M21 is the mean of; those of office hours only if worked tells them.
func hoursOf(b logbook, in period, of *selection, worked func(from, to time.Time) (time.Duration, error)) (map[int64]*times, error) {
	took := map[int64]*times{}
	return took, b.between(0, in.from, in.to, func(l *life) (bool, error) {
		course := l.walk(in.at)
		for i := range course.rounds {
			r := &course.rounds[i]
			if course.left() != 0 || r.result == never || r.opened == never || r.result < in.from || r.result >= in.to {
				continue
			}
			var inOffice int64
			if worked != nil {
				var err error
				if inOffice, err = course.worked(worked, r.opened, r.result); err != nil {
					return false, err
				}
			}
			of.counted(l, r.unit, func(id int64) {
				t := took[id]
				if t == nil {
					t = new(times)
					took[id] = t
				}
				t.natural = append(t.natural, r.took())
				if worked != nil {
					t.working = append(t.working, inOffice)
				}
			})
		}
		return true, nil
	})
}

// worked is how much of [from, to) was office hours while the clock ran, in microseconds.
func (c *course) worked(worked func(from, to time.Time) (time.Duration, error), from, to int64) (sum int64, err error) {
	add := func(from, to, sign int64) error {
		if to <= from {
			return nil
		}
		d, err := worked(time.UnixMicro(from), time.UnixMicro(to))
		sum += sign * d.Microseconds()
		return err
	}
	err = add(from, to, 1)
	for _, h := range c.holds {
		end := h.to
		if end == never {
			end = to
		}
		err = errors.Join(err, add(max(h.from, from), min(end, to), -1))
	}
	return max(0, sum), err
}

// mean of none is unset.
func mean(micros []int64) *float64 {
	var sum int64
	for _, m := range micros {
		sum += m
	}
	return rate(sum, int64(len(micros))*int64(time.Hour/time.Microsecond))
}

// tenth is the time that nine of ten do not exceed, in hours; the times are in order.
func tenth(micros []int64) *float64 {
	n := len(micros)
	if n == 0 {
		return nil
	}
	hours := float64(micros[(9*n+9)/10-1]) / 3.6e9
	return &hours
}

// agesOf are for how long what is suspended at T has been.
func agesOf(b logbook, t int64, of *selection) (map[int64][]int64, error) {
	ages := map[int64][]int64{}
	return ages, b.held(func(l *life) {
		for _, h := range l.walk(t).holds {
			if h.to == never {
				of.counted(l, h.unit, func(id int64) { ages[id] = append(ages[id], t-h.from) })
			}
		}
	})
}

const oneDay = int64(24 * time.Hour / time.Microsecond)

// countAges tells how many suspensions are of which age; they are reviewed after ninety days at the latest.
func countAges(parts map[string]int64, ages []int64) {
	parts["to_30_days"], parts["to_90_days"], parts["over_90_days"] = 0, 0, 0
	for _, age := range ages {
		switch {
		case age <= 30*oneDay:
			parts["to_30_days"]++
		case age <= 90*oneDay:
			parts["to_90_days"]++
		default:
			parts["over_90_days"]++
		}
	}
}

// behindSet is a set of a metric's figure for a node.
type behindSet struct {
	n       *node
	set     pb.FigureSet
	in      period
	holds   bool
	number  byte
	total   int64          // as often as tickets count in it
	persons map[int64]bool // tickets of the same person again, which count besides their posts
}

// servedSet counts a set, once.
func servedSet(b logbook, n *node, q *BehindQuery, in period) (*behindSet, error) {
	s := &behindSet{n: n, set: q.Set, in: in, holds: q.Metric == stockOfHolds}
	of := &selection{nodes: map[int64]*node{n.id: n}}
	if s.number, _ = serviceFigure(q.Metric); s.holds {
		s.number = figHolds
		if s.in.from, s.in.to = never, after(in.at); s.set != pb.FigureSet_FIGURE_SET_NUMERATOR {
			return s, nil
		}
	}
	sums, err := b.sum(s.number, s.in, of)
	if err != nil {
		return nil, err
	}
	c := orNone(sums[n.id])
	switch {
	case s.holds:
		for i := range holdReasons {
			s.total += c[i] - c[holdReasons+i]
		}
	case s.set == pb.FigureSet_FIGURE_SET_NUMERATOR:
		s.total = c[cellNum]
	case s.set == pb.FigureSet_FIGURE_SET_DENOMINATOR:
		s.total = c[cellDen]
	default:
		for i := range serviceFigures[s.number].excluded {
			s.total += c[serviceFigures[s.number].exclusion(i)]
		}
	}
	if s.number == figRepeats && s.set == pb.FigureSet_FIGURE_SET_NUMERATOR {
		s.persons = map[int64]bool{}
		err = repeated(b, s.in, func(l *life, c *course) {
			of.counted(l, c.lead, func(int64) {
				s.persons[l.ticket] = true
				s.total++
			})
		})
	}
	return s, err
}

// behind yields the tickets after one that are in the set, with the exclusion code. From the beginning it looks no further than to the
// last of them.
func (s *behindSet) behind(b logbook, start int64, yield func(l *life, exclusion string) bool) error {
	if s.total == 0 {
		return nil
	}
	var seen int64
	return b.between(start, s.in.from, s.in.to, func(l *life) (bool, error) {
		code, times := s.counts(l)
		if times == 0 {
			return true, nil
		}
		seen += times
		return yield(l, code) && (start > 0 || seen < s.total), nil
	})
}

// counts is how often a ticket is in the set.
func (s *behindSet) counts(l *life) (exclusion string, times int64) {
	places := l.places()
	if s.holds {
		for _, h := range l.walk(s.in.at).holds {
			if h.to == never && (slices.Contains(places, s.n.id) || slices.Contains(h.unit, s.n.id)) {
				times++
			}
		}
		return "", times
	}
	times = flag(s.persons[l.ticket])
	figure := &serviceFigures[s.number]
	posts := l.postsOf(s.number, s.in.at)
	for i := range posts {
		p := &posts[i]
		if p.at < s.in.from || p.at >= s.in.to {
			continue
		}
		excluded := int(p.cell) - cellMore
		p.eachNode(places, func(id int64) {
			switch {
			case id != s.n.id:
			case p.cell == cellNum && s.set == pb.FigureSet_FIGURE_SET_NUMERATOR, p.cell == cellDen && s.set == pb.FigureSet_FIGURE_SET_DENOMINATOR:
				times++
			case excluded >= 0 && excluded < len(figure.excluded) && s.set == pb.FigureSet_FIGURE_SET_EXCLUDED:
				exclusion = fmt.Sprintf("X%d", figure.excluded[excluded])
				times++
			}
		})
	}
	return exclusion, times
}
