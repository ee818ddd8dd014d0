// Package whistle holds the rules of a whistle (哨): a street summons units it has no authority over (吹哨), they
// report in (报到), do their task, and are rated. One step, one file. The package is pure.
package whistle

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// State is a whistle, folded from its events. It is a value: copies may be changed apart, but what its slices and pointers
// lead to is shared and never changed.
type State struct {
	rule.Life[pb.WhistleState]

	Kind    pb.WhistleKind
	Tickets []string // ids of the linked tickets
	Street  string   // the unit that blows
	Path    []*pb.AreaNode
	// AlsoAffects are areas that are affected too: their streets see the whistle and may rate.
	AlsoAffects []string
	CallItem    string
	GatherAt    time.Time
	Position    *pb.LonLat
	ScreenedBy  string
	DraftedBy   *pb.Actor
	Blown       *pb.Sealed

	Participants []Participant
	Helpers      []*pb.Helper // who came without having been summoned
	Provisional  bool         // a limit of theirs was computed with a calendar year that was not loaded

	Parent string // the id of the whistle it was raised from
	Child  string // the id of the whistle it was raised to
	// RaisedTo is the unit that screens that, Called the units that it summons.
	RaisedTo string
	Called   []string

	DraftedAt time.Time
	BlownAt   time.Time
	IssuedAt  time.Time
	ClosedAt  time.Time
	ReviewBy  time.Time
	ResolveBy time.Time
	Resolved  bool
	RunsOn    bool // it is confirmed that the matter is not resolved, and the limit to resolve it goes on

	ReviewedAt time.Time // of an emergency whistle, after the fact
	Justified  bool      // what the review found

	fired [timers]bool // the timers of the whole that have fired
}

// Participant is a summoned unit and how far it has come.
type Participant struct {
	*pb.Participant
	State        pb.ParticipantState
	SignedAt     time.Time
	ContactedAt  time.Time
	ReportedInAt time.Time
	InTime       bool
	TaskDoneAt   time.Time
	ReleasedAt   time.Time
	NoShowAt     time.Time // it may have come since, too late
	LeftAt       time.Time
	TaskWaived   bool
	Rated        *pb.UnitRated // by the street that blew
	Others       []*pb.UnitRated
	Excuse       *pb.ExcuseRequested // asked for and not decided
	Endorsed     bool                // the street agrees to that
	Replacement  string              // the unit that comes in its place

	fired [timers]bool // its timers that have fired
}

// Decide says what a command makes happen to a whistle, or why not: a *rule.Refusal. No events and no error: it had been
// done before. Neither s nor what it points to is changed.
func Decide(s State, a *rule.Asked, command proto.Message) ([]proto.Message, error) {
	switch c := command.(type) {
	case *pb.BlowWhistleRequest:
		return blow(s, a, c)
	case *pb.WhistleBlown:
		return open(s, a, c)
	}
	if !s.Exists() {
		return nil, rule.Bad("name", rule.NotFound, "no such whistle")
	}
	switch c := command.(type) {
	case *pb.ScreenWhistleRequest:
		return screen(s, a, c)
	case *pb.SignWhistleRequest:
		return sign(s, a, c)
	case *pb.ContactStreetRequest:
		return contact(s, a, c)
	case *pb.ReportInRequest:
		return reportIn(s, a, c)
	case *pb.CompleteTaskRequest:
		return completeTask(s, a, c)
	case *pb.ReleaseParticipantRequest:
		return release(s, a, c)
	case *pb.ConfirmWhistleRequest:
		return confirm(s, a, c)
	case *pb.RateUnitRequest:
		return rate(s, a, c)
	case *pb.CloseWhistleRequest:
		return closeWhistle(s, a, c)
	case *pb.RequestExcuseRequest:
		return requestExcuse(s, a, c)
	case *pb.EndorseExcuseRequest:
		return endorseExcuse(s, a, c)
	case *pb.DecideExcuseRequest:
		return decideExcuse(s, a, c)
	case *pb.AddParticipantRequest:
		return addParticipant(s, a, c)
	case *pb.LeaveWhistleRequest:
		return leave(s, a, c)
	case *pb.WaiveTaskRequest:
		return waiveTask(s, a, c)
	case *pb.JoinWhistleRequest:
		return join(s, a, c)
	case *pb.CancelWhistleRequest:
		return cancel(s, a, c)
	case *pb.RaiseWhistleRequest:
		return raise(s, a, c)
	case *pb.PassWhistleTimerRequest:
		return passTimer(s, a, c)
	}
	return nil, fmt.Errorf("no rule for command %T", command)
}

