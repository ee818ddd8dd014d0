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

// blowers are the roles that may blow each kind of whistle: of a district its duty leader. A tough one needs both, the second in their own name.
var blowers = map[pb.WhistleKind][]pb.Role{
	pb.WhistleKind_WHISTLE_KIND_ROUTINE:     {pb.Role_ROLE_STREET_LEADER, pb.Role_ROLE_STREET_SECRETARY, pb.Role_ROLE_STREET_DIRECTOR, pb.Role_ROLE_DEPARTMENT_HEAD, pb.Role_ROLE_DUTY_LEADER},
	pb.WhistleKind_WHISTLE_KIND_ENFORCEMENT: {pb.Role_ROLE_STREET_LEADER, pb.Role_ROLE_STREET_SECRETARY, pb.Role_ROLE_STREET_DIRECTOR, pb.Role_ROLE_DUTY_LEADER},
	pb.WhistleKind_WHISTLE_KIND_TOUGH:       {pb.Role_ROLE_STREET_SECRETARY, pb.Role_ROLE_STREET_DIRECTOR},
	pb.WhistleKind_WHISTLE_KIND_EMERGENCY:   {pb.Role_ROLE_STREET_CLERK, pb.Role_ROLE_STREET_LEADER, pb.Role_ROLE_STREET_SECRETARY, pb.Role_ROLE_STREET_DIRECTOR, pb.Role_ROLE_DUTY_LEADER},
}

// blow: a lower level summons units it has no authority over (吹哨). An emergency whistle is issued at once and looked at
// afterwards; any other is screened by the lowest unit that commands the street and all participants. An item of the call-item list says by
// itself what it is about, and who comes where nobody is named; a matter beside the list needs a reason.
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
	if rule.BelowStreet(a.Registry, street.Code) {
		return nil, rule.No(rule.OutOfScope, "unit %q lies below a street; it asks the street to blow", street.Code)
	}
	if c.CallItem == "" && c.GetParticulars().GetText() == "" {
		return nil, rule.Bad("call_item", rule.MissingField, "an item of the call-item list or a reason in particulars.text is required")
	}
	if c.CallItem != "" {
		if _, ok := a.Registry.CallItem(c.CallItem, a.OccurredAt); !ok {
			return nil, rule.Bad("call_item", rule.UnknownCallItem, "the list has no item %q; leave it out and say in particulars.text what it is about", c.CallItem)
		}
	}
	area := c.Area
	var ids, affected []string
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
		if i == 0 {
			affected = t.AlsoAffects
		}
	}
	if len(c.AlsoAffects) > 0 {
		affected = c.AlsoAffects
	}
	for i, code := range c.AlsoAffects {
		if _, ok := a.Registry.Path(code, a.OccurredAt); !ok {
			return nil, rule.Bad(rule.Index("also_affects", i), rule.UnknownArea, "no area %q is valid at that time", code)
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
	m := matterOf(a, ids, c.CallItem, a.OccurredAt)
	named := c.Summons
	if len(named) == 0 {
		named = answering(a, street.Code, m.item)
	}
	participants, err := summon(a, street.Code, nil, named, m, "summons")
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
			GatherAt: c.GatherAt, Position: c.Position, ScreenedBy: screener, Sealed: a.Sealed, AlsoAffects: affected,
		})
	}
	blown := &pb.WhistleBlown{
		No: a.No, Kind: c.Kind, Tickets: ids, Street: street.Code, Path: path, CallItem: c.CallItem, Participants: participants,
		GatherAt: c.GatherAt, Position: c.Position, ScreenedBy: screener, Sealed: a.Sealed, AlsoAffects: affected,
	}
	return sound(a, blown, m)
}

// sound blows: an emergency whistle is issued as it is blown.
func sound(a *rule.Asked, blown *pb.WhistleBlown, m matter) ([]proto.Message, error) {
	if blown.Kind != pb.WhistleKind_WHISTLE_KIND_EMERGENCY {
		return rule.One(blown)
	}
	issued, err := issue(a, blown.Kind, m, blown.Participants)
	if err != nil {
		return nil, err
	}
	issued.ReviewBy = rule.Stamp(a.OccurredAt.Add(reviewAfter))
	return []proto.Message{blown, issued}, nil
}

