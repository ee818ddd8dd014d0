package bus

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
)

// Relay repeats every committed event of a store on the stream EVENTS, exactly once, in the order of the store, under one subject for each place and unit it is for. Any
// number of relays may run at once: a batch is taken only right after the message its relay knew as the last, so whoever is behind writes nothing. How far they have come is
// what the last message says; nothing else is kept.
type Relay struct {
	Conn  *nats.Conn
	Store eventstore.Store
	// Source is the ce-source of events, such as "/chuishao/wuxi"; "/chuishao" if empty.
	Source string
	// From says where to begin on a bus that has nothing: the position after which events are repeated. nil: the first event.
	From func(context.Context) (eventstore.Position, error)
	// MaxAge is that of the stream, so that something younger is always there to tell how far it has come. 0: for ever.
	MaxAge time.Duration
	// Gather is how long after an event others are waited for, to go in the same batch: a batch is one durable write. 0: 10 ms.
	Gather time.Duration
	// Most is how many messages a batch may have, unless a single event has more. 0: 500.
	Most int
	// Settle is how long an event that the bus has and the store has not is looked for before the store is taken for another one. 0: 15 s.
	Settle time.Duration
	// Standby is how often a relay that somebody was quicker than looks whether it is needed. 0: 1 s.
	Standby time.Duration
	// OnTrouble hears of an error before the relay tries again. May be nil.
	OnTrouble func(error)
	// OnProgress hears how far the bus had come when this relay began, with no time, and then how far it has come by this relay's own writing, and when the last event of the
	// batch was recorded. May be nil.
	OnProgress func(at eventstore.Position, recorded time.Time)
}

// Run relays until the context ends, whose error it gives, or the stream is no longer there: then it must be prepared anew. An event that cannot be understood stands in the way of all after it: late rather than wrong.
func (r *Relay) Run(ctx context.Context) error {
	return (&journal{r.Conn, Events}).keep(ctx, r.Standby, r.OnTrouble, r.run)
}

func (r *Relay) run(ctx context.Context, j *journal) error {
	m, err := j.last(ctx)
	if err != nil {
		return err
	}
	at, epoch, err := j.begin(ctx, r.Store, m, cmp.Or(r.Settle, settleWithin), r.From)
	if err != nil {
		return err
	}
	if r.OnProgress != nil {
		r.OnProgress(at, time.Time{})
	}
	news := follow(ctx, r.Store, at)
	defer news.stop()
	w := &writing{Relay: r, journal: j, seq: m.seq, epoch: epoch, places: newPlaces(r.Store), event: m.event, position: at, named: m.found && epoch == m.epoch}
	for {
		if err := w.batch(ctx, news); err != nil {
			return err
		}
	}
}

// writing is one relay's way from a look at the bus to the first thing that goes wrong.
type writing struct {
	*Relay
	journal *journal
	places  *places
	seq     uint64 // of the last message
	epoch   uint64
	// The last event that is on the bus; named says whether there is one.
	event    ref
	position eventstore.Position
	named    bool

	pending *repeated // taken, but for the next batch
	failed  error     // what stands in the way of the next
}

// repeated is an event with the messages that repeat it. All of them go in one batch.
type repeated struct {
	messages []*nats.Msg
	event    ref
	position eventstore.Position
	recorded time.Time
}

// batch waits for an event, takes what else has arrived, and writes it.
func (w *writing) batch(ctx context.Context, news *news) error {
	if w.failed != nil {
		return w.failed
	}
	if w.pending == nil {
		var quiet <-chan time.Time
		if w.MaxAge > 0 && w.named {
			t := time.NewTimer(w.MaxAge / 3)
			defer t.Stop()
			quiet = t.C
		}
		select {
		case r, ok := <-news.events:
			if !ok {
				return news.err
			}
			if err := w.take(ctx, &r); err != nil {
				return err
			}
		case <-quiet:
			w.pending = &repeated{[]*nats.Msg{w.still()}, w.event, w.position, time.Time{}}
		}
	}
	var messages []*nats.Msg
	var last *repeated
	gathered := time.NewTimer(cmp.Or(w.Gather, 10*time.Millisecond))
	defer gathered.Stop()
	for bytes := 0; w.pending != nil && bytes < mostBytes && (last == nil || len(messages)+len(w.pending.messages) <= cmp.Or(w.Most, most)); {
		last, w.pending = w.pending, nil
		for _, m := range last.messages {
			messages, bytes = append(messages, m), bytes+len(m.Data)
		}
		select {
		case r, ok := <-news.events:
			if ok {
				w.failed = w.take(ctx, &r) // what came before goes first
			}
		case <-gathered.C:
		}
	}
	seq, err := w.journal.append(ctx, w.seq, messages)
	if err != nil {
		return err
	}
	w.seq, w.event, w.position, w.named = seq, last.event, last.position, true
	if w.OnProgress != nil && !last.recorded.IsZero() {
		w.OnProgress(last.position, last.recorded)
	}
	return nil
}

// take makes the messages of the next event.
func (w *writing) take(ctx context.Context, r *eventstore.Recorded) error {
	d, err := event.Decode(*r)
	if err != nil {
		return err
	}
	subjects, confidential, err := w.places.subjects(ctx, &d)
	if err != nil {
		return fmt.Errorf("find the place of %s@%d: %w", r.Stream, r.Version, err)
	}
	h := headersOf(&d, cmp.Or(w.Source, usualSource), confidential)
	w.pending = &repeated{event: refOf(r), position: r.Position, recorded: d.Meta.GetRecordedAt().AsTime()}
	stamp(h, r.Position, w.pending.event, w.epoch)
	for _, s := range subjects {
		w.pending.messages = append(w.pending.messages, &nats.Msg{Subject: s, Header: maps.Clone(h), Data: r.Data})
	}
	return nil
}

// still is a message that says nothing but how far the bus has come, under a subject that nobody's subtree has.
func (w *writing) still() *nats.Msg {
	h := nats.Header{}
	stamp(h, w.position, w.event, w.epoch)
	return &nats.Msg{Subject: subject(nowhere, "", "relay", "Still"), Header: h}
}

// news is what a store has to tell after a position.
type news struct {
	events chan eventstore.Recorded
	err    error // once events is closed
	cancel context.CancelFunc
}

// follow reads ahead of whoever takes the events.
func follow(ctx context.Context, store eventstore.Store, after eventstore.Position) *news {
	n := &news{events: make(chan eventstore.Recorded, most)}
	ctx, n.cancel = context.WithCancel(ctx)
	go func() {
		defer close(n.events)
		for r, err := range store.Subscribe(ctx, after) {
			if err != nil {
				n.err = err
				return
			}
			select {
			case n.events <- r:
			case <-ctx.Done():
				n.err = ctx.Err()
				return
			}
		}
		n.err = fmt.Errorf("the store's subscription ended: %w", eventstore.ErrUnavailable)
	}()
	return n
}

// stop returns once nothing is read any more.
func (n *news) stop() {
	n.cancel()
	for range n.events {
	}
}
