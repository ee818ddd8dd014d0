package admission

import (
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// review: somebody who did not apply examines what is to be brought into communities (准入审查).
func review(s State, a *rule.Asked, c *pb.ReviewAdmissionRequest) ([]proto.Message, error) {
	if err := s.decider(a, pb.Role_ROLE_SUPERVISOR); err != nil {
		return nil, err
	}
	// The root, above which nobody is, examines what it applies for itself, by another person.
	own := len(a.Registry.UnitPath(s.Unit)) > 1 && rule.Within(a.Registry, a.Actor.Unit, s.Unit)
	if own || a.Actor.Person == s.AppliedBy.GetPerson() {
		return nil, rule.No(rule.SeparationOfDuties, "who applied, unit %q, does not examine it", s.Unit)
	}
	if err := s.in(pb.AdmissionState_ADMISSION_STATE_APPLIED); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.LastAt); err != nil {
		return nil, err
	}
	return rule.One(&pb.AdmissionReviewed{Recommended: c.Recommend, Sealed: a.Sealed})
}
