package ticket

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/rule"
)

// maxExtensions is how often a round's limit may be extended.
const maxExtensions = 2

// heads are the roles that put their name to a second extension.
var heads = []pb.Role{
	pb.Role_ROLE_DEPARTMENT_HEAD, pb.Role_ROLE_STREET_SECRETARY, pb.Role_ROLE_STREET_DIRECTOR, pb.Role_ROLE_COMMUNITY_SECRETARY,
}

// requestExtension: the lead asks for more time (延期), while there still is some, and has told the petitioner.
func requestExtension(s State, a *rule.Asked, c *pb.RequestExtensionRequest) ([]proto.Message, error) {
	if err := s.byLead(a); err != nil {
		return nil, err
	}
	if err := s.in(pb.TicketState_TICKET_STATE_HANDLING); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.Decided.At); err != nil {
		return nil, err
	}
	if c.Kind == pb.ExtensionKind_EXTENSION_KIND_UNSPECIFIED {
		return nil, rule.Bad("kind", rule.MissingField, "is required")
	}
	if c.WorkingDays == 0 {
		return nil, rule.Bad("working_days", rule.MissingField, "is required: at least 1")
	}
	if err := said("text", c.GetParticulars().GetText()); err != nil {
		return nil, err
	}
	if err := said("reply", c.GetParticulars().GetReply()); err != nil {
		return nil, err
	}
	if s.Extension != nil {
		return nil, rule.No(rule.AlreadyProposed, "an extension is asked for already and waits to be decided")
	}
	if len(s.ExtendedBy) >= maxExtensions {
		return nil, rule.No(rule.ExtensionsUsed, "the limit was extended %d times in this round", maxExtensions)
	}
	if len(s.ExtendedBy) > 0 {
		if err := a.Require(heads...); err != nil {
			return nil, err
		}
	}
	if err := s.beforeLimit(a); err != nil {
		return nil, err
	}
	by, provisional, err := s.extended(a, c.WorkingDays)
	if err != nil {
		return nil, err
	}
	return rule.One(&pb.ExtensionRequested{
		Kind: c.Kind, WorkingDays: c.WorkingDays, HandleBy: rule.Stamp(by), Number: uint32(len(s.ExtendedBy)) + 1, Sealed: a.Sealed, Provisional: provisional,
	})
}

// beforeLimit refuses what may only be done while the limit has not passed: neither when it happened nor when it is recorded, so that nothing
// is given in retrospect.
func (s *State) beforeLimit(a *rule.Asked) error {
	by := s.Limits.HandleBy
	if calendar.OnTime(a.At, by) && calendar.OnTime(a.OccurredAt, by) {
		return nil
	}
	return rule.No(rule.LimitPassed, "the limit passed at %s; what was not decided before cannot be any more", by.In(a.Calendar.Zone()).Format(time.RFC3339))
}

// extended is the handle limit moved by so many working days, counted from the limit itself. One extension moves it by no more than the round's
// limit was at first, or as a corrected grade shortened it, and by no more than the profile allows.
func (s *State) extended(a *rule.Asked, days uint32) (by time.Time, provisional bool, err error) {
	old := s.Limits.HandleBy
	tooLong := rule.Bad("working_days", rule.ExtensionTooLong, "one extension is at most the original limit, and at most what the profile allows")
	if days > calendar.MaxN {
		return by, false, tooLong
	}
	by, provisional, err = a.Calendar.Extend(old, calendar.Limit{N: int(days), Unit: calendar.WorkingDay})
	if err != nil {
		return by, false, rule.Bad("working_days", rule.DeadlineOutOfRange, "the limit cannot be moved that far")
	}
	for _, t := range []calendar.Timer{s.handleTimer(), calendar.Extension} {
		most, err := a.Profile.Limit(t, Column(s.Grade))
		if t == s.handleTimer() && s.RoundLimit != "" {
			most, err = calendar.ParseLimit(s.RoundLimit)
		}
		if err != nil {
			return by, false, rule.No(rule.DeadlineOutOfRange, "the profile has no limit %q", t)
		}
		if most.None() || most.N == 0 {
			return by, false, tooLong
		}
		latest, _, err := a.Calendar.Extend(old, most)
		if err != nil {
			return by, false, rule.No(rule.DeadlineOutOfRange, "the limit %q cannot be computed from that time", t)
		}
		if by.After(latest) {
			return by, false, tooLong
		}
	}
	return by, provisional || s.Limits.isGuess(handlePlace), nil
}

// handleTimer is the timer of the round's handling.
func (s *State) handleTimer() calendar.Timer {
	if s.Round > 1 {
		return calendar.Redo
	}
	return calendar.Handle
}

