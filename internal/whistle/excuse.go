package whistle

import (
	"cmp"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// requestExcuse: a participant that has not come asks not to have to: another unit comes in its place, or a ruling says that it is not its duty.
// Its limits run on until that is granted.
func requestExcuse(s State, a *rule.Asked, c *pb.RequestExcuseRequest) ([]proto.Message, error) {
	p, err := s.byParticipant(a, c.Unit)
	if err != nil {
		return nil, err
	}
	if !p.expected() {
		return nil, p.wrong("it must not have come, nor be absent")
	}
	if p.Excuse != nil {
		return nil, rule.Bad("unit", rule.AlreadyProposed, "unit %q has asked already", p.Unit)
	}
	switch {
	case c.Replacement == "" && c.RulingRef == "":
		return nil, rule.Bad("replacement", rule.MissingField, "a unit that comes in its place, or the reference of a ruling, is required")
	case c.Replacement != "" && c.RulingRef != "":
		return nil, rule.Bad("ruling_ref", rule.BadField, "is given only where nobody comes in its place")
	}
	if err := rule.Word("ruling_ref", c.RulingRef, rule.Printable); err != nil {
		return nil, err
	}
	if c.Replacement != "" {
		if err := s.replaces(a, p, c.Replacement); err != nil {
			return nil, err
		}
	}
	return rule.One(&pb.ExcuseRequested{Unit: p.Unit, Replacement: c.Replacement, RulingRef: c.RulingRef, Sealed: a.Sealed})
}

// replaces refuses a unit that cannot come in a participant's place.
func (s *State) replaces(a *rule.Asked, p *Participant, unit string) error {
	if err := comes(a, s.Street, s.summoned(), unit, "replacement"); err != nil {
		return err
	}
	return a.Deliver("replacement", p.Category, unit, p.Admission)
}

// endorseExcuse: the street agrees that a participant need not come, or does not, and it has to.
func endorseExcuse(s State, a *rule.Asked, c *pb.EndorseExcuseRequest) ([]proto.Message, error) {
	if err := s.byStreet(a, streetOfficers...); err != nil {
		return nil, err
	}
	p, err := s.excusing(a, c.Unit)
	if err != nil {
		return nil, err
	}
	if p.Endorsed {
		return nil, rule.Bad("unit", rule.AlreadyDone, "the street agreed already that unit %q need not come", p.Unit)
	}
	if !c.Endorse {
		return rule.One(&pb.ExcuseRefused{Unit: p.Unit, ByStreet: true, Sealed: a.Sealed})
	}
	return rule.One(&pb.ExcuseEndorsed{Unit: p.Unit})
}

// decideExcuse: after the street, the screener excuses a participant, or does not. Who comes in its place has limits that start now.
func decideExcuse(s State, a *rule.Asked, c *pb.DecideExcuseRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_DISPATCHER); err != nil {
		return nil, err
	}
	screener, instead := cmp.Or(s.over(a, s.summoned()), s.ScreenedBy), "" // who was summoned since may lie beyond the one that screened
	if p := s.find(c.Unit); p != nil && p.Excuse.GetReplacement() != "" && c.Grant {
		instead = p.Excuse.Replacement
		screener = s.over(a, append(s.summoned(), &pb.Participant{Unit: instead}))
	}
	if screener == "" || !rule.Within(a.Registry, screener, a.Actor.Unit) {
		return nil, rule.No(rule.OutOfScope, "only unit %q, or one above it, commands the street and all participants", screener)
	}
	p, err := s.excusing(a, c.Unit)
	if err != nil {
		return nil, err
	}
	if !p.Endorsed {
		return nil, rule.Bad("unit", rule.NothingProposed, "the street has not agreed yet that unit %q need not come", p.Unit)
	}
	if !c.Grant {
		return rule.One(&pb.ExcuseRefused{Unit: p.Unit, Sealed: a.Sealed})
	}
	e := &pb.ParticipantExcused{Unit: p.Unit, RulingRef: p.Excuse.RulingRef, Convened: s.convened(p.Unit)}
	if instead == "" {
		return rule.One(e)
	}
	if err := s.replaces(a, p, instead); err != nil {
		return nil, err
	}
	l, err := limits(a, s.Kind, s.matter(a))
	if err != nil {
		return nil, err
	}
	e.Replacement = l.of(&pb.Participant{
		Unit: instead, Compulsory: p.Compulsory, UnitPath: a.Registry.UnitPath(instead), Category: p.Category, Admission: p.Admission,
	})
	e.Provisional, e.Convened = l.provisional, e.Convened && !p.Compulsory
	return rule.One(e)
}

// excusing is the participant of a unit that asked to be excused.
func (s *State) excusing(a *rule.Asked, unit string) (*Participant, error) {
	if err := s.in(under...); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.IssuedAt); err != nil {
		return nil, err
	}
	p := s.find(unit)
	if p == nil {
		return nil, rule.Bad("unit", rule.NotParticipant, "unit %q was not summoned", unit)
	}
	if p.Excuse == nil {
		return nil, rule.Bad("unit", rule.NothingProposed, "unit %q has not asked to be excused", unit)
	}
	return p, nil
}

// excused: the participant need not come, and whoever comes in its place is awaited.
func (s *State) excused(e *pb.ParticipantExcused) {
	s.participant(e.Unit, func(p *Participant) {
		p.State, p.Excuse, p.Endorsed = pb.ParticipantState_PARTICIPANT_STATE_EXCUSED, nil, false
		p.Replacement = e.GetReplacement().GetUnit()
	})
	if e.Replacement != nil {
		s.join(e.Replacement, e.Provisional)
	}
}
