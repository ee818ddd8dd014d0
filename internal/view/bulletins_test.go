//go:build !race

// The race detector finds nothing in what one goroutine does to 130,000 tickets, and takes twenty times as long.

package view_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/view"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// press feeds made events to the view of figures, without a store between them.
type press struct {
	t       *testing.T
	db      *viewdb.DB
	view    projector.View
	batch   []event.Decoded
	at      eventstore.Position
	tickets int
}

func newPress(t *testing.T) *press {
	t.Helper()
	db, err := viewdb.Open(filepath.Join(t.TempDir(), "views.db"), viewdb.Options{Fresh: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	p := &press{t: t, db: db, view: view.Closure(shanghai)}
	if _, err := projector.Open(t.Context(), nil, db, projector.Options{}, p.view); err != nil {
		t.Fatal(err)
	}
	return p
}

// ticket adds the events of one ticket.
func (p *press) ticket(list ...happened) {
	p.tickets++
	stream := fmt.Sprintf("ticket-%d", p.tickets)
	for i, e := range list {
		p.at++
		when := timestamppb.New(e.at)
		p.batch = append(p.batch, event.Decoded{
			Recorded: eventstore.Recorded{Stream: stream, Version: eventstore.Version(i + 1), Position: p.at},
			Meta:     &pb.EventMeta{OccurredAt: when, RecordedAt: when},
			Event:    e.msg,
		})
	}
	if len(p.batch) > 50_000 {
		p.print()
	}
}

func (p *press) print() {
	p.t.Helper()
	err := p.db.Write(p.t.Context(), func(tx *viewdb.Tx) error {
		if _, err := tx.Exec("UPDATE checkpoints SET position = $1", int64(p.at)); err != nil {
			return err
		}
		return projector.Fold(p.view.Folding(), tx, p.batch)
	})
	if err != nil {
		p.t.Fatal(err)
	}
	p.batch = p.batch[:0]
}

// percent is a share as bulletins print it: decimals rounded half-up, from whole numbers.
func percent(num, den int64, decimals int) string {
	scale := int64(100)
	for range decimals {
		scale *= 10
	}
	n := (2*num*scale + den) / (2 * den)
	unit := scale / 100
	if decimals == 0 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d.%0*d", n/unit, decimals, n%unit)
}

func TestBulletinsComeOutInFullSize(t *testing.T) {
	t.Parallel()
	p := newPress(t)
	month, before := day0.AddDate(0, 0, 2), day0.AddDate(0, 0, -2)
	end := day0.AddDate(0, 1, 0)
	limit := at(day0.AddDate(0, 0, 20))
	places := map[string][]*pb.AreaNode{}
	for _, city := range []string{"Ningguo", "Lianyungang", "Jiangyin", "Chongchuan", "Liwan"} {
		places[city] = path(city, city+"-1")
	}
	many := func(n int, city string, reported time.Time, rest ...happened) {
		list := []happened{
			{reported, &pb.TicketReported{No: "n", Channel: pb.Channel_CHANNEL_HOTLINE, Path: places[city]}},
			{reported, &pb.TicketAccepted{Path: places[city]}},
		}
		for range n {
			p.ticket(append(list, rest...)...)
		}
	}
	answered := happened{month, &pb.TicketAnsweredDirectly{}}
	dispatched := happened{month, &pb.TicketDispatched{Lead: "d", Round: 1, Hop: 1, HandleBy: limit, CloseBy: limit}}
	closed := func(at time.Time) happened {
		return happened{at, &pb.TicketClosed{Kind: pb.CloseKind_CLOSE_KIND_SOLVED}}
	}
	intime, late := closed(limit.AsTime()), closed(limit.AsTime().Add(time.Microsecond))

	many(597, "Ningguo", month, dispatched, intime)
	many(4, "Ningguo", month, dispatched, late)
	many(4_629, "Lianyungang", before, dispatched)
	many(41_729-4_629, "Lianyungang", month, dispatched)
	many(41_489, "Lianyungang", month, answered)
	many(27_929, "Jiangyin", month, answered)
	many(18_724, "Jiangyin", month, dispatched)
	many(856, "Chongchuan", month, dispatched, intime)
	many(100, "Chongchuan", month, dispatched)
	many(2_254, "Liwan", month, dispatched, intime)
	p.print()

	r := view.NewReader(p.db, nil)
	figure := func(metric, city string) *pb.MetricFigure {
		t.Helper()
		f, _, err := r.MetricOf(t.Context(), view.MetricQuery{Metric: metric, Level: "city", Code: city, From: day0, To: end, At: end})
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	for _, c := range []struct {
		metric, city string
		num, den     int64
		decimals     int
		printed      string
	}{
		{"M04", "Ningguo", 601, 0, 0, ""},
		{"M12", "Ningguo", 601, 601, 2, "100.00"},
		{"M13", "Ningguo", 597, 601, 2, "99.33"},
		{"M01", "Lianyungang", 78_589, 0, 0, ""},
		{"M04", "Lianyungang", 41_729, 0, 0, ""},
		{"M01", "Jiangyin", 46_653, 0, 0, ""},
		{"M02", "Jiangyin", 46_653, 46_653, 2, "100.00"},
		{"M04", "Jiangyin", 18_724, 0, 0, ""},
		{"M14", "Jiangyin", 27_929, 46_653, 2, "59.87"},
		{"M12", "Chongchuan", 856, 956, 1, "89.5"},
		{"M14", "Chongchuan", 856, 956, 1, "89.5"},
		{"M12", "Liwan", 2_254, 2_254, 2, "100.00"},
		{"M13", "Liwan", 2_254, 2_254, 2, "100.00"},
	} {
		got := figure(c.metric, c.city)
		printed := ""
		if den := got.GetDenominator(); den != 0 {
			printed = percent(got.Numerator, den, c.decimals)
		}
		if got.Numerator != c.num || got.GetDenominator() != c.den || printed != c.printed {
			t.Errorf("%s of %s: got %v, printed %q, want %d/%d = %s", c.metric, c.city, got, printed, c.num, c.den, c.printed)
		}
	}
	if f := figure("M04", "Jiangyin").Numerator; percent(f, figure("M01", "Jiangyin").Numerator, 2) != "40.13" {
		t.Errorf("Jiangyin: %d forwarded are not 40.13 %%", f)
	}
	for _, c := range []struct {
		city                     string
		carried, total, answered int64
	}{{"Lianyungang", 4_629, 83_218, 41_489}, {"Jiangyin", 0, 46_653, 27_929}} {
		parts, dispatched := figure("M16", c.city).Parts, figure("M04", c.city).Numerator
		switch {
		case parts["opening"] != c.carried || parts["opening"]+parts["accepted"] != c.total:
			t.Errorf("%s: got %v, want %d carried over of %d", c.city, parts, c.carried, c.total)
		case parts["closed"] != c.answered || parts["closed"]+dispatched != c.total || parts["closing"] != c.total-c.answered:
			t.Errorf("%s: got %v and %d dispatched, want %d answered directly of %d", c.city, parts, dispatched, c.answered, c.total)
		}
	}
}

func TestRedoRoundsDecideOnTimeClosing(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	due, redo, again := day0.AddDate(0, 0, 5), day0.AddDate(0, 0, 9), day0.AddDate(0, 0, 12)
	end := day0.AddDate(0, 1, 0)
	hour := time.Hour
	solved := func(at time.Time) happened {
		return happened{at, &pb.TicketClosed{Kind: pb.CloseKind_CLOSE_KIND_SOLVED}}
	}
	result := func(at time.Time) happened {
		return happened{at, &pb.ResultSubmitted{Result: pb.ResultCode_RESULT_CODE_RESOLVED}}
	}
	reopened := func(at time.Time, round uint32, by time.Time) happened {
		return happened{at, &pb.TicketReopened{Round: round, Lead: "u", RedoBy: timestamppb.New(by), CloseBy: timestamppb.New(by.Add(24 * hour))}}
	}
	firsts := map[string]time.Time{"in time": due, "late": due.Add(time.Microsecond)}
	redos := map[string][]happened{
		"no redo":                   {},
		"redo in time":              {reopened(redo.Add(-48*hour), 2, redo), result(redo), solved(redo.Add(hour))},
		"redo late":                 {reopened(redo.Add(-48*hour), 2, redo), result(redo.Add(time.Microsecond)), solved(redo.Add(hour))},
		"result in time, not yet":   {reopened(redo.Add(-48*hour), 2, redo), result(redo.Add(-hour))},
		"not yet":                   {reopened(redo.Add(-48*hour), 2, redo)},
		"closed without a result":   {reopened(redo.Add(-48*hour), 2, redo), solved(redo.Add(-hour))},
		"second redo in time":       {reopened(redo.Add(-48*hour), 2, redo), result(redo), solved(redo), reopened(redo.Add(hour), 3, again), result(again), solved(again)},
		"second redo mends no redo": {reopened(redo.Add(-48*hour), 2, redo), result(redo.Add(hour)), solved(redo.Add(hour)), reopened(redo.Add(2*hour), 3, again), result(again), solved(again)},
		"second redo not yet":       {reopened(redo.Add(-48*hour), 2, redo), result(redo), solved(redo), reopened(redo.Add(hour), 3, again)},
	}
	closed := map[string]bool{"no redo": true, "redo in time": true, "redo late": true, "closed without a result": true, "second redo in time": true, "second redo mends no redo": true}
	intime := map[string]bool{"no redo": true, "redo in time": true, "second redo in time": true}

	instants := []time.Time{day0, end}
	type ticket struct{ first, redo string }
	var codes []ticket
	for first, by := range firsts {
		for name, rest := range redos {
			code := first + ", " + name
			codes = append(codes, ticket{first, name})
			list := append([]happened{
				{day0.Add(hour), &pb.TicketReported{No: code, Channel: pb.Channel_CHANNEL_HOTLINE, Path: path("c", code)}},
				{day0.Add(2 * hour), &pb.TicketAccepted{Path: path("c", code)}},
				{day0.Add(3 * hour), &pb.TicketDispatched{Lead: "u", Round: 1, Hop: 1, HandleBy: timestamppb.New(due), CloseBy: timestamppb.New(due)}},
				result(by.Add(-2 * hour)), solved(by),
			}, rest...)
			h.record(fmt.Sprintf("ticket-%d", len(codes)), list...)
			for i, e := range list {
				instants = append(instants, e.at, e.at.Add(-time.Microsecond))
				if i > 0 {
					instants = append(instants, list[i-1].at.Add(e.at.Sub(list[i-1].at)/2))
				}
			}
		}
	}
	r := h.reader()
	var all, in int64
	for _, c := range codes {
		code := c.first + ", " + c.redo
		isClosed, isInTime := closed[c.redo], intime[c.redo] && c.first == "in time"
		for metric, want := range map[string]bool{"M12": isClosed, "M13": isInTime} {
			got, _, err := r.MetricOf(t.Context(), view.MetricQuery{Metric: metric, Level: "district", Code: code, From: day0, To: end, At: end})
			if err != nil || got.GetDenominator() != 1 || (got.Numerator == 1) != want {
				t.Errorf("%s of %q: got %v, %v, want %t", metric, code, got, err, want)
			}
		}
		stock, _, err := r.ClosureAt(t.Context(), view.ClosureQuery{Level: "district", Code: code, At: end})
		if err != nil || (stock.Figures.Closed == 1) != isClosed || (stock.Figures.OpenOverdue == 0) != isClosed {
			t.Errorf("stock of %q: got %v, %v, want closed %t", code, stock, err, isClosed)
		}
		if isClosed {
			all++
		}
		if isInTime {
			in++
		}
	}
	n := int64(len(codes))
	for metric, want := range map[string]int64{"M12": all, "M13": in} {
		got, _, err := r.MetricOf(t.Context(), view.MetricQuery{Metric: metric, Level: "city", Code: "c", From: day0, To: end, At: end})
		if err != nil || got.Numerator != want || got.GetDenominator() != n {
			t.Errorf("%s of the city: got %v, %v, want %d/%d", metric, got, err, want, n)
		}
	}
	ledger, _, err := r.MetricOf(t.Context(), view.MetricQuery{Metric: "M16", Level: "city", Code: "c", From: day0, To: end, At: end})
	if err != nil || ledger.Parts["closing"] != n-all || ledger.Parts["accepted"] != n || ledger.Parts["closed"]-ledger.Parts["reopened"] != all {
		t.Errorf("M16: got %v, %v, want %d open of %d", ledger, err, n-all, n)
	}

	// At instants in between the counters and the history itself say the same.
	known := h.last
	for i, when := range instants {
		if i%17 != 0 {
			continue
		}
		var rows [2]string
		for i, knownAt := range []*eventstore.Position{nil, &known} {
			list, _, _, err := r.ListClosure(t.Context(), view.ClosureQuery{Level: "district", At: when, KnownAt: knownAt, WithMedian: true})
			if err != nil {
				t.Fatal(err)
			}
			rows[i] = fmt.Sprint(list)
			for _, metric := range []string{"M12", "M13", "M14", "M15", "M16"} {
				for _, from := range []time.Time{day0, redo.Add(-hour)} {
					list, _, _, err := r.ListMetrics(t.Context(), view.MetricQuery{Metric: metric, Level: "district", From: from, To: end, At: when, KnownAt: knownAt})
					if err != nil {
						t.Fatal(err)
					}
					rows[i] += fmt.Sprint(list)
					for _, f := range list {
						if p := f.Parts; p != nil && p["opening"]+p["accepted"]-p["closed"]-p["x1"]-p["merged"]+p["reopened"] != p["closing"] {
							t.Errorf("M16 of %q at %v: %v does not balance", f.Code, when, p)
						}
					}
				}
			}
		}
		if rows[0] != rows[1] {
			t.Fatalf("at %v: got %s, the slow way gives %s", when, rows[0], rows[1])
		}
	}
}
