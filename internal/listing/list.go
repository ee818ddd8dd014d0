package listing

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/rule"
)

// farthest is how far ahead the day may lie by which a problem is to be put right.
const farthest = 366 * 24 * time.Hour

// list: a unit lists a problem for one below it to put right (挂牌督办). Who has to do so can know of it only now, so the limits run from now.
func list(s State, a *rule.Asked, c *pb.ListProblemRequest) ([]proto.Message, error) {
	if s.Exists() {
		return nil, nil
	}
	if err := a.Require(pb.Role_ROLE_SUPERVISOR); err != nil {
		return nil, err
	}
	if err := a.CheckTime(time.Time{}); err != nil {
		return nil, err
	}
	issuer, ok := a.Registry.Unit(a.Actor.Unit, a.At)
	if !ok {
		return nil, rule.No(rule.UnknownUnit, "your unit %q is not active today", a.Actor.Unit)
	}
	switch {
	case c.Origin == pb.ListingOrigin_LISTING_ORIGIN_UNSPECIFIED:
		return nil, rule.Bad("origin", rule.MissingField, "is required")
	case c.Area == "":
		return nil, rule.Bad("area", rule.MissingField, "is required")
	case c.Owner == "":
		return nil, rule.Bad("owner", rule.MissingField, "is required")
	}
	path, ok := a.Registry.Path(c.Area, a.OccurredAt)
	if !ok {
		return nil, rule.Bad("area", rule.UnknownArea, "no area %q is valid at that time", c.Area)
	}
	if !slices.ContainsFunc(path, func(n *pb.AreaNode) bool { return n.Code == issuer.Area }) {
		return nil, rule.Bad("area", rule.OutOfScope, "area %q does not lie in that of your unit", c.Area)
	}
	if _, ok := a.Registry.Unit(c.Owner, a.At); !ok {
		return nil, rule.Bad("owner", rule.UnknownUnit, "no unit %q is active today", c.Owner)
	}
	if c.Owner == issuer.Code || !rule.Within(a.Registry, c.Owner, issuer.Code) {
		return nil, rule.Bad("owner", rule.OutOfScope, "unit %q is not below yours", c.Owner)
	}
	if err := said(c.GetParticulars().GetText()); err != nil {
		return nil, err
	}
	e := &pb.ProblemListed{
		No: a.No, Origin: c.Origin, Path: path, Owner: c.Owner, Issuer: issuer.Code, ClearBy: c.ClearBy, Sealed: a.Sealed,
		OwnerPath: a.Registry.UnitPath(c.Owner),
	}
	e.Level, _ = a.Registry.Level(issuer.Code)
	if c.ClearBy != nil {
		if err := ahead(a, c.ClearBy.AsTime()); err != nil {
			return nil, err
		}
	}
	by, guessed, err := a.Due(calendar.RectificationPlan, calendar.G2, a.At)
	if err == nil {
		e.PlanBy, e.Provisional = rule.Stamp(by), guessed
		if c.ClearBy == nil {
			by, guessed, err = a.Due(calendar.Clearing, calendar.G2, a.At)
			e.ClearBy, e.Provisional = rule.Stamp(by), e.Provisional || guessed
		}
	}
	if err != nil {
		return nil, rule.No(rule.DeadlineOutOfRange, "a limit cannot be computed from that time")
	}
	return rule.One(e)
}

// ahead refuses a day to put something right by that has passed, or lies too far ahead.
func ahead(a *rule.Asked, by time.Time) error {
	switch {
	case !by.After(a.At):
		return rule.Bad("clear_by", rule.BadField, "must lie ahead")
	case by.Sub(a.At) > farthest:
		return rule.Bad("clear_by", rule.BadField, "lies more than a year ahead")
	}
	return nil
}

func (s *State) listed(at time.Time, e *pb.ProblemListed) {
	s.No, s.Origin, s.Path, s.Liable, s.Issuer, s.Level = e.No, e.Origin, e.Path, e.Owner, e.Issuer, e.Level
	s.ListedAt, s.PlanBy, s.ClearBy = at, rule.Instant(e.PlanBy), rule.Instant(e.ClearBy)
	s.Provisional, s.Listed = e.Provisional, e.Sealed
}
