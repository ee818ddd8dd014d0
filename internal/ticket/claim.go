package ticket

import (
	"slices"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// claim: a secretary, or a unit of the place, takes a matter from the wall (认领). Who has the powers for it leads it from then on; who has not is
// proposed as a co-handler of whoever will.
func claim(s State, a *rule.Asked, c *pb.ClaimTicketRequest) ([]proto.Message, error) {
	secretaries := []pb.Role{pb.Role_ROLE_COMMUNITY_SECRETARY, pb.Role_ROLE_STREET_SECRETARY}
	if err := a.Require(append(secretaries, clerks...)...); err != nil {
		return nil, err
	}
	if !s.nearby(a) {
		return nil, rule.No(rule.OutOfScope, "the matter does not lie where your unit is")
	}
	if !s.OnWall() {
		return nil, rule.No(rule.NotOnWall, "only what comes from a problem wall is claimed")
	}
	if err := s.in(pb.TicketState_TICKET_STATE_TRIAGED); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.Decided.At); err != nil {
		return nil, err
	}
	if c.SecretaryOwned && !slices.Contains(secretaries, a.Acting) {
		return nil, rule.Bad("secretary_owned", rule.RoleNotAllowed, "only a secretary leads a matter personally")
	}
	unit := a.Actor.Unit
	if err := s.impartial(a); err != nil {
		return nil, err
	}
	if err := a.Deliver("", s.Category, unit, ""); err != nil {
		return nil, err
	}
	if c.AsCo || s.beyond(a, unit) {
		if slices.Contains(s.ProposedCo, unit) {
			return nil, rule.No(rule.AlreadyDone, "unit %q is proposed as a co-handler already", unit)
		}
		return rule.One(&pb.TicketClaimed{Unit: unit, AsCo: true, SecretaryOwned: c.SecretaryOwned, Sealed: a.Sealed})
	}
	if s.Returns >= returnsEnough {
		return nil, &rule.Refusal{Reason: rule.RulingNeeded, Message: "whose duty it is must be ruled on first", DecidedBy: s.Decided.String()}
	}
	if slices.Contains(s.RuledOut, unit) {
		return nil, rule.No(rule.RuledOut, "it was ruled that unit %q does not lead", unit)
	}
	e, err := s.sent(a, unit, s.helpers(a, unit))
	if err != nil {
		return nil, err
	}
	return []proto.Message{&pb.TicketClaimed{Unit: unit, SecretaryOwned: c.SecretaryOwned, Sealed: a.Sealed}, e}, nil
}

// beyond says whether the catalogue makes the matter the duty of others: of a department, a utility or an enforcement team that the unit neither is nor
// belongs to. A territorial duty is anybody's of the place.
func (s *State) beyond(a *rule.Asked, unit string) bool {
	if len(s.Path) == 0 {
		return false
	}
	others := false
	for _, e := range a.Registry.Catalogue(s.Category, s.Path[len(s.Path)-1].Code, a.At) {
		if e.Duty == pb.Duty_DUTY_TERRITORIAL {
			continue
		}
		if rule.Within(a.Registry, unit, e.Lead) {
			return false
		}
		others = true
	}
	return others
}

// helpers are the proposed co-handlers that can still help a lead.
func (s *State) helpers(a *rule.Asked, lead string) []string {
	return slices.DeleteFunc(without(s.ProposedCo, lead), func(co string) bool {
		return activeUnit(a, "", co) != nil || a.Deliver("", s.Category, co, "") != nil ||
			complainedOf(a, s.ComplainedOf, s.Confidentiality, lead, []string{co}) != nil
	})
}

func (s *State) ticketClaimed(_ *pb.EventMeta, e *pb.TicketClaimed) {
	s.SecretaryOwned = s.SecretaryOwned || e.SecretaryOwned
	if e.AsCo {
		s.ProposedCo = append(slices.Clip(s.ProposedCo), e.Unit)
	}
}
