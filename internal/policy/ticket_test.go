package policy_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/policy"
	"github.com/chuishao/dispatch/internal/rule"
)

// cutOffAt fails every append of one type of events, as a process does that dies before it.
type cutOffAt struct {
	eventstore.Store
	typ string
}

func (c cutOffAt) Append(ctx context.Context, stream string, after eventstore.Version, events []eventstore.Event) (eventstore.Position, error) {
	if events[0].Type == c.typ {
		return 0, fmt.Errorf("cut off: %w", eventstore.ErrUnavailable)
	}
	return c.Store.Append(ctx, stream, after, events)
}

// finish cuts the command off before the event and lets two replicas react until it is there. It gives the streams it stands in.
func finish(t *testing.T, c *dispatchtest.City, actor rule.Actor, command proto.Message, typ string) (streams []string) {
	t.Helper()
	dying, err := dispatch.New(t.Context(), cutOffAt{c.Store, typ}, c.Keys, dispatch.Options{Clock: c.Clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	if request := (dispatch.Request{Actor: actor, Command: command}); rule.ResourceOf(command).Collection == "tickets" {
		_, _, err = dying.Ticket(t.Context(), request)
	} else {
		_, _, err = dying.Carry(t.Context(), request)
	}
	if !errors.Is(err, eventstore.ErrUnavailable) {
		t.Fatalf("got %v, want the outcome to be unknown", err)
	}
	head, err := c.Store.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
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
	for r, err := range c.Store.Subscribe(t.Context(), head) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Type == typ {
			break
		}
	}
	stop()
	wg.Wait()
	for r, err := range c.Store.ReadAll(t.Context(), head) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Type == typ {
			streams = append(streams, r.Stream)
		}
	}
	return streams
}

var (
	desk       = dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_DISPATCHER)
	supervisor = dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_SUPERVISOR)
)

// two are accepted tickets.
func two(t *testing.T, c *dispatchtest.City) (primary, child string) {
	t.Helper()
	names := []*string{&primary, &child}
	for _, name := range names {
		*name = c.Report(t, dispatchtest.Community)
		c.Do(t, dispatchtest.Hotline, &pb.AcceptTicketRequest{Name: *name, RequestId: c.RequestID()})
	}
	return primary, child
}

func stream(name string) string { return "ticket-" + strings.TrimPrefix(name, "tickets/") }

func TestADuplicateLearnsOfItsPrimaryAfterAProcessDiedBetweenTheTwo(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	primary, child := two(t, c)
	merge := &pb.MergeTicketRequest{RequestId: "m", Name: child, Into: primary}
	if told := finish(t, c, desk, merge, "TicketMerged"); !slices.Equal(told, []string{stream(child)}) {
		t.Fatalf("got the word in %v, want it once in %s", told, stream(child))
	}
	// Whoever sent it may do so again, and hears what became of it.
	s, result, err := c.Ticket(t.Context(), dispatch.Request{Actor: desk, Command: merge})
	if err != nil || !result.Repeated || stream("tickets/"+s.MergedInto) != stream(primary) {
		t.Errorf("got a duplicate of %q, %+v, %v", s.MergedInto, result, err)
	}
}

func TestAPrimaryLearnsThatItsDuplicateIsNoneAfterAProcessDiedBetweenTheTwo(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	primary, child := two(t, c)
	c.Do(t, desk, &pb.MergeTicketRequest{RequestId: "m", Name: child, Into: primary})
	unmerge := &pb.UnmergeTicketRequest{RequestId: "u", Name: child, Particulars: &pb.Particulars{Note: "另有一事"}}
	if told := finish(t, c, supervisor, unmerge, "DuplicateDetached"); !slices.Equal(told, []string{stream(primary)}) {
		t.Fatalf("got the word in %v, want it once in %s", told, stream(primary))
	}
	s, _, err := c.LoadTicket(t.Context(), primary)
	if err != nil || len(s.Duplicates) != 0 {
		t.Errorf("got %v, %v", s.Duplicates, err)
	}
}

func TestAHazardGoesOnAfterAProcessDiedBetweenTheTwo(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	name, _ := two(t, c)
	withdraw := &pb.WithdrawTicketRequest{RequestId: "w", Name: name, Hazard: true, Particulars: &pb.Particulars{Text: "不追究了"}}
	told := finish(t, c, dispatchtest.Hotline, withdraw, "TicketReported")
	if len(told) != 1 {
		t.Fatalf("got the hazard reported in %v, want it once", told)
	}
	s, _, err := c.LoadTicket(t.Context(), "tickets/"+strings.TrimPrefix(told[0], "ticket-"))
	if err != nil || s.SourceRef != "withdrawn/"+strings.TrimPrefix(name, "tickets/") {
		t.Errorf("got %q, %v", s.SourceRef, err)
	}
}
