// Package exchange holds the rules of the exchange of needs and resources (需求清单, 资源清单, 双向认领): an entry is opened, matched with one of the
// other side, and fulfilled. One step, one file. The package is pure.
package exchange

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// State is a need or a resource, folded from its events. It is a value: copies may be changed apart, but what its slices and pointers lead
// to is shared and never changed.
type State struct {
	rule.Life[pb.ExchangeState]

	Kind      pb.ExchangeKind
	Path      []*pb.AreaNode
	Unit      string // whose it is
	Topic     string
	Opened    *pb.Sealed // what is needed or offered
	OpenedAt  time.Time
	OpenUntil time.Time // zero: without end
	EndedAt   time.Time // fulfilled or withdrawn

	With     string // the id of the entry it is matched with, or was when it was fulfilled; empty: none
	WithUnit string // whose that is
	Matched  uint64 // the event that matched it; 0 while it is not
}

// Decide says what a command makes happen, or why not: a *rule.Refusal. No events and no error: it had been done before. Neither s nor
// what it points to is changed. What follows from the other side's stream comes as its event.
func Decide(s State, a *rule.Asked, command proto.Message) ([]proto.Message, error) {
	if c, ok := command.(*pb.OpenEntryRequest); ok {
		return open(s, a, c)
	}
	if !s.Exists() {
		return nil, rule.Bad("name", rule.NotFound, "no such entry")
	}
	switch c := command.(type) {
	case *pb.MatchEntryRequest:
		return match(s, a, c)
	case *pb.EntryMatched:
		return follow(s, a, c)
	case *pb.EntryFreed:
		return free(s, a, c)
	case *pb.FulfilEntryRequest:
		return fulfil(s, a)
	case *pb.EntryFulfilled:
		return fulfilled(s, a, c)
	case *pb.WithdrawEntryRequest:
		return withdraw(s, a)
	}
	return nil, fmt.Errorf("no rule for command %T", command)
}

// Evolve is the state after an event. An event that is not of this kind of stream is an error. s is not changed.
func Evolve(s State, meta *pb.EventMeta, event proto.Message) (State, error) {
	at := meta.GetOccurredAt().AsTime()
	switch e := event.(type) {
	case *pb.EntryOpened:
		s.No, s.Kind, s.Path, s.Unit, s.Topic, s.Opened = e.No, e.Kind, e.Path, e.Unit, e.Topic, e.Sealed
		s.OpenedAt, s.OpenUntil = at, rule.Instant(e.OpenUntil)
	case *pb.EntryMatched:
		s.With, s.WithUnit, s.Matched = e.With, e.Unit, s.Events+1
	case *pb.EntryFreed:
		s.With, s.WithUnit, s.Matched = "", "", 0
	case *pb.EntryFulfilled, *pb.EntryWithdrawn:
		s.EndedAt = at
	default:
		return s, fmt.Errorf("%T is no event of an exchange", event)
	}
	s.Sealed(event)
	s.Happened(meta, event, StateAfter(event))
	return s, nil
}

// StateAfter is the main state an event leads to; UNSPECIFIED for what is no event of an entry.
func StateAfter(event proto.Message) pb.ExchangeState {
	switch event.(type) {
	case *pb.EntryOpened, *pb.EntryFreed:
		return pb.ExchangeState_EXCHANGE_STATE_OPEN
	case *pb.EntryMatched:
		return pb.ExchangeState_EXCHANGE_STATE_MATCHED
	case *pb.EntryFulfilled:
		return pb.ExchangeState_EXCHANGE_STATE_FULFILLED
	case *pb.EntryWithdrawn:
		return pb.ExchangeState_EXCHANGE_STATE_WITHDRAWN
	}
	return pb.ExchangeState_EXCHANGE_STATE_UNSPECIFIED
}

// MaySee says whether somebody may know of it: anybody may, or nobody could claim it.
func (s *State) MaySee(rule.Registry, rule.Actor, time.Time) bool { return s.Exists() }

// traders are the roles that state needs, offer resources and match them.
var traders = []pb.Role{
	pb.Role_ROLE_COMMUNITY_CLERK, pb.Role_ROLE_COMMUNITY_SECRETARY, pb.Role_ROLE_STREET_CLERK, pb.Role_ROLE_STREET_LEADER,
	pb.Role_ROLE_STREET_SECRETARY, pb.Role_ROLE_STREET_DIRECTOR, pb.Role_ROLE_DEPARTMENT_CLERK, pb.Role_ROLE_DEPARTMENT_HEAD,
}

// in refuses unless the entry is in the state, and says which event put it where it is.
func (s *State) in(field string, want pb.ExchangeState) error { return s.In(field, "entry", want) }

// own refuses unless the entry is the actor's unit's.
func (s *State) own(a *rule.Asked) error {
	if err := a.Require(traders...); err != nil {
		return err
	}
	if !rule.Within(a.Registry, a.Actor.Unit, s.Unit) {
		return rule.No(rule.OutOfScope, "it is unit %q's, not yours", s.Unit)
	}
	return nil
}

// Message is the entry as the contract shows it, without what was said.
func (s *State) Message(id string) *pb.Entry {
	m := &pb.Entry{
		Name: "exchanges/" + id, No: s.No, Kind: s.Kind, State: s.State, Path: s.Path, Unit: s.Unit, Topic: s.Topic,
		OpenedAt: rule.Stamp(s.OpenedAt), OpenUntil: rule.Stamp(s.OpenUntil), EndedAt: rule.Stamp(s.EndedAt),
	}
	if s.With != "" {
		m.With = "exchanges/" + s.With
	}
	return m
}
