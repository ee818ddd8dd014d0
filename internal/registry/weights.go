package registry

import (
	"strconv"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// DefaultWeights are the weights of a registry that brings none: of the triple review 0.4, 0.3 and 0.3 (domain default of the three-sided review),
// of a rating's marks 0.3, 0.3 and 0.4, of raters 0.5, 0.3 and 0.2, and a tenth of what was solved on walls is verified.
func DefaultWeights() *pb.ReviewWeights {
	return &pb.ReviewWeights{
		Organisation: 400, PartyMembers: 300, Residents: 300,
		Response: 300, Cooperation: 300, Result: 400,
		ByStreet: 500, ByCommunity: 300, ByResidents: 200,
		VerifyPercent: 10,
	}
}

// Weights are those of reviews and ratings, and how many of a hundred matters solved on walls are verified. They are shared and must not be
// changed.
func (s *Snapshot) Weights() *pb.ReviewWeights { return s.weights }

// weightColumns are the columns of weights.csv, and where each stands in the message.
var weightColumns = []struct {
	name string
	of   func(*pb.ReviewWeights) *uint32
}{
	{"organisation", func(w *pb.ReviewWeights) *uint32 { return &w.Organisation }},
	{"party_members", func(w *pb.ReviewWeights) *uint32 { return &w.PartyMembers }},
	{"residents", func(w *pb.ReviewWeights) *uint32 { return &w.Residents }},
	{"response", func(w *pb.ReviewWeights) *uint32 { return &w.Response }},
	{"cooperation", func(w *pb.ReviewWeights) *uint32 { return &w.Cooperation }},
	{"result", func(w *pb.ReviewWeights) *uint32 { return &w.Result }},
	{"by_street", func(w *pb.ReviewWeights) *uint32 { return &w.ByStreet }},
	{"by_community", func(w *pb.ReviewWeights) *uint32 { return &w.ByCommunity }},
	{"by_residents", func(w *pb.ReviewWeights) *uint32 { return &w.ByResidents }},
	{"verify_percent", func(w *pb.ReviewWeights) *uint32 { return &w.VerifyPercent }},
}

var weightsTable = table{
	name: "weights", section: ofWeights, optional: true,
	must: func() (names []string) {
		for _, c := range weightColumns {
			names = append(names, c.name)
		}
		return names
	}(),
	read: func(p *pb.RegistryPiece, r *row) {
		if p.Weights != nil {
			r.bad("organisation", "there is one row of weights")
			return
		}
		p.Weights = new(pb.ReviewWeights)
		for _, c := range weightColumns {
			n, err := strconv.ParseUint(r.text(c.name), 10, 16)
			if err != nil {
				r.bad(c.name, "want a whole number of at most %d", 1<<16-1)
				continue
			}
			*c.of(p.Weights) = uint32(n)
		}
	},
}

// weigh lists what is wrong with the weights: each three add to 1,000, and at most a hundred of a hundred are verified.
func (v *validator) weigh() {
	w := v.content.weights
	if w == nil {
		return
	}
	for i := 0; i+2 < len(weightColumns); i += 3 {
		sum := uint64(0)
		for _, c := range weightColumns[i : i+3] {
			sum += uint64(*c.of(w))
		}
		if sum != 1000 {
			v.add(ofWeights, 0, weightColumns[i].name, BadField, "", "the three weights from here add to %d thousandths, not 1000", sum)
		}
	}
	if w.VerifyPercent > 100 {
		v.add(ofWeights, 0, "verify_percent", BadField, "", "want at most 100, not %d", w.VerifyPercent)
	}
	if v.content.weightsTwice {
		v.add(ofWeights, 0, "organisation", DuplicateCode, "", "weights stand in two pieces")
	}
}

// weightsOf are those of the pieces, and whether two pieces bring some.
func weightsOf(pieces []*pb.RegistryPiece) (w *pb.ReviewWeights, twice bool) {
	for _, p := range pieces {
		if p.GetWeights() != nil {
			w, twice = p.GetWeights(), twice || w != nil
		}
	}
	return w, twice
}

// inForce are the weights to go by.
func (c *content) inForce() *pb.ReviewWeights {
	if c.weights == nil {
		return DefaultWeights()
	}
	return proto.CloneOf(c.weights)
}
