package dispatch_test

import (
	"testing"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/rule"
)

func TestWhatTheAcceptanceSaysOfThePetitionerIsAddedToTheReport(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	name := c.Do(t, dispatchtest.Hotline, &pb.ReportTicketRequest{
		RequestId: "report", Channel: pb.Channel_CHANNEL_HOTLINE, Kind: pb.MatterKind_MATTER_KIND_HELP, Area: dispatchtest.Community,
		Particulars: &pb.Particulars{Text: "x", Petitioner: &pb.Petitioner{Phone: "13812345678", CallbackWanted: true}},
	})
	c.Do(t, dispatchtest.Hotline, &pb.AcceptTicketRequest{Name: name, RequestId: "accept", Particulars: &pb.Particulars{
		Place: "春笋中路", Cause: "老化", Course: "三天", Petitioner: &pb.Petitioner{Name: "李四"},
	}})
	p, _, err := c.Reveal(t.Context(), dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_AUDITOR),
		&pb.RevealIdentityRequest{Name: name, RequestId: "see", Purpose: pb.RevealPurpose_REVEAL_PURPOSE_INVESTIGATION})
	if err != nil || p.Name != "李四" || p.Phone != "13812345678" || !p.CallbackWanted {
		t.Errorf("got %v, %v", p, err)
	}
	s, _, err := c.LoadTicket(t.Context(), name)
	if err != nil || s.Anonymous || !s.CallbackWanted || len(s.Subjects) != 1 {
		t.Errorf("got anonymous %t, callback wanted %t, subjects %v, %v", s.Anonymous, s.CallbackWanted, s.Subjects, err)
	}
}

func TestWhoIsIdentifiedAtTheAcceptanceIsErasedThroughAnyOfTheirTickets(t *testing.T) {
	t.Parallel()
	for _, through := range []string{"this ticket", "another ticket"} {
		c := dispatchtest.Open(t)
		auditor := dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_AUDITOR)
		person := &pb.Petitioner{Name: "李四", Phone: "13812345678"}
		report := &pb.ReportTicketRequest{
			RequestId: "unnamed", Channel: pb.Channel_CHANNEL_HOTLINE, Kind: pb.MatterKind_MATTER_KIND_HELP, Area: dispatchtest.Community,
			Particulars: &pb.Particulars{Text: "x"},
		}
		name := c.Do(t, dispatchtest.Hotline, report)
		c.Do(t, dispatchtest.Hotline, &pb.AcceptTicketRequest{Name: name, RequestId: "accept", Particulars: &pb.Particulars{
			Place: "春笋中路", Cause: "老化", Course: "三天", Petitioner: person,
		}})
		s, _, err := c.LoadTicket(t.Context(), name)
		if err != nil || s.Anonymous || len(s.Subjects) != 2 {
			t.Fatalf("got anonymous %t, subjects %v, %v", s.Anonymous, s.Subjects, err)
		}
		erase := name
		if through == "another ticket" {
			erase = c.Do(t, dispatchtest.Hotline, &pb.ReportTicketRequest{
				RequestId: "named", Channel: report.Channel, Kind: report.Kind, Area: report.Area, Particulars: &pb.Particulars{Text: "y", Petitioner: person},
			})
		}
		if _, _, err := c.Erase(t.Context(), auditor, &pb.EraseSubjectRequest{Name: erase, RequestId: "e", OrderRef: "order-1"}); err != nil {
			t.Fatal(err)
		}
		see := &pb.RevealIdentityRequest{Name: name, RequestId: "see", Purpose: pb.RevealPurpose_REVEAL_PURPOSE_INVESTIGATION}
		if p, _, err := c.Reveal(t.Context(), auditor, see); p != nil || reason(err) != rule.SubjectErased {
			t.Errorf("through %s: got %v, %v", through, p, err)
		}
		for _, subject := range s.Subjects {
			_, err := c.Keys.Lookup(t.Context(), subject)
			if gone := err != nil; gone != (through == "this ticket" || subject == s.Subject) {
				t.Errorf("through %s: subject %s of %v is gone: %t", through, subject, s.Subjects, gone)
			}
		}
	}
}

func TestWhoAskedForConfidenceIsNotShownToTheLeadEvenWhereTheMatterIsOpenByNow(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	name := c.Do(t, dispatchtest.Hotline, &pb.ReportTicketRequest{
		RequestId: "report", Channel: pb.Channel_CHANNEL_HOTLINE, Kind: pb.MatterKind_MATTER_KIND_HELP, Area: dispatchtest.Community,
		Particulars: &pb.Particulars{Text: "x", Place: "春笋中路", Cause: "老化", Course: "三天", Petitioner: &pb.Petitioner{Name: "李四", Phone: "13812345678"}},
	})
	c.Do(t, dispatchtest.Hotline, &pb.AcceptTicketRequest{Name: name, RequestId: "accept", Particulars: &pb.Particulars{
		Petitioner: &pb.Petitioner{Name: "李四", Confidential: true},
	}})
	c.Do(t, dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_DISPATCHER), &pb.TriageTicketRequest{Name: name, RequestId: "triage", Category: "0302"})
	c.Do(t, dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_DISPATCHER), &pb.DispatchTicketRequest{Name: name, RequestId: "dispatch", Lead: dispatchtest.DistrictUrban})
	c.Do(t, dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_SUPERVISOR), &pb.CorrectTriageRequest{
		Name: name, RequestId: "open", Confidentiality: pb.Confidentiality_CONFIDENTIALITY_OPEN, Particulars: &pb.Particulars{Note: "公开办理"},
	})
	see := &pb.RevealIdentityRequest{Name: name, RequestId: "see", Purpose: pb.RevealPurpose_REVEAL_PURPOSE_CONTACT}
	if p, _, err := c.Reveal(t.Context(), dispatchtest.As(dispatchtest.DistrictUrban, pb.Role_ROLE_DEPARTMENT_CLERK), see); p != nil || reason(err) != rule.RoleNotAllowed {
		t.Errorf("the lead's clerk is shown %v, %v", p, err)
	}
	notes := 0
	for r, err := range c.Store.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Type == "IdentityRevealed" {
			notes++
		}
	}
	if notes != 0 {
		t.Errorf("%d reveals are noted of what was not shown", notes)
	}
	if p, _, err := c.Reveal(t.Context(), dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_SUPERVISOR), see); err != nil || p.GetName() != "李四" {
		t.Errorf("the supervisor above is shown %v, %v", p, err)
	}
}
