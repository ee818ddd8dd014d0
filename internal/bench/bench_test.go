package bench

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"
)

// names are those that a run must give, whatever else it gives.
var names = []string{
	"echo_per_second_1", "echo_per_second_16", "echo_per_second_64", "echo_per_second_256",
	"commands_per_second_1", "commands_per_second_16", "commands_per_second_64", "commands_per_second_256",
	"commands_ratio_1", "commands_ratio_16", "commands_ratio_64", "commands_ratio_256",
	"command_p50_ms", "command_p99_ms", "append_raw_per_second", "scan_events_per_second", "rebuild_events_per_second", "rebuild_ratio",
	"import_records_per_second", "projection_lag_p99_ms", "desk_delay_p99_ms", "closure_query_p50_ms", "closure_query_p99_ms", "list_query_p99_ms",
	"commands_ratio_flat", "start_seconds", "rss_mib", "timers_due_ms",
}

func tiny(t *testing.T, format string) string {
	t.Helper()
	var out bytes.Buffer
	err := Run(t.Context(), Options{
		Quick: true, Tickets: 500, Format: format, Dir: t.TempDir(), Out: &out, Progress: t.Output(), slices: 1, slice: 40 * time.Millisecond, lives: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestARunGivesEveryFigureANumber(t *testing.T) {
	t.Parallel()
	var got map[string]any
	text := tiny(t, "json")
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	tickets, _ := got["tickets"].(map[string]any)
	for _, name := range names {
		if v, ok := got[name].(float64); !ok || math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
			t.Errorf("%s: got %v, want a number", name, got[name])
		}
		if _, ok := tickets[name]; !ok {
			t.Errorf("%s: it is not said at how many tickets it was measured", name)
		}
	}
	for name := range reaches {
		if _, ok := got[name]; !ok {
			t.Errorf("%s should come to something, but is not measured", name)
		}
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

func TestWhatCannotBeMeasuredIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{"store": {Store: "tape"}, "format": {Format: "xml"}, "tickets": {Tickets: -1}} {
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
