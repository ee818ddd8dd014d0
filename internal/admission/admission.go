// Package admission holds the rules of a community admission (社区准入): what the ban list keeps out of communities is let in for a time. One step,
// one file. The package is pure.
package admission

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// State is a community admission (社区准入), folded from its events. It is a value: copies may be changed apart, but what its slices and pointers lead to is
// shared and never changed.
type State struct {
	rule.Life[pb.AdmissionState]

	Applied *pb.Sealed // what was said to apply

	Item        string   // of the ban list
	Unit        string   // who applied
	Communities []string // the areas that have not objected
	Objected    []string
	DecidedBy   string // the unit that decides; one above it may as well
	Budget      uint64 // yuan
	Staff       uint32 // persons
	// ValidFrom and ValidTo are as applied for, and from ADMITTED on as admitted. It is in force from the first, not at the last.
	ValidFrom, ValidTo time.Time

	AppliedBy   *pb.Actor
	ReviewedBy  *pb.Actor // nil while nobody did
	Recommended bool
	AppliedAt   time.Time
	DecideBy    time.Time
	EndedAt     time.Time // refused, revoked or expired; zero until then
	Reason      string    // of a refusal or revocation
	Provisional bool      // a limit was computed with a calendar year that was not loaded
}

// Decide says what a command makes happen, or why not: a *rule.Refusal. No events and no error: it had been done before. Neither s nor
// what it points to is changed.
func Decide(s State, a *rule.Asked, command proto.Message) ([]proto.Message, error) {
	if c, ok := command.(*pb.ApplyForAdmissionRequest); ok {
		return apply(s, a, c)
	}
	if !s.Exists() {
		return nil, rule.Bad("name", rule.NotFound, "no such admission")
	}
	switch c := command.(type) {
	case *pb.ReviewAdmissionRequest:
		return review(s, a, c)
	case *pb.ObjectToAdmissionRequest:
		return object(s, a, c)
	case *pb.DecideAdmissionRequest:
		return decide(s, a, c)
	case *pb.RevokeAdmissionRequest:
		return revoke(s, a, c)
	case *pb.PassAdmissionTimerRequest:
		return passTimer(s, a, c)
	}
	return nil, fmt.Errorf("no rule for command %T", command)
}

// Evolve is the state after an event. An event that is not of this kind of stream is an error. s is not changed.
func Evolve(s State, meta *pb.EventMeta, event proto.Message) (State, error) {
	at := meta.GetOccurredAt().AsTime()
	switch e := event.(type) {
	case *pb.AdmissionApplied:
		s.applied(at, meta.GetActor(), e)
	case *pb.AdmissionReviewed:
		s.ReviewedBy, s.Recommended = meta.GetActor(), e.Recommended
	case *pb.CommunityObjected:
		s.communityObjected(e)
	case *pb.AdmissionAdmitted:
		s.Communities, s.ValidFrom, s.ValidTo = e.Communities, rule.Instant(e.ValidFrom), rule.Instant(e.ValidTo)
	case *pb.AdmissionRefused:
		s.EndedAt, s.Reason = at, e.Reason
	case *pb.AdmissionRevoked:
		s.EndedAt, s.Reason = at, e.Reason
	case *pb.AdmissionExpired:
		s.EndedAt = at
	default:
		return s, fmt.Errorf("%T is no event of an admission", event)
	}
	s.Sealed(event)
	s.Happened(meta, event, StateAfter(event))
	return s, nil
}

// StateAfter is the main state an event leads to; UNSPECIFIED for an event that changes no main state.
func StateAfter(event proto.Message) pb.AdmissionState {
	switch event.(type) {
	case *pb.AdmissionApplied:
		return pb.AdmissionState_ADMISSION_STATE_APPLIED
	case *pb.AdmissionReviewed:
		return pb.AdmissionState_ADMISSION_STATE_REVIEWED
	case *pb.AdmissionAdmitted:
		return pb.AdmissionState_ADMISSION_STATE_ADMITTED
	case *pb.AdmissionRefused:
		return pb.AdmissionState_ADMISSION_STATE_REFUSED
	case *pb.AdmissionRevoked:
		return pb.AdmissionState_ADMISSION_STATE_REVOKED
	case *pb.AdmissionExpired:
		return pb.AdmissionState_ADMISSION_STATE_EXPIRED
	}
	return pb.AdmissionState_ADMISSION_STATE_UNSPECIFIED
}

// Ended says whether nothing more can happen to an admission.
func Ended(s pb.AdmissionState) bool { return s > pb.AdmissionState_ADMISSION_STATE_ADMITTED }

// MaySee says whether somebody may know of it: everybody may.
func (s *State) MaySee(rule.Registry, rule.Actor, time.Time) bool { return true }

// in refuses unless it is in one of the states, and says which event put it where it is.
func (s *State) in(states ...pb.AdmissionState) error { return s.In("", "admission", states...) }

// pending are the states in which it waits to be decided.
var pending = []pb.AdmissionState{pb.AdmissionState_ADMISSION_STATE_APPLIED, pb.AdmissionState_ADMISSION_STATE_REVIEWED}

// decider refuses unless the actor is of the unit that decides or of one above it, in one of the roles.
func (s *State) decider(a *rule.Asked, roles ...pb.Role) error {
	if err := a.Require(roles...); err != nil {
		return err
	}
	if !rule.Within(a.Registry, s.DecidedBy, a.Actor.Unit) {
		return rule.No(rule.OutOfScope, "this is for unit %q, or one above it", s.DecidedBy)
	}
	return nil
}

// Message is the admission as the contract shows it.
func (s *State) Message(id string) *pb.Admission {
	return &pb.Admission{
		Name: "admissions/" + id, No: s.No, State: s.State, Item: s.Item, Unit: s.Unit, Communities: s.Communities, Objected: s.Objected,
		DecidedBy: s.DecidedBy, ValidFrom: rule.Stamp(s.ValidFrom), ValidTo: rule.Stamp(s.ValidTo), Budget: s.Budget, Staff: s.Staff,
		AppliedAt: rule.Stamp(s.AppliedAt), DecideBy: rule.Stamp(s.DecideBy), EndedAt: rule.Stamp(s.EndedAt), Reason: s.Reason,
		Provisional: s.Provisional,
	}
}
