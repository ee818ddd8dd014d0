package view

import (
	"slices"
	"strings"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// Map is a tree of areas that figures are restated on (restated): the map of an instant, with what became of the areas before it.
type Map interface {
	// Version names the map: figures on maps of the same version can be compared, and read page by page.
	Version() string
	// Present is the path, root first, of the area that stands now for one that had the code at the level. Not found is what was never
	// on the map: it stays where it was.
	Present(level, code string) (path []*pb.AreaNode, ok bool)
}

func mapText(m Map) string {
	if m == nil {
		return ""
	}
	return "on " + m.Version()
}

// present is a path on the map: that of what the deepest of its areas that the map knows became, and below it what the map does not know.
func present(m Map, path []*pb.AreaNode) []*pb.AreaNode {
	for i := len(path) - 1; i >= 0; i-- {
		if now, ok := m.Present(path[i].Level, path[i].Code); ok {
			return append(slices.Clip(now), path[i+1:]...)
		}
	}
	return path
}

// restated is a book whose areas are those of a map. Every ticket counts at the area that stands now for the one it lay in when it was
// accepted, and at those above that: so each parent is still its children and its direct row, and the root is what it was. All else is
// as in the book below.
//
// Counters add up, and each ticket is counted once among the direct rows and the finest areas: those are read, and added up anew.
type restated struct {
	book
	byKey map[[2]string]*node
	byNo  map[int64]*node // the map's nodes, numbered from firstRestated
	now   map[int64][]int64
	// leaves are the nodes that count tickets of their own: the direct ones, and those of the finest level. area is the area of each.
	leaves [2]*selection
	area   map[int64]int64
	// shared: two areas of one code have one direct row, so that tickets must be looked at one by one.
	shared bool
}

// firstRestated is above all ids that a book gives.
const firstRestated = int64(1) << 48

// onMap is the book on a map; itself if there is none.
func onMap(b book, m Map) (book, error) {
	if m == nil {
		return b, nil
	}
	r := &restated{
		book: b, byKey: map[[2]string]*node{}, byNo: map[int64]*node{}, now: map[int64][]int64{}, area: map[int64]int64{},
		leaves: [2]*selection{{nodes: map[int64]*node{}, level: DirectLevel}, {nodes: map[int64]*node{}, level: finest}},
	}
	areas, err := b.areas()
	if err != nil {
		return nil, err
	}
	direct, err := b.level(DirectLevel)
	if err != nil {
		return nil, err
	}
	own := make(map[string]*node, len(direct))
	for _, d := range direct {
		own[d.code] = d
		r.leaves[0].nodes[d.id] = d
	}
	byID := make(map[int64]*node, len(areas))
	for _, n := range areas {
		byID[n.id] = n
	}
	for _, n := range areas {
		r.now[n.id] = r.lay(present(m, pathOf(n, byID)))
		if n.level == finest {
			r.leaves[1].nodes[n.id], r.area[n.id] = n, n.id
			continue
		}
		if d := own[n.code]; d != nil {
			_, twice := r.area[d.id]
			r.shared = r.shared || twice
			r.area[d.id] = n.id
		}
	}
	return r, nil
}

// pathOf is the path of an area as events told it last.
func pathOf(n *node, byID map[int64]*node) []*pb.AreaNode {
	var path []*pb.AreaNode
	// A loop in what events said of parents must not go on for ever.
	for ; n != nil && len(path) < 64; n = byID[n.parent] {
		path = append(path, &pb.AreaNode{Level: n.level, Code: n.code, Name: n.name})
	}
	slices.Reverse(path)
	return path
}

// lay gives the map's nodes of a path, root first, with the direct node of its end.
func (r *restated) lay(path []*pb.AreaNode) []int64 {
	ids := make([]int64, 0, len(path)+1)
	var parent int64
	names := make([]string, 0, len(path))
	for _, step := range path {
		names = append(names, step.Name)
		n := r.get(step.Level, step.Code)
		n.tree, n.name, n.path, n.parent = true, step.Name, strings.Join(names, "/"), parent
		ids = append(ids, n.id)
		parent = n.id
	}
	if end := path[len(path)-1]; end.Level != finest {
		ids = append(ids, r.get(DirectLevel, end.Code).id)
	}
	return ids
}

func (r *restated) get(level, code string) *node {
	key := [2]string{level, code}
	n := r.byKey[key]
	if n == nil {
		n = &node{id: firstRestated + int64(len(r.byNo)), level: level, code: code}
		r.byKey[key], r.byNo[n.id] = n, n
	}
	return n
}

func (r *restated) node(level, code string) (*node, error) {
	if n := r.byKey[[2]string{level, code}]; n != nil {
		return n, nil
	}
	n, err := r.book.node(level, code)
	if err != nil || n == nil || n.tree || level == DirectLevel {
		return nil, err
	}
	return n, nil
}

func (r *restated) byID(id int64) (*node, error) {
	if n := r.byNo[id]; n != nil {
		return n, nil
	}
	return r.book.byID(id)
}

func (r *restated) level(name string) ([]*node, error) {
	list, err := r.book.level(name)
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(n *node) bool { return n.tree || name == DirectLevel })
	return append(list, r.find(func(n *node) bool { return n.level == name })...), nil
}

