package calendar_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/chuishao/dispatch/internal/calendar"
)

func TestTheBuiltInCalendarHoldsTheNoticesOfThreeYears(t *testing.T) {
	t.Parallel()
	c := calendar.Default()
	if c.Zone().String() != "Asia/Shanghai" || c.Version() == "" {
		t.Errorf("zone %s, version %q", c.Zone(), c.Version())
	}
	// Working days a year: 366 or 365 days, less weekends and holidays, with make-up days.
	for year, want := range map[int]int{2024: 251, 2025: 248, 2026: 248} {
		got := 0
		for day := time.Date(year, 1, 1, 12, 0, 0, 0, c.Zone()); day.Year() == year; day = day.AddDate(0, 0, 1) {
			working, provisional, err := c.WorkingDay(day)
			if err != nil || provisional {
				t.Fatalf("%s: %t, %v", day, provisional, err)
			}
			if working {
				got++
			}
		}
		if got != want {
			t.Errorf("%d has %d working days, want %d", year, got, want)
		}
	}
}

func TestATableIsRefusedByTheFieldThatIsWrong(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]struct {
		change func(*calendar.Table)
		field  string
	}{
		"no version":                    {func(t *calendar.Table) { t.Version = "" }, "version"},
		"a version with a space":        {func(t *calendar.Table) { t.Version = "a b" }, "version"},
		"a version too long":            {func(t *calendar.Table) { t.Version = strings.Repeat("v", 65) }, "version"},
		"an unknown zone":               {func(t *calendar.Table) { t.Zone = "Asia/Nowhere" }, "zone"},
		"a zone outside the data":       {func(t *calendar.Table) { t.Zone = "../etc/passwd" }, "zone"},
		"the machine's zone":            {func(t *calendar.Table) { t.Zone = "Local" }, "zone"},
		"a window of one time":          {func(t *calendar.Table) { t.Windows[0] = "09:00" }, "windows[0]"},
		"a window of no time":           {func(t *calendar.Table) { t.Windows[1] = "13:30-13:30" }, "windows[1]"},
		"a window backwards":            {func(t *calendar.Table) { t.Windows[1] = "17:30-13:30" }, "windows[1]"},
		"a window past the day":         {func(t *calendar.Table) { t.Windows[1] = "13:30-24:01" }, "windows[1]"},
		"a window without zeros":        {func(t *calendar.Table) { t.Windows[0] = "9:00-12:00" }, "windows[0]"},
		"windows that overlap":          {func(t *calendar.Table) { t.Windows[1] = "11:59-17:30" }, "windows[1]"},
		"windows out of order":          {func(t *calendar.Table) { t.Windows = []string{"13:30-17:30", "09:00-12:00"} }, "windows[1]"},
		"a year twice":                  {func(t *calendar.Table) { t.Years[2].Year = 2024 }, "years[2].year"},
		"a year of another age":         {func(t *calendar.Table) { t.Years[0].Year = 24 }, "years[0].year"},
		"no date":                       {func(t *calendar.Table) { t.Years[0].Off[1] = "" }, "years[0].off[1]"},
		"a date that is none":           {func(t *calendar.Table) { t.Years[1].Off[0] = "2025-02-29" }, "years[1].off[0]"},
		"a date of another form":        {func(t *calendar.Table) { t.Years[1].Off[0] = "2025-1-1" }, "years[1].off[0]"},
		"a date of another year":        {func(t *calendar.Table) { t.Years[1].Off[0] = "2026-01-01" }, "years[1].off[0]"},
		"a date of the November before": {func(t *calendar.Table) { t.Years[1].Off[0] = "2024-11-29" }, "years[1].off[0]"},
		"a day off on a Saturday":       {func(t *calendar.Table) { t.Years[1].Off[0] = "2025-03-01" }, "years[1].off[0]"},
		"a make-up day on a Friday":     {func(t *calendar.Table) { t.Years[1].Work[0] = "2025-02-28" }, "years[1].work[0]"},
		"a day off twice":               {func(t *calendar.Table) { t.Years[1].Off[1] = t.Years[1].Off[0] }, "years[1].off[1]"},
		"a make-up day twice":           {func(t *calendar.Table) { t.Years[1].Work[2] = t.Years[1].Work[0] }, "years[1].work[2]"},
	} {
		table := calendar.Default().Table()
		v.change(&table)
		_, err := calendar.New(table)
		if err == nil {
			t.Errorf("%s is accepted", name)
			continue
		}
		if t.Run(name, func(t *testing.T) { wantField(t, err, v.field) }); err.Error() == "" {
			t.Errorf("%s: no text", name)
		}
	}
}

