package dispatch

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/ticket"
)

// Why a part of a deadline was counted.
const (
	causeLimit      = "limit"
	causeExtension  = "extension"
	causeSuspension = "suspension" // what was used before the clock stopped
	causeResumption = "resumption"
)

// part is one stretch of a deadline, before its steps are told.
type part struct {
	cause    string
	start    time.Time
	due      time.Time
	limit    calendar.Limit
	calendar string // the version by which it was counted
	profile  string
}

// Explain tells how one of a ticket's limits came about, from the ticket's history: each stretch with every interval that was counted, by the calendar
// and the profile that the event which set it names. HANDLE if the timer is unspecified. Nothing is due, and there are no parts, if the limit does
// not run.
func (d *Dispatcher) Explain(ctx context.Context, name string, timer pb.TicketTimer) (*pb.ExplainDeadlineResponse, Result, error) {
	stream, err := Stream(name, "tickets")
	if err != nil {
		return nil, Result{}, err
	}
	var s ticket.State
	if _, ok := s.Counting(timer); !ok {
		return nil, Result{}, rule.Bad("timer", rule.BadField, "is not counted from a start: it was set, or follows from another")
	}
	var parts []part
	result := Result{Stream: stream}
	for r, err := range d.store.ReadStream(ctx, stream, 0) {
		if err != nil {
			return nil, result, fmt.Errorf("read %s: %w", stream, err)
		}
		e, err := event.Decode(r)
		if err != nil {
			return nil, result, err
		}
		before := s
		if s, err = ticket.Evolve(s, e.Meta, e.Event); err != nil {
			return nil, result, fmt.Errorf("fold %s@%d: %w", stream, r.Version, err)
		}
		if parts, err = d.counted(parts, &before, &s, timer, &e); err != nil {
			return nil, result, fmt.Errorf("explain %s@%d: %w", stream, r.Version, err)
		}
		result.Version, result.Position = r.Version, r.Position
	}
	if !s.Exists() {
		return nil, result, rule.Bad("name", rule.NotFound, "no such ticket")
	}
	is, _ := s.Counting(timer)
	answer := &pb.ExplainDeadlineResponse{DueAt: rule.Stamp(is.By)}
	if is.By.IsZero() && s.State != pb.TicketState_TICKET_STATE_SUSPENDED {
		return answer, result, nil
	}
	for _, p := range parts {
		m := d.intervals(&p)
		for _, step := range m.Steps {
			answer.Provisional = answer.Provisional || step.Provisional
		}
		answer.Parts = append(answer.Parts, m)
	}
	return answer, result, nil
}

// counted is the parts after one more event.
func (d *Dispatcher) counted(parts []part, before, after *ticket.State, timer pb.TicketTimer, e *event.Decoded) ([]part, error) {
	was, _ := before.Counting(timer)
	is, _ := after.Counting(timer)
	handle := timer == pb.TicketTimer_TICKET_TIMER_HANDLE || timer == pb.TicketTimer_TICKET_TIMER_UNSPECIFIED
	occurred := e.Meta.GetOccurredAt().AsTime()
	fresh := part{cause: causeLimit, start: is.Start, due: is.By, calendar: e.Meta.CalendarVersion, profile: e.Meta.ProfileVersion}
	if fresh.start.IsZero() {
		fresh.start = occurred
	}
	if handle {
		switch event := e.Event.(type) {
		case *pb.ExtensionGranted:
			fresh.cause, fresh.start = causeExtension, was.By
			fresh.limit = calendar.Limit{N: int(event.WorkingDays), Unit: calendar.WorkingDay}
			return append(parts, fresh), nil
		case *pb.SuspensionGranted:
			if event.Renewed {
				return parts, nil
			}
			used, err := d.used(before, occurred, event, e.Meta)
			fresh.cause, fresh.start, fresh.due, fresh.limit = causeSuspension, before.HandleStart, occurred, used
			return append(parts, fresh), err
		case *pb.TicketResumed:
			var err error
			fresh.cause = causeResumption
			fresh.limit, err = calendar.ParseLimit(before.Remaining)
			return append(parts, fresh), err
		case *pb.TicketMerged, *pb.TicketUnmerged:
			return parts, nil // what was set aside comes back as it was
		}
	}
	if is.By.Equal(was.By) || is.By.IsZero() {
		return parts, nil
	}
	if _, ok := e.Event.(*pb.LimitsRecomputed); ok && len(parts) > 0 {
		return d.again(parts, fresh), nil
	}
	var err error
	fresh.limit, err = d.limitOf(after, is.Timer, handle, e.Meta)
	return []part{fresh}, err
}

