package ticket

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// moveHolder: the map changed. Whom it no longer has, holder or lead, gives the ticket to the unit that took its place; of a unit that
// stays but lies elsewhere now only the path is told. Nothing happens where neither is so, or nobody took its place.
func moveHolder(s State, a *rule.Asked, c *pb.MoveHolderRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_SYSTEM); err != nil {
		return nil, err
	}
	if !s.Open() {
		return nil, &rule.Refusal{
			Reason: rule.WrongState, Message: fmt.Sprintf("the ticket is %s; this needs an open one", rule.Name(s.State)), DecidedBy: s.Decided.String(),
		}
	}
	var events []proto.Message
	if e := s.moved(a, s.Holder, s.HolderPath); e != nil {
		events = append(events, e)
	}
	if s.Lead != s.Holder {
		if e := s.moved(a, s.Lead, s.LeadPath); e != nil {
			events = append(events, e)
		}
	}
	return events, nil
}

// moved is the move of a unit that has the ticket, on the path that was told last; nil if it has it still, and lies where it lay.
func (s *State) moved(a *rule.Asked, unit string, path []string) *pb.HolderMoved {
	if unit == "" {
		return nil
	}
	to := unit
	if _, active := a.Registry.Unit(unit, a.At); !active {
		if to = s.successor(a, unit); to == "" {
			return nil
		}
	}
	now := a.Registry.UnitPath(to)
	if to == unit && slices.Equal(now, path) {
		return nil
	}
	return &pb.HolderMoved{From: unit, To: to, HolderPath: now}
}

// successor is the unit that takes the place of one that is gone: the one that is responsible for the ticket's place as the map has it
// now, no lower than the one that is gone, and neither complained of nor ruled out as lead, nor kept out of by the ban list what that one led;
// else the nearest above the one that is gone that is still there. Empty if there is none.
func (s *State) successor(a *rule.Asked, gone string) string {
	had := s.had(gone)
	fit := func(unit string) bool {
		if _, active := a.Registry.Unit(unit, a.At); !active {
			return false
		}
		if rule.Within(a.Registry, unit, s.ComplainedOf) {
			return false
		}
		return gone != s.Lead || !slices.Contains(s.RuledOut, unit) && a.Keep("", cmp.Or(had.Task, s.Category), unit, had.Admission) == nil
	}
	_, rank := a.Registry.Level(gone)
	path := s.present(a.Registry, a.At)
	for i := len(path) - 1; i >= 0; i-- {
		u, ok := a.Registry.Responsible(path[i].Code, a.At)
		if !ok || !fit(u.Code) {
			continue
		}
		if _, r := a.Registry.Level(u.Code); r <= rank || rank == 0 {
			return u.Code
		}
	}
	above := a.Registry.UnitPath(gone)
	for i := len(above) - 1; i >= 0; i-- {
		if fit(above[i]) {
			return above[i]
		}
	}
	return ""
}

// present is the path of the ticket's place as the map has it at the instant; that of the nearest area above it that is known where it
// is on no map itself.
func (s *State) present(r rule.Registry, at time.Time) []*pb.AreaNode {
	for i := len(s.Path) - 1; i >= 0; i-- {
		area, ok := r.Successor(s.Path[i].Code, at)
		if !ok {
			continue
		}
		if path, ok := r.Path(area, at); ok {
			return path
		}
	}
	return nil
}

func (s *State) holderMoved(_ *pb.EventMeta, e *pb.HolderMoved) {
	if s.Holder == e.From {
		s.Holder, s.HolderPath = e.To, e.HolderPath
	}
	if s.Lead != e.From {
		return
	}
	s.Lead, s.LeadPath = e.To, e.HolderPath
	if had := s.had(e.From); e.From != e.To {
		s.delivered(had.Task, had.Admission, e.To)
	}
	// What it helped with is part of what it leads now.
	if slices.Contains(s.Co, e.To) {
		s.Co = slices.DeleteFunc(slices.Clone(s.Co), func(co string) bool { return co == e.To })
		s.CoTasks = slices.DeleteFunc(slices.Clone(s.CoTasks), func(t CoTask) bool { return t.Unit == e.To })
	}
}

// holds notes the path that an event told of the holder. Events of a lead tell it as the lead's.
func (s *State) holds(event proto.Message) {
	switch e := event.(type) {
	case *pb.HolderMoved:
		return
	case interface {
		GetHolder() string
		GetHolderPath() []string
	}:
		if e.GetHolder() == s.Holder && len(e.GetHolderPath()) > 0 {
			s.HolderPath = e.GetHolderPath()
			return
		}
	}
	if s.Holder != "" && s.Holder == s.Lead {
		s.HolderPath = s.LeadPath
	}
}
