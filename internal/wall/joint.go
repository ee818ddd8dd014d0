package wall

import (
	"slices"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// jointHandling: members of the community's joint committee take parts of the problem (联办).
func jointHandling(s State, a *rule.Asked, c *pb.RecordJointHandlingRequest) ([]proto.Message, error) {
	if err := s.jointly(a); err != nil {
		return nil, err
	}
	if err := units(a, c.Units, 1); err != nil {
		return nil, err
	}
	return rule.One(&pb.PostJointlyHandled{Units: c.Units, Sealed: a.Sealed})
}

// jointSolving: a joint session was held on the problem (联解).
func jointSolving(s State, a *rule.Asked, c *pb.RecordJointSolvingRequest) ([]proto.Message, error) {
	if err := s.jointly(a); err != nil {
		return nil, err
	}
	if c.GetParticulars().GetText() == "" {
		return nil, rule.Bad("particulars.text", rule.MissingField, "is required")
	}
	switch held := rule.Instant(c.HeldAt); {
	case held.IsZero():
		return nil, rule.Bad("held_at", rule.MissingField, "is required")
	case held.After(a.At):
		return nil, rule.Bad("held_at", rule.OccurredInFuture, "lies in the future")
	case held.Before(s.PostedAt):
		return nil, rule.Bad("held_at", rule.OccurredBeforeCause, "lies before the post")
	}
	if err := units(a, c.Units, 0); err != nil {
		return nil, err
	}
	return rule.One(&pb.PostJointlySolved{HeldAt: c.HeldAt, Units: c.Units, Residents: c.Residents, Sealed: a.Sealed})
}

// jointly refuses who is not the secretary of the community that has the mother wall, and a post that does not stand there or was answered.
func (s *State) jointly(a *rule.Asked) error {
	if err := a.Require(pb.Role_ROLE_COMMUNITY_SECRETARY); err != nil {
		return err
	}
	if err := s.ofKeeper(a); err != nil {
		return err
	}
	if err := s.in(pb.PostState_POST_STATE_LIFTED, pb.PostState_POST_STATE_TICKETED); err != nil {
		return err
	}
	return a.CheckTime(s.ScreenedAt)
}

// join notes units that take part.
func (s *State) join(units []string) {
	for _, u := range units {
		if !slices.Contains(s.JointUnits, u) {
			s.JointUnits = append(slices.Clip(s.JointUnits), u)
		}
	}
}
