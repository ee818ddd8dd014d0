package suggest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/registry"
)

var noon = time.Date(2025, 3, 5, 4, 0, 0, 0, time.UTC)

// county is a registry with a street below a district, and departments and a company.
func county(t *testing.T, catalogue ...*pb.CatalogueEntry) *registry.Snapshot {
	t.Helper()
	area := func(code, level, parent string) *pb.Area {
		return &pb.Area{Code: code, Name: code, Level: level, Parent: parent}
	}
	unit := func(code string, kind pb.UnitKind, parent, area string) *pb.Unit {
		return &pb.Unit{Code: code, Name: code, Kind: kind, Parent: parent, Area: area}
	}
	const government, department, company = pb.UnitKind_UNIT_KIND_AREA, pb.UnitKind_UNIT_KIND_DEPARTMENT, pb.UnitKind_UNIT_KIND_UTILITY
	closed := unit("closed", department, "ud", "d")
	closed.ValidTo = timestamppb.New(noon.Add(-time.Hour))
	for _, e := range catalogue {
		if e.Lead == "closed" {
			e.ValidTo = closed.ValidTo
		}
	}
	content := &pb.RegistryPiece{
		Areas: []*pb.Area{area("c", "city", ""), area("d", "district", "c"), area("s", "street", "d"), area("n", "community", "s")},
		Units: []*pb.Unit{
			unit("uc", government, "", "c"), unit("ud", government, "uc", "d"), unit("us", government, "ud", "s"), unit("un", government, "us", "n"),
			unit("urban", department, "ud", "d"), unit("roads", department, "ud", "d"), unit("cityroads", department, "uc", "c"),
			unit("water", company, "uc", "c"), closed,
		},
		Categories: []*pb.Category{
			{Code: "1", Name: "一"}, {Code: "11", Name: "一一", Parent: "1", Grade: pb.Grade_GRADE_G2}, {Code: "12", Name: "一二", Parent: "1", Grade: pb.Grade_GRADE_G0},
		},
		Catalogue: catalogue,
	}
	if faults := registry.Validate([]*pb.RegistryPiece{content}, nil, noon); len(faults) > 0 {
		t.Fatal(faults)
	}
	return registry.NewSnapshot("v", noon.AddDate(-1, 0, 0), []*pb.RegistryPiece{content}, nil)
}

