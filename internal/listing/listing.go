// Package listing holds the rules of a listed problem (挂牌) that is no ticket. One step, one file. The package is pure.
package listing

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// State is a listed problem (挂牌) that is no ticket, folded from its events. It is a value: copies may be changed apart, but what its slices and pointers lead to is
// shared and never changed.
type State struct {
	State  pb.ListingState // UNSPECIFIED: there is none yet
	Events uint64          // how many events were folded: the stream's version

	No      string
	Subject string // the data subject whose key seals the particulars; empty while nothing was sealed

	LastAt time.Time // the latest instant at which anything happened to it
}

// Decide says what a command makes happen, or why not: a *rule.Refusal. No events and no error: it had been done before. Neither s nor
// what it points to is changed.
func Decide(s State, a *rule.Asked, command proto.Message) ([]proto.Message, error) {
	return nil, fmt.Errorf("no rule for command %T", command)
}

// Evolve is the state after an event. An event that is not of this kind of stream is an error. s is not changed.
func Evolve(s State, meta *pb.EventMeta, event proto.Message) (State, error) {
	return s, fmt.Errorf("%T is no event of a listing", event)
}

// CheckInvariants says what is wrong with a recorded event, given the states before and after it that Evolve gave: nil if it keeps all
// that must hold, whoever recorded it. It does not decide again, and asks no registry.
func CheckInvariants(before, after State, meta *pb.EventMeta, event proto.Message) error {
	return fmt.Errorf("%T is no event of a listing", event)
}

// Exists says whether it came to life.
func (s *State) Exists() bool { return s.State != pb.ListingState_LISTING_STATE_UNSPECIFIED }

// Standing is its public number and its main state without the enum's prefix.
func (s *State) Standing() (no, state string) { return s.No, s.State.String()[len("LISTING_STATE_"):] }

// Owner is the data subject whose key seals what is said of it; empty while nothing was.
func (s *State) Owner() string { return s.Subject }

// MaySee says whether somebody may know of it at the instant.
func (s *State) MaySee(r rule.Registry, who rule.Actor, at time.Time) bool { return false }
