package calendar_test

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/chuishao/dispatch/internal/calendar"
)

var shanghai = calendar.Default().Zone()

func at(t testing.TB, text string) time.Time {
	t.Helper()
	for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02 15:04"} {
		if v, err := time.ParseInLocation(layout, text, shanghai); err == nil {
			return v
		}
	}
	t.Fatalf("not a time: %q", text)
	return time.Time{}
}

func limit(t testing.TB, text string) calendar.Limit {
	t.Helper()
	l, err := calendar.ParseLimit(text)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func due(t testing.TB, c *calendar.Calendar, start time.Time, l calendar.Limit) time.Time {
	t.Helper()
	d, _, err := c.Due(start, l)
	if err != nil {
		t.Fatalf("Due(%s, %s): %v", start, l, err)
	}
	return d
}

func show(t time.Time) string { return t.In(shanghai).Format(time.DateTime) }

func TestDueOfKnownCases(t *testing.T) {
	t.Parallel()
	for _, v := range []struct{ start, limit, want string }{
		{"2025-01-24 16:30", "5 WD", "2025-02-07 23:59:59"},
		{"2025-01-24 16:30", "7 ND", "2025-01-31 23:59:59"},
		{"2025-01-24 16:30", "7 ND roll", "2025-02-05 23:59:59"},
		{"2025-02-07 10:00", "1 WD", "2025-02-08 23:59:59"},
		{"2025-02-08 10:00", "1 WD", "2025-02-10 23:59:59"},
		{"2025-09-26 15:00", "3 WD", "2025-09-30 23:59:59"},
		{"2025-09-26 15:00", "5 WD", "2025-10-10 23:59:59"},
		{"2025-09-30 17:00", "3 WD", "2025-10-11 23:59:59"},
		{"2025-09-30 17:00", "4 WH", "2025-10-09 14:00:00"},
		{"2025-10-01 10:00", "1 WD", "2025-10-09 23:59:59"},
		{"2025-10-03 23:10", "2 NH", "2025-10-04 01:10:00"},
		{"2026-02-13 10:00", "15 WD", "2026-03-12 23:59:59"},
		{"2025-09-15 09:00", "10 WD", "2025-09-28 23:59:59"},
		// Closing is counted from the due time of handling.
		{"2025-02-07 23:59:59", "4 WD", "2025-02-12 23:59:59"},

		{"2025-03-03 09:00", "3 WH", "2025-03-03 12:00:00"},
		{"2025-03-03 12:00", "1 WH", "2025-03-03 14:30:00"},
		{"2025-03-03 12:59:59", "4 WH", "2025-03-03 17:30:00"},
		{"2025-03-03 17:30", "1 WH", "2025-03-04 10:00:00"},
		{"2025-03-03 17:29:59", "1 WH", "2025-03-04 09:59:59"},
		{"2025-03-03 06:00", "7 WH", "2025-03-03 17:30:00"},
		{"2025-03-07 18:00", "14 WH", "2025-03-11 17:30:00"},
		{"2025-01-25 20:00", "1 WH", "2025-01-26 10:00:00"},
		{"2025-03-03 23:50", "30 min", "2025-03-04 00:20:00"},

		{"2025-10-01 10:00", "0 WD", "2025-10-01 23:59:59"},
		{"2025-10-01 10:00", "0 ND", "2025-10-01 23:59:59"},
		{"2025-10-01 10:00", "0 ND roll", "2025-10-09 23:59:59"},
		{"2025-10-01 10:00", "0 WH", "2025-10-01 10:00:00"},
		{"2025-10-01 10:00", "0 NH", "2025-10-01 10:00:00"},
		{"2025-10-01 10:00", "0 min", "2025-10-01 10:00:00"},
	} {
		got, provisional, err := calendar.Default().Due(at(t, v.start), limit(t, v.limit))
		if err != nil || provisional || show(got) != v.want {
			t.Errorf("Due(%s, %s) = %s, provisional %t, %v, want %s", v.start, v.limit, show(got), provisional, err, v.want)
		}
		if got.Location() != calendar.Default().Zone() {
			t.Errorf("Due(%s, %s) is in %s", v.start, v.limit, got.Location())
		}
	}
}

func TestExtensionIsCountedFromTheOldDueTime(t *testing.T) {
	t.Parallel()
	c := calendar.Default()
	got, provisional, err := c.Extend(at(t, "2025-09-30 23:59:59"), limit(t, "5 WD"))
	if err != nil || provisional || show(got) != "2025-10-14 23:59:59" {
		t.Errorf("got %s, %t, %v", show(got), provisional, err)
	}
	for _, l := range []calendar.Limit{{}, {Unit: calendar.WorkingDay}} {
		_, _, err := c.Extend(at(t, "2025-09-30 23:59:59"), l)
		wantField(t, err, map[bool]string{true: "limit", false: "limit.n"}[l.None()])
	}
}

func TestSuspensionKeepsTheWholeUnitsThatAreLeft(t *testing.T) {
	t.Parallel()
	c := calendar.Default()
	for _, v := range []struct {
		start, limit, stop string
		used               int
		left               string
		resumed, due       string
	}{
		{"2025-09-15 09:00", "10 WD", "2025-09-22 10:00", 4, "6 WD", "2025-12-01 09:00", "2025-12-09 23:59:59"},
		{"2025-09-15 09:00", "10 WD", "2025-09-15 08:00", 0, "10 WD", "2025-09-15 09:00", "2025-09-28 23:59:59"},
		{"2025-09-15 09:00", "10 WD", "2025-09-28 23:59:59", 10, "0 WD", "2025-12-01 09:00", "2025-12-01 23:59:59"},
		{"2025-09-15 09:00", "10 WD", "2025-11-28 23:59:59", 10, "0 WD", "2025-12-01 09:00", "2025-12-01 23:59:59"},
		{"2025-01-24 16:30", "7 ND roll", "2025-01-28 12:00", 3, "4 ND roll", "2025-02-10 09:00", "2025-02-14 23:59:59"},
		{"2025-03-03 10:00", "4 WH", "2025-03-03 14:00", 2, "2 WH", "2025-03-04 09:00", "2025-03-04 11:00:00"},
	} {
		used, left, provisional, err := c.Remaining(at(t, v.start), limit(t, v.limit), at(t, v.stop))
		if err != nil || provisional || used != v.used || left.String() != v.left {
			t.Errorf("%s + %s stopped %s: used %d, left %s, %t, %v", v.start, v.limit, v.stop, used, left, provisional, err)
			continue
		}
		got, _, err := c.Resume(at(t, v.resumed), left)
		if err != nil || show(got) != v.due {
			t.Errorf("%s + %s resumed %s: due %s, %v, want %s", v.start, v.limit, v.resumed, show(got), err, v.due)
		}
	}
}

func TestDueIsProvisionalOnlyIfAnUnknownDayMattered(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		start, limit string
		want         bool
	}{
		{"2026-12-30 10:00", "1 WD", false},
		{"2026-12-31 10:00", "1 WD", true},
		{"2026-12-31 10:00", "0 WD", false},
		{"2026-12-31 16:30", "1 WH", false},
		{"2026-12-31 16:31", "1 WH", true},
		{"2023-12-31 17:30", "1 WH", false},
		{"2023-12-31 17:29", "1 WH", true},
		{"2023-12-31 10:00", "1 WD", false},
		{"2023-12-30 10:00", "1 WD", true},
		{"2026-12-31 10:00", "30 ND", false},
		{"2026-12-31 10:00", "30 ND roll", true},
		{"2026-12-24 10:00", "7 ND roll", false},
		{"2030-01-01 10:00", "48 NH", false},
		{"2030-01-01 10:00", "48 min", false},
		{"2023-06-01 10:00", "1200 WD", true}, // over known years, from and to unknown ones
	} {
		_, got, err := calendar.Default().Due(at(t, v.start), limit(t, v.limit))
		if err != nil || got != v.want {
			t.Errorf("Due(%s, %s): provisional %t, %v, want %t", v.start, v.limit, got, err, v.want)
		}
	}
	_, gap, err := without2025(t).Due(at(t, "2024-12-30 10:00"), limit(t, "300 WD"))
	if err != nil || !gap {
		t.Errorf("over a year not loaded between two that are: provisional %t, %v", gap, err)
	}
	if d := due(t, calendar.Default(), at(t, "2027-10-01 10:00"), limit(t, "1 WD")); show(d) != "2027-10-04 23:59:59" {
		t.Errorf("in a year not loaded, Monday to Friday: got %s", show(d))
	}
}

