package view

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/viewdb"
	"github.com/chuishao/dispatch/internal/whistle"
)

// WhistlesView is the name of the view of whistles.
const WhistlesView = "whistles_1"

// Whistles is the view of whistles and who has reported in. A city blows a few a day, so figures are added up when asked for.
func Whistles() projector.View {
	return projector.View{
		Name: WhistlesView,
		Schema: []string{
			// whistle is the position of the first event, path holds level, code and name of each step.
			`CREATE TABLE whistles_1 (
	whistle   INTEGER PRIMARY KEY,
	id        TEXT NOT NULL UNIQUE,
	no        TEXT NOT NULL,
	kind      BIGINT NOT NULL,
	state     BIGINT NOT NULL,
	street    TEXT NOT NULL,
	area      TEXT NOT NULL,
	path      TEXT NOT NULL,
	blown_at  BIGINT,
	issued_at BIGINT,
	closed_at BIGINT
)`,
			// unit_path holds the codes, root first. place is the order in which the whistle names them.
			`CREATE TABLE whistles_party_1 (
	whistle        BIGINT NOT NULL,
	place          BIGINT NOT NULL,
	unit           TEXT NOT NULL,
	unit_path      TEXT NOT NULL,
	compulsory     BIGINT NOT NULL,
	state          BIGINT NOT NULL,
	report_in_by   BIGINT,
	reported_in_at BIGINT,
	PRIMARY KEY (whistle, place)
) WITHOUT ROWID`,
			// Areas (kind 0) the whistle lies in and units (kind 1) that blew it or take part, with the units above.
			`CREATE TABLE whistles_step_1 (
	kind    BIGINT NOT NULL,
	code    TEXT NOT NULL,
	whistle BIGINT NOT NULL,
	PRIMARY KEY (kind, code, whistle)
) WITHOUT ROWID`,
		},
		Indexes: []string{`CREATE INDEX whistles_1_blown ON whistles_1 (blown_at)`},
		Folding: func() projector.Folding { return newWhistleFolding() },
	}
}

type party struct {
	unit       string
	path       []string
	compulsory bool
	state      pb.ParticipantState
	by, at     int64
}

type whistleRow struct {
	whistle               int64
	id, no                string
	kind                  pb.WhistleKind
	state                 pb.WhistleState
	street                string
	path                  []*pb.AreaNode
	blown, issued, closed int64
	parties               []party
}

// whistleFolding folds events into rows of whistles_1 and the tables beside it.
type whistleFolding struct{ rows hot[*whistleRow] }

func newWhistleFolding() *whistleFolding { return &whistleFolding{newHot[*whistleRow]()} }

func (f *whistleFolding) Add(tx *viewdb.Tx, d *event.Decoded) error {
	kind, id := kind(d)
	switch kind {
	case "whistle":
	default:
		return others(d, kind)
	}
	w, err := f.rows.of(id, d, func() (*whistleRow, error) { return loadWhistle(tx, id, d) })
	if err != nil {
		return err
	}
	return w.fold(d)
}

func (f *whistleFolding) Write(tx *viewdb.Tx, keep int) error {
	list := f.rows.drop(keep, func(w *whistleRow) bool { return w.closed != never })
	slices.SortFunc(list, func(a, b *whistleRow) int { return cmp.Compare(a.whistle, b.whistle) })
	for _, w := range list {
		if err := w.save(tx); err != nil {
			return err
		}
	}
	return nil
}

func newWhistle(id string, d *event.Decoded) *whistleRow {
	return &whistleRow{whistle: int64(d.Position), id: id, blown: never, issued: never, closed: never}
}

func loadWhistle(tx *viewdb.Tx, id string, d *event.Decoded) (*whistleRow, error) {
	if d.Version == 1 {
		return newWhistle(id, d), nil
	}
	list, err := queryWhistles(tx, "WHERE id = $1", id)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, orphan(d)
	}
	return list[0], nil
}

