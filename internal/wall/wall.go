// Package wall holds the rules of a post of a problem wall (问题墙): a resident puts a problem on the child wall of a grid or compound, the grid
// worker solves it or lifts it to the community's mother wall, it goes on as a ticket, and the wall hears what became of it (回音). One step, one
// file. The package is pure.
package wall

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// State is a post of a problem wall (问题墙), folded from its events. It is a value: copies may be changed apart, but what its slices and pointers lead to is
// shared and never changed.
type State struct {
	rule.Life[pb.PostState] // whose Subject is the poster, whoever speaks later

	Path        []*pb.AreaNode // of the wall it stands on now
	PostedPath  []*pb.AreaNode // of the wall it was posted on
	Keeper      string         // the unit that has the wall it stands on now
	PostedTo    string         // the unit that has the wall it was posted on
	Mother      bool           // it stands on a community's mother wall
	Category    string         // what the poster took it for, then what screening did; may be empty before that
	Anonymous   bool
	Tags        []string
	Position    *pb.LonLat
	Attachments []*pb.Attachment // of the post and of its solution
	Published   *pb.Sealed       // what the poster said
	Words       *pb.Sealed       // the public words of screening, in reply
	Solution    *pb.Sealed       // the result echo of a self-solved post, in reply

	PostedAt, ScreenedAt, LiftedAt, SolvedAt time.Time
	EndedAt                                  time.Time // when it was refused, solved on the wall, or its result was echoed

	Drawn   bool   // a self-solved post is looked at by the community
	Percent uint32 // how many of a hundred are

	Supporters []string // data subjects, each once
	JointUnits []string // in the order in which they first took part, each once
	Echo       pb.EchoKind
	Echoes     []Echo // of its ticket

	Reviewers    []string // data subjects, each once
	ReviewPoints uint32
}

// Echo is an echo of a ticket that was told to the post. Its words stand with the ticket.
type Echo struct {
	Kind    pb.EchoKind
	Ticket  string // id
	Version uint64 // of the EchoPublished in the ticket's stream
	At      time.Time
}

// Decide says what a command makes happen, or why not: a *rule.Refusal. No events and no error: it had been done before. Neither s nor
// what it points to is changed.
func Decide(s State, a *rule.Asked, command proto.Message) ([]proto.Message, error) {
	if c, ok := command.(*pb.PostOnWallRequest); ok {
		return publish(s, a, c)
	}
	if !s.Exists() {
		return nil, rule.Bad("name", rule.NotFound, "no such post")
	}
	switch c := command.(type) {
	case *pb.ScreenPostRequest:
		return screen(s, a, c)
	case *pb.SupportPostRequest:
		return support(s, a, c)
	case *pb.SelfSolvePostRequest:
		return selfSolve(s, a, c)
	case *pb.LiftPostRequest:
		return lift(s, a, c)
	case *pb.TicketPostRequest:
		return toTicket(s, a, c)
	case *pb.RecordJointHandlingRequest:
		return jointHandling(s, a, c)
	case *pb.RecordJointSolvingRequest:
		return jointSolving(s, a, c)
	case *pb.PostEchoed:
		return hear(s, a, c)
	case *pb.ReviewPostRequest:
		return review(s, a, c)
	}
	return nil, fmt.Errorf("no rule for command %T", command)
}

// Evolve is the state after an event. An event that is not of this kind of stream is an error. s is not changed.
func Evolve(s State, meta *pb.EventMeta, event proto.Message) (State, error) {
	at := meta.GetOccurredAt().AsTime()
	switch e := event.(type) {
	case *pb.PostPublished:
		s.published(at, e)
	case *pb.PostScreened:
		s.screened(at, e)
	case *pb.PostRefused:
		s.EndedAt = at
	case *pb.PostSupported:
		s.Supporters = append(slices.Clip(s.Supporters), e.Resident)
	case *pb.PostSelfSolved:
		s.selfSolved(at, e)
	case *pb.PostLifted:
		s.lifted(at, e)
	case *pb.PostTicketed:
	case *pb.PostJointlyHandled:
		s.join(e.Units)
	case *pb.PostJointlySolved:
		s.join(e.Units)
	case *pb.PostEchoed:
		s.echoed(at, e)
	case *pb.PostReviewed:
		s.Reviewers, s.ReviewPoints = append(slices.Clip(s.Reviewers), e.Resident), s.ReviewPoints+e.Score
	default:
		return s, fmt.Errorf("%T is no event of a wall", event)
	}
	s.Happened(meta, event, s.leads(event))
	return s, nil
}

