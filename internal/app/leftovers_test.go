package app_test

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/app"
)

func quiet() app.Options { return app.Options{Log: slog.New(slog.NewTextHandler(io.Discard, nil))} }

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestWhatAKilledBackupLeftIsRemovedWhenTheDirectoryIsOpened(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	node, err := app.Open(t.Context(), dir, quiet())
	if err != nil {
		t.Fatal(err)
	}
	left := []string{".backup-1/keys.db", ".backup-1/.keys-2", ".verify-3/closure.db", ".restore-4/keys.db", ".keys-5", ".backup-6"}
	for _, name := range left {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("a key that was destroyed since"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	foreign := filepath.Join(dir, "backup-of-monday.tar")
	if err := os.WriteFile(foreign, nil, 0o600); err != nil {
		t.Fatal(err)
	}

	// Who does not get the lock touches nothing.
	if second, err := app.Open(t.Context(), dir, quiet()); err == nil {
		t.Fatal("a second node opened the directory", second.Close())
	}
	if got := names(t, dir); !slices.Contains(got, ".backup-1") {
		t.Fatalf("the directory holds %q while another node is at work; want its leftovers untouched", got)
	}

	if err := node.Close(); err != nil {
		t.Fatal(err)
	}
	if node, err = app.Open(t.Context(), dir, quiet()); err != nil {
		t.Fatal(err)
	}
	if err := node.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range names(t, dir) {
		if name[0] == '.' {
			t.Errorf("%s is still there", name)
		}
	}
	if _, err := os.Stat(foreign); err != nil {
		t.Errorf("what nobody left behind was removed: %v", err)
	}
}

// As in a container that has no directory of that name, and may make none.
func TestANodeOfWhichNothingIsInTheDataDirectoryNeedsNone(t *testing.T) {
	t.Parallel()
	o, files := quiet(), t.TempDir()
	o.Where = app.Where{Store: "sqlite:" + filepath.Join(files, "h"), Views: "sqlite:" + filepath.Join(files, "v"), Keys: "sqlite:" + filepath.Join(files, "k")}
	dir := filepath.Join(t.TempDir(), "data")
	node, err := app.Open(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	if err := node.Backup(t.Context(), io.Discard); err != nil {
		t.Error(err)
	}
	if err := node.Verify(t.Context(), false, func(*pb.VerifyHistoryResponse) error { return nil }); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the data directory was made: %v", err)
	}
}
