package rpc

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
)

type importService struct {
	pb.UnimplementedImportServiceServer
	service
}

// ImportRecords takes over the records of a stream, and answers as they are recorded.
func (s importService) ImportRecords(stream grpc.BidiStreamingServer[pb.ImportRecordsRequest, pb.ImportRecordsResponse]) error {
	const method = pb.ImportService_ImportRecords_FullMethodName
	key := func(in *pb.ImportRecordsRequest) string { return sameMatter(in.GetRecord()) }
	return bulk(stream, false, key, func(ctx context.Context, in *pb.ImportRecordsRequest, wrong error) *pb.ImportRecordsResponse {
		began := time.Now()
		out := &pb.ImportRecordsResponse{Sequence: in.Sequence}
		var answer *pb.ImportAnswer
		err := wrong
		if err == nil {
			err = s.safely(func() error {
				state, result, err := s.dispatcher.Ticket(ctx, request(ctx, in.Record))
				if err != nil {
					return within("record", err)
				}
				answer = &pb.ImportAnswer{
					Name: "tickets/" + dispatch.ID(result.Stream), No: state.No, ConsistencyToken: Token(result.Position), Unchanged: result.Repeated,
				}
				return nil
			})
		}
		if err != nil {
			out.Outcome = &pb.ImportRecordsResponse_Failure{Failure: s.failed(ctx, method, in.GetRecord().GetRequestId(), began, err)}
			return out
		}
		s.metrics.message(method, codes.OK, began)
		out.Outcome = &pb.ImportRecordsResponse_Answer{Answer: answer}
		return out
	})
}
