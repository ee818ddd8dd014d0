package registry

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// outlived gives the entries of areas that were in force before this version and whose codes its own content does not tell of. What
// had no end ends as this version takes effect.
func outlived(s, previous *Snapshot) map[string][]*pb.Area {
	if previous == nil {
		return nil
	}
	now := s.validFrom.UnixMicro()
	found := map[string][]*pb.Area{}
	keep := func(code string, entries []*pb.Area) {
		if _, told := s.tree.codes[code]; told {
			return
		}
		for _, a := range entries {
			if start(a.GetValidFrom()) >= now {
				continue // it never came to be
			}
			if end(a.GetValidTo()) > now {
				a = proto.CloneOf(a)
				a.ValidTo = timestamppb.New(instant(now))
			}
			found[code] = append(found[code], a)
		}
	}
	for code, entries := range previous.former {
		keep(code, entries)
	}
	for code := range previous.tree.codes {
		keep(code, previous.entries(code))
	}
	return found
}

// entries are all of a code's that this version knows of, its own or those of the versions before it, by their start.
func (s *Snapshot) entries(code string) []*pb.Area {
	r, ok := s.tree.codes[code]
	if !ok {
		return s.former[code]
	}
	list := make([]*pb.Area, 0, r.hi-r.lo)
	for _, e := range s.tree.sorted[r.lo:r.hi] {
		list = append(list, s.content.areas[e])
	}
	return list
}

// entryAt is a code's entry at the instant; nil if there is none.
func (s *Snapshot) entryAt(code string, us int64) *pb.Area {
	for _, a := range s.entries(code) {
		if start(a.GetValidFrom()) <= us && us < end(a.GetValidTo()) {
			return a
		}
	}
	return nil
}

// next are the entries that an entry's end led to: its successors, or where it names none, the one that goes on under its code. None
// while it has no end, or if the area was closed.
func (s *Snapshot) next(a *pb.Area) []*pb.Area {
	ends := end(a.GetValidTo())
	if ends == never {
		return nil
	}
	codes := a.GetSuccessors()
	if len(codes) == 0 {
		codes = []string{a.GetCode()}
	}
	var list []*pb.Area
	for _, code := range codes {
		e := s.entryAt(code, ends)
		if e == nil && len(a.GetSuccessors()) > 0 {
			// Content that leaves out what ended tells of it from a later instant only.
			if all := s.entries(code); len(all) > 0 && start(all[0].GetValidFrom()) > ends {
				e = all[0]
			}
		}
		if e != nil {
			list = append(list, e)
		}
	}
	return list
}

// Successor is the area that stands at the instant for one that a code named up to then: itself as long as it is valid; else the end
// of the chain of its successors. What was divided has no one successor: it is the nearest area that all parts lie in. For an area
// that was closed it is what lay above it. Not found are codes that nothing had by then.
func (s *Snapshot) Successor(code string, t time.Time) (string, bool) {
	if _, ok := s.Path(code, t); ok {
		return code, true
	}
	var last *pb.Area
	for _, a := range s.entries(code) {
		if end(a.GetValidTo()) <= t.UnixMicro() {
			last = a
		}
	}
	if last == nil {
		return "", false
	}
	w := walk{s, t, map[*pb.Area]string{}}
	to := w.follow(last)
	return to, to != ""
}

// Present is the path at the instant of the area that stands for one that had a code at a level. Not found are codes that nothing had
// at that level: a record may name places that are on no map.
func (s *Snapshot) Present(level, code string, t time.Time) ([]*pb.AreaNode, bool) {
	if !slices.ContainsFunc(s.entries(code), func(a *pb.Area) bool { return a.GetLevel() == level }) {
		return nil, false
	}
	to, ok := s.Successor(code, t)
	if !ok {
		return nil, false
	}
	return s.Path(to, t)
}

// Map is the map of an instant, with what became of the areas before it.
type Map struct {
	*Snapshot
	at time.Time
}

// MapAt is the version's map of an instant.
func (s *Snapshot) MapAt(t time.Time) Map { return Map{s, t} }

// Version names the map: the registry's version, and when it became what it is.
func (m Map) Version() string {
	return m.Snapshot.Version() + "@" + strconv.FormatInt(m.ChangedAt(m.at).Unix(), 36)
}

// Present is the path of the area that stands for one that had a code at a level.
func (m Map) Present(level, code string) ([]*pb.AreaNode, bool) {
	return m.Snapshot.Present(level, code, m.at)
}

