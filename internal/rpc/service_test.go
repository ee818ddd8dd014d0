package rpc

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/principal"
)

// acting is a context of a development actor.
func acting(ctx context.Context, unit, roles string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "chuishao-dev-actor", "person=p/"+roles+";roles="+roles+";unit="+unit)
}

func openCity(t testing.TB) (*dispatchtest.City, *grpc.ClientConn, *prometheus.Registry) {
	t.Helper()
	city := dispatchtest.Open(t)
	counted := prometheus.NewRegistry()
	metrics, err := NewMetrics(counted)
	if err != nil {
		t.Fatal(err)
	}
	c := Config{DevActor: true, Dispatcher: city.Dispatcher, Health: NewHealth(), Metrics: metrics}
	return city, serve(t, c, c.register), counted
}

func matter(requestID string) *pb.ReportTicketRequest {
	return &pb.ReportTicketRequest{
		RequestId: requestID, Channel: pb.Channel_CHANNEL_HOTLINE, Kind: pb.MatterKind_MATTER_KIND_HELP, Area: dispatchtest.Community, Category: "0302",
		Particulars: &pb.Particulars{
			Title: "路灯不亮", Text: "小区门口路灯三天不亮", Place: "东亭街道春笋中路", Cause: "线路老化", Course: "三天前开始",
			Petitioner: &pb.Petitioner{Name: "张三丰", Phone: "13812345678", CallbackWanted: true},
		},
	}
}

