package view_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/view"
)

// posted is a post with its ticket as the reference sees them: what happened, in the order of recording.
type posted struct {
	id     string
	events []onWall
}

type onWall struct {
	happened
	ticket   bool
	recorded eventstore.Position
}

// wallPlaces are where walls are: grids and communities, their own unit of the same code.
var wallPlaces = [][]string{{"c", "d1", "s1", "m1", "g1"}, {"c", "d1", "s1", "m1"}, {"c", "d1", "s1", "m2", "g2"}, {"c", "d2", "s3", "m4", "g4"}, {"c", "d2", "s3", "m4"}}

// posts makes random posts with tickets, and tickets without, and records them mixed with each other.
func posts(h *history, r *rand.Rand, n int) []*posted {
	var all []*posted
	queue := map[*posted][]onWall{}
	for i := range n {
		p := &posted{id: fmt.Sprintf("%03d", i)}
		t := day0.Add(time.Duration(r.IntN(6*24*60)) * time.Minute)
		var list []onWall
		add := func(ticket bool, msg proto.Message) {
			when := t
			if t = t.Add(time.Duration(r.IntN(20*60)) * time.Minute); len(list) > 1 && r.IntN(6) == 0 { // a fact that was learnt late
				when = when.Add(-time.Duration(r.IntN(30*60)) * time.Minute)
			}
			list = append(list, onWall{happened: happened{when, msg}, ticket: ticket})
		}
		postedLife(r, p.id, func(msg proto.Message) { add(false, msg) }, func(msg proto.Message) { add(true, msg) })
		queue[p], all = list, append(all, p)
	}
	open := slices.Clone(all)
	for len(open) > 0 {
		i := r.IntN(len(open))
		p := open[i]
		for range min(1+r.IntN(3), len(queue[p])) {
			e := queue[p][0]
			stream := "wall-" + p.id
			if e.ticket {
				stream = "ticket-" + p.id
			}
			e.recorded = h.record(stream, e.happened)
			p.events, queue[p] = append(p.events, e), queue[p][1:]
		}
		if len(queue[p]) == 0 {
			open = slices.Delete(open, i, i+1)
		}
	}
	return all
}

func postedLife(r *rand.Rand, id string, onWall, onTicket func(proto.Message)) {
	place := wallPlaces[r.IntN(len(wallPlaces))]
	own, mother := place[len(place)-1], len(place) == 4
	handled := func(leads [][]string, echo bool) {
		onTicket(&pb.TicketReported{No: id, Source: "wall", SourceRef: id, Channel: pb.Channel_CHANNEL_WALL, Path: path(place...), Category: "0302", Holder: place[3], HolderPath: place[:4]})
		onTicket(&pb.TicketAccepted{Path: path(place...), Holder: place[3], HolderPath: place[:4]})
		if r.IntN(8) == 0 {
			onTicket(&pb.TicketAnsweredDirectly{})
			return
		}
		onTicket(&pb.TicketTriaged{Category: "0302", Grade: pb.Grade_GRADE_G2, Holder: place[3], HolderPath: place[:4]})
		for round := range uint32(1 + r.IntN(3)) {
			lead := leads[r.IntN(len(leads))]
			if round == 0 {
				onTicket(&pb.TicketDispatched{Lead: lead[len(lead)-1], LeadPath: lead, Round: 1, Hop: 1})
			} else {
				onTicket(&pb.TicketReopened{Round: round + 1, Lead: lead[len(lead)-1]})
			}
			switch r.IntN(6) {
			case 0:
				onTicket(&pb.TicketEscalated{From: lead[len(lead)-1], To: place[2], LeadPath: place[:3]})
			case 1:
				onTicket(&pb.HolderMoved{From: lead[len(lead)-1], To: "u9", HolderPath: []string{"c", "u9"}})
			case 2:
				onTicket(&pb.TicketDelegated{From: lead[len(lead)-1], To: own, LeadPath: place, Round: round + 1})
			}
			if r.IntN(5) == 0 {
				return
			}
			onTicket(&pb.ResultSubmitted{Result: pb.ResultCode_RESULT_CODE_RESOLVED})
			if echo && r.IntN(4) > 0 {
				onWall(&pb.PostEchoed{Kind: pb.EchoKind_ECHO_KIND_RESULT, Ticket: id, Version: 9})
			}
			onTicket(&pb.TicketClosed{Kind: pb.CloseKind_CLOSE_KIND_SOLVED})
			if echo && r.IntN(4) == 0 {
				onWall(&pb.PostEchoed{Kind: pb.EchoKind_ECHO_KIND_RESULT, Ticket: id, Version: 9})
			}
		}
	}
	if r.IntN(5) == 0 { // no post at all
		handled([][]string{place, {"c", "u1"}}, false)
		return
	}
	onWall(&pb.PostPublished{No: "P" + id, Path: path(place...), Category: []string{"", "0302"}[r.IntN(2)], Keeper: own, Mother: mother, Tags: []string{"ten-noes", "t" + id}[:r.IntN(3)]})
	if r.IntN(6) == 0 {
		return
	}
	if r.IntN(6) == 0 {
		onWall(&pb.PostRefused{Reason: "NO_MATTER"})
		return
	}
	onWall(&pb.PostScreened{Category: []string{"0302", "0101"}[r.IntN(2)]})
	for i := range r.IntN(3) {
		onWall(&pb.PostSupported{Resident: fmt.Sprint("r", i)})
	}
	switch x := r.IntN(3); {
	case x == 0 && !mother:
		onWall(&pb.PostSelfSolved{Unit: own, Category: "0302"})
		handled([][]string{place}, false)
		return
	case !mother:
		onWall(&pb.PostLifted{Reason: pb.EscalationReason_ESCALATION_REASON_RESOURCES, Keeper: place[3], Path: path(place[:4]...)})
	}
	if r.IntN(5) == 0 {
		return
	}
	onWall(&pb.PostTicketed{Category: "0302"})
	if r.IntN(2) == 0 {
		onWall(&pb.PostEchoed{Kind: pb.EchoKind_ECHO_KIND_ACCEPTED, Ticket: id, Version: 3})
	}
	handled([][]string{place, place[:4], {"c", "u1"}}, true)
	if r.IntN(3) == 0 {
		onWall(&pb.PostReviewed{Resident: "r1", Score: 4})
	}
}

