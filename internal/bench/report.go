package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"text/tabwriter"
)

// figure is a row of the table.
type figure struct {
	Name    string
	Value   float64
	Unit    string
	Tickets int
	Note    string
}

// reach is what a figure should come to.
type reach struct {
	text string
	is   func(float64) bool
}

func atLeast(x float64) reach {
	return reach{fmt.Sprintf("≥ %s", number(x)), func(v float64) bool { return v >= x }}
}

func below(x float64) reach {
	return reach{fmt.Sprintf("< %s", number(x)), func(v float64) bool { return v < x }}
}

// reaches are the figures that should come to something, by name.
var reaches = map[string]reach{
	"commands_ratio_256":        atLeast(0.5),
	"command_p99_ms":            below(20),
	"rebuild_events_per_second": atLeast(50_000),
	"rebuild_ratio":             atLeast(0.3),
	"import_records_per_second": atLeast(20_000),
	"projection_lag_p99_ms":     below(200),
	"desk_delay_p99_ms":         below(1000),
	"closure_query_p99_ms":      below(50),
	"list_query_p99_ms":         below(50),
	"commands_ratio_flat":       atLeast(0.9),
	"start_seconds":             below(2),
	"rss_mib":                   below(400),
	"timers_due_ms":             below(20),
}

// report is what a run found.
type report struct {
	Machine string
	// Store, Views and Keys say where they lay.
	Store, Views, Keys string
	Figures            []figure
	Seconds            float64
	tickets            int
	// Missing are figures that could not be measured, and why.
	Missing []figure
}

func newReport(o Options) *report { return &report{Machine: machine(), tickets: o.Tickets} }

// add notes a figure, measured at the run's number of tickets.
func (r *report) add(name string, value float64, unit, note string) {
	r.at(r.tickets, name, value, unit, note)
}

// missing notes that a figure cannot be measured.
func (r *report) missing(name, why string) {
	r.Missing = append(r.Missing, figure{Name: name, Note: why})
}

// at notes a figure, measured at a number of tickets.
func (r *report) at(tickets int, name string, value float64, unit, note string) {
	r.Figures = append(r.Figures, figure{Name: name, Value: value, Unit: unit, Tickets: tickets, Note: note})
}

func (f *figure) verdict() (want, reached string) {
	to, ok := reaches[f.Name]
	switch {
	case !ok:
		return "", ""
	case to.is(f.Value):
		return to.text, "yes"
	}
	return to.text, "NO"
}

// formats are the ways to print a report.
var formats = map[string]func(io.Writer, *report) error{"": table, "table": table, "json": object}

func table(to io.Writer, r *report) error {
	if _, err := fmt.Fprintf(to, "%s\nhistory: %s\nviews:   %s\nkeys:    %s\n\n", r.Machine, r.Store, r.Views, r.Keys); err != nil {
		return err
	}
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "figure\tvalue\tunit\tto reach\treached\ttickets\tnote")
	for _, f := range r.Figures {
		want, reached := f.verdict()
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", f.Name, number(f.Value), f.Unit, want, reached, f.Tickets, f.Note)
	}
	for _, f := range r.Missing {
		fmt.Fprintf(w, "%s\tnot measured\t\t\t\t\t%s\n", f.Name, f.Note)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(to, "\nmeasured in %.0f s\n", r.Seconds)
	return err
}

// object prints one object: each figure's value under its name, and what is said about them under names of their own.
func object(to io.Writer, r *report) error {
	all := map[string]any{"machine": r.Machine, "store": r.Store, "views": r.Views, "keys": r.Keys, "seconds": math.Round(r.Seconds)}
	tickets, units, reached, notes := map[string]int{}, map[string]string{}, map[string]bool{}, map[string]string{}
	for _, f := range r.Figures {
		all[f.Name], tickets[f.Name], units[f.Name] = f.Value, f.Tickets, f.Unit
		if want, is := f.verdict(); want != "" {
			reached[f.Name] = is == "yes"
		}
		if f.Note != "" {
			notes[f.Name] = f.Note
		}
	}
	for _, f := range r.Missing {
		notes[f.Name] = "not measured: " + f.Note
	}
	all["tickets"], all["units"], all["reached"], all["notes"] = tickets, units, reached, notes
	out := json.NewEncoder(to)
	out.SetIndent("", "  ")
	out.SetEscapeHTML(false)
	return out.Encode(all)
}

// number writes a value with about three digits.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10 || v == math.Trunc(v):
		return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0")
	}
	return fmt.Sprintf("%.2f", v)
}

// machine says what was measured on.
func machine() string {
	facts := []string{fmt.Sprintf("GOMAXPROCS %d", runtime.GOMAXPROCS(0)), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, model, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				facts = append(facts, strings.TrimSpace(model))
				break
			}
		}
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		commit, changed := "", ""
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				commit = s.Value[:min(len(s.Value), 12)]
			case s.Key == "vcs.modified" && s.Value == "true":
				changed = " and changes"
			}
		}
		if commit != "" {
			facts = append(facts, "commit "+commit+changed)
		}
	}
	return strings.Join(facts, ", ")
}
