package sqlite

import (
	"context"
	"errors"
	"sync"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/chuishao/dispatch/internal/eventstore"
)

const (
	// A group is bounded so that the first caller of a long queue does not wait for the last.
	maxGroup      = 1024
	maxGroupBytes = 4 << 20
)

// Append implements eventstore.Store. Cancelled while it queues, it records nothing and returns the context's
// error; cancelled later, it waits for the outcome, which is at most one commit away.
func (s *Store) Append(ctx context.Context, stream string, after eventstore.Version, events []eventstore.Event) (eventstore.Position, error) {
	if err := eventstore.Check(stream, events); err != nil {
		return 0, err
	}
	if s.opts.ReadOnly {
		return 0, ErrReadOnly
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	at, epoch, known := s.heads.get(stream)
	if !known && after > 0 {
		// On the caller's goroutine rather than the writer's. A stream that is taken for new mostly is, and the writer, who has a transaction
		// open, finds that out for less.
		var err error
		if at, err = s.lookInFile(ctx, stream, epoch); err != nil {
			return 0, err
		}
	}
	// The stream can only have grown since, so what is behind stays behind. What is ahead is left to the writer: a
	// reader may have seen a commit that the heads do not know yet.
	if at.version > int64(after) {
		return s.settle(ctx, stream, at, after, events)
	}
	req := requests.Get().(*request)
	req.stream, req.after, req.events = stream, int64(after), events
	req.size = 0
	for i := range events {
		req.size += events[i].Size()
	}
	if !s.queue.push(req) {
		return 0, errClosed
	}
	select {
	case <-req.done:
	case <-ctx.Done():
		if s.queue.withdraw(req) {
			return 0, ctx.Err() // the writer drops the request when it comes to it
		}
		<-req.done
	}
	position, err := req.position, req.err
	req.events, req.err = nil, nil
	requests.Put(req)
	return eventstore.Position(position), err
}

// lookInFile reads where a stream stands and adds it to the heads if they came to epoch, and no further.
func (s *Store) lookInFile(ctx context.Context, stream string, epoch uint64) (head, error) {
	r, err := s.readers.take(ctx, s)
	if err != nil {
		return head{}, s.explain("look up the stream", err)
	}
	defer s.readers.put(r)
	at, err := r.lookup.head(stream)
	if err != nil {
		return head{}, s.explain("look up the stream", err)
	}
	if !s.opts.ReadOnly {
		s.heads.offer(stream, at, epoch)
	}
	return at, nil
}

// settle answers an append to a stream that is past the caller's version: either these events are what was recorded
// there, or it is a conflict.
func (s *Store) settle(ctx context.Context, stream string, at head, after eventstore.Version, events []eventstore.Event) (eventstore.Position, error) {
	r, err := s.readers.take(ctx, s)
	if err != nil {
		return 0, s.explain("compare with what is recorded", err)
	}
	defer s.readers.put(r)
	position, same, err := r.lookup.same(at, int64(after), events)
	if err != nil {
		return 0, s.explain("compare with what is recorded", err)
	}
	if !same {
		return 0, &eventstore.ConflictError{Stream: stream, After: after, Actual: eventstore.Version(at.version)}
	}
	return eventstore.Position(position), nil
}

// request is one append on its way through the queue. Between push and done it belongs to the writer.
type request struct {
	stream string
	after  int64
	events []eventstore.Event
	size   int
	state  state // guarded by queue.mu

	position int64
	err      error
	done     chan struct{} // holds one, so that the writer never waits
}

type state int

const (
	queued state = iota
	taken
	withdrawn
)

var requests = sync.Pool{New: func() any { return &request{done: make(chan struct{}, 1)} }}

// queue holds appends until the writer takes them.
type queue struct {
	mu      sync.Mutex
	waiting []*request
	closed  bool
	more    chan struct{} // holds one; tells the writer to look
}

func (q *queue) init() { q.more = make(chan struct{}, 1) }

func (q *queue) push(r *request) bool {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return false
	}
	r.state = queued
	q.waiting = append(q.waiting, r)
	first := len(q.waiting) == 1
	q.mu.Unlock()
	if first {
		q.signal()
	}
	return true
}

func (q *queue) signal() {
	select {
	case q.more <- struct{}{}:
	default:
	}
}

// withdraw takes a request back unless the writer has it already.
func (q *queue) withdraw(r *request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if r.state == taken {
		return false
	}
	r.state = withdrawn
	return true
}

// take appends to group what is next, waiting for it if need be. It returns none when the queue is closed and empty.
func (q *queue) take(group []*request) []*request {
	for {
		q.mu.Lock()
		n, size := 0, 0
		for n < len(q.waiting) && len(group) < maxGroup && size < maxGroupBytes {
			if r := q.waiting[n]; r.state == queued {
				r.state = taken
				size += r.size
				group = append(group, r)
			}
			n++
		}
		rest := copy(q.waiting, q.waiting[n:])
		clear(q.waiting[rest:])
		q.waiting = q.waiting[:rest]
		closed := q.closed
		q.mu.Unlock()
		if rest > 0 {
			q.signal()
		}
		if len(group) > 0 || (closed && rest == 0) {
			return group
		}
		<-q.more
	}
}

func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.signal()
}

