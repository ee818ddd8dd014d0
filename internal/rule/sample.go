package rule

import pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"

// Drawing is what a sample of closed tickets is drawn from.
type Drawing struct {
	Tickets []string // ids, in any order
	KnownAt uint64   // the log position that they are looked up as of
	Seed    []byte   // random, made as the sample is drawn
}

// Sampled is what the rules of spot checks know of a ticket.
type Sampled struct {
	Path         []*pb.AreaNode
	Lead         string    // the unit that handled it last; empty if none did
	Co           []string  // those that helped
	Verifier     *pb.Actor // who found its result as told; nil if nobody did
	Confidential bool
	Visible      bool // to the actor, as the ticket's own rules have it
}
