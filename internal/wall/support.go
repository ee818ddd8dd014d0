package wall

import (
	"slices"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// support: another resident has the same problem (我也是). A resident is the data subject that the number of a telephone or identity card leads to,
// and counts once. The poster does not count.
func support(s State, a *rule.Asked, _ *pb.SupportPostRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_CITIZEN, pb.Role_ROLE_GRID_WORKER, pb.Role_ROLE_COMMUNITY_CLERK); err != nil {
		return nil, err
	}
	if err := around(a, s.Keeper); err != nil {
		return nil, err
	}
	if err := s.in(pb.PostState_POST_STATE_SCREENED, pb.PostState_POST_STATE_LIFTED, pb.PostState_POST_STATE_TICKETED); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.ScreenedAt); err != nil {
		return nil, err
	}
	if err := known(a); err != nil {
		return nil, err
	}
	if a.Petitioner == s.Subject {
		return nil, rule.Bad("particulars.petitioner", rule.SeparationOfDuties, "the poster does not support the own post")
	}
	if slices.Contains(s.Supporters, a.Petitioner) {
		return nil, rule.Bad("particulars.petitioner", rule.AlreadyDone, "this resident supports the post already")
	}
	return rule.One(&pb.PostSupported{Resident: a.Petitioner})
}

// known refuses a resident whom neither a telephone nor an identity card identifies.
func known(a *rule.Asked) error {
	if a.Petitioner == "" {
		return rule.Bad("particulars.petitioner.phone", rule.MissingField, "a telephone or identity number is required, and no anonymous resident")
	}
	return nil
}
