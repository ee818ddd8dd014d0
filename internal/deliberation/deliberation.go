// Package deliberation holds the rules of a community's matter of a month (一月一事一议一公开): it is chosen, deliberated, decided and made
// public. One step, one file. The package is pure.
package deliberation

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// State is a community's matter of a month, folded from its events. It is a value: copies may be changed apart, but what its slices and
// pointers lead to is shared and never changed.
type State struct {
	rule.Life[pb.DeliberationState]

	Path   []*pb.AreaNode // of the community
	Keeper string         // the community's own unit
	Month  string         // "2026-11"
	Posts  []string       // ids of the posts it is about

	ChosenAt     time.Time
	HeldAt       time.Time // of the deliberation
	Residents    uint32
	Units        []string
	VotesFor     uint32
	VotesAgainst uint32
	Lead         string // who carries it out; empty: nobody in particular
	DoBy         time.Time
	PublishedAt  time.Time
	Published    *pb.Sealed // the public words
}

// Decide says what a command makes happen, or why not: a *rule.Refusal. Neither s nor what it points to is changed.
func Decide(s State, a *rule.Asked, command proto.Message) ([]proto.Message, error) {
	if c, ok := command.(*pb.ChooseMatterRequest); ok {
		return choose(s, a, c)
	}
	if !s.Exists() {
		return nil, rule.Bad("name", rule.NotFound, "no such deliberation")
	}
	switch c := command.(type) {
	case *pb.RecordDeliberationRequest:
		return deliberate(s, a, c)
	case *pb.DecideMatterRequest:
		return decide(s, a, c)
	case *pb.PublishMatterRequest:
		return publish(s, a, c)
	}
	return nil, fmt.Errorf("no rule for command %T", command)
}

// Evolve is the state after an event. An event that is not of this kind of stream is an error. s is not changed.
func Evolve(s State, meta *pb.EventMeta, event proto.Message) (State, error) {
	at := meta.GetOccurredAt().AsTime()
	switch e := event.(type) {
	case *pb.MatterChosen:
		s.chosen(at, e)
	case *pb.MatterDeliberated:
		s.HeldAt, s.Residents, s.Units = rule.Instant(e.HeldAt), e.Residents, e.Units
	case *pb.MatterDecided:
		s.VotesFor, s.VotesAgainst, s.Lead, s.DoBy = e.VotesFor, e.VotesAgainst, e.Lead, rule.Instant(e.DoBy)
	case *pb.MatterPublished:
		s.PublishedAt, s.Published = at, e.Sealed
	default:
		return s, fmt.Errorf("%T is no event of a deliberation", event)
	}
	s.Sealed(event)
	s.Happened(meta, event, StateAfter(event))
	return s, nil
}

// StateAfter is the main state an event leads to; UNSPECIFIED for what is no event of a deliberation.
func StateAfter(event proto.Message) pb.DeliberationState {
	switch event.(type) {
	case *pb.MatterChosen:
		return pb.DeliberationState_DELIBERATION_STATE_CHOSEN
	case *pb.MatterDeliberated:
		return pb.DeliberationState_DELIBERATION_STATE_DELIBERATED
	case *pb.MatterDecided:
		return pb.DeliberationState_DELIBERATION_STATE_DECIDED
	case *pb.MatterPublished:
		return pb.DeliberationState_DELIBERATION_STATE_PUBLISHED
	}
	return pb.DeliberationState_DELIBERATION_STATE_UNSPECIFIED
}

// MaySee says whether somebody may know of it: anyone once it is public, before that its community and those above it.
func (s *State) MaySee(r rule.Registry, who rule.Actor, _ time.Time) bool {
	return s.State == pb.DeliberationState_DELIBERATION_STATE_PUBLISHED || Sees(r, who, s.Keeper)
}

// Sees says whether somebody may know of what a community deliberates before it is public: an officer of its unit, of one below it or of one above
// it, or an auditor.
func Sees(r rule.Registry, who rule.Actor, keeper string) bool {
	if slices.Contains(who.Roles, pb.Role_ROLE_AUDITOR) {
		return true
	}
	officer := slices.ContainsFunc(who.Roles, func(role pb.Role) bool {
		return role != pb.Role_ROLE_CITIZEN && role != pb.Role_ROLE_CONNECTED_SYSTEM
	})
	return officer && (rule.Within(r, who.Unit, keeper) || rule.Within(r, keeper, who.Unit))
}

// kept refuses unless the actor belongs to the community in one of the roles, the matter is in the state, and the step comes after the one before.
func (s *State) kept(a *rule.Asked, in pb.DeliberationState, roles ...pb.Role) error {
	if err := a.Require(roles...); err != nil {
		return err
	}
	if !rule.Within(a.Registry, a.Actor.Unit, s.Keeper) {
		return rule.No(rule.OutOfScope, "it is a matter of unit %q, not of yours", s.Keeper)
	}
	if err := s.In("", "matter", in); err != nil {
		return err
	}
	return a.CheckTime(s.LastAt)
}

// active refuses a unit that is named twice or is not active today.
func active(a *rule.Asked, units []string) error {
	for i, u := range units {
		if slices.Contains(units[:i], u) {
			return rule.Bad(rule.Index("units", i), rule.BadField, "is named twice")
		}
		if _, ok := a.Registry.Unit(u, a.At); !ok {
			return rule.Bad(rule.Index("units", i), rule.UnknownUnit, "no unit %q is active today", u)
		}
	}
	return nil
}

// Message is the matter as the contract shows it, without the public words.
func (s *State) Message(id string) *pb.Deliberation {
	m := &pb.Deliberation{
		Name: "deliberations/" + id, No: s.No, State: s.State, Path: s.Path, Month: s.Month, ChosenAt: rule.Stamp(s.ChosenAt), HeldAt: rule.Stamp(s.HeldAt),
		Residents: s.Residents, Units: s.Units, VotesFor: s.VotesFor, VotesAgainst: s.VotesAgainst, Lead: s.Lead, DoBy: rule.Stamp(s.DoBy),
		PublishedAt: rule.Stamp(s.PublishedAt),
	}
	for _, p := range s.Posts {
		m.Posts = append(m.Posts, "posts/"+p)
	}
	return m
}
