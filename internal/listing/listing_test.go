package listing_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/listing"
	"github.com/chuishao/dispatch/internal/rule"
)

var start = time.Date(2025, 3, 5, 1, 0, 0, 0, time.UTC)

func meta(at time.Time, person, unit string) *pb.EventMeta {
	return &pb.EventMeta{OccurredAt: timestamppb.New(at), RecordedAt: timestamppb.New(at.Add(time.Second)), Actor: &pb.Actor{Person: person, Unit: unit}}
}

type step struct {
	person, unit string
	event        proto.Message
}

var (
	begun    = step{"s", "centre", &pb.ProblemListed{No: "1", Path: []*pb.AreaNode{{Level: "city", Code: "c"}}, Owner: "owner", Issuer: "centre", PlanBy: timestamppb.New(start.Add(time.Hour)), ClearBy: timestamppb.New(start.Add(48 * time.Hour))}}
	planned  = step{"h", "owner", &pb.RectificationPlanned{Person: "h", ClearBy: timestamppb.New(start.Add(24 * time.Hour))}}
	reported = step{"h", "owner", &pb.RectificationReported{Attachments: []*pb.Attachment{{Uri: "photo/1"}}}}
	passed   = step{"g", "grid", &pb.RectificationChecked{Passed: true}}
	failed   = step{"g", "grid", &pb.RectificationChecked{}}
	cleared  = step{"s", "centre", &pb.ListedProblemCleared{}}
	missed   = step{"timers", "", &pb.ListingTimerPassed{Timer: pb.ListingTimer_LISTING_TIMER_CLEAR, By: timestamppb.New(start.Add(48 * time.Hour))}}
)

// lived is a listing after some steps, and what is wrong with the last.
func lived(t *testing.T, steps ...step) (s listing.State, err error) {
	t.Helper()
	for i, x := range steps {
		m, before := meta(start.Add(time.Duration(i)*time.Minute), x.person, x.unit), s
		next, broken := listing.Evolve(s, m, x.event)
		if broken != nil {
			t.Fatal(broken)
		}
		if err = listing.CheckInvariants(before, next, m, x.event); err != nil && i < len(steps)-1 {
			t.Fatalf("step %d: %v", i, err)
		}
		s = next
	}
	return s, err
}

func TestWhatNoListingMayHoldIsFound(t *testing.T) {
	t.Parallel()
	for name, steps := range map[string][]step{
		"cleared":                  {begun, planned, reported, passed, cleared},
		"cleared after it failed":  {begun, planned, reported, failed, planned, reported, passed, cleared},
		"held to account":          {begun, {"s", "centre", &pb.OwnerAccounted{Kind: pb.AccountKind_ACCOUNT_KIND_BULLETIN}}},
		"overdue when it was done": {begun, planned, reported, passed, missed, cleared},
	} {
		if _, err := lived(t, steps...); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, steps := range map[string][]step{
		"done without a plan":             {begun, reported},
		"done by a plan that failed":      {begun, planned, reported, failed, reported},
		"done without evidence":           {begun, planned, {"h", "owner", &pb.RectificationReported{}}},
		"looked at before it was done":    {begun, planned, passed},
		"looked at by its owner":          {begun, planned, reported, {"h", "owner", &pb.RectificationChecked{Passed: true}}},
		"cleared before anybody looked":   {begun, planned, reported, cleared},
		"cleared by whoever looked":       {begun, planned, reported, {"s", "centre", &pb.RectificationChecked{Passed: true}}, cleared},
		"cleared twice":                   {begun, planned, reported, passed, cleared, cleared},
		"listed twice":                    {begun, begun},
		"listed for the issuer":           {{"s", "owner", &pb.ProblemListed{Path: []*pb.AreaNode{{Code: "c"}}, Owner: "owner", Issuer: "owner"}}},
		"listed nowhere":                  {{"s", "centre", &pb.ProblemListed{Owner: "owner", Issuer: "centre"}}},
		"planned by nobody":               {begun, {"h", "owner", &pb.RectificationPlanned{}}},
		"a timer that fired":              {begun, missed, missed},
		"a timer of what is cleared":      {begun, planned, reported, passed, cleared, missed},
		"a timer at another instant":      {begun, {"timers", "", &pb.ListingTimerPassed{Timer: pb.ListingTimer_LISTING_TIMER_CLEAR, By: timestamppb.New(start)}}},
		"held to account after all ended": {begun, planned, reported, passed, cleared, {"s", "centre", &pb.OwnerAccounted{}}},
	} {
		if _, err := lived(t, steps...); err == nil {
			t.Errorf("%s: not found", name)
		}
	}
}

func TestAListingWaitsForItsPlanAndForBeingCleared(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		steps []step
		want  []pb.ListingTimer
	}{
		"listed":           {[]step{begun}, []pb.ListingTimer{pb.ListingTimer_LISTING_TIMER_PLAN, pb.ListingTimer_LISTING_TIMER_CLEAR}},
		"planned":          {[]step{begun, planned}, []pb.ListingTimer{pb.ListingTimer_LISTING_TIMER_CLEAR}},
		"failed":           {[]step{begun, planned, reported, failed}, []pb.ListingTimer{pb.ListingTimer_LISTING_TIMER_CLEAR}},
		"noted as missed":  {[]step{begun, planned, missed}, nil},
		"cleared":          {[]step{begun, planned, reported, passed, cleared}, nil},
		"nobody listed it": {nil, nil},
	} {
		s, err := lived(t, c.steps...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var timed rule.Timed = &s
		var got []pb.ListingTimer
		for _, timer := range timed.Timers() {
			got = append(got, pb.ListingTimer(timer.Which))
		}
		if len(got) != len(c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%s: got %v, want %v", name, got, c.want)
			}
		}
	}
}

func TestAListingIsOverdueFromTheDayUntilItIsClearedInTimeOrNot(t *testing.T) {
	t.Parallel()
	open, _ := lived(t, begun)
	done, _ := lived(t, begun, planned, reported, passed, cleared)
	for _, c := range []struct {
		s    *listing.State
		at   time.Duration
		want bool
	}{{&open, 48 * time.Hour, false}, {&open, 48*time.Hour + time.Millisecond, false}, {&open, 48*time.Hour + time.Second, true}, {&done, 72 * time.Hour, false}} {
		if got := c.s.Overdue(start.Add(c.at)); got != c.want {
			t.Errorf("%s after %v: got %t, want %t", c.s.State, c.at, got, c.want)
		}
	}
}
