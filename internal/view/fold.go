package view

import (
	"cmp"
	"slices"

	"github.com/chuishao/dispatch/internal/event"
)

// warm is how many streams a folding keeps in memory when all is written, of which more may come soon.
const warm = 2_000

// hot are the streams that a folding keeps in memory, with what it makes of each.
type hot[T any] struct {
	byID    map[string]*kept[T]
	touched []*kept[T] // since the last drop
	rest    []*kept[T]
}

type kept[T any] struct {
	id      string
	what    T
	last    int64 // the position of the last event
	touched bool
	dirty   bool // it is not written
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
	k.last, k.dirty = int64(d.Position), true
	if !k.touched {
		k.touched = true
		h.touched = append(h.touched, k)
	}
	return k.what, nil
}

// drop gives what is to be written. It forgets what seems to have come to its end, and what has not been touched for the longest time if
// more than keep are left; with keep 0 all is to be written, and some is kept as it is written.
func (h *hot[T]) drop(keep int, ended func(T) bool) []T {
	var list []T
	out := func(k *kept[T]) {
		delete(h.byID, k.id)
		if k.dirty {
			list = append(list, k.what)
		}
	}
	for _, k := range h.touched {
		k.touched = false
		if ended(k.what) {
			out(k)
		}
	}
	clear(h.touched)
	h.touched = h.touched[:0]
	if keep == 0 {
		for _, k := range h.byID {
			if k.dirty {
				k.dirty = false
				list = append(list, k.what)
			}
		}
		keep = warm
	}
	if len(h.byID) > keep {
		h.rest = h.rest[:0]
		for _, k := range h.byID {
			h.rest = append(h.rest, k)
		}
		slices.SortFunc(h.rest, func(a, b *kept[T]) int { return cmp.Compare(a.last, b.last) })
		// More than needed, so that it does not come to this each time.
		for _, k := range h.rest[:len(h.rest)-keep*3/4] {
			out(k)
		}
		clear(h.rest)
	}
	return list
}
