package listing

import (
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// CheckInvariants says what is wrong with a recorded event, given the states before and after it that Evolve gave: nil if it keeps all
// that must hold, whoever recorded it. It does not decide again, and asks no registry.
func CheckInvariants(before, after State, meta *pb.EventMeta, event proto.Message) error {
	if err := before.Step(&after.Life, "listing", meta, event, legal(event), StateAfter(event)); err != nil {
		return err
	}
	wrong := rule.Wrong(event)
	if before.Exists() && (after.No != before.No || after.Liable != before.Liable || after.Issuer != before.Issuer || after.Level != before.Level) {
		return wrong("changed the listing's number, owner or issuer")
	}
	if before.Exists() && (!after.ListedAt.Equal(before.ListedAt) || !after.ClearBy.Equal(before.ClearBy)) {
		return wrong("changed when it was listed, or is to be cleared")
	}
	switch e := event.(type) {
	case *pb.ProblemListed:
		switch {
		case e.Owner == "" || e.Issuer == "" || e.Owner == e.Issuer:
			return wrong("unit %q lists for unit %q", e.Issuer, e.Owner)
		case len(e.Path) == 0:
			return wrong("lies nowhere")
		}
	case *pb.RectificationPlanned:
		if e.Person == "" || e.ClearBy == nil {
			return wrong("says neither who nor when")
		}
	case *pb.RectificationReported:
		if before.Person == "" {
			return wrong("without a plan")
		}
		if len(e.Attachments) == 0 {
			return wrong("without evidence")
		}
	case *pb.RectificationChecked:
		if meta.GetActor().GetUnit() == before.Liable {
			return wrong("unit %q looked at what it put right itself", before.Liable)
		}
	case *pb.ListedProblemCleared:
		if by := before.CheckedBy; by.GetPerson() == meta.GetActor().GetPerson() {
			return wrong("%s looked and cleared", by.GetPerson())
		}
	case *pb.ListingTimerPassed:
		if !rule.Runs(before.Timers(), e.Timer, "")(e.By.AsTime()) {
			return wrong("no timer %s runs until then", e.Timer)
		}
	}
	return nil
}

// legal are the states an event can happen in; nil for what is no event of a listing.
func legal(event proto.Message) []pb.ListingState {
	switch event.(type) {
	case *pb.ProblemListed:
		return []pb.ListingState{pb.ListingState_LISTING_STATE_UNSPECIFIED}
	case *pb.RectificationPlanned, *pb.RectificationReported:
		return undone
	case *pb.RectificationChecked:
		return []pb.ListingState{pb.ListingState_LISTING_STATE_REPORTED_DONE}
	case *pb.ListedProblemCleared:
		return []pb.ListingState{pb.ListingState_LISTING_STATE_CHECKED}
	case *pb.OwnerAccounted, *pb.ListingTimerPassed:
		return open
	}
	return nil
}
