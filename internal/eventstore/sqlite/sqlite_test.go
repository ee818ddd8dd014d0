package sqlite_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	zombie "zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/eventstore/sqlite"
)

// A test that needs a second process starts this binary again with one of these parts to play.
const (
	partVar = "CHUISHAO_TEST_PART"
	pathVar = "CHUISHAO_TEST_PATH"
)

func TestMain(m *testing.M) {
	path := os.Getenv(pathVar)
	switch os.Getenv(partVar) {
	case "":
		os.Exit(m.Run())
	case "open":
		_, err := sqlite.Open(path, sqlite.Options{})
		fmt.Println(err)
	case "append":
		appendForEver(path)
	case "follow":
		followTo(path, 20)
	}
}

func part(t *testing.T, what, path string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), partVar+"="+what, pathVar+"="+path)
	cmd.Stderr = os.Stderr
	return cmd
}

func TestASecondProcessIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "history.db")
	store := open(t, path, sqlite.Options{})
	out, err := part(t, "open", path).Output()
	if err != nil || !strings.Contains(string(out), "another process writes this history") {
		t.Errorf("second process: got %q, %v", out, err)
	}
	refused(t, path, "another process writes this history")
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if out, err := part(t, "open", path).Output(); err != nil || strings.TrimSpace(string(out)) != "<nil>" {
		t.Errorf("second process after the first closed: got %q, %v", out, err)
	}
}

func TestAnotherProcessFollowsReadOnly(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "history.db")
	store := open(t, path, sqlite.Options{})
	follower := part(t, "follow", path)
	out, err := follower.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := follower.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for v := range 20 {
		record(t, store, "ticket-1", v, sized(uint64(v)))
		if !lines.Scan() || lines.Text() != fmt.Sprint(v+1) {
			t.Fatalf("the follower got %q, want %d", lines.Text(), v+1)
		}
	}
	if err := follower.Wait(); err != nil {
		t.Errorf("follower: %v", err)
	}
}

func followTo(path string, last int) {
	store, err := sqlite.Open(path, sqlite.Options{ReadOnly: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	for e, err := range store.Subscribe(context.Background(), 0) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(e.Version)
		if int(e.Version) == last {
			return
		}
	}
}

func TestReadOnlyRefusesAppends(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "history.db")
	if _, err := sqlite.Open(path, sqlite.Options{ReadOnly: true}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open what is not there: got %v, want fs.ErrNotExist", err)
	}
	store := open(t, path, sqlite.Options{})
	record(t, store, "ticket-1", 0, sized(1))
	reader := open(t, path, sqlite.Options{ReadOnly: true})
	if _, err := reader.Append(t.Context(), "ticket-1", 1, []eventstore.Event{sized(2)}); !errors.Is(err, sqlite.ErrReadOnly) {
		t.Errorf("append: got %v, want ErrReadOnly", err)
	}
	if got := history(t, reader); len(got) != 1 {
		t.Errorf("got %d events, want 1", len(got))
	}
}

