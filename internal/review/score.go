package review

import (
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// score: a member gives points, once; whoever holds the review gives those of a member without an account, in their name.
func score(s State, a *rule.Asked, c *pb.ScoreReviewRequest) ([]proto.Message, error) {
	person := c.Person
	if person == "" {
		person = a.Actor.Person
	}
	m := s.member(person)
	switch {
	case m == nil:
		return nil, rule.Bad("person", rule.NotParticipant, "is not in the group")
	case person == a.Actor.Person:
		if len(a.Actor.Roles) > 0 {
			a.Acting = a.Actor.Roles[0]
		}
	default:
		if err := s.holds(a); err != nil {
			return nil, err
		}
	}
	if err := s.running(); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.OpenedAt); err != nil {
		return nil, err
	}
	switch {
	case s.scored(person):
		return nil, rule.Bad("person", rule.AlreadyDone, "has scored already")
	case c.Score > MaxScore:
		return nil, rule.Bad("score", rule.BadField, "want hundredths of 0 to 100")
	}
	return rule.One(&pb.ReviewScored{Person: person, Kind: m.Kind, Score: c.Score, Sealed: a.Sealed})
}

// holds refuses unless the actor's unit opened the review and the actor may hold one.
func (s *State) holds(a *rule.Asked) error {
	if s.Kind != Triple {
		return &rule.Refusal{Reason: rule.WrongState, Message: "only a triple review is scored", DecidedBy: s.Decided.String()}
	}
	if err := a.Require(openers...); err != nil {
		return err
	}
	if a.Actor.Unit != s.OpenedBy {
		return rule.No(rule.OutOfScope, "the review was opened by unit %q, not by yours", s.OpenedBy)
	}
	return nil
}

func (s *State) running() error { return s.In("", "review", pb.ReviewState_REVIEW_STATE_OPEN) }
