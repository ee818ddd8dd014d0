package bus

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/eventstore"
)

// people are principals by their token, which is their name and "-token".
type people struct {
	mu   sync.Mutex
	list map[string][]string
}

func (p *people) BusGrant(token string, _ time.Time) (string, []string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	person := strings.TrimSuffix(token, "-token")
	subtrees, ok := p.list[person]
	if !ok || person == token {
		return "", nil, errors.New("unknown")
	}
	return person, subtrees, nil
}

func (p *people) BusGrants() map[string][]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.list)
}

func (p *people) set(person string, subtrees []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.list[person] = subtrees; subtrees == nil {
		delete(p.list, person)
	}
}

const (
	hereArea  = "area:320200000000/320205000000"
	thereArea = "area:320200000000/320206000000"
)

// outside connects a connected system over TCP, as it would.
func outside(t testing.TB, s *Server, person, token string) (*nats.Conn, error) {
	nc, err := nats.Connect("nats://"+s.Addr().String(), nats.UserInfo(person, token), nats.CustomInboxPrefix("_INBOX_"+person), nats.NoReconnect(),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err == nil {
		t.Cleanup(nc.Close)
	}
	return nc, err
}

func TestADistrictReadsItsOwnSubtreeAndNothingElse(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	who := &people{list: map[string][]string{"here": {hereArea}, "there": {thereArea, "unit:320205000000-CG"}}}
	s, nc := open(t, Options{Listen: "127.0.0.1:0", Principals: who})
	for _, area := range []string{dispatchtest.Community, dispatchtest.OtherStreet, dispatchtest.Street} {
		city.Report(t, area)
	}
	run(t, relay(t, nc, city.Store).Run)
	run(t, (&Consumers{Conn: nc, Principals: who, OnTrouble: func(err error) { t.Error(err) }}).Run)
	relayed(t, nc, city.Store)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "given consumers", func() bool {
		for _, of := range []string{"here", "there"} {
			if _, err := js.Consumer(t.Context(), Events, "dept-"+of); err != nil {
				return false
			}
		}
		return true
	})

	own, err := outside(t, s, "here", "here-token")
	if err != nil {
		t.Fatal(err)
	}
	ownJS, err := jetstream.New(own)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ownJS.Consumer(t.Context(), Events, "dept-here")
	if err != nil {
		t.Fatal(err)
	}
	batch, err := c.Fetch(2, jetstream.FetchMaxWait(within))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for m := range batch.Messages() {
		if n++; !strings.HasPrefix(m.Subject(), "events.320200000000.320205000000.") {
			t.Errorf("got %s, want only what lies in the own district", m.Subject())
		}
		if err := m.DoubleAck(t.Context()); err != nil {
			t.Errorf("acknowledge: %v", err)
		}
	}
	if info, err := c.Info(t.Context()); n != 2 || err != nil || info.NumPending != 0 || info.AckFloor.Consumer != 2 {
		t.Errorf("got %d messages and then %+v, %v; want 2, all acknowledged", n, info, err)
	}

	// What must not be possible. Each is tried as one request; what is denied is told to the connection, and nothing answers.
	before, err := js.Stream(t.Context(), Events)
	if err != nil {
		t.Fatal(err)
	}
	there, err := js.Consumer(t.Context(), Events, "dept-there")
	if err != nil {
		t.Fatal(err)
	}
	lent, err := there.Next(jetstream.FetchMaxWait(within))
	if err != nil {
		t.Fatal(err)
	}
	denied := make(chan error, 100)
	own.SetErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		if errors.Is(err, nats.ErrPermissionViolation) {
			denied <- err
		}
	})
	create := func(filter string) string {
		return fmt.Sprintf(`{"stream_name":"EVENTS","config":{"name":"mine","filter_subject":%q,"ack_policy":"none","deliver_policy":"all"}}`, filter)
	}
	const api = "$JS.API."
	for _, c := range []struct{ attempt, subject, body string }{
		{"a consumer on another district", api + "CONSUMER.CREATE.EVENTS.mine.events.320200000000.320206000000.>", create("events.320200000000.320206000000.>")},
		{"a consumer without a filter", api + "CONSUMER.CREATE.EVENTS.mine", create("")},
		{"a consumer on the own district", api + "CONSUMER.CREATE.EVENTS.mine.events.320200000000.320205000000.>", create("events.320200000000.320205000000.>")},
		{"another filter behind the own", api + "CONSUMER.CREATE.EVENTS.mine.events.320200000000.320205000000.>", create("events.>")},
		{"another filter for the own durable", api + "CONSUMER.DURABLE.CREATE.EVENTS.dept-here", create("events.>")},
		{"a consumer of the old kind", api + "CONSUMER.CREATE.EVENTS", create("events.>")},
		{"a pull from somebody else's consumer", api + "CONSUMER.MSG.NEXT.EVENTS.dept-there", `{"batch":1}`},
		{"a look at somebody else's consumer", api + "CONSUMER.INFO.EVENTS.dept-there", ""},
		{"an acknowledgement for somebody else", lent.Reply(), "+ACK"},
		{"the deletion of a consumer", api + "CONSUMER.DELETE.EVENTS.dept-there", ""},
		{"the names of consumers", api + "CONSUMER.NAMES.EVENTS", ""},
		{"a direct get by subject", api + "DIRECT.GET.EVENTS." + lent.Subject(), ""},
		{"a direct get by number", api + "DIRECT.GET.EVENTS", `{"seq":1}`},
		{"a get by number", api + "STREAM.MSG.GET.EVENTS", `{"seq":1}`},
		{"a look at the stream", api + "STREAM.INFO.EVENTS", `{"subjects_filter":">"}`},
		{"a purge", api + "STREAM.PURGE.EVENTS", ""},
		{"a forged event", "events.320200000000.320205000000._._._._.forged.ticket_reported", "forged"},
		{"a forged live event", "live.320200000000.320205000000._._._._.forged.ticket_reported", "forged"},
		{"forged figures", "rates.320200000000.320205000000._._._", "forged"},
		{"an answer for somebody else", "_INBOX_there.x", "forged"},
	} {
		if err := own.PublishRequest(c.subject, own.NewRespInbox(), []byte(c.body)); err != nil {
			t.Fatal(err)
		}
		if err := own.Flush(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-denied:
		case <-time.After(within):
			t.Fatalf("%s was not denied", c.attempt)
		}
	}
	for _, subject := range []string{"live.320200000000.320206000000.>", "live.>", "events.>", "rates.>", ">", "_INBOX_there.>", "commands.>", "$JS.EVENT.ADVISORY.>"} {
		if _, err := own.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		if err := own.Flush(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-denied:
		case <-time.After(within):
			t.Fatalf("a subscription to %s was not denied", subject)
		}
	}
	after, err := js.Stream(t.Context(), Events)
	if err != nil || after.CachedInfo().State.LastSeq != before.CachedInfo().State.LastSeq || after.CachedInfo().State.Consumers != 2 {
		t.Errorf("after the attempts the stream is %+v, was %+v; %v", after.CachedInfo().State, before.CachedInfo().State, err)
	}
	if info, err := there.Info(t.Context()); err != nil || info.NumAckPending != 1 {
		t.Errorf("the other's consumer has %d to be acknowledged, want 1; %v", info.NumAckPending, err)
	}

	// Its own subtree it hears live.
	live, err := own.SubscribeSync("live.320200000000.320205000000.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := own.Flush(); err != nil {
		t.Fatal(err)
	}
	city.Report(t, dispatchtest.OtherStreet)
	city.Report(t, dispatchtest.Street)
	if m, err := live.NextMsg(within); err != nil || !strings.Contains(m.Subject, dispatchtest.Street) {
		t.Errorf("live came %v, %v; want the report in the own district", m, err)
	}
}

