// Package privacy keeps the keys of data subjects (诉求人, the people who petition) in a database of their
// own, apart from history and views. What a history records about a person is sealed under that person's key;
// destroying the key erases the person everywhere at once, in histories and in backups of them, while
// versions, hashes and counts stay as they were.
//
// The database is a SQLite file that one process writes (Open), or a schema in PostgreSQL that several processes share
// (OpenPostgres); Copy moves keys from one to the other. The two differ in what is left of a destroyed key. Of a file no byte is left. PostgreSQL
// leaves copies that no query finds, but that who has its disks, its write-ahead log or its backups could dig up until they are overwritten or
// thrown away: they are worth nothing without the master key, which lies elsewhere. docs/decisions/0031 says what the operator owes.
//
// The package takes bytes and gives bytes. It never learns what is sealed, and no error of it holds an identity,
// a name or key material.
//
// It also masks: what a role may see of a name, a number, an address or a text without a recorded reason.
package privacy

import (
	"context"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chuishao/dispatch/internal/eventstore"
)

var (
	// ErrErased says that a subject's key was destroyed: what was sealed under it can be read by nobody.
	ErrErased = errors.New("the subject was erased")
	// ErrUnknown says that this database never held a key of the subject.
	ErrUnknown = errors.New("unknown subject")
	// ErrTampered says that sealed bytes were not sealed by this subject's key with these additional data, or
	// were changed since.
	ErrTampered = errors.New("sealed bytes were tampered with")

	// ErrForeign says that a file or schema is something else than a key database, or one of other people.
	ErrForeign = errors.New("not a key database")
	// ErrNewer says that a key database was written by a later release.
	ErrNewer = errors.New("key database of a later release")
	// ErrCorrupt says that a key database is damaged: restore it from a backup and apply the later erasures again.
	ErrCorrupt = errors.New("key database is damaged")
	// ErrReadOnly says that a key database may not be written.
	ErrReadOnly = errors.New("key database is read-only")
	// ErrLocked says that another process, or another Keys of this one, writes to the key database.
	ErrLocked = errors.New("key database is in use by another writer")
	// ErrReplaced says that keys of another database were copied into this one after it was opened. That does not pass: it must be opened again.
	ErrReplaced = errors.New("keys of another database were copied into the key database since it was opened")
	// ErrMasterKey says that the master key is missing, is another one, or was given for a database without one.
	ErrMasterKey = errors.New("wrong master key")
	// ErrUnavailable marks an error that may pass, such as a full disk or a lost connection. The same call may be made again. It Is
	// eventstore.ErrUnavailable too.
	ErrUnavailable = fmt.Errorf("key database: %w", eventstore.ErrUnavailable)

	errClosed    = fmt.Errorf("%w: it is closed", ErrUnavailable)
	errNotEmpty  = errors.New("it has subjects already")
	errMeanwhile = fmt.Errorf("%w: keys of another database are being copied into it", ErrUnavailable)
)

// Options say how to open a key database. The zero value is ready for use.
type Options struct {
	// ReadOnly is for tools of the read side, which may run beside the writer. Keys are then read afresh at every
	// use, so that an erasure by the writer holds at once.
	ReadOnly bool
	// MasterKey, at least 32 bytes from a good source, wraps every key in the database. It is set when the database
	// is made and must be given ever after. Without one, whoever has the database has the keys.
	MasterKey []byte
	// Cached is the largest number of keys held in memory; 8192 if 0. One takes about a kibibyte. None are where other processes may write.
	Cached int
	// Spare is the number of keys made in advance for anonymous subjects; 2048 if 0. A restart wastes those left.
	Spare int
}

// Keys is an open key database. Its methods may be called by many goroutines.
type Keys struct {
	engine  engine
	options Options
	secrets atomic.Pointer[secrets]
	outer   cipher.AEAD // wraps the secret, by the master key

	cache    *cache
	spare    chan spareKey
	refill   chan struct{}
	requests chan *request

	closing chan struct{}
	written chan struct{} // closed when the writer has ended
	once    sync.Once
	closed  error
}

