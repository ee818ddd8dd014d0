package ticket

import (
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

func askWhistle(s State, a *rule.Asked, c *pb.AskWhistleRequest) ([]proto.Message, error) {
	return nil, rule.No(rule.WrongState, "to be written")
}

func declineWhistleAsk(s State, a *rule.Asked, c *pb.DeclineWhistleAskRequest) ([]proto.Message, error) {
	return nil, rule.No(rule.WrongState, "to be written")
}

func (s *State) whistleAsked(meta *pb.EventMeta, e *pb.WhistleAsked) {}

func (s *State) whistleAskDeclined(meta *pb.EventMeta, e *pb.WhistleAskDeclined) {}
