package policy_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/policy"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/view"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// replica is a process that runs timers, with views of its own: they run until the test ends.
func replica(t *testing.T, c *dispatchtest.City) *policy.Timers {
	t.Helper()
	db, err := viewdb.Open(filepath.Join(t.TempDir(), "views.db"), viewdb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := projector.Open(t.Context(), c.Store, db, projector.Options{}, view.Tickets(), view.Dues())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := p.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("projector: %v", err)
		}
	})
	t.Cleanup(func() {
		stop()
		running.Wait()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return &policy.Timers{
		Dispatcher: another(t, c, c.Store), Views: view.NewReader(db, c.Store), Projector: p, OnTrouble: func(err error) { t.Error(err) },
	}
}

// another is a dispatcher on the city's history that remembers nothing.
func another(t *testing.T, c *dispatchtest.City, store eventstore.Store) *dispatch.Dispatcher {
	t.Helper()
	d, err := dispatch.New(t.Context(), store, c.Keys, dispatch.Options{Clock: c.Clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// recorded counts the events of a type by their tickets.
func recorded(t *testing.T, c *dispatchtest.City, types ...string) map[string]int {
	t.Helper()
	n := map[string]int{}
	for r, err := range c.Store.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range types {
			if r.Type == want {
				n["tickets/"+strings.TrimPrefix(r.Stream, "ticket-")]++
			}
		}
	}
	return n
}

func fireDue(t *testing.T, timers *policy.Timers, want int) {
	t.Helper()
	if got, err := timers.FireDue(t.Context()); err != nil || got != want {
		t.Fatalf("got %d, %v, want %d fired", got, err, want)
	}
}

func TestATimerFiresOnceItsInstantHasPassedThoughNobodyRanThen(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	name := c.Report(t, dispatchtest.Community)
	s, _, err := c.LoadTicket(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	timers := replica(t, c)
	fireDue(t, timers, 0)
	c.Clock.Set(s.Limits.AcceptBy)
	fireDue(t, timers, 0)
	c.Clock.Add(999 * time.Millisecond)
	fireDue(t, timers, 0) // until the end of its second there is time
	c.Clock.Add(30 * 24 * time.Hour)
	fireDue(t, replica(t, c), 1) // which begins only now
	fireDue(t, timers, 0)
	fireDue(t, replica(t, c), 0)
	if n := recorded(t, c, "AcceptOverdue"); n[name] != 1 {
		t.Errorf("got %v, want it recorded once", n)
	}
	for r, err := range c.Store.ReadStream(t.Context(), "ticket-"+strings.TrimPrefix(name, "tickets/"), 1) {
		if err != nil {
			t.Fatal(err)
		}
		e, err := event.Decode(r)
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("deadline/%s/accept/%d", strings.TrimPrefix(name, "tickets/"), s.Limits.AcceptBy.UnixMicro())
		if e.Meta.RequestId != want || e.Meta.Actor.Role != pb.Role_ROLE_SYSTEM {
			t.Errorf("got %v, want request %s by this system", e.Meta, want)
		}
	}
}

func TestWhatFollowsFromATimerFiresToo(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	name := c.Report(t, dispatchtest.Community)
	c.Do(t, dispatchtest.Hotline, &pb.AcceptTicketRequest{Name: name, RequestId: c.RequestID()})
	dispatcher := dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_DISPATCHER)
	c.Do(t, dispatcher, &pb.TriageTicketRequest{Name: name, RequestId: c.RequestID(), Category: "0302", Grade: pb.Grade_GRADE_G2})
	c.Do(t, dispatcher, &pb.DispatchTicketRequest{Name: name, RequestId: c.RequestID(), Lead: dispatchtest.DistrictUrban})
	c.Clock.Add(60 * 24 * time.Hour)
	timers := replica(t, c)
	if n, err := timers.FireDue(t.Context()); err != nil || n < 4 {
		t.Fatalf("got %d, %v", n, err)
	}
	for _, want := range []string{"SignOverdue", "ContactOverdue", "HandleOverdue"} {
		if n := recorded(t, c, want); n[name] != 1 {
			t.Errorf("%s: got %v, want it once", want, n)
		}
	}
	s, _, err := c.LoadTicket(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	for _, timer := range s.Timers() {
		if timer.By.Before(c.Clock.Now()) {
			t.Errorf("%v has passed and did not fire", timer)
		}
	}
	fireDue(t, timers, 0)
}

func TestOfManyReplicasEachTimerFiresAtOne(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	const tickets = 40
	for range tickets {
		c.Report(t, dispatchtest.Community)
	}
	ctx, stop := context.WithCancel(t.Context())
	var working sync.WaitGroup
	var mu sync.Mutex
	fired := 0
	lag := time.Duration(0)
	for i := range 3 {
		timers := replica(t, c)
		// No two clocks are the same: what they record is told apart.
		ahead, err := dispatch.New(t.Context(), c.Store, c.Keys, dispatch.Options{Clock: func() time.Time {
			return c.Clock.Now().Add(time.Duration(i) * time.Millisecond)
		}})
		if err != nil {
			t.Fatal(err)
		}
		timers.Dispatcher = ahead
		timers.OnFired = func(timer string) {
			mu.Lock()
			defer mu.Unlock()
			if fired++; timer != "accept" {
				t.Errorf("got %v", timer)
			}
		}
		timers.OnLook = func(waited time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			lag = max(lag, waited)
		}
		working.Go(func() {
			if err := timers.Run(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		})
	}
	c.Clock.Add(24 * time.Hour)
	seen := 0
	for r, err := range c.Store.Subscribe(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Type == "AcceptOverdue" {
			seen++
		}
		if seen == tickets {
			break
		}
	}
	stop()
	working.Wait()
	fireDue(t, replica(t, c), 0)
	n := recorded(t, c, "AcceptOverdue")
	for name, times := range n {
		if times != 1 {
			t.Errorf("%s: got it %d times, want once", name, times)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(n) != tickets || fired != tickets || lag < 12*time.Hour {
		t.Errorf("got %d tickets, %d fired, waited for %v", len(n), fired, lag)
	}
}

// answers is a store whose appends to tickets fail: before they are recorded, or after.
type answers struct {
	eventstore.Store
	after bool
}

func (a answers) Append(ctx context.Context, stream string, after eventstore.Version, events []eventstore.Event) (eventstore.Position, error) {
	if a.after {
		if _, err := a.Store.Append(ctx, stream, after, events); err != nil {
			return 0, err
		}
	}
	return 0, fmt.Errorf("cut off: %w", eventstore.ErrUnavailable)
}

func TestAProcessThatDiesWhileATimerFiresLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		c := dispatchtest.Open(t)
		name := c.Report(t, dispatchtest.Community)
		c.Clock.Add(24 * time.Hour)
		dying := replica(t, c)
		dying.Dispatcher = another(t, c, answers{c.Store, after})
		if _, err := dying.FireDue(t.Context()); !errors.Is(err, eventstore.ErrUnavailable) {
			t.Fatalf("got %v, want the outcome to be unknown", err)
		}
		want := 1
		if after {
			want = 0
		}
		fireDue(t, replica(t, c), want)
		if n := recorded(t, c, "AcceptOverdue"); n[name] != 1 {
			t.Errorf("recorded before it died: %t; got %v, want it once", after, n)
		}
	}
}

func TestATimerThatIsRefusedIsAskedForOnceAndHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	elsewhere := dispatchtest.Open(t) // a history that has none of the tickets
	timers := replica(t, c)
	// More than are taken up at a look.
	const tickets = 300
	for range tickets {
		c.Report(t, dispatchtest.Community)
	}
	c.Clock.Add(24 * time.Hour)
	elsewhere.Clock.Add(24 * time.Hour)
	var mu sync.Mutex
	heard, refused := 0, 0
	timers.OnTrouble = func(error) {
		mu.Lock()
		defer mu.Unlock()
		heard++
	}
	timers.OnRefused = func(timer string) {
		mu.Lock()
		defer mu.Unlock()
		if timer == "accept" {
			refused++
		}
	}
	whole := timers.Dispatcher
	timers.Dispatcher = elsewhere.Dispatcher
	if err := timers.Projector.WaitFor(t.Context(), head(t, c), view.TicketsView); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		fireDue(t, timers, 0)
	}
	if heard != tickets || refused != tickets {
		t.Errorf("%d and %d refusals were told, want %d", heard, refused, tickets)
	}
	timers.Dispatcher = whole
	c.Do(t, dispatchtest.Hotline, matter(c))
	c.Clock.Add(24 * time.Hour)
	fireDue(t, timers, 1) // what is refused is not asked for again before its ticket moves
	fireDue(t, replica(t, c), tickets)
	fireDue(t, timers, 0)
}

func TestATimerIsNotLostWhenTheClockIsSetBack(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	name := c.Report(t, dispatchtest.Community)
	c.Clock.Add(24 * time.Hour)
	back := false // at one reading, and then it is set forward again
	d, err := dispatch.New(t.Context(), c.Store, c.Keys, dispatch.Options{Clock: func() time.Time {
		if back {
			back = false
			return dispatchtest.Start
		}
		return c.Clock.Now()
	}})
	if err != nil {
		t.Fatal(err)
	}
	timers := replica(t, c)
	timers.Dispatcher = d
	// Between the look that finds it and the moment it would fire.
	var once sync.Once
	timers.OnLook = func(time.Duration) { once.Do(func() { back = true }) }
	fireDue(t, timers, 0)
	fireDue(t, timers, 1)
	if n := recorded(t, c, "AcceptOverdue"); n[name] != 1 {
		t.Errorf("got %v, want it recorded once", n)
	}
}

// begun is a store that says when somebody first looks for the end of its history.
type begun struct {
	eventstore.Store
	look func()
}

func (b begun) ReadAll(ctx context.Context, after eventstore.Position) iter.Seq2[eventstore.Recorded, error] {
	b.look()
	return b.Store.ReadAll(ctx, after)
}

func TestNothingIsDueInAViewThatIsBeingBuilt(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	c.Report(t, dispatchtest.Community)
	c.Clock.Add(24 * time.Hour)
	fireDue(t, replica(t, c), 1)
	want := head(t, c)

	db, err := viewdb.Open(filepath.Join(t.TempDir(), "views.db"), viewdb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := projector.Open(t.Context(), c.Store, db, projector.Options{}, view.Tickets(), view.Dues())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	looked, once := make(chan eventstore.Position, 1), new(sync.Once)
	var running sync.WaitGroup
	store := begun{c.Store, func() {
		once.Do(func() {
			running.Go(func() {
				if err := p.Run(ctx); !errors.Is(err, context.Canceled) {
					t.Errorf("projector: %v", err)
				}
			})
		})
	}}
	timers := &policy.Timers{
		Dispatcher: another(t, c, store), Views: view.NewReader(db, c.Store), Projector: p, OnTrouble: func(err error) { t.Error(err) },
	}
	timers.OnLook = func(time.Duration) {
		at, err := timers.Views.TimersAt(ctx)
		if err != nil && ctx.Err() == nil {
			t.Error(err)
		}
		select {
		case looked <- at:
		default:
		}
	}
	running.Go(func() {
		if err := timers.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("timers: %v", err)
		}
	})
	if at := <-looked; at < want {
		t.Errorf("timers were looked for in a view at %d, want it to have seen %d", at, want)
	}
	stop()
	running.Wait()
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

func matter(c *dispatchtest.City) *pb.ReportTicketRequest {
	return &pb.ReportTicketRequest{
		RequestId: c.RequestID(), Channel: pb.Channel_CHANNEL_HOTLINE, Kind: pb.MatterKind_MATTER_KIND_HELP, Area: dispatchtest.Community, Category: "0302",
		Particulars: &pb.Particulars{Title: "路灯不亮"},
	}
}

func head(t *testing.T, c *dispatchtest.City) (last eventstore.Position) {
	t.Helper()
	last, err := c.Store.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return last
}
