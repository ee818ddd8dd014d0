package whistle

import (
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/rule"
)

// blowers are the roles that may blow each kind of whistle. A tough one needs both, the second in their own name.
var blowers = map[pb.WhistleKind][]pb.Role{
	pb.WhistleKind_WHISTLE_KIND_ROUTINE:     {pb.Role_ROLE_STREET_LEADER, pb.Role_ROLE_STREET_SECRETARY, pb.Role_ROLE_STREET_DIRECTOR, pb.Role_ROLE_DEPARTMENT_HEAD},
	pb.WhistleKind_WHISTLE_KIND_ENFORCEMENT: {pb.Role_ROLE_STREET_LEADER, pb.Role_ROLE_STREET_SECRETARY, pb.Role_ROLE_STREET_DIRECTOR},
	pb.WhistleKind_WHISTLE_KIND_TOUGH:       {pb.Role_ROLE_STREET_SECRETARY, pb.Role_ROLE_STREET_DIRECTOR},
	pb.WhistleKind_WHISTLE_KIND_EMERGENCY:   {pb.Role_ROLE_STREET_CLERK, pb.Role_ROLE_STREET_LEADER, pb.Role_ROLE_STREET_SECRETARY, pb.Role_ROLE_STREET_DIRECTOR},
}

// blow: a lower level summons units it has no authority over (吹哨). An emergency whistle is issued at once and looked at
// afterwards; any other is screened by the lowest unit that commands the street and all participants.
func blow(s State, a *rule.Asked, c *pb.BlowWhistleRequest) ([]proto.Message, error) {
	if s.Exists() {
		return sign2(s, a, c)
	}
	if c.Name != "" {
		return nil, rule.Bad("name", rule.NotFound, "no such whistle")
	}
	roles, ok := blowers[c.Kind]
	if !ok {
		return nil, rule.Bad("kind", rule.MissingField, "is required")
	}
	if err := a.Require(roles...); err != nil {
		return nil, err
	}
	if err := a.CheckTime(time.Time{}); err != nil {
		return nil, err
	}
	street, ok := a.Registry.Unit(a.Actor.Unit, a.At)
	if !ok {
		return nil, rule.No(rule.UnknownUnit, "your unit %q is not active today", a.Actor.Unit)
	}
	if c.CallItem == "" && c.GetParticulars().GetText() == "" {
		return nil, rule.Bad("call_item", rule.MissingField, "an item of the call-item list or a reason in particulars.text is required")
	}
	var grade pb.Grade
	area := c.Area
	var ids []string
	for i, name := range c.Tickets {
		id := strings.TrimPrefix(name, "tickets/")
		if slices.Contains(ids, id) {
			return nil, rule.Bad(rule.Index("tickets", i), rule.BadField, "is named twice")
		}
		ids = append(ids, id)
		t, err := inHand(a, i, id, street.Code)
		if err != nil {
			return nil, err
		}
		if area == "" && len(t.Path) > 0 {
			area = t.Path[len(t.Path)-1].Code
		}
		if t.Grade != 0 && (grade == 0 || t.Grade < grade) {
			grade = t.Grade
		}
	}
	if area == "" {
		area = street.Area
	}
	path, ok := a.Registry.Path(area, a.OccurredAt)
	if !ok && area == "UNLOCATED" {
		path, ok = a.Registry.Unlocated(), true
	}
	if !ok {
		return nil, rule.Bad("area", rule.UnknownArea, "no area %q is valid at that time", area)
	}
	participants, err := summon(a, street.Code, nil, c.Summons)
	if err != nil {
		return nil, err
	}
	screener := commander(a.Registry, street.Code, participants)
	if screener == "" {
		return nil, rule.Bad("summons", rule.OutOfScope, "no unit commands both yours and all that are summoned")
	}
	if c.Kind == pb.WhistleKind_WHISTLE_KIND_TOUGH {
		return rule.One(&pb.WhistleDrafted{
			No: a.No, Kind: c.Kind, Tickets: ids, Street: street.Code, Path: path, CallItem: c.CallItem, Participants: participants,
			GatherAt: c.GatherAt, Position: c.Position, ScreenedBy: screener, Sealed: a.Sealed,
		})
	}
	blown := &pb.WhistleBlown{
		No: a.No, Kind: c.Kind, Tickets: ids, Street: street.Code, Path: path, CallItem: c.CallItem, Participants: participants,
		GatherAt: c.GatherAt, Position: c.Position, ScreenedBy: screener, Sealed: a.Sealed,
	}
	if c.Kind != pb.WhistleKind_WHISTLE_KIND_EMERGENCY {
		return rule.One(blown)
	}
	issued, err := issue(a, c.Kind, grade, participants)
	if err != nil {
		return nil, err
	}
	issued.ReviewBy = rule.Stamp(a.OccurredAt.Add(reviewAfter))
	return []proto.Message{blown, issued}, nil
}

