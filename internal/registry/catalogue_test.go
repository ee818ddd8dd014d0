package registry_test

import (
	"slices"
	"testing"
	"testing/fstest"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/registry"
)

const (
	territorialDuty = pb.Duty_DUTY_TERRITORIAL
	functionalDuty  = pb.Duty_DUTY_FUNCTIONAL
	utilityDuty     = pb.Duty_DUTY_UTILITY
	enforcementDuty = pb.Duty_DUTY_ENFORCEMENT
)

// county is a registry with two districts and two classes of matters.
func county(entries ...*pb.CatalogueEntry) *pb.RegistryPiece {
	return &pb.RegistryPiece{
		Areas: []*pb.Area{
			area("c", "city", ""), area("d1", "district", "c"), area("d2", "district", "c"), area("s1", "street", "d1"), area("s2", "street", "d2"),
		},
		Units: []*pb.Unit{
			unit("uc", territorial, "", "c"), unit("ud1", territorial, "uc", "d1"), unit("water", department, "uc", "c"),
			unit("roads", department, "ud1", "d1"), during(unit("old", department, "ud1", "d1"), "", "2025-01-01"),
		},
		Categories: []*pb.Category{category("1", ""), category("11", "1"), category("111", "11"), category("2", "")},
		Catalogue:  entries,
	}
}

func duty(category, area, lead string, duty pb.Duty) *pb.CatalogueEntry {
	return &pb.CatalogueEntry{Category: category, Area: area, Lead: lead, Duty: duty}
}

func valid(e *pb.CatalogueEntry, from, to string) *pb.CatalogueEntry {
	e.ValidFrom, e.ValidTo = on(from), on(to)
	return e
}

func TestTheCatalogueAnswersWithTheNearestCategoryAndTheNearestAreaOfEachDuty(t *testing.T) {
	t.Parallel()
	s := snapshot("v", "2020-01-01", county(
		duty("1", "c", "water", utilityDuty),
		duty("1", "c", "water", functionalDuty),
		duty("1", "d1", "roads", functionalDuty),
		duty("1", "d1", "", territorialDuty),
		duty("11", "d1", "roads", enforcementDuty),
		valid(duty("2", "c", "water", functionalDuty), "2025-06-01", "2025-07-01"),
	))
	leads := func(category, area, on string) []string {
		var all []string
		for _, e := range s.Catalogue(category, area, day(on)) {
			all = append(all, e.Area+"/"+e.Duty.String()[len("DUTY_"):])
		}
		return all
	}
	for _, c := range []struct {
		category, area, on string
		want               []string
	}{
		{"1", "s1", "2026-01-01", []string{"d1/TERRITORIAL", "d1/FUNCTIONAL", "c/UTILITY"}},
		{"1", "s2", "2026-01-01", []string{"c/FUNCTIONAL", "c/UTILITY"}},
		{"11", "s1", "2026-01-01", []string{"d1/ENFORCEMENT"}},
		{"111", "s1", "2026-01-01", []string{"d1/ENFORCEMENT"}},
		{"111", "s2", "2026-01-01", []string{"c/FUNCTIONAL", "c/UTILITY"}}, // nothing of 11 reaches there
		{"2", "s1", "2025-05-31", nil},
		{"2", "s1", "2025-06-01", []string{"c/FUNCTIONAL"}},
		{"2", "s1", "2025-07-01", nil},
		{"3", "s1", "2026-01-01", nil},
		{"1", "s3", "2026-01-01", nil},
	} {
		if got := leads(c.category, c.area, c.on); !slices.Equal(got, c.want) {
			t.Errorf("%s in %s on %s: got %v, want %v", c.category, c.area, c.on, got, c.want)
		}
	}
}

