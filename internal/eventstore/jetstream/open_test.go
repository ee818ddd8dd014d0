package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	api "github.com/nats-io/nats.go/jetstream"

	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/eventstore/jetstream"
	"github.com/chuishao/dispatch/internal/servers"
)

func TestAURLThatCannotBeMeantIsRefused(t *testing.T) {
	t.Parallel()
	for url, reason := range map[string]string{
		"nats://h:4222/S":                                                  "want a URL jetstream://",
		"jetstream://h:4222":                                               "want the name of the stream",
		"jetstream://h:4222/":                                              "want the name of the stream",
		"jetstream://h:4222/a.b?unsafe=single-node":                        "want the name of the stream",
		"jetstream:///S?unsafe=single-node":                                "want the hosts",
		"jetstream://h:x/S?unsafe=single-node":                             "want the hosts",
		"jetstream://h,,g/S?unsafe=single-node":                            "want the hosts",
		"jetstream://:secret@h:4222/S?monitor=http://h":                    "want user:password",
		"jetstream://u:sec%ret@h/S?monitor=http://h":                       "want user:password",
		"jetstream://u:x/secret?y@h:4222/S":                                "want no @ after the ?",
		"jetstream://u:x/y?secret=z@h:4222/S":                              "want no @ after the ?",
		"jetstream://h:4222/S":                                             "monitor is missing",
		"jetstream://h:4222/S?monitor=h:8222":                              "monitor: want http://host:8222",
		"jetstream://h/S?monitor=http://u:secret%40h":                      "monitor: want http://host:8222",
		"jetstream://h/S?monitor=http://h&sync=no":                         `no key "sync"`,
		"jetstream://h/S?monitor=http://h&replicas=1":                      "replicas: want 3 or 5",
		"jetstream://h/S?unsafe=yes":                                       "unsafe: want single-node",
		"jetstream://h/S?unsafe=single-node&replicas=3":                    "a single node has no replicas",
		"jetstream://h/S?monitor=http://h&tls=perhaps":                     "tls: want true or false",
		"jetstream://h/S?monitor=http://h&tls_ca=x":                        "need tls=true",
		"jetstream://h/S?tls=true&tls=true":                                "tls is said twice",
		"jetstream://h/S?monitor=http://h&tls=true&tls_ca=/nowhere/ca.pem": "cannot be used",
		"jetstream://h/S?monitor=%zz":                                      "cannot be read",
	} {
		if e := refused(t, url, reason); e != nil && (strings.Contains(e.Error(), "secret") || errors.Is(e, eventstore.ErrUnavailable)) {
			t.Errorf("%s: got %v, want it to tell no password and to stay", url, e)
		}
	}
}

