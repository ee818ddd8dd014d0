package ticket

import (
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/rule"
)

// closeRound: the round ends (结案), once it is verified, the petitioner was asked, and nothing is listed. The level of supervision
// stays on record, and a new round begins with it.
func closeRound(s State, a *rule.Asked, _ *pb.CloseTicketRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_DISPATCHER, pb.Role_ROLE_SYSTEM); err != nil {
		return nil, err
	}
	if a.Acting != pb.Role_ROLE_SYSTEM {
		if err := s.fromAbove(a); err != nil {
			return nil, err
		}
	}
	if err := s.in(pb.TicketState_TICKET_STATE_CALLBACK); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.LastAt); err != nil {
		return nil, err
	}
	if !s.asked() {
		return nil, rule.No(rule.CallbackNeeded, "the petitioner wants a callback and was neither asked nor found unreachable")
	}
	if w := s.openWhistle(); w != "" && !s.waived(pb.Requirement_REQUIREMENT_WHISTLES_CLOSED) {
		return nil, rule.No(rule.WhistleOpen, "whistle %s is open", w)
	}
	if s.Listed {
		return nil, rule.No(rule.ListingOpen, "the problem is listed and not cleared")
	}
	if err := s.told(); err != nil {
		return nil, err
	}
	d := s.due(a)
	e := &pb.TicketClosed{Kind: s.closeKind(), AppealBy: d.by(calendar.Appeal, a.OccurredAt)}
	e.Provisional = d.provisional
	if d.err != nil {
		return nil, d.err
	}
	return rule.One(e)
}

// asked says whether the petitioner was asked in this round, or need not be.
func (s *State) asked() bool {
	return s.CallbackSettled || s.Anonymous || !s.CallbackWanted || s.waived(pb.Requirement_REQUIREMENT_CALLBACK)
}

func (s *State) closeKind() pb.CloseKind {
	switch {
	case s.Unreachable:
		return pb.CloseKind_CLOSE_KIND_UNREACHABLE
	case s.Solved == pb.Solved_SOLVED_YES:
		return pb.CloseKind_CLOSE_KIND_SOLVED
	case s.Solved == pb.Solved_SOLVED_PARTLY:
		return pb.CloseKind_CLOSE_KIND_PARTLY_SOLVED
	case s.Solved == pb.Solved_SOLVED_NO:
		return pb.CloseKind_CLOSE_KIND_NOT_SOLVED
	}
	return pb.CloseKind_CLOSE_KIND_NO_CALLBACK
}

func (s *State) closed(at time.Time, e *pb.TicketClosed) {
	s.ClosedAt, s.CloseKind = at, e.Kind
	s.Limits = Limits{
		HandleBy: s.Limits.HandleBy, CloseBy: s.Limits.CloseBy, SegmentBy: s.Limits.SegmentBy,
		AppealBy: rule.Instant(e.AppealBy), ExclusionBy: s.Limits.ExclusionBy,
	}
}

// maxAutoReopened is how often this system may open a ticket again by itself.
const maxAutoReopened = 2

