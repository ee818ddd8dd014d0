package ticket

import (
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/rule"
)

// decline: the matter is not admitted (不予受理). An agent proposes, a shift leader in their own name confirms or drops.
func decline(s State, a *rule.Asked, c *pb.DeclineTicketRequest) ([]proto.Message, error) {
	propose := c.Confirmation == pb.Confirmation_CONFIRMATION_UNSPECIFIED
	roles := []pb.Role{pb.Role_ROLE_DUTY_LEADER}
	if propose {
		roles = []pb.Role{pb.Role_ROLE_AGENT}
	}
	if err := a.Require(roles...); err != nil {
		return nil, err
	}
	if err := s.scope(a); err != nil {
		return nil, err
	}
	if err := s.in(pb.TicketState_TICKET_STATE_REPORTED); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.LastAt); err != nil {
		return nil, err
	}
	if propose {
		if s.DeclineProposal != nil {
			return nil, rule.No(rule.AlreadyProposed, "declining is proposed already; a shift leader must confirm or drop it")
		}
		if c.Reason == pb.DeclineReason_DECLINE_REASON_UNSPECIFIED {
			return nil, rule.Bad("reason", rule.MissingField, "is required")
		}
		if err := said("reply", c.GetParticulars().GetReply()); err != nil {
			return nil, err
		}
		if err := s.unlisted(); err != nil {
			return nil, err
		}
		return rule.One(&pb.DeclineProposed{Reason: c.Reason, Sealed: a.Sealed})
	}
	if err := confirm(a, s.DeclineProposal); err != nil {
		return nil, err
	}
	if c.Confirmation == pb.Confirmation_CONFIRMATION_DROP {
		return rule.One(&pb.DeclineDropped{Sealed: a.Sealed})
	}
	if err := s.unlisted(); err != nil {
		return nil, err
	}
	d := s.due(a)
	e := &pb.TicketDeclined{
		Reason: s.ProposedReason, ProposedBy: s.DeclineProposal, Sealed: a.Sealed, AppealBy: d.by(calendar.DeclineAppeal, a.OccurredAt),
	}
	e.Provisional = d.provisional
	if d.err != nil {
		return nil, d.err
	}
	return rule.One(e)
}

// confirm refuses unless somebody else proposed.
func confirm(a *rule.Asked, proposedBy *pb.Actor) error {
	if proposedBy == nil {
		return rule.Bad("confirmation", rule.NothingProposed, "there is no proposal to decide on")
	}
	if proposedBy.Person == a.Actor.Person {
		return rule.Bad("confirmation", rule.SecondPersonNeeded, "whoever proposed cannot confirm or drop")
	}
	return nil
}

func (s *State) declineProposed(by *pb.Actor, e *pb.DeclineProposed) {
	s.DeclineProposal, s.ProposedReason = by, e.Reason
	if e.Sealed != nil {
		s.Replied = e.Sealed
	}
}

func (s *State) declineDropped(e *pb.DeclineDropped) {
	s.DeclineProposal, s.ProposedReason = nil, 0
}

func (s *State) declined(e *pb.TicketDeclined) {
	s.DeclineProposal, s.ProposedReason, s.DeclineReason = nil, 0, e.Reason
	s.Limits = Limits{AppealBy: rule.Instant(e.AppealBy)}
}
