package rpc

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/view"
)

func TestStagesLedgersAndEveryMetricCanBeAskedFor(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	c := Config{DevActor: true, Dispatcher: city.Dispatcher}
	run := viewing(t, city, &c)
	conn := serve(t, c, c.register)
	views, tickets := pb.NewViewServiceClient(conn), pb.NewTicketServiceClient(conn)
	agent := acting(t.Context(), dispatchtest.CityCentre, "AGENT,DISPATCHER")
	run()

	reported, err := tickets.ReportTicket(agent, matter("one"))
	if err != nil {
		t.Fatal(err)
	}
	city.Clock.Add(time.Hour)
	accepted, err := tickets.AcceptTicket(agent, &pb.AcceptTicketRequest{Name: reported.Name, RequestId: "accept"})
	if err != nil {
		t.Fatal(err)
	}
	stages, err := views.ListStages(agent, &pb.ListStagesRequest{Level: "street", MinConsistencyToken: accepted.ConsistencyToken})
	if err != nil || len(stages.Rows) != 1 || stages.ConsistencyToken != accepted.ConsistencyToken {
		t.Fatalf("stages: %v, %v; want one row", stages, err)
	}
	if row := stages.Rows[0]; row.Code != dispatchtest.Street || row.Stage != pb.Stage_STAGE_RECEIVE || row.Stays != 1 || row.Hours != 1 {
		t.Errorf("got %v; want one hour until acceptance", row)
	}
	for _, kind := range []pb.LedgerKind{pb.LedgerKind_LEDGER_KIND_SUSPENSION, pb.LedgerKind_LEDGER_KIND_LISTING} {
		ledger, err := views.ListLedger(agent, &pb.ListLedgerRequest{Kind: kind, Level: "all"})
		if err != nil || len(ledger.Rows) != 0 {
			t.Errorf("%v: got %v, %v; want nothing in it", kind, ledger, err)
		}
	}
	for _, metric := range view.MetricNames {
		figures, err := views.ListMetrics(agent, &pb.ListMetricsRequest{Metric: metric, Level: "all", MinConsistencyToken: accepted.ConsistencyToken})
		if err != nil {
			t.Errorf("%s: %v", metric, err)
		}
		for _, f := range figures.GetFigures() {
			if (f.Rate == nil) != (f.GetDenominator() == 0) {
				t.Errorf("%s: rate %v of %d", metric, f.Rate, f.GetDenominator())
			}
		}
	}
	repeats, err := views.ListMetrics(agent, &pb.ListMetricsRequest{Metric: "M05", Level: "all"})
	if err != nil || len(repeats.Figures) != 1 || repeats.Figures[0].GetDenominator() != 1 {
		t.Errorf("M05: %v, %v; want one accepted", repeats, err)
	}
	behind, err := views.ListBehind(acting(t.Context(), dispatchtest.CityCentre, "AUDITOR"), &pb.ListBehindRequest{
		Metric: "M05", Level: "all", Set: pb.FigureSet_FIGURE_SET_DENOMINATOR,
	})
	if err != nil || behind.TotalSize != 1 || len(behind.Tickets) != 1 || behind.Tickets[0].Name != reported.Name {
		t.Errorf("behind M05: %v, %v; want the ticket", behind, err)
	}

	// As of before the acceptance, and as known before it was recorded, there was none.
	auditor, before := acting(t.Context(), dispatchtest.CityCentre, "AUDITOR"), timestamppb.New(city.Clock.Now().Add(-time.Minute))
	for what, q := range map[string]*pb.ListStagesRequest{"as of": {Level: "all", AsOf: before}, "known at": {Level: "all", KnownAt: reported.ConsistencyToken}} {
		if stages, err := views.ListStages(agent, q); err != nil || len(stages.Rows) != 0 {
			t.Errorf("stages %s: got %v, %v; want none", what, stages, err)
		}
	}
	for token, want := range map[string]int64{reported.ConsistencyToken: 0, accepted.ConsistencyToken: 1} {
		behind, err := views.ListBehind(auditor, &pb.ListBehindRequest{Metric: "M05", Level: "all", Set: pb.FigureSet_FIGURE_SET_DENOMINATOR, KnownAt: token})
		if err != nil || behind.TotalSize != want || len(behind.Tickets) != int(want) || behind.ConsistencyToken != token {
			t.Errorf("behind M05 as known at %s: %v, %v; want %d", token, behind, err, want)
		}
	}
	// On today's map all of it lies where the community is now.
	city.Clock.Add(time.Hour)
	published := Token(recode(t, city).Position)
	for mode, want := range map[pb.AreaMode]int64{pb.AreaMode_AREA_MODE_UNSPECIFIED: 0, pb.AreaMode_AREA_MODE_AT_ACCEPTANCE: 0, pb.AreaMode_AREA_MODE_RESTATED: 1} {
		closure, err := views.GetClosure(agent, &pb.GetClosureRequest{Level: "community", Code: recoded, AreaMode: mode, MinConsistencyToken: published})
		if err != nil || closure.Row.Figures.Total != want {
			t.Errorf("%v: got %v, %v; want %d", mode, closure, err, want)
		}
		stages, err := views.ListStages(agent, &pb.ListStagesRequest{Level: "community", Area: recoded, AreaMode: mode, MinConsistencyToken: published})
		if err != nil || int64(len(stages.Rows)) != want {
			t.Errorf("%v: got stages %v, %v; want %d", mode, stages, err, want)
		}
		behind, err := views.ListBehind(auditor, &pb.ListBehindRequest{
			Metric: "closure", Level: "community", Code: recoded, Set: pb.FigureSet_FIGURE_SET_DENOMINATOR, AreaMode: mode, MinConsistencyToken: published,
		})
		if want == 1 && (err != nil || behind.TotalSize != 1 || len(behind.Tickets) != 1) || want == 0 && err == nil {
			t.Errorf("%v: behind it got %v, %v; want %d", mode, behind, err, want)
		}
	}

	late, early := timestamppb.New(city.Clock.Now()), timestamppb.New(city.Clock.Now().Add(-time.Hour))
	for field, err := range map[string]error{
		"kind":       refusalOf(views.ListLedger(agent, &pb.ListLedgerRequest{Level: "all"})),
		"to":         refusalOf(views.ListStages(agent, &pb.ListStagesRequest{Level: "all", From: late, To: early})),
		"page_token": refusalOf(views.ListStages(agent, &pb.ListStagesRequest{Level: "all", PageToken: "x"})),
		"known_at":   refusalOf(views.ListLedger(agent, &pb.ListLedgerRequest{Level: "all", Kind: pb.LedgerKind_LEDGER_KIND_LISTING, KnownAt: "x"})),
		"metric":     refusalOf(views.ListBehind(agent, &pb.ListBehindRequest{Metric: "M25", Level: "all", Set: pb.FigureSet_FIGURE_SET_NUMERATOR})),
	} {
		if info, _ := details(t, err, codes.InvalidArgument); info.Metadata["field"] != field {
			t.Errorf("%v; want a refusal of %s", err, field)
		}
	}
}

