package rpc

import (
	"context"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/admission"
	"github.com/chuishao/dispatch/internal/dispatch"
)

type admissionService struct {
	pb.UnimplementedAdmissionServiceServer
	service
}

func (s admissionService) ApplyForAdmission(ctx context.Context, r *pb.ApplyForAdmissionRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}

func (s admissionService) ReviewAdmission(ctx context.Context, r *pb.ReviewAdmissionRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}

func (s admissionService) ObjectToAdmission(ctx context.Context, r *pb.ObjectToAdmissionRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}

func (s admissionService) DecideAdmission(ctx context.Context, r *pb.DecideAdmissionRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}

func (s admissionService) RevokeAdmission(ctx context.Context, r *pb.RevokeAdmissionRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}

// GetAdmission gives the admission as its history says it is now.
func (s admissionService) GetAdmission(ctx context.Context, r *pb.GetAdmissionRequest) (*pb.Admission, error) {
	state, result, err := found[*admission.State](ctx, &s.service, "admissions", r.Name)
	if err != nil {
		return nil, err
	}
	m := state.Message(dispatch.ID(result.Stream))
	m.Etag, m.ConsistencyToken = result.ETag(), Token(result.Position)
	actor, _ := ActorFrom(ctx)
	m.Particulars, m.Erased, err = s.dispatcher.Said(ctx, result.Stream, nil, &pb.AdmissionApplied{Sealed: state.Applied}, actor)
	return m, err
}

func (s admissionService) PassAdmissionTimer(ctx context.Context, r *pb.PassAdmissionTimerRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}
