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
	"github.com/chuishao/dispatch/internal/view"
)

// called is a whistle that a test made up.
type called struct {
	stream string
	events []happened
}

// whistles records random lives of whistles, their events among one another's.
func whistles(h *history, r *rand.Rand, n int) []*called {
	var all []*called
	queue := map[*called][]happened{}
	for i := range n {
		w := &called{stream: fmt.Sprintf("whistle-%03d", i)}
		queue[w] = whistleLife(r, i)
		all = append(all, w)
	}
	for open := slices.Clone(all); len(open) > 0; {
		i := r.IntN(len(open))
		w := open[i]
		k := min(1+r.IntN(4), len(queue[w]))
		h.record(w.stream, queue[w][:k]...)
		w.events = append(w.events, queue[w][:k]...)
		if queue[w] = queue[w][k:]; len(queue[w]) == 0 {
			open = slices.Delete(open, i, i+1)
		}
	}
	return all
}

// whistleLife is what may happen to a whistle: it need not be what the rules allow.
func whistleLife(r *rand.Rand, i int) []happened {
	t := day0.Add(time.Duration(r.IntN(6*24*60)) * time.Minute)
	var list []happened
	add := func(msg proto.Message) {
		list = append(list, happened{t, msg})
		t = t.Add(time.Duration(r.IntN(6*60*60)) * time.Second)
	}
	summon := func(unit string) *pb.Participant {
		p := &pb.Participant{Unit: unit, Compulsory: r.IntN(4) > 0, UnitPath: []string{"root", "b" + unit[len(unit)-1:], unit}, SignBy: at(t.Add(time.Hour)), Category: []string{"", "0801", "0304"}[r.IntN(3)]}
		if r.IntN(8) > 0 {
			p.ReportInBy = at(t.Add(time.Duration(r.IntN(36*60)) * time.Minute))
		}
		return p
	}
	units := []string{"u1", "u2", "u3", "u4"}
	r.Shuffle(len(units), func(i, j int) { units[i], units[j] = units[j], units[i] })
	var parts []*pb.Participant
	for _, u := range units[:1+r.IntN(3)] {
		parts = append(parts, summon(u))
	}
	kind := pb.WhistleKind(1 + r.IntN(4))
	places := [][]string{{"c", "d1", "s1"}, {"c", "d1", "s1", "m1"}, {"c", "d1", "s2", "m3", "g1"}, {"c", "d2"}, {"c"}}
	blown := &pb.WhistleBlown{
		No: fmt.Sprint("W", i), Kind: kind, Street: []string{"st1", "st2"}[r.IntN(2)], Path: path(places[r.IntN(len(places))]...), Participants: parts,
		CallItem: []string{"", "0101", "0304"}[r.IntN(3)], ScreenedBy: []string{"root", "b1"}[r.IntN(2)], AlsoAffects: []string{"s9"}[:r.IntN(2)],
	}
	if r.IntN(2) == 0 {
		blown.Tickets = []string{fmt.Sprint("t", r.IntN(6))}
	}
	if r.IntN(6) == 0 {
		blown.Parent = "000"
	}
	if r.IntN(5) == 0 {
		add(&pb.WhistleDrafted{No: blown.No, Kind: kind, Street: blown.Street, Path: blown.Path, Participants: parts, ScreenedBy: blown.ScreenedBy})
		if r.IntN(4) == 0 {
			return list
		}
	}
	add(blown)
	switch r.IntN(10) {
	case 0:
		return list
	case 1:
		add(&pb.WhistleRefused{Reason: "NO_MATTER"})
		return list
	case 2:
		add(&pb.WhistleCancelled{Reason: "DONE"})
		return list
	case 3:
		if kind != pb.WhistleKind_WHISTLE_KIND_EMERGENCY {
			add(&pb.WhistleRetyped{Kind: pb.WhistleKind_WHISTLE_KIND_TOUGH})
		}
	}
	issued := &pb.WhistleIssued{Participants: parts}
	if r.IntN(4) > 0 {
		issued.ResolveBy = at(t.Add(time.Duration(r.IntN(60)) * time.Hour))
	}
	if kind == pb.WhistleKind_WHISTLE_KIND_EMERGENCY {
		issued.ReviewBy = at(t.Add(24 * time.Hour))
	}
	add(issued)
	if r.IntN(4) == 0 {
		extra := summon("v1")
		parts = append(parts, extra)
		add(&pb.ParticipantAdded{Participant: extra})
	}
	for n := 0; n < len(parts); n++ {
		p := parts[n]
		in := func() bool { return p.ReportInBy != nil && t.Unix() <= p.ReportInBy.Seconds }
		if r.IntN(3) > 0 {
			add(&pb.WhistleSigned{Unit: p.Unit})
		}
		if r.IntN(3) == 0 {
			add(&pb.WhistleContacted{Unit: p.Unit})
		}
		switch r.IntN(9) {
		case 0:
			continue
		case 1:
			add(&pb.NoShow{Unit: p.Unit})
			if r.IntN(2) == 0 {
				add(&pb.ReportedIn{Unit: p.Unit, InTime: in()})
			}
			continue
		case 2:
			add(&pb.ExcuseRequested{Unit: p.Unit, Replacement: "v2"})
			add(&pb.ExcuseEndorsed{Unit: p.Unit})
			if r.IntN(2) == 0 {
				add(&pb.ExcuseRefused{Unit: p.Unit})
				continue
			}
			instead := summon(fmt.Sprint("w", n))
			parts = append(parts, instead)
			add(&pb.ParticipantExcused{Unit: p.Unit, Replacement: instead})
			continue
		case 3:
			add(&pb.TaskWaived{Unit: p.Unit, Reason: "NOT_NEEDED"})
			continue
		case 4:
			add(&pb.ReportedIn{Unit: p.Unit, InTime: in()})
			add(&pb.LeftEarly{Unit: p.Unit})
			continue
		}
		add(&pb.ReportedIn{Unit: p.Unit, InTime: in(), Convened: n == len(parts)-1})
		if r.IntN(2) == 0 {
			add(&pb.TaskDone{Unit: p.Unit})
			add(&pb.Released{Unit: p.Unit})
		}
		if r.IntN(5) == 0 {
			add(&pb.HelperJoined{Unit: "h1", Person: "p"})
		}
		if r.IntN(12) == 0 {
			break
		}
	}
	switch r.IntN(8) {
	case 0:
		add(&pb.WhistleRaised{To: "root", Child: "x"})
		return list
	case 1:
		add(&pb.WhistleCancelled{Reason: "DONE"})
		return list
	case 2:
		add(&pb.WhistleTimerPassed{Timer: pb.WhistleTimer_WHISTLE_TIMER_RESOLVE})
		return list
	}
	if kind == pb.WhistleKind_WHISTLE_KIND_EMERGENCY {
		add(&pb.WhistleReviewed{Justified: true})
	}
	add(&pb.WhistleConfirmed{Resolved: r.IntN(4) > 0})
	add(&pb.UnitRated{Unit: "u1", Response: 5, Cooperation: 4, Result: 3, AllRated: r.IntN(2) == 0})
	add(&pb.WhistleClosed{})
	return list
}

