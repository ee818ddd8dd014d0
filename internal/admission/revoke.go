package admission

import (
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// revoke: an admission is taken back. What was delivered under it stays where it is.
func revoke(s State, a *rule.Asked, c *pb.RevokeAdmissionRequest) ([]proto.Message, error) {
	if err := s.decider(a, pb.Role_ROLE_DUTY_LEADER, pb.Role_ROLE_SUPERVISOR); err != nil {
		return nil, err
	}
	if err := s.in(pb.AdmissionState_ADMISSION_STATE_ADMITTED); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.LastAt); err != nil {
		return nil, err
	}
	if !a.OccurredAt.Before(s.ValidTo) {
		return nil, rule.No(rule.LimitPassed, "its validity has ended")
	}
	if err := reason(c.Reason); err != nil {
		return nil, err
	}
	return rule.One(&pb.AdmissionRevoked{Reason: c.Reason, Sealed: a.Sealed})
}
