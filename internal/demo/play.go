package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/principal"
)

// player gives the stories' commands in the order of their times. All that may be given at about the same time go out together: the clock stands
// meanwhile, so that nothing depends on which is carried out first.
type player struct {
	conn  *grpc.ClientConn
	clock *clock
	fire  func(context.Context) (int, error) // makes happen what is due by the clock
	seen  func(context.Context) error        // waits until the lists show all that happened
	day   time.Time
	end   time.Time
	speed float64 // virtual seconds a second; 0 for as fast as it goes
	seed  uint64
	out   io.Writer

	due    []moved   // in order
	began  time.Time // real, when the day began
	tokens []string  // of the commands that were given last

	reported, dispatched, closed, refused int
	whistles                              map[string]bool // in progress

	carried map[string]int // calls that were carried out on any of the days, by method
	fired   int            // timers
}

// moved is a story and when it goes on.
type moved struct {
	at time.Time
	*story
}

func (a moved) compare(b moved) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.n, b.n)) }

func (p *player) add(m moved) {
	i, _ := slices.BinarySearchFunc(p.due, m, moved.compare)
	p.due = slices.Insert(p.due, i, m)
}

const together = 16

// play plays everything up to the end of the day.
func (p *player) play(ctx context.Context, stories []*story) error {
	for _, s := range stories {
		p.add(moved{s.begin, s})
	}
	if err := p.until(ctx, p.day); err != nil {
		return err
	}
	open, err := p.figures(ctx, p.day)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.out, "%s begins with %d tickets open from the days before\n\n", p.day.Format("2006-01-02 Mon"), open.Total-open.Closed)
	fmt.Fprintf(p.out, "%-6s %9s %11s %7s %9s %8s\n", "time", "reported", "dispatched", "closed", "whistles", "closure")
	p.reported, p.dispatched, p.closed = 0, 0, 0
	p.began = time.Now()
	for hour := p.day.Add(time.Hour); !hour.After(p.end); hour = hour.Add(time.Hour) {
		if err := p.until(ctx, hour); err != nil {
			return err
		}
		if err := p.hour(ctx, hour); err != nil {
			return err
		}
	}
	return nil
}

// until plays everything before an instant, and moves the clock there.
func (p *player) until(ctx context.Context, end time.Time) error {
	for len(p.due) > 0 && p.due[0].at.Before(end) {
		window := minute
		if p.began.IsZero() {
			window = 20 * minute
		}
		last, n := p.due[0].at.Add(window), 0
		for n < min(len(p.due), together) && p.due[n].at.Before(end) && !p.due[n].at.After(last) {
			n++
		}
		batch := slices.Clone(p.due[:n])
		p.due = slices.Delete(p.due, 0, n)
		if err := p.give(ctx, batch); err != nil {
			return err
		}
	}
	_, err := p.wait(ctx, end)
	return err
}

// wait moves the clock to an instant: through the time before it if the day is played at a speed.
func (p *player) wait(ctx context.Context, at time.Time) (time.Time, error) {
	if p.speed > 0 && !p.began.IsZero() {
		ahead := time.Until(p.began.Add(time.Duration(float64(at.Sub(p.day)) / p.speed)))
		if ahead > 0 {
			p.clock.run(p.speed, at)
			timer := time.NewTimer(ahead)
			defer timer.Stop()
			select {
			case <-ctx.Done():
				return at, ctx.Err()
			case <-timer.C:
			}
		}
	}
	at = p.clock.stop(at)
	if err := ctx.Err(); err != nil {
		return at, err
	}
	n, err := p.fire(ctx)
	if err != nil {
		return at, fmt.Errorf("timers: %w", err)
	}
	p.fired += n
	return at, nil
}