func (r *restated) coded(code string) ([]*node, error) {
	return r.find(func(n *node) bool { return n.tree && n.code == code }), nil
}

func (r *restated) areas() ([]*node, error) {
	return r.find(func(n *node) bool { return n.tree }), nil
}

func (r *restated) find(match func(*node) bool) []*node {
	var list []*node
	for _, n := range r.byNo {
		if match(n) {
			list = append(list, n)
		}
	}
	return list
}

func (r *restated) stock(t int64, of *selection) (map[int64]*counts, error) {
	if of.area != nil || r.shared {
		return slowStock(r, t, of)
	}
	return r.sums(of, func(of *selection) (map[int64]*counts, error) { return r.book.stock(t, of) })
}

func (r *restated) rates(in period, of *selection) (map[int64]*counts, error) {
	if of.area != nil || r.shared {
		return slowRates(r, in, of)
	}
	return r.sums(of, func(of *selection) (map[int64]*counts, error) { return r.book.rates(in, of) })
}

// sums adds up what the book below has of nodes: that of areas from its leaves.
func (r *restated) sums(of *selection, ask func(of *selection) (map[int64]*counts, error)) (map[int64]*counts, error) {
	others := &selection{nodes: map[int64]*node{}, level: of.level}
	for id, n := range of.nodes {
		if r.byNo[id] == nil {
			others.nodes[id] = n
		}
	}
	if len(others.nodes) == len(of.nodes) {
		return ask(others)
	}
	sums := map[int64]*counts{}
	if len(others.nodes) > 0 {
		var err error
		if sums, err = ask(others); err != nil {
			return nil, err
		}
	}
	for _, leaves := range r.leaves {
		own, err := ask(leaves)
		if err != nil {
			return nil, err
		}
		spread(r, own, of, func(to int64, c *counts) {
			sum := entry(sums, to)
			for i, n := range c {
				sum[i] += n
			}
		})
	}
	return sums, nil
}

// spread hands what leaves came to, of whatever kind, to those of the selected nodes that they lie in on the map.
func spread[T any](r *restated, own map[int64]T, of *selection, add func(to int64, what T)) {
	for id, what := range own {
		for _, to := range r.now[r.area[id]] {
			if of.nodes[to] != nil {
				add(to, what)
			}
		}
	}
}

func (r *restated) each(after int64, yield func(f *facts) (bool, error)) error {
	return r.book.each(after, func(f *facts) (bool, error) {
		moved := *f
		// The end of a path is an area of the finest level, or stands before its direct node.
		if n := len(f.area); n > 0 {
			end := f.area[n-1]
			if r.now[end] == nil && n > 1 {
				end = f.area[n-2]
			}
			moved.area = r.now[end]
		}
		return yield(&moved)
	})
}
