package app

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/eventstore"
)

func TestTimersThatWereRefusedAreCountedByTheirName(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	m, err := newMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{metrics: m}
	n.Timers().OnRefused("return_window")
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counted, series := map[string]float64{}, 0
	for _, f := range families {
		if f.GetName() != "chuishao_timers_refused_total" {
			continue
		}
		for _, s := range f.GetMetric() {
			series++
			if n := s.GetCounter().GetValue(); n > 0 {
				counted[s.GetLabel()[0].GetName()+"="+s.GetLabel()[0].GetValue()] = n
			}
		}
	}
	if series != len(pb.TicketTimer_name)-1+len(dispatch.DueNames()) || len(counted) != 1 || counted["timer=return_window"] != 1 {
		t.Errorf("got %v in %d series, want one of return_window, and a series for each timer", counted, series)
	}
}

func TestABusThatHasAllDoesNotLagAfterARestart(t *testing.T) {
	t.Parallel()
	r := newRelayed()
	lag := func(known eventstore.Position) float64 {
		t.Helper()
		registry := prometheus.NewRegistry()
		registry.MustRegister(prometheus.CollectorFunc(func(to chan<- prometheus.Metric) { r.collect(to, known) }))
		families, err := registry.Gather()
		if err != nil || len(families) != 2 || families[0].GetName() != "chuishao_relay_lag_seconds" {
			t.Fatal(families, err)
		}
		return families[0].GetMetric()[0].GetGauge().GetValue()
	}
	lag(10) // what it is counted from
	if got := lag(10); got == 0 {
		t.Error("as long as nothing is known of the bus it does not lag")
	}
	r.progressed(10, time.Time{})
	for range 2 {
		if got := lag(10); got != 0 {
			t.Errorf("the bus has all and lags by %g", got)
		}
	}
	r.progressed(11, time.Now().Add(-time.Minute))
	if got := lag(12); got < 59 {
		t.Errorf("what follows an event of a minute ago is not on the bus: %g", got)
	}
	r.progressed(11, time.Time{}) // begun again, which is no progress
	if got := lag(12); got < 59 {
		t.Errorf("a relay that only begins again and again lags by %g", got)
	}
}

func TestAProcessWithoutABusSaysNothingOfIt(t *testing.T) {
	t.Parallel()
	o := Options{Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()}
	n, err := OpenForViews(t.Context(), t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	families, err := o.Metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	views := false
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "chuishao_relay_") {
			t.Errorf("a projector tells %s, whose least of all processes counts", f.GetName())
		}
		views = views || f.GetName() == "chuishao_view_lag_seconds"
	}
	if !views {
		t.Error("it tells nothing of its views")
	}
}
