package importing

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/term"
)

// How often a bar moves and a line is written.
const (
	barEvery  = 200 * time.Millisecond
	lineEvery = 5 * time.Second
)

// showProgress tells w how far a run is until the function it returns is called.
func showProgress(w io.Writer, source string, size int64, read *atomic.Int64, count *counters) (stop func()) {
	if w == nil {
		return func() {}
	}
	bar, every := false, lineEvery
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		bar, every = true, barEvery
	}
	begin := time.Now()
	show := func() {
		done := count.done()
		p := progress{bar: bar, source: source, done: done, took: time.Since(begin)}
		if size > 0 {
			p.part = min(1, float64(read.Load())/float64(size))
		}
		io.WriteString(w, p.String())
	}
	end := make(chan struct{})
	var shown sync.WaitGroup
	shown.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				show()
			case <-end:
				if bar {
					show()
					io.WriteString(w, "\n")
				}
				return
			}
		}
	})
	return func() {
		close(end)
		shown.Wait()
	}
}

// progress is how far a run is at an instant.
type progress struct {
	bar    bool
	source string
	done   int64
	part   float64 // of the bytes of all files that have been read
	took   time.Duration
}

func (p progress) String() string {
	text := fmt.Sprintf("%3.0f %%  %s records", 100*p.part, thousands(p.done))
	if p.took >= time.Second {
		text += fmt.Sprintf("  %s/s", thousands(int64(float64(p.done)/p.took.Seconds())))
	}
	// Before that much is read, what is left is a guess.
	if p.part >= 0.01 && p.part < 1 && p.took >= time.Second {
		left := time.Duration(float64(p.took) * (1 - p.part) / p.part).Round(time.Second)
		text += fmt.Sprintf("  %s left", left)
	}
	if !p.bar {
		return fmt.Sprintf("import %s: %s\n", p.source, strings.TrimSpace(text))
	}
	const width = 30
	full := int(p.part * width)
	return fmt.Sprintf("\r%s [%s%s] %s\x1b[K", p.source, strings.Repeat("#", full), strings.Repeat(".", width-full), text)
}
