package rpc

import (
	"context"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
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
