package view_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/view"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// inParts keeps views with figures in so many partitions, each brought up to the end in batches of another size.
func (h *history) inParts(n, batch int) (whole *viewdb.DB, parts []*viewdb.DB) {
	h.tb.Helper()
	catchUp := func(db *viewdb.DB, batch int, views ...projector.View) {
		h.tb.Helper()
		p, err := projector.Open(h.tb.Context(), h.store, db, projector.Options{Batch: batch}, views...)
		if err != nil {
			h.tb.Fatal(err)
		}
		if err := p.CatchUp(h.tb.Context()); err != nil {
			h.tb.Fatal(err)
		}
	}
	whole = h.views("whole.db")
	if err := view.ClaimPartitions(h.tb.Context(), whole, n); err != nil {
		h.tb.Fatal(err)
	}
	catchUp(whole, 100_000, view.Whole(shanghai, n)...)
	for k := range n {
		db := h.views(fmt.Sprintf("part%d.db", k+1))
		catchUp(db, batch+3*k, view.Part(shanghai, view.Partition{Number: k + 1, Of: n})...)
		parts = append(parts, db)
	}
	return whole, parts
}

// renamed reports tickets whose paths call the same areas now this, now that.
func renamed(h *history, r *rand.Rand) {
	for i := range 12 {
		list := path("c", "d1", "s1")
		for _, n := range list {
			n.Name += []string{"", "-east", "-west"}[r.IntN(3)]
		}
		h.record(fmt.Sprintf("ticket-renamed-%d", i), happened{day0.Add(time.Duration(i) * time.Hour), &pb.TicketReported{No: "r", Channel: pb.Channel_CHANNEL_GRID, Path: list}})
	}
}

// askFigures puts questions about figures to readers that ask does not put.
func askFigures(r *rand.Rand, put func(what string, question func(r *view.Reader) (answer []any, rows int, err error)), t *testing.T) {
	ctx := t.Context()
	from, to := day0.AddDate(0, 0, r.IntN(3)), day0.AddDate(0, 0, 5+r.IntN(60))
	when := day0.Add(time.Duration(r.Int64N(int64(30 * 24 * time.Hour))))
	codes := map[string][]string{"all": {""}, "city": {"c"}, "district": {"d1"}, "street": {"s1"}, "community": {"m1"}, "unit": {"root", "u1", "u3", "nobody"}, "category": {"0801", "Noise"}, "precinct": {"07"}}
	for level, list := range codes {
		for _, code := range list {
			put("closure of "+level+" "+code, func(r *view.Reader) ([]any, int, error) {
				row, at, err := r.ClosureAt(ctx, view.ClosureQuery{Level: level, Code: code, At: when, WithMedian: true})
				return []any{row, at}, 1, err
			})
			for _, m := range view.MetricNames {
				put(m+" of "+level+" "+code, func(r *view.Reader) ([]any, int, error) {
					f, at, err := r.MetricOf(ctx, view.MetricQuery{Metric: m, Level: level, Code: code, From: from, To: to, At: when})
					return []any{f, at}, 1, err
				})
				for set := pb.FigureSet_FIGURE_SET_NUMERATOR; set <= pb.FigureSet_FIGURE_SET_EXCLUDED; set++ {
					put(fmt.Sprintf("%v of %s of %s %s", set, m, level, code), func(r *view.Reader) (answer []any, n int, err error) {
						q := view.BehindQuery{Metric: m, Level: level, Code: code, Set: set, From: from, To: to, PageSize: 3}
						for range 3 {
							list, next, total, at, err := r.ListBehind(ctx, q)
							if err != nil {
								return nil, 0, err
							}
							if answer, n, q.PageToken = append(answer, list, next, total, at), n+len(list), next; next == "" {
								break
							}
						}
						return answer, n, nil
					})
				}
			}
		}
	}
	on := &flat{}
	for _, level := range []string{"city", "district", "street", "unit", "category"} {
		put("closure within an area of "+level, func(r *view.Reader) ([]any, int, error) {
			rows, next, at, err := r.ListClosure(ctx, view.ClosureQuery{Level: level, Area: "d1", At: when, WithMedian: true, WithDirect: true, PageSize: 2})
			return []any{rows, next, at}, len(rows), err
		})
		put("closure on a map of "+level, func(r *view.Reader) ([]any, int, error) {
			rows, next, at, err := r.ListClosure(ctx, view.ClosureQuery{Level: level, At: when, Map: on, WithDirect: true})
			return []any{rows, next, at}, len(rows), err
		})
		for _, m := range view.MetricNames {
			put(m+" on a map, and within an area of "+level, func(r *view.Reader) ([]any, int, error) {
				a, _, at, err := r.ListMetrics(ctx, view.MetricQuery{Metric: m, Level: level, From: from, To: to, At: when, Map: on})
				if err != nil {
					return nil, 0, err
				}
				b, _, _, err := r.ListMetrics(ctx, view.MetricQuery{Metric: m, Level: level, Area: "d1", From: from, To: to})
				return []any{a, b, at}, len(a) + len(b), err
			})
		}
		put("ledgers on a map of "+level, func(r *view.Reader) (answer []any, n int, err error) {
			for _, kind := range []pb.LedgerKind{pb.LedgerKind_LEDGER_KIND_SUSPENSION, pb.LedgerKind_LEDGER_KIND_LISTING} {
				rows, next, at, err := r.ListLedger(ctx, kind, view.PeriodQuery{Level: level, From: from, To: to, At: when, Now: when, Map: on})
				if err != nil {
					return nil, 0, err
				}
				answer, n = append(answer, rows, next, at), n+len(rows)
			}
			return answer, n, nil
		})
	}
}

