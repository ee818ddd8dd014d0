package rpc

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
)

// Street A is the example city's; B is the next street of the same district. A community of A moves to B under a new code, and its grids
// become one.
const (
	mapStreetB = "320205002000"
	mapMoved   = "320205002301"
	mapMerged  = mapMoved + "001"
	mapGridOne = dispatchtest.Community + "001"
	mapGridTwo = dispatchtest.Community + "002"
)

// redrawing is when the map changes.
var redrawing = time.Date(2025, 7, 1, 0, 0, 0, 0, dispatchtest.Start.Location())

// withGrids is the registry in force with two grids in the community that will move.
func withGrids(c *dispatchtest.City) *pb.RegistryPiece {
	r := c.Registry()
	p := proto.CloneOf(&pb.RegistryPiece{Levels: r.Levels(), Areas: r.Areas(), Units: r.Units(), Categories: r.Categories()})
	p.Areas = slices.DeleteFunc(p.Areas, func(a *pb.Area) bool { return a.Parent == dispatchtest.Community })
	p.Units = slices.DeleteFunc(p.Units, func(u *pb.Unit) bool { return u.Parent == dispatchtest.Community })
	for _, code := range []string{mapGridOne, mapGridTwo} {
		p.Areas = append(p.Areas, &pb.Area{Code: code, Name: "网格" + code, Level: "grid", Parent: dispatchtest.Community})
		p.Units = append(p.Units, &pb.Unit{Code: code, Name: "网格" + code, Kind: pb.UnitKind_UNIT_KIND_AREA, Parent: dispatchtest.Community, Area: code})
	}
	return p
}

// redrawn is what the registry becomes.
func redrawn(c *dispatchtest.City) *pb.RegistryPiece {
	p := withGrids(c)
	turn := timestamppb.New(redrawing)
	successors := map[string][]string{dispatchtest.Community: {mapMoved}, mapGridOne: {mapMerged}, mapGridTwo: {mapMerged}}
	for _, a := range p.Areas {
		if to, ok := successors[a.Code]; ok {
			a.ValidTo, a.Successors = turn, to
		}
	}
	for _, u := range p.Units {
		if successors[u.Code] != nil {
			u.ValidTo = turn
		}
	}
	for code, parent := range map[string]string{mapMoved: mapStreetB, mapMerged: mapMoved} {
		level := map[string]string{mapMoved: "community", mapMerged: "grid"}[code]
		p.Areas = append(p.Areas, &pb.Area{Code: code, Name: code, Level: level, Parent: parent, ValidFrom: turn})
		p.Units = append(p.Units, &pb.Unit{Code: code, Name: code, Kind: pb.UnitKind_UNIT_KIND_AREA, Parent: parent, Area: code, ValidFrom: turn})
	}
	return p
}

// load sends a registry in pieces, and gives the kinds of what is wrong with it.
func (t *teller) load(tb testing.TB, version string, from time.Time, p *pb.RegistryPiece) string {
	tb.Helper()
	stream, err := pb.NewRegistryServiceClient(t.conn).LoadRegistry(acting(tb.Context(), dispatchtest.CityCentre, "AUDITOR"))
	if err != nil {
		tb.Fatal(err)
	}
	pieces := []*pb.RegistryPiece{{Levels: p.Levels, Categories: p.Categories}}
	for part := range slices.Chunk(p.Areas, 3000) {
		pieces = append(pieces, &pb.RegistryPiece{Areas: part})
	}
	for part := range slices.Chunk(p.Units, 3000) {
		pieces = append(pieces, &pb.RegistryPiece{Units: part})
	}
	for i, piece := range pieces {
		r := &pb.LoadRegistryRequest{Piece: piece}
		if i == 0 {
			r.Version, r.RequestId, r.ValidFrom = version, version, timestamppb.New(from)
		}
		if err := stream.Send(r); err != nil {
			tb.Fatal(err)
		}
	}
	got, err := stream.CloseAndRecv()
	if err != nil {
		tb.Fatalf("%s: %v", version, err)
	}
	var kinds []string
	for _, f := range got.Faults {
		kinds = append(kinds, f.Kind)
	}
	return fmt.Sprint(kinds)
}

// does gives a command that must be carried out.
func (t *teller) does(tb testing.TB, unit, roles string, command proto.Message) *pb.TicketAnswer {
	tb.Helper()
	got := new(pb.TicketAnswer)
	if err := t.tries(tb.Context(), unit, roles, command, got); err != nil {
		tb.Fatalf("%s: %v", command.ProtoReflect().Descriptor().Name(), err)
	}
	return got
}

