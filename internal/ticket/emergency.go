package ticket

import (
	"slices"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// maxLineRef is the length of the longest reference of an emergency line.
const maxLineRef = 128

// handOverEmergency: the caller was put through to an emergency line. What the line does not deal with stays a ticket.
func handOverEmergency(s State, a *rule.Asked, c *pb.HandOverEmergencyRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_AGENT); err != nil {
		return nil, err
	}
	if err := s.scope(a); err != nil {
		return nil, err
	}
	if err := s.in(pb.TicketState_TICKET_STATE_REPORTED, pb.TicketState_TICKET_STATE_ACCEPTED); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.ReportedAt); err != nil {
		return nil, err
	}
	if c.Line == pb.EmergencyLine_EMERGENCY_LINE_UNSPECIFIED {
		return nil, rule.Bad("line", rule.MissingField, "is required")
	}
	if len(c.Ref) > maxLineRef {
		return nil, rule.Bad("ref", rule.BadField, "want at most %d characters", maxLineRef)
	}
	if err := rule.Word("ref", c.Ref, rule.Printable); err != nil {
		return nil, err
	}
	return rule.One(&pb.EmergencyHandedOver{Line: c.Line, Ref: c.Ref, Sealed: a.Sealed})
}

func (s *State) emergencyHandedOver(_ *pb.EventMeta, e *pb.EmergencyHandedOver) {
	s.HandedOver = append(slices.Clip(s.HandedOver), e.Line)
}
