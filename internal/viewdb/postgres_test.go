package viewdb_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/servers/serverstest"
	"github.com/chuishao/dispatch/internal/viewdb"
)

func TestSchemasOfOthersAreLeftAlone(t *testing.T) {
	t.Parallel()
	url := serverstest.Database(t)
	at := func(schema string) string { return url + "&schema=" + schema }
	// Another application's, one that has a table of our table's name, and one of a release to come.
	db := open(t, at("maker"))
	write(t, db, "CREATE SCHEMA foreign_1", "CREATE TABLE foreign_1.theirs (a BIGINT)",
		"CREATE SCHEMA foreign_2", "CREATE TABLE foreign_2.viewdb (application TEXT, layout BIGINT, whole BIGINT)", "INSERT INTO foreign_2.viewdb VALUES ('another', 1, 1)",
		"CREATE SCHEMA foreign_3", "CREATE TABLE foreign_3.viewdb (a BIGINT)",
		"CREATE SCHEMA empty", "CREATE SCHEMA later", "CREATE TABLE later.viewdb (application TEXT, layout BIGINT, whole BIGINT)", "INSERT INTO later.viewdb VALUES ('chuishao views', 99, 1)")
	for schema, disposable := range map[string]bool{"foreign_1": false, "foreign_2": false, "foreign_3": false, "later": true} {
		_, err := viewdb.Open(at(schema), viewdb.Options{})
		if refused, ok := errors.AsType[*viewdb.OpenError](err); !ok || refused.Disposable != disposable {
			t.Errorf("%s: got %v, want an OpenError, disposable %t", schema, err, disposable)
		}
		if disposable {
			continue
		}
		if _, err := viewdb.Open(at(schema), viewdb.Options{Fresh: true}); err == nil {
			t.Errorf("%s was opened to build there", schema)
		}
		if err := viewdb.Remove(at(schema)); err == nil {
			t.Errorf("%s was removed", schema)
		}
	}
	write(t, db, "SELECT a FROM foreign_1.theirs", "SELECT application FROM foreign_2.viewdb", "SELECT a FROM foreign_3.viewdb")
	if err := viewdb.Remove(at("later")); err != nil {
		t.Error(err)
	}
	for _, schema := range []string{"later", "empty"} {
		write(t, open(t, at(schema)), "CREATE TABLE a (b BIGINT)")
	}
	if _, err := viewdb.Open(at("nowhere"), viewdb.Options{ReadOnly: true}); err == nil {
		t.Error("a schema that is not there was opened for reading")
	}
	if err := viewdb.Remove(at("nowhere")); err != nil {
		t.Errorf("a schema that is not there: got %v, want that it is gone", err)
	}
}

func TestNoErrorTellsThePassword(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"postgres://city:secret@127.0.0.1:1/views?sslmode=disable", "postgres://city:secret@127.0.0.1:port/views", "postgres://city:secret@127.0.0.1:1/views?schema=a-b",
		"postgres://city:secret@127.0.0.1:1/views?sslmode=nonsense", "postgres://city:sec%zzret@127.0.0.1/secret", "postgresql://127.0.0.1:1/views?user=city&password=secret",
	} {
		_, err := viewdb.Open(url, viewdb.Options{})
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v, want an error without the password", err)
		}
	}
}

func TestAServerThatIsNotThereIsTroubleThatMayPass(t *testing.T) {
	t.Parallel()
	_, err := viewdb.Open("postgres://city@127.0.0.1:1/views?sslmode=disable", viewdb.Options{})
	if !errors.Is(err, eventstore.ErrUnavailable) || !viewdb.IsFault(err) {
		t.Errorf("got %v, want that it may pass", err)
	}
}