func without2025(t *testing.T) *calendar.Calendar {
	t.Helper()
	table := calendar.Default().Table()
	table.Years = append(table.Years[:1], table.Years[2])
	c, err := calendar.New(table)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestACorrectedTableMovesDueTimes(t *testing.T) {
	t.Parallel()
	table := calendar.Default().Table()
	table.Version = "corrected"
	table.Years[1].Work = table.Years[1].Work[1:] // 26 January 2025 is no longer worked
	c, err := calendar.New(table)
	if err != nil {
		t.Fatal(err)
	}
	start, l := at(t, "2025-01-24 16:30"), limit(t, "5 WD")
	if got := show(due(t, c, start, l)); got != "2025-02-08 23:59:59" {
		t.Errorf("corrected: got %s", got)
	}
	if got := show(due(t, calendar.Default(), start, l)); got != "2025-02-07 23:59:59" {
		t.Errorf("the calendar before: got %s", got)
	}
}

func TestStartsOfAnyZoneAndPartsOfSecondsGiveOneDueTime(t *testing.T) {
	t.Parallel()
	c := calendar.Default()
	// 2025-03-03 in New York, but 2025-03-04 in Shanghai.
	start := time.Date(2025, 3, 3, 20, 0, 0, 999_999_999, time.FixedZone("", -5*60*60))
	if got := due(t, c, start, limit(t, "1 WD")); show(got) != "2025-03-05 23:59:59" {
		t.Errorf("got %s", show(got))
	}
	if got := due(t, c, start, limit(t, "1 NH")); !got.Equal(at(t, "2025-03-04 10:00:00")) {
		t.Errorf("got %s", got)
	}
}

func TestOnTimeIsToTheSecond(t *testing.T) {
	t.Parallel()
	d := at(t, "2025-01-31 23:59:59")
	if !calendar.OnTime(d.Add(999*time.Millisecond), d) {
		t.Error("within the last second is late")
	}
	if calendar.OnTime(d.Add(time.Second), d) {
		t.Error("a second after is on time")
	}
}

func TestBoundsAreTypedErrors(t *testing.T) {
	t.Parallel()
	c := calendar.Default()
	end := at(t, "9999-12-31 23:59:59")
	for _, l := range []string{"1 WD", "1 ND", "1 ND roll", "1 WH", "1 NH", "1 min"} {
		_, _, err := c.Due(end, limit(t, l))
		wantRange(t, err, "due")
	}
	for u := calendar.Minute; u <= calendar.WorkingDay; u++ {
		_, _, err := c.Due(at(t, "9990-01-01 00:00"), calendar.Limit{N: calendar.MaxN, Unit: u})
		wantRange(t, err, "due")
	}
	if got := due(t, c, end, limit(t, "0 WD")); !got.Equal(end) {
		t.Errorf("0 WD on the last day: %s", got)
	}
	_, _, err := c.Due(time.Time{}, limit(t, "1 WD"))
	wantRange(t, err, "start")
	_, _, err = c.Due(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), limit(t, "0 WD"))
	wantRange(t, err, "start")
	_, _, err = c.Due(time.Unix(1<<60, 0), limit(t, "0 WD"))
	wantRange(t, err, "start")
	_, _, err = c.Due(time.Unix(-1<<60, 0), limit(t, "0 WD"))
	wantRange(t, err, "start")
	_, _, err = c.Between(end, time.Time{}, calendar.Minute)
	wantRange(t, err, "end")
	_, _, err = c.Worked(time.Time{}, end)
	wantRange(t, err, "start")
	_, _, err = c.Worked(end, time.Time{})
	wantRange(t, err, "end")
	_, _, err = c.Between(end, end, 0)
	wantField(t, err, "unit")

	for field, l := range map[string]calendar.Limit{
		"limit":      {},
		"limit.unit": {N: 1, Unit: 99},
		"limit.roll": {N: 1, Unit: calendar.WorkingDay, Roll: true},
		"limit.n":    {N: calendar.MaxN + 1, Unit: calendar.WorkingDay},
	} {
		_, _, err := c.Due(end, l)
		wantField(t, err, field)
		_, _, _, err = c.Remaining(end, l, end)
		wantField(t, err, field)
		_, err = c.Explain(end, l)
		wantField(t, err, field)
	}
	_, _, err = c.Due(end, calendar.Limit{N: -1, Unit: calendar.NaturalHour})
	wantField(t, err, "limit.n")
	_, _, err = (&calendar.Calendar{}).Due(end, limit(t, "1 WD"))
	wantField(t, err, "calendar")
}

