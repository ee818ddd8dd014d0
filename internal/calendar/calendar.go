// Package calendar says when something is due: working days and office hours with China's make-up days, limits
// counted in them, and the deadline profiles that state a limit for each timer and grade.
//
// It is pure. The same calendar and the same values give the same answer for ever, so an event that names the
// versions of its calendar and profile can be checked later.
package calendar

import (
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	daySeconds = 24 * 60 * 60
	// eraSeconds lie between 0001-01-01 and 1970-01-01 00:00:00.
	eraSeconds = 62_135_596_800
	// maxDay is 9999-12-31.
	maxDay = 3_652_058
	// The years a table may be for.
	minYear, maxYear = 1900, 9999
)

const (
	defaultZone = "Asia/Shanghai"
	dateLayout  = time.DateOnly
)

var defaultWindows = []string{"09:00-12:00", "13:30-17:30"}

// Table is what a calendar is made of, as it is imported and stored.
type Table struct {
	// Version names this table for ever: events carry it. 1 to 64 letters, digits or any of ".-_".
	Version string `json:"version"`
	// Zone is the name of the time zone, in which days begin and office windows lie. Empty means Asia/Shanghai.
	Zone string `json:"zone"`
	// Windows are the office hours of each working day, such as "09:00-12:00", in order, without overlap, at most to
	// "24:00". The second time is no longer within. None means 09:00-12:00 and 13:30-17:30.
	Windows []string `json:"windows"`
	// Years are the years of which the holidays are known, in any order. In all others each Monday to Friday counts
	// as a working day, and what is computed with them is provisional.
	Years []Year `json:"years"`
}

// Year is the State Council's notice (国务院办公厅节假日安排通知) for one year, as the days by which it differs from
// Monday to Friday. Its dates, such as "2025-01-28", lie in that year or in the December before, which a notice
// may reach into.
//
// A loaded year counts as known, although the next year's notice may still change its December.
type Year struct {
	Year int `json:"year"`
	// Off are the days from Monday to Friday on which offices are closed.
	Off []string `json:"off"`
	// Work are the Saturdays and Sundays on which offices work (调休).
	Work []string `json:"work"`
}

// Calendar (工作日历) knows working days and office hours. It never changes and may be used by many at once. It comes
// from New, ReadTable or Default; the zero value refuses everything.
type Calendar struct {
	table   Table
	zone    *time.Location
	windows []window
	perDay  int64 // seconds of office hours in a working day
	changes []change
	known   []span
}

// window is a stretch of office hours in seconds of the day, half open.
type window struct{ from, to int64 }

// change is a day that is not what its weekday says. Days are numbered from 0001-01-01, a Monday, which is 0.
type change struct {
	day   int64
	shift int64 // make-up days less holidays, up to and with this day
	count int64 // working days from day 0 up to and with this day
}

// span is a run of days, both ends within.
type span struct{ first, last int64 }

//go:embed calendar.json
var builtIn []byte

var loadBuiltIn = sync.OnceValue(func() *Calendar {
	c, err := ReadTable(builtIn)
	if err != nil {
		panic(fmt.Sprintf("calendar.json: %v", err))
	}
	return c
})

// Default is the built-in calendar: Asia/Shanghai, 09:00-12:00 and 13:30-17:30, with the State Council's notices for
// 2024, 2025 and 2026.
func Default() *Calendar { return loadBuiltIn() }

// ReadTable makes a calendar of a Table in JSON. Fields that a Table does not have are refused. The error is a
// *FieldError.
func ReadTable(raw []byte) (*Calendar, error) {
	var t Table
	if err := decodeStrictly(raw, &t); err != nil {
		return nil, err
	}
	return New(t)
}

