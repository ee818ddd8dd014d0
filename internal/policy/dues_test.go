package policy_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/policy"
)

// emergency blows a whistle to two departments and gives its name.
func emergency(t *testing.T, c *dispatchtest.City, text string) string {
	t.Helper()
	_, result, err := c.Whistle(t.Context(), dispatch.Request{Actor: dispatchtest.As(dispatchtest.Street, pb.Role_ROLE_STREET_CLERK), Command: &pb.BlowWhistleRequest{
		RequestId: c.RequestID(), Kind: pb.WhistleKind_WHISTLE_KIND_EMERGENCY, Particulars: &pb.Particulars{Text: text},
		Summons: []*pb.Summons{{Unit: dispatchtest.DistrictUrban}, {Unit: dispatchtest.DistrictTraffic}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return "whistles/" + dispatch.ID(result.Stream)
}

func TestTimersOfWhistlesFireOnceOnAnyNumberOfReplicasAndWhenNobodyRanAtTheirInstant(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	var names []string
	for i := range 5 {
		names = append(names, emergency(t, c, fmt.Sprint("水管爆裂 ", i)))
	}
	_, _, err := c.Whistle(t.Context(), dispatch.Request{Actor: dispatchtest.As(dispatchtest.DistrictUrban, pb.Role_ROLE_DEPARTMENT_CLERK), Command: &pb.ReportInRequest{
		RequestId: "in", Name: names[0], Person: "U-1", Rank: "科长", Position: &pb.LonLat{Lon: 120.3, Lat: 31.6},
	}})
	if err != nil {
		t.Fatal(err)
	}
	absences := func() (all int) {
		for _, n := range recorded(t, c, "NoShow") {
			all += n
		}
		return all
	}
	var replicas []*policy.Timers
	var mu sync.Mutex
	fired := map[string]int{}
	for i := range 3 {
		r := replica(t, c)
		// No two clocks are the same: what they record is told apart.
		ahead, err := dispatch.New(t.Context(), c.Store, c.Keys, dispatch.Options{Clock: func() time.Time {
			return c.Clock.Now().Add(time.Duration(i) * time.Millisecond)
		}})
		if err != nil {
			t.Fatal(err)
		}
		r.Dispatcher = ahead
		r.OnFired = func(timer string) {
			mu.Lock()
			defer mu.Unlock()
			fired[timer]++
		}
		replicas = append(replicas, r)
	}
	all := func() {
		t.Helper()
		var working sync.WaitGroup
		for _, r := range replicas {
			working.Go(func() {
				if _, err := r.FireDue(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		working.Wait()
	}
	c.Clock.Add(29 * time.Minute)
	if all(); absences() != 0 {
		t.Errorf("%d are absent before their time", absences())
	}
	c.Clock.Add(3 * 24 * time.Hour) // nobody ran at the instant
	all()
	all()
	if got := absences(); got != 9 || fired["whistle_report_in"] != 9 || fired["whistle_review"] == 0 {
		t.Errorf("%d are absent, want the 9 that did not come; fired %v", got, fired)
	}
	for i, name := range names {
		s, _, err := c.LoadWhistle(t.Context(), name)
		if err != nil || len(s.Timers()) > 0 && s.Timers()[0].By.Before(c.Clock.Now()) {
			t.Errorf("whistle %d: %v still runs, %v", i, s.Timers(), err)
		}
		for _, p := range s.Participants {
			want := pb.ParticipantState_PARTICIPANT_STATE_NO_SHOW
			if i == 0 && p.Unit == dispatchtest.DistrictUrban {
				want = pb.ParticipantState_PARTICIPANT_STATE_REPORTED_IN
			}
			if p.State != want {
				t.Errorf("whistle %d: %s is %v, want %v", i, p.Unit, p.State, want)
			}
		}
	}
}
