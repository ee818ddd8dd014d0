// Package viewdb is a small seam over SQL engines for what can be computed again from the history. One SQL text serves
// them all: $1, ON CONFLICT, BIGINT, TEXT, BLOB, and instants as whole microseconds UTC.
//
// The engine is SQLite, for a file, or PostgreSQL, for a URL: one connection that writes, a pool of connections that read snapshots and never wait for it.
// Of the text only what defines tables is translated. Where the engines differ otherwise, the text is such that both answer the same.
package viewdb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

const (
	// applicationID marks our files: "csvw", chuishao views.
	applicationID = 0x63737677
	// layout is the version of what this package itself keeps in a file. Views carry numbers of their own.
	layout = 1
	// checkpointPages is how many pages, of 4 KiB, lie in the log before they are moved into the file. A batch of events writes more than a
	// thousand, most of them again and again: the more there are, the fewer are moved, and the less often the disk is waited for.
	checkpointPages = 8_000
)

// Options of Open. The zero value is right for a server.
type Options struct {
	// ReadOnly opens a file that is there, for reading. Write is refused.
	ReadOnly bool
	// Readers is the largest number of reads at a time; further ones wait. 0 means 4.
	Readers int
	// Fresh makes a new file as fast as the disk takes it: nothing is safe before Close has returned, and nobody may
	// read it until then except through Write. What was at the path is removed.
	Fresh bool
}

// OpenError says why a file of views cannot be opened, and what to do about it.
type OpenError struct {
	Path   string
	Reason string
	// Disposable: the file is ours and damaged or half made. It holds nothing that cannot be computed again from the
	// history: remove it and rebuild. Never true for somebody else's file.
	Disposable bool
	Err        error
}

func (e *OpenError) Error() string {
	s := fmt.Sprintf("open views %s: %s", e.Path, e.Reason)
	if e.Err != nil {
		s += fmt.Sprintf(" (%v)", e.Err)
	}
	return s
}

func (e *OpenError) Unwrap() error { return e.Err }

// CorruptError says that a file of views does not hold what was written to it. It may be removed and built anew.
type CorruptError struct {
	Path string
	Err  error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s is damaged: stop the service, remove it and rebuild the views (%v)", e.Path, e.Err)
}

func (e *CorruptError) Unwrap() error { return e.Err }

// ErrClosed is what calls on a closed database return.
var ErrClosed = errors.New("views are closed")

// ErrReadOnly is what Write returns on a database opened with Options.ReadOnly.
var ErrReadOnly = errors.New("views are open for reading only")

// DB is a database of views. It is safe for concurrent use.
type DB struct {
	path string // of the file; for PostgreSQL its URL without a password
	opts Options
	pg   *postgres // nil for SQLite

	write chan *Tx // holds the writer while nobody writes; nil for ReadOnly
	reads chan *Tx // holds the readers that are free; nil stands for one not yet opened

	// gate is held for reading by whoever uses a connection, and for writing to close or exchange them all.
	gate   sync.RWMutex
	closed bool
}

// Open opens the views at path and makes the file, with its directory, if there is none. An *OpenError leaves alone what
// is there. The caller closes the DB.
//
// A path that is a URL, postgres://user:password@host:port/database?schema=name, is that of a schema in PostgreSQL 12 or later, chuishao_views if none is
// named. Several processes may have it open.
func Open(path string, opts Options) (*DB, error) {
	if opts.Readers <= 0 {
		opts.Readers = 4
	}
	if isURL(path) {
		p, err := parsePostgres(path)
		if err != nil {
			return nil, err
		}
		if !opts.Fresh && strings.HasSuffix(p.schema, besideSuffix) {
			return nil, p.openError("a name that ends in "+besideSuffix+" is that of views that are built to take the place of others; give another", nil)
		}
		db := &DB{path: p.name, pg: p, opts: opts}
		if err := db.connectPostgres(); err != nil {
			return nil, err
		}
		return db, nil
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, &OpenError{Path: path, Reason: "the path cannot be resolved; give an absolute one", Err: err}
	}
	db := &DB{path: abs, opts: opts}
	if opts.Fresh {
		if err := Remove(abs); err != nil {
			return nil, &OpenError{Path: abs, Reason: "what is there cannot be removed; check that the service may write the directory", Err: err}
		}
	}
	if !opts.ReadOnly {
		if err := os.MkdirAll(filepath.Dir(abs), 0o750); err != nil {
			return nil, &OpenError{Path: abs, Reason: "its directory cannot be made; make it, or check that the service may", Err: err}
		}
	}
	if err := db.connect(); err != nil {
		return nil, err
	}
	return db, nil
}