// Evolve is the state after an event. An event that is not a whistle's is an error. s is not changed.
func Evolve(s State, meta *pb.EventMeta, event proto.Message) (State, error) {
	at := meta.GetOccurredAt().AsTime()
	switch e := event.(type) {
	case *pb.WhistleDrafted:
		s.drafted(at, meta.GetActor(), e)
	case *pb.WhistleBlown:
		s.blown(at, e)
	case *pb.WhistleIssued:
		s.issued(at, e)
	case *pb.WhistleReviewed:
		s.ReviewedAt, s.Justified = at, e.Justified
	case *pb.WhistleRefused:
		s.ClosedAt = at
	case *pb.WhistleSigned:
		s.participant(e.Unit, func(p *Participant) {
			p.State, p.SignedAt = max(p.State, pb.ParticipantState_PARTICIPANT_STATE_SIGNED), at
		})
	case *pb.WhistleContacted:
		s.participant(e.Unit, func(p *Participant) {
			p.State, p.ContactedAt = max(p.State, pb.ParticipantState_PARTICIPANT_STATE_CONTACTED), at
		})
	case *pb.ReportedIn:
		s.participant(e.Unit, func(p *Participant) {
			p.State, p.ReportedInAt, p.InTime = pb.ParticipantState_PARTICIPANT_STATE_REPORTED_IN, at, e.InTime
			p.Excuse, p.Endorsed = nil, false // it is there
		})
	case *pb.TaskDone:
		s.participant(e.Unit, func(p *Participant) { p.State, p.TaskDoneAt = pb.ParticipantState_PARTICIPANT_STATE_TASK_DONE, at })
	case *pb.Released:
		s.participant(e.Unit, func(p *Participant) { p.State, p.ReleasedAt = pb.ParticipantState_PARTICIPANT_STATE_RELEASED, at })
	case *pb.WhistleConfirmed:
		s.Resolved, s.RunsOn = e.Resolved, e.RunsOn
	case *pb.UnitRated:
		s.rated(e)
	case *pb.WhistleClosed, *pb.WhistleCancelled:
		s.ClosedAt = at
	case *pb.WhistleRetyped:
		s.Kind = e.Kind
	case *pb.ParticipantAdded:
		s.join(e.Participant, e.Provisional)
	case *pb.ExcuseRequested:
		s.participant(e.Unit, func(p *Participant) { p.Excuse, p.Endorsed = e, false })
	case *pb.ExcuseEndorsed:
		s.participant(e.Unit, func(p *Participant) { p.Endorsed = true })
	case *pb.ExcuseRefused:
		s.participant(e.Unit, func(p *Participant) { p.Excuse, p.Endorsed = nil, false })
	case *pb.ParticipantExcused:
		s.excused(e)
	case *pb.NoShow:
		s.participant(e.Unit, func(p *Participant) {
			p.State, p.NoShowAt = pb.ParticipantState_PARTICIPANT_STATE_NO_SHOW, at
			p.Excuse, p.Endorsed = nil, false
		})
	case *pb.LeftEarly:
		s.participant(e.Unit, func(p *Participant) { p.State, p.LeftAt = pb.ParticipantState_PARTICIPANT_STATE_LEFT_EARLY, at })
	case *pb.TaskWaived:
		s.participant(e.Unit, func(p *Participant) { p.TaskWaived = true })
	case *pb.HelperJoined:
		s.Helpers = append(slices.Clip(s.Helpers), &pb.Helper{Unit: e.Unit, Person: e.Person, At: rule.Stamp(at)})
	case *pb.WhistleTimerPassed:
		s.timerPassed(e)
	case *pb.WhistleRaised:
		s.ClosedAt, s.Child, s.RaisedTo, s.Called = at, e.Child, e.To, e.Called
	default:
		return s, fmt.Errorf("%T is no event of a whistle", event)
	}
	s.Sealed(event)
	s.Happened(meta, event, s.leads(event))
	return s, nil
}

