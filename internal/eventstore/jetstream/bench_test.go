package jetstream_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"testing"

	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/eventstore/storetest"
)

// sized is an event of the size that most of ours have.
func sized(n uint64) eventstore.Event {
	e := eventstore.Event{Type: "TicketDispatched", Meta: make([]byte, 120), Data: make([]byte, 200)}
	binary.BigEndian.PutUint64(e.ID[:], n+1)
	binary.BigEndian.PutUint64(e.Data, n)
	return e
}

func many(n int, seed uint64) []eventstore.Event {
	events := make([]eventstore.Event, n)
	for i := range events {
		events[i] = sized(seed<<32 + uint64(i))
	}
	return events
}

// BenchmarkAppend appends to a cluster of three nodes that share this machine, from a number of callers at a time, each to streams of eight appends.
func BenchmarkAppend(b *testing.B) {
	for _, c := range []struct{ callers, events int }{{64, 1}, {512, 1}, {64, 3}} {
		b.Run(fmt.Sprintf("callers=%d/events=%d", c.callers, c.events), func(b *testing.B) {
			stream := func(caller, before int) string {
				return fmt.Sprintf("ticket-%08x-%027x", uint32(before*c.callers+caller)*2654435761, caller)
			}
			storetest.BenchmarkAppend(b, open(b, cluster.url(b, fresh())), c.callers, stream, func(n uint64) []eventstore.Event { return many(c.events, n) })
		})
	}
}

// BenchmarkReadStream reads streams of eight events, one after the other.
func BenchmarkReadStream(b *testing.B) {
	store := open(b, cluster.url(b, fresh()))
	const streams = 200
	for i := range streams {
		if _, err := store.Append(b.Context(), fmt.Sprintf("ticket-%d", i), 0, many(8, uint64(i))); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n := range b.N {
		got := 0
		for _, err := range store.ReadStream(context.Background(), fmt.Sprintf("ticket-%d", n%streams), 0) {
			if err != nil {
				b.Fatal(err)
			}
			got++
		}
		if got != 8 {
			b.Fatalf("got %d events, want 8", got)
		}
	}
}

// BenchmarkScan reads a history of 50,000 events from its beginning, again and again.
func BenchmarkScan(b *testing.B) {
	store := open(b, cluster.url(b, fresh()))
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			if _, err := store.Append(context.Background(), fmt.Sprintf("ticket-%d", i), 0, many(500, uint64(i))); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	b.ReportAllocs()
	b.ResetTimer()
	seen := 0
	for seen < b.N && !b.Failed() {
		for _, err := range store.ReadAll(context.Background(), 0) {
			if err != nil {
				b.Fatal(err)
			}
			if seen++; seen == b.N {
				break
			}
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(seen)/b.Elapsed().Seconds(), "events/s")
}
