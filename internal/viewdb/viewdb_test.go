package viewdb_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/chuishao/dispatch/internal/servers/serverstest"
	"github.com/chuishao/dispatch/internal/viewdb"
)

func TestMain(m *testing.M) { serverstest.Main(m) }

// onEach runs a test on each engine. place gives locations of views, by a name.
func onEach(t *testing.T, test func(t *testing.T, place func(name string) string)) {
	t.Helper()
	t.Parallel()
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		test(t, func(name string) string { return filepath.Join(dir, name+".db") })
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		url := serverstest.Database(t)
		test(t, func(name string) string { return url + "&schema=" + name })
	})
}

func open(t *testing.T, name string) *viewdb.DB {
	t.Helper()
	db, err := viewdb.Open(name, viewdb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func write(t *testing.T, db *viewdb.DB, statements ...string) {
	t.Helper()
	if err := db.Write(t.Context(), func(tx *viewdb.Tx) error { return tx.Script(statements...) }); err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, tx *viewdb.Tx) (n int64) {
	t.Helper()
	for row, err := range tx.Query("SELECT COUNT(*) FROM a") {
		if err != nil {
			t.Fatal(err)
		}
		n = row.Int64(0)
	}
	return n
}

func TestGoroutinesThatShareATransactionWriteBesideEachOther(t *testing.T) {
	onEach(t, func(t *testing.T, place func(string) string) {
		db := open(t, place("shared"))
		write(t, db, "CREATE TABLE a (b BIGINT PRIMARY KEY)")
		const goroutines, rows = 4, 1_000
		err := db.Write(t.Context(), func(tx *viewdb.Tx) error {
			failed := make([]error, goroutines)
			var writing sync.WaitGroup
			for i, shared := range tx.Share(goroutines) {
				writing.Go(func() {
					defer shared.Rest()
					for n := range rows {
						if _, err := shared.Exec("INSERT INTO a (b) VALUES ($1)", i*rows+n); err != nil {
							failed[i] = err
							return
						}
						// A statement inside another belongs to the same turn.
						for row, err := range shared.Query("SELECT b FROM a WHERE b = $1", i*rows+n) {
							if err == nil {
								_, err = shared.Exec("UPDATE a SET b = -b - 1 WHERE b = $1", row.Int64(0))
							}
							if err != nil {
								failed[i] = err
								return
							}
						}
						if n%100 == 0 {
							shared.Rest()
						}
					}
				})
			}
			writing.Wait()
			return errors.Join(failed...)
		})
		if err != nil {
			t.Fatal(err)
		}
		err = db.Read(t.Context(), func(tx *viewdb.Tx) error {
			if got := count(t, tx); got != goroutines*rows {
				t.Errorf("got %d rows, want %d", got, goroutines*rows)
			}
			for row, err := range tx.Query("SELECT COUNT(*), MIN(b), MAX(b) FROM a") {
				if err != nil {
					return err
				}
				if row.Int64(1) != -goroutines*rows || row.Int64(2) != -1 {
					t.Errorf("got rows from %d to %d, want %d to -1", row.Int64(1), row.Int64(2), -goroutines*rows)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestFilesOfOthersAreLeftAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good := filepath.Join(dir, "good.db")
	db := open(t, good)
	write(t, db, "CREATE TABLE a (b BIGINT)")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	foreign := bytes.Clone(whole)
	copy(foreign[68:72], "abcd") // application_id
	layout := bytes.Clone(whole)
	layout[63] = 99 // user_version
	for name, c := range map[string]struct {
		content    []byte
		disposable bool
	}{
		"text": {bytes.Repeat([]byte("no database at all. "), 400), false}, "foreign": {foreign, false}, "layout": {layout, true},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, c.content, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := viewdb.Open(path, viewdb.Options{})
		refused, ok := errors.AsType[*viewdb.OpenError](err)
		if !ok || refused.Disposable != c.disposable {
			t.Errorf("%s: got %v, want an OpenError, disposable %t", name, err, c.disposable)
		}
		if after, _ := os.ReadFile(path); !bytes.Equal(after, c.content) {
			t.Errorf("%s: the file was changed", name)
		}
	}
	if _, err := viewdb.Open(dir, viewdb.Options{}); err == nil {
		t.Error("a directory was opened")
	}
	if _, err := viewdb.Open(filepath.Join(dir, "none.db"), viewdb.Options{ReadOnly: true}); err == nil {
		t.Error("a file that is not there was opened for reading")
	}
}

func TestReadersSeeOneMomentAndDoNotWait(t *testing.T) {
	onEach(t, func(t *testing.T, place func(string) string) {
		db := open(t, place("views"))
		write(t, db, "CREATE TABLE a (b BIGINT)")
		err := db.Read(t.Context(), func(before *viewdb.Tx) error {
			if n := count(t, before); n != 0 {
				t.Errorf("got %d rows, want none", n)
			}
			write(t, db, "INSERT INTO a (b) VALUES (1)")
			if n := count(t, before); n != 0 {
				t.Errorf("in the same snapshot: got %d rows, want none", n)
			}
			return db.Write(t.Context(), func(tx *viewdb.Tx) error {
				if _, err := tx.Exec("INSERT INTO a (b) VALUES ($1)", 2); err != nil {
					return err
				}
				return db.Read(t.Context(), func(during *viewdb.Tx) error {
					if n := count(t, during); n != 1 {
						t.Errorf("beside a writer: got %d rows, want what was committed, 1", n)
					}
					return nil
				})
			})
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestWhatFailsLeavesNothing(t *testing.T) {
	onEach(t, func(t *testing.T, place func(string) string) {
		db := open(t, place("views"))
		write(t, db, "CREATE TABLE a (b BIGINT UNIQUE)")
		mine := errors.New("mine")
		err := db.Write(t.Context(), func(tx *viewdb.Tx) error {
			if _, err := tx.Exec("INSERT INTO a (b) VALUES ($1)", 1); err != nil {
				return err
			}
			return mine
		})
		if !errors.Is(err, mine) || viewdb.IsFault(err) {
			t.Errorf("got %v, want the caller's own error", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		err = db.Write(ctx, func(tx *viewdb.Tx) error {
			if _, err := tx.Exec("INSERT INTO a (b) VALUES ($1)", 1); err != nil {
				return err
			}
			cancel()
			_, err := tx.Exec("INSERT INTO a (b) VALUES ($1)", 2)
			return err
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the context's error", err)
		}
		err = db.Read(t.Context(), func(tx *viewdb.Tx) error {
			if n := count(t, tx); n != 0 {
				t.Errorf("got %d rows, want none", n)
			}
			_, err := tx.Exec("DELETE FROM a")
			if err == nil {
				t.Error("a reader could write")
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestValuesComeBackAsTheyWentAndParametersGoByNumber(t *testing.T) {
	onEach(t, func(t *testing.T, place func(string) string) {
		db := open(t, place("views"))
		write(t, db, "CREATE TABLE v (i BIGINT, s TEXT, b BLOB, t BIGINT, n TEXT, f DOUBLE PRECISION)")
		err := db.Write(t.Context(), func(tx *viewdb.Tx) error {
			// The numbers stand in another order than the arguments.
			n, err := tx.Exec("INSERT INTO v (s, i, b, t, n, f) VALUES ($2, $1, $3, $4, $5, $6)", int64(-1<<63), "街道\x00x", []byte{0, 1}, true, nil, 0.5)
			if err != nil || n != 1 {
				t.Errorf("got %d rows, %v, want 1", n, err)
			}
			if _, err := tx.Exec("INSERT INTO v (i) VALUES ($1)", struct{}{}); err == nil {
				t.Error("an argument of no column's type was taken")
			}
			if _, err := tx.Exec("INSERT INTO v (i) VALUES ($2)", 1); err == nil {
				t.Error("a missing argument was taken")
			}
			for row, err := range tx.Query("SELECT i, s, b, t, n, f FROM v") {
				if err != nil {
					return err
				}
				for range tx.Query("SELECT i, s, b, t, n, f FROM v") {
					// The same statement, while the first is read.
				}
				if row.Int64(0) != -1<<63 || row.Text(1) != "街道\x00x" || !bytes.Equal(row.Bytes(2, nil), []byte{0, 1}) || !row.Bool(3) || !row.Null(4) || row.Float(5) != 0.5 {
					t.Errorf("got %d %q %x %t %t %g", row.Int64(0), row.Text(1), row.Bytes(2, nil), row.Bool(3), row.Null(4), row.Float(5))
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestViewsAreReplacedUnderTheirReaders(t *testing.T) {
	onEach(t, func(t *testing.T, place func(string) string) {
		db := open(t, place("views"))
		write(t, db, "CREATE TABLE a (b BIGINT)")
		fresh, err := viewdb.Open(place("fresh"), viewdb.Options{Fresh: true})
		if err != nil {
			t.Fatal(err)
		}
		write(t, fresh, "CREATE TABLE a (b BIGINT)", "INSERT INTO a (b) VALUES (1)")
		if err := fresh.Close(); err != nil {
			t.Fatal(err)
		}
		if err := db.ReplaceWith(place("fresh")); err != nil {
			t.Fatal(err)
		}
		write(t, db, "INSERT INTO a (b) VALUES (2)")
		err = db.Read(t.Context(), func(tx *viewdb.Tx) error {
			if n := count(t, tx); n != 2 {
				t.Errorf("got %d rows, want the fresh one and the new one", n)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		if err := db.Read(t.Context(), func(*viewdb.Tx) error { return nil }); !errors.Is(err, viewdb.ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
	})
}
