package rpc

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/view"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// viewing adds views to a server's config. run starts the projector, which ends with the test.
func viewing(t testing.TB, city *dispatchtest.City, c *Config) (run func()) {
	t.Helper()
	_, run = viewingIn(t, city, c)
	return run
}

// viewingIn also gives the database that the views are in.
func viewingIn(t testing.TB, city *dispatchtest.City, c *Config) (db *viewdb.DB, run func()) {
	t.Helper()
	db, err := viewdb.Open(filepath.Join(t.TempDir(), "views.db"), viewdb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	running, err := projector.Open(t.Context(), city.Store, db, projector.Options{Now: city.Clock.Now}, view.All(city.Zone())...)
	if err != nil {
		t.Fatal(err)
	}
	c.Projector, c.Views = running, view.NewReader(db, city.Store)
	return db, func() {
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- running.Run(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
}

func TestAQuerySeesTheCommandWhoseTokenItIsGiven(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	c := Config{DevActor: true, Dispatcher: city.Dispatcher}
	run := viewing(t, city, &c)
	conn := serve(t, c, c.register)
	views, tickets := pb.NewViewServiceClient(conn), pb.NewTicketServiceClient(conn)
	agent := acting(t.Context(), dispatchtest.CityCentre, "AGENT,DISPATCHER")

	reported, err := tickets.ReportTicket(agent, matter("r-1"))
	if err != nil {
		t.Fatal(err)
	}
	q := &pb.GetClosureRequest{Level: "all", MinConsistencyToken: reported.ConsistencyToken}
	hurried, cancel := context.WithTimeout(agent, 50*time.Millisecond)
	defer cancel()
	_, err = pb.NewViewServiceClient(serveWithin(c)).GetClosure(hurried, q)
	if info, _ := details(t, err, codes.Unavailable); info.Reason != "VIEW_BEHIND" {
		t.Errorf("while no projector runs: %v; want VIEW_BEHIND", err)
	}
	run()
	got, err := views.GetClosure(agent, q)
	if err != nil || got.Row.GetFigures().GetTotal() != 1 || got.AsOf == nil || got.ConsistencyToken == "" {
		t.Fatalf("closure: %v, %v", got, err)
	}

	for i := range 5 {
		if reported, err = tickets.ReportTicket(agent, matter(fmt.Sprintf("more-%d", i))); err != nil {
			t.Fatal(err)
		}
	}
	for _, list := range []struct {
		who  context.Context
		want int
	}{
		{acting(t.Context(), dispatchtest.CityCentre, "AUDITOR"), 6},
		{acting(t.Context(), dispatchtest.CityCentre, "DISPATCHER"), 6},
		{acting(t.Context(), dispatchtest.Street, "STREET_CLERK"), 6},
		{acting(t.Context(), dispatchtest.OtherStreet, "STREET_CLERK"), 0},
		{acting(t.Context(), dispatchtest.DistrictUrban, "DEPARTMENT_CLERK"), 0},
	} {
		q := &pb.ListTicketsRequest{PageSize: 4, MinConsistencyToken: reported.ConsistencyToken}
		n := 0
		for {
			page, err := views.ListTickets(list.who, q)
			if err != nil {
				t.Fatal(err)
			}
			n += len(page.Tickets)
			if q.PageToken = page.NextPageToken; q.PageToken == "" {
				break
			}
		}
		if n != list.want {
			t.Errorf("lists hold %d tickets; want %d", n, list.want)
		}
	}

	// Pages of a question about now are all about the now of the first.
	closure := &pb.ListClosureRequest{Level: "community", PageSize: 1, MinConsistencyToken: reported.ConsistencyToken}
	other := matter("other")
	other.Area = dispatchtest.OtherStreet
	if _, err := tickets.ReportTicket(agent, other); err != nil {
		t.Fatal(err)
	}
	closure.Level = "district"
	last, err := tickets.ReportTicket(agent, matter("last"))
	if err != nil {
		t.Fatal(err)
	}
	closure.MinConsistencyToken = last.ConsistencyToken
	first, err := views.ListClosure(agent, closure)
	if err != nil || len(first.Rows) != 1 || first.NextPageToken == "" {
		t.Fatalf("first page: %v, %v", first, err)
	}
	city.Clock.Add(time.Hour)
	closure.PageToken = first.NextPageToken
	second, err := views.ListClosure(agent, closure)
	if err != nil || len(second.Rows) != 1 || !second.AsOf.AsTime().Equal(first.AsOf.AsTime()) {
		t.Errorf("second page: %v, %v; want as of %v", second, err, first.AsOf.AsTime())
	}

	timeline, err := views.ListTimeline(agent, &pb.ListTimelineRequest{Name: reported.Name})
	if err != nil || len(timeline.Entries) != 1 || timeline.Entries[0].State != pb.TicketState_TICKET_STATE_REPORTED {
		t.Errorf("timeline: %v, %v", timeline, err)
	}
	behind, err := views.ListBehind(agent, &pb.ListBehindRequest{Metric: "closure", Level: "all", Set: pb.FigureSet_FIGURE_SET_DENOMINATOR, PageSize: 2})
	if err != nil || behind.TotalSize != 8 || len(behind.Tickets) != 2 {
		t.Errorf("behind: %v, %v; want 8", behind, err)
	}
	for _, list := range []struct {
		unit, roles string
		want        int
	}{
		{dispatchtest.CityCentre, "AGENT", 8},
		{dispatchtest.Street, "STREET_CLERK", 7},
		{dispatchtest.OtherStreet, "STREET_CLERK", 1},
		{dispatchtest.OtherStreet, "ASSESSMENT", 8},
		{dispatchtest.OtherStreet, "AUDITOR", 8},
		{dispatchtest.DistrictUrban, "DEPARTMENT_CLERK", 0},
	} {
		q := &pb.ListBehindRequest{Metric: "closure", Level: "all", Set: pb.FigureSet_FIGURE_SET_DENOMINATOR, PageSize: 3}
		names := map[string]bool{}
		for {
			page, err := views.ListBehind(acting(t.Context(), list.unit, list.roles), q)
			if err != nil {
				t.Fatal(err)
			}
			if page.TotalSize != 8 || len(page.Tickets) > 3 {
				t.Errorf("behind, to %s of %s: %d rows of %d in all; want at most 3 of 8", list.roles, list.unit, len(page.Tickets), page.TotalSize)
			}
			for _, row := range page.Tickets {
				names[row.Name] = true
			}
			if q.PageToken = page.NextPageToken; q.PageToken == "" {
				break
			}
		}
		if len(names) != list.want {
			t.Errorf("behind, to %s of %s: %d tickets; want %d", list.roles, list.unit, len(names), list.want)
		}
	}
	if metrics, err := views.ListMetrics(agent, &pb.ListMetricsRequest{Metric: "M01", Level: "all"}); err != nil || len(metrics.Figures) != 1 {
		t.Errorf("metrics: %v, %v", metrics, err)
	}
	if whistles, err := views.ListWhistles(agent, &pb.ListWhistlesRequest{}); err != nil || len(whistles.Whistles) != 0 {
		t.Errorf("whistles: %v, %v", whistles, err)
	}
	if list, err := views.ListViews(agent, &pb.ListViewsRequest{}); err != nil || len(list.Views) != len(view.All(city.Zone())) {
		t.Errorf("views: %v, %v", list, err)
	}

	for field, err := range map[string]error{
		"min_consistency_token": refusalOf(views.GetClosure(agent, &pb.GetClosureRequest{Level: "all", MinConsistencyToken: "7"})),
		"known_at":              refusalOf(views.GetClosure(agent, &pb.GetClosureRequest{Level: "all", KnownAt: "x"})),
		"page_token":            refusalOf(views.ListClosure(agent, &pb.ListClosureRequest{Level: "all", PageToken: "x"})),
		"filter":                refusalOf(views.ListTickets(agent, &pb.ListTicketsRequest{Filter: "color = 1"})),
		"order_by":              refusalOf(views.ListTickets(agent, &pb.ListTicketsRequest{OrderBy: "color"})),
		"metric":                refusalOf(views.ListMetrics(agent, &pb.ListMetricsRequest{Metric: "M99", Level: "all"})),
	} {
		if info, _ := details(t, err, codes.InvalidArgument); info.Metadata["field"] != field {
			t.Errorf("%v; want a refusal of %s", err, field)
		}
	}
}

// refusalOf leaves out the answer.
func refusalOf[T any](_ T, err error) error { return err }

func TestAnAreaWhereNothingWasReportedHasARowOfNothing(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	c := Config{DevActor: true, Dispatcher: city.Dispatcher}
	viewing(t, city, &c)
	views := pb.NewViewServiceClient(serve(t, c, c.register))
	agent := acting(t.Context(), dispatchtest.CityCentre, "AGENT")
	got, err := views.GetClosure(agent, &pb.GetClosureRequest{Level: "street", Code: dispatchtest.Street})
	if err != nil || got.Row.GetName() != "东亭街道" || got.Row.GetPath() != "无锡市/锡山区/东亭街道" || got.Row.GetFigures().GetTotal() != 0 || got.Row.Figures.ClosureRate != nil {
		t.Errorf("got %v, %v", got, err)
	}
	for _, q := range []*pb.GetClosureRequest{{Level: "district", Code: dispatchtest.Street}, {Level: "street", Code: "1"}} {
		_, err := views.GetClosure(agent, q)
		details(t, err, codes.NotFound)
	}
}

func TestAQueryOfTheHistoryWaitsForItsTokenToo(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	c := Config{DevActor: true, Dispatcher: city.Dispatcher}
	tickets := pb.NewTicketServiceClient(serve(t, c, c.register))
	agent := acting(t.Context(), dispatchtest.CityCentre, "AGENT,DISPATCHER")
	reported, err := tickets.ReportTicket(agent, matter("r-1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tickets.GetTicket(agent, &pb.GetTicketRequest{Name: reported.Name, MinConsistencyToken: reported.ConsistencyToken}); err != nil {
		t.Error(err)
	}
	hurried, cancel := context.WithTimeout(agent, 50*time.Millisecond)
	defer cancel()
	_, err = pb.NewTicketServiceClient(serveWithin(c)).GetTicket(hurried, &pb.GetTicketRequest{Name: reported.Name, MinConsistencyToken: Token(1 << 40)})
	if info, _ := details(t, err, codes.Unavailable); info.Reason != "VIEW_BEHIND" {
		t.Errorf("got %v; want VIEW_BEHIND", err)
	}
	_, err = tickets.GetTicket(agent, &pb.GetTicketRequest{Name: reported.Name, MinConsistencyToken: "!"})
	if info, _ := details(t, err, codes.InvalidArgument); info.Metadata["field"] != "min_consistency_token" {
		t.Errorf("got %v; want the field named", err)
	}
}

func TestAWatchTellsOfChangesAndEndsWhenTheServerStops(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	stopping := make(chan struct{})
	c := Config{DevActor: true, Dispatcher: city.Dispatcher, Stopping: stopping}
	viewing(t, city, &c)()
	conn := serve(t, c, c.register)
	agent := acting(t.Context(), dispatchtest.CityCentre, "AGENT")
	tickets := pb.NewTicketServiceClient(conn)
	report := func(id string) string {
		t.Helper()
		answer, err := tickets.ReportTicket(agent, matter(id))
		if err != nil {
			t.Fatal(err)
		}
		return answer.ConsistencyToken
	}
	if _, err := pb.NewViewServiceClient(conn).GetClosure(agent, &pb.GetClosureRequest{Level: "all", MinConsistencyToken: report("1")}); err != nil {
		t.Fatal(err)
	}
	stream, err := pb.NewViewServiceClient(conn).WatchClosure(agent, &pb.WatchClosureRequest{Level: "all"})
	if err != nil {
		t.Fatal(err)
	}
	seen := int64(0)
	for i := 2; seen < 3; i++ {
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if n := m.Row.Figures.Total; n <= seen {
			t.Errorf("total went from %d to %d", seen, n)
		} else {
			seen = n
		}
		if seen < 3 {
			report(fmt.Sprint(i))
		}
	}
	close(stopping)
	_, err = stream.Recv()
	if info, _ := details(t, err, codes.Unavailable); info.Reason != "SERVER_STOPPING" {
		t.Errorf("at the end: %v", err)
	}
}
