package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

const (
	// applicationID marks our files: "csev", chuishao events.
	applicationID = 0x63736576
	// schemaVersion grows with every change of the schema.
	schemaVersion = 1

	// busyTimeout is how long to wait for somebody who opened the file with another tool and locked it.
	busyTimeout = 5 * time.Second
)

// A stream is known by the position of its first event, so that its name stands once in an index and the index of
// versions holds small integers. The name stands with each event too, so that reading all of them needs no join.
const schema = `
CREATE TABLE events (
	position INTEGER PRIMARY KEY,
	stream   INTEGER NOT NULL,
	version  INTEGER NOT NULL,
	name     TEXT NOT NULL,
	type     TEXT NOT NULL,
	id       BLOB NOT NULL,
	meta     BLOB NOT NULL,
	data     BLOB NOT NULL
);
CREATE UNIQUE INDEX events_by_stream ON events (stream, version);
CREATE TABLE streams (
	name  TEXT PRIMARY KEY,
	first INTEGER NOT NULL
) WITHOUT ROWID;
`

// OpenError says why a history cannot be opened, and what to do about it.
type OpenError struct {
	Path   string
	Reason string // what is wrong and what to do, one sentence
	Err    error  // what the system said; may be nil
}

func (e *OpenError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("open history %s: %s", e.Path, e.Reason)
	}
	return fmt.Sprintf("open history %s: %s (%v)", e.Path, e.Reason, e.Err)
}

func (e *OpenError) Unwrap() error { return e.Err }

func openError(path, reason string, err error) error { return &OpenError{path, reason, err} }

// explainOpen makes an *OpenError of what the engine said.
func explainOpen(path string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*OpenError](err); ok {
		return err
	}
	reason := "the file cannot be opened; see the cause"
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultNotADB:
		reason = "the file is not an SQLite database; give the path of a history, or move the file away"
	case sqlite.ResultCorrupt:
		reason = "the file is damaged; restore the latest backup"
	case sqlite.ResultCantOpen, sqlite.ResultPerm, sqlite.ResultAuth:
		reason = "the file or its directory cannot be opened; check that the service may read and write both"
	case sqlite.ResultReadOnly:
		reason = "the file or its directory is read-only; check that the service may write both"
	case sqlite.ResultFull:
		reason = "no space is left on the disk; free some"
	case sqlite.ResultIOErr:
		reason = "the disk refuses to read or write; check it"
	}
	return openError(path, reason, err)
}

func makeDir(path string) error {
	dir := filepath.Dir(path)
	switch err := os.MkdirAll(dir, 0o750); {
	case errors.Is(err, syscall.ENOTDIR):
		return openError(path, "a file stands where its directory should be; give another path", err)
	case err != nil:
		return openError(path, "its directory cannot be made; make it, or check that the service may", err)
	}
	return nil
}

// acquire takes the lock that keeps a second writing process out. It ends with the file or the process.
func acquire(path string) (*os.File, error) {
	lock, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, openError(path, "its lock file cannot be made; check that the service may write the directory", err)
	}
	for {
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err == nil {
		return lock, nil
	}
	lock.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, openError(path, "another process writes this history; stop it first, or open for reading only", err)
	}
	return nil, openError(path, "its lock file cannot be locked; use a local disk", err)
}

func peekIfPresent(path string) error {
	switch info, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return openError(path, "the file cannot be examined; check that the service may read it", err)
	case info.IsDir():
		return openError(path, "a directory stands where the file should be; give the path of a file", nil)
	case info.Size() == 0:
		return nil
	}
	return peek(path)
}

// peek reports whether the file is a history that this release can use, and writes nothing, not even locks. It reads
// through the engine: closing a plain file descriptor would drop the locks of other connections of this process.
func peek(path string) error {
	if info, err := os.Stat(path); err == nil && info.Size() < 512 {
		// The engine would take it for an empty database.
		return openError(path, "the file is not an SQLite database; give the path of a history, or move the file away", nil)
	}
	uri := url.URL{Scheme: "file", Path: path, RawQuery: "immutable=1"}
	conn, err := sqlite.OpenConn(uri.String(), sqlite.OpenReadOnly, sqlite.OpenURI)
	if err != nil {
		return explainOpen(path, err)
	}
	defer conn.Close()
	err = identify(path, conn)
	if sqlite.ErrCode(err).ToPrimary() == sqlite.ResultCorrupt && hasWAL(path) {
		// A crash while pages moved from the log into the file leaves it like that. The engine puts it right from
		// the log.
		return nil
	}
	return err
}

