package whole

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// place tells callers where the server is, from one restart to the next.
type place struct {
	mu    sync.Mutex
	c     client
	moved chan struct{} // closed when c is another
}

func newPlace() *place { return &place{moved: make(chan struct{})} }

func (p *place) now() (client, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.c, p.moved
}

func (p *place) move(c client) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.c.conn != nil {
		_ = p.c.conn.Close()
	}
	p.c = c
	close(p.moved)
	p.moved = make(chan struct{})
}

// command is one that callers send until it is answered.
type command struct {
	id   string
	send func(context.Context, client) (*pb.TicketAnswer, error)
}

// books are the answers that callers got.
type books struct {
	mu      sync.Mutex
	answers map[string]*pb.TicketAnswer // by request id
	resent  int                         // answered only after their outcome had been unknown
	repeats int                         // of these, carried out before the crash
	n       atomic.Int64
	more    chan struct{} // holds one; tells of an answer
}

func newBooks() *books {
	return &books{answers: map[string]*pb.TicketAnswer{}, more: make(chan struct{}, 1)}
}

func (b *books) enter(id string, a *pb.TicketAnswer, resent bool) {
	b.mu.Lock()
	b.answers[id] = a
	if resent {
		b.resent++
		if a.Repeated {
			b.repeats++
		}
	}
	b.mu.Unlock()
	b.n.Add(1)
	select {
	case b.more <- struct{}{}:
	default:
	}
}

// await waits for n answers in all.
func (b *books) await(t testing.TB, n int64) {
	t.Helper()
	late := time.After(patience)
	for b.n.Load() < n {
		select {
		case <-b.more:
		case <-late:
			t.Fatalf("only %d answers; want %d", b.n.Load(), n)
		}
	}
}

