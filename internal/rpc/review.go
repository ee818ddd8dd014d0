package rpc

import (
	"context"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/review"
)

type reviewService struct {
	pb.UnimplementedReviewServiceServer
	service
}

func (s reviewService) OpenReview(ctx context.Context, r *pb.OpenReviewRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}

func (s reviewService) ScoreReview(ctx context.Context, r *pb.ScoreReviewRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}

func (s reviewService) CloseReview(ctx context.Context, r *pb.CloseReviewRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}

func (s reviewService) GradeResidentUnit(ctx context.Context, r *pb.GradeResidentUnitRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}

func (s reviewService) GiveStreetOpinion(ctx context.Context, r *pb.GiveStreetOpinionRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}

// GetReview gives the review as its history says it is now.
func (s reviewService) GetReview(ctx context.Context, r *pb.GetReviewRequest) (*pb.Review, error) {
	state, result, err := found[*review.State](ctx, &s.service, "reviews", r.Name)
	if err != nil {
		return nil, err
	}
	m := state.Message(dispatch.ID(result.Stream))
	m.Etag, m.ConsistencyToken = result.ETag(), Token(result.Position)
	return m, nil
}
