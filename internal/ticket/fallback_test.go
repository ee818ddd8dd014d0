package ticket

import (
	"testing"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/examples/wuxi"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/registry"
	"github.com/chuishao/dispatch/internal/rule"
)

func TestWithoutARulingTheFallbackUnitTakesItAndKeepsTheClock(t *testing.T) {
	t.Parallel()
	content, faults := registry.ReadDir(wuxi.Files)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	now := time.Date(2025, 3, 7, 1, 0, 0, 0, time.UTC)
	a := &rule.Asked{
		Actor: rule.Actor{Person: "timer", Roles: []pb.Role{pb.Role_ROLE_SYSTEM}, Unit: "320200000000-ZH"}, At: now, OccurredAt: now,
		Registry: registry.NewSnapshot("v", now, content.Pieces(), nil), Calendar: calendar.Default(), Profile: calendar.DefaultProfile(),
	}
	path, _ := a.Registry.Path("320205001001", now)
	handleBy := now.Add(5 * 24 * time.Hour)
	dispute := State{
		Life:     rule.Life[pb.TicketState]{State: pb.TicketState_TICKET_STATE_ADJUDICATION, Events: 9},
		Category: "0302", Grade: pb.Grade_GRADE_G2, Path: path, Holder: "320205000000",
		Round: 1, Hop: 2, Returns: 2, Led: []string{"320205000000-CG", "320205000000-JT"}, HandleLimit: "5 WD",
		Limits: Limits{HandleBy: handleBy, CloseBy: handleBy.Add(time.Hour), RulingBy: now},
	}
	for _, c := range []struct {
		name   string
		change func(*State)
		want   string
	}{
		{"the unit that triage named", func(s *State) { s.Fallback = "320205000000-SZ" }, "320205000000-SZ"},
		{"one of those that denied it", func(s *State) { s.Fallback = "320205000000-CG" }, "320205000000-CG"},
		{"the street where it lies", func(*State) {}, "320205001000"},
		{"the street where the one named has been closed", func(s *State) { s.Fallback = "gone" }, "320205001000"},
		{"the street where the community named may not have it", func(s *State) { s.Fallback, s.Category = "320205001001", "0202" }, "320205001000"},
		{"who holds it where the street is complained of", func(s *State) { s.ComplainedOf = "320205001000" }, "320205000000"},
		{"who is above the holder where that is complained of", func(s *State) { s.ComplainedOf = "320205000000" }, "320205000000-ZH"},
		{"who holds it where the place is unknown", func(s *State) { s.Path, s.Holder = nil, "320200000000" }, "320200000000"},
	} {
		s := dispute
		c.change(&s)
		events, err := fallback(s, a)
		if err != nil || len(events) != 2 {
			t.Errorf("%s: got %v, %v", c.name, events, err)
			continue
		}
		assigned, sent := events[0].(*pb.FallbackAssigned), events[1].(*pb.TicketDispatched)
		if assigned.Unit != c.want || sent.Lead != c.want || !sent.NonReturnable || sent.ReturnBy != nil || sent.BasisRule != 8 || !rule.Instant(sent.HandleBy).Equal(handleBy) {
			t.Errorf("%s: got %v and %v, want %s", c.name, assigned, sent, c.want)
		}
		meta := &pb.EventMeta{OccurredAt: rule.Stamp(now), RecordedAt: rule.Stamp(now), Actor: &pb.Actor{Person: "timer"}}
		for _, e := range events {
			before := s
			if s, err = Evolve(s, meta, e); err == nil {
				err = CheckInvariants(before, s, meta, e)
			}
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		if s.Lead != c.want || !s.NonReturnable || !s.Limits.RulingBy.IsZero() {
			t.Errorf("%s: got lead %s, not returnable %t, ruling by %s", c.name, s.Lead, s.NonReturnable, s.Limits.RulingBy)
		}
	}
}

func TestAReturnNobodyDecidedOnLeavesTheTicketWithItsLead(t *testing.T) {
	t.Parallel()
	s := lived(pb.TicketState_TICKET_STATE_RETURN_REVIEW)
	s.Limits.DecideReturnBy = noon
	meta := &pb.EventMeta{OccurredAt: after(0), RecordedAt: after(0), Actor: &pb.Actor{Person: "timer"}}
	for _, e := range lapseReturn(s, nil) {
		if e, ok := e.(*pb.ReturnRejected); !ok || !e.Lapsed || e.Unit != "a" {
			t.Errorf("got %v", e)
		}
		now, err := Evolve(s, meta, e)
		if err == nil {
			err = CheckInvariants(s, now, meta, e)
		}
		if err != nil || now.State != pb.TicketState_TICKET_STATE_HANDLING || now.Lead != "a" || !now.NonReturnable || !now.Limits.DecideReturnBy.IsZero() {
			t.Errorf("got %v, %v", now, err)
		}
	}
}
