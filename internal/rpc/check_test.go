package rpc

import (
	"context"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	spotcheck "github.com/chuishao/dispatch/internal/check"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/ticket"
)

// closedTicket is a matter of the community, from report to closing.
func closedTicket(t *testing.T, city *dispatchtest.City) string {
	t.Helper()
	name := city.Report(t, dispatchtest.Community)
	city.ToHandling(t, name, dispatchtest.DistrictUrban)
	city.ToClosed(t, name, dispatchtest.DistrictUrban)
	city.Clock.Add(time.Minute)
	return name
}

func TestADrawCanBeMadeAgainFromWhatIsRecordedAndTheTicketsBehindTheFigures(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	c := Config{DevActor: true, Dispatcher: city.Dispatcher}
	viewing(t, city, &c)()
	conn := serve(t, c, c.register)
	views, listings := pb.NewViewServiceClient(conn), pb.NewListingServiceClient(conn)
	from := city.Clock.Now()
	var closed []string
	for range 7 {
		closed = append(closed, closedTicket(t, city))
	}
	city.ToHandling(t, city.Report(t, dispatchtest.Community), dispatchtest.DistrictUrban) // open
	to := city.Clock.Now()
	city.Clock.Add(time.Minute)
	closedTicket(t, city) // after the period
	supervisor := acting(t.Context(), dispatchtest.DistrictCentre, "SUPERVISOR")
	request := &pb.DrawSpotCheckRequest{
		RequestId: "draw", Kind: pb.CheckKind_CHECK_KIND_SPOT_CHECK, Area: dispatchtest.Street, From: timestamppb.New(from), To: timestamppb.New(to), Size: 3,
	}
	drawn, err := listings.DrawSpotCheck(supervisor, request)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := listings.DrawSpotCheck(supervisor, request); err != nil || !again.Repeated || again.Name != drawn.Name {
		t.Errorf("the same request again: %v, %v; want it repeated", again, err)
	}
	sample, err := listings.GetSpotCheck(supervisor, &pb.GetSpotCheckRequest{Name: drawn.Name})
	if err != nil || len(sample.Items) != 3 || sample.Population != 7 || len(sample.Seed) != spotcheck.SeedSize || sample.KnownAt == "" {
		t.Fatalf("got %v, %v", sample, err)
	}
	request.RequestId = "draw again"
	anew, err := listings.DrawSpotCheck(supervisor, request)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := listings.GetSpotCheck(supervisor, &pb.GetSpotCheckRequest{Name: anew.Name}); err != nil || slices.Equal(second.Seed, sample.Seed) {
		t.Errorf("another draw: %v, %v; want another seed", second, err)
	}
	e := &pb.SpotCheckDrawn{Seed: sample.Seed, Population: sample.Population, PopulationHash: sample.PopulationHash}
	for _, item := range sample.Items {
		e.Tickets = append(e.Tickets, strings.TrimPrefix(item.Ticket, "tickets/"))
	}
	// Behind M18, the closings, stand the tickets there were to draw from.
	auditor := acting(t.Context(), dispatchtest.CityCentre, "AUDITOR")
	behind, err := views.ListBehind(auditor, &pb.ListBehindRequest{
		Metric: "M18", Level: "street", Code: dispatchtest.Street, Set: pb.FigureSet_FIGURE_SET_DENOMINATOR, From: request.From, To: request.To, MinConsistencyToken: sample.KnownAt,
	})
	if err != nil {
		t.Fatal(err)
	}
	var population []string
	for _, row := range behind.Tickets {
		population = append(population, strings.TrimPrefix(row.Name, "tickets/"))
	}
	if err := spotcheck.Redraw(e, population); err != nil {
		t.Errorf("drawn again from the tickets behind M18: %v", err)
	}
	for i := range closed {
		closed[i] = strings.TrimPrefix(closed[i], "tickets/")
	}
	if err := spotcheck.Redraw(e, closed); err != nil {
		t.Errorf("drawn again from what was closed: %v", err)
	}
	// And from the history, whatever became of the tickets since.
	known, err := ParseToken("known_at", sample.KnownAt)
	if err != nil {
		t.Fatal(err)
	}
	tickets := map[string]ticket.State{}
	for r, err := range city.Store.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Position > known {
			break
		}
		id, ok := strings.CutPrefix(r.Stream, "ticket-")
		if !ok {
			continue
		}
		d, err := event.Decode(r)
		if err != nil {
			t.Fatal(err)
		}
		if tickets[id], err = ticket.Evolve(tickets[id], d.Meta, d.Event); err != nil {
			t.Fatal(err)
		}
	}
	population = nil
	for id, s := range tickets {
		if s.ClosedIn(request.Area, from, to) {
			population = append(population, id)
		}
	}
	if err := spotcheck.Redraw(e, population); err != nil {
		t.Errorf("drawn again from the history, %s: %v", hex.EncodeToString(sample.PopulationHash), err)
	}
}

