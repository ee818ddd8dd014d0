package privacy

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

const (
	applicationID = 0x63687379 // "chsy"
	userVersion   = 1
	busyTimeout   = 5 * time.Second
	readerCount   = 3
)

// fileEngine is a SQLite database that one process writes.
type fileEngine struct {
	path    string
	readers chan *sqlite.Conn
	writer  *sqlite.Conn
	lock    *sqlite.Conn
	copying chan struct{} // held by a backup and by an erasure, which keep out of each other's way
	closing chan struct{}
}

var _ engine = (*fileEngine)(nil)

// openFile opens a database, or makes it, and calls unlock with its settings before it changes anything.
func openFile(path string, options Options, closing chan struct{}, unlock func(settings map[string][]byte) error) (_ *fileEngine, err error) {
	e := &fileEngine{path: path, readers: make(chan *sqlite.Conn, readerCount), copying: make(chan struct{}, 1), closing: closing}
	defer func() {
		if err != nil {
			e.closeConns()
		}
	}()
	exists, err := checkFile(path, options.ReadOnly)
	if err != nil {
		return nil, err
	}
	var settings map[string][]byte
	if !options.ReadOnly {
		if err := e.takeLock(); err != nil {
			return nil, err
		}
		if !exists {
			if err := create(path, options.MasterKey); err != nil {
				return nil, err
			}
		}
		if e.writer, err = openConn(path, sqlite.OpenReadWrite); err != nil {
			return nil, err
		}
		if settings, err = readSettings(e.writer); err != nil {
			return nil, err
		}
		if err := holdSlab(e.writer); err != nil {
			return nil, err
		}
		if err := unlock(settings); err != nil {
			return nil, err
		}
		// An erasure that a crash cut short may have left a destroyed key in the write-ahead log.
		if _, err := checkpoint(e.writer); err != nil {
			return nil, err
		}
	}
	for range readerCount {
		conn, err := openConn(path, sqlite.OpenReadOnly)
		if err != nil {
			return nil, err
		}
		e.readers <- conn
		if settings == nil {
			if settings, err = readSettings(conn); err != nil {
				return nil, err
			}
			if err := unlock(settings); err != nil {
				return nil, err
			}
		}
	}
	return e, nil
}

func (e *fileEngine) shared() bool { return false }

func (e *fileEngine) close() error {
	var err error
	for range readerCount {
		err = errors.Join(err, (<-e.readers).Close())
	}
	return errors.Join(err, e.closeConns())
}

// find is findPerson in what is committed.
func (e *fileEngine) find(ctx context.Context, macs []hash) ([]row, error) {
	rows := make([]row, len(macs))
	err := e.read(ctx, func(conn *sqlite.Conn) (err error) {
		begin, err := conn.Prepare("BEGIN")
		if err != nil {
			return err
		}
		end, err := conn.Prepare("COMMIT")
		if err != nil {
			return err
		}
		if err := step(begin); err != nil {
			return err
		}
		defer func() {
			if !conn.AutocommitEnabled() { // some errors have ended it already
				err = errors.Join(err, step(end))
			}
		}()
		for i, mac := range macs {
			if rows[i], _, err = findPerson(conn, mac); err != nil {
				return err
			}
		}
		return nil
	})
	return rows, err
}

func (e *fileEngine) lookup(ctx context.Context, id subjectID) (stored []byte, err error) {
	err = e.read(ctx, func(conn *sqlite.Conn) error {
		found, ok, err := findID(conn, id)
		switch {
		case err != nil:
			return err
		case ok && !allZero(found.key):
			stored = found.key
			return nil
		case ok:
			return ErrErased
		}
		erased, err := isErased(conn, id)
		if err != nil {
			return err
		}
		if erased {
			return ErrErased
		}
		return ErrUnknown
	})
	return stored, err
}

func (e *fileEngine) record(b *batch) (err error) {
	end, err := sqlitex.ImmediateTransaction(e.writer)
	if err != nil {
		return explainOurs(err)
	}
	defer func() { err = explainOurs(err) }()
	defer end(&err)
	for _, r := range b.people {
		known, ok, err := findPerson(e.writer, hash(r.mac))
		if err != nil {
			return err
		}
		if !ok {
			if err := insertSubject(e.writer, r.id, r.key, r.mac); err != nil {
				return err
			}
			known = r
		}
		b.found[hash(r.mac)] = known
	}
	for _, r := range b.spares {
		if err := insertSubject(e.writer, r.id, r.key, nil); err != nil {
			return err
		}
	}
	for i := range b.erase {
		if err := eraseSubject(e.writer, &b.erase[i]); err != nil {
			return err
		}
	}
	return nil
}

