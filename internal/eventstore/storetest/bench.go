package storetest

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chuishao/dispatch/internal/eventstore"
)

// BenchmarkAppend appends b.N times from a number of callers at a time, each to streams of eight appends. stream names one by its caller and how many the
// caller had before; events are what the nth append records.
func BenchmarkAppend(b *testing.B, store eventstore.Store, callers int, stream func(caller, before int) string, events func(n uint64) []eventstore.Event) {
	b.Helper()
	var made atomic.Uint64
	took := make([][]time.Duration, callers)
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for before := 0; ; before++ {
				name, after := stream(caller, before), eventstore.Version(0)
				for range 8 {
					n := made.Add(1)
					if n > uint64(b.N) {
						return
					}
					list := events(n)
					started := time.Now()
					if _, err := store.Append(context.Background(), name, after, list); err != nil {
						b.Error(err)
						return
					}
					after += eventstore.Version(len(list))
					took[caller] = append(took[caller], time.Since(started))
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	all := slices.Concat(took...)
	if len(all) == 0 {
		return // what was in the way is told
	}
	slices.Sort(all)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
	b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
}
