// Package app assembles a node: it opens a data directory and serves it. Here alone it is known which store runs.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/policy"
	"github.com/chuishao/dispatch/internal/privacy"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/suggest"
	"github.com/chuishao/dispatch/internal/view"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// The files of a data directory. History and keys are what must not be lost; views can be thrown away.
const (
	HistoryFile = "history.db"
	KeysFile    = "keys.db"
	ViewsFile   = "views.db"
)

// Options of Open. The zero value will do.
type Options struct {
	Clock func() time.Time // time.Now if nil
	Log   *slog.Logger     // slog.Default if nil
	// Metrics gets the node's collectors; nil counts nothing.
	Metrics *prometheus.Registry
	// MasterKeyFile holds the key that wraps the keys of data subjects; empty for none.
	MasterKeyFile string
	// Progress hears how far a catch-up has come. May be nil.
	Progress func(eventstore.Position)
	// Where things are; the files of the data directory by default.
	Where
	// Only names the views that this node keeps up; all if empty.
	Only []string
}

// Node is what a process has of a city: its history, keys and views. Those that are files no other process can write meanwhile.
type Node struct {
	// Dir is the data directory; empty if there is none.
	Dir        string
	Store      History
	Keys       *privacy.Keys
	Dispatcher *dispatch.Dispatcher
	Views      *viewdb.DB
	Projector  *projector.Projector
	Reader     *view.Reader

	where   Where
	log     *slog.Logger
	metrics *metrics
	closers []func() error
}

// parts says what of a node is opened, beside its history and views.
type parts struct {
	keys     bool
	dispatch bool
}

// Open opens a node in a data directory, which is made if it is not there; with all of Options.Where it needs none. What is in the way is a clear error,
// and nothing is damaged. Files of views that are damaged are thrown away, since they can be built again. The caller closes the node.
func Open(ctx context.Context, dir string, o Options) (*Node, error) {
	return open(ctx, dir, o, parts{keys: true, dispatch: true})
}

// OpenForVerify is Open for a node that only verifies: it has no Dispatcher, so that a history which no dispatcher could start from is opened too, and
// what is wrong with it can be told.
func OpenForVerify(ctx context.Context, dir string, o Options) (*Node, error) {
	return open(ctx, dir, o, parts{keys: true})
}

// OpenForViews is Open for a node that only keeps views: it has neither Dispatcher nor Keys.
func OpenForViews(ctx context.Context, dir string, o Options) (*Node, error) {
	return open(ctx, dir, o, parts{})
}

func open(ctx context.Context, dir string, o Options, with parts) (_ *Node, err error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if dir != "" {
		if dir, err = filepath.Abs(dir); err != nil {
			return nil, fmt.Errorf("data directory %q: %w", dir, err)
		}
	}
	master, err := masterKey(o.MasterKeyFile)
	if err != nil {
		return nil, err
	}
	n := &Node{Dir: dir, where: o.Where, log: o.Log}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	if n.metrics, err = newMetrics(o.Metrics); err != nil {
		return nil, err
	}
	if n.Store, err = OpenHistory(ctx, o.Store, dir, HistoryOptions{Log: o.Log, OnCommit: n.metrics.committed}); err != nil {
		return nil, err
	}
	n.closers = append(n.closers, n.Store.Close)
	if o.Embedded() {
		// Under the store's lock, so that nobody is still at work on them.
		if err := removeLeftovers(dir); err != nil {
			return nil, err
		}
	}
	if with.keys {
		if n.Keys, err = openKeys(ctx, o.Keys, dir, privacy.Options{MasterKey: master}); err != nil {
			return nil, fmt.Errorf("keys of data subjects: %w", err)
		}
		n.closers = append(n.closers, n.Keys.Close)
	}
	if with.dispatch {
		if n.Dispatcher, err = dispatch.New(ctx, n.Store, n.Keys, dispatch.Options{Clock: o.Clock}); err != nil {
			return nil, err
		}
	}
	if err := n.openViews(ctx, o); err != nil {
		return nil, err
	}
	n.metrics.watch(n.Projector)
	return n, nil
}

func (n *Node) openViews(ctx context.Context, o Options) error {
	at, err := placeViews(o.Views, n.Dir)
	if err != nil {
		return err
	}
	kept, err := keptViews(o.Only)
	if err != nil {
		return err
	}
	open := func() error {
		var err error
		if n.Views, err = at.open(); err != nil {
			return err
		}
		n.Projector, err = projector.Open(ctx, n.Store, n.Views, projector.Options{
			Now: o.Clock, OnBatch: n.metrics.applied, OnProgress: o.Progress,
			OnStop: func(view string, err error) {
				n.log.Error("view stopped", "view", view, "error", err)
			},
			OnTrouble: func(err error, wait time.Duration) {
				n.log.Warn("views wait", "error", err, "wait", wait)
			},
		}, kept...)
		if err != nil {
			err = errors.Join(err, n.Views.Close())
		}
		return err
	}
	err = open()
	if damagedViews(err) && at.remove != nil {
		n.log.Warn("views are damaged and are built anew", "error", err)
		if err := at.remove(); err != nil {
			return fmt.Errorf("remove damaged views: %w", err)
		}
		err = open()
	}
	if err != nil {
		return err
	}
	// The position that the history ends at; views ahead of it belong to another history.
	head, err := n.Store.Head(ctx)
	if err != nil {
		return errors.Join(err, n.Views.Close())
	}
	if slices.ContainsFunc(n.Projector.Status(), func(s projector.Status) bool { return s.Position > head }) {
		if at.remove == nil {
			n.log.Warn("views are ahead of the history, as after a restore: projector rebuild builds them anew")
		} else {
			n.log.Warn("views are ahead of the history, as after a restore, and are built anew")
			if err := errors.Join(n.Views.Close(), at.remove()); err != nil {
				return fmt.Errorf("remove views of another history: %w", err)
			}
			if err := open(); err != nil {
				return err
			}
		}
	}
	n.closers = append(n.closers, n.Views.Close)
	n.Reader = view.NewReader(n.Views, n.Store)
	return nil
}

