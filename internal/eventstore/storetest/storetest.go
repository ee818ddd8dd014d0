// Package storetest writes the promises of an eventstore.Store as checks that every adapter runs. Each check has a
// store in this package's tests that breaks the promise, so that it is known to fail when it should.
package storetest

import (
	"context"
	"sync"
	"testing"

	"github.com/chuishao/dispatch/internal/eventstore"
)

// TB is what a check needs of a *testing.T.
type TB interface {
	Helper()
	Context() context.Context
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Harness gives the checks a store and power over it. The history may hold events of others, and others may append
// to it meanwhile: checks look only at streams of their own.
type Harness struct {
	// Store returns the store as it is now. Checks ask again after Reopen and Restart.
	Store func() eventstore.Store

	// Reopen closes the store, when nobody uses it, and opens it again on the same history.
	Reopen func(TB)

	// Restart takes the store, or the server behind it, away from those who are using it and brings it back. Until it
	// returns their calls may fail with an error that Is eventstore.ErrUnavailable.
	Restart func(TB)

	// Foreign records one event in a stream whose name is not ours, by other means than the store. Nil if
	// nobody else can write where the history is.
	Foreign func(tb TB, stream string)
}

// Check is one promise.
type Check struct {
	Name string
	Run  func(TB, *Harness)
}

// Run runs every check as a subtest, each with a harness of its own. open cleans up with t.Cleanup.
func Run(t *testing.T, open func(*testing.T) *Harness) {
	for _, check := range Checks() {
		t.Run(check.Name, func(t *testing.T) {
			t.Parallel()
			check.Run(t, open(t))
		})
	}
}

// Swap is a harness's store that Reopen and Restart replace, for adapters that live in the caller's process.
type Swap struct {
	mu    sync.RWMutex
	store eventstore.Store
}

// Set replaces the store.
func (s *Swap) Set(store eventstore.Store) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.store = store
}

// Get returns the store that is set.
func (s *Swap) Get() eventstore.Store {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.store
}
