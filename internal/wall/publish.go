package wall

import (
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// publish: somebody puts a problem on a wall. A wall is that of a grid or compound, or the mother wall of a community; nothing above has one.
func publish(s State, a *rule.Asked, c *pb.PostOnWallRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_CITIZEN, pb.Role_ROLE_GRID_WORKER, pb.Role_ROLE_COMMUNITY_CLERK, pb.Role_ROLE_COMMUNITY_SECRETARY); err != nil {
		return nil, err
	}
	if s.Exists() {
		return nil, nil
	}
	if err := a.CheckTime(time.Time{}); err != nil {
		return nil, err
	}
	if c.GetParticulars().GetText() == "" {
		return nil, rule.Bad("particulars.text", rule.MissingField, "is required")
	}
	if c.Area == "" {
		return nil, rule.Bad("area", rule.MissingField, "is required")
	}
	path, ok := a.Registry.Path(c.Area, a.OccurredAt)
	if !ok {
		return nil, rule.Bad("area", rule.UnknownArea, "no area %q is valid at that time", c.Area)
	}
	community, rank := a.Registry.Rank("community"), a.Registry.Rank(path[len(path)-1].Level)
	if community == 0 || rank < community {
		return nil, rule.Bad("area", rule.BadField, "only communities and what lies in them have walls")
	}
	keeper, ok := a.Registry.Responsible(c.Area, a.OccurredAt)
	if !ok {
		return nil, rule.Bad("area", rule.UnknownUnit, "no unit has the wall of area %q", c.Area)
	}
	if err := around(a, keeper.Code); err != nil {
		return nil, err
	}
	if c.Category != "" {
		if _, ok := a.Registry.Category(c.Category, a.At); !ok {
			return nil, rule.Bad("category", rule.UnknownCategory, "no category %q is valid today", c.Category)
		}
	}
	for i, tag := range c.Tags {
		if tag == "" {
			return nil, rule.Bad(rule.Index("tags", i), rule.MissingField, "is empty")
		}
		if err := rule.Word(rule.Index("tags", i), tag, rule.LowerWord); err != nil {
			return nil, err
		}
	}
	if err := rule.Attachments(c.Attachments); err != nil {
		return nil, err
	}
	return rule.One(&pb.PostPublished{
		No: a.No, Path: path, Position: c.Position, Category: c.Category, Anonymous: anonymous(c.GetParticulars().GetPetitioner()), Tags: c.Tags,
		Attachments: c.Attachments, Sealed: a.Sealed, Mother: rank == community, Keeper: keeper.Code,
	})
}

// anonymous says whether nobody is known: the poster wished so, or said no name and number.
func anonymous(p *pb.Petitioner) bool {
	return p.GetAnonymous() || p.GetName() == "" && p.GetPhone() == "" && p.GetIdNumber() == ""
}

func (s *State) published(at time.Time, e *pb.PostPublished) {
	s.No, s.Path, s.PostedPath, s.Keeper, s.PostedTo, s.Mother = e.No, e.Path, e.Path, e.Keeper, e.Keeper, e.Mother
	s.Category, s.Anonymous, s.Tags, s.Position, s.Attachments = e.Category, e.Anonymous, e.Tags, e.Position, e.Attachments
	s.PostedAt, s.Published, s.Subject = at, e.Sealed, e.GetSealed().GetSubject()
}
