package policy_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/rule"
)

// sampled is a closed ticket, and a sample that holds nothing else.
func sampled(t *testing.T, c *dispatchtest.City) (ticket, sample string) {
	t.Helper()
	ticket = c.Report(t, dispatchtest.Community)
	c.ToHandling(t, ticket, dispatchtest.DistrictUrban)
	c.ToClosed(t, ticket, dispatchtest.DistrictUrban)
	c.Clock.Add(time.Hour)
	now := c.Clock.Now()
	_, result, err := c.Carry(t.Context(), dispatch.Request{
		Actor: supervisor, Drawing: &rule.Drawing{Tickets: []string{dispatch.ID(stream(ticket))}, KnownAt: 1, Seed: make([]byte, 16)},
		Command: &pb.DrawSpotCheckRequest{
			RequestId: c.RequestID(), Kind: pb.CheckKind_CHECK_KIND_SPOT_CHECK, Area: dispatchtest.Community, From: timestamppb.New(now.Add(-2 * time.Hour)), To: timestamppb.New(now), Size: 1,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return ticket, "checks/" + dispatch.ID(result.Stream)
}

var districtSupervisor = dispatchtest.As(dispatchtest.DistrictCentre, pb.Role_ROLE_SUPERVISOR)

func untrue(c *dispatchtest.City, sample, ticket string) *pb.RecordSpotCheckRequest {
	return &pb.RecordSpotCheckRequest{Name: sample, RequestId: c.RequestID(), Ticket: ticket, FalseResult: true, Particulars: &pb.Particulars{Text: "路灯仍不亮"}}
}

// followed counts what became of the ticket: how often it was opened again by a spot check, and supervised for a false result.
func checked(t *testing.T, c *dispatchtest.City, ticket string) (reopened, raised int) {
	t.Helper()
	for r, err := range c.Store.ReadStream(t.Context(), stream(ticket), 0) {
		if err != nil {
			t.Fatal(err)
		}
		d, err := event.Decode(r)
		if err != nil {
			t.Fatal(err)
		}
		switch e := d.Event.(type) {
		case *pb.TicketReopened:
			if e.Reason == pb.ReopenReason_REOPEN_REASON_SPOT_CHECK {
				reopened++
			}
		case *pb.SupervisionRaised:
			if e.Trigger == pb.SupervisionTrigger_SUPERVISION_TRIGGER_FALSE_RESULT {
				if raised++; e.Level != 4 || d.Meta.CausedBy == "" {
					t.Errorf("got %v, caused by %q", e, d.Meta.CausedBy)
				}
			}
		}
	}
	return reopened, raised
}

func TestAFalseResultOpensItsTicketAgainAfterAProcessDiedBetweenTheTwo(t *testing.T) {
	t.Parallel()
	// It dies before it opens the ticket, or after that and before it raises supervision.
	for _, before := range []string{"TicketReopened", "SupervisionRaised"} {
		c := dispatchtest.Open(t)
		ticket, sample := sampled(t, c)
		finish(t, c, districtSupervisor, untrue(c, sample, ticket), before)
		// What followed first may be all that was waited for.
		for r, err := range c.Store.ReadAll(t.Context(), 0) {
			if err != nil {
				t.Fatal(err)
			}
			d, err := event.Decode(r)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := c.React(t.Context(), &d); err != nil && c.Follows(r.Type) {
					t.Fatal(err)
				}
			}
		}
		if reopened, raised := checked(t, c, ticket); reopened != 1 || raised != 1 {
			t.Errorf("cut off before %s: opened again %d times, supervised %d times; want once each", before, reopened, raised)
		}
	}
}

func TestWhatASpotCheckFoundIsNotOfARoundThatBeganLater(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	ticket, sample := sampled(t, c)
	// The record is there, but what follows from it is cut off; meanwhile a person opens the ticket, and it is closed again.
	dying, err := dispatch.New(t.Context(), cutOffAt{c.Store, "TicketReopened"}, c.Keys, dispatch.Options{Clock: c.Clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := dying.Carry(t.Context(), dispatch.Request{Actor: districtSupervisor, Command: untrue(c, sample, ticket)}); err == nil {
		t.Fatal("want it cut off")
	}
	c.Clock.Add(time.Hour)
	c.Do(t, supervisor, &pb.ReopenTicketRequest{Name: ticket, RequestId: c.RequestID(), Reason: pb.ReopenReason_REOPEN_REASON_UNSOLVED, Particulars: &pb.Particulars{Note: "仍不亮"}})
	c.Do(t, dispatchtest.As(dispatchtest.DistrictUrban, pb.Role_ROLE_DEPARTMENT_CLERK), &pb.SignTicketRequest{Name: ticket, RequestId: c.RequestID()})
	look := func() {
		t.Helper()
		for r, err := range c.Store.ReadStream(t.Context(), "check-"+strings.TrimPrefix(sample, "checks/"), 0) {
			if err != nil {
				t.Fatal(err)
			}
			d, err := event.Decode(r)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.React(t.Context(), &d); err != nil {
				t.Fatal(err)
			}
		}
		if reopened, raised := checked(t, c, ticket); reopened != 0 || raised != 0 {
			t.Errorf("opened again %d times, supervised %d times; want never", reopened, raised)
		}
	}
	look()
	c.ToClosed(t, ticket, dispatchtest.DistrictUrban)
	look()
}
