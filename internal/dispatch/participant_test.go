package dispatch_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/rule"
)

func TestWhomAWhistleSummonsSeesTheTicketAndCommandsNothing(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	name := c.Report(t, dispatchtest.Community)
	c.ToHandling(t, name, dispatchtest.Street)
	look := func(when string, urban, traffic bool) {
		t.Helper()
		s, _, err := c.LoadTicket(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if u, j := s.InScope(c.Registry(), dispatchtest.DistrictUrban), s.InScope(c.Registry(), dispatchtest.DistrictTraffic); u != urban || j != traffic {
			t.Errorf("%s: got urban %t, traffic %t, want %t, %t", when, u, j, urban, traffic)
		}
	}
	whistle := func(actor rule.Actor, command proto.Message) string {
		_, r, err := c.Whistle(t.Context(), dispatch.Request{Actor: actor, Command: command})
		if err != nil {
			t.Fatal(err)
		}
		return "whistles/" + dispatch.ID(r.Stream)
	}
	look("before", false, false)
	blown := whistle(dispatchtest.As(dispatchtest.Street, pb.Role_ROLE_STREET_LEADER), &pb.BlowWhistleRequest{
		RequestId: "blow", Kind: pb.WhistleKind_WHISTLE_KIND_ROUTINE, Tickets: []string{name}, CallItem: "0701", Summons: []*pb.Summons{{Unit: dispatchtest.DistrictUrban}},
	})
	look("blown", true, false)
	whistle(dispatchtest.As(dispatchtest.DistrictCentre, pb.Role_ROLE_DISPATCHER), &pb.ScreenWhistleRequest{
		Name: blown, RequestId: "screen", Issue: true, Added: []*pb.Summons{{Unit: dispatchtest.DistrictTraffic}},
	})
	look("issued", true, true)
	waive := &pb.WaiveRequirementRequest{Name: name, RequestId: "waive", What: pb.Requirement_REQUIREMENT_CONTACT, Particulars: &pb.Particulars{Note: "x"}}
	if _, _, err := c.Ticket(t.Context(), dispatch.Request{Actor: dispatchtest.As(dispatchtest.DistrictUrban, pb.Role_ROLE_SUPERVISOR), Command: waive}); reason(err) != rule.OutOfScope {
		t.Errorf("got %v for a command of a participant", err)
	}
	c.Do(t, dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_SUPERVISOR), &pb.CorrectTriageRequest{
		Name: name, RequestId: "confide", Confidentiality: pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL, Particulars: &pb.Particulars{Note: "x"},
	})
	look("confidential", false, false)
}
