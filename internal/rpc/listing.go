package rpc

import (
	"context"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/listing"
)

type listingService struct {
	pb.UnimplementedListingServiceServer
	service
	views *viewService // nil: this server has none, and draws no samples
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

func (s listingService) RecordSpotCheck(ctx context.Context, r *pb.RecordSpotCheckRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}

// GetListing gives the listing as its history says it is now.
func (s listingService) GetListing(ctx context.Context, r *pb.GetListingRequest) (*pb.Listing, error) {
	state, result, err := found[*listing.State](ctx, &s.service, "listings", r.Name)
	if err != nil {
		return nil, err
	}
	m := state.Message(dispatch.ID(result.Stream))
	m.Etag, m.ConsistencyToken, m.Overdue = result.ETag(), Token(result.Position), state.Overdue(s.dispatcher.Now())
	actor, _ := ActorFrom(ctx)
	m.Particulars, m.Erased, err = s.dispatcher.Said(ctx, result.Stream, nil, &pb.ProblemListed{Sealed: state.Listed}, actor)
	return m, err
}
