package bus

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/servers"
)

func TestMain(m *testing.M) {
	servers.Main()
	os.Exit(m.Run())
}

func TestOnAClusterWhoseLeaderIsKilledEachEventComesOnceAndDistrictsReadTheirOwn(t *testing.T) {
	t.Parallel()
	grants, err := Grants(&people{list: map[string][]string{"here": {hereArea}}})
	if err != nil {
		t.Fatal(err)
	}
	here := grants[0]
	config := strings.NewReplacer("$BUS_SERVICE", "open", "$BUS_HERE", `"here-token"`).Replace(Config(grants))
	cluster, err := servers.StartNATS(t.Context(), servers.NATSOptions{Nodes: 3, Dir: t.TempDir(), Config: config, User: "service", Password: "open"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Close(); err != nil {
			t.Error(err)
		}
	})
	url := strings.ReplaceAll(strings.Join(cluster.URLs(), ","), "nats://", "nats://service:open@")
	dial := func() *nats.Conn {
		t.Helper()
		nc, err := Dial(url, "")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	nc := dial()
	if err := Prepare(t.Context(), nc, Shape{Replicas: 3}); err != nil {
		t.Fatal(err)
	}

	city := dispatchtest.Open(t)
	for range 2 {
		r := relay(t, dial(), city.Store)
		r.OnTrouble = func(err error) { // a cluster without a leader is
			if !errors.Is(err, eventstore.ErrUnavailable) && !errors.Is(err, context.Canceled) {
				t.Errorf("a relay had trouble that does not pass: %v", err)
			}
		}
		run(t, r.Run)
	}
	for seed := range uint64(2) {
		live(t, city, 20+seed, 6, 8, nil)
		leader, err := cluster.Leader(t.Context(), Events)
		if err != nil {
			t.Fatal(err)
		}
		if err := leader.Kill(); err != nil {
			t.Fatal(err)
		}
		live(t, city, 30+seed, 6, 8, nil)
		relayed(t, nc, city.Store) // by the two that are left
		if err := leader.Start(); err != nil {
			t.Fatal(err)
		}
		if err := cluster.WaitHealthy(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	relayed(t, nc, city.Store)
	check(t, all(t, nc, Events, eventsRoot+".>"), city.Store)

	// The district reads by its durable alone.
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := here.make(t.Context(), js); err != nil {
		t.Fatal(err)
	}
	denied := make(chan struct{}, 10)
	own, err := nats.Connect(strings.Join(cluster.URLs(), ","), nats.UserInfo("here", "here-token"), nats.CustomInboxPrefix(here.Inbox()), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		if errors.Is(err, nats.ErrPermissionViolation) {
			denied <- struct{}{}
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	ownJS, err := jetstream.New(own)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ownJS.Consumer(t.Context(), Events, here.durable())
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Next(jetstream.FetchMaxWait(within))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(m.Subject(), "events.320200000000.320205000000.") {
		t.Errorf("got %s, want only what lies in the own district", m.Subject())
	}
	// An answer that is sent where it may not publish itself reaches nobody.
	before := streamInfo(t, js)
	for _, reply := range hostile {
		if err := own.PublishRequest("$JS.API.CONSUMER.MSG.NEXT.EVENTS.dept-here", reply, []byte(`{"batch":1,"expires":1000000}`)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Info(t.Context()); err != nil { // what was asked before has been answered
		t.Fatal(err)
	}
	if after := streamInfo(t, js); after.LastSeq != before.LastSeq || after.Msgs != before.Msgs {
		t.Errorf("after the attempts the stream is %+v, was %+v", after, before)
	}
	if err := own.PublishRequest("$JS.API.CONSUMER.MSG.NEXT.EVENTS.dept-there", own.NewRespInbox(), []byte(`{"batch":1}`)); err != nil {
		t.Fatal(err)
	}
	select {
	case <-denied:
	case <-time.After(within):
		t.Error("a pull from somebody else's consumer was not denied")
	}
}
