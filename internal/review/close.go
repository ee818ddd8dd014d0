package review

import (
	"slices"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// closeReview: counts. Each side needs somebody who scored.
func closeReview(s State, a *rule.Asked, _ *pb.CloseReviewRequest) ([]proto.Message, error) {
	if err := s.holds(a); err != nil {
		return nil, err
	}
	if err := s.running(); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.LastAt); err != nil {
		return nil, err
	}
	e := s.result()
	for i, n := range []uint32{e.OrganisationCount, e.PartyMembersCount, e.ResidentsCount} {
		if n == 0 {
			return nil, rule.No(rule.RatingsMissing, "nobody of %s has scored", rule.Name(sides[i]))
		}
	}
	e.Sealed = a.Sealed
	return rule.One(e)
}

// result is what the scores so far come to. Points are computed from whole numbers; without a score on each side they are 0.
func (s *State) result() *pb.ReviewClosed {
	var sum [3]uint64
	var n [3]uint64
	for _, x := range s.Scores {
		side := slices.Index(sides, x.Kind)
		sum[side] += uint64(x.Score)
		n[side]++
	}
	e := &pb.ReviewClosed{
		Organisation: sum[0], OrganisationCount: uint32(n[0]), PartyMembers: sum[1], PartyMembersCount: uint32(n[1]),
		Residents: sum[2], ResidentsCount: uint32(n[2]),
	}
	if n[0] > 0 && n[1] > 0 && n[2] > 0 {
		e.Points = Points(s.Weights, sum, n)
	}
	return e
}

// Points is the weighted mean of the means of the three sides, in the unit of the sums, half up: 60, 55 and 20 with 0.4, 0.3 and 0.3 are 46.5.
// Each n is at least 1.
func Points(w *pb.ReviewWeights, sum, n [3]uint64) uint32 {
	// At most 400 members of 10,000 hundredths: no product overflows.
	num := uint64(w.Organisation)*sum[0]*n[1]*n[2] + uint64(w.PartyMembers)*sum[1]*n[0]*n[2] + uint64(w.Residents)*sum[2]*n[0]*n[1]
	den := 1000 * n[0] * n[1] * n[2]
	return uint32((2*num + den) / (2 * den))
}