// counts says what one post comes to, told anew from all that happened.
type counts struct {
	child, solved, refused, lifted, taken, closed, echoed bool
	posted, closedAt                                      time.Time
	took                                                  time.Duration
	place                                                 []string
	unit, category                                        string
}

func (p *posted) at(t time.Time, known eventstore.Position) (c counts, ok bool) {
	var lead []string
	var home string
	var echoes []time.Time
	for _, e := range p.events {
		if e.recorded > known {
			break
		}
		past := !e.at.After(t)
		switch m := e.msg.(type) {
		case *pb.PostPublished:
			ok = past
			for _, n := range m.Path {
				c.place = append(c.place, n.Code)
			}
			c.posted, c.child, c.unit, c.category = e.at, !m.Mother, m.Keeper, m.Category
		case *pb.PostScreened:
			c.category = m.Category
		case *pb.PostRefused:
			c.refused = past
		case *pb.PostSelfSolved:
			c.solved = past
			echoes = append(echoes, e.at)
		case *pb.PostLifted:
			c.lifted, home = past, m.Keeper
		case *pb.PostEchoed:
			if m.Kind == pb.EchoKind_ECHO_KIND_RESULT {
				echoes = append(echoes, e.at)
			}
		case *pb.TicketDispatched:
			lead = m.LeadPath
		case *pb.TicketEscalated:
			lead = m.LeadPath
		case *pb.TicketDelegated:
			lead = m.LeadPath
		case *pb.HolderMoved:
			if lead[len(lead)-1] == m.From {
				lead = m.HolderPath
			}
		case *pb.TicketClosed, *pb.TicketAnsweredDirectly:
			if past {
				c.closed, c.closedAt, c.taken = true, e.at, home != "" && slices.Contains(lead, home)
			}
		case *pb.TicketReopened:
			if past {
				c.closed, c.taken = false, false
			}
		}
	}
	if len(c.place) == 0 || !ok {
		return c, false
	}
	if c.closed {
		slices.SortFunc(echoes, time.Time.Compare)
		for _, at := range echoes { // the last up to the closing, else the first after it
			if at.After(t) || at.After(c.closedAt) && c.echoed {
				break
			}
			c.echoed, c.took = true, at.Sub(c.posted)
		}
	}
	return c, true
}

