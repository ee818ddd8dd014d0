package rpc

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// Metrics count what is called. All labels are from closed sets. A nil *Metrics counts nothing.
type Metrics struct {
	commands *prometheus.CounterVec
	queries  *prometheus.CounterVec
	duration *prometheus.HistogramVec
	reveals  *prometheus.CounterVec
	panics   prometheus.Counter

	methods map[string]*methodMetrics // by full method; those not here are not counted
}

// methodMetrics are a method's own, looked up once.
type methodMetrics struct {
	byCode   [codes.Unauthenticated + 1]prometheus.Counter
	duration prometheus.Observer // nil for queries and streams
}

// NewMetrics makes the metrics of a server and registers them.
func NewMetrics(to prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		commands: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "chuishao_commands_total",
			Help: "Commands that were answered, by outcome. Of a bulk stream every message counts as a command.",
		}, []string{"command", "code"}),
		queries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "chuishao_queries_total",
			Help: "Queries and streams that ended, by outcome.",
		}, []string{"query", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "chuishao_command_duration_seconds",
			Help:    "From a command's arrival to its durable outcome.",
			Buckets: []float64{.001, .0025, .005, .01, .02, .05, .1, .25, .5, 1, 2.5, 10},
		}, []string{"command"}),
		reveals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "chuishao_personal_data_reveals_total",
			Help: "Petitioners' identities that were shown in clear, by purpose.",
		}, []string{"purpose"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "chuishao_panics_total",
			Help: "Calls that ended in a panic, which is always a fault of this program.",
		}),
		methods: map[string]*methodMetrics{},
	}
	for _, c := range []prometheus.Collector{m.commands, m.queries, m.duration, m.reveals, m.panics} {
		if err := to.Register(c); err != nil {
			return nil, err
		}
	}
	for purpose := range pb.RevealPurpose_name {
		if purpose != 0 {
			m.reveals.WithLabelValues(purposeName(pb.RevealPurpose(purpose)))
		}
	}
	for _, file := range contract {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				m.add(service, service.Methods().Get(j))
			}
		}
	}
	return m, nil
}

// contract are the files of the contract that have services.
var contract = []protoreflect.FileDescriptor{
	pb.File_chuishao_v1_ticket_proto, pb.File_chuishao_v1_whistle_proto, pb.File_chuishao_v1_registry_proto,
	pb.File_chuishao_v1_view_proto, pb.File_chuishao_v1_audit_proto, pb.File_chuishao_v1_import_proto, pb.File_chuishao_v1_wall_proto,
	pb.File_chuishao_v1_admission_proto, pb.File_chuishao_v1_listing_proto, pb.File_chuishao_v1_review_proto,
}

func (m *Metrics) add(service protoreflect.ServiceDescriptor, method protoreflect.MethodDescriptor) {
	name := string(method.Name())
	mm := new(methodMetrics)
	counters := m.queries
	if isCommand(method) {
		counters = m.commands
		mm.duration = m.duration.WithLabelValues(name)
	}
	for code := range mm.byCode {
		mm.byCode[code] = counters.WithLabelValues(name, codes.Code(code).String())
	}
	m.methods["/"+string(service.FullName())+"/"+name] = mm
}

// isCommand tells a method that records something: its request, or what each message of its stream holds, has a request id.
func isCommand(method protoreflect.MethodDescriptor) bool {
	in := method.Input()
	if in.Fields().ByName("request_id") != nil {
		return true
	}
	for i := range in.Fields().Len() {
		if inner := in.Fields().Get(i).Message(); inner != nil && inner.Fields().ByName("request_id") != nil {
			return true
		}
	}
	return false
}

// done counts a call. Of a bulk stream only its messages are counted, by message.
func (m *Metrics) done(method string, code codes.Code, began time.Time) {
	if m == nil || isBulk(method) {
		return
	}
	m.message(method, code, began)
}

// message counts a call, or a message of a bulk stream.
func (m *Metrics) message(method string, code codes.Code, began time.Time) {
	if m == nil {
		return
	}
	mm := m.methods[method]
	if mm == nil || int(code) >= len(mm.byCode) {
		return
	}
	mm.byCode[code].Inc()
	if mm.duration != nil {
		mm.duration.Observe(time.Since(began).Seconds())
	}
}

func (m *Metrics) revealed(purpose pb.RevealPurpose) {
	if m != nil {
		m.reveals.WithLabelValues(purposeName(purpose)).Inc()
	}
}

func purposeName(purpose pb.RevealPurpose) string {
	return strings.ToLower(rule.Name(purpose))
}

func (m *Metrics) panicked() {
	if m != nil {
		m.panics.Inc()
	}
}

func isBulk(method string) bool {
	return method == pb.TicketService_IntakeTickets_FullMethodName || method == pb.ImportService_ImportRecords_FullMethodName
}