func TestAStreamThatIsNotAsAHistoryMustBeIsRefusedAndLeftAlone(t *testing.T) {
	t.Parallel()
	js := connect(t, &single)
	for reason, change := range map[string]func(*api.StreamConfig){
		"subjects:":         func(c *api.StreamConfig) { c.Subjects = append(c.Subjects, c.Name+"-more") },
		"retention:":        func(c *api.StreamConfig) { c.Retention = api.InterestPolicy },
		"storage:":          func(c *api.StreamConfig) { c.Storage = api.MemoryStorage },
		"want no limit, or": func(c *api.StreamConfig) { c.MaxAge = time.Hour },
		"max_bytes":         func(c *api.StreamConfig) { c.MaxBytes = 1 << 20 },
		"max_msgs,":         func(c *api.StreamConfig) { c.MaxMsgs = 1000 },
		"max_msgs_per":      func(c *api.StreamConfig) { c.MaxMsgsPerSubject = 1 },
		"first_seq:":        func(c *api.StreamConfig) { c.FirstSeq = 10 },
		"max_msg_size:":     func(c *api.StreamConfig) { c.MaxMsgSize = 1 << 10 },
		"deny_delete":       func(c *api.StreamConfig) { c.DenyDelete = false },
		"deny_purge":        func(c *api.StreamConfig) { c.DenyPurge = false },
		"allow_direct:":     func(c *api.StreamConfig) { c.AllowDirect = false },
		"allow_atomic:":     func(c *api.StreamConfig) { c.AllowAtomicPublish = false },
		"no_ack:":           func(c *api.StreamConfig) { c.NoAck = true },
		"allow_rollup_hdrs": func(c *api.StreamConfig) { c.AllowRollup, c.DenyPurge = true, false },
		"allow_msg_ttl":     func(c *api.StreamConfig) { c.AllowMsgTTL = true },
		"persist_mode:":     func(c *api.StreamConfig) { c.PersistMode, c.AllowAtomicPublish = api.AsyncPersistMode, false },
		"subject_transform": func(c *api.StreamConfig) {
			c.SubjectTransform = &api.SubjectTransformConfig{Source: c.Name + ".*.*", Destination: c.Name + ".x.{{wildcard(2)}}"}
		},
		"republish:": func(c *api.StreamConfig) { c.RePublish = nil },
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			name := fresh()
			open(t, single.url(t, name))
			s, err := js.Stream(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			config := s.CachedInfo().Config
			// What was good but for one thing, made by somebody else.
			config.Name = fresh()
			config.Subjects = []string{config.Name + ".*.*"}
			config.RePublish = &api.RePublish{Source: config.Name + ".*.*", Destination: "news." + config.Name, HeadersOnly: true}
			change(&config)
			made, err := js.CreateStream(t.Context(), config)
			if err != nil {
				t.Fatal(err)
			}
			refused(t, single.url(t, config.Name), reason)
			after, err := made.Info(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got, want := fmt.Sprintf("%+v", after.Config), fmt.Sprintf("%+v", made.CachedInfo().Config); got != want {
				t.Errorf("it was changed: got %s, want %s", got, want)
			}
		})
	}
}

func TestAStreamThatIsToBeThereIsNotMade(t *testing.T) {
	t.Parallel()
	js := connect(t, &single)
	name := fresh()
	for _, there := range []bool{false, true} {
		if there {
			open(t, single.url(t, name))
		}
		store, err := jetstream.Open(t.Context(), single.url(t, name), jetstream.Options{Existing: true})
		if err == nil {
			store.Close()
		}
		if refusal, ok := errors.AsType[*jetstream.OpenError](err); (err == nil) != there || err != nil && (!ok || !strings.Contains(refusal.Reason, "no such stream")) {
			t.Errorf("there: %v: got %v", there, err)
		}
		if _, err := js.Stream(t.Context(), name); errors.Is(err, api.ErrStreamNotFound) == there {
			t.Errorf("there: %v: the server says %v", there, err)
		}
	}
}

func TestAStreamOfOneReplicaIsRefused(t *testing.T) {
	t.Parallel()
	name := fresh()
	// Made as for a test, and then opened as if it were safe.
	open(t, cluster.url(t, name)+"&unsafe=single-node")
	refused(t, cluster.url(t, name), "replicas: want 3 or more, it has 1")
}

