package view

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"
	"sync"

	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// snapshot is what a question about figures is answered from: the views of the database that is whole and, if figures are kept in partitions, those of each. Each
// partition is of one moment, but not all of the same.
type snapshot struct {
	whole *viewdb.Tx
	parts []*viewdb.Tx // none: figures are whole too. The one that has come farthest is the first
	at    eventstore.Position
}

// snapshot runs do on what a view of figures is read from. Its position is the least of the partitions': all that lies before it has been counted, and of some
// partitions a little more.
func (r *Reader) snapshot(ctx context.Context, view string, do func(s *snapshot) error) (at eventstore.Position, err error) {
	err = r.db.Read(ctx, func(tx *viewdb.Tx) error {
		if len(r.parts) == 0 {
			if at, err = projector.Position(tx, view); err != nil {
				if elsewhere, ok := errors.AsType[*PartitionsError](keptIn(tx, r.db.Path(), 1)); ok {
					return elsewhere
				}
				return err
			}
			return do(&snapshot{whole: tx, at: at})
		}
		if err := keptIn(tx, r.db.Path(), len(r.parts)); err != nil {
			return err
		}
		s := &snapshot{whole: tx}
		var positions []eventstore.Position
		// Always in this order: whoever waits for a connection of one holds only those of the ones before.
		var open func(rest []*viewdb.DB) error
		open = func(rest []*viewdb.DB) error {
			if len(rest) == 0 {
				at = s.at
				return do(s)
			}
			return rest[0].Read(ctx, func(tx *viewdb.Tx) error {
				own, err := projector.Position(tx, view)
				if err != nil {
					return err
				}
				i, _ := slices.BinarySearchFunc(positions, own, func(a, b eventstore.Position) int { return cmp.Compare(b, a) })
				positions, s.parts = slices.Insert(positions, i, own), slices.Insert(s.parts, i, tx)
				s.at = positions[len(positions)-1]
				return open(rest[1:])
			})
		}
		return open(r.parts)
	})
	return at, err
}

// closure is the book of a snapshot of ClosureView.
func (r *Reader) closure(s *snapshot) (book, error) {
	if len(s.parts) == 0 {
		return r.closureTable(s.whole)
	}
	u := newUnion()
	for _, tx := range s.parts {
		t, err := r.closureTable(tx)
		if err != nil {
			return nil, err
		}
		u.add(t)
	}
	return &unionBook{u}, nil
}

// service is the logbook of a snapshot of ServiceView.
func (r *Reader) service(s *snapshot) (logbook, error) {
	if len(s.parts) == 0 {
		t, err := r.serviceTable(s.whole)
		return &logs{t}, err
	}
	u := newUnion()
	for _, tx := range s.parts {
		t, err := r.serviceTable(tx)
		if err != nil {
			return nil, err
		}
		u.add(t)
	}
	return &unionLog{u, s.whole}, nil
}

// union is the atlas of the tables of all partitions. Each has ids of its own for nodes; those of one level and code are one node here, with an id that is good for
// as long as the union.
type union struct {
	tables []*table // the one that has come farthest is the first: it heard last what areas are called
	byKey  map[[2]string]*node
	byNo   []*node // by id-1
	// Of each partition, its ids by ours and ours by its. A node that was given out stands in those of all partitions that have it.
	theirs, ours []map[int64]int64
}

func newUnion() *union { return &union{byKey: map[[2]string]*node{}} }

func (u *union) add(t *table) {
	u.tables, u.theirs, u.ours = append(u.tables, t), append(u.theirs, map[int64]int64{}), append(u.ours, map[int64]int64{})
}

// merge makes one list of what each partition has found.
func (u *union) merge(find func(t *table) ([]*node, error)) ([]*node, error) {
	var list []*node
	listed := map[int64]bool{}
	parents := map[*node]*node{} // as the partition has it that names the node
	lists := make([]map[[2]string]bool, len(u.tables))
	for i, t := range u.tables {
		found, err := find(t)
		if err != nil {
			return nil, err
		}
		lists[i] = make(map[[2]string]bool, len(found))
		for _, n := range found {
			key := [2]string{n.level, n.code}
			lists[i][key] = true
			is := u.byKey[key]
			if is == nil {
				named := *n
				is = &named
				is.id = int64(len(u.byNo) + 1)
				u.byKey[key], u.byNo = is, append(u.byNo, is)
				if n.parent != 0 {
					if parents[is], err = t.byID(n.parent); err != nil {
						return nil, err
					}
				}
			}
			u.same(i, n, is)
			if !listed[is.id] {
				listed[is.id] = true
				list = append(list, is)
			}
		}
	}
	// One that has not come as far may know the node as something else.
	for i, t := range u.tables {
		for _, is := range list {
			if lists[i][[2]string{is.level, is.code}] || u.theirs[i][is.id] != 0 {
				continue
			}
			n, err := t.node(is.level, is.code)
			if err != nil {
				return nil, err
			}
			if n != nil {
				u.same(i, n, is)
			}
		}
	}
	for is, p := range parents {
		is.parent = 0
		if p == nil {
			continue
		}
		above, err := u.node(p.level, p.code)
		if err != nil {
			return nil, err
		}
		is.parent = above.id
	}
	return list, nil
}

func (u *union) same(i int, theirs, ours *node) {
	u.theirs[i][ours.id], u.ours[i][theirs.id] = theirs.id, ours.id
}

