// Package jetstream keeps histories in a stream of NATS JetStream, in the one shape that keeps the promises of package eventstore:
// servers of version 2.15.2 or later, three replicas or more, each of which flushes to disk before it acknowledges
// (sync_interval: always), and one exact subject for each of our streams. Open refuses everything else.
//
// An append is one message, or one atomic batch of them, that says what the last message of its subject must be. Of a message whose outcome was not
// learnt the leader is asked, and it is sent again: at most one copy can follow its predecessor.
//
// Replicas answer for what they have applied and may be behind. How far a stream or the history goes is therefore asked of the leader, and what
// a replica does not have yet is read there too. While the network is split, a leader that was replaced may for some seconds answer with what it knew; it
// cannot record anything. What a store has recorded itself it also reads then.
package jetstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chuishao/dispatch/internal/eventstore"
)

// Options of Open. The zero value is right for a server.
type Options struct {
	// Batches is the largest number of appends of more than one event that are under way at a time; further ones wait. All dispatchers of a
	// stream together should stay below its max_inflight_per_stream, which is 50 unless the servers are told otherwise. 0 means 40.
	Batches int

	// Patience is how long a call goes on trying while no server answers or no leader is elected, which takes 4 to 9 s after a leader
	// was lost. 0 means 15 s.
	Patience time.Duration

	// Existing refuses a stream that is not there, where it would be made otherwise.
	Existing bool

	// Heads is how many streams' ends are held in memory, at about 200 bytes each. 0 means 65,536.
	Heads int
}

// Store is an eventstore.Store in a stream of JetStream. It is safe for concurrent use.
type Store struct {
	address address
	opts    Options
	nc      *nats.Conn
	js      jetstream.JetStream
	monitor *http.Client
	created time.Time // of the stream: another one of this name is another history

	closing context.Context // ends when Close begins
	close   context.CancelFunc
	running sync.WaitGroup
	refused atomic.Pointer[OpenError] // what was found wrong with a server since

	link    link
	news    news
	heads   heads
	batches chan struct{} // holds one for each batch under way
}

var _ eventstore.Store = (*Store)(nil)

// errClosed is what calls on a closed store return.
var errClosed = fmt.Errorf("%w: history is closed", eventstore.ErrUnavailable)

// HistoryError says that the stream is not the history that a position or an event of it belongs to: it was made anew, restored from an older backup, or
// events were taken out of it. It does not pass.
type HistoryError struct {
	Stream string // the stream of JetStream
	Detail string
}

func (e *HistoryError) Error() string {
	return fmt.Sprintf("history in stream %s is not what it was: %s; stop the service and restore the history, or build the views anew", e.Stream, e.Detail)
}

// Head returns the position that the history has come to, as its leader knows it.
func (s *Store) Head(ctx context.Context) (eventstore.Position, error) {
	end, err := s.head(ctx, 0)
	return eventstore.Position(end), err
}

// Close ends all calls and subscriptions with an error that Is eventstore.ErrUnavailable.
func (s *Store) Close() error {
	s.close()
	s.nc.Close()
	s.running.Wait()
	s.monitor.CloseIdleConnections()
	return nil
}

// watch looks at the servers again and again, since one may come back with other settings. Those that have not been seen yet are asked
// more often.
func (s *Store) watch(unseen bool) {
	for {
		wait := time.Minute
		if unseen {
			wait = 5 * time.Second
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-s.closing.Done():
			timer.Stop()
			return
		}
		seen, err := s.checkNodes(s.closing)
		refusal, wrong := errors.AsType[*OpenError](err)
		wrong = wrong && !errors.Is(err, eventstore.ErrUnavailable)
		if wrong {
			s.refused.Store(refusal)
		} else if err == nil && seen {
			s.refused.Store(nil)
		}
		unseen = wrong || err != nil || !seen
	}
}

// link tells requests under way that the connection was lost, so that they need not wait for an answer that cannot come.
type link struct {
	mu   sync.Mutex
	up   context.Context
	lost context.CancelFunc
	back chan struct{} // closed when the connection is there again

	silent time.Time // when the first of the requests was made that no leader has answered since; zero if the last one was answered
}

// answered notes whether a leader answered a request that was made at an instant, and tells whether none has for so long that the server should be left.
func (l *link) answered(yes bool, made time.Time) (leave bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case yes:
		l.silent = time.Time{}
	case l.silent.IsZero():
		l.silent = made
	}
	if leave = !yes && time.Since(l.silent) > leaveAfter; leave {
		l.silent = time.Time{} // the next one gets as much time
	}
	return leave
}

func (l *link) init() {
	l.up, l.lost = context.WithCancel(context.Background())
	l.back = make(chan struct{})
}

func (l *link) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost()
}

func (l *link) restore() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost()
	l.up, l.lost = context.WithCancel(context.Background())
	close(l.back)
	l.back = make(chan struct{})
}

func (l *link) now() (up context.Context, back <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.up, l.back
}

// judge notes what came of a request to a leader that was made at an instant. A server that the others do not reach keeps its clients, and can answer none
// of these: after a while another server is tried.
func (s *Store) judge(err error, made time.Time) {
	if errors.Is(err, context.Canceled) { // nobody waits for it any more
		return
	}
	refusal, ok := errors.AsType[*apiError](err)
	if s.link.answered(err == nil || ok && !refusal.leaderless(), made) {
		_ = s.nc.ForceReconnect() // fails only if it is closed
	}
}

// news tells subscriptions how far the history has come.
type news struct {
	mu     sync.Mutex
	latest uint64
	signal chan struct{} // nil if nobody waits
}

// next returns the latest position heard of, and a channel that is closed at a later one.
func (n *news) next() (uint64, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.signal == nil {
		n.signal = make(chan struct{})
	}
	return n.latest, n.signal
}

func (n *news) tell(position uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if position <= n.latest {
		return
	}
	n.latest = position
	if n.signal != nil {
		close(n.signal)
		n.signal = nil
	}
}
