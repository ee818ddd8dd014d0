// Package serverstest gives tests the servers they need: one of each kind for all tests of a package.
package serverstest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chuishao/dispatch/internal/servers"
)

var (
	starting sync.Once
	shared   *servers.Postgres
	home     string
	failed   error
	made     atomic.Int64 // databases
)

// Main runs a package's tests and then ends what they started. It is all that TestMain does.
func Main(m *testing.M) {
	code := m.Run()
	if err := end(); err != nil {
		fmt.Fprintln(os.Stderr, "end the servers of the tests:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func end() error {
	if shared == nil {
		return nil
	}
	return errors.Join(shared.Close(), os.RemoveAll(home))
}

// Postgres is a PostgreSQL server that all tests of the package share, so that nobody kills it; its package's TestMain is Main. Where PostgreSQL is not
// installed the test is skipped, and says what to install.
func Postgres(t testing.TB) *servers.Postgres {
	t.Helper()
	starting.Do(func() {
		ctx, stop := context.WithTimeout(context.Background(), 2*time.Minute)
		defer stop()
		if home, failed = os.MkdirTemp("", "chuishao-postgres-"); failed != nil {
			return
		}
		if shared, failed = servers.StartPostgres(ctx, home, servers.NoSync); failed != nil {
			failed = errors.Join(failed, os.RemoveAll(home))
		}
	})
	if missing := new(servers.MissingError); errors.As(failed, &missing) {
		t.Skip(missing)
	}
	if failed != nil {
		t.Fatal(failed)
	}
	return shared
}

// Database is the URL of an empty database on the shared server. It goes with the test.
func Database(t testing.TB) string {
	t.Helper()
	p := Postgres(t)
	name := fmt.Sprintf("test_%d", made.Add(1))
	if err := p.Create(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Drop(context.Background(), name); err != nil {
			t.Error(err)
		}
	})
	return p.URL(name)
}
