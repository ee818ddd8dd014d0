package privacy

import (
	"context"
	"crypto/rand"
)

// request is what a caller wants of the writer: subjects for people, or erasures.
type request struct {
	people   []person
	secrets  *secrets  // by which people were hashed
	subjects []Subject // one for each of people
	erase    []erasure
	job      func() error // what the writer is to do by itself; the rest is then empty
	err      error
	done     chan struct{}
}

type person struct {
	anonymous bool
	mac       hash
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
		var commands []*request
		for _, r := range group {
			if r.job == nil {
				commands = append(commands, r)
				continue
			}
			r.err = r.job()
			close(r.done)
		}
		err := k.commit(commands, refill)
		for _, r := range commands {
			if r.err == nil {
				r.err = err
			}
			close(r.done)
		}
	}
}

// commit carries out a group of requests. Its error is that of all of them; an error of one alone stands in the request.
func (k *Keys) commit(group []*request, refill bool) error {
	if len(group) == 0 && !refill {
		return nil
	}
	s, since := k.secrets.Load(), k.cache.erasures()
	b, made := k.prepare(s, group, refill)
	if err := k.engine.record(b); err != nil {
		return err
	}

	// From here on all of it is durable.
	for _, e := range b.erase {
		k.cache.drop(formatID(e.id))
	}
	for _, r := range group {
		if r.err != nil {
			continue
		}
		r.subjects = make([]Subject, len(r.people))
		for i, p := range r.people {
			if p.anonymous {
				r.subjects[i], r.err = k.handOut(made[0])
				made = made[1:]
			} else {
				f := b.found[p.mac]
				r.subjects[i], r.err = k.subject(s, f.id, f.key, since)
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
	if len(b.erase) == 0 {
		return nil
	}
	err := k.engine.sweep()
	for _, r := range group {
		if len(r.erase) > 0 {
			r.err = err
		}
	}
	return nil
}

// prepare makes the batch of a group, with a new row for each person, should there be none yet, and new keys: one for each anonymous subject asked for
// and, if there is any or refill is set, as many as there is room for besides.
func (k *Keys) prepare(s *secrets, group []*request, refill bool) (b *batch, made []spareKey) {
	b = &batch{secret: s.stored, found: map[hash]row{}}
	newID := newIDs()
	proposed := map[hash]bool{}
	anonymous := 0
	for _, r := range group {
		b.erase = append(b.erase, r.erase...)
		if len(r.people) > 0 && r.secrets != s {
			r.err = errMeanwhile
			continue
		}
		for _, p := range r.people {
			switch {
			case p.anonymous:
				anonymous++
			case !proposed[p.mac]:
				proposed[p.mac] = true
				fresh, stored := newSpare(s, newID())
				clear(fresh.root[:]) // it is unwrapped again if it is the one that counts
				b.people = append(b.people, row{id: fresh.id, key: stored, mac: p.mac[:]})
			}
		}
	}
	if anonymous > 0 || refill {
		for range anonymous + cap(k.spare) - len(k.spare) {
			fresh, stored := newSpare(s, newID())
			b.spares = append(b.spares, row{id: fresh.id, key: stored})
			made = append(made, fresh)
		}
	}
	return b, made
}

func newSpare(s *secrets, id subjectID) (fresh spareKey, stored []byte) {
	fresh.id = id
	rand.Read(fresh.root[:])
	return fresh, s.wrap.Seal(make([]byte, 0, storedSize), nil, fresh.root[:], id[:])
}
