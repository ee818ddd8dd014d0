package sqlite_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/eventstore/sqlite"
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
	var made atomic.Uint64
	took := make([][]time.Duration, callers)
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for life := 0; ; life++ {
				stream := fmt.Sprintf("ticket-%08x-%027x", uint32(life*callers+c)*2654435761, c)
				for v := range 8 {
					n := made.Add(1)
					if n > uint64(b.N) {
						return
					}
					events := []eventstore.Event{sized(n)}
					started := time.Now()
					if _, err := store.Append(context.Background(), stream, eventstore.Version(v), events); err != nil {
						b.Error(err)
						return
					}
					took[c] = append(took[c], time.Since(started))
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	all := slices.Concat(took...)
	slices.Sort(all)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
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
