package projector

import (
	"context"
	"sync"

	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// The names of views that have once caught up with the history. What a new view shows before is a part of it; one that has and fell behind is late, which
// is another thing. The empty name says that the table is not new.
const caughtUp = `CREATE TABLE IF NOT EXISTS caught_up (
	view TEXT PRIMARY KEY
)`

// prepareCaughtUp makes the table. Views that are older than it had caught up.
func prepareCaughtUp(tx *viewdb.Tx) error {
	if err := tx.Script(caughtUp); err != nil {
		return err
	}
	n, err := tx.Exec("INSERT INTO caught_up (view) VALUES ('') ON CONFLICT (view) DO NOTHING")
	if err != nil || n == 0 {
		return err
	}
	_, err = tx.Exec("INSERT INTO caught_up (view) SELECT view FROM checkpoints WHERE position > 0 ON CONFLICT (view) DO NOTHING")
	return err
}

// noteCaughtUp notes that a view has caught up.
func noteCaughtUp(tx *viewdb.Tx, view string) error {
	_, err := tx.Exec("INSERT INTO caught_up (view) VALUES ($1) ON CONFLICT (view) DO NOTHING", view)
	return err
}

func hasCaughtUp(tx *viewdb.Tx, view string) (bool, error) {
	for _, err := range tx.Query("SELECT view FROM caught_up WHERE view = $1", view) {
		return err == nil, err
	}
	return false, nil
}

// FirstCatchUp waits until each view that has never caught up with the history is at the position, where the history ended a moment ago, whoever brings
// it there, and notes that. A view that has stopped is waited for until the context ends, whose error it returns.
func (p *Projector) FirstCatchUp(ctx context.Context, position eventstore.Position) error {
	var waiting sync.WaitGroup
	for _, s := range p.Status() {
		if s.CaughtUp {
			continue
		}
		waiting.Go(func() {
			if err := p.WaitFor(ctx, position, s.View); err != nil {
				return
			}
			for {
				err := p.db.Write(ctx, func(tx *viewdb.Tx) error { return noteCaughtUp(tx, s.View) })
				if err == nil {
					break
				}
				if p.opts.OnTrouble != nil && ctx.Err() == nil {
					p.opts.OnTrouble(err, backOffTo)
				}
				if pause(ctx, backOffTo) != nil {
					return
				}
			}
			if v, err := p.view(s.View); err == nil {
				p.say(v, func(v *running) { v.caughtUp = true })
			}
		})
	}
	waiting.Wait()
	for _, s := range p.Status() {
		if !s.CaughtUp {
			<-ctx.Done()
		}
	}
	return ctx.Err()
}

// FirstCatchUp is that of all its projectors.
func (g *Group) FirstCatchUp(ctx context.Context, position eventstore.Position) error {
	return g.together(func(p *Projector) error { return p.FirstCatchUp(ctx, position) })
}
