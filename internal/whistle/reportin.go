package whistle

import (
	"slices"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/rule"
)

// sign: a participant acknowledges.
func sign(s State, a *rule.Asked, c *pb.SignWhistleRequest) ([]proto.Message, error) {
	p, err := s.byParticipant(a, c.Unit)
	if err != nil {
		return nil, err
	}
	if !p.SignedAt.IsZero() {
		return nil, rule.No(rule.AlreadyDone, "unit %q has signed already", p.Unit)
	}
	return rule.One(&pb.WhistleSigned{Unit: p.Unit})
}

// contact: a participant got in touch with the street.
func contact(s State, a *rule.Asked, c *pb.ContactStreetRequest) ([]proto.Message, error) {
	p, err := s.byParticipant(a, c.Unit)
	if err != nil {
		return nil, err
	}
	if !p.ContactedAt.IsZero() {
		return nil, rule.No(rule.AlreadyDone, "unit %q has contacted the street already", p.Unit)
	}
	return rule.One(&pb.WhistleContacted{Unit: p.Unit, Sealed: a.Sealed})
}

// reportIn: a participant is there (报到), with who came, their rank and where. Too late still counts as having come, even where it was taken for
// absent already, which stays recorded.
func reportIn(s State, a *rule.Asked, c *pb.ReportInRequest) ([]proto.Message, error) {
	p, err := s.byParticipant(a, c.Unit)
	if err != nil {
		return nil, err
	}
	if !p.ReportedInAt.IsZero() {
		return nil, rule.No(rule.AlreadyDone, "unit %q has reported in already", p.Unit)
	}
	if c.Person == "" {
		return nil, rule.Bad("person", rule.MissingField, "is required: who came")
	}
	if err := rule.Word("person", c.Person, rule.Printable); err != nil {
		return nil, err
	}
	if c.Rank == "" {
		return nil, rule.Bad("rank", rule.MissingField, "is required")
	}
	if c.Position == nil {
		return nil, rule.Bad("position", rule.MissingField, "is required: where they are")
	}
	return rule.One(&pb.ReportedIn{
		Unit: p.Unit, Person: c.Person, Rank: c.Rank, Position: c.Position, Convened: s.convened(p.Unit), Sealed: a.Sealed,
		InTime: p.ReportInBy == nil || calendar.OnTime(a.OccurredAt, p.ReportInBy.AsTime()),
	})
}

// completeTask: a participant did what it came for.
func completeTask(s State, a *rule.Asked, c *pb.CompleteTaskRequest) ([]proto.Message, error) {
	p, err := s.byParticipant(a, c.Unit)
	if err != nil {
		return nil, err
	}
	if p.State != pb.ParticipantState_PARTICIPANT_STATE_REPORTED_IN {
		return nil, rule.No(rule.WrongState, "unit %q is %s; it must have reported in and not be done", p.Unit, rule.Name(p.State))
	}
	if err := a.CheckTime(p.ReportedInAt); err != nil {
		return nil, err
	}
	if err := rule.Attachments(c.Attachments); err != nil {
		return nil, err
	}
	return rule.One(&pb.TaskDone{Unit: p.Unit, Attachments: c.Attachments, Sealed: a.Sealed})
}

// release: the street lets a participant go; nobody leaves before (事不完人不撤).
func release(s State, a *rule.Asked, c *pb.ReleaseParticipantRequest) ([]proto.Message, error) {
	if err := s.byStreet(a, streetOfficers...); err != nil {
		return nil, err
	}
	if err := s.in(append(under, pb.WhistleState_WHISTLE_STATE_CONFIRMED, pb.WhistleState_WHISTLE_STATE_RATED)...); err != nil {
		return nil, err
	}
	p := s.find(c.Unit)
	if p == nil {
		return nil, rule.Bad("unit", rule.NotParticipant, "unit %q was not summoned", c.Unit)
	}
	// Whose task was waived, and once the street has confirmed those who came without having to, are let go as they are.
	came := p.State == pb.ParticipantState_PARTICIPANT_STATE_REPORTED_IN && (p.TaskWaived || !slices.Contains(under, s.State))
	if p.State != pb.ParticipantState_PARTICIPANT_STATE_TASK_DONE && !came {
		return nil, rule.Bad("unit", rule.WrongState, "unit %q is %s; its task must be done", p.Unit, rule.Name(p.State))
	}
	if err := a.CheckTime(rule.Latest(p.ReportedInAt, p.TaskDoneAt)); err != nil {
		return nil, err
	}
	return rule.One(&pb.Released{Unit: c.Unit})
}