// Remove removes a file of views and what stands beside it. It is no error if there is none. Of a schema it first waits for a moment in which nobody uses it;
// those who have it open go on when somebody has opened it anew.
func Remove(path string) error {
	if isURL(path) {
		return removePostgres(path)
	}
	for _, suffix := range []string{"-wal", "-shm", "-journal", ""} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Path is where the views are. It holds no password.
func (db *DB) Path() string { return db.path }

// Beside is where views may be built that are to take the place of these by ReplaceWith. It may hold a password.
func (db *DB) Beside() string {
	if db.pg != nil {
		return db.pg.beside()
	}
	return db.path + ".rebuild"
}

// Part is where part k of n lies that these views are kept in: a file or schema of its own beside them. It may hold a password.
func (db *DB) Part(k, n int) string {
	name := fmt.Sprintf("%dof%d", k, n)
	if db.pg != nil {
		return db.pg.named(strings.TrimSuffix(db.pg.schema, besideSuffix) + "_" + name)
	}
	ext := filepath.Ext(db.path)
	return strings.TrimSuffix(db.path, ext) + "." + name + ext
}

func (db *DB) connect() error {
	empty := false
	switch info, err := os.Stat(db.path); {
	case errors.Is(err, fs.ErrNotExist) && db.opts.ReadOnly:
		return &OpenError{Path: db.path, Reason: "there are no views to read; check the path, or rebuild them", Err: err}
	case errors.Is(err, fs.ErrNotExist):
		empty = true
	case err != nil:
		return &OpenError{Path: db.path, Reason: "the file cannot be examined; check that the service may read it", Err: err}
	case info.IsDir():
		return &OpenError{Path: db.path, Reason: "a directory stands where the file should be; give the path of a file"}
	default:
		empty = info.Size() == 0
	}
	if !empty {
		if err := db.check(); err != nil {
			return err
		}
	}
	db.reads = make(chan *Tx, db.opts.Readers)
	for range db.opts.Readers {
		db.reads <- nil
	}
	if db.opts.ReadOnly {
		return nil
	}
	conn, err := sqlite.OpenConn(db.path, sqlite.OpenReadWrite, sqlite.OpenCreate)
	if err != nil {
		return db.explainOpen(err)
	}
	for _, query := range db.pragmas(empty) {
		if err := sqlitex.ExecuteTransient(conn, query, nil); err != nil {
			return db.explainOpen(errors.Join(fmt.Errorf("%s: %w", query, err), conn.Close()))
		}
	}
	db.write = make(chan *Tx, 1)
	db.write <- newTx(db, conn)
	return nil
}

func (db *DB) pragmas(empty bool) []string {
	if db.opts.Fresh {
		return []string{
			fmt.Sprintf("PRAGMA application_id = %d", applicationID), fmt.Sprintf("PRAGMA user_version = %d", layout),
			"PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF", "PRAGMA locking_mode = EXCLUSIVE",
			"PRAGMA cache_size = -65536", "PRAGMA temp_store = FILE",
		}
	}
	list := []string{"PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL", "PRAGMA cache_size = -32768", "PRAGMA cell_size_check = ON",
		fmt.Sprintf("PRAGMA wal_autocheckpoint = %d", checkpointPages)}
	if empty {
		list = append(list, fmt.Sprintf("PRAGMA application_id = %d", applicationID), fmt.Sprintf("PRAGMA user_version = %d", layout))
	}
	return list
}

// check refuses a file that is not ours, before anything of it is touched.
func (db *DB) check() error {
	conn, err := sqlite.OpenConn(db.path, sqlite.OpenReadOnly)
	if err != nil {
		return db.explainOpen(err)
	}
	defer conn.Close()
	numbers := map[string]int64{}
	for _, name := range []string{"application_id", "user_version", "schema_version"} {
		err := sqlitex.ExecuteTransient(conn, "PRAGMA "+name, &sqlitex.ExecOptions{ResultFunc: func(s *sqlite.Stmt) error {
			numbers[name] = s.ColumnInt64(0)
			return nil
		}})
		if err != nil {
			return db.explainOpen(err)
		}
	}
	switch {
	case numbers["application_id"] == 0 && numbers["schema_version"] == 0:
		return nil // nothing was ever written: a start was cut short
	case numbers["application_id"] != applicationID:
		return &OpenError{Path: db.path, Reason: "the file is a database of another application; give the path of a file of views, or move the file away"}
	case numbers["user_version"] != layout:
		return &OpenError{Path: db.path, Reason: fmt.Sprintf("the file has layout %d, this release knows %d; remove it and rebuild the views", numbers["user_version"], layout), Disposable: true}
	}
	return nil
}

func (db *DB) explainOpen(err error) error {
	e := &OpenError{Path: db.path, Reason: "the file cannot be opened; see the cause", Err: err}
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultNotADB:
		e.Reason = "the file is not an SQLite database; give the path of a file of views, or move the file away"
	case sqlite.ResultCorrupt:
		e.Reason, e.Disposable = "the file is damaged; remove it and rebuild the views", true
	case sqlite.ResultCantOpen, sqlite.ResultPerm, sqlite.ResultAuth, sqlite.ResultReadOnly:
		e.Reason = "the file or its directory cannot be opened; check that the service may read and write both"
	case sqlite.ResultFull:
		e.Reason = "no space is left on the disk; free some"
	case sqlite.ResultIOErr:
		e.Reason = "the disk refuses to read or write; check it"
	}
	return e
}

