package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/chuishao/dispatch/internal/eventstore"
)

// backupStep is how many pages are copied between two looks at the context.
const backupStep = 1024

// Backup writes a copy of the history as it is at one moment to destPath, while appends go on. The file stands there
// complete and durable when Backup returns without an error, and not at all otherwise. An existing file is not
// overwritten: the error then Is fs.ErrExist. While it runs, the log grows by what is appended.
func (s *Store) Backup(ctx context.Context, destPath string) error {
	if _, err := os.Lstat(destPath); err == nil {
		return fmt.Errorf("back up to %s: %w", destPath, fs.ErrExist)
	}
	partial := destPath + ".partial"
	if err := os.Remove(partial); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("back up: remove what an earlier one left: %w", err)
	}
	err := s.copyTo(ctx, partial)
	if err == nil {
		err = moveDurably(partial, destPath)
	}
	if err == nil {
		return nil
	}
	for _, suffix := range []string{"", "-journal", "-wal", "-shm"} {
		os.Remove(partial + suffix)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, eventstore.ErrUnavailable) {
		return err
	}
	if sqlite.ErrCode(err).ToPrimary() == sqlite.ResultFull {
		return fmt.Errorf("%w: no space left for the backup: %w", eventstore.ErrUnavailable, err)
	}
	return fmt.Errorf("back up to %s: %w", destPath, err)
}

func (s *Store) copyTo(ctx context.Context, path string) (err error) {
	r, err := s.readers.take(ctx, s)
	if err != nil {
		return err
	}
	defer s.readers.put(r)
	src := r.conn
	dst, err := createFile(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	// moveDurably flushes once at the end.
	if err := sqlitex.ExecuteTransient(dst, "PRAGMA synchronous = OFF", nil); err != nil {
		return err
	}
	// One read transaction around all steps: the copy is of one moment and never starts again.
	if err := sqlitex.ExecuteTransient(src, "BEGIN", nil); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sqlitex.ExecuteTransient(src, "COMMIT", nil)) }()
	if _, err := pragma(src, "SELECT max(position) FROM events"); err != nil {
		return err
	}
	backup, err := sqlite.NewBackup(dst, "main", src, "main")
	if err != nil {
		return err
	}
	for more := true; more && err == nil; {
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-s.closing:
			err = errClosed
		default:
			more, err = backup.Step(backupStep)
		}
	}
	if err := errors.Join(err, backup.Close()); err != nil {
		return err
	}
	// A single file, for a place where nothing can be written beside it.
	return sqlitex.ExecuteTransient(dst, "PRAGMA journal_mode = DELETE", nil)
}