func TestWhatIsWrongWithAQueuedStatementIsToldByTheEnd(t *testing.T) {
	onEach(t, func(t *testing.T, place func(string) string) {
		db := open(t, place("views"))
		write(t, db, "CREATE TABLE a (b BIGINT PRIMARY KEY)")
		twice := func(tx *viewdb.Tx) error {
			for _, b := range []int{1, 2, 2, 3} {
				if err := tx.Put("INSERT INTO a (b) VALUES ($1)", b); err != nil {
					return err
				}
			}
			return nil
		}
		if err := db.Write(t.Context(), twice); err == nil || viewdb.IsFault(err) {
			t.Errorf("got %v, want why it cannot be written", err)
		}
		err := db.Write(t.Context(), func(tx *viewdb.Tx) error {
			if err := errors.Join(twice(tx), tx.Flush()); err == nil {
				t.Error("a number was taken twice")
			}
			return nil // though it heard of it
		})
		if err == nil && place("views") != db.Path() {
			t.Error("a transaction that has failed was said to be committed")
		}
		write(t, db, "DELETE FROM a")
		// What is queued takes effect before what is asked next.
		err = db.Write(t.Context(), func(tx *viewdb.Tx) error {
			for b := range 2_000 {
				if err := tx.Put("INSERT INTO a (b) VALUES ($1)", b); err != nil {
					return err
				}
				if b%700 == 0 {
					if got := count(t, tx); got != int64(b)+1 {
						t.Errorf("got %d rows, want %d", got, b+1)
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Read(t.Context(), func(tx *viewdb.Tx) error {
			if got := count(t, tx); got != 2_000 {
				t.Errorf("got %d rows, want 2000", got)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestOneBuildsAtATimeAndOnlyWhatIsWholeTakesAPlace(t *testing.T) {
	t.Parallel()
	url := serverstest.Database(t)
	db := open(t, url)
	write(t, db, "CREATE TABLE a (b BIGINT)")
	first, err := viewdb.Open(db.Beside(), viewdb.Options{Fresh: true})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if _, err := viewdb.Open(db.Beside(), viewdb.Options{Fresh: true}); err == nil {
		t.Error("two build in one place")
	}
	write(t, first, "CREATE TABLE a (b BIGINT)", "INSERT INTO a (b) VALUES (1)")
	if err := db.ReplaceWith(db.Beside()); err == nil {
		t.Error("what is half built took the place")
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := db.ReplaceWith(db.Beside()); err != nil {
		t.Fatal(err)
	}
	if err := db.Read(t.Context(), func(tx *viewdb.Tx) error {
		if got := count(t, tx); got != 1 {
			t.Errorf("got %d rows, want 1", got)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestAfterARemovalTheOthersGoOnWithWhatWasOpenedAnew(t *testing.T) {
	t.Parallel()
	url := serverstest.Database(t)
	db, other := open(t, url), open(t, url)
	write(t, db, "CREATE TABLE a (b BIGINT)")
	reading, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- other.Read(t.Context(), func(tx *viewdb.Tx) error {
			close(reading)
			for range 50 {
				if got := count(t, tx); got != 0 {
					t.Errorf("got %d rows, want none", got)
				}
			}
			return nil
		})
	}()
	<-reading
	// It waits for the reader.
	if err := viewdb.Remove(url); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, use := range []func(context.Context, func(*viewdb.Tx) error) error{other.Read, other.Write} {
		if err := use(t.Context(), func(*viewdb.Tx) error { return nil }); !viewdb.IsFault(err) {
			t.Errorf("got %v, want that it may pass", err)
		}
	}
	write(t, open(t, url), "CREATE TABLE a (b BIGINT)")
	write(t, other, "INSERT INTO a (b) VALUES (1)")
	write(t, db, "INSERT INTO a (b) VALUES (2)")
}

func TestAStatementEndsWithItsContextAndTheConnectionGoesOn(t *testing.T) {
	t.Parallel()
	url := serverstest.Database(t)
	db := open(t, url)
	ctx, cancel := context.WithCancel(t.Context())
	err := db.Write(ctx, func(tx *viewdb.Tx) error {
		cancel()
		_, err := tx.Exec("SELECT pg_sleep(600)::TEXT")
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	err = db.Read(ctx, func(tx *viewdb.Tx) error {
		for _, err := range tx.Query("SELECT n, CASE WHEN n = 5000 THEN pg_sleep(600)::TEXT ELSE '' END FROM generate_series(1, 10000) AS n") {
			if err != nil {
				return err
			}
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
	write(t, db, "CREATE TABLE a (b BIGINT)")
	if err := db.Read(t.Context(), func(tx *viewdb.Tx) error { count(t, tx); return nil }); err != nil {
		t.Error(err)
	}
}
