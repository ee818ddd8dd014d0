package ticket

import (
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/rule"
)

// appealDecline: the petitioner does not accept that the matter was declined (申诉), once and within the limit.
func appealDecline(s State, a *rule.Asked, _ *pb.AppealDeclineRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_AGENT, pb.Role_ROLE_CITIZEN); err != nil {
		return nil, err
	}
	if a.Acting != pb.Role_ROLE_CITIZEN {
		if err := s.scope(a); err != nil {
			return nil, err
		}
	}
	if err := s.in(pb.TicketState_TICKET_STATE_DECLINED); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.LastAt); err != nil {
		return nil, err
	}
	if s.DeclineAppealed {
		return nil, rule.No(rule.AlreadyDone, "an appeal against the decline was recorded before")
	}
	by := s.Limits.AppealBy
	if by.IsZero() { // it was declined before declines told the limit, or the limit has passed
		d := s.due(a)
		by = rule.Instant(d.by(calendar.DeclineAppeal, s.Decided.At))
		if d.err != nil {
			return nil, d.err
		}
	}
	if !by.IsZero() && !calendar.OnTime(a.OccurredAt, by) {
		return nil, rule.No(rule.AppealLapsed, "the right to appeal lapsed at %s", by.In(a.Calendar.Zone()).Format(time.RFC3339))
	}
	return rule.One(&pb.DeclineAppealed{Sealed: a.Sealed})
}

func (s *State) declineAppealed(_ *pb.EventMeta, _ *pb.DeclineAppealed) {
	s.DeclineAppealed, s.Limits.AppealBy = true, time.Time{}
}

// overturnDecline: the appeal is upheld, and the matter is accepted. Its instant is T0.
func overturnDecline(s State, a *rule.Asked, c *pb.OverturnDeclineRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_SUPERVISOR); err != nil {
		return nil, err
	}
	if err := s.scope(a); err != nil {
		return nil, err
	}
	if err := s.in(pb.TicketState_TICKET_STATE_DECLINED); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.LastAt); err != nil {
		return nil, err
	}
	if err := said("note", c.GetParticulars().GetNote()); err != nil {
		return nil, err
	}
	if !s.DeclineAppealed {
		return nil, rule.No(rule.AppealNeeded, "the petitioner has not appealed against the decline")
	}
	e := &pb.DeclineOverturned{Sealed: a.Sealed}
	e.Path, e.Holder = s.placeNow(a)
	e.Holder = above(a.Registry, e.Holder, s.ComplainedOf)
	e.HolderPath = a.Registry.UnitPath(e.Holder)
	d := s.toDispatch(a)
	e.DispatchBy = d.by(calendar.Dispatch, a.OccurredAt)
	e.Provisional = d.provisional
	if d.err != nil {
		return nil, d.err
	}
	return rule.One(e)
}

func (s *State) declineOverturned(meta *pb.EventMeta, e *pb.DeclineOverturned) {
	s.AcceptedAt, s.Path, s.Holder, s.DeclineReason = meta.GetOccurredAt().AsTime(), e.Path, e.Holder, 0
	s.Limits = Limits{DispatchBy: rule.Instant(e.DispatchBy)}
}
