package sqlite

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/chuishao/dispatch/internal/eventstore"
)

const (
	// A page is read in one go and handed out after the file is let go again, so that a slow reader never keeps the
	// log from being moved into the file.
	pageEvents = 2048
	pageBytes  = 2 << 20
	slabBytes  = 16 << 10

	// pollEvery is how soon a ReadOnly subscription sees what another process wrote.
	pollEvery = 50 * time.Millisecond

	pageSize = 4096
)

// ReadStream implements eventstore.Store. A name that breaks the rules of the port is a *eventstore.LimitError.
func (s *Store) ReadStream(ctx context.Context, stream string, after eventstore.Version) iter.Seq2[eventstore.Recorded, error] {
	return func(yield func(eventstore.Recorded, error) bool) {
		if err := eventstore.CheckStream(stream); err != nil {
			yield(eventstore.Recorded{}, err)
			return
		}
		at, epoch, ok := s.heads.get(stream)
		if !ok || at.first == 0 {
			// Known as empty is not enough: the heads may be behind a commit that a reader has seen in the file.
			var err error
			if at, err = s.lookInFile(ctx, stream, epoch); err != nil {
				yield(eventstore.Recorded{}, err)
				return
			}
		}
		if at.first == 0 {
			return
		}
		fetch := func(r *reader, page []eventstore.Recorded) ([]eventstore.Recorded, error) {
			return r.stream(page, stream, at.first, after, pageEvents)
		}
		var page []eventstore.Recorded
		for {
			var err error
			page, err = s.page(ctx, page[:0], fetch)
			if !hand(ctx, page, yield) {
				return
			}
			if err != nil {
				yield(eventstore.Recorded{}, err)
				return
			}
			if !full(page) {
				return
			}
			after = page[len(page)-1].Version
		}
	}
}

// ReadAll implements eventstore.Store. The present end is where the history ends when the sequence is begun.
func (s *Store) ReadAll(ctx context.Context, after eventstore.Position) iter.Seq2[eventstore.Recorded, error] {
	return func(yield func(eventstore.Recorded, error) bool) {
		end, err := s.Head(ctx)
		if err != nil {
			yield(eventstore.Recorded{}, err)
			return
		}
		fetch := func(r *reader, page []eventstore.Recorded) ([]eventstore.Recorded, error) {
			return r.all(page, after, pageEvents)
		}
		var page []eventstore.Recorded
		for after < end {
			page, err = s.page(ctx, page[:0], fetch)
			for len(page) > 0 && page[len(page)-1].Position > end {
				page = page[:len(page)-1]
			}
			if !hand(ctx, page, yield) {
				return
			}
			if err != nil {
				if len(page) > 0 {
					after = page[len(page)-1].Position
				}
				yield(eventstore.Recorded{}, s.place(ctx, after, err))
				return
			}
			if len(page) == 0 {
				return
			}
			after = page[len(page)-1].Position
		}
	}
}

// Subscribe implements eventstore.Store. It also ends when the store is closed, with an error that Is
// eventstore.ErrUnavailable.
func (s *Store) Subscribe(ctx context.Context, after eventstore.Position) iter.Seq2[eventstore.Recorded, error] {
	return func(yield func(eventstore.Recorded, error) bool) {
		fetch := func(r *reader, page []eventstore.Recorded) ([]eventstore.Recorded, error) {
			return r.all(page, after, pageEvents)
		}
		var page []eventstore.Recorded
		for {
			news := s.news.next() // before the look, so that nothing slips in between
			var err error
			if page, err = s.page(ctx, page[:0], fetch); err != nil {
				yield(eventstore.Recorded{}, err)
				return
			}
			if len(page) > 0 {
				if !hand(ctx, page, yield) {
					return
				}
				after = page[len(page)-1].Position
				continue
			}
			if cap(page) > 64 {
				page = nil // waiting may be long
			}
			if err := s.await(ctx, news); err != nil {
				yield(eventstore.Recorded{}, err)
				return
			}
		}
	}
}