func wantField(t testing.TB, err error, field string) {
	t.Helper()
	e, ok := errors.AsType[*calendar.FieldError](err)
	if !ok || e.Field != field {
		t.Errorf("got error %v, want a *FieldError of %q", err, field)
	}
}

func wantRange(t testing.TB, err error, field string) {
	t.Helper()
	e, ok := errors.AsType[*calendar.RangeError](err)
	if !ok || e.Field != field {
		t.Errorf("got error %v, want a *RangeError of %q", err, field)
	}
}

// walked is the oracle: three years of State Council calendars, minute by minute.
type walked struct {
	first time.Time
	// worked[i] is how many minutes of office hours lie before minute i; days[i] the working days before day i.
	worked []int
	days   []int
	works  []bool
}

func walk(t testing.TB) walked {
	t.Helper()
	off, work := map[string]bool{}, map[string]bool{}
	for _, y := range calendar.Default().Table().Years {
		for _, d := range y.Off {
			off[d] = true
		}
		for _, d := range y.Work {
			work[d] = true
		}
	}
	w := walked{first: at(t, "2024-01-01 00:00"), worked: []int{0}, days: []int{0}}
	for day := w.first; day.Year() < 2027; day = day.AddDate(0, 0, 1) {
		name := day.Format(time.DateOnly)
		weekend := day.Weekday() == time.Saturday || day.Weekday() == time.Sunday
		working := work[name] || !weekend && !off[name]
		w.works = append(w.works, working)
		n := w.days[len(w.days)-1]
		if working {
			n++
		}
		w.days = append(w.days, n)
		for m := range 24 * 60 {
			n := w.worked[len(w.worked)-1]
			if working && (m >= 9*60 && m < 12*60 || m >= 13*60+30 && m < 17*60+30) {
				n++
			}
			w.worked = append(w.worked, n)
		}
	}
	return w
}

