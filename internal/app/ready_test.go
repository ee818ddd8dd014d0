package app

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/rpc"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/view"
	"github.com/chuishao/dispatch/internal/viewdb"
)

func TestANodeIsNotReadyWhileAViewIsBuiltForTheFirstTime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open := func() *Node {
		t.Helper()
		n, err := Open(t.Context(), dir, Options{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	closed := func(n *Node) {
		t.Helper()
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
	ready := func(n *Node) (int, string) {
		t.Helper()
		health := rpc.NewHealth()
		health.SetReady(true)
		answer := httptest.NewRecorder()
		n.probes(health).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/readyz", nil))
		return answer.Code, answer.Body.String()
	}
	report := func(n *Node, id string) {
		t.Helper()
		_, _, err := n.Dispatcher.Ticket(t.Context(), dispatch.Request{Actor: rule.Actor{Person: "system", Roles: []pb.Role{pb.Role_ROLE_CONNECTED_SYSTEM}}, Command: &pb.ImportRecordRequest{
			RequestId: id, Source: "elsewhere", SourceRef: id, OccurredAt: timestamppb.New(n.Dispatcher.Now()),
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	caughtUp := func(n *Node) {
		t.Helper()
		if err := n.CatchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		end, err := n.end(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Projector.FirstCatchUp(t.Context(), end); err != nil {
			t.Fatal(err)
		}
	}

	n := open()
	report(n, "1")
	end, err := n.end(t.Context())
	if err != nil || end == 0 {
		t.Fatal(end, err)
	}
	if code, said := ready(n); code != http.StatusServiceUnavailable || !strings.Contains(said, view.TicketsView) || !strings.Contains(said, view.DuesView) {
		t.Errorf("before the views have seen anything: %d, %s", code, said)
	}
	ended, end1 := context.WithCancel(t.Context())
	end1()
	if err := n.Projector.FirstCatchUp(ended, end); err == nil {
		t.Error("views that have seen nothing have caught up")
	}
	caughtUp(n)
	if code, said := ready(n); code != http.StatusOK {
		t.Errorf("with all that there is: %d, %s", code, said)
	}

	// A view that was there before may be late after a restart; that does not keep calls away.
	report(n, "2")
	closed(n)
	n = open()
	if code, said := ready(n); code != http.StatusOK {
		t.Errorf("late by one event: %d, %s", code, said)
	}
	closed(n)

	// One whose number is new is another thing. A release that noted nothing leaves its views as they are.
	for _, forget := range []string{"DELETE FROM caught_up WHERE view = '" + view.DuesView + "'", "DROP TABLE caught_up"} {
		n = open()
		if err := n.Views.Write(t.Context(), func(tx *viewdb.Tx) error { return tx.Script(forget) }); err != nil {
			t.Fatal(err)
		}
		closed(n)
		n = open()
		code, said := ready(n)
		if want := "not ready: still being built: " + view.DuesView + "\n"; strings.HasPrefix(forget, "DELETE") && (code != http.StatusServiceUnavailable || said != want) {
			t.Errorf("with a new view: %d, %q, want %q", code, said, want)
		}
		if strings.HasPrefix(forget, "DROP") && code != http.StatusOK {
			t.Errorf("with views of the release before: %d, %s", code, said)
		}
		caughtUp(n)
		if code, said := ready(n); code != http.StatusOK {
			t.Errorf("caught up: %d, %s", code, said)
		}
		closed(n)
	}
}
