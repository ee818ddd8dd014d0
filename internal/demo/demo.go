// Package demo plays a day of a city on a node of its own, as the city's people and systems would: through gRPC. The people, their words and
// what befalls them are invented; the same seed gives the same day.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/app"
	"github.com/chuishao/dispatch/internal/registry"
)

// Options say which day is played, and how.
type Options struct {
	Data    string    // data directory, new or empty; a temporary one, removed at the end, if ""
	GRPC    string    // HOST:PORT; port 0 takes a free one
	HTTP    string    // HOST:PORT of metrics and probes
	Day     time.Time // any instant of the day; today if zero
	Tickets int       // how many matters come in, those included that earlier days left over
	Speed   float64   // virtual seconds a second; 0 for as fast as it goes
	Seed    uint64
	Once    bool      // stop after the day
	Out     io.Writer // what happens
	Log     *slog.Logger
}

// Run plays a day, then serves what came of it until the context ends, while the clock goes on from the end of the day. A context that ends is no
// error.
func Run(ctx context.Context, o Options) (err error) {
	if o.Data == "" {
		if o.Data, err = os.MkdirTemp("", "chuishao-demo-"); err != nil {
			return fmt.Errorf("data directory: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.Data)) }()
	}
	if o.Day.IsZero() {
		o.Day = time.Now()
	}
	y, m, d := o.Day.In(zone()).Date()
	day := time.Date(y, m, d, 0, 0, 0, 0, zone())
	c, err := openCity()
	if err != nil {
		return err
	}
	stories, err := plan(c, day, o.Tickets, o.Seed)
	if err != nil {
		return err
	}
	clock := new(clock)
	clock.stop(day.AddDate(0, 0, -max(eldest, appliedFor)-1))
	node, err := app.Open(ctx, o.Data, app.Options{Clock: clock.Now, Log: o.Log, Metrics: prometheus.NewRegistry()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.Close()) }()
	switch head, err := node.Store.Head(ctx); {
	case err != nil:
		return err
	case head > 0:
		return fmt.Errorf("%s holds a history already: a demo begins anew; dispatcher serve --data %s serves it", o.Data, o.Data)
	}
	timers := node.Timers()
	seen := func(ctx context.Context) error {
		head, err := node.Store.Head(ctx)
		if err != nil {
			return err
		}
		return node.Projector.WaitFor(ctx, head)
	}
	serving, stop := context.WithCancel(ctx)
	defer stop()
	group, serving := errgroup.WithContext(serving)
	ready := make(chan [2]net.Addr, 1)
	group.Go(func() error {
		return node.Serve(serving, app.ServeConfig{GRPC: o.GRPC, HTTP: o.HTTP, Suggest: true, NoTimers: true, Ready: func(grpc, http, _ net.Addr) { ready <- [2]net.Addr{grpc, http} }})
	})
	group.Go(func() error {
		var at [2]net.Addr
		select {
		case <-serving.Done():
			return nil
		case at = <-ready:
		}
		fmt.Fprintf(o.Out, "grpc %s\nhttp %s\n\n", at[0], at[1])
		// While the day is played the clock is driven, and what is due happens when it has moved; afterwards both go by themselves.
		err := playOn(serving, o, c, stories, clock, day, at[0].String(), timers.FireDue, seen)
		if err == nil && !o.Once {
			err = timers.Run(serving)
		}
		if serving.Err() != nil {
			return nil // told to stop, or serving failed and says why
		}
		if o.Once {
			stop()
		}
		return err
	})
	return group.Wait()
}

// playOn plays the stories on a node at an address.
func playOn(ctx context.Context, o Options, c *city, stories []*story, clock *clock, day time.Time, addr string,
	fire func(context.Context) (int, error), seen func(context.Context) error) (err error) {
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return fmt.Errorf("call %s: %w", addr, err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	p := &player{
		conn: conn, clock: clock, fire: fire, seen: seen, day: day, end: day.AddDate(0, 0, 1), speed: o.Speed, seed: o.Seed, out: o.Out,
		whistles: map[string]bool{}, carried: map[string]int{},
	}
	if err := p.load(ctx, c); err != nil {
		return err
	}
	fmt.Fprintln(o.Out, "first what the days before left over ...")
	if err := p.play(ctx, stories); err != nil {
		return err
	}
	if err := p.table(ctx); err != nil {
		return err
	}
	clock.run(1, time.Time{})
	p.hint(addr, stories)
	return nil
}

// pieceBytes is the size of a message that carries registry content.
const pieceBytes = 512 << 10

// load loads the example city.
func (p *player) load(ctx context.Context, c *city) error {
	stream, err := pb.NewRegistryServiceClient(p.conn).LoadRegistry(p.reading(ctx))
	if err != nil {
		return fmt.Errorf("load the city: %w", err)
	}
	for i, piece := range registry.Split(c.piece, pieceBytes) {
		m := &pb.LoadRegistryRequest{Piece: piece}
		if i == 0 {
			m.Version, m.RequestId = "wuxi-demo", "registry/wuxi-demo"
			m.ValidFrom = timestamppb.New(p.day.AddDate(-1, 0, 0))
		}
		if err := stream.Send(m); err != nil {
			break // the answer says why
		}
	}
	answer, err := stream.CloseAndRecv()
	if err != nil {
		return fmt.Errorf("load the city: %w", err)
	}
	if len(answer.Faults) > 0 {
		return fmt.Errorf("load the city: %d faults, the first in %s: %s", len(answer.Faults), answer.Faults[0].Field, answer.Faults[0].Message)
	}
	fmt.Fprintf(p.out, "%s: %d areas, %d units, %d categories\n", answer.Version, answer.Areas, answer.Units, answer.Categories)
	return nil
}

// table prints how the districts stand at the end.
func (p *player) table(ctx context.Context) error {
	answer, err := pb.NewViewServiceClient(p.conn).ListClosure(p.reading(ctx), &pb.ListClosureRequest{
		Level: "district", Area: cityArea, AsOf: timestamppb.New(p.end), WithMedian: true,
	})
	if err != nil {
		return fmt.Errorf("figures of the districts: %w", err)
	}
	fmt.Fprintln(p.out)
	w := tabwriter.NewWriter(p.out, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "district\ttotal\tclosed\tclosure\toverdue\tmedian h\t")
	for _, r := range answer.Rows {
		f := r.Figures
		median := "-"
		if f.MedianHoursToClose != nil {
			median = fmt.Sprintf("%.1f", *f.MedianHoursToClose)
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%d\t%s\t  %s\n", r.Code, f.Total, f.Closed, percent(f.ClosureRate), f.OpenOverdue, median, r.Name)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := p.beside(ctx); err != nil {
		return err
	}
	fmt.Fprintf(p.out, "\n%d commands were refused, on purpose: replay shows them beside their tickets.\n", p.refused)
	return nil
}

// beside prints what became of the matters that did not go the way of most.
func (p *player) beside(ctx context.Context) error {
	if err := p.seen(ctx); err != nil {
		return err
	}
	suspended, levels := 0, [5]int{}
	q := &pb.ListTicketsRequest{PageSize: 1000, Filter: "open = true"}
	for {
		answer, err := pb.NewViewServiceClient(p.conn).ListTickets(p.reading(ctx), q)
		if err != nil {
			return fmt.Errorf("open tickets: %w", err)
		}
		for _, t := range answer.Tickets {
			if t.State == pb.TicketState_TICKET_STATE_SUSPENDED {
				suspended++
			}
			levels[min(int(t.Supervision), len(levels)-1)]++
		}
		if q.PageToken = answer.NextPageToken; q.PageToken == "" {
			break
		}
	}
	n := func(method string) int { return p.carried["/chuishao.v1.TicketService/"+method] }
	fmt.Fprintf(p.out, "\nOf these: %d claims of not being responsible, %d rulings, %d passed up a level, %d merged, %d withdrawn, %d exclusions decided.\n",
		n("RequestReturn"), n("RuleAdjudication"), n("EscalateTicket"), n("MergeTicket"), n("WithdrawTicket"), n("DecideExclusion"))
	fmt.Fprintf(p.out, "Open at the end: %d suspended; supervised at level 1 %d, level 2 %d, level 3 %d, level 4 %d. %d limits passed and had consequences.\n",
		suspended, levels[1], levels[2], levels[3], levels[4], p.fired)
	return nil
}

// hint prints what to try next.
func (p *player) hint(addr string, stories []*story) {
	asOf := ""
	if time.Now().Before(p.end) {
		// A report asks for what the caller's clock says is now, and the city is ahead of that.
		asOf = " --as-of " + p.end.Format(time.RFC3339)
	}
	var again, whistled string
	for _, s := range stories {
		if again == "" && hasStep(s, pb.TicketService_ReopenTicket_FullMethodName) {
			again = s.ticket
		}
		if whistled == "" && s.whistle != "" {
			whistled = s.whistle
		}
	}
	grpcurl := func(person, role, unit, message, method string) {
		fmt.Fprintf(p.out, "  grpcurl -plaintext -H 'chuishao-dev-actor: %s' \\\n    -d '%s' %s chuishao.v1.%s\n", actor(person, unit, pb.Role(pb.Role_value["ROLE_"+role])), message, addr, method)
	}
	fmt.Fprintf(p.out, "\nWhat to try next:\n\nA ticket, its petitioner masked; the petitioner in clear, which is noted; and gone for ever:\n")
	ticket := again
	grpcurl("zhang", "SUPERVISOR", cityCentre, fmt.Sprintf(`{"name":"%s"}`, ticket), "TicketService/GetTicket")
	grpcurl("zhang", "SUPERVISOR", cityCentre, fmt.Sprintf(`{"name":"%s","request_id":"try-1","purpose":"REVEAL_PURPOSE_CONTACT"}`, ticket), "TicketService/RevealIdentity")
	grpcurl("li", "AUDITOR", cityCentre, fmt.Sprintf(`{"name":"%s","request_id":"try-2","order_ref":"order-1"}`, ticket), "AuditService/EraseSubject")
	fmt.Fprintf(p.out, "\nFigures, what happened to a ticket that was opened again, and to a whistle, and the proof of it all:\n")
	fmt.Fprintf(p.out, "  go run ./cmd/projector report closure --addr %s --level district%s\n", addr, asOf)
	for _, name := range []string{again, whistled} {
		fmt.Fprintf(p.out, "  go run ./cmd/projector replay --addr %s --ticket %s\n", addr, strings.TrimPrefix(name, "tickets/"))
	}
	fmt.Fprintf(p.out, "  go run ./cmd/projector verify --addr %s\n", addr)
	fmt.Fprintf(p.out, "\nWhat waits for a supervisor, the most urgent first; how long the stages took; and what is suspended or listed:\n")
	grpcurl("zhang", "SUPERVISOR", cityCentre, `{"page_size":5}`, "ViewService/ListInbox")
	fmt.Fprintf(p.out, "  go run ./cmd/projector report stages --addr %s --level city\n", addr)
	for _, kind := range []string{"suspension", "listing"} {
		fmt.Fprintf(p.out, "  go run ./cmd/projector report ledger --addr %s --level city --kind %s\n", addr, kind)
	}
}

// hasStep says whether a story came past a call of a method.
func hasStep(s *story, method string) bool {
	for _, step := range s.steps[:s.next] {
		if step.method == method {
			return true
		}
	}
	return false
}
