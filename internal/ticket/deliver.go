package ticket

import (
	"cmp"
	"errors"
	"slices"

	"github.com/chuishao/dispatch/internal/rule"
)

// Delivery is what a unit was ordered, where that is not the ticket's own category, and the admission that let it into a community.
type Delivery struct {
	Unit      string
	Task      string // a category; empty: the ticket's own
	Admission string // its id; empty: none was needed
}

// order is what a command orders.
type order interface {
	GetTask() string
	GetAdmission() string
}

// deliver refuses to hand what is ordered to a unit that the ban list keeps it out of.
func (s *State) deliver(a *rule.Asked, field, unit string, o order) error {
	if _, ok := a.Registry.Category(o.GetTask(), a.At); !ok && o.GetTask() != "" {
		return rule.Bad("task", rule.UnknownCategory, "no category %q is valid today", o.GetTask())
	}
	return a.Deliver(field, cmp.Or(o.GetTask(), s.Category), unit, o.GetAdmission())
}

// entrust is deliver to a unit that is to lead: it gets the matter itself with whatever it is ordered, and the ban list is asked of both.
func (s *State) entrust(a *rule.Asked, field, unit string, o order) error {
	if err := s.deliver(a, field, unit, o); err != nil || o.GetTask() == "" || o.GetTask() == s.Category {
		return err
	}
	return a.Deliver(field, s.Category, unit, o.GetAdmission())
}

// ordered is what an event records of an order: the task if it is another than the ticket's category, and the admission's id.
func (s *State) ordered(o order) (task, admission string) {
	if task = o.GetTask(); task == s.Category {
		task = ""
	}
	return task, rule.AdmissionID(o.GetAdmission())
}

// keep refuses that a unit gets again, or keeps, what the ban list keeps out of it by now.
func (s *State) keep(a *rule.Asked, field, unit string) error {
	had := s.had(unit)
	return a.Keep(field, cmp.Or(had.Task, s.Category), unit, had.Admission)
}

// stays is keep where nobody tried to bring anything in: it is no attempt that counts.
func (s *State) stays(a *rule.Asked, field, unit string) error {
	err := s.keep(a, field, unit)
	if refusal, ok := errors.AsType[*rule.Refusal](err); ok {
		refusal.BanItem, refusal.Target = "", ""
	}
	return err
}

// free says whether the ban list lets the matter itself into the unit without any admission.
func (s *State) free(a *rule.Asked, unit string) bool { return a.Keep("", s.Category, unit, "") == nil }

// had is what a unit got last.
func (s *State) had(unit string) Delivery {
	for _, d := range s.Deliveries {
		if d.Unit == unit {
			return d
		}
	}
	return Delivery{Unit: unit}
}

// delivered notes what units got. What is ordinary takes no room.
func (s *State) delivered(task, admission string, units ...string) {
	if len(s.Deliveries) == 0 && task == "" && admission == "" {
		return
	}
	s.Deliveries = slices.DeleteFunc(slices.Clone(s.Deliveries), func(d Delivery) bool { return slices.Contains(units, d.Unit) })
	if task == "" && admission == "" {
		return
	}
	for _, u := range units {
		s.Deliveries = append(s.Deliveries, Delivery{u, task, admission})
	}
}

// Admissions are the names of those that something of the ticket was delivered under.
func (s *State) Admissions() []string {
	var names []string
	for _, d := range s.Deliveries {
		if d.Admission != "" {
			names = append(names, "admissions/"+d.Admission)
		}
	}
	return names
}
