// Package year simulates a year of a city on a driven clock: matters come in by day and by season, people do what they would do, mostly
// right, and timers fire when their time comes. A seed gives the same year again, as far as what is drawn goes.
package year

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/lives"
	"github.com/chuishao/dispatch/internal/registry"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/ticket"
)

// Config says what is simulated.
type Config struct {
	Dispatcher *dispatch.Dispatcher
	// Clock is the dispatcher's.
	Clock    *dispatch.Clock
	Registry *registry.Snapshot
	// From is when the year begins, and Days how long matters come in; what is open then is led on for Settle more days.
	From         time.Time
	Days, Settle int
	Tickets      int
	Seed         uint64
	// FireDue brings the timers up to the clock and says how many fired.
	FireDue func(ctx context.Context) (int, error)
	// Out hears of each month; nil: nobody.
	Out io.Writer
}

// Report is what a year came to.
type Report struct {
	Tickets int
	// Done are the commands that were carried out, by name; Refused the refusals, by command, reason and field.
	Done, Refused map[string]int
	Timers        int
	// Fired are the timers that fired, by kind.
	Fired map[string]int
}

// step is how far the clock moves at once.
const step = time.Hour

// atOnce is how many commands are under way together.
const atOnce = 64

// givesUp is after how many refusals in a row nobody tries anything more with a ticket for a while.
const givesUp = 6

// one is a ticket that lives.
type one struct {
	*lives.Life
	at      time.Time
	n       int
	refused int // in a row
}

// queue is the lives in the order of their next steps.
type queue []*one

func (q queue) Len() int { return len(q) }

func (q queue) Less(i, j int) bool {
	return cmp.Or(q[i].at.Compare(q[j].at), cmp.Compare(q[i].n, q[j].n)) < 0
}

func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push is heap's.
func (q *queue) Push(x any) { *q = append(*q, x.(*one)) }

// Pop is heap's.
func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

type simulation struct {
	Config
	report Report
	queue  queue
	names  []string // of open tickets, some of them: to merge into
	mu     sync.Mutex
}

// Run simulates. The error is trouble, never a refusal.
func Run(ctx context.Context, c Config) (Report, error) {
	world, err := lives.New(c.Registry, c.From)
	if err != nil {
		return Report{}, err
	}
	s := &simulation{Config: c, report: Report{Done: map[string]int{}, Refused: map[string]int{}}, names: make([]string, 0, 512)}
	random := rand.New(rand.NewPCG(c.Seed, 1))
	for n := range c.Tickets {
		// More come in on working days and by daylight.
		day := random.IntN(c.Days)
		if d := c.From.AddDate(0, 0, day); (d.Weekday() == time.Saturday || d.Weekday() == time.Sunday) && random.IntN(2) == 0 {
			day = (day + 2) % c.Days
		}
		hour := 7 + 14*(random.Float64()+random.Float64())/2
		s.queue = append(s.queue, &one{
			Life: world.Live(fmt.Sprintf("year-%d", n), c.Seed<<32+uint64(n)), n: n,
			at: c.From.AddDate(0, 0, day).Add(time.Duration(hour * float64(time.Hour)).Truncate(time.Second)),
		})
	}
	heap.Init(&s.queue)
	end := c.From.AddDate(0, 0, c.Days+c.Settle)
	for now, month := c.From, c.From.Month(); now.Before(end); now = now.Add(step) {
		if err := s.hour(ctx, now); err != nil {
			return s.report, fmt.Errorf("at %s: %w", now.Format(time.RFC3339), err)
		}
		if now.Month() != month && c.Out != nil {
			month = now.Month()
			fmt.Fprintf(c.Out, "%s: %d tickets, %d kinds of commands, %d timers\n", now.Format("2006-01"), s.report.Tickets, len(s.report.Done), s.report.Timers)
		}
	}
	return s.report, nil
}

