package rpc

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
)

// deskOf is a desk as somebody sees it who keeps what they were told.
type deskOf struct {
	stream   grpc.ServerStreamingClient[pb.WatchDeskResponse]
	whistles map[string]*pb.WhistleRow
	counts   *pb.DeskCounts
	told     [][]string // the whistles that each message named
}

func watchDesk(t *testing.T, ctx context.Context, conn grpc.ClientConnInterface, unit, token string) *deskOf {
	t.Helper()
	stream, err := pb.NewViewServiceClient(conn).WatchDesk(ctx, &pb.WatchDeskRequest{Unit: unit, MinConsistencyToken: token})
	if err != nil {
		t.Fatal(err)
	}
	return &deskOf{stream: stream, whistles: map[string]*pb.WhistleRow{}}
}

// until takes in what is told until something holds.
func (d *deskOf) until(t *testing.T, holds func() bool) {
	t.Helper()
	for d.counts == nil || !holds() {
		m, err := d.stream.Recv()
		if err != nil {
			t.Fatalf("%v; the desk had %v, %v", err, d.whistles, d.counts)
		}
		var named []string
		for _, w := range m.Whistles {
			d.whistles[w.Name] = w
			named = append(named, w.Name)
		}
		for _, name := range m.Ended {
			if d.whistles[name] == nil {
				t.Errorf("%s ended, of which nothing was told", name)
			}
			delete(d.whistles, name)
		}
		if d.counts = m.Counts; d.counts == nil || m.AsOf == nil || m.ConsistencyToken == "" {
			t.Errorf("a message without counts, instant or token: %v", m)
		}
		d.told = append(d.told, named)
	}
}

