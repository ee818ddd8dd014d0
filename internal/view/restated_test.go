package view_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/registry"
	"github.com/chuishao/dispatch/internal/view"
)

// today says where the areas of lives lie after all that redrawn did to them.
var today = map[string][]string{
	"m1": {"c", "d1", "s2", "m9"}, "m2": {"c", "d1", "s2", "m9"}, // merged, and the street they lie in with another
	"s1": {"c", "d1", "s2"},
	"g1": {"c", "d1", "s2", "m3", "g9"}, // a new code
	"m4": {"c", "d1", "s3"},             // divided, in a street that moved to another district
	"d2": {"c", "d2"}, "c": {"c"},
}

// redrawn is the map after the areas of lives were redrawn in their midst.
func redrawn(t *testing.T) view.Map {
	t.Helper()
	turn := day0.AddDate(0, 0, 4)
	area := func(code, level, parent string) *pb.Area {
		return &pb.Area{Code: code, Name: "n" + code, Level: level, Parent: parent}
	}
	until := func(a *pb.Area, successors ...string) *pb.Area {
		a.ValidTo, a.Successors = at(turn), successors
		return a
	}
	since := func(a *pb.Area) *pb.Area {
		a.ValidFrom = at(turn)
		return a
	}
	content := &pb.RegistryPiece{Levels: registry.DefaultLevels(), Areas: []*pb.Area{
		area("c", "city", ""), area("d1", "district", "c"), area("d2", "district", "c"),
		until(area("s1", "street", "d1"), "s2"), area("s2", "street", "d1"),
		until(area("s3", "street", "d2")), since(area("s3", "street", "d1")),
		until(area("m1", "community", "s1"), "m9"), until(area("m2", "community", "s1"), "m9"), since(area("m9", "community", "s2")),
		area("m3", "community", "s2"), until(area("g1", "grid", "m3"), "g9"), since(area("g9", "grid", "m3")),
		until(area("m4", "community", "s3"), "m5", "m6"), since(area("m5", "community", "s3")), since(area("m6", "community", "s3")),
	}}
	content.Units = []*pb.Unit{{Code: "root", Name: "root", Kind: pb.UnitKind_UNIT_KIND_AREA, Area: "c"}}
	if faults := registry.Validate([]*pb.RegistryPiece{content}, nil, day0); len(faults) > 0 {
		t.Fatalf("faults: %v", faults)
	}
	return registry.NewSnapshot("v1", day0, []*pb.RegistryPiece{content}, nil).MapAt(turn.AddDate(0, 1, 0))
}

// movedTo gives the same history, had every place been called from the beginning what it is called today.
func (h *history) movedTo(places map[string][]string) *history {
	h.tb.Helper()
	moved := newHistory(h.tb)
	move := func(p *[]*pb.AreaNode) {
		if n := len(*p); n > 0 {
			*p = path(places[(*p)[n-1].Code]...)
		}
	}
	for r, err := range h.store.ReadAll(h.tb.Context(), 0) {
		if err != nil {
			h.tb.Fatal(err)
		}
		d, err := event.Decode(r)
		if err != nil {
			h.tb.Fatal(err)
		}
		switch e := d.Event.(type) {
		case *pb.TicketReported:
			move(&e.Path)
		case *pb.RecordImported:
			move(&e.Path)
		case *pb.TicketAccepted:
			move(&e.Path)
		case *pb.TicketTriaged:
			move(&e.Path)
		case *pb.TriageCorrected:
			move(&e.Path)
		case *pb.DeclineOverturned:
			move(&e.Path)
		case *pb.WhistleBlown:
			move(&e.Path)
		case *pb.CommandRefused:
			move(&e.TargetPath)
		}
		moved.record(r.Stream, happened{d.Meta.OccurredAt.AsTime(), d.Event})
	}
	return moved
}

