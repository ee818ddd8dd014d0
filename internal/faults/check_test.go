package faults

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/rpc"
	"github.com/chuishao/dispatch/internal/rule"
)

// lived makes a history of two commands by the callers' person, with the answers that they got and a reader that saw all.
func lived(t *testing.T) (*dispatchtest.City, *run) {
	t.Helper()
	c := dispatchtest.Open(t)
	r := &run{books: newBooks(), reader: newReader(c.Store)}
	agent := rule.Actor{Person: person, Unit: dispatchtest.CityCentre, Roles: []pb.Role{pb.Role_ROLE_AGENT}}
	_, reported, err := c.Ticket(t.Context(), dispatch.Request{Actor: agent, Command: &pb.ReportTicketRequest{
		RequestId: "report", Channel: pb.Channel_CHANNEL_HOTLINE, Kind: pb.MatterKind_MATTER_KIND_HELP, Area: dispatchtest.Community, Category: "0302",
		Particulars: &pb.Particulars{Text: "x"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	name := "tickets/" + dispatch.ID(reported.Stream)
	_, accepted, err := c.Ticket(t.Context(), dispatch.Request{Actor: agent, Command: &pb.AcceptTicketRequest{RequestId: "accept", Name: name}})
	if err != nil {
		t.Fatal(err)
	}
	for id, result := range map[string]dispatch.Result{"report": reported, "accept": accepted} {
		if err := r.books.enter(id, &pb.TicketAnswer{Name: name, Etag: result.ETag(), ConsistencyToken: rpc.Token(result.Position)}, 1); err != nil {
			t.Fatal(err)
		}
	}
	for e, err := range c.Store.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		r.reader.see(&e)
	}
	return c, r
}

func TestWhatDoesNotHoldIsFound(t *testing.T) {
	t.Parallel()
	for what, of := range map[string]struct {
		spoil func(*run)
		want  string // "" if nothing is to be found
	}{
		"nothing":                     {func(*run) {}, ""},
		"an answer that was lost":     {func(r *run) { r.books.answers["lost"] = r.books.answers["accept"] }, "lost was answered and is not in the history"},
		"another version":             {func(r *run) { r.books.answers["accept"].(*pb.TicketAnswer).Etag = `"3"` }, "accept was answered with"},
		"another place":               {func(r *run) { r.books.answers["accept"].(*pb.TicketAnswer).ConsistencyToken = "p1" }, "accept was answered with"},
		"another ticket":              {func(r *run) { r.books.answers["report"].(*pb.TicketAnswer).Name = "tickets/x" }, "report was answered with"},
		"a command without an answer": {func(r *run) { delete(r.books.answers, "accept") }, "accept is in the history and was never answered"},
		"a reader that saw a gap": {func(r *run) {
			r.reader.see(&eventstore.Recorded{Stream: "ticket-x", Version: 2, Position: r.reader.position + 1})
		}, "the reader saw ticket-x@2 after @0"},
		"a reader that saw an event twice": {func(r *run) {
			r.reader.see(&eventstore.Recorded{Stream: "ticket-x", Version: 1, Position: r.reader.position})
		}, "the reader saw position"},
		"a reader that saw something else": {func(r *run) { r.reader.sum++ }, "a second reading gives others"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c, r := lived(t)
			of.spoil(r)
			if err := r.checkHistory(t.Context(), c.Store); err != nil {
				t.Fatal(err)
			}
			found := strings.Join(r.findings.all(), "\n")
			if of.want == "" && found != "" || !strings.Contains(found, of.want) {
				t.Errorf("found %q; want %q", found, of.want)
			}
		})
	}
}

// cutOff fails every append to a ticket, as a process does that dies between two streams.
type cutOff struct{ eventstore.Store }

func (c cutOff) Append(ctx context.Context, stream string, after eventstore.Version, events []eventstore.Event) (eventstore.Position, error) {
	if strings.HasPrefix(stream, "ticket-") {
		return 0, fmt.Errorf("cut off: %w", eventstore.ErrUnavailable)
	}
	return c.Store.Append(ctx, stream, after, events)
}

func TestAWhistleThatItsTicketWasNotToldOfIsFound(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	name := c.Report(t, dispatchtest.Community)
	c.ToHandling(t, name, dispatchtest.Street)
	dying, err := dispatch.New(t.Context(), cutOff{c.Store}, c.Keys, dispatch.Options{Clock: c.Clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	blow := dispatch.Request{Actor: dispatchtest.As(dispatchtest.Street, pb.Role_ROLE_STREET_LEADER), Command: &pb.BlowWhistleRequest{
		RequestId: "blow", Kind: pb.WhistleKind_WHISTLE_KIND_ROUTINE, Tickets: []string{name}, Particulars: &pb.Particulars{Text: "x"},
		Summons: []*pb.Summons{{Unit: dispatchtest.DistrictUrban}},
	}}
	if _, _, err := dying.Whistle(t.Context(), blow); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Fatalf("got %v, want the outcome to be unknown", err)
	}
	for _, want := range []string{" was told 0 times of whistle-", ""} {
		r := &run{books: newBooks(), reader: newReader(c.Store)}
		if err := r.checkHistory(t.Context(), c.Store); err != nil {
			t.Fatal(err)
		}
		if found := strings.Join(r.findings.all(), "\n"); want == "" && found != "" || !strings.Contains(found, want) {
			t.Errorf("found %q; want %q", found, want)
		}
		if _, _, err := c.Whistle(t.Context(), blow); err != nil { // sent again, it is made up for
			t.Fatal(err)
		}
	}
}
