// Package check holds the rules of a spot check (抽查): a sample of closed tickets is drawn so that anybody can draw it again, and each of them is looked
// at a second time. One step, one file. The package is pure.
package check

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// State is a spot check (抽查), folded from its events. It is a value: copies may be changed apart, but what its slices and pointers lead to is
// shared and never changed.
type State struct {
	rule.Life[pb.CheckState]

	Drawn   *pb.SpotCheckDrawn // nil: there is none yet
	DrawnAt time.Time
	Items   []Item // in the order in which they were drawn
	Latest  string // id of the ticket that was looked at last; empty before the first
}

// Item is a ticket of the sample.
type Item struct {
	Ticket    string    // id
	CheckedAt time.Time // zero while nobody looked
	False     bool      // the result that was reported is
}

// Decide says what a command makes happen, or why not: a *rule.Refusal. No events and no error: it had been done before. Neither s nor
// what it points to is changed.
func Decide(s State, a *rule.Asked, command proto.Message) ([]proto.Message, error) {
	if c, ok := command.(*pb.DrawSpotCheckRequest); ok {
		return draw(s, a, c)
	}
	if !s.Exists() {
		return nil, rule.Bad("name", rule.NotFound, "no such spot check")
	}
	if c, ok := command.(*pb.RecordSpotCheckRequest); ok {
		return record(s, a, c)
	}
	return nil, fmt.Errorf("no rule for command %T", command)
}

// Evolve is the state after an event. An event that is not of this kind of stream is an error. s is not changed.
func Evolve(s State, meta *pb.EventMeta, event proto.Message) (State, error) {
	at := meta.GetOccurredAt().AsTime()
	switch e := event.(type) {
	case *pb.SpotCheckDrawn:
		s.drawn(at, e)
	case *pb.SpotCheckRecorded:
		s.recorded(at, e)
	default:
		return s, fmt.Errorf("%T is no event of a check", event)
	}
	s.Happened(meta, event, StateAfter(event))
	return s, nil
}

// StateAfter is the main state an event leads to; UNSPECIFIED for an event that changes no main state.
func StateAfter(event proto.Message) pb.CheckState {
	switch e := event.(type) {
	case *pb.SpotCheckDrawn:
		return pb.CheckState_CHECK_STATE_DRAWN
	case *pb.SpotCheckRecorded:
		if e.Done {
			return pb.CheckState_CHECK_STATE_DONE
		}
	}
	return pb.CheckState_CHECK_STATE_UNSPECIFIED
}

// Owner is nobody: what is said of each ticket is sealed under the key of that ticket's data subject.
func (s *State) Owner() string { return "" }

// MaySee says whether somebody may know of it at the instant: the unit that drew and those above it, any auditor and assessment office, and until it is
// done, who may look at what lies there.
func (s *State) MaySee(r rule.Registry, who rule.Actor, at time.Time) bool {
	if slices.Contains(who.Roles, pb.Role_ROLE_AUDITOR) || slices.Contains(who.Roles, pb.Role_ROLE_ASSESSMENT) || rule.Within(r, s.Drawn.GetUnit(), who.Unit) {
		return true
	}
	return s.State == pb.CheckState_CHECK_STATE_DRAWN &&
		(slices.Contains(who.Roles, pb.Role_ROLE_GRID_WORKER) || slices.Contains(who.Roles, pb.Role_ROLE_SUPERVISOR)) && rule.Nearby(r, who.Unit, s.Drawn.GetPath(), at)
}

// find is the ticket's item; nil if it was not drawn.
func (s *State) find(ticket string) *Item {
	for i := range s.Items {
		if s.Items[i].Ticket == ticket {
			return &s.Items[i]
		}
	}
	return nil
}

// Message is the spot check as the contract shows it.
func (s *State) Message(id string) *pb.SpotCheck {
	e := s.Drawn
	m := &pb.SpotCheck{
		Name: "checks/" + id, No: e.GetNo(), State: s.State, Kind: e.GetKind(), Path: e.GetPath(), From: e.GetFrom(), To: e.GetTo(), Category: e.GetCategory(),
		Seed: e.GetSeed(), Population: e.GetPopulation(), PopulationHash: e.GetPopulationHash(), Unit: e.GetUnit(), DrawnAt: rule.Stamp(s.DrawnAt),
	}
	for _, i := range s.Items {
		m.Items = append(m.Items, &pb.SpotCheckItem{
			Ticket: "tickets/" + i.Ticket, Checked: !i.CheckedAt.IsZero(), FalseResult: i.False, CheckedAt: rule.Stamp(i.CheckedAt),
		})
	}
	return m
}