func TestRestatedFiguresAreThoseOfAHistoryThatAlwaysHadTodaysMap(t *testing.T) {
	t.Parallel()
	for seed := range uint64(max(1, 2/slow)) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 8))
			h := newHistory(t)
			livesOf(h, r, 60, wholeLife)
			sought := h.movedTo(today)
			is, want := h.readerOf(h.remembered()), sought.readerOf(sought.remembered())
			m := redrawn(t)
			all := []string{"city", "district", "street", "community", "grid", "all", "unit", "channel", "category", "precinct"}
			rows := 0
			for range max(1, 2/slow) {
				when := day0.Add(time.Duration(r.Int64N(int64(15 * 24 * time.Hour))))
				from := day0.Add(time.Duration(r.Int64N(int64(9 * 24 * time.Hour))))
				half := eventstore.Position(uint64(h.last) / 2)
				for _, known := range []*eventstore.Position{nil, &half} {
					for _, level := range all {
						for _, area := range []string{"", "s2", "d1", "m1"}[:4/slow] {
							q := view.ClosureQuery{Level: level, Area: area, At: when, WithMedian: true, WithDirect: true, KnownAt: known}
							b, _, _, err := want.ListClosure(t.Context(), q)
							if err != nil {
								t.Fatal(err)
							}
							q.Map = m
							a, _, _, err := is.ListClosure(t.Context(), q)
							if err != nil {
								t.Fatal(err)
							}
							if rows += len(a); text(a) != text(b) {
								t.Fatalf("%s in %q at %v, known %v: got %v, want %v", level, area, when, known, a, b)
							}
							if len(a) > 0 && area == "" {
								one := view.ClosureQuery{Level: level, Code: a[0].Code, At: when, KnownAt: known, WithMedian: true, Map: m}
								row, _, err := is.ClosureAt(t.Context(), one)
								if err != nil || text([]*pb.ClosureRow{row}) != text(a[:1]) {
									t.Fatalf("%s %s alone: got %v, %v, want %v", level, one.Code, row, err, a[0])
								}
								rows += behind(t, is, want, view.BehindQuery{Metric: view.StockMetric, Level: level, Code: a[0].Code, At: when, KnownAt: known}, m)
							}
							for _, of := range []func(r *view.Reader, q view.PeriodQuery) (string, int, error){
								func(r *view.Reader, q view.PeriodQuery) (string, int, error) {
									list, _, _, err := r.ListStages(t.Context(), q)
									return text(list), len(list), err
								},
								func(r *view.Reader, q view.PeriodQuery) (string, int, error) {
									list, _, _, err := r.ListLedger(t.Context(), pb.LedgerKind_LEDGER_KIND_SUSPENSION, q)
									return text(list), len(list), err
								},
								func(r *view.Reader, q view.PeriodQuery) (string, int, error) {
									list, _, _, err := r.ListLedger(t.Context(), pb.LedgerKind_LEDGER_KIND_LISTING, q)
									return text(list), len(list), err
								},
							} {
								q := view.PeriodQuery{Level: level, Area: area, From: from, To: from.Add(100 * time.Hour), At: when, KnownAt: known}
								b, _, err := of(want, q)
								if err != nil {
									t.Fatal(err)
								}
								q.Map = m
								a, n, err := of(is, q)
								if err != nil {
									t.Fatal(err)
								}
								if rows += n; a != b {
									t.Fatalf("stages or a ledger of %s in %q at %v, known %v: got %s, want %s", level, area, when, known, a, b)
								}
							}
							for _, metric := range view.MetricNames {
								q := view.MetricQuery{Metric: metric, Level: level, Area: area, From: from, To: from.Add(100 * time.Hour), At: when, KnownAt: known}
								b, _, _, err := want.ListMetrics(t.Context(), q)
								if err != nil {
									t.Fatal(err)
								}
								q.Map = m
								a, _, _, err := is.ListMetrics(t.Context(), q)
								if err != nil {
									t.Fatal(err)
								}
								if rows += len(a); text(a) != text(b) {
									t.Fatalf("%s of %s in %q at %v, known %v: got %v, want %v", metric, level, area, when, known, a, b)
								}
								if len(a) > 0 && area == "" {
									q := view.BehindQuery{Metric: metric, Level: level, Code: a[len(a)-1].Code, From: q.From, To: q.To, At: when, KnownAt: known}
									rows += behind(t, is, want, q, m)
								}
							}
						}
					}
				}
			}
			if rows == 0 {
				t.Error("nothing was compared")
			}
		})
	}
}

