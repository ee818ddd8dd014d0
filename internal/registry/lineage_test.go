package registry_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/registry"
)

// redrawn is a district whose streets, communities and grids were redrawn again and again.
func redrawn(t *testing.T) *registry.Snapshot {
	t.Helper()
	content := &pb.RegistryPiece{Levels: registry.DefaultLevels(), Areas: []*pb.Area{
		area("c", "city", ""), area("d", "district", "c"), area("A", "street", "d"), area("B", "street", "d"),
		// A community moves from street A to B under a new code, and later it is merged into another.
		into(during(area("m1", "community", "A"), "", "2025-07-01"), "m2"),
		into(during(area("m2", "community", "B"), "2025-07-01", "2025-09-01"), "m3"),
		area("m3", "community", "B"),
		// Two of its grids are merged as it moves, and what they became goes with it.
		into(during(area("g1", "grid", "m1"), "", "2025-07-01"), "g3"),
		into(during(area("g2", "grid", "m1"), "", "2025-07-01"), "g3"),
		into(during(area("g3", "grid", "m2"), "2025-07-01", "2025-09-01"), "g3"),
		during(area("g3", "grid", "m3"), "2025-09-01", ""),
		// One is divided within a community, one over two streets.
		into(during(area("h", "grid", "m3"), "", "2025-08-01"), "h1", "h2"),
		during(area("h1", "grid", "m3"), "2025-08-01", ""), during(area("h2", "grid", "m3"), "2025-08-01", ""),
		area("n", "community", "A"),
		into(during(area("i", "grid", "n"), "", "2025-08-01"), "i1", "i2"),
		during(area("i1", "grid", "n"), "2025-08-01", ""), during(area("i2", "grid", "m3"), "2025-08-01", ""),
		// One is closed.
		during(area("j", "grid", "m1"), "", "2025-02-01"),
		// One moves under its own code.
		during(area("k", "grid", "n"), "", "2025-03-01"), during(area("k", "grid", "m3"), "2025-03-01", ""),
		during(area("later", "grid", "m3"), "2027-01-01", ""),
	}, Units: []*pb.Unit{unit("uc", territorial, "", "c")}}
	if faults := registry.Validate([]*pb.RegistryPiece{content}, nil, day("2025-01-01")); len(faults) > 0 {
		t.Fatalf("faults: %v", faults)
	}
	return registry.NewSnapshot("v1", day("2025-01-01"), []*pb.RegistryPiece{content}, nil)
}

func TestAnAreaIsFoundThroughItsSuccessors(t *testing.T) {
	t.Parallel()
	s := redrawn(t)
	for _, c := range []struct{ code, at, want string }{
		{"m1", "2025-06-30", "m1"},
		{"m1", "2025-07-01", "m2"},
		{"m1", "2025-09-01", "m3"}, // a chain
		{"m2", "2025-09-01", "m3"},
		{"g1", "2025-07-01", "g3"}, // many to one
		{"g2", "2026-01-01", "g3"},
		{"h", "2025-08-01", "m3"}, // one to many: what all parts lie in
		{"i", "2025-07-31", "i"},
		{"i", "2025-08-01", "d"},
		{"j", "2025-02-01", "m1"}, // closed: what lay above it
		{"j", "2026-01-01", "m3"}, // and what became of that
		{"k", "2026-01-01", "k"},
		{"later", "2026-01-01", ""},
		{"m2", "2025-06-30", ""}, // not yet there
		{"nothing", "2026-01-01", ""},
		{"", "2026-01-01", ""},
	} {
		got, ok := s.Successor(c.code, day(c.at))
		if got != c.want || ok != (c.want != "") {
			t.Errorf("%s at %s: got %q, %t, want %q", c.code, c.at, got, ok, c.want)
		}
	}
	path, ok := s.Present("grid", "g1", day("2026-01-01"))
	if got := fmt.Sprint(codesOf(path)); !ok || got != "[c d B m3 g3]" {
		t.Errorf("got %s, %t", got, ok)
	}
	if path, ok := s.Present("precinct", "g1", day("2026-01-01")); ok {
		t.Errorf("no precinct has the code g1, got %v", path)
	}
}

func codesOf(path []*pb.AreaNode) (codes []string) {
	for _, n := range path {
		codes = append(codes, n.Code)
	}
	return codes
}

