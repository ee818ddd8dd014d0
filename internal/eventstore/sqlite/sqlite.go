// Package sqlite keeps histories in one SQLite file: the embedded default of package eventstore.
//
// Appends are committed in groups. Callers queue, one goroutine takes what has queued and makes one durable commit
// for all of them, so that throughput does not stand on the disk's flush latency. Each append keeps its own outcome:
// conflicts are decided before anything of it is written.
//
// One process writes. A lock file beside the database keeps a second one out; any number may read (Options.ReadOnly).
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/chuishao/dispatch/internal/eventstore"
)

// Options of Open. The zero value is right for a server.
type Options struct {
	// ReadOnly opens the history beside the process that writes it. Append is refused, Subscribe looks for news
	// every 50 ms.
	ReadOnly bool

	// Readers is the largest number of reads at a time; further ones wait. 0 means 8.
	Readers int

	// Heads is how many streams' versions are held in memory, at about 200 bytes each. 0 means 65,536.
	Heads int

	// OnCommit, if set, is called after each durable commit with the number of appends in it and the time it
	// took. The next commit waits for it to return.
	OnCommit func(group int, took time.Duration)
}

// ErrReadOnly is what Append returns on a store opened with Options.ReadOnly.
var ErrReadOnly = errors.New("history is open for reading only")

// errClosed is what calls on a closed store return. Nothing of an append that gets it was recorded.
var errClosed = fmt.Errorf("%w: history is closed", eventstore.ErrUnavailable)

// CorruptError says that the file does not hold what was once written to it. Restore a backup.
type CorruptError struct {
	Path   string
	Detail string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s is damaged: %s; stop the service and restore the latest backup", e.Path, e.Detail)
}

// Store is an eventstore.Store in one SQLite file. It is safe for concurrent use.
type Store struct {
	path string
	opts Options
	lock *os.File // nil if ReadOnly

	closing chan struct{} // closed when Close begins
	once    sync.Once
	running sync.WaitGroup
	closed  error

	readers readers
	heads   heads
	queue   queue
	news    news
	writer  *writer // nil if ReadOnly
	wal     *checkpointer
}

var _ eventstore.Store = (*Store)(nil)

// Open opens the history at path and creates it, with its directory, if there is none. It fails with an *OpenError
// and leaves alone whatever is there if that is not a history this release can use. The caller closes the store.
func Open(path string, opts Options) (*Store, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, openError(path, "the path cannot be resolved; give an absolute one", err)
	}
	if opts.Readers <= 0 {
		opts.Readers = 8
	}
	if opts.Heads <= 0 {
		opts.Heads = 1 << 16
	}
	s := &Store{path: abs, opts: opts, closing: make(chan struct{})}
	s.heads.init(opts.Heads)
	s.queue.init()
	s.readers.init(opts.Readers)
	if opts.ReadOnly {
		err = s.openReadOnly()
	} else {
		err = s.openReadWrite()
	}
	if err != nil {
		s.release() // what it says is less than why
		return nil, err
	}
	if s.writer != nil {
		s.running.Go(s.writer.run)
		s.running.Go(func() { s.wal.run(s.closing) })
	}
	return s, nil
}

func (s *Store) openReadOnly() error {
	if _, err := os.Stat(s.path); err != nil {
		return openError(s.path, "there is no history to read; check the path, or start the service that writes it first", err)
	}
	if err := peek(s.path); err != nil {
		return err
	}
	return s.probe()
}

func (s *Store) openReadWrite() error {
	if err := makeDir(s.path); err != nil {
		return err
	}
	// Before the lock, so that a file of somebody else does not even get a lock file beside it.
	if err := peekIfPresent(s.path); err != nil {
		return err
	}
	lock, err := acquire(s.path)
	if err != nil {
		return err
	}
	s.lock = lock
	// Again, since another process may have made the file in between.
	if err := peekIfPresent(s.path); err != nil {
		return err
	}
	if err := createIfMissing(s.path); err != nil {
		return err
	}
	s.writer = newWriter(s)
	if err := s.writer.connect(); err != nil {
		return err
	}
	if err := s.probe(); err != nil {
		return err
	}
	s.wal, err = newCheckpointer(s.path)
	return err
}

// probe reads the end of the history, so that a file that cannot be read is refused at the door.
func (s *Store) probe() error {
	r, err := s.readers.take(context.Background(), s)
	if err != nil {
		return explainOpen(s.path, err)
	}
	defer s.readers.put(r)
	// What peek saw may be older than what the log holds.
	if err := identify(s.path, r.conn); err != nil {
		return err
	}
	head, err := r.head()
	if err == nil && head > 0 {
		_, err = r.all(nil, eventstore.Position(head-1), 1)
	}
	return explainOpen(s.path, err)
}

