package bus

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/principal"
	"github.com/chuishao/dispatch/internal/rpc"
)

const principals = `principals:
- person: hotline
  unit: 320200000000-ZH
  roles: [CONNECTED_SYSTEM, AGENT]
  token_sha256: %s
  bus: []
- person: dispatcher
  unit: 320200000000-ZH
  roles: [DISPATCHER]
  token_sha256: %s
`

// commanded is a city that takes commands over a bus, by as many processes, as a hotline that is connected to it sees it. said is what was logged.
func commanded(t *testing.T, processes int) (city *dispatchtest.City, hotline *nats.Conn, said *bytes.Buffer) {
	t.Helper()
	city = dispatchtest.Open(t)
	path := filepath.Join(t.TempDir(), "principals.yaml")
	if err := os.WriteFile(path, fmt.Appendf(nil, principals, principal.HashToken("hotline-token"), principal.HashToken("dispatcher-token")), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := principal.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	said = new(bytes.Buffer)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	// Development actors are believed on this machine: what comes over the bus must not count as that.
	server := rpc.New(rpc.Config{Log: slog.New(slog.NewTextHandler(io.MultiWriter(said), nil)), Principals: file, DevActor: true, Listens: []net.Addr{listener.Addr()}, Dispatcher: city.Dispatcher})
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })

	s, nc := open(t, Options{Listen: "127.0.0.1:0", Principals: file})
	for range processes {
		run(t, (&Commands{Conn: connect(t, s), Server: conn}).Run)
	}
	if hotline, err = outside(t, s, "hotline", "hotline-token"); err != nil {
		t.Fatal(err)
	}
	until(t, "listened to", func() bool {
		m, err := nc.Request("commands.x.y", nil, within)
		return err == nil && m.Header.Get(StatusHeader) != ""
	})
	return city, hotline, said
}

func report(requestID string) *pb.ReportTicketRequest {
	return &pb.ReportTicketRequest{
		RequestId: requestID, Channel: pb.Channel_CHANNEL_HOTLINE, Kind: pb.MatterKind_MATTER_KIND_HELP, Area: dispatchtest.Community, Category: "0302",
		Particulars: &pb.Particulars{Title: "路灯不亮", Text: "小区门口路灯三天不亮", Petitioner: &pb.Petitioner{Name: "张三丰", Phone: "13812345678"}},
	}
}

// call sends a command and gives the status of its answer.
func call(t *testing.T, nc *nats.Conn, subject string, header nats.Header, request proto.Message, response proto.Message) (code string, st *status.Status) {
	t.Helper()
	body, err := proto.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	m, err := nc.RequestMsg(&nats.Msg{Subject: subject, Header: header, Data: body}, within)
	if err != nil {
		t.Fatalf("%s: %v", subject, err)
	}
	code = m.Header.Get(StatusHeader)
	if code == "OK" {
		if err := proto.Unmarshal(m.Data, response); err != nil {
			t.Fatal(err)
		}
		return code, status.New(0, "")
	}
	var is rpcstatus.Status
	if err := proto.Unmarshal(m.Data, &is); err != nil {
		t.Fatalf("%s: the status cannot be read: %v", subject, err)
	}
	return code, status.FromProto(&is)
}

func reason(st *status.Status) string {
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.Domain == rpc.Domain {
			return info.Reason
		}
	}
	return ""
}

func bearer(token string) nats.Header { return nats.Header{AuthorizationHeader: {"Bearer " + token}} }

func TestACommandOverTheBusIsCarriedOutOnceWhoeverTakesIt(t *testing.T) {
	t.Parallel()
	city, hotline, _ := commanded(t, 3)
	var names [20]string
	var all sync.WaitGroup
	for i := range names {
		all.Go(func() {
			for range 2 { // the second time it had been carried out
				var answer pb.TicketAnswer
				if code, st := call(t, hotline, "commands.TicketService.ReportTicket", bearer("hotline-token"), report(fmt.Sprintf("r-%d", i)), &answer); code != "OK" {
					t.Errorf("report %d: %s %v", i, code, st)
					return
				}
				if names[i] != "" && names[i] != answer.Name {
					t.Errorf("report %d gave %s, then %s", i, names[i], answer.Name)
				}
				names[i] = answer.Name
			}
		})
	}
	all.Wait()
	reported := 0
	for _, d := range history(t, city.Store) {
		if d.Type == "TicketReported" {
			reported++
			if got := d.Meta.Actor.GetPerson(); got != "hotline" {
				t.Errorf("reported by %q, want the token's person", got)
			}
		}
	}
	slices.Sort(names[:])
	if len(slices.Compact(names[:])) != 20 || reported != 20 {
		t.Errorf("%d reports are recorded under %d names, want 20", reported, len(slices.Compact(names[:])))
	}
}