// flat is a map on which the districts d1 and d2 have become one, and the rest is not known.
type flat struct{}

func (*flat) Version() string { return "flat" }

func (*flat) Present(level, code string) ([]*pb.AreaNode, bool) {
	switch {
	case level == "city":
		return path("c"), true
	case level == "district" && strings.HasPrefix(code, "d"):
		return path("c", "dd"), true
	}
	return nil, false
}

// TestFiguresOfPartitionsAreThoseOfWholeViews: a random history, and every question about figures, put to views kept whole and in partitions.
func TestFiguresOfPartitionsAreThoseOfWholeViews(t *testing.T) {
	onEach(t, func(t *testing.T, newHistory func(testing.TB) *history) {
		for seed, live := range []liver{wholeLife, native} {
			h := newHistory(t)
			every := slow * (1 + 3*seed) // of so many questions one is put to each number of partitions
			if h.postgres {
				every = 12 // a server takes its time
			}
			if h.postgres && seed > 0 {
				continue
			}
			r := rand.New(rand.NewPCG(uint64(seed), 34))
			livesOf(h, r, 40, live)
			listed(h, r, 12)
			renamed(h, r)
			one := h.views("views.db")
			h.catchUp(one, 100_000)
			a := view.NewReader(one, h.store)
			readers := map[int]*view.Reader{}
			for _, n := range []int{1, 2, 3, 7} {
				whole, parts := h.inParts(n, 40)
				readers[n] = view.NewPartsReader(whole, parts, h.store)
			}
			asked, full := 0, 0
			put := func(what string, question func(r *view.Reader) (answer []any, rows int, err error)) {
				var want []any
				var wrong error
				known := false
				for _, n := range []int{1, 2, 3, 7} {
					if r.IntN(every) > 0 || n == 1 && r.IntN(8) > 0 || t.Failed() {
						continue
					}
					if !known {
						known, asked = true, asked+1
						rows := 0
						if want, rows, wrong = question(a); wrong == nil && rows > 0 {
							full++
						}
					}
					got, _, err := question(readers[n])
					if fmt.Sprint(wrong) != fmt.Sprint(err) || wrong == nil && fmt.Sprint(want) != fmt.Sprint(got) {
						t.Errorf("%d partitions: %s: got %v, %v, want %v, %v", n, what, got, err, want, wrong)
					}
				}
			}
			ask(r, put, t)
			askFigures(r, put, t)
			t.Logf("%d questions, %d of them with rows to tell of", asked, full)
			if full < asked/3 {
				t.Errorf("of %d questions only %d have rows to tell of", asked, full)
			}
		}
	})
}

