package ticket

import (
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/rule"
)

// report: a matter comes in (登记). A matter that was reported before under the same source and reference is that ticket.
func report(s State, a *rule.Asked, c *pb.ReportTicketRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_AGENT, pb.Role_ROLE_GRID_WORKER, pb.Role_ROLE_COMMUNITY_CLERK,
		pb.Role_ROLE_CITIZEN, pb.Role_ROLE_CONNECTED_SYSTEM, pb.Role_ROLE_SUPERVISOR, pb.Role_ROLE_SYSTEM); err != nil {
		return nil, err
	}
	if s.Exists() {
		return nil, nil
	}
	if err := a.CheckTime(time.Time{}); err != nil {
		return nil, err
	}
	if err := reserved(a, c.Source); err != nil {
		return nil, err
	}
	if c.ComplainedOf != "" {
		if err := a.Require(pb.Role_ROLE_SYSTEM); err != nil {
			return nil, rule.Bad("complained_of", rule.RoleNotAllowed, "whom a matter complains of is said at triage")
		}
	}
	if c.LiftedFrom != "" {
		if err := a.Require(pb.Role_ROLE_SYSTEM); err != nil {
			return nil, rule.Bad("lifted_from", rule.RoleNotAllowed, "which wall a matter was lifted from is said by the wall")
		}
	}
	if c.Channel == pb.Channel_CHANNEL_UNSPECIFIED {
		return nil, rule.Bad("channel", rule.MissingField, "is required")
	}
	if c.Kind == pb.MatterKind_MATTER_KIND_UNSPECIFIED {
		return nil, rule.Bad("kind", rule.MissingField, "is required")
	}
	p := c.GetParticulars()
	if p.GetTitle() == "" && p.GetText() == "" {
		return nil, rule.Bad("particulars.text", rule.MissingField, "a title or a text is required")
	}
	if err := rule.Attachments(c.Attachments); err != nil {
		return nil, err
	}
	path, holder, err := place(a, "area", c.Area, a.OccurredAt)
	if err != nil {
		return nil, err
	}
	holder = above(a.Registry, holder, c.ComplainedOf)
	grade := pb.Grade_GRADE_UNSPECIFIED
	if c.Category != "" {
		category, ok := a.Registry.Category(c.Category, a.At)
		if !ok {
			return nil, rule.Bad("category", rule.UnknownCategory, "no category %q is valid today", c.Category)
		}
		grade = category.Grade
	}
	for i, area := range c.AlsoAffects {
		if _, ok := a.Registry.Path(area, a.OccurredAt); !ok {
			return nil, rule.Bad(rule.Index("also_affects", i), rule.UnknownArea, "no area %q is valid at that time", area)
		}
	}
	d := due{asked: a, grade: Column(grade)}
	e := &pb.TicketReported{
		No: a.No, Source: c.Source, SourceRef: c.SourceRef, Channel: c.Channel, Kind: c.Kind, Path: path,
		Holder: holder, HolderPath: a.Registry.UnitPath(holder), Position: c.Position,
		Category: c.Category, Anonymous: anonymous(p.GetPetitioner()), CallbackWanted: p.GetPetitioner().GetCallbackWanted(),
		Elements: elements(p, !a.OccurredAt.IsZero()), Confidentiality: c.Confidentiality,
		// The clock of admission starts when we learn of the matter: it cannot be admitted before.
		AcceptBy: d.by(calendar.Accept, a.At), Sealed: a.Sealed, Attachments: c.Attachments, AlsoAffects: c.AlsoAffects,
		ComplainedOf: c.ComplainedOf, LiftedFrom: c.LiftedFrom,
	}
	if p.GetPetitioner().GetConfidential() { // whatever the channel says
		e.Confidentiality = pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL
	}
	e.Provisional = d.provisional
	if d.err != nil {
		return nil, d.err
	}
	return rule.One(e)
}

func (s *State) reported(at time.Time, e *pb.TicketReported) {
	s.No, s.Source, s.SourceRef, s.Channel, s.Kind, s.Category = e.No, e.Source, e.SourceRef, e.Channel, e.Kind, e.Category
	s.Path, s.Holder, s.Position, s.AlsoAffects = e.Path, e.Holder, e.Position, e.AlsoAffects
	s.Anonymous, s.CallbackWanted, s.Elements, s.Confidentiality = e.Anonymous, e.CallbackWanted, e.Elements, e.Confidentiality
	s.ComplainedOf, s.LiftedFrom, s.SolvedOnWall = e.ComplainedOf, e.LiftedFrom, e.SolvedOnWall
	s.ReportedAt, s.Limits.AcceptBy, s.Reported = at, rule.Instant(e.AcceptBy), e.Sealed
}

// Proactive is the source of what this system reports itself, Wall that of posts of problem walls.
const (
	Proactive = "proactive"
	Wall      = "wall"
)

// reserved refuses a source that only this system reports from.
func reserved(a *rule.Asked, source string) error {
	if (source == Proactive || source == Wall) && a.Acting != pb.Role_ROLE_SYSTEM {
		return rule.Bad("source", rule.BadField, "%q is what this system reports itself", source)
	}
	return nil
}

// anonymous says whether nobody can be called back: the petitioner wished so, or there is none, as with a patrol's find.
func anonymous(p *pb.Petitioner) bool {
	return p.GetAnonymous() || p.GetName() == "" && p.GetPhone() == "" && p.GetIdNumber() == ""
}

// elements are those of the five elements (受理五要素) that particulars bring. The time is given with every report: it is when the
// matter occurred or, where nobody said, when it was reported.
func elements(p *pb.Particulars, time bool) []pb.Element {
	var have []pb.Element
	for _, e := range []struct {
		element pb.Element
		given   bool
	}{
		{pb.Element_ELEMENT_NAME, p.GetPetitioner().GetName() != ""},
		{pb.Element_ELEMENT_TIME, time},
		{pb.Element_ELEMENT_PLACE, p.GetPlace() != ""},
		{pb.Element_ELEMENT_CAUSE, p.GetCause() != ""},
		{pb.Element_ELEMENT_COURSE, p.GetCourse() != ""},
	} {
		if e.given {
			have = append(have, e.element)
		}
	}
	return have
}