// reopen: a new round with the same lead (重办), which may not return it. The earlier closing becomes ineffective. The first time
// it is ordered, the second it is listed.
func reopen(s State, a *rule.Asked, c *pb.ReopenTicketRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_SUPERVISOR, pb.Role_ROLE_DISPATCHER, pb.Role_ROLE_CITIZEN, pb.Role_ROLE_SYSTEM); err != nil {
		return nil, err
	}
	if a.Acting != pb.Role_ROLE_CITIZEN && a.Acting != pb.Role_ROLE_SYSTEM {
		if err := s.scope(a); err != nil {
			return nil, err
		}
	}
	if err := s.in(pb.TicketState_TICKET_STATE_CALLBACK, pb.TicketState_TICKET_STATE_CLOSED); err != nil {
		return nil, err
	}
	if s.Lead == "" {
		return nil, rule.No(rule.WrongState, "the ticket was never dispatched, so there is no lead to do it again; report the matter anew")
	}
	if err := s.toCommunity(a, "", s.Lead); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.LastAt); err != nil {
		return nil, err
	}
	if c.Reason == pb.ReopenReason_REOPEN_REASON_UNSPECIFIED {
		return nil, rule.Bad("reason", rule.MissingField, "is required")
	}
	if a.Acting == pb.Role_ROLE_SYSTEM {
		if c.Reason != pb.ReopenReason_REOPEN_REASON_SPOT_CHECK && c.Reason != pb.ReopenReason_REOPEN_REASON_RECURRED {
			return nil, rule.Bad("reason", rule.RoleNotAllowed, "this system reopens only after a spot check, or what happened again")
		}
		if s.AutoReopened >= maxAutoReopened {
			return nil, rule.No(rule.ReopeningsUsed, "this system reopened the ticket %d times; a person must decide", maxAutoReopened)
		}
	} else if err := said("note", c.GetParticulars().GetNote()); err != nil {
		return nil, err
	}
	if a.Acting == pb.Role_ROLE_CITIZEN && c.Reason != pb.ReopenReason_REOPEN_REASON_APPEAL {
		return nil, rule.Bad("reason", rule.RoleNotAllowed, "a petitioner can only appeal")
	}
	d := s.due(a)
	if c.Reason == pb.ReopenReason_REOPEN_REASON_APPEAL && !s.ClosedAt.IsZero() {
		by := rule.Stamp(s.Limits.AppealBy)
		if by == nil { // closed before closings told it
			by = d.by(calendar.Appeal, s.ClosedAt)
		}
		if by != nil && !calendar.OnTime(a.OccurredAt, by.AsTime()) {
			return nil, rule.No(rule.AppealLapsed, "the right to appeal lapsed at %s", by.AsTime().In(a.Calendar.Zone()).Format(time.RFC3339))
		}
	}
	e := &pb.TicketReopened{
		Reason: c.Reason, Round: s.Round + 1, Lead: s.Lead, SignBy: d.by(calendar.Sign, a.OccurredAt),
		ContactBy: d.by(calendar.Contact, a.OccurredAt), RedoBy: d.by(calendar.Redo, a.OccurredAt), Sealed: a.Sealed,
	}
	e.CloseBy, e.HandleLimit = d.by(calendar.Close, rule.Instant(e.RedoBy)), d.text(calendar.Redo)
	e.Provisional = d.provisional
	if d.err != nil {
		return nil, d.err
	}
	level, trigger := uint32(supervisionListed), pb.SupervisionTrigger_SUPERVISION_TRIGGER_REOPENED_AGAIN
	if e.Round == 2 {
		level, trigger = supervisionOrder, pb.SupervisionTrigger_SUPERVISION_TRIGGER_REOPENED
	}
	events, err := s.andRaise(a, level, trigger, e)
	if err != nil {
		return nil, err
	}
	if move := s.moved(a, s.Lead, s.LeadPath); move != nil {
		events = append(events, move) // the map changed while nobody had anything to do with it
	}
	return events, nil
}

func (s *State) reopened(meta *pb.EventMeta, e *pb.TicketReopened) {
	at := meta.GetOccurredAt().AsTime()
	s.newRound(e.Round)
	s.Hop, s.Holder, s.NonReturnable, s.Led = 1, e.Lead, true, []string{e.Lead}
	s.DispatchedAt, s.ContactStart, s.HandleStart, s.HandleLimit, s.RoundLimit = at, at, at, e.HandleLimit, e.HandleLimit
	if meta.GetActor().GetRole() == pb.Role_ROLE_SYSTEM {
		s.AutoReopened++
	}
	s.Limits = Limits{SignBy: rule.Instant(e.SignBy), ContactBy: rule.Instant(e.ContactBy), HandleBy: rule.Instant(e.RedoBy), CloseBy: rule.Instant(e.CloseBy), SegmentBy: rule.Instant(e.RedoBy)}
}
