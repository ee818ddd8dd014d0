package ticket

import (
	"errors"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// The levels of supervision.
const (
	supervisionUrge    = 1 + iota // 催办
	supervisionOrder              // 督办
	supervisionListed             // 挂牌督办
	supervisionAccount            // 通报, 约谈
)

func urge(s State, a *rule.Asked, c *pb.UrgeTicketRequest) ([]proto.Message, error) {
	return nil, errors.New("to be written")
}

func raiseSupervision(s State, a *rule.Asked, c *pb.RaiseSupervisionRequest) ([]proto.Message, error) {
	return nil, errors.New("to be written")
}

func replySupervision(s State, a *rule.Asked, c *pb.ReplySupervisionRequest) ([]proto.Message, error) {
	return nil, errors.New("to be written")
}

func clearListing(s State, a *rule.Asked, c *pb.ClearListingRequest) ([]proto.Message, error) {
	return nil, errors.New("to be written")
}

func liftSupervision(s State, a *rule.Asked, c *pb.LiftSupervisionRequest) ([]proto.Message, error) {
	return nil, errors.New("to be written")
}

func (s *State) urged(meta *pb.EventMeta, e *pb.TicketUrged) {}

func (s *State) supervisionRaised(meta *pb.EventMeta, e *pb.SupervisionRaised) {}

func (s *State) supervisionReplied(meta *pb.EventMeta, e *pb.SupervisionReplied) {}

func (s *State) listingCleared(meta *pb.EventMeta, e *pb.ListingCleared) {}

func (s *State) supervisionLifted(meta *pb.EventMeta, e *pb.SupervisionLifted) {}
