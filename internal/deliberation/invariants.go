package deliberation

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// CheckInvariants says what is wrong with a recorded event, given the states before and after it that Evolve gave: nil if it keeps all
// that must hold, whoever recorded it. It does not decide again, and asks no registry.
func CheckInvariants(before, after State, meta *pb.EventMeta, event proto.Message) error {
	if err := before.Step(&after.Life, "matter", meta, event, legal(event), StateAfter(event)); err != nil {
		return err
	}
	wrong := rule.Wrong(event)
	switch {
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

// legal are the states an event can happen in; nil for what is no event of a deliberation.
func legal(event proto.Message) []pb.DeliberationState {
	switch event.(type) {
	case *pb.MatterChosen:
		return []pb.DeliberationState{pb.DeliberationState_DELIBERATION_STATE_UNSPECIFIED}
	case *pb.MatterDeliberated:
		return []pb.DeliberationState{pb.DeliberationState_DELIBERATION_STATE_CHOSEN}
	case *pb.MatterDecided:
		return []pb.DeliberationState{pb.DeliberationState_DELIBERATION_STATE_DELIBERATED}
	case *pb.MatterPublished:
		return []pb.DeliberationState{pb.DeliberationState_DELIBERATION_STATE_DECIDED}
	}
	return nil
}
