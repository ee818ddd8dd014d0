// Package projector runs views: it hands each the events it has not seen and moves its rows and its checkpoint in one
// transaction, by compare-and-swap on the checkpoint. So each event counts once, whoever applies it: any number of
// projectors may run on one database. It knows no tickets.
package projector

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// View is something that the history adds up to. To change one raise its number: it is built beside the old one.
type View struct {
	// Name is a noun with a number, "closure_1". The view's tables carry the number too.
	Name string
	// Schema makes its tables, Indexes what only speeds up reading: when rebuilding they come last.
	Schema, Indexes []string
	// Apply folds events in. It reads nothing but the batch and tx, and gives the same rows wherever batches are cut. An
	// event that it does not know is an error. tx and batch are not kept. nil: Folding does it.
	Apply func(ctx context.Context, tx *viewdb.Tx, batch []event.Decoded) error
	// Folding begins to fold events in, with the same promises as Apply has, but may keep in memory what the rows it wrote say. It begins
	// where the view stands.
	Folding func() Folding
}

// Folding folds events in and keeps in memory what they come to until it is told to write it. When all is written it may go on in another
// transaction, if the one before has been committed and nobody else has moved the view. After an error nothing of it may be used.
type Folding interface {
	// Add folds an event in.
	Add(tx *viewdb.Tx, d *event.Decoded) error
	// Write writes rows until what is kept of at most that many streams is not written; of 0, all is.
	Write(tx *viewdb.Tx, keep int) error
}

const (
	liveBatch    = 10_000
	rebuildBatch = 4_000
	keepStreams  = 20_000
	backOffFrom  = 100 * time.Millisecond
	backOffTo    = 10 * time.Second
)

const checkpoints = `CREATE TABLE IF NOT EXISTS checkpoints (
	view     TEXT PRIMARY KEY,
	position BIGINT NOT NULL
)`

// Options of Open. The zero value is right for a server. Hooks are called one at a time and must return soon.
type Options struct {
	// Batch is the largest number of events in one transaction; a rebuild is one transaction and reads them in such pieces. 0 means
	// 10,000, and 4,000 when rebuilding.
	Batch int
	// Keep is how many streams a rebuild keeps in memory, of which more is to come. 0 means 20,000: some 40 MiB.
	Keep int
	// Now is the clock that lag is told by. nil means time.Now.
	Now func() time.Time
	// OnBatch hears of each committed transaction.
	OnBatch func(views []string, events int, took time.Duration)
	// OnStop hears when a view stops at an event it cannot apply.
	OnStop func(view string, err error)
	// OnTrouble hears of an error that may pass; the projector tries again after wait.
	OnTrouble func(err error, wait time.Duration)
	// OnProgress hears how far a catch-up or a rebuild has come.
	OnProgress func(position eventstore.Position)
}

// Status is how far a view has come.
type Status struct {
	View     string
	Position eventstore.Position
	// Lag is the time since the oldest event was recorded that the view has not seen; 0 when it has seen all.
	Lag time.Duration
	// Stopped says why the view stopped; nil while it runs. It holds no personal data.
	Stopped error
	// CaughtUp says that the view has once seen all that there was: see FirstCatchUp.
	CaughtUp bool
}

// StoppedError says that a view stopped at an event that it cannot apply: late rather than wrong.
type StoppedError struct {
	View     string
	Stream   string
	Version  eventstore.Version
	Position eventstore.Position
	Type     string
	Err      error
}

func (e *StoppedError) Error() string {
	return fmt.Sprintf("view %s stopped at %s@%d (%s, position %d): %v", e.View, e.Stream, e.Version, e.Type, e.Position, e.Err)
}

func (e *StoppedError) Unwrap() error { return e.Err }

// Projector runs views on a database. It is safe for concurrent use, but for Run and CatchUp, of which one may run at a time.
type Projector struct {
	store eventstore.Store
	db    *viewdb.DB
	opts  Options
	views []*running
	told  func(view string) // hears of each move and stop; may be nil. It does not change once the views run

	mu sync.Mutex // guards what of running is said to be
}