// walk follows successors up to an instant.
type walk struct {
	*Snapshot
	at   time.Time
	seen map[*pb.Area]string // where each entry leads; empty: nowhere
}

func (w *walk) follow(a *pb.Area) string {
	if code, ok := w.seen[a]; ok {
		return code
	}
	w.seen[a] = "" // what leads back here leads nowhere
	code := ""
	if ends := end(a.GetValidTo()); ends > w.at.UnixMicro() {
		code = a.GetCode()
	} else {
		next := w.next(a)
		if len(next) == 0 {
			if up := w.entryAt(a.GetParent(), ends-1); up != nil {
				next = []*pb.Area{up}
			}
		}
		var codes []string
		for _, e := range next {
			codes = append(codes, w.follow(e))
		}
		code = w.common(codes)
	}
	w.seen[a] = code
	return code
}

// common is the nearest area at the instant that is all of the codes or lies above them; empty if there is none.
func (w *walk) common(codes []string) string {
	var above []*pb.AreaNode
	for i, code := range codes {
		path, ok := w.Path(code, w.at)
		if !ok {
			return ""
		}
		if i == 0 {
			above = path
			continue
		}
		n := 0
		for n < min(len(above), len(path)) && above[n].Code == path[n].Code {
			n++
		}
		above = above[:n]
	}
	if len(above) == 0 {
		return ""
	}
	return above[len(above)-1].Code
}

// Lineage is what is known of a code through time, by start: its own entries, all that became of them, and all that they were before,
// each with the codes that ended in it. Empty if nothing ever had the code.
func (s *Snapshot) Lineage(code string) []*pb.AreaStep {
	before := map[*pb.Area][]*pb.Area{}
	note := func(a *pb.Area) {
		for _, e := range s.next(a) {
			before[e] = append(before[e], a)
		}
	}
	for _, a := range s.content.areas {
		note(a)
	}
	for _, list := range s.former {
		for _, a := range list {
			note(a)
		}
	}
	own := s.entries(code)
	all := map[*pb.Area]bool{}
	for _, step := range []func(*pb.Area) []*pb.Area{s.next, func(a *pb.Area) []*pb.Area { return before[a] }} {
		seen := map[*pb.Area]bool{}
		for todo := slices.Clone(own); len(todo) > 0; todo = todo[1:] {
			if a := todo[0]; !seen[a] {
				seen[a], all[a] = true, true
				todo = append(todo, step(a)...)
			}
		}
	}
	steps := make([]*pb.AreaStep, 0, len(all))
	for a := range all {
		step := &pb.AreaStep{Area: a}
		for _, p := range before[a] {
			step.Predecessors = append(step.Predecessors, p.GetCode())
		}
		slices.Sort(step.Predecessors)
		steps = append(steps, step)
	}
	slices.SortFunc(steps, func(a, b *pb.AreaStep) int {
		return cmp.Or(cmp.Compare(start(a.Area.GetValidFrom()), start(b.Area.GetValidFrom())), cmp.Compare(a.Area.GetCode(), b.Area.GetCode()))
	})
	return steps
}

// ChangedAt is when the map last became what it is at the instant: when the version took effect, or later an entry of an area or a unit
// began or ended.
func (s *Snapshot) ChangedAt(t time.Time) time.Time {
	last := s.validFrom.UnixMicro()
	s.turns(func(us int64) {
		if us <= t.UnixMicro() {
			last = max(last, us)
		}
	})
	return instant(last)
}

// NextChange is when an entry of an area or a unit next begins or ends after the instant; not found if none does.
func (s *Snapshot) NextChange(t time.Time) (time.Time, bool) {
	next := int64(never)
	s.turns(func(us int64) {
		if us > t.UnixMicro() {
			next = min(next, us)
		}
	})
	if next == never {
		return time.Time{}, false
	}
	return instant(next), true
}

// turns yields when entries of areas and units begin and end.
func (s *Snapshot) turns(yield func(us int64)) {
	both := func(from, to *timestamppb.Timestamp) {
		if from != nil {
			yield(start(from))
		}
		if to != nil {
			yield(end(to))
		}
	}
	for _, a := range s.content.areas {
		both(a.GetValidFrom(), a.GetValidTo())
	}
	for _, u := range s.content.units {
		both(u.GetValidFrom(), u.GetValidTo())
	}
}
