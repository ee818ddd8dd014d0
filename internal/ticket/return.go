package ticket

import (
	"errors"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

func requestReturn(s State, a *rule.Asked, c *pb.RequestReturnRequest) ([]proto.Message, error) {
	return nil, errors.New("to be written")
}

func decideReturn(s State, a *rule.Asked, c *pb.DecideReturnRequest) ([]proto.Message, error) {
	return nil, errors.New("to be written")
}

func lapseReturn(s State) []proto.Message {
	return []proto.Message{&pb.ReturnRejected{Lapsed: true, Unit: s.Lead}}
}

func (s *State) returnRequested(meta *pb.EventMeta, e *pb.ReturnRequested) {}

func (s *State) returnApproved(meta *pb.EventMeta, e *pb.ReturnApproved) {}

func (s *State) returnRejected(meta *pb.EventMeta, e *pb.ReturnRejected) {}
