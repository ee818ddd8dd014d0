package ticket

import (
	"slices"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// publishEcho: the wall is told what becomes of the matter (回音), in words that identify nobody. Of a result only where there is one.
func publishEcho(s State, a *rule.Asked, c *pb.PublishEchoRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_COMMUNITY_CLERK, pb.Role_ROLE_COMMUNITY_SECRETARY, pb.Role_ROLE_STREET_CLERK, pb.Role_ROLE_STREET_LEADER,
		pb.Role_ROLE_STREET_SECRETARY, pb.Role_ROLE_STREET_DIRECTOR); err != nil {
		return nil, err
	}
	if !s.ofPlace(a) && !s.nearby(a) {
		if err := s.scope(a); err != nil {
			return nil, err
		}
	}
	if !s.OnWall() && !s.owesWalls() {
		return nil, rule.No(rule.NotOnWall, "neither the ticket nor a duplicate of it came from a problem wall")
	}
	if c.Kind == pb.EchoKind_ECHO_KIND_UNSPECIFIED {
		return nil, rule.Bad("kind", rule.MissingField, "is required")
	}
	states, _ := legal(&pb.EchoPublished{})
	if c.Kind == pb.EchoKind_ECHO_KIND_RESULT {
		states = []pb.TicketState{pb.TicketState_TICKET_STATE_RESULT_SUBMITTED, pb.TicketState_TICKET_STATE_CALLBACK, pb.TicketState_TICKET_STATE_CLOSED}
	}
	if err := s.in(states...); err != nil {
		return nil, err
	}
	notBefore := s.AcceptedAt
	if c.Kind == pb.EchoKind_ECHO_KIND_RESULT {
		notBefore = s.SubmittedAt
	}
	if err := a.CheckTime(notBefore); err != nil {
		return nil, err
	}
	if err := a.PublicWords(c.GetParticulars().GetReply()); err != nil {
		return nil, err
	}
	return rule.One(&pb.EchoPublished{Kind: c.Kind, Sealed: a.Sealed})
}

func (s *State) echoPublished(_ *pb.EventMeta, e *pb.EchoPublished) {
	if s.Echo = e.Kind; e.Kind == pb.EchoKind_ECHO_KIND_RESULT {
		s.ResultEcho = s.Events + 1
	}
}

// OnWall says whether the ticket is a post of a problem wall, under the same id.
func (s *State) OnWall() bool { return s.Source == Wall }

// owesWalls says whether a duplicate came from a problem wall, so that its poster waits for an echo of this ticket.
func (s *State) owesWalls() bool {
	return slices.ContainsFunc(s.Attached, func(a Attachment) bool { return a.Wall })
}

// told refuses to end a matter that a wall waits for before the wall was told of its result.
func (s *State) told() error {
	if s.EchoDue() {
		return rule.No(rule.EchoNeeded, "a problem wall waits for the result echo")
	}
	return nil
}

// EchoDue says whether a wall waits to be told of the result of this round.
func (s *State) EchoDue() bool { return (s.OnWall() || s.owesWalls()) && s.ResultEcho == 0 }

// ofPlace says whether the matter lies in the actor's own community or street, which had it on the wall: a poster who asked for confidence hides who
// posted, not what.
func (s *State) ofPlace(a *rule.Asked) bool {
	unit, ok := a.Registry.Unit(a.Actor.Unit, a.At)
	return ok && !s.against(a.Registry, a.Actor.Unit) && slices.ContainsFunc(s.Path, func(n *pb.AreaNode) bool { return n.Code == unit.Area })
}
