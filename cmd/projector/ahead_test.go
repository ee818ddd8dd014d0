package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/app"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/servers/serverstest"
)

// Shared views that are ahead of a history that was restored are served by nobody until they are built anew.
func TestSharedViewsOfAHistoryThatWasRestoredAreNotServed(t *testing.T) {
	dir := t.TempDir()
	o := quiet
	o.Where = app.Where{Store: "sqlite:" + filepath.Join(dir, "history.db"), Keys: "sqlite:" + filepath.Join(dir, "keys.db"), Views: serverstest.Database(t)}
	node, err := app.Open(t.Context(), "", o)
	if err != nil {
		t.Fatal(err)
	}
	by := rule.Actor{Person: "system", Roles: []pb.Role{pb.Role_ROLE_SYSTEM}}
	next := &pb.LoadCalendarYearRequest{RequestId: "r", Year: int32(time.Now().Year() + 5)}
	if _, _, err := node.Dispatcher.LoadCalendarYear(t.Context(), by, next); err != nil {
		t.Fatal(err)
	}
	if err := node.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := node.Close(); err != nil {
		t.Fatal(err)
	}

	o.Where.Store = "sqlite:" + filepath.Join(dir, "restored.db")
	for name, open := range map[string]func() (*app.Node, error){
		"a dispatcher": func() (*app.Node, error) { return app.Open(t.Context(), "", o) },
		"a projector":  func() (*app.Node, error) { return app.OpenForViews(t.Context(), "", o) },
	} {
		node, err := open()
		if err == nil {
			err = node.Close()
			t.Errorf("%s opened them (%v)", name, err)
		} else if !strings.Contains(err.Error(), "projector rebuild") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if node, err = app.OpenForRebuild(t.Context(), "", o); err != nil {
		t.Fatal(err)
	}
	if _, err := node.Rebuild(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if err := node.Close(); err != nil {
		t.Error(err)
	}
	if node, err = app.Open(t.Context(), "", o); err != nil {
		t.Fatal(err)
	}
	if err := node.Close(); err != nil {
		t.Error(err)
	}
}
