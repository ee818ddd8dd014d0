package ticket

import (
	"bytes"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/rule"
)

// sign: the lead acknowledges (签收). No clock starts here: it has been running since the dispatch.
func sign(s State, a *rule.Asked, _ *pb.SignTicketRequest) ([]proto.Message, error) {
	if err := s.byLead(a); err != nil {
		return nil, err
	}
	if err := s.in(pb.TicketState_TICKET_STATE_DISPATCHED); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.DispatchedAt); err != nil {
		return nil, err
	}
	return rule.One(&pb.TicketSigned{})
}

func (s *State) signed() { s.Limits.SignBy = time.Time{} }

// contact: the lead reached the petitioner, or tried to (先行联系).
func contact(s State, a *rule.Asked, c *pb.RecordContactRequest) ([]proto.Message, error) {
	if err := s.byLead(a); err != nil {
		return nil, err
	}
	if err := s.in(pb.TicketState_TICKET_STATE_DISPATCHED, pb.TicketState_TICKET_STATE_HANDLING); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.DispatchedAt); err != nil {
		return nil, err
	}
	if c.Channel == "" {
		return nil, rule.Bad("channel", rule.MissingField, "is required")
	}
	if err := rule.Word("channel", c.Channel, rule.LowerWord); err != nil {
		return nil, err
	}
	if err := rule.Word("recording_ref", c.RecordingRef, rule.Printable); err != nil {
		return nil, err
	}
	if c.Reached {
		return rule.One(&pb.PetitionerContacted{Channel: c.Channel, RecordingRef: c.RecordingRef, Sealed: a.Sealed})
	}
	return rule.One(&pb.ContactFailed{Channel: c.Channel, RecordingRef: c.RecordingRef, Sealed: a.Sealed})
}

func (s *State) petitionerContacted() { s.Contacted, s.Limits.ContactBy = true, time.Time{} }

func (s *State) contactFailed() { s.FailedContacts++ }

// progress: something was done.
func progress(s State, a *rule.Asked, c *pb.RecordProgressRequest) ([]proto.Message, error) {
	if err := a.Require(clerks...); err != nil {
		return nil, err
	}
	if err := s.impartial(a); err != nil {
		return nil, err
	}
	handling := func(unit string) bool { return rule.Within(a.Registry, a.Actor.Unit, unit) }
	if !s.ofLead(a.Registry, a.Actor.Unit) && !slices.ContainsFunc(s.Co, handling) {
		return nil, rule.No(rule.OutOfScope, "your unit is neither lead nor co-handler")
	}
	if err := s.in(pb.TicketState_TICKET_STATE_HANDLING); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.DispatchedAt); err != nil {
		return nil, err
	}
	if c.GetParticulars().GetText() == "" && len(c.Attachments) == 0 {
		return nil, rule.Bad("particulars.text", rule.MissingField, "a text or an attachment is required")
	}
	if err := rule.Attachments(c.Attachments); err != nil {
		return nil, err
	}
	return rule.One(&pb.ProgressRecorded{Attachments: c.Attachments, Sealed: a.Sealed})
}

// progressRecorded: it counts as the lead's unless a co-handler recorded it.
func (s *State) progressRecorded(meta *pb.EventMeta) {
	if !slices.Contains(s.Co, meta.GetActor().GetUnit()) {
		s.Seen = true
	}
}

// waive: a supervisor lets a requirement go, with a reason.
func waive(s State, a *rule.Asked, c *pb.WaiveRequirementRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_SUPERVISOR); err != nil {
		return nil, err
	}
	if err := s.fromAbove(a); err != nil {
		return nil, err
	}
	if err := s.in(pb.TicketState_TICKET_STATE_DISPATCHED, pb.TicketState_TICKET_STATE_HANDLING,
		pb.TicketState_TICKET_STATE_RESULT_SUBMITTED, pb.TicketState_TICKET_STATE_CALLBACK); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.DispatchedAt); err != nil {
		return nil, err
	}
	if c.What == pb.Requirement_REQUIREMENT_UNSPECIFIED {
		return nil, rule.Bad("what", rule.MissingField, "is required")
	}
	if err := said("note", c.GetParticulars().GetNote()); err != nil {
		return nil, err
	}
	if s.waived(c.What) {
		return nil, rule.Bad("what", rule.AlreadyDone, "is waived already in this round")
	}
	return rule.One(&pb.RequirementWaived{What: c.What, Sealed: a.Sealed})
}

