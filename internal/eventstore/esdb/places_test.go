package esdb_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/eventstore/esdb"
	"github.com/chuishao/dispatch/internal/eventstore/esdb/double"
)

// TestAfterMayBeAnyNumber asks for what comes after numbers where no event stands, which the server itself refuses.
func TestAfterMayBeAnyNumber(t *testing.T) {
	t.Parallel()
	cluster := start(t, 1)
	store := open(t, cluster.URL(), esdb.Options{})
	given := events(3)
	var at []eventstore.Position
	for i := range given {
		p, err := store.Append(t.Context(), "ticket-a", eventstore.Version(i), given[i:i+1])
		if err != nil {
			t.Fatal(err)
		}
		at = append(at, p)
		foreign(t, cluster.URL(), "theirs-1")
	}
	for _, c := range []struct {
		after eventstore.Position
		first int // the first event that comes, of given
	}{
		{0, 0}, {1, 0}, {at[0] - 1, 0}, {at[0], 1}, {at[0] + 1, 1}, {at[1] - 1, 1}, {at[1] - 2, 1}, {at[1] + 1, 2}, {at[2] - 1, 2}, {at[2], 3}, {at[2] + 1, 3}, {1 << 62, 3},
	} {
		i := c.first
		for e, err := range store.ReadAll(t.Context(), c.after) {
			if err != nil || i == 3 || e.ID != given[i].ID {
				t.Fatalf("ReadAll after %d: event %d is another, or %v", c.after, i, err)
			}
			i++
		}
		if i != 3 {
			t.Errorf("ReadAll after %d: ended before event %d", c.after, i)
		}
		if c.first == 3 {
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		i = c.first
		for e, err := range store.Subscribe(ctx, c.after) {
			if err != nil || e.ID != given[i].ID {
				t.Fatalf("Subscribe after %d: event %d is another, or %v", c.after, i, err)
			}
			if i++; i == 3 {
				break
			}
		}
		cancel()
	}
}

func TestASubscriberAheadOfTheHistoryWaitsForIt(t *testing.T) {
	t.Parallel()
	cluster := start(t, 1)
	store := open(t, cluster.URL(), esdb.Options{})
	for _, records := range []int{0, 1} { // on an empty history and on one that is shorter
		head, err := store.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		after := head + 5000
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		got := make(chan eventstore.Recorded, 1)
		failed := make(chan error, 1)
		go func() {
			for e, err := range store.Subscribe(ctx, after) {
				if err != nil {
					failed <- err
				} else {
					got <- e
				}
				return
			}
		}()
		stream := []string{"ticket-a", "ticket-b"}[records]
		var arrived eventstore.Recorded
		for v := eventstore.Version(0); arrived.Stream == ""; v++ {
			if _, err := store.Append(ctx, stream, v, events(1)); err != nil {
				t.Fatal(err)
			}
			select {
			case arrived = <-got:
			case err := <-failed:
				t.Fatal(err)
			default:
			}
		}
		if arrived.Position <= after {
			t.Errorf("an event at %d came to a subscriber after %d", arrived.Position, after)
		}
		cancel()
	}
}

func TestHeadIsTheLastEventOfOurs(t *testing.T) {
	t.Parallel()
	cluster := start(t, 1)
	store := open(t, cluster.URL(), esdb.Options{})
	if head, err := store.Head(t.Context()); head != 0 || err != nil {
		t.Errorf("of an empty history: got %d, %v, want 0", head, err)
	}
	foreign(t, cluster.URL(), "theirs-1")
	if head, err := store.Head(t.Context()); head != 0 || err != nil {
		t.Errorf("of a history without events of ours: got %d, %v, want 0", head, err)
	}
	want, err := store.Append(t.Context(), "ticket-a", 0, events(2))
	if err != nil {
		t.Fatal(err)
	}
	foreign(t, cluster.URL(), "theirs-1")
	for _, which := range []*esdb.Store{store, open(t, cluster.URL(), esdb.Options{})} {
		for range 2 {
			if head, err := which.Head(t.Context()); head != want || err != nil {
				t.Errorf("got %d, %v, want %d", head, err, want)
			}
		}
	}
}

// TestWhatWasDoneToAStreamFromOutsideIsSeen has others damage streams of ours by means that the port does not have.
func TestWhatWasDoneToAStreamFromOutsideIsSeen(t *testing.T) {
	t.Parallel()
	cluster := start(t, 1)
	store := open(t, cluster.URL(), esdb.Options{})
	config, err := client.ParseConnectionString(cluster.URL())
	if err != nil {
		t.Fatal(err)
	}
	config.Logger = client.NoopLogging()
	other, err := client.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	first := func(sequence func(func(eventstore.Recorded, error) bool)) (last error) {
		for _, err := range sequence {
			last = err
		}
		return last
	}
	for _, c := range []struct {
		what, stream, want string
		do                 func(stream string) error
		inAll              bool // reading all stops there too
	}{
		{"cut", "ticket-cut", "cut from outside", func(stream string) error {
			m := client.StreamMetadata{}
			m.SetTruncateBefore(2)
			_, err := other.SetStreamMetadata(t.Context(), stream, client.AppendToStreamOptions{}, m)
			return err
		}, false},
		{"written to in an old transaction", "ticket-transaction", "no one position", func(stream string) error {
			cluster.Transact(stream, "TicketDispatched")
			return nil
		}, true},
		{"taken away for ever", "ticket-tombstone", "deleted", func(stream string) error {
			_, err := other.TombstoneStream(t.Context(), stream, client.TombstoneStreamOptions{})
			return err
		}, true},
	} {
		position, err := store.Append(t.Context(), c.stream, 0, events(4))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.do(c.stream); err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		if err := first(store.ReadStream(t.Context(), c.stream, 0)); err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, eventstore.ErrUnavailable) {
			t.Errorf("%s: reading the stream: got %v, want that it says %q", c.what, err, c.want)
		}
		if err := first(store.ReadAll(t.Context(), position)); (err != nil) != c.inAll {
			t.Errorf("%s: reading all: got %v", c.what, err)
		}
	}
}

// TestASubscriptionThatBeginsWithAReadIsNotLeftWaiting begins right before an event, which the adapter reads before it subscribes.
func TestASubscriptionThatBeginsWithAReadIsNotLeftWaiting(t *testing.T) {
	t.Parallel()
	for _, silent := range []string{"ReadAll", "Subscribe"} {
		cluster := start(t, 1)
		store := open(t, cluster.URL(), esdb.Options{Attempt: 300 * time.Millisecond})
		given := events(2)
		var at []eventstore.Position
		for i := range given {
			p, err := store.Append(t.Context(), "ticket-a", eventstore.Version(i), given[i:i+1])
			if err != nil {
				t.Fatal(err)
			}
			at = append(at, p)
		}
		// The first call of each kind says that no event stands there, and where the log ends.
		second := cluster.Node(0).Calls(silent) + 1
		cluster.Node(0).On(func(c double.Call) double.Fault {
			return double.Fault{Hang: c.Method == silent && c.N == second}
		})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		n := 0
		for e, err := range store.Subscribe(ctx, at[0]-1) {
			if err != nil || e.ID != given[n].ID {
				t.Fatalf("%s is not answered: after %d events: another, or %v", silent, n, err)
			}
			if n++; n == len(given) {
				break
			}
		}
		cancel()
		if calls := cluster.Node(0).Calls(silent); calls <= second+1 {
			t.Errorf("%s: the server was asked %d times, want once more after it did not answer", silent, calls)
		}
	}
}
