package ticket

import (
	"errors"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

func passTimer(s State, a *rule.Asked, c *pb.PassTimerRequest) ([]proto.Message, error) {
	return nil, errors.New("to be written")
}

func (s *State) acceptOverdue(meta *pb.EventMeta, e *pb.AcceptOverdue) {}

func (s *State) dispatchOverdue(meta *pb.EventMeta, e *pb.DispatchOverdue) {}

func (s *State) signOverdue(meta *pb.EventMeta, e *pb.SignOverdue) {}

func (s *State) contactOverdue(meta *pb.EventMeta, e *pb.ContactOverdue) {}

func (s *State) handleOverdue(meta *pb.EventMeta, e *pb.HandleOverdue) {}

func (s *State) verifyOverdue(meta *pb.EventMeta, e *pb.VerifyOverdue) {}

func (s *State) callbackOverdue(meta *pb.EventMeta, e *pb.CallbackOverdue) {}

func (s *State) rightLapsed(meta *pb.EventMeta, e *pb.RightLapsed) {}