// reckon is M29 and M45 of a node, counted one by one.
func reckon(all []*posted, metric, level, code string, from, to, t time.Time, known eventstore.Position) *pb.MetricFigure {
	f := &pb.MetricFigure{Metric: metric, Denominator: new(int64)}
	var hours []float64
	x1, lifted, taken := int64(0), int64(0), int64(0)
	within := func(at time.Time) bool { return !at.Before(from) && at.Before(to) }
	for _, p := range all {
		c, ok := p.at(t, known)
		if !ok || !c.counts(level, code) {
			continue
		}
		switch {
		case metric == "M45" && c.closed && within(c.closedAt):
			*f.Denominator++
			if c.echoed {
				f.Numerator++
				hours = append(hours, c.took.Hours())
			}
		case metric == "M29" && c.child && within(c.posted) && c.refused:
			x1++
		case metric == "M29" && c.child && within(c.posted):
			*f.Denominator++
			if c.solved {
				f.Numerator++
			}
			if c.lifted {
				lifted++
				if c.taken && c.closed {
					taken++
				}
			}
		}
	}
	if x1 > 0 {
		f.Excluded = map[string]int64{"X1": x1}
	}
	if metric == "M29" {
		f.Parts = map[string]int64{"lifted": lifted, "lifted_closed": taken}
	}
	if n := len(hours); n > 0 {
		slices.Sort(hours)
		sum := 0.0
		for _, h := range hours {
			sum += h
		}
		f.MeanHours, f.MedianHours = proto.Float64(sum/float64(n)), proto.Float64((hours[(n-1)/2]+hours[n/2])/2)
	}
	return f
}

func (c *counts) counts(level, code string) bool {
	switch level {
	case "all":
		return code == ""
	case "unit":
		return c.unit == code
	case "direct":
		return len(c.place) == 4 && c.place[3] == code
	case "category":
		return code != "" && c.category == code
	}
	i := slices.Index([]string{"city", "district", "street", "community", "grid"}, level)
	return len(c.place) > i && c.place[i] == code
}

// figureText is a figure as text, hours to a second.
func figureText(f *pb.MetricFigure) string {
	hour := func(h *float64) string {
		if h == nil {
			return "-"
		}
		return fmt.Sprintf("%.4f", *h+1e-9)
	}
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(f.Parts)) {
		parts = append(parts, fmt.Sprint(key, "=", f.Parts[key]))
	}
	return fmt.Sprintf("%d/%d %v %v mean %s median %s", f.Numerator, f.GetDenominator(), f.Excluded, parts, hour(f.MeanHours), hour(f.MedianHours))
}

var wallNodes = map[string][]string{
	"all": {""}, "city": {"c"}, "district": {"d1", "d2"}, "street": {"s1", "s2", "s3"}, "community": {"m1", "m2", "m4"}, "grid": {"g1", "g2", "g4"},
	"unit": {"g1", "m1", "g2", "g4", "m4", "u1"}, "direct": {"m1", "m4"}, "category": {"0302", "0101"},
}

func TestWallFiguresOfAnyInstantEqualThoseCountedOneByOne(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		h, r := newHistory(t), rand.New(rand.NewPCG(seed, 29))
		all := posts(h, r, 120)
		reader := h.reader()
		seen := map[string]int64{}
		for range 10 {
			from := day0.Add(time.Duration(r.IntN(8*24)) * time.Hour)
			to := from.Add(time.Duration(1+r.IntN(10*24)) * time.Hour)
			at := from.Add(time.Duration(r.IntN(20*24)) * time.Hour)
			known := h.last
			q := view.MetricQuery{From: from, To: to, At: at}
			if r.IntN(3) == 0 {
				known = eventstore.Position(1 + r.IntN(int(h.last)))
				q.KnownAt = &known
			}
			for _, metric := range []string{"M29", "M45"} {
				for level, codes := range wallNodes {
					q.Metric, q.Level = metric, level
					list, _, _, err := reader.ListMetrics(t.Context(), q)
					if err != nil {
						t.Fatal(err)
					}
					rows := map[string]*pb.MetricFigure{}
					for _, f := range list {
						if rows[f.Code] = f; !slices.Contains(codes, f.Code) {
							t.Errorf("%s at %s: nobody knows %q", metric, level, f.Code)
						}
					}
					for _, code := range codes {
						want := reckon(all, metric, level, code, from, to, at, known)
						got := rows[code]
						if got == nil {
							got = &pb.MetricFigure{Parts: want.Parts}
						}
						if figureText(got) != figureText(want) {
							t.Errorf("seed %d, %s of %s %q in [%s, %s) at %s:\ngot  %s\nwant %s", seed, metric, level, code, from, to, at, figureText(got), figureText(want))
						}
						q.Code = code
						if one, _, err := reader.MetricOf(t.Context(), q); err != nil || figureText(one) != figureText(got) {
							t.Errorf("%s of %s %q alone: got %v, %v, want %v", metric, level, code, one, err, got)
						}
						seen[metric] += want.Numerator
						seen[metric+" excluded"] += want.Excluded["X1"]
						seen["lifted_closed"] += want.Parts["lifted_closed"]
					}
				}
			}
		}
		if seen["M29"] == 0 || seen["M45"] == 0 || seen["M29 excluded"] == 0 || seen["lifted_closed"] == 0 {
			t.Errorf("seed %d: too little happened: %v", seed, seen)
		}
	}
}

