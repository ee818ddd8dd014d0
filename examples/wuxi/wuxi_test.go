package wuxi_test

import (
	"compress/gzip"
	"encoding/csv"
	"os"
	"path/filepath"
	"testing"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/examples/wuxi"
	"github.com/chuishao/dispatch/internal/registry"
	"github.com/chuishao/dispatch/internal/rule"
)

var now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func load(t *testing.T) *registry.Snapshot {
	t.Helper()
	content, faults := registry.ReadDir(wuxi.Files)
	faults = append(faults, content.Validate(nil, now)...)
	for _, f := range faults {
		t.Errorf("%s %s %s: %s", f.Kind, f.Field, f.Code, f.Message)
	}
	if len(faults) > 0 {
		t.FailNow()
	}
	return registry.NewSnapshot("wuxi", now, content.Pieces(), nil)
}

func TestTheRegistryIsWithoutFaultAndHasTheRealCounts(t *testing.T) {
	t.Parallel()
	s := load(t)
	areas := map[string]int{}
	for _, a := range s.Areas() {
		areas[a.Level]++
		if _, ok := s.Path(a.Code, now); !ok {
			t.Errorf("%s has no path", a.Code)
		}
		if u, ok := s.Responsible(a.Code, now); !ok || u.Code != a.Code {
			t.Errorf("%s: got the responsible unit %v", a.Code, u)
		}
	}
	for level, want := range map[string]int{"city": 1, "district": 7, "street": 88, "community": 1254, "grid": 5861} {
		if areas[level] != want {
			t.Errorf("%s: got %d, want %d", level, areas[level], want)
		}
	}
	if tree, ok := s.Category("0305", now); !ok || tree.Object != pb.MatterObject_MATTER_OBJECT_INCIDENT {
		t.Errorf("0305: got %v, want an incident", tree)
	}
	matters := 0
	for _, c := range s.Categories() {
		if c.Parent != "" {
			matters++
			if c.Grade == 0 {
				t.Errorf("%s has no grade", c.Code)
			}
		}
	}
	if got := len(s.Categories()) - matters; got != 13 || matters != 46 {
		t.Errorf("got %d classes and %d matters, want 13 and 46", got, matters)
	}
	for _, u := range s.Units() {
		if path := s.UnitPath(u.Code); len(path) == 0 || path[0] != "320200000000-ZH" {
			t.Errorf("%s: got the path %v", u.Code, path)
		}
	}
}

func TestTheCatalogueSaysOfEveryMatterInEveryStreetWhoLeads(t *testing.T) {
	t.Parallel()
	s := load(t)
	for _, c := range s.Categories() {
		for _, a := range s.Areas() {
			if a.Level == "street" && c.Parent != "" && len(s.Catalogue(c.Code, a.Code, now)) == 0 {
				t.Fatalf("nobody leads %s %s in %s", c.Code, c.Name, a.Name)
			}
		}
	}
}

func TestAGridLiesBelowItsCommunityStreetDistrictAndCity(t *testing.T) {
	t.Parallel()
	s := load(t)
	path, _ := s.Path("320205001009001", now)
	want := []string{"无锡市", "锡山区", "东亭街道", "东亭社区居委会", "东亭社区第1网格（示例）"}
	if len(path) != len(want) {
		t.Fatalf("got %v", path)
	}
	for i, n := range path {
		if n.Name != want[i] {
			t.Errorf("node %d: got %s, want %s", i, n.Name, want[i])
		}
	}
	if got := rule.CommonUnit(s, "320205001009001", "320205000000-CG"); got != "320205000000" {
		t.Errorf("grid and district's department: got %s", got)
	}
	if got := rule.CommonUnit(s, "320205001000", "320200000000-GS"); got != "320200000000-ZH" {
		t.Errorf("street and utility: got %s", got)
	}
	if !rule.Within(s, "320205001009001", "320205000000-ZH") {
		t.Error("the district's command centre does not command the grid")
	}
}

func TestTheDivisionsAreThoseOfTheSource(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("CHUISHAO_DATA")
	if dir == "" {
		t.Skip("CHUISHAO_DATA is not set: the list of divisions is not at hand")
	}
	f, err := os.Open(filepath.Join(dir, "wuxi-divisions.csv.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unpacked, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(unpacked).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	s := load(t)
	for _, row := range rows[1:] {
		a, ok := s.Area(row[0], now)
		if !ok || a.Name != row[1] || a.Level != row[2] || a.Parent != row[3] {
			t.Errorf("got %v, want %v", a, row)
		}
	}
	if got, want := len(s.Areas()), len(rows)-1+5861; got != want {
		t.Errorf("got %d areas, want %d", got, want)
	}
}

func TestTheCallItemListHas12ClassesAnd42ItemsWhoseUnitsAreTheCitys(t *testing.T) {
	t.Parallel()
	s := load(t)
	classes, own := map[string]int{}, 0
	for _, item := range s.CallItems() {
		classes[item.Class]++
		if item.ReportIn != "" || item.Resolve != "" {
			own++
		}
		matter, ok := s.Category(item.Category, now)
		if !ok || matter.Code != item.Code || matter.Name != item.Name {
			t.Errorf("%s %s: its category is %v", item.Code, item.Name, matter)
		}
		if len(item.Co) > 0 && rule.CommonUnit(s, append(item.Co, item.Lead)...) == "" {
			t.Errorf("%s: nobody commands %s and %v", item.Code, item.Lead, item.Co)
		}
	}
	if got := len(s.CallItems()); len(classes) != 12 || got != 42 || own == 0 || own == got {
		t.Errorf("got %d classes, %d items, %d with limits of their own; want 12, 42 and some", len(classes), got, own)
	}
}
