package rpc

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
)

func TestAnInboxHoldsNothingOfATicketThatTheListsKeepFromTheCaller(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	c := Config{DevActor: true, Dispatcher: city.Dispatcher}
	viewing(t, city, &c)()
	views := pb.NewViewServiceClient(serve(t, c, c.register))
	dispatcher := dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_DISPATCHER)

	const help = "handled with a co-handler"
	names := map[string]string{}
	for _, confidential := range []bool{false, true} {
		for what, against := range map[string]string{help: "", "against a department of the lead": dispatchtest.DistrictTraffic, "against a street of the lead": dispatchtest.Street} {
			for _, far := range []string{"triaged", "dispatched", "handled", "told"} {
				name := city.Report(t, dispatchtest.Community)
				city.Do(t, dispatchtest.Hotline, &pb.AcceptTicketRequest{Name: name, RequestId: city.RequestID()})
				triage := &pb.TriageTicketRequest{
					Name: name, RequestId: city.RequestID(), Category: "0302", Grade: pb.Grade_GRADE_G2, Lead: dispatchtest.District, ComplainedOf: against,
				}
				if what == help {
					triage.Co = []string{dispatchtest.OtherUrban}
				}
				if confidential {
					triage.Confidentiality = pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL
				}
				names[name] = fmt.Sprintf("%s, %s, confidential: %t", far, what, confidential)
				city.Do(t, dispatcher, triage)
				if far == "triaged" {
					continue
				}
				city.Do(t, dispatcher, &pb.DispatchTicketRequest{Name: name, RequestId: city.RequestID()})
				if far == "dispatched" {
					continue
				}
				clerk := dispatchtest.As(dispatchtest.District, pb.Role_ROLE_DEPARTMENT_CLERK)
				city.Do(t, clerk, &pb.SignTicketRequest{Name: name, RequestId: city.RequestID()})
				if far == "handled" {
					if what == help {
						city.Do(t, clerk, &pb.RequestCoHandlerRequest{
							Name: name, RequestId: city.RequestID(), Unit: dispatchtest.OtherUrban, Particulars: &pb.Particulars{Text: "请配合"},
						})
					}
					city.Do(t, clerk, &pb.RequestExtensionRequest{
						Name: name, RequestId: city.RequestID(), Kind: pb.ExtensionKind_EXTENSION_KIND_STANDARD, WorkingDays: 1,
						Particulars: &pb.Particulars{Text: "等材料", Reply: "延期一天"},
					})
					continue
				}
				city.Do(t, clerk, &pb.RecordContactRequest{Name: name, RequestId: city.RequestID(), Channel: "phone", Reached: true})
				city.Do(t, clerk, &pb.SubmitResultRequest{Name: name, RequestId: city.RequestID(), Result: pb.ResultCode_RESULT_CODE_RESOLVED, Particulars: &pb.Particulars{Reply: "已修复"}})
			}
		}
	}
	head, err := city.Store.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	hidden := 0
	waits := map[string]map[string]bool{} // by who asks
	for _, unit := range []string{
		dispatchtest.CityCentre, dispatchtest.DistrictCentre, dispatchtest.District, dispatchtest.DistrictUrban, dispatchtest.DistrictTraffic,
		dispatchtest.Street, dispatchtest.Community, dispatchtest.OtherUrban, dispatchtest.OtherStreet, dispatchtest.District + "-KH",
	} {
		for _, role := range []string{"AGENT", "DISPATCHER", "DUTY_LEADER", "SUPERVISOR", "DEPARTMENT_CLERK", "GRID_WORKER", "ASSESSMENT", "AUDITOR"} {
			who := acting(t.Context(), unit, role)
			listed, err := views.ListTickets(who, &pb.ListTicketsRequest{PageSize: 1000, MinConsistencyToken: Token(head)})
			if err != nil {
				t.Fatal(err)
			}
			page, err := views.ListInbox(who, &pb.ListInboxRequest{PageSize: 1000})
			if err != nil {
				t.Fatal(err)
			}
			asks := role + " of " + unit
			waits[asks] = map[string]bool{}
			for _, row := range page.Rows {
				waits[asks][names[row.Ticket.Name]+": "+row.Task] = true
				nearby := role == "GRID_WORKER" && row.Task == "verify" && !strings.HasSuffix(names[row.Ticket.Name], "true")
				if !nearby && !slices.ContainsFunc(listed.Tickets, func(l *pb.TicketRow) bool { return l.Name == row.Ticket.Name }) {
					t.Errorf("%s: %s of the ticket %s is in the inbox, and not in the lists", asks, row.Task, names[row.Ticket.Name])
				}
			}
			hidden += len(names) - len(listed.Tickets)
			if got := page.Counts.Red + page.Counts.Yellow + page.Counts.Green + page.Counts.Grey; got != int64(len(page.Rows)) {
				t.Errorf("%s: %d are counted and %d shown", asks, got, len(page.Rows))
			}
		}
	}
	if hidden == 0 {
		t.Error("the lists keep nothing from anybody: nothing is compared")
	}
	for _, c := range []struct {
		who, what string
		want      bool
	}{
		{"DEPARTMENT_CLERK of " + dispatchtest.District, "dispatched, handled with a co-handler, confidential: true: sign", true},
		{"DEPARTMENT_CLERK of " + dispatchtest.DistrictUrban, "dispatched, handled with a co-handler, confidential: true: sign", true},
		{"DEPARTMENT_CLERK of " + dispatchtest.Street, "dispatched, handled with a co-handler, confidential: true: sign", false},
		{"DEPARTMENT_CLERK of " + dispatchtest.Street, "dispatched, handled with a co-handler, confidential: false: sign", true},
		{"DEPARTMENT_CLERK of " + dispatchtest.Community, "handled, handled with a co-handler, confidential: true: handle", false},
		{"DEPARTMENT_CLERK of " + dispatchtest.Community, "handled, handled with a co-handler, confidential: false: handle", true},
		{"DEPARTMENT_CLERK of " + dispatchtest.OtherUrban, "handled, handled with a co-handler, confidential: true: co_task", false},
		{"DEPARTMENT_CLERK of " + dispatchtest.OtherUrban, "handled, handled with a co-handler, confidential: false: co_task", true},
		{"DEPARTMENT_CLERK of " + dispatchtest.DistrictUrban, "handled, against a department of the lead, confidential: true: handle", true},
		{"DEPARTMENT_CLERK of " + dispatchtest.DistrictTraffic, "handled, against a department of the lead, confidential: true: handle", false},
		{"DEPARTMENT_CLERK of " + dispatchtest.DistrictTraffic, "handled, against a department of the lead, confidential: false: handle", true},
		{"DUTY_LEADER of " + dispatchtest.CityCentre, "handled, against a street of the lead, confidential: true: decide_extension", true},
		{"DUTY_LEADER of " + dispatchtest.Street, "handled, against a street of the lead, confidential: true: decide_extension", false},
		{"GRID_WORKER of " + dispatchtest.Community, "told, against a street of the lead, confidential: false: verify", false},
	} {
		if got := waits[c.who][c.what]; got != c.want {
			t.Errorf("%s, %q: in the inbox: %t, want %t", c.who, c.what, got, c.want)
		}
	}
}
