package policy_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/policy"
)

const clock = "2006-01-02 15:04:05"

// at is an instant by the city's clocks.
func at(t *testing.T, text string) time.Time {
	t.Helper()
	when, err := time.ParseInLocation(clock, text, dispatchtest.Start.Location())
	if err != nil {
		t.Fatal(err)
	}
	return when
}

func is(t *testing.T, what string, got time.Time, want string) {
	t.Helper()
	if !got.Equal(at(t, want)) {
		t.Errorf("%s: got %s, want %s", what, got.In(dispatchtest.Start.Location()).Format(clock), want)
	}
}

// reported are the names of all tickets that were reported up to a position.
func reported(store eventstore.Store) func(context.Context, eventstore.Position) iter.Seq2[string, error] {
	return func(ctx context.Context, upTo eventstore.Position) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			for r, err := range store.ReadAll(ctx, 0) {
				if err != nil {
					yield("", err)
					return
				}
				if r.Position > upTo {
					return
				}
				if r.Type == "TicketReported" && !yield("tickets/"+dispatch.ID(r.Stream), nil) {
					return
				}
			}
		}
	}
}

// corrected is 2025 with 26 January no longer a working day.
func corrected(t *testing.T) *pb.LoadCalendarYearRequest {
	t.Helper()
	for _, y := range calendar.Default().Table().Years {
		if y.Year == 2025 {
			return &pb.LoadCalendarYearRequest{
				RequestId: "2025", Year: 2025, Off: y.Off, Work: slices.DeleteFunc(y.Work, func(d string) bool { return d == "2025-01-26" }),
			}
		}
	}
	t.Fatal("no 2025")
	return nil
}

func history(t *testing.T, c *dispatchtest.City, name string) (events []*event.Decoded) {
	t.Helper()
	for r, err := range c.Store.ReadStream(t.Context(), "ticket-"+strings.TrimPrefix(name, "tickets/"), 0) {
		if err != nil {
			t.Fatal(err)
		}
		e, err := event.Decode(r)
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, &e)
	}
	return events
}

