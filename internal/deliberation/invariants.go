package deliberation

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// CheckInvariants says what is wrong with a recorded event, given the states before and after it that Evolve gave: nil if it keeps all
// that must hold, whoever recorded it. It does not decide again, and asks no registry.
func CheckInvariants(before, after State, meta *pb.EventMeta, event proto.Message) error {
	typ := event.ProtoReflect().Descriptor().Name()
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%s: "+format, append([]any{typ}, args...)...)
	}
	from, ok := legal(event)
	switch {
	case !ok:
		return wrong("is no event of a deliberation")
	case before.State != from:
		return wrong("happened to a matter that is %s", before.State)
	case after.Events != before.Events+1:
		return wrong("event %d follows %d", after.Events, before.Events)
	case after.State != StateAfter(event):
		return wrong("led from %s to %s", before.State, after.State)
	case meta.GetRecordedAt().AsTime().Before(meta.GetOccurredAt().AsTime()):
		return wrong("was recorded before it happened")
	case before.Exists() && (after.No != before.No || after.Month != before.Month || after.Keeper != before.Keeper || !after.ChosenAt.Equal(before.ChosenAt)):
		return wrong("changed the matter's number, month, keeper or when it was chosen")
	}
	switch e := event.(type) {
	case *pb.MatterChosen:
		if _, err := time.Parse(monthLayout, e.Month); err != nil {
			return wrong("its month is %q", e.Month)
		}
		if len(e.Path) == 0 || e.Keeper == "" {
			return wrong("it lies nowhere, or nobody keeps it")
		}
		if posts := slices.Sorted(slices.Values(e.Posts)); len(slices.Compact(posts)) != len(e.Posts) {
			return wrong("it is about a post twice")
		}
	case *pb.MatterDeliberated:
		if held := e.HeldAt.AsTime(); held.Before(before.ChosenAt) || held.After(meta.GetOccurredAt().AsTime()) {
			return wrong("held at %s, though chosen at %s and recorded at %s", held, before.ChosenAt, meta.GetOccurredAt().AsTime())
		}
	case *pb.MatterPublished:
		if e.Sealed == nil {
			return wrong("without public words")
		}
	}
	return nil
}

// legal is the state an event can happen in; ok is false for what is no event of a deliberation.
func legal(event proto.Message) (from pb.DeliberationState, ok bool) {
	switch event.(type) {
	case *pb.MatterChosen:
		return pb.DeliberationState_DELIBERATION_STATE_UNSPECIFIED, true
	case *pb.MatterDeliberated:
		return pb.DeliberationState_DELIBERATION_STATE_CHOSEN, true
	case *pb.MatterDecided:
		return pb.DeliberationState_DELIBERATION_STATE_DELIBERATED, true
	case *pb.MatterPublished:
		return pb.DeliberationState_DELIBERATION_STATE_DECIDED, true
	}
	return 0, false
}
