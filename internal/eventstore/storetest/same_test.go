package storetest_test

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/eventstore/stores"
	"github.com/chuishao/dispatch/internal/servers/serverstest"
)

func TestMain(m *testing.M) {
	// A check writes a history to each store, most of which flush each append to disk. -rapid.checks asks for another number.
	if err := flag.Set("rapid.checks", "25"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	serverstest.Main(m)
}

// TestWhateverIsDoneAllStoresAnswerTheSame plays the same operations on each store. Positions are compared by the places of their events in the order
// of all, since each store counts in its own way.
func TestWhateverIsDoneAllStoresAnswerTheSame(t *testing.T) {
	t.Parallel()
	kinds := stores.Each(t)
	rapid.Check(t, func(rt *rapid.T) {
		do := operations().Draw(rt, "operations")
		said := make([][]string, len(kinds))
		var wg sync.WaitGroup
		for i, kind := range kinds {
			h := kind.New(t)
			wg.Go(func() { said[i] = play(t.Context(), h.Open, do) })
			defer h.Remove()
		}
		wg.Wait()
		for i := range kinds[1:] {
			if difference := differ(said[0], said[i+1]); difference != "" {
				rt.Errorf("%s and %s: %s", kinds[0].Name, kinds[i+1].Name, difference)
			}
		}
	})
}

// TestOperationsTellBrokenStoresFromTheGoodOne is what makes the test above one that can fail.
func TestOperationsTellBrokenStoresFromTheGoodOne(t *testing.T) {
	t.Parallel()
	known := make([]func() []string, 30)
	for seed := range known {
		known[seed] = sync.OnceValue(func() []string { return alone(t, nil, seed) })
	}
	for check, broken := range map[string][]string{
		"an unknown stream is empty":                                {"yields an error"},
		"versions count from one without gaps":                      {"by position"},
		"bytes come back as they were given":                        {"up to the first NUL", "cut short"},
		"the position returned is that of the last event":           {"of the first"},
		"an append at the wrong version changes nothing":            {"ahead goes to the end", "says another version"},
		"after is exclusive":                                        {"not for ReadStream", "not for ReadAll", "not for Subscribe"},
		"the global order only grows and keeps each stream's order": {"positions stand still"},
		"what was answered can be read at once":                     {"ReadAll is one behind"},
		"a subscriber misses nothing while others write":            {"twice"},
		"a subscription ends when its context does":                 {"ends without a word"},
		"a sequence ends with its context's error":                  {"ReadStream does not look at it", "goes on after the error"},
		"a cancelled append is all or nothing":                      {"nothing and no error"},
		"limits are kept":                                           {"none", "less than promised"},
		"the same events sent again succeed with the same position": {"a conflict", "the present end"},
		"other events at a version already taken are a conflict":    {"the first decides", "the last decides", "in any order", "a beginning will do"},
		"what is recorded survives reopening":                       {"but for the last"},
	} {
		for _, how := range broken {
			breaks := mutants[check][how]
			if breaks == nil {
				t.Errorf("no mutant breaks %q like this: %s", check, how)
				continue
			}
			t.Run(check+"/"+how, func(t *testing.T) {
				t.Parallel()
				for seed := range known {
					if difference := differ(known[seed](), alone(t, breaks, seed)); difference != "" {
						t.Logf("seed %d: %s", seed, difference)
						return
					}
				}
				t.Errorf("no operation of %d runs showed it", len(known))
			})
		}
	}
}

// alone plays an example of operations on the embedded store, broken if breaks is not nil.
func alone(t *testing.T, breaks func(store) *mutant, seed int) []string {
	h := stores.Embedded.New(t)
	defer h.Remove()
	return play(t.Context(), func(ctx context.Context) (stores.Store, error) {
		s, err := h.Open(ctx)
		if err != nil || breaks == nil {
			return s, err
		}
		m := breaks(s)
		m.store = s
		return &opened{m, s}, nil
	}, operations().Example(seed))
}

// opened is a mutant that can be closed.
type opened struct {
	*mutant
	good stores.Store
}

func (o *opened) Head(ctx ctxt) (position, error) { return o.good.Head(ctx) }
func (o *opened) Close() error                    { return o.good.Close() }

// differ says where two accounts part; "" if they do not.
func differ(one, other []string) string {
	for i := range max(len(one), len(other)) {
		a, b := "nothing", "nothing"
		if i < len(one) {
			a = one[i]
		}
		if i < len(other) {
			b = other[i]
		}
		if a != b {
			return fmt.Sprintf("line %d:\n\t%s\n\t%s", i, a, b)
		}
	}
	return ""
}

// operation is something to do to a store. The numbers are relative to what there is then.
type operation struct {
	Do      string
	Stream  int
	N, M, K int
}

var names = []string{"ticket-1", "ticket-2:a_B-c", "audit-1"}

// What there is to do, by how often.
var doings = []string{
	"head", "append", "append", "append", "append", "append", "append at", "append at", "append large", "again", "again", "again", "again", "interrupted", "dead append",
	"limit", "read", "read", "read", "read and cancel", "read all", "read all", "read all", "read all and cancel", "dead reads", "subscribe", "subscribe", "caught up",
	"reopen",
}

func operations() *rapid.Generator[[]operation] {
	one := rapid.Custom(func(t *rapid.T) operation {
		return operation{
			Do: rapid.SampledFrom(doings).Draw(t, "do"), Stream: rapid.IntRange(0, len(names)-1).Draw(t, "stream"),
			N: rapid.IntRange(0, 60).Draw(t, "n"), M: rapid.IntRange(0, 60).Draw(t, "m"), K: rapid.IntRange(0, 60).Draw(t, "k"),
		}
	})
	return rapid.SliceOfN(one, 12, 40)
}

// patience bounds a wait for what a store owes.
const patience = 30 * time.Second

// player does operations to a store and takes down what it answers.
type player struct {
	ctx   context.Context
	open  func(context.Context) (stores.Store, error)
	store stores.Store
	made  int                // events
	has   map[string][]event // streams, by what was answered
	log   []eventstore.Recorded
	place map[position]int // in log, from 1
	subs  []*subscriber
	said  []string
}

// play plays operations on an empty history and returns what was answered, a line each.
func play(ctx context.Context, open func(context.Context) (stores.Store, error), do []operation) []string {
	p := &player{ctx: ctx, open: open, has: map[string][]event{}, place: map[position]int{0: 0}}
	var err error
	if p.store, err = open(ctx); err != nil {
		return []string{fmt.Sprintf("open: %v", err)}
	}
	for _, o := range do {
		p.do(o)
	}
	p.caughtUp(true)
	p.readAll(p.ctx, 0, -1, nil)
	p.say("closed: %v", p.store.Close())
	return p.said
}

func (p *player) say(format string, args ...any) {
	p.said = append(p.said, fmt.Sprintf(format, args...))
}

// answered takes down the outcome of an append.
func (p *player) answered(what string, at position, err error) {
	if err == nil {
		p.learn()
	}
	p.say("%s: %s %s", what, p.at(at), kind(err))
}

// learn reads what is new in the order of all events.
func (p *player) learn() {
	last := position(0)
	if len(p.log) > 0 {
		last = p.log[len(p.log)-1].Position
	}
	for e, err := range p.store.ReadAll(p.ctx, last) {
		if err != nil {
			p.say("learn: %s", kind(err))
			return
		}
		if e.Position <= last {
			p.say("learn: a position that does not grow")
			return
		}
		last = e.Position
		p.log = append(p.log, e)
		p.place[e.Position] = len(p.log)
	}
}

// at is a position as the place of its event.
func (p *player) at(at position) string {
	if n, ok := p.place[at]; ok {
		return fmt.Sprint("#", n)
	}
	return "#?"
}

// behind is the place of the last event up to a position, which need not be that of an event.
func (p *player) behind(at position) int {
	n, _ := slices.BinarySearchFunc(p.log, at+1, func(e eventstore.Recorded, at position) int { return cmp.Compare(e.Position, at) })
	return n
}

// after is the position of a place in the order of all.
func (p *player) after(n int) position {
	n %= len(p.log) + 1
	if n == 0 {
		return 0
	}
	return p.log[n-1].Position
}

// events makes some that nobody has recorded, the same on every store.
func (p *player) events(n int) []event {
	made := make([]event, n)
	for i := range made {
		p.made++
		sum := sha256.Sum256(fmt.Append(nil, p.made))
		made[i] = event{ID: [16]byte(sum[:]), Type: []string{"TicketSigned", "A", "Closed2"}[p.made%3], Meta: sum[16 : 16+p.made%17], Data: sum[:p.made%31]}
		made[i].ID[6], made[i].ID[8] = made[i].ID[6]&0x0f|0x40, made[i].ID[8]&0x3f|0x80
	}
	return made
}

func (p *player) do(o operation) {
	stream := names[o.Stream]
	has := p.has[stream]
	end := version(len(has))
	what := fmt.Sprintf("%s %s %d %d %d", o.Do, stream, o.N, o.M, o.K)
	record := func(what string, ctx context.Context, after version, events []event) error {
		at, err := p.store.Append(ctx, stream, after, events)
		if err == nil && after == version(len(p.has[stream])) {
			p.has[stream] = append(p.has[stream], events...)
		}
		p.answered(what, at, err)
		return err
	}
	switch o.Do {
	case "append":
		record(what, p.ctx, end, p.events(1+o.N%4))
	case "append at":
		record(what, p.ctx, version(o.N)%(end+3), p.events(1+o.M%3))
	case "append large":
		events := p.events(1)
		switch o.N % 3 {
		case 0:
			events = p.events([]int{eventstore.MaxEvents, 40, 40, 40}[o.M%4])
		case 1:
			events[0].Data = make([]byte, eventstore.MaxBytes-len(events[0].Meta)-2*len(events[0].Type))
		case 2:
			events[0].Data, events[0].Meta = []byte("\x00\xff"), make([]byte, 100<<10)
		}
		record(what, p.ctx, end, events)
	case "again":
		p.again(what, o, record)
	case "interrupted":
		// Whether it was recorded nobody knows; sent again it is, once.
		events := p.events(1 + o.M%4)
		ctx, cancel := context.WithTimeout(p.ctx, time.Duration(o.N)*100*time.Microsecond)
		_, err := p.store.Append(ctx, stream, end, events)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, eventstore.ErrUnavailable) {
			p.say("%s: %s", what, kind(err))
		}
		record(what+" again", p.ctx, end, events)
	case "dead append":
		ctx, cancel := context.WithCancel(p.ctx)
		cancel()
		events := p.events(1 + o.M%4)
		record(what, ctx, end, events)
		if o.N%2 == 0 {
			record(what+" again", p.ctx, end, events)
		}
	case "limit":
		p.limit(what, o, stream, end)
	case "read":
		p.readStream(p.ctx, stream, version(o.N)%(end+3), take(o), nil)
	case "read and cancel":
		after := o.N % (len(has) + 1)
		p.cancelled(o, len(has)-after, func(ctx context.Context, most int, cancel func()) {
			p.readStream(ctx, stream, version(after), most, cancel)
		})
	case "read all":
		p.readAll(p.ctx, p.between(o), take(o), nil)
	case "read all and cancel":
		after := p.after(o.N)
		p.cancelled(o, len(p.log)-p.behind(after), func(ctx context.Context, most int, cancel func()) {
			p.readAll(ctx, after, most, cancel)
		})
	case "dead reads":
		ctx, cancel := context.WithCancel(p.ctx)
		cancel()
		p.readStream(ctx, stream, version(o.N)%(end+3), -1, nil)
		p.readAll(ctx, p.after(o.N), -1, nil)
	case "subscribe":
		p.subscribe(p.between(o))
	case "caught up":
		p.caughtUp(true)
	case "head":
		head, err := p.store.Head(p.ctx)
		p.say("%s: %s %s", what, p.at(head), kind(err))
	case "reopen":
		p.reopen(stream, end)
	}
}