// New makes a calendar. It keeps nothing of t. The error is a *FieldError that names the field: a missing version, an
// unknown zone, windows that overlap or stand out of order, a year twice, a date that is none or of another year, a
// day off on a weekend, a make-up day from Monday to Friday, a date twice.
func New(t Table) (*Calendar, error) {
	if err := checkName("version", t.Version); err != nil {
		return nil, err
	}
	c := &Calendar{table: t.clone()}
	if c.table.Zone == "" {
		c.table.Zone = defaultZone
	}
	if len(c.table.Windows) == 0 {
		c.table.Windows = slices.Clone(defaultWindows)
	}
	var err error
	if c.zone, err = loadZone(c.table.Zone); err != nil {
		return nil, err
	}
	for i, text := range c.table.Windows {
		field := fmt.Sprintf("windows[%d]", i)
		w, err := parseWindow(field, text)
		if err != nil {
			return nil, err
		}
		if i > 0 && w.from < c.windows[i-1].to {
			return nil, &FieldError{field, text, "begins before the one before it ends"}
		}
		c.windows = append(c.windows, w)
		c.perDay += w.to - w.from
	}
	if err := c.addYears(); err != nil {
		return nil, err
	}
	return c, nil
}

// addYears turns the table's years into changes, with running counts, and spans of known days.
func (c *Calendar) addYears() error {
	loaded := map[int]bool{}
	at := map[int64]string{}
	for i, y := range c.table.Years {
		field := fmt.Sprintf("years[%d]", i)
		if y.Year < minYear || y.Year > maxYear {
			return &FieldError{field + ".year", strconv.Itoa(y.Year), fmt.Sprintf("not from %d to %d", minYear, maxYear)}
		}
		if loaded[y.Year] {
			return &FieldError{field + ".year", strconv.Itoa(y.Year), "stands twice"}
		}
		loaded[y.Year] = true
		for _, list := range []struct {
			name  string
			dates []string
			work  bool
		}{{"off", y.Off, false}, {"work", y.Work, true}} {
			for j, date := range list.dates {
				field := fmt.Sprintf("%s.%s[%d]", field, list.name, j)
				day, err := parseDate(field, date, y.Year)
				if err != nil {
					return err
				}
				if list.work && !weekend(day) {
					return &FieldError{field, date, "a make-up day must be a Saturday or Sunday"}
				}
				if !list.work && weekend(day) {
					return &FieldError{field, date, "a day off must be a day from Monday to Friday"}
				}
				if other, twice := at[day]; twice {
					return &FieldError{field, date, "stands already at " + other}
				}
				at[day] = field
				shift := int64(-1)
				if list.work {
					shift = 1
				}
				c.changes = append(c.changes, change{day: day, shift: shift})
			}
		}
	}

	slices.SortFunc(c.changes, func(a, b change) int { return int(a.day - b.day) })
	var shift int64
	for i := range c.changes {
		shift += c.changes[i].shift
		c.changes[i].shift = shift
		c.changes[i].count = weekdays(c.changes[i].day) + shift
	}

	slices.SortFunc(c.table.Years, func(a, b Year) int { return a.Year - b.Year })
	for _, y := range c.table.Years {
		first, last := dayOf(y.Year, time.January, 1), dayOf(y.Year, time.December, 31)
		if n := len(c.known); n > 0 && c.known[n-1].last == first-1 {
			c.known[n-1].last = last
			continue
		}
		c.known = append(c.known, span{first, last})
	}
	return nil
}

// Version names the table the calendar was made of.
func (c *Calendar) Version() string { return c.table.Version }

// Zone is the time zone in which days begin. All times that a calendar gives are in it.
func (c *Calendar) Zone() *time.Location { return c.zone }

// Table is a copy of what the calendar was made of, with defaults filled in and years in order. Changed, and under
// a new version, it makes the next calendar.
func (c *Calendar) Table() Table { return c.table.clone() }

// WorkingDay reports whether offices work on the day of t in the calendar's zone. It is provisional if that year is
// not loaded. A *RangeError if t is the zero time or outside the years 1 to 9999.
func (c *Calendar) WorkingDay(t time.Time) (working, provisional bool, err error) {
	m, err := c.moment("start", t)
	if err != nil {
		return false, false, err
	}
	return c.works(m.day), c.provisional(m.day, m.day), nil
}

func (t Table) clone() Table {
	t.Windows = slices.Clone(t.Windows)
	t.Years = slices.Clone(t.Years)
	for i := range t.Years {
		t.Years[i].Off = slices.Clone(t.Years[i].Off)
		t.Years[i].Work = slices.Clone(t.Years[i].Work)
	}
	return t
}