// until sends a command until it is answered. An error that is not about the connection is a fault.
func (b *books) until(ctx context.Context, p *place, c command) (*pb.TicketAnswer, error) {
	for resent := false; ; resent = true {
		at, moved := p.now()
		if at.conn != nil {
			answer, err := c.send(ctx, at)
			if err == nil {
				b.enter(c.id, answer, resent)
				return answer, nil
			}
			if ctx.Err() != nil || !unknown(err) {
				return nil, fmt.Errorf("%s: %w", c.id, err)
			}
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// load reports tickets, accepts some and answers some of these, until done is closed; then it ends with what it has begun.
func (b *books) load(ctx context.Context, p *place, who string, done <-chan struct{}) error {
	ctx = agent(ctx)
	for n := 0; ; n++ {
		select {
		case <-done:
			return nil
		default:
		}
		id := fmt.Sprintf("%s/%d", who, n)
		report := matter(id + "/report")
		report.Particulars.Petitioner.Phone = fmt.Sprintf("139%08d", n%50)
		a, err := b.until(ctx, p, command{report.RequestId, func(ctx context.Context, c client) (*pb.TicketAnswer, error) { return c.ReportTicket(ctx, report) }})
		if err != nil {
			return err
		}
		if n%2 == 0 {
			continue
		}
		accept := &pb.AcceptTicketRequest{Name: a.Name, RequestId: id + "/accept", Etag: a.Etag}
		if a, err = b.until(ctx, p, command{accept.RequestId, func(ctx context.Context, c client) (*pb.TicketAnswer, error) { return c.AcceptTicket(ctx, accept) }}); err != nil {
			return err
		}
		if n%4 == 1 {
			continue
		}
		answer := &pb.AnswerTicketDirectlyRequest{Name: a.Name, RequestId: id + "/answer", KnowledgeRef: "KB-1", Particulars: &pb.Particulars{Reply: "已答复"}}
		if _, err = b.until(ctx, p, command{answer.RequestId, func(ctx context.Context, c client) (*pb.TicketAnswer, error) {
			return c.AnswerTicketDirectly(ctx, answer)
		}}); err != nil {
			return err
		}
	}
}

// intake reports tickets through a stream, many on their way at once, until done is closed and all are answered.
func (b *books) intake(ctx context.Context, p *place, who string, done <-chan struct{}) error {
	ctx = agent(ctx)
	waiting := map[uint64]*pb.ReportTicketRequest{} // sent and not answered
	resent := map[uint64]bool{}
	for next := uint64(0); ; {
		at, moved := p.now()
		if at.conn != nil {
			over, err := b.intakeOnce(ctx, at, who, &next, waiting, resent, done)
			if over || ctx.Err() != nil || err != nil && !unknown(err) {
				return err
			}
			for n := range waiting {
				resent[n] = true
			}
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (b *books) intakeOnce(ctx context.Context, at client, who string, next *uint64, waiting map[uint64]*pb.ReportTicketRequest, resent map[uint64]bool, done <-chan struct{}) (over bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := at.IntakeTickets(ctx)
	if err != nil {
		return false, err
	}
	for _, n := range slices.Sorted(maps.Keys(waiting)) {
		if stream.Send(&pb.IntakeTicketsRequest{Sequence: n, Report: waiting[n]}) != nil {
			_, err = stream.Recv()
			return false, err
		}
	}
	ending := false
	for {
		for !ending && len(waiting) < 20 {
			r := matter(fmt.Sprintf("%s/%d/report", who, *next))
			waiting[*next] = r
			if stream.Send(&pb.IntakeTicketsRequest{Sequence: *next, Report: r}) != nil {
				*next++
				_, err = stream.Recv()
				return false, err
			}
			*next++
			select {
			case <-done:
				ending = true
			default:
			}
		}
		if len(waiting) == 0 {
			return true, stream.CloseSend()
		}
		m, err := stream.Recv()
		if err != nil {
			return false, err
		}
		if f := m.GetFailure(); f != nil {
			if f.Code == 14 { // unavailable: the outcome is unknown; the stream goes on, and the message is sent again
				return false, fmt.Errorf("message %d: %s", m.Sequence, f.Message)
			}
			return false, fmt.Errorf("message %d: %v", m.Sequence, f)
		}
		b.enter(waiting[m.Sequence].RequestId, m.GetAnswer(), resent[m.Sequence])
		delete(waiting, m.Sequence)
		select {
		case <-done:
			ending = true
		default:
		}
	}
}

// check wants every answered command in the history exactly once, where its answer said, and nothing of it doubled.
func (b *books) check(t testing.TB, c client) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	found := map[string][]*pb.HistoryEvent{}
	at := map[string]*pb.HistoryEvent{}
	reports := map[string]string{} // ticket to the request that reported it
	for _, e := range history(t, c, &pb.StreamHistoryRequest{}) {
		at[e.Position] = e
		found[e.RequestId] = append(found[e.RequestId], e)
		if e.Type == "TicketReported" {
			if was, twice := reports[e.Stream]; twice {
				t.Errorf("%s was reported by %s and by %s", e.Stream, was, e.RequestId)
			}
			reports[e.Stream] = e.RequestId
		}
	}
	wrong := 0
	for id, a := range b.answers {
		events := found[id]
		var meta pb.EventMeta
		switch {
		case len(events) == 0:
			t.Errorf("%s was answered and is not in the history", id)
		case proto.Unmarshal(events[0].Meta, &meta) != nil:
			t.Errorf("%s: the envelope cannot be read", id)
		case len(events) != int(meta.Count):
			t.Errorf("%s led to %d events; want %d", id, len(events), meta.Count)
		case events[len(events)-1].Position != a.ConsistencyToken || events[0].Stream != "ticket-"+a.Name[len("tickets/"):]:
			t.Errorf("%s was answered with %s at %s; it is %s at %s", id, a.Name, a.ConsistencyToken, events[0].Stream, events[len(events)-1].Position)
		case fmt.Sprintf("%q", fmt.Sprint(events[len(events)-1].Version)) != a.Etag:
			t.Errorf("%s was answered with version %s; it is %d", id, a.Etag, events[len(events)-1].Version)
		default:
			continue
		}
		if wrong++; wrong > 10 {
			t.Fatal("and so on")
		}
	}
	for id, events := range found {
		if _, answered := b.answers[id]; !answered && events[0].Actor.GetPerson() == "p-1" {
			t.Errorf("%s is in the history and was never answered", id)
		}
		for i, e := range events[1:] {
			if e.Stream != events[0].Stream || e.Version != events[i].Version+1 {
				t.Errorf("%s is in the history twice: %s@%d and %s@%d", id, events[i].Stream, events[i].Version, e.Stream, e.Version)
			}
		}
	}
}

// anyToken is the token of one of the answers.
func (b *books) anyToken() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range b.answers {
		return a.ConsistencyToken
	}
	return ""
}

func TestKilledAtAnyMomentUnderLoadNothingAnsweredIsLostAndNothingIsDoubled(t *testing.T) {
	t.Parallel()
	const kills, callers = 40, 6
	data := city(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	p, b, done := newPlace(), newBooks(), make(chan struct{})
	failed := make(chan error, callers+1)
	var callersEnd sync.WaitGroup
	for n := range callers {
		callersEnd.Go(func() { failed <- b.load(ctx, p, fmt.Sprintf("caller-%d", n), done) })
	}
	callersEnd.Go(func() { failed <- b.intake(ctx, p, "stream", done) })

	args := []string{"--data", data, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"}
	duringStart := 0
	for n := range kills {
		s, out := launch(t, nil, args...)
		if n%5 == 4 {
			// While it starts: opening the files, reading the log that the last one left, telling where it is.
			go io.Copy(io.Discard, out)
			<-time.After(rand.N(120 * time.Millisecond))
			s.kill()
			duringStart++
			continue
		}
		if !s.ready(out) {
			t.Fatalf("after %d kills the server does not start:\n%s", n, s.stderr)
		}
		c, err := dial(s.grpc)
		if err != nil {
			t.Fatal(err)
		}
		if token := b.anyToken(); token != "" {
			// What was answered before the crash is a place in the history that queries can wait for.
			if _, err := c.ListClosure(auditor(ctx), &pb.ListClosureRequest{Level: "all", MinConsistencyToken: token}); err != nil {
				t.Errorf("token %s, answered before a crash: %v", token, err)
			}
		}
		before := b.n.Load()
		p.move(c)
		b.await(t, before+1+rand.Int64N(300))
		<-time.After(rand.N(20 * time.Millisecond))
		s.kill()
	}

	s := serve(t, data)
	c, err := dial(s.grpc)
	if err != nil {
		t.Fatal(err)
	}
	p.move(c)
	close(done)
	callersEnd.Wait()
	for range callers + 1 {
		if err := <-failed; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	b.check(t, c)
	s.stop(t)
	verified(t, data)
	t.Logf("%d kills (%d while starting); %d commands answered, %d of them only when sent again, %d of these had been carried out before the crash",
		kills, duringStart, b.n.Load(), b.resent, b.repeats)
	if b.resent == 0 {
		t.Error("no kill cut off a command: the load was too small to show anything")
	}
}
