package dispatch_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/examples/wuxi"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/registry"
	"github.com/chuishao/dispatch/internal/rule"
)

// beside is a second dispatcher on the city's history, as another process has one.
func beside(t testing.TB, c *dispatchtest.City) *dispatch.Dispatcher {
	t.Helper()
	d, err := dispatch.New(t.Context(), c.Store, c.Keys, dispatch.Options{Clock: c.Clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// at carries out a command at a dispatcher, which must not refuse it.
func at(t testing.TB, d *dispatch.Dispatcher, actor rule.Actor, command proto.Message) dispatch.Result {
	t.Helper()
	_, result, err := d.Ticket(t.Context(), dispatch.Request{Actor: actor, Command: command})
	if err != nil {
		t.Fatalf("%T: %v", command, err)
	}
	return result
}

// knows has a dispatcher look at a ticket, so that it remembers it as it is now.
func knows(t testing.TB, d *dispatch.Dispatcher, name string) {
	t.Helper()
	if _, _, err := d.LoadTicket(t.Context(), name); err != nil {
		t.Fatal(err)
	}
}

func TestWhatOneOfTwoDispatchersRecordedTheOtherShowsAtOnce(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	other := beside(t, c)
	name := c.Report(t, dispatchtest.Community)
	c.ToHandling(t, name, dispatchtest.Street)
	clerk := dispatchtest.As(dispatchtest.Street, pb.Role_ROLE_STREET_CLERK)
	for n, one := range []*dispatch.Dispatcher{c.Dispatcher, other, c.Dispatcher, other, c.Dispatcher} {
		then := []*dispatch.Dispatcher{other, c.Dispatcher}[n%2]
		knows(t, then, name)
		result := at(t, one, clerk, &pb.RecordContactRequest{Name: name, RequestId: fmt.Sprint("s", n), Channel: "phone", Reached: true})
		s, seen, err := then.LoadTicket(t.Context(), name)
		if err != nil || seen.Version != result.Version || seen.Position != result.Position || uint64(s.Events) != uint64(result.Version) {
			t.Fatalf("got %+v, %v; want %+v", seen, err, result)
		}
	}

	blow := dispatch.Request{Actor: dispatchtest.As(dispatchtest.Street, pb.Role_ROLE_STREET_LEADER), Command: &pb.BlowWhistleRequest{
		RequestId: "blow", Kind: pb.WhistleKind_WHISTLE_KIND_ROUTINE, Tickets: []string{name}, Particulars: &pb.Particulars{Text: "x"},
		Summons: []*pb.Summons{{Unit: dispatchtest.DistrictUrban}},
	}}
	knows(t, other, name)
	_, blown, err := c.Whistle(t.Context(), blow)
	if err != nil {
		t.Fatal(err)
	}
	if s, seen, err := other.LoadWhistle(t.Context(), "whistles/"+dispatch.ID(blown.Stream)); err != nil || seen.Version != blown.Version || len(s.Participants) != 1 {
		t.Errorf("got %+v, %v; want the whistle as it was blown", seen, err)
	}
	if s, _, err := other.LoadTicket(t.Context(), name); err != nil || len(s.Whistles) != 1 {
		t.Errorf("got whistles %v, %v; want one", s.Whistles, err)
	}
}

func TestOfTwoDispatchersEachDecidesOnWhatTheOtherRecorded(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	other := beside(t, c)
	name := accepted(t, c)
	triage := &pb.TriageTicketRequest{Name: name, RequestId: "t", Category: "0302", Grade: pb.Grade_GRADE_G2}
	to := &pb.DispatchTicketRequest{Name: name, RequestId: "d", Lead: dispatchtest.DistrictUrban}

	// What one remembers refuses; what the other recorded since makes it possible.
	knows(t, other, name)
	if _, _, err := other.Ticket(t.Context(), dispatch.Request{Actor: desk, Command: to}); reason(err) != rule.WrongState {
		t.Fatalf("got %v; want %s before the triage", err, rule.WrongState)
	}
	c.Do(t, desk, triage)
	at(t, other, desk, to)

	// What one remembers allows; what the other recorded since refuses it, and is named.
	again := proto.CloneOf(to)
	again.RequestId, again.Lead = "d2", dispatchtest.DistrictTraffic
	_, _, err := c.Ticket(t.Context(), dispatch.Request{Actor: desk, Command: again})
	refused, ok := errors.AsType[*rule.Refusal](err)
	if !ok || refused.Reason != rule.WrongState || refused.DecidedBy != "TicketDispatched@4 by unit "+dispatchtest.CityCentre {
		t.Errorf("got %v; want a refusal that names what the other recorded", err)
	}

	// An etag is that of the history, not of what one remembers.
	clerk := dispatchtest.As(dispatchtest.DistrictUrban, pb.Role_ROLE_DEPARTMENT_CLERK)
	knows(t, other, name)
	signed := at(t, c.Dispatcher, clerk, &pb.SignTicketRequest{Name: name, RequestId: "s", Etag: `"4"`})
	contact := &pb.RecordContactRequest{Name: name, RequestId: "c", Channel: "phone", Reached: true, Etag: `"4"`}
	if _, _, err := other.Ticket(t.Context(), dispatch.Request{Actor: clerk, Command: contact}); !errors.As(err, new(*eventstore.ConflictError)) {
		t.Errorf("got %v; want a conflict", err)
	}
	contact.Etag = signed.ETag()
	at(t, other, clerk, contact)
}

func TestARequestThatOneDispatcherCarriedOutTheOtherRepeats(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	other := beside(t, c)
	name := c.Report(t, dispatchtest.Community)
	accept := &pb.AcceptTicketRequest{Name: name, RequestId: "a"}
	knows(t, other, name)
	first := at(t, c.Dispatcher, dispatchtest.Hotline, accept)
	c.Clock.Add(time.Second) // or both would record the very same event
	for _, d := range []*dispatch.Dispatcher{other, beside(t, c)} {
		if got := at(t, d, dispatchtest.Hotline, accept); !got.Repeated || got.Version != first.Version || got.Position != first.Position {
			t.Errorf("got %+v; want %+v repeated", got, first)
		}
	}

	// Merged, unmerged, and its primary merged elsewhere: the old request is still that one.
	duplicate, primary, third := accepted(t, c), accepted(t, c), accepted(t, c)
	knows(t, other, primary)
	_, merged, err := merge(c.Dispatcher, t.Context(), "m", duplicate, primary)
	if err != nil {
		t.Fatal(err)
	}
	c.Do(t, supervisor, &pb.UnmergeTicketRequest{Name: duplicate, RequestId: "u", Particulars: &pb.Particulars{Note: "另有一事"}})
	if _, _, err := merge(c.Dispatcher, t.Context(), "m2", primary, third); err != nil {
		t.Fatal(err)
	}
	_, again, err := merge(other, t.Context(), "m", duplicate, primary)
	if err != nil || !again.Repeated || again.Version != merged.Version {
		t.Errorf("got %+v, %v; want %+v repeated", again, err, merged)
	}
	if s := look(t, c, third); len(s.Duplicates) != 1 || s.Duplicates[0] != bare(primary) {
		t.Errorf("got duplicates %v; want %s alone", s.Duplicates, bare(primary))
	}
}

func TestManyCallersOfTwoDispatchersAreAnsweredOnceEach(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	fleet := []*dispatch.Dispatcher{c.Dispatcher, beside(t, c)}
	name := c.Report(t, dispatchtest.Community)
	c.ToHandling(t, name, dispatchtest.Street)
	before := len(history(t, c, name))
	const requests = 40
	results := make([][2]dispatch.Result, requests)
	var calling sync.WaitGroup
	for n := range requests {
		for which, d := range fleet { // the same request at both, at the same time
			calling.Go(func() {
				_, r, err := d.Ticket(t.Context(), dispatch.Request{
					Actor:   dispatchtest.As(dispatchtest.Street, pb.Role_ROLE_STREET_CLERK),
					Command: &pb.RecordContactRequest{Name: name, RequestId: fmt.Sprint("s", n), Channel: "phone", Reached: true},
				})
				if err != nil {
					t.Error(err)
				}
				results[n][which] = r
			})
		}
	}
	calling.Wait()
	all := history(t, c, name)
	if got, want := len(all), before+requests; got != want {
		t.Errorf("got %d events; want %d", got, want)
	}
	for n, both := range results {
		if both[0].Version != both[1].Version || both[0].Position != both[1].Position {
			t.Errorf("request %d was answered with %+v and %+v", n, both[0], both[1])
		}
		if e := all[both[0].Version-1]; e.Meta.RequestId != fmt.Sprint("s", n) {
			t.Errorf("request %d was answered with the version of %s", n, e.Meta.RequestId)
		}
	}
	chain(t, c.Store, "ticket-"+bare(name))
}

// reactToLast has a dispatcher hear of the last event of the history.
func reactToLast(t testing.TB, c *dispatchtest.City, d *dispatch.Dispatcher) {
	t.Helper()
	var last eventstore.Recorded
	for r, err := range c.Store.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		last = r
	}
	e, err := event.Decode(last)
	if err == nil {
		err = d.React(t.Context(), &e)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhatOneDispatcherLoadedIsInForceAtTheOtherThatHearsOfIt(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	other := beside(t, c)
	content, faults := registry.ReadDir(wuxi.Files)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	c.Clock.Add(time.Minute)
	faults, _, err := c.LoadRegistry(t.Context(), dispatchtest.System, "wuxi-2", c.Clock.Now(), content.Pieces(), false)
	if err != nil || len(faults) > 0 {
		t.Fatal(err, faults)
	}
	reactToLast(t, c, other)
	if got := other.Registry().Version(); got != "wuxi-2" {
		t.Errorf("the other goes by registry %q; want wuxi-2", got)
	}

	year, _, err := c.LoadCalendarYear(t.Context(), dispatchtest.System, &pb.LoadCalendarYearRequest{RequestId: "y", Year: 2026, Off: []string{"2026-01-01"}})
	if err != nil {
		t.Fatal(err)
	}
	reactToLast(t, c, other)
	if got, want := other.Calendar().Version(), year.Version(); got != want {
		t.Errorf("the other goes by calendar %s; want %s", got, want)
	}
	result := at(t, other, dispatchtest.Hotline, &pb.AcceptTicketRequest{Name: c.Report(t, dispatchtest.Community), RequestId: "a"})
	all := history(t, c, "tickets/"+dispatch.ID(result.Stream))
	if m := all[1].Meta; m.RegistryVersion != "wuxi-2" || m.CalendarVersion != year.Version() {
		t.Errorf("the other decided by registry %s and calendar %s", m.RegistryVersion, m.CalendarVersion)
	}
}
