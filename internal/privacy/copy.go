package privacy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// Copy brings all subjects and erasures of one key database into another, so that keys can move house between a file and PostgreSQL, either way. Subjects
// keep their ids, keys and people; what from has erased is erased in to, and what to has erased stays so. from is left as it is, and may be read-only.
//
// The first time, to must have no subjects: it takes over what identities are hashed with, wrapped by its own master key, and processes that have it open
// besides must open it anew. Cut short, it is called again; what is there already is skipped. What is made in
// from meanwhile may be left out: stop its dispatchers before the last call. Errors: ErrForeign if to has subjects of other databases, ErrReadOnly, ErrCorrupt if a key of from is damaged, ErrUnavailable.
func Copy(ctx context.Context, from, to *Keys) error {
	return wrapf(copyKeys(ctx, from, to), "copy keys of data subjects")
}

func copyKeys(ctx context.Context, from, to *Keys) error {
	if to.options.ReadOnly {
		return ErrReadOnly
	}
	s := from.secrets.Load()
	if err := to.submit(ctx, &request{job: func() error { return to.adopt(s.secret) }}); err != nil {
		return err
	}
	// First, since a person who was erased and came back is another subject.
	forget := func() error {
		return from.engine.erasures(ctx, func(page []erasure) error { return to.erase(ctx, page) })
	}
	if err := forget(); err != nil {
		return err
	}
	err := from.engine.subjects(ctx, func(page []row) error {
		if err := s.check(page); err != nil {
			return err
		}
		var clash *row
		job := func() (err error) {
			clash, err = to.engine.absorb(to.secrets.Load().stored, page)
			return err
		}
		err := to.submit(ctx, &request{job: job})
		if err == nil && clash != nil { // erased since we looked?
			if err = forget(); err == nil {
				err = to.submit(ctx, &request{job: job})
			}
		}
		if err == nil && clash != nil {
			err = fmt.Errorf("%w: the person of subject %s is another subject there", ErrForeign, formatID(clash.id))
		}
		return err
	})
	if err != nil {
		return err
	}
	return forget() // again, for what was erased meanwhile
}

// adopt is the writer's. It makes another database's secret that of this one, unless it is that already.
func (k *Keys) adopt(secret []byte) error {
	if bytes.Equal(secret, k.secrets.Load().secret) {
		return nil
	}
	stored := k.outer.Seal(nil, nil, secret, []byte(secretSetting))
	s, err := newSecrets(stored, bytes.Clone(secret))
	if err != nil {
		return err
	}
	if err := k.engine.adopt(stored); errors.Is(err, errNotEmpty) {
		return fmt.Errorf("%w: %w, of other people; give one that has none", ErrForeign, err)
	} else if err != nil {
		return err
	}
	k.secrets.Store(s)
	return nil
}