// fold takes in an event of the whistle's stream. Every event has its case.
func (w *whistleRow) fold(d *event.Decoded) error {
	at := micros(d.Meta.OccurredAt)
	switch after := whistle.StateAfter(d.Event); {
	case after == pb.WhistleState_WHISTLE_STATE_UNSPECIFIED:
	case after == pb.WhistleState_WHISTLE_STATE_WORKING && w.state == pb.WhistleState_WHISTLE_STATE_CONVENED:
		// Somebody coming late to a convened whistle does not undo that.
	default:
		w.state = after
	}
	switch e := d.Event.(type) {
	case *pb.WhistleDrafted:
		w.no, w.kind, w.street, w.path = e.No, e.Kind, e.Street, e.Path
		w.summon(e.Participants)
	case *pb.WhistleBlown:
		w.no, w.kind, w.street, w.path, w.blown = cmp.Or(e.No, w.no), e.Kind, e.Street, e.Path, at
		w.summon(e.Participants)
	case *pb.WhistleIssued:
		w.issued = at
		w.summon(e.Participants)
	case *pb.WhistleRefused, *pb.WhistleClosed:
		w.closed = at
	case *pb.WhistleSigned:
		p := w.party(e.Unit)
		p.state = max(p.state, pb.ParticipantState_PARTICIPANT_STATE_SIGNED)
	case *pb.WhistleContacted:
		p := w.party(e.Unit)
		p.state = max(p.state, pb.ParticipantState_PARTICIPANT_STATE_CONTACTED)
	case *pb.ReportedIn:
		p := w.party(e.Unit)
		p.state, p.at = pb.ParticipantState_PARTICIPANT_STATE_REPORTED_IN, at
	case *pb.TaskDone:
		w.party(e.Unit).state = pb.ParticipantState_PARTICIPANT_STATE_TASK_DONE
	case *pb.Released:
		w.party(e.Unit).state = pb.ParticipantState_PARTICIPANT_STATE_RELEASED
	case *pb.WhistleConfirmed, *pb.UnitRated, *pb.WhistleReviewed:
		// The state says it.
	default:
		return unknown(d)
	}
	return nil
}

// summon takes the participants as the event has them; what they did already stays.
func (w *whistleRow) summon(list []*pb.Participant) {
	if len(list) == 0 {
		return
	}
	parties := make([]party, 0, len(list))
	for _, p := range list {
		path := p.UnitPath
		if len(path) == 0 {
			path = []string{p.Unit}
		}
		is := party{unit: p.Unit, path: path, compulsory: p.Compulsory, state: pb.ParticipantState_PARTICIPANT_STATE_PENDING, by: micros(p.ReportInBy), at: never}
		for _, was := range w.parties {
			if was.unit == p.Unit {
				is.state, is.at = was.state, was.at
			}
		}
		parties = append(parties, is)
	}
	w.parties = parties
}

// party is a participant; one that was never summoned takes part of its own will.
func (w *whistleRow) party(unit string) *party {
	for i := range w.parties {
		if w.parties[i].unit == unit {
			return &w.parties[i]
		}
	}
	w.parties = append(w.parties, party{unit: unit, path: []string{unit}, by: never, at: never})
	return &w.parties[len(w.parties)-1]
}

func (w *whistleRow) area() string {
	if len(w.path) == 0 {
		return ""
	}
	return w.path[len(w.path)-1].Code
}

func orNull(t int64) any {
	if t == never {
		return nil
	}
	return t
}

func quoteAll(list []string) string {
	var b strings.Builder
	for _, s := range list {
		b.WriteString(strconv.Quote(s))
		b.WriteByte(' ')
	}
	return b.String()
}

func (w *whistleRow) save(tx *viewdb.Tx) error {
	var steps []string
	for _, n := range w.path {
		steps = append(steps, n.Level, n.Code, n.Name)
	}
	_, err := tx.Exec(`INSERT INTO whistles_1 (whistle, id, no, kind, state, street, area, path, blown_at, issued_at, closed_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
		ON CONFLICT (whistle) DO UPDATE SET no = excluded.no, kind = excluded.kind, state = excluded.state, street = excluded.street,
		area = excluded.area, path = excluded.path, blown_at = excluded.blown_at, issued_at = excluded.issued_at, closed_at = excluded.closed_at`,
		w.whistle, w.id, w.no, int64(w.kind), int64(w.state), w.street, w.area(), quoteAll(steps), orNull(w.blown), orNull(w.issued), orNull(w.closed))
	if err != nil {
		return err
	}
	for _, table := range []string{"whistles_party_1", "whistles_step_1"} {
		if _, err := tx.Exec("DELETE FROM "+table+" WHERE whistle = $1", w.whistle); err != nil {
			return err
		}
	}
	step := func(kind int64, code string) error {
		_, err := tx.Exec("INSERT INTO whistles_step_1 (kind, code, whistle) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", kind, code, w.whistle)
		return err
	}
	for _, n := range w.path {
		if err := step(areaPath, n.Code); err != nil {
			return err
		}
	}
	if err := step(unitPath, w.street); err != nil {
		return err
	}
	for i, p := range w.parties {
		_, err := tx.Exec(`INSERT INTO whistles_party_1 (whistle, place, unit, unit_path, compulsory, state, report_in_by, reported_in_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`, w.whistle, i, p.unit, quoteAll(p.path), p.compulsory, int64(p.state), orNull(p.by), orNull(p.at))
		if err != nil {
			return err
		}
		for _, code := range p.path {
			if err := step(unitPath, code); err != nil {
				return err
			}
		}
	}
	return nil
}

