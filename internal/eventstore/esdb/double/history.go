package double

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
)

// record is one event as it stands in the log.
type record struct {
	stream   string
	revision uint64
	position uint64
	event    *streams.ReadResp_ReadEvent
}

// entry is what the log knows of one stream.
type entry struct {
	records []*record
	// from is the first revision that reads see. Deleting sets it past the end, which is where the stream goes on.
	from uint64
	// most is how many of the last events reads see; 0 is all.
	most      uint64
	deleted   bool // softly: there is no such stream until somebody appends to it
	tombstone bool
}

// history is the log of a cluster, which all its nodes share.
type history struct {
	mu      sync.Mutex
	log     []*record
	streams map[string]*entry
	end     uint64        // where the next record begins
	grown   chan struct{} // closed when the log grows
}

func newHistory() *history {
	// The first records of a real log are the server's own.
	return &history{streams: make(map[string]*entry), end: 1713, grown: make(chan struct{})}
}

// proposed is an append as it was asked for.
type proposed struct {
	stream   string
	expected any // of streams.AppendReq_Options
	events   []*streams.AppendReq_ProposedMessage
}

// outcome is what an append led to: the revision and position of its last event, or where the stream was instead.
type outcome struct {
	revision, position uint64
	wrong              bool
	current            int64 // of the stream, if wrong; -1: there is none
	tombstoned         bool
}

// last is the number of the stream's last event; -1 if it never had one.
func (e *entry) last() int64 {
	if e == nil {
		return -1
	}
	return int64(len(e.records)) - 1
}

// append records all of an append or nothing, by the server's rules of expected revisions and of idempotence.
func (h *history) append(p *proposed) outcome {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.streams[p.stream]
	if e != nil && e.tombstone {
		return outcome{tombstoned: true}
	}
	last := e.last()
	switch expected := p.expected.(type) {
	case *streams.AppendReq_Options_Any:
	case *streams.AppendReq_Options_StreamExists:
		if last < 0 || e.deleted {
			return outcome{wrong: true, current: -1}
		}
	default:
		after := int64(-1)
		if r, ok := expected.(*streams.AppendReq_Options_Revision); ok {
			after = int64(r.Revision)
		}
		switch {
		case after > last:
			return outcome{wrong: true, current: last}
		case after < last:
			if len(p.events) == 0 {
				return outcome{wrong: true, current: last}
			}
			var r *record
			for i, proposed := range p.events {
				at := after + 1 + int64(i)
				if at > last || *id(e.records[at].event.Event.Id) != *id(proposed.Id) {
					if after < 0 && i == 0 && e.deleted {
						return h.record(p) // a deleted stream may begin again, behind what it had
					}
					return outcome{wrong: true, current: last}
				}
				r = e.records[at]
			}
			return outcome{revision: r.revision, position: r.position}
		}
	}
	return h.record(p)
}

// record adds events at the end of the log.
func (h *history) record(p *proposed) outcome {
	e := h.streams[p.stream]
	if e == nil {
		e = &entry{}
		h.streams[p.stream] = e
	}
	if e.deleted {
		e.deleted, e.from = false, uint64(len(e.records))
	}
	var r *record
	for _, proposed := range p.events {
		r = &record{stream: p.stream, revision: uint64(len(e.records)), position: h.end}
		// What a record takes on disk; so positions have gaps.
		h.end += 120 + uint64(len(p.stream)+len(proposed.Data)+len(proposed.CustomMetadata))
		r.event = &streams.ReadResp_ReadEvent{
			Event: &streams.ReadResp_ReadEvent_RecordedEvent{
				Id:               proposed.Id,
				StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte(p.stream)},
				StreamRevision:   r.revision,
				CommitPosition:   r.position,
				PreparePosition:  r.position,
				Metadata: map[string]string{
					"type": proposed.Metadata["type"], "content-type": proposed.Metadata["content-type"],
					"created": strconv.FormatInt(time.Now().UnixNano()/100, 10),
				},
				Data:           proposed.Data,
				CustomMetadata: proposed.CustomMetadata,
			},
			Position: &streams.ReadResp_ReadEvent_CommitPosition{CommitPosition: r.position},
		}
		e.records = append(e.records, r)
		h.log = append(h.log, r)
	}
	h.describe(p)
	close(h.grown)
	h.grown = make(chan struct{})
	if r == nil {
		return outcome{}
	}
	return outcome{revision: r.revision, position: r.position}
}

