package demo

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// desk: the officer on duty looks at the street's desk, where everything in progress stands.
func (s *story) desk() {
	s.then(minute, s.officer(pb.Role_ROLE_STREET_CLERK), pb.ViewService_WatchDesk_FullMethodName, func(call) proto.Message {
		return new(pb.WatchDeskRequest)
	})
}

// desk watches a desk until it has been told what is in progress.
func (p *player) desk(ctx context.Context, q *pb.WatchDeskRequest) (proto.Message, error) {
	ctx, enough := context.WithCancel(ctx)
	defer enough()
	stream, err := pb.NewViewServiceClient(p.conn).WatchDesk(ctx, q)
	if err != nil {
		return nil, err
	}
	first, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	if first.Counts.GetWhistles() != int64(len(first.Whistles)) {
		return nil, fmt.Errorf("a desk counts %d whistles, and names %d", first.Counts.GetWhistles(), len(first.Whistles))
	}
	enough()
	for err == nil {
		_, err = stream.Recv()
	}
	if !errors.Is(context.Cause(ctx), context.Canceled) {
		return nil, err
	}
	return first, nil
}
