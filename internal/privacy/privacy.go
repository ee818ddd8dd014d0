// Package privacy keeps the keys of data subjects (诉求人, the people who petition) in a SQLite database of its
// own, apart from history and views. What a history records about a person is sealed under that person's key;
// destroying the key erases the person everywhere at once, in histories and in backups of them, while
// versions, hashes and counts stay as they were.
//
// The package takes bytes and gives bytes. It never learns what is sealed, and no error of it holds an identity,
// a name or key material.
//
// It also masks: what a role may see of a name, a number, an address or a text without a recorded reason.
package privacy

import (
	"bytes"
	"context"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

var (
	// ErrErased says that a subject's key was destroyed: what was sealed under it can be read by nobody.
	ErrErased = errors.New("the subject was erased")
	// ErrUnknown says that this database never held a key of the subject.
	ErrUnknown = errors.New("unknown subject")
	// ErrTampered says that sealed bytes were not sealed by this subject's key with these additional data, or
	// were changed since.
	ErrTampered = errors.New("sealed bytes were tampered with")

	// ErrForeign says that a file is something else than a key database.
	ErrForeign = errors.New("not a key database")
	// ErrNewer says that a key database was written by a later release.
	ErrNewer = errors.New("key database of a later release")
	// ErrCorrupt says that a key database is damaged: restore it from a backup and apply the later erasures again.
	ErrCorrupt = errors.New("key database is damaged")
	// ErrReadOnly says that a key database may not be written.
	ErrReadOnly = errors.New("key database is read-only")
	// ErrLocked says that another process, or another Keys of this one, writes to the key database.
	ErrLocked = errors.New("key database is in use by another writer")
	// ErrMasterKey says that the master key is missing, is another one, or was given for a database without one.
	ErrMasterKey = errors.New("wrong master key")
	// ErrUnavailable marks an error that may pass, such as a full disk. The same call may be made again.
	ErrUnavailable = errors.New("key database unavailable")
)

// Options say how to open a key database. The zero value is ready for use.
type Options struct {
	// ReadOnly is for tools of the read side, which may run beside the writer. Keys are then read afresh at every
	// use, so that an erasure by the writer holds at once.
	ReadOnly bool
	// MasterKey, at least 32 bytes from a good source, wraps every key in the database. It is set when the database
	// is made and must be given ever after. Without one, whoever has the file has the keys.
	MasterKey []byte
	// Cached is the largest number of keys held in memory; 8192 if 0. One takes about a kibibyte.
	Cached int
	// Spare is the number of keys made in advance for anonymous subjects; 2048 if 0. A restart wastes those left.
	Spare int
}

// Keys is an open key database. Its methods may be called by many goroutines.
type Keys struct {
	path     string
	options  Options
	identity []byte      // under which identities are hashed
	wrap     cipher.AEAD // under which the keys of subjects are stored

	cache    *cache
	spare    chan spareKey
	refill   chan struct{}
	requests chan *request
	copying  chan struct{} // held by a backup and by an erasure, which keep out of each other's way

	readers chan *sqlite.Conn
	writer  *sqlite.Conn
	lock    *sqlite.Conn

	closing chan struct{}
	written chan struct{} // closed when the writer has ended
	once    sync.Once
	closed  error
}

const (
	applicationID = 0x63687379 // "chsy"
	userVersion   = 1
	busyTimeout   = 5 * time.Second
	readerCount   = 3
)

// Open opens the key database at path, or makes it if there is no such file and options allow writing. The caller
// closes it. Errors: ErrForeign, ErrNewer, ErrCorrupt, ErrReadOnly, ErrLocked, ErrMasterKey; the file is then as it
// was. For writing, one file more, path with ".lock" after it, keeps other writers out.
func Open(path string, options Options) (*Keys, error) {
	k, err := open(path, options)
	if err != nil {
		return nil, fmt.Errorf("open key database %s: %w", path, err)
	}
	return k, nil
}

func open(path string, options Options) (_ *Keys, err error) {
	if n := len(options.MasterKey); n > 0 && n < 32 {
		return nil, fmt.Errorf("%w: want at least 32 bytes", ErrMasterKey)
	}
	if options.Cached <= 0 {
		options.Cached = 8192
	}
	if options.ReadOnly {
		options.Cached = 0
	}
	if options.Spare <= 0 {
		options.Spare = 2048
	}
	k := &Keys{
		path:     path,
		cache:    newCache(options.Cached),
		spare:    make(chan spareKey, options.Spare),
		refill:   make(chan struct{}, 1),
		requests: make(chan *request, 512),
		copying:  make(chan struct{}, 1),
		readers:  make(chan *sqlite.Conn, readerCount),
		closing:  make(chan struct{}),
		written:  make(chan struct{}),
	}
	defer func() {
		if err != nil {
			k.closeConns()
		}
	}()

	exists, err := checkFile(path, options.ReadOnly)
	if err != nil {
		return nil, err
	}
	if !options.ReadOnly {
		if err := k.takeLock(); err != nil {
			return nil, err
		}
		if !exists {
			if err := create(path, options.MasterKey); err != nil {
				return nil, err
			}
		}
		if k.writer, err = openConn(path, sqlite.OpenReadWrite); err != nil {
			return nil, err
		}
		if k.identity, k.wrap, err = unlock(k.writer, options.MasterKey); err != nil {
			return nil, err
		}
		// An erasure that a crash cut short may have left a destroyed key in the write-ahead log.
		if _, err := checkpoint(k.writer); err != nil {
			return nil, err
		}
	}
	for range readerCount {
		conn, err := openConn(path, sqlite.OpenReadOnly)
		if err != nil {
			return nil, err
		}
		k.readers <- conn
		if k.wrap == nil {
			if k.identity, k.wrap, err = unlock(conn, options.MasterKey); err != nil {
				return nil, err
			}
		}
	}
	options.MasterKey = nil
	k.options = options
	if options.ReadOnly {
		close(k.written)
	} else {
		go k.write()
	}
	return k, nil
}

// Close waits for calls under way and closes the database. Later calls fail with ErrUnavailable.
func (k *Keys) Close() error {
	k.once.Do(func() {
		close(k.closing)
		<-k.written
		for range readerCount {
			conn := <-k.readers
			k.closed = errors.Join(k.closed, conn.Close())
		}
		k.closed = errors.Join(k.closed, k.closeConns())
		k.cache.clear()
		for len(k.spare) > 0 {
			<-k.spare
		}
	})
	return k.closed
}

func (k *Keys) closeConns() error {
	var err error
	for len(k.readers) > 0 {
		err = errors.Join(err, (<-k.readers).Close())
	}
	if k.writer != nil {
		err = errors.Join(err, k.writer.Close())
	}
	if k.lock != nil {
		err = errors.Join(err, k.lock.Close())
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
func (k *Keys) takeLock() error {
	conn, err := sqlite.OpenConn(k.path+".lock", sqlite.OpenReadWrite|sqlite.OpenCreate)
	if err != nil {
		return fmt.Errorf("take the lock: %w", err)
	}
	k.lock = conn
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

// Find tells whether a person is known, and as which subject. It is for erasing by identity.
func (k *Keys) Find(ctx context.Context, identity string) (id string, ok bool, err error) {
	if identity == "" {
		return "", false, nil
	}
	found, ok, err := k.find(ctx, k.hash(identity))
	if err != nil || !ok {
		return "", false, wrapf(err, "find a subject")
	}
	return formatID(found.id), true, nil
}

// Subject returns the subject for a person, and makes one if the person is not known. identity is whatever identifies
// the person for good, in clear, such as what NormalizePhone returns; only its keyed hash is stored. The same identity
// gives the same subject until that is erased, whoever asks. The subject is durable before Subject returns.
//
// An empty identity gives a new anonymous subject each time, without a write of its own.
func (k *Keys) Subject(ctx context.Context, identity string) (Subject, error) {
	if identity == "" {
		select {
		case s := <-k.spare:
			if len(k.spare) < cap(k.spare)/2 {
				select {
				case k.refill <- struct{}{}:
				default:
				}
			}
			return k.handOut(s)
		default:
		}
	}
	subjects, err := k.Subjects(ctx, []string{identity})
	if err != nil {
		return Subject{}, err
	}
	return subjects[0], nil
}

// Subjects is Subject for several identities, with one durable commit for all of them. The results are in the order of
// the identities.
func (k *Keys) Subjects(ctx context.Context, identities []string) ([]Subject, error) {
	subjects := make([]Subject, len(identities))
	missing := &request{}
	var places []int
	for i, identity := range identities {
		if identity == "" {
			missing.people = append(missing.people, person{anonymous: true})
			places = append(places, i)
			continue
		}
		mac := k.hash(identity)
		since := k.cache.erasures()
		found, ok, err := k.find(ctx, mac)
		if err != nil {
			return nil, wrapf(err, "look for a subject")
		}
		if !ok {
			missing.people = append(missing.people, person{mac: mac})
			places = append(places, i)
			continue
		}
		if subjects[i], err = k.subject(found.id, found.key, since); err != nil {
			return nil, wrapf(err, "look for a subject")
		}
	}
	if len(places) == 0 {
		return subjects, nil
	}
	if err := k.submit(ctx, missing); err != nil {
		return nil, wrapf(err, "make a subject")
	}
	for i, place := range places {
		subjects[place] = missing.subjects[i]
	}
	return subjects, nil
}

// find is findPerson in what is committed.
func (k *Keys) find(ctx context.Context, mac [sha256.Size]byte) (found row, ok bool, err error) {
	err = k.read(ctx, func(conn *sqlite.Conn) (err error) {
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
		found, ok, err = findPerson(conn, mac)
		return err
	})
	return found, ok, err
}

// handOut makes a subject of a key that is durable already and that nobody else has.
func (k *Keys) handOut(s spareKey) (Subject, error) {
	made, err := newKey(&s.root)
	if err != nil {
		return Subject{}, err
	}
	id := formatID(s.id)
	return Subject{id, k.cache.put(id, made, k.cache.erasures())}, nil
}

// subject unwraps a stored key, and keeps it if no key was destroyed since it was read.
func (k *Keys) subject(id subjectID, stored []byte, since uint64) (Subject, error) {
	text := formatID(id)
	if cached := k.cache.get(text); cached != nil {
		return Subject{text, cached}, nil
	}
	var root [rootSize]byte
	defer clear(root[:])
	plain, err := k.wrap.Open(root[:0], nil, stored, id[:])
	if err != nil || len(plain) != rootSize {
		return Subject{}, fmt.Errorf("%w: the key of subject %s does not unwrap", ErrCorrupt, text)
	}
	made, err := newKey(&root)
	if err != nil {
		return Subject{}, err
	}
	return Subject{text, k.cache.put(text, made, since)}, nil
}

// Lookup returns a subject by its id. Errors: ErrErased, ErrUnknown.
func (k *Keys) Lookup(ctx context.Context, subjectID string) (Subject, error) {
	if cached := k.cache.get(subjectID); cached != nil {
		return Subject{subjectID, cached}, nil
	}
	id, ok := parseID(subjectID)
	if !ok {
		return Subject{}, ErrUnknown
	}
	since := k.cache.erasures()
	var stored []byte
	err := k.read(ctx, func(conn *sqlite.Conn) error {
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
	if err != nil {
		return Subject{}, wrapf(err, "look up subject %s", subjectID)
	}
	return k.subject(id, stored, since)
}

// Unseal returns what Seal was given. Errors: ErrErased, ErrUnknown; ErrTampered if sealed or aad are not as they were.
func (k *Keys) Unseal(ctx context.Context, subjectID string, sealed, aad []byte) ([]byte, error) {
	subject, err := k.Lookup(ctx, subjectID)
	if err != nil {
		return nil, err
	}
	return subject.key.unseal(sealed, aad)
}

// Erase destroys a subject's key and its tie to a person, and leaves a tombstone with the instant. When it returns, no
// byte of either is in the database or in its write-ahead log, nor in a backup made later. An unknown subject gets a
// tombstone too, so that erasures can be applied again to a database restored from an older backup; the first instant stays.
//
// An error that Is ErrUnavailable, or a context's error, leaves it unknown how far the erasure came: erase again.
func (k *Keys) Erase(ctx context.Context, subjectID string, at time.Time) error {
	id, ok := parseID(subjectID)
	if !ok {
		return fmt.Errorf("erase a subject: %w: its id is not a UUID in lower case", ErrUnknown)
	}
	if err := k.startCopying(ctx); err != nil {
		return wrapf(err, "erase subject %s", subjectID)
	}
	defer func() { <-k.copying }()
	return wrapf(k.submit(ctx, &request{erase: &erasure{id, at.UnixMicro()}}), "erase subject %s", subjectID)
}

func (k *Keys) startCopying(ctx context.Context) error {
	select {
	case k.copying <- struct{}{}:
		return nil
	case <-k.closing:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Backup writes a consistent copy of the database to dest, durably, while it is in use. dest holds the former file or the
// whole copy, never a part of it. The copy needs the same master key.
func (k *Keys) Backup(ctx context.Context, dest string) error {
	return wrapf(k.backup(ctx, dest), "back up the key database to %s", dest)
}

func (k *Keys) backup(ctx context.Context, dest string) error {
	for _, own := range []string{"", "-wal", "-shm", ".lock"} {
		if sameFile(dest, k.path+own) {
			return errors.New("the destination is the database itself")
		}
	}
	if err := k.startCopying(ctx); err != nil {
		return err
	}
	defer func() { <-k.copying }()
	temp, err := os.CreateTemp(filepath.Dir(dest), ".keys-*") // readable by the owner only, as the database is
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	defer temp.Close()
	err = k.read(ctx, func(conn *sqlite.Conn) error {
		defer conn.SetInterrupt(conn.SetInterrupt(ctx.Done()))
		return sqlitex.ExecuteTransient(conn, "VACUUM INTO $1", &sqlitex.ExecOptions{Args: []any{temp.Name()}})
	})
	if err != nil {
		return err
	}
	return install(temp, dest)
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

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// Check reads the whole database and reports damage as ErrCorrupt. It takes about a second a million subjects.
func (k *Keys) Check(ctx context.Context) error {
	err := k.read(ctx, func(conn *sqlite.Conn) error {
		defer conn.SetInterrupt(conn.SetInterrupt(ctx.Done()))
		err := sqlitex.ExecuteTransient(conn, "PRAGMA integrity_check(1)", &sqlitex.ExecOptions{
			ResultFunc: func(row *sqlite.Stmt) error {
				if row.ColumnText(0) != "ok" {
					return ErrCorrupt
				}
				return nil
			},
		})
		if err != nil {
			return err
		}
		var id subjectID
		var stored [storedSize]byte
		var root [rootSize]byte
		defer clear(root[:])
		return sqlitex.ExecuteTransient(conn, "SELECT id, key FROM subjects", &sqlitex.ExecOptions{
			ResultFunc: func(row *sqlite.Stmt) error {
				row.ColumnBytes(0, id[:])
				row.ColumnBytes(1, stored[:])
				if allZero(stored[:]) {
					return nil
				}
				if _, err := k.wrap.Open(root[:0], nil, stored[:], id[:]); err != nil {
					return fmt.Errorf("%w: the key of subject %s does not unwrap", ErrCorrupt, formatID(id))
				}
				return nil
			},
		})
	})
	return wrapf(err, "check the key database")
}

// read lends a connection that sees what is committed.
func (k *Keys) read(ctx context.Context, do func(*sqlite.Conn) error) error {
	select {
	case <-k.closing:
		return errClosed
	default:
	}
	select {
	case conn := <-k.readers:
		err := do(conn)
		k.readers <- conn
		if ctx.Err() != nil && sqlite.ErrCode(err).ToPrimary() == sqlite.ResultInterrupt {
			return ctx.Err()
		}
		return explainOurs(err)
	case <-k.closing:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errClosed = fmt.Errorf("%w: it is closed", ErrUnavailable)

// explainOurs is explain for an error that may be one of this package's already.
func explainOurs(err error) error {
	for _, ours := range []error{ErrErased, ErrUnknown, ErrCorrupt} {
		if errors.Is(err, ours) {
			return err
		}
	}
	return explain(err)
}

func wrapf(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}

func (k *Keys) hash(identity string) (mac [sha256.Size]byte) {
	h := hmac.New(sha256.New, k.identity)
	h.Write([]byte(identity))
	h.Sum(mac[:0])
	return mac
}

type subjectID [16]byte

// newIDs returns a maker of random UUIDs that begin with the same 32 bits, so that the ids of one commit lie side by side in
// the index. 90 random bits remain.
func newIDs() func() subjectID {
	var prefix [4]byte
	rand.Read(prefix[:])
	return func() (id subjectID) {
		rand.Read(id[4:])
		copy(id[:], prefix[:])
		id[6] = id[6]&0x0f | 0x40
		id[8] = id[8]&0x3f | 0x80
		return id
	}
}

func formatID(id subjectID) string {
	var text [36]byte
	hex.Encode(text[0:8], id[0:4])
	hex.Encode(text[9:13], id[4:6])
	hex.Encode(text[14:18], id[6:8])
	hex.Encode(text[19:23], id[8:10])
	hex.Encode(text[24:36], id[10:16])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}

func parseID(text string) (id subjectID, ok bool) {
	if len(text) != 36 {
		return id, false
	}
	if _, err := hex.Decode(id[:], []byte(text[0:8]+text[9:13]+text[14:18]+text[19:23]+text[24:36])); err != nil {
		return id, false
	}
	return id, formatID(id) == text
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