func TestConfidentialTicketsAreDrawnAndNamedOnlyForThoseWhoMaySeeThem(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	c := Config{DevActor: true, Dispatcher: city.Dispatcher}
	viewing(t, city, &c)()
	conn := serve(t, c, c.register)
	views, listings := pb.NewViewServiceClient(conn), pb.NewListingServiceClient(conn)
	from := city.Clock.Now()
	open := closedTicket(t, city)
	m := matter("secret")
	m.Confidentiality = pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL
	secret := city.Do(t, dispatchtest.Hotline, m)
	city.ToHandling(t, secret, dispatchtest.DistrictUrban)
	city.ToClosed(t, secret, dispatchtest.DistrictUrban)
	city.Clock.Add(time.Minute)
	draw := func(unit, roles, id string, area string) (context.Context, *pb.SpotCheck) {
		t.Helper()
		ctx := acting(t.Context(), unit, roles)
		drawn, err := listings.DrawSpotCheck(ctx, &pb.DrawSpotCheckRequest{
			RequestId: id, Kind: pb.CheckKind_CHECK_KIND_SPOT_CHECK, Area: area, From: timestamppb.New(from), To: timestamppb.New(city.Clock.Now()), Size: 10,
		})
		if err != nil {
			t.Fatal(err)
		}
		city.Clock.Add(time.Second)
		sample, err := listings.GetSpotCheck(ctx, &pb.GetSpotCheckRequest{Name: drawn.Name})
		if err != nil {
			t.Fatal(err)
		}
		return ctx, sample
	}
	_, whole := draw(dispatchtest.DistrictCentre, "SUPERVISOR", "district", dispatchtest.Community)
	if whole.Population != 2 || len(whole.Items) != 2 || whole.Items[0].Ticket == "" || whole.Items[1].Ticket == "" {
		t.Errorf("the district, above the lead, draws %v; want both", whole)
	}
	// The street has the place, and is not told of the complaint.
	street, part := draw(dispatchtest.Street, "SUPERVISOR", "street", dispatchtest.Community)
	if part.Population != 1 || len(part.Items) != 1 || part.Items[0].Ticket != open {
		t.Errorf("the street draws %v; want %s alone", part, open)
	}
	for _, ask := range []struct {
		unit, roles string
		all         bool
	}{{dispatchtest.Street, "SUPERVISOR", false}, {dispatchtest.DistrictCentre, "SUPERVISOR", true}, {dispatchtest.CityCentre, "AUDITOR", true}, {dispatchtest.OtherUrban, "ASSESSMENT", true}} {
		sample, err := listings.GetSpotCheck(acting(t.Context(), ask.unit, ask.roles), &pb.GetSpotCheckRequest{Name: whole.Name})
		if err != nil {
			t.Errorf("%+v: %v", ask, err)
			continue
		}
		named := 0
		for _, item := range sample.Items {
			if item.Ticket != "" {
				named++
			}
			if item.Ticket == secret && !ask.all {
				t.Errorf("%+v is told of %s", ask, secret)
			}
		}
		if want := map[bool]int{true: 2, false: 1}[ask.all]; named != want {
			t.Errorf("%+v is told of %d tickets, want %d", ask, named, want)
		}
		list, err := views.ListSpotChecks(acting(t.Context(), ask.unit, ask.roles), &pb.ListSpotChecksRequest{Filter: "no = " + whole.No, MinConsistencyToken: whole.ConsistencyToken})
		if err != nil || len(list.SpotChecks) != 1 || len(list.SpotChecks[0].Items) != 2 || list.SpotChecks[0].KnownAt != whole.KnownAt {
			t.Errorf("%+v: listed %v, %v", ask, list, err)
			continue
		}
		for i, item := range list.SpotChecks[0].Items {
			if item.Ticket != sample.Items[i].Ticket {
				t.Errorf("%+v: the list tells of %q, want %q", ask, item.Ticket, sample.Items[i].Ticket)
			}
		}
	}
	_, err := listings.RecordSpotCheck(street, &pb.RecordSpotCheckRequest{Name: whole.Name, RequestId: "look", Ticket: secret})
	if info, _ := details(t, err, codes.PermissionDenied); info.Reason != "OUT_OF_SCOPE" {
		t.Errorf("the street looks at what it may not see: %v", err)
	}
	_, err = listings.GetSpotCheck(acting(t.Context(), dispatchtest.OtherStreet, "STREET_CLERK"), &pb.GetSpotCheckRequest{Name: whole.Name})
	if info, _ := details(t, err, codes.PermissionDenied); info.Reason != "OUT_OF_SCOPE" {
		t.Errorf("another district's clerk sees the sample: %v", err)
	}
}

