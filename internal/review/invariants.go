package review

import (
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// CheckInvariants says what is wrong with a recorded event, given the states before and after it that Evolve gave: nil if it keeps all
// that must hold, whoever recorded it. It does not decide again, and asks no registry.
func CheckInvariants(before, after State, meta *pb.EventMeta, event proto.Message) error {
	if err := before.Step(&after.Life, "review", meta, event, legal(event), StateAfter(event)); err != nil {
		return err
	}
	wrong := rule.Wrong(event)
	if after.No == "" {
		return wrong("has no number")
	}
	switch e := event.(type) {
	case *pb.ReviewOpened:
		if w := e.Weights; w.GetOrganisation()+w.GetPartyMembers()+w.GetResidents() != 1000 {
			return wrong("the weights do not add to 1,000")
		}
		seen := map[string]bool{}
		for _, m := range e.Group {
			if seen[m.Person] || m.Person == e.Person && e.Person != "" {
				return wrong("a member stands twice, or reviews themselves")
			}
			seen[m.Person] = true
		}
	case *pb.ReviewScored:
		if m := before.member(e.Person); m == nil || m.Kind != e.Kind || before.scored(e.Person) || e.Score > MaxScore {
			return wrong("is no first score of a member")
		}
	case *pb.ReviewClosed:
		want := before.result()
		want.Sealed = e.Sealed
		if !proto.Equal(want, e) || e.OrganisationCount == 0 || e.PartyMembersCount == 0 || e.ResidentsCount == 0 {
			return wrong("does not follow from the scores")
		}
	case *pb.ResidentUnitGraded:
		if e.Score > MaxScore {
			return wrong("the score is %d", e.Score)
		}
	}
	return nil
}

// legal are the states an event can happen in; nil for what is no event of a review.
func legal(event proto.Message) []pb.ReviewState {
	switch event.(type) {
	case *pb.ReviewOpened, *pb.ResidentUnitGraded, *pb.StreetOpinionGiven:
		return []pb.ReviewState{pb.ReviewState_REVIEW_STATE_UNSPECIFIED}
	case *pb.ReviewScored, *pb.ReviewClosed:
		return []pb.ReviewState{pb.ReviewState_REVIEW_STATE_OPEN}
	}
	return nil
}