// queryWhistles reads whistles with their participants. rest follows FROM and may name w for whistles_1.
func queryWhistles(tx *viewdb.Tx, rest string, args ...any) ([]*whistleRow, error) {
	at := func(row viewdb.Row, i int) int64 {
		if row.Null(i) {
			return never
		}
		return row.Int64(i)
	}
	var list []*whistleRow
	for row, err := range tx.Query("SELECT whistle, id, no, kind, state, street, path, blown_at, issued_at, closed_at FROM whistles_1 w "+rest, args...) {
		if err != nil {
			return nil, err
		}
		w := &whistleRow{
			whistle: row.Int64(0), id: row.Text(1), no: row.Text(2), kind: pb.WhistleKind(row.Int64(3)), state: pb.WhistleState(row.Int64(4)),
			street: row.Text(5), blown: at(row, 7), issued: at(row, 8), closed: at(row, 9),
		}
		parts := unquote(row.Text(6))
		for i := 0; i+2 < len(parts); i += 3 {
			w.path = append(w.path, &pb.AreaNode{Level: parts[i], Code: parts[i+1], Name: parts[i+2]})
		}
		list = append(list, w)
	}
	for _, w := range list {
		for row, err := range tx.Query("SELECT unit, unit_path, compulsory, state, report_in_by, reported_in_at FROM whistles_party_1 WHERE whistle = $1 ORDER BY place", w.whistle) {
			if err != nil {
				return nil, err
			}
			w.parties = append(w.parties, party{row.Text(0), unquote(row.Text(1)), row.Bool(2), pb.ParticipantState(row.Int64(3)), at(row, 4), at(row, 5)})
		}
	}
	return list, nil
}

// WhistleQuery asks for a page of whistles.
type WhistleQuery struct {
	Scope Scope
	// Filter is as ListWhistlesRequest has it.
	Filter    string
	PageSize  int32
	PageToken string
}

var whistlePages = pages{50, 1_000}

var whistleFields = declare(map[string]field{
	"no":       {kind: textField, column: "no"},
	"kind":     {kind: enumField, column: "kind", values: pb.WhistleKind_value, prefix: "WHISTLE_KIND_"},
	"state":    {kind: enumField, column: "state", values: pb.WhistleState_value, prefix: "WHISTLE_STATE_"},
	"street":   {kind: textField, column: "street"},
	"area":     {kind: setField, sql: "whistle IN (SELECT whistle FROM whistles_step_1 WHERE kind = 0 AND code = %s)"},
	"unit":     {kind: setField, sql: "whistle IN (SELECT whistle FROM whistles_party_1 WHERE unit = %s)"},
	"blown_at": {kind: timeField, column: "blown_at"},
	"open":     {kind: boolField, sql: "closed_at IS NULL"},
})

// ListWhistles gives a page of the whistles in scope that the filter lets through, the latest first.
func (r *Reader) ListWhistles(ctx context.Context, q WhistleQuery) (rows []*pb.WhistleRow, next string, at eventstore.Position, err error) {
	size, err := whistlePages.size(q.PageSize)
	if err != nil {
		return nil, "", 0, err
	}
	var c condition
	if err := parseFilter(q.Filter, whistleFields, &c); err != nil {
		return nil, "", 0, err
	}
	bound := bind("whistles", q.Filter, q.Scope.text())
	text, paged, err := cursor(bound, q.PageToken)
	if err != nil {
		return nil, "", 0, err
	}
	if !q.Scope.All {
		either := []string{"1 = 0"}
		for kind, codes := range [][]string{q.Scope.Areas, q.Scope.Units} {
			for _, code := range codes {
				either = append(either, fmt.Sprintf("whistle IN (SELECT whistle FROM whistles_step_1 WHERE kind = %d AND code = %s)", kind, c.arg(code)))
			}
		}
		c.and("(" + strings.Join(either, " OR ") + ")")
	}
	if paged {
		before, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, "", 0, rule.Bad("page_token", rule.BadField, "is none that this service gave")
		}
		c.and("whistle < " + c.arg(before))
	}
	where := ""
	if c.sql != "" {
		where = "WHERE " + c.sql
	}
	err = r.db.Read(ctx, func(tx *viewdb.Tx) error {
		if at, err = projector.Position(tx, WhistlesView); err != nil {
			return err
		}
		list, err := queryWhistles(tx, where+fmt.Sprintf(" ORDER BY whistle DESC LIMIT %d", size+1), c.args...)
		if err != nil {
			return err
		}
		if len(list) > size {
			list = list[:size]
			next = token(bound, strconv.FormatInt(list[size-1].whistle, 10))
		}
		for _, w := range list {
			rows = append(rows, w.message())
		}
		return nil
	})
	return rows, next, at, err
}

