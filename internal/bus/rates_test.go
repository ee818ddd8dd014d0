package bus

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/view"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// figures reads the share of closed tickets of a node from the view of a city, as a node does.
func figures(t *testing.T, city *dispatchtest.City) (*view.Reader, func(context.Context, []Node, eventstore.Position) (Figures, error)) {
	t.Helper()
	db, err := viewdb.Open(filepath.Join(t.TempDir(), "views.db"), viewdb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	p, err := projector.Open(t.Context(), city.Store, db, projector.Options{Now: city.Clock.Now}, view.All(city.Zone())...)
	if err != nil {
		t.Fatal(err)
	}
	run(t, p.Run)
	views := view.NewReader(db, city.Store)
	return views, func(ctx context.Context, nodes []Node, atLeast eventstore.Position) (Figures, error) {
		if err := p.WaitFor(ctx, atLeast, view.ClosureView); err != nil {
			return Figures{}, err
		}
		codes := map[string][]string{}
		for _, n := range nodes {
			codes[n.Level] = append(codes[n.Level], n.Code)
		}
		told := Figures{Of: map[Node][]*pb.MetricFigure{}, From: dispatchtest.Start.AddDate(0, 0, -4), At: city.Clock.Now()}
		all, at, err := views.FiguresOf(ctx, []string{"M14"}, codes, view.MetricQuery{})
		for _, f := range all {
			told.Of[Node{f.Level, f.Code}] = []*pb.MetricFigure{f}
		}
		told.Position = at
		return told, err
	}
}

// rates is one that tries again soon, and whose troubles fail the test.
func rates(t *testing.T, nc *nats.Conn, city *dispatchtest.City, read func(context.Context, []Node, eventstore.Position) (Figures, error)) *Rates {
	return &Rates{
		Conn: nc, Store: city.Store, Read: read, Every: 5 * time.Millisecond, Standby: 10 * time.Millisecond, Settle: time.Millisecond,
		OnTrouble: func(err error) { t.Errorf("rates had trouble: %v", err) },
	}
}

// told waits until figures were told up to the end of the history.
func told(t *testing.T, r *Rates, head eventstore.Position) (wait func()) {
	t.Helper()
	var mu sync.Mutex
	var last eventstore.Position
	r.OnProgress = func(at eventstore.Position) {
		mu.Lock()
		defer mu.Unlock()
		last = max(last, at)
	}
	return func() {
		until(t, "told", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return last >= head
		})
	}
}

// compare checks that the last figures on the bus are those that the view gives of each area alone, of every area that has any.
func compare(t *testing.T, nc *nats.Conn, city *dispatchtest.City, views *view.Reader) (areas int) {
	t.Helper()
	alone := func(n Node) (*pb.MetricFigure, error) {
		f, _, err := views.MetricOf(t.Context(), view.MetricQuery{Metric: "M14", Level: n.Level, Code: n.Code})
		return f, err
	}
	nodes := map[string]Node{}
	p := newPlaces(city.Store)
	for _, d := range history(t, city.Store) {
		_, after, err := p.move(t.Context(), &d)
		if err != nil {
			t.Fatal(err)
		}
		for i, n := range after.path {
			if strings.HasPrefix(d.Stream, "ticket-") && n.Code != unlocated {
				nodes[ratesRoot+"."+spell(after.path[:i+1]).String()] = Node{n.Level, n.Code}
			}
		}
	}
	for _, m := range all(t, nc, Rate, ratesRoot+".>") {
		node, ok := nodes[m.Subject()]
		if !ok {
			t.Errorf("%s is no area of the history", m.Subject())
			continue
		}
		delete(nodes, m.Subject())
		want, err := alone(node)
		if err != nil {
			t.Fatal(err)
		}
		var got pb.ListMetricsResponse
		if err := proto.Unmarshal(m.Data(), &got); err != nil {
			t.Fatal(err)
		}
		if len(got.Figures) != 1 || !proto.Equal(got.Figures[0], want) {
			t.Errorf("%s: got %v, want %v", m.Subject(), got.Figures, want)
		}
		areas++
	}
	for subject := range nodes {
		t.Errorf("%s was not told", subject)
	}
	return areas
}

func TestTheLastFiguresOnTheBusAreThoseOfTheViewThoughRivalsTellThem(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	s, nc := open(t, Options{})
	views, read := figures(t, city)
	heard := newListener(t, nc)
	over := make(chan struct{})
	var rivals sync.WaitGroup
	for n := range 3 {
		rivals.Go(func() {
			for round := 0; ; round++ {
				own, err := s.Connect()
				if err != nil {
					t.Error(err)
					return
				}
				ctx, cancel := context.WithCancel(context.Background())
				done := make(chan error, 1)
				r := rates(t, own, city, read)
				r.OnTrouble = nil // of its connection
				go func() { done <- r.Run(ctx) }()
				stop := false
				select {
				case <-over:
					stop = true
				case <-time.After(time.Duration((50+30*n+20*(round%5))*(1+round/3)) * time.Millisecond):
				}
				if round%2 == 0 {
					own.Close()
				}
				cancel()
				<-done
				own.Close()
				if stop {
					return
				}
			}
		})
	}
	finish := sync.OnceFunc(func() {
		close(over)
		rivals.Wait()
	})
	defer finish()
	live(t, city, 11, 20, 25, nil)
	finish()
	head, err := city.Store.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	city.Report(t, dispatchtest.Community) // so that there is something to tell for sure
	r := rates(t, nc, city, read)
	wait := told(t, r, head+1)
	run(t, r.Run)
	wait()
	if areas := compare(t, nc, city, views); areas < 10 {
		t.Errorf("%d areas have figures: nothing is shown", areas)
	}

	if heard() < 50 {
		t.Error("hardly a message was heard: nothing is shown")
	}
}

