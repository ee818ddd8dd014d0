package view_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/servers/serverstest"
	"github.com/chuishao/dispatch/internal/view"
)

// TestBothEnginesHoldTheSameRowsAndGiveTheSameAnswers: a random history of streams of every kind is folded into both, and every query is asked of both.
func TestBothEnginesHoldTheSameRowsAndGiveTheSameAnswers(t *testing.T) {
	t.Parallel()
	serverstest.Postgres(t)
	for name, record := range map[string]func(h *history, r *rand.Rand){
		"tickets, listings and admissions": func(h *history, r *rand.Rand) {
			livesOf(h, r, 40, wholeLife)
			listed(h, r, 15)
			admitted(h, r)
		},
		"walls":           func(h *history, r *rand.Rand) { posts(h, r, 25); together(h, r) },
		"whistles":        func(h *history, r *rand.Rand) { whistles(h, r, 40) },
		"reviews":         func(h *history, r *rand.Rand) { opinionated(h, r) },
		"more of tickets": func(h *history, r *rand.Rand) { lives(h, r, 40) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHistory(t)
			r := rand.New(rand.NewPCG(11, 12))
			record(h, r)
			lite := h.views("views.db")
			h.catchUp(lite, 100_000)
			h.postgres = true
			server := h.views("views.db")
			h.catchUp(server, 40)
			want := dump(t, lite)
			if got := dump(t, server); got != want {
				t.Fatalf("PostgreSQL has other rows:\n%s\nwant\n%s", got, want)
			}
			if err := projector.Rebuild(t.Context(), h.store, server, projector.Options{}, view.All(shanghai)...); err != nil {
				t.Fatal(err)
			}
			if got := dump(t, server); got != want {
				t.Fatal("a rebuild in PostgreSQL gives other rows")
			}
			a, b := view.NewReader(lite, h.store), view.NewReader(server, h.store)
			asked, full := 0, 0
			ask(r, func(what string, question func(r *view.Reader) (answer []any, rows int, err error)) {
				want, rows, wrong := question(a)
				got, _, err := question(b)
				if fmt.Sprint(wrong) != fmt.Sprint(err) || wrong == nil && fmt.Sprint(want) != fmt.Sprint(got) {
					t.Errorf("%s: PostgreSQL gives %v, %v, want %v, %v", what, got, err, want, wrong)
				}
				if wrong != nil {
					t.Errorf("%s: %v", what, wrong)
				}
				if asked++; rows > 0 {
					full++
				}
			}, t)
			t.Logf("%d questions, %d of them with rows to tell of", asked, full)
			if full == 0 {
				t.Error("no answer has rows")
			}
		})
	}
}

