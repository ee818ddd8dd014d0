package registry

import (
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// office is where offices of a kind are looked up.
type office struct {
	kind pb.UnitKind
	area string
}

// Above is the unit of kind AREA that is anchored at the nearest area above the unit's own that has one then: one level up,
// or more where levels are missing. There is none above the root.
func (s *Snapshot) Above(unit string, t time.Time) (string, bool) {
	path := s.anchor(unit, t)
	for i := len(path) - 2; i >= 0; i-- {
		if u, ok := at(s.anchored[path[i].Code], t); ok {
			return u.GetCode(), true
		}
	}
	return "", false
}

// Office is the unit of the kind, STAFFING_OFFICE or JUSTICE_OFFICE, that is anchored at the unit's own area, or at the nearest
// area above it that has one then. Of several at one area it is the first by code.
func (s *Snapshot) Office(kind pb.UnitKind, unit string, t time.Time) (string, bool) {
	path := s.anchor(unit, t)
	for i := len(path) - 1; i >= 0; i-- {
		if u, ok := at(s.offices[office{kind, path[i].Code}], t); ok {
			return u.GetCode(), true
		}
	}
	return "", false
}

// anchor is the path of the area that the unit is anchored at; nil if one of the two is not valid then.
func (s *Snapshot) anchor(unit string, t time.Time) []*pb.AreaNode {
	u, ok := s.Unit(unit, t)
	if !ok {
		return nil
	}
	path, _ := s.Path(u.GetArea(), t)
	return path
}

func (s *Snapshot) placeOffices() {
	units := s.content.units
	t := s.content.unitTree()
	s.offices = map[office][]span[*pb.Unit]{}
	for _, e := range t.sorted {
		switch u := units[e]; u.GetKind() {
		case pb.UnitKind_UNIT_KIND_STAFFING_OFFICE, pb.UnitKind_UNIT_KIND_JUSTICE_OFFICE:
			at := office{u.GetKind(), u.GetArea()}
			s.offices[at] = append(s.offices[at], span[*pb.Unit]{t.nodes[e].from, t.nodes[e].to, u})
		}
	}
}