func TestATicketIsReportedSeenAndAccepted(t *testing.T) {
	t.Parallel()
	_, conn, counted := openCity(t)
	tickets := pb.NewTicketServiceClient(conn)
	agent := acting(t.Context(), dispatchtest.CityCentre, "AGENT,DISPATCHER")
	auditor := acting(t.Context(), dispatchtest.CityCentre, "AUDITOR")
	elsewhere := acting(t.Context(), dispatchtest.OtherStreet, "DISPATCHER")

	reported, err := tickets.ReportTicket(agent, matter("r-1"))
	if err != nil {
		t.Fatal(err)
	}
	if reported.State != pb.TicketState_TICKET_STATE_REPORTED || reported.Limits.GetAcceptBy() == nil || reported.Repeated {
		t.Errorf("reported: %v", reported)
	}
	again, err := tickets.ReportTicket(agent, matter("r-1"))
	if err != nil || !again.Repeated || again.Name != reported.Name || again.Etag != reported.Etag || again.ConsistencyToken != reported.ConsistencyToken {
		t.Errorf("the same request again: %v, %v; want %v", again, err, reported)
	}
	other := matter("r-1")
	other.Area = dispatchtest.Street
	_, err = tickets.ReportTicket(agent, other)
	if info, _ := details(t, err, codes.AlreadyExists); info.Reason != "REQUEST_ID_REUSED" {
		t.Errorf("another request under the same id: %v", err)
	}

	seen, err := tickets.GetTicket(agent, &pb.GetTicketRequest{Name: reported.Name})
	if err != nil {
		t.Fatal(err)
	}
	if text := protojson.Format(seen); strings.Contains(text, "张三丰") || strings.Contains(text, "13812345678") || seen.Particulars.GetTitle() != "路灯不亮" {
		t.Errorf("the ticket shows too much or too little: %s", text)
	}
	if _, err := tickets.GetTicket(auditor, &pb.GetTicketRequest{Name: reported.Name}); err != nil {
		t.Errorf("an auditor asks: %v", err)
	}
	nobodys := "tickets/" + id
	for _, c := range []struct {
		who    context.Context
		name   string
		code   codes.Code
		reason string
	}{
		{agent, nobodys, codes.NotFound, "NOT_FOUND"},
		{auditor, nobodys, codes.NotFound, "NOT_FOUND"},
		{elsewhere, nobodys, codes.PermissionDenied, "OUT_OF_SCOPE"},
		{elsewhere, reported.Name, codes.PermissionDenied, "OUT_OF_SCOPE"},
	} {
		_, err := tickets.GetTicket(c.who, &pb.GetTicketRequest{Name: c.name})
		if info, _ := details(t, err, c.code); info.Reason != c.reason {
			t.Errorf("%s: %v; want %s", c.name, err, c.reason)
		}
	}
	_, err = tickets.AcceptTicket(elsewhere, &pb.AcceptTicketRequest{Name: nobodys, RequestId: "a-0"})
	details(t, err, codes.PermissionDenied)

	_, err = tickets.AcceptTicket(agent, &pb.AcceptTicketRequest{Name: reported.Name, RequestId: "a-1", Etag: `"7"`})
	if info, _ := details(t, err, codes.Aborted); info.Reason != "VERSION_CONFLICT" {
		t.Errorf("another version's etag: %v", err)
	}
	accepted, err := tickets.AcceptTicket(agent, &pb.AcceptTicketRequest{Name: reported.Name, RequestId: "a-1", Etag: reported.Etag})
	if err != nil || accepted.State != pb.TicketState_TICKET_STATE_ACCEPTED {
		t.Fatalf("accept: %v, %v", accepted, err)
	}
	_, err = tickets.AcceptTicket(agent, &pb.AcceptTicketRequest{Name: reported.Name, RequestId: "a-2"})
	if info, _ := details(t, err, codes.FailedPrecondition); info.Reason != "WRONG_STATE" || !strings.HasPrefix(info.Metadata["decided_by"], "TicketAccepted@2") {
		t.Errorf("accept twice: %v", info)
	}

	revealed, err := tickets.RevealIdentity(agent, &pb.RevealIdentityRequest{Name: reported.Name, RequestId: "v-1", Purpose: pb.RevealPurpose_REVEAL_PURPOSE_CONTACT})
	if err != nil || revealed.Petitioner.GetName() != "张三丰" {
		t.Errorf("reveal: %v, %v", revealed, err)
	}
	audit := pb.NewAuditServiceClient(conn)
	types := history(t, audit, auditor, &pb.StreamHistoryRequest{Name: reported.Name})
	if want := "[TicketReported TicketAccepted CommandRefused IdentityRevealed]"; fmt.Sprint(types) != want {
		t.Errorf("the ticket's story is %v; want %s", types, want)
	}
	if types := history(t, audit, auditor, &pb.StreamHistoryRequest{Area: dispatchtest.Street, After: reported.ConsistencyToken}); len(types) == 0 || types[0] != "TicketAccepted" {
		t.Errorf("the street's history after the report: %v", types)
	}
	if types := history(t, audit, auditor, &pb.StreamHistoryRequest{Area: dispatchtest.OtherStreet}); len(types) != 0 {
		t.Errorf("another street's history: %v", types)
	}
	before, err := audit.GetTicketAsOf(auditor, &pb.GetTicketAsOfRequest{Name: reported.Name, KnownAt: reported.ConsistencyToken})
	if err != nil || before.State != pb.TicketState_TICKET_STATE_REPORTED {
		t.Errorf("as known before: %v, %v", before.GetState(), err)
	}

	_, err = audit.GetTicketAsOf(auditor, &pb.GetTicketAsOfRequest{Name: reported.Name, KnownAt: Token(0)})
	details(t, err, codes.NotFound)

	if _, err := audit.EraseSubject(auditor, &pb.EraseSubjectRequest{Name: reported.Name, RequestId: "e-1", OrderRef: "order 1"}); err != nil {
		t.Errorf("erase: %v", err)
	}
	if seen, err = tickets.GetTicket(agent, &pb.GetTicketRequest{Name: reported.Name}); err != nil || !seen.Erased || seen.Particulars != nil {
		t.Errorf("after the erasure: %v, %v", seen, err)
	}
	_, err = tickets.RevealIdentity(agent, &pb.RevealIdentityRequest{Name: reported.Name, RequestId: "v-2", Purpose: pb.RevealPurpose_REVEAL_PURPOSE_CONTACT})
	details(t, err, codes.FailedPrecondition)

	for name, want := range map[string]float64{
		`chuishao_commands_total command=ReportTicket code=OK`:            2,
		`chuishao_commands_total command=ReportTicket code=AlreadyExists`: 1,
		`chuishao_personal_data_reveals_total purpose=contact`:            1,
	} {
		if got := counter(t, counted, name); got != want {
			t.Errorf("%s is %v; want %v", name, got, want)
		}
	}
}

