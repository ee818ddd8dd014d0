// Package principal knows who may call: the people and systems that a file of principals lists, each with the unit and the
// roles they act in. Tokens stand in the file only as hashes, and are never logged.
package principal

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

var (
	// ErrUnknown says that nobody in the file has the credentials.
	ErrUnknown = errors.New("unknown credentials")
	// ErrNotValid says that the credentials are somebody's, but not at this instant.
	ErrNotValid = errors.New("credentials are not valid now")
)

// Interval is how often, at most, the file is looked at for changes.
const Interval = time.Second

// File is a list of principals that follows its file. Its methods may be called by many goroutines. There is nothing to close.
type File struct {
	path  string
	fault func(error)

	list   atomic.Pointer[list]
	looked atomic.Int64 // when the file was last looked at, Unix nanoseconds

	mu   sync.Mutex
	seen fs.FileInfo // the file as it was last read, well or not; nil if it was not there
}

// list is the content of one version of the file.
type list struct {
	byToken   map[[sha256.Size]byte]*principal
	bySubject map[string]*principal
}

// principal is one entry. The actor's roles are shared by all who look it up and must not be changed.
type principal struct {
	actor     rule.Actor
	validFrom time.Time // zero: ever since
	validTo   time.Time // zero: for ever
	onBus     bool      // may connect to the bus
	bus       []string  // the subtrees read there
}

// Open reads the file of principals at path. A file that is broken is refused, with line and field of the fault. When it changes
// later it is read again, before the answer to the next look-up but at most once every Interval; if it is broken or gone then, the
// old list stays in force and fault, unless nil, is told once for that version of the file.
func Open(path string, fault func(error)) (*File, error) {
	f := &File{path: path, fault: fault}
	if f.fault == nil {
		f.fault = func(error) {}
	}
	if err := f.read(); err != nil {
		return nil, err
	}
	f.looked.Store(time.Now().UnixNano())
	return f, nil
}

// read takes the file's state before its content, so that a change in between is noticed at the next look.
func (f *File) read() error {
	info, err := os.Stat(f.path)
	f.seen = info
	if err != nil {
		f.seen = nil
		return fmt.Errorf("read principals: %w", err)
	}
	text, err := os.ReadFile(f.path)
	if err != nil {
		return fmt.Errorf("read principals: %w", err)
	}
	l, err := parse(text)
	if err != nil {
		return fmt.Errorf("principals %s: %w", f.path, err)
	}
	f.list.Store(l)
	return nil
}

// follow reads the file again if it has changed. One caller looks, the others go on with the list there is.
func (f *File) follow(now time.Time) {
	looked, at := f.looked.Load(), now.UnixNano()
	if at-looked < int64(Interval) || !f.looked.CompareAndSwap(looked, at) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.path)
	if err != nil && f.seen == nil {
		return // still gone
	}
	if err == nil && f.seen != nil && os.SameFile(info, f.seen) && info.Size() == f.seen.Size() && info.ModTime().Equal(f.seen.ModTime()) {
		return
	}
	if err := f.read(); err != nil {
		f.fault(err)
	}
}

// Lookup gives the actor whose bearer token it is, as of now. Errors: ErrUnknown, ErrNotValid.
func (f *File) Lookup(token string, now time.Time) (rule.Actor, error) {
	f.follow(now)
	return f.list.Load().byToken[sha256.Sum256([]byte(token))].at(now)
}

// LookupCertificate gives the actor whose verified client certificate has the subject, in the form of RFC 2253 that
// pkix.Name.String gives, as of now. Errors: ErrUnknown, ErrNotValid.
func (f *File) LookupCertificate(subject string, now time.Time) (rule.Actor, error) {
	f.follow(now)
	return f.list.Load().bySubject[subject].at(now)
}

// BusGrant gives the person whose bearer token it is and the subtrees of the bus that they read, as of now. Errors: ErrUnknown, also where the person has no business on
// the bus, and ErrNotValid.
func (f *File) BusGrant(token string, now time.Time) (person string, subtrees []string, err error) {
	f.follow(now)
	p := f.list.Load().byToken[sha256.Sum256([]byte(token))]
	if p == nil || !p.onBus {
		return "", nil, ErrUnknown
	}
	actor, err := p.at(now)
	return actor.Person, p.bus, err
}

// BusGrants gives the subtrees of everybody who may connect to the bus, now or at another time, by person.
func (f *File) BusGrants() map[string][]string {
	f.follow(time.Now())
	grants := map[string][]string{}
	for _, p := range f.list.Load().byToken {
		if p.onBus {
			grants[p.actor.Person] = p.bus
		}
	}
	return grants
}

func (p *principal) at(now time.Time) (rule.Actor, error) {
	switch {
	case p == nil:
		return rule.Actor{}, ErrUnknown
	case now.Before(p.validFrom), !p.validTo.IsZero() && !now.Before(p.validTo):
		return rule.Actor{}, ErrNotValid
	}
	return p.actor, nil
}

// HashToken is what stands in the file for a bearer token: its SHA-256, in hexadecimal.
func HashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// parseRole understands a role's name with or without the contract's prefix: "DISPATCHER", "ROLE_DISPATCHER".
func parseRole(name string) (pb.Role, bool) {
	n, ok := pb.Role_value[name]
	if !ok {
		n, ok = pb.Role_value["ROLE_"+name]
	}
	return pb.Role(n), ok && n != 0
}

func addRole(roles []pb.Role, name string) ([]pb.Role, error) {
	role, ok := parseRole(name)
	switch {
	case !ok:
		return nil, fmt.Errorf("unknown role %q", name)
	case slices.Contains(roles, role):
		return nil, fmt.Errorf("role %q twice", name)
	}
	return append(roles, role), nil
}
