package review

import (
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// grade: a community grades a resident unit for what it took part in (驻区单位评议). Source: Yan'an.
func grade(s State, a *rule.Asked, c *pb.GradeResidentUnitRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_COMMUNITY_SECRETARY); err != nil {
		return nil, err
	}
	if s.Exists() {
		return nil, rule.Bad("unit", rule.AlreadyDone, "is graded for that period")
	}
	if err := a.CheckTime(time.Time{}); err != nil {
		return nil, err
	}
	own, ok := a.Registry.Unit(a.Actor.Unit, a.At)
	if !ok {
		return nil, rule.No(rule.UnknownUnit, "your unit %q is not active today", a.Actor.Unit)
	}
	community := c.Community
	if community == "" {
		community = own.Area
	}
	if community != own.Area {
		return nil, rule.Bad("community", rule.OutOfScope, "is not your unit's")
	}
	if err := reviewed(a, "unit", c.Unit); err != nil {
		return nil, err
	}
	if rule.Within(a.Registry, c.Unit, a.Actor.Unit) {
		return nil, rule.Bad("unit", rule.BadField, "unit %q is your own or below it", c.Unit)
	}
	if err := period(a, c.From, c.To); err != nil {
		return nil, err
	}
	if c.Score > MaxScore {
		return nil, rule.Bad("score", rule.BadField, "want hundredths of 0 to 100")
	}
	return rule.One(&pb.ResidentUnitGraded{
		No: a.No, Unit: c.Unit, Community: community, From: c.From, To: c.To, Score: c.Score, NotReportedIn: c.NotReportedIn, NotTaken: c.NotTaken,
		Sealed: a.Sealed,
	})
}

func (s *State) graded(at time.Time, e *pb.ResidentUnitGraded) {
	s.Kind, s.No, s.Unit, s.OpenedBy, s.OpenedAt, s.ClosedAt, s.Points = ResidentUnit, e.No, e.Unit, e.Community, at, at, e.Score
	s.From, s.To = rule.Instant(e.From), rule.Instant(e.To)
}
