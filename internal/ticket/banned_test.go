package ticket

import (
	"errors"
	"testing"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/examples/wuxi"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/registry"
	"github.com/chuishao/dispatch/internal/rule"
)

func TestACommunityIsNotHandedAgainWhatTheBanListKeepsOutByNow(t *testing.T) {
	t.Parallel()
	content, faults := registry.ReadDir(wuxi.Files)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	now := time.Date(2025, 3, 7, 1, 0, 0, 0, time.UTC)
	for category, banned := range map[string]bool{"0202": true, "0302": false} {
		a := &rule.Asked{
			Actor: rule.Actor{Person: "p", Roles: []pb.Role{pb.Role_ROLE_SUPERVISOR}, Unit: "320200000000-ZH"}, At: now, OccurredAt: now,
			Registry: registry.NewSnapshot("v", now, content.Pieces(), nil), Calendar: calendar.Default(), Profile: calendar.DefaultProfile(),
		}
		s := State{
			State: pb.TicketState_TICKET_STATE_CLOSED, Events: 9, Category: category, Grade: pb.Grade_GRADE_G2, Holder: "320205001001", Lead: "320205001001",
			Round: 1, Hop: 1, ClosedAt: now.Add(-time.Hour), LastAt: now.Add(-time.Hour),
		}
		_, err := reopen(s, a, &pb.ReopenTicketRequest{Reason: pb.ReopenReason_REOPEN_REASON_UNSOLVED, Particulars: &pb.Particulars{Note: "又坏了"}})
		refusal, _ := errors.AsType[*rule.Refusal](err)
		if got := refusal != nil && refusal.Reason == rule.BannedInCommunities; got != banned || !banned && err != nil {
			t.Errorf("category %s: got %v", category, err)
		}
	}
}