// writer is the only one that writes events. Its fields belong to its goroutine.
type writer struct {
	store  *Store
	conn   *sqlite.Conn
	lookup lookup
	begin  *sqlite.Stmt
	commit *sqlite.Stmt
	insert *sqlite.Stmt
	open   *sqlite.Stmt // records a stream's name
	finish *sqlite.Stmt // moves the rest of the log into the file

	next    int64           // position of the next event
	changed map[string]head // by the group under way
	doubt   bool            // a commit failed: next and the heads may be wrong
}

func newWriter(s *Store) *writer {
	return &writer{store: s, changed: make(map[string]head), doubt: true}
}

func (w *writer) connect() error {
	conn, err := openWriter(w.store.path)
	if err != nil {
		return explainOpen(w.store.path, err)
	}
	w.conn = conn
	for _, p := range []struct {
		stmt  **sqlite.Stmt
		query string
	}{
		{&w.begin, "BEGIN IMMEDIATE"},
		{&w.commit, "COMMIT"},
		{&w.insert, "INSERT INTO events (position, stream, version, name, type, id, meta, data) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"},
		{&w.open, "INSERT INTO streams (name, first) VALUES ($1, $2)"},
		{&w.finish, "PRAGMA wal_checkpoint(PASSIVE)"},
	} {
		if *p.stmt, err = conn.Prepare(p.query); err != nil {
			return errors.Join(explainOpen(w.store.path, err), w.disconnect())
		}
	}
	if w.lookup, err = newLookup(conn); err != nil {
		return errors.Join(explainOpen(w.store.path, err), w.disconnect())
	}
	return nil
}

func (w *writer) disconnect() error {
	if w.conn == nil {
		return nil
	}
	err := w.conn.Close()
	w.conn = nil
	return err
}

// run commits groups until the queue is closed and empty.
func (w *writer) run() {
	var group []*request
	for {
		group = w.store.queue.take(group[:0])
		if len(group) == 0 {
			return
		}
		started := time.Now()
		bytes, err := w.record(group)
		if err != nil {
			err = w.store.explain("record events", err)
			w.recover()
			for _, r := range group {
				r.position, r.err = 0, err
			}
		} else if w.store.opts.OnCommit != nil {
			w.store.opts.OnCommit(len(group), time.Since(started))
		}
		for i, r := range group {
			r.done <- struct{}{}
			group[i] = nil
		}
		if err == nil && w.store.wal.grown(bytes) {
			w.finishCheckpoint()
		}
	}
}

// record makes one durable commit of all appends of the group that may be made, and gives each its outcome. With an
// error nothing of the group is recorded, as far as is known. It returns about how much the log has grown.
func (w *writer) record(group []*request) (int, error) {
	if w.conn == nil {
		if err := w.connect(); err != nil {
			return 0, err
		}
	}
	if _, err := w.begin.Step(); err != nil {
		return 0, err
	}
	if w.doubt {
		last, err := w.lookup.end()
		if err != nil {
			return 0, err
		}
		w.store.heads.forget()
		w.next, w.doubt = last+1, false
	}
	clear(w.changed)
	bytes := 0
	for _, r := range group {
		if err := w.append(r); err != nil {
			return 0, err
		}
		bytes += r.size + 2*pageSize
	}
	if _, err := w.commit.Step(); err != nil {
		return 0, err
	}
	w.store.heads.commit(w.changed)
	w.store.news.tell()
	return bytes, nil
}

func (w *writer) append(r *request) error {
	at, known := w.changed[r.stream]
	if !known {
		var err error
		if at, _, known = w.store.heads.get(r.stream); !known {
			if at, err = w.lookup.head(r.stream); err != nil {
				return err
			}
		}
	}
	if at.version != r.after {
		position, same, err := w.lookup.same(at, r.after, r.events)
		if err != nil {
			return err
		}
		r.position, r.err = position, nil
		if !same {
			r.err = &eventstore.ConflictError{Stream: r.stream, After: eventstore.Version(r.after), Actual: eventstore.Version(at.version)}
		}
		return nil
	}
	if at.first == 0 {
		at.first = w.next
		w.open.BindText(1, r.stream)
		w.open.BindInt64(2, at.first)
		if err := w.exec(w.open); err != nil {
			return err
		}
	}
	for i := range r.events {
		e := &r.events[i]
		at.version++
		w.insert.BindInt64(1, w.next)
		w.insert.BindInt64(2, at.first)
		w.insert.BindInt64(3, at.version)
		w.insert.BindText(4, r.stream)
		w.insert.BindText(5, e.Type)
		w.insert.BindBytes(6, e.ID[:])
		w.insert.BindBytes(7, e.Meta)
		w.insert.BindBytes(8, e.Data)
		if err := w.exec(w.insert); err != nil {
			return err
		}
		w.next++
	}
	r.position, r.err = w.next-1, nil
	w.changed[r.stream] = at
	return nil
}

func (w *writer) exec(stmt *sqlite.Stmt) error {
	if _, err := stmt.Step(); err != nil {
		return err
	}
	return stmt.Reset()
}

// recover ends a transaction that failed. If even that fails the connection is given up; the next group opens another.
func (w *writer) recover() {
	w.doubt = true
	if w.conn == nil {
		return
	}
	for _, stmt := range []*sqlite.Stmt{w.begin, w.commit, w.insert, w.open} {
		stmt.Reset() // its error is the one already known
	}
	if w.conn.AutocommitEnabled() {
		return
	}
	if err := sqlitex.ExecuteTransient(w.conn, "ROLLBACK", nil); err != nil || !w.conn.AutocommitEnabled() {
		w.disconnect() // closing rolls back
	}
}