func TestServersThatAcknowledgeBeforeTheyFlushAreRefused(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	n, err := servers.StartNATS(ctx, servers.NATSOptions{Dir: t.TempDir(), Sync: servers.SyncDefault})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	refused(t, address(n.URLs(), "S", "unsafe=single-node", "monitor="+n.Node(0).Monitor()), "server n1 acknowledges before it flushes to disk")
	refused(t, address(n.URLs(), "S", "monitor="+n.Node(0).Monitor()), "set sync_interval: always")
	nc, err := nats.Connect(n.Node(0).URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := api.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Stream(t.Context(), "S"); !errors.Is(err, api.ErrStreamNotFound) {
		t.Errorf("a stream was made on servers that were refused: %v", err)
	}
}

// double stands before the monitoring of a server and tells something else.
func double(t *testing.T, of string, tell func(varz string) (string, int)) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resp, err := http.Get(of + r.URL.Path)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		text, status := tell(string(body))
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// telling replaces all but the first of the words with which a server tells of itself.
func telling(old, new string) func(string) (string, int) {
	return func(varz string) (string, int) {
		if !strings.Contains(varz, old) {
			return "the server does not tell " + old, http.StatusInternalServerError
		}
		return strings.ReplaceAll(varz, old, new), http.StatusOK
	}
}

func silent(string) (string, int) { return "", http.StatusServiceUnavailable }

func TestWhatServersTellOfThemselvesDecides(t *testing.T) {
	t.Parallel()
	name := fresh()
	open(t, cluster.url(t, name))
	real := cluster.nats.Monitors()
	version := `"version": "2.15.2"`
	for what, c := range map[string]struct {
		monitors []string
		reason   string // "" if it is to open
		passes   bool
	}{
		"one of an old version":      {[]string{real[0], real[1], double(t, real[2], telling(version, `"version": "2.15.1"`))}, "server n3 is of version 2.15.1; upgrade", false},
		"one of a much older":        {[]string{real[0], real[1], double(t, real[2], telling(version, `"version": "2.9.25"`))}, "of version 2.9.25", false},
		"one of an unknown version":  {[]string{real[0], real[1], double(t, real[2], telling(version, `"version": "next"`))}, "of version next", false},
		"one of a newer version":     {[]string{real[0], real[1], double(t, real[2], telling(version, `"version": "3.0.0-RC.1"`))}, "", false},
		"one that does not flush":    {[]string{double(t, real[0], telling(`"sync_always": true`, `"sync_always": false`)), real[1], real[2]}, "server n1 acknowledges before", false},
		"one without JetStream":      {[]string{double(t, real[0], telling(`"config": {`, `"other": {`)), real[1], real[2]}, "", false},
		"two without JetStream":      {[]string{double(t, real[0], telling(`"config": {`, `"other": {`)), double(t, real[1], telling(`"config": {`, `"other": {`)), real[2]}, "server n2 runs without JetStream", true},
		"one that is silent":         {[]string{real[0], double(t, real[1], silent), real[2]}, "", false},
		"two that are silent":        {[]string{real[0], double(t, real[1], silent), double(t, real[2], silent)}, "of 3 servers that hold the stream 1 tell", true},
		"one that is left out":       {real[:2], "not all of which are in monitor", false},
		"one that is no NATS server": {[]string{real[0], double(t, real[1], func(string) (string, int) { return "{}", http.StatusOK }), double(t, real[2], silent)}, "this is no NATS server", true},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			url := address(cluster.nats.URLs(), name, "monitor="+strings.Join(c.monitors, ","))
			if c.reason == "" {
				open(t, url)
				return
			}
			if e := refused(t, url, c.reason); e != nil && errors.Is(e, eventstore.ErrUnavailable) != c.passes {
				t.Errorf("got %v, want it to pass: %v", e, c.passes)
			}
		})
	}
}

func TestAStreamIsMadeThoughAServerNeverAnswers(t *testing.T) {
	t.Parallel()
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	real := cluster.get(t).Monitors()
	url := address(cluster.nats.URLs(), fresh(), "monitor="+strings.Join([]string{real[0], real[1], "http://" + mute.Addr().String()}, ","))
	record(t, open(t, url), "ticket-1", 0, many(1, 1)...)
}

func TestAServerThatComesBackWithOtherSettingsIsFoundOut(t *testing.T) {
	t.Parallel()
	name := fresh()
	open(t, cluster.url(t, name))
	real := cluster.nats.Monitors()
	var state atomic.Int32 // 0 silent, 1 wrong, 2 as it should be
	monitor := double(t, real[2], func(varz string) (string, int) {
		switch state.Load() {
		case 0:
			return silent(varz)
		case 1:
			return telling(`"sync_always": true`, `"sync_always": false`)(varz)
		}
		return varz, http.StatusOK
	})
	store := open(t, address(cluster.nats.URLs(), name, "monitor="+strings.Join([]string{real[0], real[1], monitor}, ",")))
	written := 0
	write := func() error {
		_, err := store.Append(t.Context(), "ticket-1", eventstore.Version(written), many(1, uint64(written)))
		if err == nil {
			written++
		}
		return err
	}
	if err := write(); err != nil {
		t.Errorf("with a server that is silent: %v", err)
	}
	state.Store(1)
	eventually(t, func() bool {
		err := write()
		refusal, ok := errors.AsType[*jetstream.OpenError](err)
		return ok && strings.Contains(refusal.Reason, "server n3 acknowledges before")
	})
	state.Store(2)
	eventually(t, func() bool { return write() == nil })
}