// newListener hears what becomes the last of an area. Of each what its figures are as of must grow, and never lie before what everything is said to be told up to.
func newListener(t *testing.T, nc *nats.Conn) (count func() int) {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	c, err := js.OrderedConsumer(t.Context(), Rate, jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	last, n := map[string]uint64{}, 0
	hearing, err := c.Consume(func(m jetstream.Msg) {
		mu.Lock()
		defer mu.Unlock()
		n++
		at, err := strconv.ParseUint(m.Headers().Get(AsOfHeader), 10, 64)
		position, also := strconv.ParseUint(m.Headers().Get(PositionHeader), 10, 64)
		if err != nil || also != nil || at <= last[m.Subject()] || at < position {
			t.Errorf("%s: figures as of %d came after those of %d; all is told up to %d", m.Subject(), at, last[m.Subject()], position)
		}
		last[m.Subject()] = at
	})
	if err != nil {
		t.Fatal(err)
	}
	return func() int {
		hearing.Stop()
		<-hearing.Closed()
		mu.Lock()
		defer mu.Unlock()
		return n
	}
}

func TestFiguresAreToldAgainOnlyWhereTheyChanged(t *testing.T) {
	t.Parallel()
	city := dispatchtest.Open(t)
	_, nc := open(t, Options{})
	_, read := figures(t, city)
	name := city.Report(t, dispatchtest.Community)
	sequence := func() uint64 {
		m, err := (&journal{nc, Rate}).last(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return m.seq
	}
	tell := func() {
		t.Helper()
		head, err := city.Store.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r := rates(t, nc, city, read)
		wait := told(t, r, head)
		stop := run(t, r.Run)
		wait()
		stop()
	}
	city.ToHandling(t, name, dispatchtest.DistrictUrban)
	tell()
	before := sequence()
	if before != 4 {
		t.Errorf("%d messages are there, want one for the city, the district, the street and the community", before)
	}
	clerk := dispatchtest.As(dispatchtest.DistrictUrban, pb.Role_ROLE_DEPARTMENT_CLERK)
	city.Do(t, clerk, &pb.RecordContactRequest{Name: name, RequestId: city.RequestID(), Channel: "phone", Reached: true})
	tell() // by another process, which learns from the bus what was told
	if got := sequence(); got != before {
		t.Errorf("a contact changes no figure, and %d messages were written", got-before)
	}
	city.Clock.Add(time.Hour)
	city.Do(t, clerk, &pb.SubmitResultRequest{Name: name, RequestId: city.RequestID(), Result: pb.ResultCode_RESULT_CODE_RESOLVED, Particulars: &pb.Particulars{Reply: "已修复"}})
	city.Do(t, dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_SUPERVISOR), &pb.VerifyResultRequest{Name: name, RequestId: city.RequestID(), Passed: true})
	city.Do(t, dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_CALLER), &pb.RecordCallbackRequest{Name: name, RequestId: city.RequestID(), Answered: true, Contacted: true, Solved: pb.Solved_SOLVED_YES, Satisfaction: 5})
	city.Do(t, dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_DISPATCHER), &pb.CloseTicketRequest{Name: name, RequestId: city.RequestID()})
	tell()
	if got := sequence(); got != before+4 {
		t.Errorf("the closing wrote %d messages, want 4", got-before)
	}
	messages := all(t, nc, Rate, "rates.320200000000.320205000000.>")
	var subjects []string
	for _, m := range messages {
		subjects = append(subjects, m.Subject())
		var f pb.ListMetricsResponse
		if err := proto.Unmarshal(m.Data(), &f); err != nil {
			t.Fatal(err)
		}
		if len(f.Figures) != 1 || f.Figures[0].Numerator != 1 || f.Figures[0].GetDenominator() != 1 {
			t.Errorf("%s says %v, want 1 of 1 closed", m.Subject(), f.Figures)
		}
		if got, want := m.Headers().Get("ce-periodfrom"), "2025-03-01T01:00:00Z"; got != want {
			t.Errorf("%s is of the period from %s, want %s", m.Subject(), got, want)
		}
	}
	slices.Sort(subjects)
	district := "rates.320200000000.320205000000"
	want := []string{district + ".320205001000.320205001001._", district + ".320205001000._._", district + "._._._"}
	if fmt.Sprint(subjects) != fmt.Sprint(want) {
		t.Errorf("the district's subtree has %q, want %q", subjects, want)
	}
}
