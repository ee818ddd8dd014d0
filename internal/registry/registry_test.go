package registry_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"github.com/chuishao/dispatch/examples/wuxi"
	"github.com/chuishao/dispatch/internal/registry"
	"github.com/chuishao/dispatch/internal/rule"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

var _ rule.Registry = (*registry.Snapshot)(nil)

func codes(path []*pb.AreaNode) []string {
	var all []string
	for _, n := range path {
		all = append(all, n.Level+" "+n.Code)
	}
	return all
}

func TestAPathSkipsLevelsAndStartsAtTheRoot(t *testing.T) {
	t.Parallel()
	s := snapshot("v", "2020-01-01", town())
	for code, want := range map[string][]string{
		"g1": {"city c", "district d1", "street s1", "community m1", "grid g1"},
		"m2": {"city c", "district d2", "community m2"},
		"c":  {"city c"},
	} {
		if path, ok := s.Path(code, now); !ok || !slices.Equal(codes(path), want) {
			t.Errorf("%s: got %v, want %v", code, codes(path), want)
		}
	}
	if path, ok := s.Path("nowhere", now); ok || path != nil {
		t.Errorf("unknown area: got %v", path)
	}
	if got, want := codes(s.Unlocated()), []string{"city c", "unlocated UNLOCATED"}; !slices.Equal(got, want) {
		t.Errorf("unlocated: got %v, want %v", got, want)
	}
}

// A community moves to another street at an instant, its grid with it, and is renamed later.
func TestAnAreasPathIsThatOfTheInstant(t *testing.T) {
	t.Parallel()
	p := town()
	p.Areas = append(p.Areas, area("s2", "street", "d2"),
		during(area("m", "community", "s1"), "", "2025-07-01"),
		into(during(area("m", "community", "s2"), "2025-07-01", "2025-10-01"), "m"),
		named(during(area("m", "community", "s2"), "2025-10-01", ""), "renamed"),
		during(area("g", "grid", "m"), "2025-01-01", "2026-01-01"))
	if faults := registry.Validate([]*pb.RegistryPiece{p}, nil, now); len(faults) > 0 {
		t.Fatal(faults)
	}
	s := snapshot("v", "2020-01-01", p)
	for _, c := range []struct {
		at   time.Time
		want []string
		name string
	}{
		{day("2025-01-01").Add(-time.Nanosecond), nil, ""},
		{day("2025-01-01"), []string{"city c", "district d1", "street s1", "community m", "grid g"}, "name of m"},
		{day("2025-07-01").Add(-time.Microsecond), []string{"city c", "district d1", "street s1", "community m", "grid g"}, "name of m"},
		{day("2025-07-01"), []string{"city c", "district d2", "street s2", "community m", "grid g"}, "name of m"},
		{day("2025-10-01"), []string{"city c", "district d2", "street s2", "community m", "grid g"}, "renamed"},
		{day("2026-01-01"), nil, ""},
	} {
		path, ok := s.Path("g", c.at)
		if !slices.Equal(codes(path), c.want) || ok != (c.want != nil) {
			t.Errorf("%s: got %v, want %v", c.at, codes(path), c.want)
		}
		if ok && path[3].Name != c.name {
			t.Errorf("%s: got the name %s, want %s", c.at, path[3].Name, c.name)
		}
	}
	if a, ok := s.Area("m", day("2025-08-01")); !ok || a.Parent != "s2" {
		t.Errorf("got %v", a)
	}
}

func TestUnitsAndCategoriesAreThoseOfTheInstant(t *testing.T) {
	t.Parallel()
	p := town()
	p.Units = append(p.Units, during(unit("old", department, "ud1", "d1"), "", "2025-01-01"))
	p.Categories = append(p.Categories, during(category("0102", "01"), "2025-01-01", ""))
	s := snapshot("v", "2020-01-01", p)
	before, after := day("2025-01-01").Add(-1), day("2025-01-01")
	if _, ok := s.Unit("old", before); !ok {
		t.Error("unit not found while it is valid")
	}
	if _, ok := s.Unit("old", after); ok {
		t.Error("unit found after its end")
	}
	if got, want := s.UnitPath("old"), []string{"uc", "ud1", "old"}; !slices.Equal(got, want) {
		t.Errorf("path of a closed unit: got %v, want %v", got, want)
	}
	if _, ok := s.Category("0102", before); ok {
		t.Error("category found before its start")
	}
	if _, ok := s.Category("0102", after); !ok {
		t.Error("category not found at its start")
	}
	if name, rank := s.Level("us1"); name != "street" || rank != 3 {
		t.Errorf("level: got %s %d", name, rank)
	}
	if name, rank := s.Level("nobody"); name != "" || rank != 0 || s.UnitPath("nobody") != nil {
		t.Errorf("unknown unit: got %s %d", name, rank)
	}
}

