package bus

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
)

// AsOfHeader is the position in the store that a message's figures are as of. It is never before Store-Position, and of one area it only grows within an epoch.
const AsOfHeader = "Rates-Position"

// Node is an area whose figures are told.
type Node struct{ Level, Code string }

// Figures are the closure figures of areas, with their numerators and denominators.
type Figures struct {
	// Of has those of each node that is known. A node that is not (any more) has none.
	Of map[Node][]*pb.MetricFigure
	// Position is what of the history they count, From and At the period [From, At] they are of. A zero From is the beginning.
	Position eventstore.Position
	From, At time.Time
}

// Rates tells the closure figures of areas on the stream RATES, whenever those of an area have changed, the last of each. Like relays of events any number may run at once; of one
// area figures never go back.
type Rates struct {
	Conn  *nats.Conn
	Store eventstore.Store
	// Read gives the figures of nodes as of a position or a later one, for which it waits.
	Read func(ctx context.Context, nodes []Node, atLeast eventstore.Position) (Figures, error)
	// Source is the ce-source; "/chuishao" if empty.
	Source string
	// Every is how long changes are gathered, so that an area is told at most once in that time. 0: 1 s.
	Every time.Duration
	// Settle and Standby are as those of Relay.
	Settle, Standby time.Duration
	// OnTrouble hears of an error before it is tried again. May be nil.
	OnTrouble func(error)
	// OnProgress hears up to which position all areas have been told. May be nil.
	OnProgress func(at eventstore.Position)
}

// Run tells figures until the context ends, whose error it gives, or the stream is no longer there.
func (r *Rates) Run(ctx context.Context) error {
	return (&journal{r.Conn, Rate}).keep(ctx, r.Standby, r.OnTrouble, r.run)
}

func (r *Rates) run(ctx context.Context, j *journal) error {
	m, err := j.last(ctx)
	if err != nil {
		return err
	}
	t := &telling{Rates: r, journal: j, places: newPlaces(r.Store), seq: m.seq, epoch: m.seq + 1, told: map[area][sha256.Size]byte{}}
	at, found, resumed, err := m.same(ctx, r.Store, cmp.Or(r.Settle, settleWithin))
	switch {
	case err != nil:
		return err
	case resumed:
		t.epoch = m.epoch
		floor, err := strconv.ParseUint(m.header.Get(AsOfHeader), 10, 64)
		if err != nil {
			return fmt.Errorf("message %d of the stream %s: %s: %w", m.seq, Rate, AsOfHeader, err)
		}
		t.floor = eventstore.Position(floor)
		t.position, t.event = m.position, m.event
	case found:
		t.position, t.event = at, m.event
	}
	// Otherwise the store is another one: every area is looked at again.
	news := follow(ctx, r.Store, t.position)
	defer news.stop()
	for {
		if err := t.round(ctx, news); err != nil {
			return err
		}
	}
}

// telling is the way of one Rates from a look at the bus to the first thing that goes wrong.
type telling struct {
	*Rates
	journal *journal
	places  *places
	seq     uint64
	epoch   uint64
	// All areas have been told up to here.
	position eventstore.Position
	event    ref
	floor    eventstore.Position // what the last message's figures were as of
	told     map[area][sha256.Size]byte
}

// round waits for an event, gathers what follows within a while, and tells the figures of the areas that it touches.
func (t *telling) round(ctx context.Context, news *news) error {
	var end <-chan time.Time
	touched := map[area]Node{}
	position, last := t.position, t.event
gather:
	for {
		select {
		case r, ok := <-news.events:
			if !ok {
				return news.err
			}
			if err := t.touch(ctx, &r, touched); err != nil {
				return err
			}
			position, last = r.Position, refOf(&r)
			if end == nil {
				timer := time.NewTimer(cmp.Or(t.Every, time.Second))
				defer timer.Stop()
				end = timer.C
			}
		case <-end:
			break gather
		}
	}
	messages, floor, err := t.messages(ctx, touched, max(position, t.floor))
	if err != nil {
		return err
	}
	for n := len(messages); n > 0; n = len(messages) {
		batch := messages[:min(n, most)]
		messages = messages[len(batch):]
		if len(messages) == 0 {
			// Only with these is everything told.
			t.position, t.event = position, last
		}
		for _, m := range batch {
			stamp(m.Header, t.position, t.event, t.epoch)
		}
		if t.seq, err = t.journal.append(ctx, t.seq, batch); err != nil {
			return err
		}
	}
	t.position, t.event, t.floor = position, last, floor
	if t.OnProgress != nil {
		t.OnProgress(position)
	}
	return nil
}