func TestAReaderOrProjectorThatThinksOfAnotherNumberOfPartitionsIsRefused(t *testing.T) {
	onEach(t, func(t *testing.T, newHistory func(testing.TB) *history) {
		h := newHistory(t)
		lives(h, rand.New(rand.NewPCG(1, 1)), 3)
		whole, parts := h.inParts(3, 40)
		for _, n := range []int{1, 2, 4} {
			if err, ok := errors.AsType[*view.PartitionsError](view.ClaimPartitions(t.Context(), whole, n)); !ok || err.Kept != 3 || err.Got != n {
				t.Errorf("%d partitions: got %v, want a refusal that names 3", n, err)
			}
		}
		if err := view.ClaimPartitions(t.Context(), whole, 3); err != nil {
			t.Error(err)
		}
		q := view.ClosureQuery{Level: "all"}
		if _, _, err := view.NewPartsReader(whole, parts[:2], h.store).ClosureAt(t.Context(), q); err == nil || !strings.Contains(err.Error(), "in 3 partitions") {
			t.Errorf("a reader of two of three partitions: got %v, want a refusal", err)
		}
		for what, err := range map[string]error{
			"closure": func() error { _, _, err := view.NewReader(whole, h.store).ClosureAt(t.Context(), q); return err }(),
			"service": func() error {
				_, _, _, err := view.NewReader(whole, h.store).ListStages(t.Context(), view.PeriodQuery{Level: "all"})
				return err
			}(),
			"whistles": func() error {
				_, _, err := view.NewReader(whole, h.store).MetricOf(t.Context(), view.MetricQuery{Metric: "M31", Level: "all"})
				return err
			}(),
		} {
			if refused, ok := errors.AsType[*view.PartitionsError](err); !ok || refused.Kept != 3 {
				t.Errorf("a reader of whole views, %s: got %v, want a refusal that names 3", what, err)
			}
		}
		one := h.views("views.db")
		h.catchUp(one, 0)
		if err, ok := errors.AsType[*view.PartitionsError](view.ClaimPartitions(t.Context(), one, 3)); !ok || err.Kept != 1 {
			t.Errorf("figures that are kept whole: got %v, want a refusal", err)
		}
		// A rebuild changes the number.
		if err := projector.Rebuild(t.Context(), h.store, one, projector.Options{}, view.Whole(shanghai, 3)...); err != nil {
			t.Fatal(err)
		}
		if err := view.ClaimPartitions(t.Context(), one, 3); err != nil {
			t.Errorf("after a rebuild for 3 partitions: %v", err)
		}
		if n, err := view.KeptPartitions(t.Context(), one); n != 3 || err != nil {
			t.Errorf("after a rebuild for 3 partitions: got %d, %v", n, err)
		}
	})
}

func TestEachTicketIsInOnePartition(t *testing.T) {
	t.Parallel()
	const tickets, of = 7_000, 7
	var has [of]int
	for i := range tickets {
		id, in := fmt.Sprintf("%08x-0000-7000-8000-%012x", i*7919, i), 0
		for k := range of {
			if (view.Partition{Number: k + 1, Of: of}).Has(id) {
				has[k]++
				in++
			}
		}
		if in != 1 {
			t.Fatalf("ticket %s is in %d partitions", id, in)
		}
	}
	for k, n := range has {
		if n < tickets/of*8/10 || n > tickets/of*12/10 {
			t.Errorf("partition %d has %d of %d tickets, want about a seventh", k+1, n, tickets)
		}
	}
}