// tries gives a command under a request id of its own.
func (t *teller) tries(ctx context.Context, unit, roles string, command proto.Message, got *pb.TicketAnswer) error {
	m := command.ProtoReflect()
	m.Set(m.Descriptor().Fields().ByName("request_id"), protoreflect.ValueOfString(t.city.RequestID()))
	name := string(m.Descriptor().Name())
	return t.conn.Invoke(acting(ctx, unit, roles), "/chuishao.v1.TicketService/"+name[:len(name)-len("Request")], command, got)
}

// takenIn reports a matter, accepts it and hands it to a unit.
func (t *teller) takenIn(tb testing.TB, area, lead string) string {
	tb.Helper()
	name := t.does(tb, dispatchtest.CityCentre, "AGENT", &pb.ReportTicketRequest{
		Channel: pb.Channel_CHANNEL_HOTLINE, Kind: pb.MatterKind_MATTER_KIND_HELP, Area: area,
		Particulars: &pb.Particulars{
			Text: "路灯不亮", Place: "春笋中路", Cause: "线路老化", Course: "三天前开始",
			Petitioner: &pb.Petitioner{Name: "张三丰", Phone: "13800000001", CallbackWanted: true},
		},
	}).Name
	t.does(tb, dispatchtest.CityCentre, "AGENT", &pb.AcceptTicketRequest{Name: name})
	t.does(tb, dispatchtest.CityCentre, "DISPATCHER", &pb.TriageTicketRequest{Name: name, Category: "0302"})
	if lead != "" {
		t.does(tb, dispatchtest.CityCentre, "DISPATCHER", &pb.DispatchTicketRequest{Name: name, Lead: lead})
		t.does(tb, lead, "COMMUNITY_CLERK", &pb.SignTicketRequest{Name: name})
	}
	return name
}