// hostile are subjects that somebody could want an answer to be sent under.
var hostile = []string{
	"events.320200000000.320206000000._._._._.forged.ticket_reported", "rates.320200000000.320206000000._._._", "live.320200000000.320206000000._._._._.forged.ticket_reported",
	"$JS.API.STREAM.PURGE.EVENTS", "$JS.API.STREAM.DELETE.EVENTS", "$JS.API.CONSUMER.DELETE.EVENTS.dept-there", "$JS.ACK.EVENTS.dept-there.1.1.1.1.0", "_INBOX_there.x",
}

func streamInfo(t *testing.T, js jetstream.JetStream) jetstream.StreamState {
	t.Helper()
	s, err := js.Stream(t.Context(), Events)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State
}

func TestAnAnswerIsSentToWhoAskedAndNowhereElse(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	who := &people{list: map[string][]string{"here": {hereArea}, "there": {thereArea}}}
	s, nc := open(t, Options{Listen: "127.0.0.1:0", Principals: who})
	city.Report(t, dispatchtest.Community)
	city.Report(t, dispatchtest.OtherStreet)
	run(t, relay(t, nc, city.Store).Run)
	run(t, (&Consumers{Conn: nc, Principals: who, OnTrouble: func(err error) { t.Error(err) }}).Run)
	run(t, (&Commands{Conn: nc}).Run)
	relayed(t, nc, city.Store)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for _, of := range []string{"here", "there"} {
		until(t, "given consumers", func() bool { _, err := js.Consumer(t.Context(), Rate, "dept-"+of); return err == nil })
	}
	there, err := js.Consumer(t.Context(), Events, "dept-there")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := there.Next(jetstream.FetchMaxWait(within)); err != nil { // not acknowledged
		t.Fatal(err)
	}
	heard, err := nc.SubscribeSync("live.320200000000.320206000000.>")
	if err != nil {
		t.Fatal(err)
	}
	other, err := outside(t, s, "there", "there-token")
	if err != nil {
		t.Fatal(err)
	}
	inbox, err := other.SubscribeSync("_INBOX_there.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(nc.Flush(), other.Flush()); err != nil {
		t.Fatal(err)
	}
	own, err := outside(t, s, "here", "here-token")
	if err != nil {
		t.Fatal(err)
	}
	before := streamInfo(t, js)
	for _, reply := range hostile {
		for _, ask := range []struct{ subject, body string }{
			{"$JS.API.CONSUMER.MSG.NEXT.EVENTS.dept-here", `{"batch":1}`},
			{"$JS.API.CONSUMER.MSG.NEXT.EVENTS.dept-here", `{"batch":100,"no_wait":true}`},
			{"$JS.API.CONSUMER.MSG.NEXT.EVENTS.dept-here", `{"batch":100,"no_wait":true}`}, // there is none: the answer has no body
			{"$JS.API.CONSUMER.INFO.EVENTS.dept-here", ""},
			{"commands.TicketService.GetTicket", ""},
		} {
			if err := own.PublishRequest(ask.subject, reply, []byte(ask.body)); err != nil {
				t.Fatal(err)
			}
		}
	}
	// What is asked over one connection is answered in turn: when these have come, those have gone.
	if _, err := own.Request("$JS.API.CONSUMER.INFO.EVENTS.dept-here", nil, within); err != nil {
		t.Fatal(err)
	}
	if m, err := own.Request("commands.TicketService.GetTicket", nil, within); err != nil || m.Header.Get(StatusHeader) != "UNAUTHENTICATED" {
		t.Fatalf("a command: %v, %v; want it answered", m, err)
	}
	if after := streamInfo(t, js); after.LastSeq != before.LastSeq || after.Msgs != before.Msgs || after.Consumers != before.Consumers {
		t.Errorf("after the attempts the stream is %+v, was %+v", after, before)
	}
	if info, err := there.Info(t.Context()); err != nil || info.NumAckPending != 1 {
		t.Errorf("the other's consumer: %+v, %v; want one message that is not acknowledged", info, err)
	}
	if err := errors.Join(nc.Flush(), other.Flush()); err != nil {
		t.Fatal(err)
	}
	for _, sub := range []*nats.Subscription{heard, inbox} {
		if n, _, err := sub.Pending(); n != 0 || err != nil {
			t.Errorf("%s heard %d answers to somebody else, %v", sub.Subject, n, err)
		}
	}
	if m, err := (&journal{nc, Rate}).last(t.Context()); err != nil || m.found {
		t.Errorf("there are figures: %+v, %v", m, err)
	}
}

