package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"

	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/privacy"
)

// Copied says what a copy came to, in events.
type Copied struct {
	Found    uint64 // were there already, the same
	Recorded uint64 // were recorded now
	Verified uint64 // were read again from both sides at the end, and are the same
}

// CopyHistory records in one history what another holds, in the same order, and then compares both event by event. What is there already, as after a copy
// that broke off, must be how the other begins, and is not recorded again. Nobody else may write to the copy meanwhile; the original may be in use, and
// what is recorded there later is left to another copy. Positions are the store's own, and differ.
func CopyHistory(ctx context.Context, from, to eventstore.Store, progress func(Copied)) (c Copied, err error) {
	there, stop := iter.Pull2(to.ReadAll(ctx, 0))
	defer stop()
	var run []eventstore.Recorded // events of one stream, one after the other, that are to be recorded
	size, more := 0, true
	flush := func() error {
		if len(run) == 0 {
			return nil
		}
		events := make([]eventstore.Event, len(run))
		for i := range run {
			events[i] = run[i].Event
		}
		if _, err := to.Append(ctx, run[0].Stream, run[0].Version-1, events); err != nil {
			return fmt.Errorf("record %s@%d: %w", run[0].Stream, run[0].Version, err)
		}
		c.Recorded += uint64(len(run))
		run, size = run[:0], 0
		if progress != nil {
			progress(c)
		}
		return nil
	}
	for e, err := range from.ReadAll(ctx, 0) {
		if err != nil {
			return c, fmt.Errorf("read what is to be copied: %w", err)
		}
		if more {
			was, err, ok := next(there)
			switch {
			case err != nil:
				return c, fmt.Errorf("read what was copied: %w", err)
			case ok && !same(&was, &e):
				return c, fmt.Errorf("the copy holds %s@%d where the original has %s@%d: it is the copy of another history, or was changed", was.Stream, was.Version, e.Stream, e.Version)
			case ok:
				if c.Found++; progress != nil {
					progress(c)
				}
				continue
			}
			more = false
		}
		if n := len(run); n > 0 && (n == eventstore.MaxEvents || run[0].Stream != e.Stream || size+e.Size() > eventstore.MaxBytes) {
			if err := flush(); err != nil {
				return c, err
			}
		}
		run, size = append(run, e), size+e.Size()
	}
	if err := flush(); err != nil {
		return c, err
	}
	stop()
	return c, c.verify(ctx, from, to, progress)
}

// verify compares what was copied with the original, which may have grown since.
func (c *Copied) verify(ctx context.Context, from, to eventstore.Store, progress func(Copied)) error {
	original, stop := iter.Pull2(from.ReadAll(ctx, 0))
	defer stop()
	for is, err := range to.ReadAll(ctx, 0) {
		if err != nil {
			return fmt.Errorf("read the copy: %w", err)
		}
		should, err, ok := next(original)
		switch {
		case err != nil:
			return fmt.Errorf("read the original: %w", err)
		case !ok:
			return fmt.Errorf("the copy holds %s@%d, and more than the original", is.Stream, is.Version)
		case !same(&is, &should):
			return fmt.Errorf("the copy holds %s@%d where the original has %s@%d", is.Stream, is.Version, should.Stream, should.Version)
		}
		if c.Verified++; progress != nil {
			progress(*c)
		}
	}
	if c.Verified != c.Found+c.Recorded {
		return fmt.Errorf("the copy holds %d events; %d were found and %d recorded", c.Verified, c.Found, c.Recorded)
	}
	return nil
}

// next is a pull with the end told last.
func next(pull func() (eventstore.Recorded, error, bool)) (eventstore.Recorded, error, bool) {
	e, err, ok := pull()
	return e, err, ok && err == nil
}

// same says whether two stores hold the same event, which every position of their own has.
func same(a, b *eventstore.Recorded) bool {
	return a.Stream == b.Stream && a.Version == b.Version && a.ID == b.ID && a.Type == b.Type && bytes.Equal(a.Meta, b.Meta) && bytes.Equal(a.Data, b.Data)
}

// CopyKeys copies the keys of data subjects, and what was erased, from one place to another. It may be run again. The original is only read: it must be
// there, and may be in use. masterFile holds the key that
// wraps them on both sides; empty for none.
func CopyKeys(ctx context.Context, from, to, masterFile string) (err error) {
	master, err := masterKey(masterFile)
	if err != nil {
		return err
	}
	source, err := openKeys(ctx, "--keys-from", from, "", privacy.Options{MasterKey: master, ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	target, err := openKeys(ctx, "--keys-to", to, "", privacy.Options{MasterKey: master})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	return privacy.Copy(ctx, source, target)
}

// masterKey reads the key that wraps the keys of data subjects; none if no file is named.
func masterKey(file string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	key, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	return key, nil
}
