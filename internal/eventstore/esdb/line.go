package esdb

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/chuishao/dispatch/internal/eventstore"
)

// line gives out one client at a time, the same to everybody, until it breaks; then the next one.
//
// A client that lost its server forgets the connection without closing it and looks for a server on the next call. If it
// finds none, it dies in a way that leaves callers hanging whatever their contexts say; and a client that is closed while
// somebody calls it panics there. So a client that is about to look again is sealed before it can: it gets no new calls;
// when those under way have ended, or after a while, it is closed, which frees whatever hangs in it after all; and a new
// one must have found a server before anybody gets it.
type line struct {
	config  esdb.Configuration
	closing context.Context
	opts    Options

	mu      sync.Mutex
	now     *client       // nil while there is none that works
	looking chan struct{} // closed when one was found; nil if nobody looks
	why     error         // what looking met last
	unfit   error         // why the server that was found cannot be used
	misled  bool          // the last client was told of a leader that does not answer
	held    int           // calls under way on all clients of the line
	closed  bool
	work    sync.WaitGroup // all goroutines of the line
}

// client is one client of a line.
type client struct {
	esdb   *esdb.Client
	alive  context.Context // ends when calls under way must end
	kill   context.CancelFunc
	users  int           // calls under way
	broken bool          // gets no new calls
	idle   chan struct{} // closed when it is broken and has no users

	door   sync.RWMutex // held, shared, by calls that ask for the connection
	sealed bool         // nobody may ask for the connection any more
}

// errSealed is a client that was sealed since it was taken.
var errSealed = errors.New("the connection was lost")

// enter lets a call begin, with a context that it must be made with. The caller calls left when it has returned.
//
// Between entering and the first look at the context's deadline the client asks for its connection. While anybody is
// there the client cannot be sealed, and once it is sealed nobody gets there.
func (c *client) enter(ctx context.Context) (_ context.Context, left func(), _ error) {
	c.door.RLock()
	if c.sealed {
		c.door.RUnlock()
		return nil, nil, errSealed
	}
	p := &passing{Context: metadata.AppendToOutgoingContext(ctx, "requires-leader", "true"), pass: sync.OnceFunc(c.door.RUnlock)}
	return p, p.pass, nil
}

// seal lets nobody ask for the connection any more.
func (c *client) seal() {
	c.door.Lock()
	defer c.door.Unlock()
	c.sealed = true
}

// passing is a context that says when its deadline is first asked for, which the client does once it has its connection.
type passing struct {
	context.Context
	pass func()
}

// Deadline is of context.Context.
func (p *passing) Deadline() (time.Time, bool) {
	p.pass()
	return p.Context.Deadline()
}

// lost reports whether a line of the client's log says that it is about to forget its connection and look for another:
// it logs the error first.
func lost(format string, args []any) bool {
	if format != "unexpected exception: %v" || len(args) != 1 {
		return false
	}
	err, ok := args[0].(error)
	return ok && status.Code(err) == codes.Unavailable
}

// misled reports whether a line of the client's log says that the leader that a node named does not answer. The client forgets that connection without
// closing it, which nobody else can.
func misled(format string) bool {
	return strings.HasPrefix(format, "exception when ") && strings.Contains(format, "suggested node")
}

func newLine(config esdb.Configuration, closing context.Context, opts Options) *line {
	return &line{config: config, closing: closing, opts: opts}
}

// close ends what is under way and waits for it.
func (l *line) close() {
	l.mu.Lock()
	l.closed = true
	if c := l.now; c != nil {
		l.retire(c)
	}
	l.mu.Unlock()
	l.work.Wait()
}

// take is a client that works, held by the caller until release. It waits for one while ctx lasts, and says then
// why there is none.
func (l *line) take(ctx context.Context) (*client, error) {
	for {
		l.mu.Lock()
		if l.closed || l.closing.Err() != nil {
			l.mu.Unlock()
			return nil, errClosed
		}
		if c := l.now; c != nil {
			c.users++
			l.held++
			l.work.Add(1)
			l.mu.Unlock()
			return c, nil
		}
		if l.unfit != nil {
			defer l.mu.Unlock()
			err := l.unfit
			l.unfit = nil // whoever asks next looks again
			return nil, err
		}
		l.look()
		looking := l.looking
		l.mu.Unlock()
		select {
		case <-looking:
		case <-l.closing.Done():
			return nil, errClosed
		case <-ctx.Done():
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.why != nil {
				return nil, fmt.Errorf("%w: no server: %w", eventstore.ErrUnavailable, l.why)
			}
			return nil, fmt.Errorf("%w: no server answers", eventstore.ErrUnavailable)
		}
	}
}

// release gives a client back.
func (l *line) release(c *client) {
	l.mu.Lock()
	c.users--
	l.held--
	if c.broken && c.users == 0 {
		close(c.idle)
	}
	l.mu.Unlock()
	l.work.Done()
}

