package ticket

import (
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// void: the ticket was created by mistake (作废), which nobody had in hand yet. One shift leader proposes, another confirms or drops.
func void(s State, a *rule.Asked, c *pb.VoidTicketRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_DUTY_LEADER); err != nil {
		return nil, err
	}
	if err := s.scope(a); err != nil {
		return nil, err
	}
	if err := s.in(pb.TicketState_TICKET_STATE_REPORTED, pb.TicketState_TICKET_STATE_ACCEPTED, pb.TicketState_TICKET_STATE_TRIAGED); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.LastAt); err != nil {
		return nil, err
	}
	if c.Confirmation != pb.Confirmation_CONFIRMATION_DROP {
		if w := s.openWhistle(); w != "" {
			return nil, rule.No(rule.WhistleOpen, "whistle %s is open", w)
		}
		if s.Hop > 0 { // and returned since
			return nil, &rule.Refusal{Reason: rule.WrongState, Message: "the ticket was dispatched and its clock runs; it can be withdrawn, not voided", DecidedBy: s.Decided.String()}
		}
	}
	if err := s.alone(); err != nil {
		return nil, err
	}
	if c.Confirmation == pb.Confirmation_CONFIRMATION_UNSPECIFIED {
		if s.VoidProposal != nil {
			return nil, rule.No(rule.AlreadyProposed, "voiding is proposed already; another shift leader must confirm or drop it")
		}
		if err := said("note", c.GetParticulars().GetNote()); err != nil {
			return nil, err
		}
		if err := s.unlisted(); err != nil {
			return nil, err
		}
		return rule.One(&pb.VoidProposed{Sealed: a.Sealed})
	}
	if err := confirm(a, s.VoidProposal); err != nil {
		return nil, err
	}
	if c.Confirmation == pb.Confirmation_CONFIRMATION_DROP {
		return rule.One(&pb.VoidDropped{Sealed: a.Sealed})
	}
	if err := s.unlisted(); err != nil {
		return nil, err
	}
	return rule.One(&pb.TicketVoided{ProposedBy: s.VoidProposal, Sealed: a.Sealed})
}

func (s *State) voidProposed(by *pb.Actor) { s.VoidProposal = by }

func (s *State) voidDropped() { s.VoidProposal = nil }

func (s *State) voided() { s.VoidProposal, s.Limits = nil, Limits{} }
