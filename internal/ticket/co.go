package ticket

import (
	"errors"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

func requestCo(s State, a *rule.Asked, c *pb.RequestCoHandlerRequest) ([]proto.Message, error) {
	return nil, errors.New("to be written")
}

func answerCo(s State, a *rule.Asked, c *pb.AnswerCoHandlingRequest) ([]proto.Message, error) {
	return nil, errors.New("to be written")
}

func decideCoDecline(s State, a *rule.Asked, c *pb.DecideCoDeclineRequest) ([]proto.Message, error) {
	return nil, errors.New("to be written")
}

func submitCo(s State, a *rule.Asked, c *pb.SubmitCoTaskRequest) ([]proto.Message, error) {
	return nil, errors.New("to be written")
}

func (s *State) coHandlerRequested(meta *pb.EventMeta, e *pb.CoHandlerRequested) {}

func (s *State) coHandlerAccepted(meta *pb.EventMeta, e *pb.CoHandlerAccepted) {}

func (s *State) coHandlerDeclineProposed(meta *pb.EventMeta, e *pb.CoHandlerDeclineProposed) {}

func (s *State) coHandlerDeclineDropped(meta *pb.EventMeta, e *pb.CoHandlerDeclineDropped) {}

func (s *State) coHandlerDeclined(meta *pb.EventMeta, e *pb.CoHandlerDeclined) {}

func (s *State) coHandlerSubmitted(meta *pb.EventMeta, e *pb.CoHandlerSubmitted) {}