// describe takes up what an append to a stream's metadata says of the stream.
func (h *history) describe(p *proposed) {
	of, ok := strings.CutPrefix(p.stream, "$$")
	if !ok || len(p.events) == 0 {
		return
	}
	h.streams[p.stream].most = 1
	var says struct {
		Before uint64 `json:"$tb"`
		Most   uint64 `json:"$maxCount"`
	}
	if json.Unmarshal(p.events[len(p.events)-1].Data, &says) != nil {
		return
	}
	e := h.streams[of]
	if e == nil {
		e = &entry{}
		h.streams[of] = e
	}
	e.most = says.Most
	if says.Before == math.MaxInt64 {
		e.deleted = true
	} else {
		e.from = max(e.from, says.Before)
	}
}

// delete takes a stream away, softly or for ever, and returns where that stands in the log.
func (h *history) delete(stream string, forever bool) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	word := &streams.AppendReq_ProposedMessage{Id: &shared.UUID{}, Metadata: map[string]string{"content-type": "application/json"}}
	if forever {
		word.Metadata["type"] = "$streamDeleted"
		done := h.record(&proposed{stream: stream, events: []*streams.AppendReq_ProposedMessage{word}})
		h.streams[stream].tombstone = true
		return done.position
	}
	word.Metadata["type"] = "$metadata"
	word.Data = []byte(`{"$tb":` + strconv.FormatInt(math.MaxInt64, 10) + `}`)
	return h.record(&proposed{stream: "$$" + stream, events: []*streams.AppendReq_ProposedMessage{word}}).position
}

// Transact records an event as clients of the protocol before this one could: in a transaction of several steps, whose
// commit stands behind what it commits.
func (c *Cluster) Transact(stream, typ string) {
	h := c.history
	h.mu.Lock()
	defer h.mu.Unlock()
	h.record(&proposed{stream: stream, events: []*streams.AppendReq_ProposedMessage{{
		Id: &shared.UUID{}, Metadata: map[string]string{"type": typ, "content-type": "application/octet-stream"},
	}}})
	r := h.log[len(h.log)-1]
	h.end += 60
	r.event.Event.CommitPosition = r.position + 60
	r.event.Position = &streams.ReadResp_ReadEvent_CommitPosition{CommitPosition: r.position + 60}
}

// current is the number of a stream's last event, -1 if there is none, and whether it was taken away for ever.
func (h *history) current(stream string) (int64, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.streams[stream]
	return e.last(), e != nil && e.tombstone
}

// id is an event's id in one form.
func id(u *shared.UUID) *[2]int64 {
	s := u.GetStructured()
	return &[2]int64{s.GetMostSignificantBits(), s.GetLeastSignificantBits()}
}

// visible is the log but for its last records.
func (h *history) visible(hidden int) ([]*record, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.log[:max(0, len(h.log)-hidden)], h.grown
}

// page is what reads see of a stream. found is false if there is none.
func (h *history) page(stream string, hidden int) (records []*record, found, tombstone bool, grown <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.streams[stream]
	if e == nil || len(e.records) == 0 || e.deleted {
		return nil, false, false, h.grown
	}
	if e.tombstone {
		return nil, true, true, h.grown
	}
	end := uint64(math.MaxUint64)
	if hidden > 0 && hidden <= len(h.log) {
		end = h.log[len(h.log)-hidden].position
	}
	from := e.from
	if e.most > 0 && uint64(len(e.records)) > e.most {
		from = max(from, uint64(len(e.records))-e.most)
	}
	records = e.records[min(from, uint64(len(e.records))):]
	for len(records) > 0 && records[len(records)-1].position >= end {
		records = records[:len(records)-1]
	}
	return records, len(records) > 0 || hidden == 0, false, h.grown
}
