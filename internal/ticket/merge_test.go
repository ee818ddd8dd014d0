package ticket_test

import (
	"errors"
	"testing"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/ticket"
)

func TestADuplicateIsAttachedAnewOnlyOnALaterVersionOfIt(t *testing.T) {
	t.Parallel()
	s := ticket.State{
		Life:       rule.Life[pb.TicketState]{State: pb.TicketState_TICKET_STATE_DISPATCHED},
		Holder:     "d",
		Duplicates: []string{"first", "second"}, Attached: []ticket.Attachment{{Event: 3, Seen: 12}, {Event: 4, Seen: 9}},
	}
	for etag, want := range map[string]rule.Reason{`"8"`: rule.AlreadyDone, `"9"`: rule.AlreadyDone, `"10"`: "", `"99"`: ""} {
		a := &rule.Asked{
			Actor: rule.Actor{Roles: []pb.Role{pb.Role_ROLE_DISPATCHER}, Unit: "c"}, At: turn, OccurredAt: turn, Registry: merged(),
			Linked: map[string]*pb.Ticket{"second": {Name: "tickets/second", Etag: etag}},
		}
		events, err := ticket.Decide(s, a, &pb.MergeTicketRequest{Name: "tickets/second", Into: "tickets/third"})
		refusal, _ := errors.AsType[*rule.Refusal](err)
		if want == "" && (err != nil || len(events) != 1) || want != "" && (refusal == nil || refusal.Reason != want) {
			t.Errorf("at %s: got %v, %v, want %q", etag, events, err, want)
		}
	}
}
