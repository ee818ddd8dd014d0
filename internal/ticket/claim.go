package ticket

import (
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

func claim(s State, a *rule.Asked, c *pb.ClaimTicketRequest) ([]proto.Message, error) {
	return nil, rule.No(rule.WrongState, "to be written")
}

func (s *State) ticketClaimed(meta *pb.EventMeta, e *pb.TicketClaimed) {}
