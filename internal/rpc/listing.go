package rpc

import (
	"context"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

type listingService struct {
	pb.UnimplementedListingServiceServer
	service
}

func (s listingService) ListProblem(ctx context.Context, r *pb.ListProblemRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}

func (s listingService) PlanRectification(ctx context.Context, r *pb.PlanRectificationRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}

func (s listingService) ReportRectified(ctx context.Context, r *pb.ReportRectifiedRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}

func (s listingService) CheckRectification(ctx context.Context, r *pb.CheckRectificationRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}

func (s listingService) ClearListedProblem(ctx context.Context, r *pb.ClearListedProblemRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}

func (s listingService) HoldToAccount(ctx context.Context, r *pb.HoldToAccountRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}

func (s listingService) PassListingTimer(ctx context.Context, r *pb.PassListingTimerRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}

func (s listingService) DrawSpotCheck(ctx context.Context, r *pb.DrawSpotCheckRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}

func (s listingService) RecordSpotCheck(ctx context.Context, r *pb.RecordSpotCheckRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}
