package admission

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/rule"
)

// most is how many communities one application may name.
const most = 256

// apply: a department asks to bring an item of the ban list into communities for a time (准入申请). The lowest unit that commands it and all of
// them decides.
func apply(s State, a *rule.Asked, c *pb.ApplyForAdmissionRequest) ([]proto.Message, error) {
	if s.Exists() {
		return nil, nil
	}
	if err := a.Require(pb.Role_ROLE_DEPARTMENT_HEAD, pb.Role_ROLE_DISPATCHER); err != nil {
		return nil, err
	}
	if err := a.CheckTime(time.Time{}); err != nil {
		return nil, err
	}
	if _, ok := a.Registry.Unit(a.Actor.Unit, a.At); !ok {
		return nil, rule.No(rule.UnknownUnit, "your unit %q is not active today", a.Actor.Unit)
	}
	if c.GetParticulars().GetText() == "" {
		return nil, rule.Bad("particulars.text", rule.MissingField, "is required")
	}
	if c.Item == "" {
		return nil, rule.Bad("item", rule.MissingField, "is required")
	}
	if _, ok := a.Registry.BanItem(c.Item, a.At); !ok {
		return nil, rule.Bad("item", rule.UnknownBanItem, "the ban list has no item %q today", c.Item)
	}
	decidedBy, err := commander(a, c.Communities)
	if err != nil {
		return nil, err
	}
	from, to := rule.Instant(c.ValidFrom), rule.Instant(c.ValidTo)
	if from.IsZero() {
		return nil, rule.Bad("valid_from", rule.MissingField, "is required")
	}
	if to.IsZero() {
		return nil, rule.Bad("valid_to", rule.MissingField, "is required")
	}
	if !to.After(from) {
		return nil, rule.Bad("valid_to", rule.BadField, "does not lie after valid_from")
	}
	ahead, guessed, err := a.Calendar.Due(a.OccurredAt, calendar.AdmissionAhead)
	if err != nil {
		return nil, rule.No(rule.DeadlineOutOfRange, "a limit cannot be computed from that time")
	}
	if !from.After(ahead) {
		return nil, rule.Bad("valid_from", rule.AdmissionTooSoon, "less than %s lie between", calendar.AdmissionAhead)
	}
	decideBy, provisional, err := a.Due(calendar.Admission, calendar.AnyGrade, a.OccurredAt)
	if err != nil {
		return nil, rule.No(rule.DeadlineOutOfRange, "a limit cannot be computed from that time")
	}
	return rule.One(&pb.AdmissionApplied{
		No: a.No, Item: c.Item, Unit: a.Actor.Unit, Communities: c.Communities, DecidedBy: decidedBy, ValidFrom: c.ValidFrom, ValidTo: c.ValidTo,
		Budget: c.Budget, Staff: c.Staff, DecideBy: rule.Stamp(decideBy), Provisional: provisional || guessed, Sealed: a.Sealed,
	})
}

// commander is the lowest unit that commands the applicant and all communities. It refuses areas that are none.
func commander(a *rule.Asked, communities []string) (string, error) {
	if len(communities) == 0 {
		return "", rule.Bad("communities", rule.MissingField, "is required")
	}
	if len(communities) > most {
		return "", rule.Bad("communities", rule.BadField, "want at most %d", most)
	}
	units := []string{a.Actor.Unit}
	for i, area := range communities {
		field := rule.Index("communities", i)
		path, ok := a.Registry.Path(area, a.At)
		if !ok || len(path) == 0 {
			return "", rule.Bad(field, rule.UnknownArea, "no area %q is valid today", area)
		}
		if street := a.Registry.Rank("street"); street == 0 || a.Registry.Rank(path[len(path)-1].Level) <= street {
			return "", rule.Bad(field, rule.BadField, "area %q is no community, nor in one", area)
		}
		if slices.Contains(communities[:i], area) {
			return "", rule.Bad(field, rule.BadField, "area %q is named twice", area)
		}
		unit, ok := a.Registry.Responsible(area, a.At)
		if !ok {
			return "", rule.Bad(field, rule.UnknownUnit, "no unit is responsible for area %q", area)
		}
		units = append(units, unit.Code)
	}
	by := rule.CommonUnit(a.Registry, units...)
	if by == "" {
		return "", rule.Bad("communities", rule.OutOfScope, "no unit commands both yours and all communities")
	}
	return by, nil
}

func (s *State) applied(at time.Time, by *pb.Actor, e *pb.AdmissionApplied) {
	s.No, s.Applied, s.Item, s.Unit, s.Communities, s.DecidedBy = e.No, e.Sealed, e.Item, e.Unit, e.Communities, e.DecidedBy
	s.ValidFrom, s.ValidTo, s.Budget, s.Staff = rule.Instant(e.ValidFrom), rule.Instant(e.ValidTo), e.Budget, e.Staff
	s.AppliedBy, s.AppliedAt, s.DecideBy, s.Provisional = by, at, rule.Instant(e.DecideBy), e.Provisional
}
