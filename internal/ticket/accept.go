package ticket

import (
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/rule"
)

// accept: the matter is within remit (受理). Its instant is T0, which never changes. This system accepts for whoever trusts the system that
// reported the matter, if it is known where that lies, and a post of a problem wall.
func accept(s State, a *rule.Asked, c *pb.AcceptTicketRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_AGENT, pb.Role_ROLE_DISPATCHER, pb.Role_ROLE_SYSTEM); err != nil {
		return nil, err
	}
	bySystem := a.Acting == pb.Role_ROLE_SYSTEM
	fromWall := bySystem && s.OnWall() // a community admitted it to its wall and sent it on
	if !bySystem {
		if err := s.scope(a); err != nil {
			return nil, err
		}
	}
	if err := s.in(pb.TicketState_TICKET_STATE_REPORTED); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.ReportedAt); err != nil {
		return nil, err
	}
	if bySystem && !fromWall {
		switch {
		case !Trusted(a.Registry, s.Reporter, s.Holder, a.At):
			return nil, rule.No(rule.RoleNotAllowed, "this system accepts only what a connected system reported that is trusted here")
		case c.Area == "" && s.unlocated(a.Registry):
			return nil, rule.Bad("area", rule.UnknownArea, "it is not known where the matter lies")
		}
	}
	e := &pb.TicketAccepted{Path: s.Path, Holder: s.Holder, Sealed: a.Sealed}
	unnamed := s.Anonymous
	if p := c.GetParticulars().GetPetitioner(); p.GetAnonymous() || !anonymous(p) {
		unnamed = p.GetAnonymous()
		e.Anonymous, e.CallbackWanted = proto.Bool(unnamed), proto.Bool(s.CallbackWanted || p.GetCallbackWanted())
	}
	if c.GetParticulars().GetPetitioner().GetConfidential() {
		e.Confidentiality = pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL
	}
	for _, added := range elements(c.GetParticulars(), false) {
		if !slices.Contains(s.Elements, added) {
			e.Elements = append(e.Elements, added)
		}
	}
	if have := append(slices.Clone(s.Elements), e.Elements...); !fromWall && !unnamed && len(have) < 5 {
		return nil, rule.No(rule.FiveElementsNeeded, "name, time, place, cause and course are needed unless the petitioner is anonymous; missing: %s", missing(have))
	}
	if c.Area != "" {
		var err error
		if e.Path, e.Holder, err = place(a, "area", c.Area, a.OccurredAt); err != nil {
			return nil, err
		}
	} else {
		e.Path, e.Holder = s.placeNow(a)
	}
	e.Holder = above(a.Registry, e.Holder, s.ComplainedOf)
	e.HolderPath = a.Registry.UnitPath(e.Holder)
	d := s.toDispatch(a)
	from := a.OccurredAt
	if s.OnWall() {
		from = s.LearntAt
	}
	e.DispatchBy = d.by(calendar.Dispatch, from)
	e.Provisional = d.provisional
	if d.err != nil {
		return nil, d.err
	}
	return rule.One(e)
}

// Trusted says whether what an actor reported is accepted without anybody's word at the instant: a connected system that the holder, or a
// unit above it, trusts.
func Trusted(r rule.Registry, reporter *pb.Actor, holder string, at time.Time) bool {
	return reporter.GetRole() == pb.Role_ROLE_CONNECTED_SYSTEM && slices.ContainsFunc(r.UnitPath(holder), func(code string) bool {
		unit, ok := r.Unit(code, at)
		return ok && slices.Contains(unit.TrustedSystems, reporter.GetPerson())
	})
}

// unlocated says whether it is not known where the matter lies.
func (s *State) unlocated(r rule.Registry) bool {
	n, at := len(s.Path), r.Unlocated()
	return n == 0 || len(at) > 0 && s.Path[n-1].Code == at[len(at)-1].Code
}

// placeNow is the ticket's path and holder as it is accepted: the map may have changed since the report, and the path that counts is
// the one at acceptance.
func (s *State) placeNow(a *rule.Asked) ([]*pb.AreaNode, string) {
	if n := len(s.Path); n > 0 {
		if path, holder, err := place(a, "area", s.Path[n-1].Code, a.OccurredAt); err == nil {
			return path, holder
		}
	}
	return s.Path, s.Holder
}

// toDispatch computes the limits of a ticket that is accepted: with its category's grade while it has none of its own.
func (s *State) toDispatch(a *rule.Asked) *due {
	d := s.due(a)
	if category, ok := a.Registry.Category(s.Category, a.At); ok && s.Grade == pb.Grade_GRADE_UNSPECIFIED {
		d.grade = Column(category.Grade)
	}
	return d
}

func (s *State) accepted(at time.Time, e *pb.TicketAccepted) {
	s.AcceptedAt, s.Path, s.Holder = at, e.Path, e.Holder
	s.Elements = append(slices.Clip(s.Elements), e.Elements...)
	s.Accepted = e.Sealed
	if e.Anonymous != nil {
		s.Anonymous = e.GetAnonymous()
	}
	if e.CallbackWanted != nil {
		s.CallbackWanted = e.GetCallbackWanted()
	}
	if e.Confidentiality != 0 {
		s.Confidentiality = e.Confidentiality
	}
	s.Limits.AcceptBy, s.Limits.DispatchBy = time.Time{}, rule.Instant(e.DispatchBy)
}

func missing(have []pb.Element) string {
	var names []string
	for e := pb.Element_ELEMENT_NAME; e <= pb.Element_ELEMENT_COURSE; e++ {
		if !slices.Contains(have, e) {
			names = append(names, strings.ToLower(rule.Name(e)))
		}
	}
	return strings.Join(names, ", ")
}
