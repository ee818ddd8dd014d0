package esdb_test

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"

	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/eventstore/esdb"
	"github.com/chuishao/dispatch/internal/eventstore/esdb/double"
	"github.com/chuishao/dispatch/internal/eventstore/storetest"
)

func TestPromises(t *testing.T) {
	t.Parallel()
	t.Log("NOT SHOWN: durability, replication and elections. The server is a double with its history in memory; set ESDB_URL for a real one.")
	storetest.Run(t, func(t *testing.T) *storetest.Harness {
		cluster := start(t, 1)
		h := harness(t, cluster.URL())
		h.Restart = func(storetest.TB) {
			cluster.Node(0).Kill()
			cluster.Node(0).Restart()
		}
		return h
	})
}

// TestPromisesOfACluster has the server known by its gossip, and led by a node that is not always the same.
func TestPromisesOfACluster(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) *storetest.Harness {
		cluster := start(t, 3)
		cluster.Node(1).Behind(3)
		cluster.Node(2).Behind(1)
		h := harness(t, cluster.URL())
		led := 0
		h.Restart = func(storetest.TB) {
			fell := cluster.Node(led % 3)
			led++
			fell.Kill()
			cluster.Lead(cluster.Node(led % 3))
			fell.Restart()
		}
		return h
	})
}

func TestPromisesOfARealServer(t *testing.T) {
	t.Parallel()
	url := os.Getenv("ESDB_URL")
	if url == "" {
		t.Log("NOT SHOWN: that a real EventStoreDB keeps the promises, its durability and its elections. Set ESDB_URL=esdb://… to a server whose history may be written to.")
		return
	}
	storetest.Run(t, func(t *testing.T) *storetest.Harness {
		h := harness(t, url)
		h.Restart = h.Reopen // nobody here may restart that server
		return h
	})
}

// harness is of a server at a URL, without power over it.
func harness(t *testing.T, url string) *storetest.Harness {
	var at storetest.Swap
	at.Set(open(t, url, esdb.Options{}))
	return &storetest.Harness{
		Store: func() eventstore.Store { return at.Get() },
		Reopen: func(tb storetest.TB) {
			if err := at.Get().(*esdb.Store).Close(); err != nil {
				tb.Fatalf("close: %v", err)
			}
			at.Set(open(t, url, esdb.Options{}))
		},
		Foreign: func(tb storetest.TB, stream string) { foreign(tb, url, stream) },
	}
}

// foreign appends an event as another user of the server would.
func foreign(tb storetest.TB, url, stream string) {
	config, err := client.ParseConnectionString(url)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	config.Logger = client.NoopLogging()
	other, err := client.NewClient(config)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	defer other.Close()
	_, err = other.AppendToStream(tb.Context(), stream, client.AppendToStreamOptions{}, client.EventData{
		EventID: uuid.New(), EventType: "theirs", ContentType: client.ContentTypeJson, Data: []byte("{}"),
	})
	if err != nil {
		tb.Fatalf("append to %s: %v", stream, err)
	}
}

// start starts a double that is closed at the end.
func start(t testing.TB, nodes int) *double.Cluster {
	t.Helper()
	cluster, err := double.Start(nodes)
	if err != nil {
		t.Fatalf("start a server: %v", err)
	}
	t.Cleanup(cluster.Close)
	return cluster
}

// open opens what must open, and closes it at the end.
func open(t testing.TB, url string, opts esdb.Options) *esdb.Store {
	t.Helper()
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	store, err := esdb.Open(ctx, url, opts)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return store
}
