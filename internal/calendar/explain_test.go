package calendar_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/chuishao/dispatch/internal/calendar"
)

func TestExplainListsWhatWasCounted(t *testing.T) {
	t.Parallel()
	for _, v := range []struct{ start, limit, want string }{
		{"2025-01-24 16:30", "5 WD", `
01-24 16:30 - 01-25 00:00 start-day
01-25 00:00 - 01-26 00:00 weekend
01-26 00:00 - 01-27 00:00 make-up *
01-27 00:00 - 01-28 00:00 working *
01-28 00:00 - 01-29 00:00 holiday
01-29 00:00 - 01-30 00:00 holiday
01-30 00:00 - 01-31 00:00 holiday
01-31 00:00 - 02-01 00:00 holiday
02-01 00:00 - 02-02 00:00 weekend
02-02 00:00 - 02-03 00:00 weekend
02-03 00:00 - 02-04 00:00 holiday
02-04 00:00 - 02-05 00:00 holiday
02-05 00:00 - 02-06 00:00 working *
02-06 00:00 - 02-07 00:00 working *
02-07 00:00 - 02-08 00:00 working *`},
		{"2025-01-30 10:00", "2 ND roll", `
01-30 10:00 - 01-31 00:00 start-day
01-31 00:00 - 02-01 00:00 natural *
02-01 00:00 - 02-02 00:00 natural *
02-02 00:00 - 02-03 00:00 weekend
02-03 00:00 - 02-04 00:00 holiday
02-04 00:00 - 02-05 00:00 holiday
02-05 00:00 - 02-06 00:00 rolled`},
		{"2025-03-07 17:00", "4 WH", `
03-07 17:00 - 03-07 17:30 working *
03-08 00:00 - 03-09 00:00 weekend
03-09 00:00 - 03-10 00:00 weekend
03-10 09:00 - 03-10 12:00 working *
03-10 13:30 - 03-10 14:00 working *`},
		{"2025-10-03 23:10", "2 NH", `
10-03 23:10 - 10-04 01:10 natural *`},
		{"2025-10-03 23:10", "0 WD", `
10-03 23:10 - 10-04 00:00 start-day`},
		{"2025-10-03 23:10", "0 WH", ``},
		{"2026-12-31 10:00", "1 WD", `
12-31 10:00 - 01-01 00:00 start-day
01-01 00:00 - 01-02 00:00 working * ?`},
		{"2026-12-31 10:00", "1 ND", `
12-31 10:00 - 01-01 00:00 start-day
01-01 00:00 - 01-02 00:00 natural *`},
	} {
		e, err := calendar.Default().Explain(at(t, v.start), limit(t, v.limit))
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for _, s := range e.Steps {
			fmt.Fprintf(&got, "\n%s - %s %s", s.From.Format("01-02 15:04"), s.To.Format("01-02 15:04"), s.Why)
			if s.Counted {
				got.WriteString(" *")
			}
			if s.Provisional {
				got.WriteString(" ?")
			}
		}
		if got.String() != v.want {
			t.Errorf("Explain(%s, %s):%s\nwant:%s", v.start, v.limit, got.String(), v.want)
		}
		if e.Calendar != calendar.Default().Version() || !e.Start.Equal(at(t, v.start)) || e.Limit != limit(t, v.limit) {
			t.Errorf("Explain(%s, %s): %+v", v.start, v.limit, e)
		}
	}
}

func TestExplainedStepsAddUpToTheLimitAndEndAtTheDueTime(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(5, 6))
	for _, c := range calendars(t) {
		base := at(t, "2023-06-01 00:00").Unix()
		for range 3000 {
			start := time.Unix(base+random.Int64N(5*365*86400), 0)
			l := calendar.Limit{N: 1 + random.IntN(40), Unit: calendar.Unit(1 + random.IntN(5))}
			l.Roll = l.Unit == calendar.NaturalDay && random.IntN(2) == 0
			e, err := c.Explain(start, l)
			if err != nil {
				t.Fatal(err)
			}
			d, provisional, err := c.Due(start, l)
			if err != nil || !e.Due.Equal(d) || e.Provisional != provisional {
				t.Fatalf("Explain is due %s, %t, Due %s, %t, %v", e.Due, e.Provisional, d, provisional, err)
			}
			days, seconds, guessed := 0, int64(0), false
			for i, s := range e.Steps {
				if !s.From.Before(s.To) || i > 0 && s.From.Before(e.Steps[i-1].To) {
					t.Fatalf("%s from %s: step %d, %+v, is out of order", l, start, i, s)
				}
				guessed = guessed || s.Provisional
				if s.Counted {
					days++
					seconds += s.To.Unix() - s.From.Unix()
				}
			}
			if guessed != provisional {
				t.Fatalf("%s: %s from %s: steps provisional %t, due time %t", c.Version(), l, start, guessed, provisional)
			}
			end := e.Steps[len(e.Steps)-1].To.Unix()
			if l.Unit == calendar.NaturalDay || l.Unit == calendar.WorkingDay {
				if days != l.N || end != d.Unix()+1 {
					t.Fatalf("%s: %s from %s due %s: %d days counted, ends %d", c.Version(), l, start, d, days, end)
				}
				continue
			}
			unit := int64(3600)
			if l.Unit == calendar.Minute {
				unit = 60
			}
			if seconds != int64(l.N)*unit || end != d.Unix() {
				t.Fatalf("%s: %s from %s due %s: %d s counted, ends %d", c.Version(), l, start, d, seconds, end)
			}
		}
	}
}

func TestExplainGoesThroughTenYearsAndNoFurther(t *testing.T) {
	t.Parallel()
	start := at(t, "2025-01-01 10:00")
	e, err := calendar.Default().Explain(start, calendar.Limit{N: calendar.MaxExplained, Unit: calendar.NaturalDay})
	if err != nil || len(e.Steps) != calendar.MaxExplained+1 {
		t.Errorf("%d steps, %v", len(e.Steps), err)
	}
	_, err = calendar.Default().Explain(start, calendar.Limit{N: calendar.MaxExplained + 1, Unit: calendar.NaturalDay})
	wantRange(t, err, "steps")
}
