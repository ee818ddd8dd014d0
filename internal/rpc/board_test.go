package rpc

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
)

func TestABoardShowsEverybodyWhatWasAdmittedWithItsPublicWordsAndLight(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	c := Config{DevActor: true, Dispatcher: city.Dispatcher}
	run := viewing(t, city, &c)
	conn := serve(t, c, c.register)
	views, walls := pb.NewViewServiceClient(conn), pb.NewWallServiceClient(conn)
	run()
	const grid = dispatchtest.Community + "001"
	worker := acting(t.Context(), grid, "GRID_WORKER")
	secretary := acting(t.Context(), dispatchtest.Community, "COMMUNITY_SECRETARY")
	far := acting(t.Context(), dispatchtest.OtherStreet, "STREET_CLERK")
	token := ""
	must := func(a *pb.CommandAnswer, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		token = a.ConsistencyToken
		return a.Name
	}
	post := func(id, text string) string {
		t.Helper()
		city.Clock.Add(time.Minute)
		return must(walls.PostOnWall(worker, &pb.PostOnWallRequest{
			RequestId: id, Area: grid, Category: "0101", Tags: []string{"ten-noes"},
			Particulars: &pb.Particulars{Text: text, Petitioner: &pb.Petitioner{Name: "张三丰", Phone: "13812345678"}},
		}))
	}
	screen := func(id, name, words string) {
		t.Helper()
		must(walls.ScreenPost(secretary, &pb.ScreenPostRequest{RequestId: id, Name: name, Admit: true, Particulars: &pb.Particulars{Reply: words}}))
	}
	lamp, rubbish, waits := post("1", "没有路灯，张三丰13812345678"), post("2", "楼道堆物"), post("3", "尚未审核")
	screen("4", lamp, "网格内没有路灯")
	screen("5", rubbish, "楼道堆物")
	must(walls.LiftPost(worker, &pb.LiftPostRequest{RequestId: "6", Name: lamp, Reason: pb.EscalationReason_ESCALATION_REASON_RESOURCES}))
	must(walls.TicketPost(secretary, &pb.TicketPostRequest{RequestId: "7", Name: lamp}))
	must(walls.SelfSolvePost(worker, &pb.SelfSolvePostRequest{RequestId: "8", Name: rubbish, Particulars: &pb.Particulars{Reply: "已清理"}}))
	head, err := city.Store.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	token = Token(head)

	public, err := views.ListWallPosts(far, &pb.ListWallPostsRequest{Filter: "area = " + dispatchtest.Community, MinConsistencyToken: token})
	if err != nil || len(public.WallPosts) != 2 || len(public.Lights) != 2 {
		t.Fatalf("another street: got %v, %v; want the two that were admitted", public, err)
	}
	first, second := public.WallPosts[0], public.WallPosts[1]
	if first.Name != rubbish || first.State != pb.PostState_POST_STATE_SELF_SOLVED || first.Words != "楼道堆物" || len(first.Echoes) != 1 || first.Echoes[0].Words != "已清理" {
		t.Errorf("got %v", first)
	}
	if second.Name != lamp || second.State != pb.PostState_POST_STATE_TICKETED || second.Words != "网格内没有路灯" || second.Ticket == "" || public.Lights[1] != pb.Light_LIGHT_GREEN {
		t.Errorf("got %v with light %s", second, public.Lights[1])
	}
	if one, err := walls.GetPost(far, &pb.GetPostRequest{Name: lamp}); err != nil || !proto.Equal(one, second) {
		t.Errorf("alone it is %v, %v, on the board %v", one, err, second)
	}
	text, err := proto.Marshal(public)
	if err != nil || strings.Contains(string(text), "张三丰") || strings.Contains(string(text), "5678") {
		t.Error("the board says who posted")
	}
	own, err := views.ListWallPosts(secretary, &pb.ListWallPostsRequest{Filter: "tag = ten-noes", OrderBy: "posted_at", PageSize: 2})
	if err != nil || len(own.WallPosts) != 2 || own.WallPosts[0].Name != lamp || own.NextPageToken == "" {
		t.Fatalf("the community: got %v, %v", own, err)
	}
	own, err = views.ListWallPosts(secretary, &pb.ListWallPostsRequest{Filter: "tag = ten-noes", OrderBy: "posted_at", PageSize: 2, PageToken: own.NextPageToken})
	if err != nil || len(own.WallPosts) != 1 || own.WallPosts[0].Name != waits || own.NextPageToken != "" {
		t.Errorf("the community's second page: got %v, %v", own, err)
	}
	if err := refusalOf(views.ListWallPosts(far, &pb.ListWallPostsRequest{OrderBy: "no"})); err == nil {
		t.Error("an order that there is not was taken")
	}

	figures, err := views.ListMetrics(far, &pb.ListMetricsRequest{Metric: "M29", Level: "grid", MinConsistencyToken: token})
	if err != nil || len(figures.Figures) != 1 {
		t.Fatalf("M29: %v, %v", figures, err)
	}
	if f := figures.Figures[0]; f.Code != grid || f.Numerator != 1 || f.GetDenominator() != 3 || f.Parts["lifted"] != 1 || f.Parts["lifted_closed"] != 0 {
		t.Errorf("M29: got %v; want one of three solved, one lifted", f)
	}
	behind := func(unit, roles string) []string {
		t.Helper()
		answer, err := views.ListBehind(acting(t.Context(), unit, roles), &pb.ListBehindRequest{Metric: "M29", Level: "grid", Code: grid, Set: pb.FigureSet_FIGURE_SET_DENOMINATOR})
		if err != nil || answer.TotalSize != 3 {
			t.Fatalf("behind M29: %v, %v", answer, err)
		}
		var names []string
		for _, b := range answer.Tickets {
			names = append(names, b.Name)
		}
		return names
	}
	if mine, theirs := behind(dispatchtest.Community, "COMMUNITY_CLERK"), behind(dispatchtest.OtherStreet, "STREET_CLERK"); len(mine) != 3 || len(theirs) != 2 {
		t.Errorf("behind M29 stand %v to the community, %v to another street", mine, theirs)
	}
}

