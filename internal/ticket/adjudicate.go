package ticket

import (
	"errors"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

func openAdjudication(s State, a *rule.Asked, c *pb.OpenAdjudicationRequest) ([]proto.Message, error) {
	return nil, errors.New("to be written")
}

func ruleAdjudication(s State, a *rule.Asked, c *pb.RuleAdjudicationRequest) ([]proto.Message, error) {
	return nil, errors.New("to be written")
}

func fallback(s State, a *rule.Asked) ([]proto.Message, error) {
	return nil, errors.New("to be written")
}

func (s *State) adjudicationOpened(meta *pb.EventMeta, e *pb.AdjudicationOpened) {}

func (s *State) adjudicationRuled(meta *pb.EventMeta, e *pb.AdjudicationRuled) {}

func (s *State) fallbackAssigned(meta *pb.EventMeta, e *pb.FallbackAssigned) {}
