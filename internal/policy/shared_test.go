package policy_test

import (
	"context"
	"errors"
	"testing"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/examples/wuxi"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/policy"
	"github.com/chuishao/dispatch/internal/registry"
)

func TestWhatWasLoadedBeforeTheSharedCheckpointIsInForceAtAProcessThatDidNotHearOfIt(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	away := another(t, c, c.Store) // which is cut off while this happens
	content, faults := registry.ReadDir(wuxi.Files)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	if faults, _, err := c.LoadRegistry(t.Context(), dispatchtest.System, "wuxi-2", c.Clock.Now(), content.Pieces(), false); err != nil || len(faults) > 0 {
		t.Fatal(err, faults)
	}
	year, _, err := c.LoadCalendarYear(t.Context(), dispatchtest.System, &pb.LoadCalendarYearRequest{RequestId: "y", Year: 2026, Off: []string{"2026-01-01"}})
	if err != nil {
		t.Fatal(err)
	}
	var at eventstore.Position
	for r, err := range c.Store.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		at = r.Position
	}

	// Another process has reacted to all of it and kept that.
	p := policy.Policy{Dispatcher: away, Checkpoint: &place{at: at}, OnTrouble: func(err error) { t.Error(err) }}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	late := time.After(30 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for away.Registry().Version() != "wuxi-2" || away.Calendar().Version() != year.Version() {
		select {
		case <-tick.C:
			continue
		case <-late:
			t.Errorf("it goes by registry %s and calendar %s; want wuxi-2 and %s", away.Registry().Version(), away.Calendar().Version(), year.Version())
		}
		break
	}
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
