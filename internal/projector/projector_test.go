package projector_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/eventstore/sqlite"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/servers/serverstest"
	"github.com/chuishao/dispatch/internal/viewdb"
)

var recorded = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func history(t *testing.T) *sqlite.Store {
	t.Helper()
	store, err := sqlite.Open(filepath.Join(t.TempDir(), "history.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

func TestMain(m *testing.M) { serverstest.Main(m) }

// onEach runs a test with views on each engine.
func onEach(t *testing.T, test func(t *testing.T, views func(t *testing.T) *viewdb.DB)) {
	t.Helper()
	t.Parallel()
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		test(t, func(t *testing.T) *viewdb.DB { return viewsAt(t, filepath.Join(t.TempDir(), "views.db")) })
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		test(t, func(t *testing.T) *viewdb.DB { return viewsAt(t, serverstest.Database(t)) })
	})
}

func viewsAt(t *testing.T, place string) *viewdb.DB {
	t.Helper()
	db, err := viewdb.Open(place, viewdb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// add records an event of a stream of its own.
func add(t *testing.T, store eventstore.Store, id string) eventstore.Position {
	t.Helper()
	meta := &pb.EventMeta{RequestId: id, Count: 1, OccurredAt: timestamppb.New(recorded), RecordedAt: timestamppb.New(recorded)}
	e, err := event.Encode("ticket-"+id, 1, event.Hash{}, meta, &pb.TicketReported{No: id})
	if err != nil {
		t.Fatal(err)
	}
	at, err := store.Append(t.Context(), "ticket-"+id, 0, []eventstore.Event{e})
	if err != nil {
		t.Fatal(err)
	}
	return at
}

var errPoison = errors.New("cannot be applied")

// numbers is a view that keeps the numbers of tickets, and cannot apply one of them.
func numbers(name, poison string) projector.View {
	return projector.View{
		Name:   name,
		Schema: []string{"CREATE TABLE " + name + " (no TEXT PRIMARY KEY)"},
		Apply: func(_ context.Context, tx *viewdb.Tx, batch []event.Decoded) error {
			for _, d := range batch {
				no := d.Event.(*pb.TicketReported).No
				if no == poison {
					return errPoison
				}
				if _, err := tx.Exec("INSERT INTO "+name+" (no) VALUES ($1)", no); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func rows(t *testing.T, db *viewdb.DB, view string) (list []string) {
	t.Helper()
	err := db.Read(t.Context(), func(tx *viewdb.Tx) error {
		for row, err := range tx.Query("SELECT no FROM " + view + " ORDER BY no") {
			if err != nil {
				return err
			}
			list = append(list, row.Text(0))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestAFailingEventStopsItsViewThereAndNoOther(t *testing.T) {
	onEach(t, func(t *testing.T, views func(*testing.T) *viewdb.DB) {
		store, db := history(t), views(t)
		var positions []eventstore.Position
		for i := range 20 {
			positions = append(positions, add(t, store, fmt.Sprintf("%02d", i)))
		}
		var heard []string
		now := recorded.Add(time.Minute)
		p, err := projector.Open(t.Context(), store, db, projector.Options{
			OnStop: func(view string, err error) { heard = append(heard, view) },
			Now:    func() time.Time { return now },
		}, numbers("good_1", ""), numbers("bad_1", "13"), numbers("other_1", ""))
		if err != nil {
			t.Fatal(err)
		}
		err = p.CatchUp(t.Context())
		stopped, ok := errors.AsType[*projector.StoppedError](err)
		if !ok || stopped.View != "bad_1" || stopped.Stream != "ticket-13" || stopped.Position != positions[13] || !errors.Is(err, errPoison) {
			t.Fatalf("got %v, want bad_1 stopped at ticket-13", err)
		}
		if !slices.Equal(heard, []string{"bad_1"}) {
			t.Errorf("heard of %v, want bad_1 once", heard)
		}
		for view, want := range map[string]int{"good_1": 20, "bad_1": 13, "other_1": 20} {
			if got := rows(t, db, view); len(got) != want {
				t.Errorf("%s: got %d rows, want %d", view, len(got), want)
			}
		}
		for i, s := range p.Status() {
			if (s.Stopped != nil) != (i == 1) || (s.Lag == time.Minute) != (i == 1) {
				t.Errorf("got %+v", s)
			}
		}
		if err := p.WaitFor(t.Context(), positions[19], "bad_1"); !errors.Is(err, errPoison) {
			t.Errorf("waiting for it: got %v, want why it stopped", err)
		}
		// A release that can apply it goes on from there.
		p, err = projector.Open(t.Context(), store, db, projector.Options{}, numbers("bad_1", ""))
		if err != nil {
			t.Fatal(err)
		}
		if err := p.CatchUp(t.Context()); err != nil || len(rows(t, db, "bad_1")) != 20 {
			t.Errorf("mended: %v, %d rows", err, len(rows(t, db, "bad_1")))
		}
	})
}

func TestAnUnknownEventStopsEveryViewThere(t *testing.T) {
	onEach(t, func(t *testing.T, views func(*testing.T) *viewdb.DB) {
		store, db := history(t), views(t)
		add(t, store, "1")
		bad := eventstore.Event{ID: [16]byte{1}, Type: "FromTheFuture", Meta: []byte{}, Data: []byte{}}
		if _, err := store.Append(t.Context(), "ticket-2", 0, []eventstore.Event{bad}); err != nil {
			t.Fatal(err)
		}
		add(t, store, "3")
		p, err := projector.Open(t.Context(), store, db, projector.Options{}, numbers("a_1", ""), numbers("b_1", ""))
		if err != nil {
			t.Fatal(err)
		}
		if err := p.CatchUp(t.Context()); err == nil {
			t.Fatal("an unknown event was passed")
		}
		for _, s := range p.Status() {
			if s.Stopped == nil || len(rows(t, db, s.View)) != 1 {
				t.Errorf("got %+v with rows %v, want it stopped after the first", s, rows(t, db, s.View))
			}
		}
	})
}

func TestWhoWroteCanReadItOnceTheViewHasMoved(t *testing.T) {
	onEach(t, func(t *testing.T, views func(*testing.T) *viewdb.DB) {
		store, db := history(t), views(t)
		p, err := projector.Open(t.Context(), store, db, projector.Options{}, numbers("a_1", ""), numbers("b_1", ""))
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if err := p.Run(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want the context's error", err)
			}
		})
		defer running.Wait()
		defer stop()
		for i := range 30 {
			signal, err := p.Watch("a_1")
			if err != nil {
				t.Fatal(err)
			}
			at := add(t, store, fmt.Sprintf("%02d", i))
			if err := p.WaitFor(t.Context(), at); err != nil {
				t.Fatal(err)
			}
			if got := rows(t, db, "b_1"); len(got) != i+1 {
				t.Fatalf("got %d rows, want %d", len(got), i+1)
			}
			<-signal
			if i == 15 { // under its feet
				if err := projector.Rebuild(t.Context(), store, db, projector.Options{}, numbers("a_1", ""), numbers("b_1", "")); err != nil {
					t.Fatal(err)
				}
			}
		}
		short, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.WaitFor(short, 1<<40); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the context's error", err)
		}
	})
}

func TestAViewThatIsNewCatchesUpAlone(t *testing.T) {
	onEach(t, func(t *testing.T, views func(*testing.T) *viewdb.DB) {
		store, db := history(t), views(t)
		for i := range 10 {
			add(t, store, fmt.Sprint(i))
		}
		for _, list := range [][]projector.View{{numbers("a_1", "")}, {numbers("a_1", ""), numbers("a_2", "")}} {
			p, err := projector.Open(t.Context(), store, db, projector.Options{Batch: 3}, list...)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.CatchUp(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if a, b := rows(t, db, "a_1"), rows(t, db, "a_2"); len(a) != 10 || !slices.Equal(a, b) {
			t.Errorf("got %v and %v, want the same ten", a, b)
		}
	})
}

func TestAFailedRebuildLeavesTheOldRows(t *testing.T) {
	onEach(t, func(t *testing.T, views func(*testing.T) *viewdb.DB) {
		store, db := history(t), views(t)
		add(t, store, "1")
		p, err := projector.Open(t.Context(), store, db, projector.Options{}, numbers("a_1", ""))
		if err != nil {
			t.Fatal(err)
		}
		if err := p.CatchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := projector.Rebuild(t.Context(), store, db, projector.Options{}, numbers("a_1", "1")); !errors.Is(err, errPoison) {
			t.Errorf("got %v, want why it failed", err)
		}
		if got := rows(t, db, "a_1"); len(got) != 1 {
			t.Errorf("got %v, want the old row", got)
		}
	})
}

func TestARebuildThatIsCutOffLeavesTheOldRows(t *testing.T) {
	onEach(t, func(t *testing.T, views func(*testing.T) *viewdb.DB) {
		store, db := history(t), views(t)
		add(t, store, "000")
		p, err := projector.Open(t.Context(), store, db, projector.Options{}, numbers("a_1", ""), numbers("a_2", ""))
		if err != nil {
			t.Fatal(err)
		}
		if err := p.CatchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i := range 100 {
			add(t, store, fmt.Sprintf("%03d", i+1))
		}
		// Whether at the first batch or when the last has been handed out.
		for _, at := range []int{1, 11} {
			ctx, cut := context.WithCancel(t.Context())
			heard := 0
			o := projector.Options{Batch: 10, OnProgress: func(eventstore.Position) {
				if heard++; heard == at {
					cut()
				}
			}}
			if err := projector.Rebuild(ctx, store, db, o, numbers("a_1", ""), numbers("a_2", "")); !errors.Is(err, context.Canceled) {
				t.Errorf("cut off at batch %d: got %v, want %v", at, err, context.Canceled)
			}
			cut()
			if a, b := rows(t, db, "a_1"), rows(t, db, "a_2"); len(a) != 1 || len(b) != 1 {
				t.Errorf("cut off at batch %d: got %d and %d rows, want the old ones", at, len(a), len(b))
			}
		}
	})
}

func TestWhoFollowsSeesHowFarOthersBroughtTheViews(t *testing.T) {
	onEach(t, func(t *testing.T, views func(t *testing.T) *viewdb.DB) {
		store, db := history(t), views(t)
		open := func() *projector.Projector {
			p, err := projector.Open(t.Context(), store, db, projector.Options{}, numbers("a_1", ""), numbers("b_1", ""))
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		applies, follows := open(), open()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- follows.Follow(ctx, time.Millisecond) }()
		for i := range 3 {
			moved, err := follows.Watch("b_1")
			if err != nil {
				t.Fatal(err)
			}
			at := add(t, store, fmt.Sprint(i))
			if err := applies.CatchUp(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := follows.WaitFor(t.Context(), at); err != nil {
				t.Fatal(err)
			}
			<-moved
			for _, s := range follows.Status() {
				if s.Position != at {
					t.Errorf("%s is said to be at %d, want %d", s.View, s.Position, at)
				}
			}
		}
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

func TestAViewHasCaughtUpOnceItWasAtTheEnd(t *testing.T) {
	onEach(t, func(t *testing.T, views func(t *testing.T) *viewdb.DB) {
		store := history(t)
		add(t, store, "a")
		end := add(t, store, "poison")
		db := views(t)
		caughtUp := func(p *projector.Projector) (names []string) {
			for _, s := range p.Status() {
				if s.CaughtUp {
					names = append(names, s.View)
				}
			}
			return names
		}
		open := func(all ...projector.View) *projector.Projector {
			t.Helper()
			p, err := projector.Open(t.Context(), store, db, projector.Options{}, all...)
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		p := open(numbers("old_1", ""), numbers("bad_1", "poison"))
		if got := caughtUp(p); len(got) != 0 {
			t.Errorf("before they saw anything %v have caught up", got)
		}
		stopped := new(projector.StoppedError)
		if err := p.CatchUp(t.Context()); !errors.As(err, &stopped) {
			t.Fatal(err)
		}
		// One that has stopped is waited for; the other is none the worse for it.
		ctx, cancel := context.WithCancel(t.Context())
		moved, err := p.Watch("old_1")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			<-moved
			cancel()
		}()
		if err := p.FirstCatchUp(ctx, end); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want that it waits for the view that stopped", err)
		}
		if got := caughtUp(p); !slices.Equal(got, []string{"old_1"}) {
			t.Errorf("got %v, want the view that did not stop", got)
		}
		// It is so for whoever opens the views, and though there is more to be seen; not for another number.
		add(t, store, "b")
		if got := caughtUp(open(numbers("old_1", ""), numbers("new_2", ""))); !slices.Equal(got, []string{"old_1"}) {
			t.Errorf("opened again: got %v, want the old view", got)
		}
		// What is built as a whole has.
		if err := projector.Rebuild(t.Context(), store, db, projector.Options{}, numbers("new_2", "")); err != nil {
			t.Fatal(err)
		}
		if got := caughtUp(open(numbers("new_2", ""), numbers("next_3", ""))); !slices.Equal(got, []string{"new_2"}) {
			t.Errorf("rebuilt: got %v, want what was", got)
		}
	})
}
