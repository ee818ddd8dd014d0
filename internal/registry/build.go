package registry

import (
	"slices"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// content is all pieces of a version, one after the other.
type content struct {
	levels     []*pb.Level
	areas      []*pb.Area
	units      []*pb.Unit
	categories []*pb.Category
	bans       []*pb.BanItem
	callItems  []*pb.CallItem
	catalogue  []*pb.CatalogueEntry

	weights      *pb.ReviewWeights // nil: the defaults
	weightsTwice bool
}

func gather(pieces []*pb.RegistryPiece) content {
	var c content
	for _, p := range pieces {
		c.levels = append(c.levels, p.GetLevels()...)
		c.areas = append(c.areas, p.GetAreas()...)
		c.units = append(c.units, p.GetUnits()...)
		c.categories = append(c.categories, p.GetCategories()...)
		c.bans = append(c.bans, p.GetBans()...)
		c.callItems = append(c.callItems, p.GetCallItems()...)
		c.catalogue = append(c.catalogue, p.GetCatalogue()...)
	}
	c.weights, c.weightsTwice = weightsOf(pieces)
	if len(c.levels) == 0 {
		c.levels = DefaultLevels()
	}
	return c
}

func (c *content) areaTree() *tree {
	nodes := make([]node, len(c.areas))
	for i, a := range c.areas {
		nodes[i] = entry(a.GetCode(), a.GetParent(), start(a.GetValidFrom()), end(a.GetValidTo()))
	}
	return grow(nodes)
}

func (c *content) unitTree() *tree {
	nodes := make([]node, len(c.units))
	for i, u := range c.units {
		nodes[i] = entry(u.GetCode(), u.GetParent(), start(u.GetValidFrom()), end(u.GetValidTo()))
	}
	return grow(nodes)
}

func (c *content) categoryTree() *tree {
	nodes := make([]node, len(c.categories))
	for i, k := range c.categories {
		nodes[i] = entry(k.GetCode(), k.GetParent(), start(k.GetValidFrom()), end(k.GetValidTo()))
	}
	return grow(nodes)
}

// entry is a node. An end that is not after the start is a fault and is taken as none, so that it does not make more
// faults elsewhere.
func entry(code, parent string, from, to int64) node {
	if to <= from {
		to = never
	}
	return node{code, parent, from, to}
}

// NewSnapshot makes a version of what Validate finds no fault with. Of other content it makes what it can: whatever has
// no whole path to a root is not found. The previous version, nil for the first, is remembered for the codes that ended.
func NewSnapshot(version string, validFrom time.Time, pieces []*pb.RegistryPiece, previous *Snapshot) *Snapshot {
	c := gather(pieces)
	areas := c.areaTree()
	paths, _ := c.paths(areas)
	s := &Snapshot{
		version: version, validFrom: validFrom, content: c, tree: areas, weights: c.inForce(),
		areas:      make(map[string][]span[place], len(areas.codes)),
		categories: spans(c.categoryTree(), c.categories),
		catalogue:  c.catalogueByCategory(),
		callItems:  spans(c.callTree(), c.callItems),
		anchored:   map[string][]span[*pb.Unit]{},
		ranks:      make(map[string]uint32, len(c.levels)),
	}
	for _, l := range c.levels {
		s.ranks[l.GetName()] = l.GetRank()
	}

	n := 0
	for _, p := range paths {
		n += len(p)
	}
	flat := make([]span[place], 0, n)
	for code, r := range areas.codes {
		lo := len(flat)
		for _, e := range areas.sorted[r.lo:r.hi] {
			flat = append(flat, paths[e]...)
		}
		s.areas[code] = flat[lo:len(flat):len(flat)]
	}

	s.unlocated = []*pb.AreaNode{{Level: UnlocatedLevel, Code: UnlocatedCode, Name: unlocatedName}}
	for i, a := range c.areas {
		if a.GetCode() != "" && a.GetParent() == "" {
			if e, ok := areas.latest(a.GetCode()); ok {
				i = int(e)
			}
			s.unlocated = slices.Insert(s.unlocated, 0, areaNode(c.areas[i]))
			break
		}
	}
	s.placeUnits(areas)
	s.placeOffices()
	s.placeLines()
	s.ban()
	s.wishes = slices.ContainsFunc(c.units, func(u *pb.Unit) bool { return u.GetClosesSettled() || len(u.GetTrustedSystems()) > 0 })
	s.gone = buried(s, previous)
	s.former = outlived(s, previous)
	return s
}

func areaNode(a *pb.Area) *pb.AreaNode {
	return &pb.AreaNode{Level: a.GetLevel(), Code: a.GetCode(), Name: a.GetName()}
}

// spans gives the entries of each code.
func spans[T any](t *tree, entries []T) map[string][]span[T] {
	found := make(map[string][]span[T], len(t.codes))
	flat := make([]span[T], len(t.sorted))
	for i, e := range t.sorted {
		flat[i] = span[T]{t.nodes[e].from, t.nodes[e].to, entries[e]}
	}
	for code, r := range t.codes {
		found[code] = flat[r.lo:r.hi:r.hi]
	}
	return found
}

// paths gives for each entry of an area its paths, one for each period in which it and none above it changes. It is whole
// unless changes on several levels multiply beyond any real map.
func (c *content) paths(t *tree) (paths [][]span[place], whole bool) {
	budget := 2*maxDepth*len(c.areas) + 4096
	paths = make([][]span[place], len(t.nodes))
	for _, e := range t.order {
		n, a := &t.nodes[e], c.areas[e]
		own := areaNode(a)
		if n.parent == "" {
			paths[e] = []span[place]{{n.from, n.to, place{a, []*pb.AreaNode{own}}}}
			continue
		}
		for _, p := range t.above(e) {
			for _, up := range paths[p] {
				from, to := max(up.from, n.from), min(up.to, n.to)
				depth := len(up.value.path) + 1
				if from >= to || depth > maxDepth {
					continue
				}
				if budget -= depth; budget < 0 {
					return paths, false
				}
				path := make([]*pb.AreaNode, depth)
				path[copy(path, up.value.path)] = own
				paths[e] = append(paths[e], span[place]{from, to, place{a, path}})
			}
		}
	}
	return paths, true
}

func (s *Snapshot) placeUnits(areas *tree) {
	units := s.content.units
	t := s.content.unitTree()
	entries := spans(t, units)
	s.units = make(map[string]*unit, len(entries))
	for code, list := range entries {
		u := &unit{entries: list}
		last := list[len(list)-1].value
		if e, ok := areas.latest(last.GetArea()); ok {
			u.level = s.content.areas[e].GetLevel()
			u.rank = s.ranks[u.level]
		}
		var up []string
		for c := code; c != ""; {
			e, ok := t.latest(c)
			if !ok || len(up) == maxDepth {
				up = nil
				break
			}
			up = append(up, c)
			c = t.nodes[e].parent
		}
		slices.Reverse(up)
		u.path = slices.Clip(up)
		s.units[code] = u
	}
	// In the order of sorted, so that it is the same every time even of content with faults.
	for _, e := range t.sorted {
		if u := units[e]; u.GetKind() == pb.UnitKind_UNIT_KIND_AREA {
			s.anchored[u.GetArea()] = append(s.anchored[u.GetArea()], span[*pb.Unit]{t.nodes[e].from, t.nodes[e].to, u})
		}
	}
}

// reuseAfter is how many years a code rests before it may name another place.
const reuseAfter = 5

// rested is when a code that ended may be used anew.
func rested(ended int64) int64 { return instant(ended).AddDate(reuseAfter, 0, 0).UnixMicro() }

// home is a place that a code named for a while, through all its moves and changes of name.
type home struct {
	name  string   // the last
	names []string // all, with their levels
	ended int64    // never if it has not
}

func (h *home) is(a *pb.Area) bool { return slices.Contains(h.names, nameOf(a)) }

func nameOf(a *pb.Area) string { return a.GetLevel() + " " + a.GetName() }

// homes gives the places that a code names one after the other, and for each of its entries which of them it is. An entry is the place of one before if it has its name and
// level, or if the one just before it names its own code among its successors, as one does when a place is renamed.
func homes(t *tree, areas []*pb.Area, code string) (all []home, of []int) {
	renamed := -1 // the place that goes on under another name
	r := t.codes[code]
	for _, e := range t.sorted[r.lo:r.hi] {
		a := areas[e]
		i := slices.IndexFunc(all, func(h home) bool { return h.is(a) })
		if i < 0 {
			i = renamed
		}
		if i < 0 {
			i = len(all)
			all = append(all, home{})
		}
		of = append(of, i)
		all[i].names = append(all[i].names, nameOf(a))
		all[i].name, all[i].ended = a.GetName(), t.nodes[e].to
		if renamed = -1; slices.Contains(a.GetSuccessors(), code) {
			renamed = i
		}
	}
	return all, of
}

// buried gives the places that have ended when this version takes effect and that its own content does not tell of.
func buried(s *Snapshot, previous *Snapshot) map[string][]home {
	if previous == nil {
		return nil
	}
	now := s.validFrom.UnixMicro()
	found := map[string][]home{}
	bury := func(code string, h home) {
		r := s.tree.codes[code]
		if slices.ContainsFunc(s.tree.sorted[r.lo:r.hi], func(e int32) bool { return h.is(s.content.areas[e]) }) {
			return
		}
		if h.ended == never {
			if r.lo < r.hi {
				return // it is spelt otherwise now
			}
			h.ended = now
		}
		if now < rested(h.ended) {
			found[code] = append(found[code], h)
		}
	}
	for code, list := range previous.gone {
		for _, h := range list {
			bury(code, h)
		}
	}
	for code := range previous.tree.codes {
		all, _ := homes(previous.tree, previous.content.areas, code)
		for _, h := range all {
			bury(code, h)
		}
	}
	return found
}