// used is how much of the handle limit had run out when the clock stopped.
func (d *Dispatcher) used(s *ticket.State, stop time.Time, e *pb.SuspensionGranted, meta *pb.EventMeta) (calendar.Limit, error) {
	left, err := calendar.ParseLimit(e.Remaining)
	if err != nil {
		return left, err
	}
	used := calendar.Limit{Unit: left.Unit}
	used.N, _, err = d.calendarNamed(meta.CalendarVersion).Between(s.HandleStart, stop, left.Unit)
	return used, err
}

// again is the parts as another calendar counts them: those since the clock last began to run, each from where the one before ended.
func (d *Dispatcher) again(parts []part, now part) []part {
	first := len(parts) - 1
	for first > 0 && parts[first].cause == causeExtension {
		first--
	}
	parts = append([]part(nil), parts...)
	c := d.calendarNamed(now.calendar)
	for i := first; i < len(parts); i++ {
		p := &parts[i]
		if p.calendar = now.calendar; i > first {
			p.start = parts[i-1].due
		} else if p.cause == causeLimit {
			p.start = now.start
		}
		if due, _, err := c.Due(p.start, p.limit); err == nil {
			p.due = due
		}
	}
	parts[len(parts)-1].due = now.due
	return parts
}

// limitOf is what a limit that an event set was counted with: what the event says, or what the profile that it names says for the grade.
func (d *Dispatcher) limitOf(s *ticket.State, timer calendar.Timer, handle bool, meta *pb.EventMeta) (calendar.Limit, error) {
	if handle && s.HandleLimit != "" {
		return calendar.ParseLimit(s.HandleLimit)
	}
	profile, ok := d.limits.inForce.Load().state.ProfileNamed(meta.ProfileVersion)
	if !ok {
		profile = d.Profile()
	}
	grade := s.Grade
	if at := meta.GetRecordedAt().AsTime(); grade == pb.Grade_GRADE_UNSPECIFIED {
		if category, ok := d.registry.at(at).Category(s.Category, at); ok {
			grade = category.Grade
		}
	}
	return profile.Limit(timer, ticket.Column(grade))
}

// calendarNamed is the calendar of a version; of one that this history does not know, that in force before any was loaded.
func (d *Dispatcher) calendarNamed(version string) *calendar.Calendar {
	if c, ok := d.limits.inForce.Load().state.CalendarNamed(version); ok {
		return c
	}
	return d.limits.empty.state.Calendar()
}

// intervals is a part with every interval counted. There are none where they would not lead to the part's end, as for a limit of an unknown version.
func (d *Dispatcher) intervals(p *part) *pb.DeadlinePart {
	m := &pb.DeadlinePart{
		StartAt: rule.Stamp(p.start), DueAt: rule.Stamp(p.due), Limit: p.limit.String(), Cause: p.cause,
		CalendarVersion: p.calendar, ProfileVersion: p.profile,
	}
	e, err := d.calendarNamed(p.calendar).Explain(p.start, p.limit)
	if err != nil || p.cause != causeSuspension && !e.Due.Equal(p.due) {
		return m
	}
	for _, s := range e.Steps {
		m.Steps = append(m.Steps, &pb.DeadlineStep{
			From: timestamppb.New(s.From), To: timestamppb.New(s.To), Counted: s.Counted, Why: string(s.Why), Provisional: s.Provisional,
		})
	}
	return m
}