// dispatchtest.Start is nine o'clock of a working Wednesday, until the day is said to be a holiday.
func TestOfficeHoursAreThoseOfTheCalendarAsItWasKnown(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	c := Config{DevActor: true, Dispatcher: city.Dispatcher}
	run := viewing(t, city, &c)
	conn := serve(t, c, c.register)
	views := pb.NewViewServiceClient(conn)
	clerk := dispatchtest.As(dispatchtest.DistrictUrban, pb.Role_ROLE_DEPARTMENT_CLERK)
	run()
	name := city.Report(t, dispatchtest.Community)
	city.ToHandling(t, name, dispatchtest.DistrictUrban)
	city.Clock.Add(4 * time.Hour) // until one: noon begins at twelve
	city.Do(t, clerk, &pb.RecordContactRequest{Name: name, RequestId: city.RequestID(), Channel: "phone", Reached: true})
	city.Do(t, clerk, &pb.SubmitResultRequest{Name: name, RequestId: city.RequestID(), Result: pb.ResultCode_RESULT_CODE_RESOLVED, Particulars: &pb.Particulars{Reply: "已修复"}})
	head, err := city.Store.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before := Token(head)
	worked := func(known string) float64 {
		t.Helper()
		at, err := city.Store.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		figures, err := views.ListMetrics(acting(t.Context(), dispatchtest.CityCentre, "AGENT"), &pb.ListMetricsRequest{Metric: "M21", Level: "all", KnownAt: known, MinConsistencyToken: Token(at)})
		if err != nil || len(figures.Figures) != 1 || figures.Figures[0].GetMeanHours() != 4 {
			t.Fatalf("got %v, %v; want a mean of 4 hours", figures, err)
		}
		f := figures.Figures[0]
		if f.WorkingMeanHours == nil || f.GetWorkingMedianHours() != f.GetWorkingMeanHours() || f.GetWorkingP90Hours() != f.GetWorkingMeanHours() {
			t.Fatalf("got %v; want the office hours of one result", f)
		}
		return f.GetWorkingMeanHours()
	}
	if got := worked(""); got != 3 {
		t.Errorf("%v hours were office hours, want 3", got)
	}
	year, _, err := city.Dispatcher.LoadCalendarYear(t.Context(), dispatchtest.System, &pb.LoadCalendarYearRequest{
		RequestId: "holiday", Year: int32(dispatchtest.Start.Year()), Off: []string{dispatchtest.Start.Format(time.DateOnly)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if working, _, err := year.WorkingDay(dispatchtest.Start); err != nil || working {
		t.Fatalf("the day is still a working day: %v", err)
	}
	if got := worked(""); got != 0 {
		t.Errorf("%v hours of a holiday were office hours", got)
	}
	if got := worked(before); got != 3 {
		t.Errorf("as it was known %v hours were office hours, want 3", got)
	}
}