// figure is a metric's figure, counted without the view.
type figure struct {
	num, den        int64
	excluded, parts map[string]int64
}

// counted counts a metric of a node one by one, from the events that had happened at t.
func counted(all []*called, metric, level, code string, from, to, t time.Time) figure {
	f := figure{excluded: map[string]int64{}, parts: map[string]int64{}}
	in := func(at time.Time) bool { return !at.IsZero() && !at.Before(from) && at.Before(to) && !at.After(t) }
	due := func(at time.Time) bool { return !at.IsZero() && !at.Before(from) && at.Before(to) }
	type story struct {
		w       *pb.WhistleBlown
		first   map[string]time.Time // of each event, and of each with its unit
		kind    pb.WhistleKind
		issued  *pb.WhistleIssued
		parties []*pb.Participant
		came    map[string]*pb.ReportedIn
		ended   bool
		solved  bool
		no      int
	}
	var stories []*story
	for i, c := range all {
		s := &story{first: map[string]time.Time{}, came: map[string]*pb.ReportedIn{}, no: i}
		for _, e := range c.events {
			name := string(e.msg.ProtoReflect().Descriptor().Name())
			if b, ok := e.msg.(*pb.WhistleBlown); ok {
				s.w = b
				if s.kind == 0 {
					s.kind = b.Kind
				}
			}
			if e.at.After(t) {
				continue
			}
			s.first[name] = e.at
			if u, ok := e.msg.(interface{ GetUnit() string }); ok {
				s.first[name+" "+u.GetUnit()] = e.at
			}
			switch e := e.msg.(type) {
			case *pb.WhistleBlown:
				s.parties = slices.Clone(e.Participants)
			case *pb.WhistleRetyped:
				s.kind = e.Kind
			case *pb.WhistleIssued:
				s.issued = e
			case *pb.ParticipantAdded:
				s.parties = append(s.parties, e.Participant)
			case *pb.ParticipantExcused:
				s.parties = append(s.parties, e.Replacement)
			case *pb.ReportedIn:
				s.came[e.Unit] = e
			case *pb.WhistleConfirmed:
				s.solved = e.Resolved
			case *pb.WhistleRefused, *pb.WhistleCancelled:
				s.ended = true
			}
		}
		if s.w != nil {
			stories = append(stories, s)
		}
	}
	counts := func(s *story, units ...string) bool {
		switch level {
		case "all":
			return true
		case "unit":
			return slices.Contains(units, code)
		case view.DirectLevel:
			return s.w.Path[len(s.w.Path)-1].Code == code
		}
		return slices.ContainsFunc(s.w.Path, func(n *pb.AreaNode) bool { return n.Level == level && n.Code == code })
	}
	for _, s := range stories {
		if metric != "M33" && metric != "M34" && !counts(s, s.w.Street) {
			continue
		}
		switch metric {
		case "M31":
			switch {
			case !in(s.first["WhistleBlown"]):
			case s.w.Parent != "":
				f.excluded["raised"]++
			default:
				f.num++
				f.parts[strings.ToLower(strings.TrimPrefix(s.kind.String(), "WHISTLE_KIND_"))]++
			}
		case "M32":
			at := s.first["WhistleIssued"]
			if at.IsZero() {
				at = s.first["WhistleRefused"]
			}
			switch {
			case !in(at):
			case s.kind == pb.WhistleKind_WHISTLE_KIND_EMERGENCY:
				f.excluded["emergency"]++
			case s.w.Parent != "":
				f.excluded["raised"]++
			default:
				f.den++
				if s.issued != nil {
					f.num++
				}
			}
		case "M33", "M34":
			if s.issued == nil {
				continue
			}
			for _, p := range s.parties {
				if !p.Compulsory || p.ReportInBy == nil || !due(p.ReportInBy.AsTime()) || !counts(s, p.UnitPath...) {
					continue
				}
				before := func(event string) bool {
					at := s.first[event]
					return s.came[p.Unit] == nil && !at.IsZero() && !at.After(p.ReportInBy.AsTime())
				}
				switch {
				case !s.first["ParticipantExcused "+p.Unit].IsZero():
					f.excluded["excused"]++
				case before("WhistleCancelled"):
					f.excluded["cancelled"]++
				case before("WhistleRaised"):
					f.excluded["raised"]++
				case before("TaskWaived " + p.Unit):
					f.excluded["waived"]++
				default:
					f.den++
					switch {
					case metric == "M33":
						if s.came[p.Unit].GetInTime() {
							f.num++
						}
					case !s.first["LeftEarly "+p.Unit].IsZero():
						f.num++
						f.parts["left_early"]++
					case !s.first["NoShow "+p.Unit].IsZero() && s.came[p.Unit] == nil:
						f.num++
						f.parts["no_show"]++
					}
				}
			}
		case "M35":
			switch {
			case s.issued.GetResolveBy() == nil || !due(s.issued.ResolveBy.AsTime()):
			case !s.first["WhistleCancelled"].IsZero():
				f.excluded["cancelled"]++
			default:
				f.den++
				if at := s.first["WhistleConfirmed"]; s.solved && !at.IsZero() && at.Unix() <= s.issued.ResolveBy.Seconds {
					f.num++
				}
			}
		case "M36":
			at := s.first["WhistleBlown"]
			if !in(at) {
				continue
			}
			if s.w.Parent != "" {
				f.excluded["raised"]++
				continue
			}
			ticket, place := false, false
			for _, o := range stories {
				was := o.first["WhistleBlown"]
				if o == s || o.w.Parent != "" || o.ended || was.IsZero() || was.After(at) || was.Equal(at) && o.no > s.no {
					continue
				}
				ticket = ticket || slices.ContainsFunc(o.w.Tickets, func(t string) bool { return slices.Contains(s.w.Tickets, t) })
				same := o.w.CallItem != "" && o.w.CallItem == s.w.CallItem
				for _, p := range o.parties {
					same = same || p.Category != "" && slices.ContainsFunc(s.parties, func(q *pb.Participant) bool { return q.Category == p.Category })
				}
				place = place || same && o.w.Path[len(o.w.Path)-1].Code == s.w.Path[len(s.w.Path)-1].Code
			}
			switch {
			case ticket:
				f.num++
				f.parts["same_ticket"]++
			case place:
				f.num++
				f.parts["same_place"]++
			}
		}
	}
	return f
}

