package stores_test

import (
	"errors"
	"testing"

	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/eventstore/stores"
	"github.com/chuishao/dispatch/internal/servers/serverstest"
)

func TestMain(m *testing.M) { serverstest.Main(m) }

// The server that ESDB_URL names is a double here; what is tested is that it is used, and how histories lie on a server that many share.
func TestHistoriesOnOneServerDoNotSeeEachOther(t *testing.T) {
	t.Setenv("ESDB_URL", serverstest.EventStoreDB(t).URL())
	for _, kind := range stores.Each(t) {
		t.Run(kind.Name, func(t *testing.T) {
			one, other := kind.Open(t), kind.Open(t)
			e := eventstore.Event{ID: [16]byte{1}, Type: "TicketSigned"}
			at, err := one.Append(t.Context(), "ticket-1", 0, []eventstore.Event{e})
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range []struct {
				store stores.Store
				head  eventstore.Position
			}{{one, at}, {other, 0}} {
				if got, err := s.store.Head(t.Context()); got != s.head || err != nil {
					t.Errorf("head: got %d, %v, want %d", got, err, s.head)
				}
				n := 0
				for r, err := range s.store.ReadAll(t.Context(), 0) {
					if n++; err != nil || r.Stream != "ticket-1" || r.Position != s.head {
						t.Errorf("got %+v, %v, want the event of ticket-1 at %d", r, err, s.head)
					}
				}
				if want := min(int(s.head), 1); n != want {
					t.Errorf("got %d events, want %d", n, want)
				}
			}
			_, err = one.Append(t.Context(), "ticket-1", 0, []eventstore.Event{{ID: [16]byte{2}, Type: "TicketSigned"}})
			if c, ok := errors.AsType[*eventstore.ConflictError](err); !ok || c.Stream != "ticket-1" || c.Actual != 1 {
				t.Errorf("got %v, want a conflict in ticket-1", err)
			}
			if _, err := other.Append(t.Context(), "ticket-1", 0, []eventstore.Event{e}); err != nil {
				t.Errorf("in another history: %v", err)
			}
		})
	}
	if n := len(stores.Each(t)); n != 4 {
		t.Errorf("got %d kinds of stores, want the named server beside three", n)
	}
}
