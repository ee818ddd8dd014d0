package view_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/view"
)

// listed makes random listed problems that are no tickets, and half as many spot checks, and records them.
func listed(h *history, r *rand.Rand, problems int) (listings, checks []*life) {
	places := [][]string{{"c", "d1", "s1", "m1"}, {"c", "d1", "s1"}, {"c", "d1", "s2", "m3", "g1"}, {"c", "d2"}, {"c"}}
	for i := range problems {
		l := &life{stream: fmt.Sprintf("listing-%03d", i)}
		when := day0.Add(time.Duration(r.IntN(8*24*60)) * time.Minute)
		next := func() time.Time {
			when = when.Add(time.Duration(r.IntN(40*60)) * time.Minute)
			if r.IntN(6) == 0 { // a fact that was learnt late
				return when.Add(-time.Duration(r.IntN(48*60)) * time.Minute)
			}
			return when
		}
		add := func(at time.Time, msg proto.Message) { l.events = append(l.events, happened{at, msg}) }
		unit := []string{"u1", "u2"}[r.IntN(2)]
		e := &pb.ProblemListed{
			No: l.stream, Origin: pb.ListingOrigin(1 + r.IntN(5)), Path: path(places[r.IntN(len(places))]...), Owner: unit, Issuer: "root", Level: []string{"city", "district", ""}[r.IntN(3)],
			OwnerPath: []string{"root", unit}, PlanBy: at(when.Add(72 * time.Hour)),
		}
		if r.IntN(8) > 0 {
			e.ClearBy = at(when.Add(time.Duration(r.IntN(10*24)) * time.Hour))
		}
		add(when, e)
		for range r.IntN(3) {
			add(next(), &pb.RectificationPlanned{Person: "p", ClearBy: e.ClearBy})
			if r.IntN(3) == 0 {
				add(next(), &pb.OwnerAccounted{Kind: pb.AccountKind(1 + r.IntN(2))})
			}
			add(next(), &pb.RectificationReported{})
			add(next(), &pb.RectificationChecked{Passed: false})
		}
		if r.IntN(3) > 0 {
			add(next(), &pb.RectificationPlanned{Person: "p", ClearBy: e.ClearBy})
			add(next(), &pb.RectificationReported{})
			add(next(), &pb.RectificationChecked{Passed: true})
			if r.IntN(4) > 0 {
				add(next(), &pb.ListedProblemCleared{})
			}
		}
		listings = append(listings, l)
		h.record(l.stream, l.events...)
	}
	for i := range problems / 2 {
		l := &life{stream: fmt.Sprintf("check-%03d", i)}
		when := day0.Add(time.Duration(r.IntN(8*24*60)) * time.Minute)
		ids := []string{"a", "b", "c", "d"}[:1+r.IntN(4)]
		l.events = append(l.events, happened{when, &pb.SpotCheckDrawn{
			No: l.stream, Kind: pb.CheckKind_CHECK_KIND_SPOT_CHECK, Path: path("c"), From: at(day0), To: at(when), Seed: make([]byte, 16), Population: uint64(len(ids)),
			PopulationHash: make([]byte, 32), Tickets: ids, Unit: "root", UnitPath: []string{"root"}, KnownAt: 1,
		}})
		for k, id := range ids[:r.IntN(len(ids)+1)] {
			when = when.Add(time.Duration(r.IntN(30*60)) * time.Minute)
			unit := []string{"u1", "u2"}[r.IntN(2)]
			l.events = append(l.events, happened{when, &pb.SpotCheckRecorded{
				Ticket: id, Lead: unit, LeadPath: []string{"root", unit}, Path: path(places[r.IntN(len(places))]...), FalseResult: r.IntN(3) == 0, Done: k == len(ids)-1,
			}})
		}
		checks = append(checks, l)
		h.record(l.stream, l.events...)
	}
	return listings, checks
}

// spell is the time that a problem is listed for; an instant that there is none of is zero.
type spell struct {
	from, to, by time.Time
	issuer       string
}

