package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/policy"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/scenario"
	"github.com/chuishao/dispatch/internal/suggest"
	"github.com/chuishao/dispatch/internal/verify"
	"github.com/chuishao/dispatch/internal/view"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// teller tells stories over gRPC, each in a city of its own.
type teller struct {
	called
	timers *policy.Timers
	views  *viewdb.DB
}

// as lets a context act for somebody.
func as(ctx context.Context, by rule.Actor) context.Context {
	roles := make([]string, len(by.Roles))
	for i, r := range by.Roles {
		roles[i] = strings.TrimPrefix(r.String(), "ROLE_")
	}
	return metadata.AppendToOutgoingContext(ctx, "chuishao-dev-actor", fmt.Sprintf("person=%s;roles=%s;unit=%s", by.Person, strings.Join(roles, ","), by.Unit))
}

// Ask is a scenario.Teller's.
func (t *teller) Ask(ctx context.Context, at time.Time, by rule.Actor, method protoreflect.MethodDescriptor, request proto.Message) ([]proto.Message, error) {
	t.city.Clock.Set(at)
	head, err := t.Reached(ctx)
	if err != nil {
		return nil, err
	}
	if f := request.ProtoReflect().Descriptor().Fields().ByName("min_consistency_token"); f != nil {
		request.ProtoReflect().Set(f, protoreflect.ValueOfString(head))
	}
	typ, err := protoregistry.GlobalTypes.FindMessageByName(method.Output().FullName())
	if err != nil {
		return nil, err
	}
	name := "/" + string(method.Parent().FullName()) + "/" + string(method.Name())
	if !method.IsStreamingServer() {
		answer := typ.New().Interface()
		if err := t.conn.Invoke(as(ctx, by), name, request, answer); err != nil {
			return nil, toldRefusal(err)
		}
		return []proto.Message{answer}, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := t.conn.NewStream(as(ctx, by), &grpc.StreamDesc{ServerStreams: true}, name)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(stream.SendMsg(request), stream.CloseSend()); err != nil {
		return nil, err
	}
	var answers []proto.Message
	for {
		answer := typ.New().Interface()
		switch err := stream.RecvMsg(answer); {
		case errors.Is(err, io.EOF):
			return answers, nil
		case err != nil:
			return nil, toldRefusal(err)
		}
		answers = append(answers, answer)
	}
}

// Fire is a scenario.Teller's.
func (t *teller) Fire(ctx context.Context, at time.Time) error {
	t.city.Clock.Set(at)
	_, err := t.timers.FireDue(ctx)
	return err
}

// Recorded is a scenario.Teller's.
func (t *teller) Recorded(ctx context.Context, name string) (types []string, err error) {
	for e, err := range decoded(t.city.Store.ReadStream(ctx, streamOf(name), 0)) {
		if err != nil {
			return nil, err
		}
		types = append(types, e.Type)
	}
	return types, nil
}

// Await is a scenario.Teller's.
func (t *teller) Await(ctx context.Context, name string, want []string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var types []string
	for r, err := range t.city.Store.Subscribe(ctx, 0) {
		if err != nil {
			return fmt.Errorf("got %v, want %v at last: %w", types, want, err)
		}
		if r.Stream != streamOf(name) {
			continue
		}
		types = append(types, r.Type)
		if n := len(types) - len(want); n >= 0 && slices.Equal(types[n:], want) {
			return nil
		}
	}
	return errors.New("the history ended")
}

// Reached is a scenario.Teller's.
func (t *teller) Reached(ctx context.Context) (string, error) {
	head, err := t.city.Store.Head(ctx)
	return Token(head), err
}

// streamOf is the stream of a ticket or whistle.
func streamOf(name string) string {
	collection, id, _ := strings.Cut(name, "/")
	of, _ := rule.ResourceIn(collection)
	return of.Stream + "-" + id
}

func decoded(records iter.Seq2[eventstore.Recorded, error]) iter.Seq2[event.Decoded, error] {
	return func(yield func(event.Decoded, error) bool) {
		for r, err := range records {
			var e event.Decoded
			if err == nil {
				e, err = event.Decode(r)
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// place is a checkpoint in memory.
type place struct {
	mu sync.Mutex
	at eventstore.Position
}

func (p *place) Load(context.Context) (eventstore.Position, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at, nil
}

func (p *place) Save(_ context.Context, at eventstore.Position) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at = at
	return nil
}

// LoadMap keeps nothing: at each start the open tickets are looked at.
func (p *place) LoadMap(context.Context) (string, error) { return "", nil }

func (p *place) SaveMap(context.Context, string) error { return nil }

// running makes a city whose node does all that one does which is served: views, policy, suggestions; but timers fire when they are told to.
func running(t *testing.T) *teller {
	t.Helper()
	city := dispatchtest.Open(t)
	c := Config{DevActor: true, Dispatcher: city.Dispatcher}
	trouble := func(err error) { t.Error(err) }
	x, err := suggest.New(city.Dispatcher, suggest.Options{OnTrouble: trouble})
	if err != nil {
		t.Fatal(err)
	}
	c.Suggest = x
	db, views := viewingIn(t, city, &c)
	conn := serve(t, c, c.register)
	views()
	p := &policy.Policy{
		Dispatcher: city.Dispatcher, Checkpoint: &place{}, OnTrouble: trouble,
		OpenTickets: policy.Open{Store: city.Store, Views: c.Views, Projector: c.Projector}.Tickets,
	}
	for _, run := range []func(context.Context) error{x.Run, p.Run} {
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- run(ctx) }()
		t.Cleanup(func() {
			stop()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	return &teller{
		called: called{city, conn},
		timers: &policy.Timers{Dispatcher: city.Dispatcher, Views: c.Views, Projector: c.Projector, OnTrouble: trouble},
		views:  db,
	}
}

// provesItself has the whole history checked, and its views compared with what a replay from the first event gives: they must be alike
// byte for byte.
func (t *teller) provesItself(tb testing.TB) {
	tb.Helper()
	head, err := t.city.Store.Head(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	if err := t.timers.Projector.WaitFor(tb.Context(), head); err != nil {
		tb.Fatal(err)
	}
	var last *pb.VerifyHistoryResponse
	err = verify.Run(tb.Context(), verify.Config{Store: t.city.Store, Views: t.views, Zone: t.city.Zone(), Dir: tb.TempDir()}, func(m *pb.VerifyHistoryResponse) error {
		for _, f := range m.Findings {
			tb.Errorf("the history is not as it should be: %v", f)
		}
		last = m
		return nil
	})
	if err != nil || !last.GetDone() || len(last.Views) != len(view.All(t.city.Zone())) || last.Events == 0 {
		tb.Errorf("verified %v, %v", last, err)
	}
}

func TestAStoryThatIsToldWronglyIsFoundOut(t *testing.T) {
	t.Parallel()
	corpus, err := scenario.Load()
	if err != nil {
		t.Fatal(err)
	}
	p := running(t)
	for i, w := range []struct{ step, wrong string }{
		{"{ticket: A, by: agent, do: AcceptTicket, then: {events: [TicketAccepted: {}]}}", ""},
		{"{ticket: A, by: agent, do: AcceptTicket, then: {events: [TicketAccepted: {holder: nobody}]}}", "holder: got 320205001001, want nobody"},
		{"{ticket: A, by: agent, do: AcceptTicket, then: {refusal: {reason: WRONG_STATE}}}", "want it refused with WRONG_STATE"},
		{"{ticket: A, by: urban clerk, do: SignTicket}", "OUT_OF_SCOPE"},
		{"{at: 2025-03-20 09:00:00, fires: {A: [AcceptOverdue]}}", ""},
		{"{at: 2025-03-05 09:30:00, fires: {A: [AcceptOverdue]}}", "on A fired [], want [AcceptOverdue]"},
		{"{at: 2025-03-20 09:00:00, fires: {A: []}}", "on A fired [AcceptOverdue], want []"},
		{"{by: auditor, ask: GetTicket, with: {name: $A}, answer: {state: TICKET_STATE_REPORTED, round: null}, counts: {path: 4}}", ""},
		{"{by: auditor, ask: GetTicket, with: {name: $A}, answer: {state: TICKET_STATE_CLOSED}}", "state: got TICKET_STATE_REPORTED, want TICKET_STATE_CLOSED"},
		{"{by: auditor, ask: GetTicket, with: {name: $A}, answer: {path: [{}]}}", "path: got"},
		{"{by: auditor, ask: GetTicket, with: {name: $A}, counts: {path: 5}}", "path: got 4, want 5"},
		{"{by: far urban clerk, ask: GetTicket, with: {name: $A}}", "NOT_FOUND"},
		{"{by: far urban clerk, ask: GetTicket, with: {name: $A}, then: {refusal: {reason: WRONG_STATE}}}", "want WRONG_STATE"},
		{"{by: auditor, ask: GetTicket, with: {name: $A}, then: {refusal: {reason: OUT_OF_SCOPE}}}", "want it refused with OUT_OF_SCOPE"},
		{"{by: auditor, ask: StreamHistory, with: {name: $A}, answer: [{type: TicketReported, json: {channel: CHANNEL_HOTLINE}}]}", ""},
		{"{by: auditor, ask: StreamHistory, with: {name: $A}, answer: [{json: {channel: CHANNEL_WEB}}]}", "json.channel: got CHANNEL_HOTLINE, want CHANNEL_WEB"},
		{"{by: auditor, ask: StreamHistory, with: {name: $A}, answer: []}", "want []"},
		{"{ticket: C, repeat: 2, by: agent, do: AcceptTicket}", "time 1"},
	} {
		s := &scenario.Story{}
		if err := yaml.Unmarshal([]byte("steps: [{ticket: A, life: reported, at: 2025-03-05 09:00:00}, "+w.step+"]"), s); err != nil {
			t.Fatalf("%s: %v", w.step, err)
		}
		switch err := corpus.Tell(t.Context(), p, s, fmt.Sprint("w", i)); {
		case w.wrong == "" && err != nil:
			t.Errorf("%s: got %v", w.step, err)
		case w.wrong != "" && (err == nil || !strings.Contains(err.Error(), w.wrong)):
			t.Errorf("%s: got %v, want %q", w.step, err, w.wrong)
		}
	}
}

func TestStoriesEndAsTheyAreTold(t *testing.T) {
	t.Parallel()
	corpus, err := scenario.Load()
	if err != nil {
		t.Fatal(err)
	}
	stories, err := corpus.Stories()
	if err != nil {
		t.Fatal(err)
	}
	for i := range stories {
		s := &stories[i]
		t.Run(s.File, func(t *testing.T) {
			t.Parallel()
			p := running(t)
			if err := corpus.Tell(t.Context(), p, s, "s"); err != nil {
				t.Errorf("%s: %v", s.Name, err)
			}
			p.provesItself(t)
		})
	}
}