func TestFiguresOfWhistlesAreThoseCountedOneByOne(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 31))
			h := newHistory(t)
			all := whistles(h, r, 60)
			reader := h.reader()
			counts := 0
			for range 4 {
				when := day0.Add(time.Duration(r.Int64N(int64(12 * 24 * time.Hour))))
				from := day0.Add(time.Duration(r.Int64N(int64(6 * 24 * time.Hour))))
				to := from.Add(time.Duration(1+r.IntN(6)) * 24 * time.Hour)
				for _, metric := range []string{"M31", "M32", "M33", "M34", "M35", "M36"} {
					for _, n := range [][2]string{
						{"all", ""}, {"city", "c"}, {"district", "d1"}, {"district", "d2"}, {"street", "s1"}, {"street", "s2"}, {"community", "m1"},
						{view.DirectLevel, "s1"}, {view.DirectLevel, "d2"}, {"unit", "st1"}, {"unit", "root"}, {"unit", "b1"}, {"unit", "u2"}, {"unit", "w0"},
					} {
						got, _, err := reader.MetricOf(t.Context(), view.MetricQuery{Metric: metric, Level: n[0], Code: n[1], From: from, To: to, At: when})
						if err != nil {
							t.Fatal(err)
						}
						want := counted(all, metric, n[0], n[1], from, to, when)
						parts := maps.Clone(got.Parts)
						if metric == "M31" {
							maps.DeleteFunc(parts, func(name string, _ int64) bool {
								return !slices.Contains([]string{"routine", "emergency", "tough", "enforcement"}, name)
							})
						}
						if got.Numerator != want.num || got.GetDenominator() != want.den && metric != "M31" || fmt.Sprint(got.Excluded) != fmt.Sprint(want.excluded) ||
							fmt.Sprint(parts) != fmt.Sprint(want.parts) {
							t.Fatalf("%s of %s %s in [%v, %v) as of %v: got %v, want %+v", metric, n[0], n[1], from, to, when, got, want)
						}
						counts += int(want.num + want.den)
						for set, want := range map[pb.FigureSet]int64{pb.FigureSet_FIGURE_SET_NUMERATOR: want.num, pb.FigureSet_FIGURE_SET_EXCLUDED: sumOf(want.excluded)} {
							list, _, total, _, err := reader.ListBehind(t.Context(), view.BehindQuery{Metric: metric, Level: n[0], Code: n[1], Set: set, From: from, To: to, At: when, PageSize: 1000})
							many := metric == "M33" || metric == "M34" // a whistle with several participants stands once
							if err != nil || total != int64(len(list)) || total > want || !many && total != want || (total == 0) != (want == 0) {
								t.Fatalf("behind %s of %s %s: got %d whistles of %d, %v, want %d", metric, n[0], n[1], len(list), total, err, want)
							}
						}
					}
				}
			}
			if counts == 0 {
				t.Error("nothing was counted")
			}
		})
	}
}

