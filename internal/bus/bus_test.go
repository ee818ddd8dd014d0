package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/lives"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/ticket"
)

// within is how long anything that is waited for may take on a slow machine.
const within = 2 * time.Minute

// open starts a bus in a temporary folder and connects to it.
func open(t testing.TB, o Options) (*Server, *nats.Conn) {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	s, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	nc := connect(t, s)
	if err := Prepare(t.Context(), nc, Shape{}); err != nil {
		t.Fatal(err)
	}
	return s, nc
}

func connect(t testing.TB, s *Server) *nats.Conn {
	t.Helper()
	nc, err := s.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// until waits for something to be so.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !is(); {
		if time.Now().After(end) {
			t.Fatalf("after %s: not yet %s", within, what)
		}
		pause(context.Background(), 10*time.Millisecond)
	}
}

// run runs something until the test ends, or what it gives is called.
func run(t testing.TB, do func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- do(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("it ended with %v, want %v", err, context.Canceled)
		}
	})
	t.Cleanup(stop)
	return stop
}

// relay is one that tries again soon, and whose troubles fail the test.
func relay(t testing.TB, nc *nats.Conn, store eventstore.Store) *Relay {
	return &Relay{Conn: nc, Store: store, Standby: 20 * time.Millisecond, Settle: time.Millisecond, OnTrouble: func(err error) { t.Errorf("a relay had trouble: %v", err) }}
}

// relayed waits until the bus has all of a store.
func relayed(t testing.TB, nc *nats.Conn, store interface {
	Head(context.Context) (eventstore.Position, error)
}) {
	t.Helper()
	j := &journal{nc, Events}
	until(t, "on the bus", func() bool {
		head, err := store.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		m, err := j.last(t.Context())
		return err == nil && m.found && m.position == head
	})
}

// all are the messages of a stream that a filter has, in their order.
func all(t testing.TB, nc *nats.Conn, stream, filter string) (list []jetstream.Msg) {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	c, err := js.OrderedConsumer(t.Context(), stream, jetstream.OrderedConsumerConfig{FilterSubjects: []string{filter}})
	if err != nil {
		t.Fatal(err)
	}
	// The stream's leader knows how many there are; the consumer may lie on a server that is still behind.
	source, err := js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	info, err := source.Info(t.Context(), jetstream.WithSubjectFilter(filter))
	if err != nil {
		t.Fatal(err)
	}
	var left uint64
	for _, n := range info.State.Subjects {
		left += n
	}
	if left == 0 {
		return nil
	}
	messages, err := c.Messages()
	if err != nil {
		t.Fatal(err)
	}
	defer messages.Stop()
	for uint64(len(list)) < left {
		m, err := messages.Next(jetstream.NextMaxWait(within))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, m)
	}
	return list
}

func history(t testing.TB, store eventstore.Store) (list []event.Decoded) {
	t.Helper()
	for r, err := range store.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		d, err := event.Decode(r)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, d)
	}
	return list
}

