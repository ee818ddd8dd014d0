package importing

import (
	"testing"
	"time"
)

func TestProgressSaysHowFarAndHowLong(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		p    progress
		want string
	}{
		{progress{source: "s"}, "import s: 0 %  0 records\n"},
		{progress{source: "s", done: 1_234_567, part: 0.25, took: 10 * time.Second}, "import s: 25 %  1,234,567 records  123,456/s  30s left\n"},
		{progress{source: "s", done: 10, part: 1, took: 10 * time.Second}, "import s: 100 %  10 records  1/s\n"},
		{progress{bar: true, source: "s", done: 500, part: 0.5, took: time.Second}, "\rs [###############...............]  50 %  500 records  500/s  1s left\x1b[K"},
	} {
		if got := c.p.String(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