// spells are those of a ticket or a listing, as of what had happened by T, found by walking its events.
func (l *life) spells(t time.Time) (all []spell, raised map[uint32][]time.Time) {
	raised = map[uint32][]time.Time{}
	end := func(when time.Time) {
		if n := len(all); n > 0 && all[n-1].to.IsZero() {
			if all[n-1].to = when; when.Before(all[n-1].from) {
				all[n-1].to = all[n-1].from
			}
		}
	}
	limit := func(by *timestamppb.Timestamp) {
		if n := len(all); by != nil && n > 0 && all[n-1].to.IsZero() {
			all[n-1].by = by.AsTime()
		}
	}
	first := l.events[0].at
	for _, e := range l.events {
		if e.at.After(t) {
			continue
		}
		switch m := e.msg.(type) {
		case *pb.SupervisionRaised:
			raised[m.Level] = append(raised[m.Level], e.at)
			lists := m.Level == 3 || m.Level == 4 && (m.PlanBy != nil || m.ClearBy != nil)
			if n := len(all); lists && (n == 0 || !all[n-1].to.IsZero()) {
				all = append(all, spell{from: e.at, issuer: m.IssuerLevel})
			}
			limit(m.ClearBy)
		case *pb.ListingCleared, *pb.SupervisionLifted, *pb.TicketClosed, *pb.TicketDeclined, *pb.TicketVoided, *pb.TicketMerged, *pb.TicketWithdrawn, *pb.TicketAnsweredDirectly:
			end(e.at)
		case *pb.ProblemListed:
			all = append(all, spell{from: e.at, issuer: m.Level})
			limit(m.ClearBy)
			raised[3] = append(raised[3], e.at)
		case *pb.ListedProblemCleared:
			end(e.at)
		case *pb.OwnerAccounted:
			raised[4] = append(raised[4], later(e.at, first))
		}
	}
	return all, raised
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// lies says whether a listing counts at a node.
func (l *life) lies(level, code string) bool {
	e, ok := l.events[0].msg.(*pb.ProblemListed)
	if !ok {
		return l.counts(level, code)
	}
	return placed(e.Path, e.OwnerPath, level, code)
}

func placed(path []*pb.AreaNode, units []string, level, code string) bool {
	switch level {
	case "all":
		return true
	case "unit":
		return slices.Contains(units, code)
	case "direct":
		return path[len(path)-1].Level != "grid" && path[len(path)-1].Code == code
	}
	return slices.ContainsFunc(path, func(n *pb.AreaNode) bool { return n.Level == level && n.Code == code })
}

func within(t, from, to time.Time) bool { return !t.Before(from) && t.Before(to) }

// issuerOf is what figures call an issuer's level.
func issuerOf(level string) string {
	if level == "" {
		return "other"
	}
	return level
}

func TestTheLedgerOfListingsBalancesAtEveryLevelInEveryPeriod(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	r := rand.New(rand.NewPCG(38, 38))
	all := livesOf(h, r, 150, wholeLife)
	problems, _ := listed(h, r, 60)
	all = append(all, problems...)
	reader := h.reader()
	seen := 0
	for range 6 {
		a, b := hour(float64(r.IntN(300))), hour(float64(r.IntN(300)))
		if b.Before(a) {
			a, b = b, a
		}
		statements := map[[2]string]*pb.LedgerRow{}
		for level, codes := range levels {
			if level == "unit" || level == "category" || level == "channel" || level == "precinct" {
				continue // whose a ticket was when it was listed, and what listings have not
			}
			rows, _, _, err := reader.ListLedger(t.Context(), pb.LedgerKind_LEDGER_KIND_LISTING, view.PeriodQuery{Level: level, From: a, To: b, Now: hour(1000)})
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range rows {
				statements[[2]string{level, row.Code}] = row
			}
			for _, code := range codes {
				want := map[string]*pb.LedgerLine{"": {}}
				for _, l := range all {
					if !l.lies(level, code) {
						continue
					}
					spells, _ := l.spells(hour(1e6))
					for _, s := range spells {
						for _, at := range []string{"", issuerOf(s.issuer)} {
							w := want[at]
							if w == nil {
								w = &pb.LedgerLine{Level: at}
								want[at] = w
							}
							ended := !s.to.IsZero()
							switch {
							case within(s.from, a, b):
								w.Added++
							case s.from.Before(a) && (!ended || !s.to.Before(a)):
								w.Opening++
							}
							if ended && within(s.to, a, b) {
								w.Removed++
							}
							if s.from.Before(b) && (!ended || !s.to.Before(b)) {
								w.Closing++
							}
						}
					}
				}
				row := statements[[2]string{level, code}]
				if row == nil {
					row = &pb.LedgerRow{}
				}
				if w := want[""]; row.Opening != w.Opening || row.Added != w.Added || row.Removed != w.Removed || row.Closing != w.Closing {
					t.Errorf("%s %s in [%v, %v): got %s, want %v", level, code, a, b, statement(row), w)
				}
				if row.Opening+row.Added-row.Removed != row.Closing {
					t.Errorf("%s %s does not balance: %s", level, code, statement(row))
				}
				var ages, reasons int64
				for _, n := range row.Ages {
					ages += n
				}
				for _, n := range row.Reasons {
					reasons += n
				}
				if ages != row.Closing || reasons != row.Closing {
					t.Errorf("%s %s: %d by age and %d by level are open, want %d", level, code, ages, reasons, row.Closing)
				}
				for _, line := range row.Issuers {
					w := want[line.Level]
					if w == nil {
						w = &pb.LedgerLine{Level: line.Level}
					}
					if !proto.Equal(line, w) {
						t.Errorf("%s %s, issued at %s: got %v, want %v", level, code, line.Level, line, w)
					}
					seen++
				}
			}
		}
		for parent, children := range map[[2]string][][2]string{
			{"city", "c"}:      {{"district", "d1"}, {"district", "d2"}, {"direct", "c"}},
			{"district", "d1"}: {{"street", "s1"}, {"street", "s2"}},
			{"street", "s1"}:   {{"community", "m1"}, {"community", "m2"}, {"direct", "s1"}},
		} {
			var sum int64
			for _, child := range children {
				sum += statements[child].GetAdded()
			}
			if is := statements[parent].GetAdded(); is != sum {
				t.Errorf("%v added %d, its children %d", parent, is, sum)
			}
		}
	}
	if seen < 100 {
		t.Errorf("only %d lines were compared", seen)
	}
}

func TestListingsClearedAreCountedOneByOne(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	r := rand.New(rand.NewPCG(39, 38))
	all := livesOf(h, r, 120, wholeLife)
	problems, _ := listed(h, r, 50)
	all = append(all, problems...)
	reader := h.reader()
	sum := int64(0)
	for range 6 {
		from := hour(float64(r.IntN(200)))
		to := from.Add(time.Duration(r.IntN(150)) * time.Hour)
		when := to.Add(time.Duration(r.IntN(200)-100) * time.Hour)
		for level, codes := range levels {
			if level == "unit" || level == "category" || level == "channel" || level == "precinct" {
				continue
			}
			q := view.MetricQuery{Metric: "M38", Level: level, From: from, To: to, At: when}
			figures, _, _, err := reader.ListMetrics(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			known := h.last
			q.KnownAt = &known
			slowly, _, _, err := reader.ListMetrics(t.Context(), q)
			if err != nil || text(slowly) != text(figures) {
				t.Errorf("%s: what was known is %s, %v; want %s", level, text(slowly), err, text(figures))
			}
			for _, code := range codes {
				want := &pb.MetricFigure{Denominator: new(int64), Parts: map[string]int64{"listed": 0, "raised_1": 0, "raised_2": 0, "raised_3": 0, "raised_4": 0}}
				last := to
				if when.Before(to) {
					last = when.Add(time.Microsecond)
				}
				for _, l := range all {
					if !l.lies(level, code) {
						continue
					}
					spells, raised := l.spells(when)
					for n, list := range raised {
						for _, at := range list {
							if within(at, from, to) {
								want.Parts[fmt.Sprintf("raised_%d", n)]++
							}
						}
					}
					for _, s := range spells {
						if s.from.Before(last) && (s.to.IsZero() || !s.to.Before(last)) {
							want.Parts["listed"]++
						}
						if s.by.IsZero() || !within(s.by, from, to) {
							continue
						}
						*want.Denominator++
						want.Parts[issuerOf(s.issuer)]++
						want.Parts[issuerOf(s.issuer)+"_cleared"] += 0
						if !s.to.IsZero() {
							want.Numerator++
							want.Parts[issuerOf(s.issuer)+"_cleared"]++
						}
					}
				}
				got := &pb.MetricFigure{Denominator: new(int64), Parts: want.Parts}
				for _, f := range figures {
					if f.Code == code {
						got = f
					}
				}
				if got.Numerator != want.Numerator || *got.Denominator != *want.Denominator || fmt.Sprint(got.Parts) != fmt.Sprint(want.Parts) {
					t.Errorf("%s %s in [%v, %v) at %v: got %s, want %s", level, code, from, to, when, show(got), show(want))
				}
				sum += want.Numerator
				for set, want := range map[pb.FigureSet]int64{pb.FigureSet_FIGURE_SET_NUMERATOR: got.Numerator, pb.FigureSet_FIGURE_SET_DENOMINATOR: *got.Denominator} {
					behind, next, total, _, err := reader.ListBehind(t.Context(), view.BehindQuery{Metric: "M38", Level: level, Code: code, Set: set, From: from, To: to, At: when, PageSize: 1000})
					if err != nil || next != "" || total != int64(len(behind)) || total > want || want > 0 && total == 0 {
						t.Errorf("behind %s %s: %d of %d, %v; want at most %d", level, code, len(behind), total, err, want)
					}
				}
			}
		}
	}
	if sum < 50 {
		t.Errorf("only %d were cleared", sum)
	}
}

func TestFalseResultsAreCountedOneByOne(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	r := rand.New(rand.NewPCG(39, 39))
	_, checks := listed(h, r, 60)
	reader := h.reader()
	sum := 0
	for range 8 {
		from := hour(float64(r.IntN(200)))
		to := from.Add(time.Duration(r.IntN(150)) * time.Hour)
		for level, codes := range levels {
			for _, code := range codes {
				var num, den int64
				for _, l := range checks {
					for _, e := range l.events[1:] {
						m := e.msg.(*pb.SpotCheckRecorded)
						if !within(e.at, from, to) || !placed(m.Path, m.LeadPath, level, code) {
							continue
						}
						if den++; m.FalseResult {
							num++
						}
					}
				}
				q := view.MetricQuery{Metric: "M39", Level: level, Code: code, From: from, To: to}
				f, _, err := reader.MetricOf(t.Context(), q)
				if err != nil || f.Numerator != num || *f.Denominator != den {
					t.Errorf("%s %s: got %v, %v; want %d of %d", level, code, f, err, num, den)
				}
				known := h.last
				q.KnownAt = &known
				slowly, _, err := reader.MetricOf(t.Context(), q)
				if err != nil || slowly.Numerator != num || *slowly.Denominator != den {
					t.Errorf("%s %s, as was known: got %v, %v; want %d of %d", level, code, slowly, err, num, den)
				}
				var names []string
				b := view.BehindQuery{Metric: "M39", Level: level, Code: code, Set: pb.FigureSet_FIGURE_SET_DENOMINATOR, From: from, To: to, PageSize: 3}
				for {
					page, next, total, _, err := reader.ListBehind(t.Context(), b)
					if err != nil || total != den {
						t.Fatalf("behind %s %s: %d, %v; want %d", level, code, total, err, den)
					}
					for _, x := range page {
						names = append(names, x.Name)
					}
					if b.PageToken = next; next == "" {
						break
					}
				}
				if int64(len(names)) != den {
					t.Errorf("behind %s %s: pages have %d, want %d", level, code, len(names), den)
				}
				sum += len(names)
			}
		}
	}
	if sum < 100 {
		t.Errorf("only %d were compared", sum)
	}
}

func TestListingsAreListedToThoseWhoMaySeeThem(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	listing := func(id, owner string, ownerPath []string, place []string, more ...happened) {
		h.record("listing-"+id, append([]happened{in(1, &pb.ProblemListed{
			No: id, Origin: pb.ListingOrigin_LISTING_ORIGIN_MEDIA, Path: path(place...), Owner: owner, OwnerPath: ownerPath, Issuer: ownerPath[0], Level: "city", ClearBy: at(hour(50)),
		})}, more...)...)
	}
	listing("one", "a", []string{"root", "over", "a"}, []string{"c", "d1", "s1"})
	listing("two", "b", []string{"root", "b"}, []string{"c", "d1"}, in(2, &pb.RectificationPlanned{Person: "p"}), in(3, &pb.RectificationReported{}))
	listing("three", "b", []string{"root", "b"}, []string{"c", "d2"}, in(2, &pb.RectificationPlanned{Person: "p"}), in(3, &pb.RectificationReported{}), in(4, &pb.RectificationChecked{Passed: true}),
		in(60, &pb.ListedProblemCleared{}))
	h.record("check-four", in(1, &pb.SpotCheckDrawn{No: "four", Kind: pb.CheckKind_CHECK_KIND_SPOT_CHECK, Path: path("c", "d1"), Seed: make([]byte, 16), Population: 1, Tickets: []string{"t"},
		Unit: "over", UnitPath: []string{"root", "over"}, KnownAt: 7}))
	r := h.reader()
	for name, c := range map[string]struct {
		scope            view.ListingScope
		filter           string
		listings, checks string
	}{
		"everything":                          {scope: view.ListingScope{All: true}, listings: "three two one", checks: "four"},
		"the unit above":                      {scope: view.ListingScope{Path: []string{"root", "over"}}, listings: "one", checks: "four"},
		"the owner":                           {scope: view.ListingScope{Path: []string{"root", "b"}}, listings: "three two"},
		"a unit below the owner":              {scope: view.ListingScope{Path: []string{"root", "b", "below"}}, listings: "three two"},
		"somebody else":                       {scope: view.ListingScope{Path: []string{"root", "z"}}},
		"who looks at what is nearby":         {scope: view.ListingScope{Path: []string{"root", "z"}, Near: true, AreaPath: []string{"c", "d1", "s1"}}, listings: "two", checks: "four"},
		"who looks somewhere else":            {scope: view.ListingScope{Path: []string{"root", "z"}, Near: true, AreaPath: []string{"c", "d2"}}},
		"nobody":                              {},
		"everything that is open":             {scope: view.ListingScope{All: true}, filter: "open = true", listings: "two one"},
		"what lies in an area":                {scope: view.ListingScope{All: true}, filter: "area = d1", listings: "two one", checks: "four"},
		"what an owner has to put right":      {scope: view.ListingScope{All: true}, filter: `owner = "a"`, listings: "one"},
		"what is to be cleared by then":       {scope: view.ListingScope{All: true}, filter: `clear_by < "2030-01-01T00:00:00Z"`, listings: "three two one"},
		"what is in a state and of an origin": {scope: view.ListingScope{All: true}, filter: "state = REPORTED_DONE AND origin = MEDIA AND level = city AND issuer = root", listings: "two"},
	} {
		q := view.ListingQuery{Scope: c.scope, Filter: c.filter, Now: hour(55)}
		rows, _, _, err := r.ListListings(t.Context(), q)
		var got []string
		for _, row := range rows {
			got = append(got, row.No)
			if want := row.No != "three" || row.ClearedAt.AsTime().After(hour(50)); row.Overdue != want {
				t.Errorf("%s: %s is overdue: %t", name, row.No, row.Overdue)
			}
		}
		if err != nil || strings.Join(got, " ") != c.listings {
			t.Errorf("%s: got %q, %v; want %q", name, got, err, c.listings)
		}
		if c.filter != "" && c.filter != "area = d1" {
			continue
		}
		spots, known, _, _, err := r.ListSpotChecks(t.Context(), q)
		got = nil
		for i, row := range spots {
			if got = append(got, row.No); known[i] != eventstore.Position(7) || len(row.Items) != 1 {
				t.Errorf("%s: got %v, known at %d", name, row, known[i])
			}
		}
		if err != nil || strings.Join(got, " ") != c.checks {
			t.Errorf("%s: got checks %q, %v; want %q", name, got, err, c.checks)
		}
	}
	all := view.ListingQuery{Scope: view.ListingScope{All: true}, PageSize: 2, Now: hour(55)}
	first, next, _, err := r.ListListings(t.Context(), all)
	if err != nil || len(first) != 2 || next == "" {
		t.Fatalf("first page: %d, %q, %v", len(first), next, err)
	}
	all.PageToken = next
	if second, next, _, err := r.ListListings(t.Context(), all); err != nil || len(second) != 1 || next != "" || second[0].No != "one" {
		t.Errorf("second page: %v, %q, %v", second, next, err)
	}
}