func TestWorkingHoursEqualAMinuteWalkOverThreeYears(t *testing.T) {
	t.Parallel()
	w, c := walk(t), calendar.Default()
	random := rand.New(rand.NewPCG(1, 2))
	minutes := len(w.worked) - 1
	for range 20_000 {
		i := random.IntN(minutes)
		j := i + random.IntN(minutes-i)
		start, end := w.first.Add(time.Duration(i)*time.Minute), w.first.Add(time.Duration(j)*time.Minute)
		got, provisional, err := c.Between(start, end, calendar.WorkingHour)
		if want := (w.worked[j] - w.worked[i]) / 60; err != nil || provisional || got != want {
			t.Fatalf("Between(%s, %s) = %d, %t, %v, want %d", start, end, got, provisional, err, want)
		}

		worked, provisional, err := c.Worked(start, end)
		if want := time.Duration(w.worked[j]-w.worked[i]) * time.Minute; err != nil || provisional || worked != want {
			t.Fatalf("Worked(%s, %s) = %s, %t, %v, want %s", start, end, worked, provisional, err, want)
		}
		if none, _, err := c.Worked(end, start); err != nil || none != 0 {
			t.Fatalf("Worked(%s, %s) = %s, %v, want none", end, start, none, err)
		}

		n := random.IntN(40)
		k := i
		for k < minutes && w.worked[k] < w.worked[i]+60*n {
			k++
		}
		if w.worked[k] < w.worked[i]+60*n {
			continue // after the three years
		}
		d := due(t, c, start, calendar.Limit{N: n, Unit: calendar.WorkingHour})
		if want := w.first.Add(time.Duration(k) * time.Minute); !d.Equal(want) {
			t.Fatalf("Due(%s, %d WH) = %s, want %s", start, n, d, want)
		}
	}
}