// inHand is a ticket that a unit blows for. It refuses one that the unit, or one below it, does not handle, and a whistle older
// than that.
func inHand(a *rule.Asked, i int, id, street string) (*pb.Ticket, error) {
	t := a.Linked[id]
	if t == nil {
		return nil, rule.Bad(rule.Index("tickets", i), rule.NotFound, "no such ticket")
	}
	if t.State != pb.TicketState_TICKET_STATE_HANDLING || !rule.Within(a.Registry, t.Holder, street) {
		return nil, rule.Bad(rule.Index("tickets", i), rule.TicketNotInHand, "the ticket is not being handled by the unit that blows or one below it")
	}
	return t, a.CheckTime(rule.Instant(t.DispatchedAt))
}

// reviewAfter is how soon an emergency whistle must be looked at after the fact.
const reviewAfter = 24 * time.Hour

// sign2: the second signature under a tough whistle, by the other of secretary and director.
func sign2(s State, a *rule.Asked, c *pb.BlowWhistleRequest) ([]proto.Message, error) {
	if c.Name == "" {
		return nil, nil
	}
	if err := s.byStreet(a, blowers[pb.WhistleKind_WHISTLE_KIND_TOUGH]...); err != nil {
		return nil, err
	}
	if err := s.in(pb.WhistleState_WHISTLE_STATE_DRAFT); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.DraftedAt); err != nil {
		return nil, err
	}
	// Whoever holds both roles signs in the one that is missing.
	missing := pb.Role_ROLE_STREET_SECRETARY
	if s.DraftedBy.GetRole() == missing {
		missing = pb.Role_ROLE_STREET_DIRECTOR
	}
	if s.DraftedBy.GetPerson() == a.Actor.Person || a.Require(missing) != nil {
		return nil, rule.No(rule.SecondPersonNeeded, "a tough whistle needs secretary and director, two persons; %s has signed", s.DraftedBy.GetRole())
	}
	if a.Sealed != nil {
		return nil, rule.Bad("particulars", rule.BadField, "the draft's are signed; leave them out")
	}
	for i, id := range s.Tickets {
		if _, err := inHand(a, i, id, s.Street); err != nil {
			return nil, err
		}
	}
	participants := make([]*pb.Participant, len(s.Participants))
	for i := range s.Participants {
		participants[i] = s.Participants[i].Participant
	}
	return rule.One(&pb.WhistleBlown{
		No: s.No, Kind: s.Kind, Tickets: s.Tickets, Street: s.Street, Path: s.Path, CallItem: s.CallItem, Participants: participants,
		GatherAt: rule.Stamp(s.GatherAt), Position: s.Position, ScreenedBy: s.ScreenedBy, DraftedBy: s.DraftedBy, Sealed: s.Blown,
	})
}

// summon checks the named units and adds them to those that are summoned already.
func summon(a *rule.Asked, street string, have []*pb.Participant, named []*pb.Summons) ([]*pb.Participant, error) {
	participants := slices.Clone(have)
	for i, n := range named {
		field := rule.Index("summons", i) + ".unit"
		if have != nil {
			field = rule.Index("added", i) + ".unit"
		}
		if n.Unit == "" {
			return nil, rule.Bad(field, rule.MissingField, "is required")
		}
		if _, ok := a.Registry.Unit(n.Unit, a.At); !ok {
			return nil, rule.Bad(field, rule.UnknownUnit, "no unit %q is active today", n.Unit)
		}
		if rule.Within(a.Registry, n.Unit, street) {
			return nil, rule.Bad(field, rule.BadField, "unit %q is below yours; dispatch to it instead", n.Unit)
		}
		if slices.ContainsFunc(participants, func(p *pb.Participant) bool { return p.Unit == n.Unit }) {
			return nil, rule.Bad(field, rule.BadField, "unit %q is summoned twice", n.Unit)
		}
		participants = append(participants, &pb.Participant{Unit: n.Unit, Compulsory: !n.Optional, UnitPath: a.Registry.UnitPath(n.Unit)})
	}
	if !slices.ContainsFunc(participants, func(p *pb.Participant) bool { return p.Compulsory }) {
		return nil, rule.Bad("summons", rule.MissingField, "at least one unit must be summoned that has to come")
	}
	return participants, nil
}

