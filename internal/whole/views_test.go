package whole

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

func closureAt(level string, at time.Time, token string) *pb.ListClosureRequest {
	return &pb.ListClosureRequest{Level: level, AsOf: timestamppb.New(at), WithMedian: true, PageSize: 10_000, MinConsistencyToken: token}
}

// lastOf is the last event of the history.
func lastOf(t testing.TB, c client) *pb.HistoryEvent {
	t.Helper()
	all := history(t, c, &pb.StreamHistoryRequest{})
	if len(all) == 0 {
		t.Fatal("the history is empty")
	}
	return all[len(all)-1]
}

// levels are those that figures are compared at.
var levels = []string{"all", "city", "district", "street", "community", "unit", "category", "channel"}

// metrics are those that a view counts.
var metrics = []string{"M01", "M02", "M04", "M12", "M13", "M14", "M15", "M16"}

// figures are all closure figures and metrics as of an instant, as they were known at a position.
func figures(t testing.TB, c client, at time.Time, knownAt, token string) (all []string) {
	t.Helper()
	for _, level := range levels {
		q := closureAt(level, at, token)
		q.KnownAt = knownAt
		for {
			page, err := c.ListClosure(auditor(t.Context()), q)
			if err != nil {
				t.Fatalf("closure of %s at %v: %v", level, at, err)
			}
			for _, row := range page.Rows {
				if row.Figures.Total > 0 {
					all = append(all, fmt.Sprintf("%s %s %s %s", level, row.Code, row.Path, line(row.Figures)))
				}
			}
			if q.PageToken = page.NextPageToken; q.PageToken == "" {
				break
			}
		}
	}
	for _, metric := range metrics {
		page, err := c.ListMetrics(auditor(t.Context()), &pb.ListMetricsRequest{
			Metric: metric, Level: "district", AsOf: timestamppb.New(at), KnownAt: knownAt, MinConsistencyToken: token, PageSize: 10_000,
		})
		if err != nil {
			t.Fatalf("%s at %v: %v", metric, at, err)
		}
		for _, f := range page.Figures {
			all = append(all, fmt.Sprintf("%s %s %d/%d %v %v", metric, f.Code, f.Numerator, f.GetDenominator(), f.Excluded, f.Parts))
		}
	}
	return all
}

func line(f *pb.ClosureFigures) string {
	number := func(p *float64) string {
		if p == nil {
			return "-"
		}
		return fmt.Sprint(*p)
	}
	return fmt.Sprint(f.Total, f.Closed, number(f.ClosureRate), f.DueTotal, f.ClosedWithinDue, f.ClosedLate, f.OpenOverdue, number(f.WithinDueRate), number(f.MedianHoursToClose))
}

// differ says where two lists differ first; empty if nowhere.
func differ(got, want []string) string {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return "missing: " + want[i]
		case i >= len(want):
			return "too many: " + got[i]
		case got[i] != want[i]:
			return fmt.Sprintf("%s; want %s", got[i], want[i])
		}
	}
	return ""
}
