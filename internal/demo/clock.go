package demo

import (
	"sync"
	"time"
)

// clock is the node's clock while the demo plays: it stands, runs at a speed up to an instant, or runs as any clock does. It never goes back.
type clock struct {
	mu    sync.Mutex
	from  time.Time // what it showed at since
	since time.Time // real
	speed float64   // 0: it stands
	until time.Time // where it stops; zero for nowhere
}

// Now is what the clock shows.
func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now(time.Now())
}

func (c *clock) now(real time.Time) time.Time {
	now := c.from.Add(time.Duration(float64(real.Sub(c.since)) * c.speed))
	if !c.until.IsZero() && now.After(c.until) {
		return c.until
	}
	return now
}

// stop moves the clock on to an instant and stands there. An instant that has passed changes only that it stands.
func (c *clock) stop(at time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	real := time.Now()
	if now := c.now(real); at.Before(now) {
		at = now
	}
	c.from, c.since, c.speed, c.until = at, real, 0, time.Time{}
	return at
}

// run lets the clock run at a speed from what it shows, up to an instant: zero for no end.
func (c *clock) run(speed float64, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	real := time.Now()
	c.from, c.since, c.speed, c.until = c.now(real), real, speed, until
}
