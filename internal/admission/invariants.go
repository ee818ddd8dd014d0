package admission

import (
	"slices"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// CheckInvariants says what is wrong with a recorded event, given the states before and after it that Evolve gave: nil if it keeps all
// that must hold, whoever recorded it. It does not decide again, and asks no registry.
func CheckInvariants(before, after State, meta *pb.EventMeta, event proto.Message) error {
	if err := before.Step(&after.Life, "admission", meta, event, legal(event), StateAfter(event)); err != nil {
		return err
	}
	wrong := rule.Wrong(event)
	if Ended(after.State) == after.EndedAt.IsZero() {
		return wrong("left it %s, ended at %s", after.State, after.EndedAt)
	}
	if !before.Exists() {
		if len(after.Communities) == 0 || after.Item == "" || after.Unit == "" || after.DecidedBy == "" || !after.ValidTo.After(after.ValidFrom) {
			return wrong("names no communities, item, applicant, decider or validity")
		}
		return nil
	}
	if after.No != before.No || after.Item != before.Item || after.Unit != before.Unit || after.DecidedBy != before.DecidedBy {
		return wrong("changed the number, the item, who applied or who decides")
	}
	if _, objects := event.(*pb.CommunityObjected); !objects && (!slices.Equal(after.Communities, before.Communities) || len(after.Objected) != len(before.Objected)) {
		return wrong("changed the communities")
	}
	at := meta.GetOccurredAt().AsTime()
	switch e := event.(type) {
	case *pb.AdmissionReviewed:
		if meta.GetActor().GetPerson() == before.AppliedBy.GetPerson() {
			return wrong("who applied examined it")
		}
	case *pb.CommunityObjected:
		if !slices.Contains(before.Communities, e.Community) || len(after.Communities) != len(before.Communities)-1 {
			return wrong("community %q was not asked", e.Community)
		}
	case *pb.AdmissionAdmitted:
		if len(e.Communities) == 0 {
			return wrong("no community is left")
		}
		if rule.Instant(e.ValidFrom).Before(before.ValidFrom) || rule.Instant(e.ValidTo).After(before.ValidTo) || !after.ValidTo.After(after.ValidFrom) {
			return wrong("it is admitted outside of what was applied for")
		}
		if p := meta.GetActor().GetPerson(); p == before.ReviewedBy.GetPerson() || p == before.AppliedBy.GetPerson() {
			return wrong("one person examined or applied and admitted")
		}
	case *pb.AdmissionRefused:
		if (e.Reason == communitiesObject) != (len(before.Communities) == 0) {
			return wrong("for %s, with %d communities left", e.Reason, len(before.Communities))
		}
		if e.Reason == notDecided && at.Before(before.DecideBy) {
			return wrong("the time to decide was not over")
		}
	case *pb.AdmissionExpired:
		if at.Before(before.ValidTo) {
			return wrong("it was valid still")
		}
	}
	return nil
}

// legal are the states an event can happen in; nil for what is no event of an admission.
func legal(event proto.Message) []pb.AdmissionState {
	const (
		none     = pb.AdmissionState_ADMISSION_STATE_UNSPECIFIED
		applied  = pb.AdmissionState_ADMISSION_STATE_APPLIED
		admitted = pb.AdmissionState_ADMISSION_STATE_ADMITTED
	)
	switch event.(type) {
	case *pb.AdmissionApplied:
		return []pb.AdmissionState{none}
	case *pb.AdmissionReviewed:
		return []pb.AdmissionState{applied}
	case *pb.CommunityObjected, *pb.AdmissionRefused:
		return pending
	case *pb.AdmissionAdmitted:
		return []pb.AdmissionState{pb.AdmissionState_ADMISSION_STATE_REVIEWED}
	case *pb.AdmissionRevoked, *pb.AdmissionExpired:
		return []pb.AdmissionState{admitted}
	}
	return nil
}
