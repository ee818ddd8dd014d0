package policy

import (
	"testing"

	"github.com/chuishao/dispatch/internal/eventstore"
)

func TestSoManyAnsweredTimersAreHeldAndNoMore(t *testing.T) {
	t.Parallel()
	held := map[timerKey]eventstore.Version{}
	for i := range int64(mostHeld) {
		if !hold(held, timerKey{by: i}, 1) {
			t.Fatalf("no room for timer %d", i)
		}
	}
	if hold(held, timerKey{by: mostHeld}, 1) || len(held) != mostHeld {
		t.Errorf("%d are held, want %d", len(held), mostHeld)
	}
	if !hold(held, timerKey{by: 1}, 2) || held[timerKey{by: 1}] != 2 {
		t.Error("what is held could not be brought up to date")
	}
}
