package privacy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/privacy"
	"github.com/chuishao/dispatch/internal/servers"
	"github.com/chuishao/dispatch/internal/servers/serverstest"
)

// sql carries out statements as an operator would.
func sql(t testing.TB, url, script string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), script); err != nil {
		t.Fatal(err)
	}
}

// counted asks for a number.
func counted(t testing.TB, url, query string, args ...any) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := conn.QueryRow(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// several opens a database as so many dispatchers do, the first of whom makes it, all at once.
func several(t *testing.T, n int, url string) []*privacy.Keys {
	t.Helper()
	all := make([]*privacy.Keys, n)
	var group sync.WaitGroup
	for i := range all {
		group.Go(func() {
			var err error
			if all[i], err = privacy.OpenPostgres(t.Context(), url, privacy.Options{Spare: 32}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if t.Failed() {
		t.FailNow()
	}
	t.Cleanup(func() {
		for _, keys := range all {
			if err := keys.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return all
}

func TestOnePersonIsOneSubjectForAllDispatchers(t *testing.T) {
	t.Parallel()
	url := serverstest.Database(t)
	all := several(t, 4, url)
	const people = 150
	var mu sync.Mutex
	ids := map[string]map[string]bool{}
	anonymous := map[string]bool{}
	var group sync.WaitGroup
	for d, keys := range all {
		for w := range 2 {
			group.Go(func() {
				for at := 0; at < people; at += 10 {
					var batch []string
					for i := range 10 {
						batch = append(batch, fmt.Sprint("person ", at+(i*7+d*3+w)%10)) // each in an order of its own
					}
					got, err := keys.Subjects(t.Context(), append(batch, ""))
					if err != nil {
						t.Error(err)
						return
					}
					spare, err := keys.Subject(t.Context(), "")
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					for i, identity := range batch {
						if ids[identity] == nil {
							ids[identity] = map[string]bool{}
						}
						ids[identity][got[i].ID()] = true
					}
					for _, s := range []privacy.Subject{got[10], spare} {
						if anonymous[s.ID()] {
							t.Errorf("anonymous subject %s was handed out twice", s.ID())
						}
						anonymous[s.ID()] = true
					}
					mu.Unlock()
				}
			})
		}
	}
	group.Wait()
	if len(ids) != people {
		t.Errorf("got %d people, want %d", len(ids), people)
	}
	for identity, of := range ids {
		if len(of) != 1 {
			t.Errorf("%s is %d subjects, want 1", identity, len(of))
		}
	}
	if got := counted(t, url, "SELECT count(mac) FROM chuishao_keys.subjects"); got != people {
		t.Errorf("got %d rows of people, want %d", got, people)
	}
	if err := all[0].Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestErasedByOneIsErasedForAll(t *testing.T) {
	t.Parallel()
	all := several(t, 3, serverstest.Database(t))
	for round := range 20 {
		identity := fmt.Sprint("person ", round)
		if round%4 == 3 {
			identity = ""
		}
		s := subject(t, all[round%3], identity)
		sealed, fingerprint := s.Seal([]byte("张三丰"), nil), s.Fingerprint([]byte("x"))
		var held []privacy.Subject
		for _, keys := range all {
			if _, err := keys.Unseal(t.Context(), s.ID(), sealed, nil); err != nil {
				t.Fatal(err)
			}
			same, err := keys.Lookup(t.Context(), s.ID())
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, same)
		}
		if err := all[(round+1)%3].Erase(t.Context(), s.ID(), erasedAt); err != nil {
			t.Fatal(err)
		}
		for i, keys := range all {
			_, err := keys.Unseal(t.Context(), s.ID(), sealed, nil)
			wantErr(t, "unseal", err, privacy.ErrErased)
			_, err = keys.Lookup(t.Context(), s.ID())
			wantErr(t, "lookup", err, privacy.ErrErased)
			if bytes.Equal(held[i].Fingerprint([]byte("x")), fingerprint) {
				t.Error("a Subject held over its erasure elsewhere is as it was after its process has heard of it")
			}
			if identity == "" {
				continue
			}
			if id, ok, err := keys.Find(t.Context(), identity); ok && id == s.ID() || ok != (i > 0) || err != nil {
				t.Errorf("Find = %s, %t, %v, want nobody, then who came back", id, ok, err)
			}
			if next := subject(t, keys, identity); next.ID() == s.ID() {
				t.Error("the person comes back as the erased subject")
			}
		}
	}
}

func TestSpareKeysErasedElsewhereAreNotHandedOut(t *testing.T) {
	t.Parallel()
	url := serverstest.Database(t)
	all := several(t, 2, url)
	known := map[string]bool{subject(t, all[0], "").ID(): true} // and with it a stock of spare ones
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	rows, err := conn.Query(t.Context(), "SELECT encode(id, 'hex')::uuid::text FROM chuishao_keys.subjects")
	if err != nil {
		t.Fatal(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	if len(ids) != 33 {
		t.Fatalf("got %d subjects, want one and 32 spare ones", len(ids))
	}
	for _, id := range ids {
		if err := all[1].Erase(t.Context(), id, erasedAt); err != nil {
			t.Fatal(err)
		}
		known[id] = true
	}
	for range 40 {
		if s := subject(t, all[0], ""); known[s.ID()] {
			t.Fatalf("subject %s was handed out although it was erased, or twice", s.ID())
		} else if _, err := all[1].Unseal(t.Context(), s.ID(), s.Seal([]byte("x"), nil), nil); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNoQueryFindsAnErasedKeyAndItsRowIsVacuumed(t *testing.T) {
	t.Parallel()
	url := serverstest.Database(t)
	keys := open(t, url, privacy.Options{Spare: 1})
	var ids []string
	for i := range 50 {
		ids = append(ids, subject(t, keys, fmt.Sprint("person ", i)).ID())
	}
	for _, id := range ids[10:20] {
		if err := keys.Erase(t.Context(), id, erasedAt); err != nil {
			t.Fatal(err)
		}
		if n := counted(t, url, "SELECT count(*) FROM chuishao_keys.subjects WHERE id = decode(replace($1, '-', ''), 'hex')", id); n != 0 {
			t.Errorf("got %d rows of an erased subject, want none", n)
		}
	}
	if n := counted(t, url, "SELECT count(*) FROM chuishao_keys.erased WHERE erased_at = $1", erasedAt.UnixMicro()); n != 10 {
		t.Errorf("got %d tombstones, want 10", n)
	}
	// What VACUUM has left is free: pgstattuple tells dead rows, which no count of the statistics does exactly.
	sql(t, url, "CREATE EXTENSION pgstattuple")
	eventually(t, "dead rows are vacuumed", func() bool {
		return counted(t, url, "SELECT dead_tuple_count FROM pgstattuple('chuishao_keys.subjects')") == 0
	})
}

// eventually looks again and again until something holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Errorf("%s: not within a minute", what)
			return
		}
		<-time.After(5 * time.Millisecond)
	}
}

func TestSchemasThatAreRefusedStayAsTheyWere(t *testing.T) {
	t.Parallel()
	good := func(t *testing.T) string {
		url := serverstest.Database(t)
		keys, err := privacy.OpenPostgres(t.Context(), url, privacy.Options{})
		if err != nil {
			t.Fatal(err)
		}
		subject(t, keys, "13812345678")
		if err := keys.Close(); err != nil {
			t.Fatal(err)
		}
		return url
	}
	for _, c := range []struct {
		name, script string
		want         error
	}{
		{"of something else", "DROP SCHEMA chuishao_keys CASCADE; CREATE SCHEMA chuishao_keys; CREATE TABLE chuishao_keys.doors (n int)", privacy.ErrForeign},
		{"with other settings", "DROP TABLE chuishao_keys.settings; CREATE TABLE chuishao_keys.settings (colour text)", privacy.ErrForeign},
		{"without a marker", "DELETE FROM chuishao_keys.settings WHERE name = 'chuishao keys'", privacy.ErrForeign},
		{"of a later release", `UPDATE chuishao_keys.settings SET value = '\x02' WHERE name = 'chuishao keys'`, privacy.ErrNewer},
		{"without subjects", "DROP TABLE chuishao_keys.subjects", privacy.ErrCorrupt},
		{"with another secret", `UPDATE chuishao_keys.settings SET value = set_byte(value, 20, get_byte(value, 20) # 1) WHERE name = 'secret'`, privacy.ErrCorrupt},
		{"without a secret", `DELETE FROM chuishao_keys.settings WHERE name = 'secret'`, privacy.ErrCorrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			url := good(t)
			sql(t, url, c.script)
			const tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'chuishao_keys'::regnamespace"
			before := counted(t, url, tables)
			for _, readOnly := range []bool{false, true} {
				_, err := privacy.OpenPostgres(t.Context(), url, privacy.Options{ReadOnly: readOnly})
				wantErr(t, "open", err, c.want)
			}
			if after := counted(t, url, tables); after != before {
				t.Errorf("got %d tables and indexes, want %d as before", after, before)
			}
		})
	}
	t.Run("empty", func(t *testing.T) {
		t.Parallel()
		url := serverstest.Database(t)
		sql(t, url, "CREATE SCHEMA chuishao_keys")
		_, err := privacy.OpenPostgres(t.Context(), url, privacy.Options{ReadOnly: true})
		wantErr(t, "open to read", err, fs.ErrNotExist)
		subject(t, open(t, url, privacy.Options{}), "13812345678")
	})
}

func TestDamageInPostgreSQLIsReported(t *testing.T) {
	t.Parallel()
	url := serverstest.Database(t)
	keys := open(t, url, privacy.Options{})
	s := subject(t, keys, "13812345678")
	sql(t, url, "UPDATE chuishao_keys.subjects SET key = set_byte(key, 20, get_byte(key, 20) # 1)")
	_, err := keys.Lookup(t.Context(), s.ID())
	wantErr(t, "lookup", err, privacy.ErrCorrupt)
	wantErr(t, "check", keys.Check(t.Context()), privacy.ErrCorrupt)
	_, err = keys.Subject(t.Context(), "13812345678")
	wantErr(t, "subject", err, privacy.ErrCorrupt)
	wantErr(t, "copy", privacy.Copy(t.Context(), keys, open(t, newPath(t), privacy.Options{})), privacy.ErrCorrupt)
	sql(t, url, "DROP TABLE chuishao_keys.subjects")
	_, err = keys.Lookup(t.Context(), s.ID())
	wantErr(t, "lookup without a table", err, privacy.ErrCorrupt)
}

func TestClosedKeysOfPostgreSQL(t *testing.T) {
	t.Parallel()
	keys, err := privacy.OpenPostgres(t.Context(), serverstest.Database(t), privacy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	id := subject(t, keys, "").ID()
	for range 2 {
		if err := keys.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, err = keys.Subject(t.Context(), "")
	wantErr(t, "after close", err, privacy.ErrUnavailable)
	_, err = keys.Subject(t.Context(), "13812345678")
	wantErr(t, "after close", err, privacy.ErrUnavailable)
	_, err = keys.Lookup(t.Context(), id)
	wantErr(t, "after close", err, eventstore.ErrUnavailable)
	wantErr(t, "after close", keys.Erase(t.Context(), id, erasedAt), privacy.ErrUnavailable)
	wantErr(t, "after close", keys.Backup(t.Context(), newPath(t)), privacy.ErrUnavailable)
}

func TestNoErrorTellsThePassword(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"postgres://keeper:open-sesame@127.0.0.1:1/keys?sslmode=disable",
		"postgres://keeper:open-sesame@127.0.0.1:one/keys",
	} {
		_, err := privacy.OpenPostgres(t.Context(), url, privacy.Options{})
		if err == nil || strings.Contains(err.Error(), "sesame") {
			t.Errorf("got error %v, want one without the password", err)
		}
	}
}

// answered is what somebody was told of a subject, and must find again.
type answered struct {
	identity, id string
	sealed       []byte
	erased       bool
}

// load has dispatchers make and erase subjects until stop is closed. What fails for a while is sent again. It returns what was answered.
func load(t *testing.T, all []*privacy.Keys, stop <-chan struct{}, count *atomic.Int64) (list []answered) {
	var mu sync.Mutex
	var group sync.WaitGroup
	again := func(do func() error) {
		eventually(t, "what fails for a while is carried out", func() bool {
			err := do()
			if err != nil && !errors.Is(err, eventstore.ErrUnavailable) {
				t.Error(err)
				return true
			}
			return err == nil
		})
	}
	for d, keys := range all {
		for w := range 3 {
			group.Go(func() {
				for i := 0; !t.Failed(); i++ {
					select {
					case <-stop:
						return
					default:
					}
					a := answered{identity: fmt.Sprint("person ", (i+d+w)%200), erased: i%9 == 4}
					if a.erased {
						a.identity = fmt.Sprint("to be erased ", d, w, i)
					} else if i%3 == 0 {
						a.identity = ""
					}
					again(func() error {
						s, err := keys.Subject(context.Background(), a.identity)
						if err == nil {
							a.id, a.sealed = s.ID(), s.Seal([]byte("x"), nil)
						}
						return err
					})
					if a.erased {
						again(func() error { return keys.Erase(context.Background(), a.id, erasedAt) })
					}
					count.Add(1)
					mu.Lock()
					list = append(list, a)
					mu.Unlock()
				}
			})
		}
	}
	group.Wait()
	return list
}

// found sees to it that all that was answered is so.
func found(t *testing.T, keys *privacy.Keys, list []answered) {
	t.Helper()
	ids := map[string]string{}
	anonymous := map[string]bool{}
	for _, a := range list {
		plain, err := keys.Unseal(t.Context(), a.id, a.sealed, nil)
		switch {
		case a.erased:
			wantErr(t, "unseal after erasure", err, privacy.ErrErased)
			if _, ok, err := keys.Find(t.Context(), a.identity); ok || err != nil {
				t.Errorf("Find of the erased = %t, %v, want false", ok, err)
			}
			continue
		case err != nil || string(plain) != "x":
			t.Fatalf("Unseal = %q, %v, want what was sealed", plain, err)
		case a.identity == "" && anonymous[a.id]:
			t.Fatalf("subject %s was handed out twice", a.id)
		case a.identity == "":
			anonymous[a.id] = true
			continue
		}
		if was := ids[a.identity]; was != "" && was != a.id {
			t.Fatalf("%s is two subjects", a.identity)
		}
		ids[a.identity] = a.id
		if id, ok, err := keys.Find(t.Context(), a.identity); err != nil || !ok || id != a.id {
			t.Fatalf("Find = %s, %t, %v, want %s", id, ok, err, a.id)
		}
	}
	if err := keys.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestConnectionsCutAtAnyMomentChangeNothing(t *testing.T) {
	t.Parallel()
	url := serverstest.Database(t)
	all := several(t, 2, url)
	var count atomic.Int64
	stop, cut := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(cut)
		defer close(stop)
		for cuts := 0; cuts < 40 && !t.Failed(); {
			cuts += counted(t, url, `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
				WHERE datname = current_database() AND application_name = 'chuishao keys' AND pid <> pg_backend_pid()`)
		}
	}()
	list := load(t, all, stop, &count)
	<-cut
	found(t, all[0], list)
}

func TestPostgreSQLKilledKeepsWhatWasAnswered(t *testing.T) {
	t.Parallel()
	serverstest.Postgres(t) // or the test is skipped
	dir, err := os.MkdirTemp("", "chuishao-keys-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	server, err := servers.StartPostgres(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	all := several(t, 2, server.URL("postgres"))
	var count atomic.Int64
	stop, killed := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(killed)
		defer close(stop)
		for round := range int64(3) {
			eventually(t, "subjects are made", func() bool { return count.Load() >= 200*(round+1) })
			if err := server.Kill(); err != nil {
				t.Error(err)
				return
			}
			if err := server.Start(t.Context()); err != nil {
				t.Error(err)
				return
			}
		}
		before := count.Load()
		eventually(t, "subjects are made after the last kill", func() bool { return count.Load() >= before+50 })
	}()
	list := load(t, all, stop, &count)
	<-killed
	found(t, all[1], list)
}

func TestKeysMoveHouseBothWays(t *testing.T) {
	t.Parallel()
	master, other := bytes.Repeat([]byte{7}, 32), bytes.Repeat([]byte{8}, 32)
	for _, c := range []struct {
		name     string
		from, to func(testing.TB) string
	}{
		{"file to PostgreSQL", newPath, serverstest.Database},
		{"PostgreSQL to file", serverstest.Database, newPath},
		{"file to file", newPath, newPath},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			from := open(t, c.from(t), privacy.Options{MasterKey: master, Spare: 1})
			place := c.to(t)
			to := open(t, place, privacy.Options{MasterKey: other, Spare: 1})
			var list []answered
			add := func(identity string) {
				s := subject(t, from, identity)
				list = append(list, answered{identity: identity, id: s.ID(), sealed: s.Seal([]byte("x"), nil)})
			}
			people := make([]string, 4500) // some pages
			for i := range people {
				if i%9 > 0 {
					people[i] = fmt.Sprint("person ", i)
				}
			}
			made, err := from.Subjects(t.Context(), people)
			if err != nil {
				t.Fatal(err)
			}
			for i, s := range made {
				if i%50 == 1 {
					list = append(list, answered{identity: people[i], id: s.ID(), sealed: s.Seal([]byte("x"), nil)})
				}
			}
			add("comes back")
			add("13812345678")
			erase := func(keys *privacy.Keys, i int) {
				if err := keys.Erase(t.Context(), list[i].id, erasedAt); err != nil {
					t.Fatal(err)
				}
				list[i].erased = true
			}
			erase(from, 3)
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			wantErr(t, "copy that was cut short", privacy.Copy(ended, from, to), context.Canceled)
			for range 2 {
				if err := privacy.Copy(t.Context(), from, to); err != nil {
					t.Fatal(err)
				}
				found(t, to, list)
			}
			// The house that was left goes on for a while.
			erase(to, 4)
			last := len(list) - 2
			erase(from, last)
			add("made later")
			if err := privacy.Copy(t.Context(), from, to); err != nil {
				t.Fatal(err)
			}
			found(t, to, list)
			add("comes back")
			if err := privacy.Copy(t.Context(), from, to); err != nil {
				t.Fatal(err)
			}
			if id, ok, err := to.Find(t.Context(), "comes back"); err != nil || !ok || id != list[len(list)-1].id {
				t.Errorf("Find of who was erased and came back = %s, %t, %v, want %s", id, ok, err, list[len(list)-1].id)
			}
			if err := to.Close(); err != nil {
				t.Fatal(err)
			}
			_, err = openAt(place, privacy.Options{MasterKey: master})
			wantErr(t, "the master key of the former house", err, privacy.ErrMasterKey)
			again := open(t, place, privacy.Options{MasterKey: other})
			if got := subject(t, again, "13812345678"); got.ID() != list[last+1].id {
				t.Error("a person is another subject in the new house")
			}

			strangers := open(t, c.to(t), privacy.Options{})
			subject(t, strangers, "13812345678")
			wantErr(t, "copy into a house where others live", privacy.Copy(t.Context(), from, strangers), privacy.ErrForeign)
			subject(t, again, "new in both")
			subject(t, from, "new in both")
			wantErr(t, "copy where both went on", privacy.Copy(t.Context(), from, again), privacy.ErrForeign)
		})
	}
}

func TestWhoHashesAsBeforeTheMoveMakesNoSubjects(t *testing.T) {
	t.Parallel()
	url := serverstest.Database(t)
	all := several(t, 2, url)
	from := open(t, newPath(t), privacy.Options{})
	known := subject(t, from, "13812345678")
	if err := privacy.Copy(t.Context(), from, all[0]); err != nil {
		t.Fatal(err)
	}
	for _, identity := range []string{"13812345678", ""} {
		_, err := all[1].Subject(t.Context(), identity)
		wantErr(t, "opened before the move", err, privacy.ErrReplaced)
		if errors.Is(err, eventstore.ErrUnavailable) {
			t.Errorf("%v: this does not pass by itself", err)
		}
	}
	if got := subject(t, open(t, url, privacy.Options{}), "13812345678"); got.ID() != known.ID() {
		t.Errorf("got subject %s, want %s", got.ID(), known.ID())
	}
	if n := counted(t, url, "SELECT count(*) FROM chuishao_keys.subjects"); n != 1 {
		t.Errorf("got %d subjects, want 1", n)
	}
}

func TestBackupOfPostgreSQLIsAFileForAnEmbeddedNode(t *testing.T) {
	t.Parallel()
	master := bytes.Repeat([]byte{7}, 32)
	keys := open(t, serverstest.Database(t), privacy.Options{MasterKey: master})
	var list []answered
	for i := range 30 {
		s := subject(t, keys, []string{"", fmt.Sprint("person ", i)}[i%2])
		list = append(list, answered{identity: []string{"", fmt.Sprint("person ", i)}[i%2], id: s.ID(), sealed: s.Seal([]byte("x"), nil)})
	}
	for i := range 5 {
		list[i].erased = true
		if err := keys.Erase(t.Context(), list[i].id, erasedAt); err != nil {
			t.Fatal(err)
		}
	}
	dest := filepath.Join(t.TempDir(), "keys.db")
	if err := keys.Backup(t.Context(), dest); err != nil {
		t.Fatal(err)
	}
	_, err := privacy.Open(dest, privacy.Options{})
	wantErr(t, "without the master key", err, privacy.ErrMasterKey)
	found(t, open(t, dest, privacy.Options{MasterKey: master}), list)
}

func BenchmarkPostgreSQL(b *testing.B) {
	keys := open(b, serverstest.Database(b), privacy.Options{})
	id := subject(b, keys, "13812345678").ID()
	for name, do := range map[string]func() error{
		"Lookup":    func() error { _, err := keys.Lookup(b.Context(), id); return err },
		"Known":     func() error { _, err := keys.Subject(b.Context(), "13812345678"); return err },
		"Anonymous": func() error { _, err := keys.Subject(b.Context(), ""); return err },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := do(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("Identified", func(b *testing.B) {
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
	})
}
