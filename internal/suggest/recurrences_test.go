package suggest

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
)

func TestAMatterOfTheSameCategoryInTheSameAreaMayBeAClosedOneAgain(t *testing.T) {
	t.Parallel()
	c := follow(t, Options{})
	closed := func(m matter, category string) string {
		name := c.report(t, m)
		dispatcher := dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_DISPATCHER)
		c.Do(t, dispatchtest.Hotline, &pb.AcceptTicketRequest{Name: name, RequestId: c.RequestID()})
		c.Do(t, dispatcher, &pb.TriageTicketRequest{Name: name, RequestId: c.RequestID(), Category: category, Confidentiality: m.confidentiality})
		c.Do(t, dispatcher, &pb.DispatchTicketRequest{Name: name, RequestId: c.RequestID(), Lead: dispatchtest.DistrictUrban})
		c.Do(t, dispatchtest.As(dispatchtest.DistrictUrban, pb.Role_ROLE_DEPARTMENT_CLERK), &pb.SignTicketRequest{Name: name, RequestId: c.RequestID()})
		c.ToClosed(t, name, dispatchtest.DistrictUrban)
		return name
	}
	call := func(m matter) matter {
		m.title, m.text, m.phone = "路灯不亮", "路灯不亮", "13800000001"
		return m
	}
	early := closed(call(matter{category: "0302"}), "0302")
	start := c.Now()
	c.Clock.Add(24 * time.Hour)
	late := closed(call(matter{category: "0801"}), "0302") // as it was triaged
	closed(call(matter{category: "0302"}), "0801")
	closed(call(matter{category: "0302", area: dispatchtest.Street}), "0302")
	closed(call(matter{category: "0302", confidentiality: pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL}), "0302")
	again := closed(call(matter{category: "0302"}), "0302")
	c.Do(t, dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_SUPERVISOR), &pb.ReopenTicketRequest{
		Name: again, RequestId: c.RequestID(), Reason: pb.ReopenReason_REOPEN_REASON_UNSOLVED, Particulars: &pb.Particulars{Note: "仍不亮"},
	})
	open := c.report(t, call(matter{category: "0302"}))
	here := c.path(t, dispatchtest.Community)

	for what, a := range map[string]struct {
		m    Matter
		want []string
	}{
		"the next day":                       {Matter{Path: here, Category: "0302"}, []string{late, early}},
		"fifteen days after the first":       {Matter{Path: here, Category: "0302", At: start.Add(15 * 24 * time.Hour)}, []string{late, early}},
		"a second later":                     {Matter{Path: here, Category: "0302", At: start.Add(15*24*time.Hour + time.Second)}, []string{late}},
		"sixteen days after both":            {Matter{Path: here, Category: "0302", At: start.Add(17 * 24 * time.Hour)}, nil},
		"reported before they were closed":   {Matter{Path: here, Category: "0302", At: start.Add(-time.Second)}, nil},
		"of another category":                {Matter{Path: here, Category: "0401"}, nil},
		"in another community of the street": {Matter{Path: c.path(t, "320205001002"), Category: "0302"}, nil},
		"of an unknown place":                {Matter{Path: c.Registry().Unlocated(), Category: "0302"}, nil},
		"somewhere in the city":              {Matter{Path: here[:1], Category: "0302"}, nil},
		"the one that is open itself":        {Matter{ID: strings.TrimPrefix(open, "tickets/"), Path: here, Category: "0302"}, []string{late, early}},
		"the closed one itself":              {Matter{ID: strings.TrimPrefix(late, "tickets/"), Path: here, Category: "0302"}, []string{early}},
	} {
		var got []string
		for _, r := range c.ask(t, a.m).Recurrences {
			got = append(got, r.Name)
			if r.Lead != dispatchtest.DistrictUrban || r.No == "" || r.ClosedAt == nil || r.Round != 1 {
				t.Errorf("%s: got %v", what, r)
			}
		}
		if !slices.Equal(got, a.want) {
			t.Errorf("%s: got %v, want %v", what, got, a.want)
		}
	}
	// Who may not see a ticket does not learn that there was one; and what is moved is where it is now.
	none, err := c.Suggest(t.Context(), c.Registry(), Matter{Path: here, Category: "0302", At: c.Now()}, func(context.Context, string) (bool, error) { return false, nil })
	if err != nil || len(none.Recurrences) > 0 {
		t.Errorf("got %v, %v, for who sees none of them", none.GetRecurrences(), err)
	}
}

func TestWhatIsTriagedToAnotherPlaceComesBackThere(t *testing.T) {
	t.Parallel()
	c := follow(t, Options{})
	name := c.report(t, matter{area: dispatchtest.Street, category: "0302", title: "路灯不亮", text: "路灯不亮", phone: "13800000001"})
	c.caughtUp(t) // so that it is moved where it is known already
	dispatcher := dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_DISPATCHER)
	c.Do(t, dispatchtest.Hotline, &pb.AcceptTicketRequest{Name: name, RequestId: c.RequestID()})
	c.Do(t, dispatcher, &pb.TriageTicketRequest{Name: name, RequestId: c.RequestID(), Category: "0302", Area: dispatchtest.Community})
	c.Do(t, dispatcher, &pb.DispatchTicketRequest{Name: name, RequestId: c.RequestID(), Lead: dispatchtest.DistrictUrban})
	c.Do(t, dispatchtest.As(dispatchtest.DistrictUrban, pb.Role_ROLE_DEPARTMENT_CLERK), &pb.SignTicketRequest{Name: name, RequestId: c.RequestID()})
	c.ToClosed(t, name, dispatchtest.DistrictUrban)
	for area, want := range map[string]int{dispatchtest.Community: 1, dispatchtest.Street: 0} {
		if got := c.ask(t, Matter{Path: c.path(t, area), Category: "0302"}).Recurrences; len(got) != want {
			t.Errorf("in %s: got %v, want %d", area, got, want)
		}
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	if len(c.spots) != 1 || len(c.spots[dispatchtest.Community]) != 1 {
		t.Errorf("got %v, want the ticket where it is and nowhere else", c.spots)
	}
}
