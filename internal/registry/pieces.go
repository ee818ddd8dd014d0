package registry

import (
	"crypto/sha256"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// The limits of staging. A piece and its envelope fit into one append of any store.
const (
	// MaxPieceBytes is the largest encoded piece that can be staged.
	MaxPieceBytes = 640 << 10
	// PieceBytes is the size that content is best split to.
	PieceBytes = 512 << 10
	// MaxPieces is how many pieces a version may have.
	MaxPieces = 2000
)

// Split divides content into pieces of at most maxBytes encoded, in order: levels, areas, units, categories, catalogue, bans, weights, call items.
// An entry that
// is larger than that has a piece to itself. Entries are shared with the content. There is at least one piece, maybe empty.
func Split(content *pb.RegistryPiece, maxBytes int) []*pb.RegistryPiece {
	piece := new(pb.RegistryPiece)
	pieces := []*pb.RegistryPiece{piece}
	size := 0
	// room makes room for one more entry.
	room := func(m proto.Message) *pb.RegistryPiece {
		n := 1 + protowire.SizeBytes(proto.Size(m)) // fields 1 to 15 have tags of one byte
		if size > 0 && size+n > maxBytes {
			piece, size = new(pb.RegistryPiece), 0
			pieces = append(pieces, piece)
		}
		size += n
		return piece
	}
	for _, l := range content.GetLevels() {
		p := room(l)
		p.Levels = append(p.Levels, l)
	}
	for _, a := range content.GetAreas() {
		p := room(a)
		p.Areas = append(p.Areas, a)
	}
	for _, u := range content.GetUnits() {
		p := room(u)
		p.Units = append(p.Units, u)
	}
	for _, k := range content.GetCategories() {
		p := room(k)
		p.Categories = append(p.Categories, k)
	}
	for _, e := range content.GetCatalogue() {
		p := room(e)
		p.Catalogue = append(p.Catalogue, e)
	}
	for _, b := range content.GetBans() {
		p := room(b)
		p.Bans = append(p.Bans, b)
	}
	for _, c := range content.GetCallItems() {
		p := room(c)
		p.CallItems = append(p.CallItems, c)
	}
	if w := content.GetWeights(); w != nil {
		room(w).Weights = w
	}
	return pieces
}

// ContentHash is the SHA-256 over the pieces' deterministic encodings, in order. An error means that a piece has text that
// is not UTF-8.
func ContentHash(pieces []*pb.RegistryPiece) ([]byte, error) {
	h := sha256.New()
	var buf []byte
	for i, p := range pieces {
		var err error
		if buf, err = (proto.MarshalOptions{Deterministic: true}).MarshalAppend(buf[:0], p); err != nil {
			return nil, fmt.Errorf("encode piece %d: %w", i+1, err)
		}
		h.Write(buf)
	}
	return h.Sum(nil), nil
}
