package deliberation

import (
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// monthLayout is how a month is written.
const monthLayout = "2006-01"

// choose: the secretary chooses the community's matter of a month (一月一事). The posts it is about are those that a.Posts has.
func choose(s State, a *rule.Asked, c *pb.ChooseMatterRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_COMMUNITY_SECRETARY); err != nil {
		return nil, err
	}
	if err := a.CheckTime(time.Time{}); err != nil {
		return nil, err
	}
	if c.Area == "" {
		return nil, rule.Bad("area", rule.MissingField, "is required")
	}
	path, ok := a.Registry.Path(c.Area, a.OccurredAt)
	if !ok {
		return nil, rule.Bad("area", rule.UnknownArea, "no area %q is valid at that time", c.Area)
	}
	if level := path[len(path)-1].Level; level != "community" {
		return nil, rule.Bad("area", rule.BadField, "is a %s; want a community", level)
	}
	keeper, ok := a.Registry.Responsible(c.Area, a.At)
	if !ok || !rule.Within(a.Registry, a.Actor.Unit, keeper.Code) || keeper.Area != c.Area {
		return nil, rule.Bad("area", rule.OutOfScope, "is not your community")
	}
	if s.Exists() {
		return nil, &rule.Refusal{
			Reason: rule.AlreadyExists, Field: "month", Message: "the community has chosen its matter of the month", DecidedBy: s.Decided.String(),
		}
	}
	if err := monthFits(a, c.Month); err != nil {
		return nil, err
	}
	if c.GetParticulars().GetText() == "" {
		return nil, rule.Bad("particulars.text", rule.MissingField, "is required")
	}
	var posts []string
	for i, post := range c.Posts {
		id := strings.TrimPrefix(post, "posts/")
		p := a.Posts[id]
		switch {
		case slices.Contains(posts, id):
			return nil, rule.Bad(rule.Index("posts", i), rule.BadField, "is named twice")
		case p == nil:
			return nil, rule.Bad(rule.Index("posts", i), rule.NotFound, "no such post")
		case !slices.ContainsFunc(p.PostedPath, func(n *pb.AreaNode) bool { return n.Code == c.Area }):
			return nil, rule.Bad(rule.Index("posts", i), rule.OutOfScope, "stands on no wall of your community")
		}
		posts = append(posts, id)
	}
	return rule.One(&pb.MatterChosen{No: a.No, Path: path, Month: c.Month, Posts: posts, Keeper: keeper.Code, Sealed: a.Sealed})
}

// monthFits refuses what is no month, and one that is neither that in which the matter is chosen nor next to it.
func monthFits(a *rule.Asked, month string) error {
	if month == "" {
		return rule.Bad("month", rule.MissingField, "is required")
	}
	first, err := time.ParseInLocation(monthLayout, month, a.Calendar.Zone())
	if err != nil {
		return rule.Bad("month", rule.BadField, "want a month such as 2026-11")
	}
	y, m, _ := a.OccurredAt.In(a.Calendar.Zone()).Date()
	this := time.Date(y, m, 1, 0, 0, 0, 0, a.Calendar.Zone())
	if first.Before(this.AddDate(0, -1, 0)) || first.After(this.AddDate(0, 1, 0)) {
		return rule.Bad("month", rule.BadField, "want this month, the one before or the one after")
	}
	return nil
}

func (s *State) chosen(at time.Time, e *pb.MatterChosen) {
	s.No, s.Path, s.Keeper, s.Month, s.Posts, s.ChosenAt = e.No, e.Path, e.Keeper, e.Month, e.Posts, at
}
