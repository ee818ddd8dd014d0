package rpc

import (
	"sync/atomic"

	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// The services under which probes ask for health, besides the empty one, which is as "readiness".
const (
	Liveness  = "liveness"
	Readiness = "readiness"
)

// Health answers the probes: alive from the start, ready when told so.
type Health struct {
	*health.Server
	ready *atomic.Bool
}

// NewHealth is alive and not ready.
func NewHealth() Health {
	h := Health{health.NewServer(), new(atomic.Bool)}
	h.SetServingStatus(Liveness, healthpb.HealthCheckResponse_SERVING)
	h.SetReady(false)
	return h
}

// SetReady says whether calls should be sent here.
func (h Health) SetReady(ready bool) {
	h.ready.Store(ready)
	is := healthpb.HealthCheckResponse_NOT_SERVING
	if ready {
		is = healthpb.HealthCheckResponse_SERVING
	}
	h.SetServingStatus("", is)
	h.SetServingStatus(Readiness, is)
}

// Ready is what SetReady said last.
func (h Health) Ready() bool { return h.ready.Load() }
