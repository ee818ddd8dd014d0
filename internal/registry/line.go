package registry

import (
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// line is where the units of a line are looked up.
type line struct{ name, area string }

// Nearest is, of the unit and those of its line (条线), the one that is anchored at the nearest area at or above that of another unit and is not
// below that one, so that it can be called. It is the unit itself where it is of no line, or none of it stands there then; not found if that is not
// valid either.
func (s *Snapshot) Nearest(unit, to string, t time.Time) (string, bool) {
	path := s.anchor(to, t)
	own, ok := s.Unit(unit, t)
	if !ok || own.GetLine() == "" {
		return unit, ok
	}
	for i := len(path) - 1; i >= 0; i-- {
		if u, found := at(s.lines[line{own.GetLine(), path[i].Code}], t); found && !s.below(u.GetCode(), to) {
			return u.GetCode(), true
		}
	}
	return unit, ok
}

// below says whether a unit is the other or lies below it in the unit tree.
func (s *Snapshot) below(unit, other string) bool {
	for _, code := range s.UnitPath(unit) {
		if code == other {
			return true
		}
	}
	return false
}

// placeLines notes the units of each line by their areas. Of several at one area it is the first by code.
func (s *Snapshot) placeLines() {
	units := s.content.units
	t := s.content.unitTree()
	s.lines = map[line][]span[*pb.Unit]{}
	for _, e := range t.sorted {
		if u := units[e]; u.GetLine() != "" {
			at := line{u.GetLine(), u.GetArea()}
			s.lines[at] = append(s.lines[at], span[*pb.Unit]{t.nodes[e].from, t.nodes[e].to, u})
		}
	}
}