func TestOnlyWhoMayConnectsAndNoLongerThanThat(t *testing.T) {
	t.Parallel()
	who := &people{list: map[string][]string{"here": {hereArea}, "there": {thereArea}}}
	s, _ := open(t, Options{Listen: "127.0.0.1:0", Principals: who})
	for _, c := range []struct{ person, token string }{
		{"here", ""}, {"here", "there-token"}, {"there", "here-token"}, {"", "here-token"}, {"nobody", "nobody-token"}, {serviceUser, ""}, {serviceUser, "service-token"}, {"", ""},
	} {
		if _, err := outside(t, s, c.person, c.token); !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("%q with %q: %v, want %v", c.person, c.token, err, nats.ErrAuthorization)
		}
	}
	for change, subtrees := range map[string][]string{"taken away": nil, "changed": {"all"}} {
		who.set("here", []string{hereArea})
		nc, err := outside(t, s, "here", "here-token")
		if err != nil {
			t.Fatal(err)
		}
		who.set("here", subtrees)
		until(t, "disconnected when its credentials were "+change, nc.IsClosed)
	}
}

// doorkeeper counts who was refused.
type doorkeeper struct {
	*people
	refused atomic.Int32
}

func (d *doorkeeper) BusGrant(token string, now time.Time) (string, []string, error) {
	person, subtrees, err := d.people.BusGrant(token, now)
	if err != nil {
		d.refused.Add(1)
	}
	return person, subtrees, err
}

