package wall

import (
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// toTicket: the community goes on with it as a ticket of the same id and T0.
func toTicket(s State, a *rule.Asked, _ *pb.TicketPostRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_COMMUNITY_CLERK, pb.Role_ROLE_COMMUNITY_SECRETARY); err != nil {
		return nil, err
	}
	if s.State == pb.PostState_POST_STATE_SCREENED && !s.Mother {
		return nil, rule.No(rule.WrongState, "the post stands on a child wall; lift it first")
	}
	if err := s.ofKeeper(a); err != nil {
		return nil, err
	}
	if err := s.in(pb.PostState_POST_STATE_SCREENED, pb.PostState_POST_STATE_LIFTED); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.Decided.At); err != nil {
		return nil, err
	}
	return rule.One(&pb.PostTicketed{Category: s.Category})
}
