package projector_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/chuishao/dispatch/internal/projector"
)

func TestAGroupHasComeAsFarAsTheOneThatIsFarthestBehind(t *testing.T) {
	t.Parallel()
	store := history(t)
	var all []*projector.Projector
	for _, name := range []string{"1.db", "2.db"} {
		p, err := projector.Open(t.Context(), store, viewsAt(t, filepath.Join(t.TempDir(), name)), projector.Options{}, numbers("a_1", ""))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	g := projector.NewGroup(all...)
	last := add(t, store, "one")
	if err := all[0].CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := g.Status(); len(s) != 1 || s[0].View != "a_1" || s[0].Position != 0 {
		t.Errorf("got %v, want a view at position 0: half of it is there", s)
	}
	waiting, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.WaitFor(waiting, last, "a_1") }()
	moved, err := g.Watch("a_1")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v while a part was behind, want it to wait", err)
	}
	if err := all[1].CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-moved
	if err := g.WaitFor(t.Context(), last); err != nil {
		t.Error(err)
	}
	if s := g.Status(); len(s) != 1 || s[0].Position != last {
		t.Errorf("got %v, want position %d", s, last)
	}
	for _, err := range []error{g.WaitFor(t.Context(), 0, "b_1"), func() error { _, err := g.Watch("b_1"); return err }()} {
		if err == nil {
			t.Error("a view that does not run was waited for")
		}
	}
}
