package calendar

import (
	"strconv"
	"strings"
)

// Unit is what a limit is counted in. The zero value is no unit.
type Unit uint8

// The units. Hours and minutes end at an instant, days at 23:59:59.
const (
	// Minute is a natural minute, counted without a break.
	Minute Unit = iota + 1
	// NaturalHour (紧急工作时) is an hour counted without a break, by night and on holidays.
	NaturalHour
	// NaturalDay (自然日) is a day of the calendar. The start's day is not counted: Civil Code 201.
	NaturalDay
	// WorkingHour (工作时) is an hour within the office windows of working days.
	WorkingHour
	// WorkingDay (工作日) is a day on which offices work. Day 1 is the first one after the start's day.
	WorkingDay
)

var unitNames = [...]string{Minute: "min", NaturalHour: "NH", NaturalDay: "ND", WorkingHour: "WH", WorkingDay: "WD"}

// String gives "min", "NH", "ND", "WH" or "WD", and "none" for anything else.
func (u Unit) String() string {
	if !u.Valid() {
		return "none"
	}
	return unitNames[u]
}

// Valid reports whether u is one of the five units.
func (u Unit) Valid() bool { return u >= Minute && u <= WorkingDay }

// MaxN is the largest number of units in a limit, far beyond any that ends before the year 10000 in days.
const MaxN = 10_000_000

// Limit (时限) is a length of time as a rule states it: five working days, two natural hours. The zero value is
// no limit at all, which is not the same as 0 of a unit.
//
// Of days, 0 ends with the start's own day, whether that is a working day or not; of hours and minutes, 0 ends at once.
type Limit struct {
	// N is how many, from 0 to MaxN.
	N int
	// Unit is of what.
	Unit Unit
	// Roll moves a last day on which offices are closed to the next working day: Civil Code 203. It belongs to
	// NaturalDay only.
	Roll bool
}

// AdmissionAhead is how long before its beginning an item must be applied for that is to be brought into communities (准入).
var AdmissionAhead = Limit{N: 30, Unit: WorkingDay}

// None reports whether l is no limit.
func (l Limit) None() bool { return l == Limit{} }

// Check returns nil if a due time can be computed with l, and a *FieldError otherwise, also for no limit.
func (l Limit) Check() error {
	switch {
	case l.None():
		return &FieldError{"limit", "none", "no limit, so nothing is due"}
	case !l.Unit.Valid():
		return &FieldError{"limit.unit", strconv.Itoa(int(l.Unit)), "not a unit"}
	case l.N < 0 || l.N > MaxN:
		return &FieldError{"limit.n", strconv.Itoa(l.N), "not from 0 to " + strconv.Itoa(MaxN)}
	case l.Roll && l.Unit != NaturalDay:
		return &FieldError{"limit.roll", l.Unit.String(), "only natural days roll"}
	}
	return nil
}

// String writes l as ParseLimit reads it: "30 min", "2 NH", "7 ND", "7 ND roll", "4 WH", "5 WD", "none".
func (l Limit) String() string {
	if l.None() {
		return "none"
	}
	s := strconv.Itoa(l.N) + " " + l.Unit.String()
	if l.Roll {
		s += " roll"
	}
	return s
}

// ParseLimit reads a limit in the one form that String writes. "none" is the zero Limit. The error is a *FieldError.
func ParseLimit(s string) (Limit, error) {
	if s == "none" {
		return Limit{}, nil
	}
	wrong := &FieldError{"limit", s, `not of the form "5 WD", "4 WH", "2 NH", "7 ND", "7 ND roll", "30 min" or "none"`}
	count, rest, ok := strings.Cut(s, " ")
	if !ok {
		return Limit{}, wrong
	}
	n, err := strconv.Atoi(count)
	if err != nil || strconv.Itoa(n) != count {
		return Limit{}, wrong
	}
	name, roll := strings.CutSuffix(rest, " roll")
	for u := Minute; u <= WorkingDay; u++ {
		if unitNames[u] == name {
			l := Limit{N: n, Unit: u, Roll: roll}
			if err := l.Check(); err != nil {
				return Limit{}, err
			}
			return l, nil
		}
	}
	return Limit{}, wrong
}

// MarshalText writes what String writes. It never returns an error.
func (l Limit) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads what ParseLimit reads.
func (l *Limit) UnmarshalText(text []byte) error {
	parsed, err := ParseLimit(string(text))
	if err != nil {
		return err
	}
	*l = parsed
	return nil
}