// leads is the main state that an event leads to which happens now; UNSPECIFIED if to none. Somebody coming late to a convened whistle does not undo that.
func (s *State) leads(event proto.Message) pb.WhistleState {
	after := StateAfter(event)
	if after == pb.WhistleState_WHISTLE_STATE_WORKING && s.State == pb.WhistleState_WHISTLE_STATE_CONVENED {
		return pb.WhistleState_WHISTLE_STATE_UNSPECIFIED
	}
	return after
}

// StateAfter is the main state an event leads to; UNSPECIFIED for an event that changes no main state. WORKING does not
// undo CONVENED.
func StateAfter(event proto.Message) pb.WhistleState {
	switch e := event.(type) {
	case *pb.WhistleDrafted:
		return pb.WhistleState_WHISTLE_STATE_DRAFT
	case *pb.WhistleBlown:
		return pb.WhistleState_WHISTLE_STATE_BLOWN
	case *pb.WhistleIssued:
		return pb.WhistleState_WHISTLE_STATE_ISSUED
	case *pb.WhistleRefused:
		return pb.WhistleState_WHISTLE_STATE_REFUSED
	case *pb.ReportedIn:
		if e.Convened {
			return pb.WhistleState_WHISTLE_STATE_CONVENED
		}
		return pb.WhistleState_WHISTLE_STATE_WORKING
	case *pb.WhistleConfirmed:
		return pb.WhistleState_WHISTLE_STATE_CONFIRMED
	case *pb.UnitRated:
		if e.AllRated {
			return pb.WhistleState_WHISTLE_STATE_RATED
		}
	case *pb.ParticipantExcused:
		if e.Convened {
			return pb.WhistleState_WHISTLE_STATE_CONVENED
		}
	case *pb.NoShow:
		if e.Convened {
			return pb.WhistleState_WHISTLE_STATE_CONVENED
		}
	case *pb.WhistleCancelled:
		return pb.WhistleState_WHISTLE_STATE_CANCELLED
	case *pb.WhistleRaised:
		return pb.WhistleState_WHISTLE_STATE_RAISED
	case *pb.WhistleClosed:
		return pb.WhistleState_WHISTLE_STATE_CLOSED
	}
	return pb.WhistleState_WHISTLE_STATE_UNSPECIFIED
}

// Ended says whether nobody comes, works or rates any more. An emergency may still be looked at after the fact.
func Ended(s pb.WhistleState) bool {
	switch s {
	case pb.WhistleState_WHISTLE_STATE_CLOSED, pb.WhistleState_WHISTLE_STATE_REFUSED,
		pb.WhistleState_WHISTLE_STATE_CANCELLED, pb.WhistleState_WHISTLE_STATE_RAISED:
		return true
	}
	return false
}

// in refuses unless the whistle is in one of the states, and says which event put it where it is.
func (s *State) in(states ...pb.WhistleState) error { return s.In("", "whistle", states...) }

// under are the states in which participants come, work and go.
var under = []pb.WhistleState{pb.WhistleState_WHISTLE_STATE_ISSUED, pb.WhistleState_WHISTLE_STATE_WORKING, pb.WhistleState_WHISTLE_STATE_CONVENED}

// participant changes one participant, in a copy of the list.
func (s *State) participant(unit string, change func(*Participant)) {
	s.Participants = slices.Clone(s.Participants)
	for i := range s.Participants {
		if s.Participants[i].Unit == unit {
			change(&s.Participants[i])
		}
	}
}

// find is the participant of a unit; nil if it was not summoned.
func (s *State) find(unit string) *Participant {
	for i := range s.Participants {
		if s.Participants[i].Unit == unit {
			return &s.Participants[i]
		}
	}
	return nil
}

// InScope says whether an actor of the unit may see the whistle: the street, the participants, and those above them.
func (s *State) InScope(r rule.Registry, unit string) bool {
	if rule.Within(r, unit, s.Street) || rule.Within(r, s.Street, unit) || rule.Within(r, s.ScreenedBy, unit) {
		return true
	}
	return slices.ContainsFunc(s.Participants, func(p Participant) bool {
		return rule.Within(r, unit, p.Unit) || rule.Within(r, p.Unit, unit)
	})
}

// MaySee says whether somebody may know of the whistle: who has it in scope, the streets of areas that are affected too, and any auditor.
func (s *State) MaySee(r rule.Registry, who rule.Actor, at time.Time) bool {
	return slices.Contains(who.Roles, pb.Role_ROLE_AUDITOR) || s.InScope(r, who.Unit) || s.affects(r, who.Unit, at)
}

