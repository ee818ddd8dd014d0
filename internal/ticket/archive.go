package ticket

import (
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/rule"
)

// archive: the ticket is laid down (归档) once nobody may appeal or ask for exclusion any more, by this system or the assessment office of an area in which the matter lies. Nothing changes it any more but a correction by two auditors.
func archive(s State, a *rule.Asked, _ *pb.ArchiveTicketRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_ASSESSMENT, pb.Role_ROLE_SYSTEM); err != nil {
		return nil, err
	}
	if a.Acting != pb.Role_ROLE_SYSTEM {
		if err := s.assessment(a); err != nil {
			return nil, err
		}
	}
	if err := s.in(pb.TicketState_TICKET_STATE_CLOSED); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.LastAt); err != nil {
		return nil, err
	}
	if s.Exclusion != nil {
		return nil, rule.No(rule.WrongState, "an exclusion is asked for and not decided")
	}
	rights := []time.Time{s.Limits.AppealBy}
	if s.Excluded == 0 {
		rights = append(rights, s.Limits.ExclusionBy)
	}
	for _, by := range rights {
		if !by.IsZero() && calendar.OnTime(a.OccurredAt, by) {
			return nil, rule.No(rule.RightsRunning, "until %s somebody may appeal or ask for exclusion", by.In(a.Calendar.Zone()).Format(time.RFC3339))
		}
	}
	return rule.One(&pb.TicketArchived{})
}

func (s *State) archived(_ *pb.EventMeta, _ *pb.TicketArchived) {
	s.Limits.AppealBy, s.Limits.ExclusionBy = time.Time{}, time.Time{}
}

// correctArchive: something of an archived ticket is put right. One auditor proposes, another confirms or drops. Whatever unit an
// auditor is of, all tickets are in scope.
func correctArchive(s State, a *rule.Asked, c *pb.CorrectArchiveRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_AUDITOR); err != nil {
		return nil, err
	}
	if err := s.in(pb.TicketState_TICKET_STATE_ARCHIVED); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.LastAt); err != nil {
		return nil, err
	}
	if c.Confirmation == pb.Confirmation_CONFIRMATION_UNSPECIFIED {
		return s.proposeCorrection(a, c)
	}
	if err := confirm(a, s.CorrectionBy); err != nil {
		return nil, err
	}
	if c.Confirmation == pb.Confirmation_CONFIRMATION_DROP {
		return rule.One(&pb.ArchiveCorrectionDropped{Sealed: a.Sealed})
	}
	return rule.One(&pb.ArchiveCorrected{
		Category: s.Correction.Category, Path: s.Correction.Path, Result: s.Correction.Result, ProposedBy: s.CorrectionBy, Sealed: a.Sealed,
	})
}

func (s *State) proposeCorrection(a *rule.Asked, c *pb.CorrectArchiveRequest) ([]proto.Message, error) {
	if s.Correction != nil {
		return nil, rule.No(rule.AlreadyProposed, "a correction is proposed already; another auditor must confirm or drop it")
	}
	if err := said("note", c.GetParticulars().GetNote()); err != nil {
		return nil, err
	}
	if c.Category == "" && c.Area == "" && c.Result == pb.ResultCode_RESULT_CODE_UNSPECIFIED {
		return nil, rule.Bad("category", rule.MissingField, "a category, an area or a result is required")
	}
	// What was in force when the ticket was accepted is what it is corrected by, however long ago.
	then := s.AcceptedAt
	if then.IsZero() { // another system's record
		then = s.ReportedAt
	}
	e := &pb.ArchiveCorrectionProposed{Category: c.Category, Result: c.Result, Sealed: a.Sealed}
	if c.Category != "" {
		if _, ok := a.Registry.Category(c.Category, then); !ok {
			return nil, rule.Bad("category", rule.UnknownCategory, "no category %q was valid when the ticket was accepted", c.Category)
		}
		if c.Category == s.Category {
			return nil, rule.Bad("category", rule.BadField, "is what it is already")
		}
	}
	if c.Area != "" {
		var err error
		if e.Path, _, err = place(a, "area", c.Area, then); err != nil {
			return nil, err
		}
		if n := len(s.Path); n > 0 && s.Path[n-1].Code == c.Area {
			return nil, rule.Bad("area", rule.BadField, "is what it is already")
		}
	}
	if c.Result != pb.ResultCode_RESULT_CODE_UNSPECIFIED && c.Result == s.Result {
		return nil, rule.Bad("result", rule.BadField, "is what it is already")
	}
	return rule.One(e)
}

func (s *State) archiveCorrectionProposed(meta *pb.EventMeta, e *pb.ArchiveCorrectionProposed) {
	s.Correction, s.CorrectionBy = e, meta.GetActor()
}

func (s *State) archiveCorrectionDropped(_ *pb.EventMeta, _ *pb.ArchiveCorrectionDropped) {
	s.Correction, s.CorrectionBy = nil, nil
}

func (s *State) archiveCorrected(_ *pb.EventMeta, e *pb.ArchiveCorrected) {
	s.Correction, s.CorrectionBy = nil, nil
	if e.Category != "" {
		s.Category = e.Category
	}
	if len(e.Path) > 0 {
		s.Path = e.Path
	}
	if e.Result != pb.ResultCode_RESULT_CODE_UNSPECIFIED {
		s.Result = e.Result
	}
}
