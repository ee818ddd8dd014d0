package rpc

import (
	"context"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/whistle"
)

type whistleService struct {
	pb.UnimplementedWhistleServiceServer
	service
}

// carryOut does what every command on a whistle has in common, which is everything.
func (s whistleService) carryOut(ctx context.Context, command proto.Message) (*pb.WhistleAnswer, error) {
	state, result, err := s.dispatcher.Whistle(ctx, request(ctx, command))
	if err != nil {
		return nil, s.refused(ctx, command, err)
	}
	return &pb.WhistleAnswer{
		Name: "whistles/" + dispatch.ID(result.Stream), No: state.No, State: state.State, Etag: result.ETag(),
		ConsistencyToken: Token(result.Position), Repeated: result.Repeated,
	}, nil
}

func (s whistleService) BlowWhistle(ctx context.Context, r *pb.BlowWhistleRequest) (*pb.WhistleAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s whistleService) ScreenWhistle(ctx context.Context, r *pb.ScreenWhistleRequest) (*pb.WhistleAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s whistleService) SignWhistle(ctx context.Context, r *pb.SignWhistleRequest) (*pb.WhistleAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s whistleService) ContactStreet(ctx context.Context, r *pb.ContactStreetRequest) (*pb.WhistleAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s whistleService) ReportIn(ctx context.Context, r *pb.ReportInRequest) (*pb.WhistleAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s whistleService) CompleteTask(ctx context.Context, r *pb.CompleteTaskRequest) (*pb.WhistleAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s whistleService) ReleaseParticipant(ctx context.Context, r *pb.ReleaseParticipantRequest) (*pb.WhistleAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s whistleService) ConfirmWhistle(ctx context.Context, r *pb.ConfirmWhistleRequest) (*pb.WhistleAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s whistleService) RateUnit(ctx context.Context, r *pb.RateUnitRequest) (*pb.WhistleAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s whistleService) CloseWhistle(ctx context.Context, r *pb.CloseWhistleRequest) (*pb.WhistleAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s whistleService) RequestExcuse(ctx context.Context, r *pb.RequestExcuseRequest) (*pb.WhistleAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s whistleService) EndorseExcuse(ctx context.Context, r *pb.EndorseExcuseRequest) (*pb.WhistleAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s whistleService) DecideExcuse(ctx context.Context, r *pb.DecideExcuseRequest) (*pb.WhistleAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s whistleService) AddParticipant(ctx context.Context, r *pb.AddParticipantRequest) (*pb.WhistleAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s whistleService) LeaveWhistle(ctx context.Context, r *pb.LeaveWhistleRequest) (*pb.WhistleAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s whistleService) WaiveTask(ctx context.Context, r *pb.WaiveTaskRequest) (*pb.WhistleAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s whistleService) JoinWhistle(ctx context.Context, r *pb.JoinWhistleRequest) (*pb.WhistleAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s whistleService) CancelWhistle(ctx context.Context, r *pb.CancelWhistleRequest) (*pb.WhistleAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s whistleService) RaiseWhistle(ctx context.Context, r *pb.RaiseWhistleRequest) (*pb.WhistleAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s whistleService) PassWhistleTimer(ctx context.Context, r *pb.PassWhistleTimerRequest) (*pb.WhistleAnswer, error) {
	return s.carryOut(ctx, r)
}

// GetWhistle gives the whistle as its history says it is now.
func (s whistleService) GetWhistle(ctx context.Context, r *pb.GetWhistleRequest) (*pb.Whistle, error) {
	state, result, err := found[*whistle.State](ctx, &s.service, "whistles", r.Name)
	if err != nil {
		return nil, err
	}
	m := state.Message(dispatch.ID(result.Stream))
	m.Etag, m.ConsistencyToken = result.ETag(), Token(result.Position)
	actor, _ := ActorFrom(ctx)
	m.Particulars, m.Erased, err = s.dispatcher.Said(ctx, result.Stream, nil, &pb.WhistleBlown{Sealed: state.Blown}, actor)
	return m, err
}
