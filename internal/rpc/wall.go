package rpc

import (
	"context"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

type wallService struct {
	pb.UnimplementedWallServiceServer
	service
}

func (s wallService) PostOnWall(ctx context.Context, r *pb.PostOnWallRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}

func (s wallService) ScreenPost(ctx context.Context, r *pb.ScreenPostRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}

func (s wallService) SupportPost(ctx context.Context, r *pb.SupportPostRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}

func (s wallService) SelfSolvePost(ctx context.Context, r *pb.SelfSolvePostRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}

func (s wallService) LiftPost(ctx context.Context, r *pb.LiftPostRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}

func (s wallService) TicketPost(ctx context.Context, r *pb.TicketPostRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}

func (s wallService) RecordJointHandling(ctx context.Context, r *pb.RecordJointHandlingRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}

func (s wallService) RecordJointSolving(ctx context.Context, r *pb.RecordJointSolvingRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}

func (s wallService) ReviewPost(ctx context.Context, r *pb.ReviewPostRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}

func (s wallService) ChooseMatter(ctx context.Context, r *pb.ChooseMatterRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}

func (s wallService) RecordDeliberation(ctx context.Context, r *pb.RecordDeliberationRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}

func (s wallService) DecideMatter(ctx context.Context, r *pb.DecideMatterRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}

func (s wallService) PublishMatter(ctx context.Context, r *pb.PublishMatterRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}

func (s wallService) OpenEntry(ctx context.Context, r *pb.OpenEntryRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}

func (s wallService) MatchEntry(ctx context.Context, r *pb.MatchEntryRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}

func (s wallService) FulfilEntry(ctx context.Context, r *pb.FulfilEntryRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}

func (s wallService) WithdrawEntry(ctx context.Context, r *pb.WithdrawEntryRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}

// GetPost gives the post as its history says it is now, with its public words and echoes.
func (s wallService) GetPost(ctx context.Context, r *pb.GetPostRequest) (*pb.Post, error) {
	state, m, result, err := s.dispatcher.Post(ctx, r.Name)
	if err != nil {
		return nil, s.absent(ctx, err)
	}
	if err := s.shows(ctx, state); err != nil {
		return nil, err
	}
	m.Etag, m.ConsistencyToken = result.ETag(), Token(result.Position)
	return m, nil
}

// GetDeliberation gives a community's matter of a month as its history says it is now.
func (s wallService) GetDeliberation(ctx context.Context, r *pb.GetDeliberationRequest) (*pb.Deliberation, error) {
	state, m, result, err := s.dispatcher.Deliberation(ctx, r.Name)
	if err != nil {
		return nil, s.absent(ctx, err)
	}
	if err := s.shows(ctx, state); err != nil {
		return nil, err
	}
	m.Etag, m.ConsistencyToken = result.ETag(), Token(result.Position)
	return m, nil
}

// GetEntry gives a need or a resource as its history says it is now.
func (s wallService) GetEntry(ctx context.Context, r *pb.GetEntryRequest) (*pb.Entry, error) {
	actor, _ := ActorFrom(ctx)
	m, result, err := s.dispatcher.Entry(ctx, r.Name, actor)
	if err != nil {
		return nil, s.absent(ctx, err)
	}
	m.Etag, m.ConsistencyToken = result.ETag(), Token(result.Position)
	return m, nil
}
