package ticket

import (
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// withdraw: the petitioner takes the matter back (撤诉), which may be done with what is of private benefit only. A hazard goes on
// as a proactive ticket of its own, which policy reports.
func withdraw(s State, a *rule.Asked, c *pb.WithdrawTicketRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_AGENT); err != nil {
		return nil, err
	}
	if err := s.fromAbove(a); err != nil {
		return nil, err
	}
	if !s.Open() {
		return nil, &rule.Refusal{Reason: rule.WrongState, Message: "the ticket is " + rule.Name(s.State) + "; only an open one is withdrawn", DecidedBy: s.Decided.String()}
	}
	if err := a.CheckTime(s.LastAt); err != nil {
		return nil, err
	}
	if err := said("text", c.GetParticulars().GetText()); err != nil {
		return nil, err
	}
	if !c.PrivateBenefit && !c.Hazard {
		return nil, rule.Bad("private_benefit", rule.MissingField, "is required unless a hazard remains: others' interest is not the petitioner's to give up")
	}
	if err := s.alone(); err != nil {
		return nil, err
	}
	if w := s.openWhistle(); w != "" {
		return nil, rule.No(rule.WhistleOpen, "whistle %s is open", w)
	}
	if err := s.unlisted(); err != nil {
		return nil, err
	}
	return rule.One(&pb.TicketWithdrawn{Hazard: c.Hazard, Sealed: a.Sealed})
}

func (s *State) withdrawn(_ *pb.EventMeta, _ *pb.TicketWithdrawn) {
	s.Limits, s.Extension, s.Suspension = Limits{}, nil, nil
}
