package year

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/registry"
	"github.com/chuishao/dispatch/internal/view"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// Audit is what must hold of a year's history and of the figures that it comes to.
type Audit struct {
	Store    eventstore.Store
	Registry *registry.Snapshot
	Zone     *time.Location
	// Dir takes the views that are built.
	Dir string
	// From is the first month's first instant; Months are how many are looked at, one by one and together.
	From   time.Time
	Months int
	// Secrets are words that petitioners said, which no view may hold.
	Secrets []string
}

// metrics are those whose counters add up along the areas.
var metrics = []string{
	"M01", "M02", "M04", "M05", "M06", "M07", "M08", "M09", "M10", "M11", "M12", "M13", "M14", "M15", "M16", "M17", "M18", "M19", "M20", "M21", "M22",
	"M23", "M24", "M26", "M27", "M28", "M29", "M30", "M31", "M32", "M33", "M34", "M35", "M36", "M38", "M39", "M44", "M45",
}

// Found is what an audit looked at.
type Found struct {
	Events, Sums, Ledgers int
	// Rows is a digest of the rows of all views.
	Rows string
	// Faults are what does not hold; none is best.
	Faults []string
}

func (f *Found) fault(format string, args ...any) {
	if len(f.Faults) < 100 {
		f.Faults = append(f.Faults, fmt.Sprintf(format, args...))
	}
}

// Run builds all views twice, in batches of other sizes, and compares their rows; then it adds up every counter of every month.
func (a Audit) Run(ctx context.Context) (found Found, err error) {
	var digests [2][]byte
	for i, batch := range []int{4_000, 613} {
		path := filepath.Join(a.Dir, fmt.Sprintf("views-%d.db", i))
		if err := projector.Build(ctx, a.Store, path, projector.Options{Batch: batch}, view.All(a.Zone)...); err != nil {
			return found, fmt.Errorf("build views: %w", err)
		}
		db, err := viewdb.Open(path, viewdb.Options{ReadOnly: true})
		if err != nil {
			return found, err
		}
		if digests[i], err = a.digest(ctx, db, &found); err == nil && i == 0 {
			err = a.figures(ctx, view.NewReader(db, a.Store), &found)
		}
		if err := errors.Join(err, db.Close(), os.Remove(path)); err != nil {
			return found, err
		}
	}
	if err := a.merges(ctx, &found); err != nil {
		return found, err
	}
	if !bytes.Equal(digests[0], digests[1]) {
		found.fault("the views built in batches of other sizes have other rows")
	}
	found.Rows = fmt.Sprintf("%x", digests[0][:8])
	return found, nil
}

func (a Audit) digest(ctx context.Context, db *viewdb.DB, found *Found) ([]byte, error) {
	h := sha256.New()
	for _, v := range view.All(a.Zone) {
		said := &listener{words: a.Secrets}
		if _, err := view.Dump(ctx, db, v.Name, io.MultiWriter(h, said)); err != nil {
			return nil, err
		}
		if said.heard != "" {
			found.fault("view %s holds %q, which is a petitioner's", v.Name, said.heard)
		}
	}
	return h.Sum(nil), nil
}

// listener hears whether one of its words is written to it.
type listener struct {
	words []string
	rest  []byte // the end of what was written before
	heard string
}

func (l *listener) Write(p []byte) (int, error) {
	const longest = 256
	all := append(l.rest, p...)
	for _, w := range l.words {
		if bytes.Contains(all, []byte(w)) {
			l.heard = w
		}
	}
	l.rest = append([]byte(nil), all[max(len(all)-longest, 0):]...)
	return len(p), nil
}

// merges holds every merging against those before it: a duplicate has none, and its primary is none.
func (a Audit) merges(ctx context.Context, found *Found) error {
	into, has := map[string]string{}, map[string]int{}
	for r, err := range a.Store.ReadAll(ctx, 0) {
		if err != nil {
			return err
		}
		found.Events++
		if r.Type != "TicketMerged" && r.Type != "TicketUnmerged" {
			continue
		}
		d, err := event.Decode(r)
		if err != nil {
			return err
		}
		id := strings.TrimPrefix(d.Stream, "ticket-")
		switch e := d.Event.(type) {
		case *pb.TicketMerged:
			if into[e.Into] != "" || has[id] > 0 {
				found.fault("%s@%d: merged into %s, which is merged into %q; it has %d duplicates", d.Stream, d.Version, e.Into, into[e.Into], has[id])
			}
			into[id] = e.Into
			has[e.Into]++
		case *pb.TicketUnmerged:
			has[into[id]]--
			delete(into, id)
		}
	}
	return nil
}

// counted is an area's or its direct row's counters.
type counted struct {
	code string
	by   map[string]int64
}