// identify reports whether an open file is a history of this release's schema.
func identify(path string, conn *sqlite.Conn) error {
	application, err := pragma(conn, "PRAGMA application_id")
	if err != nil {
		return explainOpen(path, err)
	}
	version, err := pragma(conn, "PRAGMA user_version")
	if err != nil {
		return explainOpen(path, err)
	}
	switch {
	case application != applicationID:
		return openError(path, "the file is a database of another application; give the path of a history, or move the file away", nil)
	case version > schemaVersion:
		return openError(path, fmt.Sprintf("the file was written by a newer release (schema %d, this one knows %d); use that release", version, schemaVersion), nil)
	case version != schemaVersion:
		return openError(path, fmt.Sprintf("the file has schema %d, which no release wrote; restore the latest backup", version), nil)
	}
	return nil
}

func hasWAL(path string) bool {
	info, err := os.Stat(path + "-wal")
	return err == nil && info.Size() > 0
}

// createIfMissing makes an empty history under another name and moves it into place, so that path never holds half
// of one. The caller holds the lock.
func createIfMissing(path string) error {
	if info, err := os.Stat(path); err == nil && info.Size() > 0 {
		return nil
	}
	if hasWAL(path) {
		return openError(path, "the file is gone but its log is there; restore the latest backup, or move the log away", nil)
	}
	fresh := path + ".new"
	for _, name := range []string{fresh, fresh + "-journal"} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return openError(path, "what an unfinished start left beside it cannot be removed; check that the service may write the directory", err)
		}
	}
	conn, err := createFile(fresh)
	if err != nil {
		return explainOpen(path, err)
	}
	err = sqlitex.ExecuteScript(conn, fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d; %s", applicationID, schemaVersion, schema), nil)
	if err = errors.Join(err, conn.Close()); err != nil {
		return explainOpen(path, err)
	}
	if err := moveDurably(fresh, path); err != nil {
		return openError(path, "the new file cannot be moved into place; check that the service may write the directory", err)
	}
	return nil
}

// createFile opens a new database that others than the service's group cannot read. The engine gives its log the
// same permissions.
func createFile(path string) (*sqlite.Conn, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	return sqlite.OpenConn(path, sqlite.OpenReadWrite)
}

// moveDurably renames a finished file; both its content and its name survive a power cut.
func moveDurably(from, to string) error {
	if err := syncFile(from); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return syncFile(filepath.Dir(to))
}

func syncFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func openWriter(path string) (*sqlite.Conn, error) {
	conn, err := sqlite.OpenConn(path, sqlite.OpenReadWrite)
	if err != nil {
		return nil, err
	}
	conn.SetBusyTimeout(busyTimeout)
	for _, query := range []string{
		"PRAGMA journal_mode = WAL",
		"PRAGMA synchronous = FULL",
		"PRAGMA wal_autocheckpoint = 0", // the checkpointer's work
		"PRAGMA cache_size = -4096",     // KiB; a commit that splits pages looks at every page it holds
		"PRAGMA cell_size_check = ON",
	} {
		if err := sqlitex.ExecuteTransient(conn, query, nil); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", query, err), conn.Close())
		}
	}
	return conn, nil
}

func openReader(path string) (*sqlite.Conn, error) {
	conn, err := sqlite.OpenConn(path, sqlite.OpenReadOnly)
	if err != nil {
		return nil, err
	}
	conn.SetBusyTimeout(busyTimeout)
	if err := sqlitex.ExecuteTransient(conn, "PRAGMA cell_size_check = ON", nil); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

func pragma(conn *sqlite.Conn, query string) (int64, error) {
	stmt, _, err := conn.PrepareTransient(query)
	if err != nil {
		return 0, err
	}
	defer stmt.Finalize()
	if _, err := stmt.Step(); err != nil {
		return 0, err
	}
	return stmt.ColumnInt64(0), nil
}