// between is the position of an event, or one before it that no other event has.
func (p *player) between(o operation) position {
	at := p.after(o.N)
	if o.M%4 == 0 && at > p.after(max(o.N%(len(p.log)+1)-1, 0)) {
		at--
	}
	return at
}

// take is how many events to read before the sequence is left; -1 is all.
func take(o operation) int {
	if o.K%3 == 0 {
		return o.K % 7
	}
	return -1
}

// again sends events that were recorded once more, or others that resemble them.
func (p *player) again(what string, o operation, record func(string, context.Context, version, []event) error) {
	has := p.has[names[o.Stream]]
	if len(has) == 0 {
		return
	}
	from := o.N % len(has)
	events := slices.Clone(has[from:min(len(has), from+1+o.M%5)])
	last := len(events) - 1
	switch o.K % 8 {
	case 1:
		events = append(events, p.events(1)...)
	case 2:
		events[last] = p.events(1)[0]
	case 3:
		events[0] = p.events(1)[0]
	case 4:
		slices.Reverse(events)
	case 5: // what counts is the id
		events[last].Data = []byte("other")
	case 6:
		from++
	}
	record(what, p.ctx, version(from), events)
}

func (p *player) limit(what string, o operation, stream string, end version) {
	events := p.events(1 + o.M%3)
	last := &events[len(events)-1]
	switch o.N % 10 {
	case 0:
		events = nil
	case 1:
		events = p.events(eventstore.MaxEvents + 1)
	case 2:
		last.Data = make([]byte, eventstore.MaxBytes)
	case 3:
		last.Type = "lower"
	case 4:
		last.Type = "A" + strings.Repeat("b", 100)
	case 5:
		last.ID = [16]byte{}
	case 6:
		stream = "order-1"
	case 7:
		stream = "ticket-a.b"
	case 8:
		stream = "ticket-" + strings.Repeat("a", 94)
	case 9:
		stream = ""
	}
	at, err := p.store.Append(p.ctx, stream, end, events)
	p.answered(what, at, err)
	if o.N%10 >= 6 {
		p.readStream(p.ctx, stream, 0, -1, nil)
	}
}

