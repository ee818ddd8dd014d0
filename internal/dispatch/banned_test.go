package dispatch_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/rule"
)

func TestWhatTheBanListRefusesIsNotedWithItemPlaceAndWhoTried(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	do := func(unit string, role pb.Role, command proto.Message) (dispatch.Result, error) {
		_, result, err := c.Ticket(t.Context(), dispatch.Request{Actor: rule.Actor{Person: "p", Unit: unit, Roles: []pb.Role{role}}, Command: command})
		return result, err
	}
	reported, err := do("320200000000-ZH", pb.Role_ROLE_AGENT, &pb.ReportTicketRequest{
		RequestId: "1", Channel: pb.Channel_CHANNEL_GRID, Kind: pb.MatterKind_MATTER_KIND_OTHER, Area: "320205001001",
		Particulars: &pb.Particulars{Title: "路灯", Text: "不亮", Place: "路口", Cause: "不详", Course: "三天", Petitioner: &pb.Petitioner{Name: "张三", Phone: "13800000001"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	name := "tickets/" + dispatch.ID(reported.Stream)
	if _, err := do("320200000000-ZH", pb.Role_ROLE_AGENT, &pb.AcceptTicketRequest{Name: name, RequestId: "2"}); err != nil {
		t.Fatal(err)
	}
	if _, err := do("320200000000-ZH", pb.Role_ROLE_DISPATCHER, &pb.TriageTicketRequest{Name: name, RequestId: "3", Category: "0302"}); err != nil {
		t.Fatal(err)
	}
	for _, request := range []string{"4", "4", "5"} { // the second is sent again
		c.Clock.Add(time.Minute)
		_, err := do("320205000000-ZH", pb.Role_ROLE_DISPATCHER, &pb.DispatchTicketRequest{Name: name, RequestId: request, Lead: "320205001001001", Task: "1301"})
		if r, ok := err.(*rule.Refusal); !ok || r.Reason != rule.BannedInCommunities {
			t.Fatalf("got %v", err)
		}
	}
	if _, err := do("320205000000-ZH", pb.Role_ROLE_DISPATCHER, &pb.DispatchTicketRequest{Name: name, RequestId: "6", Lead: "nobody"}); err == nil {
		t.Fatal("a unit that is not there leads")
	}
	var notes []*pb.CommandRefused
	for r, err := range c.Store.ReadStream(t.Context(), "audit-"+dispatch.ID(reported.Stream), 0) {
		if err != nil {
			t.Fatal(err)
		}
		d, err := event.Decode(r)
		if err != nil {
			t.Fatal(err)
		}
		notes = append(notes, d.Event.(*pb.CommandRefused))
	}
	if len(notes) != 3 {
		t.Fatalf("got %v, want three notes: a request that is sent again is one refusal", notes)
	}
	for _, n := range notes[:2] {
		if n.BanItem != "B42" || n.Target != "320205001001001" || len(n.TargetPath) != 5 || n.TargetPath[3].Code != "320205001001" ||
			len(n.UnitPath) != 2 || n.UnitPath[1] != "320205000000-ZH" {
			t.Errorf("got %v", n)
		}
	}
	if n := notes[2]; n.BanItem != "" || n.Target != "" || n.TargetPath != nil || n.UnitPath != nil {
		t.Errorf("of another refusal: got %v", n)
	}
}
