package calendar_test

import (
	"testing"

	"github.com/chuishao/dispatch/internal/calendar"
)

func TestLimitsReadAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]calendar.Limit{
		"none":         {},
		"5 WD":         {N: 5, Unit: calendar.WorkingDay},
		"4 WH":         {N: 4, Unit: calendar.WorkingHour},
		"2 NH":         {N: 2, Unit: calendar.NaturalHour},
		"7 ND":         {N: 7, Unit: calendar.NaturalDay},
		"7 ND roll":    {N: 7, Unit: calendar.NaturalDay, Roll: true},
		"30 min":       {N: 30, Unit: calendar.Minute},
		"0 WD":         {Unit: calendar.WorkingDay},
		"10000000 min": {N: calendar.MaxN, Unit: calendar.Minute},
	} {
		got, err := calendar.ParseLimit(text)
		if err != nil || got != want {
			t.Errorf("ParseLimit(%q) = %+v, %v, want %+v", text, got, err, want)
		}
		var read calendar.Limit
		if written, err := want.MarshalText(); err != nil || string(written) != text || read.UnmarshalText(written) != nil || read != want {
			t.Errorf("%+v is marshalled as %q, %v, and read as %+v", want, written, err, read)
		}
		if want.String() != text {
			t.Errorf("%+v is written %q, want %q", want, want, text)
		}
	}
}

func TestLimitsOfAnotherFormAreRefused(t *testing.T) {
	t.Parallel()
	for text, field := range map[string]string{
		"": "limit", "5": "limit", "WD": "limit", "5WD": "limit", " 5 WD": "limit", "5 WD ": "limit", "5  WD": "limit",
		"05 WD": "limit", "+5 WD": "limit", "-0 WD": "limit", "5 wd": "limit", "5 days": "limit", "5.5 WD": "limit",
		"５ WD": "limit", "99999999999999999999 WD": "limit", "5 none": "limit", "5 ": "limit", "5  roll": "limit",
		"-5 WD": "limit.n", "10000001 WD": "limit.n", "5 WD roll": "limit.roll", "7 ND roll roll": "limit",
	} {
		_, err := calendar.ParseLimit(text)
		if err == nil {
			t.Errorf("ParseLimit(%q) is accepted", text)
			continue
		}
		wantField(t, err, field)
		if err := new(calendar.Limit).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("UnmarshalText(%q) is accepted", text)
		}
	}
}

func FuzzParseLimit(f *testing.F) {
	for _, s := range []string{"none", "5 WD", "7 ND roll", "30 min", "05 WD", "-1 NH", "9999999999 WH"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := calendar.ParseLimit(s)
		if err != nil {
			return
		}
		if l.String() != s {
			t.Fatalf("%q is written back as %q", s, l)
		}
		if err := l.Check(); err != nil && !l.None() {
			t.Fatalf("%q is read but refused: %v", s, err)
		}
		start := at(t, "2025-01-24 16:30")
		if d, _, err := calendar.Default().Due(start, l); err == nil && d.Before(start) {
			t.Fatalf("%s from %s is due before, %s", l, start, d)
		}
	})
}