func (db *DB) explain(err error) error {
	if err == nil {
		return nil
	}
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultCorrupt, sqlite.ResultNotADB:
		return &CorruptError{db.path, err}
	}
	return err
}

// IsFault says whether an error is the disk's or the engine's, so that it may pass or be repaired, and not that of what was
// to be written.
func IsFault(err error) bool {
	if _, ok := errors.AsType[*TroubleError](err); ok || errors.Is(err, ErrClosed) || errors.Is(err, ErrReadOnly) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	if _, ok := errors.AsType[*CorruptError](err); ok {
		return true
	}
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultCorrupt, sqlite.ResultNotADB, sqlite.ResultFull, sqlite.ResultIOErr, sqlite.ResultBusy, sqlite.ResultLocked,
		sqlite.ResultCantOpen, sqlite.ResultReadOnly, sqlite.ResultNoMem, sqlite.ResultInterrupt, sqlite.ResultPerm, sqlite.ResultProtocol:
		return true
	}
	return false
}

// Write runs do in a transaction that alone may write, and commits it. Any error of do rolls everything back and is
// returned. It waits for other writers, also those of other processes, as long as the context lets it. Nothing of tx
// may be used after do has returned.
func (db *DB) Write(ctx context.Context, do func(tx *Tx) error) error {
	db.gate.RLock()
	defer db.gate.RUnlock()
	if db.closed {
		return ErrClosed
	}
	if db.opts.ReadOnly {
		return ErrReadOnly
	}
	if db.pg != nil {
		return db.runPostgres(ctx, db.write, beginWrite, do)
	}
	var tx *Tx
	select {
	case tx = <-db.write:
		defer func() { db.write <- tx }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return db.explain(tx.run(ctx, "BEGIN IMMEDIATE", do))
}

// Read runs do on a snapshot: what it reads is of one moment, and writers neither wait for it nor are waited for.
func (db *DB) Read(ctx context.Context, do func(tx *Tx) error) error {
	if db.opts.Fresh {
		return db.Write(ctx, do)
	}
	db.gate.RLock()
	defer db.gate.RUnlock()
	if db.closed {
		return ErrClosed
	}
	if db.pg != nil {
		return db.runPostgres(ctx, db.reads, beginRead, do)
	}
	var tx *Tx
	select {
	case tx = <-db.reads:
		defer func() { db.reads <- tx }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if tx == nil {
		conn, err := sqlite.OpenConn(db.path, sqlite.OpenReadOnly)
		if err != nil {
			return db.explainOpen(err)
		}
		for _, query := range []string{"PRAGMA query_only = ON", "PRAGMA cache_size = -16384", "PRAGMA cell_size_check = ON"} {
			if err := sqlitex.ExecuteTransient(conn, query, nil); err != nil {
				return db.explainOpen(errors.Join(err, conn.Close()))
			}
		}
		tx = newTx(db, conn)
	}
	return db.explain(tx.run(ctx, "BEGIN", do))
}

// Close waits for what is under way and closes the file. A Fresh one is safe on the disk from then on.
func (db *DB) Close() error {
	db.gate.Lock()
	defer db.gate.Unlock()
	if db.closed {
		return nil
	}
	db.closed = true
	var err error
	if db.pg != nil && db.opts.Fresh {
		err = db.finishPostgres()
	}
	err = errors.Join(err, db.disconnect())
	if err == nil && db.pg == nil && db.opts.Fresh {
		err = finish(db.path)
	}
	if err != nil {
		return fmt.Errorf("close views %s: %w", db.path, err)
	}
	return nil
}

func (db *DB) disconnect() error {
	var err error
	for range db.opts.Readers {
		if tx := <-db.reads; tx != nil {
			err = errors.Join(err, tx.close())
		}
	}
	if db.write != nil {
		if tx := <-db.write; tx != nil {
			err = errors.Join(err, tx.close())
		}
	}
	return err
}

// finish makes a file that was written without safety a safe one.
func finish(path string) error {
	if err := sync1(path); err != nil {
		return err
	}
	return sync1(filepath.Dir(path))
}

func sync1(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// ReplaceWith puts a closed file of views, or a closed schema that was Fresh, in the place of the one that is open. Transactions under way end first; later
// ones see the new rows. After a crash the old or the new are there, whole.
func (db *DB) ReplaceWith(fresh string) error {
	if db.pg != nil {
		return db.replacePostgres(fresh)
	}
	db.gate.Lock()
	defer db.gate.Unlock()
	if db.closed {
		return ErrClosed
	}
	if db.opts.ReadOnly {
		return ErrReadOnly
	}
	err := db.disconnect()
	if err == nil {
		// The last connection has moved the log into the file; one that is left belongs to a file that is to go.
		err = errors.Join(gone(db.path+"-wal"), gone(db.path+"-shm"))
	}
	if err == nil {
		err = os.Rename(fresh, db.path)
	}
	if err == nil {
		err = sync1(filepath.Dir(db.path))
	}
	if again := db.connect(); again != nil {
		db.closed = true
		return errors.Join(err, again)
	}
	if err != nil {
		return fmt.Errorf("replace views %s: %w", db.path, err)
	}
	return nil
}

func gone(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
