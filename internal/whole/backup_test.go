package whole

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// work keeps a server under load until stop is called, which waits for the callers.
func work(t testing.TB, s *server, callers int) (b *books, stop func()) {
	t.Helper()
	p, b, done := newPlace(), newBooks(), make(chan struct{})
	c, err := dial(s.grpc)
	if err != nil {
		t.Fatal(err)
	}
	p.move(c)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	var ended sync.WaitGroup
	for n := range callers {
		ended.Go(func() {
			if err := b.load(ctx, p, fmt.Sprintf("caller-%d", n), done); err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	return b, sync.OnceFunc(func() {
		close(done)
		ended.Wait()
		cancel()
		_ = c.conn.Close()
	})
}

func TestABackupUnderLoadRestoresToTheSameHistoryAndFigures(t *testing.T) {
	t.Parallel()
	data := city(t)
	s := serve(t, data)
	c := s.dial(t)
	b, stop := work(t, s, 6)
	b.await(t, 400)
	dir := t.TempDir()
	file := filepath.Join(dir, "backup.tar")
	before := b.n.Load()
	must(t, dispatcher, "backup", "--addr", s.grpc, "--to", file)
	during := b.n.Load() - before
	b.await(t, before+during+100)
	stop()
	if during == 0 {
		t.Error("no command was answered while the backup was made: it was not under load")
	}
	refused(t, []string{"something is there already"}, dispatcher, "backup", "--addr", s.grpc, "--to", file)

	restored := filepath.Join(dir, "restored")
	must(t, dispatcher, "restore", "--from", file, "--data", restored)
	verified(t, restored)
	r := serve(t, restored)
	rc := r.dial(t)
	end := lastOf(t, rc).Position
	was, is := history(t, c, &pb.StreamHistoryRequest{UntilPosition: end}), history(t, rc, &pb.StreamHistoryRequest{})
	if !slices.EqualFunc(was, is, func(a, b *pb.HistoryEvent) bool { return proto.Equal(a, b) }) {
		t.Errorf("the restored history, %d events, is not the source's up to the same position, %d events", len(is), len(was))
	}
	now := time.Now()
	got, want := figures(t, rc, now, "", end), figures(t, c, now, end, tail(t, c))
	if d := differ(got, want); d != "" || len(want) < len(levels) {
		t.Errorf("the figures of the restored directory differ from the source's as known at the same position: %s", d)
	}
	// What is sealed opens there too, and work goes on.
	var name string
	for _, a := range b.answers {
		if slices.ContainsFunc(is, func(e *pb.HistoryEvent) bool { return e.Stream == "ticket-"+a.Name[len("tickets/"):] }) {
			name = a.Name
		}
	}
	seen, err := rc.RevealIdentity(agent(t.Context()), &pb.RevealIdentityRequest{Name: name, RequestId: "reveal", Purpose: pb.RevealPurpose_REVEAL_PURPOSE_CONTACT})
	if err != nil || seen.Petitioner.GetName() != "张三丰" {
		t.Errorf("reveal in the restored directory: %v, %v", seen, err)
	}
	r.stop(t)
	s.stop(t)

	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, []string{"not empty"}, dispatcher, "restore", "--from", file, "--data", restored)
	bad := filepath.Join(dir, "bad.tar")
	for _, c := range []struct {
		name string
		file []byte
	}{
		{"empty", nil},
		{"cut off in the manifest", whole[:600]},
		{"cut off in the middle", whole[:len(whole)/2]},
		{"cut off before the keys", whole[:len(whole)-3<<20]},
		{"changed in the history", changed(whole, len(whole)/4)},
		{"changed in the keys", changed(whole, len(whole)-1<<20)},
		{"a text", slices.Repeat([]byte("no backup"), 1000)},
	} {
		if err := os.WriteFile(bad, c.file, 0o600); err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, "not-there")
		refused(t, []string{"restore from " + bad}, dispatcher, "restore", "--from", bad, "--data", to)
		if entries, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(entries) != 3 {
			t.Errorf("%s: a refused restore leaves %v (%v)", c.name, entries, err)
		}
	}
	// A backup of a directory that nobody serves.
	offline := filepath.Join(dir, "offline.tar")
	must(t, dispatcher, "backup", "--data", restored, "--to", offline)
	must(t, dispatcher, "restore", "--from", offline, "--data", filepath.Join(dir, "again"))
	verified(t, filepath.Join(dir, "again"))
	t.Logf("%d commands were answered while the backup was made; %d events are in it", during, len(is))
}

// changed is a copy with one byte changed.
func changed(b []byte, at int) []byte {
	b = slices.Clone(b)
	b[at] ^= 0x10
	return b
}
