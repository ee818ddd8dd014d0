package policy_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/policy"
)

// cutOff fails every append to a ticket, as a process does that dies between two streams.
type cutOff struct{ eventstore.Store }

func (c cutOff) Append(ctx context.Context, stream string, after eventstore.Version, events []eventstore.Event) (eventstore.Position, error) {
	if strings.HasPrefix(stream, "ticket-") {
		return 0, fmt.Errorf("cut off: %w", eventstore.ErrUnavailable)
	}
	return c.Store.Append(ctx, stream, after, events)
}

// place is a checkpoint in memory that says when it was saved.
type place struct {
	mu    sync.Mutex
	at    eventstore.Position
	world string
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

func (p *place) LoadMap(context.Context) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.world, nil
}

func (p *place) SaveMap(_ context.Context, name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.world = name
	return nil
}

func TestATicketLearnsOfItsWhistleAfterAProcessDiedBetweenTheTwo(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	name := c.Report(t, dispatchtest.Community)
	c.ToHandling(t, name, dispatchtest.Street)
	dying, err := dispatch.New(t.Context(), cutOff{c.Store}, c.Keys, dispatch.Options{Clock: c.Clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	blow := dispatch.Request{
		Actor: dispatchtest.As(dispatchtest.Street, pb.Role_ROLE_STREET_LEADER),
		Command: &pb.BlowWhistleRequest{
			RequestId: "blow", Kind: pb.WhistleKind_WHISTLE_KIND_ROUTINE, Tickets: []string{name}, Particulars: &pb.Particulars{Text: "x"},
			Summons: []*pb.Summons{{Unit: dispatchtest.DistrictUrban}},
		},
	}
	if _, _, err := dying.Whistle(t.Context(), blow); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Fatalf("got %v, want the outcome to be unknown", err)
	}

	// Two replicas react at the same time.
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 2 {
		p := policy.Policy{Dispatcher: c.Dispatcher, Checkpoint: &place{}, OnTrouble: func(err error) { t.Error(err) }}
		wg.Go(func() {
			if err := p.Run(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		})
	}
	links := 0
	for r, err := range c.Store.Subscribe(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Type == "WhistleLinked" {
			links++
			break
		}
	}
	stop()
	wg.Wait()
	for r, err := range c.Store.ReadStream(t.Context(), "ticket-"+name[len("tickets/"):], 0) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Type == "WhistleLinked" {
			links++
		}
	}
	if links != 2 { // once as it was recorded, once as it stands there
		t.Errorf("the ticket was told %d times, want once", links-1)
	}
	s, _, err := c.LoadTicket(t.Context(), name)
	if err != nil || len(s.Whistles) != 1 {
		t.Errorf("got %+v, %v", s.Whistles, err)
	}
}

func TestACheckpointIsKeptWhenThePolicyStops(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	c.Report(t, dispatchtest.Community)
	head, err := c.Store.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	at := &place{}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- (&policy.Policy{Dispatcher: c.Dispatcher, Checkpoint: at}).Run(ctx)
	}()
	// It has seen everything once it reacts to what comes last.
	name := c.Report(t, dispatchtest.Street)
	c.ToHandling(t, name, dispatchtest.Street)
	_, _, err = c.Whistle(t.Context(), dispatch.Request{
		Actor: dispatchtest.As(dispatchtest.Street, pb.Role_ROLE_STREET_LEADER),
		Command: &pb.BlowWhistleRequest{
			RequestId: "blow", Kind: pb.WhistleKind_WHISTLE_KIND_ROUTINE, Tickets: []string{name}, Particulars: &pb.Particulars{Text: "x"},
			Summons: []*pb.Summons{{Unit: dispatchtest.DistrictUrban}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for r, err := range c.Store.Subscribe(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Type == "WhistleLinked" {
			break
		}
	}
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if got, err := at.Load(t.Context()); err != nil || got > head+100 {
		t.Errorf("got %d, %v", got, err)
	}
}
