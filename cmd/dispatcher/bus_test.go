package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/app"
	"github.com/chuishao/dispatch/internal/principal"
)

// busServed serves a directory with a bus that listens, to the principals of a file, and gives its address. stop ends it, at the latest with the test.
func busServed(t *testing.T, node *app.Node, principals string) (addr string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan string, 1), make(chan error, 1)
	config := app.ServeConfig{
		GRPC: "127.0.0.1:0", HTTP: "127.0.0.1:0", Principals: principals, Bus: app.BusConfig{Listen: "127.0.0.1:0"},
		Ready: func(_, _, bus net.Addr) { ready <- bus.String() },
	}
	go func() { ended <- node.Serve(ctx, config) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	select {
	case addr := <-ready:
		return addr, stop
	case err := <-ended:
		ended <- nil
		t.Fatal("the node does not serve: ", err)
	}
	return "", stop
}

func TestToldToStopWhatHasComeOverTheBusIsCarriedToItsEnd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if out, err := load(t, "--data", data, "--version", "v", filepath.Join("..", "..", "examples", "wuxi")); err != nil {
		t.Fatal(out, err)
	}
	principals := filepath.Join(dir, "principals.yaml")
	text := `principals:
  - {person: hotline, unit: 320200000000-ZH, roles: [CONNECTED_SYSTEM], token_sha256: ` + principal.HashToken("hotline-token") + `, bus: []}
`
	if err := os.WriteFile(principals, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	addr, stop := busServed(t, opened(t, data), principals)
	nc, err := nats.Connect("nats://"+addr, nats.UserInfo("hotline", "hotline-token"), nats.CustomInboxPrefix("_INBOX_hotline"), nats.NoReconnect())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	var callers sync.WaitGroup
	var answered atomic.Int32
	enough := make(chan struct{})
	for caller := range 40 {
		callers.Go(func() {
			for n := 0; ; n++ {
				request, err := proto.Marshal(&pb.ReportTicketRequest{
					RequestId: fmt.Sprintf("r-%d-%d", caller, n), Channel: pb.Channel_CHANNEL_HOTLINE, Kind: pb.MatterKind_MATTER_KIND_HELP, Source: "12345",
					SourceRef: fmt.Sprintf("A-%d-%d", caller, n), Area: "320205001001", Particulars: &pb.Particulars{Title: "路灯不亮", Text: "门口的路灯坏了"},
				})
				if err != nil {
					t.Error(err)
					return
				}
				m, err := nc.RequestMsg(&nats.Msg{Subject: "commands.TicketService.ReportTicket", Data: request, Header: nats.Header{"Authorization": {"Bearer hotline-token"}}}, 20*time.Second)
				switch {
				case errors.Is(err, nats.ErrNoResponders) && answered.Load() == 0: // nobody takes commands yet
				case err != nil: // nobody takes commands any more
					return
				case m.Header.Get("Status") != "OK":
					t.Errorf("got %s: %s", m.Header.Get("Status"), m.Data)
					return
				default:
					if answered.Add(1) == 100 {
						close(enough)
					}
				}
			}
		})
	}
	select {
	case <-enough:
	case <-time.After(time.Minute):
		t.Error("commands are not answered")
	}
	stop()
	nc.Close()
	callers.Wait()
}

