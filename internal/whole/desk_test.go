package whole

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// Whom a street calls where a main bursts.
const (
	waterWorks = "320200000000-GS"
	powerWorks = "320200000000-GD"
	police     = "320205000000-GA"
	emergency  = "320205000000-YJ"
)

// deskSeen is when a desk was first told how far each participant has come.
type deskSeen struct {
	mu    sync.Mutex
	at    map[string]time.Time
	last  *pb.WatchDeskResponse
	moved chan struct{}
}

// watch keeps what a street's desk is told until the stream ends.
func (d *deskSeen) watch(stream interface {
	Recv() (*pb.WatchDeskResponse, error)
}) error {
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		now := time.Now()
		d.mu.Lock()
		for _, w := range m.Whistles {
			for _, a := range w.Arrivals {
				key := a.Unit + " " + a.State.String()
				if _, known := d.at[key]; !known {
					d.at[key] = now
				}
			}
		}
		d.last = m
		close(d.moved)
		d.moved = make(chan struct{})
		d.mu.Unlock()
	}
}

// await gives when the desk was told that a unit has come so far.
func (d *deskSeen) await(t *testing.T, unit string, state pb.ParticipantState) time.Time {
	t.Helper()
	late := time.After(patience)
	for {
		d.mu.Lock()
		at, moved := d.at[unit+" "+state.String()], d.moved
		d.mu.Unlock()
		if !at.IsZero() {
			return at
		}
		select {
		case <-moved:
		case <-late:
			t.Fatalf("the street's desk was not told that %s is %v", unit, state)
		}
	}
}