// touch notes the areas whose figures an event may change: those its ticket counts in, before it or since.
func (t *telling) touch(ctx context.Context, r *eventstore.Recorded, touched map[area]Node) error {
	if !strings.HasPrefix(r.Stream, "ticket-") {
		return nil
	}
	d, err := event.Decode(*r)
	if err != nil {
		return err
	}
	before, after, err := t.places.move(ctx, &d)
	if err != nil {
		return fmt.Errorf("find the place of %s@%d: %w", r.Stream, r.Version, err)
	}
	for _, p := range []*place{&before, &after} {
		above := nowhere
		for i, n := range p.path {
			a := spell(p.path[:i+1])
			if a != above {
				touched[a] = Node{n.Level, n.Code}
			}
			above = a
		}
	}
	return nil
}

// messages are those of the areas whose figures are not as they were told, and what the latest are as of.
func (t *telling) messages(ctx context.Context, touched map[area]Node, atLeast eventstore.Position) (list []*nats.Msg, floor eventstore.Position, err error) {
	if len(touched) == 0 {
		return nil, atLeast, nil
	}
	areas := slices.SortedFunc(maps.Keys(touched), func(a, b area) int { return slices.Compare(a[:], b[:]) })
	f, err := t.Read(ctx, slices.Collect(maps.Values(touched)), atLeast)
	if err != nil {
		return nil, 0, fmt.Errorf("read the figures of %d areas: %w", len(areas), err)
	}
	from := ""
	if !f.From.IsZero() {
		from = f.From.UTC().Format(time.RFC3339)
	}
	floor = atLeast
	for _, a := range areas {
		node := touched[a]
		figures := f.Of[node]
		data, err := proto.MarshalOptions{Deterministic: true}.Marshal(&pb.ListMetricsResponse{Figures: figures})
		if err != nil {
			return nil, 0, err
		}
		sum := sha256.Sum256(append([]byte(from+" "), data...))
		if len(figures) == 0 || t.told[a] == sum {
			continue
		}
		at := ratesRoot + "." + a.String()
		if _, known := t.told[a]; !known {
			m, found, err := t.journal.get(ctx, map[string]any{"last_by_subj": at})
			if err != nil {
				return nil, 0, err
			}
			if found && m.epoch == t.epoch && m.header.Get("ce-periodfrom") == encoded(from) && bytes.Equal(m.data, data) {
				t.told[a] = sum
				continue
			}
		}
		h := nats.Header{}
		for name, value := range map[string]string{
			"specversion": "1.0", "id": fmt.Sprintf("%d/%d/%s", t.epoch, f.Position, a), "source": cmp.Or(t.Source, usualSource), "type": contract + "ListMetricsResponse", "subject": node.Level + "/" + node.Code,
			"time": f.At.UTC().Format(time.RFC3339Nano), "periodfrom": from, "datacontenttype": "application/protobuf", "sequence": fmt.Sprintf("%020d", f.Position),
		} {
			if value != "" {
				h.Set("ce-"+name, encoded(value))
			}
		}
		h.Set(AsOfHeader, strconv.FormatUint(uint64(f.Position), 10))
		list, floor = append(list, &nats.Msg{Subject: at, Header: h, Data: data}), f.Position
		t.told[a] = sum
	}
	return list, floor, nil
}