func TestNothingAcknowledgedIsLostByAKill(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "history.db")
	const rounds = 4
	sent := make(map[string]map[int]bool) // by stream: the versions sent, and whether they were answered
	for round := range rounds {
		writer := part(t, "append", path)
		out, err := writer.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := writer.Start(); err != nil {
			t.Fatal(err)
		}
		answered := 0
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var what, stream string
			var v int
			if _, err := fmt.Sscan(lines.Text(), &what, &stream, &v); err != nil {
				t.Fatalf("the writer said %q", lines.Text())
			}
			if sent[stream] == nil {
				sent[stream] = make(map[int]bool)
			}
			if what == "answered" {
				sent[stream][v] = true
				if answered++; answered == 150+100*round {
					// In the middle of the other writers' appends.
					if err := writer.Process.Kill(); err != nil {
						t.Fatal(err)
					}
				}
			} else if !sent[stream][v] {
				sent[stream][v] = false
			}
		}
		writer.Wait() // it was killed
		if answered < 150+100*round {
			t.Fatalf("the writer ended after %d answers", answered)
		}
	}
	store := open(t, path, sqlite.Options{})
	if err := store.CheckIntegrity(t.Context()); err != nil {
		t.Fatal(err)
	}
	unanswered := 0
	for stream, versions := range sent {
		got := stored(t, store, stream)
		for v := range len(versions) {
			want := numbered(stream, v)
			switch {
			case v < len(got):
				if got[v].ID != want.ID {
					t.Errorf("%s: version %d is not what was sent", stream, v+1)
				}
			case versions[v]:
				t.Errorf("%s: version %d was answered and is lost", stream, v+1)
			}
			if !versions[v] {
				unanswered++
			}
			// What was not answered is sent again, what was answered too: neither is recorded twice.
			record(t, store, stream, v, want)
		}
		if got := stored(t, store, stream); len(got) != len(versions) {
			t.Errorf("%s: got %d events, want %d", stream, len(got), len(versions))
		}
	}
	t.Logf("%d appends were killed before their answer", unanswered)
	consistent(t, history(t, store))
}

func appendForEver(path string) {
	store, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	var print sync.Mutex
	say := func(what, stream string, v int) {
		print.Lock()
		defer print.Unlock()
		fmt.Println(what, stream, v)
	}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			stream := fmt.Sprintf("ticket-%d", w)
			v := 0
			for range store.ReadStream(context.Background(), stream, 0) {
				v++
			}
			for ; ; v++ {
				say("sent", stream, v)
				if _, err := store.Append(context.Background(), stream, eventstore.Version(v), []eventstore.Event{numbered(stream, v)}); err != nil {
					panic(err)
				}
				say("answered", stream, v)
			}
		})
	}
	wg.Wait()
}

// numbered is the event that always stands at a place of a stream.
func numbered(stream string, v int) eventstore.Event {
	e := eventstore.Event{Type: "TicketDispatched", Data: make([]byte, 300)}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", stream, v))
	copy(e.ID[:], sum[:])
	return e
}