// TestAnEmergencyWhistleUnderLoadIsOnTheStreetsDesk is the burst main at night: 240 calls come in and are merged, four are summoned, three come and one
// does not, while everybody else keeps the store at full load.
func TestAnEmergencyWhistleUnderLoadIsOnTheStreetsDesk(t *testing.T) {
	t.Parallel()
	calls := 240 / slow
	data := city(t)
	s := serve(t, data)
	p, b, done := newPlace(), newBooks(), make(chan struct{})
	p.move(s.dial(t))
	var callers sync.WaitGroup
	for i := range 16 {
		callers.Go(func() {
			if err := b.load(t.Context(), p, fmt.Sprint("load-", i), done); err != nil {
				t.Error(err)
			}
		})
	}
	b.await(t, 200)

	c := s.dial(t)
	whistles := pb.NewWhistleServiceClient(c.conn)
	agents, duty := agent(t.Context()), as(t.Context(), street, "STREET_CLERK,STREET_LEADER")
	clerk := func(unit string) context.Context { return as(t.Context(), unit, "DEPARTMENT_CLERK") }
	ago := func(minutes int) *timestamppb.Timestamp {
		return timestamppb.New(time.Now().Add(-time.Duration(minutes) * time.Minute))
	}
	call := func(id string, minutes int) *pb.TicketAnswer {
		t.Helper()
		report := matter("burst/" + id)
		report.OccurredAt = ago(minutes)
		report.Category, report.Particulars.Title, report.Particulars.Text = "0401", "水管爆裂", "路面冒水"
		report.Particulars.Petitioner.Phone = fmt.Sprintf("137%08d", len(id))
		a, err := c.ReportTicket(agents, report)
		if err == nil {
			a, err = c.AcceptTicket(agents, &pb.AcceptTicketRequest{Name: a.Name, RequestId: "burst/" + id + "/accept", OccurredAt: ago(minutes)})
		}
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	primary := call("primary", 40).Name
	_, err := c.TriageTicket(agents, &pb.TriageTicketRequest{Name: primary, RequestId: "burst/triage", OccurredAt: ago(38), Category: "0401", Grade: pb.Grade_GRADE_G1})
	if err == nil {
		_, err = c.DispatchTicket(agents, &pb.DispatchTicketRequest{Name: primary, RequestId: "burst/dispatch", OccurredAt: ago(36), Lead: street})
	}
	if err == nil {
		_, err = c.SignTicket(duty, &pb.SignTicketRequest{Name: primary, RequestId: "burst/sign", OccurredAt: ago(35)})
	}
	if err != nil {
		t.Fatal(err)
	}
	watching, stop := context.WithCancel(duty)
	defer stop()
	stream, err := c.WatchDesk(watching, new(pb.WatchDeskRequest))
	if err != nil {
		t.Fatal(err)
	}
	d := &deskSeen{at: map[string]time.Time{}, moved: make(chan struct{})}
	ended := make(chan error, 1)
	go func() { ended <- d.watch(stream) }()

	// Blown half an hour ago, less a moment, and recorded now: who does not come is absent in that moment.
	blown, err := whistles.BlowWhistle(duty, &pb.BlowWhistleRequest{
		RequestId: "burst/blow", Kind: pb.WhistleKind_WHISTLE_KIND_EMERGENCY, Tickets: []string{primary}, Particulars: &pb.Particulars{Text: "主管爆裂，请到场"},
		OccurredAt: timestamppb.New(time.Now().Add(-30*time.Minute + (14+6*slow)*time.Second)),
		Summons:    []*pb.Summons{{Unit: waterWorks}, {Unit: powerWorks}, {Unit: police}, {Unit: emergency}},
	})
	if err != nil {
		t.Fatal(err)
	}
	d.await(t, police, pb.ParticipantState_PARTICIPANT_STATE_PENDING)

	var merging sync.WaitGroup
	for i := range 8 {
		merging.Go(func() {
			for n := i; n < calls; n += 8 {
				id := fmt.Sprint("call-", n)
				if _, err := c.MergeTicket(agents, &pb.MergeTicketRequest{Name: call(id, 0).Name, RequestId: "burst/" + id + "/merge", Into: primary}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	worst := time.Duration(0)
	for i, unit := range []string{powerWorks, waterWorks, emergency} {
		for _, step := range []struct {
			state pb.ParticipantState
			do    func() error
		}{
			{pb.ParticipantState_PARTICIPANT_STATE_SIGNED, func() error {
				_, err := whistles.SignWhistle(clerk(unit), &pb.SignWhistleRequest{Name: blown.Name, RequestId: fmt.Sprint("burst/sign/", i)})
				return err
			}},
			{pb.ParticipantState_PARTICIPANT_STATE_REPORTED_IN, func() error {
				_, err := whistles.ReportIn(clerk(unit), &pb.ReportInRequest{Name: blown.Name, RequestId: fmt.Sprint("burst/in/", i), Person: "P-1", Rank: "队长", Position: &pb.LonLat{Lon: 120.35, Lat: 31.58}})
				return err
			}},
		} {
			if err := step.do(); err != nil {
				t.Fatal(err)
			}
			answered := time.Now()
			delay := d.await(t, unit, step.state).Sub(answered)
			t.Logf("%s %v: %v after the answer", unit, step.state, delay)
			worst = max(worst, delay)
		}
	}
	told := d.await(t, police, pb.ParticipantState_PARTICIPANT_STATE_NO_SHOW)
	line, err := c.ListTimeline(duty, &pb.ListTimelineRequest{Name: blown.Name})
	if err != nil {
		t.Fatal(err)
	}
	absences := 0
	for _, e := range line.Entries {
		if e.Type == "NoShow" {
			absences++
			delay := told.Sub(e.RecordedAt.AsTime())
			t.Logf("the absence: %v after it was recorded", delay)
			worst = max(worst, delay)
		}
	}
	load := b.n.Load()
	merging.Wait()
	close(done)
	callers.Wait()
	if absences != 1 {
		t.Errorf("%d absences are recorded, want that of one", absences)
	}
	d.mu.Lock()
	if n := d.last.Counts; n.Whistles != 1 || n.Arrived != 3 || n.Absent != 1 || n.Awaited != 0 {
		t.Errorf("in the end the desk has %v; want one whistle, three there and one absent", n)
	}
	d.mu.Unlock()
	ticket, err := c.GetTicket(agents, &pb.GetTicketRequest{Name: primary})
	if err != nil || len(ticket.Duplicates) != calls {
		t.Errorf("the primary has %d duplicates, %v, want %d", len(ticket.GetDuplicates()), err, calls)
	}
	if got := must(t, projector, "report", "whistles", "--addr", s.grpc, "--area", community, "--format", "csv"); strings.Count(got, ",reported_in,") != 3 ||
		strings.Count(got, ",no_show,") != 1 {
		t.Errorf("the report of whistles has\n%s", got)
	}
	if got := must(t, projector, "report", "closure", "--addr", s.grpc, "--level", "street", "--metric", "M34", "--format", "csv"); !strings.Contains(got, ",1,4,0.250000,") {
		t.Errorf("of four who were called one was absent; the report of M34 has\n%s", got)
	}
	if worst > time.Minute {
		t.Errorf("the desk was told %v late", worst)
	}
	t.Logf("worst delay %v, with %d other commands meanwhile", worst, load)
	stop()
	if err := <-ended; !errors.Is(context.Cause(watching), context.Canceled) || err == nil {
		t.Errorf("the watch ended with %v", err)
	}
	s.stop(t)
	verified(t, data)
}
