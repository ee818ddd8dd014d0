package whistle

import (
	"slices"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// addParticipant: who commands the street and all participants summons one more, with limits that start now.
func addParticipant(s State, a *rule.Asked, c *pb.AddParticipantRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_DISPATCHER); err != nil {
		return nil, err
	}
	m, have := s.matter(a), s.summoned()
	p, err := summonOne(a, s.Street, have, c.Summons, m, "summons")
	if err != nil {
		return nil, err
	}
	screener := s.over(a, append(have, p))
	if screener == "" || !rule.Within(a.Registry, screener, a.Actor.Unit) {
		return nil, rule.No(rule.OutOfScope, "only unit %q, or one above it, commands the street and all participants", screener)
	}
	if err := s.in(under...); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.IssuedAt); err != nil {
		return nil, err
	}
	l, err := limits(a, s.Kind, m)
	if err != nil {
		return nil, err
	}
	return rule.One(&pb.ParticipantAdded{Participant: l.of(p), Provisional: l.provisional})
}

// leave: a participant is gone before it was released (早退), as it says itself or the street does.
func leave(s State, a *rule.Asked, c *pb.LeaveWhistleRequest) ([]proto.Message, error) {
	if err := a.Require(slices.Concat(clerks, streetOfficers)...); err != nil {
		return nil, err
	}
	unit := c.Unit
	if unit == "" {
		unit = a.Actor.Unit
	}
	p := s.find(unit)
	if p == nil {
		return nil, rule.Bad("unit", rule.NotParticipant, "unit %q was not summoned", unit)
	}
	if !rule.Within(a.Registry, a.Actor.Unit, unit) || a.Require(clerks...) != nil {
		if err := s.byStreet(a, streetOfficers...); err != nil {
			return nil, err
		}
	}
	if err := s.in(while...); err != nil {
		return nil, err
	}
	if !p.there() {
		return nil, p.wrong("only who is there can leave")
	}
	if err := a.CheckTime(p.ReportedInAt); err != nil {
		return nil, err
	}
	return rule.One(&pb.LeftEarly{Unit: unit, Sealed: a.Sealed})
}

// waiveTask: the street lets a participant's task be. Who has not come is still expected.
func waiveTask(s State, a *rule.Asked, c *pb.WaiveTaskRequest) ([]proto.Message, error) {
	if err := s.byStreet(a, leaders...); err != nil {
		return nil, err
	}
	if err := s.in(under...); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.IssuedAt); err != nil {
		return nil, err
	}
	p := s.find(c.Unit)
	if p == nil {
		return nil, rule.Bad("unit", rule.NotParticipant, "unit %q was not summoned", c.Unit)
	}
	if p.settled() {
		return nil, rule.Bad("unit", rule.AlreadyDone, "nothing of the task of unit %q is open", c.Unit)
	}
	if err := code(c.Reason, "to waive a task"); err != nil {
		return nil, err
	}
	return rule.One(&pb.TaskWaived{Unit: c.Unit, Reason: c.Reason, Sealed: a.Sealed})
}

// join: somebody who was not summoned comes to help (三报到).
func join(s State, a *rule.Asked, c *pb.JoinWhistleRequest) ([]proto.Message, error) {
	if err := a.Require(clerks...); err != nil {
		return nil, err
	}
	unit := a.Actor.Unit
	against := slices.ContainsFunc(a.Against, func(against string) bool { return rule.Within(a.Registry, unit, against) })
	if against || !s.InScope(a.Registry, unit) && !s.affects(a.Registry, unit, a.At) {
		return nil, rule.No(rule.OutOfScope, "your unit %q has nothing to do with the whistle", unit)
	}
	if err := s.in(under...); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.IssuedAt); err != nil {
		return nil, err
	}
	if s.find(unit) != nil {
		return nil, rule.No(rule.AlreadyDone, "unit %q was summoned; it reports in", unit)
	}
	if c.Person == "" {
		return nil, rule.Bad("person", rule.MissingField, "is required: who came")
	}
	if err := rule.Word("person", c.Person, rule.Printable); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(s.Helpers, func(h *pb.Helper) bool { return h.Unit == unit && h.Person == c.Person }) {
		return nil, rule.Bad("person", rule.AlreadyDone, "has joined already")
	}
	return rule.One(&pb.HelperJoined{Unit: unit, Person: c.Person, Position: c.Position})
}

// while are the states in which somebody may be there.
var while = append(slices.Clone(under), pb.WhistleState_WHISTLE_STATE_CONFIRMED, pb.WhistleState_WHISTLE_STATE_RATED)

// code refuses a reason that is missing, or no code: it is recorded in clear.
func code(reason, what string) error {
	if reason == "" {
		return rule.Bad("reason", rule.MissingField, "is required %s", what)
	}
	return rule.Word("reason", reason, rule.UpperCode)
}
