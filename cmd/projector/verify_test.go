package main

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/app"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/registry"
	"github.com/chuishao/dispatch/internal/rule"
)

var quiet = app.Options{Log: slog.New(slog.NewTextHandler(io.Discard, nil))}

func run(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = app.Run(t.Context(), "projector", "", args, app.IO{Out: &o, Err: &e}, commands...)
	return code, o.String(), e.String()
}

// city makes a data directory with the registry of the example city, and gives the last event of it.
func city(t *testing.T) (dir string, last event.Decoded) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "data")
	node, err := app.Open(t.Context(), dir, quiet)
	if err != nil {
		t.Fatal(err)
	}
	content, faults := registry.ReadDir(os.DirFS(filepath.Join("..", "..", "examples", "wuxi")))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	actor := rule.Actor{Person: "registry", Roles: []pb.Role{pb.Role_ROLE_SYSTEM}}
	if faults, _, err = node.Dispatcher.LoadRegistry(t.Context(), actor, "wuxi-1", time.Time{}, content.Pieces(), false); err != nil || len(faults) > 0 {
		t.Fatal(faults, err)
	}
	for r, err := range node.Store.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if last, err = event.Decode(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := node.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, last
}

// unreadable appends an event to the registry that is whole, and whose name of a version is no text.
func unreadable(t *testing.T, dir string, last event.Decoded) {
	t.Helper()
	staged := &pb.RegistryStaged{}
	staged.ProtoReflect().SetUnknown([]byte{1<<3 | 2, 1, 0xff}) // field 1, of one byte
	appended(t, dir, last.Stream, last.Version, last.Hash(), staged)
}

func appended(t *testing.T, dir, stream string, after eventstore.Version, hash event.Hash, what proto.Message) {
	t.Helper()
	node, err := app.OpenForVerify(t.Context(), dir, quiet)
	if err != nil {
		t.Fatal(err)
	}
	meta := &pb.EventMeta{RecordedAt: timestamppb.Now(), OccurredAt: timestamppb.Now(), RequestId: "appended"}
	e, err := event.Encode(stream, after+1, hash, meta, what)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := node.Store.Append(t.Context(), stream, after, []eventstore.Event{e}); err != nil {
		t.Fatal(err)
	}
	if err := node.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestVerifyNamesADamagedEventOfTheRegistry(t *testing.T) {
	t.Parallel()
	starts := func(t *testing.T, dir string) bool {
		node, err := app.Open(t.Context(), dir, quiet)
		if err != nil {
			return false
		}
		if err := node.Close(); err != nil {
			t.Error(err)
		}
		return true
	}
	t.Run("one that was changed", func(t *testing.T) {
		t.Parallel()
		dir, _ := city(t)
		path := filepath.Join(dir, app.HistoryFile)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		root := []byte("无锡市")
		if !bytes.Contains(b, root) {
			t.Fatal("the registry does not lie in the file")
		}
		// No UTF-8, so it does not decode either. All of it is changed, since the first may be no part of the history: when the events
		// outgrow their table's first page, SQLite copies its rows to a new one, and leaves the old bytes where nothing reads them.
		b = bytes.ReplaceAll(b, root, append([]byte{0xff}, root[1:]...))
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if starts(t, dir) {
			t.Fatal("a node starts on a damaged registry")
		}
		code, out, errs := run(t, "verify", "--data", dir)
		if code != 1 || !strings.Contains(out, "HASH registry-") || !strings.Contains(out, "position p") {
			t.Errorf("exit code %d\n%s%s", code, out, errs)
		}
		if !strings.Contains(out, "view") {
			t.Errorf("nothing is said of the views:\n%s", out)
		}
	})
	t.Run("one that cannot be decoded", func(t *testing.T) {
		t.Parallel()
		dir, last := city(t)
		unreadable(t, dir, last)
		if starts(t, dir) {
			t.Fatal("a node starts on a registry that it cannot read")
		}
		code, out, errs := run(t, "verify", "--data", dir)
		if code != 1 || !strings.Contains(out, "UNDECODABLE registry-") || !strings.Contains(out, "position p") {
			t.Errorf("exit code %d\n%s%s", code, out, errs)
		}
		if !strings.Contains(errs, "views were not compared") {
			t.Errorf("nothing is said of the views:\n%s", errs)
		}
		if code, out, errs = run(t, "verify", "--data", dir, "--history-only"); code != 1 || strings.Contains(out, "view") {
			t.Errorf("--history-only: exit code %d\n%s%s", code, out, errs)
		}
	})
}
