package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/eventstore/esdb"
	"github.com/chuishao/dispatch/internal/eventstore/jetstream"
	"github.com/chuishao/dispatch/internal/eventstore/sqlite"
	"github.com/chuishao/dispatch/internal/privacy"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// Where says where a node keeps what it keeps, as URLs. The zero value is the embedded default: three files of the data directory.
type Where struct {
	// Store is the history: esdb://… or esdb+discover://… for EventStoreDB, jetstream://… for NATS JetStream, sqlite:PATH for a file.
	Store string
	// Views is what the history adds up to: postgres://…, or sqlite:PATH.
	Views string
	// Keys are the keys of data subjects: postgres://…, or sqlite:PATH. Dispatchers that share a history share them.
	Keys string
	// Partitions is how many partitions the figures are kept in, each in a file or schema of its own beside the other views. 0 and 1: they are kept whole.
	Partitions int
}

// Flags adds the flags of where things are.
func (w *Where) Flags(f *Flags) {
	f.StringVar(&w.Store, "store", "", "`URL` of the history: esdb://…, esdb+discover://…, jetstream://…, sqlite:PATH; a file of --data by default")
	f.StringVar(&w.Views, "views", "", "`URL` of the views: postgres://…, sqlite:PATH; a file of --data by default")
	f.StringVar(&w.Keys, "keys", "", "`URL` of the keys of data subjects: postgres://…, sqlite:PATH; a file of --data by default")
	f.IntVar(&w.Partitions, "partitions", 1, "`NUMBER` of partitions that the figures are kept in; 1: whole")
}

// Embedded says whether the history is a file of the data directory, which one process at a time can have.
func (w *Where) Embedded() bool { return w.Store == "" }

// History is a store of events with an end.
type History interface {
	eventstore.Store
	// Head is the position of the last event, 0 if there is none.
	Head(ctx context.Context) (eventstore.Position, error)
	Close() error
}

// place is a URL of Where taken apart: its scheme and, of a file, the path.
func place(text, dir, file string) (scheme, path string, err error) {
	if text == "" {
		if dir == "" {
			return "", "", fmt.Errorf("want a URL, or --data with the directory that %s lies in", file)
		}
		return "sqlite", filepath.Join(dir, file), nil
	}
	scheme, rest, ok := strings.Cut(text, ":")
	if !ok || rest == "" {
		return "", "", errors.New("want a URL such as sqlite:PATH")
	}
	if scheme != "sqlite" {
		return scheme, "", nil // who opens it reads the rest: with several hosts it need be none to net/url
	}
	path, err = filepath.Abs(rest)
	return scheme, path, err
}

// flagged names the flag of the URL that something was to be opened by. Nobody gave one where it is a file of the data directory.
func flagged(flag, text, dir string, err error) error {
	if err == nil || text == "" && dir != "" {
		return err
	}
	return fmt.Errorf("%s: %w", flag, err)
}

// HistoryOptions of OpenHistory.
type HistoryOptions struct {
	// Flag is the one that the URL was given by, which errors name. Empty: --store.
	Flag string
	// ReadOnly opens a file beside the process that writes it, and makes nothing that is not there. Append may be refused.
	ReadOnly bool
	Log      *slog.Logger // slog.Default if nil
	// OnCommit hears of each durable commit of a file: how many appends shared it, and how long it took. May be nil.
	OnCommit func(group int, took time.Duration)
}

// OpenHistory opens the history that a URL names, or that of a data directory. The caller closes it.
func OpenHistory(ctx context.Context, text, dir string, o HistoryOptions) (History, error) {
	h, err := openHistory(ctx, text, dir, o)
	if err != nil {
		return nil, flagged(cmp.Or(o.Flag, "--store"), text, dir, err)
	}
	return h, nil
}

func openHistory(ctx context.Context, text, dir string, o HistoryOptions) (History, error) {
	scheme, path, err := place(text, dir, HistoryFile)
	if err != nil {
		return nil, err
	}
	switch scheme {
	case "sqlite":
		return sqlite.Open(path, sqlite.Options{ReadOnly: o.ReadOnly, OnCommit: o.OnCommit})
	case "esdb", "esdb+discover":
		if o.Log == nil {
			o.Log = slog.Default()
		}
		return esdb.Open(ctx, text, esdb.Options{Log: o.Log})
	case "jetstream":
		return jetstream.Open(ctx, text, jetstream.Options{Existing: o.ReadOnly})
	}
	return nil, fmt.Errorf("%q is no store; want esdb, esdb+discover, jetstream or sqlite", scheme)
}

// openKeys opens the keys of data subjects, at the URL that a flag gave.
func openKeys(ctx context.Context, flag, text, dir string, o privacy.Options) (keys *privacy.Keys, err error) {
	scheme, path, err := place(text, dir, KeysFile)
	switch {
	case err != nil:
	case scheme == "sqlite":
		keys, err = privacy.Open(path, o)
	case scheme == "postgres", scheme == "postgresql":
		keys, err = privacy.OpenPostgres(ctx, text, o)
	default:
		err = fmt.Errorf("%q is no place for keys; want postgres or sqlite", scheme)
	}
	return keys, flagged(flag, text, dir, err)
}

// views are where the views lie, and how they are opened and thrown away.
type views struct {
	open   func() (*viewdb.DB, error)
	remove func() error // nil where others may use them too
}

// viewsIn are the views at a path, or at the URL of a PostgreSQL.
func viewsIn(location string, server bool) views {
	v := views{open: func() (*viewdb.DB, error) { return viewdb.Open(location, viewdb.Options{}) }}
	if !server {
		v.remove = func() error { return viewdb.Remove(location) }
	}
	return v
}

func placeViews(text, dir string) (views, error) {
	scheme, path, err := place(text, dir, ViewsFile)
	if err != nil {
		return views{}, flagged("--views", text, dir, err)
	}
	switch scheme {
	case "sqlite":
		return viewsIn(path, false), nil
	case "postgres", "postgresql":
		return viewsIn(text, true), nil
	}
	return views{}, fmt.Errorf("--views: %q is no place for views; want postgres or sqlite", scheme)
}

// damagedViews says whether an error is that views do not hold what was written, so that they may be thrown away.
func damagedViews(err error) bool {
	damaged, corrupt := new(viewdb.OpenError), new(viewdb.CorruptError)
	return errors.As(err, &damaged) && damaged.Disposable || errors.As(err, &corrupt)
}