// affects says whether the matter affects the street of the unit too: that lies in an area named for it, or such an area in it.
func (s *State) affects(r rule.Registry, unit string, at time.Time) bool {
	u, ok := r.Unit(unit, at)
	if _, rank := r.Level(unit); !ok || rank < r.Rank("street") || rank == 0 {
		return false
	}
	own, _ := r.Path(u.Area, at)
	return slices.ContainsFunc(s.AlsoAffects, func(area string) bool {
		path, _ := r.Path(area, at)
		return contains(own, area) || contains(path, u.Area)
	})
}

func contains(path []*pb.AreaNode, area string) bool {
	return slices.ContainsFunc(path, func(n *pb.AreaNode) bool { return n.Code == area })
}

// clerks are the roles that act for a participant.
var clerks = []pb.Role{
	pb.Role_ROLE_DEPARTMENT_CLERK, pb.Role_ROLE_DEPARTMENT_HEAD, pb.Role_ROLE_STREET_CLERK, pb.Role_ROLE_STREET_LEADER,
	pb.Role_ROLE_STREET_SECRETARY, pb.Role_ROLE_STREET_DIRECTOR, pb.Role_ROLE_COMMUNITY_CLERK,
	pb.Role_ROLE_COMMUNITY_SECRETARY, pb.Role_ROLE_GRID_WORKER,
}

// streetOfficers are the roles that act for the street that blew.
var streetOfficers = []pb.Role{
	pb.Role_ROLE_STREET_CLERK, pb.Role_ROLE_STREET_LEADER, pb.Role_ROLE_STREET_SECRETARY, pb.Role_ROLE_STREET_DIRECTOR,
	pb.Role_ROLE_DEPARTMENT_HEAD, pb.Role_ROLE_DUTY_LEADER,
}

// leaders are the roles that decide for the street that blew.
var leaders = []pb.Role{
	pb.Role_ROLE_STREET_LEADER, pb.Role_ROLE_STREET_SECRETARY, pb.Role_ROLE_STREET_DIRECTOR, pb.Role_ROLE_DEPARTMENT_HEAD,
	pb.Role_ROLE_DUTY_LEADER,
}

// byParticipant is the participant the actor acts for: the named unit, or the actor's own.
func (s *State) byParticipant(a *rule.Asked, unit string) (*Participant, error) {
	if err := a.Require(clerks...); err != nil {
		return nil, err
	}
	if unit == "" {
		unit = a.Actor.Unit
	}
	p := s.find(unit)
	if p == nil {
		return nil, rule.Bad("unit", rule.NotParticipant, "unit %q was not summoned", unit)
	}
	if !rule.Within(a.Registry, a.Actor.Unit, unit) {
		return nil, rule.Bad("unit", rule.OutOfScope, "unit %q is not yours", unit)
	}
	if p.State == pb.ParticipantState_PARTICIPANT_STATE_EXCUSED {
		return nil, rule.Bad("unit", rule.WrongState, "unit %q is excused", unit)
	}
	if err := s.in(under...); err != nil {
		return nil, err
	}
	return p, a.CheckTime(s.IssuedAt)
}

// byStreet refuses unless the actor is an officer of the street that blew, in one of the roles.
func (s *State) byStreet(a *rule.Asked, roles ...pb.Role) error {
	if err := a.Require(roles...); err != nil {
		return err
	}
	if !s.blewIt(a) {
		return rule.No(rule.OutOfScope, "the whistle was blown by unit %q, not by yours", s.Street)
	}
	return nil
}

// blewIt says whether the actor's unit is the one that blew, or one below it at its level: a district's streets are none of its own offices.
func (s *State) blewIt(a *rule.Asked) bool {
	_, own := a.Registry.Level(a.Actor.Unit)
	_, rank := a.Registry.Level(s.Street)
	return rule.Within(a.Registry, a.Actor.Unit, s.Street) && own == rank
}

// wrong refuses what cannot be done with a participant as it is.
func (p *Participant) wrong(format string, args ...any) error {
	return rule.Bad("unit", rule.WrongState, "unit %q is %s; "+format, append([]any{p.Unit, rule.Name(p.State)}, args...)...)
}

// expected says whether a participant is still to come.
func (p *Participant) expected() bool {
	return p.State <= pb.ParticipantState_PARTICIPANT_STATE_CONTACTED
}