func TestARefusalTellsOutsidersNothing(t *testing.T) {
	t.Parallel()
	_, conn, _ := openCity(t)
	tickets, whistles := pb.NewTicketServiceClient(conn), pb.NewWhistleServiceClient(conn)
	reported, err := tickets.ReportTicket(acting(t.Context(), dispatchtest.CityCentre, "AGENT"), matter("r-1"))
	if err != nil {
		t.Fatal(err)
	}
	nobodys := "tickets/" + id
	for _, roles := range []string{"AGENT,DISPATCHER", "STREET_LEADER", "CALLER", "SUPERVISOR", "GRID_WORKER", "CITIZEN"} {
		ctx := acting(t.Context(), dispatchtest.OtherStreet, roles)
		for command, do := range map[string]func(name string) error{
			"accept": func(name string) error {
				return refusalOf(tickets.AcceptTicket(ctx, &pb.AcceptTicketRequest{Name: name, RequestId: "a"}))
			},
			"accept at a version": func(name string) error {
				return refusalOf(tickets.AcceptTicket(ctx, &pb.AcceptTicketRequest{Name: name, RequestId: "b", Etag: `"7"`}))
			},
			"sign": func(name string) error {
				return refusalOf(tickets.SignTicket(ctx, &pb.SignTicketRequest{Name: name, RequestId: "c"}))
			},
			"verify": func(name string) error {
				return refusalOf(tickets.VerifyResult(ctx, &pb.VerifyResultRequest{Name: name, RequestId: "d"}))
			},
			"call back": func(name string) error {
				return refusalOf(tickets.RecordCallback(ctx, &pb.RecordCallbackRequest{Name: name, RequestId: "e"}))
			},
			"close with the report's request id": func(name string) error {
				return refusalOf(tickets.CloseTicket(ctx, &pb.CloseTicketRequest{Name: name, RequestId: "r-1"}))
			},
			"reveal": func(name string) error {
				return refusalOf(tickets.RevealIdentity(ctx, &pb.RevealIdentityRequest{Name: name, RequestId: "f", Purpose: pb.RevealPurpose_REVEAL_PURPOSE_CONTACT}))
			},
			"blow": func(name string) error {
				return refusalOf(whistles.BlowWhistle(ctx, &pb.BlowWhistleRequest{
					RequestId: "g", Kind: pb.WhistleKind_WHISTLE_KIND_ROUTINE, CallItem: "0701", Tickets: []string{name},
				}))
			},
		} {
			theirs, none := status.Convert(do(reported.Name)), status.Convert(do(nobodys))
			alike := func(a, b any) bool { return proto.Equal(a.(proto.Message), b.(proto.Message)) }
			if theirs.Code() != codes.PermissionDenied || theirs.Message() != none.Message() || !slices.EqualFunc(theirs.Details(), none.Details(), alike) {
				t.Errorf("%s by %s: %v, of nothing %v; want them alike", command, roles, theirs, none)
			}
		}
	}
	auditor := acting(t.Context(), dispatchtest.CityCentre, "AUDITOR")
	if types := history(t, pb.NewAuditServiceClient(conn), auditor, &pb.StreamHistoryRequest{Name: reported.Name}); len(types) < 20 {
		t.Errorf("beside the ticket stands %v; want the refusals", types)
	}
	_, err = tickets.AcceptTicket(acting(t.Context(), dispatchtest.OtherStreet, "AGENT"), &pb.AcceptTicketRequest{Name: "7", RequestId: "a"})
	if info, _ := details(t, err, codes.InvalidArgument); info.Reason != "INVALID_NAME" {
		t.Errorf("a malformed name: %v", err)
	}
}

