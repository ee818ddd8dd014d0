package review

import (
	"math/big"
	"testing"

	"pgregory.net/rapid"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

func TestSixtyFiftyFiveAndTwentyComeToFortySixAndAHalf(t *testing.T) {
	t.Parallel()
	w := &pb.ReviewWeights{Organisation: 400, PartyMembers: 300, Residents: 300}
	if got := Points(w, [3]uint64{60_00, 55_00, 20_00}, [3]uint64{1, 1, 1}); got != 46_50 {
		t.Errorf("got %d, want 4650", got)
	}
}

func TestPointsAreTheWeightedMeanOfTheMeansRoundedOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.Uint32Range(0, 1000).Draw(t, "organisation")
		b := rapid.Uint32Range(0, 1000-a).Draw(t, "party members")
		w := &pb.ReviewWeights{Organisation: a, PartyMembers: b, Residents: 1000 - a - b}
		var sum, n [3]uint64
		exact := new(big.Rat)
		for i, weight := range []uint32{a, b, 1000 - a - b} {
			n[i] = rapid.Uint64Range(1, 400).Draw(t, "members")
			sum[i] = rapid.Uint64Range(0, n[i]*MaxScore).Draw(t, "sum")
			mean := big.NewRat(int64(sum[i]), int64(n[i]))
			exact.Add(exact, mean.Mul(mean, big.NewRat(int64(weight), 1000)))
		}
		exact.Add(exact, big.NewRat(1, 2))
		want := new(big.Int).Quo(exact.Num(), exact.Denom())
		if got := Points(w, sum, n); want.Cmp(big.NewInt(int64(got))) != 0 {
			t.Fatalf("got %d, want %d", got, want)
		}
	})
}
