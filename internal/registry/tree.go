package registry

import (
	"cmp"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
)

const (
	// maxValidities is how many entries with different validity one code may have in one version. It bounds what
	// hostile content can cost.
	maxValidities = 16
	// maxDepth is how deep a tree may be.
	maxDepth = 32

	always = math.MinInt64
	never  = math.MaxInt64
)

// node is an entry of a tree as its order needs it. Validity is half-open, in microseconds.
type node struct {
	code, parent string
	from, to     int64
}

// run is a part of tree.sorted.
type run struct{ lo, hi int32 }

// tree is the order of entries, of whatever form they are: orphans, cycles and repeated codes included. It holds entries
// by their index.
type tree struct {
	nodes  []node
	sorted []int32        // by code and start; of one code no two are valid at once
	codes  map[string]run // where in sorted the entries of a code are
	order  []int32        // parents before children, without what is on a cycle or below one
	cyclic []int32        // what is on a cycle, or between two

	clashes []clash // entries that are left out since another with their code is valid at the same time
	excess  []int32 // entries that are left out since their code has too many
}

type clash struct{ entry, with int32 }

func grow(nodes []node) *tree {
	t := &tree{nodes: nodes, codes: make(map[string]run, len(nodes))}
	all := make([]int32, 0, len(nodes))
	for i := range nodes {
		if nodes[i].code != "" {
			all = append(all, int32(i))
		}
	}
	slices.SortFunc(all, func(a, b int32) int {
		return cmp.Or(cmp.Compare(nodes[a].code, nodes[b].code), cmp.Compare(nodes[a].from, nodes[b].from), cmp.Compare(a, b))
	})
	t.sorted = all[:0]
	for i := 0; i < len(all); {
		code := nodes[all[i]].code
		lo := int32(len(t.sorted))
		for ; i < len(all) && nodes[all[i]].code == code; i++ {
			e := all[i]
			n := int32(len(t.sorted))
			switch {
			case n > lo && nodes[e].from < nodes[t.sorted[n-1]].to:
				t.clashes = append(t.clashes, clash{e, t.sorted[n-1]})
			case n-lo == maxValidities:
				t.excess = append(t.excess, e)
			default:
				t.sorted = append(t.sorted, e)
			}
		}
		t.codes[code] = run{lo, int32(len(t.sorted))}
	}
	t.arrange()
	return t
}

// arrange fills order and cyclic. It walks without recursion: a chain may be as long as the content.
func (t *tree) arrange() {
	// Children of a code, as linked lists: first child, next sibling.
	first := make(map[string]int32)
	next := make([]int32, len(t.nodes))
	waiting := make([]int32, len(t.nodes)) // for so many parents
	t.order = make([]int32, 0, len(t.sorted))
	for _, e := range t.sorted {
		n := &t.nodes[e]
		waiting[e] = int32(len(t.above(e)))
		if waiting[e] == 0 {
			t.order = append(t.order, e)
		}
		sibling, ok := first[n.parent]
		if !ok {
			sibling = -1
		}
		next[e], first[n.parent] = sibling, e
	}
	below := func(e int32, visit func(child int32)) {
		child, ok := first[t.nodes[e].code]
		for ; ok && child >= 0; child = next[child] {
			if t.meet(e, child) {
				visit(child)
			}
		}
	}
	for k := 0; k < len(t.order); k++ {
		below(t.order[k], func(child int32) {
			if waiting[child]--; waiting[child] == 0 {
				t.order = append(t.order, child)
			}
		})
	}
	if len(t.order) == len(t.sorted) {
		return
	}

	// What still waits is on a cycle or below one. Cutting what has no children left, again and again, leaves the cycles.
	children := make([]int32, len(t.nodes))
	var cut []int32
	for _, e := range t.sorted {
		if waiting[e] > 0 {
			below(e, func(child int32) {
				if waiting[child] > 0 {
					children[e]++
				}
			})
			if children[e] == 0 {
				cut = append(cut, e)
			}
		}
	}
	for k := 0; k < len(cut); k++ {
		waiting[cut[k]] = 0
		for _, p := range t.above(cut[k]) {
			if waiting[p] > 0 {
				if children[p]--; children[p] == 0 {
					cut = append(cut, p)
				}
			}
		}
	}
	for _, e := range t.sorted {
		if waiting[e] > 0 {
			t.cyclic = append(t.cyclic, e)
		}
	}
}

// meet tells whether two entries are ever valid at once.
func (t *tree) meet(a, b int32) bool {
	return t.nodes[a].from < t.nodes[b].to && t.nodes[b].from < t.nodes[a].to
}

// above gives the entries of the parent's code that are valid at some time while the entry is, by their start.
func (t *tree) above(e int32) []int32 {
	n := &t.nodes[e]
	if n.parent == "" {
		return nil
	}
	return t.during(n.parent, n.from, n.to)
}

// during gives the entries of a code that are valid at some time of the period, by their start.
func (t *tree) during(code string, from, to int64) []int32 {
	r := t.codes[code]
	for r.lo < r.hi && t.nodes[t.sorted[r.lo]].to <= from {
		r.lo++
	}
	for r.lo < r.hi && t.nodes[t.sorted[r.hi-1]].from >= to {
		r.hi--
	}
	return t.sorted[r.lo:r.hi]
}

// covers tells whether a code is valid for the whole of the period.
func (t *tree) covers(code string, from, to int64) bool {
	for _, e := range t.during(code, from, to) {
		if t.nodes[e].from > from {
			return false
		}
		from = t.nodes[e].to
	}
	return from >= to
}

// latest gives the entry of a code that starts last.
func (t *tree) latest(code string) (int32, bool) {
	r := t.codes[code]
	if r.lo == r.hi {
		return 0, false
	}
	return t.sorted[r.hi-1], true
}

// depths counts for each entry the entries from a root down to it; 0 for what is on a cycle or below one.
func (t *tree) depths() []int32 {
	depth := make([]int32, len(t.nodes))
	for _, e := range t.order {
		for _, p := range t.above(e) {
			depth[e] = max(depth[e], depth[p])
		}
		depth[e]++
	}
	return depth
}

func start(ts *timestamppb.Timestamp) int64 {
	if ts == nil {
		return always
	}
	return ts.AsTime().UnixMicro()
}

func end(ts *timestamppb.Timestamp) int64 {
	if ts == nil {
		return never
	}
	return ts.AsTime().UnixMicro()
}

func instant(us int64) time.Time { return time.UnixMicro(us).UTC() }
