// Package app assembles a node: it opens a data directory and serves it. Here alone it is known which store runs.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
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
	// Partition is the only one that a node for views keeps up; all if zero. The first has with it what is kept whole.
	Partition view.Partition
}

// Node is what a process has of a city: its history, keys and views. Those that are files no other process can write meanwhile.
type Node struct {
	// Dir is the data directory; empty if there is none.
	Dir        string
	Store      History
	Keys       *privacy.Keys
	Dispatcher *dispatch.Dispatcher
	Views      *viewdb.DB
	Projector  *projector.Group
	Reader     *view.Reader

	parts      []*viewdb.DB // of the partitions that are opened
	partitions int          // that figures are kept in

	where   Where
	log     *slog.Logger
	metrics *metrics
	closers []func() error
}

// parts says what of a node is opened, beside its history and views.
type parts struct {
	keys     bool
	dispatch bool
	rebuild  bool // all views are built anew: they are not kept up, and may be in another number of partitions
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

// OpenForRebuild is Open for a node whose views are built anew: it has neither Dispatcher, Keys nor Reader.
func OpenForRebuild(ctx context.Context, dir string, o Options) (*Node, error) {
	return open(ctx, dir, o, parts{rebuild: true})
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
		if o.Keys == "" && dir != "" {
			// Where the history is on a server, keys are the first file of the directory.
			if err := os.MkdirAll(dir, 0o750); err != nil {
				return nil, fmt.Errorf("data directory: %w", err)
			}
		}
		if n.Keys, err = openKeys(ctx, "--keys", o.Keys, dir, privacy.Options{MasterKey: master}); err != nil {
			return nil, fmt.Errorf("keys of data subjects: %w", err)
		}
		n.closers = append(n.closers, n.Keys.Close)
	}
	if with.dispatch {
		if n.Dispatcher, err = dispatch.New(ctx, n.Store, n.Keys, dispatch.Options{Clock: o.Clock}); err != nil {
			return nil, err
		}
	}
	if err := n.openViews(ctx, o, with); err != nil {
		return nil, err
	}
	n.metrics.watch(n.Projector)
	return n, nil
}

func (n *Node) openViews(ctx context.Context, o Options, with parts) error {
	at, err := placeViews(o.Views, n.Dir)
	if err != nil {
		return err
	}
	kept, err := o.kept()
	if err != nil {
		return err
	}
	n.partitions = o.partitions()
	if with.rebuild {
		n.Projector = projector.NewGroup()
		if n.Views, err = at.open(); damagedViews(err) && at.remove != nil {
			if err = at.remove(); err == nil {
				n.Views, err = at.open()
			}
		}
		if err == nil {
			n.closers = append(n.closers, n.Views.Close)
		}
		return err
	}
	claim := func(db *viewdb.DB) error { return view.ClaimPartitions(ctx, db, n.partitions) }
	var all []*projector.Projector
	p, err := n.keep(ctx, o, at, &n.Views, claim, kept.whole)
	if err != nil {
		return err
	}
	if len(kept.whole) > 0 {
		all = append(all, p)
	}
	for _, part := range kept.parts {
		beside := viewsIn(n.Views.Part(part.Number, part.Of), at.remove == nil)
		var db *viewdb.DB
		if p, err = n.keep(ctx, o, beside, &db, nil, kept.of(part)); err != nil {
			return err
		}
		all, n.parts = append(all, p), append(n.parts, db)
	}
	n.Projector = projector.NewGroup(all...)
	if n.partitions == 1 {
		n.Reader = view.NewReader(n.Views, n.Store)
	} else {
		n.Reader = view.NewPartsReader(n.Views, n.parts, n.Store)
	}
	return nil
}

// keep opens a database of views, and a projector that keeps some of them up there. What is damaged or of another history is thrown away if
// nobody else uses it, and otherwise is an error.
func (n *Node) keep(ctx context.Context, o Options, at views, db **viewdb.DB, claim func(*viewdb.DB) error, kept []projector.View) (p *projector.Projector, err error) {
	open := func() error {
		if *db, err = at.open(); err != nil {
			return err
		}
		if claim != nil {
			err = claim(*db)
		}
		if err == nil {
			p, err = projector.Open(ctx, n.Store, *db, projector.Options{
				Now: o.Clock, OnBatch: n.metrics.applied, OnProgress: o.Progress,
				OnStop: func(view string, err error) {
					n.log.Error("view stopped", "view", view, "error", err)
				},
				OnTrouble: func(err error, wait time.Duration) {
					n.log.Warn("views wait", "error", err, "wait", wait)
				},
			}, kept...)
		}
		if err != nil {
			err = errors.Join(err, (*db).Close())
		}
		return err
	}
	err = open()
	if damagedViews(err) && at.remove != nil {
		n.log.Warn("views are damaged and are built anew", "error", err)
		if err := at.remove(); err != nil {
			return nil, fmt.Errorf("remove damaged views: %w", err)
		}
		err = open()
	}
	if err != nil {
		return nil, err
	}
	// The position that the history ends at; views ahead of it belong to another history.
	head, err := n.Store.Head(ctx)
	if err != nil {
		return nil, errors.Join(err, (*db).Close())
	}
	if slices.ContainsFunc(p.Status(), func(s projector.Status) bool { return s.Position > head }) {
		if at.remove == nil {
			// Others may read them. Kept up further they would lack what the history says at the positions they think they have seen.
			err := errors.New("views are ahead of the history, as after a restore: stop what serves them, and run projector rebuild")
			return nil, errors.Join(err, (*db).Close())
		}
		n.log.Warn("views are ahead of the history, as after a restore, and are built anew")
		if err := errors.Join((*db).Close(), at.remove()); err != nil {
			return nil, fmt.Errorf("remove views of another history: %w", err)
		}
		if err := open(); err != nil {
			return nil, err
		}
	}
	n.closers = append(n.closers, (*db).Close)
	return p, nil
}