// drop says that a client broke.
func (l *line) drop(c *client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.retire(c)
	if !l.closed && l.closing.Err() == nil {
		l.look()
	}
}

// retire lets a client get no more calls and sees to its end. The line is locked.
func (l *line) retire(c *client) {
	if l.now == c {
		l.now = nil
	}
	if c.broken {
		return
	}
	c.broken = true
	c.idle = make(chan struct{})
	if c.users == 0 {
		close(c.idle)
	}
	l.work.Go(func() { l.bury(c) })
}

// bury closes a broken client once its calls have ended. Those that have not after the time of an attempt are ended, and
// those that hang even so end by the closing, with a panic that they recover from.
func (l *line) bury(c *client) {
	if !waits(c.idle, l.opts.Attempt, l.closing.Done()) {
		c.kill()
		waits(c.idle, time.Second, nil)
	}
	c.kill()
	closeQuietly(c.esdb)
}

// waits waits for done, at most so long or until given up. It reports whether it was done.
func waits(done <-chan struct{}, most time.Duration, giveUp <-chan struct{}) bool {
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
	case <-giveUp:
	}
	return false
}

// closeQuietly closes a client that may be in any state.
func closeQuietly(c *esdb.Client) {
	defer func() { _ = recover() }()
	_ = c.Close()
}

// look begins to look for a server unless somebody does or there is one. The line is locked.
func (l *line) look() {
	if l.looking != nil || l.now != nil {
		return
	}
	l.looking = make(chan struct{})
	wait := l.misled
	l.misled = false
	l.work.Go(func() {
		if wait { // for an election; each look may cost a connection until there is a leader
			pause(l.closing, 6)
		}
		for attempt := 1; ; attempt++ {
			c, err := l.find()
			l.mu.Lock()
			l.why = err
			over := l.closed || l.closing.Err() != nil // the store is being closed, maybe this line not yet
			if err == nil {
				if l.now = c; over {
					l.retire(c)
				}
			}
			if unfit, ok := errors.AsType[*unfitError](err); ok {
				l.unfit = unfit
			}
			if err == nil || over || l.unfit != nil {
				close(l.looking)
				l.looking = nil
				l.mu.Unlock()
				return
			}
			l.mu.Unlock()
			pause(l.closing, attempt)
		}
	})
}

// find makes a client and has it find a server, alone. The client bounds that itself, by the gossip timeout for each host.
func (l *line) find() (*client, error) {
	c := &client{}
	config := l.config
	config.Logger = func(level esdb.LogLevel, format string, args ...any) {
		if lost(format, args) {
			c.seal()
			l.drop(c)
		}
		if misled(format) {
			l.mu.Lock()
			l.misled = true
			l.mu.Unlock()
			l.drop(c)
		}
		l.config.Logger(level, format, args...)
	}
	made, err := esdb.NewClient(&config)
	if err != nil {
		return nil, err
	}
	c.esdb = made
	c.alive, c.kill = context.WithCancel(context.Background())
	version, err := ask(made)
	switch {
	case err != nil && strings.Contains(err.Error(), "server version format"):
		err = &unfitError{"the server's version is not made of numbers alone, which the client cannot read; use a released version"}
	case err == nil && (version.Major < 23 || version.Major == 23 && version.Minor < 10):
		err = &unfitError{fmt.Sprintf("the server is of version %d.%d; use %s or later", version.Major, version.Minor, oldest)}
	}
	if err != nil {
		closeQuietly(made)
		c.kill()
		return nil, err
	}
	return c, nil
}

// unfitError is a server that will not do, however often it is asked.
type unfitError struct{ why string }

func (e *unfitError) Error() string { return e.why }

// ask is one call that has the client find its server.
func ask(c *esdb.Client) (version *esdb.ServerVersion, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errBroken
		}
	}()
	return c.GetServerVersion()
}

// bind is ctx, ended with the client as well.
func (c *client) bind(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(c.alive, cancel)
	return ctx, func() { stop(); cancel() }
}

// readers are the lines that reads and subscriptions go over: as many as it takes that each has room.
type readers struct {
	dial  func() *line
	mu    sync.Mutex
	lines []*line

	closed bool
}

// line is one with room for another call. Some more may get in at the same time; the server lets them wait.
func (r *readers) line() *line {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.lines {
		l.mu.Lock()
		room := l.held < streamsPerClient
		l.mu.Unlock()
		if room {
			return l
		}
	}
	l := r.dial()
	l.closed = r.closed
	r.lines = append(r.lines, l)
	return l
}

func (r *readers) close() {
	r.mu.Lock()
	r.closed = true
	lines := r.lines
	r.mu.Unlock()
	for _, l := range lines {
		l.close()
	}
}
