package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/rule"
)

// faulty fails the next append, before or after it was recorded.
type faulty struct {
	eventstore.Store
	mu            sync.Mutex
	before, after bool
}

func (f *faulty) Append(ctx context.Context, stream string, after eventstore.Version, events []eventstore.Event) (eventstore.Position, error) {
	f.mu.Lock()
	failBefore, failAfter := f.before, f.after
	f.before, f.after = false, false
	f.mu.Unlock()
	if failBefore {
		return 0, fmt.Errorf("cut off before: %w", eventstore.ErrUnavailable)
	}
	p, err := f.Store.Append(ctx, stream, after, events)
	if err == nil && failAfter {
		return 0, fmt.Errorf("cut off after: %w", eventstore.ErrUnavailable)
	}
	return p, err
}

// chain checks the hashes of a stream and gives its length.
func chain(t *testing.T, store eventstore.Store, stream string) (n int) {
	t.Helper()
	var prev event.Hash
	for r, err := range store.ReadStream(t.Context(), stream, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if prev, err = event.Verify(prev, &r); err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

func TestAfterAnUnknownOutcomeTheSameRequestIsCarriedOutOnce(t *testing.T) {
	t.Parallel()
	for _, recorded := range []bool{false, true} {
		t.Run(fmt.Sprintf("recorded=%v", recorded), func(t *testing.T) {
			t.Parallel()
			c := dispatchtest.Open(t)
			f := &faulty{Store: c.Store}
			d, err := dispatch.New(t.Context(), f, c.Keys, dispatch.Options{Clock: c.Clock.Now})
			if err != nil {
				t.Fatal(err)
			}
			report := dispatch.Request{Actor: dispatchtest.Hotline, Command: &pb.ReportTicketRequest{
				RequestId: "r", Channel: pb.Channel_CHANNEL_HOTLINE, Kind: pb.MatterKind_MATTER_KIND_HELP, Area: dispatchtest.Community,
				Particulars: &pb.Particulars{Text: "x"},
			}}
			f.before, f.after = !recorded, recorded
			if _, _, err := d.Ticket(t.Context(), report); !errors.Is(err, eventstore.ErrUnavailable) {
				t.Fatalf("got %v", err)
			}
			_, r, err := d.Ticket(t.Context(), report)
			if err != nil || r.Version != 1 || r.Repeated != recorded {
				t.Fatalf("got %+v, %v", r, err)
			}
			accept := dispatch.Request{Actor: dispatchtest.Hotline, Command: &pb.AcceptTicketRequest{Name: "tickets/" + dispatch.ID(r.Stream), RequestId: "a"}}
			f.before, f.after = !recorded, recorded
			if _, _, err := d.Ticket(t.Context(), accept); !errors.Is(err, eventstore.ErrUnavailable) {
				t.Fatalf("got %v", err)
			}
			if _, r, err = d.Ticket(t.Context(), accept); err != nil || r.Version != 2 || r.Repeated != recorded {
				t.Fatalf("got %+v, %v", r, err)
			}
			if n := chain(t, c.Store, r.Stream); n != 2 {
				t.Errorf("got %d events, want 2", n)
			}
		})
	}
}

func TestOfManyWithOneRequestIDOneIsCarriedOutAndOtherContentIsRefused(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	// Dispatchers that know nothing of each other, as in several processes.
	var ds []*dispatch.Dispatcher
	for range 4 {
		d, err := dispatch.New(t.Context(), c.Store, c.Keys, dispatch.Options{Clock: c.Clock.Now})
		if err != nil {
			t.Fatal(err)
		}
		ds = append(ds, d)
	}
	for round := range 20 {
		var wg sync.WaitGroup
		results := make([]dispatch.Result, 8)
		errs := make([]error, 8)
		for i := range results {
			wg.Go(func() {
				_, results[i], errs[i] = ds[i%4].Ticket(t.Context(), dispatch.Request{Actor: dispatchtest.Hotline, Command: &pb.ReportTicketRequest{
					RequestId: fmt.Sprintf("round %d", round), Channel: pb.Channel_CHANNEL_HOTLINE, Kind: pb.MatterKind_MATTER_KIND_HELP,
					Area: dispatchtest.Community, Particulars: &pb.Particulars{Text: fmt.Sprintf("text %d", i%2)},
				}})
			})
		}
		wg.Wait()
		recorded, refused := 0, 0
		for i := range results {
			switch {
			case errs[i] == nil && !results[i].Repeated:
				recorded++
			case reason(errs[i]) == rule.RequestIDReused:
				refused++
			case errs[i] != nil:
				t.Fatal(errs[i])
			}
		}
		if recorded != 1 || refused != 4 {
			t.Fatalf("recorded %d times and refused %d times, want 1 and 4", recorded, refused)
		}
		name := ""
		for i := range results {
			if errs[i] == nil {
				name = "tickets/" + dispatch.ID(results[i].Stream)
			}
		}
		for i, d := range ds {
			c.Clock.Add(time.Second)
			_, r, err := d.Ticket(t.Context(), dispatch.Request{Actor: dispatchtest.Hotline, Command: &pb.AcceptTicketRequest{Name: name, RequestId: "a"}})
			if err != nil || r.Version != 2 || r.Repeated != (i > 0) {
				t.Fatalf("got %+v, %v", r, err)
			}
			if n := chain(t, c.Store, r.Stream); n != 2 {
				t.Fatalf("got %d events, want 2", n)
			}
		}
	}
}