// Open opens the key database at path, or makes it if there is no such file and options allow writing. The caller
// closes it. Errors: ErrForeign, ErrNewer, ErrCorrupt, ErrReadOnly, ErrLocked, ErrMasterKey; the file is then as it
// was. For writing, one file more, path with ".lock" after it, keeps other writers out.
func Open(path string, options Options) (*Keys, error) {
	k, err := open(options, func(k *Keys, unlock func(map[string][]byte) error) (engine, error) {
		return openFile(path, options, k.closing, unlock)
	})
	if err != nil {
		return nil, fmt.Errorf("open key database %s: %w", path, err)
	}
	return k, nil
}

// open opens an engine, which calls unlock with its settings before it changes anything that was there.
func open(options Options, openEngine func(k *Keys, unlock func(map[string][]byte) error) (engine, error)) (*Keys, error) {
	if n := len(options.MasterKey); n > 0 && n < 32 {
		return nil, fmt.Errorf("%w: want at least 32 bytes", ErrMasterKey)
	}
	if options.Cached <= 0 {
		options.Cached = 8192
	}
	if options.Spare <= 0 {
		options.Spare = 2048
	}
	k := &Keys{
		spare:    make(chan spareKey, options.Spare),
		refill:   make(chan struct{}, 1),
		requests: make(chan *request, 512),
		closing:  make(chan struct{}),
		written:  make(chan struct{}),
	}
	e, err := openEngine(k, func(settings map[string][]byte) error {
		s, outer, err := unlock(settings, options.MasterKey)
		if err != nil {
			return err
		}
		k.secrets.Store(s)
		k.outer = outer
		return nil
	})
	if err != nil {
		return nil, err
	}
	k.engine = e
	if options.ReadOnly || e.shared() {
		options.Cached = 0
	}
	options.MasterKey = nil
	k.options = options
	k.cache = newCache(options.Cached)
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
		k.closed = k.engine.close()
		k.cache.clear()
		for len(k.spare) > 0 {
			<-k.spare
		}
	})
	return k.closed
}

// Find tells whether a person is known, and as which subject. It is for erasing by identity.
func (k *Keys) Find(ctx context.Context, identity string) (id string, ok bool, err error) {
	if identity == "" {
		return "", false, nil
	}
	found, err := k.engine.find(ctx, []hash{k.secrets.Load().hash(identity)})
	if err != nil || found[0].key == nil {
		return "", false, wrapf(err, "find a subject")
	}
	return formatID(found[0].id), true, nil
}

