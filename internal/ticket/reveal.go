package ticket

import (
	"slices"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// reveal: somebody is to be shown the petitioner's identity. The event stands in the ticket's audit stream and is recorded
// before anything is shown.
func reveal(s State, a *rule.Asked, c *pb.RevealIdentityRequest) ([]proto.Message, error) {
	// The roles that are shown most come first: whoever holds several acts in the one that may.
	if err := a.Require(append([]pb.Role{pb.Role_ROLE_AUDITOR, pb.Role_ROLE_SUPERVISOR, pb.Role_ROLE_CALLER, pb.Role_ROLE_AGENT, pb.Role_ROLE_DISPATCHER}, clerks...)...); err != nil {
		return nil, err
	}
	if c.Purpose == pb.RevealPurpose_REVEAL_PURPOSE_UNSPECIFIED {
		return nil, rule.Bad("purpose", rule.MissingField, "is required")
	}
	if a.Acting == pb.Role_ROLE_AUDITOR {
		return rule.One(&pb.IdentityRevealed{Purpose: c.Purpose, Fields: []string{"petitioner"}})
	}
	if err := s.scope(a); err != nil {
		return nil, err
	}
	if slices.Contains(clerks, a.Acting) && !rule.Within(a.Registry, a.Actor.Unit, s.Lead) {
		return nil, rule.No(rule.OutOfScope, "of the clerks only the lead's are shown the petitioner")
	}
	if s.Confidentiality == pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL &&
		(a.Acting == pb.Role_ROLE_AGENT || a.Acting == pb.Role_ROLE_DISPATCHER || s.Lead != "" && rule.Within(a.Registry, a.Actor.Unit, s.Lead)) {
		return nil, rule.No(rule.RoleNotAllowed, "the petitioner of a confidential ticket is not shown to intake or to the handling unit")
	}
	return rule.One(&pb.IdentityRevealed{Purpose: c.Purpose, Fields: []string{"petitioner"}})
}