func (u *union) node(level, code string) (*node, error) {
	if n := u.byKey[[2]string{level, code}]; n != nil {
		return n, nil
	}
	list, err := u.merge(func(t *table) ([]*node, error) {
		n, err := t.node(level, code)
		if n == nil {
			return nil, err
		}
		return []*node{n}, err
	})
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return list[0], nil
}

func (u *union) byID(id int64) (*node, error) {
	if id < 1 || id > int64(len(u.byNo)) {
		return nil, nil
	}
	return u.byNo[id-1], nil
}

func (u *union) level(name string) ([]*node, error) {
	return u.merge(func(t *table) ([]*node, error) { return t.level(name) })
}

func (u *union) coded(code string) ([]*node, error) {
	return u.merge(func(t *table) ([]*node, error) { return t.coded(code) })
}

func (u *union) areas() ([]*node, error) {
	return u.merge(func(t *table) ([]*node, error) { return t.areas() })
}

// selection is what a partition is asked about.
func (u *union) selection(i int, of *selection) *selection {
	is := &selection{nodes: make(map[int64]*node, len(of.nodes)), level: of.level}
	for id, n := range of.nodes {
		if theirs := u.theirs[i][id]; theirs != 0 {
			own := *n
			own.id = theirs
			is.nodes[theirs] = &own
		}
	}
	if of.area != nil {
		is.area = map[int64]bool{}
		for id, in := range of.area {
			if theirs := u.theirs[i][id]; theirs != 0 {
				is.area[theirs] = in
			}
		}
	}
	return is
}

// sumsOf adds up what the partitions come to, which are asked at once.
func sumsOf[C any](u *union, of *selection, add func(sum, c *C), ask func(t *table, of *selection) (map[int64]*C, error)) (map[int64]*C, error) {
	own, errs := make([]map[int64]*C, len(u.tables)), make([]error, len(u.tables))
	var asked sync.WaitGroup
	for i, t := range u.tables {
		is := u.selection(i, of)
		if len(is.nodes) == 0 {
			continue
		}
		asked.Go(func() { own[i], errs[i] = ask(t, is) })
	}
	asked.Wait()
	sums := map[int64]*C{}
	for i := range u.tables {
		if errs[i] != nil {
			return nil, errs[i]
		}
		for theirs, c := range own[i] {
			id := u.ours[i][theirs]
			if sums[id] == nil {
				sums[id] = new(C)
			}
			add(sums[id], c)
		}
	}
	return sums, nil
}

// id is ours of a partition's node, and a number of its own below zero for one that was never given out: nobody asks about it.
func (u *union) id(i int, theirs int64) int64 {
	if id := u.ours[i][theirs]; id != 0 {
		return id
	}
	return -theirs
}

func (u *union) ids(i int, to, theirs []int64) []int64 {
	to = to[:0]
	for _, id := range theirs {
		to = append(to, u.id(i, id))
	}
	return to
}

// found is what a partition has found.
type found[T any] struct {
	part int
	what T
	err  error
}

// inOrder hands over what the partitions find, each in order, in the order of all, until it is told to stop. What was handed over is good until the next.
func inOrder[T any](u *union, find func(t *table, yield func(T) (bool, error)) error, order func(a, b T) int, yield func(part int, what T) (bool, error)) error {
	type next struct {
		now  found[T]
		pull func() (found[T], bool)
	}
	var all []*next
	for i, t := range u.tables {
		pull, stop := iter.Pull(func(yield func(found[T]) bool) {
			err := find(t, func(what T) (bool, error) { return yield(found[T]{part: i, what: what}), nil })
			if err != nil {
				yield(found[T]{err: err})
			}
		})
		defer stop()
		now, ok := pull()
		if now.err != nil {
			return now.err
		}
		if ok {
			all = append(all, &next{now, pull})
		}
	}
	for len(all) > 0 {
		first := 0
		for i := range all {
			if order(all[i].now.what, all[first].now.what) < 0 {
				first = i
			}
		}
		n := all[first]
		if more, err := yield(n.now.part, n.now.what); err != nil || !more {
			return err
		}
		ok := false
		if n.now, ok = n.pull(); n.now.err != nil {
			return n.now.err
		}
		if !ok {
			all = slices.Delete(all, first, first+1)
		}
	}
	return nil
}

// unionBook is the book of all partitions.
type unionBook struct{ *union }

func (u *unionBook) stock(t int64, of *selection) (map[int64]*counts, error) {
	return sumsOf(u.union, of, addStock, func(b *table, of *selection) (map[int64]*counts, error) { return b.stock(t, of) })
}

func (u *unionBook) rates(in period, of *selection) (map[int64]*counts, error) {
	return sumsOf(u.union, of, addStock, func(b *table, of *selection) (map[int64]*counts, error) { return b.rates(in, of) })
}

func (u *unionBook) each(after int64, yield func(f *facts) (bool, error)) error {
	var is facts
	return inOrder(u.union, func(t *table, yield func(f *facts) (bool, error)) error { return t.each(after, yield) },
		func(a, b *facts) int { return cmp.Compare(a.ticket, b.ticket) },
		func(i int, f *facts) (bool, error) {
			fixed, area, unit := is.fixed, is.area, is.unit
			is = *f
			is.fixed, is.area, is.unit = u.ids(i, fixed, f.fixed), u.ids(i, area, f.area), u.ids(i, unit, f.unit)
			is.category = u.id(i, f.category)
			return yield(&is)
		})
}