// readStream reads events of a stream, at most so many, and says what came. cancel, if set, is called instead of leaving.
func (p *player) readStream(ctx context.Context, stream string, after version, most int, cancel func()) {
	p.take(fmt.Sprintf("read %q after %d", stream, after), p.store.ReadStream(ctx, stream, after), most, cancel)
}

func (p *player) readAll(ctx context.Context, after position, most int, cancel func()) {
	p.take(fmt.Sprint("read all after #", p.behind(after)), p.store.ReadAll(ctx, after), most, cancel)
}

func (p *player) take(what string, from sequence, most int, cancel func()) {
	got := []string{what}
	for e, err := range from {
		if err != nil {
			got = append(got, kind(err))
			continue // a sequence that goes on after an error is found out
		}
		got = append(got, p.event(&e))
		if len(got) == most+1 {
			if cancel == nil {
				break
			}
			cancel()
		}
	}
	p.say("%s", strings.Join(got, " "))
}

// cancelled has a sequence of so many events read and its context cancelled before the last: behind that the sequence may end either way.
func (p *player) cancelled(o operation, events int, read func(ctx context.Context, most int, cancel func())) {
	if events < 2 {
		return
	}
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	read(ctx, 1+o.K%min(events-1, 5), cancel)
}

// event is an event as a word.
func (p *player) event(e *eventstore.Recorded) string {
	sum := sha256.New()
	for _, part := range [][]byte{e.ID[:], []byte(e.Type), e.Meta, e.Data} {
		sum.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
		sum.Write(part)
	}
	return fmt.Sprintf("%s@%d=%s:%x", e.Stream, e.Version, p.at(e.Position), sum.Sum(nil)[:4])
}

