package app

import (
	"os"
	"runtime"
	"runtime/debug"
	"sync"
)

const (
	// collectAt is by how many percent the heap may outgrow what lives before garbage is collected: commands leave much garbage and
	// little that lives.
	collectAt = 400
	// heapLimit is the size, in bytes, from which the runtime rather collects than grows. SQLite's caches come on top.
	heapLimit = 256 << 20
)

// Tune sets the Go runtime up for a process that records: Serve calls it, and so does whatever records without serving. The environment
// variables GOMAXPROCS, GOGC and GOMEMLIMIT win over it. Only the first call does anything.
var Tune = sync.OnceFunc(func() {
	if os.Getenv("GOMAXPROCS") == "" {
		// Twice what the machine, or the process's share of it, can run at once: a commit holds one while the disk works.
		runtime.GOMAXPROCS(max(2*runtime.GOMAXPROCS(0), 4))
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(heapLimit)
	}
})