func TestWallFiguresOfChildrenAndDirectAddUpToTheParent(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	posts(h, rand.New(rand.NewPCG(7, 45)), 150)
	reader := h.reader()
	sum := func(level, area string, metric string) (sums [4]int64) {
		list, _, _, err := reader.ListMetrics(t.Context(), view.MetricQuery{Metric: metric, Level: level, Area: area})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range list {
			for i, n := range []int64{f.Numerator, f.GetDenominator(), f.Excluded["X1"], f.Parts["lifted"]} {
				sums[i] += n
			}
		}
		return sums
	}
	for _, metric := range []string{"M29", "M45"} {
		whole := sum("city", "", metric)
		for _, level := range []string{"all", "district", "street", "community", "unit"} { // every post lies in a community
			if got := sum(level, "", metric); got != whole || whole[1] == 0 {
				t.Errorf("%s: the nodes of %s add up to %v, the city is %v", metric, level, got, whole)
			}
		}
		for _, m := range wallNodes["community"] {
			parent, children, direct := sum("community", m, metric), sum("grid", m, metric), sum("direct", m, metric)
			for i := range parent {
				if children[i]+direct[i] != parent[i] {
					t.Errorf("%s of %s: grids %v and direct %v, not %v", metric, m, children, direct, parent)
				}
			}
		}
	}
}

func TestThePostsBehindAWallFigureAreThoseItCounts(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	posts(h, rand.New(rand.NewPCG(3, 3)), 120)
	reader := h.reader()
	for metric, collection := range map[string]string{"M29": "posts/", "M45": "tickets/"} {
		for level, codes := range wallNodes {
			for _, code := range codes {
				f, _, err := reader.MetricOf(t.Context(), view.MetricQuery{Metric: metric, Level: level, Code: code})
				if err != nil {
					t.Fatal(err)
				}
				for set, want := range map[pb.FigureSet]int64{
					pb.FigureSet_FIGURE_SET_NUMERATOR: f.Numerator, pb.FigureSet_FIGURE_SET_DENOMINATOR: f.GetDenominator(), pb.FigureSet_FIGURE_SET_EXCLUDED: f.Excluded["X1"],
				} {
					var names []string
					q := view.BehindQuery{Metric: metric, Level: level, Code: code, Set: set, PageSize: 7}
					for {
						page, next, total, _, err := reader.ListBehind(t.Context(), q)
						if err != nil || total != want {
							t.Fatalf("%s of %s %q, %s: got %d in all, %v, want %d", metric, level, code, set, total, err, want)
						}
						for _, b := range page {
							if names = append(names, b.Name); !strings.HasPrefix(b.Name, collection) || (b.Exclusion != "") != (set == pb.FigureSet_FIGURE_SET_EXCLUDED) {
								t.Errorf("%s: got %v", metric, b)
							}
						}
						if q.PageToken = next; next == "" {
							break
						}
					}
					if slices.Sort(names); int64(len(names)) != want || len(slices.Compact(names)) != int(want) {
						t.Errorf("%s of %s %q, %s: %d are listed, want %d", metric, level, code, set, len(names), want)
					}
				}
			}
		}
	}
}

