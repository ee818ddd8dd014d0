package registry_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/registry"
)

var now = day("2026-01-01")

func day(s string) time.Time {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		panic(err)
	}
	return t
}

func on(s string) *timestamppb.Timestamp {
	if s == "" {
		return nil
	}
	return timestamppb.New(day(s))
}

func area(code, level, parent string) *pb.Area {
	return &pb.Area{Code: code, Name: "name of " + code, Level: level, Parent: parent}
}

// during gives a copy with a validity.
func during[T interface {
	*pb.Area | *pb.Unit | *pb.Category
	proto.Message
}](m T, from, to string) T {
	m = proto.CloneOf(m)
	switch e := any(m).(type) {
	case *pb.Area:
		e.ValidFrom, e.ValidTo = on(from), on(to)
	case *pb.Unit:
		e.ValidFrom, e.ValidTo = on(from), on(to)
	case *pb.Category:
		e.ValidFrom, e.ValidTo = on(from), on(to)
	}
	return m
}

func named(a *pb.Area, name string) *pb.Area {
	a = proto.CloneOf(a)
	a.Name = name
	return a
}

func into(a *pb.Area, successors ...string) *pb.Area {
	a = proto.CloneOf(a)
	a.Successors = successors
	return a
}

func unit(code string, kind pb.UnitKind, parent, area string) *pb.Unit {
	return &pb.Unit{Code: code, Name: "name of " + code, Kind: kind, Parent: parent, Area: area}
}

func category(code, parent string) *pb.Category {
	return &pb.Category{Code: code, Name: "name of " + code, Parent: parent, Grade: pb.Grade_GRADE_G2}
}

const (
	territorial = pb.UnitKind_UNIT_KIND_AREA
	department  = pb.UnitKind_UNIT_KIND_DEPARTMENT
)

// town is a small registry without fault: a city, two districts of which one has no streets, units and categories.
func town() *pb.RegistryPiece {
	return &pb.RegistryPiece{
		Areas: []*pb.Area{
			area("c", "city", ""), area("d1", "district", "c"), area("d2", "district", "c"),
			area("s1", "street", "d1"), area("m1", "community", "s1"), area("m2", "community", "d2"), area("g1", "grid", "m1"),
		},
		Units: []*pb.Unit{
			unit("uc", territorial, "", "c"), unit("ud1", territorial, "uc", "d1"), unit("us1", territorial, "ud1", "s1"),
			unit("dep", department, "uc", "c"),
		},
		Categories: []*pb.Category{category("01", ""), category("0101", "01")},
	}
}

func listed(faults []*pb.RegistryFault) []string {
	var all []string
	for _, f := range faults {
		all = append(all, f.Kind+" "+f.Field)
	}
	return all
}

func snapshot(version, from string, pieces ...*pb.RegistryPiece) *registry.Snapshot {
	return registry.NewSnapshot(version, day(from), pieces, nil)
}

