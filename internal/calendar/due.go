package calendar

import "time"

// moment is an instant as the calendar reckons: the day, numbered from 0001-01-01, and the second of that day by the
// clocks of the zone.
type moment struct {
	unix, day, second int64
}

func (c *Calendar) moment(field string, t time.Time) (moment, error) {
	if c == nil || c.zone == nil {
		return moment{}, &FieldError{"calendar", "", "is the zero value"}
	}
	if t.IsZero() {
		return moment{}, &RangeError{field, "is the zero time"}
	}
	_, offset := t.In(c.zone).Zone()
	m := moment{unix: t.Unix()}
	local := m.unix + int64(offset) + eraSeconds
	if local < 0 || local/daySeconds > maxDay {
		return moment{}, &RangeError{field, "lies outside the years 1 to 9999"}
	}
	m.day, m.second = local/daySeconds, local%daySeconds
	return m, nil
}

// at is the instant of a second of a day by the clocks of the zone.
func (c *Calendar) at(day, second int64) time.Time {
	return time.Date(1, time.January, 1+int(day), 0, 0, int(second), 0, c.zone)
}

// Due says when a limit (时限) that starts at start runs out: the last instant, in the calendar's zone and to the
// second, that is still on time.
//
//   - Natural hours and minutes run on without a break.
//   - Natural days end at 23:59:59 of the n-th day after the start's, which is not counted (Civil Code 201), and with
//     Roll on the next working day if offices are closed on that one (Civil Code 203).
//   - Working hours run only within the office windows of working days, and end at the first instant at which enough
//     of them have passed: at the end of a window, not at the beginning of the next.
//   - Working days end at 23:59:59 of the n-th working day after the start's day, whatever that was.
//
// The start may be in any zone; a part of a second is dropped. The due time never gets earlier if the start or the
// number grows, and costs the same however large the number is. On a day on which the clocks of the zone change within
// office hours, office hours are what the clocks show.
//
// The due time is provisional if the status of a day had to be guessed because its year is not loaded; it should be
// computed again once the State Council's notice is. Natural hours, minutes and days without Roll never are.
//
// *FieldError: the limit is none or not a limit. *RangeError: the start is the zero time or outside the years 1 to
// 9999, or the limit ends after them.
func (c *Calendar) Due(start time.Time, l Limit) (due time.Time, provisional bool, err error) {
	if err := l.Check(); err != nil {
		return time.Time{}, false, err
	}
	from, err := c.moment("start", start)
	if err != nil {
		return time.Time{}, false, err
	}
	n := int64(l.N)
	day, second := from.day, int64(daySeconds-1)
	switch l.Unit {
	case Minute, NaturalHour:
		unix := from.unix + n*l.Unit.seconds()
		due = time.Unix(unix, 0).In(c.zone)
		if n > 0 {
			if _, err := c.moment("due", due); err != nil {
				return time.Time{}, false, err
			}
		}
		return due, false, nil
	case NaturalDay:
		day += n
		if l.Roll && day <= maxDay {
			rolled := c.nth(c.count(day-1) + 1)
			provisional = c.provisional(day, rolled)
			day = rolled
		}
	case WorkingHour:
		if n == 0 {
			return time.Unix(from.unix, 0).In(c.zone), false, nil
		}
		seconds := c.worked(from) + n*l.Unit.seconds()
		days := (seconds - 1) / c.perDay
		day, second = c.nth(days+1), c.clock(seconds-days*c.perDay)
		provisional = c.provisional(c.opensAfter(from), day)
	case WorkingDay:
		if n > 0 {
			day = c.nth(c.count(from.day) + n)
			provisional = c.provisional(from.day+1, day)
		}
	}
	if day > maxDay {
		return time.Time{}, false, &RangeError{"due", "lies after the year 9999"}
	}
	return c.at(day, second), provisional, nil
}

