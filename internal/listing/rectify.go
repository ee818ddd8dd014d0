package listing

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// heads are the roles that plan for an owner.
var heads = []pb.Role{
	pb.Role_ROLE_DEPARTMENT_HEAD, pb.Role_ROLE_STREET_SECRETARY, pb.Role_ROLE_STREET_DIRECTOR, pb.Role_ROLE_COMMUNITY_SECRETARY,
}

// staff are the roles that report for an owner.
var staff = append(slices.Clone(heads), pb.Role_ROLE_DEPARTMENT_CLERK, pb.Role_ROLE_STREET_CLERK, pb.Role_ROLE_STREET_LEADER, pb.Role_ROLE_COMMUNITY_CLERK)

// undone are the states in which the owner has to do something.
var undone = []pb.ListingState{pb.ListingState_LISTING_STATE_LISTED, pb.ListingState_LISTING_STATE_FAILED}

// byOwner refuses unless the actor belongs to the owner, in one of the roles.
func (s *State) byOwner(a *rule.Asked, roles ...pb.Role) error {
	if err := a.Require(roles...); err != nil {
		return err
	}
	if a.Actor.Unit != s.Liable {
		return rule.No(rule.OutOfScope, "unit %q has to put it right, not yours", s.Liable)
	}
	return nil
}

// plan: the owner says how it will be put right, who answers for that, and by when (整改方案). A later plan takes the place of an earlier one; after a
// check that failed another is needed.
func plan(s State, a *rule.Asked, c *pb.PlanRectificationRequest) ([]proto.Message, error) {
	if err := s.byOwner(a, heads...); err != nil {
		return nil, err
	}
	if err := s.in(undone...); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.Decided.At); err != nil {
		return nil, err
	}
	switch {
	case c.Person == "":
		return nil, rule.Bad("person", rule.MissingField, "is required")
	case len(c.Person) > maxPerson:
		return nil, rule.Bad("person", rule.FieldTooLong, "want at most %d characters", maxPerson)
	case c.ClearBy == nil:
		return nil, rule.Bad("clear_by", rule.MissingField, "is required")
	}
	if err := rule.Word("person", c.Person, rule.Printable); err != nil {
		return nil, err
	}
	if err := ahead(a, c.ClearBy.AsTime()); err != nil {
		return nil, err
	}
	if s.ClearBy.After(a.At) && c.ClearBy.AsTime().After(s.ClearBy) {
		return nil, rule.Bad("clear_by", rule.LimitLengthened, "lies after the day that the issuer set")
	}
	if err := said(c.GetParticulars().GetText()); err != nil {
		return nil, err
	}
	return rule.One(&pb.RectificationPlanned{Person: c.Person, ClearBy: c.ClearBy, Sealed: a.Sealed})
}

// maxPerson is the length of the longest staff reference.
const maxPerson = 64

func (s *State) planned(e *pb.RectificationPlanned) {
	s.Person, s.PlannedBy = e.Person, rule.Instant(e.ClearBy)
}

// report: the owner says that its plan was carried out, with evidence.
func report(s State, a *rule.Asked, c *pb.ReportRectifiedRequest) ([]proto.Message, error) {
	if err := s.byOwner(a, staff...); err != nil {
		return nil, err
	}
	if err := s.in(undone...); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.LastAt); err != nil {
		return nil, err
	}
	if s.Person == "" {
		return nil, rule.No(rule.RectificationNeeded, "there is no plan that could have been carried out")
	}
	if len(c.Attachments) == 0 {
		return nil, rule.Bad("attachments", rule.MissingField, "evidence is required")
	}
	if err := rule.Attachments(c.Attachments); err != nil {
		return nil, err
	}
	return rule.One(&pb.RectificationReported{Attachments: c.Attachments, Sealed: a.Sealed})
}

// check: somebody outside the owner looks whether it is as told (核查).
func check(s State, a *rule.Asked, c *pb.CheckRectificationRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_GRID_WORKER, pb.Role_ROLE_SUPERVISOR); err != nil {
		return nil, err
	}
	if rule.Within(a.Registry, a.Actor.Unit, s.Liable) {
		return nil, rule.No(rule.SeparationOfDuties, "whoever looks must not belong to unit %q, which has to put it right", s.Liable)
	}
	if !rule.Within(a.Registry, s.Liable, a.Actor.Unit) && !rule.Nearby(a.Registry, a.Actor.Unit, s.Path, a.At) {
		return nil, rule.No(rule.OutOfScope, "the problem lies neither in the area of your unit nor with a unit below it")
	}
	if err := s.in(pb.ListingState_LISTING_STATE_REPORTED_DONE); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.LastAt); err != nil {
		return nil, err
	}
	if err := rule.Attachments(c.Attachments); err != nil {
		return nil, err
	}
	return rule.One(&pb.RectificationChecked{Passed: c.Passed, Attachments: c.Attachments, Sealed: a.Sealed})
}

// checked: a plan that did not put it right holds no more.
func (s *State) checked(by *pb.Actor, e *pb.RectificationChecked) {
	if e.Passed {
		s.CheckedBy = by
		return
	}
	s.Failed++
	s.Person, s.PlannedBy = "", time.Time{}
}