func TestTheResponsibleUnitIsTheNearestAbove(t *testing.T) {
	t.Parallel()
	p := town()
	p.Units[2] = during(p.Units[2], "2025-01-01", "")
	s := snapshot("v", "2020-01-01", p)
	for _, c := range []struct{ area, at, want string }{
		{"g1", "2025-01-01", "us1"}, {"g1", "2024-12-31", "ud1"}, {"m2", "2025-01-01", "uc"}, {"c", "2025-01-01", "uc"}, {"nowhere", "2025-01-01", ""},
	} {
		if u, ok := s.Responsible(c.area, day(c.at)); u.GetCode() != c.want || ok != (c.want != "") {
			t.Errorf("%s at %s: got %s, want %s", c.area, c.at, u.GetCode(), c.want)
		}
	}
}

// trees draws content without fault: every area and unit below one that was drawn before, valid within its validity.
func trees(t *rapid.T) *pb.RegistryPiece {
	p := &pb.RegistryPiece{Levels: registry.DefaultLevels()}
	second := func(from, to int64) (*timestamppb.Timestamp, *timestamppb.Timestamp) {
		a := rapid.Int64Range(from, to-1).Draw(t, "from")
		b := rapid.Int64Range(a+1, to).Draw(t, "to")
		return &timestamppb.Timestamp{Seconds: a}, &timestamppb.Timestamp{Seconds: b}
	}
	const span = 100
	rank := map[string]int{}
	for i := range rapid.IntRange(1, 40).Draw(t, "areas") {
		a := &pb.Area{Code: fmt.Sprintf("a%d", i), Name: "n", Level: "city"}
		if i == 0 {
			a.ValidFrom, a.ValidTo = &timestamppb.Timestamp{}, &timestamppb.Timestamp{Seconds: span}
			rank[a.Code] = 0
		} else {
			above := p.Areas[rapid.IntRange(0, i-1).Draw(t, "above")]
			for rank[above.Code] == len(p.Levels)-1 {
				above = p.Areas[0]
			}
			most := len(p.Levels) - 1
			if rank[above.Code] < most-1 {
				most-- // a grid lies in a community
			}
			k := rapid.IntRange(rank[above.Code]+1, most).Draw(t, "rank")
			a.Parent, a.Level, rank[a.Code] = above.Code, p.Levels[k].Name, k
			a.ValidFrom, a.ValidTo = second(above.ValidFrom.Seconds, above.ValidTo.Seconds)
		}
		p.Areas = append(p.Areas, a)
	}
	for i := range rapid.IntRange(0, 30).Draw(t, "units") {
		at := p.Areas[rapid.IntRange(0, len(p.Areas)-1).Draw(t, "anchor")]
		u := &pb.Unit{Code: fmt.Sprintf("u%d", i), Name: "n", Kind: department}
		from, to := int64(0), int64(span)
		if i == 0 {
			at = p.Areas[0]
		} else {
			above := p.Units[rapid.IntRange(0, i-1).Draw(t, "unit above")]
			u.Parent = above.Code
			from, to = max(above.ValidFrom.Seconds, at.ValidFrom.Seconds), min(above.ValidTo.Seconds, at.ValidTo.Seconds)
			if from >= to {
				at, from, to = p.Areas[0], above.ValidFrom.Seconds, above.ValidTo.Seconds
			}
		}
		u.Area = at.Code
		u.ValidFrom, u.ValidTo = &timestamppb.Timestamp{Seconds: from}, &timestamppb.Timestamp{Seconds: to}
		if !slices.ContainsFunc(p.Units, func(o *pb.Unit) bool { return o.Area == at.Code && o.Kind == territorial }) && rapid.Bool().Draw(t, "territorial") {
			u.Kind = territorial
		}
		p.Units = append(p.Units, u)
	}
	return p
}

