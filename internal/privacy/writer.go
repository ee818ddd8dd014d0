package privacy

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// request is what a caller wants of the writer: subjects for people, or an erasure.
type request struct {
	people   []person
	subjects []Subject // one for each of people
	erase    *erasure
	err      error
	done     chan struct{}
}

type person struct {
	anonymous bool
	mac       [sha256.Size]byte
}

type erasure struct {
	id subjectID
	at int64 // microseconds UTC
}

// spareKey is a key that is durable and that nobody has yet. It is only ever taken from memory, so that none is handed out
// again after a crash.
type spareKey struct {
	id   subjectID
	root [rootSize]byte
}

// submit hands a request to the writer and waits until it is durable.
func (k *Keys) submit(ctx context.Context, r *request) error {
	if k.options.ReadOnly {
		return ErrReadOnly
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	r.done = make(chan struct{})
	select {
	case k.requests <- r:
	case <-k.closing:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	case <-k.written:
	}
	select {
	case <-r.done:
		return r.err
	default:
		return errClosed
	}
}

// write makes one durable commit for all requests that have queued, until the database is closed.
func (k *Keys) write() {
	defer close(k.written)
	for {
		var group []*request
		refill := false
		select {
		case r := <-k.requests:
			group = append(group, r)
		case <-k.refill:
			refill = true
		case <-k.closing:
			return
		}
		for more := true; more && len(group) < cap(k.requests); {
			select {
			case r := <-k.requests:
				group = append(group, r)
			default:
				more = false
			}
		}
		err := k.commit(group, refill)
		for _, r := range group {
			if r.err == nil {
				r.err = err
			}
			close(r.done)
		}
	}
}

// commit carries out a group of requests. Its error is that of all of them; an error of one alone stands in the request.
func (k *Keys) commit(group []*request, refill bool) error {
	since := k.cache.erasures()
	found, made, err := k.record(group, refill)
	if err != nil {
		return explainOurs(err)
	}

	// From here on all of it is durable.
	erased := false
	for _, r := range group {
		if r.erase != nil {
			erased = true
			k.cache.drop(formatID(r.erase.id))
		}
	}
	for _, r := range group {
		if r.erase != nil {
			continue
		}
		r.subjects = make([]Subject, len(r.people))
		for i, p := range r.people {
			if p.anonymous {
				r.subjects[i], r.err = k.handOut(made[0])
				made = made[1:]
			} else {
				f := found[p.mac]
				r.subjects[i], r.err = k.subject(f.id, f.key, since)
			}
			if r.err != nil {
				break
			}
		}
	}
	for _, s := range made {
		select {
		case k.spare <- s:
		default: // more than wanted: it stays unused
		}
	}
	if !erased {
		return nil
	}
	// Without our own readers, who are so many that one is always reading.
	var readers [readerCount]*sqlite.Conn
	for i := range readers {
		readers[i] = <-k.readers
	}
	done, err := checkpoint(k.writer)
	for _, conn := range readers {
		k.readers <- conn
	}
	if err == nil && !done {
		err = fmt.Errorf("%w: the key is destroyed, but a reader holds up the removal of its last copy", ErrUnavailable)
	}
	for _, r := range group {
		if r.erase != nil {
			r.err = err
		}
	}
	return nil
}

// record is the transaction of a group. It returns the rows of the people asked for, and new keys: one for each anonymous
// subject asked for and, if there is any or refill is set, as many as there is room for besides.
func (k *Keys) record(group []*request, refill bool) (found map[[sha256.Size]byte]row, made []spareKey, err error) {
	end, err := sqlitex.ImmediateTransaction(k.writer)
	if err != nil {
		return nil, nil, err
	}
	defer end(&err)

	newID := newIDs()
	found = map[[sha256.Size]byte]row{}
	anonymous := 0
	for _, r := range group {
		for _, p := range r.people {
			if p.anonymous {
				anonymous++
				continue
			}
			if _, ok := found[p.mac]; ok {
				continue
			}
			known, ok, err := findPerson(k.writer, p.mac)
			if err != nil {
				return nil, nil, err
			}
			if !ok {
				made, stored := k.newSpare(newID())
				clear(made.root[:])
				if err := insertSubject(k.writer, made.id, stored, p.mac[:]); err != nil {
					return nil, nil, err
				}
				known = row{id: made.id, key: stored}
			}
			found[p.mac] = known
		}
	}
	if anonymous > 0 || refill {
		for range anonymous + cap(k.spare) - len(k.spare) {
			s, stored := k.newSpare(newID())
			if err := insertSubject(k.writer, s.id, stored, nil); err != nil {
				return nil, nil, err
			}
			made = append(made, s)
		}
	}
	// Last, so that a subject erased in the group is erased whatever else was asked for it.
	for _, r := range group {
		if r.erase != nil {
			if err := eraseSubject(k.writer, r.erase); err != nil {
				return nil, nil, err
			}
		}
	}
	return found, made, nil
}

func (k *Keys) newSpare(id subjectID) (s spareKey, stored []byte) {
	s.id = id
	rand.Read(s.root[:])
	return s, k.wrap.Seal(make([]byte, 0, storedSize), nil, s.root[:], id[:])
}
