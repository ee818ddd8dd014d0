package admission

import (
	"slices"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// communitiesObject is the reason of a refusal where no community is left.
const communitiesObject = "COMMUNITIES_OBJECT"

// object: a community does not take it. With none left it is refused.
func object(s State, a *rule.Asked, c *pb.ObjectToAdmissionRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_COMMUNITY_SECRETARY); err != nil {
		return nil, err
	}
	unit, ok := a.Registry.Unit(a.Actor.Unit, a.At)
	if !ok {
		return nil, rule.No(rule.UnknownUnit, "your unit %q is not active today", a.Actor.Unit)
	}
	community := c.Community
	if community == "" {
		community = unit.Area
	}
	if !ofCommunity(a, unit, community) {
		return nil, rule.Bad("community", rule.OutOfScope, "area %q is not that of your unit, nor in it", community)
	}
	if err := s.in(pending...); err != nil {
		return nil, err
	}
	if slices.Contains(s.Objected, community) {
		return nil, rule.Bad("community", rule.AlreadyDone, "area %q has objected already", community)
	}
	if !slices.Contains(s.Communities, community) {
		return nil, rule.Bad("community", rule.BadField, "area %q is not among those applied for", community)
	}
	if err := a.CheckTime(s.AppliedAt); err != nil {
		return nil, err
	}
	if c.GetParticulars().GetText() == "" {
		return nil, rule.Bad("particulars.text", rule.MissingField, "say why")
	}
	events := []proto.Message{&pb.CommunityObjected{Community: community, Sealed: a.Sealed}}
	if len(s.Communities) == 1 {
		events = append(events, &pb.AdmissionRefused{Reason: communitiesObject})
	}
	return events, nil
}

// ofCommunity says whether a unit below the streets is that of the area, or of one that the area lies in.
func ofCommunity(a *rule.Asked, unit *pb.Unit, area string) bool {
	path, ok := a.Registry.Path(area, a.At)
	return ok && rule.BelowStreet(a.Registry, unit.Code) &&
		slices.ContainsFunc(path, func(n *pb.AreaNode) bool { return n.Code == unit.Area })
}

func (s *State) communityObjected(e *pb.CommunityObjected) {
	s.Communities = slices.DeleteFunc(slices.Clone(s.Communities), func(c string) bool { return c == e.Community })
	s.Objected = append(slices.Clip(s.Objected), e.Community)
}
