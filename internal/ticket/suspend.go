package ticket

import (
	"errors"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

func requestSuspension(s State, a *rule.Asked, c *pb.RequestSuspensionRequest) ([]proto.Message, error) {
	return nil, errors.New("to be written")
}

func decideSuspension(s State, a *rule.Asked, c *pb.DecideSuspensionRequest) ([]proto.Message, error) {
	return nil, errors.New("to be written")
}

func resume(s State, a *rule.Asked, c *pb.ResumeTicketRequest) ([]proto.Message, error) {
	return nil, errors.New("to be written")
}

func (s *State) suspensionRequested(meta *pb.EventMeta, e *pb.SuspensionRequested) {}

func (s *State) suspensionGranted(meta *pb.EventMeta, e *pb.SuspensionGranted) {}

func (s *State) suspensionRefused(meta *pb.EventMeta, e *pb.SuspensionRefused) {}

func (s *State) resumed(meta *pb.EventMeta, e *pb.TicketResumed) {}

func (s *State) suspensionReviewDue(meta *pb.EventMeta, e *pb.SuspensionReviewDue) {}
