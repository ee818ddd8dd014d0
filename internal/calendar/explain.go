package calendar

import (
	"fmt"
	"time"
)

// MaxExplained is the largest number of days that Explain goes through: ten years.
const MaxExplained = 3660

// Reason says why a step was counted or passed over.
type Reason string

// The reasons. The first three are counted, the others are not.
const (
	// Natural time is counted whatever day it is.
	Natural Reason = "natural"
	// Working is a day on which offices work from Monday to Friday, or office hours on it.
	Working Reason = "working"
	// MakeUp (调休) is a Saturday or Sunday on which offices work, or office hours on it.
	MakeUp Reason = "make-up"
	// StartDay is the start's own day, which is not counted in days: Civil Code 201.
	StartDay Reason = "start-day"
	// Weekend is a Saturday or Sunday.
	Weekend Reason = "weekend"
	// Holiday is a day from Monday to Friday on which offices are closed.
	Holiday Reason = "holiday"
	// Rolled is the working day that a limit moved on to from a last day on which offices are closed: Civil Code 203.
	Rolled Reason = "rolled"
)

// Step is one stretch of time on the way from the start to the due time.
type Step struct {
	// From and To bound the step, in the calendar's zone. To is no longer within; the step of a day on which a limit
	// ends at 23:59:59 ends at the next midnight.
	From, To time.Time
	// Counted reports whether the step counts towards the limit.
	Counted bool
	// Why says why.
	Why Reason
	// Provisional reports that the day's status was guessed because its year is not loaded. Never for natural time.
	Provisional bool
}

// Explanation is how a due time came about.
type Explanation struct {
	Start, Due  time.Time
	Limit       Limit
	Provisional bool
	// Calendar is the version of the calendar that counted.
	Calendar string
	// Steps are in order of time and do not overlap. Counted steps add up to the limit. Time outside office hours on
	// working days is left out.
	Steps []Step
}

// Explain gives every interval that Due counts for a limit, and the days it passes over. The errors are those of Due,
// and a *RangeError with the field "steps" if more than MaxExplained days lie between start and due time.
func (c *Calendar) Explain(start time.Time, l Limit) (Explanation, error) {
	due, provisional, err := c.Due(start, l)
	if err != nil {
		return Explanation{}, err
	}
	from, err := c.moment("start", start)
	if err != nil {
		return Explanation{}, err
	}
	to, err := c.moment("due", due)
	if err != nil {
		return Explanation{}, err
	}
	e := Explanation{
		Start: time.Unix(from.unix, 0).In(c.zone), Due: due, Limit: l, Provisional: provisional, Calendar: c.Version(),
	}
	if l.Unit == Minute || l.Unit == NaturalHour {
		if l.N > 0 {
			e.Steps = []Step{{From: e.Start, To: due, Counted: true, Why: Natural}}
		}
		return e, nil
	}
	if to.day-from.day > MaxExplained {
		return Explanation{}, &RangeError{"steps", fmt.Sprintf("more than %d days", MaxExplained)}
	}
	if l.Unit == WorkingHour {
		if l.N > 0 {
			e.Steps = c.officeHours(from, to)
		}
		return e, nil
	}

	e.Steps = []Step{{From: e.Start, To: c.at(from.day+1, 0), Why: StartDay}}
	lastCounted := to.day
	if l.Unit == NaturalDay {
		lastCounted = from.day + int64(l.N)
	}
	for day := from.day + 1; day <= to.day; day++ {
		step := c.dayStep(day)
		switch {
		case l.Unit == WorkingDay:
		case day <= lastCounted:
			// The last day's status was looked at, even if it did not move the limit.
			step.Provisional = step.Provisional && l.Roll && day == lastCounted
			step.Counted, step.Why = true, Natural
		case day == to.day:
			step.Counted, step.Why = false, Rolled
		}
		e.Steps = append(e.Steps, step)
	}
	return e, nil
}

// officeHours are the windows between two moments, and the days between them on which offices are closed.
func (c *Calendar) officeHours(from, to moment) []Step {
	var steps []Step
	for day := c.opensAfter(from); day <= to.day; day++ {
		whole := c.dayStep(day)
		if !whole.Counted {
			if day == from.day {
				whole.From = c.at(day, from.second)
			}
			steps = append(steps, whole)
			continue
		}
		for _, w := range c.windows {
			if day == from.day {
				w.from = max(w.from, from.second)
			}
			if day == to.day {
				w.to = min(w.to, to.second)
			}
			if w.from < w.to {
				step := whole
				step.From, step.To = c.at(day, w.from), c.at(day, w.to)
				steps = append(steps, step)
			}
		}
	}
	return steps
}

// dayStep is a whole day with its status.
func (c *Calendar) dayStep(day int64) Step {
	s := Step{
		From: c.at(day, 0), To: c.at(day+1, 0), Counted: c.works(day), Provisional: c.provisional(day, day),
	}
	switch {
	case s.Counted && weekend(day):
		s.Why = MakeUp
	case s.Counted:
		s.Why = Working
	case weekend(day):
		s.Why = Weekend
	default:
		s.Why = Holiday
	}
	return s
}
