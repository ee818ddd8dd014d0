package wall_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/registry"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/wall"
)

var start = time.Date(2025, 3, 5, 1, 0, 0, 0, time.UTC)

// city is a city of one district, two communities and two grids in the first of them.
func city(weights *pb.ReviewWeights) *registry.Snapshot {
	piece := &pb.RegistryPiece{Weights: weights, Categories: []*pb.Category{
		{Code: "1", Name: "垃圾", Grade: pb.Grade_GRADE_G2, SelfSolvable: true}, {Code: "2", Name: "路灯", Grade: pb.Grade_GRADE_G2},
		{Code: "3", Name: "倒伏", Grade: pb.Grade_GRADE_G1, Object: pb.MatterObject_MATTER_OBJECT_INCIDENT, SelfSolvable: true},
		{Code: "4", Name: "违建", Grade: pb.Grade_GRADE_G2, SelfSolvable: true},
	}, Bans: []*pb.BanItem{{Code: "B", Name: "禁", Categories: []string{"4"}}}}
	for _, a := range []struct{ code, parent, level string }{
		{"city", "", "city"}, {"district", "city", "district"}, {"street", "district", "street"}, {"c1", "street", "community"},
		{"c2", "street", "community"}, {"g1", "c1", "grid"}, {"g2", "c1", "grid"},
	} {
		piece.Areas = append(piece.Areas, &pb.Area{Code: a.code, Name: a.code, Level: a.level, Parent: a.parent})
		piece.Units = append(piece.Units, &pb.Unit{Code: a.code, Name: a.code, Kind: pb.UnitKind_UNIT_KIND_AREA, Parent: a.parent, Area: a.code})
	}
	return registry.NewSnapshot("1", start.AddDate(-1, 0, 0), []*pb.RegistryPiece{piece}, nil)
}

var roles = []pb.Role{
	pb.Role_ROLE_CITIZEN, pb.Role_ROLE_GRID_WORKER, pb.Role_ROLE_COMMUNITY_CLERK, pb.Role_ROLE_COMMUNITY_SECRETARY, pb.Role_ROLE_SYSTEM, pb.Role_ROLE_AGENT,
}

func pick[T any](random *rand.Rand, of []T) T { return of[random.IntN(len(of))] }

