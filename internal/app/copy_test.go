package app_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chuishao/dispatch/internal/app"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/eventstore/sqlite"
	"github.com/chuishao/dispatch/internal/privacy"
)

func openFile(t *testing.T, path string) *sqlite.Store {
	t.Helper()
	store, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

func anEvent(n int) eventstore.Event {
	return eventstore.Event{ID: [16]byte{1, byte(n >> 8), byte(n)}, Type: "Happened", Meta: []byte(fmt.Sprint(n)), Data: []byte("what")}
}

// fill records events of streams that take turns, in appends of several.
func fill(t *testing.T, store eventstore.Store, streams, appends int) (total int) {
	t.Helper()
	at := map[string]eventstore.Version{}
	for i := range streams * appends {
		stream := fmt.Sprintf("ticket-%d", i%streams)
		var events []eventstore.Event
		for range 1 + i%3 {
			events = append(events, anEvent(total))
			total++
		}
		if _, err := store.Append(t.Context(), stream, at[stream], events); err != nil {
			t.Fatal(err)
		}
		at[stream] += eventstore.Version(len(events))
	}
	return total
}

// all tells a history in its order, without positions.
func all(t *testing.T, store eventstore.Store) string {
	t.Helper()
	var text strings.Builder
	for e, err := range store.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, "%s@%d %x %s %s %s\n", e.Stream, e.Version, e.ID, e.Type, e.Meta, e.Data)
	}
	return text.String()
}

// breaking is a store whose Append fails after some were recorded: before it records, or after.
type breaking struct {
	eventstore.Store
	left  int
	after bool
}

func (b *breaking) Append(ctx context.Context, stream string, after eventstore.Version, events []eventstore.Event) (eventstore.Position, error) {
	if b.left--; b.left < 0 && !b.after {
		return 0, eventstore.ErrUnavailable
	}
	p, err := b.Store.Append(ctx, stream, after, events)
	if b.left < 0 {
		return 0, eventstore.ErrUnavailable
	}
	return p, err
}

func TestACopyThatBrokeOffGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	from, to := openFile(t, filepath.Join(dir, "from.db")), openFile(t, filepath.Join(dir, "to.db"))
	total := fill(t, from, 7, 20)
	for i := range 6 {
		if _, err := app.CopyHistory(t.Context(), from, &breaking{to, 10, i%2 == 0}, nil); !errors.Is(err, eventstore.ErrUnavailable) {
			t.Fatalf("got %v, want the error of the store", err)
		}
	}
	c, err := app.CopyHistory(t.Context(), from, to, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Found == 0 || c.Recorded == 0 || c.Found+c.Recorded != uint64(total) || c.Verified != uint64(total) {
		t.Errorf("got %+v of %d events", c, total)
	}
	if got, want := all(t, to), all(t, from); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}

	// What was recorded since is copied by another run, and nothing twice.
	if _, err := from.Append(t.Context(), "ticket-new", 0, []eventstore.Event{anEvent(9999)}); err != nil {
		t.Fatal(err)
	}
	if c, err = app.CopyHistory(t.Context(), from, to, nil); err != nil || c.Recorded != 1 || c.Found != uint64(total) {
		t.Errorf("got %+v, %v; want one more event", c, err)
	}
}

// changed is a history of which one event is another.
type changed struct {
	eventstore.Store
	at eventstore.Position
}

func (c changed) ReadAll(ctx context.Context, after eventstore.Position) iter.Seq2[eventstore.Recorded, error] {
	return func(yield func(eventstore.Recorded, error) bool) {
		for e, err := range c.Store.ReadAll(ctx, after) {
			if e.Position == c.at {
				e.Data = []byte("something else")
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

func TestACopyOfAnotherHistoryIsNotTouched(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	from, to := openFile(t, filepath.Join(dir, "from.db")), openFile(t, filepath.Join(dir, "to.db"))
	fill(t, from, 3, 5)
	if _, err := app.CopyHistory(t.Context(), from, to, nil); err != nil {
		t.Fatal(err)
	}
	was := all(t, to)
	for name, other := range map[string]eventstore.Store{"an event is another": changed{from, 8}, "it holds less": openFile(t, filepath.Join(dir, "less.db"))} {
		if _, err := app.CopyHistory(t.Context(), other, to, nil); err == nil || !strings.Contains(err.Error(), "the copy holds ticket-") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := app.CopyHistory(t.Context(), from, changed{to, 8}, nil); err == nil {
		t.Error("a copy in which an event was changed was found right")
	}
	if now := all(t, to); now != was {
		t.Errorf("the copy was changed to\n%s", now)
	}
}

func TestKeysAreCopiedWhileTheyAreInUseAndNotFromWhereNoneAre(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	keys, err := privacy.Open(path("keys.db"), privacy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer keys.Close()
	subject, err := keys.Subject(t.Context(), "13800138000")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time nothing is left to do
		if err := app.CopyKeys(t.Context(), "sqlite:"+path("keys.db"), "sqlite:"+path("copy.db"), ""); err != nil {
			t.Fatalf("while a dispatcher has them: %v", err)
		}
	}
	copied, err := privacy.Open(path("copy.db"), privacy.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer copied.Close()
	if id, ok, err := copied.Find(t.Context(), "13800138000"); err != nil || !ok || id != subject.ID() {
		t.Errorf("got subject %s, %v, %v, want %s", id, ok, err, subject.ID())
	}
	if err := app.CopyKeys(t.Context(), "sqlite:"+path("kesy.db"), "sqlite:"+path("other.db"), ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("from a file that is not there: got %v", err)
	}
	for _, name := range []string{"kesy.db", "other.db"} {
		if _, err := os.Stat(path(name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s was made: %v", name, err)
		}
	}
}
