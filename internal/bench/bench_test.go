package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chuishao/dispatch/internal/eventstore/esdb/double"
	"github.com/chuishao/dispatch/internal/servers"
	"github.com/chuishao/dispatch/internal/servers/serverstest"
	"github.com/chuishao/dispatch/internal/viewdb"
)

func TestMain(m *testing.M) {
	servers.Main()
	serverstest.Main(m)
}

// names are those that a run must give, whatever else it gives.
var names = []string{
	"echo_per_second_1", "echo_per_second_16", "echo_per_second_64", "echo_per_second_256",
	"commands_per_second_1", "commands_per_second_16", "commands_per_second_64", "commands_per_second_256",
	"commands_ratio_1", "commands_ratio_16", "commands_ratio_64", "commands_ratio_256",
	"command_p50_ms", "command_p99_ms", "append_raw_per_second", "scan_events_per_second", "rebuild_events_per_second", "rebuild_ratio",
	"import_records_per_second", "projection_lag_p99_ms", "desk_delay_p99_ms", "closure_query_p50_ms", "closure_query_p99_ms", "list_query_p99_ms",
	"commands_ratio_flat", "start_seconds", "rss_mib", "timers_due_ms", "events_per_ticket", "views_bytes_per_ticket",
}

// tiny is as little as a run can measure.
func tiny(t *testing.T, store, views, keys string, out *bytes.Buffer) Options {
	return Options{
		Store: store, Views: views, Keys: keys, Quick: true, Tickets: 300, Format: "json", Dir: t.TempDir(), Out: out, Progress: t.Output(),
		slices: 1, slice: 40 * time.Millisecond, lives: 1,
	}
}

// measured is what such a run prints.
func measured(t *testing.T, store, views, keys string) map[string]any {
	t.Helper()
	var out bytes.Buffer
	err := Run(t.Context(), tiny(t, store, views, keys, &out))
	if missing, ok := errors.AsType[*servers.MissingError](err); ok {
		t.Skip(missing)
	}
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("%v in %s", err, &out)
	}
	return got
}

// complete wants a number for each figure, but for those named.
func complete(t *testing.T, got map[string]any, but ...string) {
	t.Helper()
	tickets, _ := got["tickets"].(map[string]any)
	for _, name := range names {
		if slices.Contains(but, name) {
			if _, ok := got[name]; ok {
				t.Errorf("%s: got %v of what cannot be measured", name, got[name])
			}
			continue
		}
		if v, ok := got[name].(float64); !ok || math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
			t.Errorf("%s: got %v, want a number", name, got[name])
		}
		if _, ok := tickets[name]; !ok {
			t.Errorf("%s: it is not said at how many tickets it was measured", name)
		}
	}
}

func TestARunGivesEveryFigureANumber(t *testing.T) {
	t.Parallel()
	got := measured(t, "", "", "")
	complete(t, got)
	for name := range reaches {
		if _, ok := got[name]; !ok {
			t.Errorf("%s should come to something, but is not measured", name)
		}
	}
}

func TestOnServersTheSameFiguresAreMeasured(t *testing.T) {
	t.Parallel()
	got := measured(t, "jetstream", "postgres", "postgres")
	complete(t, got)
	for name, want := range map[string]string{"store": "three nodes", "views": "PostgreSQL", "keys": "PostgreSQL"} {
		if said, _ := got[name].(string); !strings.Contains(said, want) {
			t.Errorf("%s: got %q, want it to say %q", name, said, want)
		}
	}
	if v, _ := got["history_bytes_per_event"].(float64); v < 100 {
		t.Errorf("history_bytes_per_event: got %v, want what an event takes", v)
	}
}

func TestADoubleIsSaidToKeepNothing(t *testing.T) {
	t.Parallel()
	got := measured(t, "esdb", "", "")
	complete(t, got)
	if said, _ := got["store"].(string); !strings.Contains(said, "durability is NOT part of it") {
		t.Errorf("got %q, want it to say that nothing is durable", said)
	}
}

func TestAServerIsMeasuredOnceAndOnlyEmpty(t *testing.T) {
	t.Parallel()
	cluster, err := double.Start(1)
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	got := measured(t, cluster.URL(), "", "")
	complete(t, got, "commands_ratio_flat")
	if notes, _ := got["notes"].(map[string]any); notes["commands_ratio_flat"] == nil {
		t.Error("it is not said why commands_ratio_flat is not measured")
	}
	var out bytes.Buffer
	if err := Run(t.Context(), tiny(t, cluster.URL(), "", "", &out)); !errors.Is(err, errNotEmpty) || !strings.HasPrefix(err.Error(), "--store: ") {
		t.Errorf("a second run: got %v, want --store refused since something is there", err)
	}
}

func TestATableHasARowForEachFigure(t *testing.T) {
	t.Parallel()
	r := newReport(Options{Tickets: 7})
	r.add("rss_mib", 399, "MiB", "a note")
	r.at(0, "commands_ratio_256", 0.25, "", "")
	var out bytes.Buffer
	if err := table(&out, r); err != nil {
		t.Fatal(err)
	}
	for _, want := range [][]string{{"rss_mib", "399", "MiB", "< 400", "yes", "7", "a note"}, {"commands_ratio_256", "0.25", "≥ 0.50", "NO", "0"}} {
		found := false
		for line := range strings.Lines(out.String()) {
			found = found || strings.Join(strings.Fields(line), " ") == strings.Join(want, " ")
		}
		if !found {
			t.Errorf("no row %q in\n%s", want, out.String())
		}
	}
}

func TestViewsOfOthersAreRefusedAndLeftAlone(t *testing.T) {
	t.Parallel()
	url := serverstest.Database(t)
	o := Options{Views: url}
	free, err := openPlaces(t.Context(), t.TempDir(), o)
	if err != nil {
		t.Fatalf("an empty database: %v", err)
	}
	location, err := free.tables(withTickets)
	if err != nil {
		t.Fatal(err)
	}
	others, err := viewdb.Open(location, viewdb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer others.Close()
	if err := free.close(); err != nil {
		t.Fatal(err)
	}
	if _, err := openPlaces(t.Context(), t.TempDir(), o); !errors.Is(err, errNotEmpty) || !strings.HasPrefix(err.Error(), "--views: ") {
		t.Errorf("a schema with views: got %v, want --views refused since something is there", err)
	}
	still, err := viewdb.Open(location, viewdb.Options{ReadOnly: true})
	if err != nil {
		t.Fatalf("the views of others are gone: %v", err)
	}
	if err := still.Close(); err != nil {
		t.Error(err)
	}
}

func TestWhatCannotBeMeasuredIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{
		"store": {Store: "tape"}, "views": {Views: "jetstream://127.0.0.1:1/S"}, "keys": {Keys: "tape"}, "format": {Format: "xml"}, "tickets": {Tickets: -1},
	} {
		if err := Run(t.Context(), o); err == nil || !strings.HasPrefix(err.Error(), "--"+name) {
			t.Errorf("%s: got %v, want an error that names --%s", name, err, name)
		}
	}
}

func TestTheSameRecordsAreMadeEachTime(t *testing.T) {
	t.Parallel()
	c, err := openCity()
	if err != nil {
		t.Fatal(err)
	}
	for n := range 50 {
		if a, b := c.record(n, 50, epoch), c.record(n, 50, epoch); a.String() == "" || a.OccurredAt.AsTime() != b.OccurredAt.AsTime() || a.Category != b.Category || len(a.Path) != len(b.Path) {
			t.Errorf("record %d: got %v and %v", n, a, b)
		}
	}
}
