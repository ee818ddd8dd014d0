package scenario_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/examples/wuxi"
	"github.com/chuishao/dispatch/internal/admission"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/check"
	"github.com/chuishao/dispatch/internal/deliberation"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore/stores"
	"github.com/chuishao/dispatch/internal/exchange"
	"github.com/chuishao/dispatch/internal/listing"
	"github.com/chuishao/dispatch/internal/registry"
	"github.com/chuishao/dispatch/internal/review"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/scenario"
	"github.com/chuishao/dispatch/internal/servers/serverstest"
	"github.com/chuishao/dispatch/internal/ticket"
	"github.com/chuishao/dispatch/internal/wall"
	"github.com/chuishao/dispatch/internal/whistle"
)

func TestMain(m *testing.M) { serverstest.Main(m) }

func load(t testing.TB) *scenario.Corpus {
	t.Helper()
	c, err := scenario.Load()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTheRulesKeepWhatTheScenariosPromise(t *testing.T) {
	t.Parallel()
	c := load(t)
	for i := range c.Scenarios {
		s := &c.Scenarios[i]
		if s.Beyond != "" {
			continue
		}
		t.Run(s.File+"/"+s.Name, func(t *testing.T) {
			t.Parallel()
			if err := c.Play(t.Context(), newRules(), s, "s"); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTheWritePathKeepsWhatTheScenariosPromise(t *testing.T) {
	t.Parallel()
	c := load(t)
	for _, kind := range stores.Each(t) {
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			city := dispatchtest.OpenOn(t, kind.Open(t))
			const desks = 8 // dispatchers on one history, each with a clock of its own
			var wg sync.WaitGroup
			for desk := range desks {
				p := &written{beside(t, city)}
				wg.Go(func() {
					for i := desk; i < len(c.Scenarios); i += desks {
						s := &c.Scenarios[i]
						if err := c.Play(t.Context(), p, s, fmt.Sprint(i)); err != nil {
							t.Errorf("%s: %s: %v", s.File, s.Name, err)
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// beside is another dispatcher on the same history and keys.
func beside(t *testing.T, city *dispatchtest.City) *dispatchtest.City {
	t.Helper()
	clock := new(dispatch.Clock)
	clock.Set(dispatchtest.Start)
	d, err := dispatch.New(t.Context(), city.Store, city.Keys, dispatch.Options{Clock: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	return &dispatchtest.City{Dispatcher: d, Dir: city.Dir, Store: city.Store, Keys: city.Keys, Clock: clock}
}

func TestScenariosHaveNamesOfTheirOwn(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, s := range load(t).Scenarios {
		if s.Name == "" || seen[s.Name] {
			t.Errorf("%s: %q", s.File, s.Name)
		}
		seen[s.Name] = true
	}
}

// snapshot is the example city's registry, as dispatchtest loads it.
var snapshot = sync.OnceValue(func() *registry.Snapshot {
	content, faults := registry.ReadDir(wuxi.Files)
	if len(faults) > 0 {
		panic(fmt.Sprint(faults))
	}
	return registry.NewSnapshot("wuxi-1", dispatchtest.Start.AddDate(-10, 0, 0), content.Pieces(), nil)
})

func calendarAndProfile() (*calendar.Calendar, calendar.Profile) {
	return calendar.Default(), calendar.DefaultProfile()
}

// rules plays on the rules alone: nothing is stored.
type rules struct {
	tickets  map[string]ticket.State
	whistles map[string]whistle.State
	kinds    map[string]func(*rules, *rule.Asked, proto.Message) (scenario.Outcome, error)
	events   []recorded
	// admissions are all that were applied for, by id.
	admissions map[string]*pb.Admission
}

// recorded is an event with the stream it belongs to.
type recorded struct {
	stream string
	event  proto.Message
}

func newRules() *rules {
	return &rules{tickets: map[string]ticket.State{}, whistles: map[string]whistle.State{}, kinds: others(), admissions: map[string]*pb.Admission{}}
}

// Do is a scenario.Player's.
func (r *rules) Do(_ context.Context, at time.Time, by rule.Actor, command proto.Message) (scenario.Outcome, error) {
	a := &rule.Asked{
		Actor: by, At: at.UTC(), OccurredAt: at.UTC(), Registry: snapshot(), Calendar: calendar.Default(), Profile: calendar.DefaultProfile(), No: "No",
		Admissions: r.admissions,
	}
	if c, ok := command.(interface{ GetOccurredAt() *timestamppb.Timestamp }); ok && c.GetOccurredAt() != nil {
		a.OccurredAt, a.Backdated = c.GetOccurredAt().AsTime(), true
	}
	_, a.Imported = command.(*pb.ImportRecordRequest)
	if c, ok := command.(interface{ GetParticulars() *pb.Particulars }); ok && c.GetParticulars() != nil {
		a.Sealed = &pb.Sealed{Subject: "s", Box: []byte{1}}
	}
	if isWhistle(command) {
		return r.whistle(a, command)
	}
	switch c := command.(type) {
	case *pb.DrawSpotCheckRequest:
		a.Drawing = drawing(r.tickets, by, at, c)
	case *pb.RecordSpotCheckRequest:
		if t, ok := r.tickets[c.Ticket]; ok {
			a.Sampled = t.Sampled(a.Registry, by, at)
		}
	}
	if k := r.kinds[rule.ResourceOf(command).Collection]; k != nil {
		out, err := k(r, a, command)
		if c, ok := command.(*pb.RecordSpotCheckRequest); ok && err == nil && c.FalseResult && !out.Repeated {
			return out, r.answerFalse(a, c.Ticket)
		}
		return out, err
	}
	return r.ticket(a, command)
}

// drawing is what a sample is drawn from, by the tickets' own rules; a ticket is by its name.
func drawing(tickets map[string]ticket.State, by rule.Actor, at time.Time, c *pb.DrawSpotCheckRequest) *rule.Drawing {
	d := &rule.Drawing{KnownAt: 1, Seed: []byte("sixteen bytes ok")}
	for name, t := range tickets {
		seen := t.Confidentiality != pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL || t.MaySee(snapshot(), by, at)
		of := c.Category == "" || rule.Below(snapshot(), t.Category, c.Category, at)
		if seen && of && t.ClosedIn(c.Area, c.From.AsTime(), c.To.AsTime()) {
			d.Tickets = append(d.Tickets, strings.TrimPrefix(name, "tickets/"))
		}
	}
	return d
}

// answerFalse opens a ticket again and raises its supervision, as the policy does.
func (r *rules) answerFalse(a *rule.Asked, name string) error {
	for _, command := range []proto.Message{
		&pb.ReopenTicketRequest{Name: name, Reason: pb.ReopenReason_REOPEN_REASON_SPOT_CHECK},
		&pb.SupervisionRaised{Level: 4, Trigger: pb.SupervisionTrigger_SUPERVISION_TRIGGER_FALSE_RESULT},
	} {
		if _, err := r.decideTicket(policyOf(a), name, command); err != nil && !errors.As(err, new(*rule.Refusal)) {
			return err
		}
	}
	return nil
}

// others are what plays commands on each kind of resource beside tickets and whistles.
func others() map[string]func(*rules, *rule.Asked, proto.Message) (scenario.Outcome, error) {
	return map[string]func(*rules, *rule.Asked, proto.Message) (scenario.Outcome, error){
		"posts":         ticketing(playing[wall.State, *wall.State](wall.Decide, wall.Evolve, wall.CheckInvariants)),
		"deliberations": playing[deliberation.State, *deliberation.State](deliberation.Decide, deliberation.Evolve, deliberation.CheckInvariants),
		"exchanges":     playing[exchange.State, *exchange.State](exchange.Decide, exchange.Evolve, exchange.CheckInvariants),
		"admissions":    playing[admission.State, *admission.State](admission.Decide, admission.Evolve, admission.CheckInvariants),
		"listings":      playing[listing.State, *listing.State](listing.Decide, listing.Evolve, listing.CheckInvariants),
		"checks":        playing[check.State, *check.State](check.Decide, check.Evolve, check.CheckInvariants),
		"reviews":       playing[review.State, *review.State](review.Decide, review.Evolve, review.CheckInvariants),
	}
}

// playing plays commands on one kind of resource, on its rules alone. What a rule is told of other streams is not: a scenario that needs it
// says "beyond: dispatch".
func playing[S any, P interface {
	*S
	rule.Aggregate
}](decide func(S, *rule.Asked, proto.Message) ([]proto.Message, error), evolve func(S, *pb.EventMeta, proto.Message) (S, error),
	check func(before, after S, meta *pb.EventMeta, e proto.Message) error) func(*rules, *rule.Asked, proto.Message) (scenario.Outcome, error) {
	states := map[string]S{}
	return func(r *rules, a *rule.Asked, command proto.Message) (scenario.Outcome, error) {
		of := rule.ResourceOf(command)
		name := ""
		if c, ok := command.(interface{ GetName() string }); ok {
			name = c.GetName()
		} else {
			name = of.Collection + "/" + id(command.(interface{ GetRequestId() string }).GetRequestId())
		}
		s := states[name]
		events, err := decide(s, a, command)
		if err != nil {
			return scenario.Outcome{}, err
		}
		out := scenario.Outcome{Name: name, Repeated: len(events) == 0}
		for _, e := range events {
			meta := r.envelope(a)
			if l, ok := e.(rule.Later); ok {
				e, meta.OccurredAt = l.Message, timestamppb.New(l.OccurredAt)
			}
			out.Events = append(out.Events, e)
			before := s
			if s, err = evolve(s, meta, e); err != nil {
				return out, err
			}
			if err := check(before, s, meta, e); err != nil {
				return out, err
			}
			r.events = append(r.events, recorded{name, e})
		}
		states[name] = s
		if admitted, ok := any(&s).(*admission.State); ok {
			id := strings.TrimPrefix(name, "admissions/")
			r.admissions[id] = admitted.Message(id)
		}
		_, out.State = P(&s).Standing()
		return out, nil
	}
}

// ticketing makes the ticket of a post that goes on as one, as the write path does.
func ticketing(play func(*rules, *rule.Asked, proto.Message) (scenario.Outcome, error)) func(*rules, *rule.Asked, proto.Message) (scenario.Outcome, error) {
	type post struct {
		*pb.PostPublished
		at   time.Time
		said *pb.Particulars
	}
	posts := map[string]post{}
	return func(r *rules, a *rule.Asked, command proto.Message) (scenario.Outcome, error) {
		out, err := play(r, a, command)
		for _, e := range out.Events {
			p, id := posts[out.Name], strings.TrimPrefix(out.Name, "posts/")
			policy := policyOf(a)
			policy.Sealed = &pb.Sealed{Subject: "s", Box: []byte{1}}
			switch e := e.(type) {
			case *pb.PostPublished:
				posts[out.Name] = post{e, a.OccurredAt, command.(*pb.PostOnWallRequest).Particulars}
			case *pb.PostTicketed:
				policy.OccurredAt = p.at
				report := &pb.ReportTicketRequest{
					Source: ticket.Wall, SourceRef: id, Channel: pb.Channel_CHANNEL_WALL, Kind: pb.MatterKind_MATTER_KIND_OTHER,
					Area: p.Path[len(p.Path)-1].Code, Category: e.Category, Particulars: p.said,
				}
				_, err = r.decideTicket(policy, "tickets/"+id, report)
				if err == nil {
					policy.Sealed = nil
					_, err = r.decideTicket(policy, "tickets/"+id, &pb.AcceptTicketRequest{})
				}
			case *pb.PostSelfSolved:
				_, err = r.decideTicket(policy, "tickets/"+id, &pb.SolveOnWallRequest{
					Name: "tickets/" + id, Post: out.Name, Area: p.Path[len(p.Path)-1].Code, Unit: e.Unit, Category: e.Category, PostedAt: timestamppb.New(p.at),
					Particulars: &pb.Particulars{Reply: "x"}, Drawn: e.Drawn, Percent: e.Percent,
				})
			}
		}
		return out, err
	}
}

func isWhistle(command proto.Message) bool {
	return command.ProtoReflect().Descriptor().ParentFile().Path() == "chuishao/v1/whistle.proto"
}

func id(key string) string { return uuid.NewSHA1(uuid.Nil, []byte(key)).String() }

func (r *rules) ticket(a *rule.Asked, command proto.Message) (scenario.Outcome, error) {
	var name string
	switch c := command.(type) {
	case *pb.ReportTicketRequest:
		name = "tickets/" + id(c.Source+c.SourceRef)
		if c.SourceRef == "" {
			name = "tickets/" + id(c.RequestId)
		}
	case *pb.ImportRecordRequest:
		name = "tickets/" + id(c.Source+c.SourceRef)
	case *pb.MergeTicketRequest:
		return r.merge(a, c)
	case interface{ GetName() string }:
		name = c.GetName()
	}
	from := r.tickets[name].MergedInto
	if from != "" {
		a.Linked = map[string]*pb.Ticket{from: r.message("tickets/" + from)}
	}
	out, err := r.decideTicket(a, name, command)
	if _, ok := command.(*pb.UnmergeTicketRequest); ok && err == nil {
		_, err = r.decideTicket(policyOf(a), "tickets/"+from, &pb.DuplicateDetached{Ticket: strings.TrimPrefix(name, "tickets/")})
	}
	return out, err
}

// merge asks both tickets and tells the duplicate, as the write path does.
func (r *rules) merge(a *rule.Asked, c *pb.MergeTicketRequest) (scenario.Outcome, error) {
	into := c.Into
	if p := r.tickets[into]; p.MergedInto != "" {
		into = "tickets/" + p.MergedInto
	}
	if p := r.tickets[into]; p.Exists() && into != c.Name {
		a.Linked = map[string]*pb.Ticket{strings.TrimPrefix(into, "tickets/"): r.message(into)}
	}
	if _, err := ticket.Decide(r.tickets[c.Name], a, c); err != nil {
		return scenario.Outcome{}, err
	}
	a.Linked = map[string]*pb.Ticket{strings.TrimPrefix(c.Name, "tickets/"): r.message(c.Name)}
	if _, err := r.decideTicket(a, into, c); err != nil {
		return scenario.Outcome{}, err
	}
	return r.decideTicket(policyOf(a), c.Name, &pb.TicketMerged{Into: strings.TrimPrefix(into, "tickets/")})
}

func (r *rules) message(name string) *pb.Ticket {
	s := r.tickets[name]
	return s.Message(strings.TrimPrefix(name, "tickets/"))
}

// policyOf is what a rule is told when one stream follows from another.
func policyOf(a *rule.Asked) *rule.Asked {
	policy := *a
	policy.Actor, policy.Sealed = rule.Actor{Person: "policy", Roles: []pb.Role{pb.Role_ROLE_SYSTEM}}, nil
	return &policy
}

func (r *rules) decideTicket(a *rule.Asked, name string, command proto.Message) (scenario.Outcome, error) {
	s := r.tickets[name]
	events, err := ticket.Decide(s, a, command)
	if err != nil {
		return scenario.Outcome{}, err
	}
	out := scenario.Outcome{Name: name, Repeated: len(events) == 0}
	for _, e := range events {
		meta := r.envelope(a)
		if l, ok := e.(rule.Later); ok {
			e, meta.OccurredAt = l.Message, timestamppb.New(l.OccurredAt)
		}
		out.Events = append(out.Events, e)
		if _, ok := e.(*pb.IdentityRevealed); ok {
			continue
		}
		before := s
		if s, err = ticket.Evolve(s, meta, e); err != nil {
			return out, err
		}
		if err := ticket.CheckInvariants(before, s, meta, e); err != nil {
			return out, err
		}
		r.events = append(r.events, recorded{name, e})
	}
	r.tickets[name] = s
	out.State = s.State.String()
	return out, nil
}

func (r *rules) envelope(a *rule.Asked) *pb.EventMeta {
	return &pb.EventMeta{
		OccurredAt: timestamppb.New(a.OccurredAt), RecordedAt: timestamppb.New(a.At),
		Actor: &pb.Actor{Person: a.Actor.Person, Role: a.Acting, Unit: a.Actor.Unit},
	}
}

func (r *rules) whistle(a *rule.Asked, command proto.Message) (scenario.Outcome, error) {
	name := command.(interface{ GetName() string }).GetName()
	if c, ok := command.(*pb.BlowWhistleRequest); ok && name == "" {
		name = "whistles/" + id(c.RequestId)
	}
	s := r.whistles[name]
	a.Linked = map[string]*pb.Ticket{}
	for n, t := range r.tickets {
		tid := strings.TrimPrefix(n, "tickets/")
		a.Linked[tid] = t.Message(tid)
		if against := t.Against(a.Registry); against != "" {
			a.Against = append(a.Against, against)
		}
	}
	a.Child = id("child/" + name)
	if len(s.Tickets) > 0 && slices.Contains(a.Actor.Roles, pb.Role_ROLE_CITIZEN) {
		a.Petitioner = r.tickets["tickets/"+s.Tickets[0]].Subject
	}
	events, err := whistle.Decide(s, a, command)
	if err != nil {
		return scenario.Outcome{}, err
	}
	out := scenario.Outcome{Name: name, Repeated: len(events) == 0}
	for _, e := range events {
		meta, before := r.envelope(a), s
		if l, ok := e.(rule.Later); ok {
			e, meta.OccurredAt = l.Message, timestamppb.New(l.OccurredAt)
		}
		out.Events = append(out.Events, e)
		if s, err = whistle.Evolve(s, meta, e); err != nil {
			return out, err
		}
		if err := whistle.CheckInvariants(before, s, meta, e); err != nil {
			return out, err
		}
		r.events = append(r.events, recorded{name, e})
	}
	r.whistles[name] = s
	out.State = s.State.String()
	return out, r.tell(a, strings.TrimPrefix(name, "whistles/"), s)
}

// tell lets the tickets of a whistle know, as the policy does.
func (r *rules) tell(a *rule.Asked, id string, s whistle.State) error {
	var word proto.Message
	switch {
	case s.BlownAt.IsZero():
		return nil
	case whistle.Ended(s.State):
		word = &pb.WhistleSettled{Whistle: id, Outcome: s.State}
	case s.State == pb.WhistleState_WHISTLE_STATE_BLOWN, s.State == pb.WhistleState_WHISTLE_STATE_ISSUED:
		linked := &pb.WhistleLinked{Whistle: id}
		for _, p := range s.Participants {
			linked.Participants = append(linked.Participants, p.Unit)
		}
		word = linked
	default:
		return nil
	}
	for _, t := range s.Tickets {
		if _, err := r.decideTicket(policyOf(a), "tickets/"+t, word); err != nil {
			return err
		}
	}
	return nil
}

// written plays through the one write path, on a store.
type written struct{ *dispatchtest.City }

// Do is a scenario.Player's.
func (w *written) Do(ctx context.Context, at time.Time, by rule.Actor, command proto.Message) (scenario.Outcome, error) {
	w.Clock.Set(at)
	var (
		out    scenario.Outcome
		result dispatch.Result
		err    error
	)
	id := command.(interface{ GetRequestId() string }).GetRequestId()
	request := dispatch.Request{Actor: by, Command: command}
	if draw, ok := command.(*pb.DrawSpotCheckRequest); ok {
		if request.Drawing, err = w.drawing(ctx, by, at, draw); err != nil {
			return scenario.Outcome{}, err
		}
	}
	stream := ""
	switch c := command.(type) {
	case *pb.RevealIdentityRequest:
		_, result, err = w.Reveal(ctx, by, c)
		out.Name, stream = c.Name, result.Stream
	default:
		of := rule.ResourceOf(command)
		if isWhistle(command) {
			var s whistle.State
			s, result, err = w.Whistle(ctx, request)
			out.Name, out.State = "whistles/"+dispatch.ID(result.Stream), s.State.String()
		} else if of.Collection != "tickets" {
			var s rule.Aggregate
			if s, result, err = w.Carry(ctx, request); err == nil {
				out.Name = of.Collection + "/" + dispatch.ID(result.Stream)
				_, out.State = s.Standing()
			}
		} else {
			var s *ticket.State
			s, result, err = w.Ticket(ctx, request)
			out.Name, out.State = "tickets/"+dispatch.ID(result.Stream), s.State.String()
		}
		stream = result.Stream
	}
	if err != nil {
		return scenario.Outcome{}, err
	}
	if out.Repeated = result.Repeated; out.Repeated {
		return out, nil
	}
	_, merging := command.(*pb.MergeTicketRequest)
	for r, err := range w.Store.ReadStream(ctx, stream, 0) {
		if err != nil {
			return out, err
		}
		e, err := event.Decode(r)
		if err != nil {
			return out, err
		}
		if _, merged := e.Event.(*pb.TicketMerged); merged && merging {
			out.Events = []proto.Message{e.Event} // told by the policy
		}
		if e.Meta.RequestId == id || strings.HasPrefix(e.Meta.RequestId, id+"@") {
			out.Events = append(out.Events, e.Event)
		}
	}
	return out, nil
}

// drawing is what a sample is drawn from, by the whole history.
func (w *written) drawing(ctx context.Context, by rule.Actor, at time.Time, c *pb.DrawSpotCheckRequest) (*rule.Drawing, error) {
	tickets := map[string]ticket.State{}
	for r, err := range w.Store.ReadAll(ctx, 0) {
		if err != nil {
			return nil, err
		}
		id, ok := strings.CutPrefix(r.Stream, "ticket-")
		if !ok {
			continue
		}
		e, err := event.Decode(r)
		if err != nil {
			return nil, err
		}
		if tickets["tickets/"+id], err = ticket.Evolve(tickets["tickets/"+id], e.Meta, e.Event); err != nil {
			return nil, err
		}
	}
	return drawing(tickets, by, at, c), nil
}