// TestWhateverIsCommandedOfAPostTheRulesOnlyRefuseAndKeepTheirInvariants gives posts lives of commands, sensible or not.
func TestWhateverIsCommandedOfAPostTheRulesOnlyRefuseAndKeepTheirInvariants(t *testing.T) {
	t.Parallel()
	r := city(nil)
	reached := map[pb.PostState]int{}
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		var s wall.State
		at, version := start, uint64(0)
		for range 60 {
			at = at.Add(time.Duration(random.IntN(3601)) * time.Second)
			version++
			words := &pb.Particulars{Text: "垃圾", Reply: pick(random, []string{"已清运", ""})}
			command := pick(random, []proto.Message{
				&pb.PostOnWallRequest{Area: pick(random, []string{"g1", "c1", "street", "none"}), Category: "1", Particulars: words},
				&pb.ScreenPostRequest{Admit: random.IntN(4) > 0, Reason: "NO", Category: pick(random, []string{"", "1", "2", "9"}), Particulars: words},
				&pb.SupportPostRequest{Particulars: words},
				&pb.SelfSolvePostRequest{Particulars: words},
				&pb.LiftPostRequest{Reason: pb.EscalationReason(random.IntN(5))},
				&pb.TicketPostRequest{},
				&pb.RecordJointHandlingRequest{Units: []string{"c2"}},
				&pb.RecordJointSolvingRequest{HeldAt: timestamppb.New(at), Particulars: words},
				&pb.PostEchoed{Kind: pb.EchoKind(1 + random.IntN(3)), Ticket: "t", Version: version - uint64(random.IntN(2))},
				&pb.ReviewPostRequest{Score: uint32(random.IntN(7))},
			})
			a := &rule.Asked{
				Actor: rule.Actor{Person: "p", Roles: roles, Unit: pick(random, []string{"g1", "c1", "city", "g2", "c2"})},
				At:    at, OccurredAt: at, Registry: r, Calendar: calendar.Default(), Profile: calendar.DefaultProfile(), No: "N",
				Sealed: &pb.Sealed{Subject: "poster", Box: []byte{1}}, Petitioner: pick(random, []string{"", "poster", "a", "b", "c"}),
				Unredacted: random.IntN(10) == 0,
			}
			if s.Exists() && random.IntN(4) > 0 { // whoever has the wall
				a.Actor.Unit = s.Keeper
			}
			if random.IntN(5) == 0 {
				a.Actor.Roles = []pb.Role{pick(random, roles)}
			}
			before := s
			events, err := wall.Decide(s, a, command)
			if refusal := new(rule.Refusal); err != nil && !errors.As(err, &refusal) {
				t.Fatalf("seed %d, %T: %v", seed, command, err)
			}
			if len(events) > 1 {
				t.Fatalf("%T: got %d events", command, len(events))
			}
			for _, e := range events {
				meta := &pb.EventMeta{OccurredAt: timestamppb.New(at), RecordedAt: timestamppb.New(at), Actor: &pb.Actor{Unit: a.Actor.Unit}}
				if s, err = wall.Evolve(before, meta, e); err != nil {
					t.Fatal(err)
				}
				if err := wall.CheckInvariants(before, s, meta, e); err != nil {
					t.Fatalf("seed %d: %v, after %+v", seed, err, before)
				}
			}
			reached[s.State]++
			seen := map[string]bool{s.Subject: true}
			for _, resident := range s.Supporters {
				if seen[resident] {
					t.Fatalf("%q counts twice, or posted it: %v", resident, s.Supporters)
				}
				seen[resident] = true
			}
			if m := s.Message("id"); s.Exists() && (!m.PostedAt.AsTime().Equal(s.PostedAt) || int(m.Supports) != len(s.Supporters) || (m.Ticket != "") != slices.Contains([]pb.PostState{
				pb.PostState_POST_STATE_SELF_SOLVED, pb.PostState_POST_STATE_TICKETED, pb.PostState_POST_STATE_ECHOED, pb.PostState_POST_STATE_REVIEWED}, s.State)) {
				t.Fatalf("got %v of %+v", m, s)
			}
		}
	}
	for state, name := range pb.PostState_name {
		if reached[pb.PostState(state)] == 0 {
			t.Errorf("no post came to be %s", name)
		}
	}
}

// asked is what somebody asks with, a while after the post was put up.
func asked(r rule.Registry, unit string, role pb.Role, after time.Duration) *rule.Asked {
	return &rule.Asked{
		Actor: rule.Actor{Person: "p", Roles: []pb.Role{role}, Unit: unit}, At: start.Add(after), OccurredAt: start.Add(after), Registry: r,
		Calendar: calendar.Default(), Profile: calendar.DefaultProfile(), No: "N", Sealed: &pb.Sealed{Subject: "poster", Box: []byte{1}},
	}
}

