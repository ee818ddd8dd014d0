package ticket

import (
	"errors"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

func requestExclusion(s State, a *rule.Asked, c *pb.RequestExclusionRequest) ([]proto.Message, error) {
	return nil, errors.New("to be written")
}

func decideExclusion(s State, a *rule.Asked, c *pb.DecideExclusionRequest) ([]proto.Message, error) {
	return nil, errors.New("to be written")
}

func (s *State) exclusionRequested(meta *pb.EventMeta, e *pb.ExclusionRequested) {}

func (s *State) exclusionGranted(meta *pb.EventMeta, e *pb.ExclusionGranted) {}

func (s *State) exclusionDenied(meta *pb.EventMeta, e *pb.ExclusionDenied) {}
