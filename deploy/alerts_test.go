package deploy

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/util/teststorage"
)

const operations = "../docs/OPERATIONS.md"

func alerts(t *testing.T) map[string]rulefmt.Rule {
	t.Helper()
	found := map[string]rulefmt.Rule{}
	for _, g := range rules(t).Groups {
		for _, r := range g.Rules {
			if r.Alert == "" {
				continue
			}
			if _, twice := found[r.Alert]; twice {
				t.Errorf("two alerts are called %s", r.Alert)
			}
			found[r.Alert] = r
		}
	}
	return found
}

func TestEveryAlertSaysWhatToDo(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(operations)
	if err != nil {
		t.Fatal(err)
	}
	headings := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^### (Chuishao\w+)$`).FindAllStringSubmatch(string(text), -1) {
		headings[m[1]] = true
	}
	all := alerts(t)
	for name, r := range all {
		if s := r.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s has severity %q", name, s)
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s does not say what is the matter", name)
		}
		if want := "https://github.com/chuishao/dispatch/blob/main/docs/OPERATIONS.md#" + strings.ToLower(name); r.Annotations["runbook_url"] != want {
			t.Errorf("%s: got %s, want %s", name, r.Annotations["runbook_url"], want)
		}
		if !headings[name] {
			t.Errorf("%s has no heading %s", operations, name)
		}
	}
	for name := range headings {
		if _, ok := all[name]; !ok {
			t.Errorf("%s has the heading %s, and there is no such alert", operations, name)
		}
	}
}

