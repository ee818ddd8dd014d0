package whistle

import (
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// screen: the lowest unit that commands street and participants checks that it is a matter for a whistle (核哨).
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
	if err := s.in(pb.WhistleState_WHISTLE_STATE_BLOWN); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.BlownAt); err != nil {
		return nil, err
	}
	if !c.Issue {
		if c.Reason == "" {
			return nil, rule.Bad("reason", rule.MissingField, "is required to refuse")
		}
		return one(&pb.WhistleRefused{Reason: c.Reason, Sealed: a.Sealed})
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
	return one(issued)
}
