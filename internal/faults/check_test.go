package faults

import (
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
		"another version":             {func(r *run) { r.books.answers["accept"].Etag = `"3"` }, "accept was answered with"},
		"another place":               {func(r *run) { r.books.answers["accept"].ConsistencyToken = "p1" }, "accept was answered with"},
		"another ticket":              {func(r *run) { r.books.answers["report"].Name = "tickets/x" }, "report was answered with"},
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
