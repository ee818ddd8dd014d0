package ticket

import (
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

func rateLead(s State, a *rule.Asked, c *pb.RateLeadRequest) ([]proto.Message, error) {
	return nil, rule.No(rule.WrongState, "to be written")
}

func jointReview(s State, a *rule.Asked, c *pb.RecordJointReviewRequest) ([]proto.Message, error) {
	return nil, rule.No(rule.WrongState, "to be written")
}

func (s *State) leadRated(meta *pb.EventMeta, e *pb.LeadRated) {}

func (s *State) jointReviewRecorded(meta *pb.EventMeta, e *pb.JointReviewRecorded) {}
