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

// remap is an atlas whose areas are those of a map. Every ticket counts at the area that stands now for the one it lay in when it was
// accepted, and at those above that: so each parent is still its children and its direct row, and the root is what it was. All else is
// as in the atlas below.
//
// Counters add up, and each ticket is counted once among the direct rows and the finest areas: those are read, and added up anew.
type remap struct {
	below atlas
	byKey map[[2]string]*node
	byNo  map[int64]*node // the map's nodes, numbered from firstRestated
	now   map[int64][]int64
	// leaves are the nodes that count tickets of their own: the direct ones, and those of the finest level. area is the area of each.
	leaves [2]*selection
	area   map[int64]int64
	// shared: two areas of one code have one direct row, so that tickets must be looked at one by one.
	shared bool
}

// restated is a book on a map.
type restated struct {
	*remap
	book book
}

// restatedLog is a logbook on a map.
type restatedLog struct {
	*remap
	log logbook
}

// firstRestated is above all ids that a book gives.
const firstRestated = int64(1) << 48

// onMap is the book on a map; itself if there is none.
func onMap(b book, m Map) (book, error) {
	if m == nil {
		return b, nil
	}
	r, err := newRemap(b, m)
	return &restated{r, b}, err
}

// logOnMap is the logbook on a map; itself if there is none.
func logOnMap(b logbook, m Map) (logbook, error) {
	if m == nil {
		return b, nil
	}
	r, err := newRemap(b, m)
	return &restatedLog{r, b}, err
}

func newRemap(b atlas, m Map) (*remap, error) {
	r := &remap{
		below: b, byKey: map[[2]string]*node{}, byNo: map[int64]*node{}, now: map[int64][]int64{}, area: map[int64]int64{},
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
func (r *remap) lay(path []*pb.AreaNode) []int64 {
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

func (r *remap) get(level, code string) *node {
	key := [2]string{level, code}
	n := r.byKey[key]
	if n == nil {
		n = &node{id: firstRestated + int64(len(r.byNo)), level: level, code: code}
		r.byKey[key], r.byNo[n.id] = n, n
	}
	return n
}

func (r *remap) node(level, code string) (*node, error) {
	if n := r.byKey[[2]string{level, code}]; n != nil {
		return n, nil
	}
	n, err := r.below.node(level, code)
	if err != nil || n == nil || n.tree || level == DirectLevel {
		return nil, err
	}
	return n, nil
}

func (r *remap) byID(id int64) (*node, error) {
	if n := r.byNo[id]; n != nil {
		return n, nil
	}
	return r.below.byID(id)
}

func (r *remap) level(name string) ([]*node, error) {
	list, err := r.below.level(name)
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(n *node) bool { return n.tree || name == DirectLevel })
	return append(list, r.find(func(n *node) bool { return n.level == name })...), nil
}

func (r *remap) coded(code string) ([]*node, error) {
	return r.find(func(n *node) bool { return n.tree && n.code == code }), nil
}

func (r *remap) areas() ([]*node, error) {
	return r.find(func(n *node) bool { return n.tree }), nil
}

func (r *remap) find(match func(*node) bool) []*node {
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
	return sumsOn(r.remap, of, addStock, func(of *selection) (map[int64]*counts, error) { return r.book.stock(t, of) })
}

func (r *restated) rates(in period, of *selection) (map[int64]*counts, error) {
	if of.area != nil || r.shared {
		return slowRates(r, in, of)
	}
	return sumsOn(r.remap, of, addStock, func(of *selection) (map[int64]*counts, error) { return r.book.rates(in, of) })
}

func (r *restatedLog) sum(figure byte, in period, of *selection) (map[int64]*cells, error) {
	if of.area != nil || r.shared {
		sums := map[int64]*cells{}
		return sums, oneByOne(r, figure, in, of, sums)
	}
	return sumsOn(r.remap, of, addCells, func(of *selection) (map[int64]*cells, error) { return r.log.sum(figure, in, of) })
}

func addStock(sum, c *counts) {
	for i, n := range c {
		sum[i] += n
	}
}

func addCells(sum, c *cells) {
	for i, n := range c {
		sum[i] += n
	}
}

// sumsOn adds up what the atlas below has of nodes: that of areas from its leaves.
func sumsOn[C any](r *remap, of *selection, add func(sum, c *C), ask func(of *selection) (map[int64]*C, error)) (map[int64]*C, error) {
	others := &selection{nodes: map[int64]*node{}, level: of.level}
	for id, n := range of.nodes {
		if r.byNo[id] == nil {
			others.nodes[id] = n
		}
	}
	if len(others.nodes) == len(of.nodes) {
		return ask(others)
	}
	sums := map[int64]*C{}
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
		spread(r, own, of, func(to int64, c *C) {
			if sums[to] == nil {
				sums[to] = new(C)
			}
			add(sums[to], c)
		})
	}
	return sums, nil
}

// spread hands what leaves came to, of whatever kind, to those of the selected nodes that they lie in on the map.
func spread[T any](r *remap, own map[int64]T, of *selection, add func(to int64, what T)) {
	for id, what := range own {
		for _, to := range r.now[r.area[id]] {
			if of.nodes[to] != nil {
				add(to, what)
			}
		}
	}
}

// moved is where a ticket lies on the map that lay in an area, told by its path below.
func (r *remap) moved(area []int64) []int64 {
	n := len(area)
	if n == 0 {
		return nil
	}
	// The end of a path is an area of the finest level, or stands before its direct node.
	end := area[n-1]
	if r.now[end] == nil && n > 1 {
		end = area[n-2]
	}
	return r.now[end]
}

func (r *restated) each(after int64, yield func(f *facts) (bool, error)) error {
	return r.book.each(after, func(f *facts) (bool, error) {
		moved := *f
		moved.area = r.moved(f.area)
		return yield(&moved)
	})
}

// onIt is a ticket as it lies on the map.
func (r *restatedLog) onIt(l *life) *life {
	moved := *l
	moved.area = r.moved(l.area)
	return &moved
}

func (r *restatedLog) between(after, from, to int64, yield func(l *life) (bool, error)) error {
	return r.log.between(after, from, to, func(l *life) (bool, error) { return yield(r.onIt(l)) })
}

func (r *restatedLog) levels() ([]string, error) { return r.log.levels() }

func (r *restatedLog) held(yield func(l *life)) error {
	return r.log.held(func(l *life) { yield(r.onIt(l)) })
}

func (r *restatedLog) persons(from, to int64, yield func(all []*life)) error {
	return r.log.persons(from, to, func(all []*life) {
		moved := make([]*life, len(all))
		for i, l := range all {
			moved[i] = r.onIt(l)
		}
		yield(moved)
	})
}
