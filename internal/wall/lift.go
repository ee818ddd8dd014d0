package wall

import (
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// lift: it is beyond the grid, and goes on the community's mother wall (上墙): the same post, posted when it was.
func lift(s State, a *rule.Asked, c *pb.LiftPostRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_GRID_WORKER, pb.Role_ROLE_COMMUNITY_CLERK, pb.Role_ROLE_COMMUNITY_SECRETARY); err != nil {
		return nil, err
	}
	if err := s.fromKeeper(a); err != nil {
		return nil, err
	}
	if err := s.in(pb.PostState_POST_STATE_SCREENED); err != nil {
		return nil, err
	}
	if s.Mother {
		return nil, rule.No(rule.AlreadyDone, "the post stands on the mother wall")
	}
	if err := a.CheckTime(s.ScreenedAt); err != nil {
		return nil, err
	}
	if c.Reason == pb.EscalationReason_ESCALATION_REASON_UNSPECIFIED {
		return nil, rule.Bad("reason", rule.MissingField, "is required")
	}
	path := motherOf(a, s.Path)
	if path == nil {
		return nil, rule.No(rule.UnknownArea, "the wall lies in no community that is valid today")
	}
	keeper, ok := a.Registry.Responsible(path[len(path)-1].Code, a.At)
	if !ok {
		return nil, rule.No(rule.UnknownUnit, "no unit has the mother wall")
	}
	return rule.One(&pb.PostLifted{Reason: c.Reason, Keeper: keeper.Code, Path: path, Sealed: a.Sealed})
}

// motherOf is the path, today, of the community that an area lies in; nil if there is none.
func motherOf(a *rule.Asked, path []*pb.AreaNode) []*pb.AreaNode {
	for _, n := range path {
		if a.Registry.Rank(n.Level) != a.Registry.Rank("community") {
			continue
		}
		code, ok := a.Registry.Successor(n.Code, a.At)
		if !ok {
			return nil
		}
		now, _ := a.Registry.Path(code, a.At)
		return now
	}
	return nil
}

func (s *State) lifted(at time.Time, e *pb.PostLifted) {
	s.Keeper, s.Path, s.Mother, s.LiftedAt = e.Keeper, e.Path, true, at
}
