package privacy_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/chuishao/dispatch/internal/privacy"
	"github.com/chuishao/dispatch/internal/servers/serverstest"
)

var erasedAt = time.Date(2026, 1, 31, 10, 0, 0, 0, time.UTC)

// TestMain runs the child of TestKilled when the environment says so.
func TestMain(m *testing.M) {
	if path := os.Getenv("PRIVACY_TEST_CHILD"); path != "" {
		child(path)
		return
	}
	serverstest.Main(m)
}

// everywhere runs a test on each engine, with a place for a key database where there is none yet: a path or a URL.
func everywhere(t *testing.T, test func(t *testing.T, newPlace func(testing.TB) string)) {
	t.Parallel()
	for name, newPlace := range map[string]func(testing.TB) string{"file": newPath, "PostgreSQL": serverstest.Database} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newPlace)
		})
	}
}

// openAt opens a path or a URL.
func openAt(place string, options privacy.Options) (*privacy.Keys, error) {
	if shared(place) {
		return privacy.OpenPostgres(context.Background(), place, options)
	}
	return privacy.Open(place, options)
}

// shared tells whether several may write at a place.
func shared(place string) bool { return strings.HasPrefix(place, "postgres://") }

func open(t testing.TB, path string, options privacy.Options) *privacy.Keys {
	t.Helper()
	keys, err := openAt(path, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := keys.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return keys
}

func newPath(t testing.TB) string { return filepath.Join(t.TempDir(), "keys.db") }

func subject(t testing.TB, keys *privacy.Keys, identity string) privacy.Subject {
	t.Helper()
	s, err := keys.Subject(t.Context(), identity)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func wantErr(t testing.TB, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got error %v, want %v", what, got, want)
	}
}

func TestWhatIsSealedIsReadBackAfterReopening(t *testing.T) {
	everywhere(t, func(t *testing.T, newPlace func(testing.TB) string) {
		for name, master := range map[string][]byte{"plain": nil, "master key": bytes.Repeat([]byte{7}, 32)} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				path, options := newPlace(t), privacy.Options{MasterKey: master}
				keys, err := openAt(path, options)
				if err != nil {
					t.Fatal(err)
				}
				type sealed struct {
					id                  string
					sealed, fingerprint []byte
				}
				var all []sealed
				for _, identity := range []string{"13812345678", ""} {
					s := subject(t, keys, identity)
					all = append(all, sealed{s.ID(), s.Seal([]byte("张三丰"), []byte("ticket-1")), s.Fingerprint([]byte("张三丰"))})
				}
				if err := keys.Close(); err != nil {
					t.Fatal(err)
				}
				for _, readOnly := range []bool{false, true} {
					options.ReadOnly = readOnly
					keys := open(t, path, options)
					for _, s := range all {
						got, err := keys.Unseal(t.Context(), s.id, s.sealed, []byte("ticket-1"))
						if err != nil || string(got) != "张三丰" {
							t.Errorf("Unseal = %q, %v, want 张三丰", got, err)
						}
						again, err := keys.Lookup(t.Context(), s.id)
						if err != nil || !bytes.Equal(again.Fingerprint([]byte("张三丰")), s.fingerprint) {
							t.Errorf("Fingerprint differs after reopening (%v)", err)
						}
						_, err = keys.Unseal(t.Context(), s.id, s.sealed, []byte("ticket-2"))
						wantErr(t, "other additional data", err, privacy.ErrTampered)
						for i := range s.sealed {
							changed := bytes.Clone(s.sealed)
							changed[i] ^= 1
							_, err = keys.Unseal(t.Context(), s.id, changed, []byte("ticket-1"))
							wantErr(t, "a changed bit", err, privacy.ErrTampered)
						}
						_, err = keys.Unseal(t.Context(), s.id, s.sealed[:20], []byte("ticket-1"))
						wantErr(t, "cut short", err, privacy.ErrTampered)
						_, err = keys.Unseal(t.Context(), s.id, nil, nil)
						wantErr(t, "nothing", err, privacy.ErrTampered)
					}
					_, err = keys.Unseal(t.Context(), all[1].id, all[0].sealed, []byte("ticket-1"))
					wantErr(t, "another subject's", err, privacy.ErrTampered)
					if id, ok, err := keys.Find(t.Context(), "13812345678"); err != nil || !ok || id != all[0].id {
						t.Errorf("Find = %s, %t, %v, want %s", id, ok, err, all[0].id)
					}
					for _, stranger := range []string{"13812345679", ""} {
						if _, ok, err := keys.Find(t.Context(), stranger); ok || err != nil {
							t.Errorf("Find of a stranger = %t, %v, want false", ok, err)
						}
					}
				}
			})
		}
	})
}