func TestEveryFaultOfTheCatalogueIsListed(t *testing.T) {
	t.Parallel()
	with := func(e *pb.CatalogueEntry, change func(*pb.CatalogueEntry)) *pb.CatalogueEntry {
		change(e)
		return e
	}
	good := []*pb.CatalogueEntry{
		duty("1", "c", "water", functionalDuty),
		duty("1", "d1", "", territorialDuty),
		valid(duty("2", "d1", "old", functionalDuty), "", "2025-01-01"),
		valid(duty("2", "d1", "roads", functionalDuty), "2025-01-01", ""),
	}
	if got := listed(registry.Validate([]*pb.RegistryPiece{county(good...)}, nil, now)); len(got) != 0 {
		t.Errorf("got %v, want no fault", got)
	}
	bad := county(
		&pb.CatalogueEntry{},
		duty("3", "x", "y", functionalDuty),
		duty("1", "c", "", utilityDuty),
		duty("1", "c", "old", functionalDuty), // longer than the unit
		with(duty("2", "c", "water", functionalDuty), func(e *pb.CatalogueEntry) {
			e.Co, e.Fallback = []string{"roads", "water", "roads", "", "no"}, "none"
		}),
		duty("2", "d1", "roads", enforcementDuty),
		duty("2", "d1", "water", enforcementDuty),
		valid(duty("2", "d1", "water", enforcementDuty), "2025-01-01", ""),
		duty("11", "c", "water", 9),
		valid(duty("11", "d1", "water", functionalDuty), "2025-02-01", "2025-01-01"),
	)
	want := []string{
		"catalogue[0].category MISSING_FIELD", "catalogue[0].area MISSING_FIELD", "catalogue[0].duty MISSING_FIELD", "catalogue[0].lead MISSING_FIELD",
		"catalogue[1].category UNKNOWN_CATEGORY", "catalogue[1].area UNKNOWN_AREA", "catalogue[1].lead UNKNOWN_UNIT",
		"catalogue[2].lead MISSING_FIELD",
		"catalogue[3].lead UNKNOWN_UNIT",
		"catalogue[4].fallback UNKNOWN_UNIT", "catalogue[4].co[1] DUPLICATE_CODE", "catalogue[4].co[2] DUPLICATE_CODE",
		"catalogue[4].co[3] MISSING_FIELD", "catalogue[4].co[4] UNKNOWN_UNIT",
		"catalogue[6].duty DUPLICATE_CODE", "catalogue[7].duty OVERLAP",
		"catalogue[8].duty BAD_FIELD",
		"catalogue[9].valid_to BAD_FIELD",
	}
	var got []string
	for _, f := range registry.Validate([]*pb.RegistryPiece{bad}, nil, now) {
		got = append(got, f.Field+" "+f.Kind)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestTheCatalogueIsReadFromItsFileAndMayBeMissing(t *testing.T) {
	t.Parallel()
	dir := fstest.MapFS{
		"areas.csv":      {Data: []byte("code,name,level,parent_code\nc,C,city,\n")},
		"units.csv":      {Data: []byte("code,name,kind,parent,area\nu,U,area,,c\nv,V,utility,u,c\n")},
		"categories.csv": {Data: []byte("code,name,parent,grade\n1,One,,G2\n")},
	}
	content, faults := registry.ReadDir(dir)
	if faults = append(faults, content.Validate(nil, now)...); len(faults) > 0 || len(content.Piece.Catalogue) > 0 {
		t.Fatalf("got %v, want a registry without a catalogue", faults)
	}
	dir["catalogue.csv"] = &fstest.MapFile{Data: []byte("category,area,lead,co,fallback,duty,valid_from,valid_to\n" +
		"1,c,v,u v2,u,utility,2025-01-01T00:00:00+08:00,\n1,c,,,,territory,,\n")}
	content, faults = registry.ReadDir(dir)
	want := &pb.CatalogueEntry{Category: "1", Area: "c", Lead: "v", Co: []string{"u", "v2"}, Fallback: "u", Duty: utilityDuty, ValidFrom: on("2025-01-01")}
	want.ValidFrom.Seconds -= 8 * 3600
	if got := content.Piece.Catalogue[0]; !proto.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	var got []string
	for _, f := range append(faults, content.Validate(nil, now)...) {
		got = append(got, f.Field+" "+f.Kind)
	}
	if want := []string{"catalogue.csv:3:duty BAD_FIELD", "catalogue.csv:2:co UNKNOWN_UNIT", "catalogue.csv:3:lead MISSING_FIELD"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTheCatalogueIsSplitAndCountsTowardsTheHash(t *testing.T) {
	t.Parallel()
	whole := county(duty("1", "c", "water", functionalDuty), duty("2", "c", "water", functionalDuty))
	pieces := registry.Split(whole, 64)
	joined := new(pb.RegistryPiece)
	for _, p := range pieces {
		proto.Merge(joined, p)
	}
	joined.Levels = nil
	if !proto.Equal(joined, whole) {
		t.Errorf("got %v, want %v", joined, whole)
	}
	one, err := registry.ContentHash([]*pb.RegistryPiece{whole})
	if err != nil {
		t.Fatal(err)
	}
	whole.Catalogue[1].Lead = "roads"
	if other, err := registry.ContentHash([]*pb.RegistryPiece{whole}); err != nil || slices.Equal(one, other) {
		t.Errorf("got the same hash for another catalogue, %v", err)
	}
}