// there says whether a participant is there.
func (p *Participant) there() bool {
	return p.State == pb.ParticipantState_PARTICIPANT_STATE_REPORTED_IN || p.State == pb.ParticipantState_PARTICIPANT_STATE_TASK_DONE
}

// settled says whether nothing of a participant's task is open: it is done or waived, or there is nobody to do it, who was excused or did not come.
// Who left early did not take the task along.
func (p *Participant) settled() bool {
	switch p.State {
	case pb.ParticipantState_PARTICIPANT_STATE_TASK_DONE, pb.ParticipantState_PARTICIPANT_STATE_RELEASED,
		pb.ParticipantState_PARTICIPANT_STATE_EXCUSED, pb.ParticipantState_PARTICIPANT_STATE_NO_SHOW:
		return true
	}
	return p.TaskWaived || !p.TaskDoneAt.IsZero()
}

// convened says whether every compulsory participant but one is accounted for: there, excused, absent, or gone already.
func (s *State) convened(but string) bool {
	return !slices.ContainsFunc(s.Participants, func(p Participant) bool { return p.Compulsory && p.Unit != but && p.expected() })
}

// matter is what limits and bans go by: the most urgent grade of the linked tickets, the category of the first of them that has one, else of
// the call item, and that item where the list has it.
type matter struct {
	grade    pb.Grade
	category string
	item     *pb.CallItem
}

// matterOf is that of a whistle for tickets and a call item.
func matterOf(a *rule.Asked, tickets []string, callItem string, at time.Time) matter {
	var m matter
	for _, id := range tickets {
		t := a.Linked[id]
		if g := t.GetGrade(); g != 0 && (m.grade == 0 || g < m.grade) {
			m.grade = g
		}
		if m.category == "" {
			m.category = t.GetCategory()
		}
	}
	if item, ok := a.Registry.CallItem(callItem, at); ok {
		m.item = item
		if m.category == "" {
			m.category = item.Category
		}
	}
	return m
}

func (s *State) matter(a *rule.Asked) matter { return matterOf(a, s.Tickets, s.CallItem, s.BlownAt) }

// summoned are the participants as events name them.
func (s *State) summoned() []*pb.Participant {
	participants := make([]*pb.Participant, len(s.Participants))
	for i := range s.Participants {
		participants[i] = s.Participants[i].Participant
	}
	return participants
}

// Message is the whistle as the contract shows it.
func (s *State) Message(id string) *pb.Whistle {
	m := &pb.Whistle{
		Name: "whistles/" + id, No: s.No, State: s.State, Kind: s.Kind, Street: s.Street, Path: s.Path, CallItem: s.CallItem,
		BlownAt: rule.Stamp(s.BlownAt), IssuedAt: rule.Stamp(s.IssuedAt), ClosedAt: rule.Stamp(s.ClosedAt), GatherAt: rule.Stamp(s.GatherAt),
		Position: s.Position, ScreenedBy: s.ScreenedBy, Resolved: s.Resolved, ReviewBy: rule.Stamp(s.ReviewBy),
		ReviewedAt: rule.Stamp(s.ReviewedAt), Justified: s.Justified, Provisional: s.Provisional,
		ResolveBy: rule.Stamp(s.ResolveBy), AlsoAffects: s.AlsoAffects, Helpers: s.Helpers,
	}
	if s.Parent != "" {
		m.Parent = "whistles/" + s.Parent
	}
	if s.Child != "" {
		m.Child = "whistles/" + s.Child
	}
	for _, t := range s.Tickets {
		m.Tickets = append(m.Tickets, "tickets/"+t)
	}
	for _, p := range s.Participants {
		m.Participants = append(m.Participants, &pb.ParticipantStatus{
			Participant: p.Participant, State: p.State, SignedAt: rule.Stamp(p.SignedAt), ContactedAt: rule.Stamp(p.ContactedAt),
			ReportedInAt: rule.Stamp(p.ReportedInAt), InTime: p.InTime, TaskDoneAt: rule.Stamp(p.TaskDoneAt), ReleasedAt: rule.Stamp(p.ReleasedAt),
			Response: p.Rated.GetResponse(), Cooperation: p.Rated.GetCooperation(), Result: p.Rated.GetResult(),
			LeftAt: rule.Stamp(p.LeftAt), TaskWaived: p.TaskWaived, ExcusePending: p.Excuse != nil, Replacement: p.Replacement,
			OtherRatings: uint32(len(p.Others)),
		})
	}
	return m
}