func TestOnePersonIsOneSubjectWhoeverAsks(t *testing.T) {
	everywhere(t, func(t *testing.T, newPlace func(testing.TB) string) {
		keys := open(t, newPlace(t), privacy.Options{Cached: 16, Spare: 8})
		const callers, people = 16, 200
		ids := make([][]string, callers)
		var group sync.WaitGroup
		for c := range callers {
			group.Go(func() {
				for p := range people {
					s, err := keys.Subject(t.Context(), fmt.Sprint("person ", (p+c*7)%people))
					if err != nil {
						t.Error(err)
						return
					}
					ids[c] = append(ids[c], fmt.Sprintf("%03d %s", (p+c*7)%people, s.ID()))
					anonymous, err := keys.Subject(t.Context(), "")
					if err != nil {
						t.Error(err)
						return
					}
					sealed := anonymous.Seal([]byte("x"), nil)
					if _, err := keys.Unseal(t.Context(), anonymous.ID(), sealed, nil); err != nil {
						t.Error(err)
					}
					ids[c] = append(ids[c], "anonymous "+anonymous.ID())
				}
			})
		}
		group.Wait()
		count := map[string]int{}
		for _, each := range ids {
			for _, id := range each {
				count[id]++
			}
		}
		if want := people + callers*people; len(count) != want {
			t.Errorf("got %d subjects, want %d", len(count), want)
		}
		for id, n := range count {
			if strings.HasPrefix(id, "anonymous") && n != 1 {
				t.Errorf("%s was handed out %d times, want once", id, n)
			}
		}
	})
}

func TestSubjectsAreInTheOrderOfTheIdentities(t *testing.T) {
	everywhere(t, func(t *testing.T, newPlace func(testing.TB) string) {
		keys := open(t, newPlace(t), privacy.Options{})
		b := subject(t, keys, "b")
		got, err := keys.Subjects(t.Context(), []string{"a", "b", "", "a", "", "c"})
		if err != nil {
			t.Fatal(err)
		}
		if got[0].ID() != got[3].ID() || got[1].ID() != b.ID() || got[0].ID() != subject(t, keys, "a").ID() || got[5].ID() != subject(t, keys, "c").ID() {
			t.Error("a person's subject differs from call to call")
		}
		different := map[string]bool{}
		for _, s := range got {
			different[s.ID()] = true
			if len(s.ID()) != 36 || s.ID()[14] != '4' {
				t.Errorf("id %q, want a UUID", s.ID())
			}
		}
		if len(different) != 5 {
			t.Errorf("got %d subjects, want 5", len(different))
		}
		if bytes.Equal(got[0].Fingerprint([]byte("x")), got[1].Fingerprint([]byte("x"))) {
			t.Error("two subjects have the same fingerprint")
		}
	})
}