func (e *fileEngine) erasing(ctx context.Context) (done func(), err error) {
	select {
	case e.copying <- struct{}{}:
		return func() { <-e.copying }, nil
	case <-e.closing:
		return nil, errClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// sweep empties the write-ahead log, without our own readers, who are so many that one is always reading.
func (e *fileEngine) sweep() error {
	var readers [readerCount]*sqlite.Conn
	for i := range readers {
		readers[i] = <-e.readers
	}
	done, err := checkpoint(e.writer)
	for _, conn := range readers {
		e.readers <- conn
	}
	if err == nil && !done {
		err = fmt.Errorf("%w: the key is destroyed, but a reader holds up the removal of its last copy", ErrUnavailable)
	}
	return err
}

// subjects goes by seq, and holds no state of the database from one page to the next.
func (e *fileEngine) subjects(ctx context.Context, visit func([]row) error) error {
	for last := int64(0); ; {
		var page []row
		n := 0
		err := e.read(ctx, func(conn *sqlite.Conn) error {
			stmt, err := conn.Prepare("SELECT seq, id, key, mac, older FROM subjects WHERE seq > $1 ORDER BY seq LIMIT $2")
			if err != nil {
				return err
			}
			defer stmt.Reset()
			stmt.BindInt64(1, last)
			stmt.BindInt64(2, pageSize)
			for {
				r, ok, err := scanRow(stmt)
				if err != nil || !ok {
					return err
				}
				n++
				last = r.seq
				if !allZero(r.key) {
					page = append(page, r)
				}
			}
		})
		if err == nil && len(page) > 0 {
			err = visit(page)
		}
		if err != nil || n < pageSize {
			return err
		}
	}
}

func (e *fileEngine) erasures(ctx context.Context, visit func([]erasure) error) error {
	for last := (subjectID{}); ; {
		var page []erasure
		err := e.read(ctx, func(conn *sqlite.Conn) error {
			return sqlitex.Execute(conn, "SELECT id, erased_at FROM erased WHERE id > $1 ORDER BY id LIMIT $2", &sqlitex.ExecOptions{
				Args: []any{last[:], pageSize},
				ResultFunc: func(row *sqlite.Stmt) error {
					var each erasure
					row.ColumnBytes(0, each.id[:])
					each.at = row.ColumnInt64(1)
					page = append(page, each)
					return nil
				},
			})
		})
		if err == nil && len(page) > 0 {
			last = page[len(page)-1].id
			err = visit(page)
		}
		if err != nil || len(page) < pageSize {
			return err
		}
	}
}

func (e *fileEngine) check(ctx context.Context) error {
	return e.read(ctx, func(conn *sqlite.Conn) error {
		defer conn.SetInterrupt(conn.SetInterrupt(ctx.Done()))
		return sqlitex.ExecuteTransient(conn, "PRAGMA integrity_check(1)", &sqlitex.ExecOptions{
			ResultFunc: func(row *sqlite.Stmt) error {
				if row.ColumnText(0) != "ok" {
					return ErrCorrupt
				}
				return nil
			},
		})
	})
}

func (e *fileEngine) backup(ctx context.Context, path string) error {
	done, err := e.erasing(ctx)
	if err != nil {
		return err
	}
	defer done()
	return e.read(ctx, func(conn *sqlite.Conn) error {
		defer conn.SetInterrupt(conn.SetInterrupt(ctx.Done()))
		return sqlitex.ExecuteTransient(conn, "VACUUM INTO $1", &sqlitex.ExecOptions{Args: []any{path}})
	})
}

func (e *fileEngine) owns(path string) bool {
	for _, own := range []string{"", "-wal", "-shm", ".lock"} {
		if sameFile(path, e.path+own) {
			return true
		}
	}
	return false
}

func (e *fileEngine) adopt(stored []byte) (err error) {
	end, err := sqlitex.ImmediateTransaction(e.writer)
	if err != nil {
		return explainOurs(err)
	}
	defer func() { err = explainOurs(err) }()
	defer end(&err)
	n, err := sqlitex.ResultInt64(e.writer.Prep("SELECT EXISTS (SELECT 1 FROM subjects)"))
	if err != nil {
		return err
	}
	if n > 0 {
		return errNotEmpty
	}
	stmt, err := e.writer.Prepare("UPDATE settings SET value = $1 WHERE name = $2")
	if err != nil {
		return err
	}
	stmt.BindBytes(1, stored)
	stmt.BindText(2, secretSetting)
	return stepOne(e.writer, stmt)
}

func (e *fileEngine) absorb(_ []byte, rows []row) (clash *row, err error) {
	end, err := sqlitex.ImmediateTransaction(e.writer)
	if err != nil {
		return nil, explainOurs(err)
	}
	defer func() { err = explainOurs(err) }()
	defer end(&err)
	return absorb(e.writer, rows)
}

func absorb(conn *sqlite.Conn, rows []row) (clash *row, err error) {
	for i, r := range rows {
		_, there, err := findID(conn, r.id)
		if err != nil {
			return nil, err
		}
		erased, err := isErased(conn, r.id)
		if err != nil {
			return nil, err
		}
		if there || erased {
			continue
		}
		var mac []byte
		if len(r.mac) > 0 {
			mac = r.mac
			_, known, err := findPerson(conn, hash(mac))
			if err != nil {
				return nil, err
			}
			if known {
				clash = &rows[i]
				continue
			}
		}
		if err := insertSubject(conn, r.id, r.key, mac); err != nil {
			return nil, err
		}
	}
	return clash, nil
}

// read lends a connection that sees what is committed.
func (e *fileEngine) read(ctx context.Context, do func(*sqlite.Conn) error) error {
	select {
	case <-e.closing:
		return errClosed
	default:
	}
	select {
	case conn := <-e.readers:
		err := do(conn)
		e.readers <- conn
		if ctx.Err() != nil && sqlite.ErrCode(err).ToPrimary() == sqlite.ResultInterrupt {
			return ctx.Err()
		}
		return explainOurs(err)
	case <-e.closing:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// closeConns closes what is not lent.
func (e *fileEngine) closeConns() error {
	var err error
	for len(e.readers) > 0 {
		err = errors.Join(err, (<-e.readers).Close())
	}
	if e.writer != nil {
		err = errors.Join(err, e.writer.Close())
	}
	if e.lock != nil {
		err = errors.Join(err, e.lock.Close())
	}
	return err
}

// checkFile tells whether there is a file at path, and refuses one that is not ours before SQLite touches it.
func checkFile(path string, readOnly bool) (exists bool, err error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) && !readOnly {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return false, err
	}
	if !info.Mode().IsRegular() {
		return false, ErrForeign
	}
	header := make([]byte, 100)
	if info.Size() == 0 {
		return false, fmt.Errorf("%w: it is empty", ErrCorrupt)
	}
	if n, _ := file.ReadAt(header, 0); n < len(header) || !bytes.HasPrefix(header, []byte("SQLite format 3\x00")) ||
		binary.BigEndian.Uint32(header[68:]) != applicationID {
		return false, ErrForeign
	}
	if binary.BigEndian.Uint32(header[60:]) > userVersion {
		return false, ErrNewer
	}
	if !readOnly && info.Mode().Perm()&0o200 == 0 {
		return false, ErrReadOnly
	}
	return true, nil
}

// takeLock keeps other writers out until the process ends: the cache and the spare keys rest on there being one.
func (e *fileEngine) takeLock() error {
	conn, err := sqlite.OpenConn(e.path+".lock", sqlite.OpenReadWrite|sqlite.OpenCreate)
	if err != nil {
		return fmt.Errorf("take the lock: %w", err)
	}
	e.lock = conn
	conn.SetBusyTimeout(0)
	err = sqlitex.ExecuteTransient(conn, "BEGIN EXCLUSIVE", nil)
	if sqlite.ErrCode(err).ToPrimary() == sqlite.ResultBusy {
		return ErrLocked
	}
	return err
}

func openConn(path string, flags sqlite.OpenFlags) (*sqlite.Conn, error) {
	conn, err := sqlite.OpenConn(path, flags)
	if err != nil {
		return nil, explain(err)
	}
	conn.SetBusyTimeout(busyTimeout)
	pragmas := []string{"PRAGMA temp_store = MEMORY", "PRAGMA trusted_schema = OFF", "PRAGMA cell_size_check = ON"}
	if flags&sqlite.OpenReadWrite != 0 {
		pragmas = append(pragmas, "PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "PRAGMA secure_delete = ON")
	}
	for _, pragma := range pragmas {
		if err := sqlitex.ExecuteTransient(conn, pragma, nil); err != nil {
			conn.Close()
			return nil, explain(err)
		}
	}
	return conn, nil
}

// holdSlab keeps one value of a chain's size until conn is closed. The engine takes its memory in slabs, of which each holds values of about one size,
// and gives one back to the system when the last value leaves it. Chains are alone in theirs: each that is looked at would take a slab and give it back, which
// costs more than all else that is done for a person.
func holdSlab(conn *sqlite.Conn) error {
	stmt, err := conn.Prepare("SELECT $1")
	if err == nil {
		stmt.BindBytes(1, make([]byte, 8*perRow))
	}
	return explain(err)
}

// checkpoint moves the write-ahead log into the database and empties it. It is not done while another connection reads
// an older state.
func checkpoint(conn *sqlite.Conn) (done bool, err error) {
	err = sqlitex.ExecuteTransient(conn, "PRAGMA wal_checkpoint(TRUNCATE)", &sqlitex.ExecOptions{
		ResultFunc: func(row *sqlite.Stmt) error {
			done = row.ColumnInt(0) == 0
			return nil
		},
	})
	return done, explain(err)
}

// explain gives an error of SQLite the meaning that callers decide by.
func explain(err error) error {
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultOK:
		return nil
	case sqlite.ResultCorrupt, sqlite.ResultNotADB:
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	case sqlite.ResultReadOnly:
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	case sqlite.ResultBusy, sqlite.ResultLocked, sqlite.ResultFull, sqlite.ResultIOErr, sqlite.ResultNoMem:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

// explainOurs is explain for an error that may be one of this package's already.
func explainOurs(err error) error {
	for _, ours := range []error{ErrErased, ErrUnknown, ErrCorrupt, errNotEmpty} {
		if errors.Is(err, ours) {
			return err
		}
	}
	return explain(err)
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// install makes a finished temporary file durable under its name.
func install(temp *os.File, name string) error {
	if err := temp.Sync(); err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), name); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
