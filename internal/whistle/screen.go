package whistle

import (
	"cmp"
	"slices"

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
	participants := s.summoned()
	screener := cmp.Or(s.over(a, participants), s.ScreenedBy) // who was summoned since an emergency was issued may lie beyond the one that screened
	m := s.matter(a)
	if len(c.Added) > 0 {
		var err error
		if participants, err = summon(a, s.Street, participants, c.Added, m, "added"); err != nil {
			return nil, err
		}
		screener = s.over(a, participants)
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
		if c.Retype != pb.WhistleKind_WHISTLE_KIND_UNSPECIFIED {
			return nil, rule.Bad("retype", rule.BadField, "what is refused becomes no other kind")
		}
		if err := refusalReason(c.Reason); err != nil {
			return nil, err
		}
		return rule.One(&pb.WhistleRefused{Reason: c.Reason, Sealed: a.Sealed})
	}
	// What was let into a community when it was blown may be let in no more.
	for _, p := range s.Participants {
		if err := a.Deliver("", p.Category, p.Unit, p.Admission); err != nil {
			return nil, err
		}
	}
	kind, err := retyped(s.Kind, c.Retype)
	if err != nil {
		return nil, err
	}
	issued, err := issue(a, kind, m, participants)
	if err != nil {
		return nil, err
	}
	if kind == s.Kind {
		return rule.One(issued)
	}
	return []proto.Message{&pb.WhistleRetyped{Kind: kind}, issued}, nil
}

// retyped is the kind that a whistle is issued as: as it was blown, unless screening finds another. An emergency is issued before anybody
// could, and nothing becomes one that had the time to be screened.
func retyped(was, to pb.WhistleKind) (pb.WhistleKind, error) {
	switch to {
	case pb.WhistleKind_WHISTLE_KIND_UNSPECIFIED:
		return was, nil
	case pb.WhistleKind_WHISTLE_KIND_EMERGENCY:
		return was, rule.Bad("retype", rule.BadField, "nothing that is screened becomes an emergency")
	}
	return to, nil
}

// over is the lowest unit that commands the street and the participants, and is none below the one that screens: what was raised stays up.
func (s *State) over(a *rule.Asked, participants []*pb.Participant) string {
	return rule.CommonUnit(a.Registry, s.ScreenedBy, commander(a.Registry, s.Street, participants))
}

// reviewable are the states in which an emergency whistle can be looked at after the fact: nobody escapes that by confirming, closing or cancelling
// it first. What was raised is looked at as its child.
var reviewable = append(slices.Clone(while), pb.WhistleState_WHISTLE_STATE_CLOSED, pb.WhistleState_WHISTLE_STATE_CANCELLED)

// review: an emergency whistle, which was issued as it was blown, is found justified or not. It goes on either way.
func review(s State, a *rule.Asked, c *pb.ScreenWhistleRequest) ([]proto.Message, error) {
	if err := s.in(reviewable...); err != nil {
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
	if c.Retype != pb.WhistleKind_WHISTLE_KIND_UNSPECIFIED {
		return nil, rule.Bad("retype", rule.BadField, "the whistle is issued; it becomes no other kind")
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
