package ticket

import (
	"errors"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

func merge(s State, a *rule.Asked, c *pb.MergeTicketRequest) ([]proto.Message, error) {
	return nil, errors.New("to be written")
}

func unmerge(s State, a *rule.Asked, c *pb.UnmergeTicketRequest) ([]proto.Message, error) {
	return nil, errors.New("to be written")
}

func (s *State) duplicateAttached(meta *pb.EventMeta, e *pb.DuplicateAttached) {}

func (s *State) duplicateDetached(meta *pb.EventMeta, e *pb.DuplicateDetached) {}

func (s *State) merged(meta *pb.EventMeta, e *pb.TicketMerged) {}

func (s *State) unmerged(meta *pb.EventMeta, e *pb.TicketUnmerged) {}