func TestAFullDiskIsUnavailableUntilThereIsSpace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mount(t, "tmpfs", dir, "tmpfs", 0, "size=6m")
	path := filepath.Join(dir, "history.db")
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	store := open(t, path, sqlite.Options{})
	const writers = 8
	var answered [writers]int
	var failed [writers]error
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			stream := fmt.Sprintf("ticket-%d", w)
			for v := 0; v < 5000; v++ {
				_, err := store.Append(t.Context(), stream, eventstore.Version(2*v), pair(stream, v))
				if err != nil {
					failed[w] = err
					return
				}
				answered[w]++
			}
		})
	}
	wg.Wait()
	for w := range writers {
		stream := fmt.Sprintf("ticket-%d", w)
		if !errors.Is(failed[w], eventstore.ErrUnavailable) || !strings.Contains(failed[w].Error(), "no space left") {
			t.Fatalf("%s: got %v, want ErrUnavailable for want of space", stream, failed[w])
		}
		// Reading goes on, and what failed left nothing.
		if got := stored(t, store, stream); len(got) != 2*answered[w] {
			t.Errorf("%s: got %d events on a full disk, want %d", stream, len(got), 2*answered[w])
		}
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	for w := range writers {
		stream := fmt.Sprintf("ticket-%d", w)
		for v := answered[w]; v < answered[w]+3; v++ {
			if _, err := store.Append(t.Context(), stream, eventstore.Version(2*v), pair(stream, v)); err != nil {
				t.Fatalf("with space again: %v", err)
			}
		}
	}
	if err := store.CheckIntegrity(t.Context()); err != nil {
		t.Error(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	store = open(t, path, sqlite.Options{})
	for w := range writers {
		if got := stored(t, store, fmt.Sprintf("ticket-%d", w)); len(got) != 2*answered[w]+6 {
			t.Errorf("writer %d: got %d events after reopening, want %d", w, len(got), 2*answered[w]+6)
		}
	}
	consistent(t, history(t, store))
	if err := store.Close(); err != nil { // before the disk goes
		t.Fatal(err)
	}
}

func pair(stream string, v int) []eventstore.Event {
	return []eventstore.Event{numbered(stream, 2*v), numbered(stream, 2*v+1)}
}

func TestNoSpaceToBeginWith(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mount(t, "tmpfs", dir, "tmpfs", 0, "size=4k")
	path := filepath.Join(dir, "history.db")
	refused(t, path, "no space is left")
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a start that failed left a file: %v", err)
	}
}

func TestAReadOnlyDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, copied := filepath.Join(dir, "history.db"), filepath.Join(dir, "copy.db")
	store := open(t, path, sqlite.Options{})
	record(t, store, "ticket-1", 0, sized(1))
	if err := store.Backup(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	mount(t, dir, dir, "", syscall.MS_BIND, "")
	if err := syscall.Mount("", dir, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	refused(t, path, "check that the service may write the directory")
	refused(t, filepath.Join(dir, "new", "history.db"), "its directory cannot be made")
	// A backup can be read where nothing can be written.
	reader := open(t, copied, sqlite.Options{ReadOnly: true})
	if got := history(t, reader); len(got) != 1 {
		t.Errorf("got %d events, want 1", len(got))
	}
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAFileInPlaceOfTheDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, filepath.Join(file, "history.db"), "a file stands where its directory should be")
	refused(t, dir, "a directory stands where the file should be")
}

func TestWhatIsNotOursIsRefusedAndLeftAlone(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		make   func(t *testing.T, path string)
		reason string
	}{
		"not a database": {func(t *testing.T, path string) {
			write(t, path, []byte(strings.Repeat("dear diary, ", 1000)))
		}, "not an SQLite database"},
		"a short file": {func(t *testing.T, path string) { write(t, path, []byte("x")) }, "not an SQLite database"},
		"a garbage header": {func(t *testing.T, path string) {
			damage(t, path, func(b []byte) []byte { clear(b[:64]); return b })
		}, "not an SQLite database"},
		"a truncated file": {func(t *testing.T, path string) {
			damage(t, path, func(b []byte) []byte { return b[:len(b)/2/4096*4096] })
		}, "the file is damaged"},
		"a database of another application": {func(t *testing.T, path string) {
			script(t, path, "PRAGMA application_id = 7; CREATE TABLE events (position INTEGER PRIMARY KEY);")
		}, "another application"},
		"a database of another application in WAL mode": {func(t *testing.T, path string) {
			script(t, path, "PRAGMA journal_mode = WAL; CREATE TABLE streams (name TEXT);")
		}, "another application"},
		"a newer schema": {func(t *testing.T, path string) {
			open(t, path, sqlite.Options{}).Close()
			script(t, path, "PRAGMA user_version = 2;")
		}, "a newer release"},
		"a log without its file": {func(t *testing.T, path string) { write(t, path+"-wal", []byte("log")) }, "its log is there"},
	} {
		for _, readOnly := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, read only %v", what, readOnly), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				path := filepath.Join(dir, "history.db")
				c.make(t, path)
				before := contents(t, dir)
				if _, err := os.Stat(path); err != nil && readOnly {
					refusedWith(t, path, sqlite.Options{ReadOnly: true}, "there is no history")
				} else {
					refusedWith(t, path, sqlite.Options{ReadOnly: readOnly}, c.reason)
				}
				after := contents(t, dir)
				for name, sum := range before {
					if after[name] != sum {
						t.Errorf("%s was changed", name)
					}
				}
				delete(after, "history.db.lock")
				if len(after) > len(before) {
					t.Errorf("files were left beside it")
				}
			})
		}
	}
}

func TestANewerSchemaStillInTheLogIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "history.db")
	if err := open(t, path, sqlite.Options{}).Close(); err != nil {
		t.Fatal(err)
	}
	newer, err := zombie.OpenConn(path, zombie.OpenReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer newer.Close() // only closing moves the log into the file
	if err := sqlitex.ExecuteTransient(newer, "PRAGMA user_version = 2", nil); err != nil {
		t.Fatal(err)
	}
	refused(t, path, "a newer release")
	refusedWith(t, path, sqlite.Options{ReadOnly: true}, "a newer release")
}

func TestDamageInsideIsFound(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "history.db")
	damage(t, path, func(b []byte) []byte {
		for page := 4; page < len(b)/4096-4; page += 3 { // the first pages are read when opening, the last too
			copy(b[page*4096:], "overwritten by something else")
		}
		return b
	})
	store := open(t, path, sqlite.Options{})
	err := store.CheckIntegrity(t.Context())
	if c, ok := errors.AsType[*sqlite.CorruptError](err); !ok || c.Path != path || !strings.Contains(err.Error(), "restore the latest backup") {
		t.Errorf("check: got %v, want a *CorruptError", err)
	}
	var last error
	for _, err := range store.ReadAll(t.Context(), 0) {
		last = err
	}
	if _, ok := errors.AsType[*sqlite.CorruptError](last); !ok {
		t.Errorf("read: got %v, want a *CorruptError", last)
	}
	if errors.Is(last, eventstore.ErrUnavailable) {
		t.Errorf("damage does not pass, yet it Is ErrUnavailable")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := store.CheckIntegrity(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("check with a context that has ended: got %v", err)
	}
}

func TestABackupUnderLoadIsOfOneMoment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store := open(t, filepath.Join(dir, "history.db"), sqlite.Options{})
	for v := range 4 {
		record(t, store, "registry-1", 500*v, many(500, uint64(v))...)
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var made atomic.Int64
	for w := range 8 {
		wg.Go(func() {
			stream := fmt.Sprintf("ticket-%d", w)
			for v := 0; ctx.Err() == nil; v++ {
				if _, err := store.Append(t.Context(), stream, eventstore.Version(2*v), pair(stream, v)); err != nil {
					t.Errorf("append during a backup: %v", err)
					return
				}
				made.Add(1)
			}
		})
	}
	var paths []string
	for i := range 3 {
		path := filepath.Join(dir, fmt.Sprintf("backup-%d.db", i))
		least, err := store.Head(t.Context())
		if err != nil {
			t.Error(err)
		}
		if err := store.Backup(t.Context(), path); err != nil {
			t.Errorf("back up: %v", err)
			continue
		}
		reader := open(t, path, sqlite.Options{ReadOnly: true})
		if head, err := reader.Head(t.Context()); err != nil || head < least {
			t.Errorf("backup ends at %d, want at least %d: %v", head, least, err)
		}
		paths = append(paths, path)
	}
	if err := store.Backup(t.Context(), paths[0]); !errors.Is(err, fs.ErrExist) {
		t.Errorf("back up over a file: got %v, want fs.ErrExist", err)
	}
	stop()
	wg.Wait()
	cancelled := filepath.Join(dir, "cancelled.db")
	if err := store.Backup(ctx, cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled backup: got %v", err)
	}
	for _, name := range []string{cancelled, cancelled + ".partial"} {
		if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a cancelled backup left %s", filepath.Base(name))
		}
	}
	whole := history(t, store)
	for _, path := range paths {
		restored := open(t, path, sqlite.Options{})
		if err := restored.CheckIntegrity(t.Context()); err != nil {
			t.Error(err)
		}
		got := history(t, restored)
		consistent(t, got)
		for i := range got {
			if got[i].ID != whole[i].ID || got[i].Position != whole[i].Position || got[i].Stream != whole[i].Stream {
				t.Fatalf("event %d of the backup differs", i)
			}
		}
		record(t, restored, "ticket-restored", 0, sized(1))
	}
	t.Logf("%d appends during %d backups", made.Load(), len(paths))
}

