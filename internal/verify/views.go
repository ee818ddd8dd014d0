package verify

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/view"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// views compares every view, as it stands, with one that is built aside from the same events; each partition by itself.
func (v *verifier) views(ctx context.Context) (names []string, err error) {
	dir, err := os.MkdirTemp(v.c.Dir, ".verify-")
	if err != nil {
		return nil, fmt.Errorf("verify views: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	all := func(db *viewdb.DB, of string, views []projector.View) error {
		for _, w := range views {
			differs, err := v.compare(ctx, db, w, dir)
			if err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				differs = err.Error()
			}
			if differs != "" {
				if err := v.found(&pb.VerifyFinding{Kind: "VIEW_DIFFERS", View: w.Name + of, Message: differs}); err != nil {
					return err
				}
				continue
			}
			names = append(names, w.Name+of)
		}
		return nil
	}
	if err := all(v.c.Views, "", view.Whole(v.c.Zone, max(1, len(v.c.Parts)))); err != nil {
		return nil, err
	}
	for i, db := range v.c.Parts {
		p := view.Partition{Number: i + 1, Of: len(v.c.Parts)}
		if err := all(db, " "+p.String(), view.Part(v.c.Zone, p)); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// compare says in which row a view differs from a rebuild; empty if in none.
func (v *verifier) compare(ctx context.Context, db *viewdb.DB, w projector.View, dir string) (differs string, err error) {
	is, err := os.Create(filepath.Join(dir, w.Name+".dump"))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, is.Close(), os.Remove(is.Name())) }()
	at, err := view.Dump(ctx, db, w.Name, is)
	if err != nil {
		return "", fmt.Errorf("read view: %w", err)
	}
	if _, err := is.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	path := filepath.Join(dir, w.Name+".db")
	defer func() { err = errors.Join(err, viewdb.Remove(path)) }()
	if err := projector.Build(ctx, until{v.c.Store, at}, path, projector.Options{}, w); err != nil {
		return "", fmt.Errorf("rebuild view: %w", err)
	}
	rebuilt, err := viewdb.Open(path, viewdb.Options{ReadOnly: true})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, rebuilt.Close()) }()
	diff := &lines{is: bufio.NewReaderSize(is, 1<<16)}
	if _, err := view.Dump(ctx, rebuilt, w.Name, diff); err != nil {
		return "", err
	}
	return diff.end(), nil
}

// lines compares what is written to it with what it reads, line by line, and keeps the first difference.
type lines struct {
	is      *bufio.Reader
	rest    []byte
	n       int
	differs string
}

func (l *lines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for l.differs == "" {
		i := bytes.IndexByte(l.rest, '\n')
		if i < 0 {
			break
		}
		should := l.rest[:i+1]
		is, err := l.is.ReadBytes('\n')
		l.n++
		switch {
		case errors.Is(err, io.EOF):
			l.differs = fmt.Sprintf("row %d is missing: %s", l.n, clip(should))
		case err != nil:
			return 0, err
		case !bytes.Equal(is, should):
			l.differs = fmt.Sprintf("row %d is %s; a rebuild gives %s", l.n, clip(is), clip(should))
		}
		l.rest = l.rest[i+1:]
	}
	return len(p), nil
}

func (l *lines) end() string {
	if l.differs == "" {
		if more, err := l.is.ReadBytes('\n'); err == nil {
			l.differs = fmt.Sprintf("row %d is too many: %s", l.n+1, clip(more))
		}
	}
	return l.differs
}

func clip(line []byte) string {
	line = bytes.TrimSuffix(line, []byte("\n"))
	if len(line) > 200 {
		return fmt.Sprintf("%q…", line[:200])
	}
	return fmt.Sprintf("%q", line)
}

// until is a history as it was at a position.
type until struct {
	eventstore.Store
	at eventstore.Position
}

// ReadAll yields what was there at the position.
func (u until) ReadAll(ctx context.Context, after eventstore.Position) iter.Seq2[eventstore.Recorded, error] {
	return func(yield func(eventstore.Recorded, error) bool) {
		for r, err := range u.Store.ReadAll(ctx, after) {
			if err == nil && r.Position > u.at || !yield(r, err) {
				return
			}
		}
	}
}
