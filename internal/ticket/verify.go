package ticket

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/rule"
)

// verify: somebody outside the handling unit looks whether the result is as told (核查). A failed verification sends the
// ticket back in the same round; handle_by stays.
func verify(s State, a *rule.Asked, c *pb.VerifyResultRequest) ([]proto.Message, error) {
	roles := []pb.Role{pb.Role_ROLE_GRID_WORKER, pb.Role_ROLE_SUPERVISOR}
	if s.SolvedOnWall { // the community looks at what its grids solve
		roles = append(roles, pb.Role_ROLE_COMMUNITY_CLERK, pb.Role_ROLE_COMMUNITY_SECRETARY)
	}
	if err := a.Require(roles...); err != nil {
		return nil, err
	}
	if err := s.scope(a); err != nil && !(a.Acting == pb.Role_ROLE_GRID_WORKER && s.nearby(a)) {
		return nil, err
	}
	for _, unit := range append([]string{s.Lead, s.ComplainedOf}, s.Co...) {
		if rule.Within(a.Registry, a.Actor.Unit, unit) {
			return nil, rule.No(rule.SeparationOfDuties, "whoever verifies must not belong to unit %q, which handles the matter or is complained of", unit)
		}
	}
	if err := s.in(pb.TicketState_TICKET_STATE_RESULT_SUBMITTED); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.SubmittedAt); err != nil {
		return nil, err
	}
	if err := rule.Attachments(c.Attachments); err != nil {
		return nil, err
	}
	if !c.Passed {
		return rule.One(&pb.VerificationFailed{OnSite: c.OnSite, Attachments: c.Attachments, Rework: s.Rework + 1, Sealed: a.Sealed})
	}
	d := s.due(a)
	e := &pb.VerificationPassed{OnSite: c.OnSite, Attachments: c.Attachments, CallbackBy: d.by(calendar.Callback, a.OccurredAt), Sealed: a.Sealed}
	e.Provisional = d.provisional
	if d.err != nil {
		return nil, d.err
	}
	return rule.One(e)
}

// nearby says whether the matter lies where the actor patrols: the actor's area is on the ticket's path, or below its place. A confidential
// one is shown to nobody for that.
func (s *State) nearby(a *rule.Asked) bool {
	unit, ok := a.Registry.Unit(a.Actor.Unit, a.At)
	if !ok || len(s.Path) == 0 || s.Confidentiality == pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL {
		return false
	}
	leaf := s.Path[len(s.Path)-1].Code
	if slices.ContainsFunc(s.Path, func(n *pb.AreaNode) bool { return n.Code == unit.Area }) {
		return true
	}
	path, _ := a.Registry.Path(unit.Area, a.At)
	return slices.ContainsFunc(path, func(n *pb.AreaNode) bool { return n.Code == leaf })
}

func (s *State) verificationPassed(at time.Time, by *pb.Actor, e *pb.VerificationPassed) {
	s.Verified, s.VerifiedAt, s.Verifier = true, at, by
	s.Limits.VerifyBy, s.Limits.CallbackBy = time.Time{}, rule.Instant(e.CallbackBy)
}

func (s *State) verificationFailed(e *pb.VerificationFailed) {
	s.Rework = e.Rework
	s.noResult()
}
