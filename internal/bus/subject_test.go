package bus

import (
	"testing"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

func TestEachLevelHasItsToken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		want string
		path []*pb.AreaNode
	}{
		{"_._._._._", nil},
		{"c._._._._", []*pb.AreaNode{{Level: "city", Code: "C"}}},
		{"c.d.s.m.g", []*pb.AreaNode{{Level: "city", Code: "C"}, {Level: "district", Code: "D"}, {Level: "street", Code: "S"}, {Level: "community", Code: "M"}, {Level: "grid", Code: "G"}}},
		{"c._._.m._", []*pb.AreaNode{{Level: "city", Code: "C"}, {Level: "community", Code: "M"}}},
		{"c._._._._", []*pb.AreaNode{{Level: "city", Code: "C"}, {Level: "unlocated", Code: "UNLOCATED"}}},
		{"c.b.w._._", []*pb.AreaNode{{Level: "city", Code: "C"}, {Level: "borough", Code: "B"}, {Level: "ward", Code: "W"}}},
		{"p.c.d._._", []*pb.AreaNode{{Level: "province", Code: "P"}, {Level: "city", Code: "C"}, {Level: "district", Code: "D"}}},
		{"c._._._.g", []*pb.AreaNode{{Level: "city", Code: "C"}, {Level: "grid", Code: "G"}, {Level: "house", Code: "H"}}},
	} {
		if got := spell(c.path).String(); got != c.want {
			t.Errorf("%v is %s, want %s", c.path, got, c.want)
		}
	}
}