func sumOf(m map[string]int64) (sum int64) {
	for _, n := range m {
		sum += n
	}
	return sum
}

func TestFiguresOfWhistlesAddUpAlongAreas(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 36))
	h := newHistory(t)
	whistles(h, r, 80)
	reader := h.reader()
	of := func(metric, level, code string) *pb.MetricFigure {
		f, _, err := reader.MetricOf(t.Context(), view.MetricQuery{Metric: metric, Level: level, Code: code, From: day0, To: day0.AddDate(0, 0, 30),
			LevelOf: func(unit string) string { return map[string]string{"root": "city", "b1": "district"}[unit] }})
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	for _, metric := range []string{"M31", "M32", "M33", "M34", "M35", "M36"} {
		for parent, children := range map[[2]string][][2]string{
			{"city", "c"}:      {{"district", "d1"}, {"district", "d2"}, {view.DirectLevel, "c"}},
			{"district", "d1"}: {{"street", "s1"}, {"street", "s2"}, {view.DirectLevel, "d1"}},
			{"street", "s1"}:   {{"community", "m1"}, {view.DirectLevel, "s1"}},
		} {
			sum := &pb.MetricFigure{Parts: map[string]int64{}, Excluded: map[string]int64{}}
			var den int64
			for _, c := range children {
				f := of(metric, c[0], c[1])
				sum.Numerator += f.Numerator
				den += f.GetDenominator()
				for k, n := range f.Parts {
					sum.Parts[k] += n
				}
				for k, n := range f.Excluded {
					sum.Excluded[k] += n
				}
			}
			is := of(metric, parent[0], parent[1])
			if is.Numerator != sum.Numerator || is.GetDenominator() != den || fmt.Sprint(is.Parts) != fmt.Sprint(sum.Parts) || fmt.Sprint(is.Excluded) != fmt.Sprint(sum.Excluded) {
				t.Errorf("%s of %v: got %v, its parts add up to %v and %d", metric, parent, is, sum, den)
			}
			if is.Numerator+is.GetDenominator() == 0 {
				t.Errorf("%s of %v counts nothing", metric, parent)
			}
		}
	}
	if f := of("M31", "city", "c"); f.Parts["screened_by_city"] == 0 || f.Parts["screened_by_district"] == 0 || f.Parts["class_01"] == 0 || f.Parts["class_none"] == 0 ||
		f.Parts["issued_seconds"] == 0 || f.Parts["reported_in"] == 0 {
		t.Errorf("got parts %v", f.Parts)
	}
}