func TestRowsOfWallsAreTheSameWhereverBatchesAreCut(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		h, r := newHistory(t), rand.New(rand.NewPCG(seed, 5))
		posts(h, r, 60)
		together(h, r)
		whole := h.views("whole.db")
		h.catchUp(whole, 0)
		want := dump(t, whole)
		for _, batch := range []int{1, 3, 17} {
			cut := h.views(fmt.Sprint(batch, ".db"))
			h.catchUp(cut, batch)
			if got := dump(t, cut); got != want {
				t.Errorf("seed %d, in batches of %d: got other rows than in one", seed, batch)
			}
		}
		if !strings.Contains(want, "turn\t") || !strings.Contains(want, "matter\t") || !strings.Contains(want, "entry\t") {
			t.Fatal("the rows say nothing")
		}
	}
}

// together makes matters of the month, needs and resources, each as far as chance takes it.
func together(h *history, r *rand.Rand) {
	for i := range 12 {
		at := day0.Add(time.Duration(i) * time.Hour)
		place := wallPlaces[r.IntN(len(wallPlaces))][:4]
		list := []happened{
			{at, &pb.MatterChosen{No: fmt.Sprint("M", i), Path: path(place...), Month: fmt.Sprintf("2026-%02d", 1+i%3), Keeper: place[3]}},
			{at.Add(time.Minute), &pb.MatterDeliberated{}}, {at.Add(2 * time.Minute), &pb.MatterDecided{}}, {at.Add(3 * time.Minute), &pb.MatterPublished{}},
		}
		h.record(fmt.Sprintf("deliberation-%03d", i), list[:1+r.IntN(4)]...)
		ends := []proto.Message{&pb.EntryFulfilled{With: "x"}, &pb.EntryFreed{With: "x"}}
		steps := []happened{
			{at, &pb.EntryOpened{No: fmt.Sprint("E", i), Kind: pb.ExchangeKind(1 + i%2), Path: path(place...), Unit: place[3], Topic: []string{"venue", "legal-aid"}[r.IntN(2)]}},
			{at.Add(time.Minute), &pb.EntryMatched{With: "x", Unit: "u1"}}, {at.Add(2 * time.Minute), ends[r.IntN(2)]},
		}
		h.record(fmt.Sprintf("exchange-%03d", i), steps[:1+r.IntN(3)]...)
	}
}

// all are the ids of all pages.
func everyPage(t *testing.T, list func(view.BoardQuery) ([]string, string, error), q view.BoardQuery) (ids []string) {
	t.Helper()
	for {
		page, next, err := list(q)
		if err != nil {
			t.Fatal(err)
		}
		if ids = append(ids, page...); next == "" {
			return ids
		}
		q.PageToken = next
	}
}

func TestABoardHasThePostsOfAWallAndOfThoseBelowItInOrder(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	all := posts(h, rand.New(rand.NewPCG(11, 11)), 120)
	reader := h.reader()
	list := func(q view.BoardQuery) ([]string, string, error) {
		ids, lights, next, _, err := reader.ListWallPosts(t.Context(), q, day0.AddDate(0, 1, 0))
		if err == nil && len(lights) != len(ids) {
			t.Errorf("%d lights for %d posts", len(lights), len(ids))
		}
		return ids, next, err
	}
	type row struct {
		id       string
		at       time.Time
		place    []string
		public   bool
		supports int
	}
	var rows []row
	for _, p := range all {
		c, ok := p.at(day0.AddDate(1, 0, 0), h.last)
		if !ok {
			continue
		}
		is := row{id: p.id, at: c.posted, place: c.place}
		for _, e := range p.events {
			switch e.msg.(type) {
			case *pb.PostScreened:
				is.public = true
			case *pb.PostSupported:
				is.supports++
			}
		}
		rows = append(rows, is)
	}
	for _, area := range []string{"c", "d2", "m1", "g1", "g2", "nowhere"} {
		for _, keeper := range []string{"", "g1", "m4"} {
			for _, order := range []string{"", "posted_at desc", "posted_at", "supports desc"} {
				var want []string
				kept := slices.DeleteFunc(slices.Clone(rows), func(is row) bool {
					return !slices.Contains(is.place, area) || !is.public && is.place[len(is.place)-1] != keeper
				})
				slices.SortStableFunc(kept, func(a, b row) int {
					switch order {
					case "posted_at":
						return a.at.Compare(b.at)
					case "supports desc":
						return b.supports - a.supports
					}
					return b.at.Compare(a.at)
				})
				for _, is := range kept {
					want = append(want, is.id)
				}
				q := view.BoardQuery{Filter: "area = " + area, OrderBy: order, PageSize: 5, Sees: func(of string) bool { return of == keeper }}
				got := everyPage(t, list, q)
				if order == "supports desc" { // of as many, in some order
					slices.Sort(got)
					slices.Sort(want)
				}
				if !slices.Equal(got, want) {
					t.Errorf("area %s, order %q, seen by %q: got %v, want %v", area, order, keeper, got, want)
				}
			}
		}
	}
	for filter, want := range map[string]bool{
		`tag = ten-noes AND state = SELF_SOLVED`: true, `open = true AND posted_at >= 2026-03-02T00:00:00Z`: true, `category = "0101" OR no = P001`: true, `tag = other`: false,
	} {
		if got := everyPage(t, list, view.BoardQuery{Filter: filter}); (len(got) > 0) != want {
			t.Errorf("%s: got %v", filter, got)
		}
	}
	for field, q := range map[string]view.BoardQuery{
		"filter": {Filter: "colour = red"}, "order_by": {OrderBy: "no"}, "page_token": {PageToken: "x"}, "page_size": {PageSize: -1},
	} {
		if _, _, err := list(q); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: got %v", field, err)
		}
	}
}

