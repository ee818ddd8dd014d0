package registry_test

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/registry"
)

func TestABanHoldsForItsCategoriesAndThoseBelowThemWhileItIsValid(t *testing.T) {
	t.Parallel()
	p := town()
	p.Categories = append(p.Categories, category("0199", "01"), category("02", ""))
	p.Bans = []*pb.BanItem{
		{Code: "B1", Name: "class", Categories: []string{"01"}, ValidFrom: on("2025-01-01"), ValidTo: on("2026-01-01")},
		{Code: "B2", Name: "matter", Categories: []string{"0199"}, ValidFrom: on("2025-07-01")},
		{Code: "B3", Name: "none"},
	}
	if faults := registry.Validate([]*pb.RegistryPiece{p}, nil, now); len(faults) > 0 {
		t.Fatal(faults)
	}
	s := snapshot("v", "2020-01-01", p)
	for _, c := range []struct{ category, at, want string }{
		{"01", "2025-01-01", "B1"}, {"0199", "2025-01-01", "B1"}, {"0199", "2025-07-01", "B2"}, {"0199", "2026-01-01", "B2"},
		{"01", "2024-12-31", ""}, {"01", "2026-01-01", ""}, {"02", "2025-07-01", ""}, {"", "2025-07-01", ""},
	} {
		if b, ok := s.Banned(c.category, day(c.at)); b.GetCode() != c.want || ok != (c.want != "") {
			t.Errorf("%s at %s: got %s, want %s", c.category, c.at, b.GetCode(), c.want)
		}
	}
	if got := s.Bans(); len(got) != 3 {
		t.Errorf("got %v", got)
	}
}

func TestWhatIsWrongWithABanIsListed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ban  *pb.BanItem
		want []string
	}{
		"an unknown category":  {&pb.BanItem{Code: "B2", Name: "b", Categories: []string{"nowhere"}}, []string{"UNKNOWN_CATEGORY bans[1].categories"}},
		"a category twice":     {&pb.BanItem{Code: "B2", Name: "b", Categories: []string{"01", "01"}}, []string{"DUPLICATE_CODE bans[1].categories"}},
		"too many categories":  {&pb.BanItem{Code: "B2", Name: "b", Categories: slices.Repeat([]string{"01"}, 257)}, []string{"BAD_FIELD bans[1].categories"}},
		"a code that is taken": {&pb.BanItem{Code: "B1", Name: "b"}, []string{"DUPLICATE_CODE bans[1].code"}},
		"no code":              {&pb.BanItem{Name: "b"}, []string{"MISSING_FIELD bans[1].code"}},
		"no name":              {&pb.BanItem{Code: "B2"}, []string{"MISSING_FIELD bans[1].name"}},
		"an end at the start":  {&pb.BanItem{Code: "B2", Name: "b", ValidFrom: on("2025-01-01"), ValidTo: on("2025-01-01")}, []string{"BAD_FIELD bans[1].valid_to"}},
	} {
		p := town()
		p.Bans = []*pb.BanItem{{Code: "B1", Name: "a", Categories: []string{"01"}}, c.ban}
		var got []string
		for _, f := range registry.Validate([]*pb.RegistryPiece{p}, nil, now) {
			got = append(got, f.Kind+" "+f.Field)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

func TestTheBanListIsReadFromItsFile(t *testing.T) {
	t.Parallel()
	c, faults := registry.ReadDir(files(map[string]string{"bans.csv": "code,name,categories\nB1,一,01 0101\nB2,二,\n"}))
	if faults = append(faults, c.Validate(nil, now)...); len(faults) > 0 {
		t.Fatal(faults)
	}
	want := []*pb.BanItem{{Code: "B1", Name: "一", Categories: []string{"01", "0101"}}, {Code: "B2", Name: "二"}}
	if !slices.EqualFunc(c.Piece.Bans, want, func(a, b *pb.BanItem) bool { return proto.Equal(a, b) }) {
		t.Errorf("got %v, want %v", c.Piece.Bans, want)
	}
	s := registry.NewSnapshot("v", now, c.Pieces(), nil)
	if b, ok := s.Banned("0101", now); !ok || b.Code != "B1" {
		t.Errorf("after it was divided for staging: got %v", b)
	}
	c, _ = registry.ReadDir(files(map[string]string{"bans.csv": "code,name,categories\nB1,一,09\n"}))
	if faults := c.Validate(nil, now); len(faults) != 1 || faults[0].Field != "bans.csv:2:categories" {
		t.Errorf("got %v", faults)
	}
}

func TestTheUnitAboveIsOneLevelUpOrAsManyAsAreMissing(t *testing.T) {
	t.Parallel()
	p := town()
	p.Units = append(p.Units, unit("ug1", pb.UnitKind_UNIT_KIND_AREA, "us1", "g1"), unit("um2", pb.UnitKind_UNIT_KIND_AREA, "ud1", "m2"))
	s := snapshot("v", "2020-01-01", p)
	for unit, want := range map[string]string{"ug1": "us1", "us1": "ud1", "ud1": "uc", "uc": "", "um2": "uc", "nobody": ""} {
		if got, ok := s.Above(unit, now); got != want || ok != (want != "") {
			t.Errorf("%s: got %q, want %q", unit, got, want)
		}
	}
}

func TestAnOfficeIsTheNearestAtOrAboveTheUnitsArea(t *testing.T) {
	t.Parallel()
	const staffing, justice = pb.UnitKind_UNIT_KIND_STAFFING_OFFICE, pb.UnitKind_UNIT_KIND_JUSTICE_OFFICE
	p := town()
	p.Units = append(p.Units, unit("bc", staffing, "uc", "c"), during(unit("bd", staffing, "ud1", "d1"), "2025-01-01", ""), unit("jc", justice, "uc", "c"))
	s := snapshot("v", "2020-01-01", p)
	for _, c := range []struct {
		kind           pb.UnitKind
		unit, at, want string
	}{
		{staffing, "us1", "2025-01-01", "bd"}, {staffing, "us1", "2024-12-31", "bc"}, {staffing, "uc", "2025-01-01", "bc"},
		{justice, "us1", "2025-01-01", "jc"}, {justice, "nobody", "2025-01-01", ""}, {department, "us1", "2025-01-01", ""},
	} {
		if got, ok := s.Office(c.kind, c.unit, day(c.at)); got != c.want || ok != (c.want != "") {
			t.Errorf("%s of %s at %s: got %q, want %q", c.kind, c.unit, c.at, got, c.want)
		}
	}
}