// blown blows a whistle for the street and gives its name.
func blown(t *testing.T, street context.Context, conn grpc.ClientConnInterface, id string, units ...string) *pb.WhistleAnswer {
	t.Helper()
	q := &pb.BlowWhistleRequest{RequestId: id, Kind: pb.WhistleKind_WHISTLE_KIND_EMERGENCY, Area: dispatchtest.Street, Particulars: &pb.Particulars{Text: "水管爆裂"}}
	for _, u := range units {
		q.Summons = append(q.Summons, &pb.Summons{Unit: u})
	}
	answer, err := pb.NewWhistleServiceClient(conn).BlowWhistle(street, q)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func TestADeskSeesWhatGoesOnInItsUnitAndBelow(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	stopping := make(chan struct{})
	c := Config{DevActor: true, Dispatcher: city.Dispatcher, Stopping: stopping}
	viewing(t, city, &c)()
	conn := serve(t, c, c.register)
	whistles := pb.NewWhistleServiceClient(conn)
	street, urban, traffic := acting(t.Context(), dispatchtest.Street, "STREET_CLERK,STREET_LEADER"), acting(t.Context(), dispatchtest.DistrictUrban, "DEPARTMENT_CLERK"), acting(t.Context(), dispatchtest.DistrictTraffic, "DEPARTMENT_CLERK")
	first := blown(t, street, conn, "w-1", dispatchtest.DistrictUrban, dispatchtest.DistrictTraffic)
	second := blown(t, street, conn, "w-2", dispatchtest.DistrictTraffic)

	desks := map[string]*deskOf{
		"the street's":                         watchDesk(t, street, conn, "", second.ConsistencyToken),
		"the district centre's, of the street": watchDesk(t, acting(t.Context(), dispatchtest.DistrictCentre, "DISPATCHER"), conn, dispatchtest.Street, second.ConsistencyToken),
		"the city centre's":                    watchDesk(t, acting(t.Context(), dispatchtest.CityCentre, "SUPERVISOR"), conn, "", second.ConsistencyToken),
		"the traffic department's":             watchDesk(t, traffic, conn, "", second.ConsistencyToken),
	}
	for name, d := range desks {
		d.until(t, func() bool { return true })
		if len(d.whistles) != 2 || d.counts.Whistles != 2 || d.counts.Awaited != 3 || d.counts.Arrived+d.counts.Late+d.counts.Absent != 0 {
			t.Errorf("%s desk begins with %v, %v; want two whistles and three who are awaited", name, d.whistles, d.counts)
		}
	}
	few := watchDesk(t, urban, conn, "", second.ConsistencyToken)
	none := watchDesk(t, acting(t.Context(), dispatchtest.OtherStreet, "STREET_CLERK"), conn, "", second.ConsistencyToken)
	few.until(t, func() bool { return true })
	none.until(t, func() bool { return true })
	if len(few.whistles) != 1 || few.whistles[first.Name] == nil || len(none.whistles) != 0 {
		t.Errorf("a department that is summoned once sees %v, a street that is not concerned %v", few.whistles, none.whistles)
	}

	// One arrives: only that whistle is told of again.
	if _, err := whistles.ReportIn(traffic, &pb.ReportInRequest{Name: first.Name, RequestId: "in", Person: "T-1", Rank: "科长", Position: &pb.LonLat{Lon: 120.35, Lat: 31.57}}); err != nil {
		t.Fatal(err)
	}
	for name, d := range desks {
		d.until(t, func() bool { return d.counts.Arrived == 1 })
		row := d.whistles[first.Name]
		if last := d.told[len(d.told)-1]; !slices.Equal(last, []string{first.Name}) || row.State != pb.WhistleState_WHISTLE_STATE_WORKING || row.Late ||
			!slices.Equal(row.WaitsFor, []string{dispatchtest.DistrictUrban, row.WaitsFor[len(row.WaitsFor)-1]}) || !row.Arrivals[1].InTime {
			t.Errorf("%s desk was told of %v: %v", name, last, row)
		}
	}

	// Time alone makes one late.
	city.Clock.Add(31 * time.Minute)
	for name, d := range desks {
		d.until(t, func() bool { return d.counts.Late == 2 })
		if d.counts.Awaited != 2 || !d.whistles[first.Name].Late || !d.whistles[second.Name].Late {
			t.Errorf("%s desk has %v, %v; want two who are late", name, d.counts, d.whistles)
		}
	}

	// Tickets that are held in the unit, by light.
	name := city.Report(t, dispatchtest.Community)
	city.ToHandling(t, name, dispatchtest.Street)
	d := desks["the city centre's"]
	d.until(t, func() bool { return d.counts.Tickets.Green == 1 })
	if len(d.counts.Holders) != 1 || d.counts.Holders[0].Unit != dispatchtest.Street {
		t.Errorf("got %v; want that the street holds it", d.counts.Holders)
	}
	city.Clock.Add(60 * 24 * time.Hour)
	d.until(t, func() bool { return d.counts.Tickets.Red == 1 && d.counts.Tickets.Green == 0 })

	close(stopping)
	for {
		if _, err := none.stream.Recv(); err != nil {
			if info, _ := details(t, err, codes.Unavailable); info.Reason != "SERVER_STOPPING" {
				t.Errorf("at the end: %v", err)
			}
			break
		}
	}
}

// A ticket may be found to complain of a unit, and to do so no more in confidence, while the whistle for it goes on.
func TestADeskFollowsWhomAConfidentialTicketComplainsOf(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	c := Config{DevActor: true, Dispatcher: city.Dispatcher}
	viewing(t, city, &c)()
	conn := serve(t, c, c.register)
	name := city.Report(t, dispatchtest.Community)
	city.ToHandling(t, name, dispatchtest.Street)
	blown, err := pb.NewWhistleServiceClient(conn).BlowWhistle(acting(t.Context(), dispatchtest.Street, "STREET_LEADER"), &pb.BlowWhistleRequest{
		RequestId: "w", Kind: pb.WhistleKind_WHISTLE_KIND_EMERGENCY, Tickets: []string{name}, Particulars: &pb.Particulars{Text: "核查社区账目"},
		Summons: []*pb.Summons{{Unit: dispatchtest.DistrictUrban}},
	})
	if err != nil {
		t.Fatal(err)
	}
	community := acting(t.Context(), dispatchtest.Community, "COMMUNITY_CLERK")
	desk, streets := watchDesk(t, community, conn, "", blown.ConsistencyToken), watchDesk(t, acting(t.Context(), dispatchtest.Street, "STREET_CLERK"), conn, "", blown.ConsistencyToken)
	list := func() int {
		t.Helper()
		head, err := city.Store.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		answer, err := pb.NewViewServiceClient(conn).ListWhistles(community, &pb.ListWhistlesRequest{MinConsistencyToken: Token(head)})
		if err != nil {
			t.Fatal(err)
		}
		return len(answer.Whistles)
	}
	supervisor := dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_SUPERVISOR)
	said := &pb.Particulars{Note: "更正"}
	for _, step := range []struct {
		correct *pb.CorrectTriageRequest
		sees    int
	}{
		{nil, 1},
		{&pb.CorrectTriageRequest{ComplainedOf: dispatchtest.Community}, 1},
		{&pb.CorrectTriageRequest{Confidentiality: pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL}, 0},
		{&pb.CorrectTriageRequest{Confidentiality: pb.Confidentiality_CONFIDENTIALITY_OPEN}, 1},
	} {
		if step.correct != nil {
			step.correct.Name, step.correct.RequestId, step.correct.Particulars = name, city.RequestID(), said
			city.Do(t, supervisor, step.correct)
		}
		if got := list(); got != step.sees {
			t.Errorf("after %v the community lists %d whistles, want %d", step.correct, got, step.sees)
		}
		desk.until(t, func() bool {
			return len(desk.whistles) == step.sees && desk.counts.Whistles == int64(step.sees) && desk.counts.Awaited == int64(step.sees)
		})
	}
	streets.until(t, func() bool { return true })
	if len(streets.whistles) != 1 || len(streets.told) != 1 {
		t.Errorf("the street that blew was told of %v, want it once", streets.told)
	}
}

func TestADeskIsAnOfficersOfThatUnitOrOneAbove(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	c := Config{DevActor: true, Dispatcher: city.Dispatcher}
	viewing(t, city, &c)()
	conn := serve(t, c, c.register)
	for i, q := range []struct {
		unit, roles, asked string
		code               codes.Code
		reason             string
	}{
		{dispatchtest.Street, "STREET_CLERK", dispatchtest.District, codes.PermissionDenied, "OUT_OF_SCOPE"},
		{dispatchtest.Street, "STREET_CLERK", "no-such-unit", codes.PermissionDenied, "OUT_OF_SCOPE"},
		{"-", "DISPATCHER", "", codes.PermissionDenied, "OUT_OF_SCOPE"},
		{dispatchtest.Street, "CITIZEN", "", codes.PermissionDenied, "ROLE_NOT_ALLOWED"},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			stream, err := pb.NewViewServiceClient(conn).WatchDesk(acting(t.Context(), q.unit, q.roles), &pb.WatchDeskRequest{Unit: q.asked})
			if err != nil {
				t.Fatal(err)
			}
			_, err = stream.Recv()
			if info, _ := details(t, err, q.code); info.Reason != q.reason {
				t.Errorf("got %v, want %s", err, q.reason)
			}
		})
	}
	auditors := watchDesk(t, acting(t.Context(), "-", "AUDITOR"), conn, dispatchtest.Street, "")
	auditors.until(t, func() bool { return true })
}