// running is a view and how far it has come.
type running struct {
	View

	folding Folding // that the batches before went into; nil to begin another. It belongs to who follows

	position eventstore.Position // guarded by mu
	unseen   time.Time           // when the oldest event it has not seen was recorded; guarded by mu
	stopped  error               // guarded by mu
	caughtUp bool                // guarded by mu
	moved    chan struct{}       // closed at the next move, nil if nobody waits; guarded by mu
}

// Open makes the tables of views that have none yet and reads how far the others are.
func Open(ctx context.Context, store eventstore.Store, db *viewdb.DB, opts Options, views ...View) (*Projector, error) {
	return open(ctx, store, db, opts, views, true)
}

func open(ctx context.Context, store eventstore.Store, db *viewdb.DB, opts Options, views []View, indexes bool) (*Projector, error) {
	if opts.Batch <= 0 {
		opts.Batch = liveBatch
	}
	if opts.Keep <= 0 {
		opts.Keep = keepStreams
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	p := &Projector{store: store, db: db, opts: opts}
	for _, v := range views {
		p.views = append(p.views, &running{View: v})
	}
	err := db.Write(ctx, func(tx *viewdb.Tx) error {
		if err := Prepare(tx); err != nil {
			return err
		}
		for _, v := range p.views {
			if err := v.prepare(tx, indexes); err != nil {
				return fmt.Errorf("prepare view %s: %w", v.Name, err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (v *running) prepare(tx *viewdb.Tx, indexes bool) error {
	n, err := tx.Exec("INSERT INTO checkpoints (view, position) VALUES ($1, 0) ON CONFLICT (view) DO NOTHING", v.Name)
	if err != nil {
		return err
	}
	if n == 0 {
		if v.position, err = Position(tx, v.Name); err != nil {
			return err
		}
		v.caughtUp, err = hasCaughtUp(tx, v.Name)
		return err
	}
	if err := tx.Script(v.Schema...); err != nil {
		return err
	}
	if indexes {
		return tx.Script(v.Indexes...)
	}
	return nil
}

// Prepare makes the tables that say how far views are, if there are none.
func Prepare(tx *viewdb.Tx) error {
	if err := tx.Script(checkpoints); err != nil {
		return err
	}
	return prepareCaughtUp(tx)
}

// Position is how far a view has come, as the transaction sees it.
func Position(tx *viewdb.Tx, view string) (eventstore.Position, error) {
	for row, err := range tx.Query("SELECT position FROM checkpoints WHERE view = $1", view) {
		if err != nil {
			return 0, err
		}
		return eventstore.Position(row.Int64(0)), nil
	}
	return 0, fmt.Errorf("view %s is not in this database", view)
}

// Run keeps the views up with the history until the context ends, whose error it returns. Trouble with the store or the
// disk is waited out.
func (p *Projector) Run(ctx context.Context) error {
	wait := backOffFrom
	for {
		before := p.progress()
		err := p.follow(ctx, p.store.Subscribe, 1)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, errAgain) {
			continue
		}
		if err == nil {
			err = errors.New("the subscription ended by itself")
		}
		if p.progress() != before {
			wait = backOffFrom
		}
		if p.opts.OnTrouble != nil {
			p.opts.OnTrouble(err, wait)
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
		wait = min(2*wait, backOffTo)
	}
}

// pause lets a time pass. Its error is the context's, if that ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Follow learns how far others have brought the views, by a look at their checkpoints again and again, until the context ends, whose error it returns.
// It is for processes that read views which others keep up: WaitFor, Watch and Status tell the same there. Of the time of events that no view has seen it
// knows nothing.
func (p *Projector) Follow(ctx context.Context, every time.Duration) error {
	wait := backOffFrom
	for {
		next := every
		err := p.db.Read(ctx, func(tx *viewdb.Tx) error {
			for _, v := range p.views {
				at, err := Position(tx, v.Name)
				if err != nil {
					return err
				}
				if at != p.at(v) {
					p.say(v, func(v *running) { v.position = at })
				}
			}
			return nil
		})
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			next = wait
			if wait = min(2*wait, backOffTo); p.opts.OnTrouble != nil {
				p.opts.OnTrouble(err, next)
			}
		default:
			wait = backOffFrom
		}
		if err := pause(ctx, next); err != nil {
			return err
		}
	}
}

// CatchUp brings the views up to the present end of the history. A view that stops is a *StoppedError; the others go on first.
func (p *Projector) CatchUp(ctx context.Context) error {
	for {
		err := p.follow(ctx, p.store.ReadAll, p.opts.Batch)
		if errors.Is(err, errAgain) {
			continue
		}
		if err != nil {
			return err
		}
		var stopped []error
		for _, s := range p.Status() {
			if s.Stopped != nil {
				stopped = append(stopped, s.Stopped)
			}
		}
		return errors.Join(stopped...)
	}
}

// Rebuild builds the views from the first event into a file or schema beside that of db and puts it in its place when it is whole.
// Until then the old one answers.
func Rebuild(ctx context.Context, store eventstore.Store, db *viewdb.DB, opts Options, views ...View) error {
	fresh := db.Beside()
	if err := Build(ctx, store, fresh, opts, views...); err != nil {
		return errors.Join(fmt.Errorf("rebuild views: %w", err), viewdb.Remove(fresh))
	}
	return db.ReplaceWith(fresh)
}

// Build builds the views from the first event into a new file or schema at path, in place of what is there.
func Build(ctx context.Context, store eventstore.Store, path string, opts Options, views ...View) error {
	if opts.Batch <= 0 {
		opts.Batch = rebuildBatch
	}
	db, err := viewdb.Open(path, viewdb.Options{Fresh: true})
	if err != nil {
		return err
	}
	defer db.Close()
	p, err := open(ctx, store, db, opts, views, false)
	if err != nil {
		return err
	}
	err = db.Write(ctx, func(tx *viewdb.Tx) error {
		if err := p.build(ctx, tx); err != nil {
			return err
		}
		for _, v := range views {
			if err := tx.Script(v.Indexes...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return db.Close()
}

// progress is the sum of all positions: it grows whenever a view moves.
func (p *Projector) progress() eventstore.Position {
	p.mu.Lock()
	defer p.mu.Unlock()
	var sum eventstore.Position
	for _, v := range p.views {
		sum += v.position
	}
	return sum
}

// Status says how far each view is, in the order they were given.
func (p *Projector) Status() []Status {
	now := p.opts.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]Status, len(p.views))
	for i, v := range p.views {
		all[i] = Status{View: v.Name, Position: v.position, Stopped: v.stopped, CaughtUp: v.caughtUp}
		if !v.unseen.IsZero() {
			all[i].Lag = max(0, now.Sub(v.unseen))
		}
	}
	return all
}

// WaitFor waits until the views have seen the position; no view means all of them. It ends with the context, or with a
// *StoppedError if a view will not get there.
func (p *Projector) WaitFor(ctx context.Context, position eventstore.Position, views ...string) error {
	if len(views) == 0 {
		for _, v := range p.views {
			views = append(views, v.Name)
		}
	}
	for _, name := range views {
		v, err := p.view(name)
		if err != nil {
			return err
		}
		for {
			signal, at, stopped := p.look(v)
			if at >= position {
				break
			}
			if stopped != nil {
				return stopped
			}
			select {
			case <-signal:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

// Watch gives a channel that is closed when the view next moves or stops. Take it before looking at the view.
func (p *Projector) Watch(view string) (<-chan struct{}, error) {
	v, err := p.view(view)
	if err != nil {
		return nil, err
	}
	signal, _, _ := p.look(v)
	return signal, nil
}

func (p *Projector) view(name string) (*running, error) {
	for _, v := range p.views {
		if v.Name == name {
			return v, nil
		}
	}
	return nil, fmt.Errorf("no view %s runs here", name)
}

func (p *Projector) look(v *running) (signal <-chan struct{}, at eventstore.Position, stopped error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if v.moved == nil {
		v.moved = make(chan struct{})
	}
	return v.moved, v.position, v.stopped
}

// say notes what is true of a view from now on and tells who waits.
func (p *Projector) say(v *running, change func(v *running)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(v)
	if v.moved != nil {
		close(v.moved)
		v.moved = nil
	}
	if p.told != nil {
		p.told(v.Name)
	}
}

// waitingSince notes the oldest event that the views have not seen; the zero time if they have seen all.
func (p *Projector) waitingSince(at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, v := range p.views {
		if v.stopped == nil {
			v.unseen = at
		}
	}
}