func TestACommandOverTheBusIsRefusedAsOverGRPC(t *testing.T) {
	t.Parallel()
	city, hotline, said := commanded(t, 1)
	dev := nats.Header{principal.DevActorHeader: {"person=p;roles=SYSTEM;unit=" + dispatchtest.CityCentre}}
	for _, c := range []struct {
		what, subject string
		header        nats.Header
		request       proto.Message
		code, reason  string
	}{
		{"no token", "commands.TicketService.ReportTicket", nil, report("a"), "UNAUTHENTICATED", "CREDENTIALS_MISSING"},
		{"an empty token", "commands.TicketService.ReportTicket", nats.Header{AuthorizationHeader: {""}}, report("a"), "UNAUTHENTICATED", "CREDENTIALS_MISSING"},
		{"a development actor", "commands.TicketService.ReportTicket", dev, report("a"), "UNAUTHENTICATED", "CREDENTIALS_MISSING"},
		{"an unknown token", "commands.TicketService.ReportTicket", bearer("no-such-token"), report("a"), "UNAUTHENTICATED", "CREDENTIALS_UNKNOWN"},
		{"two tokens", "commands.TicketService.ReportTicket", nats.Header{AuthorizationHeader: {"Bearer hotline-token", "Bearer dispatcher-token"}}, report("a"), "UNAUTHENTICATED", "CREDENTIALS_UNKNOWN"},
		{"a token that is no header", "commands.TicketService.ReportTicket", bearer("秘密"), report("a"), "UNAUTHENTICATED", "CREDENTIALS_UNKNOWN"},
		{"another's role", "commands.TicketService.ReportTicket", bearer("dispatcher-token"), report("a"), "PERMISSION_DENIED", "ROLE_NOT_ALLOWED"},
		{"a field that is missing", "commands.TicketService.ReportTicket", bearer("hotline-token"), report(""), "INVALID_ARGUMENT", "MISSING_FIELD"},
		{"what is not there", "commands.TicketService.AcceptTicket", bearer("hotline-token"), &pb.AcceptTicketRequest{Name: "tickets/0b1f4ad9-9fd7-4d2b-8b5c-6f1f5b6f1d10", RequestId: "a"}, "NOT_FOUND", "NOT_FOUND"},
		{"an unknown method", "commands.TicketService.NoSuch", bearer("hotline-token"), report("a"), "UNIMPLEMENTED", "UNKNOWN_METHOD"},
		{"an unknown service", "commands.NoSuch.ReportTicket", bearer("hotline-token"), report("a"), "UNIMPLEMENTED", "UNKNOWN_METHOD"},
		{"a message for a service", "commands.Ticket.ReportTicket", bearer("hotline-token"), report("a"), "UNIMPLEMENTED", "UNKNOWN_METHOD"},
		{"a stream", "commands.ViewService.WatchClosure", bearer("hotline-token"), &pb.WatchClosureRequest{}, "UNIMPLEMENTED", "UNKNOWN_METHOD"},
	} {
		code, st := call(t, hotline, c.subject, c.header, c.request, nil)
		if got := reason(st); code != c.code || got != c.reason || st.Message() == "" {
			t.Errorf("%s: %s %s %q, want %s %s", c.what, code, got, st.Message(), c.code, c.reason)
		}
	}
	for _, d := range history(t, city.Store) {
		if d.Type == "TicketReported" {
			t.Errorf("%s@%d is recorded", d.Stream, d.Version)
		}
	}
	if bytes.Contains(said.Bytes(), []byte("-token")) {
		t.Errorf("a token was logged:\n%s", said)
	}
}

func TestAServerThatIsGoneIsToldWithAReason(t *testing.T) {
	t.Parallel()
	_, nc := open(t, Options{})
	listener, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	run(t, (&Commands{Conn: nc, Server: conn}).Run)
	until(t, "listened to", func() bool {
		m, err := nc.Request("commands.x.y", nil, within)
		return err == nil && m.Header.Get(StatusHeader) != ""
	})
	header := bearer("hotline-token")
	header.Set(TimeoutHeader, "50")
	code, st := call(t, nc, "commands.TicketService.ReportTicket", header, report("a"), nil)
	if code != "DEADLINE_EXCEEDED" && code != "UNAVAILABLE" || reason(st) == "" {
		t.Errorf("got %s %q %s, want that the time is up, with a reason", code, reason(st), st.Message())
	}
}
