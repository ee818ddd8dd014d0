package ticket

import (
	"testing"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/registry"
	"github.com/chuishao/dispatch/internal/rule"
)

func TestWhatRunsAfterATicketEndedIsCountedAgainFromItsEnd(t *testing.T) {
	t.Parallel()
	cal, profile := calendar.Default(), calendar.DefaultProfile()
	settled := time.Date(2025, 3, 4, 2, 0, 0, 0, time.UTC)
	ended := settled.Add(26 * time.Hour)
	due := func(timer calendar.Timer, from time.Time) time.Time {
		t.Helper()
		limit, err := profile.Limit(timer, Column(pb.Grade_GRADE_G2))
		if err != nil {
			t.Fatal(err)
		}
		by, _, err := cal.Due(from, limit)
		if err != nil {
			t.Fatal(err)
		}
		return by
	}
	a := &rule.Asked{
		Actor: rule.Actor{Person: "timers", Roles: []pb.Role{pb.Role_ROLE_SYSTEM}}, At: ended.Add(time.Hour), OccurredAt: ended.Add(time.Hour),
		Registry: new(registry.Snapshot), Calendar: cal, Profile: profile, ProfileVersion: "1",
	}
	for _, c := range []struct {
		state             pb.TicketState
		appeal, exclusion time.Time // zero: none runs
	}{
		{pb.TicketState_TICKET_STATE_CLOSED, due(calendar.Appeal, ended), due(calendar.ExclusionRequest, settled)},
		{pb.TicketState_TICKET_STATE_CLOSED, due(calendar.Appeal, ended), time.Time{}},
		{pb.TicketState_TICKET_STATE_DECLINED, due(calendar.DeclineAppeal, ended), time.Time{}},
	} {
		s := State{Grade: pb.Grade_GRADE_G2, SettledAt: settled, LimitsProfile: "1"}
		s.State, s.Decided.At = c.state, ended
		s.Limits.AppealBy, s.Limits.ExclusionBy, s.Limits.HandleBy = c.appeal, c.exclusion, ended.Add(-time.Hour)
		if events, err := recompute(s, a, &pb.RecomputeLimitsRequest{}); err != nil || len(events) != 0 {
			t.Errorf("%s as it was counted: got %v, %v, want nothing to change", c.state, events, err)
		}
		// By the calendar before both came a day later.
		s.Limits.AppealBy = c.appeal.AddDate(0, 0, 1)
		if !c.exclusion.IsZero() {
			s.Limits.ExclusionBy = c.exclusion.AddDate(0, 0, 1)
		}
		events, err := recompute(s, a, &pb.RecomputeLimitsRequest{})
		if err != nil || len(events) != 1 {
			t.Fatalf("%s: got %v, %v, want one event", c.state, events, err)
		}
		e, ok := events[0].(*pb.LimitsRecomputed)
		if !ok || !rule.Instant(e.AppealBy).Equal(c.appeal) || !rule.Instant(e.ExclusionBy).Equal(c.exclusion) || e.HandleBy != nil {
			t.Errorf("%s: got %v, want an appeal by %s, an exclusion by %s", c.state, events[0], c.appeal, c.exclusion)
		}
	}
}
