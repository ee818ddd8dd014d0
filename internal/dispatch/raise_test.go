package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/whistle"
)

// deaf records on one stream only; what is to be appended to another is lost.
type deaf struct {
	eventstore.Store
	stream string
}

func (d deaf) Append(ctx context.Context, stream string, after eventstore.Version, events []eventstore.Event) (eventstore.Position, error) {
	if stream != d.stream {
		return 0, fmt.Errorf("cut off before %s: %w", stream, eventstore.ErrUnavailable)
	}
	return d.Store.Append(ctx, stream, after, events)
}

const whyBlown = "需城管和交通到场"

// summoned is a whistle for a ticket that was issued to two departments of the district, with the names of both.
func summoned(t *testing.T, c *dispatchtest.City, kind pb.WhistleKind) (ticket, name string) {
	t.Helper()
	ticket = c.Report(t, dispatchtest.Community)
	c.ToHandling(t, ticket, dispatchtest.Street)
	name = sound(t, c.Dispatcher, dispatchtest.As(dispatchtest.Street, pb.Role_ROLE_STREET_LEADER), &pb.BlowWhistleRequest{
		RequestId: "blow", Kind: kind, Tickets: []string{ticket}, Particulars: &pb.Particulars{Text: whyBlown},
		Summons: []*pb.Summons{{Unit: dispatchtest.DistrictUrban}, {Unit: dispatchtest.DistrictTraffic}},
	})
	if kind != pb.WhistleKind_WHISTLE_KIND_EMERGENCY {
		sound(t, c.Dispatcher, dispatchtest.As(dispatchtest.DistrictCentre, pb.Role_ROLE_DISPATCHER), &pb.ScreenWhistleRequest{Name: name, RequestId: "screen", Issue: true})
	}
	return ticket, name
}

// sound carries out a command on a whistle.
func sound(t *testing.T, d *dispatch.Dispatcher, actor rule.Actor, command proto.Message) string {
	t.Helper()
	_, r, err := d.Whistle(t.Context(), dispatch.Request{Actor: actor, Command: command})
	if err != nil {
		t.Fatalf("%T: %v", command, err)
	}
	return "whistles/" + dispatch.ID(r.Stream)
}

