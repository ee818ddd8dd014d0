package whistle

import (
	"slices"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// cancel: who may blow such a whistle takes it back, as long as not everybody is there.
func cancel(s State, a *rule.Asked, c *pb.CancelWhistleRequest) ([]proto.Message, error) {
	if err := s.byStreet(a, blowers[s.Kind]...); err != nil {
		return nil, err
	}
	if err := s.in(pb.WhistleState_WHISTLE_STATE_DRAFT, pb.WhistleState_WHISTLE_STATE_BLOWN, pb.WhistleState_WHISTLE_STATE_ISSUED,
		pb.WhistleState_WHISTLE_STATE_WORKING); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.LastAt); err != nil {
		return nil, err
	}
	if err := code(c.Reason, "to take a whistle back"); err != nil {
		return nil, err
	}
	return rule.One(&pb.WhistleCancelled{Reason: c.Reason, Sealed: a.Sealed})
}

// tooManyNoShows is how many participants do not come before the whistle is raised of itself.
const tooManyNoShows = 2

// TooManyNoShows says whether so many participants did not come, and have not come since, that the whistle is raised.
func (s *State) TooManyNoShows() bool {
	n := 0
	for i := range s.Participants {
		if s.Participants[i].State == pb.ParticipantState_PARTICIPANT_STATE_NO_SHOW {
			n++
		}
	}
	return n >= tooManyNoShows
}

// Unresolved says whether the limit for resolving the matter has passed.
func (s *State) Unresolved() bool { return s.Fired(pb.WhistleTimer_WHISTLE_TIMER_RESOLVE, "") }

// confirmedUnresolved says whether the street confirmed that the matter is not resolved: of that the whistle, even one that is closed, is reminded
// at its limit.
func (s *State) confirmedUnresolved() bool {
	switch s.State {
	case pb.WhistleState_WHISTLE_STATE_CONFIRMED, pb.WhistleState_WHISTLE_STATE_RATED, pb.WhistleState_WHISTLE_STATE_CLOSED:
		return s.RunsOn
	}
	return false
}

// raisable says whether the whistle can go to a higher level: while it is under way, and until it is closed if the matter is not resolved.
func (s *State) raisable() bool {
	return slices.Contains(under, s.State) || s.confirmedUnresolved() && s.State != pb.WhistleState_WHISTLE_STATE_CLOSED
}

// raise: the whistle goes to the next higher level (提级), as a whistle of its own that somebody above screens. The street decides it, or it
// follows from absences or from a matter that is not resolved at its limit.
func raise(s State, a *rule.Asked, c *pb.RaiseWhistleRequest) ([]proto.Message, error) {
	if err := a.Require(append(slices.Clone(leaders), pb.Role_ROLE_SYSTEM)...); err != nil {
		return nil, err
	}
	system := a.Acting == pb.Role_ROLE_SYSTEM
	switch {
	case !system:
		if err := s.byStreet(a, leaders...); err != nil {
			return nil, err
		}
		if c.Cause != pb.RaiseCause_RAISE_CAUSE_UNSPECIFIED {
			return nil, rule.Bad("cause", rule.BadField, "is this system's to find")
		}
	case c.Cause == pb.RaiseCause_RAISE_CAUSE_UNSPECIFIED:
		return nil, rule.Bad("cause", rule.MissingField, "is required")
	}
	if !s.raisable() {
		return nil, s.in(under...)
	}
	if err := a.CheckTime(s.LastAt); err != nil {
		return nil, err
	}
	if c.Cause == pb.RaiseCause_RAISE_CAUSE_NO_SHOWS && !s.TooManyNoShows() || c.Cause == pb.RaiseCause_RAISE_CAUSE_UNRESOLVED && !s.Unresolved() {
		return nil, rule.Bad("cause", rule.WrongState, "it is not so")
	}
	to := s.next(a.Registry)
	if to == "" {
		return nil, rule.No(rule.NotNextLevel, "no unit stands above %q, which screens", s.ScreenedBy)
	}
	again := s.calledAgain()
	if s.Kind == pb.WhistleKind_WHISTLE_KIND_EMERGENCY { // which nobody screens before it is issued
		var err error
		if again, err = letIn(a, again); err != nil {
			return nil, err
		}
	}
	e := &pb.WhistleRaised{To: to, Child: a.Child, Cause: c.Cause, Sealed: a.Sealed}
	for _, p := range again {
		e.Called = append(e.Called, p.Unit)
	}
	return rule.One(e)
}