func TestEveryFaultIsListedWithItsEntryAndField(t *testing.T) {
	t.Parallel()
	with := func(change func(p *pb.RegistryPiece)) *pb.RegistryPiece {
		p := town()
		change(p)
		return p
	}
	areas := func(more ...*pb.Area) *pb.RegistryPiece {
		return with(func(p *pb.RegistryPiece) { p.Areas = append(p.Areas, more...) })
	}
	units := func(more ...*pb.Unit) *pb.RegistryPiece {
		return with(func(p *pb.RegistryPiece) { p.Units = append(p.Units, more...) })
	}
	categories := func(more ...*pb.Category) *pb.RegistryPiece {
		return with(func(p *pb.RegistryPiece) { p.Categories = append(p.Categories, more...) })
	}
	centre := func(change func(*pb.Unit)) *pb.Unit {
		u := unit("zh1", pb.UnitKind_UNIT_KIND_COMMAND_CENTRE, "uc", "d1")
		change(u)
		return u
	}
	levels := func(all ...*pb.Level) *pb.RegistryPiece {
		return with(func(p *pb.RegistryPiece) { p.Levels = append(registry.DefaultLevels(), all...) })
	}
	for _, c := range []struct {
		name     string
		piece    *pb.RegistryPiece
		previous *registry.Snapshot
		want     []string
	}{
		{"nothing", town(), nil, nil},
		{"centres that decide for themselves", units(centre(func(u *pb.Unit) { u.TrustedSystems, u.ClosesSettled = []string{"gateway-1", "12345"}, true })), nil, nil},
		{"a department that decides like a centre", with(func(p *pb.RegistryPiece) {
			p.Units[len(p.Units)-1].Kind = department
			p.Units[len(p.Units)-1].TrustedSystems, p.Units[len(p.Units)-1].ClosesSettled = []string{"gateway"}, true
		}), nil, []string{"BAD_FIELD units[3].closes_settled", "BAD_FIELD units[3].trusted_systems"}},
		{"systems that cannot be trusted", units(centre(func(u *pb.Unit) { u.TrustedSystems = []string{"gateway", "", "a b", "系统", "gateway"} })), nil,
			[]string{"BAD_FIELD units[4].trusted_systems", "BAD_FIELD units[4].trusted_systems", "BAD_FIELD units[4].trusted_systems", "DUPLICATE_CODE units[4].trusted_systems"}},
		{"too many systems", units(centre(func(u *pb.Unit) {
			for i := range 65 {
				u.TrustedSystems = append(u.TrustedSystems, fmt.Sprint(i))
			}
		})), nil, []string{"BAD_FIELD units[4].trusted_systems"}},
		{"no content", nil, nil, []string{"MISSING_FIELD areas"}},

		{"orphan", areas(area("x", "street", "nowhere")), nil, []string{"ORPHAN areas[7].parent"}},
		{"parent ends before the child", with(func(p *pb.RegistryPiece) { p.Areas[3] = during(p.Areas[3], "", "2030-01-01") }), nil,
			[]string{"ORPHAN areas[4].parent", "UNKNOWN_AREA units[2].area"}},
		{"parent starts after the child", areas(during(area("x", "street", "d1"), "2020-01-01", ""), area("y", "community", "x")), nil,
			[]string{"ORPHAN areas[8].parent"}},
		{"gap between the parent's validities", areas(during(area("x", "street", "d1"), "", "2020-01-01"), during(area("x", "street", "d1"), "2021-01-01", ""),
			area("y", "community", "x")), nil, []string{"ORPHAN areas[9].parent"}},
		{"no gap between the parent's validities", areas(during(area("x", "street", "d1"), "", "2020-01-01"), during(area("x", "street", "d2"), "2020-01-01", ""),
			area("y", "community", "x")), nil, nil},
		{"second root", areas(area("x", "city", "")), nil, []string{"ORPHAN areas[7].parent"}},
		{"no root", &pb.RegistryPiece{Areas: []*pb.Area{area("x", "city", "y"), area("y", "district", "x")}}, nil,
			[]string{"MISSING_FIELD areas", "CYCLE areas[0].parent", "LEVEL_ORDER areas[0].level", "CYCLE areas[1].parent"}},
		{"its own parent", areas(area("x", "street", "x")), nil, []string{"CYCLE areas[7].parent", "LEVEL_ORDER areas[7].level"}},
		{"cycle, and a child that is not on it", areas(area("x", "district", "z"), area("y", "street", "x"), area("z", "community", "y"), area("w", "grid", "z")), nil,
			[]string{"CYCLE areas[7].parent", "LEVEL_ORDER areas[7].level", "CYCLE areas[8].parent", "CYCLE areas[9].parent"}},
		{"duplicate", areas(area("s1", "street", "d2")), nil, []string{"DUPLICATE_CODE areas[7].code"}},
		{"overlap", areas(during(area("x", "street", "d1"), "2020-01-01", "2022-01-01"), during(area("x", "street", "d1"), "2021-12-31", "2023-01-01")), nil,
			[]string{"OVERLAP areas[8].valid_from"}},
		{"touching validities are no overlap", areas(during(area("x", "street", "d1"), "2020-01-01", "2022-01-01"), during(area("x", "street", "d2"), "2022-01-01", "")), nil, nil},
		{"unknown level", areas(area("x", "hamlet", "d1")), nil, []string{"UNKNOWN_LEVEL areas[7].level"}},
		{"level order", areas(area("x", "district", "s1")), nil, []string{"LEVEL_ORDER areas[7].level"}},
		{"same level as the parent", areas(area("x", "street", "s1")), nil, []string{"LEVEL_ORDER areas[7].level"}},
		{"skipped levels", areas(area("x", "community", "c")), nil, nil},
		{"a grid of a street", areas(area("x", "grid", "s1")), nil, []string{"ORPHAN areas[7].parent"}},
		{"a grid whose community became a street", areas(during(area("m", "community", "s1"), "", "2025-07-01"), during(area("m", "street", "d1"), "2025-07-01", ""),
			area("x", "grid", "m")), nil, []string{"REUSED_CODE areas[8].code", "ORPHAN areas[9].parent"}},
		{"a grid that outlives its community", areas(during(area("m", "community", "s1"), "", "2025-07-01"), area("x", "grid", "m")), nil,
			[]string{"ORPHAN areas[8].parent"}},
		{"successors in a circle", areas(into(during(area("x", "street", "d1"), "", "2025-07-01"), "y"), into(during(area("y", "street", "d1"), "", "2025-07-01"), "x")), nil,
			[]string{"UNKNOWN_AREA areas[7].successors[0]", "UNKNOWN_AREA areas[8].successors[0]"}},
		{"empty entry", areas(new(pb.Area)), nil, []string{"MISSING_FIELD areas[7].code", "MISSING_FIELD areas[7].name", "MISSING_FIELD areas[7].level", "ORPHAN areas[7].parent"}},
		{"no entry", areas(nil), nil, []string{"MISSING_FIELD areas[7].code", "MISSING_FIELD areas[7].name", "MISSING_FIELD areas[7].level", "ORPHAN areas[7].parent"}},
		{"code with a dot", areas(area("a.b", "street", "d1")), nil, []string{"BAD_FIELD areas[7].code"}},
		{"code that stands for none", areas(area("_", "street", "d1")), nil, []string{"BAD_FIELD areas[7].code"}},
		{"code too long", areas(area(strings.Repeat("9", 65), "street", "d1")), nil, []string{"BAD_FIELD areas[7].code"}},
		{"code that is not UTF-8", areas(named(area("\xff", "street", "d1"), "n")), nil, []string{"BAD_FIELD areas[7].code"}},
		{"reserved code", areas(area(registry.UnlocatedCode, "street", "c")), nil, []string{"BAD_FIELD areas[7].code"}},
		{"name too long", areas(named(area("x", "street", "d1"), strings.Repeat("村", 201))), nil, []string{"BAD_FIELD areas[7].name"}},
		{"long name", areas(named(area("x", "street", "d1"), strings.Repeat("村", 200))), nil, nil},
		{"name with a line break", areas(named(area("x", "street", "d1"), "a\nb")), nil, []string{"BAD_FIELD areas[7].name"}},
		{"name that turns the writing direction", areas(named(area("x", "street", "d1"), "a\u202eb")), nil, []string{"BAD_FIELD areas[7].name"}},
		{"name that is not UTF-8", areas(named(area("x", "street", "d1"), "a\xffb")), nil, []string{"BAD_FIELD areas[7].name"}},
		{"name of spaces", areas(named(area("x", "street", "d1"), "\u3000")), nil, []string{"BAD_FIELD areas[7].name"}},
		{"ends as it starts", areas(during(area("x", "street", "d1"), "2020-01-01", "2020-01-01")), nil, []string{"BAD_FIELD areas[7].valid_to"}},
		{"instants that are none", with(func(p *pb.RegistryPiece) {
			p.Areas[6].ValidFrom = &timestamppb.Timestamp{Seconds: 1 << 60}
			p.Areas[6].ValidTo = &timestamppb.Timestamp{Seconds: 1 << 60, Nanos: -1}
		}), nil, []string{"BAD_FIELD areas[6].valid_from", "BAD_FIELD areas[6].valid_to"}},
		{"nanoseconds", with(func(p *pb.RegistryPiece) { p.Areas[6].ValidFrom = &timestamppb.Timestamp{Nanos: 1} }), nil, []string{"BAD_FIELD areas[6].valid_from"}},

		{"successor", areas(into(during(area("x", "street", "d1"), "", "2025-07-01"), "y"), during(area("y", "street", "d2"), "2025-07-01", "")), nil, nil},
		{"successor unknown", areas(into(during(area("x", "street", "d1"), "", "2025-07-01"), "y")), nil, []string{"UNKNOWN_AREA areas[7].successors[0]"}},
		{"successor that starts later", areas(into(during(area("x", "street", "d1"), "", "2025-07-01"), "y"), during(area("y", "street", "d2"), "2025-07-02", "")), nil,
			[]string{"UNKNOWN_AREA areas[7].successors[0]"}},
		{"successor twice, and none", areas(into(during(area("x", "street", "d1"), "", "2025-07-01"), "s1", "s1", "")), nil,
			[]string{"DUPLICATE_CODE areas[7].successors[1]", "MISSING_FIELD areas[7].successors[2]"}},
		{"successor of what does not end", areas(into(area("x", "street", "d1"), "s1")), nil, []string{"MISSING_FIELD areas[7].valid_to"}},
		{"too many successors", areas(into(during(area("x", "street", "d1"), "", "2025-07-01"), slices.Repeat([]string{"s1"}, 65)...)), nil, []string{"BAD_FIELD areas[7].successors"}},

		{"reused within the version", areas(during(area("x", "street", "d1"), "", "2020-01-01"), during(named(area("x", "street", "d1"), "other"), "2024-12-31", "")), nil,
			[]string{"REUSED_CODE areas[8].code"}},
		{"reused after five years", areas(during(area("x", "street", "d1"), "", "2020-01-01"), during(named(area("x", "street", "d1"), "other"), "2025-01-01", "")), nil, nil},
		{"renamed", areas(into(during(area("x", "street", "d1"), "", "2020-01-01"), "x"), during(named(area("x", "street", "d1"), "other"), "2020-01-01", "")), nil, nil},
		{"reused after the previous version", areas(named(area("x", "street", "d1"), "other")),
			snapshot("v0", "2020-01-01", areas(during(area("x", "street", "d1"), "", "2021-01-02"))), []string{"REUSED_CODE areas[7].code"}},
		{"reused five years after the previous version", areas(named(area("x", "street", "d1"), "other")),
			snapshot("v0", "2020-01-01", areas(during(area("x", "street", "d1"), "", "2021-01-01"))), nil},
		{"the same place after the previous version", areas(area("x", "street", "d1")),
			snapshot("v0", "2020-01-01", areas(during(area("x", "street", "d2"), "", "2025-01-01"))), nil},
		{"spelt otherwise than in the previous version", areas(named(area("x", "street", "d1"), "other")),
			snapshot("v0", "2020-01-01", areas(area("x", "street", "d1"))), nil},
		{"reused after a version that no longer had it", areas(named(area("x", "street", "d1"), "other")),
			registry.NewSnapshot("v1", day("2024-01-01"), []*pb.RegistryPiece{town()}, snapshot("v0", "2020-01-01", areas(area("x", "street", "d1")))),
			[]string{"REUSED_CODE areas[7].code"}},
		{"reused long after a version that no longer had it", areas(named(area("x", "street", "d1"), "other")),
			registry.NewSnapshot("v1", day("2021-01-01"), []*pb.RegistryPiece{town()}, snapshot("v0", "2020-01-01", areas(area("x", "street", "d1")))), nil},

		{"unit below an unknown one", units(unit("x", department, "nobody", "c")), nil, []string{"ORPHAN units[4].parent"}},
		{"unit outlives the one above", with(func(p *pb.RegistryPiece) { p.Units[1] = during(p.Units[1], "", "2030-01-01") }), nil, []string{"ORPHAN units[2].parent"}},
		{"unit at an unknown area", units(unit("x", department, "uc", "nowhere")), nil, []string{"UNKNOWN_AREA units[4].area"}},
		{"unit at no area, of no kind", units(unit("x", 0, "uc", "")), nil, []string{"MISSING_FIELD units[4].kind", "MISSING_FIELD units[4].area"}},
		{"unit of an unknown kind", units(unit("x", 99, "uc", "c")), nil, []string{"BAD_FIELD units[4].kind"}},
		{"unit cycle", units(unit("x", department, "y", "c"), unit("y", department, "x", "c"), unit("z", department, "x", "c")), nil,
			[]string{"CYCLE units[4].parent", "CYCLE units[5].parent"}},
		{"duplicate unit", units(unit("dep", department, "uc", "c")), nil, []string{"DUPLICATE_CODE units[4].code"}},
		{"second root unit", units(unit("x", department, "", "c")), nil, []string{"ORPHAN units[4].parent"}},
		{"no root unit", with(func(p *pb.RegistryPiece) { p.Units = []*pb.Unit{unit("x", department, "x", "c")} }), nil,
			[]string{"MISSING_FIELD units", "CYCLE units[0].parent"}},
		{"no units", with(func(p *pb.RegistryPiece) { p.Units = nil }), nil, nil},
		{"second territorial unit of an area", units(unit("x", territorial, "uc", "s1")), nil, []string{"OVERLAP units[4].area"}},

		{"category below an unknown one", categories(category("0201", "02")), nil, []string{"ORPHAN categories[2].parent"}},
		{"category cycle", categories(category("02", "0201"), category("0201", "02")), nil, []string{"CYCLE categories[2].parent", "CYCLE categories[3].parent"}},
		{"duplicate category", categories(category("01", "")), nil, []string{"DUPLICATE_CODE categories[2].code"}},
		{"unknown grade, no name", categories(&pb.Category{Code: "02", Grade: 77}), nil, []string{"MISSING_FIELD categories[2].name", "BAD_FIELD categories[2].grade"}},
		{"unknown object", categories(&pb.Category{Code: "02", Name: "市容", Object: 77}), nil, []string{"BAD_FIELD categories[2].object"}},

		{"level twice", levels(&pb.Level{Name: "city", Rank: 9}), nil, []string{"DUPLICATE_CODE levels[5].name"}},
		{"rank twice", levels(&pb.Level{Name: "block", Rank: 5}), nil, []string{"DUPLICATE_CODE levels[5].rank"}},
		{"level of no name and rank", levels(&pb.Level{DisplayName: "\x00"}), nil,
			[]string{"MISSING_FIELD levels[5].name", "MISSING_FIELD levels[5].rank", "BAD_FIELD levels[5].display_name"}},
		{"bad level names", levels(&pb.Level{Name: "Block", Rank: 8}, &pb.Level{Name: registry.UnlocatedLevel, Rank: 9}), nil,
			[]string{"BAD_FIELD levels[5].name", "BAD_FIELD levels[6].name"}},
		{"many at once", &pb.RegistryPiece{
			Levels:     []*pb.Level{{Name: "city", Rank: 1}, {Name: "ward", Rank: 1}},
			Areas:      []*pb.Area{area("c", "city", ""), area("x", "street", "nowhere"), area("c", "city", ""), area("r", "city", "")},
			Units:      []*pb.Unit{unit("u", territorial, "", "far"), unit("v", department, "w", "c")},
			Categories: []*pb.Category{category("1", "2"), category("", "")},
		}, nil, []string{
			"DUPLICATE_CODE levels[1].rank", "UNKNOWN_LEVEL areas[1].level", "ORPHAN areas[1].parent", "DUPLICATE_CODE areas[2].code", "ORPHAN areas[3].parent",
			"UNKNOWN_AREA units[0].area", "ORPHAN units[1].parent", "ORPHAN categories[0].parent", "MISSING_FIELD categories[1].code", "BAD_FIELD categories[1].name",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			faults := registry.Validate([]*pb.RegistryPiece{c.piece}, c.previous, now)
			if got := listed(faults); !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
				for _, f := range faults {
					t.Log(f)
				}
			}
			for _, f := range faults {
				if _, err := proto.Marshal(f); err != nil || f.Message == "" || !utf8.ValidString(f.Code) {
					t.Errorf("%v: %v", f, err)
				}
			}
			registry.NewSnapshot("v", now, []*pb.RegistryPiece{c.piece}, c.previous) // does not panic
		})
	}
}