func TestMattersOfTheMonthAndEntriesAreListedWithWhatEverybodyMayRead(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	c := Config{DevActor: true, Dispatcher: city.Dispatcher}
	run := viewing(t, city, &c)
	conn := serve(t, c, c.register)
	views, walls := pb.NewViewServiceClient(conn), pb.NewWallServiceClient(conn)
	run()
	secretary := acting(t.Context(), dispatchtest.Community, "COMMUNITY_SECRETARY")
	above := acting(t.Context(), dispatchtest.Street, "STREET_CLERK")
	far := acting(t.Context(), dispatchtest.OtherStreet, "STREET_CLERK")
	citizen := acting(t.Context(), dispatchtest.CityCentre, "CITIZEN")
	token := ""
	must := func(a *pb.CommandAnswer, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		token = a.ConsistencyToken
		return a.Name
	}
	choose := func(id, month string) string {
		t.Helper()
		return must(walls.ChooseMatter(secretary, &pb.ChooseMatterRequest{RequestId: id, Area: dispatchtest.Community, Month: month, Particulars: &pb.Particulars{Text: "停车难，张三丰提出"}}))
	}
	march, april := choose("1", "2025-03"), choose("2", "2025-04")
	must(walls.RecordDeliberation(secretary, &pb.RecordDeliberationRequest{RequestId: "3", Name: march, Particulars: &pb.Particulars{Text: "张三丰发言"}}))
	must(walls.DecideMatter(secretary, &pb.DecideMatterRequest{RequestId: "4", Name: march, Particulars: &pb.Particulars{Text: "决定"}}))
	must(walls.PublishMatter(secretary, &pb.PublishMatterRequest{RequestId: "5", Name: march, Particulars: &pb.Particulars{Reply: "错时共享停车位"}}))
	for name, who := range map[string]struct {
		as   []string
		want []string
	}{
		"the community":  {[]string{dispatchtest.Community, "COMMUNITY_SECRETARY"}, []string{april, march}},
		"its street":     {[]string{dispatchtest.Street, "STREET_CLERK"}, []string{april, march}},
		"an auditor":     {[]string{dispatchtest.OtherStreet, "AUDITOR"}, []string{april, march}},
		"another street": {[]string{dispatchtest.OtherStreet, "STREET_CLERK"}, []string{march}},
		"a resident":     {[]string{dispatchtest.CityCentre, "CITIZEN"}, []string{march}},
	} {
		got, err := views.ListDeliberations(acting(t.Context(), who.as[0], who.as[1]), &pb.ListDeliberationsRequest{MinConsistencyToken: token})
		if err != nil || len(got.Deliberations) != len(who.want) {
			t.Errorf("%s: got %v, %v; want %v", name, got, err, who.want)
			continue
		}
		for _, m := range got.Deliberations {
			if words := map[string]string{march: "错时共享停车位", april: ""}[m.Name]; m.Words != words || strings.Contains(m.String(), "张三丰") {
				t.Errorf("%s: got %v", name, m)
			}
		}
	}
	if m, err := walls.GetDeliberation(citizen, &pb.GetDeliberationRequest{Name: march}); err != nil || m.Words != "错时共享停车位" || m.State != pb.DeliberationState_DELIBERATION_STATE_PUBLISHED {
		t.Errorf("a resident: got %v, %v", m, err)
	}
	for name, err := range map[string]error{
		"another street": refusalOf(walls.GetDeliberation(far, &pb.GetDeliberationRequest{Name: april})),
		"a resident":     refusalOf(walls.GetDeliberation(citizen, &pb.GetDeliberationRequest{Name: april})),
	} {
		if err == nil {
			t.Errorf("%s sees what is not published", name)
		}
	}
	if _, err := walls.GetDeliberation(above, &pb.GetDeliberationRequest{Name: april}); err != nil {
		t.Errorf("its street: %v", err)
	}

	need := must(walls.OpenEntry(secretary, &pb.OpenEntryRequest{RequestId: "6", Kind: pb.ExchangeKind_EXCHANGE_KIND_NEED, Topic: "venue", Particulars: &pb.Particulars{Text: "需要场地，电话13812345678"}}))
	resource := must(walls.OpenEntry(far, &pb.OpenEntryRequest{RequestId: "7", Kind: pb.ExchangeKind_EXCHANGE_KIND_RESOURCE, Topic: "venue", Particulars: &pb.Particulars{Text: "周末开放"}}))
	matched, err := walls.MatchEntry(secretary, &pb.MatchEntryRequest{RequestId: "8", Name: need, With: resource})
	if must(matched, err) != need || matched.State != "MATCHED" || matched.Etag != `"2"` {
		t.Errorf("got %v", matched)
	}
	got, err := views.ListEntries(citizen, &pb.ListEntriesRequest{Filter: "topic = venue AND state = MATCHED", MinConsistencyToken: token})
	if err != nil || len(got.Entries) != 2 || got.Entries[0].Name != resource || got.Entries[0].With != need || got.Entries[1].With != resource {
		t.Fatalf("got %v, %v", got, err)
	}
	if said := got.Entries[1].GetParticulars().GetText(); !strings.HasPrefix(said, "需要场地") || strings.Contains(said, "13812345678") {
		t.Errorf("got %q", said)
	}
	if one, err := walls.GetEntry(citizen, &pb.GetEntryRequest{Name: need}); err != nil || !proto.Equal(one, got.Entries[1]) {
		t.Errorf("alone it is %v, %v", one, err)
	}
}
