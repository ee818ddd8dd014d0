package ticket

import (
	"slices"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// Sampled is what the rules of spot checks know of the ticket, for an actor at the instant.
func (s *State) Sampled(r rule.Registry, who rule.Actor, at time.Time) *rule.Sampled {
	return &rule.Sampled{
		Path: s.Path, Lead: s.Lead, Co: s.Co, Verifier: s.Verifier,
		Confidential: s.Confidentiality == pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL, Visible: s.MaySee(r, who, at),
	}
}

// ClosedIn says whether the ticket lies in an area and was closed in [from, to) after a unit had led it, and is so still: whether a spot check may draw it.
func (s *State) ClosedIn(area string, from, to time.Time) bool {
	if s.State != pb.TicketState_TICKET_STATE_CLOSED && s.State != pb.TicketState_TICKET_STATE_ARCHIVED || s.Lead == "" {
		return false
	}
	return !s.ClosedAt.Before(from) && s.ClosedAt.Before(to) && slices.ContainsFunc(s.Path, func(n *pb.AreaNode) bool { return n.Code == area })
}
