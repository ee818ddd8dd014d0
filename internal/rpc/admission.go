package rpc

import (
	"context"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
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

func (s admissionService) PassAdmissionTimer(ctx context.Context, r *pb.PassAdmissionTimerRequest) (*pb.CommandAnswer, error) {
	return s.carry(ctx, r)
}
