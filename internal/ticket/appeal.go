package ticket

import (
	"errors"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

func appealDecline(s State, a *rule.Asked, c *pb.AppealDeclineRequest) ([]proto.Message, error) {
	return nil, errors.New("to be written")
}

func overturnDecline(s State, a *rule.Asked, c *pb.OverturnDeclineRequest) ([]proto.Message, error) {
	return nil, errors.New("to be written")
}

func (s *State) declineAppealed(meta *pb.EventMeta, e *pb.DeclineAppealed) {}

func (s *State) declineOverturned(meta *pb.EventMeta, e *pb.DeclineOverturned) {}
