package sqlite

import "sync"

// head is where a stream stands. The zero value is a stream nobody wrote to.
type head struct {
	first   int64 // position of the stream's first event
	version int64
}

// heads holds what is committed of the streams last used, so that most conflicts are decided without a look at
// the file. It forgets in two generations: when the young one is full, the old one goes.
type heads struct {
	mu    sync.Mutex
	young map[string]head
	old   map[string]head
	limit int
	epoch uint64 // grows whenever something is forgotten
}

func (h *heads) init(limit int) {
	h.limit = max(limit/2, 1)
	h.young = make(map[string]head)
}

// get returns the head of a stream, if it is known, and the epoch to give to offer otherwise.
func (h *heads) get(stream string) (head, uint64, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at, ok := h.young[stream]
	if !ok {
		if at, ok = h.old[stream]; ok {
			h.put(stream, at)
		}
	}
	return at, h.epoch, ok
}

// offer adds what was read from the file after get returned that epoch. What is known already is newer. If anything
// was forgotten since, it may have been this stream, and what was read may be out of date.
func (h *heads) offer(stream string, at head, epoch uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.epoch != epoch {
		return
	}
	if _, ok := h.young[stream]; ok {
		return
	}
	if _, ok := h.old[stream]; ok {
		return
	}
	h.put(stream, at)
}

// commit sets what a commit changed.
func (h *heads) commit(changed map[string]head) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for stream, at := range changed {
		h.put(stream, at)
	}
}

func (h *heads) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.epoch++
	h.young = make(map[string]head)
	h.old = nil
}

func (h *heads) put(stream string, at head) {
	if len(h.young) >= h.limit {
		h.epoch++
		h.old = h.young
		h.young = make(map[string]head, len(h.old))
	}
	h.young[stream] = at
}
