package policy_test

import (
	"testing"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/event"
)

func TestATicketThatIsNoDuplicateAnyMoreFollowsTheCalendarThatWasCorrectedMeanwhile(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	c.Clock.Set(at(t, "2025-01-24 16:30:00"))
	primary, name := c.Report(t, dispatchtest.Community), c.Report(t, dispatchtest.Community)
	c.ToHandling(t, primary, dispatchtest.DistrictUrban)
	c.Do(t, dispatchtest.Hotline, &pb.AcceptTicketRequest{Name: name, RequestId: c.RequestID()})
	dispatcher := dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_DISPATCHER)
	c.Do(t, dispatcher, &pb.TriageTicketRequest{Name: name, RequestId: c.RequestID(), Category: "0302", Grade: pb.Grade_GRADE_G2})
	c.Do(t, dispatcher, &pb.DispatchTicketRequest{Name: name, RequestId: c.RequestID(), Lead: dispatchtest.DistrictUrban})
	c.Do(t, dispatcher, &pb.MergeTicketRequest{Name: name, Into: primary, RequestId: c.RequestID()})
	if _, _, err := c.LoadCalendarYear(t.Context(), dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_AUDITOR), corrected(t)); err != nil {
		t.Fatal(err)
	}
	supervisor := dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_SUPERVISOR)
	c.Do(t, supervisor, &pb.UnmergeTicketRequest{Name: name, RequestId: c.RequestID(), Particulars: &pb.Particulars{Note: "另有一事"}})
	s, _, err := c.LoadTicket(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	is(t, "before", s.Limits.HandleBy, "2025-02-07 23:59:59")
	for range 2 { // whoever hears of it, and however often
		for _, e := range history(t, c, name) {
			if err := c.React(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
	}
	if s, _, err = c.LoadTicket(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	is(t, "after", s.Limits.HandleBy, "2025-02-08 23:59:59")
	n := 0
	for _, e := range history(t, c, name) {
		if event.TypeOf(e.Event) == "LimitsRecomputed" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("counted again %d times, want once", n)
	}
}