func TestWorkingDaysEqualADayWalkOverThreeYears(t *testing.T) {
	t.Parallel()
	w, c := walk(t), calendar.Default()
	for i, works := range w.works {
		start := w.first.AddDate(0, 0, i).Add(15 * time.Hour)
		if got, _, err := c.WorkingDay(start); err != nil || got != works {
			t.Fatalf("WorkingDay(%s) = %t, %v", start, got, err)
		}
		n := 0
		for j := i + 1; j < len(w.works); j++ {
			end := w.first.AddDate(0, 0, j+1).Add(-time.Second)
			if w.works[j] {
				n++
				if got := due(t, c, start, calendar.Limit{N: n, Unit: calendar.WorkingDay}); !got.Equal(end) {
					t.Fatalf("Due(%s, %d WD) = %s, want %s", start, n, got, end)
				}
			}
			if got, provisional, err := c.Between(start, end, calendar.WorkingDay); err != nil || provisional || got != n {
				t.Fatalf("Between(%s, %s) = %d, %t, %v, want %d", start, end, got, provisional, err, n)
			}
			if n > 30 {
				break
			}
		}
		rolled := i
		for rolled < len(w.works) && !w.works[rolled] {
			rolled++
		}
		if i > 7 && rolled < len(w.works) {
			got := due(t, c, start.AddDate(0, 0, -7), limit(t, "7 ND roll"))
			if want := w.first.AddDate(0, 0, rolled+1).Add(-time.Second); !got.Equal(want) {
				t.Fatalf("7 ND roll to %s = %s, want %s", start, got, want)
			}
		}
	}
}

