package dispatch_test

import (
	"slices"
	"testing"

	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/event"
)

// What follows from an event is looked up by its type, and so is what is listened for: a type that no event has would never be heard of.
func TestWhatIsFollowedIsWhatSomethingFollowsFrom(t *testing.T) {
	t.Parallel()
	want := []string{
		"CalendarYearLoaded", "CallbackRecorded", "CallbackUnreachable", "DuplicateAttached", "EchoPublished", "EntryFulfilled", "EntryMatched", "LeftEarly", "ListingCleared", "NoShow", "ParticipantAdded", "ParticipantExcused", "PostSelfSolved", "PostTicketed", "ProfilePublished",
		"RegistryVersionPublished", "RequirementWaived", "SpotCheckRecorded", "SupervisionLifted", "SupervisionReplied", "TicketReported", "TicketUnmerged",
		"TicketWithdrawn", "VerificationPassed", "WhistleBlown", "WhistleCancelled", "WhistleClosed", "WhistleIssued",
		"WhistleRaised", "WhistleRefused", "WhistleSettled", "WhistleTimerPassed",
	}
	var got []string
	for _, typ := range event.Types() {
		if dispatch.Followed(typ) {
			got = append(got, typ)
		}
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