// commander is the lowest unit that commands the street and all participants: two districts go to the city.
func commander(r rule.Registry, street string, participants []*pb.Participant) string {
	units := []string{street}
	for _, p := range participants {
		units = append(units, p.Unit)
	}
	return rule.CommonUnit(r, units...)
}

// issue sets the participants' limits.
func issue(a *rule.Asked, kind pb.WhistleKind, grade pb.Grade, participants []*pb.Participant) (*pb.WhistleIssued, error) {
	column, err := column(kind, grade)
	if err != nil {
		return nil, err
	}
	e := &pb.WhistleIssued{Sealed: a.Sealed}
	var guessed [3]bool
	for _, p := range participants {
		p = proto.CloneOf(p)
		var errs [3]error
		var by time.Time
		by, guessed[0], errs[0] = a.Due(calendar.WhistleSign, column, a.OccurredAt)
		p.SignBy = rule.Stamp(by)
		by, guessed[1], errs[1] = a.Due(calendar.WhistleContact, column, a.OccurredAt)
		p.ContactBy = rule.Stamp(by)
		by, guessed[2], errs[2] = a.Due(calendar.WhistleReportIn, column, a.OccurredAt)
		p.ReportInBy = rule.Stamp(by)
		for _, err := range errs {
			if err != nil {
				return nil, rule.No(rule.DeadlineOutOfRange, "a limit cannot be computed from that time")
			}
		}
		e.Provisional = e.Provisional || slices.Contains(guessed[:], true)
		e.Participants = append(e.Participants, p)
	}
	return e, nil
}

// column is where a whistle's limits stand in a deadline profile.
func column(kind pb.WhistleKind, grade pb.Grade) (string, error) {
	g := ""
	switch grade {
	case pb.Grade_GRADE_G0:
		g = calendar.G0
	case pb.Grade_GRADE_G1:
		g = calendar.G1
	}
	return calendar.WhistleGrade(kind.String()[len("WHISTLE_KIND_"):], g)
}

func (s *State) drafted(at time.Time, by *pb.Actor, e *pb.WhistleDrafted) {
	s.DraftedAt, s.DraftedBy = at, by
	s.summoned(e.No, e.Kind, e.Tickets, e.Street, e.Path, e.CallItem, e.Participants, rule.Instant(e.GatherAt), e.Position, e.ScreenedBy, e.Sealed)
}

func (s *State) blown(at time.Time, e *pb.WhistleBlown) {
	s.BlownAt = at
	s.summoned(e.No, e.Kind, e.Tickets, e.Street, e.Path, e.CallItem, e.Participants, rule.Instant(e.GatherAt), e.Position, e.ScreenedBy, e.Sealed)
}

func (s *State) summoned(no string, kind pb.WhistleKind, tickets []string, street string, path []*pb.AreaNode, item string,
	participants []*pb.Participant, gatherAt time.Time, position *pb.LonLat, screenedBy string, box *pb.Sealed) {
	s.No, s.Kind, s.Tickets, s.Street, s.Path, s.CallItem = no, kind, tickets, street, path, item
	s.GatherAt, s.Position, s.ScreenedBy, s.Blown = gatherAt, position, screenedBy, box
	s.Participants = nil
	for _, p := range participants {
		s.Participants = append(s.Participants, Participant{Participant: p, State: pb.ParticipantState_PARTICIPANT_STATE_PENDING})
	}
}

func (s *State) issued(at time.Time, e *pb.WhistleIssued) {
	s.IssuedAt, s.ReviewBy, s.Provisional = at, rule.Instant(e.ReviewBy), e.Provisional
	s.Participants = nil
	for _, p := range e.Participants {
		s.Participants = append(s.Participants, Participant{Participant: p, State: pb.ParticipantState_PARTICIPANT_STATE_PENDING})
	}
}