// alertCases are what happens, as series of one sample a minute, and the alerts that fire at its end. Every alert fires in one of them, and
// what is quite usual makes none fire.
var alertCases = []struct {
	name   string
	series []string
	last   time.Duration
	fire   []string
}{
	{"all is well", []string{
		`chuishao_commands_total{code="OK"} 0+600x60`, `chuishao_commands_total{code="FailedPrecondition"} 0+60x60`,
		`chuishao_command_duration_seconds_bucket{le="0.1"} 0+660x60`, `chuishao_command_duration_seconds_bucket{le="+Inf"} 0+660x60`,
		`chuishao_append_duration_seconds_bucket{le="0.016"} 0+300x60`, `chuishao_append_duration_seconds_bucket{le="+Inf"} 0+300x60`,
		`chuishao_queries_total{code="OK"} 0+600x60`, `chuishao_panics_total 0x60`,
		`chuishao_view_lag_seconds{view="v"} 0 1 0 2x57`, `chuishao_view_position{view="v"} 0+600x60`, `chuishao_view_stopped{view="v"} 0x60`,
		`chuishao_timers_lag_seconds 0 30 0x58`, `chuishao_timers_refused_total{timer="t"} 4x60`,
		`chuishao_relay_lag_seconds 1x60`, `chuishao_relay_position 0+600x60`,
		`process_open_fds 40x60`, `process_max_fds 1024x60`, `process_start_time_seconds 1x60`,
		`kubelet_volume_stats_available_bytes{persistentvolumeclaim="data-dispatcher-0"} 40x60`,
		`kubelet_volume_stats_capacity_bytes{persistentvolumeclaim="data-dispatcher-0"} 50x60`,
	}, time.Hour, nil},
	{"nobody calls at night", []string{
		`chuishao_commands_total{code="OK"} 600x60`, `chuishao_commands_total{code="Unavailable"} 3x60`, `chuishao_commands_total{code="Internal"} 1x60`,
		`chuishao_queries_total{code="OK"} 600x60`, `chuishao_queries_total{code="Internal"} 1x60`,
		`chuishao_view_lag_seconds{view="v"} 0x60`, `chuishao_view_position{view="v"} 600x60`,
		`chuishao_relay_lag_seconds 0x60`, `chuishao_relay_position 600x60`,
	}, time.Hour, nil},
	{"a leader of the store is elected", []string{
		`chuishao_commands_total{code="OK"} 0+600x10 6300 6900+600x20`, `chuishao_commands_total{code="Unavailable"} 0x10 30x21`,
	}, 14 * time.Minute, nil},
	{"nothing runs", []string{`chuishao_build_info _x20`}, 10 * time.Minute, []string{"ChuishaoAbsent"}},
	{"a process does not stay up", []string{`process_start_time_seconds 1 1 1 4 4 7 7 9 9 11 11 14x20`}, 20 * time.Minute, []string{"ChuishaoRestarting"}},
	{"another program on the machine does not stay up", []string{`process_start_time_seconds{job="other"} 1 1 1 4 4 7 7 9 9 11 11 14x20`}, 20 * time.Minute, nil},
	{"an update did not end", []string{`chuishao_build_info{version="2",instance="j"} 1x180`}, 3 * time.Hour, []string{"ChuishaoMixedVersions"}},
	{"an update is on its way", []string{`chuishao_build_info{version="2",instance="j"} 1x60`}, time.Hour, nil},
	{"the store is gone", []string{
		`chuishao_commands_total{code="OK"} 0+600x10 6000x20`, `chuishao_commands_total{code="Unavailable"} 0x10 100+100x20`,
	}, 25 * time.Minute, []string{"ChuishaoCommandsUnavailable"}},
	{"commands end in faults", []string{
		`chuishao_commands_total{code="OK"} 0+600x30`, `chuishao_commands_total{code="Internal"} 0+2x30`,
	}, 25 * time.Minute, []string{"ChuishaoCommandsFailing"}},
	{"commands are refused", []string{
		`chuishao_commands_total{code="OK"} 0+6x30`, `chuishao_commands_total{code="PermissionDenied"} 0+600x30`, `chuishao_commands_total{code="InvalidArgument"} 0+600x30`,
	}, 25 * time.Minute, nil},
	{"commands are slow", []string{
		`chuishao_command_duration_seconds_bucket{le="1"} 0+90x30`, `chuishao_command_duration_seconds_bucket{le="2.5"} 0+100x30`, `chuishao_command_duration_seconds_bucket{le="+Inf"} 0+100x30`,
	}, 25 * time.Minute, []string{"ChuishaoCommandsSlow"}},
	{"the disk is slow", []string{
		`chuishao_append_duration_seconds_bucket{le="0.256"} 0+90x30`, `chuishao_append_duration_seconds_bucket{le="0.512"} 0+100x30`, `chuishao_append_duration_seconds_bucket{le="+Inf"} 0+100x30`,
	}, 25 * time.Minute, []string{"ChuishaoCommitsSlow"}},
	{"the views' database is gone", []string{
		`chuishao_queries_total{code="OK"} 0+600x30`, `chuishao_queries_total{code="Unavailable"} 0+60x30`,
	}, 25 * time.Minute, []string{"ChuishaoQueriesFailing"}},
	{"a call panics", []string{`chuishao_panics_total 0x10 1x10`}, 12 * time.Minute, []string{"ChuishaoPanic"}},
	{"a view meets what it cannot apply", []string{
		`chuishao_view_stopped{view="v"} 0x10 1x10`, `chuishao_view_lag_seconds{view="v"} 0x10 10+10x10`, `chuishao_view_position{view="v"} 0+600x10 6000x10`,
	}, 15 * time.Minute, []string{"ChuishaoViewStopped"}},
	{"a view is built anew", []string{
		`chuishao_view_lag_seconds{view="v"} 3000000-60x30`, `chuishao_view_position{view="v"} 0+50000x30`,
	}, 25 * time.Minute, []string{"ChuishaoViewLag"}},
	{"a view does not move", []string{
		`chuishao_view_lag_seconds{view="v"} 0+60x40`, `chuishao_view_position{view="v"} 600x40`,
	}, 30 * time.Minute, []string{"ChuishaoViewLag", "ChuishaoViewStuck"}},
	{"no timer fires", []string{`chuishao_timers_lag_seconds 0+60x20`}, 15 * time.Minute, []string{"ChuishaoTimersLag"}},
	{"a timer is refused", []string{`chuishao_timers_refused_total{timer="t"} 0x10 1x10`}, 15 * time.Minute, []string{"ChuishaoTimersRefused"}},
	{"the bus is slow", []string{
		`chuishao_relay_lag_seconds 100x30`, `chuishao_relay_position 0+600x30`,
	}, 25 * time.Minute, []string{"ChuishaoRelayLag"}},
	{"the bus is gone", []string{
		`chuishao_relay_lag_seconds 0+60x40`, `chuishao_relay_position 600x40`,
	}, 30 * time.Minute, []string{"ChuishaoRelayLag", "ChuishaoRelayStuck"}},
	{"the certificate was not renewed", []string{`chuishao_certificate_expiry_timestamp_seconds 1200000x120`}, 2 * time.Hour, []string{"ChuishaoCertificateEnding"}},
	{"the certificate is of last month", []string{`chuishao_certificate_expiry_timestamp_seconds 5200000x120`}, 2 * time.Hour, nil},
	{"connections leak", []string{`process_open_fds 900x20`, `process_max_fds 1024x20`}, 15 * time.Minute, []string{"ChuishaoFilesRunningOut"}},
	{"the disk fills", []string{
		`kubelet_volume_stats_available_bytes{persistentvolumeclaim="data-dispatcher-0"} 12-0.005x480`,
		`kubelet_volume_stats_capacity_bytes{persistentvolumeclaim="data-dispatcher-0"} 50x480`,
	}, 8 * time.Hour, []string{"ChuishaoDiskFilling"}},
	{"the disk is rather full, and stays so", []string{
		`kubelet_volume_stats_available_bytes{persistentvolumeclaim="data-dispatcher-0"} 10x480`,
		`kubelet_volume_stats_capacity_bytes{persistentvolumeclaim="data-dispatcher-0"} 50x480`,
	}, 8 * time.Hour, nil},
	{"the disk is nearly full", []string{
		`kubelet_volume_stats_available_bytes{persistentvolumeclaim="data-dispatcher-0"} 2x20`,
		`kubelet_volume_stats_capacity_bytes{persistentvolumeclaim="data-dispatcher-0"} 50x20`,
	}, 15 * time.Minute, []string{"ChuishaoDiskNearlyFull"}},
}

