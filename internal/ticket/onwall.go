package ticket

import (
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

func solveOnWall(s State, a *rule.Asked, c *pb.SolveOnWallRequest) ([]proto.Message, error) {
	return nil, rule.No(rule.WrongState, "to be written")
}

func (s *State) verificationSampledOut(meta *pb.EventMeta, e *pb.VerificationSampledOut) {}
