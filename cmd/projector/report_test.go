package main

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/app"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/rule"
)

func TestAReportOfViewsThatCannotBeBroughtUpToDateIsNoReport(t *testing.T) {
	t.Parallel()
	dir, last := city(t)
	if code, out, errs := run(t, "report", "closure", "--data", dir, "--level", "city"); code != 0 || errs != "" {
		t.Fatalf("before the damage: exit code %d\n%s%s", code, out, errs)
	}
	// A node starts with it, and no view knows what to do with it in the stream of a ticket.
	appended(t, dir, "ticket-00000000-0000-4000-8000-000000000000", 0, event.Hash{}, last.Event)
	code, out, errs := run(t, "report", "closure", "--data", dir, "--level", "city")
	if code != 1 || out != "" || !strings.Contains(errs, "cannot be brought up to date") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	if code, out, errs := run(t, "replay", "--data", dir); code != 0 || !strings.Contains(out, "RegistryVersionPublished") {
		t.Errorf("replay: exit code %d\n%s%s", code, out, errs)
	}
}

func TestAReportSaysOnWhichMapItIs(t *testing.T) {
	t.Parallel()
	dir, _ := city(t)
	for mode, want := range map[string]int{"path_at_acceptance": 0, "restated": 0, "today": 2, "": 2} {
		code, out, errs := run(t, "report", "closure", "--data", dir, "--level", "city", "--area-mode", mode)
		if code != want || (want == 0) != strings.Contains(out, "closure_rate") || want != 0 && !strings.Contains(errs, "--area-mode") {
			t.Errorf("%q: exit code %d, want %d\n%s%s", mode, code, want, out, errs)
		}
	}
}

func TestAReportOfWhatNothingIsKnownByIsAnError(t *testing.T) {
	t.Parallel()
	dir, _ := city(t)
	node, err := app.Open(t.Context(), dir, quiet)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = node.Dispatcher.Ticket(t.Context(), dispatch.Request{
		Actor: rule.Actor{Person: "import", Roles: []pb.Role{pb.Role_ROLE_SYSTEM}},
		Command: &pb.ImportRecordRequest{
			RequestId: "1", Source: "elsewhere", SourceRef: "1", OccurredAt: timestamppb.New(time.Date(2025, 3, 5, 9, 0, 0, 0, time.UTC)),
			Dimensions: []*pb.Dimension{{Level: "precinct", Value: "7"}},
		},
	})
	if err := errors.Join(err, node.Close()); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"closure"}, {"closure", "--metric", "M12"}, {"closure", "--metric", "M31"}, {"stages"}, {"ledger", "--kind", "listing"}} {
		for flags, want := range map[string]string{
			"--level street":                       "",
			"--level grid --area 320205001001":     "",
			"--level direct --area UNLOCATED":      "",
			"--level precinct":                     "",
			"--level precinct --area 320205001001": "",
			"--level precint":                      "--level",
			"--level Street":                       "--level",
			"--level street --area 320299":         "--area",
			"--level all --area nowhere":           "--area",
			"--level nothing --area nowhere":       "--level",
		} {
			call := slices.Concat([]string{"report", args[0], "--data", dir}, args[1:], strings.Fields(flags))
			code, out, errs := run(t, call...)
			if want == "" && (code != 0 || errs != "" || !strings.Contains(out, "level")) || want != "" && (code != 2 || out != "" || !strings.Contains(errs, want+" ")) {
				t.Errorf("%v: exit code %d, want an error for %q\n%s%s", call, code, want, out, errs)
			}
		}
	}
}

func TestStagesAndLedgersArePrintedInEveryFormat(t *testing.T) {
	t.Parallel()
	dir, _ := city(t)
	for _, args := range [][]string{{"stages"}, {"ledger", "--kind", "suspension"}, {"ledger", "--kind", "listing"}} {
		for format, want := range map[string]string{"table": "level", "csv": "level,area_code,area_name,path,", "json": "[]"} {
			if args[0] == "ledger" && format == "json" {
				want = "[\n  {\n    \"level\": \"sum\"" // and nothing else
			}
			call := append([]string{"report", args[0], "--data", dir, "--level", "city", "--format", format, "--from", "2026-01-01T00:00:00+08:00", "--as-of", "2026-02-01T00:00:00+08:00", "--area-mode", "restated"}, args[1:]...)
			if code, out, errs := run(t, call...); code != 0 || errs != "" || !strings.HasPrefix(out, want) {
				t.Errorf("%v: exit code %d\n%s%s", call, code, out, errs)
			}
		}
	}
	for _, args := range [][]string{
		{"stages", "--kind", "listing"}, {"ledger"}, {"ledger", "--kind", "other"}, {"stages", "--metric", "M05"}, {"stages", "--as-of", "yesterday"}, {"others"},
	} {
		call := append([]string{"report", args[0], "--data", dir, "--level", "city"}, args[1:]...)
		if code, out, _ := run(t, call...); code != 2 || out != "" {
			t.Errorf("%v: exit code %d, want 2\n%s", call, code, out)
		}
	}
	if code, out, errs := run(t, "report", "closure", "--data", dir, "--level", "city", "--metric", "M21", "--format", "csv"); code != 0 || !strings.Contains(out, "mean_hours,median_hours,p90_hours") {
		t.Errorf("M21: exit code %d\n%s%s", code, out, errs)
	}
}

func TestWhistlesInProgressArePrintedInEveryFormat(t *testing.T) {
	t.Parallel()
	dir, _ := city(t)
	for format, want := range map[string]string{"table": "no  kind", "csv": "no,kind,state,street,", "json": "[]"} {
		if code, out, errs := run(t, "report", "whistles", "--data", dir, "--area", "320200000000", "--format", format); code != 0 || errs != "" || !strings.HasPrefix(out, want) {
			t.Errorf("%s: exit code %d\n%s%s", format, code, out, errs)
		}
	}
	for _, args := range [][]string{{"--level", "city"}, {"--from", "2026-01-01T00:00:00Z"}, {"--metric", "M31"}, {"--kind", "listing"}} {
		if code, out, _ := run(t, append([]string{"report", "whistles", "--data", dir}, args...)...); code != 2 || out != "" {
			t.Errorf("%v: exit code %d, want 2\n%s", args, code, out)
		}
	}
	for _, metric := range []string{"M31", "M32", "M33", "M34", "M35", "M36"} {
		if code, out, errs := run(t, "report", "closure", "--data", dir, "--level", "street", "--metric", metric, "--format", "csv"); code != 0 || !strings.HasPrefix(out, "metric,level,") {
			t.Errorf("%s: exit code %d\n%s%s", metric, code, out, errs)
		}
	}
}
