package wall

import (
	"slices"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// review: who posted or supported it says whether it is solved (联评), once each.
func review(s State, a *rule.Asked, c *pb.ReviewPostRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_CITIZEN); err != nil {
		return nil, err
	}
	if err := s.in(pb.PostState_POST_STATE_ECHOED, pb.PostState_POST_STATE_REVIEWED); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.EndedAt); err != nil {
		return nil, err
	}
	if c.Score < 1 || c.Score > 5 {
		return nil, rule.Bad("score", rule.BadField, "want 1 to 5")
	}
	if err := known(a); err != nil {
		return nil, err
	}
	if a.Petitioner != s.Subject && !slices.Contains(s.Supporters, a.Petitioner) {
		return nil, rule.Bad("particulars.petitioner", rule.NotParticipant, "this resident neither posted nor supported it")
	}
	if slices.Contains(s.Reviewers, a.Petitioner) {
		return nil, rule.Bad("particulars.petitioner", rule.AlreadyDone, "this resident has reviewed the post already")
	}
	return rule.One(&pb.PostReviewed{Resident: a.Petitioner, Score: c.Score, Sealed: a.Sealed})
}
