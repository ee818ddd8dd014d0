package jetstream

import (
	"sync"

	"github.com/chuishao/dispatch/internal/eventstore"
)

// head is where a stream stood once: the number of its events, and the position of the last of them. The zero value is a stream nobody wrote to.
type head struct {
	version  eventstore.Version
	position uint64
}

// heads remember where streams stood. They may be behind, never ahead.
type heads struct {
	mu    sync.Mutex
	limit int
	known map[string]head
}

func (h *heads) init(limit int) {
	h.limit = limit
	h.known = make(map[string]head)
}

func (h *heads) get(stream string) (head, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at, ok := h.known[stream]
	return at, ok
}

func (h *heads) put(stream string, at head) {
	if at.version == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	old, ok := h.known[stream]
	if ok && old.version >= at.version {
		return
	}
	if !ok && len(h.known) >= h.limit {
		for any := range h.known { // one or another
			delete(h.known, any)
			break
		}
	}
	h.known[stream] = at
}
