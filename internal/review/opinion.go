package review

import (
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// giveOpinion: a street says what it thinks of a department's decision, once. Source: Liwan's four powers of street party committees.
func giveOpinion(s State, a *rule.Asked, c *pb.GiveStreetOpinionRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_STREET_SECRETARY); err != nil {
		return nil, err
	}
	if s.Exists() {
		return nil, rule.Bad("decision_ref", rule.AlreadyDone, "your street has given its opinion of it")
	}
	if err := a.CheckTime(time.Time{}); err != nil {
		return nil, err
	}
	if err := reviewed(a, "department", c.Department); err != nil {
		return nil, err
	}
	if u, _ := a.Registry.Unit(c.Department, a.At); u.GetKind() != pb.UnitKind_UNIT_KIND_DEPARTMENT {
		return nil, rule.Bad("department", rule.BadField, "unit %q is no department", c.Department)
	}
	if c.DecisionRef == "" {
		return nil, rule.Bad("decision_ref", rule.MissingField, "is required")
	}
	if err := rule.Word("decision_ref", c.DecisionRef, rule.Printable); err != nil {
		return nil, err
	}
	if c.GetParticulars().GetText() == "" {
		return nil, rule.Bad("particulars.text", rule.MissingField, "is required")
	}
	return rule.One(&pb.StreetOpinionGiven{
		No: a.No, Street: a.Actor.Unit, Department: c.Department, DecisionRef: c.DecisionRef, Supports: c.Supports, Sealed: a.Sealed,
	})
}

func (s *State) opinionGiven(at time.Time, e *pb.StreetOpinionGiven) {
	s.Kind, s.No, s.Unit, s.OpenedBy, s.OpenedAt, s.ClosedAt = StreetOpinion, e.No, e.Department, e.Street, at, at
}
