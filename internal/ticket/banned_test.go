package ticket

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/examples/wuxi"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/registry"
	"github.com/chuishao/dispatch/internal/rule"
)

func TestACommunityIsNotHandedAgainWhatTheBanListKeepsOutByNow(t *testing.T) {
	t.Parallel()
	content, faults := registry.ReadDir(wuxi.Files)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	now := time.Date(2025, 3, 7, 1, 0, 0, 0, time.UTC)
	for category, banned := range map[string]bool{"0202": true, "0302": false} {
		a := &rule.Asked{
			Actor: rule.Actor{Person: "p", Roles: []pb.Role{pb.Role_ROLE_SUPERVISOR}, Unit: "320200000000-ZH"}, At: now, OccurredAt: now,
			Registry: registry.NewSnapshot("v", now, content.Pieces(), nil), Calendar: calendar.Default(), Profile: calendar.DefaultProfile(),
		}
		s := State{
			Life:     rule.Life[pb.TicketState]{State: pb.TicketState_TICKET_STATE_CLOSED, Events: 9, LastAt: now.Add(-time.Hour)},
			Category: category, Grade: pb.Grade_GRADE_G2, Holder: "320205001001", Lead: "320205001001",
			Round: 1, Hop: 1, ClosedAt: now.Add(-time.Hour),
		}
		_, err := reopen(s, a, &pb.ReopenTicketRequest{Reason: pb.ReopenReason_REOPEN_REASON_UNSOLVED, Particulars: &pb.Particulars{Note: "又坏了"}})
		refusal, _ := errors.AsType[*rule.Refusal](err)
		if got := refusal != nil && refusal.Reason == rule.BannedInCommunities; got != banned || !banned && err != nil {
			t.Errorf("category %s: got %v", category, err)
		}
	}
}

// TestTheMapBringsNothingBannedIntoACommunity: a community leads under an admission that is for it alone, and another takes its place.
func TestTheMapBringsNothingBannedIntoACommunity(t *testing.T) {
	t.Parallel()
	turn := time.Date(2025, 7, 1, 0, 0, 0, 0, time.UTC)
	p := &pb.RegistryPiece{
		Categories: []*pb.Category{{Code: "1", Name: "1", Grade: pb.Grade_GRADE_G2}, {Code: "2", Name: "2", Grade: pb.Grade_GRADE_G2}},
		Bans:       []*pb.BanItem{{Code: "B", Name: "B", Categories: []string{"2"}}},
	}
	add := func(code, level, parent, successor string) {
		a := &pb.Area{Code: code, Name: code, Level: level, Parent: parent}
		u := &pb.Unit{Code: code, Name: code, Kind: pb.UnitKind_UNIT_KIND_AREA, Parent: parent, Area: code}
		if successor != "" {
			a.ValidTo, a.Successors, u.ValidTo = timestamppb.New(turn), []string{successor}, timestamppb.New(turn)
		}
		p.Areas, p.Units = append(p.Areas, a), append(p.Units, u)
	}
	add("c", "city", "", "")
	add("d", "district", "c", "")
	add("s", "street", "d", "")
	add("a", "community", "s", "b")
	add("b", "community", "s", "")
	r := registry.NewSnapshot("v", turn, []*pb.RegistryPiece{p}, nil)
	path := []*pb.AreaNode{{Level: "city", Code: "c"}, {Level: "district", Code: "d"}, {Level: "street", Code: "s"}, {Level: "community", Code: "a"}}
	lead := []string{"c", "d", "s", "a"}
	for _, w := range []struct {
		name     string
		delivery []Delivery
		admitted []string // the communities that the admission is for
		to       string
	}{
		{"what is not banned", nil, nil, "b"},
		{"a banned task under an admission for the one that is gone", []Delivery{{"a", "2", "x"}}, []string{"a"}, "s"},
		{"a banned task under an admission for both", []Delivery{{"a", "2", "x"}}, []string{"a", "b"}, "b"},
	} {
		a := &rule.Asked{
			Actor: rule.Actor{Roles: []pb.Role{pb.Role_ROLE_SYSTEM}}, At: turn, OccurredAt: turn, Registry: r,
			Admissions: map[string]*pb.Admission{"x": {
				State: pb.AdmissionState_ADMISSION_STATE_ADMITTED, Item: "B", Communities: w.admitted,
				ValidFrom: timestamppb.New(turn.AddDate(0, -1, 0)), ValidTo: timestamppb.New(turn.AddDate(0, 1, 0)),
			}},
		}
		s := State{Life: rule.Life[pb.TicketState]{State: pb.TicketState_TICKET_STATE_HANDLING}, Path: path, Category: "1", Holder: "a", HolderPath: lead, Lead: "a", LeadPath: lead, Deliveries: w.delivery}
		events, err := Decide(s, a, &pb.MoveHolderRequest{})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if s, err = Evolve(s, &pb.EventMeta{OccurredAt: timestamppb.New(turn)}, e); err != nil {
				t.Fatal(err)
			}
		}
		if s.Lead != w.to || s.Holder != w.to {
			t.Errorf("%s: led by %s, held by %s, want %s", w.name, s.Lead, s.Holder, w.to)
		}
		if want := len(w.delivery) > 0; (s.had(w.to).Task == "2") != want || (s.had(w.to).Admission == "x") != want {
			t.Errorf("%s: %s has %+v", w.name, w.to, s.had(w.to))
		}
	}
}