func TestAConnectionThatIsRefusedForAWhileComesBack(t *testing.T) {
	t.Parallel()
	who := &doorkeeper{people: &people{list: map[string][]string{"here": {hereArea}}}}
	s, _ := open(t, Options{Listen: "127.0.0.1:0", Principals: who})
	nc, err := Dial("nats://here:here-token@"+s.Addr().String(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	who.set("here", nil)
	until(t, "refused again and again", func() bool { return who.refused.Load() > 4 })
	who.set("here", []string{hereArea})
	until(t, "connected again", nc.IsConnected)
}

func TestWhatIsWrongWithAURLIsSaidWithoutItsPassword(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"nats://service:hush%zz@127.0.0.1:4222", "nats://service:hush@127.0.0.1:42x2", "nats://127.0.0.1:4222,nats://service:hush@127.0.0.1:42x2",
		"http://service:hush@127.0.0.1:4222", "service:hush@127.0.0.1", "nats://", "",
	} {
		if _, err := Dial(url, ""); err == nil || strings.Contains(err.Error(), "hush") || errors.Is(err, eventstore.ErrUnavailable) {
			t.Errorf("got %v, want it refused for good, and without the password", err)
		}
	}
	for _, url := range []string{"nats://h", "tls://u:p%40@h1:4222, nats://h2"} {
		if err := CheckURL(url); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestABusListensBeyondThisMachineOnlyWithTLS(t *testing.T) {
	t.Parallel()
	for _, listen := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:4222", "bus.example:4222", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:-1"} {
		if s, err := Start(Options{Dir: t.TempDir(), Listen: listen}); err == nil {
			s.Close()
			t.Errorf("it listens at %s", listen)
		}
	}
	s, _ := open(t, Options{})
	if at := s.Addr(); at != nil {
		t.Errorf("without being asked to it listens at %s", at)
	}
}

func TestSubtreesAreFilters(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		subtrees             []string
		events, rates, fault string
	}{
		{[]string{"all"}, "events.>", "rates.>", ""},
		{[]string{"area:C"}, "events.c.>", "rates.c.>", ""},
		{[]string{"area:C/_/S"}, "events.c._.s.>", "rates.c._.s.>", ""},
		{[]string{"area:a/b/c/d/e"}, "events.a.b.c.d.e.>", "rates.a.b.c.d.e", ""},
		{[]string{"unit:U-1"}, "events.*.*.*.*.*.u-1.>", "", ""},
		{[]string{"area:a", "unit:u", "area:a/b"}, "events.a.> events.*.*.*.*.*.u.>", "rates.a.>", ""},
		{[]string{"unit:u", "all"}, "events.>", "rates.>", ""},
		{[]string{"unit:城管"}, "events.*.*.*.*.*." + slug("城管") + ".>", "", ""},
		{nil, "", "", ""},
		{[]string{"area:"}, "", "", "area"},
		{[]string{"area:_"}, "", "", "area"},
		{[]string{"area:a/_"}, "", "", "area"},
		{[]string{"area:a//b"}, "", "", "area"},
		{[]string{"area:a/b/c/d/e/f"}, "", "", "area"},
		{[]string{"unit:"}, "", "", "want"},
		{[]string{"events.>"}, "", "", "want"},
		{[]string{"ALL"}, "", "", "want"},
	} {
		g, err := NewGrant("somebody", c.subtrees)
		if c.fault != "" {
			if err == nil || !strings.Contains(err.Error(), c.fault) {
				t.Errorf("%q: %v, want it refused", c.subtrees, err)
			}
			continue
		}
		if got := strings.Join(g.filters(eventsRoot), " "); err != nil || got != c.events {
			t.Errorf("%q: events %q, %v; want %q", c.subtrees, got, err, c.events)
		}
		if got := strings.Join(g.filters(ratesRoot), " "); got != c.rates {
			t.Errorf("%q: rates %q, want %q", c.subtrees, got, c.rates)
		}
	}
}

func TestAnAreaIsNoWildcard(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"*", ">", "a.b", "a b", "a\r\n", "_", "h-0011223344556677", "H-x", "区", strings.Repeat("a", 65), "Café"} {
		got := slug(id)
		if !strings.HasPrefix(got, "h-") || strings.ContainsAny(got, ".*> \r\n") || len(got) != 18 {
			t.Errorf("the token of %q is %q, want one made of its hash", id, got)
		}
	}
	for id, want := range map[string]string{"": "_", "320205000000-CG": "320205000000-cg", "a_b": "a_b", "__": "__"} {
		if got := slug(id); got != want {
			t.Errorf("the token of %q is %q, want %q", id, got, want)
		}
	}
	if got := snake("TicketReported"); got != "ticket_reported" {
		t.Errorf("the token of TicketReported is %q", got)
	}
}
