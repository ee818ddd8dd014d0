package rpc

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
)

func TestAnInboxIsThatOfARoleOfTheCaller(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	c := Config{DevActor: true, Dispatcher: city.Dispatcher}
	viewing(t, city, &c)()
	views := pb.NewViewServiceClient(serve(t, c, c.register))
	waiting := city.Report(t, dispatchtest.Community)
	for range 2 {
		city.Report(t, dispatchtest.Community)
	}
	handled := city.Report(t, dispatchtest.Community)
	city.ToHandling(t, handled, dispatchtest.DistrictUrban)
	_, result, err := city.LoadTicket(t.Context(), handled)
	if err != nil {
		t.Fatal(err)
	}
	token := Token(result.Position)
	for _, ask := range []struct {
		unit, roles string
		role        pb.Role
		task        string
		want        int
	}{
		{dispatchtest.CityCentre, "CITIZEN,AGENT,SUPERVISOR", 0, "accept", 3},
		{dispatchtest.CityCentre, "AGENT,SUPERVISOR", pb.Role_ROLE_SUPERVISOR, "", 0},
		{dispatchtest.Street, "DISPATCHER", 0, "accept", 3},
		{dispatchtest.OtherStreet, "DISPATCHER", 0, "", 0},
		{dispatchtest.DistrictUrban, "DEPARTMENT_CLERK", pb.Role_ROLE_DEPARTMENT_CLERK, "handle", 1},
		{dispatchtest.DistrictTraffic, "DEPARTMENT_CLERK", 0, "", 0},
	} {
		q := &pb.ListInboxRequest{PageSize: 2, Role: ask.role, MinConsistencyToken: token}
		n := 0
		for {
			page, err := views.ListInbox(acting(t.Context(), ask.unit, ask.roles), q)
			if err != nil {
				t.Fatalf("%+v: %v", ask, err)
			}
			if got := page.Counts.Red + page.Counts.Yellow + page.Counts.Green + page.Counts.Grey; got != int64(ask.want) || page.ConsistencyToken == "" {
				t.Errorf("%+v: got counts %v, want %d in all", ask, page.Counts, ask.want)
			}
			for _, row := range page.Rows {
				n++
				if row.Task != ask.task || row.Ticket.GetNo() == "" || row.Light != pb.Light_LIGHT_GREEN || row.Ticket.Light != row.Light || row.DueAt == nil {
					t.Errorf("%+v: got %v", ask, row)
				}
			}
			if q.PageToken = page.NextPageToken; q.PageToken == "" {
				break
			}
			city.Clock.Add(time.Minute) // pages are all as of the first
		}
		if n != ask.want {
			t.Errorf("%+v: got %d rows, want %d", ask, n, ask.want)
		}
	}
	city.Clock.Add(30 * 24 * time.Hour)
	late, err := views.ListInbox(acting(t.Context(), dispatchtest.CityCentre, "AGENT"), &pb.ListInboxRequest{})
	if err != nil || late.Counts.Red != 3 || late.Rows[0].Ticket.Name != waiting || late.Rows[0].Light != pb.Light_LIGHT_RED {
		t.Errorf("a month later: got %v, %v", late, err)
	}
	if tickets, err := views.ListTickets(acting(t.Context(), dispatchtest.CityCentre, "AGENT"), &pb.ListTicketsRequest{Filter: "supervision = 0"}); err != nil ||
		len(tickets.Tickets) != 4 || tickets.Tickets[0].Light != pb.Light_LIGHT_RED {
		t.Errorf("list: got %v, %v", tickets, err)
	}

	for _, c := range []struct {
		roles string
		role  pb.Role
		code  codes.Code
	}{
		{"CITIZEN", 0, codes.PermissionDenied}, {"AGENT", pb.Role_ROLE_CALLER, codes.PermissionDenied},
		{"CITIZEN", pb.Role_ROLE_CITIZEN, codes.InvalidArgument},
	} {
		_, err := views.ListInbox(acting(t.Context(), dispatchtest.CityCentre, c.roles), &pb.ListInboxRequest{Role: c.role})
		details(t, err, c.code)
	}
	_, err = views.ListInbox(acting(t.Context(), dispatchtest.CityCentre, "AGENT"), &pb.ListInboxRequest{PageToken: "x"})
	details(t, err, codes.InvalidArgument)
}

