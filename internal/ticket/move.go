package ticket

import (
	"errors"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

func moveHolder(s State, a *rule.Asked, c *pb.MoveHolderRequest) ([]proto.Message, error) {
	return nil, errors.New("to be written")
}

func (s *State) holderMoved(meta *pb.EventMeta, e *pb.HolderMoved) {}