// do carries out a command that must not be refused.
func do(t *testing.T, s wall.State, a *rule.Asked, command proto.Message) wall.State {
	t.Helper()
	events, err := wall.Decide(s, a, command)
	if err != nil {
		t.Fatalf("%T: %v", command, err)
	}
	for _, e := range events {
		meta := &pb.EventMeta{OccurredAt: timestamppb.New(a.OccurredAt), RecordedAt: timestamppb.New(a.At)}
		before := s
		if s, err = wall.Evolve(s, meta, e); err != nil {
			t.Fatal(err)
		}
		if err := wall.CheckInvariants(before, s, meta, e); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func screened(t *testing.T, r rule.Registry, category string) wall.State {
	t.Helper()
	s := do(t, wall.State{}, asked(r, "city", pb.Role_ROLE_CITIZEN, 0), &pb.PostOnWallRequest{Area: "g1", Category: category, Particulars: &pb.Particulars{Text: "x"}})
	return do(t, s, asked(r, "g1", pb.Role_ROLE_GRID_WORKER, time.Minute), &pb.ScreenPostRequest{Admit: true, Particulars: &pb.Particulars{Reply: "x"}})
}

func TestAsManyAreDrawnAsTheWeightsSay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		weights     *pb.ReviewWeights
		percent     uint32
		least, most int
	}{
		{nil, 10, 60, 140}, {&pb.ReviewWeights{VerifyPercent: 100}, 100, 1000, 1000}, {&pb.ReviewWeights{}, 0, 0, 0}, {&pb.ReviewWeights{VerifyPercent: 50}, 50, 430, 570},
	} {
		r := city(c.weights)
		s, drawn := screened(t, r, "1"), 0
		for i := range 1000 {
			s.No = fmt.Sprint("N", i)
			solved := do(t, s, asked(r, "g1", pb.Role_ROLE_GRID_WORKER, time.Hour), &pb.SelfSolvePostRequest{Particulars: &pb.Particulars{Reply: "x"}})
			if solved.Percent != c.percent {
				t.Fatalf("got %d in a hundred, want %d", solved.Percent, c.percent)
			}
			if solved.Drawn {
				drawn++
			}
		}
		if drawn < c.least || drawn > c.most {
			t.Errorf("of 1000 posts %d are drawn, want %d in a hundred", drawn, c.percent)
		}
	}
}

func TestWhoSolvesAPostDoesNotKnowBeforehandWhetherItIsDrawn(t *testing.T) {
	t.Parallel()
	r := city(&pb.ReviewWeights{VerifyPercent: 50})
	s := screened(t, r, "1")
	drawn := map[bool]bool{}
	for i := range 64 {
		drawn[do(t, s, asked(r, "g1", pb.Role_ROLE_GRID_WORKER, time.Hour+time.Duration(i)*time.Microsecond), &pb.SelfSolvePostRequest{Particulars: &pb.Particulars{Reply: "x"}}).Drawn] = true
	}
	if len(drawn) != 2 {
		t.Errorf("at every instant it is %v", drawn)
	}
}

func TestAnIncidentIsSolvedOnTheWallWithPhotosAndABannedMatterNotAtAll(t *testing.T) {
	t.Parallel()
	r := city(nil)
	a := asked(r, "g1", pb.Role_ROLE_GRID_WORKER, time.Hour)
	reason := func(s wall.State, c *pb.SelfSolvePostRequest) rule.Reason {
		c.Particulars = &pb.Particulars{Reply: "x"}
		_, err := wall.Decide(s, a, c)
		refusal := new(rule.Refusal)
		errors.As(err, &refusal)
		return refusal.Reason
	}
	photo := func(kind pb.AttachmentKind) *pb.Attachment {
		return &pb.Attachment{Kind: kind, Position: &pb.LonLat{Lon: 120}, ShotAt: timestamppb.New(start)}
	}
	before, after := photo(pb.AttachmentKind_ATTACHMENT_KIND_BEFORE), photo(pb.AttachmentKind_ATTACHMENT_KIND_AFTER)
	incident := screened(t, r, "3")
	if got := reason(incident, &pb.SelfSolvePostRequest{Attachments: []*pb.Attachment{before}}); got != rule.PhotosNeeded {
		t.Errorf("with one photo: got %q", got)
	}
	if got := reason(incident, &pb.SelfSolvePostRequest{Attachments: []*pb.Attachment{before, after}}); got != "" {
		t.Errorf("with both photos: got %q", got)
	}
	if got := reason(screened(t, r, "4"), &pb.SelfSolvePostRequest{}); got != rule.BannedInCommunities {
		t.Errorf("a banned matter: got %q", got)
	}
}