func TestATableInJSONIsReadStrictly(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		``, `[]`, `{"version":"a"} {}`, `{"version":"a"}x`, `{"version":"a","holidays":[]}`, `{"version":"a","version":"b"}`,
		`{"version":"a","Version":"b"}`, `{"version":1}`, `{"version":"a","years":[{"year":2025,"off":[],"off":["2025-01-01"]}]}`,
		`{"version":"a","years":[{"year":2025},{"year":2026,"of":[]}]}`, `{"version":"a","years":{}}`,
	} {
		if _, err := calendar.ReadTable([]byte(raw)); err == nil {
			t.Errorf("%s is accepted", raw)
		} else {
			wantField(t, err, "json")
		}
	}
	_, err := calendar.ReadTable([]byte(`null`))
	wantField(t, err, "version")
	c, err := calendar.ReadTable([]byte(`{"version":"a"}`))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Table().Windows, []string{"09:00-12:00", "13:30-17:30"}; !reflect.DeepEqual(got, want) || c.Table().Zone != "Asia/Shanghai" {
		t.Errorf("defaults: zone %s, windows %q", c.Table().Zone, got)
	}
}

func TestACalendarDoesNotChange(t *testing.T) {
	t.Parallel()
	table := calendar.Default().Table()
	c, err := calendar.New(table)
	if err != nil {
		t.Fatal(err)
	}
	want := c.Table()
	for _, mine := range []calendar.Table{table, c.Table()} {
		mine.Windows[0] = "00:00-01:00"
		mine.Years[0].Off[0] = "2024-01-02"
		mine.Years[0].Work[0] = "2024-02-03"
		mine.Years[1] = calendar.Year{}
	}
	if got := c.Table(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

const notice = `{"$schema":"s","$id":"i","year":2025,"papers":["p"],"days":[
	{"name":"元旦","date":"2025-01-01","isOffDay":true},
	{"name":"春节","date":"2025-01-26","isOffDay":false},
	{"name":"春节","date":"2025-02-01","isOffDay":true},
	{"name":"春节","date":"2025-02-03","isOffDay":true}]}`

func TestAPublishedNoticeBecomesAYear(t *testing.T) {
	t.Parallel()
	got, err := calendar.ReadYear([]byte(notice))
	want := calendar.Year{Year: 2025, Off: []string{"2025-01-01", "2025-02-03"}, Work: []string{"2025-01-26"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for raw, field := range map[string]string{
		strings.Replace(notice, `,"isOffDay":false`, ``, 1):      "days[1].isOffDay",
		strings.Replace(notice, `01-26`, `01-27`, 1):             "years[0].work[0]",
		strings.Replace(notice, `2025-01-26`, `2025-13-26`, 1):   "days[1].date",
		strings.Replace(notice, `02-03`, `01-01`, 1):             "years[0].off[1]",
		strings.Replace(notice, `"year":2025`, `"year":2027`, 1): "days[0].date",
		strings.Replace(notice, `"papers"`, `"sources"`, 1):      "json",
	} {
		if _, err := calendar.ReadYear([]byte(raw)); err == nil {
			t.Errorf("%s is accepted", raw)
		} else {
			wantField(t, err, field)
		}
	}
}

func FuzzReadTable(f *testing.F) {
	whole, err := json.Marshal(calendar.Default().Table())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte(`{"version":"a","zone":"UTC","windows":["00:00-24:00"],"years":[{"year":2025,"off":["2024-12-31"]}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := calendar.ReadTable(raw)
		if err != nil {
			return
		}
		again, err := json.Marshal(c.Table())
		if err != nil {
			t.Fatal(err)
		}
		d, err := calendar.ReadTable(again)
		if err != nil {
			t.Fatalf("%s is read, written back as %s, and refused: %v", raw, again, err)
		}
		start := at(t, "2025-01-24 16:30")
		for _, text := range []string{"5 WD", "9 WH", "7 ND roll"} {
			l := limit(t, text)
			if one, two := due(t, c, start, l), due(t, d, start, l); !one.Equal(two) || one.Before(start) {
				t.Fatalf("%s: due %s, and %s when written back", l, one, two)
			}
		}
	})
}

func FuzzReadYear(f *testing.F) {
	f.Add([]byte(notice))
	f.Fuzz(func(t *testing.T, raw []byte) {
		y, err := calendar.ReadYear(raw)
		if err != nil {
			return
		}
		if _, err := calendar.New(calendar.Table{Version: "v", Years: []calendar.Year{y}}); err != nil {
			t.Fatalf("%s is read as %+v and refused: %v", raw, y, err)
		}
	})
}