// keptViews are the views of those names; all if there are none.
func keptViews(only []string) ([]projector.View, error) {
	all := view.All(calendar.Default().Zone())
	if len(only) == 0 {
		return all, nil
	}
	var kept []projector.View
	for _, name := range only {
		i := slices.IndexFunc(all, func(v projector.View) bool { return v.Name == name })
		if i < 0 {
			var names []string
			for _, v := range all {
				names = append(names, v.Name)
			}
			return nil, fmt.Errorf("there is no view %q; want some of %s", name, strings.Join(names, ", "))
		}
		kept = append(kept, all[i])
	}
	return kept, nil
}

// CatchUp brings the views up to the end of the history.
func (n *Node) CatchUp(ctx context.Context) error { return n.Projector.CatchUp(ctx) }

// Rebuild builds all views from the first event, beside the old ones, which answer until it is done.
func (n *Node) Rebuild(ctx context.Context, progress func(eventstore.Position)) error {
	return projector.Rebuild(ctx, n.Store, n.Views, projector.Options{OnProgress: progress}, view.All(calendar.Default().Zone())...)
}

// Policy is what follows from the node's events.
func (n *Node) Policy() *policy.Policy {
	return &policy.Policy{
		Dispatcher: n.Dispatcher, Checkpoint: policyCheckpoint{n.Views},
		OnTrouble:   func(err error) { n.log.Warn("policy waits", "error", err) },
		OpenTickets: policy.Open{Store: n.Store, Views: n.Reader, Projector: n.Projector}.Tickets,
	}
}

// Suggest is what suggestions are made from. It knows nothing until it runs and somebody asks.
func (n *Node) Suggest() (*suggest.Index, error) {
	return suggest.New(n.Dispatcher, suggest.Options{OnTrouble: func(err error) { n.log.Warn("suggestions wait", "error", err) }})
}

// Timers make happen what is due by the node's clock.
func (n *Node) Timers() *policy.Timers {
	return &policy.Timers{
		Dispatcher: n.Dispatcher, Views: n.Reader, Projector: n.Projector,
		OnTrouble: func(err error) { n.log.Warn("timers wait", "error", err) },
		OnFired:   n.metrics.timerFired, OnRefused: n.metrics.timerRefused, OnLook: n.metrics.timersLooked,
	}
}

// policyCheckpoint keeps the policy's place, and the map that tickets follow, beside the views. With the views thrown away it starts anew, which
// changes nothing.
type policyCheckpoint struct{ db *viewdb.DB }

const (
	policyTable    = "CREATE TABLE IF NOT EXISTS policy (name TEXT PRIMARY KEY, position BIGINT NOT NULL)"
	policyMapTable = "CREATE TABLE IF NOT EXISTS policy_map (name TEXT PRIMARY KEY, map TEXT NOT NULL)"
)

func (c policyCheckpoint) Load(ctx context.Context) (p eventstore.Position, err error) {
	err = c.db.Write(ctx, func(tx *viewdb.Tx) error {
		if err := tx.Script(policyTable); err != nil {
			return err
		}
		for row, err := range tx.Query("SELECT position FROM policy WHERE name = 'all'") {
			if err != nil {
				return err
			}
			p = eventstore.Position(row.Int64(0))
		}
		return nil
	})
	return p, err
}

func (c policyCheckpoint) Save(ctx context.Context, p eventstore.Position) error {
	return c.db.Write(ctx, func(tx *viewdb.Tx) error {
		if err := tx.Script(policyTable); err != nil {
			return err
		}
		_, err := tx.Exec("INSERT INTO policy (name, position) VALUES ('all', $1) ON CONFLICT (name) DO UPDATE SET position = excluded.position", int64(p))
		return err
	})
}

func (c policyCheckpoint) LoadMap(ctx context.Context) (name string, err error) {
	err = c.db.Write(ctx, func(tx *viewdb.Tx) error {
		if err := tx.Script(policyMapTable); err != nil {
			return err
		}
		for row, err := range tx.Query("SELECT map FROM policy_map WHERE name = 'all'") {
			if err != nil {
				return err
			}
			name = row.Text(0)
		}
		return nil
	})
	return name, err
}

func (c policyCheckpoint) SaveMap(ctx context.Context, name string) error {
	return c.db.Write(ctx, func(tx *viewdb.Tx) error {
		if err := tx.Script(policyMapTable); err != nil {
			return err
		}
		_, err := tx.Exec("INSERT INTO policy_map (name, map) VALUES ('all', $1) ON CONFLICT (name) DO UPDATE SET map = excluded.map", name)
		return err
	})
}

// Close closes what Open opened, the last first. It may be called twice.
func (n *Node) Close() error {
	var errs []error
	for len(n.closers) > 0 {
		last := len(n.closers) - 1
		errs = append(errs, n.closers[last]())
		n.closers = n.closers[:last]
	}
	return errors.Join(errs...)
}

var _ io.Closer = (*Node)(nil)
