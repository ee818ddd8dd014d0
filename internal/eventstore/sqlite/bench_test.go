package sqlite_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/eventstore/sqlite"
	"github.com/chuishao/dispatch/internal/eventstore/storetest"
)

// sized is an event of the size that most of ours have.
func sized(n uint64) eventstore.Event {
	e := eventstore.Event{Type: "TicketDispatched", Meta: make([]byte, 120), Data: make([]byte, 200)}
	binary.BigEndian.PutUint64(e.ID[:], n+1)
	binary.BigEndian.PutUint64(e.Data, n)
	return e
}

// BenchmarkAppend512 appends from 512 callers at a time, each to streams of eight events.
func BenchmarkAppend512(b *testing.B) {
	store, err := sqlite.Open(filepath.Join(b.TempDir(), "history.db"), sqlite.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	const callers = 512
	stream := func(caller, before int) string {
		return fmt.Sprintf("ticket-%08x-%027x", uint32(before*callers+caller)*2654435761, caller)
	}
	storetest.BenchmarkAppend(b, store, callers, stream, func(n uint64) []eventstore.Event { return []eventstore.Event{sized(n)} })
}

// BenchmarkScan reads a history of 200,000 events from its beginning, again and again.
func BenchmarkScan(b *testing.B) {
	const total = 200_000
	store, err := sqlite.Open(filepath.Join(b.TempDir(), "history.db"), sqlite.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	for n := uint64(0); n < total; {
		events := make([]eventstore.Event, 0, 500)
		stream := fmt.Sprintf("ticket-%036x", n)
		for range cap(events) {
			events = append(events, sized(n))
			n++
		}
		if _, err := store.Append(context.Background(), stream, 0, events); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	seen, bytes := 0, 0
	for seen < b.N {
		for e, err := range store.ReadAll(context.Background(), 0) {
			if err != nil {
				b.Fatal(err)
			}
			bytes += len(e.Data)
			if seen++; seen == b.N {
				break
			}
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(seen)/b.Elapsed().Seconds(), "events/s")
}
