package importing

import (
	"strconv"
	"time"
)

// timeFormat reads a time; those that say no zone are of the zone given.
type timeFormat func(text string, zone *time.Location) (time.Time, error)

var namedFormats = map[string]timeFormat{
	"rfc3339":  layout(time.RFC3339),
	"datetime": layout(time.DateTime),
	"date":     layout(time.DateOnly),
	"unix":     unix(time.Second),
	"unix_ms":  unix(time.Millisecond),
}

func layout(l string) timeFormat {
	return func(text string, zone *time.Location) (time.Time, error) { return time.ParseInLocation(l, text, zone) }
}

func unix(unit time.Duration) timeFormat {
	return func(text string, _ *time.Location) (time.Time, error) {
		n, err := strconv.ParseInt(text, 10, 64)
		if unit == time.Second {
			return time.Unix(n, 0), err
		}
		return time.UnixMilli(n), err
	}
}

// formatOf finds the format of a name or layout. A layout must tell days apart.
func formatOf(name string) (timeFormat, bool) {
	if f, ok := namedFormats[name]; ok {
		return f, true
	}
	if len(name) > 100 {
		return nil, false
	}
	for _, day := range []time.Time{time.Date(2021, 3, 4, 0, 0, 0, 0, time.UTC), time.Date(2013, 12, 26, 0, 0, 0, 0, time.UTC)} {
		back, err := time.Parse(name, day.Format(name))
		if err != nil || !back.Equal(day) {
			return nil, false
		}
	}
	return layout(name), true
}

// What a protobuf timestamp can hold, less the first instant of the year 1, by which systems mean no time.
var (
	earliest = time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC).Unix()
	latest   = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).Unix()
)

func (m *Mapping) time(text string) (time.Time, bool) {
	for _, f := range m.formats {
		t, err := f(text, m.zone)
		if err == nil && t.Unix() >= earliest && t.Unix() <= latest {
			return t.Truncate(time.Microsecond), true
		}
	}
	return time.Time{}, false
}