func history(t *testing.T, client pb.AuditServiceClient, ctx context.Context, r *pb.StreamHistoryRequest) (types []string) {
	t.Helper()
	stream, err := client.StreamHistory(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	for {
		e, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return types
		}
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(e.Json, "sealed") {
			t.Errorf("what is sealed stands in the JSON: %s", e.Json)
		}
		types = append(types, e.Type)
	}
}

// counter is the value of a counter, "name label=value label=value".
func counter(t *testing.T, from prometheus.Gatherer, what string) float64 {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	name, labels, _ := strings.Cut(what, " ")
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
	next:
		for _, m := range f.GetMetric() {
			for want := range strings.FieldsSeq(labels) {
				found := false
				for _, l := range m.GetLabel() {
					found = found || l.GetName()+"="+l.GetValue() == want
				}
				if !found {
					continue next
				}
			}
			return m.GetCounter().GetValue()
		}
	}
	return 0
}

func TestBulkIntakeAnswersInOrderAndGoesOnAfterAFailure(t *testing.T) {
	t.Parallel()
	_, conn, _ := openCity(t)
	stream, err := pb.NewTicketServiceClient(conn).IntakeTickets(acting(t.Context(), dispatchtest.CityCentre, "AGENT"))
	if err != nil {
		t.Fatal(err)
	}
	const n = 1000
	sent := make(chan error, 1)
	go func() {
		for i := range n {
			m := matter(fmt.Sprintf("bulk-%d", i))
			switch i % 100 {
			case 3:
				m.RequestId = "" // its shape is wrong
			case 7:
				m.Area = "nowhere" // a rule refuses it
			case 11:
				m.RequestId = fmt.Sprintf("bulk-%d", i-1) // the one before, again
			}
			if err := stream.Send(&pb.IntakeTicketsRequest{Sequence: uint64(i), Report: m}); err != nil {
				sent <- err
				return
			}
		}
		sent <- stream.CloseSend()
	}()
	for i := range n {
		answer, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if answer.Sequence != uint64(i) {
			t.Fatalf("answer %d is for message %d", i, answer.Sequence)
		}
		failure, want := answer.GetFailure(), ""
		switch i % 100 {
		case 3:
			want = "MISSING_FIELD report.request_id"
		case 7:
			want = "UNKNOWN_AREA report.area"
		case 11:
			if !answer.GetAnswer().GetRepeated() {
				t.Errorf("message %d: %v; want the answer before, repeated", i, answer)
			}
		}
		if got := strings.TrimSpace(failure.GetReason() + " " + failure.GetField()); got != want {
			t.Errorf("message %d: %v; want %q", i, answer, want)
		}
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last answer: %v; want the end", err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

func TestImportsAreAnsweredAndChangeNothingTheSecondTime(t *testing.T) {
	t.Parallel()
	_, conn, _ := openCity(t)
	run := func() (recorded, unchanged, failed int) {
		stream, err := pb.NewImportServiceClient(conn).ImportRecords(acting(t.Context(), dispatchtest.CityCentre, "CONNECTED_SYSTEM"))
		if err != nil {
			t.Fatal(err)
		}
		sent := make(chan error, 1)
		go func() {
			for i := range 300 {
				r := &pb.ImportRecordRequest{
					RequestId: fmt.Sprintf("import/%d", i), Source: "test", SourceRef: fmt.Sprint(i), OccurredAt: year(2020), Channel: pb.Channel_CHANNEL_IMPORT,
				}
				if i == 17 {
					r.OccurredAt = year(9999)
				}
				if err := stream.Send(&pb.ImportRecordsRequest{Sequence: uint64(i), Record: r}); err != nil {
					sent <- err
					return
				}
			}
			sent <- stream.CloseSend()
		}()
		for {
			answer, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case answer.GetFailure() != nil:
				failed++
				if answer.GetFailure().Field != "record.occurred_at" || answer.Sequence != 17 {
					t.Errorf("failed: %v", answer)
				}
			case answer.GetAnswer().GetUnchanged():
				unchanged++
			default:
				recorded++
			}
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
		return recorded, unchanged, failed
	}
	if r, u, f := run(); r != 299 || u != 0 || f != 1 {
		t.Errorf("first: %d recorded, %d unchanged, %d failed; want 299, 0, 1", r, u, f)
	}
	if r, u, f := run(); r != 0 || u != 299 || f != 1 {
		t.Errorf("second: %d recorded, %d unchanged, %d failed; want 0, 299, 1", r, u, f)
	}
}

func TestTheRegistryIsLoadedWholeAndListedByPages(t *testing.T) {
	t.Parallel()
	city, conn, _ := openCity(t)
	client := pb.NewRegistryServiceClient(conn)
	ctx := acting(t.Context(), dispatchtest.CityCentre, "AGENT")

	got, err := client.GetRegistry(ctx, &pb.GetRegistryRequest{})
	if err != nil || got.Version != "wuxi-1" || int(got.Areas) != len(city.Registry().Areas()) {
		t.Fatalf("registry: %v, %v", got, err)
	}
	q := &pb.ListAreasRequest{PageSize: 7, Ancestor: dispatchtest.District}
	seen := map[string]bool{}
	for {
		page, err := client.ListAreas(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range page.Areas {
			if seen[a.Code] || a.Code == dispatchtest.District {
				t.Errorf("area %s comes twice or is not below", a.Code)
			}
			seen[a.Code] = true
		}
		if page.NextPageToken == "" {
			break
		}
		q.PageToken, q.PageSize = page.NextPageToken, 900
	}
	if !seen[dispatchtest.Community] || seen[dispatchtest.OtherStreet] {
		t.Errorf("below the district: %d areas, which are the wrong ones", len(seen))
	}
	first, err := client.ListAreas(ctx, &pb.ListAreasRequest{PageSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []*pb.ListAreasRequest{
		{PageToken: first.NextPageToken, Level: "street"}, {PageToken: "x"}, {PageToken: "AAAAAAAAAAAA"},
	} {
		_, err := client.ListAreas(ctx, bad)
		if info, _ := details(t, err, codes.InvalidArgument); info.Metadata["field"] != "page_token" {
			t.Errorf("%v: %v", bad, err)
		}
	}
	units, err := client.ListUnits(ctx, &pb.ListUnitsRequest{Ancestor: dispatchtest.District, PageSize: 1000})
	if err != nil || len(units.Units) == 0 {
		t.Errorf("units: %v, %v", units, err)
	}
	if items, err := client.ListCallItems(ctx, &pb.ListCallItemsRequest{PageSize: 30}); err != nil || len(items.CallItems) != 30 || items.NextPageToken == "" || items.Version == "" {
		t.Errorf("got %d call items, %v", len(items.GetCallItems()), err)
	} else if rest, err := client.ListCallItems(ctx, &pb.ListCallItemsRequest{PageSize: 30, PageToken: items.NextPageToken}); err != nil || len(rest.CallItems) != 12 || rest.NextPageToken != "" {
		t.Errorf("got %d more call items, %v", len(rest.GetCallItems()), err)
	}
	if items, err := client.ListCallItems(ctx, &pb.ListCallItemsRequest{Class: "12"}); err != nil || len(items.CallItems) != 2 || items.CallItems[0].Code != "1201" {
		t.Errorf("got %v, %v", items, err)
	}
	if bans, err := client.ListBans(ctx, &pb.ListBansRequest{}); err != nil || len(bans.Bans) != 42 || bans.Bans[0].Code != "B01" || bans.Version == "" {
		t.Errorf("got %d bans, %v", len(bans.GetBans()), err)
	}
	if categories, err := client.ListCategories(ctx, &pb.ListCategoriesRequest{}); err != nil || len(categories.Categories) == 0 {
		t.Errorf("categories: %v, %v", categories, err)
	}

	load := func(ctx context.Context, messages ...*pb.LoadRegistryRequest) (*pb.LoadRegistryResponse, error) {
		stream, err := client.LoadRegistry(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			if err := stream.Send(m); err != nil {
				break // CloseAndRecv says why
			}
		}
		return stream.CloseAndRecv()
	}
	piece := &pb.RegistryPiece{Areas: []*pb.Area{{Code: "9", Name: "九", Level: "street", Parent: "8"}}}
	_, err = load(ctx, &pb.LoadRegistryRequest{Version: "v2", Piece: piece})
	details(t, err, codes.PermissionDenied)
	auditor := acting(t.Context(), dispatchtest.CityCentre, "AUDITOR")
	_, err = load(auditor)
	details(t, err, codes.InvalidArgument)
	_, err = load(auditor, &pb.LoadRegistryRequest{Version: "../v2", Piece: piece})
	if info, _ := details(t, err, codes.InvalidArgument); info.Metadata["field"] != "version" {
		t.Errorf("a bad version: %v", err)
	}
	if answer, err := load(auditor, &pb.LoadRegistryRequest{Version: "v2", Piece: piece}); err != nil || len(answer.Faults) == 0 {
		t.Errorf("faults: %v, %v; want some", answer, err)
	}
	if city.Registry().Version() != "wuxi-1" {
		t.Error("a registry with faults took effect")
	}
}

func TestHealthAndReflectionNeedNoCredentials(t *testing.T) {
	t.Parallel()
	health := NewHealth()
	conn := serve(t, Config{Health: health}, echo{}.register)
	client := healthpb.NewHealthClient(conn)
	check := func(service string, want healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		got, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
		if err != nil || got.Status != want {
			t.Errorf("%q: %v, %v; want %v", service, got, err, want)
		}
	}
	check(Liveness, healthpb.HealthCheckResponse_SERVING)
	check(Readiness, healthpb.HealthCheckResponse_NOT_SERVING)
	check("", healthpb.HealthCheckResponse_NOT_SERVING)
	health.SetReady(true)
	check(Readiness, healthpb.HealthCheckResponse_SERVING)
	check("", healthpb.HealthCheckResponse_SERVING)
	_, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: "other"})
	details(t, err, codes.NotFound)

	stream, err := reflectpb.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&reflectpb.ServerReflectionRequest{MessageRequest: &reflectpb.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	if got, err := stream.Recv(); err != nil || len(got.GetListServicesResponse().GetService()) < 4 {
		t.Errorf("services: %v, %v", got, err)
	}
}

func TestCredentialsDecideWhoCalls(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "principals.yaml")
	entry := func(token, rest string) string {
		return "- {person: zhang, unit: \"1\", roles: [AGENT], token_sha256: " + principal.HashToken(token) + rest + "}\n"
	}
	text := "principals:\n" + entry("good", "") + entry("old", ", valid_to: 2020-01-01T00:00:00Z") +
		"- {person: hotline, unit: \"1\", roles: [CONNECTED_SYSTEM], certificate_subject: CN=hotline}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := principal.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := &net.TCPAddr{IP: net.IPv4zero, Port: 1}
	local := serve(t, Config{Principals: file, DevActor: true}, echo{}.register)
	public := serve(t, Config{Principals: file, DevActor: true, Listens: []net.Addr{elsewhere}}, echo{}.register)
	strict := serve(t, Config{Principals: file}, echo{}.register)
	server, client := certificates(t)
	secure := Config{Principals: file, TLS: credentials.NewTLS(server)}
	withCert := serve(t, secure, echo{}.register, grpc.WithTransportCredentials(credentials.NewTLS(client)))
	client = client.Clone()
	client.Certificates = nil
	withoutCert := serve(t, secure, echo{}.register, grpc.WithTransportCredentials(credentials.NewTLS(client)))

	for _, c := range []struct {
		name   string
		conn   *grpc.ClientConn
		md     []string
		reason string
	}{
		{"a token", local, []string{"authorization", "Bearer good"}, ""},
		{"a token, lower case", local, []string{"authorization", "bearer good"}, ""},
		{"a wrong token", local, []string{"authorization", "Bearer bad"}, "CREDENTIALS_UNKNOWN"},
		{"an old token", local, []string{"authorization", "Bearer old"}, "CREDENTIALS_NOT_VALID_NOW"},
		{"another scheme", local, []string{"authorization", "Basic good"}, "CREDENTIALS_UNKNOWN"},
		{"two tokens", local, []string{"authorization", "Bearer good", "authorization", "Bearer good"}, "CREDENTIALS_UNKNOWN"},
		{"nothing", local, nil, "CREDENTIALS_MISSING"},
		{"a development actor", local, []string{"chuishao-dev-actor", devActor}, ""},
		{"a bad development actor", local, []string{"chuishao-dev-actor", "me"}, "CREDENTIALS_UNKNOWN"},
		{"a wrong token and a development actor", local, []string{"authorization", "Bearer bad", "chuishao-dev-actor", devActor}, "CREDENTIALS_UNKNOWN"},
		{"a development actor where others can reach", public, []string{"chuishao-dev-actor", devActor}, "CREDENTIALS_UNKNOWN"},
		{"a development actor where there are none", strict, []string{"chuishao-dev-actor", devActor}, "CREDENTIALS_UNKNOWN"},
		{"a certificate", withCert, nil, ""},
		{"no certificate", withoutCert, nil, "CREDENTIALS_MISSING"},
		{"a token without certificate", withoutCert, []string{"authorization", "Bearer good"}, ""},
	} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), c.md...)
		_, err := pb.NewTicketServiceClient(c.conn).ReportTicket(ctx, &pb.ReportTicketRequest{RequestId: "r"})
		if c.reason == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if info, _ := details(t, err, codes.Unauthenticated); info.Reason != c.reason {
			t.Errorf("%s: %v; want %s", c.name, err, c.reason)
		}
	}
	// Who is not known learns nothing of what is wrong with the message, nor which methods there are.
	_, err = pb.NewTicketServiceClient(strict).ReportTicket(t.Context(), &pb.ReportTicketRequest{})
	details(t, err, codes.Unauthenticated)
	details(t, strict.Invoke(t.Context(), "/a.B/C", &pb.GetTicketRequest{}, &pb.Ticket{}), codes.Unauthenticated)
}

