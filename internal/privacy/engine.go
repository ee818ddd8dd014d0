package privacy

import (
	"context"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
)

// engine is where the rows of a key database lie: fileEngine or postgresEngine. It holds wrapped keys and keyed hashes, and can open neither. Rules
// of keys are those of Keys. An engine's errors are the package's own or have gone through its explanation of what its database said.
//
// All may call at once, except what is marked as the writer's.
type engine interface {
	// shared tells whether other processes may write, so that a key in memory counts only while its row is there.
	shared() bool

	// find returns the rows of people by the keyed hashes of their identities, in that order; of a person who is not known the zero row.
	find(ctx context.Context, macs []hash) ([]row, error)
	// lookup returns a subject's wrapped key. Errors: ErrErased, ErrUnknown.
	lookup(ctx context.Context, id subjectID) ([]byte, error)

	// record carries out a batch durably, all of it or nothing, and fills in its found. It may be called again with the same batch after an error.
	// The writer's.
	record(b *batch) error
	// erasing is called before an erasure is asked of the writer; done after it.
	erasing(ctx context.Context) (done func(), err error)
	// sweep removes what recorded erasures left behind, or sees to it. The writer's.
	sweep() error

	// subjects visits all living subjects, a page at a time, in an order that stays the same, and erasures all tombstones.
	subjects(ctx context.Context, visit func([]row) error) error
	erasures(ctx context.Context, visit func([]erasure) error) error
	// check looks for damage below what subjects would find.
	check(ctx context.Context) error
	// backup writes a key database of a file, the whole of one state, into the empty file at path.
	backup(ctx context.Context, path string) error
	// owns tells whether a file is part of the database.
	owns(path string) bool

	// adopt puts another secret, as it is to lie there, in place of its own, if there are no subjects yet: errNotEmpty. The writer's.
	adopt(stored []byte) error
	// absorb adds subjects of another database with the same secret, which lies in this one as given. Those that are there or have a tombstone are left as they are. clash is a subject
	// that was left out since its person is another subject here. The writer's.
	absorb(secret []byte, rows []row) (clash *row, err error)

	// close is called once, when nobody writes any more, and waits for calls under way.
	close() error
}

// hash is the keyed hash of an identity.
type hash [sha256.Size]byte

// batch is what the writer records at once.
type batch struct {
	secret []byte // as it lies in the database; what was wrapped under another is refused
	people []row  // for each person asked for the row to be made if there is none
	found  map[hash]row
	spares []row
	erase  []erasure // last, so that a subject erased in the batch is erased whatever else was asked for it
}

// pageSize is how many rows are copied or checked at once.
const pageSize = 2000

// The names of settings.
const (
	secretSetting  = "secret"  // from which identities are hashed and keys wrapped; itself wrapped by the master key
	wrappedSetting = "wrapped" // 1 if there is a master key, 0 if not
)

// newSettings are those of a new database.
func newSettings(master []byte) (map[string][]byte, error) {
	secret := make([]byte, rootSize)
	rand.Read(secret)
	defer clear(secret)
	outer, err := masterAEAD(master)
	if err != nil {
		return nil, err
	}
	return map[string][]byte{
		secretSetting:  outer.Seal(nil, nil, secret, []byte(secretSetting)),
		wrappedSetting: {min(1, byte(len(master)))},
	}, nil
}

// secrets are what a database's secret gives.
type secrets struct {
	stored   []byte // the secret as it lies in the database
	secret   []byte
	identity []byte      // under which identities are hashed
	wrap     cipher.AEAD // under which the keys of subjects are stored
}

// unlock opens the secret of a database. outer wraps what is to be stored of another secret.
func unlock(settings map[string][]byte, master []byte) (s *secrets, outer cipher.AEAD, err error) {
	if len(settings[wrappedSetting]) != 1 || len(settings[secretSetting]) != storedSize {
		return nil, nil, fmt.Errorf("%w: its settings are incomplete", ErrCorrupt)
	}
	switch wrapped := settings[wrappedSetting][0] == 1; {
	case wrapped && len(master) == 0:
		return nil, nil, fmt.Errorf("%w: it needs one, none is given", ErrMasterKey)
	case !wrapped && len(master) > 0:
		return nil, nil, fmt.Errorf("%w: it was made without one", ErrMasterKey)
	}
	if outer, err = masterAEAD(master); err != nil {
		return nil, nil, err
	}
	secret, err := outer.Open(nil, nil, settings[secretSetting], []byte(secretSetting))
	switch {
	case err != nil && len(master) > 0:
		return nil, nil, ErrMasterKey
	case err != nil:
		return nil, nil, fmt.Errorf("%w: its secret has changed", ErrCorrupt)
	}
	s, err = newSecrets(settings[secretSetting], secret)
	return s, outer, err
}

func newSecrets(stored, secret []byte) (*secrets, error) {
	identity, err := derive(secret, "chuishao identities 1")
	if err != nil {
		return nil, err
	}
	wrapping, err := derive(secret, "chuishao wrapped keys 1")
	if err != nil {
		return nil, err
	}
	defer clear(wrapping)
	wrap, err := newAEAD(wrapping)
	if err != nil {
		return nil, err
	}
	return &secrets{stored: stored, secret: secret, identity: identity, wrap: wrap}, nil
}

// masterAEAD wraps the secret of a database. Without a master key it protects nothing but finds damage.
func masterAEAD(master []byte) (cipher.AEAD, error) {
	derived, err := hkdf.Key(sha256.New, master, nil, "chuishao master key 1", 32)
	if err != nil {
		return nil, err
	}
	defer clear(derived)
	return newAEAD(derived)
}
