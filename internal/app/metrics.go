package app

import (
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/projector"
)

// metrics count what one would page for.
type metrics struct {
	registry  *prometheus.Registry
	group     prometheus.Histogram
	commit    prometheus.Histogram
	events    prometheus.Counter
	batch     prometheus.Histogram
	fired     *prometheus.CounterVec
	refused   *prometheus.CounterVec
	overdue   prometheus.Gauge
	lag       *prometheus.Desc
	position  *prometheus.Desc
	stopped   *prometheus.Desc
	projector projector.Progress
	relay     *relayed
	relays    bool // there is a bus
}

func newMetrics(to *prometheus.Registry) (*metrics, error) {
	m := &metrics{
		registry: to,
		group: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "chuishao_append_group_size", Help: "Appends that shared one durable commit.", Buckets: prometheus.ExponentialBuckets(1, 2, 12),
		}),
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "chuishao_append_duration_seconds", Help: "Time of one durable commit of the history.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
		events: prometheus.NewCounter(prometheus.CounterOpts{Name: "chuishao_view_events_total", Help: "Events that views have taken in."}),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "chuishao_view_batch_duration_seconds", Help: "Time of one transaction of views.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}),
		fired:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "chuishao_timers_fired_total", Help: "Timers that fired here."}, []string{"timer"}),
		refused:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "chuishao_timers_refused_total", Help: "Timers that came due and were refused here."}, []string{"timer"}),
		overdue:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "chuishao_timers_lag_seconds", Help: "For how long the oldest timer that is due has waited to fire; 0 when none is due."}),
		lag:      prometheus.NewDesc("chuishao_view_lag_seconds", "Time since the oldest event was recorded that the view has not seen; 0 when it has seen all.", []string{"view"}, nil),
		position: prometheus.NewDesc("chuishao_view_position", "Log position the view has seen.", []string{"view"}, nil),
		stopped:  prometheus.NewDesc("chuishao_view_stopped", "1 if the view stopped at an event it cannot apply.", []string{"view"}, nil),
	}
	m.relay = newRelayed()
	names := dispatch.DueNames()
	for timer := range pb.TicketTimer_name {
		if timer != 0 {
			names = append(names, dispatch.TimerName(pb.TicketTimer(timer)))
		}
	}
	for _, name := range names {
		m.fired.WithLabelValues(name)
		m.refused.WithLabelValues(name)
	}
	if to == nil {
		return m, nil
	}
	version := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		version = info.Main.Version
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "chuishao_build_info", Help: "1, labelled with what was built.", ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	for _, c := range []prometheus.Collector{
		m.group, m.commit, m.events, m.batch, m.fired, m.refused, m.overdue, build, m,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := to.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) committed(group int, took time.Duration) {
	m.group.Observe(float64(group))
	m.commit.Observe(took.Seconds())
}

func (m *metrics) applied(_ []string, events int, took time.Duration) {
	m.events.Add(float64(events))
	m.batch.Observe(took.Seconds())
}

func (m *metrics) timerFired(name string) { m.fired.WithLabelValues(name).Inc() }

func (m *metrics) timerRefused(name string) { m.refused.WithLabelValues(name).Inc() }

func (m *metrics) timersLooked(lag time.Duration) { m.overdue.Set(lag.Seconds()) }

// watch tells of the projector's views from now on. It is called before anything is collected.
func (m *metrics) watch(p projector.Progress) { m.projector = p }

// Describe implements prometheus.Collector.
func (m *metrics) Describe(to chan<- *prometheus.Desc) {
	to <- m.lag
	to <- m.position
	to <- m.stopped
	to <- m.relay.lag
	to <- m.relay.pos
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(to chan<- prometheus.Metric) {
	if m.projector == nil {
		return
	}
	var known eventstore.Position
	for _, s := range m.projector.Status() {
		known = max(known, s.Position)
		stopped := 0.0
		if s.Stopped != nil {
			stopped = 1
		}
		to <- prometheus.MustNewConstMetric(m.lag, prometheus.GaugeValue, s.Lag.Seconds(), s.View)
		to <- prometheus.MustNewConstMetric(m.position, prometheus.GaugeValue, float64(s.Position), s.View)
		to <- prometheus.MustNewConstMetric(m.stopped, prometheus.GaugeValue, stopped, s.View)
	}
	if m.relays {
		// A process without a bus says nothing: its 0 would be the least of all.
		m.relay.collect(to, known)
	}
}
