package wall

import (
	"cmp"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// screen: the post is admitted to the wall, with words that everybody may read, or it is not. That it is admitted is its first echo.
func screen(s State, a *rule.Asked, c *pb.ScreenPostRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_GRID_WORKER, pb.Role_ROLE_COMMUNITY_CLERK, pb.Role_ROLE_COMMUNITY_SECRETARY); err != nil {
		return nil, err
	}
	if err := s.fromKeeper(a); err != nil {
		return nil, err
	}
	if err := s.in(pb.PostState_POST_STATE_POSTED); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.PostedAt); err != nil {
		return nil, err
	}
	if !c.Admit {
		if c.Reason == "" {
			return nil, rule.Bad("reason", rule.MissingField, "is required to refuse")
		}
		if err := rule.Word("reason", c.Reason, rule.UpperCode); err != nil {
			return nil, err
		}
		return rule.One(&pb.PostRefused{Reason: c.Reason, Sealed: a.Sealed})
	}
	category := cmp.Or(c.Category, s.Category)
	if category == "" {
		return nil, rule.Bad("category", rule.MissingField, "is required; the post names none")
	}
	if _, ok := a.Registry.Category(category, a.At); !ok {
		return nil, rule.Bad("category", rule.UnknownCategory, "no category %q is valid today", category)
	}
	if err := a.PublicWords(c.GetParticulars().GetReply()); err != nil {
		return nil, err
	}
	return rule.One(&pb.PostScreened{Category: category, Sealed: a.Sealed})
}

func (s *State) screened(at time.Time, e *pb.PostScreened) {
	s.Category, s.Words, s.ScreenedAt, s.Echo = e.Category, e.Sealed, at, pb.EchoKind_ECHO_KIND_ACCEPTED
}