// certificates are those of a server at 127.0.0.1 and of a client named hotline, of one authority.
func certificates(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	issue := func(name string, ca *x509.Certificate) *x509.Certificate {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			IsCA: ca == nil, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}
		if ca == nil {
			ca = template
		}
		der, err := x509.CreateCertificate(rand.Reader, template, ca, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	ca := issue("authority", nil)
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	pair := func(name string) []tls.Certificate {
		return []tls.Certificate{{Certificate: [][]byte{issue(name, ca).Raw}, PrivateKey: key}}
	}
	return &tls.Config{Certificates: pair("server"), ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven},
		&tls.Config{Certificates: pair("hotline"), RootCAs: pool}
}

func TestOneBackupAndOneVerificationAtATime(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	begun, end := make(chan bool), make(chan bool)
	c := Config{
		DevActor: true, Dispatcher: city.Dispatcher,
		Backup: func(context.Context, io.Writer) error { begun <- true; <-end; return nil },
		Verify: func(_ context.Context, _ bool, tell func(*pb.VerifyHistoryResponse) error) error {
			begun <- true
			<-end
			return tell(&pb.VerifyHistoryResponse{Done: true})
		},
	}
	audit := pb.NewAuditServiceClient(serve(t, c, c.register))
	auditor := acting(t.Context(), dispatchtest.CityCentre, "AUDITOR")
	calls := map[string]func() error{
		"backup": func() error {
			stream, err := audit.Backup(auditor, &pb.BackupRequest{})
			if err != nil {
				return err
			}
			_, err = stream.Recv()
			return err
		},
		"verification": func() error {
			stream, err := audit.VerifyHistory(auditor, &pb.VerifyHistoryRequest{})
			if err != nil {
				return err
			}
			for err == nil {
				_, err = stream.Recv()
			}
			return err
		},
	}
	ended := make(chan error, len(calls))
	for _, call := range calls { // one of each: they are not in each other's way
		go func() { ended <- call() }()
		<-begun
	}
	for name, call := range calls {
		info, all := details(t, call(), codes.ResourceExhausted)
		retry := slices.ContainsFunc(all, func(d any) bool { _, ok := d.(*errdetails.RetryInfo); return ok })
		if info.Reason != "BUSY" || !retry {
			t.Errorf("a second %s: %v; want BUSY and when to try again", name, all)
		}
	}
	close(end)
	for range calls {
		if err := <-ended; !errors.Is(err, io.EOF) {
			t.Errorf("the first: %v; want its end", err)
		}
	}
	go func() { ended <- calls["backup"]() }()
	<-begun
	if err := <-ended; !errors.Is(err, io.EOF) {
		t.Errorf("one after the other: %v", err)
	}
}

func TestWhatWasSaidIsReadableWithEachEventAndMasked(t *testing.T) {
	t.Parallel()
	city, conn, _ := openCity(t)
	name := city.Report(t, dispatchtest.Community)
	city.ToHandling(t, name, dispatchtest.Street)
	clerk := dispatchtest.As(dispatchtest.Street, pb.Role_ROLE_STREET_CLERK)
	city.Do(t, clerk, &pb.RecordProgressRequest{Name: name, RequestId: "p", Particulars: &pb.Particulars{Text: "已联系13812345678"}})
	_, whistle, err := city.Whistle(t.Context(), dispatch.Request{Actor: dispatchtest.As(dispatchtest.Street, pb.Role_ROLE_STREET_LEADER), Command: &pb.BlowWhistleRequest{
		RequestId: "blow", Kind: pb.WhistleKind_WHISTLE_KIND_ROUTINE, Tickets: []string{name}, Summons: []*pb.Summons{{Unit: dispatchtest.DistrictUrban}},
		Particulars: &pb.Particulars{Text: "需城管到场，联系13812345678", Petitioner: &pb.Petitioner{Name: "张三丰"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	line, err := pb.NewViewServiceClient(viewed(t, city)).ListTimeline(acting(t.Context(), dispatchtest.Street, "STREET_CLERK"), &pb.ListTimelineRequest{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, e := range line.Entries {
		found = found || e.Type == "ProgressRecorded" && e.Particulars.GetText() == "已联系138****5678"
	}
	if !found {
		t.Errorf("the progress cannot be read: %v", line)
	}
	w, err := pb.NewWhistleServiceClient(conn).GetWhistle(acting(t.Context(), dispatchtest.DistrictUrban, "DEPARTMENT_CLERK"),
		&pb.GetWhistleRequest{Name: "whistles/" + dispatch.ID(whistle.Stream)})
	if err != nil || w.Particulars.GetText() != "需城管到场，联系138****5678" || w.Particulars.Petitioner != nil {
		t.Errorf("whoever is called reads %v, %v", w.GetParticulars(), err)
	}
}

// viewed serves a city with its views.
func viewed(t *testing.T, city *dispatchtest.City) *grpc.ClientConn {
	t.Helper()
	c := Config{DevActor: true, Dispatcher: city.Dispatcher}
	viewing(t, city, &c)
	return serve(t, c, c.register)
}
