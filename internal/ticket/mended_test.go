package ticket

import (
	"testing"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/examples/wuxi"
	"github.com/chuishao/dispatch/internal/registry"
	"github.com/chuishao/dispatch/internal/rule"
)

func TestARecordThatIsClosedWaitsForNoProposal(t *testing.T) {
	t.Parallel()
	s := State{Life: rule.Life[pb.TicketState]{State: pb.TicketState_TICKET_STATE_REPORTED}, Imported: &pb.RecordImported{}, DeclineProposal: &pb.Actor{Person: "p"}, VoidProposal: &pb.Actor{Person: "p"}}
	s, err := Evolve(s, &pb.EventMeta{OccurredAt: after(0), RecordedAt: after(0)}, &pb.ImportedRecordClosed{})
	if err != nil || s.DeclineProposal != nil || s.VoidProposal != nil || s.State != pb.TicketState_TICKET_STATE_CLOSED {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestWhatAUnitOrderedThatIsGoneEndsThoseOfItsLevelOrAbove(t *testing.T) {
	t.Parallel()
	content, faults := registry.ReadDir(wuxi.Files)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	now := time.Date(2025, 3, 7, 1, 0, 0, 0, time.UTC)
	r := registry.NewSnapshot("v", now, content.Pieces(), nil)
	for unit, may := range map[string]bool{"320205000000-ZH": true, "320200000000-ZH": true, "320205001000": false} {
		s := State{Life: rule.Life[pb.TicketState]{State: pb.TicketState_TICKET_STATE_HANDLING}, Holder: "320205001001", Lead: "320205001001", Supervision: 2, SupervisionIssuer: "gone", SupervisionLevel: "district"}
		a := &rule.Asked{Actor: rule.Actor{Person: "p", Roles: []pb.Role{pb.Role_ROLE_SUPERVISOR}, Unit: unit}, At: now, OccurredAt: now, Registry: r}
		if err := s.supervises(a); (err == nil) != may {
			t.Errorf("%s: got %v, want it allowed: %t", unit, err, may)
		}
	}
}
