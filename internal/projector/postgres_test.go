package projector_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/servers"
	"github.com/chuishao/dispatch/internal/servers/serverstest"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// rivals run projectors, each with connections of its own, until stop is called, which waits for their end. They tell of trouble, which may pass, and of
// nothing else.
func rivals(t *testing.T, store eventstore.Store, place string, n int, views ...projector.View) (all []*projector.Projector, troubles func() int, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	var mu sync.Mutex
	seen := 0
	for i := range n {
		db := viewsAt(t, place)
		p, err := projector.Open(ctx, store, db, projector.Options{
			Batch:  1 + 3*i,
			OnStop: func(view string, err error) { t.Errorf("view %s stopped: %v", view, err) },
			OnTrouble: func(err error, _ time.Duration) {
				if !errors.Is(err, eventstore.ErrUnavailable) {
					t.Errorf("got trouble %v, want one that says it may pass", err)
				}
				mu.Lock()
				defer mu.Unlock()
				seen++
			},
		}, views...)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
		running.Go(func() {
			if err := p.Run(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want the context's error", err)
			}
		})
	}
	return all, func() int {
			mu.Lock()
			defer mu.Unlock()
			return seen
		}, func() {
			cancel()
			running.Wait()
		}
}

// sameAsARebuild says that each event counts once.
func sameAsARebuild(t *testing.T, store eventstore.Store, place string, want int, views ...projector.View) {
	t.Helper()
	db := viewsAt(t, place)
	lists := map[string][]string{}
	for _, v := range views {
		if lists[v.Name] = rows(t, db, v.Name); len(lists[v.Name]) != want {
			t.Errorf("%s: got %d rows, want %d", v.Name, len(lists[v.Name]), want)
		}
	}
	if err := projector.Rebuild(t.Context(), store, db, projector.Options{}, views...); err != nil {
		t.Fatal(err)
	}
	for _, v := range views {
		if got := rows(t, db, v.Name); !slices.Equal(got, lists[v.Name]) {
			t.Errorf("%s: rivals gave %v, a rebuild %v", v.Name, lists[v.Name], got)
		}
	}
}

func TestEachEventCountsOnceThoughConnectionsOfRivalsAreCut(t *testing.T) {
	t.Parallel()
	place, store := serverstest.Database(t), history(t)
	views := []projector.View{numbers("a_1", ""), numbers("b_1", "")}
	all, troubles, stop := rivals(t, store, place, 3, views...)
	defer stop()
	killer := viewsAt(t, place+"&schema=of_the_killer")
	r := rand.New(rand.NewPCG(1, 1))
	cut := 0
	for i := range 150 {
		at := add(t, store, fmt.Sprintf("%03d", i))
		if i%10 != 0 {
			continue
		}
		// Some are idle then, some in the midst of a transaction.
		for range r.IntN(3) {
			if err := all[r.IntN(len(all))].WaitFor(t.Context(), at-eventstore.Position(r.IntN(2))); err != nil {
				t.Fatal(err)
			}
		}
		err := killer.Write(t.Context(), func(tx *viewdb.Tx) error {
			for row, err := range tx.Query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
				AND application_name = 'chuishao views' ORDER BY random() LIMIT 2`) {
				if err != nil {
					return err
				}
				if row.Bool(0) {
					cut++
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	last := add(t, store, "last")
	for _, p := range all {
		if err := p.WaitFor(t.Context(), last); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	t.Logf("%d connections were cut, of which projectors felt %d", cut, troubles())
	if cut == 0 {
		t.Error("no connection was cut")
	}
	sameAsARebuild(t, store, place, 151, views...)
}

func TestEachEventCountsOnceThoughPostgreSQLIsKilled(t *testing.T) {
	t.Parallel()
	serverstest.Postgres(t) // or the test is skipped
	server, err := servers.StartPostgres(t.Context(), t.TempDir(), servers.NoSync)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := server.Create(t.Context(), "city"); err != nil {
		t.Fatal(err)
	}
	store, place := history(t), server.URL("city")
	views := []projector.View{numbers("a_1", ""), numbers("b_1", "")}
	all, troubles, stop := rivals(t, store, place, 2, views...)
	defer stop()
	const rounds, events = 4, 30
	for round := range rounds {
		var last eventstore.Position
		for i := range events {
			last = add(t, store, fmt.Sprintf("%d-%02d", round, i))
			if i == events/2 {
				if err := server.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := server.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, p := range all {
			if err := p.WaitFor(t.Context(), last); err != nil {
				t.Fatal(err)
			}
		}
	}
	stop()
	t.Logf("%d kills, of which projectors felt %d", rounds, troubles())
	if troubles() == 0 {
		t.Error("no projector felt that the server was killed")
	}
	sameAsARebuild(t, store, place, rounds*events, views...)
}

// TestReadersSeeTheOldRowsOrTheNewWhileViewsAreRebuilt: a reader that has begun sees to its end what it saw at its beginning, whichever views it looks at
// first.
func TestReadersSeeTheOldRowsOrTheNewWhileViewsAreRebuilt(t *testing.T) {
	t.Parallel()
	place, store := serverstest.Database(t), history(t)
	db := viewsAt(t, place)
	for i := range 20 {
		add(t, store, fmt.Sprintf("%02d", i))
	}
	p, err := projector.Open(t.Context(), store, db, projector.Options{}, numbers("a_1", ""), numbers("b_1", ""))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var reading sync.WaitGroup
	for range 3 {
		other := viewsAt(t, place)
		reading.Go(func() {
			for ctx.Err() == nil {
				err := other.Read(ctx, func(tx *viewdb.Tx) error {
					for _, sql := range []string{"SELECT COUNT(*) FROM a_1", "SELECT COUNT(*) FROM b_1", "SELECT MIN(position) FROM checkpoints"} {
						for row, err := range tx.Query(sql) {
							if err != nil {
								return err
							}
							if row.Int64(0) < 20 {
								t.Errorf("%s: got %d, want 20 or more", sql, row.Int64(0))
							}
						}
					}
					return nil
				})
				if err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 8 {
		if err := projector.Rebuild(t.Context(), store, db, projector.Options{}, numbers("a_1", ""), numbers("b_1", "")); err != nil {
			t.Error(err)
		}
	}
	cancel()
	reading.Wait()
}