// decideExtension: the centre says yes or no (延期审批): a duty leader to a first standard one, a supervisor to one for engineering and to the
// second. Never tacitly, never in retrospect.
func decideExtension(s State, a *rule.Asked, c *pb.DecideExtensionRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_DUTY_LEADER, pb.Role_ROLE_SUPERVISOR); err != nil {
		return nil, err
	}
	if err := s.decidesForOthers(a); err != nil {
		return nil, err
	}
	if err := s.in(pb.TicketState_TICKET_STATE_HANDLING); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.LastAt); err != nil {
		return nil, err
	}
	asked := s.Extension
	if asked == nil {
		return nil, rule.No(rule.NothingProposed, "no extension is asked for")
	}
	decides := pb.Role_ROLE_DUTY_LEADER
	if asked.Kind == pb.ExtensionKind_EXTENSION_KIND_ENGINEERING || asked.Number > 1 {
		decides = pb.Role_ROLE_SUPERVISOR
	}
	if err := a.Require(decides); err != nil {
		return nil, err
	}
	if err := s.beforeLimit(a); err != nil {
		return nil, err
	}
	if !c.Granted {
		if err := said("note", c.GetParticulars().GetNote()); err != nil {
			return nil, err
		}
		return rule.One(&pb.ExtensionRefused{Sealed: a.Sealed})
	}
	// Computed again: the limit may have been shortened, or the calendar corrected, since it was asked.
	by, provisional, err := s.extended(a, asked.WorkingDays)
	if err != nil {
		return nil, err
	}
	segment, guess, err := a.Calendar.Extend(s.Limits.SegmentBy, calendar.Limit{N: int(asked.WorkingDays), Unit: calendar.WorkingDay})
	if err != nil {
		return nil, rule.No(rule.DeadlineOutOfRange, "the limit cannot be moved that far")
	}
	d := s.due(a)
	e := &pb.ExtensionGranted{
		HandleBy: rule.Stamp(by), CloseBy: d.by(calendar.Close, by), SegmentBy: rule.Stamp(segment),
		Number: asked.Number, WorkingDays: asked.WorkingDays, Sealed: a.Sealed,
	}
	e.Provisional = provisional || guess || d.provisional
	if d.err != nil {
		return nil, d.err
	}
	return rule.One(e)
}

// decidesForOthers refuses who has no say over the ticket from above, and who belongs to the lead, a co-handler or the unit complained of:
// nobody gives time to themselves, not even the root.
func (s *State) decidesForOthers(a *rule.Asked) error {
	if err := s.fromAbove(a); err != nil {
		return err
	}
	if rule.Within(a.Registry, a.Actor.Unit, s.Lead) {
		return rule.No(rule.SeparationOfDuties, "whoever decides must not belong to unit %q, which asks", s.Lead)
	}
	return nil
}

// lapseExtension is what becomes of an extension that nobody decided before the limit passed: it is refused. Nil if none is asked for.
func lapseExtension(s State) []proto.Message {
	if s.Extension == nil {
		return nil
	}
	return []proto.Message{&pb.ExtensionRefused{Lapsed: true}}
}

func (s *State) extensionRequested(_ *pb.EventMeta, e *pb.ExtensionRequested) { s.Extension = e }

func (s *State) extensionGranted(_ *pb.EventMeta, e *pb.ExtensionGranted) {
	s.Extension = nil
	s.ExtendedBy = append(slices.Clip(s.ExtendedBy), e.WorkingDays)
	s.setHandle(e.HandleBy, e.CloseBy, e.SegmentBy)
}

func (s *State) extensionRefused(_ *pb.EventMeta, _ *pb.ExtensionRefused) { s.Extension = nil }

// setHandle sets the limits of handling and of what depends on it.
func (s *State) setHandle(handle, closing, segment *timestamppb.Timestamp) {
	s.Limits.HandleBy, s.Limits.CloseBy, s.Limits.SegmentBy = rule.Instant(handle), rule.Instant(closing), rule.Instant(segment)
}

// countAnew forgets by how much the limit was extended, where it is now counted from another start or with another limit. How often it was
// extended stays.
func (s *State) countAnew() { s.ExtendedBy = make([]uint32, len(s.ExtendedBy)) }

// moot forgets requests for time and for a whistle that nobody can decide any more, since the matter is not in hand, and a suspension that ended with it.
func (s *State) moot() {
	if s.State != pb.TicketState_TICKET_STATE_HANDLING {
		s.WhistleAsked = nil
	}
	switch s.State {
	case pb.TicketState_TICKET_STATE_HANDLING:
	case pb.TicketState_TICKET_STATE_SUSPENDED:
		s.Extension = nil
	default:
		s.Extension = nil
		s.notSuspended()
	}
}