func TestASlowReaderDoesNotLetTheLogGrow(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "history.db")
	store := open(t, path, sqlite.Options{})
	record(t, store, "registry-1", 0, many(10, 1)...)
	next, stop := iter.Pull2(store.ReadAll(t.Context(), 0))
	defer stop()
	if _, err, ok := next(); err != nil || !ok {
		t.Fatalf("first event: %v", err)
	}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for n := range 16 {
				record(t, store, fmt.Sprintf("listing-%d-%d", w, n), 0, heavy(600<<10, n))
			}
		})
	}
	wg.Wait()
	info, err := os.Stat(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	if written := 8 * 16 * 600 << 10; info.Size() > int64(written)*2/3 {
		t.Errorf("the log is %d bytes long after %d were written", info.Size(), written)
	}
}

func TestPagesJoinWithoutASeam(t *testing.T) {
	t.Parallel()
	store := open(t, filepath.Join(t.TempDir(), "history.db"), sqlite.Options{})
	const small, large = 11 * 500, 9
	for v := 0; v < small; v += 500 {
		record(t, store, "registry-1", v, many(500, uint64(v))...)
	}
	for n := range large {
		record(t, store, "registry-1", small+n, heavy(600<<10, n))
	}
	for after := range 3 {
		want := small + large - after
		ctx, cancel := context.WithCancel(t.Context())
		for what, events := range map[string]iter.Seq2[eventstore.Recorded, error]{
			"ReadStream": store.ReadStream(ctx, "registry-1", eventstore.Version(after)),
			"ReadAll":    store.ReadAll(ctx, eventstore.Position(after)),
			"Subscribe":  store.Subscribe(ctx, eventstore.Position(after)),
		} {
			n := 0
			for e, err := range events {
				if n++; err != nil || int(e.Version) != after+n {
					t.Fatalf("%s after %d: event %d has version %d: %v", what, after, n, e.Version, err)
				}
				if what == "Subscribe" && n == want {
					break
				}
			}
			if n != want {
				t.Errorf("%s after %d: got %d events, want %d", what, after, n, want)
			}
		}
		cancel()
	}
}

func TestCommitsAreReported(t *testing.T) {
	t.Parallel()
	var appends, commits atomic.Int64
	store := open(t, filepath.Join(t.TempDir(), "history.db"), sqlite.Options{OnCommit: func(group int, took time.Duration) {
		if group < 1 || took <= 0 {
			t.Errorf("commit of %d appends in %v", group, took)
		}
		appends.Add(int64(group))
		commits.Add(1)
	}})
	var wg sync.WaitGroup
	for w := range 64 {
		wg.Go(func() {
			for v := range 10 {
				record(t, store, fmt.Sprintf("ticket-%d", w), v, sized(uint64(v)))
			}
		})
	}
	wg.Wait()
	if appends.Load() != 640 || commits.Load() >= 640 {
		t.Errorf("got %d appends in %d commits, want 640 in fewer", appends.Load(), commits.Load())
	}
}

func TestAClosedStoreIsUnavailable(t *testing.T) {
	t.Parallel()
	store := open(t, filepath.Join(t.TempDir(), "history.db"), sqlite.Options{})
	record(t, store, "ticket-1", 0, sized(1))
	waiting := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		var last error
		for e, err := range store.Subscribe(t.Context(), 0) {
			if e.Version == 1 {
				close(waiting)
			}
			last = err
		}
		ended <- last
	}()
	<-waiting
	for range 2 { // closing twice is closing once
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-ended; !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("subscription: got %v, want ErrUnavailable", err)
	}
	_, err := store.Append(t.Context(), "ticket-1", 1, []eventstore.Event{sized(2)})
	if !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("append: got %v, want ErrUnavailable", err)
	}
	for _, err := range store.ReadAll(t.Context(), 0) {
		if !errors.Is(err, eventstore.ErrUnavailable) {
			t.Errorf("read: got %v, want ErrUnavailable", err)
		}
	}
}