func (s *State) requirementWaived(e *pb.RequirementWaived) {
	s.Waived = append(slices.Clip(s.Waived), e.What)
}

// failedContactsEnough is how many failed attempts stand for a contact.
const failedContactsEnough = 3

// submitResult: the lead says what it achieved (处置反馈).
func submitResult(s State, a *rule.Asked, c *pb.SubmitResultRequest) ([]proto.Message, error) {
	if err := s.byLead(a); err != nil {
		return nil, err
	}
	if err := s.in(pb.TicketState_TICKET_STATE_HANDLING); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.Decided.At); err != nil {
		return nil, err
	}
	if c.Result == pb.ResultCode_RESULT_CODE_UNSPECIFIED {
		return nil, rule.Bad("result", rule.MissingField, "is required")
	}
	if err := said("reply", c.GetParticulars().GetReply()); err != nil {
		return nil, err
	}
	if err := rule.Attachments(c.Attachments); err != nil {
		return nil, err
	}
	if !s.Contacted && !s.Anonymous && s.FailedContacts < failedContactsEnough && !s.waived(pb.Requirement_REQUIREMENT_CONTACT) {
		return nil, rule.No(rule.ContactNeeded, "the petitioner was not contacted; %d of %d attempts are recorded", s.FailedContacts, failedContactsEnough)
	}
	if w := s.openWhistle(); w != "" && !s.waived(pb.Requirement_REQUIREMENT_WHISTLES_CLOSED) {
		return nil, rule.No(rule.WhistleOpen, "whistle %s is open", w)
	}
	if unit := s.openTask(); unit != "" && !s.waived(pb.Requirement_REQUIREMENT_CO_TASKS) {
		return nil, rule.No(rule.TasksOpen, "the task of co-handler %q is open", unit)
	}
	if category, ok := a.Registry.Category(s.Category, a.At); ok && category.Object == pb.MatterObject_MATTER_OBJECT_INCIDENT {
		for _, kind := range []pb.AttachmentKind{pb.AttachmentKind_ATTACHMENT_KIND_BEFORE, pb.AttachmentKind_ATTACHMENT_KIND_AFTER} {
			if !slices.ContainsFunc(c.Attachments, func(p *pb.Attachment) bool { return p.GetKind() == kind && p.Position != nil && p.ShotAt != nil }) {
				return nil, rule.Bad("attachments", rule.PhotosNeeded, "an incident needs a photo before and one after, each with position and shot_at")
			}
		}
	}
	d := s.due(a)
	e := &pb.ResultSubmitted{Result: c.Result, Attachments: c.Attachments, Reused: s.reused(c.Attachments), VerifyBy: d.by(calendar.Verify, a.OccurredAt), Sealed: a.Sealed}
	e.Provisional = d.provisional
	if d.err != nil {
		return nil, d.err
	}
	return rule.One(e)
}

func (s *State) resultSubmitted(at time.Time, e *pb.ResultSubmitted) {
	s.Result, s.SubmittedAt, s.Limits.VerifyBy = e.Result, at, rule.Instant(e.VerifyBy)
	if e.Sealed != nil {
		s.Replied = e.Sealed
	}
}

// reused are the hashes of attachments that the ticket had already.
func (s *State) reused(list []*pb.Attachment) [][]byte {
	var again [][]byte
	for _, p := range list {
		if s.hasShown(p.GetSha256()) {
			again = append(again, p.Sha256)
		}
	}
	return again
}

// shown notes the hashes of attachments.
func (s *State) shown(list []*pb.Attachment) {
	for _, p := range list {
		if len(p.GetSha256()) > 0 && !s.hasShown(p.Sha256) {
			s.Photos = append(slices.Clip(s.Photos), p.Sha256)
		}
	}
}

func (s *State) hasShown(hash []byte) bool {
	return slices.ContainsFunc(s.Photos, func(known []byte) bool { return bytes.Equal(known, hash) })
}
