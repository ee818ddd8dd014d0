package whistle

import (
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// screen: the lowest unit that commands street and participants checks that it is a matter for a whistle (核哨): of an emergency
// whistle after the fact.
func screen(s State, a *rule.Asked, c *pb.ScreenWhistleRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_DISPATCHER); err != nil {
		return nil, err
	}
	participants := make([]*pb.Participant, len(s.Participants))
	for i := range s.Participants {
		participants[i] = s.Participants[i].Participant
	}
	screener := s.ScreenedBy
	if len(c.Added) > 0 {
		var err error
		if participants, err = summon(a, s.Street, participants, c.Added); err != nil {
			return nil, err
		}
		screener = commander(a.Registry, s.Street, participants)
	}
	if screener == "" || !rule.Within(a.Registry, screener, a.Actor.Unit) {
		return nil, rule.No(rule.OutOfScope, "only unit %q, or one above it, commands the street and all participants", screener)
	}
	if s.Kind == pb.WhistleKind_WHISTLE_KIND_EMERGENCY {
		return review(s, a, c)
	}
	if err := s.in(pb.WhistleState_WHISTLE_STATE_BLOWN); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.BlownAt); err != nil {
		return nil, err
	}
	if !c.Issue {
		if err := refusalReason(c.Reason); err != nil {
			return nil, err
		}
		return rule.One(&pb.WhistleRefused{Reason: c.Reason, Sealed: a.Sealed})
	}
	var grade pb.Grade
	for _, id := range s.Tickets {
		if g := a.Linked[id].GetGrade(); g != 0 && (grade == 0 || g < grade) {
			grade = g
		}
	}
	issued, err := issue(a, s.Kind, grade, participants)
	if err != nil {
		return nil, err
	}
	return rule.One(issued)
}

// review: an emergency whistle, which was issued as it was blown, is found justified or not. It goes on either way.
func review(s State, a *rule.Asked, c *pb.ScreenWhistleRequest) ([]proto.Message, error) {
	if err := s.in(under...); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.IssuedAt); err != nil {
		return nil, err
	}
	if !s.ReviewedAt.IsZero() {
		return nil, rule.No(rule.AlreadyDone, "the whistle was looked at after the fact already")
	}
	if len(c.Added) > 0 {
		return nil, rule.Bad("added", rule.BadField, "the whistle is issued; no unit can be added")
	}
	if c.Issue {
		return rule.One(&pb.WhistleReviewed{Justified: true, Sealed: a.Sealed})
	}
	if err := refusalReason(c.Reason); err != nil {
		return nil, err
	}
	return rule.One(&pb.WhistleReviewed{Reason: c.Reason, Sealed: a.Sealed})
}

// refusalReason refuses a reason that is missing, or no code: it is recorded in clear.
func refusalReason(reason string) error {
	if reason == "" {
		return rule.Bad("reason", rule.MissingField, "is required to refuse")
	}
	return rule.Word("reason", reason, rule.UpperCode)
}