func TestACorrectedYearMovesTheLimitsOfOpenTicketsByEventAndNoOthers(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	c.Clock.Set(at(t, "2025-01-24 16:30:00"))
	auditor := dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_AUDITOR)
	load := func(id, content string) {
		t.Helper()
		if _, _, err := c.LoadProfile(t.Context(), auditor, &pb.LoadProfileRequest{RequestId: id, Content: content}); err != nil {
			t.Fatal(err)
		}
	}
	// B is counted in natural days, the others in working days.
	standard := calendar.DefaultProfile().JSON()
	natural := strings.Replace(strings.Replace(standard, `"name": "default"`, `"name": "natural"`, 1), `"handle": {"G0": "2 NH", "G1": "24 NH", "G2": "5 WD"`, `"handle": {"G0": "2 NH", "G1": "24 NH", "G2": "7 ND"`, 1)
	load("natural", natural)
	b := c.Report(t, dispatchtest.Community)
	c.ToHandling(t, b, dispatchtest.DistrictUrban)
	load("standard", standard)
	a, extended, closed := c.Report(t, dispatchtest.Community), c.Report(t, dispatchtest.Community), c.Report(t, dispatchtest.Community)
	for _, name := range []string{a, extended, closed} {
		c.ToHandling(t, name, dispatchtest.DistrictUrban)
	}
	clerk := dispatchtest.As(dispatchtest.DistrictUrban, pb.Role_ROLE_DEPARTMENT_CLERK)
	c.Do(t, clerk, &pb.RequestExtensionRequest{
		Name: extended, RequestId: c.RequestID(), Kind: pb.ExtensionKind_EXTENSION_KIND_STANDARD, WorkingDays: 2, Particulars: &pb.Particulars{Text: "x", Reply: "y"},
	})
	c.Do(t, dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_DUTY_LEADER), &pb.DecideExtensionRequest{Name: extended, RequestId: c.RequestID(), Granted: true})
	c.ToClosed(t, closed, dispatchtest.DistrictUrban)
	state := func(name string) (handle, closing time.Time) {
		t.Helper()
		s, _, err := c.LoadTicket(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return s.Limits.HandleBy, s.Limits.CloseBy
	}
	handle, closing := state(a)
	is(t, "A's handling", handle, "2025-02-07 23:59:59")
	is(t, "A's closing", closing, "2025-02-12 23:59:59")
	if !calendar.OnTime(at(t, "2025-02-07 23:59:59"), handle) {
		t.Error("A's result of the last second is late")
	}
	handle, _ = state(b)
	is(t, "B's handling", handle, "2025-01-31 23:59:59")
	if calendar.OnTime(at(t, "2025-02-01 00:00:00"), handle) {
		t.Error("B's result of the second after is on time")
	}
	handle, _ = state(extended)
	is(t, "the extended handling", handle, "2025-02-10 23:59:59")
	n := len(history(t, c, closed))

	before := c.Calendar().Version()
	loaded, _, err := c.LoadCalendarYear(t.Context(), auditor, corrected(t))
	if err != nil {
		t.Fatal(err)
	}
	// Two replicas compute again at the same time.
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 2)
	for range 2 {
		p := policy.Policy{Dispatcher: c.Dispatcher, Checkpoint: &place{}, OpenTickets: reported(c.Store), OnTrouble: func(err error) { t.Error(err) }}
		go func() { done <- p.Run(ctx) }()
	}
	moved := 0
	for r, err := range c.Store.Subscribe(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Type == "LimitsRecomputed" {
			if moved++; moved == 4 {
				break
			}
		}
	}
	stop()
	for range 2 {
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	// And a third comes after all.
	if err := c.RecomputeOpen(t.Context(), loaded.Version(), "registry-limits@3", reported(c.Store)(t.Context(), 1<<62)); err != nil {
		t.Fatal(err)
	}

	handle, closing = state(a)
	is(t, "A's handling", handle, "2025-02-08 23:59:59")
	is(t, "A's closing", closing, "2025-02-13 23:59:59")
	handle, _ = state(extended)
	is(t, "the extended handling", handle, "2025-02-11 23:59:59")
	handle, _ = state(b)
	is(t, "B's handling", handle, "2025-01-31 23:59:59")
	// Of what is closed only the right to ask for exclusion ran in working days.
	ended := history(t, c, closed)
	if e, ok := ended[len(ended)-1].Event.(*pb.LimitsRecomputed); !ok || len(ended) != n+1 || e.ExclusionBy == nil || e.HandleBy != nil || e.CloseBy != nil || e.AppealBy != nil {
		t.Errorf("what is closed got %d events, the last %v", len(ended)-n, ended[len(ended)-1].Event)
	}
	// Of B only what is counted in working days moved, with the profile that it was set under.
	of := history(t, c, b)
	if e, ok := of[len(of)-1].Event.(*pb.LimitsRecomputed); !ok || e.HandleBy != nil || e.CloseBy != nil || !e.ContactBy.AsTime().Equal(at(t, "2025-01-27 23:59:59")) {
		t.Errorf("B: got %v", of[len(of)-1].Event)
	}
	events := history(t, c, a)
	last := events[len(events)-1]
	if last.Type != "LimitsRecomputed" || last.Meta.CalendarVersion != loaded.Version() || events[len(events)-2].Meta.CalendarVersion != before {
		t.Errorf("got %s under calendar %s after %s, want LimitsRecomputed under %s after %s", last.Type, last.Meta.CalendarVersion, events[len(events)-2].Meta.CalendarVersion, loaded.Version(), before)
	}
	if last.Meta.RequestId != "recompute/"+loaded.Version()+"/"+strings.TrimPrefix(a, "tickets/") || last.Meta.CausedBy != "registry-limits@3" {
		t.Errorf("got request %s caused by %s", last.Meta.RequestId, last.Meta.CausedBy)
	}

	// Both versions can be told of afterwards.
	explained := func(name string) *pb.DeadlinePart {
		t.Helper()
		got, _, err := c.Explain(t.Context(), name, pb.TicketTimer_TICKET_TIMER_HANDLE)
		if err != nil || len(got.Parts) == 0 {
			t.Fatalf("%s: got %v, %v", name, got, err)
		}
		return got.Parts[len(got.Parts)-1]
	}
	part := explained(a)
	if part.CalendarVersion != loaded.Version() || part.Limit != "5 WD" || counted(part) != 5 {
		t.Errorf("A: got %v", part)
	}
	if part = explained(b); part.CalendarVersion != before || part.ProfileVersion != "natural@3" || part.Limit != "7 ND" || counted(part) != 7 {
		t.Errorf("B: got %v", part)
	}
	if part = explained(extended); part.Cause != "extension" || part.Limit != "2 WD" || !part.StartAt.AsTime().Equal(at(t, "2025-02-08 23:59:59")) || counted(part) != 2 {
		t.Errorf("the extension: got %v", part)
	}
}

func counted(p *pb.DeadlinePart) (n int) {
	for _, s := range p.Steps {
		if s.Counted {
			n++
		}
	}
	return n
}

func TestAYearThatBecomesKnownMakesLimitsCertain(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	c.Clock.Set(at(t, "2026-12-29 10:00:00"))
	name := c.Report(t, dispatchtest.Community)
	c.ToHandling(t, name, dispatchtest.DistrictUrban)
	load := func(r *pb.LoadCalendarYearRequest) {
		t.Helper()
		loaded, _, err := c.LoadCalendarYear(t.Context(), dispatchtest.System, r)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.RecomputeOpen(t.Context(), loaded.Version(), "", reported(c.Store)(t.Context(), 1<<62)); err != nil {
			t.Fatal(err)
		}
	}
	s, _, err := c.LoadTicket(t.Context(), name)
	if err != nil || !s.Limits.Provisional {
		t.Fatalf("got provisional %t, %v", s.Limits.Provisional, err)
	}
	is(t, "the guess", s.Limits.HandleBy, "2027-01-05 23:59:59")
	load(&pb.LoadCalendarYearRequest{RequestId: "1", Year: 2027, Off: []string{"2027-01-01"}})
	s, _, err = c.LoadTicket(t.Context(), name)
	if err != nil || s.Limits.Provisional {
		t.Fatalf("got provisional %t, %v", s.Limits.Provisional, err)
	}
	is(t, "what is known", s.Limits.HandleBy, "2027-01-06 23:59:59")
	n := len(history(t, c, name))
	// What has passed, and would only have been another instant of the past, stays.
	c.Clock.Set(at(t, "2027-03-01 10:00:00"))
	load(&pb.LoadCalendarYearRequest{RequestId: "2", Year: 2027, Off: []string{"2027-01-01", "2027-01-04"}})
	if got := history(t, c, name); len(got) != n {
		t.Errorf("got %v", proto.MessageName(got[len(got)-1].Event))
	}
}
