package calendar

import "fmt"

// FieldError says which part of a calendar, a profile or a call is wrong. Nothing was built or computed.
type FieldError struct {
	// Field is the path to the part, such as "years[1].off[3]", "timers.handle.G2" or "limit".
	Field string
	// Value is what stood there. It is empty if nothing did.
	Value string
	// Problem says what is wrong with it, and what is asked for.
	Problem string
}

func (e *FieldError) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("%s: %s", e.Field, e.Problem)
	}
	return fmt.Sprintf("%s: %q: %s", e.Field, e.Value, e.Problem)
}

// RangeError says that an instant, given or computed, lies where the calendar does not reckon: at the zero time,
// before the year 1, after the year 9999, or further away than MaxExplained days.
type RangeError struct {
	// Field is "start", "end", "due" or "steps".
	Field string
	// Problem says which bound was passed.
	Problem string
}

func (e *RangeError) Error() string { return e.Field + ": " + e.Problem }
