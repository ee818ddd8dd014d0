package view_test

import (
	"fmt"
	"testing"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/view"
)

// due makes n tickets at a path, dispatched with a close_by and closed or not.
func (h *history) due(n, closed, late int, reported, closeBy time.Time, steps ...string) {
	for i := range n {
		stream := fmt.Sprintf("ticket-%d", h.n)
		list := []happened{
			{reported, &pb.TicketReported{No: stream, Channel: pb.Channel_CHANNEL_HOTLINE, Path: path(steps...)}},
			{reported.Add(time.Minute), &pb.TicketAccepted{Path: path(steps...)}},
			{reported.Add(2 * time.Minute), &pb.TicketDispatched{Lead: "d1", LeadPath: []string{"root", "d1"}, Round: 1, Hop: 1, HandleBy: at(closeBy.Add(-time.Hour)), CloseBy: at(closeBy)}},
		}
		switch {
		case i < closed-late:
			list = append(list, happened{closeBy, &pb.TicketClosed{Kind: pb.CloseKind_CLOSE_KIND_SOLVED}})
		case i < closed:
			list = append(list, happened{closeBy.Add(time.Hour), &pb.TicketClosed{Kind: pb.CloseKind_CLOSE_KIND_SOLVED}})
		}
		h.record(stream, list...)
	}
}