// mount mounts for the duration of a test. Without the right to, the test is reported as skipped.
func mount(t *testing.T, source, target, kind string, flags uintptr, data string) {
	t.Helper()
	err := syscall.Mount(source, target, kind, flags, data)
	if errors.Is(err, syscall.EPERM) {
		t.Skip("SKIPPED, NOT TESTED: mounting a file system needs root")
	}
	if err != nil {
		t.Fatalf("mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(target, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
}

func refused(t *testing.T, path, reason string) {
	t.Helper()
	refusedWith(t, path, sqlite.Options{}, reason)
}

func refusedWith(t *testing.T, path string, opts sqlite.Options, reason string) {
	t.Helper()
	store, err := sqlite.Open(path, opts)
	if err == nil {
		store.Close()
	}
	if e, ok := errors.AsType[*sqlite.OpenError](err); !ok || e.Path != path || !strings.Contains(e.Reason, reason) {
		t.Errorf("open: got %v, want an *OpenError that says %q", err, reason)
	}
}

// damage makes a history of a few hundred pages and changes its bytes.
func damage(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	store := open(t, path, sqlite.Options{})
	for v := range 6 {
		record(t, store, "registry-1", 500*v, many(500, uint64(v))...)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, change(b))
}

func script(t *testing.T, path, text string) {
	t.Helper()
	conn, err := zombie.OpenConn(path, zombie.OpenReadWrite, zombie.OpenCreate)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, query := range strings.Split(strings.TrimSuffix(text, ";"), "; ") {
		if err := sqlitex.ExecuteTransient(conn, query, nil); err != nil {
			t.Fatal(err)
		}
	}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// contents sums the files of a directory.
func contents(t *testing.T, dir string) map[string][32]byte {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	sums := make(map[string][32]byte)
	for _, entry := range entries {
		b, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		sums[entry.Name()] = sha256.Sum256(b)
	}
	return sums
}

func many(n int, seed uint64) []eventstore.Event {
	events := make([]eventstore.Event, n)
	for i := range events {
		events[i] = sized(seed<<32 + uint64(i))
	}
	return events
}

func heavy(bytes, n int) eventstore.Event {
	e := eventstore.Event{Type: "RegistryStaged", Data: make([]byte, bytes)}
	binary.BigEndian.PutUint64(e.ID[:], uint64(n+1))
	return e
}

// record appends what must be recorded.
func record(t testing.TB, store *sqlite.Store, stream string, after int, events ...eventstore.Event) {
	t.Helper()
	if _, err := store.Append(t.Context(), stream, eventstore.Version(after), events); err != nil {
		t.Errorf("append to %s after %d: %v", stream, after, err)
	}
}

func stored(t testing.TB, store *sqlite.Store, stream string) []eventstore.Recorded {
	t.Helper()
	return collect(t, store.ReadStream(t.Context(), stream, 0))
}

func history(t testing.TB, store *sqlite.Store) []eventstore.Recorded {
	t.Helper()
	return collect(t, store.ReadAll(t.Context(), 0))
}

func collect(t testing.TB, events iter.Seq2[eventstore.Recorded, error]) []eventstore.Recorded {
	t.Helper()
	var got []eventstore.Recorded
	for e, err := range events {
		if err != nil {
			t.Fatalf("read: %v", err)
		}
		got = append(got, e)
	}
	return got
}

// consistent checks that versions have no gaps and positions grow.
func consistent(t *testing.T, events []eventstore.Recorded) {
	t.Helper()
	at := make(map[string]eventstore.Version)
	for i, e := range events {
		if e.Version != at[e.Stream]+1 || (i > 0 && e.Position <= events[i-1].Position) {
			t.Fatalf("version %d of %s at %d follows version %d", e.Version, e.Stream, e.Position, at[e.Stream])
		}
		at[e.Stream] = e.Version
	}
}