// stored returns what the database holds of a subject, as SQLite sees it.
func stored(t testing.TB, path, id string) (secrets [][]byte) {
	t.Helper()
	conn, err := sqlite.OpenConn(path, sqlite.OpenReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, _ := hex.DecodeString(strings.ReplaceAll(id, "-", ""))
	err = sqlitex.Execute(conn, "SELECT key, mac FROM subjects WHERE id = $1", &sqlitex.ExecOptions{
		Args: []any{raw},
		ResultFunc: func(row *sqlite.Stmt) error {
			for column := range 2 {
				if n := row.ColumnLen(column); n > 0 {
					b := make([]byte, n)
					row.ColumnBytes(column, b)
					secrets = append(secrets, b)
				}
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return secrets
}

// holds tells which of the secrets, or long parts of them, the files beginning with path hold.
func holds(t testing.TB, path string, secrets [][]byte) (found []string) {
	t.Helper()
	files, _ := filepath.Glob(path + "*")
	if len(files) == 0 {
		t.Fatalf("no file %s", path)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, secret := range secrets {
			for from := 0; from+8 <= len(secret); from += 8 {
				if bytes.Contains(content, secret[from:from+8]) {
					found = append(found, fmt.Sprintf("%s: secret %d from byte %d", filepath.Base(file), i, from))
				}
			}
		}
	}
	return found
}

func TestErasureLeavesNoByteOfKeyOrIdentity(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	keys := open(t, path, privacy.Options{Cached: 100})
	// Enough people that pages fill and chains grow, in commits of several sizes.
	var people []string
	var ids []string
	for i := range 6000 {
		people = append(people, fmt.Sprint("person ", i))
		if i%7 == 0 {
			people = append(people, "")
		}
	}
	for len(ids) < len(people) {
		n := min(1+len(ids)/3, len(people)-len(ids), 900)
		made, err := keys.Subjects(t.Context(), people[len(ids):len(ids)+n])
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range made {
			ids = append(ids, s.ID())
		}
	}
	former := filepath.Join(filepath.Dir(path), "former.db")
	if err := keys.Backup(t.Context(), former); err != nil {
		t.Fatal(err)
	}
	var secrets [][]byte
	var erased []int
	for i := 3; i < len(ids); i += 97 {
		of := stored(t, path, ids[i])
		if want := 1 + min(1, len(people[i])); len(of) != want {
			t.Fatalf("got %d secrets, want %d", len(of), want)
		}
		if len(holds(t, path, of)) == 0 || len(holds(t, former, of)) == 0 {
			t.Fatal("the scan does not find the secrets before the erasure")
		}
		if err := keys.Erase(t.Context(), ids[i], erasedAt); err != nil {
			t.Fatal(err)
		}
		if found := holds(t, path, of); len(found) > 0 {
			t.Fatalf("after erasure: %v", found)
		}
		secrets = append(secrets, of...)
		erased = append(erased, i)
	}
	later := filepath.Join(filepath.Dir(path), "later.db")
	if err := keys.Backup(t.Context(), later); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{path, later} {
		if found := holds(t, file, secrets); len(found) > 0 {
			t.Errorf("after erasure: %v", found)
		}
	}
	if err := keys.Check(t.Context()); err != nil {
		t.Error(err)
	}
	gone := map[int]bool{}
	for _, i := range erased {
		gone[i] = true
	}
	for i, id := range ids {
		if gone[i] {
			_, err := keys.Lookup(t.Context(), id)
			wantErr(t, "lookup of an erased subject", err, privacy.ErrErased)
		}
		if people[i] == "" {
			continue
		}
		found, ok, err := keys.Find(t.Context(), people[i])
		if err != nil || ok == gone[i] || ok && found != id {
			t.Fatalf("Find = %s, %t, %v; its subject is %s, erased %t", found, ok, err, id, gone[i])
		}
	}
}

func TestErasedSubjectIsGoneAtOnceAndForEver(t *testing.T) {
	everywhere(t, func(t *testing.T, newPlace func(testing.TB) string) {
		path := newPlace(t)
		keys := open(t, path, privacy.Options{})
		reader := open(t, path, privacy.Options{ReadOnly: true})
		s := subject(t, keys, "13812345678")
		sealed, fingerprint := s.Seal([]byte("张三丰"), nil), s.Fingerprint([]byte("x"))
		if _, err := reader.Unseal(t.Context(), s.ID(), sealed, nil); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := keys.Erase(t.Context(), s.ID(), erasedAt); err != nil {
				t.Fatal(err)
			}
		}
		for _, each := range []*privacy.Keys{keys, reader} {
			_, err := each.Unseal(t.Context(), s.ID(), sealed, nil)
			wantErr(t, "unseal", err, privacy.ErrErased)
			if _, ok, err := each.Find(t.Context(), "13812345678"); ok || err != nil {
				t.Errorf("Find = %t, %v, want false", ok, err)
			}
		}
		if bytes.Equal(s.Fingerprint([]byte("x")), fingerprint) {
			t.Error("a Subject held over its erasure still makes the same fingerprints")
		}
		if next := subject(t, keys, "13812345678"); next.ID() == s.ID() {
			t.Error("the person comes back as the erased subject")
		}
	})
}

func TestErasuresApplyAgainToARestoredDatabase(t *testing.T) {
	everywhere(t, func(t *testing.T, newPlace func(testing.TB) string) {
		path := newPlace(t)
		keys := open(t, path, privacy.Options{})
		known := subject(t, keys, "known")
		old := filepath.Join(t.TempDir(), "keys.db")
		if err := keys.Backup(t.Context(), old); err != nil {
			t.Fatal(err)
		}
		unknown := subject(t, keys, "made after the backup")
		restored := open(t, old, privacy.Options{})
		_, err := restored.Lookup(t.Context(), unknown.ID())
		wantErr(t, "lookup", err, privacy.ErrUnknown)
		for _, id := range []string{known.ID(), unknown.ID()} {
			if err := restored.Erase(t.Context(), id, erasedAt); err != nil {
				t.Fatal(err)
			}
			_, err := restored.Lookup(t.Context(), id)
			wantErr(t, "lookup", err, privacy.ErrErased)
		}
		wantErr(t, "no id", restored.Erase(t.Context(), "13812345678", erasedAt), privacy.ErrUnknown)
		_, err = restored.Lookup(t.Context(), strings.ToUpper(known.ID()))
		wantErr(t, "another spelling", err, privacy.ErrUnknown)
	})
}

func TestErasureAmongReadersAndWriters(t *testing.T) {
	everywhere(t, func(t *testing.T, newPlace func(testing.TB) string) {
		copies := t.TempDir()
		keys := open(t, newPlace(t), privacy.Options{Cached: 8})
		var group sync.WaitGroup
		for w := range 4 {
			group.Go(func() {
				for i := range 25 {
					identity := fmt.Sprint("person ", w, i%3)
					s, err := keys.Subject(t.Context(), identity)
					if err != nil {
						t.Error(err)
						return
					}
					sealed := s.Seal([]byte("x"), nil)
					var readers sync.WaitGroup
					for range 2 {
						readers.Go(func() {
							for t.Context().Err() == nil && !t.Failed() {
								_, err := keys.Unseal(t.Context(), s.ID(), sealed, nil)
								if errors.Is(err, privacy.ErrErased) {
									return
								}
								if err != nil && !errors.Is(err, privacy.ErrTampered) {
									t.Error(err)
									return
								}
							}
						})
					}
					if err := keys.Erase(t.Context(), s.ID(), erasedAt); err != nil {
						t.Error(err)
					}
					if _, err := keys.Unseal(t.Context(), s.ID(), sealed, nil); !errors.Is(err, privacy.ErrErased) {
						t.Errorf("unseal after erasure: got %v, want %v", err, privacy.ErrErased)
					}
					readers.Wait()
				}
			})
		}
		group.Go(func() {
			for i := range 5 {
				if err := keys.Backup(t.Context(), filepath.Join(copies, fmt.Sprint("copy", i))); err != nil {
					t.Error(err)
				}
			}
		})
		group.Wait()
	})
}

func TestBackupReplacesOnlyWithAWholeCopy(t *testing.T) {
	everywhere(t, func(t *testing.T, newPlace func(testing.TB) string) {
		path := newPlace(t)
		keys := open(t, path, privacy.Options{})
		s := subject(t, keys, "13812345678")
		dest := filepath.Join(t.TempDir(), "backup.db")
		if err := os.WriteFile(dest, []byte("former"), 0o600); err != nil {
			t.Fatal(err)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		wantErr(t, "backup that was cancelled", keys.Backup(ended, dest), context.Canceled)
		if content, _ := os.ReadFile(dest); string(content) != "former" {
			t.Error("a backup that did not succeed changed its destination")
		}
		if !shared(path) && keys.Backup(t.Context(), path) == nil {
			t.Error("the database may be overwritten by its own backup")
		}
		if err := keys.Backup(t.Context(), dest); err != nil {
			t.Fatal(err)
		}
		if left, _ := os.ReadDir(filepath.Dir(dest)); len(left) != 1 {
			t.Errorf("got %d files beside the backup, want it alone", len(left))
		}
		for _, file := range []string{path, dest} {
			if shared(file) {
				continue
			}
			if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s may be read by others: %v %v", filepath.Base(file), info.Mode(), err)
			}
		}
		restored := open(t, dest, privacy.Options{ReadOnly: true})
		if id, ok, err := restored.Find(t.Context(), "13812345678"); err != nil || !ok || id != s.ID() {
			t.Errorf("Find = %s, %t, %v, want %s", id, ok, err, s.ID())
		}
		if err := restored.Check(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestReadOnlyWritesNothing(t *testing.T) {
	everywhere(t, func(t *testing.T, newPlace func(testing.TB) string) {
		path := newPlace(t)
		_, err := openAt(path, privacy.Options{ReadOnly: true})
		wantErr(t, "no file", err, fs.ErrNotExist)
		keys := open(t, path, privacy.Options{})
		known := subject(t, keys, "known")
		reader := open(t, path, privacy.Options{ReadOnly: true})
		if got := subject(t, reader, "known"); got.ID() != known.ID() {
			t.Errorf("got subject %s, want %s", got.ID(), known.ID())
		}
		for _, identity := range []string{"", "stranger"} {
			_, err := reader.Subject(t.Context(), identity)
			wantErr(t, "subject", err, privacy.ErrReadOnly)
		}
		wantErr(t, "erase", reader.Erase(t.Context(), known.ID(), erasedAt), privacy.ErrReadOnly)
	})
}

func TestMasterKeyIsNeededForEver(t *testing.T) {
	everywhere(t, func(t *testing.T, newPlace func(testing.TB) string) {
		right, wrong := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
		with, without := newPlace(t), newPlace(t)
		for path, master := range map[string][]byte{with: right, without: nil} {
			keys, err := openAt(path, privacy.Options{MasterKey: master})
			if err != nil {
				t.Fatal(err)
			}
			subject(t, keys, "13812345678")
			if err := keys.Close(); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range []struct {
			name, path string
			master     []byte
		}{{"wrong", with, wrong}, {"missing", with, nil}, {"too short", with, right[:31]}, {"not asked for", without, right}} {
			for _, readOnly := range []bool{false, true} {
				keys, err := openAt(c.path, privacy.Options{MasterKey: c.master, ReadOnly: readOnly})
				wantErr(t, c.name, err, privacy.ErrMasterKey)
				if keys != nil {
					t.Errorf("%s: got keys, want none", c.name)
				}
			}
		}
		if _, ok, err := open(t, with, privacy.Options{MasterKey: right}).Find(t.Context(), "13812345678"); !ok || err != nil {
			t.Errorf("with the right key Find = %t, %v, want true", ok, err)
		}
	})
}

func TestFilesThatAreRefusedStayAsTheyWere(t *testing.T) {
	t.Parallel()
	good := newPath(t)
	keys, err := privacy.Open(good, privacy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	subject(t, keys, "13812345678")
	if err := keys.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	change := func(at int, to ...byte) []byte {
		changed := bytes.Clone(content)
		copy(changed[at:], to)
		return changed
	}
	for _, c := range []struct {
		name    string
		content []byte
		mode    fs.FileMode
		want    error
	}{
		{"empty", nil, 0o600, privacy.ErrCorrupt},
		{"text", []byte("a letter to the mayor"), 0o600, privacy.ErrForeign},
		{"a database of something else", change(68, 0, 0, 0, 1), 0o600, privacy.ErrForeign},
		{"of a later release", change(60, 0, 0, 0, 2), 0o600, privacy.ErrNewer},
		{"cut short", content[:5000], 0o600, privacy.ErrCorrupt},
		{"a schema overwritten", change(100, bytes.Repeat([]byte{0xaa}, 3900)...), 0o600, privacy.ErrCorrupt},
		{"write-protected", content, 0o400, privacy.ErrReadOnly},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := newPath(t)
			if err := os.WriteFile(path, c.content, c.mode); err != nil {
				t.Fatal(err)
			}
			_, err := privacy.Open(path, privacy.Options{})
			wantErr(t, "open", err, c.want)
			if after, _ := os.ReadFile(path); !bytes.Equal(after, c.content) {
				t.Error("the file was changed")
			}
		})
	}
}

func TestDamageIsReported(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	keys, err := privacy.Open(path, privacy.Options{Cached: 1})
	if err != nil {
		t.Fatal(err)
	}
	s := subject(t, keys, "13812345678")
	key := stored(t, path, s.ID())[0]
	if err := keys.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content[bytes.Index(content, key)+20] ^= 1
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	keys = open(t, path, privacy.Options{})
	_, err = keys.Lookup(t.Context(), s.ID())
	wantErr(t, "lookup", err, privacy.ErrCorrupt)
	wantErr(t, "check", keys.Check(t.Context()), privacy.ErrCorrupt)
	_, err = keys.Subject(t.Context(), "13812345678")
	wantErr(t, "subject", err, privacy.ErrCorrupt)
	if err != nil && strings.Contains(err.Error(), "138") {
		t.Errorf("the error names the person: %v", err)
	}
}

func TestOneWriter(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	keys, err := privacy.Open(path, privacy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = privacy.Open(path, privacy.Options{})
	wantErr(t, "a second writer", err, privacy.ErrLocked)
	for range 2 {
		if err := keys.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, err = keys.Subject(t.Context(), "")
	wantErr(t, "after close", err, privacy.ErrUnavailable)
	_, err = keys.Subject(t.Context(), "13812345678")
	wantErr(t, "after close", err, privacy.ErrUnavailable)
	wantErr(t, "after close", keys.Erase(t.Context(), "00000000-0000-4000-8000-000000000000", erasedAt), privacy.ErrUnavailable)
	wantErr(t, "after close", keys.Backup(t.Context(), path+".copy"), privacy.ErrUnavailable)
	open(t, path, privacy.Options{})
}

func TestSpareKeysAreNeverHandedOutAgain(t *testing.T) {
	everywhere(t, func(t *testing.T, newPlace func(testing.TB) string) {
		path := newPlace(t)
		seen := map[string]bool{}
		for range 4 {
			keys, err := openAt(path, privacy.Options{Spare: 64})
			if err != nil {
				t.Fatal(err)
			}
			for range 100 {
				id := subject(t, keys, "").ID()
				if seen[id] {
					t.Fatalf("subject %s was handed out twice", id)
				}
				seen[id] = true
			}
			if err := keys.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// child asks for subjects until it is killed and prints what it got.
func child(path string) {
	keys, err := openAt(path, privacy.Options{Spare: 64})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	var mu sync.Mutex
	for w := range 8 {
		go func() {
			for i := 0; ; i++ {
				identity := fmt.Sprint("p-", w, "-", i)
				if i%2 == 0 {
					identity = ""
				}
				s, err := keys.Subject(context.Background(), identity)
				if err != nil {
					fmt.Println("error", err)
					os.Exit(1)
				}
				verb := "made"
				if i%8 == 3 {
					verb = "erased"
					err = keys.Erase(context.Background(), s.ID(), erasedAt)
				}
				mu.Lock()
				fmt.Printf("%s,%s,%s,%x,%v\n", verb, identity, s.ID(), s.Seal([]byte("x"), nil), err)
				mu.Unlock()
			}
		}()
	}
	select {}
}

func TestKilledAtAnyTimeItKeepsWhatItAnswered(t *testing.T) {
	everywhere(t, func(t *testing.T, newPlace func(testing.TB) string) {
		path := newPlace(t)
		seen := map[string]bool{}
		for round := range 3 {
			command := exec.Command(os.Args[0])
			command.Env = append(os.Environ(), "PRIVACY_TEST_CHILD="+path)
			out, err := command.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := command.Start(); err != nil {
				t.Fatal(err)
			}
			var lines []string
			for scanner := bufio.NewScanner(out); scanner.Scan(); {
				lines = append(lines, scanner.Text())
				if len(lines) == 300+100*round {
					command.Process.Kill()
				}
			}
			command.Wait()
			keys, err := openAt(path, privacy.Options{Spare: 64})
			if err != nil {
				t.Fatal(err)
			}
			if len(lines) < 300 {
				t.Fatalf("got %d lines, want at least 300: %q", len(lines), lines)
			}
			for _, line := range lines {
				field := strings.Split(line, ",")
				if len(field) != 5 || field[4] != "<nil>" {
					if line == lines[len(lines)-1] && !strings.HasPrefix(line, "error") {
						continue // cut short by the kill
					}
					t.Fatalf("line %q", line)
				}
				id := field[2]
				sealed, _ := hex.DecodeString(field[3])
				_, err := keys.Unseal(t.Context(), id, sealed, nil)
				if field[0] == "erased" {
					wantErr(t, "unseal after erasure", err, privacy.ErrErased)
					continue
				}
				if err != nil {
					t.Fatalf("unseal after a kill: %v", err)
				}
				if field[1] == "" && seen[id] {
					t.Fatalf("subject %s was handed out twice", id)
				}
				seen[id] = true
				if field[1] == "" {
					continue
				}
				if found, ok, err := keys.Find(t.Context(), field[1]); err != nil || !ok || found != id {
					t.Fatalf("Find after a kill = %s, %t, %v, want %s", found, ok, err, id)
				}
			}
			for range 200 {
				id := subject(t, keys, "").ID()
				if seen[id] {
					t.Fatalf("subject %s was handed out twice", id)
				}
				seen[id] = true
			}
			if err := keys.Check(t.Context()); err != nil {
				t.Error(err)
			}
			if err := keys.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	s := subject(b, open(b, newPath(b), privacy.Options{}), "")
	plaintext := []byte("张三丰 13812345678 江阴市澄江街道人民路88号3栋502室")
	b.ReportAllocs()
	for b.Loop() {
		s.Seal(plaintext, []byte("ticket-1"))
	}
}

func BenchmarkAnonymous(b *testing.B) {
	keys := open(b, newPath(b), privacy.Options{})
	for b.Loop() {
		subject(b, keys, "")
	}
}

func BenchmarkIdentified(b *testing.B) {
	keys := open(b, newPath(b), privacy.Options{})
	n := 0
	for b.Loop() {
		identities := make([]string, 500)
		for i := range identities {
			n++
			identities[i] = fmt.Sprint("person ", n)
		}
		if _, err := keys.Subjects(b.Context(), identities); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "subjects/s")
}