func TestChildrenAndDirectRowAddUpToTheParent(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	by := day0.AddDate(0, 0, 9)
	h.due(956, 902, 0, day0, by, "c", "d", "s", "x")
	h.due(16, 9, 0, day0, by, "c", "d", "s", "y")
	h.due(1, 0, 0, day0, by, "c", "d", "s")
	h.record("ticket-z", happened{day0, &pb.TicketReported{No: "z", Path: path("c", "d", "s", "z")}})
	r := h.reader()
	month := view.MetricQuery{Metric: "M12", From: day0, To: day0.AddDate(0, 1, 0), At: day0.AddDate(0, 1, 0)}

	for _, level := range []string{"street", "district", "city"} {
		q := month
		q.Level, q.Code = level, level[:1]
		got, _, err := r.MetricOf(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if got.Numerator != 911 || got.GetDenominator() != 973 || fmt.Sprintf("%.2f", 100*got.GetRate()) != "93.63" {
			t.Errorf("%s: got %v, want 911/973 = 93.63 %%", level, got)
		}
	}
	q := month
	q.Level, q.Code = "community", "z"
	if got, _, err := r.MetricOf(t.Context(), q); err != nil || got.Rate != nil || got.GetDenominator() != 0 {
		t.Errorf("nothing due: got %v, %v, want no rate", got, err)
	}
	q.Level, q.Code = "direct", "s"
	if got, _, err := r.MetricOf(t.Context(), q); err != nil || got.Numerator != 0 || got.GetDenominator() != 1 {
		t.Errorf("direct: got %v, %v, want 0/1", got, err)
	}
	rows, _, _, err := r.ListClosure(t.Context(), view.ClosureQuery{Level: "community", Area: "s", At: by, WithDirect: true})
	if err != nil {
		t.Fatal(err)
	}
	var sum pb.ClosureFigures
	for _, row := range rows {
		sum.Total += row.Figures.Total
		sum.Closed += row.Figures.Closed
	}
	parent, _, err := r.ClosureAt(t.Context(), view.ClosureQuery{Level: "street", Code: "s", At: by})
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 4 || !rows[3].Direct || rows[3].Level != "street" || rows[3].Path != "nc/nd/ns" || rows[3].Figures.Total != 1 {
		t.Errorf("got rows %v, want x, y, z and the direct row of the street", rows)
	}
	if sum.Total != parent.Figures.Total || sum.Closed != parent.Figures.Closed {
		t.Errorf("children have %d/%d, the parent %d/%d", sum.Closed, sum.Total, parent.Figures.Closed, parent.Figures.Total)
	}
}

func TestPublishedBulletinsComeOutOfTheCounters(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	by := day0.AddDate(0, 0, 20)
	// Tianmen: 1,054 accepted, 996 filed, 972 due, 911 closed, 737 of them in time.
	h.due(956, 902, 171, day0, by, "c", "incidents")
	h.due(16, 9, 3, day0, by, "c", "components")
	h.due(24, 0, 0, day0, by.AddDate(0, 1, 0), "c", "incidents")
	for i := range 1054 - 996 {
		h.record(fmt.Sprintf("ticket-direct-%d", i),
			happened{day0, &pb.TicketReported{No: "a", Path: path("c", "incidents")}},
			happened{day0.Add(time.Minute), &pb.TicketAccepted{Path: path("c", "incidents")}},
			happened{day0.Add(2 * time.Minute), &pb.TicketAnsweredDirectly{}})
	}
	r := h.reader()
	end := day0.AddDate(0, 1, 0)
	for _, c := range []struct {
		metric, level, code string
		num, den            int64
		rate                string
	}{
		{"M01", "city", "c", 1054, 0, ""},
		{"M02", "city", "c", 1054, 1054, "100.00"},
		{"M04", "city", "c", 996, 0, ""},
		{"M12", "city", "c", 911, 972, "93.72"},
		{"M13", "city", "c", 737, 972, "75.82"},
		{"M12", "district", "incidents", 902, 956, "94.35"},
		{"M12", "district", "components", 9, 16, "56.25"},
		{"M12", "unit", "root", 911, 972, "93.72"},
		{"M12", "channel", "CHANNEL_HOTLINE", 911, 972, "93.72"},
		{"M14", "all", "", 911 + 58, 1054, "91.94"},
		{"M15", "city", "c", 972 - 911, 0, ""},
	} {
		got, _, err := r.MetricOf(t.Context(), view.MetricQuery{Metric: c.metric, Level: c.level, Code: c.code, From: day0, To: end, At: end})
		if err != nil {
			t.Fatal(err)
		}
		rate := ""
		if got.Rate != nil {
			rate = fmt.Sprintf("%.2f", 100**got.Rate)
		}
		if got.Numerator != c.num || got.GetDenominator() != c.den || rate != c.rate {
			t.Errorf("%s of %s %s: got %v, want %d/%d = %s", c.metric, c.level, c.code, got, c.num, c.den, c.rate)
		}
	}
	// The same tickets, one by one.
	q := view.BehindQuery{Metric: "M13", Level: "city", Code: "c", Set: pb.FigureSet_FIGURE_SET_NUMERATOR, From: day0, To: end, At: end, PageSize: 500}
	seen := map[string]bool{}
	for {
		page, next, total, _, err := r.ListBehind(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if total != 737 {
			t.Fatalf("got a total of %d, want 737", total)
		}
		for _, b := range page {
			seen[b.Name] = true
		}
		if next == "" {
			break
		}
		q.PageToken = next
	}
	if len(seen) != 737 {
		t.Errorf("got %d tickets behind the numerator, want 737", len(seen))
	}
}

func TestNoTicketNoRow(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	h.due(3, 1, 0, day0.Add(12*time.Hour), day0.AddDate(0, 0, 3), "c", "d")
	r := h.reader()
	rows, _, _, err := r.ListClosure(t.Context(), view.ClosureQuery{Level: "district", At: day0.Add(12*time.Hour - time.Microsecond)})
	if err != nil || len(rows) != 0 {
		t.Errorf("before the report: got %v, %v, want no row", rows, err)
	}
	rows, _, _, err = r.ListClosure(t.Context(), view.ClosureQuery{Level: "district", At: day0.Add(12 * time.Hour)})
	if err != nil || len(rows) != 1 || rows[0].Figures.Total != 3 {
		t.Errorf("at the report: got %v, %v, want three tickets", rows, err)
	}
	all, _, err := r.ClosureAt(t.Context(), view.ClosureQuery{Level: "all", At: day0.AddDate(0, 0, 3), WithMedian: true})
	if err != nil || all.Figures.Closed != 1 || all.Figures.GetMedianHoursToClose() != 60 || all.Code != "" || all.Name != "" {
		t.Errorf("all: got %v, %v, want one closed after 60 hours", all, err)
	}
}
