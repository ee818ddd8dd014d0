package registry

import pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"

// Weights are those of reviews and samples (评议权重); nil if the version has none. They are shared and must not be changed.
func (s *Snapshot) Weights() *pb.ReviewWeights { return s.weights }

// weightsIn are those of the last piece that has any.
func weightsIn(pieces []*pb.RegistryPiece) *pb.ReviewWeights {
	var w *pb.ReviewWeights
	for _, p := range pieces {
		if p.GetWeights() != nil {
			w = p.GetWeights()
		}
	}
	return w
}
