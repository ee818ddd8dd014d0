package ticket

import (
	"errors"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

func handOverEmergency(s State, a *rule.Asked, c *pb.HandOverEmergencyRequest) ([]proto.Message, error) {
	return nil, errors.New("to be written")
}

func (s *State) emergencyHandedOver(meta *pb.EventMeta, e *pb.EmergencyHandedOver) {}