// await returns when there may be more to read.
func (s *Store) await(ctx context.Context, news <-chan struct{}) error {
	var poll <-chan time.Time
	if s.opts.ReadOnly {
		timer := time.NewTimer(pollEvery)
		defer timer.Stop()
		poll = timer.C
	}
	select {
	case <-news:
	case <-poll:
	case <-s.closing:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// page reads one page on a connection of its own and frees it. With an error comes what was read before it: a damaged file tells so where exactly it
// is damaged.
func (s *Store) page(ctx context.Context, page []eventstore.Recorded, fetch func(*reader, []eventstore.Recorded) ([]eventstore.Recorded, error)) ([]eventstore.Recorded, error) {
	r, err := s.readers.take(ctx, s)
	if err != nil {
		return page, s.explain("read events", err)
	}
	defer s.readers.put(r)
	page, err = fetch(r, page)
	if err != nil {
		return page, s.explain("read events", err)
	}
	return page, nil
}

// place adds to an error of damage which event comes next after a position, as the index of versions has it.
func (s *Store) place(ctx context.Context, after eventstore.Position, err error) error {
	if _, ok := errors.AsType[*CorruptError](err); !ok {
		return err
	}
	r, failed := s.readers.take(ctx, s)
	if failed != nil {
		return err
	}
	defer s.readers.put(r)
	next, failed := text(r.conn, fmt.Sprintf("SELECT s.name || '@' || e.version FROM events e INDEXED BY events_by_stream JOIN streams s ON s.first = e.stream WHERE e.stream > 0 AND e.position > %d ORDER BY e.position LIMIT 1", after))
	if failed != nil || next == "" {
		return err
	}
	return fmt.Errorf("event %s, the next after position %d, cannot be read: %w", next, after, err)
}

// hand yields a page and reports whether to go on.
func hand(ctx context.Context, page []eventstore.Recorded, yield func(eventstore.Recorded, error) bool) bool {
	for i := range page {
		if err := ctx.Err(); err != nil {
			yield(eventstore.Recorded{}, err)
			return false
		}
		if !yield(page[i], nil) {
			return false
		}
	}
	return true
}

// full reports whether there may be more after a page.
func full(page []eventstore.Recorded) bool {
	if len(page) >= pageEvents {
		return true
	}
	bytes := 0
	for i := range page {
		bytes += len(page[i].Meta) + len(page[i].Data)
	}
	return bytes >= pageBytes
}

// news tells subscribers of this process that something was committed.
type news struct {
	mu     sync.Mutex
	signal chan struct{} // nil if nobody waits
}

// next returns a channel that is closed at the next commit.
func (n *news) next() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.signal == nil {
		n.signal = make(chan struct{})
	}
	return n.signal
}

func (n *news) tell() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.signal != nil {
		close(n.signal)
		n.signal = nil
	}
}

// readers is a pool of connections for reading, opened when first needed.
type readers struct {
	slots chan *reader // nil stands for one not yet opened
}

func (p *readers) init(n int) {
	p.slots = make(chan *reader, n)
	for range n {
		p.slots <- nil
	}
}

func (p *readers) take(ctx context.Context, s *Store) (*reader, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case <-s.closing:
		return nil, errClosed
	default:
	}
	select {
	case r := <-p.slots:
		if r != nil {
			return r, nil
		}
		r, err := newReader(s.path)
		if err != nil {
			p.slots <- nil
			return nil, err
		}
		return r, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.closing:
		return nil, errClosed
	}
}

func (p *readers) put(r *reader) { p.slots <- r }

// close waits for every connection to come back and closes it.
func (p *readers) close() error {
	var all error
	for range cap(p.slots) {
		if r := <-p.slots; r != nil {
			all = errors.Join(all, r.conn.Close())
		}
	}
	return all
}

// lookup holds the statements that decide about an append; the writer has one on its own connection.
type lookup struct {
	name    *sqlite.Stmt
	version *sqlite.Stmt
	ids     *sqlite.Stmt
	last    *sqlite.Stmt
}

func newLookup(conn *sqlite.Conn) (lookup, error) {
	var l lookup
	for _, p := range []struct {
		stmt  **sqlite.Stmt
		query string
	}{
		{&l.name, "SELECT first FROM streams WHERE name = $1"},
		{&l.version, "SELECT max(version) FROM events WHERE stream = $1"},
		{&l.ids, "SELECT position, id FROM events WHERE stream = $1 AND version > $2 ORDER BY version LIMIT $3"},
		{&l.last, "SELECT max(position) FROM events"},
	} {
		var err error
		if *p.stmt, err = conn.Prepare(p.query); err != nil {
			return l, err
		}
	}
	return l, nil
}

// head reads where a stream stands.
func (l *lookup) head(stream string) (head, error) {
	defer l.name.Reset()
	l.name.BindText(1, stream)
	if found, err := l.name.Step(); err != nil || !found {
		return head{}, err
	}
	at := head{first: l.name.ColumnInt64(0)}
	defer l.version.Reset()
	l.version.BindInt64(1, at.first)
	if _, err := l.version.Step(); err != nil {
		return head{}, err
	}
	at.version = l.version.ColumnInt64(0)
	return at, nil
}

