package faults

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/rpc"
)

// books are the answers that callers got.
type books struct {
	callers []*caller

	mu       sync.Mutex
	answers  map[string]answer   // by request id
	token    eventstore.Position // the furthest that was answered
	retried  int                 // commands that were sent more than once
	attempts int                 // calls in all
	resolved int                 // commands whose outcome was unknown, and that had been carried out
	previous time.Time           // of the last answer; zero before the first
	longest  time.Duration       // without any answer
	since    time.Time           // when that began
	answered chan struct{}       // closed at the next answer
}

func newBooks() *books {
	return &books{answers: map[string]answer{}, answered: make(chan struct{})}
}

// enter notes an answer that took so many attempts.
func (b *books) enter(id string, a answer, attempts int) error {
	position, err := rpc.ParseToken("consistency_token", a.GetConsistencyToken())
	if err != nil {
		return fmt.Errorf("%s was answered with the token %q", id, a.GetConsistencyToken())
	}
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answers[id] = a
	b.token = max(b.token, position)
	b.attempts += attempts
	if attempts > 1 {
		b.retried++
		if a.GetRepeated() {
			b.resolved++
		}
	}
	if pause := now.Sub(b.previous); !b.previous.IsZero() && pause > b.longest {
		b.longest, b.since = pause, b.previous
	}
	b.previous = now
	close(b.answered)
	b.answered = make(chan struct{})
	return nil
}

// last is the furthest position that was answered.
func (b *books) last() eventstore.Position {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.token
}

// next is a channel that is closed at the next answer.
func (b *books) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.answered
}

// caller gives the commands of some tickets, each until it is answered: by another dispatcher if one does not.
type caller struct {
	books *books
	fleet []*member
	at    int // the dispatcher that it calls
	lives []*life
}

// livesEach is how many tickets a caller has under way.
const livesEach = 3

func newCaller(r *run, c *city, n int) *caller {
	one := &caller{books: r.books, fleet: r.dispatchers, at: n % len(r.dispatchers)}
	for i := range livesEach {
		one.lives = append(one.lives, &life{city: c, random: r.draw(uint64(1000 + n*livesEach + i)), prefix: fmt.Sprintf("faults/%d/%d", n, i)})
	}
	return one
}

// call gives one command after the other until done is closed. A command that is refused, or fails for another reason than that somebody was not
// there, is an error.
func (c *caller) call(ctx context.Context, done <-chan struct{}) error {
	for turn := 0; ; turn++ {
		select {
		case <-done:
			return nil
		default:
		}
		l := c.lives[turn%len(c.lives)]
		a, err := c.until(ctx, l.next())
		if err != nil {
			return err
		}
		l.done(a.GetName())
	}
}

// An attempt takes at most answersWithin; after one that was not answered comes a pause.
const (
	answersWithin = 25 * time.Second
	betweenTries  = 50 * time.Millisecond
)

func (c *caller) until(ctx context.Context, what command) (answer, error) {
	for attempt := 1; ; attempt++ {
		conn := c.fleet[c.at].now()
		call, cancel := context.WithTimeout(metadata.NewOutgoingContext(ctx, what.by), answersWithin)
		err := conn.Invoke(call, what.method, what.message, what.answer)
		cancel()
		if err == nil {
			return what.answer, c.books.enter(what.id, what.answer, attempt)
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%s: %w", what.id, ctx.Err())
		}
		if !unknown(err) {
			return nil, fmt.Errorf("%s at %s: %w", what.id, c.fleet[c.at].name, err)
		}
		c.at = (c.at + 1) % len(c.fleet)
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: %w", what.id, ctx.Err())
		case <-time.After(betweenTries):
		}
	}
}

// unknown says that the outcome of a call is not known, or that nobody was there.
func unknown(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded:
		return true
	}
	return false
}
