package admission

import (
	"cmp"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/rule"
)

// decide: another person than applied or examined it admits it to the communities that are left (准入), or refuses it.
func decide(s State, a *rule.Asked, c *pb.DecideAdmissionRequest) ([]proto.Message, error) {
	if err := s.decider(a, pb.Role_ROLE_DUTY_LEADER); err != nil {
		return nil, err
	}
	if err := s.in(pb.AdmissionState_ADMISSION_STATE_REVIEWED); err != nil {
		return nil, err
	}
	if p := a.Actor.Person; p == s.ReviewedBy.GetPerson() || p == s.AppliedBy.GetPerson() {
		return nil, rule.No(rule.SecondPersonNeeded, "another person must decide than applied and than examined it")
	}
	if err := a.CheckTime(s.LastAt); err != nil {
		return nil, err
	}
	if !calendar.OnTime(a.OccurredAt, s.DecideBy) {
		return nil, rule.No(rule.LimitPassed, "it was to be decided by %s", s.DecideBy.Format("2006-01-02 15:04:05Z07:00"))
	}
	if !c.Admit {
		if err := reason(c.Reason); err != nil {
			return nil, err
		}
		return rule.One(&pb.AdmissionRefused{Reason: c.Reason, Sealed: a.Sealed})
	}
	if c.Reason != "" {
		return nil, rule.Bad("reason", rule.BadField, "is for a refusal")
	}
	from, to := cmp.Or(c.ValidFrom, rule.Stamp(s.ValidFrom)), cmp.Or(c.ValidTo, rule.Stamp(s.ValidTo))
	if from.AsTime().Before(s.ValidFrom) || !from.AsTime().Before(s.ValidTo) {
		return nil, rule.Bad("valid_from", rule.BadField, "lies outside of what was applied for")
	}
	if to.AsTime().After(s.ValidTo) {
		return nil, rule.Bad("valid_to", rule.BadField, "lies outside of what was applied for")
	}
	if !to.AsTime().After(from.AsTime()) {
		return nil, rule.Bad("valid_to", rule.BadField, "does not lie after valid_from")
	}
	return rule.One(&pb.AdmissionAdmitted{Communities: s.Communities, ValidFrom: from, ValidTo: to, Sealed: a.Sealed})
}

// reason refuses a reason that is no code.
func reason(text string) error {
	if text == "" {
		return rule.Bad("reason", rule.MissingField, "is required")
	}
	return rule.Word("reason", text, rule.UpperCode)
}
