package ticket

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/rule"
)

// A petitioner counts as unreachable after this many failed attempts on this many days.
const (
	unreachableAttempts = 3
	unreachableDays     = 2
)

// callback: the petitioner is asked whether the unit got in touch, whether it is solved, and how satisfied they are (回访).
func callback(s State, a *rule.Asked, c *pb.RecordCallbackRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_CALLER, pb.Role_ROLE_CITIZEN); err != nil {
		return nil, err
	}
	if a.Acting == pb.Role_ROLE_CALLER {
		if err := s.scope(a); err != nil {
			return nil, err
		}
		handling := append([]string{s.Lead, s.ComplainedOf}, s.Co...)
		if primary := a.Linked[s.MergedInto]; primary != nil {
			handling = append(append(handling, primary.Lead), primary.Co...)
		}
		for _, unit := range handling {
			if rule.Within(a.Registry, a.Actor.Unit, unit) {
				return nil, rule.No(rule.SeparationOfDuties, "whoever calls back must not belong to unit %q, which handles the matter or is complained of", unit)
			}
		}
	}
	since := s.VerifiedAt
	if s.State == pb.TicketState_TICKET_STATE_MERGED {
		if err := followed(a.Linked[s.MergedInto]); err != nil {
			return nil, err
		}
		since = s.Decided.At
	} else if err := s.in(pb.TicketState_TICKET_STATE_CALLBACK); err != nil {
		return nil, err
	}
	if err := a.CheckTime(since); err != nil {
		return nil, err
	}
	if s.CallbackSettled {
		return nil, rule.No(rule.AlreadyDone, "the callback of this round is settled")
	}
	if c.Satisfaction > 5 {
		return nil, rule.Bad("satisfaction", rule.BadField, "want 0 to 5")
	}
	if c.Answered {
		if c.Solved == pb.Solved_SOLVED_UNSPECIFIED {
			return nil, rule.Bad("solved", rule.MissingField, "is required when the petitioner answered")
		}
		d := s.due(a)
		e := &pb.CallbackRecorded{
			Contacted: c.Contacted, Solved: c.Solved, Satisfaction: c.Satisfaction, ExclusionBy: d.by(calendar.ExclusionRequest, a.OccurredAt), Sealed: a.Sealed,
		}
		e.Provisional = d.provisional
		if d.err != nil {
			return nil, d.err
		}
		return rule.One(e)
	}
	if c.Solved != pb.Solved_SOLVED_UNSPECIFIED || c.Satisfaction != 0 || c.Contacted {
		return nil, rule.Bad("answered", rule.BadField, "a failed attempt has no answers")
	}
	attempts := append(slices.Clone(s.FailedCallbacks), a.OccurredAt)
	events := []proto.Message{&pb.CallbackAttemptFailed{Attempt: uint32(len(attempts))}}
	if len(attempts) >= unreachableAttempts && days(attempts, a.Calendar.Zone()) >= unreachableDays {
		d := s.due(a)
		e := &pb.CallbackUnreachable{Attempts: uint32(len(attempts)), ExclusionBy: d.by(calendar.ExclusionRequest, a.OccurredAt)}
		e.Provisional = d.provisional
		if d.err != nil {
			return nil, d.err
		}
		events = append(events, e)
	}
	return events, nil
}

// followed refuses the callback of a duplicate while its primary is not done: a duplicate's petitioner is asked of the primary's result.
func followed(primary *pb.Ticket) error {
	switch primary.GetState() {
	case pb.TicketState_TICKET_STATE_CALLBACK, pb.TicketState_TICKET_STATE_CLOSED, pb.TicketState_TICKET_STATE_ARCHIVED:
		return nil
	}
	return rule.No(rule.WrongState, "the ticket is merged, and its primary is %s; this needs it to be verified", rule.Name(primary.GetState()))
}

func days(times []time.Time, zone *time.Location) int {
	seen := map[string]bool{}
	for _, t := range times {
		seen[t.In(zone).Format(time.DateOnly)] = true
	}
	return len(seen)
}

func (s *State) callbackRecorded(at time.Time, e *pb.CallbackRecorded) {
	s.SettledAt = at
	s.CallbackSettled, s.Solved, s.Satisfaction = true, e.Solved, e.Satisfaction
	s.Limits.CallbackBy, s.Limits.ExclusionBy = time.Time{}, rule.Instant(e.ExclusionBy)
}

func (s *State) callbackAttemptFailed(at time.Time) {
	s.FailedCallbacks = append(slices.Clip(s.FailedCallbacks), at)
}

func (s *State) callbackUnreachable(at time.Time, e *pb.CallbackUnreachable) {
	s.SettledAt = at
	s.CallbackSettled, s.Unreachable = true, true
	s.Limits.CallbackBy, s.Limits.ExclusionBy = time.Time{}, rule.Instant(e.ExclusionBy)
}
