package esdb_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chuishao/dispatch/internal/eventstore/esdb"
)

func TestAConnectionStringIsCheckedAndItsPasswordNeverTold(t *testing.T) {
	t.Parallel()
	const secret = "Tr0ub4dor"
	for url, want := range map[string]string{
		"kurrentdb://app:" + secret + "@h:2113":                          "esdb://",
		"esdb://app:" + secret + "@":                                     "host",
		"esdb://app:" + secret + "@h:0":                                  "host",
		"esdb://app:" + secret + "@h:99999":                              "host",
		"esdb://app:" + secret + "@h1,,h3":                               "host",
		"esdb://app:" + secret + "@h/path":                               "host",
		"esdb://app:" + secret + "@[::1]:2113":                           "host",
		"esdb+discover://app:" + secret + "@h1,h2":                       "one DNS name",
		"esdb://app:" + secret + "@h?connectionName=x":                   "no setting connectionName",
		"esdb://app:" + secret + "@h?tls=true&TLS=true":                  "more than once",
		"esdb://app:" + secret + "@h?tls=perhaps":                        "cannot be read",
		"esdb://app:" + secret + "@h?defaultDeadline=10":                 "defaultDeadline",
		"esdb://app:" + secret + "@h?nodePreference=follower":            "nodePreference",
		"esdb://app:" + secret + "@h?gossipTimeout=soon":                 "gossiptimeout",
		"esdb://app:" + secret + "@h?maxDiscoverAttempts=0":              "maxdiscoverattempts",
		"esdb://app:" + secret + "@h?keepAliveInterval=-2":               "keepaliveinterval",
		"esdb://app:" + secret + "@h?tls=false":                          "would not be sent",
		"esdb://app:" + secret + "%zz@h1,h2":                             "cannot be read",
		"esdb://app:x" + secret + "?y@h:2113":                            "%3F",
		"esdb://app:1?" + secret + "=z@h:2113":                           "%3F",
		"esdb://app:" + secret + ":h:2113":                               "number 1",
		"esdb://h1,app:" + secret:                                        "number 2",
		"esdb://app:" + secret + "@h?tlsCaFile=/nowhere/" + "ca.crt":     "cannot be read",
		"esdb://app:" + secret + "@h?gossipTimeout=%zz":                  "query",
		"esdb://app:" + secret + "@127.0.0.1:1?userCertFile=/x":          "",
		"esdb://app:" + secret + "@127.0.0.1:1?tlsVerifyCert=false":      "",
		"esdb+discover://app:" + secret + "@localhost:1":                 "",
		"esdb://app:" + secret + "@127.0.0.1:1,127.0.0.1:2?tls=true":     "",
		"esdb://127.0.0.1:1?tls=false&keepAliveInterval=-1":              "",
		"esdb://app:" + secret + "@127.0.0.1:1/?discoveryInterval=10":    "",
		"esdb://app:" + secret + "@127.0.0.1:1?nodePreference=Leader":    "",
		"esdb://app:" + secret + "@127.0.0.1:1?gossipTimeout=1&tls=TRUE": "",
		"esdb://app:" + secret + "@127.0.0.1:1?keepAliveTimeout=10000":   "",
		"esdb://app:" + secret + "@127.0.0.1:1?maxDiscoverAttempts=1":    "",
		"://" + secret:                    "esdb://",
		"esdb:/app:" + secret + "@h":      "esdb://",
		"esdb://" + secret + "@" + "h1, ": "host",
	} {
		var said lines
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		store, err := esdb.Open(ctx, url, esdb.Options{Log: said.log()})
		cancel()
		if err == nil {
			store.Close()
		}
		shown := strings.ReplaceAll(url, secret, "***")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want that it says %q", shown, err, want)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error holds the password", shown)
		}
		if strings.Contains(said.String(), secret) {
			t.Errorf("%s: the log holds the password", shown)
		}
	}
}

// TestTheLogNamesNoStreams has the client say all that it can say.
func TestTheLogNamesNoStreams(t *testing.T) {
	t.Parallel()
	cluster := start(t, 1)
	var said lines
	store := open(t, cluster.URL(), esdb.Options{Log: said.log(), Attempt: 300 * time.Millisecond})
	const stream = "subject-p4711"
	if _, err := store.Append(t.Context(), stream, 0, events(2)); err != nil {
		t.Fatal(err)
	}
	for range store.ReadStream(t.Context(), stream, 0) {
		cluster.Node(0).Kill()
		cluster.Node(0).Restart()
	}
	if _, err := store.Append(t.Context(), stream, 1, events(1)); err == nil {
		t.Fatal("no conflict")
	}
	if text := said.String(); !strings.Contains(text, "level=DEBUG") || strings.Contains(text, "p4711") {
		t.Errorf("the log has nothing at debug, or names a stream: %s", text)
	}
}

// lines is a log that may be read while it is written.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *lines) log() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