func loadZone(name string) (*time.Location, error) {
	if name == "Local" {
		return nil, &FieldError{"zone", name, "must not depend on the machine"}
	}
	zone, err := time.LoadLocation(name)
	if err == nil {
		return zone, nil
	}
	if name == defaultZone {
		// Right for every instant since 1991-09-15, so a machine without zone files counts the same.
		return time.FixedZone(defaultZone, 8*60*60), nil
	}
	return nil, &FieldError{"zone", name, "not a known time zone"}
}

func parseWindow(field, text string) (window, error) {
	wrong := &FieldError{field, text, `not of the form "09:00-12:00" with the first time before the second`}
	from, to, ok := strings.Cut(text, "-")
	if !ok {
		return window{}, wrong
	}
	var w window
	for _, end := range []struct {
		text string
		to   *int64
	}{{from, &w.from}, {to, &w.to}} {
		if end.text == "24:00" {
			*end.to = daySeconds
			continue
		}
		clock, err := time.Parse("15:04", end.text)
		if err != nil || len(end.text) != len("15:04") {
			return window{}, wrong
		}
		*end.to = int64(clock.Hour()*60+clock.Minute()) * 60
	}
	if w.from >= w.to {
		return window{}, wrong
	}
	return w, nil
}

// parseDate reads a date of the notice for a year.
func parseDate(field, text string, year int) (day int64, err error) {
	date, err := time.Parse(dateLayout, text)
	if err != nil {
		return 0, &FieldError{field, text, `not a date of the form "2025-01-28"`}
	}
	if date.Year() != year && (date.Year() != year-1 || date.Month() != time.December) {
		return 0, &FieldError{field, text, fmt.Sprintf("neither in %d nor in the December before", year)}
	}
	return dayOf(date.Date()), nil
}

// checkName refuses what could not stand in an event, a file name and a log line alike.
func checkName(field, s string) error {
	if s == "" {
		return &FieldError{field, "", "missing"}
	}
	for i := range len(s) {
		b := s[i]
		if ('a' > b || b > 'z') && ('A' > b || b > 'Z') && ('0' > b || b > '9') && b != '.' && b != '-' && b != '_' {
			return &FieldError{field, s, `may hold only letters, digits and ".-_"`}
		}
	}
	if len(s) > 64 {
		return &FieldError{field, s, "longer than 64 bytes"}
	}
	return nil
}

func dayOf(year int, month time.Month, day int) int64 {
	return (time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix() + eraSeconds) / daySeconds
}

func weekend(day int64) bool { return day%7 >= 5 }

// weekdays counts the days from Monday to Friday from day 0 up to and with day, which may be -1.
func weekdays(day int64) int64 { return (day+1)/7*5 + min((day+1)%7, 5) }

// count counts the working days from day 0 up to and with day, which may be -1.
func (c *Calendar) count(day int64) int64 {
	i, j := 0, len(c.changes)
	for i < j {
		if mid := (i + j) / 2; c.changes[mid].day <= day {
			i = mid + 1
		} else {
			j = mid
		}
	}
	if i == 0 {
		return weekdays(day)
	}
	return weekdays(day) + c.changes[i-1].shift
}

// nth is the k-th working day from day 0, the inverse of count. k is at least 1.
func (c *Calendar) nth(k int64) int64 {
	i, j := 0, len(c.changes)
	for i < j {
		if mid := (i + j) / 2; c.changes[mid].count < k {
			i = mid + 1
		} else {
			j = mid
		}
	}
	var shift int64
	if i > 0 {
		shift = c.changes[i-1].shift
	}
	// As if no change followed. A make-up day that completes the count comes before that.
	day := (k-shift-1)/5*7 + (k-shift-1)%5
	if i < len(c.changes) {
		day = min(day, c.changes[i].day)
	}
	return day
}

func (c *Calendar) works(day int64) bool { return c.count(day) > c.count(day-1) }

// provisional reports whether any day from first to last is of a year not loaded. No days if last is before first.
func (c *Calendar) provisional(first, last int64) bool {
	if last < first {
		return false
	}
	for _, s := range c.known {
		if s.first <= first && last <= s.last {
			return false
		}
	}
	return true
}
