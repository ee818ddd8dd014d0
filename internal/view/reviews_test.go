package view_test

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/registry"
	"github.com/chuishao/dispatch/internal/view"
)

// opinionated records random ratings and reviews, and gives the ratings and the points of closed reviews with their units and instants.
func opinionated(h *history, r *rand.Rand) (rated []ratedAt, reviewed []reviewedAt) {
	places := [][]string{{"c", "d", "s"}, {"c", "d", "s2"}, {"c", "e", "s3"}}
	units := [][]string{{"root", "u1"}, {"root", "u1", "u11"}, {"root", "u2"}}
	mark := func() uint32 { return 1 + r.Uint32N(5) }
	for i := range 60 {
		when := day0.Add(time.Duration(r.IntN(20*24)) * time.Hour)
		place, unit := places[r.IntN(len(places))], units[r.IntN(len(units))]
		kind := pb.RaterKind(r.IntN(5))
		x := ratedAt{when, place, unit, kind, mark(), mark(), mark()}
		own := unit[len(unit)-1]
		stream := fmt.Sprintf("whistle-%d", i)
		if r.IntN(2) == 0 {
			h.record(stream, happened{when.Add(-time.Hour), &pb.WhistleBlown{No: stream, Street: "st", Path: path(place...), Participants: []*pb.Participant{{Unit: own, Compulsory: true, UnitPath: unit}}}},
				happened{when, &pb.UnitRated{Unit: own, Response: x.response, Cooperation: x.cooperation, Result: x.result, RaterKind: kind, UnitPath: unit, Path: path(place...)}})
		} else {
			stream = fmt.Sprintf("ticket-r%d", i)
			h.record(stream, happened{when.Add(-time.Hour), &pb.TicketReported{No: stream, Path: path(place...)}},
				happened{when, &pb.LeadRated{Unit: own, Response: x.response, Cooperation: x.cooperation, Result: x.result, RaterKind: kind, UnitPath: unit, Path: path(place...)}})
		}
		rated = append(rated, x)
	}
	for i := range 12 {
		when, unit := day0.Add(time.Duration(r.IntN(20*24))*time.Hour), units[r.IntN(len(units))]
		stream, points := fmt.Sprintf("review-%d", i), r.Uint32N(10001)
		events := []happened{{when.Add(-time.Hour), &pb.ReviewOpened{No: stream, Unit: unit[len(unit)-1], UnitPath: unit, OpenedBy: "root", Group: []*pb.Reviewer{{Person: "p%", Kind: pb.ReviewerKind_REVIEWER_KIND_RESIDENT, Capacity: "x"}}}},
			{when, &pb.ReviewScored{Person: "p%", Score: points}}}
		if r.IntN(3) > 0 {
			events = append(events, happened{when, &pb.ReviewClosed{Points: points}})
			reviewed = append(reviewed, reviewedAt{when, unit, points})
		}
		h.record(stream, events...)
	}
	return rated, reviewed
}

type ratedAt struct {
	at                            time.Time
	place, unit                   []string
	kind                          pb.RaterKind
	response, cooperation, result uint32
}

type reviewedAt struct {
	at     time.Time
	unit   []string
	points uint32
}