func TestTheFirstLeadIsThatOfTheFirstRuleThatMatches(t *testing.T) {
	t.Parallel()
	const territorial, functional, utility, enforcement = pb.Duty_DUTY_TERRITORIAL, pb.Duty_DUTY_FUNCTIONAL, pb.Duty_DUTY_UTILITY, pb.Duty_DUTY_ENFORCEMENT
	entry := func(category, area, lead string, duty pb.Duty) *pb.CatalogueEntry {
		return &pb.CatalogueEntry{Category: category, Area: area, Lead: lead, Duty: duty, Fallback: "ud"}
	}
	ruling := func(lead string, co ...string) *pb.Precedent {
		return &pb.Precedent{Ticket: "tickets/x", Category: "11", Area: "d", Lead: lead, Co: co}
	}
	all := []*pb.CatalogueEntry{entry("1", "d", "", territorial), entry("1", "d", "roads", functional), entry("1", "c", "water", utility)}
	for _, c := range []struct {
		what      string
		catalogue []*pb.CatalogueEntry
		rulings   []*pb.Precedent
		category  string
		grade     pb.Grade
		area      string // "n" if empty
		against   string
		want      string // "rule lead+co", the first match first
	}{
		{what: "life or property in danger", catalogue: all, rulings: []*pb.Precedent{ruling("urban")}, category: "12", want: "1 us, 2 urban, 3 us, 4 roads, 5 water"},
		{what: "the ticket's own grade", catalogue: all, category: "11", grade: pb.Grade_GRADE_G0, want: "1 us, 3 us, 4 roads, 5 water"},
		{what: "a grade that triage lowered", catalogue: all, category: "12", grade: pb.Grade_GRADE_G2, want: "3 us, 4 roads, 5 water"},
		{what: "a ruling", catalogue: all, rulings: []*pb.Precedent{ruling("urban", "roads"), ruling("water")}, category: "11", want: "2 urban+roads, 3 us, 4 roads, 5 water"},
		{what: "a ruling for a unit that is no more", catalogue: all, rulings: []*pb.Precedent{ruling("closed"), ruling("water")}, category: "11", want: "2 water, 3 us, 4 roads, 5 water"},
		{what: "territorial duty", catalogue: all, category: "11", want: "3 us, 4 roads, 5 water"},
		{what: "a place that is not clear", catalogue: all, category: "11", area: "d", want: "4 roads, 5 water"},
		{what: "the lowest level that has the power", catalogue: []*pb.CatalogueEntry{entry("1", "c", "cityroads", functional), entry("1", "d", "roads", functional)}, category: "11", want: "4 roads"},
		{what: "a company", catalogue: []*pb.CatalogueEntry{entry("1", "c", "water", utility)}, category: "11", want: "5 water"},
		{what: "two candidates", catalogue: []*pb.CatalogueEntry{entry("1", "d", "roads", functional), entry("1", "d", "urban", enforcement)}, category: "11", want: "6 urban+roads"},
		{what: "a company and who enforces", catalogue: []*pb.CatalogueEntry{entry("1", "c", "water", utility), entry("1", "d", "urban", enforcement)}, category: "11", want: "6 urban+water"},
		{what: "only who enforces", catalogue: []*pb.CatalogueEntry{entry("1", "d", "urban", enforcement)}, category: "11", want: "4 urban"},
		{what: "one that also enforces", catalogue: []*pb.CatalogueEntry{entry("1", "d", "urban", functional), entry("1", "d", "urban", enforcement)}, category: "11", want: "4 urban"},
		{what: "nobody", category: "11", want: "7 "},
		{what: "an unknown category", catalogue: all, category: "", want: "7 "},
		{what: "one that is complained of", catalogue: []*pb.CatalogueEntry{entry("1", "d", "roads", functional)}, category: "11", against: "roads", want: "7 , 8 ud"},
		{what: "the fallback is complained of", catalogue: []*pb.CatalogueEntry{entry("1", "d", "roads", functional)}, category: "11", against: "ud", want: "7 "},
		{what: "the street is complained of", catalogue: all, category: "11", against: "us", want: "4 roads, 5 water"},
		{what: "of two candidates one is complained of", catalogue: []*pb.CatalogueEntry{entry("1", "d", "roads", functional), entry("1", "d", "urban", enforcement)}, category: "11", against: "urban", want: "4 roads"},
		{what: "a unit that is no more", catalogue: []*pb.CatalogueEntry{entry("1", "d", "closed", functional)}, category: "11", want: "7 "},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			r := county(t, c.catalogue...)
			if c.area == "" {
				c.area = "n"
			}
			path, _ := r.Path(c.area, noon)
			var got []string
			for _, l := range Leads(r, &Matter{Path: path, Category: c.category, Grade: c.grade, ComplainedOf: c.against}, c.rulings, noon) {
				if l.Reason == "" {
					t.Errorf("rule %d gives no reason", l.BasisRule)
				}
				if c.against != "" && strings.Contains(fmt.Sprint(l), `"`+c.against+`"`) {
					t.Errorf("got a trace of the unit complained of: %v", l)
				}
				if (l.Precedent != "") != (l.BasisRule == 2) {
					t.Errorf("got the precedent %q with rule %d", l.Precedent, l.BasisRule)
				}
				got = append(got, strings.TrimSuffix(fmt.Sprintf("%d %s+%s", l.BasisRule, l.Lead, strings.Join(l.Co, "+")), "+"))
			}
			if s := strings.Join(got, ", "); s != c.want {
				t.Errorf("got %q, want %q", s, c.want)
			}
			if !slices.IsSorted(got) {
				t.Errorf("got %v, want the order of the rules", got)
			}
		})
	}
}