// heard is a whistle as it is now.
func heard(t *testing.T, c *dispatchtest.City, name string) (whistle.State, string) {
	t.Helper()
	s, r, err := c.LoadWhistle(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return s, r.Stream
}

// reactToAll lets everything follow that follows from what is recorded, and gives the number of events there are then.
func reactToAll(t *testing.T, c *dispatchtest.City) (n int) {
	t.Helper()
	var all []event.Decoded
	for r, err := range c.Store.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if !c.Follows(r.Type) {
			continue
		}
		e, err := event.Decode(r)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	for i := range all {
		if err := c.React(t.Context(), &all[i]); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range c.Store.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

func TestARaisedWhistleGoesOnAsItsChildWithWhatWasSaid(t *testing.T) {
	t.Parallel()
	for _, cut := range []bool{false, true} {
		t.Run(fmt.Sprintf("cut off=%t", cut), func(t *testing.T) {
			t.Parallel()
			c := dispatchtest.Open(t)
			ticket, name := summoned(t, c, pb.WhistleKind_WHISTLE_KIND_ROUTINE)
			before, stream := heard(t, c, name)
			raise := dispatch.Request{Actor: dispatchtest.As(dispatchtest.Street, pb.Role_ROLE_STREET_LEADER), Command: &pb.RaiseWhistleRequest{Name: name, RequestId: "raise"}}
			by := c.Dispatcher
			if cut {
				var err error
				if by, err = dispatch.New(t.Context(), deaf{c.Store, stream}, c.Keys, dispatch.Options{Clock: c.Clock.Now}); err != nil {
					t.Fatal(err)
				}
			}
			if _, _, err := by.Whistle(t.Context(), raise); errors.Is(err, eventstore.ErrUnavailable) != cut {
				t.Fatal(err)
			}
			for range 2 {
				reactToAll(t, c)
			}
			n := reactToAll(t, c)
			if again := reactToAll(t, c); again != n {
				t.Errorf("reacting again recorded %d events", again-n)
			}
			raised, _ := heard(t, c, name)
			child, childStream := heard(t, c, "whistles/"+raised.Child)
			if raised.State != pb.WhistleState_WHISTLE_STATE_RAISED || child.State != pb.WhistleState_WHISTLE_STATE_BLOWN || child.Parent != dispatch.ID(stream) ||
				child.ScreenedBy != dispatchtest.CityCentre || child.Street != before.Street || len(child.Participants) != 2 || child.No == before.No {
				t.Errorf("got %+v, raised to %+v", raised, child)
			}
			said, erased, err := c.Said(t.Context(), childStream, nil, &pb.WhistleBlown{Sealed: child.Blown}, dispatchtest.System)
			if err != nil || erased || said.GetText() != whyBlown {
				t.Errorf("it says %v, erased %t, %v", said, erased, err)
			}
			s, _, err := c.LoadTicket(t.Context(), ticket)
			if err != nil || len(s.Whistles) != 2 || s.Whistles[0].Outcome != pb.WhistleState_WHISTLE_STATE_RAISED || s.Whistles[1].ID != raised.Child ||
				s.Whistles[1].Outcome != pb.WhistleState_WHISTLE_STATE_UNSPECIFIED {
				t.Errorf("the ticket knows %+v, %v", s.Whistles, err)
			}
			if _, r, err := c.Whistle(t.Context(), raise); err != nil || !r.Repeated {
				t.Errorf("raised again: got %+v, %v", r, err)
			}
		})
	}
}

func TestTwoAbsencesRaiseTheWhistleAndTheSupervisionOfItsTicket(t *testing.T) {
	t.Parallel()
	for _, cut := range []bool{false, true} {
		t.Run(fmt.Sprintf("cut off=%t", cut), func(t *testing.T) {
			t.Parallel()
			c := dispatchtest.Open(t)
			ticket, name := summoned(t, c, pb.WhistleKind_WHISTLE_KIND_ROUTINE)
			s, stream := heard(t, c, name)
			c.Clock.Add(30 * 24 * time.Hour)
			by := c.Dispatcher
			if cut {
				var err error
				if by, err = dispatch.New(t.Context(), deaf{c.Store, stream}, c.Keys, dispatch.Options{Clock: c.Clock.Now}); err != nil {
					t.Fatal(err)
				}
			}
			absent := 0
			for _, timer := range s.Timers() {
				if pb.WhistleTimer(timer.Which) != pb.WhistleTimer_WHISTLE_TIMER_REPORT_IN {
					continue
				}
				absent++
				_, _, err := by.Whistle(t.Context(), dispatch.Request{Actor: dispatchtest.System, Command: &pb.PassWhistleTimerRequest{
					Name: name, RequestId: fmt.Sprint("timer ", timer.Unit), Timer: pb.WhistleTimer(timer.Which), By: rule.Stamp(timer.By), Unit: timer.Unit,
				}})
				if lost := cut && absent == 2; errors.Is(err, eventstore.ErrUnavailable) != lost {
					t.Fatal(err)
				}
			}
			n := reactToAll(t, c)
			if again := reactToAll(t, c); again != n && cut {
				n = again // what followed may itself be followed
			}
			if again := reactToAll(t, c); again != n {
				t.Errorf("reacting again recorded %d events", again-n)
			}
			raised, _ := heard(t, c, name)
			after, _, err := c.LoadTicket(t.Context(), ticket)
			if err != nil || absent != 2 || raised.State != pb.WhistleState_WHISTLE_STATE_RAISED || raised.Child == "" {
				t.Errorf("%d absent: got %+v, %v", absent, raised, err)
			}
			if after.Supervision != 3 || !after.Listed || len(after.Whistles) != 2 {
				t.Errorf("the ticket is at level %d, listed %t, and knows %+v", after.Supervision, after.Listed, after.Whistles)
			}
		})
	}
}

func TestWhatIsMissedInAnEmergencyIsCalledToAccount(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	ticket, name := summoned(t, c, pb.WhistleKind_WHISTLE_KIND_EMERGENCY)
	urban := dispatchtest.As(dispatchtest.DistrictUrban, pb.Role_ROLE_DEPARTMENT_CLERK)
	c.Clock.Add(5 * time.Minute)
	sound(t, c.Dispatcher, urban, &pb.ReportInRequest{Name: name, RequestId: "here", Person: "CG-1", Rank: "x", Position: &pb.LonLat{Lon: 120.3, Lat: 31.6}})
	c.Clock.Add(5 * time.Minute)
	sound(t, c.Dispatcher, urban, &pb.LeaveWhistleRequest{Name: name, RequestId: "gone"})
	s, _, err := c.LoadTicket(t.Context(), ticket)
	if err != nil || s.Supervision != 4 {
		t.Errorf("got level %d, %v, want 4", s.Supervision, err)
	}
}

func TestTheSecondSignatureIsGivenOnceHoweverOftenItIsSent(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	name := sound(t, c.Dispatcher, dispatchtest.As(dispatchtest.Street, pb.Role_ROLE_STREET_SECRETARY), &pb.BlowWhistleRequest{
		RequestId: "draft", Kind: pb.WhistleKind_WHISTLE_KIND_TOUGH, Particulars: &pb.Particulars{Text: whyBlown}, Summons: []*pb.Summons{{Unit: dispatchtest.OtherUrban}},
	})
	sign := dispatch.Request{Actor: dispatchtest.As(dispatchtest.Street, pb.Role_ROLE_STREET_DIRECTOR), Command: &pb.BlowWhistleRequest{Name: name, RequestId: "sign"}}
	for _, repeated := range []bool{false, true} {
		s, r, err := c.Whistle(t.Context(), sign)
		if err != nil || r.Repeated != repeated || s.State != pb.WhistleState_WHISTLE_STATE_BLOWN {
			t.Errorf("got %s, repeated %t, %v, want repeated %t", s.State, r.Repeated, err, repeated)
		}
	}
	for r, err := range c.Store.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(r.Data), whyBlown) {
			t.Errorf("%s@%d says in clear why", r.Stream, r.Version)
		}
	}
}