// calendars are those the properties below must hold for.
func calendars(t testing.TB) []*calendar.Calendar {
	t.Helper()
	all := []*calendar.Calendar{calendar.Default()}
	for _, table := range []calendar.Table{
		{Version: "none-known"},
		{Version: "three-windows", Windows: []string{"00:00-00:01", "08:00-12:00", "12:00-24:00"}, Years: calendar.Default().Table().Years[1:2]},
		{Version: "berlin", Zone: "Europe/Berlin", Years: []calendar.Year{{Year: 2025, Off: []string{"2024-12-25", "2025-01-01"}}}},
	} {
		c, err := calendar.New(table)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

func TestBetweenUndoesDueAndBothAreMonotone(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	for _, c := range calendars(t) {
		base := at(t, "2023-06-01 00:00").Unix()
		for range 30_000 {
			start := time.Unix(base+random.Int64N(5*365*86400), random.Int64N(1e9))
			later := start.Add(time.Duration(random.Int64N(int64(10 * 24 * time.Hour))))
			for u := calendar.Minute; u <= calendar.WorkingDay; u++ {
				l := calendar.Limit{N: random.IntN(60), Unit: u}
				d := due(t, c, start, l)
				if got, _, err := c.Between(start, d, u); err != nil || got != l.N {
					t.Fatalf("%s: Between(%s, Due %s of %s) = %d, %v", c.Version(), start, d, l, got, err)
				}
				if before, _, err := c.Between(start, d.Add(-time.Second), u); err != nil || before >= l.N && l.N > 0 {
					t.Fatalf("%s: Between(%s, a second before %s of %s) = %d, %v", c.Version(), start, d, l, before, err)
				}
				if next := due(t, c, start, calendar.Limit{N: l.N + 1, Unit: u}); !next.After(d) {
					t.Fatalf("%s: %s, %s due %s, one more due %s", c.Version(), start, l, d, next)
				}
				if other := due(t, c, later, l); other.Before(d) {
					t.Fatalf("%s: %s from %s due %s, from %s due %s", c.Version(), l, start, d, later, other)
				}
				one, _, _ := c.Between(start, later, u)
				two, _, _ := c.Between(start, later.Add(26*time.Hour), u)
				if one > two {
					t.Fatalf("%s: Between from %s falls from %d to %d", c.Version(), start, one, two)
				}
				if d.Nanosecond() != 0 {
					t.Fatalf("%s has parts of a second", d)
				}
			}
			l := calendar.Limit{N: random.IntN(60), Unit: calendar.NaturalDay, Roll: true}
			d := due(t, c, start, l)
			if working, _, err := c.WorkingDay(d); err != nil || !working {
				t.Fatalf("%s: %s from %s ends on %s, which is not a working day", c.Version(), l, start, d)
			}
			if other := due(t, c, later, l); other.Before(d) {
				t.Fatalf("%s: %s from %s due %s, from %s due %s", c.Version(), l, start, d, later, other)
			}
		}
	}
}

// Not in parallel, since it counts allocations.
func TestLimitsOfMillenniaCostNoMore(t *testing.T) {
	c := calendar.Default()
	start := at(t, "2025-01-01 10:00")
	d, provisional, err := c.Due(start, calendar.Limit{N: 2_000_000, Unit: calendar.WorkingDay})
	if err != nil || !provisional || d.Year() < 9600 {
		t.Fatalf("got %s, %t, %v", d, provisional, err)
	}
	if n, _, err := c.Between(start, d, calendar.WorkingDay); err != nil || n != 2_000_000 {
		t.Errorf("got %d, %v", n, err)
	}
	if allocs := testing.AllocsPerRun(100, func() {
		if _, _, err := c.Due(start, calendar.Limit{N: 2_000_000, Unit: calendar.WorkingDay}); err != nil {
			t.Error(err)
		}
	}); allocs > 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func BenchmarkDue(b *testing.B) {
	c := calendar.Default()
	start := time.Date(2025, 1, 24, 8, 30, 0, 0, time.UTC)
	for _, text := range []string{"5 WD", "15 WD", "4 WH", "2 NH", "7 ND roll", "1000000 WD"} {
		l := limit(b, text)
		b.Run(text, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := c.Due(start, l); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestBetweenIsProvisionalOnlyIfAnUnknownDayMattered(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		start, end string
		unit       calendar.Unit
		want       bool
	}{
		{"2026-12-31 10:00", "2027-01-01 09:00", calendar.WorkingHour, false},
		{"2026-12-31 10:00", "2027-01-01 09:01", calendar.WorkingHour, true},
		{"2023-12-31 17:30", "2024-01-02 10:00", calendar.WorkingHour, false},
		{"2026-12-30 10:00", "2027-01-01 23:59:58", calendar.WorkingDay, false},
		{"2026-12-30 10:00", "2027-01-01 23:59:59", calendar.WorkingDay, true},
		{"2026-12-30 10:00", "2027-03-01 10:00", calendar.NaturalDay, false},
		{"2026-12-30 10:00", "2027-03-01 10:00", calendar.NaturalHour, false},
	} {
		_, got, err := calendar.Default().Between(at(t, v.start), at(t, v.end), v.unit)
		if err != nil || got != v.want {
			t.Errorf("Between(%s, %s, %s): provisional %t, %v, want %t", v.start, v.end, v.unit, got, err, v.want)
		}
	}
}
