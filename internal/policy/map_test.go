package policy_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/policy"
	"github.com/chuishao/dispatch/internal/view"
)

// follower is a process that runs the policy, with views and a memory of its own.
type follower struct {
	policy.Policy
	walks atomic.Int64 // how often the open tickets were looked through
}

func newFollower(t *testing.T, c *dispatchtest.City, checkpoint policy.Checkpoint) *follower {
	t.Helper()
	r := replica(t, c)
	open := policy.Open{Store: c.Store, Views: r.Views, Projector: r.Projector}
	f := new(follower)
	f.Policy = policy.Policy{
		Dispatcher: r.Dispatcher, Checkpoint: checkpoint, OnTrouble: func(err error) { t.Error(err) },
		OpenTickets: func(ctx context.Context, upTo eventstore.Position) iter.Seq2[string, error] {
			f.walks.Add(1)
			return open.Tickets(ctx, upTo)
		},
	}
	return f
}

// running lets processes run until stop is called.
func running(t *testing.T, list ...*follower) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for _, f := range list {
		group.Go(func() {
			if err := f.Run(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		})
	}
	return func() {
		cancel()
		group.Wait()
	}
}

// noted is a checkpoint that says when a map was asked for and kept.
type noted struct {
	place
	asked, kept chan string
}

func newNoted() *noted { return &noted{asked: make(chan string, 100), kept: make(chan string, 100)} }

func (n *noted) LoadMap(ctx context.Context) (string, error) {
	name, err := n.place.LoadMap(ctx)
	n.asked <- name
	return name, err
}

func (n *noted) SaveMap(ctx context.Context, name string) error {
	err := n.place.SaveMap(ctx, name)
	n.kept <- name
	return err
}

func (n *noted) wait(t *testing.T, want string) {
	t.Helper()
	for {
		select {
		case got := <-n.kept:
			if got == want {
				return
			}
		case <-t.Context().Done():
			t.Fatalf("%s was not followed", want)
		}
	}
}

// closing loads a version from which the district's urban department is gone in July: an entry of it ends then, or it takes effect then itself.
func closing(t *testing.T, c *dispatchtest.City, july time.Time, ahead bool) {
	t.Helper()
	r := c.Registry()
	content := proto.CloneOf(&pb.RegistryPiece{Levels: r.Levels(), Areas: r.Areas(), Units: r.Units(), Categories: r.Categories()})
	from := c.Now()
	if ahead {
		from = july
		content.Units = slices.DeleteFunc(content.Units, func(u *pb.Unit) bool { return u.Code == dispatchtest.DistrictUrban })
	} else {
		for _, u := range content.Units {
			if u.Code == dispatchtest.DistrictUrban {
				u.ValidTo = timestamppb.New(july)
			}
		}
	}
	faults, _, err := c.LoadRegistry(t.Context(), dispatchtest.System, "closing", from, []*pb.RegistryPiece{content}, false)
	if err != nil || len(faults) > 0 {
		t.Fatal(faults, err)
	}
}

func TestTicketsFollowTheMapWhenItChangesAndNotWhenItIsPublished(t *testing.T) {
	t.Parallel()
	for name, w := range map[string]struct {
		ahead bool // the version takes effect in July, not an entry of it ends
		down  bool // nobody runs when July comes
	}{
		"a version that takes effect later":           {true, false},
		"a version that took effect while nobody ran": {true, true},
		"an entry that ends":                          {false, false},
		"an entry that ended while nobody ran":        {false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dispatchtest.Open(t)
			june, july := at(t, "2025-06-20 09:00:00"), at(t, "2025-07-01 00:00:00")
			c.Clock.Set(june)
			held, elsewhere, closed := c.Report(t, dispatchtest.Community), c.Report(t, dispatchtest.Community), c.Report(t, dispatchtest.Community)
			c.ToHandling(t, held, dispatchtest.DistrictUrban)
			c.ToHandling(t, elsewhere, dispatchtest.DistrictTraffic)
			c.ToHandling(t, closed, dispatchtest.DistrictUrban)
			c.ToClosed(t, closed, dispatchtest.DistrictUrban)
			before := len(history(t, c, closed))

			kept := [...]*noted{newNoted(), newNoted()}
			list := []*follower{newFollower(t, c, kept[0]), newFollower(t, c, kept[1])}
			stop := running(t, list...)
			closing(t, c, july, w.ahead)
			now := c.MapInForce()
			if !w.ahead {
				now = fmt.Sprintf("closing/%d", c.Now().Unix())
			}
			for _, k := range kept {
				k.wait(t, now)
			}
			if n := recorded(t, c, "HolderMoved"); len(n) != 0 {
				t.Fatalf("before July moved %v", n)
			}
			if w.down {
				stop()
			}
			c.Clock.Set(july)
			if w.down {
				list = []*follower{newFollower(t, c, kept[0]), newFollower(t, c, kept[1])}
				stop = running(t, list...)
			}
			for _, k := range kept {
				k.wait(t, fmt.Sprintf("closing/%d", july.Unix()))
			}
			stop()
			if n := recorded(t, c, "HolderMoved"); len(n) != 1 || n[held] != 1 {
				t.Errorf("got %v moved, want %s once", n, held)
			}
			s, _, err := c.LoadTicket(t.Context(), held)
			want := dispatchtest.District
			if w.ahead { // of a unit that is on no map, what is responsible for the place takes the ticket
				want = dispatchtest.Community
			}
			if err != nil || s.Lead != want {
				t.Errorf("got lead %s, %v, want %s", s.Lead, err, want)
			}
			if got := len(history(t, c, closed)); got != before {
				t.Errorf("a closed ticket has %d events, want %d as before", got, before)
			}

			// Nobody looks at the tickets again for a map that they follow.
			last := newFollower(t, c, kept[0])
			for len(kept[0].asked) > 0 {
				<-kept[0].asked
			}
			stop = running(t, last)
			<-kept[0].asked
			stop()
			if n := last.walks.Load(); n != 0 {
				t.Errorf("the open tickets were looked through %d times more", n)
			}
		})
	}
}

func TestOpenTicketsAreFoundPageByPage(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	var want []string
	for i := range 7 {
		name := c.Report(t, dispatchtest.Community)
		if i%3 == 1 {
			c.ToHandling(t, name, dispatchtest.Street)
			c.ToClosed(t, name, dispatchtest.Street)
		} else {
			want = append(want, name)
		}
	}
	r := replica(t, c)
	if err := r.Projector.WaitFor(t.Context(), head(t, c), view.TicketsView); err != nil {
		t.Fatal(err)
	}
	if names, _, err := r.Views.OpenTickets(t.Context(), 0, 10); err != nil || len(names) != 7 {
		t.Errorf("got %v, %v, want those too that may be appealed still", names, err)
	}
	c.Clock.Add(60 * 24 * time.Hour)
	if _, err := r.FireDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	var all []string
	for name, err := range (policy.Open{Store: c.Store, Views: r.Views, Projector: r.Projector}).Tickets(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, name)
	}
	if !slices.Equal(all, want) {
		t.Errorf("got %v, want %v", all, want)
	}
	for step := 1; step <= 8; step++ {
		var got []string
		for after, pages := int64(0), 0; ; pages++ {
			names, next, err := r.Views.OpenTickets(t.Context(), after, step)
			if err != nil || len(names) > step || pages > 7 {
				t.Fatalf("page %d of %d: %v, %v", pages, step, names, err)
			}
			got = append(got, names...)
			if after = next; after == 0 {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("in steps of %d: got %v, want %v", step, got, want)
		}
	}
}
