package rpc

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
)

func TestAListHoldsTheTicketsThatTheCallerMayGetAndNoOthers(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	c := Config{DevActor: true, Dispatcher: city.Dispatcher}
	run := viewing(t, city, &c)
	conn := serve(t, c, c.register)
	run()

	const confidential = pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL
	dispatcher := dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_DISPATCHER)
	var names []string
	made := map[string]string{}
	for _, area := range []string{dispatchtest.Community, dispatchtest.Street, dispatchtest.OtherStreet, ""} {
		for _, secret := range []bool{false, true} {
			for _, hands := range []struct {
				to string
				co []string
			}{
				{"", nil},
				{dispatchtest.DistrictUrban, []string{dispatchtest.Street, dispatchtest.OtherUrban}},
				{dispatchtest.District, []string{dispatchtest.OtherDistrict}},
				{dispatchtest.Community, []string{dispatchtest.DistrictTraffic}},
			} {
				for _, far := range []string{"reported", "accepted", "triaged", "handled", "closed"} {
					if hands.to == "" && (far == "handled" || far == "closed") {
						continue
					}
					name := city.Report(t, area)
					names = append(names, name)
					made[name] = fmt.Sprintf("%s, in %q, confidential %t, lead %q, co-handlers %q", far, area, secret, hands.to, hands.co)
					if far == "reported" {
						continue
					}
					city.Do(t, dispatchtest.Hotline, &pb.AcceptTicketRequest{Name: name, RequestId: city.RequestID()})
					if far == "accepted" {
						continue
					}
					triage := &pb.TriageTicketRequest{Name: name, RequestId: city.RequestID(), Category: "0302", Grade: pb.Grade_GRADE_G2, Lead: hands.to, Co: hands.co}
					if secret {
						triage.Confidentiality = confidential
					}
					city.Do(t, dispatcher, triage)
					if far == "triaged" {
						continue
					}
					city.Do(t, dispatcher, &pb.DispatchTicketRequest{Name: name, RequestId: city.RequestID()})
					city.Do(t, dispatchtest.As(hands.to, pb.Role_ROLE_DEPARTMENT_CLERK), &pb.SignTicketRequest{Name: name, RequestId: city.RequestID()})
					if far == "closed" {
						city.ToClosed(t, name, hands.to)
					}
				}
			}
		}
	}
	// A tip-off against the street is held above it, and confidential before anybody triaged it.
	tip := city.Do(t, dispatchtest.Hotline, &pb.ReportTicketRequest{
		RequestId: city.RequestID(), Channel: pb.Channel_CHANNEL_HOTLINE, Kind: pb.MatterKind_MATTER_KIND_TIP_OFF, Area: dispatchtest.Street,
		Confidentiality: confidential, Particulars: &pb.Particulars{Title: "举报", Text: "举报街道办事处", Petitioner: &pb.Petitioner{Anonymous: true}},
	})
	names, made[tip] = append(names, tip), "a tip-off, reported"
	against := city.Do(t, dispatchtest.Hotline, &pb.ReportTicketRequest{
		RequestId: city.RequestID(), Channel: pb.Channel_CHANNEL_HOTLINE, Kind: pb.MatterKind_MATTER_KIND_TIP_OFF, Area: dispatchtest.Community,
		Particulars: &pb.Particulars{Title: "举报", Text: "举报街道办事处", Petitioner: &pb.Petitioner{Anonymous: true}},
	})
	city.Do(t, dispatchtest.Hotline, &pb.AcceptTicketRequest{Name: against, RequestId: city.RequestID()})
	city.Do(t, dispatcher, &pb.TriageTicketRequest{Name: against, RequestId: city.RequestID(), Category: "0302", ComplainedOf: dispatchtest.Street})
	names, made[against] = append(names, against), "a tip-off, triaged"
	// The agency that a record names is no lead, even if a unit has that code.
	record := city.Do(t, dispatchtest.System, &pb.ImportRecordRequest{
		RequestId: city.RequestID(), Source: "elsewhere", SourceRef: "1", Agency: dispatchtest.DistrictUrban, OccurredAt: timestamppb.New(dispatchtest.Start.Add(-time.Hour)),
	})
	names, made[record] = append(names, record), "an imported record"

	head, err := city.Store.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	views, tickets := pb.NewViewServiceClient(conn), pb.NewTicketServiceClient(conn)
	centre := "320200000000"
	may := map[string]int{}
	for _, unit := range []string{
		dispatchtest.CityCentre, centre, centre + "-CG", dispatchtest.DistrictCentre, dispatchtest.District, dispatchtest.DistrictUrban,
		dispatchtest.DistrictTraffic, dispatchtest.Street, dispatchtest.Community, dispatchtest.OtherDistrict, dispatchtest.OtherUrban,
		dispatchtest.OtherStreet, centre + "-KH", dispatchtest.District + "-KH", dispatchtest.OtherDistrict + "-KH", "nowhere",
	} {
		for _, role := range []string{"DISPATCHER", "STREET_CLERK", "ASSESSMENT", "AUDITOR"} {
			who := acting(t.Context(), unit, role)
			var want []string
			for _, name := range names {
				switch _, err := tickets.GetTicket(who, &pb.GetTicketRequest{Name: name}); status.Code(err) {
				case codes.OK:
					want = append(want, name)
				case codes.PermissionDenied:
				default:
					t.Fatalf("%s of %s gets %s: %v", role, unit, name, err)
				}
			}
			for _, filter := range []string{"", "open OR NOT open"} {
				q := &pb.ListTicketsRequest{Filter: filter, PageSize: 7, MinConsistencyToken: Token(head)}
				var got []string
				for {
					page, err := views.ListTickets(who, q)
					if err != nil {
						t.Fatalf("%s of %s: %v", role, unit, err)
					}
					for _, row := range page.Tickets {
						got = append(got, row.Name)
					}
					if q.PageToken = page.NextPageToken; q.PageToken == "" {
						break
					}
				}
				differs(t, role+" of "+unit, got, want, made)
			}
			may[role+" of "+unit] = len(want)
			if role == "DISPATCHER" && len(want) == 0 && !slices.Contains([]string{"nowhere", centre + "-CG", centre + "-KH"}, unit) {
				t.Errorf("%s may get no ticket: nothing is compared", unit)
			}
		}
	}
	// An assessment office has its area in scope, and the city's all areas; any other role there only what a unit above it leads.
	inCity, inDistrict := may["ASSESSMENT of "+centre+"-KH"], may["ASSESSMENT of "+dispatchtest.District+"-KH"]
	if inCity != len(names)-1 || inDistrict <= may["DISPATCHER of "+dispatchtest.District+"-KH"] || inDistrict >= inCity || may["DISPATCHER of "+centre+"-KH"] != 0 {
		t.Errorf("who assesses may get %d tickets in the city, want all but the record, whose place nobody knows; %d in the district", inCity, inDistrict)
	}
	// A ticket is in its holder's queue before anybody leads it.
	for _, name := range names {
		who := acting(t.Context(), dispatchtest.CityCentre, "DISPATCHER")
		is, err := tickets.GetTicket(who, &pb.GetTicketRequest{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		page, err := views.ListTickets(who, &pb.ListTicketsRequest{Filter: fmt.Sprintf("holder = %q", is.Holder), PageSize: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(page.Tickets, func(row *pb.TicketRow) bool { return row.Name == name && row.Holder == is.Holder }) {
			t.Errorf("%s is not in the queue of %q", made[name], is.Holder)
		}
	}
}

// differs tells what a list has too many and too few.
func differs(t *testing.T, who string, got, want []string, made map[string]string) {
	t.Helper()
	var faults []string
	for _, name := range got {
		if !slices.Contains(want, name) {
			faults = append(faults, "lists what it may not get: "+made[name])
		}
	}
	for _, name := range want {
		if !slices.Contains(got, name) {
			faults = append(faults, "does not list what it may get: "+made[name])
		}
	}
	if len(got) != len(want) {
		faults = append(faults, fmt.Sprintf("lists %d, may get %d", len(got), len(want)))
	}
	if len(faults) > 0 {
		t.Errorf("%s:\n\t%s", who, strings.Join(faults, "\n\t"))
	}
}