// letIn are those whom the ban list does not keep out by now. A refusal if nobody of them has to come.
func letIn(a *rule.Asked, participants []*pb.Participant) ([]*pb.Participant, error) {
	var in []*pb.Participant
	var banned error
	for _, p := range participants {
		if err := a.Keep("", p.Category, p.Unit, p.Admission); err != nil {
			banned = err
			continue
		}
		in = append(in, p)
	}
	if banned != nil && !slices.ContainsFunc(in, func(p *pb.Participant) bool { return p.Compulsory }) {
		return nil, banned
	}
	return in, nil
}

// next is the unit that a raised whistle goes to: the nearest of a higher level above the one that screens, or where there is none such the one
// above it; empty at the root.
func (s *State) next(r rule.Registry) string {
	path := r.UnitPath(s.ScreenedBy)
	if len(path) < 2 {
		return ""
	}
	above := path[:len(path)-1]
	_, rank := r.Level(s.ScreenedBy)
	for _, unit := range slices.Backward(above) {
		if _, higher := r.Level(unit); higher < rank {
			return unit
		}
	}
	return above[len(above)-1]
}

// ChildOf is the whistle that a raised one, of the id, goes on as: for the same matter, to those who are called again, screened by the
// unit it was raised to. What was said of it is sealed anew by whoever opens it.
func (s *State) ChildOf(id, to string) *pb.WhistleBlown {
	again := s.calledAgain()
	if len(s.Called) > 0 {
		again = slices.DeleteFunc(again, func(p *pb.Participant) bool { return !slices.Contains(s.Called, p.Unit) })
	}
	return &pb.WhistleBlown{
		Kind: s.Kind, Tickets: s.Tickets, Street: s.Street, Path: s.Path, CallItem: s.CallItem, Participants: again,
		GatherAt: rule.Stamp(s.GatherAt), Position: s.Position, ScreenedBy: to, DraftedBy: s.DraftedBy, AlsoAffects: s.AlsoAffects, Parent: id,
	}
}

// calledAgain are those whose part is not done, the absent among them. Where nobody of them has to come the matter is not resolved all the same,
// and all are called again but those that were excused; or, where all were, these too.
func (s *State) calledAgain() []*pb.Participant {
	excused := func(p *Participant) bool { return p.State == pb.ParticipantState_PARTICIPANT_STATE_EXCUSED }
	for _, wanted := range []func(*Participant) bool{
		func(p *Participant) bool {
			return p.State == pb.ParticipantState_PARTICIPANT_STATE_NO_SHOW || !p.settled()
		},
		func(p *Participant) bool { return !excused(p) },
		func(*Participant) bool { return true },
	} {
		var again []*pb.Participant
		has := false
		for i := range s.Participants {
			if p := &s.Participants[i]; wanted(p) {
				one := proto.CloneOf(p.Participant)
				one.SignBy, one.ContactBy, one.ReportInBy = nil, nil, nil
				again, has = append(again, one), has || p.Compulsory
			}
		}
		if has {
			return again
		}
	}
	return nil
}

// open brings to life the whistle that another was raised to. In an emergency it is issued at once, like any, to those whom the ban list let in when that
// was raised.
func open(s State, a *rule.Asked, c *pb.WhistleBlown) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_SYSTEM); err != nil {
		return nil, err
	}
	if s.Exists() {
		return nil, nil
	}
	blown := proto.CloneOf(c)
	blown.No, blown.Sealed = a.No, a.Sealed
	return sound(a, blown, matterOf(a, c.Tickets, c.CallItem, a.OccurredAt))
}