func TestOpinionsAreThoseCountedOneByOne(t *testing.T) {
	t.Parallel()
	w := registry.DefaultWeights()
	of := map[pb.RaterKind]uint32{0: w.ByStreet, 1: w.ByStreet, 2: w.ByCommunity, 3: w.ByResidents, 4: w.ByStreet}
	for seed := range uint64(3) {
		h := newHistory(t)
		rated, reviewed := opinionated(h, rand.New(rand.NewPCG(seed, 3)))
		r := h.reader()
		from, to := day0.AddDate(0, 0, 3), day0.AddDate(0, 0, 12)
		in := func(at time.Time) bool { return !at.Before(from) && at.Before(to) }
		for _, n := range []struct{ level, code string }{{"all", ""}, {"city", "c"}, {"district", "d"}, {"street", "s"}, {"street", "s3"}, {"unit", "root"}, {"unit", "u1"}, {"unit", "u11"}, {"unit", "u2"}} {
			has := func(place, unit []string) bool {
				list := place
				if n.level == "unit" {
					list = unit
				}
				for _, x := range list {
					if x == n.code {
						return true
					}
				}
				return n.level == "all"
			}
			num, den, count := new(big.Rat), new(big.Rat), 0
			for _, x := range rated {
				if in(x.at) && has(x.place, x.unit) {
					weight := big.NewRat(int64(of[x.kind]), 1)
					mean := big.NewRat(int64(w.Response*x.response+w.Cooperation*x.cooperation+w.Result*x.result), 1000)
					num.Add(num, mean.Mul(mean, weight))
					den.Add(den, weight)
					count++
				}
			}
			got, _, err := r.MetricOf(t.Context(), view.MetricQuery{Metric: "M37", Level: n.level, Code: n.code, From: from, To: to, At: to})
			if err != nil || got.Parts["ratings"] != int64(count) || (got.Rate != nil) != (count >= 3) {
				t.Fatalf("M37 of %v: got %v, %v, want %d ratings", n, got, err, count)
			}
			if want, _ := new(big.Rat).Quo(num, den).Float64(); got.Rate != nil && *got.Rate != want {
				t.Errorf("M37 of %v: got %v, want %v", n, *got.Rate, want)
			}
			behind, _, total, _, err := r.ListBehind(t.Context(), view.BehindQuery{Metric: "M37", Level: n.level, Code: n.code, Set: pb.FigureSet_FIGURE_SET_DENOMINATOR, From: from, To: to, At: to, PageSize: 1000})
			if err != nil || int(total) != count || len(behind) != count {
				t.Errorf("behind M37 of %v: got %d of %d, %v, want %d", n, len(behind), total, err, count)
			}
			if n.level != "unit" && n.level != "all" {
				continue
			}
			points, reviews := int64(0), int64(0)
			for _, x := range reviewed {
				if in(x.at) && has(nil, x.unit) {
					points, reviews = points+int64(x.points), reviews+1
				}
			}
			if got, _, err = r.MetricOf(t.Context(), view.MetricQuery{Metric: "M40", Level: n.level, Code: n.code, From: from, To: to, At: to}); err != nil || got.Numerator != points || got.GetDenominator() != 100*reviews {
				t.Errorf("M40 of %v: got %v, %v, want %d of %d reviews", n, got, err, points, reviews)
			}
		}
	}
}

func TestRowsOfReviewsAreTheSameWhereverBatchesAreCut(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	opinionated(h, rand.New(rand.NewPCG(7, 3)))
	whole, cut := h.views("whole.db"), h.views("cut.db")
	h.catchUp(whole, 0)
	h.catchUp(cut, 3)
	if a, b := dump(t, whole), dump(t, cut); a != b {
		t.Errorf("the rows differ")
	}
}

func TestReviewsAreListedToThoseWhoMaySeeThem(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	group := []*pb.Reviewer{{Person: "p_1", Kind: pb.ReviewerKind_REVIEWER_KIND_RESIDENT, Capacity: "x"}}
	h.record("review-1", happened{day0, &pb.ReviewOpened{No: "1", Unit: "u_1", UnitPath: []string{"root", "u_1"}, OpenedBy: "office", Group: group}})
	h.record("review-2", happened{day0, &pb.ResidentUnitGraded{No: "2", Unit: "shop", Community: "c", Score: 5000}})
	h.record("review-3", happened{day0, &pb.ResidentUnitGraded{No: "3", Unit: "bank", Community: "c", Score: 4000}})
	r := h.reader()
	list := func(q view.ReviewQuery) (nos []string) {
		for {
			rows, next, _, err := r.ListReviews(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range rows {
				nos = append(nos, row.No)
			}
			if q.PageToken = next; next == "" {
				return nos
			}
		}
	}
	for _, c := range []struct {
		q    view.ReviewQuery
		want string
	}{
		{view.ReviewQuery{Scope: everyone, PageSize: 1}, "[3 2 1]"},
		{view.ReviewQuery{Scope: everyone, OrderBy: "points", PageSize: 1}, "[3 2 1]"},
		{view.ReviewQuery{Scope: everyone, Filter: "kind = RESIDENT_UNIT"}, "[3 2]"},
		{view.ReviewQuery{}, "[3 2]"},
		{view.ReviewQuery{Person: "p_1"}, "[3 2 1]"},
		{view.ReviewQuery{Person: "px1"}, "[3 2]"}, // no wildcard
		{view.ReviewQuery{Person: "%"}, "[3 2]"},
		{view.ReviewQuery{Scope: view.Scope{Path: []string{"root"}}}, "[3 2 1]"},
		{view.ReviewQuery{Scope: view.Scope{Path: []string{"root", "office", "below"}}}, "[3 2 1]"},
		{view.ReviewQuery{Scope: view.Scope{Path: []string{"root", "ux1"}}}, "[3 2]"},
	} {
		if got := fmt.Sprint(list(c.q)); got != c.want {
			t.Errorf("%+v: got %s, want %s", c.q, got, c.want)
		}
	}
	if _, _, _, err := r.ListReviews(t.Context(), view.ReviewQuery{OrderBy: "name"}); err == nil {
		t.Error("an unknown order is not refused")
	}
}
