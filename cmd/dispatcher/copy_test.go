package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/app"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/eventstore/esdb/double"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/servers"
	"github.com/chuishao/dispatch/internal/servers/serverstest"
	"github.com/chuishao/dispatch/internal/view"
	"github.com/chuishao/dispatch/internal/viewdb"
)

func TestMain(m *testing.M) {
	servers.Main()
	serverstest.Main(m)
}

// numbered is a history whose positions are 1, 2, and so on, whatever those of its store are.
type numbered struct{ eventstore.Store }

func (n numbered) ReadAll(ctx context.Context, after eventstore.Position) iter.Seq2[eventstore.Recorded, error] {
	return func(yield func(eventstore.Recorded, error) bool) {
		at := eventstore.Position(0)
		for e, err := range n.Store.ReadAll(ctx, 0) {
			at++
			if e.Position = at; err == nil && at <= after {
				continue
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// rows are all rows of all views of a history.
func rows(t *testing.T, store eventstore.Store) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "views.db")
	all := view.All(calendar.Default().Zone())
	if err := projector.Build(t.Context(), numbered{store}, path, projector.Options{}, all...); err != nil {
		t.Fatal(err)
	}
	db, err := viewdb.Open(path, viewdb.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var text bytes.Buffer
	for _, v := range all {
		if _, err := view.Dump(t.Context(), db, v.Name, &text); err != nil {
			t.Fatal(err)
		}
	}
	return text.String()
}

func TestACopySaysWhichOfItsURLsIsWrong(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name string) string { return "sqlite:" + filepath.Join(dir, name) }
	right := map[string]string{"--from": file("history.db"), "--to": file("copy.db"), "--keys-from": file("keys.db"), "--keys-to": file("copied-keys.db")}
	node, err := app.Open(t.Context(), dir, app.Options{Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Close(); err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{"", "--from", "--to", "--keys-from", "--keys-to"} {
		for _, url := range []string{"mysql://h/db", "mysql", "sqlite:" + filepath.Join(dir, "history.db", "x")} {
			args := []string{"copy"}
			for flag, value := range right {
				if flag == wrong {
					value = url
				}
				args = append(args, flag, value)
			}
			var out, errs bytes.Buffer
			code := app.Run(t.Context(), "dispatcher", "", args, app.IO{Out: &out, Err: &errs}, commands...)
			if said := errs.String(); (code == 0) != (wrong == "") || strings.Count(said, wrong+": ") != 1 && wrong != "" || strings.Contains(said, "--store") || strings.Contains(said, "--keys:") {
				t.Errorf("%s %s: exit code %d, %s", wrong, url, code, said)
			}
		}
	}
}

// A day of a city moves from a file to JetStream, on to a server that speaks EventStoreDB's protocol, and back into a file, its keys to PostgreSQL and back.
func TestACityMovesHouse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name string) string { return "sqlite:" + filepath.Join(dir, name) }
	if code, _, errs := demoRun(t, "--tickets", "60", "--speed", "0", "--once", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data", filepath.Join(dir, "city")); code != 0 {
		t.Fatal(errs)
	}
	starting, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	nats, err := servers.StartNATS(starting, servers.NATSOptions{Dir: filepath.Join(dir, "nats")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := nats.Close(); err != nil {
			t.Error(err)
		}
	})
	events, err := double.Start(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(events.Close)
	postgres := serverstest.Database(t)
	houses := []app.Where{
		{Store: file("city/history.db"), Keys: file("city/keys.db")},
		{Store: "jetstream://" + strings.TrimPrefix(nats.URLs()[0], "nats://") + "/CITY?unsafe=single-node", Keys: postgres},
		{Store: events.URL(), Keys: file("third.db")},
		{Store: file("again/history.db"), Keys: file("again/keys.db")},
	}
	var want, counted string
	for i, house := range houses {
		if i > 0 {
			var out, errs bytes.Buffer
			args := []string{"copy", "--from", houses[i-1].Store, "--to", house.Store, "--keys-from", houses[i-1].Keys, "--keys-to", house.Keys}
			if code := app.Run(t.Context(), "dispatcher", "", args, app.IO{Out: &out, Err: &errs}, commands...); code != 0 {
				t.Fatalf("to %s: exit code %d\n%s", house.Store, code, errs.String())
			}
			if !strings.Contains(out.String(), "0 events were there") {
				t.Errorf("to %s: %s", house.Store, out.String())
			}
		}
		house.Views = file(fmt.Sprintf("views-%d.db", i))
		node, err := app.Open(t.Context(), "", app.Options{Where: house, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
		if err != nil {
			t.Fatal(err)
		}
		if err := node.CatchUp(t.Context()); err != nil {
			t.Error(err)
		}
		var verified *pb.VerifyHistoryResponse
		err = node.Verify(t.Context(), false, func(m *pb.VerifyHistoryResponse) error {
			if len(m.Findings) > 0 {
				t.Errorf("in %s: %v", house.Store, m.Findings)
			}
			verified = m
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		got, count := rows(t, node.Store), fmt.Sprint(verified.GetEvents(), verified.GetViews())
		if i == 0 {
			want, counted = got, count
		}
		if got != want || count != counted {
			t.Errorf("in %s there are other rows, or %s events and not %s", house.Store, count, counted)
		}
		if err := node.Close(); err != nil {
			t.Error(err)
		}
	}
}
