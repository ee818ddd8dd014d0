package ticket

import (
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/rule"
)

// solveOnWall: the ticket of a post that a grid worker solved on the grid's own wall (子墙自解): its whole life to the result in one. It was the grid's
// from when it was posted, which is T0, and the result is of when it was solved. Nobody says that the poster was contacted: the wall answers instead, and that is waived. What is
// not drawn for verification is closed at once, without a callback.
func solveOnWall(s State, a *rule.Asked, c *pb.SolveOnWallRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_SYSTEM); err != nil {
		return nil, err
	}
	if s.Exists() {
		return nil, nil
	}
	id := strings.TrimPrefix(c.Name, "tickets/")
	if c.Post != "posts/"+id {
		return nil, rule.Bad("post", rule.BadField, "a post and its ticket have one id")
	}
	posted := rule.Instant(c.PostedAt)
	switch {
	case posted.IsZero():
		return nil, rule.Bad("posted_at", rule.MissingField, "is required")
	case posted.After(a.OccurredAt):
		return nil, rule.Bad("posted_at", rule.OccurredInFuture, "lies after the solution")
	}
	if err := a.CheckTime(posted); err != nil {
		return nil, err
	}
	if err := said("reply", c.GetParticulars().GetReply()); err != nil {
		return nil, err
	}
	category, err := withinPowers(a, c)
	if err != nil {
		// The ticket may be made long after the solution, and what a grid may do may have changed since.
		as := *a
		as.At = a.OccurredAt
		was, refused := withinPowers(&as, c)
		if refused != nil {
			return nil, err
		}
		category = was
	}
	if err := rule.Attachments(c.Attachments); err != nil {
		return nil, err
	}
	path, _, err := place(a, "area", c.Area, posted)
	if err != nil {
		return nil, err
	}
	grade := category.Grade
	if grade == pb.Grade_GRADE_UNSPECIFIED {
		grade = pb.Grade_GRADE_G2
	}
	unitPath := a.Registry.UnitPath(c.Unit)

	confidential := confidence(c.GetParticulars())
	then := *a
	then.OccurredAt = posted
	ticket := State{Grade: grade}
	sent, err := ticket.sent(&then, c.Unit, nil)
	if err != nil {
		return nil, err
	}
	sent.ContactBy = nil
	d := ticket.due(a)
	result := &pb.ResultSubmitted{Result: pb.ResultCode_RESULT_CODE_RESOLVED, Attachments: c.Attachments, Sealed: a.Sealed}
	if c.Drawn {
		result.VerifyBy = d.by(calendar.Verify, a.OccurredAt)
		result.Provisional = d.provisional
	}
	events := []proto.Message{
		rule.Then(&pb.TicketReported{
			No: a.No, Source: Wall, SourceRef: id, Channel: pb.Channel_CHANNEL_WALL, Kind: pb.MatterKind_MATTER_KIND_OTHER, Path: path, Position: c.Position,
			Category: c.Category, Anonymous: c.Anonymous, Sealed: a.Sealed, Holder: c.Unit, HolderPath: unitPath, SolvedOnWall: true,
			Elements: elements(c.GetParticulars(), true), Confidentiality: confidential,
		}, posted),
		rule.Then(&pb.TicketAccepted{Path: path, Holder: c.Unit, HolderPath: unitPath}, posted),
		rule.Then(&pb.TicketTriaged{Category: c.Category, Grade: grade, Path: path, Holder: c.Unit, HolderPath: unitPath, Lead: c.Unit, Confidentiality: confidential}, posted),
		rule.Then(sent, posted),
		rule.Then(&pb.TicketSigned{}, posted),
	}
	if !c.Anonymous {
		events = append(events, &pb.RequirementWaived{What: pb.Requirement_REQUIREMENT_CONTACT})
	}
	events = append(events, result, &pb.EchoPublished{Kind: pb.EchoKind_ECHO_KIND_RESULT, Sealed: a.Sealed})
	if !c.Drawn {
		closed := &pb.TicketClosed{Kind: pb.CloseKind_CLOSE_KIND_NO_CALLBACK, AppealBy: d.by(calendar.Appeal, a.OccurredAt)}
		closed.Provisional = d.provisional
		events = append(events, &pb.VerificationSampledOut{Percent: c.Percent}, closed)
	}
	return events, d.err
}

// confidence is how confidential a matter is whose petitioner may have asked that nobody is told of them.
func confidence(p *pb.Particulars) pb.Confidentiality {
	if p.GetPetitioner().GetConfidential() {
		return pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL
	}
	return pb.Confidentiality_CONFIDENTIALITY_UNSPECIFIED
}

// withinPowers is the category of what a grid solved, if the grid may solve it as the registry has it at a.At.
func withinPowers(a *rule.Asked, c *pb.SolveOnWallRequest) (*pb.Category, error) {
	if err := activeUnit(a, "unit", c.Unit); err != nil {
		return nil, err
	}
	category, ok := a.Registry.Category(c.Category, a.At)
	if !ok {
		return nil, rule.Bad("category", rule.UnknownCategory, "no category %q is valid today", c.Category)
	}
	if !category.SelfSolvable {
		return nil, rule.Bad("category", rule.NotSelfSolvable, "matters of category %s are beyond a grid worker's powers", c.Category)
	}
	if err := a.Deliver("unit", c.Category, c.Unit, ""); err != nil {
		return nil, err
	}
	return category, nil
}

// verificationSampledOut: nobody looks whether the result is as told.
func (s *State) verificationSampledOut(_ *pb.EventMeta, _ *pb.VerificationSampledOut) {
	s.SampledOut, s.Limits.VerifyBy = true, time.Time{}
}