// answering are those whom a call item names: its lead, or where that is no more its fallback, and those that help it; of each line of units the one
// nearest to the street, a district's own department before the city's. Whom the street commands itself is not summoned.
func answering(a *rule.Asked, street string, item *pb.CallItem) []*pb.Summons {
	if item == nil {
		return nil
	}
	lead := item.Lead
	if _, ok := a.Registry.Unit(lead, a.At); !ok {
		lead = item.Fallback
	}
	var named []*pb.Summons
	for _, unit := range append([]string{lead}, item.Co...) {
		unit, active := a.Registry.Nearest(unit, street, a.At)
		known := slices.ContainsFunc(named, func(n *pb.Summons) bool { return n.Unit == unit })
		if active && !known && !rule.Within(a.Registry, unit, street) {
			named = append(named, &pb.Summons{Unit: unit})
		}
	}
	return named
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
	return rule.One(&pb.WhistleBlown{
		No: s.No, Kind: s.Kind, Tickets: s.Tickets, Street: s.Street, Path: s.Path, CallItem: s.CallItem, Participants: s.summoned(),
		GatherAt: rule.Stamp(s.GatherAt), Position: s.Position, ScreenedBy: s.ScreenedBy, DraftedBy: s.DraftedBy, Sealed: s.Blown,
		AlsoAffects: s.AlsoAffects,
	})
}

// summon checks the named units and adds them to those that are summoned already. field is where they are named. A unit of a community or a grid
// is asked for nothing that the ban list keeps out of there.
func summon(a *rule.Asked, street string, have []*pb.Participant, named []*pb.Summons, m matter, field string) ([]*pb.Participant, error) {
	participants := slices.Clone(have)
	for i, n := range named {
		p, err := summonOne(a, street, participants, n, m, rule.Index(field, i))
		if err != nil {
			return nil, err
		}
		participants = append(participants, p)
	}
	if !slices.ContainsFunc(participants, func(p *pb.Participant) bool { return p.Compulsory }) {
		return nil, rule.Bad(field, rule.MissingField, "at least one unit must be summoned that has to come")
	}
	return participants, nil
}

// summonOne checks one named unit beside those that are summoned already. at is where it is named.
func summonOne(a *rule.Asked, street string, have []*pb.Participant, n *pb.Summons, m matter, at string) (*pb.Participant, error) {
	field := at + ".unit"
	if n.GetUnit() == "" {
		return nil, rule.Bad(field, rule.MissingField, "is required")
	}
	if err := comes(a, street, have, n.Unit, field); err != nil {
		return nil, err
	}
	category := n.Category
	if category == "" {
		category = m.category
	} else if _, ok := a.Registry.Category(category, a.At); !ok {
		return nil, rule.Bad(at+".category", rule.UnknownCategory, "no category %q is valid today", category)
	}
	if err := a.Deliver(field, category, n.Unit, n.Admission); err != nil {
		return nil, err
	}
	return &pb.Participant{
		Unit: n.Unit, Compulsory: !n.Optional, UnitPath: a.Registry.UnitPath(n.Unit), Category: category,
		Admission: strings.TrimPrefix(n.Admission, "admissions/"),
	}, nil
}

// comes refuses a unit that cannot be summoned: that there is none, that the street commands itself, that is summoned already, that a
// confidential ticket complains of.
func comes(a *rule.Asked, street string, have []*pb.Participant, unit, field string) error {
	if _, ok := a.Registry.Unit(unit, a.At); !ok {
		return rule.Bad(field, rule.UnknownUnit, "no unit %q is active today", unit)
	}
	if rule.Within(a.Registry, unit, street) {
		return rule.Bad(field, rule.BadField, "unit %q is below yours; dispatch to it instead", unit)
	}
	if slices.ContainsFunc(have, func(p *pb.Participant) bool { return p.Unit == unit }) {
		return rule.Bad(field, rule.BadField, "unit %q is summoned twice", unit)
	}
	if slices.ContainsFunc(a.Against, func(against string) bool { return rule.Within(a.Registry, unit, against) }) {
		return rule.Bad(field, rule.LeadComplainedOf, "unit %q, or one above it, is complained of and would see a confidential matter", unit)
	}
	return nil
}

// commander is the lowest unit that commands the street and all participants: two districts go to the city.
func commander(r rule.Registry, street string, participants []*pb.Participant) string {
	units := []string{street}
	for _, p := range participants {
		units = append(units, p.Unit)
	}
	return rule.CommonUnit(r, units...)
}