func (w *whistleRow) message() *pb.WhistleRow {
	m := &pb.WhistleRow{
		Name: "whistles/" + w.id, No: w.no, Kind: w.kind, State: w.state, Street: w.street, Area: w.area(),
		BlownAt: stamp(w.blown), IssuedAt: stamp(w.issued), ClosedAt: stamp(w.closed),
	}
	for _, p := range w.parties {
		m.Arrivals = append(m.Arrivals, &pb.WhistleArrival{
			Unit: p.unit, Compulsory: p.compulsory, State: p.state, ReportInBy: stamp(p.by), ReportedInAt: stamp(p.at),
		})
	}
	return m
}

// call is a node with what of a whistle counts there.
type call struct {
	level, code, name, path string
	num, den, excused       int64
}

// calls gives what the whistle adds to a metric's figures. M31: a whistle that was blown, at its areas and the unit that
// blew it. M33: its compulsory participants that were due, at the areas and at each one's units.
func (w *whistleRow) calls(name string, from, to, t int64, yield func(c call)) {
	areas := func(c call) {
		var names []string
		yield(call{"all", "", "", "", c.num, c.den, c.excused})
		for _, n := range w.path {
			names = append(names, n.Name)
			yield(call{n.Level, n.Code, n.Name, strings.Join(names, "/"), c.num, c.den, c.excused})
		}
	}
	if name == "M31" {
		if w.blown != never && w.blown >= from && w.blown < to && w.blown <= t {
			areas(call{num: 1})
			yield(call{"unit", w.street, w.street, "", 1, 0, 0})
		}
		return
	}
	for _, p := range w.parties {
		if !p.compulsory || w.issued == never || w.issued > t || p.by == never || p.by < from || p.by >= to {
			continue
		}
		var c call
		switch {
		case p.state == pb.ParticipantState_PARTICIPANT_STATE_EXCUSED:
			c.excused = 1
		default:
			c.den = 1
			if p.at != never && p.at <= p.by && p.at <= t {
				c.num = 1
			}
		}
		areas(c)
		for _, u := range p.path {
			yield(call{"unit", u, u, "", c.num, c.den, c.excused})
		}
	}
}

