package ticket

import (
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// answerDirectly: the agent answers at once and the ticket is never dispatched (直接答复).
func answerDirectly(s State, a *rule.Asked, c *pb.AnswerTicketDirectlyRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_AGENT); err != nil {
		return nil, err
	}
	if err := s.scope(a); err != nil {
		return nil, err
	}
	if err := s.in(pb.TicketState_TICKET_STATE_ACCEPTED); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.AcceptedAt); err != nil {
		return nil, err
	}
	if err := said("reply", c.GetParticulars().GetReply()); err != nil {
		return nil, err
	}
	return one(&pb.TicketAnsweredDirectly{Sealed: a.Sealed})
}

func (s *State) answeredDirectly(at time.Time, e *pb.TicketAnsweredDirectly) {
	s.ClosedAt, s.CloseKind, s.Replied, s.Limits = at, pb.CloseKind_CLOSE_KIND_DIRECT, e.Sealed, Limits{}
}
