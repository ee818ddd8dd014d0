package wall

import (
	"slices"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// CheckInvariants says what is wrong with a recorded event, given the states before and after it that Evolve gave: nil if it keeps all
// that must hold, whoever recorded it. It does not decide again, and asks no registry.
func CheckInvariants(before, after State, meta *pb.EventMeta, event proto.Message) error {
	if err := before.Step(&after.Life, "post", meta, event, legal(event), before.leads(event)); err != nil {
		return err
	}
	wrong := rule.Wrong(event)
	if before.Exists() && (after.No != before.No || !after.PostedAt.Equal(before.PostedAt) || after.Subject != before.Subject ||
		!slices.EqualFunc(after.PostedPath, before.PostedPath, func(a, b *pb.AreaNode) bool { return proto.Equal(a, b) })) {
		return wrong("changed the post's number, time, place or poster")
	}
	switch e := event.(type) {
	case *pb.PostPublished:
		if e.Keeper == "" || len(e.Path) == 0 {
			return wrong("stands on no wall: keeper %q, path %v", e.Keeper, e.Path)
		}
	case *pb.PostScreened:
		if e.Category == "" || e.Sealed == nil {
			return wrong("has the category %q, and words: %t", e.Category, e.Sealed != nil)
		}
	case *pb.PostSupported:
		if e.Resident == "" || e.Resident == before.Subject || slices.Contains(before.Supporters, e.Resident) {
			return wrong("%q posted it or supports it already, or is nobody", e.Resident)
		}
	case *pb.PostSelfSolved:
		switch {
		case before.Mother:
			return wrong("happened on a mother wall")
		case e.Unit != before.Keeper || e.Category != before.Category || e.Sealed == nil:
			return wrong("by unit %q, category %q, with an echo: %t; the wall is of %q, the category %q", e.Unit, e.Category, e.Sealed != nil, before.Keeper, before.Category)
		case e.Drawn != drawn(before.No, meta.GetRecordedAt().AsTime(), e.Percent):
			return wrong("drawn %t of %d in a hundred, which the draw does not say", e.Drawn, e.Percent)
		}
	case *pb.PostLifted:
		if before.Mother || e.Keeper == "" || len(e.Path) == 0 {
			return wrong("from a mother wall: %t, to the wall of %q, path %v", before.Mother, e.Keeper, e.Path)
		}
	case *pb.PostTicketed:
		if !before.Mother || e.Category != before.Category {
			return wrong("on a mother wall: %t, category %q of a post of category %q", before.Mother, e.Category, before.Category)
		}
	case *pb.PostEchoed:
		if e.Ticket == "" || e.Version == 0 || e.Kind == pb.EchoKind_ECHO_KIND_UNSPECIFIED || before.heard(e) {
			return wrong("%s of event %d of ticket %q is none, or was told before", e.Kind, e.Version, e.Ticket)
		}
	case *pb.PostReviewed:
		if e.Score < 1 || e.Score > 5 || slices.Contains(before.Reviewers, e.Resident) ||
			e.Resident != before.Subject && !slices.Contains(before.Supporters, e.Resident) {
			return wrong("score %d by %q, who reviewed it already or neither posted nor supported it", e.Score, e.Resident)
		}
	}
	return nil
}

// legal are the states an event can happen in; nil for what is no event of a wall.
func legal(event proto.Message) []pb.PostState {
	const (
		none     = pb.PostState_POST_STATE_UNSPECIFIED
		posted   = pb.PostState_POST_STATE_POSTED
		screened = pb.PostState_POST_STATE_SCREENED
		lifted   = pb.PostState_POST_STATE_LIFTED
		ticketed = pb.PostState_POST_STATE_TICKETED
		echoed   = pb.PostState_POST_STATE_ECHOED
		reviewed = pb.PostState_POST_STATE_REVIEWED
	)
	in := func(states ...pb.PostState) []pb.PostState { return states }
	switch event.(type) {
	case *pb.PostPublished:
		return in(none)
	case *pb.PostScreened, *pb.PostRefused:
		return in(posted)
	case *pb.PostSupported:
		return in(screened, lifted, ticketed)
	case *pb.PostSelfSolved, *pb.PostLifted:
		return in(screened)
	case *pb.PostTicketed:
		return in(screened, lifted)
	case *pb.PostJointlyHandled, *pb.PostJointlySolved:
		return in(lifted, ticketed)
	case *pb.PostEchoed:
		return heardIn
	case *pb.PostReviewed:
		return in(echoed, reviewed)
	}
	return nil
}
