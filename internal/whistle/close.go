package whistle

import (
	"slices"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// confirm: the street confirms that the units have done their part, and says whether the matter is resolved, once every compulsory task is done or waived. Nobody waits for who was excused or did not
// come.
func confirm(s State, a *rule.Asked, c *pb.ConfirmWhistleRequest) ([]proto.Message, error) {
	if err := s.byStreet(a, leaders...); err != nil {
		return nil, err
	}
	if err := s.in(under...); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.LastAt); err != nil {
		return nil, err
	}
	for i := range s.Participants {
		if p := &s.Participants[i]; p.Compulsory && !p.settled() {
			return nil, rule.No(rule.TasksOpen, "the task of unit %q is open", p.Unit)
		}
	}
	return rule.One(&pb.WhistleConfirmed{Resolved: c.Resolved, RunsOn: !c.Resolved, Sealed: a.Sealed})
}

// rate: a participant's response, co-operation and result are rated (评哨): by the street, by communities below it, by streets that are affected
// too, and by the residents who petitioned. Only the street's own ratings end it. Who did not come is rated, too.
func rate(s State, a *rule.Asked, c *pb.RateUnitRequest) ([]proto.Message, error) {
	kind, rater, err := s.rater(a)
	if err != nil {
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
	// A unit above the street is not its own: it came as any other does, and without its rating nothing ends.
	if kind != pb.RaterKind_RATER_KIND_RESIDENT && rule.Within(a.Registry, a.Actor.Unit, p.Unit) && !rule.Within(a.Registry, s.Street, p.Unit) {
		return nil, rule.Bad("unit", rule.SeparationOfDuties, "nobody rates their own unit")
	}
	street := kind == pb.RaterKind_RATER_KIND_STREET
	if street && p.Rated != nil || p.ratedBy(kind, rater) {
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
	all := street && !slices.ContainsFunc(s.Participants, func(p Participant) bool {
		return p.Compulsory && p.Unit != c.Unit && p.Rated == nil && p.State != pb.ParticipantState_PARTICIPANT_STATE_EXCUSED
	})
	return rule.One(&pb.UnitRated{
		Unit: c.Unit, Response: c.Response, Cooperation: c.Cooperation, Result: c.Result, AllRated: all, Sealed: a.Sealed, RaterKind: kind, Rater: rater,
		UnitPath: p.UnitPath, Path: s.Path,
	})
}

// rater is as what an actor rates, and who that is: a unit, or of a resident the data subject of a linked ticket, for whom the gateway vouches.
func (s *State) rater(a *rule.Asked) (kind pb.RaterKind, rater string, err error) {
	community := []pb.Role{pb.Role_ROLE_COMMUNITY_CLERK, pb.Role_ROLE_COMMUNITY_SECRETARY}
	if err := a.Require(slices.Concat(streetOfficers, community, []pb.Role{pb.Role_ROLE_CITIZEN})...); err != nil {
		return 0, "", err
	}
	unit := a.Actor.Unit
	switch {
	case a.Require(streetOfficers...) == nil && s.blewIt(a):
		return pb.RaterKind_RATER_KIND_STREET, s.Street, nil
	case a.Require(streetOfficers...) == nil && s.affects(a.Registry, unit, a.At):
		return pb.RaterKind_RATER_KIND_OTHER_STREET, unit, nil
	case a.Require(community...) == nil && unit != s.Street && rule.Within(a.Registry, unit, s.Street):
		return pb.RaterKind_RATER_KIND_COMMUNITY, unit, nil
	case a.Require(pb.Role_ROLE_CITIZEN) == nil && a.Petitioner != "":
		return pb.RaterKind_RATER_KIND_RESIDENT, a.Petitioner, nil
	}
	return 0, "", rule.No(rule.OutOfScope, "unit %q blew the whistle; those who rate are its officers, its communities, streets that are affected too, and who petitioned", s.Street)
}

// ratedBy says whether somebody other than the street has rated a participant.
func (p *Participant) ratedBy(kind pb.RaterKind, rater string) bool {
	return slices.ContainsFunc(p.Others, func(r *pb.UnitRated) bool { return r.RaterKind == kind && r.Rater == rater })
}

// ofStreet says whether a rating is of the street that blew.
func ofStreet(e *pb.UnitRated) bool {
	return e.RaterKind == pb.RaterKind_RATER_KIND_UNSPECIFIED || e.RaterKind == pb.RaterKind_RATER_KIND_STREET
}

func (s *State) rated(e *pb.UnitRated) {
	s.participant(e.Unit, func(p *Participant) {
		if ofStreet(e) {
			p.Rated = e
		} else {
			p.Others = append(slices.Clip(p.Others), e)
		}
	})
}

// closeWhistle: done, confirmed, rated, and everybody let go (销哨).
func closeWhistle(s State, a *rule.Asked, _ *pb.CloseWhistleRequest) ([]proto.Message, error) {
	if err := s.byStreet(a, streetOfficers...); err != nil {
		return nil, err
	}
	if s.State == pb.WhistleState_WHISTLE_STATE_CONFIRMED {
		for i := range s.Participants {
			if p := &s.Participants[i]; p.Compulsory && !rated(p) {
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
		if p := &s.Participants[i]; p.there() {
			return nil, rule.No(rule.TasksOpen, "unit %q is still there; release it first", p.Unit)
		}
	}
	return rule.One(&pb.WhistleClosed{})
}
