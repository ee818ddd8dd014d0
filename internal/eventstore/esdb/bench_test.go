package esdb_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/eventstore/esdb"
	"github.com/chuishao/dispatch/internal/eventstore/storetest"
)

// at opens the store to be measured: a server at ESDB_URL, or a double, which measures the client and the adapter alone.
func at(b *testing.B) *esdb.Store {
	url := os.Getenv("ESDB_URL")
	if url == "" {
		url = start(b, 1).URL()
	}
	return open(b, url, esdb.Options{})
}

// run makes the names of streams of one run differ from those of another.
var run = time.Now().UnixNano()

// sized is an event of the size that most of ours have.
func sized(n uint64) eventstore.Event {
	e := eventstore.Event{Type: "TicketDispatched", Meta: make([]byte, 120), Data: make([]byte, 200)}
	binary.BigEndian.PutUint64(e.ID[:], n+1)
	binary.BigEndian.PutUint64(e.ID[8:], uint64(run))
	return e
}

// BenchmarkAppend appends from so many callers at a time, each to streams of eight events.
func BenchmarkAppend(b *testing.B) {
	for _, callers := range []int{1, 16, 128, 512} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			stream := func(caller, before int) string { return fmt.Sprintf("ticket-%x-%x-%x-%x", run, b.N, caller, before) }
			storetest.BenchmarkAppend(b, at(b), callers, stream, func(n uint64) []eventstore.Event { return []eventstore.Event{sized(n)} })
		})
	}
}

// BenchmarkScan reads a history of 50,000 events from its beginning, again and again, and follows it as a subscriber.
func BenchmarkScan(b *testing.B) {
	const total = 50_000
	store := at(b)
	from, err := store.Head(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	for n := uint64(0); n < total; {
		events := make([]eventstore.Event, 0, 500)
		stream := fmt.Sprintf("ticket-%x-scan-%x", run, n)
		for range cap(events) {
			events = append(events, sized(n))
			n++
		}
		if _, err := store.Append(context.Background(), stream, 0, events); err != nil {
			b.Fatal(err)
		}
	}
	for _, which := range []string{"ReadAll", "Subscribe"} {
		b.Run(which, func(b *testing.B) {
			b.ReportAllocs()
			seen := 0
			for seen < b.N {
				sequence := store.ReadAll(context.Background(), from)
				if which == "Subscribe" {
					sequence = store.Subscribe(context.Background(), from)
				}
				n := 0
				for _, err := range sequence {
					if err != nil {
						b.Fatal(err)
					}
					n++
					if seen++; seen == b.N || n == total {
						break
					}
				}
			}
			b.ReportMetric(float64(seen)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
