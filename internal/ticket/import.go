package ticket

import (
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// importRecord: another system's record is taken over as it is, oddities included; it asserts only what the record says. A
// record that is there already changes nothing, unless it has been closed since.
func importRecord(s State, a *rule.Asked, c *pb.ImportRecordRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_CONNECTED_SYSTEM, pb.Role_ROLE_SYSTEM); err != nil {
		return nil, err
	}
	if err := reserved(a, c.Source); err != nil {
		return nil, err
	}
	if c.OccurredAt == nil {
		return nil, rule.Bad("occurred_at", rule.MissingField, "is required: when the record says that the matter was reported")
	}
	if c.Source == "" {
		return nil, rule.Bad("source", rule.MissingField, "is required")
	}
	if c.SourceRef == "" {
		return nil, rule.Bad("source_ref", rule.MissingField, "is required")
	}
	channel := c.Channel
	if channel == pb.Channel_CHANNEL_UNSPECIFIED {
		channel = pb.Channel_CHANNEL_IMPORT
	}
	e := &pb.RecordImported{
		No: a.No, Source: c.Source, SourceRef: c.SourceRef, Channel: channel, Path: c.Path, Dimensions: c.Dimensions,
		Category: c.Category, Subcategory: c.Subcategory, Agency: c.Agency, Status: c.Status, DueAt: c.DueAt, Position: c.Position,
		Oddities: c.Oddities, Sealed: a.Sealed,
	}
	if !s.Exists() {
		events := []proto.Message{e}
		if c.ClosedAt != nil {
			events = append(events, rule.Then(&pb.ImportedRecordClosed{}, c.ClosedAt.AsTime()))
		}
		return events, nil
	}
	if s.Imported == nil {
		return nil, rule.Bad("source_ref", rule.AlreadyExists, "a ticket that was reported here has that reference")
	}
	if !s.ReportedAt.Equal(c.OccurredAt.AsTime()) {
		return nil, rule.Bad("occurred_at", rule.RecordChanged, "the record was imported before with another time of report")
	}
	if !s.ClosedAt.IsZero() && (c.ClosedAt == nil || !s.ClosedAt.Equal(c.ClosedAt.AsTime())) {
		return nil, rule.Bad("closed_at", rule.RecordChanged, "the record was imported before with another closing")
	}
	if s.ClosedAt.IsZero() && c.ClosedAt != nil {
		if s.State != pb.TicketState_TICKET_STATE_REPORTED {
			return nil, rule.Bad("closed_at", rule.WrongState, "the ticket has been worked on here since it was imported")
		}
		// The status and oddities speak of the closing too; the rest must be what it was.
		if field := changed(s.Imported, e, true); field != "" {
			return nil, rule.Bad(field, rule.RecordChanged, "the record was imported before with other content")
		}
		return rule.One(rule.Then(&pb.ImportedRecordClosed{}, c.ClosedAt.AsTime()))
	}
	if field := changed(s.Imported, e, false); field != "" {
		return nil, rule.Bad(field, rule.RecordChanged, "the record was imported before with other content")
	}
	return nil, nil
}

// changed names a field in which two records differ; empty if there is none.
func changed(was, is *pb.RecordImported, closing bool) string {
	for _, f := range []struct {
		name    string
		differs bool
	}{
		{"channel", was.Channel != is.Channel},
		{"category", was.Category != is.Category},
		{"subcategory", was.Subcategory != is.Subcategory},
		{"agency", was.Agency != is.Agency},
		{"status", !closing && was.Status != is.Status},
		{"due_at", !rule.Instant(was.DueAt).Equal(rule.Instant(is.DueAt))},
		{"position", !proto.Equal(was.Position, is.Position)},
		{"path", !proto.Equal(&pb.RecordImported{Path: was.Path}, &pb.RecordImported{Path: is.Path})},
		{"dimensions", !proto.Equal(&pb.RecordImported{Dimensions: was.Dimensions}, &pb.RecordImported{Dimensions: is.Dimensions})},
	} {
		if f.differs {
			return f.name
		}
	}
	return ""
}

func (s *State) recordImported(at time.Time, e *pb.RecordImported) {
	s.Imported = e
	s.No, s.Source, s.SourceRef, s.Channel, s.Category, s.Path, s.Position = e.No, e.Source, e.SourceRef, e.Channel, e.Category, e.Path, e.Position
	s.Anonymous = true
	s.ReportedAt, s.Limits.CloseBy, s.Reported = at, rule.Instant(e.DueAt), e.Sealed
}

func (s *State) importedRecordClosed(at time.Time, e *pb.ImportedRecordClosed) {
	s.ClosedAt, s.Limits = at, Limits{CloseBy: s.Limits.CloseBy}
	s.DeclineProposal, s.ProposedReason, s.VoidProposal = nil, 0, nil // what is done needs neither
}