func TestLookUpsAgreeWithTheTreesWalkedByHand(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := trees(t)
		pieces := registry.Split(p, rapid.IntRange(1, 400).Draw(t, "piece"))
		if faults := registry.Validate(pieces, nil, now); len(faults) > 0 {
			t.Fatalf("faults: %v", faults)
		}
		s := registry.NewSnapshot("v", now, pieces, nil)
		at := time.UnixMicro(rapid.Int64Range(-1e6, 101e6).Draw(t, "at"))
		valid := func(from, to *timestamppb.Timestamp) bool { return !at.Before(from.AsTime()) && at.Before(to.AsTime()) }
		find := func(code string) *pb.Area {
			for _, a := range p.Areas {
				if a.Code == code && valid(a.ValidFrom, a.ValidTo) {
					return a
				}
			}
			return nil
		}
		for _, a := range p.Areas {
			var want []string
			var responsible string
			for up := find(a.Code); up != nil; up = find(up.Parent) {
				want = append([]string{up.Level + " " + up.Code}, want...)
				for _, u := range p.Units {
					if responsible == "" && u.Area == up.Code && u.Kind == territorial && valid(u.ValidFrom, u.ValidTo) {
						responsible = u.Code
					}
				}
			}
			if path, ok := s.Path(a.Code, at); !slices.Equal(codes(path), want) || ok != (want != nil) {
				t.Fatalf("path of %s: got %v, want %v", a.Code, codes(path), want)
			}
			if u, _ := s.Responsible(a.Code, at); u.GetCode() != responsible {
				t.Fatalf("responsible for %s: got %s, want %s", a.Code, u.GetCode(), responsible)
			}
		}
		above := map[string]string{}
		for _, u := range p.Units {
			above[u.Code] = u.Parent
			if _, ok := s.Unit(u.Code, at); ok != valid(u.ValidFrom, u.ValidTo) {
				t.Fatalf("unit %s: found %t", u.Code, ok)
			}
		}
		walk := func(code string) (path []string) {
			for ; code != ""; code = above[code] {
				path = append([]string{code}, path...)
			}
			return path
		}
		for _, u := range p.Units {
			if !slices.Equal(s.UnitPath(u.Code), walk(u.Code)) {
				t.Fatalf("unit path: got %v, want %v", s.UnitPath(u.Code), walk(u.Code))
			}
			for _, o := range p.Units {
				if got, want := rule.Within(s, u.Code, o.Code), slices.Contains(walk(u.Code), o.Code); got != want {
					t.Fatalf("%s within %s: got %t, want %t", u.Code, o.Code, got, want)
				}
				want := ""
				for _, c := range walk(u.Code) {
					if slices.Contains(walk(o.Code), c) {
						want = c
					}
				}
				if got := rule.CommonUnit(s, u.Code, o.Code); got != want {
					t.Fatalf("common of %s and %s: got %q, want %q", u.Code, o.Code, got, want)
				}
			}
		}
	})
}

func TestLookUpsDoNotAllocate(t *testing.T) {
	s := snapshot("v", "2020-01-01", town())
	if n := testing.AllocsPerRun(100, func() {
		s.Path("g1", now)
		s.UnitPath("us1")
		s.Unit("us1", now)
		s.Level("us1")
		s.Category("0101", now)
		s.Responsible("g1", now)
		s.Unlocated()
		rule.Within(s, "us1", "uc")
	}); n != 0 {
		t.Errorf("got %g allocations, want none", n)
	}
}

func BenchmarkLookUp(b *testing.B) {
	content, _ := registry.ReadDir(wuxi.Files)
	s := registry.NewSnapshot("v", now, content.Pieces(), nil)
	const grid = "320205001009001"
	for _, c := range []struct {
		name string
		look func()
	}{
		{"Path", func() { s.Path(grid, now) }},
		{"Unit", func() { s.Unit(grid, now) }},
		{"UnitPath", func() { s.UnitPath(grid) }},
		{"Responsible", func() { s.Responsible(grid, now) }},
		{"Within", func() { rule.Within(s, grid, "320205000000-ZH") }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.look()
			}
		})
	}
}

func BenchmarkLoad(b *testing.B) {
	content, _ := registry.ReadDir(wuxi.Files)
	pieces := content.Pieces()
	b.Run("ReadDir", func(b *testing.B) {
		for b.Loop() {
			registry.ReadDir(wuxi.Files)
		}
	})
	b.Run("Validate", func(b *testing.B) {
		for b.Loop() {
			registry.Validate(pieces, nil, now)
		}
	})
	b.Run("NewSnapshot", func(b *testing.B) {
		for b.Loop() {
			registry.NewSnapshot("v", now, pieces, nil)
		}
	})
}