// closed are the closed and all tickets of each node of a level, as far as everything recorded tells.
func (t *teller) closed(tb testing.TB, level string, mode pb.AreaMode) map[string]string {
	tb.Helper()
	head, err := t.Reached(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	got, err := pb.NewViewServiceClient(t.conn).ListClosure(acting(tb.Context(), dispatchtest.CityCentre, "AUDITOR"), &pb.ListClosureRequest{Level: level, AreaMode: mode, MinConsistencyToken: head})
	if err != nil {
		tb.Fatal(err)
	}
	all := map[string]string{}
	for _, r := range got.Rows {
		all[r.Code] = fmt.Sprintf("%d/%d", r.Figures.Closed, r.Figures.Total)
	}
	return all
}

func TestStoryOfAMapThatIsRedrawn(t *testing.T) {
	t.Parallel()
	p := running(t)
	clock := p.city.Clock
	clock.Set(redrawing.AddDate(0, -1, 0))
	if faults := p.load(t, "with-grids", clock.Now(), withGrids(p.city)); faults != "[]" {
		t.Fatal(faults)
	}
	// Given a map that is published ahead, and t1 accepted on 28 June.
	clock.Set(time.Date(2025, 6, 28, 10, 0, 0, 0, redrawing.Location()))
	next := redrawn(p.city)
	if faults := p.load(t, "redrawn", redrawing, next); faults != "[]" {
		t.Fatal(faults)
	}
	t1 := p.takenIn(t, mapGridOne, dispatchtest.Community)

	// A map with a grid of no community, with one that is there twice, or with a code that was another's, is refused whole.
	for want, wrong := range map[string]*pb.Area{
		"[ORPHAN]":      {Code: mapStreetB + "999", Name: "无主网格", Level: "grid", Parent: mapStreetB},
		"[OVERLAP]":     {Code: mapMerged, Name: "网格一", Level: "grid", Parent: mapMoved, ValidFrom: timestamppb.New(redrawing.AddDate(0, 0, 1))},
		"[REUSED_CODE]": {Code: mapGridOne, Name: "另一网格", Level: "grid", Parent: mapMoved, ValidFrom: timestamppb.New(redrawing.AddDate(4, 0, 0))},
	} {
		bad := proto.CloneOf(next)
		bad.Areas = append(bad.Areas, wrong)
		if got := p.load(t, "wrong", redrawing, bad); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}

	// When the day has come, t1 moves by an event, and t2 is accepted.
	clock.Set(time.Date(2025, 7, 2, 10, 0, 0, 0, redrawing.Location()))
	if err := p.Await(t.Context(), t1, []string{"TicketSigned", "HolderMoved"}); err != nil {
		t.Fatal(err)
	}
	t2 := p.takenIn(t, mapMerged, mapMoved)
	clock.Set(time.Date(2025, 7, 3, 10, 0, 0, 0, redrawing.Location()))

	// Then those of B act on it, and those of A do no longer.
	contact := &pb.RecordContactRequest{Name: t1, Channel: "phone", Reached: true}
	if err := p.tries(t.Context(), dispatchtest.Community, "COMMUNITY_CLERK", contact, new(pb.TicketAnswer)); toldReason(err) != "OUT_OF_SCOPE" {
		t.Errorf("the community that is gone: got %v", err)
	}
	if err := p.tries(t.Context(), dispatchtest.Street, "SUPERVISOR", &pb.RaiseSupervisionRequest{Name: t1, Level: 1, Particulars: &pb.Particulars{Note: "x"}}, new(pb.TicketAnswer)); toldReason(err) != "OUT_OF_SCOPE" {
		t.Errorf("the street that had it: got %v", err)
	}
	p.does(t, mapStreetB, "SUPERVISOR", &pb.RaiseSupervisionRequest{Name: t1, Level: 1, Particulars: &pb.Particulars{Note: "限期办理"}})
	p.does(t, mapMoved, "COMMUNITY_CLERK", contact)
	p.does(t, mapMoved, "COMMUNITY_CLERK", &pb.SubmitResultRequest{Name: t1, Result: pb.ResultCode_RESULT_CODE_RESOLVED, Particulars: &pb.Particulars{Reply: "已修复"}})
	p.does(t, dispatchtest.CityCentre, "SUPERVISOR", &pb.VerifyResultRequest{Name: t1, Passed: true})
	p.does(t, dispatchtest.CityCentre, "CALLER", &pb.RecordCallbackRequest{Name: t1, Answered: true, Contacted: true, Solved: pb.Solved_SOLVED_YES, Satisfaction: 5})
	p.does(t, dispatchtest.CityCentre, "DISPATCHER", &pb.CloseTicketRequest{Name: t1})

	// As at acceptance t1 counts with A and t2 with B, restated both with B; what lies above is the same.
	for _, w := range []struct {
		level    string
		was, now string
	}{
		{"grid", fmt.Sprintf("map[%s:1/1 %s:0/1]", mapGridOne, mapMerged), fmt.Sprintf("map[%s:1/2]", mapMerged)},
		{"community", fmt.Sprintf("map[%s:1/1 %s:0/1]", dispatchtest.Community, mapMoved), fmt.Sprintf("map[%s:1/2]", mapMoved)},
		{"street", fmt.Sprintf("map[%s:1/1 %s:0/1]", dispatchtest.Street, mapStreetB), fmt.Sprintf("map[%s:1/2]", mapStreetB)},
		{"district", fmt.Sprintf("map[%s:1/2]", dispatchtest.District), fmt.Sprintf("map[%s:1/2]", dispatchtest.District)},
		{"city", "map[320200000000:1/2]", "map[320200000000:1/2]"},
	} {
		if got := fmt.Sprint(p.closed(t, w.level, pb.AreaMode_AREA_MODE_AT_ACCEPTANCE)); got != w.was {
			t.Errorf("%s as at acceptance: got %s, want %s", w.level, got, w.was)
		}
		if got := fmt.Sprint(p.closed(t, w.level, pb.AreaMode_AREA_MODE_RESTATED)); got != w.now {
			t.Errorf("%s restated: got %s, want %s", w.level, got, w.now)
		}
	}

	// The history of the grid can be walked.
	walk, err := pb.NewRegistryServiceClient(p.conn).GetAreaHistory(acting(t.Context(), dispatchtest.CityCentre, "AGENT"), &pb.GetAreaHistoryRequest{Code: mapMerged})
	if err != nil {
		t.Fatal(err)
	}
	var steps []string
	for _, s := range walk.Steps {
		steps = append(steps, fmt.Sprintf("%v→%s→%v", s.Predecessors, s.Area.Code, s.Area.Successors))
	}
	if got, want := fmt.Sprint(steps), fmt.Sprintf("[[]→%s→[%s] []→%s→[%s] [%s %s]→%s→[]]", mapGridOne, mapMerged, mapGridTwo, mapMerged, mapGridOne, mapGridTwo, mapMerged); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if s, _, err := p.city.LoadTicket(t.Context(), t2); err != nil || s.Holder != mapMoved {
		t.Errorf("the second is held by %s, %v", s.Holder, err)
	}
	p.provesItself(t)
}
