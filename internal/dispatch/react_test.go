package dispatch_test

import (
	"slices"
	"testing"

	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/event"
)

// What follows from an event is looked up by its type, and so is what is listened for: a type that no event has would never be heard of.
// In the example city no command centre wishes for anything to be done unasked.
func TestWhatIsFollowedIsWhatSomethingFollowsFrom(t *testing.T) {
	t.Parallel()
	want := []string{
		"CalendarYearLoaded", "DuplicateAttached", "EchoPublished", "EntryFulfilled", "EntryMatched", "LeftEarly", "NoShow", "ParticipantAdded",
		"ParticipantExcused", "PostSelfSolved", "PostTicketed", "ProfilePublished", "RegistryVersionPublished", "SpotCheckRecorded", "TicketUnmerged",
		"TicketWithdrawn", "WhistleBlown", "WhistleCancelled", "WhistleClosed", "WhistleIssued", "WhistleRaised", "WhistleRefused", "WhistleTimerPassed",
	}
	c := dispatchtest.Open(t)
	var got []string
	for _, typ := range event.Types() {
		if c.Follows(typ) {
			got = append(got, typ)
		}
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
