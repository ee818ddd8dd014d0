package ticket

import (
	"errors"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

func escalate(s State, a *rule.Asked, c *pb.EscalateTicketRequest) ([]proto.Message, error) {
	return nil, errors.New("to be written")
}

func refuseEscalation(s State, a *rule.Asked, c *pb.RefuseEscalationRequest) ([]proto.Message, error) {
	return nil, errors.New("to be written")
}

func delegate(s State, a *rule.Asked, c *pb.DelegateTicketRequest) ([]proto.Message, error) {
	return nil, errors.New("to be written")
}

func (s *State) escalated(meta *pb.EventMeta, e *pb.TicketEscalated) {}

func (s *State) escalationRefused(meta *pb.EventMeta, e *pb.EscalationRefused) {}

func (s *State) delegated(meta *pb.EventMeta, e *pb.TicketDelegated) {}
