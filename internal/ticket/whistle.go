package ticket

import (
	"slices"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// linkWhistle: a whistle was blown for this ticket. The whistle's own stream decided that it may be; this only notes it, in
// whatever state the ticket is by now.
func linkWhistle(s State, a *rule.Asked, c *pb.WhistleLinked) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_SYSTEM); err != nil {
		return nil, err
	}
	i := slices.IndexFunc(s.Whistles, func(w Whistle) bool { return w.ID == c.Whistle })
	if i < 0 {
		return rule.One(&pb.WhistleLinked{Whistle: c.Whistle, Participants: c.Participants})
	}
	known := s.Whistles[i]
	added := slices.DeleteFunc(slices.Clone(c.Participants), func(unit string) bool { return slices.Contains(known.Participants, unit) })
	if len(added) == 0 || known.Outcome != pb.WhistleState_WHISTLE_STATE_UNSPECIFIED {
		return nil, nil
	}
	return rule.One(&pb.WhistleLinked{Whistle: c.Whistle, Participants: append(slices.Clip(known.Participants), added...)})
}

func (s *State) whistleLinked(e *pb.WhistleLinked) {
	for i := range s.Whistles {
		if s.Whistles[i].ID == e.Whistle {
			s.Whistles = slices.Clone(s.Whistles)
			s.Whistles[i].Participants = e.Participants
			return
		}
	}
	s.WhistleAsked = nil // the street has blown
	s.Whistles = append(slices.Clip(s.Whistles), Whistle{ID: e.Whistle, Participants: e.Participants})
}

// settleWhistle: a linked whistle ended.
func settleWhistle(s State, a *rule.Asked, c *pb.WhistleSettled) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_SYSTEM); err != nil {
		return nil, err
	}
	i := slices.IndexFunc(s.Whistles, func(w Whistle) bool { return w.ID == c.Whistle })
	if i < 0 { // the word that it was blown is still on its way; it will find itself heard
		return []proto.Message{&pb.WhistleLinked{Whistle: c.Whistle}, &pb.WhistleSettled{Whistle: c.Whistle, Outcome: c.Outcome}}, nil
	}
	if s.Whistles[i].Outcome != pb.WhistleState_WHISTLE_STATE_UNSPECIFIED {
		return nil, nil
	}
	return rule.One(&pb.WhistleSettled{Whistle: c.Whistle, Outcome: c.Outcome})
}

func (s *State) whistleSettled(e *pb.WhistleSettled) {
	s.Whistles = slices.Clone(s.Whistles)
	for i := range s.Whistles {
		if s.Whistles[i].ID == e.Whistle {
			s.Whistles[i].Outcome = e.Outcome
		}
	}
}