// whistleMetrics are M31 and M33 of the nodes of a level. M31's denominator is M04 of the same node.
func (r *Reader) whistleMetrics(ctx context.Context, q MetricQuery) ([]*pb.MetricFigure, eventstore.Position, error) {
	from, to, t, err := q.span()
	if err != nil {
		return nil, 0, err
	}
	sums := map[string]*call{}
	add := func(w *whistleRow) {
		if q.Map != nil {
			w.path = present(q.Map, w.path)
		}
		if q.Area != "" && !slices.ContainsFunc(w.path, func(n *pb.AreaNode) bool { return n.Code == q.Area }) {
			return
		}
		w.calls(q.Metric, from, to, t, func(c call) {
			if c.level != q.Level || c.code == "" && c.level != "all" {
				return
			}
			s := sums[c.code]
			if s == nil {
				s = &call{level: c.level, code: c.code, name: c.name, path: c.path}
				sums[c.code] = s
			}
			s.num, s.den, s.excused = s.num+c.num, s.den+c.den, s.excused+c.excused
		})
	}
	var dispatched []*pb.MetricFigure
	counts := func(b book) error {
		if q.Metric != "M31" {
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
	var at eventstore.Position
	if q.KnownAt != nil {
		at, err = *q.KnownAt, r.rememberWhistles(ctx, *q.KnownAt, add)
		if err == nil && q.Metric == "M31" {
			var b book
			if b, err = remember(ctx, r.store, at); err == nil {
				err = counts(b)
			}
		}
	} else {
		at, err = r.openWhistles(ctx, func(tx *viewdb.Tx, b *table) error {
			list, err := queryWhistles(tx, "")
			if err != nil {
				return err
			}
			for _, w := range list {
				add(w)
			}
			return counts(b)
		})
	}
	if err != nil {
		return nil, 0, err
	}
	var all []*pb.MetricFigure
	for _, s := range sums {
		f := &pb.MetricFigure{Metric: q.Metric, Level: s.level, Code: s.code, Name: s.name, Path: s.path, Numerator: s.num}
		if q.Metric == "M33" {
			f.Denominator = &s.den
			if s.excused > 0 {
				f.Excluded = map[string]int64{"excused": s.excused}
			}
		} else {
			f.Denominator = new(int64)
		}
		all = append(all, f)
	}
	for _, d := range dispatched {
		i := slices.IndexFunc(all, func(f *pb.MetricFigure) bool { return f.Code == d.Code })
		if i < 0 {
			if d.Numerator == 0 {
				continue
			}
			i = len(all)
			all = append(all, &pb.MetricFigure{Metric: q.Metric, Level: d.Level, Code: d.Code, Name: d.Name, Path: d.Path})
		}
		all[i].Denominator = &d.Numerator
	}
	for _, f := range all {
		f.Rate = rate(f.Numerator, f.GetDenominator())
	}
	slices.SortFunc(all, func(a, b *pb.MetricFigure) int { return cmp.Compare(a.Code, b.Code) })
	return all, at, nil
}

func (r *Reader) rememberWhistles(ctx context.Context, until eventstore.Position, add func(*whistleRow)) error {
	byID := map[string]*whistleRow{}
	for e, err := range r.store.ReadAll(ctx, 0) {
		if err != nil {
			return err
		}
		if e.Position > until {
			break
		}
		if !strings.HasPrefix(e.Stream, "whistle-") {
			continue
		}
		d, err := event.Decode(e)
		if err != nil {
			return err
		}
		_, id := kind(&d)
		if byID[id] == nil {
			byID[id] = newWhistle(id, &d)
		}
		if err := byID[id].fold(&d); err != nil {
			return err
		}
	}
	for _, w := range byID {
		add(w)
	}
	return nil
}

// whistlesBehind gives the whistles behind M31 and M33; one with several participants in the set stands once.
func (r *Reader) whistlesBehind(ctx context.Context, q BehindQuery, m *MetricQuery, after int64, size int, bound []byte) (page []*pb.BehindTicket, next string, total int64, at eventstore.Position, err error) {
	from, to, t, err := m.span()
	if err != nil {
		return nil, "", 0, 0, err
	}
	var list []*whistleRow
	if q.KnownAt != nil {
		at, err = *q.KnownAt, r.rememberWhistles(ctx, *q.KnownAt, func(w *whistleRow) { list = append(list, w) })
		slices.SortFunc(list, func(a, b *whistleRow) int { return cmp.Compare(a.whistle, b.whistle) })
	} else {
		at, err = r.openWhistles(ctx, func(tx *viewdb.Tx, _ *table) (err error) {
			list, err = queryWhistles(tx, "ORDER BY whistle")
			return err
		})
	}
	if err != nil {
		return nil, "", 0, 0, err
	}
	var last int64
	for _, w := range list {
		if q.Map != nil {
			w.path = present(q.Map, w.path)
		}
		in, exclusion := false, ""
		w.calls(q.Metric, from, to, t, func(c call) {
			if c.level != q.Level || c.code != q.Code {
				return
			}
			switch q.Set {
			case pb.FigureSet_FIGURE_SET_NUMERATOR:
				in = in || c.num > 0
			case pb.FigureSet_FIGURE_SET_DENOMINATOR:
				in = in || c.den > 0
			case pb.FigureSet_FIGURE_SET_EXCLUDED:
				if c.excused > 0 {
					in, exclusion = true, "excused"
				}
			}
		})
		if !in {
			continue
		}
		total++
		switch {
		case w.whistle <= after:
		case len(page) == size:
			if next == "" {
				next = token(bound, strconv.FormatInt(last, 10))
			}
		default:
			page = append(page, &pb.BehindTicket{Name: "whistles/" + w.id, No: w.no, Exclusion: exclusion})
			last = w.whistle
		}
	}
	return page, next, total, at, nil
}
