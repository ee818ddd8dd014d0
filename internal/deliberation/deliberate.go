package deliberation

import (
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// deliberate: the community met on it (一议). The minutes are required.
func deliberate(s State, a *rule.Asked, c *pb.RecordDeliberationRequest) ([]proto.Message, error) {
	err := s.kept(a, pb.DeliberationState_DELIBERATION_STATE_CHOSEN, pb.Role_ROLE_COMMUNITY_CLERK, pb.Role_ROLE_COMMUNITY_SECRETARY)
	if err != nil {
		return nil, err
	}
	if c.GetParticulars().GetText() == "" {
		return nil, rule.Bad("particulars.text", rule.MissingField, "is required")
	}
	held := a.OccurredAt
	if c.HeldAt != nil {
		held = c.HeldAt.AsTime().Truncate(time.Microsecond)
	}
	switch {
	case held.After(a.OccurredAt):
		return nil, rule.Bad("held_at", rule.OccurredInFuture, "lies after it was recorded")
	case held.Before(s.ChosenAt):
		return nil, rule.Bad("held_at", rule.OccurredBeforeCause, "lies before the matter was chosen, at %s", s.ChosenAt.UTC().Format(time.RFC3339))
	}
	if err := active(a, c.Units); err != nil {
		return nil, err
	}
	return rule.One(&pb.MatterDeliberated{HeldAt: rule.Stamp(held), Residents: c.Residents, Units: c.Units, Sealed: a.Sealed})
}

// decide: what is to be done, by whom and by when.
func decide(s State, a *rule.Asked, c *pb.DecideMatterRequest) ([]proto.Message, error) {
	if err := s.kept(a, pb.DeliberationState_DELIBERATION_STATE_DELIBERATED, pb.Role_ROLE_COMMUNITY_SECRETARY); err != nil {
		return nil, err
	}
	if c.GetParticulars().GetText() == "" {
		return nil, rule.Bad("particulars.text", rule.MissingField, "is required")
	}
	if c.Lead != "" {
		if _, ok := a.Registry.Unit(c.Lead, a.At); !ok {
			return nil, rule.Bad("lead", rule.UnknownUnit, "no unit %q is active today", c.Lead)
		}
	}
	if c.DoBy != nil && !c.DoBy.AsTime().After(a.OccurredAt) {
		return nil, rule.Bad("do_by", rule.BadField, "has passed when it is decided")
	}
	return rule.One(&pb.MatterDecided{VotesFor: c.VotesFor, VotesAgainst: c.VotesAgainst, Lead: c.Lead, DoBy: c.DoBy, Sealed: a.Sealed})
}

// publish: everybody may read what came of it (一公开), so that the words may identify nobody.
func publish(s State, a *rule.Asked, c *pb.PublishMatterRequest) ([]proto.Message, error) {
	err := s.kept(a, pb.DeliberationState_DELIBERATION_STATE_DECIDED, pb.Role_ROLE_COMMUNITY_CLERK, pb.Role_ROLE_COMMUNITY_SECRETARY)
	if err != nil {
		return nil, err
	}
	if err := a.PublicWords(c.GetParticulars().GetReply()); err != nil {
		return nil, err
	}
	return rule.One(&pb.MatterPublished{Sealed: a.Sealed})
}