func TestMattersOfTheMonthAndEntriesAreListedTheLatestFirst(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	day := func(n int) time.Time { return day0.AddDate(0, 0, n) }
	for i, m := range []struct {
		place  []string
		month  string
		public bool
	}{{wallPlaces[1], "2026-02", true}, {wallPlaces[1], "2026-03", false}, {wallPlaces[4], "2026-03", true}} {
		id := fmt.Sprintf("deliberation-%d", i)
		h.record(id, happened{day(i), &pb.MatterChosen{No: fmt.Sprint("M", i), Path: path(m.place...), Month: m.month, Keeper: m.place[3]}})
		if m.public {
			h.record(id, happened{day(i), &pb.MatterDeliberated{}}, happened{day(i), &pb.MatterDecided{}}, happened{day(i), &pb.MatterPublished{}})
		}
	}
	h.record("exchange-0", happened{day(0), &pb.EntryOpened{No: "E0", Kind: pb.ExchangeKind_EXCHANGE_KIND_NEED, Path: path(wallPlaces[1]...), Unit: "m1", Topic: "venue"}})
	h.record("exchange-1", happened{day(1), &pb.EntryOpened{No: "E1", Kind: pb.ExchangeKind_EXCHANGE_KIND_RESOURCE, Path: path(wallPlaces[4]...), Unit: "u1", Topic: "venue"}},
		happened{day(2), &pb.EntryMatched{With: "0", Unit: "m1"}})
	reader := h.reader()
	deliberations := func(q view.BoardQuery) ([]string, string, error) {
		ids, next, _, err := reader.ListDeliberations(t.Context(), q)
		return ids, next, err
	}
	entries := func(q view.BoardQuery) ([]string, string, error) {
		ids, next, _, err := reader.ListEntries(t.Context(), q)
		return ids, next, err
	}
	mine := func(keeper string) bool { return keeper == "m1" }
	for _, c := range []struct {
		list func(view.BoardQuery) ([]string, string, error)
		q    view.BoardQuery
		want []string
	}{
		{deliberations, view.BoardQuery{PageSize: 1}, []string{"2", "0"}},
		{deliberations, view.BoardQuery{Sees: mine, PageSize: 2}, []string{"2", "1", "0"}},
		{deliberations, view.BoardQuery{Sees: mine, Filter: "month = 2026-03 AND area = m1"}, []string{"1"}},
		{deliberations, view.BoardQuery{Filter: "state = CHOSEN"}, nil},
		{deliberations, view.BoardQuery{Filter: "no = M0"}, []string{"0"}},
		{entries, view.BoardQuery{PageSize: 1}, []string{"1", "0"}},
		{entries, view.BoardQuery{Filter: "kind = NEED AND state = OPEN AND unit = m1"}, []string{"0"}},
		{entries, view.BoardQuery{Filter: "topic = venue AND area = d2 AND state = MATCHED"}, []string{"1"}},
	} {
		if got := everyPage(t, c.list, c.q); !slices.Equal(got, c.want) {
			t.Errorf("%+v: got %v, want %v", c.q.Filter, got, c.want)
		}
	}
}