// kind is what an error tells its reader.
func kind(err error) string {
	conflict, limit := new(eventstore.ConflictError), new(eventstore.LimitError)
	switch {
	case err == nil:
		return "done"
	case errors.As(err, &conflict):
		return fmt.Sprintf("[%s is at %d, not %d]", conflict.Stream, conflict.Actual, conflict.After)
	case errors.As(err, &limit):
		return "[limit of " + limit.Field + "]"
	case errors.Is(err, context.Canceled):
		return "[cancelled]"
	case errors.Is(err, eventstore.ErrUnavailable):
		return "[unavailable]"
	}
	return "[" + err.Error() + "]"
}

// reopen closes the store, with what reads it, calls it when it is closed, and opens it again.
func (p *player) reopen(stream string, end version) {
	p.caughtUp(false)
	p.say("close: %v", p.store.Close())
	p.ended("closed")
	_, err := p.store.Append(p.ctx, stream, end, p.events(1))
	p.say("append when closed: %s", kind(err))
	p.readStream(p.ctx, stream, 0, -1, nil)
	p.readAll(p.ctx, 0, -1, nil)
	if p.store, err = p.open(p.ctx); err != nil {
		p.say("open again: %v", err)
		return
	}
	p.learn()
}

// subscriber takes what a subscription yields until it ends.
type subscriber struct {
	after  int // the place it began behind
	cancel context.CancelFunc
	ended  chan struct{}

	mu   sync.Mutex
	got  []eventstore.Recorded
	last []error
	news chan struct{}
}