func lineage(s *registry.Snapshot, code string) string {
	var all []string
	for _, step := range s.Lineage(code) {
		a := step.Area
		text := a.Code + " of " + a.Parent
		if len(step.Predecessors) > 0 {
			text += " from " + strings.Join(step.Predecessors, "+")
		}
		if a.ValidTo != nil {
			text += " to " + a.ValidTo.AsTime().Format("2006-01-02") + strings.TrimSuffix(" "+strings.Join(a.Successors, "+"), " ")
		}
		all = append(all, text)
	}
	return strings.Join(all, "; ")
}

func TestTheHistoryOfAGridCanBeWalkedBothWays(t *testing.T) {
	t.Parallel()
	s := redrawn(t)
	merged := "g1 of m1 to 2025-07-01 g3; g2 of m1 to 2025-07-01 g3; g3 of m2 from g1+g2 to 2025-09-01 g3; g3 of m3 from g3"
	for code, want := range map[string]string{
		"g3": merged,
		// Of the other grid, which was merged into the same, it is no part.
		"g1":      "g1 of m1 to 2025-07-01 g3; g3 of m2 from g1+g2 to 2025-09-01 g3; g3 of m3 from g3",
		"h":       "h of m3 to 2025-08-01 h1+h2; h1 of m3 from h; h2 of m3 from h",
		"h1":      "h of m3 to 2025-08-01 h1+h2; h1 of m3 from h",
		"k":       "k of n to 2025-03-01; k of m3 from k",
		"j":       "j of m1 to 2025-02-01",
		"nothing": "",
	} {
		if got := lineage(s, code); got != want {
			t.Errorf("%s: got %s, want %s", code, got, want)
		}
	}
}

// A version may leave out what has ended: what the versions before said of it still counts.
func TestSuccessorsAreRememberedFromVersionToVersion(t *testing.T) {
	t.Parallel()
	first := redrawn(t)
	content := &pb.RegistryPiece{Levels: registry.DefaultLevels(), Areas: []*pb.Area{
		area("c", "city", ""), area("d", "district", "c"), area("B", "street", "d"), area("m3", "community", "B"), during(area("g3", "grid", "m3"), "2025-09-01", ""),
	}}
	second := registry.NewSnapshot("v2", day("2026-01-01"), []*pb.RegistryPiece{content}, first)
	third := registry.NewSnapshot("v3", day("2027-01-01"), []*pb.RegistryPiece{content}, second)
	for _, s := range []*registry.Snapshot{second, third} {
		for code, want := range map[string]string{"g1": "g3", "m1": "m3", "h": "m3", "A": "d", "k": "m3", "i": "d", "later": ""} {
			if got, _ := s.Successor(code, day("2027-02-01")); got != want {
				t.Errorf("%s: %s: got %q, want %q", s.Version(), code, got, want)
			}
		}
		if got, want := lineage(s, "m1"), "m1 of A to 2025-07-01 m2; m3 of B from m2; m2 of B from m1 to 2025-09-01 m3"; got != want {
			t.Errorf("%s: got %s, want %s", s.Version(), got, want)
		}
		if got, want := lineage(s, "A"), "A of d to 2026-01-01"; got != want {
			t.Errorf("%s: got %s, want %s", s.Version(), got, want)
		}
	}
}

func TestItIsKnownWhenTheMapChanges(t *testing.T) {
	t.Parallel()
	s := redrawn(t)
	var turns []string
	for at := day("2025-01-15"); ; {
		next, ok := s.NextChange(at)
		if !ok {
			break
		}
		if got := s.ChangedAt(next); !got.Equal(next) {
			t.Errorf("at %s: changed at %s", next, got)
		}
		turns = append(turns, next.Format("2006-01-02"))
		at = next
	}
	if want := []string{"2025-02-01", "2025-03-01", "2025-07-01", "2025-08-01", "2025-09-01", "2027-01-01"}; !slices.Equal(turns, want) {
		t.Errorf("got %v, want %v", turns, want)
	}
	if got := s.ChangedAt(day("2025-01-15")); !got.Equal(day("2025-01-01")) {
		t.Errorf("got %s, want when the version took effect", got)
	}
}
