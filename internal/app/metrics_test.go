package app

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
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