func (p *player) subscribe(after position) {
	ctx, cancel := context.WithCancel(p.ctx)
	s := &subscriber{after: p.behind(after), cancel: cancel, ended: make(chan struct{}), news: make(chan struct{}, 1)}
	p.subs = append(p.subs, s)
	from := p.store.Subscribe(ctx, after)
	go func() {
		defer close(s.ended)
		for e, err := range from {
			s.mu.Lock()
			if err != nil {
				s.last = append(s.last, err)
			} else {
				s.got = append(s.got, e)
			}
			s.mu.Unlock()
			select {
			case s.news <- struct{}{}:
			default:
			}
		}
	}()
}

// caughtUp waits until every subscription has yielded all there is, and ends them if it should.
func (p *player) caughtUp(end bool) {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for _, s := range p.subs {
		for late := false; !late; {
			s.mu.Lock()
			all := len(s.got) >= len(p.log)-s.after
			s.mu.Unlock()
			if all {
				break
			}
			select {
			case <-s.news:
			case <-s.ended:
				late = true
			case <-limit.C:
				late = true
			}
		}
		if end {
			s.cancel()
		}
	}
	if end {
		p.ended("cancelled")
	}
}

// ended says what subscriptions yielded that were ended.
func (p *player) ended(how string) {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for _, s := range p.subs {
		select {
		case <-s.ended:
		case <-limit.C:
			p.say("subscription behind #%d: %s and does not end", s.after, how)
			s.cancel()
			continue
		}
		s.cancel()
		got := []string{fmt.Sprintf("subscription behind #%d %s", s.after, how)}
		for i := range s.got {
			got = append(got, p.event(&s.got[i]))
		}
		for _, err := range s.last {
			got = append(got, kind(err))
		}
		p.say("%s", strings.Join(got, " "))
	}
	p.subs = nil
}