// Between counts the whole units that have run out from start to end: the largest n of which Due(start, n) is not
// after end. So a day counts from its 23:59:59 on, a working hour from its last second on, and Between(start,
// Due(start, n)) is n. It is 0 if end is before start.
//
// The number is provisional if the status of a day had to be guessed because its year is not loaded.
//
// *FieldError: not a unit. *RangeError: the start or the end is the zero time or outside the years 1 to 9999.
func (c *Calendar) Between(start, end time.Time, u Unit) (n int, provisional bool, err error) {
	if !u.Valid() {
		return 0, false, &FieldError{"unit", u.String(), "not a unit"}
	}
	from, err := c.moment("start", start)
	if err != nil {
		return 0, false, err
	}
	to, err := c.moment("end", end)
	if err != nil {
		return 0, false, err
	}
	if to.unix <= from.unix {
		return 0, false, nil
	}
	// The last day that has run out.
	last := to.day
	if to.second < daySeconds-1 {
		last--
	}
	switch u {
	case Minute, NaturalHour:
		return int((to.unix - from.unix) / u.seconds()), false, nil
	case NaturalDay:
		return int(max(0, last-from.day)), false, nil
	case WorkingHour:
		last = to.day
		if to.second <= c.windows[0].from {
			last--
		}
		// Where clocks are set back, a later instant may show an earlier time.
		n := max(0, c.worked(to)-c.worked(from)) / u.seconds()
		return int(n), c.provisional(c.opensAfter(from), last), nil
	default:
		if last <= from.day {
			return 0, false, nil
		}
		return int(c.count(last) - c.count(from.day)), c.provisional(from.day+1, last), nil
	}
}

// Worked is how much of the time from start to end lies in the office hours of working days, to the second. It is 0 if end is before start; provisional and errors are as of Between.
func (c *Calendar) Worked(start, end time.Time) (d time.Duration, provisional bool, err error) {
	from, err := c.moment("start", start)
	if err != nil {
		return 0, false, err
	}
	to, err := c.moment("end", end)
	if err != nil || to.unix <= from.unix {
		return 0, false, err
	}
	// Where clocks are set back, a later instant may show an earlier time.
	return time.Duration(max(0, c.worked(to)-c.worked(from))) * time.Second, c.provisional(from.day, to.day), nil
}

// Extend gives the due time of an extension (延期): by is counted from the old due time, not from the instant of the
// grant, so that what was left of the old limit is kept. by is at least 1 of its unit, otherwise a *FieldError; for the
// rest see Due. Whether the old due time was provisional is for the caller to remember.
func (c *Calendar) Extend(oldDue time.Time, by Limit) (due time.Time, provisional bool, err error) {
	if err := by.Check(); err != nil {
		return time.Time{}, false, err
	}
	if by.N == 0 {
		return time.Time{}, false, &FieldError{"limit.n", "0", "an extension is by at least 1"}
	}
	return c.Due(oldDue, by)
}

// Remaining says what is left of a limit when its clock stops at an instant, as for a suspension (挂账): used are the
// whole units run out from start to that instant, at most the limit's own number, and left is the rest. A unit that had
// only begun is given back. left has number 0 once the limit has run out, and keeps Roll.
//
// Errors are those of Due for the limit, and of Between.
func (c *Calendar) Remaining(start time.Time, l Limit, stop time.Time) (used int, left Limit, provisional bool, err error) {
	if err := l.Check(); err != nil {
		return 0, Limit{}, false, err
	}
	used, provisional, err = c.Between(start, stop, l.Unit)
	if err != nil {
		return 0, Limit{}, false, err
	}
	used = min(used, l.N)
	left = l
	left.N -= used
	return used, left, provisional, nil
}

// Resume gives the due time of a clock that was stopped and goes on at an instant with what Remaining said was left. It
// is Due from that instant: the day of resuming is not counted.
func (c *Calendar) Resume(at time.Time, left Limit) (due time.Time, provisional bool, err error) {
	return c.Due(at, left)
}

// OnTime reports whether what happened at an instant kept a due time: to the second, and the due time itself is kept.
func OnTime(at, due time.Time) bool { return at.Unix() <= due.Unix() }

// Late is the first instant at which nothing keeps a due time any more: the beginning of the second after it.
func Late(due time.Time) time.Time { return due.Truncate(time.Second).Add(time.Second) }

// seconds are those of a minute or hour.
func (u Unit) seconds() int64 {
	if u == Minute {
		return 60
	}
	return 60 * 60
}

// worked counts the seconds of office hours from day 0 up to an instant.
func (c *Calendar) worked(m moment) int64 {
	before := c.count(m.day - 1)
	seconds := before * c.perDay
	if c.count(m.day) == before {
		return seconds
	}
	for _, w := range c.windows {
		if m.second > w.from {
			seconds += min(m.second, w.to) - w.from
		}
	}
	return seconds
}

// clock is the first second of a working day at which so many seconds of office hours, from 1 to perDay, have passed.
func (c *Calendar) clock(seconds int64) int64 {
	for _, w := range c.windows {
		if seconds <= w.to-w.from {
			return w.from + seconds
		}
		seconds -= w.to - w.from
	}
	return daySeconds
}

// opensAfter is the first day of which office hours, if there are any, come after an instant.
func (c *Calendar) opensAfter(m moment) int64 {
	if m.second < c.windows[len(c.windows)-1].to {
		return m.day
	}
	return m.day + 1
}