// Close records what has queued, waits for reads under way to reach the end of a page, and closes the file.
// Sequences that are being read end with an error that Is eventstore.ErrUnavailable.
func (s *Store) Close() error {
	s.once.Do(func() {
		close(s.closing)
		s.queue.close()
		s.running.Wait()
		s.closed = s.release()
	})
	return s.closed
}

// release closes what is open. The writer is last, so that its closing moves everything into the one file.
func (s *Store) release() error {
	err := s.readers.close()
	if s.wal != nil {
		err = errors.Join(err, s.wal.conn.Close())
	}
	if s.writer != nil {
		err = errors.Join(err, s.writer.disconnect())
	}
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	if err != nil {
		return fmt.Errorf("close %s: %w", s.path, err)
	}
	return nil
}

// Head is the position of the last event, 0 if there is none.
func (s *Store) Head(ctx context.Context) (eventstore.Position, error) {
	r, err := s.readers.take(ctx, s)
	if err != nil {
		return 0, s.explain("read the end of the history", err)
	}
	defer s.readers.put(r)
	head, err := r.head()
	if err != nil {
		return 0, s.explain("read the end of the history", err)
	}
	return eventstore.Position(head), nil
}

// CheckIntegrity reads the whole file and returns a *CorruptError if its structure is damaged: its pages, its indexes, its schema, or the table
// that says where streams begin. It does not look inside the events. It takes a few seconds for each 500 MB and may run while the store is in use.
func (s *Store) CheckIntegrity(ctx context.Context) error {
	r, err := s.readers.take(ctx, s)
	if err != nil {
		return s.explain("check integrity", err)
	}
	defer s.readers.put(r)
	looking, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer stop()
	watch.Go(func() {
		select {
		case <-s.closing:
			stop()
		case <-looking.Done():
		}
	})
	r.conn.SetInterrupt(looking.Done())
	defer r.conn.SetInterrupt(nil)
	for _, c := range []struct{ query, want, fault string }{
		{"PRAGMA integrity_check(1)", "ok", ""},
		{"SELECT group_concat(sql, ';' || char(10)) || ';' || char(10) FROM (SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid)", strings.TrimPrefix(schema, "\n"), "its schema is not the one it was made with"},
		{"SELECT group_concat(type || ' ' || name || ' ' || tbl_name, ',') FROM (SELECT * FROM sqlite_schema ORDER BY rowid)", "table events events,index events_by_stream events,table streams streams", "its schema is not the one it was made with"},
		{"SELECT e.name || '@' || e.version FROM events e LEFT JOIN streams s ON s.name = e.name WHERE s.first IS NOT e.stream LIMIT 1", "", "the stream of an event does not begin where it should: "},
		{"SELECT s.name FROM streams s LEFT JOIN events e ON e.position = s.first WHERE e.name IS NOT s.name OR e.version IS NOT 1 LIMIT 1", "", "a stream begins with an event that is not its first: "},
	} {
		verdict, err := text(r.conn, c.query)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return s.explain("check integrity", err)
		case verdict == c.want:
		case c.want == "":
			return &CorruptError{s.path, c.fault + verdict}
		case c.fault == "":
			return &CorruptError{s.path, verdict}
		default:
			return &CorruptError{s.path, c.fault}
		}
	}
	return nil
}

// text is the first column of a query's first row; empty if there is none.
func text(conn *sqlite.Conn, query string) (string, error) {
	stmt, _, err := conn.PrepareTransient(query)
	if err != nil {
		return "", err
	}
	defer stmt.Finalize()
	if found, err := stmt.Step(); err != nil || !found {
		return "", err
	}
	return stmt.ColumnText(0), nil
}

// explain gives an error of the engine the type by which callers decide.
func (s *Store) explain(what string, err error) error {
	if errors.Is(err, eventstore.ErrUnavailable) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultCorrupt, sqlite.ResultNotADB:
		return fmt.Errorf("%s: %w", what, &CorruptError{s.path, err.Error()})
	case sqlite.ResultFull:
		return fmt.Errorf("%w: %s: no space left where the history is; free some: %w", eventstore.ErrUnavailable, what, err)
	case sqlite.ResultIOErr, sqlite.ResultCantOpen, sqlite.ResultReadOnly:
		return fmt.Errorf("%w: %s: the disk that holds the history refuses: %w", eventstore.ErrUnavailable, what, err)
	}
	return fmt.Errorf("%w: %s: %w", eventstore.ErrUnavailable, what, err)
}
