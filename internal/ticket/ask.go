package ticket

import (
	"slices"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// askWhistle: a community or grid, which may not blow itself, asks the street above it to blow a whistle for the ticket it handles (请街道吹哨).
// Which units should come may be left to the street. The ask ends with the word that a whistle was blown, with the street's no, or when the
// ticket goes on otherwise.
func askWhistle(s State, a *rule.Asked, c *pb.AskWhistleRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_COMMUNITY_CLERK, pb.Role_ROLE_COMMUNITY_SECRETARY, pb.Role_ROLE_GRID_WORKER); err != nil {
		return nil, err
	}
	if err := s.impartial(a); err != nil {
		return nil, err
	}
	if !s.ofLead(a.Registry, a.Actor.Unit) {
		return nil, rule.No(rule.OutOfScope, "the lead is unit %q, not yours", s.Lead)
	}
	if err := s.in(pb.TicketState_TICKET_STATE_HANDLING); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.Decided.At); err != nil {
		return nil, err
	}
	if !rule.BelowStreet(a.Registry, s.Lead) {
		return nil, rule.No(rule.OutOfScope, "unit %q lies below no street; it blows itself", s.Lead)
	}
	if s.WhistleAsked != nil {
		return nil, rule.No(rule.AlreadyProposed, "the street has been asked already")
	}
	if c.Kind == pb.WhistleKind_WHISTLE_KIND_UNSPECIFIED {
		return nil, rule.Bad("kind", rule.MissingField, "is required")
	}
	if c.CallItem != "" {
		if _, ok := a.Registry.CallItem(c.CallItem, a.OccurredAt); !ok {
			return nil, rule.Bad("call_item", rule.UnknownCallItem, "the list has no item %q", c.CallItem)
		}
	}
	if len(c.Units) > maxAsked {
		return nil, rule.Bad("units", rule.BadField, "want at most %d", maxAsked)
	}
	for i, unit := range c.Units {
		field := rule.Index("units", i)
		if err := activeUnit(a, field, unit); err != nil {
			return nil, err
		}
		if slices.Contains(c.Units[:i], unit) {
			return nil, rule.Bad(field, rule.BadField, "is named twice")
		}
	}
	if err := said("text", c.GetParticulars().GetText()); err != nil {
		return nil, err
	}
	return rule.One(&pb.WhistleAsked{Kind: c.Kind, CallItem: c.CallItem, Units: c.Units, Unit: a.Actor.Unit, Sealed: a.Sealed})
}

// maxAsked is how many units may be named that should be summoned.
const maxAsked = 32

func (s *State) whistleAsked(_ *pb.EventMeta, e *pb.WhistleAsked) { s.WhistleAsked = e }

// declineWhistleAsk: the street does not blow, and says why.
func declineWhistleAsk(s State, a *rule.Asked, c *pb.DeclineWhistleAskRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_STREET_LEADER, pb.Role_ROLE_STREET_SECRETARY, pb.Role_ROLE_STREET_DIRECTOR); err != nil {
		return nil, err
	}
	if s.Lead == a.Actor.Unit || !rule.Within(a.Registry, s.Lead, a.Actor.Unit) {
		return nil, rule.No(rule.OutOfScope, "the lead is unit %q, which is not below yours", s.Lead)
	}
	if err := s.in(pb.TicketState_TICKET_STATE_HANDLING); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.Decided.At); err != nil {
		return nil, err
	}
	if s.WhistleAsked == nil {
		return nil, rule.No(rule.NothingProposed, "nobody has asked for a whistle")
	}
	if c.Reason == "" {
		return nil, rule.Bad("reason", rule.MissingField, "is required")
	}
	if err := rule.Word("reason", c.Reason, rule.UpperCode); err != nil {
		return nil, err
	}
	return rule.One(&pb.WhistleAskDeclined{Reason: c.Reason, Sealed: a.Sealed})
}

func (s *State) whistleAskDeclined(*pb.EventMeta, *pb.WhistleAskDeclined) { s.WhistleAsked = nil }