// give gives one command of each story, and puts the stories back for the next.
func (p *player) give(ctx context.Context, batch []moved) error {
	at, err := p.wait(ctx, batch[len(batch)-1].at)
	if err != nil {
		return err
	}
	answers := make([]proto.Message, len(batch))
	group, calls := errgroup.WithContext(ctx)
	for i, m := range batch {
		group.Go(func() (err error) {
			answers[i], err = p.command(calls, m.story, at)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	p.tokens = p.tokens[:0]
	for i, m := range batch {
		p.note(m.story, answers[i])
		if m.next++; m.next < len(m.steps) && !m.over {
			next := at.Add(m.steps[m.next].after)
			if m.steps[m.next].office {
				next = m.officeHours(next)
			}
			if first := m.steps[m.next].notBefore; next.Before(first) {
				next = first
			}
			p.add(moved{next, m.story})
		}
	}
	return nil
}

// Offices are open on every day of the week: somebody is on duty.
const opens, closes = 8*time.Hour + 20*minute, 18*time.Hour + 30*minute

func (s *story) officeHours(t time.Time) time.Time {
	y, m, d := t.Date()
	midnight := time.Date(y, m, d, 0, 0, 0, 0, t.Location())
	late := s.between(0, 40*minute)
	switch since := t.Sub(midnight); {
	case since < opens:
		return midnight.Add(opens + late)
	case since > closes:
		return midnight.AddDate(0, 0, 1).Add(opens + late)
	}
	return t
}

// nothing is the answer where there was nothing to do.
var nothing = new(emptypb.Empty)

// command gives a story's next command, and no answer where it is refused as it should be.
func (p *player) command(ctx context.Context, s *story, at time.Time) (proto.Message, error) {
	step := &s.steps[s.next]
	if step.when != nil && !step.when(at) {
		return nothing, nil
	}
	before := min(step.after/2, 40*minute)
	if s.next == 0 { // nothing went before it
		before = 25 * minute
	}
	message := step.command(call{
		id:     fmt.Sprintf("demo/%d/%d/%d", p.seed, s.n, s.next),
		ticket: s.tickets[step.which], whistle: s.whistle, names: s.names, late: timestamppb.New(at.Add(-before)),
	})
	answer, err := p.send(ctx, step, message)
	if step.refused == "" {
		if s.n >= len(featured) && strings.HasPrefix(step.method, "/chuishao.v1.WhistleService/") && reason(err) == "WRONG_STATE" {
			s.over = true // it took so long that the whistle was raised, and others go on with it
			return nothing, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s by %s: %w", step.method, step.by, err)
		}
		return answer, nil
	}
	if got := reason(err); got != step.refused {
		return nil, fmt.Errorf("%s by %s was to be refused for %s: %w", step.method, step.by, step.refused, cmp.Or(err, errors.New("it was not refused")))
	}
	return nil, nil
}

// reason is the reason of a refusal.
func reason(err error) string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.Reason
		}
	}
	return ""
}

// send makes the call, and makes it again while its outcome is unknown.
func (p *player) send(ctx context.Context, step *step, message proto.Message) (proto.Message, error) {
	ctx = metadata.AppendToOutgoingContext(ctx, principal.DevActorHeader, step.by)
	if m, ok := message.(*pb.IntakeTicketsRequest); ok {
		return p.intake(ctx, m)
	}
	if m, ok := message.(*pb.WatchDeskRequest); ok {
		return p.desk(ctx, m)
	}
	answer := answerOf(step.method)
	for attempt := 1; ; attempt++ {
		err := p.conn.Invoke(ctx, step.method, message, answer)
		if status.Code(err) != codes.Unavailable || attempt == 5 {
			return answer, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Duration(attempt) * 100 * time.Millisecond):
		}
	}
}

// answerOf is an empty answer of a method, by its full name "/chuishao.v1.TicketService/GetTicket".
func answerOf(method string) proto.Message {
	name := strings.ReplaceAll(strings.TrimPrefix(method, "/"), "/", ".")
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
	m, ok := found.(protoreflect.MethodDescriptor)
	if err != nil || !ok {
		panic("no method " + method)
	}
	answer, err := protoregistry.GlobalTypes.FindMessageByName(m.Output().FullName())
	if err != nil {
		panic(err)
	}
	return answer.New().Interface()
}

// intake reports over a stream.
func (p *player) intake(ctx context.Context, m *pb.IntakeTicketsRequest) (proto.Message, error) {
	stream, err := pb.NewTicketServiceClient(p.conn).IntakeTickets(ctx)
	if err != nil {
		return nil, err
	}
	if err := stream.Send(m); err != nil {
		return nil, err
	}
	answer, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	if f := answer.GetFailure(); f != nil {
		return nil, fmt.Errorf("message %d: %s %s %s", answer.Sequence, f.Reason, f.Field, f.Message)
	}
	if err := stream.CloseSend(); err != nil {
		return nil, err
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("the end of the stream: %w", err)
	}
	return answer.GetAnswer(), nil
}

