package rpc

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/policy"
	"github.com/chuishao/dispatch/internal/rule"
)

// toldReason is the reason that a status tells of; empty if it tells of none.
func toldReason(err error) rule.Reason {
	told, ok := errors.AsType[*rule.Refusal](toldRefusal(err))
	switch {
	case !ok:
		return ""
	case told.Reason == rule.NotFound:
		return rule.OutOfScope // what may not be seen is told alike
	}
	return told.Reason
}

func TestStoryOfACallThatIsSentThrice(t *testing.T) {
	t.Parallel()
	p := running(t)
	for call := range 8 {
		answers, errs := make([]*pb.TicketAnswer, 3), make([]error, 3)
		var all sync.WaitGroup
		for i := range answers {
			all.Go(func() {
				answers[i] = new(pb.TicketAnswer)
				m := matter("")
				m.Source, m.SourceRef = "hotline-12345", fmt.Sprintf("call-%d", call)
				errs[i] = p.tries(t.Context(), dispatchtest.CityCentre, "CONNECTED_SYSTEM", m, answers[i])
			})
		}
		all.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		first := 0
		for _, a := range answers {
			if !a.Repeated {
				first++
			}
			if a.Name != answers[0].Name || a.No != answers[0].No {
				t.Errorf("got %v and %v, want one ticket", a, answers[0])
			}
		}
		types, err := p.Recorded(t.Context(), answers[0].Name)
		if err != nil || first != 1 || fmt.Sprint(types) != "[TicketReported]" {
			t.Errorf("%d of three were the first; recorded %v, %v", first, types, err)
		}
	}
	if got := fmt.Sprint(p.closed(t, "city", 0)); got != "map[320200000000:0/8]" {
		t.Errorf("got %s, want eight tickets", got)
	}
	p.provesItself(t)
}

func TestStoryOfTwoDispatchersAtOnce(t *testing.T) {
	t.Parallel()
	p := running(t)
	for range 12 {
		name := p.takenIn(t, dispatchtest.Community, "")
		type try struct{ unit, lead string }
		tries := []try{{dispatchtest.CityCentre, dispatchtest.DistrictUrban}, {dispatchtest.DistrictCentre, dispatchtest.DistrictTraffic}}
		errs := make([]error, len(tries))
		var both sync.WaitGroup
		start := make(chan struct{})
		for i, w := range tries {
			both.Go(func() {
				<-start
				errs[i] = p.tries(t.Context(), w.unit, "DISPATCHER", &pb.DispatchTicketRequest{Name: name, Lead: w.lead}, new(pb.TicketAnswer))
			})
		}
		close(start)
		both.Wait()
		won, lost := 0, 1
		if errs[0] != nil {
			won, lost = 1, 0
		}
		if errs[won] != nil || errs[lost] == nil {
			t.Fatalf("got %v, want one to be carried out", errs)
		}
		told, ok := errors.AsType[*rule.Refusal](toldRefusal(errs[lost]))
		want := fmt.Sprintf("TicketDispatched@4 by unit %s", tries[won].unit)
		if !ok || status.Code(errs[lost]) != codes.FailedPrecondition || told.Reason != rule.WrongState || told.DecidedBy != want {
			t.Errorf("got %v, want %s, decided by %q", errs[lost], rule.WrongState, want)
		}
		types, err := p.Recorded(t.Context(), name)
		if err != nil || fmt.Sprint(types) != "[TicketReported TicketAccepted TicketTriaged TicketDispatched]" {
			t.Errorf("got %v, %v", types, err)
		}
		if s, _, err := p.city.LoadTicket(t.Context(), name); err != nil || s.Lead != tries[won].lead {
			t.Errorf("led by %s, %v, want %s", s.Lead, err, tries[won].lead)
		}
	}
	p.provesItself(t)
}

func TestStoryOfTimersOnTwoNodes(t *testing.T) {
	t.Parallel()
	p := running(t)
	names := make([]string, 20)
	for i := range names {
		names[i] = p.takenIn(t, dispatchtest.Community, "")
		p.does(t, dispatchtest.CityCentre, "DISPATCHER", &pb.DispatchTicketRequest{Name: names[i], Lead: dispatchtest.DistrictUrban})
	}
	// The other node has views and a memory of its own, and a clock: no two are the same. What both would record in one microsecond is one event, byte for
	// byte, and each would take it for its own.
	d, err := dispatch.New(t.Context(), p.city.Store, p.city.Keys, dispatch.Options{Clock: func() time.Time { return p.city.Clock.Now().Add(time.Millisecond) }})
	if err != nil {
		t.Fatal(err)
	}
	var c Config
	run := viewing(t, &dispatchtest.City{Dispatcher: d, Store: p.city.Store, Clock: p.city.Clock}, &c)
	run()
	other := &policy.Timers{Dispatcher: d, Views: c.Views, Projector: c.Projector, OnTrouble: func(err error) { t.Error(err) }}
	p.city.Clock.Add(20 * 24 * time.Hour)
	fired := make([]int, 2)
	var both sync.WaitGroup
	for i, timers := range []*policy.Timers{p.timers, other} {
		both.Go(func() {
			n, err := timers.FireDue(t.Context())
			if err != nil {
				t.Error(err)
			}
			fired[i] = n
		})
	}
	both.Wait()
	// On each ticket the window to return, the missing signature, the contact, the limit, and that it was overdue for long.
	all := 0
	for _, name := range names {
		types, err := p.Recorded(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		n := map[string]int{}
		for _, typ := range types {
			n[typ]++
		}
		for _, once := range []string{"SignOverdue", "ContactOverdue", "HandleOverdue", "RightLapsed"} {
			if n[once] != 1 {
				t.Errorf("%s: got %d of %s, want one", name, n[once], once)
			}
		}
		if n["SupervisionRaised"] != 3 {
			t.Errorf("%s: supervision rose %d times, want to 1, 2 and 3", name, n["SupervisionRaised"])
		}
		all += 5
	}
	// What both recorded alike, at the same instant, each counts as its own.
	if fired[0]+fired[1] < all {
		t.Errorf("got %v fired, want %d in all", fired, all)
	}
	for _, timers := range []*policy.Timers{p.timers, other} {
		if n, err := timers.FireDue(t.Context()); err != nil || n != 0 {
			t.Errorf("afterwards %d fired again, %v", n, err)
		}
	}
	p.provesItself(t)
}