// hour plays what falls due up to an instant, then the timers.
func (s *simulation) hour(ctx context.Context, now time.Time) error {
	s.Clock.Set(now)
	var due []*one
	for len(s.queue) > 0 && !s.queue[0].at.After(now) {
		due = append(due, heap.Pop(&s.queue).(*one))
	}
	group, ctx2 := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, o := range due {
		group.Go(func() error { return s.live(ctx2, o, now) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, o := range due {
		if !o.at.IsZero() {
			heap.Push(&s.queue, o)
		}
	}
	fired, err := s.FireDue(ctx)
	s.report.Timers += fired
	return err
}

// live lets a life take its next step, and says when the one after it comes: the zero time if none does.
func (s *simulation) live(ctx context.Context, o *one, now time.Time) error {
	o.Others = s.other
	var state ticket.State
	if o.Name != "" {
		var err error
		if state, _, err = s.Dispatcher.LoadTicket(ctx, o.Name); err != nil {
			return err
		}
	}
	next, ok := o.Next(&state, now)
	if !ok {
		o.at = time.Time{}
		return nil
	}
	after, err := s.give(ctx, o, next)
	if err != nil {
		return err
	}
	pause := next.After
	if o.refused > 0 {
		pause += time.Duration(1<<min(o.refused, givesUp)) * time.Hour
	}
	if after.State == pb.TicketState_TICKET_STATE_HANDLING && len(after.Whistles) == 0 && o.Float64() < 0.01 {
		if err := s.whistle(ctx, o, after); err != nil {
			return err
		}
	}
	o.at = now.Add(pause)
	return nil
}

// give carries out a step.
func (s *simulation) give(ctx context.Context, o *one, next lives.Step) (*ticket.State, error) {
	name := string(next.Command.ProtoReflect().Descriptor().Name())
	name = name[:len(name)-len("Request")]
	state := new(ticket.State)
	var result dispatch.Result
	var err error
	if reveal, ok := next.Command.(*pb.RevealIdentityRequest); ok {
		_, result, err = s.Dispatcher.Reveal(ctx, next.By, reveal)
	} else {
		state, result, err = s.Dispatcher.Ticket(ctx, dispatch.Request{Actor: next.By, Command: next.Command})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if refusal, ok := errors.AsType[*rule.Refusal](err); ok {
		s.report.Refused[strings.TrimSpace(name+" "+string(refusal.Reason)+" "+refusal.Field)]++
		o.refused++
		return state, nil
	}
	if err != nil {
		return state, fmt.Errorf("%s: %w", name, err)
	}
	s.report.Done[name]++
	o.refused = 0
	if o.Name == "" {
		o.Name = "tickets/" + dispatch.ID(result.Stream)
		s.report.Tickets++
		s.remember(o.Name)
	}
	return state, nil
}

func (s *simulation) remember(name string) {
	if len(s.names) < cap(s.names) {
		s.names = append(s.names, name)
		return
	}
	s.names[s.report.Tickets%len(s.names)] = name
}

// other is a ticket that came in lately.
func (s *simulation) other(r *rand.Rand) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.names) == 0 {
		return ""
	}
	return s.names[r.IntN(len(s.names))]
}

// whistle is blown for a ticket, answered and closed at once; a refusal ends it where it is.
func (s *simulation) whistle(ctx context.Context, o *one, t *ticket.State) error {
	var name string
	participant := ""
	if of := s.Registry.UnitPath(t.Lead); len(of) > 2 {
		participant = of[len(of)-2]
	}
	if participant == "" || participant == t.Lead {
		return nil
	}
	as := func(unit string, role pb.Role) rule.Actor {
		return rule.Actor{Person: unit + "/" + role.String(), Roles: []pb.Role{role}, Unit: unit}
	}
	street := as(t.Lead, pb.Role_ROLE_STREET_LEADER)
	there := as(participant, pb.Role_ROLE_DEPARTMENT_CLERK)
	for i, c := range []struct {
		by      rule.Actor
		command func(id string) proto.Message
	}{
		{street, func(id string) proto.Message {
			return &pb.BlowWhistleRequest{
				RequestId: id, Kind: pb.WhistleKind_WHISTLE_KIND_ROUTINE, Tickets: []string{o.Name}, Particulars: &pb.Particulars{Text: "需到场"},
				Summons: []*pb.Summons{{Unit: participant}},
			}
		}},
		{as(s.Registry.UnitPath(t.Lead)[0], pb.Role_ROLE_DISPATCHER), func(id string) proto.Message {
			return &pb.ScreenWhistleRequest{Name: name, RequestId: id, Issue: true}
		}},
		{there, func(id string) proto.Message {
			return &pb.ReportInRequest{Name: name, RequestId: id, Person: "P-1", Rank: "科长", Position: &pb.LonLat{Lon: 120.3, Lat: 31.6}}
		}},
		{there, func(id string) proto.Message { return &pb.CompleteTaskRequest{Name: name, RequestId: id} }},
		{street, func(id string) proto.Message {
			return &pb.ConfirmWhistleRequest{Name: name, RequestId: id, Resolved: true}
		}},
		{as(t.Lead, pb.Role_ROLE_STREET_CLERK), func(id string) proto.Message {
			return &pb.RateUnitRequest{Name: name, RequestId: id, Unit: participant, Response: 5, Cooperation: 4, Result: 4}
		}},
		{as(t.Lead, pb.Role_ROLE_STREET_CLERK), func(id string) proto.Message {
			return &pb.ReleaseParticipantRequest{Name: name, RequestId: id, Unit: participant}
		}},
		{as(t.Lead, pb.Role_ROLE_STREET_CLERK), func(id string) proto.Message {
			return &pb.CloseWhistleRequest{Name: name, RequestId: id}
		}},
	} {
		_, result, err := s.Dispatcher.Whistle(ctx, dispatch.Request{Actor: c.by, Command: c.command(fmt.Sprintf("%s/whistle/%d", o.Name, i))})
		if refusal, ok := errors.AsType[*rule.Refusal](err); ok {
			s.mu.Lock()
			s.report.Refused[strings.TrimSpace("whistle "+string(refusal.Reason)+" "+refusal.Field)]++
			s.mu.Unlock()
			return nil
		}
		if err != nil {
			return err
		}
		name = "whistles/" + dispatch.ID(result.Stream)
	}
	s.mu.Lock()
	s.report.Done["CloseWhistle"]++
	s.mu.Unlock()
	return nil
}
