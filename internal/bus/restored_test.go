package bus

import (
	"fmt"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/eventstore/sqlite"
)

func TestAfterARestoreTheBusGoesOnFromTheLastEventThatIsInBothInAnotherEpoch(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	_, nc := open(t, Options{})
	live(t, city, 7, 6, 8, nil)
	common, err := city.Store.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "history.db")
	if err := city.Store.(*sqlite.Store).Backup(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	live(t, city, 8, 6, 8, nil) // lost by the restore
	stop := run(t, relay(t, nc, city.Store).Run)
	relayed(t, nc, city.Store)
	stop()
	first := len(all(t, nc, Events, eventsRoot+".>"))

	store, err := sqlite.Open(copied, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	lost := city.Store
	city.Store = store
	if city.Dispatcher, err = dispatch.New(t.Context(), store, city.Keys, dispatch.Options{Clock: city.Clock.Now}); err != nil {
		t.Fatal(err)
	}
	live(t, city, 9, 6, 8, nil)
	run(t, relay(t, nc, store).Run)
	relayed(t, nc, store)

	messages := all(t, nc, Events, eventsRoot+".>")
	have := map[string]int{}
	for i, m := range messages {
		position, err := strconv.ParseUint(m.Headers().Get(PositionHeader), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if i < first {
			if eventstore.Position(position) <= common {
				have[m.Headers().Get("ce-id")]++
			}
			continue
		}
		have[m.Headers().Get("ce-id")]++
		if got, want := m.Headers().Get(EpochHeader), fmt.Sprint(first+1); got != want {
			t.Fatalf("message %d is of epoch %s, want %s", i+1, got, want)
		}
		if eventstore.Position(position) <= common {
			t.Fatalf("message %d is of position %d, which both stores have", i+1, position)
		}
	}
	p := newPlaces(store)
	for _, d := range history(t, store) {
		subjects, _, err := p.subjects(t.Context(), &d)
		if err != nil {
			t.Fatal(err)
		}
		if got := have[uuid(d.ID)]; got != len(subjects) {
			t.Errorf("%s@%d is on the bus %d times, want %d", d.Stream, d.Version, got, len(subjects))
		}
		delete(have, uuid(d.ID))
	}
	if len(have) > 0 {
		t.Errorf("%d events count on the bus that the store has not", len(have))
	}
	if head, err := lost.Head(t.Context()); err != nil || head == common {
		t.Errorf("nothing was lost: nothing is shown; %v", err)
	}
}

func TestAHistoryThatMovedToAnotherStoreIsNotRepeated(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	_, nc := open(t, Options{})
	live(t, city, 10, 4, 8, nil)
	stop := run(t, relay(t, nc, city.Store).Run)
	relayed(t, nc, city.Store)
	stop()
	first := len(all(t, nc, Events, eventsRoot+".>"))

	// In another store the same events have other positions.
	store, err := sqlite.Open(filepath.Join(t.TempDir(), "elsewhere.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	before, err := event.Encode("ticket-0", 1, event.Hash{}, history(t, city.Store)[0].Meta, history(t, city.Store)[0].Event)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Append(t.Context(), "audit-0", 0, []eventstore.Event{before}); err != nil {
		t.Fatal(err)
	}
	for _, d := range history(t, city.Store) {
		if _, err := store.Append(t.Context(), d.Stream, d.Version-1, []eventstore.Event{d.Recorded.Event}); err != nil {
			t.Fatal(err)
		}
	}
	city.Store = store
	if city.Dispatcher, err = dispatch.New(t.Context(), store, city.Keys, dispatch.Options{Clock: city.Clock.Now}); err != nil {
		t.Fatal(err)
	}
	city.Report(t, dispatchtest.Community)
	run(t, relay(t, nc, store).Run)
	relayed(t, nc, store)
	messages := all(t, nc, Events, eventsRoot+".>")
	if got := messages[first:]; len(got) != 1 || got[0].Headers().Get("ce-type") != "chuishao.v1.TicketReported" || got[0].Headers().Get(EpochHeader) != fmt.Sprint(first+1) {
		t.Errorf("after the move came %d messages, want the one report in epoch %d", len(got), first+1)
	}
}