// Subject returns the subject for a person, and makes one if the person is not known. identity is whatever identifies
// the person for good, in clear, such as what NormalizePhone returns; only its keyed hash is stored. The same identity
// gives the same subject until that is erased, whoever asks. The subject is durable before Subject returns.
//
// An empty identity gives a new anonymous subject each time, without a write of its own.
func (k *Keys) Subject(ctx context.Context, identity string) (Subject, error) {
	if identity == "" {
		if s, ok, err := k.takeSpare(ctx); err != nil || ok {
			return s, wrapf(err, "take a subject")
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
	missing := &request{secrets: k.secrets.Load()}
	var places, known []int // where subjects are to be made, and where people are looked for
	var macs []hash
	// Who writes alone leaves the looking to the writer, which does so anyway and has its pages in memory: each commit makes readers read theirs anew.
	look := k.options.ReadOnly || k.engine.shared()
	for i, identity := range identities {
		one := person{anonymous: identity == ""}
		if !one.anonymous {
			one.mac = missing.secrets.hash(identity)
		}
		if !one.anonymous && look {
			macs = append(macs, one.mac)
			known = append(known, i)
			continue
		}
		missing.people = append(missing.people, one)
		places = append(places, i)
	}
	if len(macs) > 0 {
		since := k.cache.erasures()
		found, err := k.engine.find(ctx, macs)
		if err != nil {
			return nil, wrapf(err, "look for a subject")
		}
		for n, i := range known {
			if found[n].key == nil {
				missing.people = append(missing.people, person{mac: macs[n]})
				places = append(places, i)
				continue
			}
			if subjects[i], err = k.subject(missing.secrets, found[n].id, found[n].key, since); err != nil {
				return nil, wrapf(err, "look for a subject")
			}
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

// takeSpare takes a subject made in advance, if there is one.
func (k *Keys) takeSpare(ctx context.Context) (_ Subject, ok bool, err error) {
	for {
		var s spareKey
		select {
		case s = <-k.spare:
		default:
			return Subject{}, false, nil
		}
		if len(k.spare) < cap(k.spare)/2 {
			select {
			case k.refill <- struct{}{}:
			default:
			}
		}
		if k.engine.shared() {
			// It may have been erased by another process, or be gone with a database that was restored.
			_, err := k.engine.lookup(ctx, s.id)
			if errors.Is(err, ErrErased) || errors.Is(err, ErrUnknown) {
				continue
			}
			if err != nil {
				return Subject{}, false, err
			}
		}
		subject, err := k.handOut(s)
		return subject, err == nil, err
	}
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
func (k *Keys) subject(s *secrets, id subjectID, stored []byte, since uint64) (Subject, error) {
	text := formatID(id)
	if cached := k.cache.get(text); cached != nil {
		return Subject{text, cached}, nil
	}
	var root [rootSize]byte
	defer clear(root[:])
	plain, err := s.wrap.Open(root[:0], nil, stored, id[:])
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
	s, since := k.secrets.Load(), k.cache.erasures()
	stored, err := k.engine.lookup(ctx, id)
	if k.engine.shared() && errors.Is(err, ErrErased) {
		k.cache.drop(subjectID) // for whoever here still holds it
	}
	if err != nil {
		return Subject{}, wrapf(err, "look up subject %s", subjectID)
	}
	return k.subject(s, id, stored, since)
}

// Unseal returns what Seal was given. Errors: ErrErased, ErrUnknown; ErrTampered if sealed or aad are not as they were.
func (k *Keys) Unseal(ctx context.Context, subjectID string, sealed, aad []byte) ([]byte, error) {
	subject, err := k.Lookup(ctx, subjectID)
	if err != nil {
		return nil, err
	}
	return subject.key.unseal(sealed, aad)
}

// Erase destroys a subject's key and its tie to a person, and leaves a tombstone with the instant. When it returns, nobody can use the key any
// more, in this process or another, nor is it in a backup made later. In a file no byte of either is left by then, nor in its write-ahead log; the package's
// comment says what is in PostgreSQL. An unknown subject gets a tombstone too, so that erasures can be applied again to a database restored from an older
// backup; the first instant stays.
//
// An error that Is ErrUnavailable, or a context's error, leaves it unknown how far the erasure came: erase again.
func (k *Keys) Erase(ctx context.Context, subjectID string, at time.Time) error {
	id, ok := parseID(subjectID)
	if !ok {
		return fmt.Errorf("erase a subject: %w: its id is not a UUID in lower case", ErrUnknown)
	}
	return wrapf(k.erase(ctx, []erasure{{id, at.UnixMicro()}}), "erase subject %s", subjectID)
}

func (k *Keys) erase(ctx context.Context, erasures []erasure) error {
	done, err := k.engine.erasing(ctx)
	if err != nil {
		return err
	}
	defer done()
	return k.submit(ctx, &request{erase: erasures})
}

// Backup writes a consistent copy of the database to dest, a file as Open opens it, durably, while it is in use. dest holds the former file or the
// whole copy, never a part of it. The copy needs the same master key.
func (k *Keys) Backup(ctx context.Context, dest string) error {
	return wrapf(k.backup(ctx, dest), "back up the key database to %s", dest)
}

func (k *Keys) backup(ctx context.Context, dest string) error {
	if k.engine.owns(dest) {
		return errors.New("the destination is the database itself")
	}
	temp, err := os.CreateTemp(filepath.Dir(dest), ".keys-*") // readable by the owner only, as the database is
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	defer temp.Close()
	if err := k.engine.backup(ctx, temp.Name()); err != nil {
		return err
	}
	return install(temp, dest)
}

// Check reads the whole database and reports damage as ErrCorrupt. It takes about a second a million subjects.
func (k *Keys) Check(ctx context.Context) error {
	err := k.engine.check(ctx)
	if err == nil {
		s := k.secrets.Load()
		err = k.engine.subjects(ctx, func(rows []row) error { return s.check(rows) })
	}
	return wrapf(err, "check the key database")
}

// check finds out whether keys unwrap.
func (s *secrets) check(rows []row) error {
	var root [rootSize]byte
	defer clear(root[:])
	for _, r := range rows {
		if _, err := s.wrap.Open(root[:0], nil, r.key, r.id[:]); err != nil {
			return fmt.Errorf("%w: the key of subject %s does not unwrap", ErrCorrupt, formatID(r.id))
		}
	}
	return nil
}

func wrapf(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}

func (s *secrets) hash(identity string) (mac hash) {
	h := hmac.New(sha256.New, s.identity)
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