// issue sets the limits of the whole and of the participants.
func issue(a *rule.Asked, kind pb.WhistleKind, m matter, participants []*pb.Participant) (*pb.WhistleIssued, error) {
	l, err := limits(a, kind, m)
	if err != nil {
		return nil, err
	}
	e := &pb.WhistleIssued{Sealed: a.Sealed, Provisional: l.provisional || l.guessed, ResolveBy: rule.Stamp(l.resolve)}
	for _, p := range participants {
		e.Participants = append(e.Participants, l.of(p))
	}
	return e, nil
}

// limitsOf are by when a participant is to sign, to contact the street and to report in, and by when the matter is to be resolved.
type limitsOf struct {
	sign, contact, reportIn, resolve time.Time
	provisional                      bool // a participant's
	guessed                          bool // the last
}

// limits are those that start now: a call item's own before those of the profile.
func limits(a *rule.Asked, kind pb.WhistleKind, m matter) (l limitsOf, err error) {
	column, err := column(kind, m.grade)
	if err != nil {
		return l, err
	}
	by := func(own string, t calendar.Timer, guess *bool) time.Time {
		var due time.Time
		var guessed bool
		limit, parsed := calendar.ParseLimit(own)
		if own != "" && parsed == nil {
			due, guessed, parsed = a.Calendar.Due(a.OccurredAt, limit)
		} else {
			due, guessed, parsed = a.Due(t, column, a.OccurredAt)
		}
		if parsed != nil {
			err = rule.No(rule.DeadlineOutOfRange, "a limit cannot be computed from that time")
		}
		*guess = *guess || guessed
		return due
	}
	l.sign = by("", calendar.WhistleSign, &l.provisional)
	l.contact = by("", calendar.WhistleContact, &l.provisional)
	l.reportIn = by(m.item.GetReportIn(), calendar.WhistleReportIn, &l.provisional)
	l.resolve = by(m.item.GetResolve(), calendar.WhistleResolve, &l.guessed)
	return l, err
}

// of is a participant with the limits.
func (l *limitsOf) of(p *pb.Participant) *pb.Participant {
	p = proto.CloneOf(p)
	p.SignBy, p.ContactBy, p.ReportInBy = rule.Stamp(l.sign), rule.Stamp(l.contact), rule.Stamp(l.reportIn)
	return p
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
	return calendar.WhistleGrade(rule.Name(kind), g)
}

func (s *State) drafted(at time.Time, by *pb.Actor, e *pb.WhistleDrafted) {
	s.DraftedAt, s.DraftedBy, s.AlsoAffects = at, by, e.AlsoAffects
	s.called(e.No, e.Kind, e.Tickets, e.Street, e.Path, e.CallItem, e.Participants, rule.Instant(e.GatherAt), e.Position, e.ScreenedBy, e.Sealed)
}

func (s *State) blown(at time.Time, e *pb.WhistleBlown) {
	s.BlownAt, s.AlsoAffects, s.Parent = at, e.AlsoAffects, e.Parent
	s.called(e.No, e.Kind, e.Tickets, e.Street, e.Path, e.CallItem, e.Participants, rule.Instant(e.GatherAt), e.Position, e.ScreenedBy, e.Sealed)
}

func (s *State) called(no string, kind pb.WhistleKind, tickets []string, street string, path []*pb.AreaNode, item string,
	participants []*pb.Participant, gatherAt time.Time, position *pb.LonLat, screenedBy string, box *pb.Sealed) {
	s.No, s.Kind, s.Tickets, s.Street, s.Path, s.CallItem = no, kind, tickets, street, path, item
	s.GatherAt, s.Position, s.ScreenedBy, s.Blown = gatherAt, position, screenedBy, box
	s.await(participants)
}

func (s *State) issued(at time.Time, e *pb.WhistleIssued) {
	s.IssuedAt, s.ReviewBy, s.ResolveBy, s.Provisional = at, rule.Instant(e.ReviewBy), rule.Instant(e.ResolveBy), e.Provisional
	s.await(e.Participants)
}

// await makes the participants those, none of whom has done anything yet.
func (s *State) await(participants []*pb.Participant) {
	s.Participants = nil
	for _, p := range participants {
		s.Participants = append(s.Participants, Participant{Participant: p, State: pb.ParticipantState_PARTICIPANT_STATE_PENDING})
	}
}

// join takes in one more participant.
func (s *State) join(p *pb.Participant, provisional bool) {
	s.Participants = append(slices.Clip(s.Participants), Participant{Participant: p, State: pb.ParticipantState_PARTICIPANT_STATE_PENDING})
	s.Provisional = s.Provisional || provisional
}
