package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/app"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/verify"
)

// load runs "dispatcher registry" and gives what it says.
func load(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out, complaints bytes.Buffer
	err := loadRegistry(t.Context(), args, app.IO{Out: &out, Err: &complaints})
	return out.String(), err
}

func TestCalendarsAndProfilesAreLoadedFromFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	published := write("2027.json", `{"year": 2027, "papers": [], "days": [{"name": "元旦", "date": "2027-01-01", "isOffDay": true}, {"name": "元旦", "date": "2027-01-02", "isOffDay": true}]}`)
	plain := write("plain.json", `{"year": 2027, "off": ["2027-01-04"], "work": []}`)
	beijing := filepath.Join("..", "..", "examples", "profiles", "beijing.json")
	data := filepath.Join(dir, "data")

	if out, err := load(t, "--data", data, "--year-file", published, "--profile", beijing); err != nil || !strings.Contains(out, "profile beijing@2 in force") {
		t.Fatalf("got %q, %v", out, err)
	}
	node := opened(t, data)
	years := node.Dispatcher.Calendar().Table().Years
	if last := years[len(years)-1]; last.Year != 2027 || len(last.Off) != 1 || last.Off[0] != "2027-01-01" {
		t.Errorf("got %v", last)
	}
	if limit, err := node.Dispatcher.Profile().Limit(calendar.Handle, calendar.G2); err != nil || limit.String() != "7 ND" {
		t.Errorf("got %s, %v", limit, err)
	}

	// At a server, and a file again after another.
	addr := served(t, node)
	versions := map[string]bool{node.Dispatcher.Calendar().Version(): true}
	for _, file := range []string{plain, published, plain} {
		if out, err := load(t, "--addr", addr, "--year-file", file); err != nil || !strings.Contains(out, " in force, with 2027") {
			t.Fatalf("got %q, %v", out, err)
		}
		versions[node.Dispatcher.Calendar().Version()] = true
	}
	if len(versions) != 4 {
		t.Errorf("got the versions %v, want four", versions)
	}
	head, err := node.Store.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := load(t, "--addr", addr, "--year-file", plain); err != nil {
		t.Fatal(err)
	}
	if now, err := node.Store.Head(t.Context()); err != nil || now != head {
		t.Errorf("what is in force was recorded again: %d after %d, %v", now, head, err)
	}

	err = verify.Run(t.Context(), verify.Config{Store: node.Store}, func(m *pb.VerifyHistoryResponse) error {
		if len(m.Findings) > 0 {
			t.Errorf("the history is found wrong: %v", m.Findings)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}

	for _, wrong := range [][]string{
		{"--addr", addr, "--year-file", write("bad.json", `{"year": 2027, "off": ["2027-01-02"]}`)},
		{"--addr", addr, "--year-file", write("worse.json", `{"year": 2027, "days": [{"date": "x", "isOffDay": true}]}`)},
		{"--addr", addr, "--profile", plain},
		{"--addr", addr, "--year-file", filepath.Join(dir, "nowhere")},
		{"--addr", addr, "--year-file", plain, "--version", "x"},
		{"--year-file", plain},
	} {
		if out, err := load(t, wrong...); err == nil {
			t.Errorf("%v: got %q", wrong, out)
		}
	}
}