// A hotline system sends a command over the bus, and the district that it is about hears of what was recorded, and of its figures, there.
func TestACommandOverTheBusComesBackAsEventsAndFigures(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if out, err := load(t, "--data", data, "--version", "v", filepath.Join("..", "..", "examples", "wuxi")); err != nil {
		t.Fatal(out, err)
	}
	node := opened(t, data)
	principals := filepath.Join(dir, "principals.yaml")
	text := `principals:
  - {person: hotline, unit: 320200000000-ZH, roles: [CONNECTED_SYSTEM], token_sha256: ` + principal.HashToken("hotline-token") + `, bus: []}
  - {person: xishan, unit: 320205000000, roles: [DISPATCHER], token_sha256: ` + principal.HashToken("xishan-token") + `, bus: ["area:320200000000/320205000000"]}
`
	if err := os.WriteFile(principals, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	addr, _ := busServed(t, node, principals)
	connect := func(person string) *nats.Conn {
		nc, err := nats.Connect("nats://"+addr, nats.UserInfo(person, person+"-token"), nats.CustomInboxPrefix("_INBOX_"+person), nats.NoReconnect())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}

	request, err := proto.Marshal(&pb.ReportTicketRequest{
		RequestId: "r-1", Channel: pb.Channel_CHANNEL_HOTLINE, Kind: pb.MatterKind_MATTER_KIND_HELP, Source: "12345", SourceRef: "A-1", Area: "320205001001",
		Particulars: &pb.Particulars{Title: "路灯不亮", Text: "门口的路灯坏了"},
	})
	if err != nil {
		t.Fatal(err)
	}
	hotline := connect("hotline")
	ask := &nats.Msg{Subject: "commands.TicketService.ReportTicket", Data: request, Header: nats.Header{"Authorization": {"Bearer hotline-token"}}}
	answer := eventually(t, func() *nats.Msg {
		m, err := hotline.RequestMsg(ask, 5*time.Second)
		if err != nil {
			return nil // nobody takes commands yet
		}
		return m
	})
	if status := answer.Header.Get("Status"); status != "OK" {
		t.Fatalf("got %s: %s", status, answer.Data)
	}
	var ticket pb.TicketAnswer
	if err := proto.Unmarshal(answer.Data, &ticket); err != nil {
		t.Fatal(err)
	}
	id := strings.TrimPrefix(ticket.Name, "tickets/")

	xishan := connect("xishan")
	js, err := jetstream.New(xishan)
	if err != nil {
		t.Fatal(err)
	}
	for stream, want := range map[string]string{"EVENTS": ".ticketreported", "RATES": "rates.320200000000.320205000000.320205001000.320205001001"} {
		m := eventually(t, func() jetstream.Msg {
			c, err := js.Consumer(t.Context(), stream, "dept-xishan")
			if err != nil {
				return nil
			}
			for {
				m, err := c.Next(jetstream.FetchMaxWait(200 * time.Millisecond))
				if err != nil {
					return nil
				}
				if err := m.Ack(); err != nil {
					t.Fatal(err)
				}
				if stream == "EVENTS" && strings.Contains(m.Subject(), "."+id+".") || strings.HasPrefix(m.Subject(), want) {
					return m
				}
			}
		})
		if stream == "EVENTS" && strings.Contains(string(m.Data()), "路灯") {
			t.Error("what was sealed is on the bus in clear")
		}
		if stream == "RATES" {
			var figures pb.ListMetricsResponse
			if err := proto.Unmarshal(m.Data(), &figures); err != nil || len(figures.Figures) != 3 {
				t.Errorf("got %v, %v", &figures, err)
			}
		}
	}
}

// eventually asks until there is an answer, for as long as a test may take.
func eventually[T comparable](t *testing.T, ask func() T) T {
	t.Helper()
	var none T
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if got := ask(); got != none {
			return got
		}
	}
	t.Fatal("it did not come within a minute")
	return none
}

func TestTheConfigurationOfABusElsewhereIsPrinted(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	args := []string{"bus", "--principals", filepath.Join("..", "..", "examples", "principals.yaml")}
	if code := app.Run(t.Context(), "dispatcher", "", args, app.IO{Out: &out, Err: &errs}, commands...); code != 0 {
		t.Fatalf("exit code %d\n%s", code, errs.String())
	}
	for _, want := range []string{"accounts", "$BUS_SERVICE", "dept-hotline-gateway", "live.320200000000.320205000000.>"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it has no %q:\n%s", want, out.String())
		}
	}
}