func TestEntriesAreNumberedThroughAllPieces(t *testing.T) {
	t.Parallel()
	var pieces []*pb.RegistryPiece
	for _, a := range town().Areas {
		pieces = append(pieces, &pb.RegistryPiece{Areas: []*pb.Area{a}})
	}
	pieces = append(pieces, nil, &pb.RegistryPiece{Areas: []*pb.Area{area("x", "street", "nowhere")}})
	if got, want := listed(registry.Validate(pieces, nil, now)), []string{"ORPHAN areas[7].parent"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTooManyValiditiesAndTooDeepTreesAreFaults(t *testing.T) {
	t.Parallel()
	p := town()
	for i := range 17 {
		p.Areas = append(p.Areas, during(area("x", "street", "d1"), fmt.Sprintf("%d-01-01", 2000+i), fmt.Sprintf("%d-01-01", 2001+i)))
	}
	above := "uc"
	for i := range 32 {
		code := fmt.Sprintf("deep%d", i)
		p.Units = append(p.Units, unit(code, department, above, "c"))
		above = code
	}
	want := []string{"BAD_FIELD areas[23].code", "BAD_FIELD units[35].parent"}
	if got := listed(registry.Validate([]*pb.RegistryPiece{p}, nil, now)); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Very many entries in the worst order must neither recurse deeply nor take more than moments: a chain, a cycle, one code.
func TestHostileContentIsSurvived(t *testing.T) {
	t.Parallel()
	n := 200_000
	if testing.Short() {
		n = 20_000
	}
	code := func(i int) string { return fmt.Sprintf("a%d", i) }
	build := func(entry func(i int) *pb.Area) []*pb.RegistryPiece {
		p := &pb.RegistryPiece{Areas: make([]*pb.Area, n)}
		for i := range p.Areas {
			p.Areas[i] = entry(i)
		}
		return []*pb.RegistryPiece{p}
	}
	for _, c := range []struct {
		name  string
		entry func(i int) *pb.Area
		kind  string
		least int
	}{
		{"chain", func(i int) *pb.Area {
			a := area(code(i), "city", code(i-1))
			if i == 0 {
				a.Parent = ""
			}
			return a
		}, registry.LevelOrder, n - 1},
		{"cycle", func(i int) *pb.Area { return area(code(i), "city", code((i+1)%n)) }, registry.Cycle, n},
		{"one code", func(int) *pb.Area { return area("x", "city", "") }, registry.DuplicateCode, n - 1},
		{"one code, one after the other", func(i int) *pb.Area {
			a := area("x", "city", "x")
			a.ValidFrom, a.ValidTo = &timestamppb.Timestamp{Seconds: int64(i)}, &timestamppb.Timestamp{Seconds: int64(i + 1)}
			return a
		}, registry.BadField, n - 16},
	} {
		pieces := build(c.entry)
		got := 0
		for _, f := range registry.Validate(pieces, nil, now) {
			if f.Kind == c.kind {
				got++
			}
		}
		if got < c.least {
			t.Errorf("%s: got %d faults of kind %s, want at least %d", c.name, got, c.kind, c.least)
		}
		registry.NewSnapshot("v", now, pieces, nil)
	}
}