// ask puts questions to readers.
func ask(r *rand.Rand, put func(what string, question func(r *view.Reader) (answer []any, rows int, err error)), t *testing.T) {
	ctx := t.Context()
	from, to := day0.AddDate(0, 0, r.IntN(3)), day0.AddDate(0, 0, 5+r.IntN(60))
	when := day0.Add(time.Duration(r.Int64N(int64(30 * 24 * time.Hour))))
	scopes := []view.Scope{{All: true}, {Path: []string{"root", "u1"}}, {Path: []string{"root"}}, {Path: []string{"root", "u1", "u11"}, Leads: []string{"u1"}, Assesses: []string{"d"}}, {}}
	areas := []string{"c", "d", "d1", "s", "m1", "nowhere"}
	for level := range levels {
		put("closure of "+level, func(r *view.Reader) ([]any, int, error) {
			rows, next, at, err := r.ListClosure(ctx, view.ClosureQuery{Level: level, At: when, WithMedian: true, WithDirect: true})
			return []any{rows, next, at}, len(rows), err
		})
		for _, m := range view.MetricNames {
			put(m+" of "+level, func(r *view.Reader) ([]any, int, error) {
				rows, next, at, err := r.ListMetrics(ctx, view.MetricQuery{Metric: m, Level: level, From: from, To: to, At: when})
				return []any{rows, next, at}, len(rows), err
			})
		}
		put("stages of "+level, func(r *view.Reader) ([]any, int, error) {
			rows, next, at, err := r.ListStages(ctx, view.PeriodQuery{Level: level, From: from, To: to, At: when})
			return []any{rows, next, at}, len(rows), err
		})
	}
	for _, kind := range pb.LedgerKind_value {
		if kind == 0 {
			continue
		}
		put("ledger", func(r *view.Reader) ([]any, int, error) {
			rows, next, at, err := r.ListLedger(ctx, pb.LedgerKind(kind), view.PeriodQuery{Level: "street", From: from, To: to, At: when, Now: when})
			return []any{rows, next, at}, len(rows), err
		})
	}
	for _, scope := range scopes {
		filters := []string{"", "open", "open = false", `no = "a*"`, `lead = "u1" OR holder = "u1"`, `close_by < "2026-03-09T00:00:00Z"`}
		for _, area := range areas {
			filters = append(filters, fmt.Sprintf("area = %q", area), fmt.Sprintf("area = %q AND open", area))
		}
		for _, filter := range filters {
			for _, order := range []string{"", "close_by", "reported_at desc"} {
				put(fmt.Sprintf("tickets %q by %q in %+v", filter, order, scope), func(r *view.Reader) (answer []any, n int, err error) {
					q := view.TicketQuery{Scope: scope, Filter: filter, OrderBy: order, Now: when, PageSize: 7}
					for range 3 {
						rows, next, at, err := r.ListTickets(ctx, q)
						if err != nil {
							return nil, 0, err
						}
						answer, n, q.PageToken = append(answer, rows, next, at), n+len(rows), next
						if next == "" {
							break
						}
					}
					return answer, n, nil
				})
			}
		}
		for _, role := range slices.Sorted(func(yield func(int32) bool) {
			for n := range pb.Role_name {
				if !yield(n) {
					return
				}
			}
		}) {
			put(fmt.Sprintf("inbox of %v in %+v", pb.Role(role), scope), func(r *view.Reader) (answer []any, n int, err error) {
				q := view.InboxQuery{Path: scope.Path, Areas: []string{"c", "d", "d1"}, Role: pb.Role(role), Scope: scope, Now: when, PageSize: 5}
				for range 3 {
					rows, counts, next, at, err := r.Inbox(ctx, q)
					if err != nil {
						return nil, 0, err
					}
					answer, n, q.PageToken = append(answer, rows, counts, next, at), n+len(rows), next
					if next == "" {
						break
					}
				}
				return answer, n, nil
			})
		}
		put(fmt.Sprintf("whistles in %+v", scope), func(r *view.Reader) ([]any, int, error) {
			rows, next, at, err := r.ListWhistles(ctx, view.WhistleQuery{Scope: scope, Now: when, PageSize: 9})
			return []any{rows, next, at}, len(rows), err
		})
		for _, order := range []string{"", "points"} {
			for _, person := range []string{"", "p1", "P1", "p%"} {
				put(fmt.Sprintf("reviews by %q of %q in %+v", order, person, scope), func(r *view.Reader) ([]any, int, error) {
					rows, next, at, err := r.ListReviews(ctx, view.ReviewQuery{Scope: scope, Person: person, OrderBy: order, PageSize: 4})
					if err != nil || next == "" {
						return []any{rows, next, at}, len(rows), err
					}
					more, next, _, err := r.ListReviews(ctx, view.ReviewQuery{Scope: scope, Person: person, OrderBy: order, PageSize: 4, PageToken: next})
					return []any{rows, more, next, at}, len(rows), err
				})
			}
		}
	}
	for _, scope := range []view.ListingScope{{All: true}, {Path: []string{"root", "u1"}}, {Path: []string{"root", "u1"}, Near: true, AreaPath: []string{"c", "d"}}} {
		put(fmt.Sprintf("listings in %+v", scope), func(r *view.Reader) ([]any, int, error) {
			rows, next, at, err := r.ListListings(ctx, view.ListingQuery{Scope: scope, Now: when, PageSize: 8})
			return []any{rows, next, at}, len(rows), err
		})
		put(fmt.Sprintf("spot checks in %+v", scope), func(r *view.Reader) ([]any, int, error) {
			rows, known, next, at, err := r.ListSpotChecks(ctx, view.ListingQuery{Scope: scope, Now: when, PageSize: 8})
			return []any{rows, known, next, at}, len(rows), err
		})
	}
	for _, area := range areas {
		put("closed tickets of "+area, func(r *view.Reader) ([]any, int, error) {
			list, at, err := r.ClosedTickets(ctx, area, from, to)
			return []any{list, at}, len(list), err
		})
		put("precedents of "+area, func(r *view.Reader) ([]any, int, error) {
			list, next, at, err := r.Precedents(ctx, view.PrecedentQuery{Areas: []string{area}, PageSize: 3})
			return []any{list, next, at}, len(list), err
		})
	}
	put("areas of precedents", func(r *view.Reader) ([]any, int, error) {
		list, err := r.PrecedentAreas(ctx)
		return []any{list}, len(list), err
	})
	put("admissions", func(r *view.Reader) ([]any, int, error) {
		list, next, at, err := r.ListAdmissions(ctx, view.AdmissionQuery{PageSize: 3})
		return []any{list, next, at}, len(list), err
	})
	sees := func(keeper string) bool { return keeper != "m1" }
	put("posts", func(r *view.Reader) ([]any, int, error) {
		list, lights, next, at, err := r.ListWallPosts(ctx, view.BoardQuery{Sees: sees, PageSize: 6}, when)
		return []any{list, lights, next, at}, len(list), err
	})
	put("matters", func(r *view.Reader) ([]any, int, error) {
		list, next, at, err := r.ListDeliberations(ctx, view.BoardQuery{Sees: sees, PageSize: 4})
		return []any{list, next, at}, len(list), err
	})
	put("needs and resources", func(r *view.Reader) ([]any, int, error) {
		list, next, at, err := r.ListEntries(ctx, view.BoardQuery{Sees: sees, PageSize: 4})
		return []any{list, next, at}, len(list), err
	})
	put("timers of tickets", func(r *view.Reader) ([]any, int, error) {
		list, at, err := r.Due(ctx, to, 20)
		return []any{list, at}, len(list), err
	})
	put("the next timer of a ticket", func(r *view.Reader) ([]any, int, error) {
		next, err := r.NextDue(ctx, from)
		return []any{next}, 1, err
	})
	put("timers of others", func(r *view.Reader) ([]any, int, error) {
		list, err := r.DueOthers(ctx, to, 20)
		return []any{list}, len(list), err
	})
	put("the next timer of others", func(r *view.Reader) ([]any, int, error) {
		next, err := r.NextDueOther(ctx, from)
		return []any{next}, 1, err
	})
	put("open tickets", func(r *view.Reader) ([]any, int, error) {
		list, next, err := r.OpenTickets(ctx, 0, 30)
		return []any{list, next}, len(list), err
	})
	put("a desk", func(r *view.Reader) ([]any, int, error) {
		m, at, err := r.Desk(func(string) bool { return true }, "", []string{"root", "b1"}).Look(ctx, when)
		return []any{m, at}, 1, err
	})
}
