package view

import (
	"cmp"
	"slices"

	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// applyAll folds a batch in and writes all of it.
func applyAll(f projector.Folding, tx *viewdb.Tx, batch []event.Decoded) error {
	for i := range batch {
		if err := f.Add(tx, &batch[i]); err != nil {
			return err
		}
	}
	return f.Write(tx, 0)
}

// hot are the streams that a folding keeps in memory, with what it makes of each.
type hot[T any] struct {
	byID    map[string]*kept[T]
	touched []*kept[T] // since the last write
}

type kept[T any] struct {
	id      string
	what    T
	last    int64 // the position of the last event
	touched bool
}

func newHot[T any]() hot[T] { return hot[T]{byID: map[string]*kept[T]{}} }

// of gives what is made of the stream that the event stands in; load makes it if it is not kept.
func (h *hot[T]) of(id string, d *event.Decoded, load func() (T, error)) (what T, err error) {
	k := h.byID[id]
	if k == nil {
		if what, err = load(); err != nil {
			return what, err
		}
		k = &kept[T]{id: id, what: what}
		h.byID[id] = k
	}
	k.last = int64(d.Position)
	if !k.touched {
		k.touched = true
		h.touched = append(h.touched, k)
	}
	return k.what, nil
}

// drop gives what is to be written, and forgets it: what seems to have come to its end, and what has not been touched for the
// longest time if more than keep are left.
func (h *hot[T]) drop(keep int, ended func(T) bool) []T {
	var list []T
	out := func(k *kept[T]) {
		delete(h.byID, k.id)
		list = append(list, k.what)
	}
	for _, k := range h.touched {
		k.touched = false
		if keep == 0 || ended(k.what) {
			out(k)
		}
	}
	h.touched = h.touched[:0]
	if len(h.byID) <= keep {
		return list
	}
	rest := make([]*kept[T], 0, len(h.byID))
	for _, k := range h.byID {
		rest = append(rest, k)
	}
	slices.SortFunc(rest, func(a, b *kept[T]) int { return cmp.Compare(a.last, b.last) })
	// More than needed, so that it does not come to this each time.
	for _, k := range rest[:len(rest)-keep*3/4] {
		out(k)
	}
	return list
}
