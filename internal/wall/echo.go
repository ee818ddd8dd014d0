package wall

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// hear: the ticket that the post led to, or that its ticket was merged into, told the wall something (回音). Each is told once.
func hear(s State, a *rule.Asked, c *pb.PostEchoed) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_SYSTEM); err != nil {
		return nil, err
	}
	if s.heard(c) {
		return nil, nil
	}
	if err := s.in(heardIn...); err != nil {
		return nil, err
	}
	return rule.One(&pb.PostEchoed{Kind: c.Kind, Ticket: c.Ticket, Version: c.Version})
}

// heardIn are the states of a post that has a ticket.
var heardIn = []pb.PostState{
	pb.PostState_POST_STATE_TICKETED, pb.PostState_POST_STATE_ECHOED, pb.PostState_POST_STATE_REVIEWED, pb.PostState_POST_STATE_SELF_SOLVED,
}

func (s *State) heard(e *pb.PostEchoed) bool {
	return slices.ContainsFunc(s.Echoes, func(was Echo) bool { return was.Ticket == e.Ticket && was.Version == e.Version })
}

func (s *State) echoed(at time.Time, e *pb.PostEchoed) {
	s.Echo = e.Kind
	s.Echoes = append(slices.Clip(s.Echoes), Echo{e.Kind, e.Ticket, e.Version, at})
	if s.leads(e) != pb.PostState_POST_STATE_UNSPECIFIED {
		s.EndedAt = at
	}
}
