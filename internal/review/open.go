package review

import (
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// openers are the roles that hold a triple review.
var openers = []pb.Role{pb.Role_ROLE_SUPERVISOR, pb.Role_ROLE_ASSESSMENT, pb.Role_ROLE_STREET_SECRETARY}

// sides are the sides of a triple review.
var sides = []pb.ReviewerKind{
	pb.ReviewerKind_REVIEWER_KIND_ORGANISATION, pb.ReviewerKind_REVIEWER_KIND_PARTY_MEMBER, pb.ReviewerKind_REVIEWER_KIND_RESIDENT,
}

// open: a unit, or a cadre of it, is to be reviewed by a group whose eligibility is recorded (三方评议). Source: Chongchuan.
func open(s State, a *rule.Asked, c *pb.OpenReviewRequest) ([]proto.Message, error) {
	if s.Exists() {
		return nil, rule.Bad("request_id", rule.AlreadyExists, "it led to this review")
	}
	if err := a.Require(openers...); err != nil {
		return nil, err
	}
	if err := a.CheckTime(time.Time{}); err != nil {
		return nil, err
	}
	if err := reviewed(a, "unit", c.Unit); err != nil {
		return nil, err
	}
	if c.Unit == a.Actor.Unit || !rule.Within(a.Registry, c.Unit, a.Actor.Unit) {
		return nil, rule.Bad("unit", rule.OutOfScope, "unit %q is not below yours", c.Unit)
	}
	if err := rule.Word("person", c.Person, rule.Printable); err != nil {
		return nil, err
	}
	if err := period(a, c.From, c.To); err != nil {
		return nil, err
	}
	if n := len(c.Group); n < 3 || n > 400 {
		return nil, rule.Bad("group", rule.BadField, "want 3 to 400 members, not %d", n)
	}
	for i, m := range c.Group {
		field := rule.Index("group", i)
		switch {
		case m.GetPerson() == "":
			return nil, rule.Bad(field+".person", rule.MissingField, "is required")
		case !slices.Contains(sides, m.Kind):
			return nil, rule.Bad(field+".kind", rule.MissingField, "is required")
		case m.Capacity == "":
			return nil, rule.Bad(field+".capacity", rule.MissingField, "is required: what makes the member eligible")
		case slices.ContainsFunc(c.Group[:i], func(o *pb.Reviewer) bool { return o.GetPerson() == m.Person }):
			return nil, rule.Bad(field+".person", rule.BadField, "stands before")
		case c.Person != "" && m.Person == c.Person:
			return nil, rule.Bad(field+".person", rule.SeparationOfDuties, "nobody reviews themselves")
		}
		if err := rule.Word(field+".person", m.Person, rule.Printable); err != nil {
			return nil, err
		}
		if err := rule.Word(field+".capacity", m.Capacity, rule.LowerWord); err != nil {
			return nil, err
		}
	}
	for _, side := range sides {
		if !slices.ContainsFunc(c.Group, func(m *pb.Reviewer) bool { return m.Kind == side }) {
			return nil, rule.Bad("group", rule.MissingField, "nobody of %s is in it", rule.Name(side))
		}
	}
	id := strings.TrimPrefix(c.Ticket, "tickets/")
	if c.Ticket != "" {
		if t := a.Linked[id]; t == nil {
			return nil, rule.Bad("ticket", rule.NotFound, "no such ticket")
		} else if t.Lead != c.Unit {
			return nil, rule.Bad("ticket", rule.BadField, "unit %q does not lead it", c.Unit)
		}
	}
	return rule.One(&pb.ReviewOpened{
		No: a.No, Unit: c.Unit, Person: c.Person, From: c.From, To: c.To, Group: c.Group, Weights: a.Registry.Weights(), OpenedBy: a.Actor.Unit,
		Ticket: id, Sealed: a.Sealed, UnitPath: a.Registry.UnitPath(c.Unit),
	})
}

// reviewed refuses a unit that is not active.
func reviewed(a *rule.Asked, field, unit string) error {
	if unit == "" {
		return rule.Bad(field, rule.MissingField, "is required")
	}
	if _, ok := a.Registry.Unit(unit, a.At); !ok {
		return rule.Bad(field, rule.UnknownUnit, "no unit %q is active today", unit)
	}
	return nil
}

// period refuses what is no period, or is not over.
func period(a *rule.Asked, from, to *timestamppb.Timestamp) error {
	switch {
	case from == nil:
		return rule.Bad("from", rule.MissingField, "is required")
	case to == nil:
		return rule.Bad("to", rule.MissingField, "is required")
	case !to.AsTime().After(from.AsTime()):
		return rule.Bad("to", rule.BadField, "is not after from")
	case to.AsTime().After(a.OccurredAt):
		return rule.Bad("to", rule.OccurredInFuture, "the period is not over")
	}
	return nil
}

func (s *State) opened(at time.Time, e *pb.ReviewOpened) {
	s.Kind, s.No, s.Unit, s.Person, s.OpenedBy, s.Ticket, s.OpenedAt = Triple, e.No, e.Unit, e.Person, e.OpenedBy, e.Ticket, at
	s.From, s.To, s.Weights, s.Group = rule.Instant(e.From), rule.Instant(e.To), e.Weights, e.Group
}
