package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/eventstore/sqlite"
	"github.com/chuishao/dispatch/internal/eventstore/storetest"
)

func TestPromises(t *testing.T) {
	t.Parallel()
	for what, opts := range map[string]sqlite.Options{
		"as served":                         {},
		"with almost no memory and readers": {Heads: 2, Readers: 1},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, func(t *testing.T) *storetest.Harness { return harness(t, opts) })
		})
	}
}

func harness(t *testing.T, opts sqlite.Options) *storetest.Harness {
	path := filepath.Join(t.TempDir(), "history.db")
	var at storetest.Swap
	at.Set(open(t, path, opts))
	reopen := func(tb storetest.TB) {
		if err := at.Get().(*sqlite.Store).Close(); err != nil {
			tb.Fatalf("close: %v", err)
		}
		at.Set(open(t, path, opts))
	}
	return &storetest.Harness{
		Store:   func() eventstore.Store { return at.Get() },
		Reopen:  reopen,
		Restart: reopen,
	}
}

// open opens what must open, and closes it at the end.
func open(t testing.TB, path string, opts sqlite.Options) *sqlite.Store {
	t.Helper()
	store, err := sqlite.Open(path, opts)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return store
}