func TestAListingIsToldToIssuerAndOwnerAndInEveryStatement(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	c := Config{DevActor: true, Dispatcher: city.Dispatcher}
	viewing(t, city, &c)()
	conn := serve(t, c, c.register)
	views, listings := pb.NewViewServiceClient(conn), pb.NewListingServiceClient(conn)
	issuer := acting(t.Context(), dispatchtest.DistrictCentre, "SUPERVISOR")
	listed, err := listings.ListProblem(issuer, &pb.ListProblemRequest{
		RequestId: "list", Origin: pb.ListingOrigin_LISTING_ORIGIN_APPRAISAL, Area: dispatchtest.Community, Owner: dispatchtest.DistrictUrban, Particulars: &pb.Particulars{Text: "背街小巷保洁不到位"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, ask := range []struct {
		unit, roles string
		seen        bool
	}{
		{dispatchtest.DistrictCentre, "SUPERVISOR", true}, {dispatchtest.DistrictUrban, "DEPARTMENT_CLERK", true}, {dispatchtest.CityCentre, "DISPATCHER", true}, {dispatchtest.CityCentre, "AUDITOR", true},
		{dispatchtest.Street, "STREET_CLERK", false}, {dispatchtest.DistrictTraffic, "DEPARTMENT_HEAD", false}, {dispatchtest.OtherDistrict, "SUPERVISOR", false},
	} {
		ctx := acting(t.Context(), ask.unit, ask.roles)
		got, err := listings.GetListing(ctx, &pb.GetListingRequest{Name: listed.Name})
		if (err == nil) != ask.seen || ask.seen && (got.GetParticulars().GetText() == "" || got.Etag != listed.Etag || got.PlanBy == nil || got.Overdue) {
			t.Errorf("%+v: got %v, %v", ask, got, err)
		}
		list, err := views.ListListings(ctx, &pb.ListListingsRequest{MinConsistencyToken: listed.ConsistencyToken})
		if err != nil || len(list.Listings) != map[bool]int{true: 1}[ask.seen] {
			t.Errorf("%+v: listed %v, %v", ask, list, err)
		}
	}
	// A ticket is listed as well.
	name := city.Report(t, dispatchtest.Community)
	city.ToHandling(t, name, dispatchtest.DistrictUrban)
	city.Do(t, dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_SUPERVISOR), &pb.RaiseSupervisionRequest{Name: name, RequestId: "raise", Level: 3, Particulars: &pb.Particulars{Note: "久拖不决"}})
	_, result, err := city.LoadTicket(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	token := Token(result.Position)
	auditor := acting(t.Context(), dispatchtest.CityCentre, "AUDITOR")
	for level, code := range map[string]string{"all": "", "city": "320200000000", "street": dispatchtest.Street, "unit": dispatchtest.DistrictUrban} {
		ledger, err := views.ListLedger(auditor, &pb.ListLedgerRequest{Kind: pb.LedgerKind_LEDGER_KIND_LISTING, Level: level, MinConsistencyToken: token})
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(ledger.Rows, func(r *pb.LedgerRow) bool { return r.Code == code })
		if i < 0 || ledger.Rows[i].Closing != 2 || len(ledger.Rows[i].Issuers) != 2 || ledger.Rows[i].Ages["to_15_days"] != 2 {
			t.Errorf("%s: got %v; want two listed, one by the city and one by the district", level, ledger)
		}
		figures, err := views.ListMetrics(auditor, &pb.ListMetricsRequest{Metric: "M38", Level: level, From: timestamppb.New(city.Clock.Now().AddDate(0, 0, -1)), To: timestamppb.New(city.Clock.Now().AddDate(0, 3, 0)), MinConsistencyToken: token})
		if err != nil {
			t.Fatal(err)
		}
		i = slices.IndexFunc(figures.Figures, func(f *pb.MetricFigure) bool { return f.Code == code })
		if i < 0 || figures.Figures[i].GetDenominator() != 2 || figures.Figures[i].Parts["raised_3"] != 2 || figures.Figures[i].Parts["listed"] != 2 || figures.Figures[i].Parts["city"] != 1 {
			t.Errorf("M38 of %s: got %v", level, figures)
		}
	}
	behind, err := views.ListBehind(auditor, &pb.ListBehindRequest{
		Metric: "M38", Level: "street", Code: dispatchtest.Street, Set: pb.FigureSet_FIGURE_SET_DENOMINATOR, MinConsistencyToken: token, To: timestamppb.New(city.Clock.Now().AddDate(0, 3, 0)),
	})
	if err != nil || behind.TotalSize != 2 || len(behind.Tickets) != 2 || behind.Tickets[0].Name != listed.Name || behind.Tickets[1].Name != name {
		t.Errorf("behind M38: %v, %v; want the listing and the ticket", behind, err)
	}
	city.Clock.Add(60 * 24 * time.Hour)
	if got, err := listings.GetListing(issuer, &pb.GetListingRequest{Name: listed.Name}); err != nil || !got.Overdue {
		t.Errorf("sixty days later: %v, %v; want it overdue", got, err)
	}
}
