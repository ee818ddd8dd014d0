package ticket

import (
	"errors"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

func requestExtension(s State, a *rule.Asked, c *pb.RequestExtensionRequest) ([]proto.Message, error) {
	return nil, errors.New("to be written")
}

func decideExtension(s State, a *rule.Asked, c *pb.DecideExtensionRequest) ([]proto.Message, error) {
	return nil, errors.New("to be written")
}

func (s *State) extensionRequested(meta *pb.EventMeta, e *pb.ExtensionRequested) {}

func (s *State) extensionGranted(meta *pb.EventMeta, e *pb.ExtensionGranted) {}

func (s *State) extensionRefused(meta *pb.EventMeta, e *pb.ExtensionRefused) {}