func TestServersThatDoNotAnswerAreUnavailable(t *testing.T) {
	t.Parallel()
	n := single.get(t)
	gone, err := servers.StartProxy(n.Node(0).Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer gone.Close()
	for _, how := range []servers.Cut{servers.Refuse, servers.Blackhole} {
		gone.Cut(how)
		url := strings.Replace(address([]string{gone.Addr()}, "S", "unsafe=single-node"), "://", "://us%65r:s%65cret@", 1)
		if e := refused(t, url, "do not answer"); e != nil && (!errors.Is(e, eventstore.ErrUnavailable) || strings.Contains(e.Error(), "secret")) {
			t.Errorf("got %v, want it to pass and to tell no password", e)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := jetstream.Open(ctx, address([]string{gone.Addr()}, "S", "unsafe=single-node"), jetstream.Options{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("open with a context that ends: got %v", err)
	}
}

func TestServersThatTakeSmallMessagesOnlyAreRefused(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	n, err := servers.StartNATS(ctx, servers.NATSOptions{Dir: t.TempDir(), Config: "max_payload: 900KB"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	refused(t, address(n.URLs(), "S", "unsafe=single-node"), "set max_payload to 1MB or more")
}

func TestAWrongPasswordIsRefused(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	n, err := servers.StartNATS(ctx, servers.NATSOptions{Dir: t.TempDir(), Config: `authorization { user: "chuishao", password: "p@ss/w:rd" }`})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	url := func(user string) string {
		return strings.Replace(address(n.URLs(), "S", "unsafe=single-node"), "://", "://"+user+"@", 1)
	}
	store := open(t, url("chuishao:p%40ss%2Fw%3Ard"))
	if _, err := store.Append(t.Context(), "ticket-1", 0, many(2, 1)); err != nil {
		t.Errorf("append: %v", err)
	}
	e := refused(t, url("chuishao:s%65cret"), "do not let this user in")
	if e != nil && (strings.Contains(e.Error(), "secret") || errors.Is(e, eventstore.ErrUnavailable)) {
		t.Errorf("got %v, want it to stay and to tell no password", e)
	}
}

func TestAUserWithFewRightsIsEnough(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	// As docs/decisions/0033 says.
	n, err := servers.StartNATS(ctx, servers.NATSOptions{Dir: t.TempDir(), Config: `authorization { user: "few", password: "few", permissions {
		publish: ["S.>", "$JS.API.STREAM.INFO.S", "$JS.API.STREAM.CREATE.S", "$JS.API.STREAM.MSG.GET.S", "$JS.API.DIRECT.GET.S"]
		subscribe: ["_INBOX.>", "news.S"] } }`})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	store := open(t, strings.Replace(address(n.URLs(), "S", "unsafe=single-node", "monitor="+n.Node(0).Monitor()), "://", "://few:few@", 1))
	next, stop := iter.Pull2(store.Subscribe(t.Context(), 0))
	defer stop()
	for v := range 3 {
		record(t, store, "ticket-1", 2*v, many(2, uint64(v))...)
		for range 2 {
			if _, err, ok := next(); err != nil || !ok {
				t.Fatalf("subscribe: %v", err)
			}
		}
	}
	if got := read(t, store, "ticket-1"); len(got) != 6 {
		t.Errorf("got %d events, want 6", len(got))
	}
}

func connect(t *testing.T, on *shared) api.JetStream {
	t.Helper()
	nc, err := nats.Connect(strings.Join(on.get(t).URLs(), ","))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := api.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// eventually waits for something that must come to be.
func eventually(t *testing.T, so func() bool) {
	t.Helper()
	limit := time.NewTimer(30 * time.Second)
	defer limit.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-limit.C:
			t.Fatal("it does not come to be")
		case <-tick.C:
		}
	}
}