// note keeps what an answer says, and counts.
func (p *player) note(s *story, answer proto.Message) {
	if answer != nil && answer != nothing {
		p.carried[s.steps[s.next].method]++
	}
	switch a := answer.(type) {
	case nil:
		p.refused++
	case *pb.TicketAnswer:
		if s.tickets == nil {
			s.tickets = map[string]string{}
		}
		s.ticket, s.tickets[s.steps[s.next].which], s.limits = a.Name, a.Name, a.Limits
		p.tokens = append(p.tokens, a.ConsistencyToken)
		switch s.steps[s.next].method {
		case pb.TicketService_ReportTicket_FullMethodName, pb.TicketService_IntakeTickets_FullMethodName:
			p.reported++
		case pb.TicketService_DispatchTicket_FullMethodName:
			p.dispatched++
		case pb.TicketService_AnswerTicketDirectly_FullMethodName, pb.TicketService_CloseTicket_FullMethodName:
			p.closed++
		}
	case *pb.Ticket:
		s.limits, s.listed = a.Limits, a.Listed
	case *pb.Listing:
		s.problem = a
	case *pb.CommandAnswer:
		if s.names == nil {
			s.names = map[string]string{}
		}
		collection, _, _ := strings.Cut(a.Name, "/")
		s.names[collection] = a.Name
		if collection == "posts" && (a.State == "TICKETED" || a.State == "SELF_SOLVED") { // a post and its ticket have one id
			if s.tickets == nil {
				s.tickets = map[string]string{}
			}
			s.ticket = "tickets/" + strings.TrimPrefix(a.Name, "posts/")
			s.tickets[s.steps[s.next].which] = s.ticket
		}
		p.tokens = append(p.tokens, a.ConsistencyToken)
	case *pb.Whistle:
		if a.Child != "" { // it goes on as that
			s.whistle = a.Child
		}
	case *pb.WhistleAnswer:
		s.whistle = a.Name
		p.tokens = append(p.tokens, a.ConsistencyToken)
		switch a.State {
		case pb.WhistleState_WHISTLE_STATE_CLOSED, pb.WhistleState_WHISTLE_STATE_REFUSED, pb.WhistleState_WHISTLE_STATE_CANCELLED,
			pb.WhistleState_WHISTLE_STATE_RAISED:
			delete(p.whistles, a.Name)
		default:
			p.whistles[a.Name] = true
		}
	}
}

// figures are the city's, once the views have seen all that was done.
func (p *player) figures(ctx context.Context, at time.Time) (*pb.ClosureFigures, error) {
	views := pb.NewViewServiceClient(p.conn)
	q := &pb.GetClosureRequest{Level: "city", Code: cityArea, AsOf: timestamppb.New(at)}
	// Which of the tokens is the latest only the node can tell: who has waited for each has waited for all.
	var answer *pb.GetClosureResponse
	for _, token := range append([]string{""}, p.tokens...) {
		q.MinConsistencyToken = token
		var err error
		answer, err = views.GetClosure(p.reading(ctx), q)
		if status.Code(err) == codes.NotFound { // nothing has come in so far
			answer = new(pb.GetClosureResponse)
		} else if err != nil {
			return nil, fmt.Errorf("figures of the city: %w", err)
		}
	}
	if f := answer.GetRow().GetFigures(); f != nil {
		return f, nil
	}
	return new(pb.ClosureFigures), nil
}

func (p *player) reading(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, principal.DevActorHeader, actor("demo", cityCentre, pb.Role_ROLE_AUDITOR))
}

func (p *player) hour(ctx context.Context, at time.Time) error {
	f, err := p.figures(ctx, at)
	if err != nil {
		return err
	}
	name := at.Format("15:04")
	if !at.Before(p.end) {
		name = "24:00"
	}
	fmt.Fprintf(p.out, "%-6s %9d %11d %7d %9d %8s\n", name, p.reported, p.dispatched, p.closed, len(p.whistles), percent(f.ClosureRate))
	return nil
}

func percent(rate *float64) string {
	if rate == nil {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", *rate*100)
}

func zone() *time.Location { return calendar.Default().Zone() }
