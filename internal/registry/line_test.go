package registry_test

import (
	"testing"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

func TestOfALineTheNearestUnitIsFoundThatCanBeCalled(t *testing.T) {
	t.Parallel()
	of := func(u *pb.Unit, line string) *pb.Unit { u.Line = line; return u }
	p := town()
	p.Units = append(p.Units,
		of(unit("cx", department, "uc", "c"), "X"), of(during(unit("dx", department, "ud1", "d1"), "2025-01-01", ""), "X"), of(unit("sx", department, "us1", "s1"), "X"),
		of(unit("cy", department, "uc", "c"), "Y"), unit("cz", department, "uc", "c"))
	s := snapshot("v", "2020-01-01", p)
	for _, c := range []struct{ unit, to, at, want string }{
		{"cx", "us1", "2025-01-01", "dx"},    // the street's own is not called
		{"cx", "us1", "2024-12-31", "cx"},    // before there was one in the district
		{"dx", "ud1", "2025-01-01", "cx"},    // nor does a district call its own
		{"cy", "us1", "2025-01-01", "cy"},    // the district has none
		{"cz", "us1", "2025-01-01", "cz"},    // of no line
		{"cx", "nobody", "2025-01-01", "cx"}, // near nobody
		{"nobody", "us1", "2025-01-01", ""},  // there is none
		{"dx", "us1", "2024-12-31", ""},      // not yet
	} {
		if got, ok := s.Nearest(c.unit, c.to, day(c.at)); ok != (c.want != "") || ok && got != c.want {
			t.Errorf("%s near %s at %s: got %q, want %q", c.unit, c.to, c.at, got, c.want)
		}
	}
}
