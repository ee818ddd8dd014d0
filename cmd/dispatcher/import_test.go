package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/app"
	"github.com/chuishao/dispatch/internal/event"
)

// served serves a node until the test is over, and gives its address.
func served(t *testing.T, node *app.Node) string {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- node.Serve(ctx, app.ServeConfig{GRPC: "127.0.0.1:0", HTTP: "127.0.0.1:0", Ready: func(grpc, _, _ net.Addr) { ready <- grpc.String() }})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case addr := <-ready:
		return addr
	case err := <-ended:
		ended <- nil
		t.Fatal("the node does not serve: ", err)
	}
	return ""
}

func opened(t *testing.T, dir string) *app.Node {
	t.Helper()
	node, err := app.Open(t.Context(), dir, app.Options{Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := node.Close(); err != nil {
			t.Error(err)
		}
	})
	return node
}

// recorded is what a history holds of each record, in the order of their references.
func recorded(t *testing.T, node *app.Node) []string {
	t.Helper()
	var all []string
	for r, err := range node.Store.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		e, err := event.Decode(r)
		if err != nil {
			t.Fatal(err)
		}
		line := e.Type
		if imported, ok := e.Event.(*pb.RecordImported); ok {
			line += fmt.Sprintf(" %s %s %q", imported.SourceRef, imported.Status, imported.Category)
		}
		all = append(all, line)
	}
	slices.Sort(all)
	return all
}

func TestARecordIsTakenOrRefusedAlikeByADirectoryAndByAServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	mapping := file("mapping.yaml", `
source: test
id: id
time: {zone: Asia/Shanghai, formats: [datetime]}
reported: at
closed: closed
due: due
category: cat
status: {column: status, closed: [Done]}
channel: {column: way, values: {Phone: hotline}, default: media}
levels:
  - {name: district, column: district, tree: true}
`)
	records := file("records.csv", "id,at,closed,due,cat,status,way,district\n"+
		"plain,2024-05-06 07:08:09,2024-05-06 09:00:00,2024-05-07 00:00:00,noise,Done,Phone,D1\n"+
		"long,2024-05-06 07:08:09,,,"+strings.Repeat("c", 300)+",Open,Phone,D1\n"+
		"late,2024-05-06 07:08:09,,9999-12-31 00:00:00,noise,Open,Phone,D1\n"+
		"early,1800-01-01 00:00:00,,,noise,Open,Phone,D1\n"+
		"backwards,2024-05-06 07:08:09,2024-05-05 00:00:00,,noise,Done,Phone,D1\n"+
		"bell,2024-05-06 07:08:09,,,\"no\aise\",Open,Phone,D1\n"+
		"future,2099-05-06 07:08:09,,,noise,Open,Phone,D1\n"+
		"district,2024-05-06 07:08:09,,,noise,Open,Phone,"+strings.Repeat("D", 400)+"\n"+
		strings.Repeat("r", 200)+",2024-05-06 07:08:09,,,noise,Open,Phone,D1\n"+
		"plain,2024-05-06 07:08:09,,,other,Open,Phone,D2\n"+
		"last,2024-05-06 07:08:09,,,noise,Open,Phone,D1\n")

	run := func(name string, place ...string) string {
		t.Helper()
		refused := filepath.Join(dir, name+".csv")
		var out, errs bytes.Buffer
		args := append([]string{"import", "--mapping", mapping, "--quarantine", refused, records}, place...)
		if code := app.Run(t.Context(), "dispatcher", "", args, app.IO{Out: &out, Err: &errs}, commands...); code != 0 {
			t.Fatalf("import %v: exit code %d\n%s%s", place, code, out.String(), errs.String())
		}
		text, err := os.ReadFile(refused)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		slices.SortFunc(lines, cmp.Compare[string]) // callers finish in any order
		return strings.Join(lines, "\n")
	}
	here := run("here", "--data", filepath.Join(dir, "data"))
	local := recorded(t, opened(t, filepath.Join(dir, "data")))

	node := opened(t, filepath.Join(dir, "served"))
	there := run("there", "--addr", served(t, node))
	remote := recorded(t, node)

	if !slices.Equal(local, remote) {
		t.Errorf("histories differ:\n--data %q\n--addr %q", local, remote)
	}
	if here != there {
		t.Errorf("quarantines differ:\n--data\n%s\n--addr\n%s", here, there)
	}
	for _, id := range []string{"long", "late"} {
		if !strings.Contains(here, id+",2024") {
			t.Errorf("the record %q was not refused:\n%s", id, here)
		}
	}
	if len(local) < 3 {
		t.Errorf("the history holds %q; want the plain records", local)
	}
}
