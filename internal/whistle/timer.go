package whistle

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// timers is one more than the number of the last timer.
const timers = int(pb.WhistleTimer_WHISTLE_TIMER_RESOLVE) + 1

// Timers are the timers that run and have not fired, the earliest first: while a whistle is under way those of each participant that has to come
// and has not, and of the whole; that of the resolution also once the street has confirmed that the matter is not resolved, until it is raised;
// and that of the review of an emergency, which is due whatever became of it. One fires once: PassWhistleTimer with
// exactly that timer, unit and instant, once the second it lies in is over.
func (s *State) Timers() []rule.Timer {
	if !slices.Contains(reviewable, s.State) {
		return nil
	}
	on := slices.Contains(under, s.State)
	var run []rule.Timer
	add := func(which pb.WhistleTimer, unit string, by time.Time, fired bool) {
		if !by.IsZero() && !fired {
			run = append(run, rule.Timer{Which: int32(which), Unit: unit, By: by})
		}
	}
	for i := range s.Participants {
		p := &s.Participants[i]
		if !on || !p.Compulsory || !p.expected() {
			continue
		}
		const sign, contact, reportIn = pb.WhistleTimer_WHISTLE_TIMER_SIGN, pb.WhistleTimer_WHISTLE_TIMER_CONTACT, pb.WhistleTimer_WHISTLE_TIMER_REPORT_IN
		add(sign, p.Unit, rule.Instant(p.SignBy), p.fired[sign] || !p.SignedAt.IsZero())
		add(contact, p.Unit, rule.Instant(p.ContactBy), p.fired[contact] || !p.ContactedAt.IsZero())
		add(reportIn, p.Unit, rule.Instant(p.ReportInBy), false)
	}
	const review, resolve = pb.WhistleTimer_WHISTLE_TIMER_REVIEW, pb.WhistleTimer_WHISTLE_TIMER_RESOLVE
	add(review, "", s.ReviewBy, s.fired[review] || !s.ReviewedAt.IsZero())
	add(resolve, "", s.ResolveBy, s.fired[resolve] || !on && !s.confirmedUnresolved())
	slices.SortStableFunc(run, func(a, b rule.Timer) int { return a.By.Compare(b.By) })
	return run
}

// passTimer: an instant has passed by which something should have happened. What follows happened at that instant, or where the whistle came into
// its state only later, then. No events: the timer does not run any more, or what it waits for could still be done in time, which is so to the
// end of its second.
func passTimer(s State, a *rule.Asked, c *pb.PassWhistleTimerRequest) ([]proto.Message, error) {
	ok, err := rule.Passed(a, c.Timer, c.By, rule.Runs(s.Timers(), c.Timer, c.Unit))
	if err != nil || !ok {
		return nil, err
	}
	at := rule.Latest(c.By.AsTime(), s.Decided.At)
	switch c.Timer {
	case pb.WhistleTimer_WHISTLE_TIMER_REPORT_IN:
		return rule.One(rule.Then(&pb.NoShow{Unit: c.Unit, Convened: s.convened(c.Unit)}, at))
	case pb.WhistleTimer_WHISTLE_TIMER_SIGN, pb.WhistleTimer_WHISTLE_TIMER_CONTACT, pb.WhistleTimer_WHISTLE_TIMER_REVIEW,
		pb.WhistleTimer_WHISTLE_TIMER_RESOLVE:
		return rule.One(rule.Then(&pb.WhistleTimerPassed{Timer: c.Timer, By: c.By, Unit: c.Unit}, at))
	}
	return nil, fmt.Errorf("no rule for timer %s", c.Timer)
}

// Fired says whether a timer has fired: of a participant, or of the whole where unit is empty.
func (s *State) Fired(which pb.WhistleTimer, unit string) bool {
	if int(which) <= 0 || int(which) >= timers {
		return false
	}
	if unit == "" {
		return s.fired[which]
	}
	p := s.find(unit)
	return p != nil && p.fired[which]
}

// timerPassed notes that a timer fired.
func (s *State) timerPassed(e *pb.WhistleTimerPassed) {
	if int(e.Timer) <= 0 || int(e.Timer) >= timers {
		return
	}
	if e.Unit == "" {
		s.fired[e.Timer] = true
		return
	}
	s.participant(e.Unit, func(p *Participant) { p.fired[e.Timer] = true })
}
