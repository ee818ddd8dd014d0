package importing

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Seconds is a duration in seconds.
type Seconds float64

// Report says what a run did. Rows = Imported + Unchanged + Quarantined + Unfinished.
type Report struct {
	Source string `json:"source"`
	// Rows are the rows read, headers and blank lines aside. Of a row with bad quoting each line counts as one.
	Rows        int64 `json:"rows"`
	Imported    int64 `json:"imported"`
	Unchanged   int64 `json:"unchanged"` // were there already
	Quarantined int64 `json:"quarantined"`
	// Unfinished are rows that a run which stopped had read, and whose outcome it does not know.
	Unfinished int64 `json:"unfinished"`
	// QuarantineFile is empty if no row was quarantined.
	QuarantineFile string `json:"quarantine_file,omitempty"`
	// Reasons count quarantined rows.
	Reasons map[string]int64 `json:"reasons,omitempty"`
	// Oddities count the records of each kind, of all rows that could be understood; see Kinds. Kinds without a record are left out.
	Oddities map[string]int64 `json:"oddities"`
	// First and Last are when the first and the last record was reported, of all that could be understood; nil if none.
	First *time.Time `json:"first_reported_at"`
	Last  *time.Time `json:"last_reported_at"`
	Took  Seconds    `json:"took_seconds"`
	Rate  float64    `json:"records_per_second"`

	kinds []string
}

func newReport(m *Mapping) *Report {
	return &Report{Source: m.source, Reasons: map[string]int64{}, Oddities: map[string]int64{}, kinds: m.Kinds()}
}

func (r *Report) note(rec *record) {
	for _, kind := range rec.req.Oddities {
		r.Oddities[kind]++
	}
	if r.First == nil || rec.reported.Before(*r.First) {
		t := rec.reported.UTC()
		r.First = &t
	}
	if r.Last == nil || rec.reported.After(*r.Last) {
		t := rec.reported.UTC()
		r.Last = &t
	}
}

// WriteJSON writes the report as one JSON object.
func (r *Report) WriteJSON(w io.Writer) error {
	to := json.NewEncoder(w)
	to.SetIndent("", "  ")
	return to.Encode(r)
}

// WriteText writes the report as a table.
func (r *Report) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "source\t%s\n", r.Source)
	for _, c := range []struct {
		name string
		n    int64
	}{{"rows", r.Rows}, {"imported", r.Imported}, {"unchanged", r.Unchanged}, {"quarantined", r.Quarantined}, {"unfinished", r.Unfinished}} {
		if c.name != "unfinished" || c.n > 0 {
			fmt.Fprintf(t, "%s\t%12s\n", c.name, thousands(c.n))
		}
	}
	if r.First != nil {
		fmt.Fprintf(t, "reported\t%s to %s\n", r.First.Format(time.RFC3339), r.Last.Format(time.RFC3339))
	}
	fmt.Fprintf(t, "took\t%.1f s, %s records a second\n", float64(r.Took), thousands(int64(r.Rate)))
	if len(r.Oddities) > 0 {
		fmt.Fprintf(t, "\noddity\t%12s\n", "records")
		at := func(kind string) int { return slices.Index(r.kinds, kind) }
		for _, kind := range slices.SortedFunc(maps.Keys(r.Oddities), func(a, b string) int { return cmp.Or(at(a)-at(b), cmp.Compare(a, b)) }) {
			fmt.Fprintf(t, "%s\t%12s\n", kind, thousands(r.Oddities[kind]))
		}
	}
	if r.Quarantined > 0 {
		fmt.Fprintf(t, "\nquarantined for\t%12s\n", "rows")
		for _, kind := range slices.Sorted(maps.Keys(r.Reasons)) {
			fmt.Fprintf(t, "%s\t%12s\n", kind, thousands(r.Reasons[kind]))
		}
		fmt.Fprintf(t, "in\t%s\n", r.QuarantineFile)
	}
	return t.Flush()
}

// thousands writes 23310 as 23,310.
func thousands(n int64) string {
	digits := strconv.FormatInt(n, 10)
	var to strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 && digits[i-1] != '-' {
			to.WriteByte(',')
		}
		to.WriteRune(d)
	}
	return to.String()
}
