package whistle

import (
	"slices"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// confirm: the street confirms that the matter is done, once every compulsory task is.
func confirm(s State, a *rule.Asked, c *pb.ConfirmWhistleRequest) ([]proto.Message, error) {
	if err := s.byStreet(a, pb.Role_ROLE_STREET_LEADER, pb.Role_ROLE_STREET_SECRETARY, pb.Role_ROLE_STREET_DIRECTOR, pb.Role_ROLE_DEPARTMENT_HEAD); err != nil {
		return nil, err
	}
	if err := s.in(under...); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.LastAt); err != nil {
		return nil, err
	}
	for i := range s.Participants {
		if p := &s.Participants[i]; p.Compulsory && p.State < pb.ParticipantState_PARTICIPANT_STATE_TASK_DONE {
			return nil, rule.No(rule.TasksOpen, "the task of unit %q is open", p.Unit)
		}
	}
	return rule.One(&pb.WhistleConfirmed{Resolved: c.Resolved, Sealed: a.Sealed})
}

// rate: the street rates a participant's response, co-operation and result (评哨).
func rate(s State, a *rule.Asked, c *pb.RateUnitRequest) ([]proto.Message, error) {
	if err := s.byStreet(a, streetOfficers...); err != nil {
		return nil, err
	}
	if err := s.in(pb.WhistleState_WHISTLE_STATE_CONFIRMED, pb.WhistleState_WHISTLE_STATE_RATED); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.LastAt); err != nil {
		return nil, err
	}
	p := s.find(c.Unit)
	if p == nil {
		return nil, rule.Bad("unit", rule.NotParticipant, "unit %q was not summoned", c.Unit)
	}
	if p.Rated != nil {
		return nil, rule.Bad("unit", rule.AlreadyDone, "unit %q is rated already", c.Unit)
	}
	for _, mark := range []struct {
		field string
		value uint32
	}{{"response", c.Response}, {"cooperation", c.Cooperation}, {"result", c.Result}} {
		if mark.value < 1 || mark.value > 5 {
			return nil, rule.Bad(mark.field, rule.BadField, "want 1 to 5")
		}
	}
	all := !slices.ContainsFunc(s.Participants, func(p Participant) bool {
		return p.Compulsory && p.Unit != c.Unit && p.Rated == nil && p.State != pb.ParticipantState_PARTICIPANT_STATE_EXCUSED
	})
	return rule.One(&pb.UnitRated{Unit: c.Unit, Response: c.Response, Cooperation: c.Cooperation, Result: c.Result, AllRated: all, Sealed: a.Sealed, UnitPath: p.UnitPath, Path: s.Path})
}

// closeWhistle: done, confirmed, rated, and everybody let go (销哨).
func closeWhistle(s State, a *rule.Asked, _ *pb.CloseWhistleRequest) ([]proto.Message, error) {
	if err := s.byStreet(a, streetOfficers...); err != nil {
		return nil, err
	}
	if s.State == pb.WhistleState_WHISTLE_STATE_CONFIRMED {
		for i := range s.Participants {
			if p := &s.Participants[i]; p.Compulsory && p.Rated == nil {
				return nil, rule.No(rule.RatingsMissing, "unit %q is not rated", p.Unit)
			}
		}
	}
	if err := s.in(pb.WhistleState_WHISTLE_STATE_RATED); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.LastAt); err != nil {
		return nil, err
	}
	for i := range s.Participants {
		switch p := &s.Participants[i]; p.State {
		case pb.ParticipantState_PARTICIPANT_STATE_REPORTED_IN, pb.ParticipantState_PARTICIPANT_STATE_TASK_DONE:
			return nil, rule.No(rule.TasksOpen, "unit %q is still there; release it first", p.Unit)
		}
	}
	return rule.One(&pb.WhistleClosed{})
}
