package rpc

import (
	"context"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/rule"
)

// carry does what every command on a resource other than a ticket or a whistle has in common, which is everything.
func (s service) carry(ctx context.Context, command proto.Message) (*pb.CommandAnswer, error) {
	return s.carryRequest(ctx, request(ctx, command))
}

// carryRequest is carry for a request that brings more than its command.
func (s service) carryRequest(ctx context.Context, r dispatch.Request) (*pb.CommandAnswer, error) {
	command := r.Command
	state, result, err := s.dispatcher.Carry(ctx, r)
	if err != nil {
		return nil, s.refused(ctx, command, err)
	}
	no, standing := state.Standing()
	return &pb.CommandAnswer{
		Name: rule.ResourceOf(command).Collection + "/" + dispatch.ID(result.Stream), No: no, State: standing, Etag: result.ETag(),
		ConsistencyToken: Token(result.Position), Repeated: result.Repeated,
	}, nil
}
