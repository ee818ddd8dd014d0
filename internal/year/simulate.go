package year

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/examples/wuxi"
	"github.com/chuishao/dispatch/internal/app"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/lives"
	"github.com/chuishao/dispatch/internal/policy"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/registry"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/view"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// Options of Simulate.
type Options struct {
	// Dir takes the year's history; it must be empty or not there.
	Dir     string
	Tickets int
	// Days is how long matters come in, from 1 January 2025.
	Days int
	Seed uint64
	// Few says that there are too few tickets for every command to be carried out; else one that never was is an error.
	Few bool
	Out io.Writer
}

// settle is for how many days after the last matter came in the open ones are led on.
const settle = 45

// Simulate plays a year in the example city, prints what it came to, and holds it against what must be true of it. What is not true is an error.
func Simulate(ctx context.Context, o Options) (err error) {
	clock := new(dispatch.Clock)
	zone, err := time.LoadLocation(view.Shanghai)
	if err != nil {
		return err
	}
	from := time.Date(2025, 1, 1, 0, 0, 0, 0, zone)
	clock.Set(from)
	n, err := app.Open(ctx, o.Dir, app.Options{Clock: clock.Now})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	if head, err := n.Store.Head(ctx); err != nil || head > 0 {
		return errors.Join(err, app.Usage("%s holds a history already", o.Dir))
	}
	content, faults := registry.ReadDir(wuxi.Files)
	if len(faults) > 0 {
		return fmt.Errorf("example registry: %v", faults)
	}
	system := rule.Actor{Person: "year", Roles: []pb.Role{pb.Role_ROLE_SYSTEM}}
	if faults, _, err := n.Dispatcher.LoadRegistry(ctx, system, "wuxi", from.AddDate(-1, 0, 0), content.Pieces(), false); err != nil || len(faults) > 0 {
		return errors.Join(err, fmt.Errorf("load the example registry: %v", faults))
	}

	began := time.Now()
	report, err := run(ctx, n, Config{
		Dispatcher: n.Dispatcher, Clock: clock, Registry: n.Dispatcher.Registry(), From: from, Days: o.Days, Settle: settle,
		Tickets: o.Tickets, Seed: o.Seed, Out: o.Out,
	})
	if err != nil {
		return err
	}
	report.print(o.Out)
	fmt.Fprintf(o.Out, "played in %s\n\n", time.Since(began).Round(time.Second))
	if missing := report.missing(); len(missing) > 0 && !o.Few {
		return fmt.Errorf("commands that nobody carried out: %v", missing)
	}
	began = time.Now()
	found, err := Audit{Store: n.Store, Registry: n.Dispatcher.Registry(), Zone: zone, Dir: o.Dir, From: from, Months: 12, Secrets: lives.Secrets}.Run(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(o.Out, "figures: %d sums of areas and %d ledgers hold, views built in batches of 4,000 and of 613 have the same rows (%s), %d faults, in %s\n",
		found.Sums, found.Ledgers, found.Rows, len(found.Faults), time.Since(began).Round(time.Second))
	for _, f := range found.Faults {
		fmt.Fprintln(o.Out, "  "+f)
	}
	if len(found.Faults) > 0 {
		return fmt.Errorf("%d faults", len(found.Faults))
	}
	return verifyAll(ctx, n, o.Out)
}

// run plays with the view of tickets alone: the other views are built when the year is over.
func run(ctx context.Context, n *app.Node, c Config) (report Report, err error) {
	path := filepath.Join(n.Dir, "timers.db")
	db, err := viewdb.Open(path, viewdb.Options{})
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, db.Close(), os.Remove(path)) }()
	p, err := projector.Open(ctx, n.Store, db, projector.Options{Now: c.Clock.Now}, view.Tickets(), view.Dues())
	if err != nil {
		return report, err
	}
	var mu sync.Mutex
	fired := map[string]int{}
	views := view.NewReader(db, n.Store)
	timers := &policy.Timers{
		Dispatcher: n.Dispatcher, Views: views, Projector: p,
		OnTrouble: func(err error) { fmt.Fprintln(c.Out, err) },
		OnFired: func(timer string) {
			mu.Lock()
			defer mu.Unlock()
			fired[strings.ToUpper(timer)]++
		},
	}
	c.FireDue = timers.FireDue
	ctx, stop := context.WithCancel(ctx)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := p.Run(ctx); !errors.Is(err, context.Canceled) {
			return err
		}
		return nil
	})
	reacting := n.Policy()
	reacting.OpenTickets = policy.Open{Store: n.Store, Views: views, Projector: p}.Tickets
	group.Go(func() error {
		if err := reacting.Run(ctx); !errors.Is(err, context.Canceled) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		defer stop()
		var err error
		report, err = Run(ctx, c)
		return err
	})
	err = group.Wait()
	report.Fired = fired
	return report, err
}

func (r *Report) print(out io.Writer) {
	fmt.Fprintf(out, "\n%d tickets, %d timers fired\ncarried out:\n", r.Tickets, r.Timers)
	for _, name := range slices.Sorted(maps.Keys(r.Done)) {
		fmt.Fprintf(out, "  %-24s %9d\n", name, r.Done[name])
	}
	fmt.Fprintln(out, "timers:")
	for _, timer := range slices.Sorted(maps.Keys(r.Fired)) {
		fmt.Fprintf(out, "  %-24s %9d\n", timer, r.Fired[timer])
	}
	fmt.Fprintln(out, "refused:")
	for _, reason := range slices.Sorted(maps.Keys(r.Refused)) {
		fmt.Fprintf(out, "  %-50s %9d\n", reason, r.Refused[reason])
	}
}

// notPlayed are the methods that no life plays: queries, what the timers give themselves, and what needs a map or calendar that changes.
var notPlayed = []string{"IntakeTickets", "GetTicket", "ExplainDeadline", "SuggestTriage", "PassTimer", "RecomputeLimits", "MoveHolder", "SolveOnWall"}

// missing are the commands on tickets that were never carried out.
func (r *Report) missing() []string {
	var missing []string
	methods := pb.File_chuishao_v1_ticket_proto.Services().ByName("TicketService").Methods()
	for i := range methods.Len() {
		name := string(methods.Get(i).Name())
		if !slices.Contains(notPlayed, name) && r.Done[name] == 0 {
			missing = append(missing, name)
		}
	}
	return missing
}

func verifyAll(ctx context.Context, n *app.Node, out io.Writer) error {
	began := time.Now()
	if err := n.CatchUp(ctx); err != nil {
		return err
	}
	findings := 0
	err := n.Verify(ctx, false, func(m *pb.VerifyHistoryResponse) error {
		for _, f := range m.Findings {
			findings++
			fmt.Fprintf(out, "  %s %s@%d %s: %s\n", f.Kind, f.Stream, f.Version, f.View, f.Message)
		}
		if m.Done {
			fmt.Fprintf(out, "verified: %d events, views %v, %d findings, in %s\n", m.Events, m.Views, findings, time.Since(began).Round(time.Second))
		}
		return nil
	})
	if err == nil && findings > 0 {
		err = fmt.Errorf("%d findings", findings)
	}
	return err
}
