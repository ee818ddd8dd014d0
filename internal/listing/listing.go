// Package listing holds the rules of a listed problem (挂牌) that is no ticket: a unit above lists it, the owner plans how to put it right and says
// when that is done, somebody else looks, and the issuer clears it (销号). One step, one file. The package is pure.
package listing

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// State is a listed problem (挂牌) that is no ticket, folded from its events. It is a value: copies may be changed apart, but what its slices and pointers lead to is
// shared and never changed.
type State struct {
	rule.Life[pb.ListingState]

	Origin      pb.ListingOrigin
	Path        []*pb.AreaNode
	Liable      string // the unit that has to put it right
	Issuer      string // the unit that listed it
	Level       string // the issuer's when it did
	Provisional bool   // a limit was computed with a calendar year that was not loaded
	Listed      *pb.Sealed

	Person    string    // who answers for the plan that holds; empty while there is none
	PlannedBy time.Time // by when that plan is carried out
	Failed    uint32    // how often a check found it not done
	CheckedBy *pb.Actor // who found it done; nil while nobody did
	Accounts  []pb.AccountKind

	ListedAt  time.Time
	PlanBy    time.Time
	ClearBy   time.Time
	ClearedAt time.Time // zero while it is not

	PlanMissed  bool // its timer has fired
	ClearMissed bool
}

// Decide says what a command makes happen, or why not: a *rule.Refusal. No events and no error: it had been done before. Neither s nor
// what it points to is changed.
func Decide(s State, a *rule.Asked, command proto.Message) ([]proto.Message, error) {
	if c, ok := command.(*pb.ListProblemRequest); ok {
		return list(s, a, c)
	}
	if !s.Exists() {
		return nil, rule.Bad("name", rule.NotFound, "no such listing")
	}
	switch c := command.(type) {
	case *pb.PlanRectificationRequest:
		return plan(s, a, c)
	case *pb.ReportRectifiedRequest:
		return report(s, a, c)
	case *pb.CheckRectificationRequest:
		return check(s, a, c)
	case *pb.ClearListedProblemRequest:
		return clearProblem(s, a, c)
	case *pb.HoldToAccountRequest:
		return account(s, a, c)
	case *pb.PassListingTimerRequest:
		return passTimer(s, a, c)
	}
	return nil, fmt.Errorf("no rule for command %T", command)
}

// Evolve is the state after an event. An event that is not of this kind of stream is an error. s is not changed.
func Evolve(s State, meta *pb.EventMeta, event proto.Message) (State, error) {
	at := meta.GetOccurredAt().AsTime()
	switch e := event.(type) {
	case *pb.ProblemListed:
		s.listed(at, e)
	case *pb.RectificationPlanned:
		s.planned(e)
	case *pb.RectificationReported:
	case *pb.RectificationChecked:
		s.checked(meta.GetActor(), e)
	case *pb.ListedProblemCleared:
		s.ClearedAt = at
	case *pb.OwnerAccounted:
		s.Accounts = append(slices.Clip(s.Accounts), e.Kind)
	case *pb.ListingTimerPassed:
		s.timerPassed(e)
	default:
		return s, fmt.Errorf("%T is no event of a listing", event)
	}
	s.Sealed(event)
	s.Happened(meta, event, StateAfter(event))
	return s, nil
}

// StateAfter is the main state an event leads to; UNSPECIFIED for an event that changes no main state.
func StateAfter(event proto.Message) pb.ListingState {
	switch e := event.(type) {
	case *pb.ProblemListed:
		return pb.ListingState_LISTING_STATE_LISTED
	case *pb.RectificationReported:
		return pb.ListingState_LISTING_STATE_REPORTED_DONE
	case *pb.RectificationChecked:
		if e.Passed {
			return pb.ListingState_LISTING_STATE_CHECKED
		}
		return pb.ListingState_LISTING_STATE_FAILED
	case *pb.ListedProblemCleared:
		return pb.ListingState_LISTING_STATE_CLEARED
	}
	return pb.ListingState_LISTING_STATE_UNSPECIFIED
}

// MaySee says whether somebody may know of it at the instant: the owner and those below it, the units above the owner, of which the issuer is one, any
// auditor, and while it waits to be looked at, who may look.
func (s *State) MaySee(r rule.Registry, who rule.Actor, at time.Time) bool {
	if slices.Contains(who.Roles, pb.Role_ROLE_AUDITOR) || rule.Within(r, s.Liable, who.Unit) || rule.Within(r, who.Unit, s.Liable) || s.issuedBelow(r, who.Unit) {
		return true
	}
	return s.State == pb.ListingState_LISTING_STATE_REPORTED_DONE &&
		(slices.Contains(who.Roles, pb.Role_ROLE_GRID_WORKER) || slices.Contains(who.Roles, pb.Role_ROLE_SUPERVISOR)) && rule.Nearby(r, who.Unit, s.Path, at)
}

// Open says whether it still has to be cleared.
func (s *State) Open() bool { return s.Exists() && s.State != pb.ListingState_LISTING_STATE_CLEARED }

// Overdue says whether at the instant it was not cleared by the day set, or had not been.
func (s *State) Overdue(at time.Time) bool {
	if !s.Open() {
		at = s.ClearedAt
	}
	return !s.ClearBy.IsZero() && at.Truncate(time.Second).After(s.ClearBy)
}

// in refuses unless it is in one of the states, and says which event put it where it is.
func (s *State) in(states ...pb.ListingState) error { return s.In("", "listing", states...) }

// issuedBelow says whether the unit is the issuer or stands above it; where the map has the issuer no more, whether it stands at the issuer's level or
// a higher one.
func (s *State) issuedBelow(r rule.Registry, unit string) bool {
	if len(r.UnitPath(s.Issuer)) > 0 {
		return rule.Within(r, s.Issuer, unit)
	}
	_, rank := r.Level(unit)
	return rank > 0 && rank <= max(r.Rank(s.Level), 1)
}

// byIssuer refuses unless the actor supervises for the issuer or a unit above it.
func (s *State) byIssuer(a *rule.Asked) error {
	if err := a.Require(pb.Role_ROLE_SUPERVISOR); err != nil {
		return err
	}
	if !s.issuedBelow(a.Registry, a.Actor.Unit) {
		return rule.No(rule.OutOfScope, "unit %q listed the problem; only it or a unit above it does this", s.Issuer)
	}
	return nil
}

// said refuses an empty text of the particulars.
func said(text string) error {
	if text == "" {
		return rule.Bad("particulars.text", rule.MissingField, "is required")
	}
	return nil
}

// Message is the listing as the contract shows it, without particulars. Whether it is overdue depends on the clock; see Overdue.
func (s *State) Message(id string) *pb.Listing {
	return &pb.Listing{
		Name: "listings/" + id, No: s.No, State: s.State, Origin: s.Origin, Path: s.Path, Owner: s.Liable, Issuer: s.Issuer, Level: s.Level,
		Person: s.Person, ListedAt: rule.Stamp(s.ListedAt), PlanBy: rule.Stamp(s.PlanBy), ClearBy: rule.Stamp(s.ClearBy),
		ClearedAt: rule.Stamp(s.ClearedAt), Failed: s.Failed, Accounts: s.Accounts, Provisional: s.Provisional,
	}
}