// StateAfter is the main state an event leads to; UNSPECIFIED for an event that changes none. A result echo leads there from TICKETED alone: a
// post that was solved on the wall, or reviewed, stays so.
func StateAfter(event proto.Message) pb.PostState {
	switch e := event.(type) {
	case *pb.PostPublished:
		return pb.PostState_POST_STATE_POSTED
	case *pb.PostScreened:
		return pb.PostState_POST_STATE_SCREENED
	case *pb.PostRefused:
		return pb.PostState_POST_STATE_REFUSED
	case *pb.PostSelfSolved:
		return pb.PostState_POST_STATE_SELF_SOLVED
	case *pb.PostLifted:
		return pb.PostState_POST_STATE_LIFTED
	case *pb.PostTicketed:
		return pb.PostState_POST_STATE_TICKETED
	case *pb.PostEchoed:
		if e.Kind == pb.EchoKind_ECHO_KIND_RESULT {
			return pb.PostState_POST_STATE_ECHOED
		}
	case *pb.PostReviewed:
		return pb.PostState_POST_STATE_REVIEWED
	}
	return pb.PostState_POST_STATE_UNSPECIFIED
}

// leads is the main state that an event leads to which happens now; UNSPECIFIED if to no other than it is in.
func (s *State) leads(event proto.Message) pb.PostState {
	after := StateAfter(event)
	if after == s.State || after == pb.PostState_POST_STATE_ECHOED && s.State != pb.PostState_POST_STATE_TICKETED {
		return pb.PostState_POST_STATE_UNSPECIFIED
	}
	return after
}

// Public says whether it stands on a wall for everybody: it was admitted.
func (s *State) Public() bool {
	switch s.State {
	case pb.PostState_POST_STATE_UNSPECIFIED, pb.PostState_POST_STATE_POSTED, pb.PostState_POST_STATE_REFUSED:
		return false
	}
	return true
}

// MaySee says whether somebody may know of it at the instant: anybody once it was admitted; before that, and of a refused one, the unit that has the
// wall, those below and above it, and any auditor.
func (s *State) MaySee(r rule.Registry, who rule.Actor, _ time.Time) bool {
	return s.Public() || slices.Contains(who.Roles, pb.Role_ROLE_AUDITOR) ||
		rule.Within(r, who.Unit, s.Keeper) || rule.Within(r, s.Keeper, who.Unit)
}

// in refuses unless the post is in one of the states, and says which event put it where it is.
func (s *State) in(states ...pb.PostState) error { return s.In("", "post", states...) }

// fromKeeper refuses who neither belongs to the unit that has the wall nor stands above it.
func (s *State) fromKeeper(a *rule.Asked) error {
	if rule.Within(a.Registry, s.Keeper, a.Actor.Unit) {
		return nil
	}
	return rule.No(rule.OutOfScope, "unit %q has the wall, which is not below yours", s.Keeper)
}

// ofKeeper refuses who does not belong to the unit that has the wall.
func (s *State) ofKeeper(a *rule.Asked) error {
	if rule.Within(a.Registry, a.Actor.Unit, s.Keeper) {
		return nil
	}
	return rule.No(rule.OutOfScope, "unit %q has the wall, not yours", s.Keeper)
}

// around refuses who neither belongs to the unit that has the wall nor stands above it. A resident may live anywhere.
func around(a *rule.Asked, keeper string) error {
	if a.Acting == pb.Role_ROLE_CITIZEN || rule.Within(a.Registry, keeper, a.Actor.Unit) || rule.Within(a.Registry, a.Actor.Unit, keeper) {
		return nil
	}
	return rule.No(rule.OutOfScope, "unit %q has the wall, which is neither above nor below yours", keeper)
}

// units refuses units that are unknown, named twice, too many or none.
func units(a *rule.Asked, list []string, least int) error {
	if len(list) < least {
		return rule.Bad("units", rule.MissingField, "is required")
	}
	for i, u := range list {
		if _, ok := a.Registry.Unit(u, a.At); !ok {
			return rule.Bad(rule.Index("units", i), rule.UnknownUnit, "no unit %q is active today", u)
		}
		if slices.Contains(list[:i], u) {
			return rule.Bad(rule.Index("units", i), rule.BadField, "unit %q is named twice", u)
		}
	}
	return nil
}

// Message is the post as the contract shows it, without its words and echoes.
func (s *State) Message(id string) *pb.Post {
	m := &pb.Post{
		Name: "posts/" + id, No: s.No, State: s.State, Path: s.Path, PostedPath: s.PostedPath, Keeper: s.Keeper, Category: s.Category, Tags: s.Tags,
		PostedAt: rule.Stamp(s.PostedAt), ScreenedAt: rule.Stamp(s.ScreenedAt), LiftedAt: rule.Stamp(s.LiftedAt), EndedAt: rule.Stamp(s.EndedAt),
		Supports: uint32(len(s.Supporters)), Echo: s.Echo, Position: s.Position, JointUnits: s.JointUnits,
		Reviews: uint32(len(s.Reviewers)), ReviewPoints: s.ReviewPoints,
	}
	switch s.State {
	case pb.PostState_POST_STATE_SELF_SOLVED, pb.PostState_POST_STATE_TICKETED, pb.PostState_POST_STATE_ECHOED, pb.PostState_POST_STATE_REVIEWED:
		m.Ticket = "tickets/" + id
	}
	return m
}