func TestPrecedentsAreForWhoDispatchesAndAudits(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	c := Config{DevActor: true, Dispatcher: city.Dispatcher}
	viewing(t, city, &c)()
	views := pb.NewViewServiceClient(serve(t, c, c.register))
	for _, roles := range []string{"AGENT", "DISPATCHER", "DUTY_LEADER", "SUPERVISOR", "AUDITOR"} {
		got, err := views.ListPrecedents(acting(t.Context(), dispatchtest.CityCentre, roles), &pb.ListPrecedentsRequest{Category: "0302", Area: dispatchtest.Street})
		if err != nil || len(got.Precedents) != 0 || got.ConsistencyToken == "" {
			t.Errorf("%s: got %v, %v", roles, got, err)
		}
	}
	_, err := views.ListPrecedents(acting(t.Context(), dispatchtest.CityCentre, "DEPARTMENT_CLERK,CALLER"), &pb.ListPrecedentsRequest{})
	details(t, err, codes.PermissionDenied)
	_, err = views.ListPrecedents(acting(t.Context(), dispatchtest.CityCentre, "AGENT"), &pb.ListPrecedentsRequest{Area: "nowhere"})
	if info, _ := details(t, err, codes.InvalidArgument); info.Metadata["field"] != "area" {
		t.Errorf("got %v, want the field named", err)
	}
}

func TestPrecedentsNameNoTicketThatTheCallerMayNotSee(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	c := Config{DevActor: true, Dispatcher: city.Dispatcher}
	viewing(t, city, &c)()
	views := pb.NewViewServiceClient(serve(t, c, c.register))
	ruled := func(confidentiality pb.Confidentiality, area string) (string, eventstore.Position) {
		t.Helper()
		m := matter("")
		name := city.Do(t, dispatchtest.Hotline, &pb.ReportTicketRequest{
			RequestId: city.RequestID(), Channel: m.Channel, Kind: m.Kind, Area: dispatchtest.Community, Category: "0302", Confidentiality: confidentiality,
			Particulars: m.Particulars,
		})
		stream := "ticket-" + name[len("tickets/"):]
		now := timestamppb.New(city.Now())
		e, err := event.Encode(stream, 2, event.Hash{}, &pb.EventMeta{OccurredAt: now, RecordedAt: now},
			&pb.AdjudicationRuled{Lead: dispatchtest.DistrictUrban, PrecedentCategory: "0302", PrecedentArea: area})
		if err != nil {
			t.Fatal(err)
		}
		at, err := city.Store.Append(t.Context(), stream, 1, []eventstore.Event{e})
		if err != nil {
			t.Fatal(err)
		}
		return name, at
	}
	open, _ := ruled(0, dispatchtest.Community)
	_, last := ruled(pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL, dispatchtest.Community)
	for _, a := range []struct{ unit, want string }{{dispatchtest.CityCentre, open}, {dispatchtest.OtherDistrict, ""}} {
		got, err := views.ListPrecedents(acting(t.Context(), a.unit, "DISPATCHER"), &pb.ListPrecedentsRequest{
			Area: dispatchtest.Community, MinConsistencyToken: Token(last),
		})
		if err != nil || len(got.Precedents) != 1 || got.Precedents[0].Ticket != a.want || got.Precedents[0].Lead != dispatchtest.DistrictUrban {
			t.Errorf("%s: got %v, %v, want one ruling, of ticket %q", a.unit, got, err, a.want)
		}
	}

	// The community gets another code, and what was ruled there still holds.
	city.Clock.Add(time.Hour)
	result := recode(t, city)
	got, err := views.ListPrecedents(acting(t.Context(), dispatchtest.CityCentre, "DISPATCHER"), &pb.ListPrecedentsRequest{
		Area: recoded, MinConsistencyToken: Token(result.Position),
	})
	if err != nil || len(got.Precedents) != 1 || got.Precedents[0].Ticket != open {
		t.Errorf("of the recoded community: got %v, %v, want %s", got, err, open)
	}
}