// keeping is what of the views a node keeps up.
type keeping struct {
	whole []projector.View
	parts []view.Partition
	of    func(view.Partition) []projector.View
}

// partitions is how many partitions the figures are kept in.
func (o *Options) partitions() int { return max(1, o.Where.Partitions, o.Partition.Of) }

// kept are the views that a node keeps up: those of Only, of all partitions or of Partition. Without Only whoever has a partition leaves what is whole to the first.
func (o *Options) kept() (k keeping, err error) {
	n, zone := o.partitions(), calendar.Default().Zone()
	if err := (view.Partition{Number: 1, Of: n}).Check(); err != nil {
		return k, err
	}
	if o.Where.Partitions < 0 {
		return k, fmt.Errorf("%d partitions: want 1 or more", o.Where.Partitions)
	}
	only := o.Partition.Of != 0
	if only {
		if err := o.Partition.Check(); err != nil {
			return k, err
		}
		if o.Where.Partitions > 1 && o.Where.Partitions != o.Partition.Of {
			return k, fmt.Errorf("partition %v: the figures are said to be kept in %d partitions", o.Partition, o.Where.Partitions)
		}
	}
	var names []string
	for _, v := range view.All(zone) {
		names = append(names, v.Name)
	}
	for _, name := range o.Only {
		if !slices.Contains(names, name) {
			return k, fmt.Errorf("there is no view %q; want some of %s", name, strings.Join(names, ", "))
		}
	}
	chosen := func(list []projector.View) []projector.View {
		if len(o.Only) == 0 {
			return list
		}
		return slices.DeleteFunc(list, func(v projector.View) bool { return !slices.Contains(o.Only, v.Name) })
	}
	if k.whole = chosen(view.Whole(zone, n)); only && o.Partition.Number > 1 && len(o.Only) == 0 {
		k.whole = nil
	}
	k.of = func(p view.Partition) []projector.View { return chosen(view.Part(zone, p)) }
	if n == 1 || len(chosen(view.Part(zone, view.Partition{Number: 1, Of: n}))) == 0 {
		return k, nil
	}
	if only {
		k.parts = []view.Partition{o.Partition}
		return k, nil
	}
	for number := range n {
		k.parts = append(k.parts, view.Partition{Number: number + 1, Of: n})
	}
	return k, nil
}

// CatchUp brings the views up to the end of the history.
func (n *Node) CatchUp(ctx context.Context) error { return n.Projector.CatchUp(ctx) }

// Rebuild builds all views from the first event, beside the old ones, which answer until it is done, and says which. It keeps figures in as many partitions as the
// node was opened with: those of another number are removed when nobody asks for them any more.
func (n *Node) Rebuild(ctx context.Context, progress func(eventstore.Position)) (names []string, err error) {
	zone, options := calendar.Default().Zone(), projector.Options{OnProgress: progress}
	was, err := view.KeptPartitions(ctx, n.Views)
	if err != nil {
		return nil, err
	}
	for number := 1; n.partitions > 1 && number <= n.partitions; number++ {
		part := view.Partition{Number: number, Of: n.partitions}
		views := view.Part(zone, part)
		if err := n.rebuildPart(ctx, part, options, views); err != nil {
			return nil, err
		}
		for _, v := range views {
			names = append(names, v.Name+" "+part.String())
		}
	}
	// The last, since it says from then on how many partitions there are.
	views := view.Whole(zone, n.partitions)
	if err := projector.Rebuild(ctx, n.Store, n.Views, options, views...); err != nil {
		return nil, err
	}
	for _, v := range views {
		names = append(names, v.Name)
	}
	for number := 1; was > 1 && was != n.partitions && number <= was; number++ {
		if err := viewdb.Remove(n.Views.Part(number, was)); err != nil {
			return nil, fmt.Errorf("remove the partitions that there were: %w", err)
		}
	}
	return names, nil
}

func (n *Node) rebuildPart(ctx context.Context, part view.Partition, o projector.Options, views []projector.View) (err error) {
	if len(n.parts) == n.partitions {
		return projector.Rebuild(ctx, n.Store, n.parts[part.Number-1], o, views...)
	}
	db, err := viewdb.Open(n.Views.Part(part.Number, part.Of), viewdb.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return projector.Rebuild(ctx, n.Store, db, o, views...)
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