// behind compares what is behind a figure on a map, set by set and page by page, with a history that always had it.
func behind(t *testing.T, is, want *view.Reader, q view.BehindQuery, m view.Map) (rows int) {
	t.Helper()
	for set := pb.FigureSet_FIGURE_SET_NUMERATOR; set <= pb.FigureSet_FIGURE_SET_EXCLUDED; set++ {
		q.Set, q.Map, q.PageSize, q.PageToken = set, nil, 1000, ""
		b, _, total, _, err := want.ListBehind(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		q.Map, q.PageSize = m, 3
		var a []*pb.BehindTicket
		for {
			page, next, n, _, err := is.ListBehind(t.Context(), q)
			if err != nil || n != total {
				t.Fatalf("%v: got %d, %v, want %d", q, n, err, total)
			}
			a = append(a, page...)
			if q.PageToken = next; next == "" {
				break
			}
		}
		if rows += len(a); text(a) != text(b) {
			t.Fatalf("behind %v: got %v, want %v", q, a, b)
		}
	}
	return rows
}

func TestAChangeOfTheMapLeavesWhatTheCityCameTo(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 8))
	h := newHistory(t)
	livesOf(h, r, 60, wholeLife)
	reader, m := h.reader(), redrawn(t)
	moved := 0
	for _, metric := range view.MetricNames {
		for _, level := range []string{"city", "street", "unit"} {
			q := view.MetricQuery{Metric: metric, Level: level, From: day0.AddDate(0, 0, 2), At: day0.AddDate(0, 0, 9)}
			before, _, _, err := reader.ListMetrics(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			q.Map = m
			after, _, _, err := reader.ListMetrics(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case level == "street" && text(before) != text(after):
				moved++
			case level != "street" && text(before) != text(after):
				t.Errorf("%s of each %s: got %v on the new map, want %v", metric, level, after, before)
			}
		}
	}
	if moved < len(view.MetricNames)/2 {
		t.Errorf("the map changed %d of %d metrics of streets", moved, len(view.MetricNames))
	}
}

func text[M proto.Message](list []M) string {
	var b []byte
	for _, m := range list {
		one, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			panic(err)
		}
		b = fmt.Appendf(b, "%q\n", one)
	}
	return string(b)
}

func TestAPageOfAnotherMapIsRefused(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	lives(h, rand.New(rand.NewPCG(1, 8)), 30)
	r := h.reader()
	q := view.ClosureQuery{Level: "district", PageSize: 1, Map: redrawn(t)}
	_, next, _, err := r.ListClosure(t.Context(), q)
	if err != nil || next == "" {
		t.Fatalf("got %q, %v", next, err)
	}
	q.PageToken = next
	if _, _, _, err := r.ListClosure(t.Context(), q); err != nil {
		t.Errorf("the next page: %v", err)
	}
	q.Map = nil
	if _, _, _, err := r.ListClosure(t.Context(), q); err == nil {
		t.Error("a page token of the restated figures was taken for the others")
	}
}

// What no map knows, such as a record's own places, stays where it was; where two of its areas of one code share a direct row, tickets
// are told apart one by one.
func TestPlacesOnNoMapStayWhereTheyAre(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	place := func(pairs ...string) (list []*pb.AreaNode) {
		for i := 0; i < len(pairs); i += 2 {
			list = append(list, &pb.AreaNode{Level: pairs[i], Code: pairs[i+1], Name: "n" + pairs[i+1]})
		}
		return list
	}
	for i, p := range [][]*pb.AreaNode{
		place("city", "c", "borough", "07"), place("city", "c", "borough", "07", "board", "07"), place("city", "c", "borough", "07", "board", "07"),
		place("city", "c", "unlocated", "UNLOCATED"), path("c", "d1", "s1"), place("city", "c", "district", "d1", "street", "s1", "court", "x"),
	} {
		h.record(fmt.Sprint("ticket-", i), happened{day0, &pb.TicketReported{No: fmt.Sprint(i), Path: p}})
	}
	r, m := h.reader(), redrawn(t)
	for _, c := range []struct{ level, want string }{
		{"borough", "07 nc/n07 3; "}, {"board", "07 nc/n07/n07 2; "}, {"unlocated", "UNLOCATED nc/nUNLOCATED 1; "},
		{"street", "s2 nc/nd1/ns2 2; "}, {"court", "x nc/nd1/ns2/nx 1; s2 nc/nd1/ns2 1 direct; "}, {"city", "c nc 6; "},
	} {
		rows, _, _, err := r.ListClosure(t.Context(), view.ClosureQuery{Level: c.level, Map: m, WithDirect: c.level == "court"})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, row := range rows {
			got += fmt.Sprintf("%s %s %d", row.Code, row.Path, row.Figures.Total)
			if row.Direct {
				got += " direct"
			}
			got += "; "
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s", c.level, got, c.want)
		}
	}
}
