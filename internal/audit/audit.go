// Package audit holds the rules of the streams that are kept beside tickets and whistles: what was refused (audit-<id>), whose identity was shown to
// whom (audit-<id>), and whose key was destroyed (subject-<id>). They only note; nothing is decided by what they hold.
package audit

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// State is how many notes a stream holds.
type State struct{ Events uint64 }

// Decide notes what it is given; the event is its own command.
func Decide(_ State, a *rule.Asked, note proto.Message) ([]proto.Message, error) {
	switch note.(type) {
	case *pb.CommandRefused, *pb.IdentityRevealed:
		return []proto.Message{note}, nil
	case *pb.SubjectErased:
		if err := a.Require(pb.Role_ROLE_AUDITOR); err != nil {
			return nil, err
		}
		return []proto.Message{note}, nil
	}
	return nil, fmt.Errorf("no rule for note %T", note)
}

// Evolve is the state after a note. An event that is no note is an error.
func Evolve(s State, _ *pb.EventMeta, note proto.Message) (State, error) {
	switch note.(type) {
	case *pb.CommandRefused, *pb.IdentityRevealed, *pb.SubjectErased:
		s.Events++
		return s, nil
	}
	return s, fmt.Errorf("%T is no note", note)
}
