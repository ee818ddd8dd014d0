package rpc

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
)

// The community has the code recoded in a redrawn city, and lies in another street.
const recoded, otherStreet = "320205002301", "320205002000"

// recode gives the community another code and street from now on.
func recode(t *testing.T, city *dispatchtest.City) dispatch.Result {
	t.Helper()
	turn := timestamppb.New(city.Now())
	p := &pb.RegistryPiece{Levels: city.Registry().Levels(), Units: city.Registry().Units(), Categories: city.Registry().Categories()}
	for _, a := range city.Registry().Areas() {
		if a.Code == dispatchtest.Community || a.Parent == dispatchtest.Community {
			a = proto.CloneOf(a)
			a.ValidTo = turn
			if a.Code == dispatchtest.Community {
				a.Successors = []string{recoded}
			}
		}
		p.Areas = append(p.Areas, a)
	}
	p.Areas = append(p.Areas, &pb.Area{Code: recoded, Name: "门楼社区居委会", Level: "community", Parent: otherStreet, ValidFrom: turn})
	gone := map[string]bool{dispatchtest.Community: true}
	for i, u := range p.Units {
		if gone[u.Parent] || gone[u.Code] {
			gone[u.Code] = true
			p.Units[i] = proto.CloneOf(u)
			p.Units[i].ValidTo = turn
		}
	}
	faults, result, err := city.LoadRegistry(t.Context(), dispatchtest.System, "redrawn", time.Time{}, []*pb.RegistryPiece{p}, false)
	if err != nil || len(faults) > 0 {
		t.Fatal(faults, err)
	}
	return result
}

func TestWhatBecameOfAnAreaIsToldAndFiguresFollowIt(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	c := Config{DevActor: true, Dispatcher: city.Dispatcher}
	run := viewing(t, city, &c)
	conn := serve(t, c, c.register)
	run()
	name := city.Report(t, dispatchtest.Community)
	city.ToHandling(t, name, dispatchtest.Community)
	city.Clock.Add(time.Hour)
	result := recode(t, city)

	agent := acting(t.Context(), dispatchtest.CityCentre, "AGENT")
	areas := pb.NewRegistryServiceClient(conn)
	history, err := areas.GetAreaHistory(agent, &pb.GetAreaHistoryRequest{Code: dispatchtest.Community, MinConsistencyToken: Token(result.Position)})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(history.Steps); n != 2 || history.Steps[1].Area.Code != recoded || fmt.Sprint(history.Steps[1].Predecessors) != "["+dispatchtest.Community+"]" {
		t.Errorf("got the history %v", history.Steps)
	}
	if n := len(history.Present); n != 4 || history.Present[2].Code != otherStreet || history.Present[3].Code != recoded {
		t.Errorf("got the path %v", history.Present)
	}
	first, err := areas.GetAreaHistory(agent, &pb.GetAreaHistoryRequest{Code: dispatchtest.Community, PageSize: 1})
	if err != nil || len(first.Steps) != 1 || first.Steps[0].Area.Code != dispatchtest.Community || first.NextPageToken == "" {
		t.Fatalf("got the first page %v, %v", first, err)
	}
	second, err := areas.GetAreaHistory(agent, &pb.GetAreaHistoryRequest{Code: dispatchtest.Community, PageSize: 1, PageToken: first.NextPageToken})
	if err != nil || len(second.Steps) != 1 || second.Steps[0].Area.Code != recoded || second.NextPageToken != "" || len(second.Present) != 4 {
		t.Errorf("got the second page %v, %v", second, err)
	}
	_, err = areas.GetAreaHistory(agent, &pb.GetAreaHistoryRequest{Code: recoded, PageToken: first.NextPageToken})
	if info, _ := details(t, err, codes.InvalidArgument); info.GetMetadata()["field"] != "page_token" {
		t.Errorf("the page of another area: %v", err)
	}
	_, err = areas.GetAreaHistory(agent, &pb.GetAreaHistoryRequest{Code: "none"})
	if info, _ := details(t, err, codes.NotFound); info.GetReason() != "NOT_FOUND" || info.GetMetadata()["field"] != "code" {
		t.Errorf("an area that never was: %v", err)
	}

	views := pb.NewViewServiceClient(conn)
	for mode, want := range map[pb.AreaMode]string{
		pb.AreaMode_AREA_MODE_UNSPECIFIED:   dispatchtest.Street,
		pb.AreaMode_AREA_MODE_AT_ACCEPTANCE: dispatchtest.Street,
		pb.AreaMode_AREA_MODE_RESTATED:      otherStreet,
	} {
		closure, err := views.ListClosure(agent, &pb.ListClosureRequest{Level: "street", AreaMode: mode, MinConsistencyToken: Token(result.Position)})
		if err != nil || len(closure.Rows) != 1 || closure.Rows[0].Code != want || closure.Rows[0].Figures.Total != 1 {
			t.Errorf("%v: closure %v, %v, want a ticket in %s", mode, closure, err, want)
		}
		metrics, err := views.ListMetrics(agent, &pb.ListMetricsRequest{Metric: "M01", Level: "street", AreaMode: mode})
		if err != nil || len(metrics.Figures) != 1 || metrics.Figures[0].Code != want || metrics.Figures[0].Numerator != 1 {
			t.Errorf("%v: metric %v, %v, want a ticket in %s", mode, metrics, err, want)
		}
	}
}