// same reports whether the events of a stream after a version are these, and the position of the last of them.
func (l *lookup) same(at head, after int64, events []eventstore.Event) (position int64, same bool, err error) {
	if at.version < after+int64(len(events)) {
		return 0, false, nil
	}
	defer l.ids.Reset()
	l.ids.BindInt64(1, at.first)
	l.ids.BindInt64(2, after)
	l.ids.BindInt64(3, int64(len(events)))
	for i := range events {
		found, err := l.ids.Step()
		if err != nil || !found {
			return 0, false, err
		}
		var id [16]byte
		if l.ids.ColumnBytes(1, id[:]); id != events[i].ID {
			return 0, false, nil
		}
		position = l.ids.ColumnInt64(0)
	}
	return position, true, nil
}

// end is the position of the last event.
func (l *lookup) end() (int64, error) {
	defer l.last.Reset()
	if _, err := l.last.Step(); err != nil {
		return 0, err
	}
	return l.last.ColumnInt64(0), nil
}

// reader is one connection for reading and its statements. One goroutine at a time.
type reader struct {
	conn     *sqlite.Conn
	lookup   lookup
	everyone *sqlite.Stmt
	one      *sqlite.Stmt

	types map[string]string // so that an event's type costs no memory of its own
}

func newReader(path string) (*reader, error) {
	conn, err := openReader(path)
	if err != nil {
		return nil, err
	}
	r := &reader{conn: conn, types: make(map[string]string)}
	if r.lookup, err = newLookup(conn); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if r.everyone, err = conn.Prepare("SELECT position, version, type, id, meta, data, name FROM events WHERE position > $1 ORDER BY position LIMIT $2"); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if r.one, err = conn.Prepare("SELECT position, version, type, id, meta, data FROM events WHERE stream = $1 AND version > $2 ORDER BY version LIMIT $3"); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return r, nil
}

func (r *reader) head() (int64, error) { return r.lookup.end() }

// all appends to page the events of all streams after a position.
func (r *reader) all(page []eventstore.Recorded, after eventstore.Position, limit int) ([]eventstore.Recorded, error) {
	r.everyone.BindInt64(1, int64(after))
	r.everyone.BindInt64(2, int64(limit))
	return r.fill(page, r.everyone, "")
}

// stream appends to page the events of one stream after a version.
func (r *reader) stream(page []eventstore.Recorded, name string, first int64, after eventstore.Version, limit int) ([]eventstore.Recorded, error) {
	r.one.BindInt64(1, first)
	r.one.BindInt64(2, int64(after))
	r.one.BindInt64(3, int64(limit))
	return r.fill(page, r.one, name)
}

func (r *reader) fill(page []eventstore.Recorded, stmt *sqlite.Stmt, name string) ([]eventstore.Recorded, error) {
	defer stmt.Reset()
	var slab slab
	var text [100]byte
	for bytes := 0; bytes < pageBytes; {
		found, err := stmt.Step()
		if err != nil || !found {
			return page, err
		}
		page = append(page, eventstore.Recorded{})
		e := &page[len(page)-1]
		e.Position = eventstore.Position(stmt.ColumnInt64(0))
		e.Version = eventstore.Version(stmt.ColumnInt64(1))
		e.Type = r.intern(text[:stmt.ColumnBytes(2, text[:])])
		stmt.ColumnBytes(3, e.ID[:])
		e.Meta = slab.column(stmt, 4)
		e.Data = slab.column(stmt, 5)
		e.Stream = name
		if name == "" {
			e.Stream = string(text[:stmt.ColumnBytes(6, text[:])])
		}
		bytes += len(e.Meta) + len(e.Data)
	}
	return page, nil
}

func (r *reader) intern(text []byte) string {
	if t, ok := r.types[string(text)]; ok {
		return t
	}
	if len(r.types) >= 1000 {
		clear(r.types)
	}
	t := string(text)
	r.types[t] = t
	return t
}

// slab cuts small slices from larger pieces of memory. A piece is never used again once cut, so that callers may
// keep what they got.
type slab struct {
	rest []byte
	next int
}

func (s *slab) column(stmt *sqlite.Stmt, col int) []byte {
	n := stmt.ColumnLen(col)
	if n == 0 {
		return nil
	}
	if n > len(s.rest) {
		if n > slabBytes/4 {
			own := make([]byte, n)
			stmt.ColumnBytes(col, own)
			return own
		}
		s.next = min(max(4*s.next, 1<<10, n), slabBytes)
		s.rest = make([]byte, s.next)
	}
	stmt.ColumnBytes(col, s.rest[:n])
	cut := s.rest[:n:n]
	s.rest = s.rest[n:]
	return cut
}
