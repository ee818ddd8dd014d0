package policy

import (
	"testing"

	"github.com/chuishao/dispatch/internal/eventstore"
)

func TestSoManyAnsweredTimersAreHeldAndNoMore(t *testing.T) {
	t.Parallel()
	timers := Timers{held: map[timerKey]eventstore.Version{}}
	for i := range int64(mostHeld) {
		if !timers.hold(timerKey{by: i}, 1) {
			t.Fatalf("no room for timer %d", i)
		}
	}
	if timers.hold(timerKey{by: mostHeld}, 1) || len(timers.held) != mostHeld {
		t.Errorf("%d are held, want %d", len(timers.held), mostHeld)
	}
	if !timers.hold(timerKey{by: 1}, 2) || timers.held[timerKey{by: 1}] != 2 {
		t.Error("what is held could not be brought up to date")
	}
}