// figures adds up each month and the whole time.
func (a Audit) figures(ctx context.Context, r *view.Reader, found *Found) error {
	end := a.From.AddDate(0, a.Months, 0)
	periods := [][2]time.Time{{a.From, end}}
	for m := range a.Months {
		periods = append(periods, [2]time.Time{a.From.AddDate(0, m, 0), a.From.AddDate(0, m+1, 0)})
	}
	for _, p := range periods {
		from, to := p[0], p[1]
		for _, metric := range metrics {
			err := a.sums(fmt.Sprintf("%s from %s to %s", metric, from.Format(time.DateOnly), to.Format(time.DateOnly)), found, func(level string) ([]counted, error) {
				return all(func(token string) ([]*pb.MetricFigure, string, error) {
					list, next, _, err := r.ListMetrics(ctx, view.MetricQuery{Metric: metric, Level: level, From: from, To: to, PageSize: 10_000, PageToken: token})
					return list, next, err
				}, func(f *pb.MetricFigure) counted {
					if metric == "M16" {
						a.carriesOver(f, found)
					}
					return counted{f.Code, counters(f)}
				})
			})
			if err != nil {
				return fmt.Errorf("%s: %w", metric, err)
			}
		}
		for _, kind := range []pb.LedgerKind{pb.LedgerKind_LEDGER_KIND_SUSPENSION, pb.LedgerKind_LEDGER_KIND_LISTING} {
			err := a.sums(fmt.Sprintf("%s from %s to %s", kind, from.Format(time.DateOnly), to.Format(time.DateOnly)), found, func(level string) ([]counted, error) {
				return all(func(token string) ([]*pb.LedgerRow, string, error) {
					list, next, _, err := r.ListLedger(ctx, kind, view.PeriodQuery{Level: level, From: from, To: to, PageSize: 10_000, PageToken: token})
					return list, next, err
				}, func(row *pb.LedgerRow) counted {
					if found.Ledgers++; row.Opening+row.Added-row.Removed != row.Closing || !whole(row) {
						found.fault("%s of %s does not balance: %v", kind, row.Code, row)
					}
					return counted{row.Code, map[string]int64{"opening": row.Opening, "added": row.Added, "removed": row.Removed, "closing": row.Closing}}
				})
			})
			if err != nil {
				return fmt.Errorf("%s: %w", kind, err)
			}
		}
		err := a.sums("stages from "+from.Format(time.DateOnly), found, func(level string) ([]counted, error) {
			return all(func(token string) ([]*pb.StageRow, string, error) {
				list, next, _, err := r.ListStages(ctx, view.PeriodQuery{Level: level, From: from, To: to, PageSize: 10_000, PageToken: token})
				return list, next, err
			}, func(row *pb.StageRow) counted {
				stage := row.Stage.String()
				return counted{row.Code, map[string]int64{stage + " stays": row.Stays, stage + " overdue": row.Overdue}}
			})
		})
		if err != nil {
			return fmt.Errorf("stages: %w", err)
		}
	}
	return nil
}

// whole says whether what is open by age comes to the closing, and the levels that listed to all; a ledger without ages tells neither.
func whole(row *pb.LedgerRow) bool {
	if len(row.Ages) == 0 {
		return true
	}
	var open, opening, added, removed, closing int64
	for _, n := range row.Ages {
		open += n
	}
	for _, l := range row.Issuers {
		opening, added, removed, closing = opening+l.Opening, added+l.Added, removed+l.Removed, closing+l.Closing
	}
	return open == row.Closing && opening == row.Opening && added == row.Added && removed == row.Removed && closing == row.Closing
}

// all reads every page.
func all[T any](page func(token string) ([]T, string, error), count func(T) counted) (rows []counted, err error) {
	for token := ""; ; {
		list, next, err := page(token)
		if err != nil {
			return nil, err
		}
		for _, row := range list {
			rows = append(rows, count(row))
		}
		if token = next; token == "" {
			return rows, nil
		}
	}
}

// sums holds each area's counters against those of the areas right below it and of what lies in none of them.
func (a Audit) sums(what string, found *Found, read func(level string) ([]counted, error)) error {
	whole, below := map[string]map[string]int64{}, map[string]map[string]int64{}
	add := func(to map[string]map[string]int64, c counted) {
		if to[c.code] == nil {
			to[c.code] = map[string]int64{}
		}
		for name, n := range c.by {
			to[c.code][name] += n
		}
	}
	levels := []string{view.DirectLevel}
	for _, l := range a.Registry.Levels() {
		levels = append(levels, l.Name)
	}
	for _, level := range append(levels, registry.UnlocatedLevel) {
		rows, err := read(level)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if level == view.DirectLevel {
				add(below, row)
				continue
			}
			add(whole, row)
			if row.code = a.parent(row.code); row.code != "" {
				add(below, row)
			}
		}
	}
	for code, sum := range below {
		for _, pair := range [][2]map[string]int64{{whole[code], sum}, {sum, whole[code]}} {
			for name, n := range pair[0] {
				if found.Sums++; pair[1][name] != n {
					found.fault("%s of %s: %s is %d for the area, %d for what it is made of", what, code, name, whole[code][name], sum[name])
				}
			}
		}
	}
	return nil
}

func (a Audit) parent(code string) string {
	if code == registry.UnlocatedCode {
		return a.Registry.Unlocated()[0].Code
	}
	area, _ := a.Registry.Area(code, a.From)
	return area.GetParent()
}

// counters are what of a figure adds up.
func counters(f *pb.MetricFigure) map[string]int64 {
	c := map[string]int64{"numerator": f.Numerator}
	if f.Denominator != nil {
		c["denominator"] = *f.Denominator
	}
	for name, n := range f.Excluded {
		c["excluded "+name] = n
	}
	for name, n := range f.Parts {
		c["part "+name] = n
	}
	for name, n := range c {
		if n == 0 {
			delete(c, name)
		}
	}
	return c
}

// carriesOver holds the carry-over ledger against itself: opening + accepted - closed - x1 - merged + reopened = closing.
func (a Audit) carriesOver(f *pb.MetricFigure, found *Found) {
	found.Ledgers++
	p := f.Parts
	if p["opening"]+p["accepted"]-p["closed"]-p["x1"]-p["merged"]+p["reopened"] != p["closing"] {
		found.fault("the carry-over of %s does not balance: %v", f.Code, p)
	}
}
