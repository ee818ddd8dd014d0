package app

import (
	"os"
	"runtime"
	"sync"
)

// Tune sets the Go runtime up for a process that records: Serve calls it, and so does whatever records without serving. The environment
// variable GOMAXPROCS wins over it. Only the first call does anything.
var Tune = sync.OnceFunc(func() {
	if os.Getenv("GOMAXPROCS") == "" {
		// Twice what the machine, or the process's share of it, can run at once: a commit holds one while the disk works.
		runtime.GOMAXPROCS(max(2*runtime.GOMAXPROCS(0), 4))
	}
})