// live plays lives of tickets, a step each in turn, for as many steps. Each step that was carried out is told.
func live(t testing.TB, city *dispatchtest.City, seed uint64, tickets, steps int, each func(dispatch.Result)) {
	t.Helper()
	world, err := lives.New(city.Registry(), city.Clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	led, states := make([]*lives.Life, tickets), make([]ticket.State, tickets)
	for i := range led {
		led[i] = world.Live(fmt.Sprintf("life-%d-%d", seed, i), seed<<16+uint64(i))
	}
	for range steps {
		city.Clock.Add(20 * time.Minute)
		for i, l := range led {
			step, ok := l.Next(&states[i], city.Clock.Now())
			if !ok {
				continue
			}
			if c, ok := step.Command.(*pb.RevealIdentityRequest); ok {
				if _, _, err := city.Reveal(t.Context(), step.By, c); err != nil && !errors.As(err, new(*rule.Refusal)) {
					t.Fatal(err)
				}
				continue
			}
			state, result, err := city.Ticket(t.Context(), dispatch.Request{Actor: step.By, Command: step.Command})
			refusal := new(rule.Refusal)
			if errors.As(err, &refusal) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			states[i], l.Name = *state, "tickets/"+dispatch.ID(result.Stream)
			if each != nil {
				each(result)
			}
		}
	}
}

// check compares what is on the bus with a store: every event under each of its subjects exactly once, in the order of the store, as it was recorded.
func check(t testing.TB, messages []jetstream.Msg, store eventstore.Store) {
	t.Helper()
	p := newPlaces(store)
	n := 0
	for _, d := range history(t, store) {
		subjects, _, err := p.subjects(t.Context(), &d)
		if err != nil {
			t.Fatal(err)
		}
		if n+len(subjects) > len(messages) {
			t.Fatalf("the bus has %d messages; %s@%d is missing", len(messages), d.Stream, d.Version)
		}
		for _, want := range subjects {
			m := messages[n]
			n++
			if got := m.Headers().Get("ce-id"); got != uuid(d.ID) || m.Subject() != want || string(m.Data()) != string(d.Data) {
				t.Fatalf("message %d is %s under %s, want %s@%d (%s) as it was recorded, under %s", n, got, m.Subject(), d.Stream, d.Version, uuid(d.ID), want)
			}
			if got := m.Headers().Get(PositionHeader); got != fmt.Sprint(uint64(d.Position)) {
				t.Fatalf("message %d says position %s, want %d", n, got, d.Position)
			}
		}
	}
	if n != len(messages) {
		t.Fatalf("the bus has %d messages, %d more than there are events for", len(messages), len(messages)-n)
	}
}

func TestEachEventIsOnTheBusOnceThoughRelaysCompeteAndAreEndedAtAnyTime(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	s, nc := open(t, Options{})

	// Three relays, each on a connection of its own that is torn off in the middle of whatever it does, again and again.
	over := make(chan struct{})
	var rivals sync.WaitGroup
	var mu sync.Mutex
	ahead := ""
	ended := 0
	for n := range 3 {
		rivals.Go(func() {
			for round := 0; ; round++ {
				own, err := s.Connect()
				if err != nil {
					t.Error(err)
					return
				}
				r := relay(t, own, city.Store)
				r.OnTrouble = nil // of its connection
				r.OnProgress = func(at eventstore.Position, _ time.Time) {
					if head, err := city.Store.Head(context.Background()); err == nil && at > head {
						mu.Lock()
						ahead = fmt.Sprintf("the bus is at %d, the store at %d", at, head)
						mu.Unlock()
					}
				}
				ctx, cancel := context.WithCancel(context.Background())
				done := make(chan error, 1)
				go func() { done <- r.Run(ctx) }()
				stop := false
				select {
				case <-over:
					stop = true
				case <-time.After(time.Duration((30+40*n+17*(round%7))*(1+round/3)) * time.Millisecond): // longer and longer, so that a slow machine gets on too
				}
				if round%2 == 0 {
					own.Close()
				}
				cancel()
				<-done
				own.Close()
				mu.Lock()
				ended++
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	finish := sync.OnceFunc(func() {
		close(over)
		rivals.Wait()
	})
	defer finish()
	live(t, city, 1, 25, 30, nil)
	relayed(t, nc, city.Store)
	finish()
	if ahead != "" {
		t.Error(ahead)
	}
	messages := all(t, nc, Events, eventsRoot+".>")
	check(t, messages, city.Store)
	t.Logf("%d messages, relays ended %d times", len(messages), ended)
	if ended < 6 {
		t.Errorf("relays were ended %d times: nothing is shown", ended)
	}
}

func TestABatchIsAsLargeAsAnEmbeddedServerTakes(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	s, nc := open(t, Options{})
	for range 1_200 {
		city.Report(t, dispatchtest.Community)
	}
	r := relay(t, nc, city.Store)
	// Only what a batch may have at most ends it.
	r.Gather, r.Most = time.Hour, 1_100
	if r.Most > s.Most() {
		t.Fatalf("a server takes only %d messages at once", s.Most())
	}
	run(t, r.Run)
	var m mark
	until(t, "a batch there", func() bool {
		var err error
		m, err = (&journal{nc, Events}).last(t.Context())
		return err == nil && m.found
	})
	if m.seq <= 1_000 || m.seq > 1_100 {
		t.Errorf("the first batch has %d messages, want about %d", m.seq, r.Most)
	}
}

func TestTheSubtreesOfACityAddUpToAllItsEventsAndHoldNothingInClear(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	_, nc := open(t, Options{})
	live(t, city, 2, 20, 25, nil)
	run(t, relay(t, nc, city.Store).Run)
	relayed(t, nc, city.Store)

	whole := all(t, nc, Events, eventsRoot+".>")
	check(t, whole, city.Store)
	firsts := map[string]bool{}
	for _, m := range whole {
		tokens := strings.Split(m.Subject(), ".")
		if len(tokens) != 9 {
			t.Fatalf("%s has %d tokens, want 9", m.Subject(), len(tokens))
		}
		firsts[strings.Join(tokens[:3], ".")] = true
		text := m.Subject() + fmt.Sprint(m.Headers()) + string(m.Data())
		for _, secret := range append(slices.Clone(lives.Secrets), "张三丰") {
			if strings.Contains(text, secret) {
				t.Fatalf("%s holds %q in clear", m.Subject(), secret)
			}
		}
		for name, values := range m.Headers() {
			if strings.Contains(strings.Join(values, " "), "/ROLE_") {
				t.Fatalf("header %s names who acted: %q", name, values)
			}
		}
	}
	if len(firsts) < 4 {
		t.Fatalf("the events lie in %d districts: nothing is shown", len(firsts))
	}
	sum := 0
	for first := range firsts {
		sum += len(all(t, nc, Events, first+".>"))
	}
	if sum != len(whole) {
		t.Errorf("the subtrees have %d messages in all, the whole has %d", sum, len(whole))
	}
}

func TestThePlaceOfATicketIsThatOfTheFoldedTicket(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	live(t, city, 3, 60, 45, nil)
	p, states, kinds, whole := newPlaces(city.Store), map[string]ticket.State{}, map[string]bool{}, 0
	p.most = 7 // so that most are read again
	for _, d := range history(t, city.Store) {
		_, after, err := p.move(t.Context(), &d)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(d.Stream, "ticket-") {
			continue
		}
		s, err := ticket.Evolve(states[d.Stream], d.Meta, d.Event)
		if err != nil {
			t.Fatal(err)
		}
		states[d.Stream], kinds[d.Type] = s, true
		confidential := s.Confidentiality == pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL
		if spell(after.path) != spell(s.Path) || after.holder != s.Holder || after.lead != s.Lead || !slices.Equal(after.units, s.Co) || after.confidential != confidential || after.complainedOf != s.ComplainedOf {
			t.Fatalf("after %s@%d %s: place %+v, want path %v, holder %q, lead %q, co-handlers %q, confidential %t, complained of %q",
				d.Stream, d.Version, d.Type, after, s.Path, s.Holder, s.Lead, s.Co, confidential, s.ComplainedOf)
		}
		whole++
	}
	for _, typ := range []string{"TicketDispatched", "ReturnApproved", "TicketEscalated", "TicketDelegated", "CoHandlerRequested", "TicketReopened", "AdjudicationOpened", "DeclineOverturned"} {
		if !kinds[typ] {
			t.Logf("no %s among them", typ)
		}
	}
	if whole < 500 || !kinds["ReturnApproved"] || !kinds["CoHandlerRequested"] || !kinds["TicketReopened"] {
		t.Errorf("%d events of %d types: nothing is shown", whole, len(kinds))
	}
}

func subjectsOf(messages []jetstream.Msg, typ string) (list []string) {
	for _, m := range messages {
		if strings.HasSuffix(m.Subject(), "."+snake(typ)) {
			list = append(list, m.Subject())
		}
	}
	slices.Sort(list)
	return list
}

func TestWhatMovesATicketIsUnderBothPlaces(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	_, nc := open(t, Options{})
	name := city.Report(t, dispatchtest.Community)
	dispatcher := dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_DISPATCHER)
	city.Do(t, dispatchtest.Hotline, &pb.AcceptTicketRequest{Name: name, RequestId: city.RequestID()})
	city.Do(t, dispatcher, &pb.TriageTicketRequest{Name: name, RequestId: city.RequestID(), Category: "0302", Grade: pb.Grade_GRADE_G2, Area: dispatchtest.OtherStreet})
	city.Do(t, dispatcher, &pb.DispatchTicketRequest{Name: name, RequestId: city.RequestID(), Lead: dispatchtest.OtherUrban})
	city.Do(t, dispatchtest.As(dispatchtest.OtherUrban, pb.Role_ROLE_DEPARTMENT_CLERK), &pb.SignTicketRequest{Name: name, RequestId: city.RequestID()})
	run(t, relay(t, nc, city.Store).Run)
	relayed(t, nc, city.Store)

	id := strings.TrimPrefix(name, "tickets/")
	messages := all(t, nc, Events, "events.*.*.*.*.*.*."+id+".>")
	const here, there = "events.320200000000.320205000000.320205001000.320205001001._.", "events.320200000000.320206000000.320206001000._._."
	for _, c := range []struct {
		typ  string
		want []string
	}{
		{"TicketReported", []string{here + dispatchtest.Community}},
		{"TicketTriaged", []string{here + dispatchtest.Community, there + dispatchtest.OtherStreet}},
		{"TicketDispatched", []string{there + dispatchtest.OtherStreet, there + strings.ToLower(dispatchtest.OtherUrban)}},
		{"TicketSigned", []string{there + strings.ToLower(dispatchtest.OtherUrban)}},
	} {
		for i := range c.want {
			c.want[i] += "." + id + "." + snake(c.typ)
		}
		slices.Sort(c.want)
		if got := subjectsOf(messages, c.typ); !slices.Equal(got, c.want) {
			t.Errorf("%s is under\n%s\nwant\n%s", c.typ, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

func TestWhatIsConfidentialGoesToNoPlaceAndNotToWhoIsComplainedOf(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	_, nc := open(t, Options{})
	name := city.Do(t, dispatchtest.Hotline, &pb.ReportTicketRequest{
		RequestId: city.RequestID(), Channel: pb.Channel_CHANNEL_HOTLINE, Kind: pb.MatterKind_MATTER_KIND_TIP_OFF, Area: dispatchtest.Community,
		Particulars: &pb.Particulars{Title: "举报", Text: "举报街道办事处", Petitioner: &pb.Petitioner{Anonymous: true}},
	})
	dispatcher := dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_DISPATCHER)
	city.Do(t, dispatchtest.Hotline, &pb.AcceptTicketRequest{Name: name, RequestId: city.RequestID()})
	city.Do(t, dispatcher, &pb.TriageTicketRequest{Name: name, RequestId: city.RequestID(), Category: "0302", ComplainedOf: dispatchtest.Street})
	run(t, relay(t, nc, city.Store).Run)
	relayed(t, nc, city.Store)

	messages := all(t, nc, Events, "events.*.*.*.*.*.*."+strings.TrimPrefix(name, "tickets/")+".>")
	state, _, err := city.Dispatcher.LoadTicket(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	got := subjectsOf(messages, "TicketTriaged")
	want := []string{subject(nowhere, state.Holder, "ticket-"+strings.TrimPrefix(name, "tickets/"), "TicketTriaged")}
	if !slices.Equal(got, want) || state.Holder == "" || state.Holder == dispatchtest.Street || state.Holder == dispatchtest.Community {
		t.Errorf("the triage that makes it confidential is under %q, want %q alone", got, want)
	}
	if class := messages[len(messages)-1].Headers().Get("ce-dataclassification"); class != "confidential" {
		t.Errorf("it is classified %q, want confidential", class)
	}
	if got := subjectsOf(messages, "TicketReported"); len(got) != 1 || !strings.Contains(got[0], dispatchtest.District) {
		t.Errorf("the report, which was open, is under %q, want it in its district", got)
	}
}

func TestTheEnvelopeIsInTheHeaders(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	_, nc := open(t, Options{})
	name := city.Report(t, dispatchtest.Community)
	r := relay(t, nc, city.Store)
	r.Source = "/chuishao/wu xi"
	run(t, r.Run)
	relayed(t, nc, city.Store)
	id := strings.TrimPrefix(name, "tickets/")
	messages := all(t, nc, Events, "events.*.*.*.*.*.*."+id+".ticket_reported")
	if len(messages) != 1 {
		t.Fatalf("got %d reports, want 1", len(messages))
	}
	h := messages[0].Headers()
	for name, want := range map[string]string{
		"ce-specversion": "1.0", "ce-source": "/chuishao/wu%20xi", "ce-type": "chuishao.v1.TicketReported", "ce-subject": "ticket-" + id,
		"ce-sequence": "00000000000000000001", "ce-partitionkey": id, "ce-time": "2025-03-05T01:00:00Z", "ce-recordedtime": "2025-03-05T01:00:00Z",
		"ce-datacontenttype": "application/protobuf", "ce-actorunit": dispatchtest.CityCentre, "Bus-Epoch": "1",
	} {
		if got := h.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for name := range h {
		if strings.Contains(strings.ToLower(name), "person") || strings.Contains(strings.ToLower(name), "requestid") {
			t.Errorf("there is a header %s", name)
		}
	}
}

func TestAConsumerGoesOnWhereItLeftOffThoughTheBusWasRestarted(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	live(t, city, 4, 10, 10, nil)
	dir := t.TempDir()
	g, err := NewGrant("centre", []string{"all"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	session := func(most int) {
		s, nc := open(t, Options{Dir: dir})
		defer s.Close()
		defer nc.Close()
		stop := run(t, relay(t, nc, city.Store).Run)
		defer stop()
		relayed(t, nc, city.Store)
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.make(t.Context(), js); err != nil {
			t.Fatal(err)
		}
		c, err := js.Consumer(t.Context(), Events, g.durable())
		if err != nil {
			t.Fatal(err)
		}
		for range most {
			m, err := c.Next(jetstream.FetchMaxWait(within))
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, m.Subject()+" "+m.Headers().Get("ce-id"))
			if err := m.DoubleAck(t.Context()); err != nil {
				t.Fatal(err)
			}
			if info, err := c.Info(t.Context()); err != nil || info.NumPending == 0 {
				return
			}
		}
	}
	session(7)
	live(t, city, 5, 5, 10, nil) // while nobody relays or reads
	session(11)
	session(1 << 20)
	seen := map[string]bool{}
	for _, id := range got {
		if seen[id] {
			t.Errorf("%s came twice", id)
		}
		seen[id] = true
	}
	p, want := newPlaces(city.Store), 0
	for _, d := range history(t, city.Store) {
		subjects, _, err := p.subjects(t.Context(), &d)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range subjects {
			if want++; !seen[s+" "+uuid(d.ID)] {
				t.Errorf("%s under %s did not come", uuid(d.ID), s)
			}
		}
	}
	if len(got) != want {
		t.Errorf("got %d messages, want %d", len(got), want)
	}
}

func TestABusThatWasEmptiedIsFilledAgainInAnotherEpoch(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	_, nc := open(t, Options{})
	live(t, city, 6, 5, 8, nil)
	stop := run(t, relay(t, nc, city.Store).Run)
	relayed(t, nc, city.Store)
	stop()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), Events)
	if err != nil {
		t.Fatal(err)
	}
	before := stream.CachedInfo().State.LastSeq
	if err := stream.Purge(t.Context()); err != nil { // as its age does it
		t.Fatal(err)
	}
	run(t, relay(t, nc, city.Store).Run)
	relayed(t, nc, city.Store)
	messages := all(t, nc, Events, eventsRoot+".>")
	check(t, messages, city.Store)
	if got, want := messages[0].Headers().Get(EpochHeader), fmt.Sprint(before+1); got != want {
		t.Errorf("the epoch is %s, want %s", got, want)
	}
}

func TestAQuietBusStillSaysHowFarItHasCome(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	_, nc := open(t, Options{})
	const age = 3 * time.Second
	if err := Prepare(t.Context(), nc, Shape{MaxAge: age}); err != nil {
		t.Fatal(err)
	}
	r := relay(t, nc, city.Store)
	r.MaxAge = age
	run(t, r.Run)
	relayed(t, nc, city.Store)
	j := &journal{nc, Events}
	events := len(history(t, city.Store))
	until(t, "aged", func() bool {
		var info struct {
			State struct {
				First uint64 `json:"first_seq"`
			} `json:"state"`
		}
		if err := j.ask(t.Context(), "STREAM.INFO", struct{}{}, &info); err != nil {
			t.Fatal(err)
		}
		return info.State.First > uint64(events)
	})
	m, err := j.last(t.Context())
	head, _ := city.Store.Head(t.Context())
	if err != nil || !m.found || m.position != head || m.epoch != 1 {
		t.Errorf("all events have aged: got %+v, %v; want position %d of epoch 1", m, err, head)
	}
}

func TestARelayThatHasNothingToDoSaysHowFarTheBusIs(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	_, nc := open(t, Options{})
	stop := run(t, relay(t, nc, city.Store).Run)
	relayed(t, nc, city.Store)
	stop()
	r, heard := relay(t, nc, city.Store), make(chan eventstore.Position, 1)
	r.OnProgress = func(at eventstore.Position, recorded time.Time) {
		if !recorded.IsZero() {
			t.Errorf("it wrote up to %d, and there was nothing to write", at)
		}
		heard <- at
	}
	run(t, r.Run)
	head, err := city.Store.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	select {
	case at := <-heard:
		if at != head {
			t.Errorf("the bus is at %d, want %d", at, head)
		}
	case <-time.After(within):
		t.Error("it says nothing")
	}
}

func TestARelayEndsWhereTheStreamsAreThrownAwaySoThatTheyAreMadeAnew(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	_, nc := open(t, Options{})
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	r := relay(t, nc, city.Store)
	r.OnTrouble = nil // nobody takes what is written
	_, read := figures(t, city)
	figures := rates(t, nc, city, read)
	figures.OnTrouble = nil
	ended := make(chan error, 2)
	go func() { ended <- r.Run(t.Context()) }()
	go func() { ended <- figures.Run(t.Context()) }()
	relayed(t, nc, city.Store)
	for _, stream := range []string{Events, Rate} {
		if err := js.DeleteStream(t.Context(), stream); err != nil {
			t.Fatal(err)
		}
	}
	city.Report(t, dispatchtest.Street)
	for range 2 {
		select {
		case err := <-ended:
			if !gone(err) {
				t.Errorf("it ended with %v", err)
			}
		case <-time.After(within):
			t.Fatal("it tries for ever")
		}
	}
	if err := Prepare(t.Context(), nc, Shape{}); err != nil {
		t.Fatal(err)
	}
	run(t, relay(t, nc, city.Store).Run)
	relayed(t, nc, city.Store)
	check(t, all(t, nc, Events, eventsRoot+".>"), city.Store)
}
