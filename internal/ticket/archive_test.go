package ticket

import (
	"errors"
	"testing"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/rule"
)

func TestNothingIsArchivedWhileAnExclusionIsNotDecided(t *testing.T) {
	t.Parallel()
	s := lived(pb.TicketState_TICKET_STATE_CLOSED)
	a := &rule.Asked{Actor: rule.Actor{Person: "system", Roles: []pb.Role{pb.Role_ROLE_SYSTEM}}, At: noon, OccurredAt: noon, Calendar: calendar.Default()}
	if events, err := Decide(s, a, &pb.ArchiveTicketRequest{}); err != nil || len(events) != 1 {
		t.Errorf("got %v, %v", events, err)
	}
	s.Limits.ExclusionBy = noon // though nobody may appeal
	_, err := Decide(s, a, &pb.ArchiveTicketRequest{})
	if refusal := new(rule.Refusal); !errors.As(err, &refusal) || refusal.Reason != rule.RightsRunning {
		t.Errorf("got %v, want %s", err, rule.RightsRunning)
	}
	s.Limits.ExclusionBy = noon.Add(-time.Second)
	s.Exclusion = &pb.ExclusionRequested{}
	_, err = Decide(s, a, &pb.ArchiveTicketRequest{})
	if refusal := new(rule.Refusal); !errors.As(err, &refusal) || refusal.Reason != rule.WrongState {
		t.Errorf("got %v, want %s", err, rule.WrongState)
	}
}