func TestAlertsFireWhenTheyShouldAndOnlyThen(t *testing.T) {
	t.Parallel()
	fired := map[string]bool{}
	for _, c := range alertCases {
		t.Run(c.name, func(t *testing.T) {
			got := firing(t, c.series, c.last)
			want := slices.Sorted(slices.Values(c.fire))
			if !slices.Equal(got, want) {
				t.Errorf("after %v got %v, want %v", c.last, got, want)
			}
			for _, name := range got {
				fired[name] = true
			}
		})
	}
	for name := range alerts(t) {
		if !fired[name] {
			t.Errorf("no case makes %s fire", name)
		}
	}
}

// firing plays the series and the rules minute by minute, as Prometheus would, and gives the alerts that fire at the end. Every series is of one pod.
func firing(t *testing.T, series []string, last time.Duration) []string {
	t.Helper()
	pod := `job="chuishao",instance="i",namespace="c",pod="p"`
	load := "load 1m\n"
	if !strings.HasPrefix(series[0], "chuishao_build_info _") {
		load += "  chuishao_build_info{" + pod + `,version="1"} 1x600` + "\n"
	}
	for _, s := range series {
		name, values, _ := strings.Cut(s, " ")
		name, own, _ := strings.Cut(strings.TrimSuffix(name, "}"), "{")
		all := own
		for label := range strings.SplitSeq(pod, ",") {
			if key, _, _ := strings.Cut(label, "="); !strings.Contains(","+own, ","+key+"=") {
				all = strings.TrimPrefix(all+","+label, ",")
			}
		}
		load += "  " + name + "{" + all + "} " + values + "\n"
	}
	store := promqltest.LoadedStorage(t, load)
	defer func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1e6, Timeout: time.Minute, EnableAtModifier: true, EnableNegativeOffset: true})
	defer engine.Close()

	groups := rules(t).Groups
	since := map[string]time.Time{} // of an alert with its labels, when it began to hold
	var now []string
	for at := time.Unix(0, 0).UTC(); at.Sub(time.Unix(0, 0)) <= last; at = at.Add(time.Minute) {
		now = nil
		holds := map[string]bool{}
		for _, g := range groups {
			for _, r := range g.Rules {
				result := ask(t, engine, store, r.Expr, at)
				if r.Record != "" {
					record(t, store, r, result, at)
					continue
				}
				for _, one := range result {
					key := r.Alert + one.Metric.String()
					holds[key] = true
					if _, ok := since[key]; !ok {
						since[key] = at
					}
					if at.Sub(since[key]) >= time.Duration(r.For) {
						now = append(now, r.Alert)
					}
				}
			}
		}
		for key := range since {
			if !holds[key] {
				delete(since, key)
			}
		}
	}
	slices.Sort(now)
	return slices.Compact(now)
}

func ask(t *testing.T, engine *promql.Engine, store *teststorage.TestStorage, expr string, at time.Time) promql.Vector {
	t.Helper()
	query, err := engine.NewInstantQuery(t.Context(), store, nil, expr, at)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	defer query.Close()
	result := query.Exec(t.Context())
	vector, err := result.Vector()
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	return slices.Clone(vector)
}

func record(t *testing.T, store *teststorage.TestStorage, r rulefmt.Rule, result promql.Vector, at time.Time) {
	t.Helper()
	if len(result) == 0 {
		return
	}
	to := store.Appender(context.WithoutCancel(t.Context()))
	for _, one := range result {
		named := labels.NewBuilder(one.Metric).Set(labels.MetricName, r.Record).Labels()
		if _, err := to.Append(0, named, at.UnixMilli(), one.F); err != nil {
			t.Fatalf("%s: %v", r.Record, err)
		}
	}
	if err := to.Commit(); err != nil {
		t.Fatalf("%s: %v", r.Record, err)
	}
}
