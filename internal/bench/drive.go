package bench

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

const (
	maxCallers = 256
	// livesEach is how many tickets a caller has under way, so that commands are spread over more tickets than callers.
	livesEach = 4
	// connections is how many the callers share.
	connections = 4
)

// target is a server with callers that talk to it.
type target struct {
	service string
	conns   []*grpc.ClientConn
	callers []*callerOf
}

// callerOf is one caller of a target, with its tickets under way. It belongs to one goroutine at a time.
type callerOf struct {
	target *target
	conn   *grpc.ClientConn
	lives  []*life
	turn   int
}

// dial makes a target of a server. Each caller has so many tickets, somewhere in the middle of their lives.
func dial(ctx context.Context, c *city, addr, service, run string, lives int) (*target, error) {
	t := &target{service: service}
	for range connections {
		conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return nil, err
		}
		t.conns = append(t.conns, conn)
	}
	for i := range maxCallers {
		one := &callerOf{target: t, conn: t.conns[i%len(t.conns)]}
		for j := range lives {
			one.lives = append(one.lives, newLife(c, fmt.Sprintf("bench/%s/%d/%d", run, i, j), uint64(i*lives+j)))
		}
		t.callers = append(t.callers, one)
	}
	var fault fault
	var working sync.WaitGroup
	for i, one := range t.callers {
		working.Go(func() {
			for j, l := range one.lives {
				for range (i*3 + j*7) % steps {
					if _, err := one.give(ctx, l); err != nil {
						fault.set(err)
						return
					}
				}
			}
		})
	}
	working.Wait()
	if err := fault.get(); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *target) close() {
	for _, conn := range t.conns {
		_ = conn.Close() // it is only to be rid of
	}
}

// give gives the next command of a life and waits for its answer.
func (c *callerOf) give(ctx context.Context, l *life) (*pb.TicketAnswer, error) {
	next := l.next()
	answer := new(pb.TicketAnswer)
	if err := c.conn.Invoke(metadata.NewOutgoingContext(ctx, next.by.metadata), c.target.service+next.method, next.message, answer); err != nil {
		return nil, fmt.Errorf("%s: %w", next.method, err)
	}
	l.done(answer.Name)
	return answer, nil
}

// one gives one command, of whichever ticket's turn it is.
func (c *callerOf) one(ctx context.Context) (*pb.TicketAnswer, error) {
	c.turn = (c.turn + 1) % len(c.lives)
	return c.give(ctx, c.lives[c.turn])
}

// fault keeps the first error of many goroutines.
type fault struct{ first atomic.Pointer[error] }

func (f *fault) set(err error) { f.first.CompareAndSwap(nil, &err) }

func (f *fault) get() error {
	if p := f.first.Load(); p != nil {
		return *p
	}
	return nil
}

// pace is what a closed loop came to.
type pace struct {
	perSecond float64
	// cpu is the processor time of one command, callers included: what is left of the figure on a machine that others use too.
	cpu time.Duration
	// store is that of the store's own processes, if they were started here.
	store time.Duration
	done  int64 // commands, at least 1
}

// closedLoop has n callers give commands for a while, each the next as soon as the last is answered.
func (t *target) closedLoop(ctx context.Context, n int, lasts time.Duration) (pace, error) {
	var stop atomic.Bool
	var count atomic.Int64
	var fault fault
	var working sync.WaitGroup
	began, spent := time.Now(), processorTime()
	for _, c := range t.callers[:n] {
		working.Go(func() {
			done := int64(0)
			for !stop.Load() {
				if _, err := c.one(ctx); err != nil {
					fault.set(err)
					break
				}
				done++
			}
			count.Add(done)
		})
	}
	pause(ctx, lasts)
	stop.Store(true)
	working.Wait()
	done := max(count.Load(), 1)
	return pace{perSecond: float64(done) / time.Since(began).Seconds(), cpu: (processorTime() - spent) / time.Duration(done), done: done}, fault.get()
}

// processorTime is what this process has used so far.
func processorTime() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// pause lets others work for a while.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// openLoop gives rate commands a second for a while, each at its time whether or not earlier ones were answered, and gives how long each
// took from the instant it was due: a server that stalls is charged with all that should have come meanwhile. heard, if not nil, hears of
// each answer.
func (t *target) openLoop(ctx context.Context, rate float64, lasts time.Duration, heard func(n int, answer *pb.TicketAnswer)) ([]time.Duration, error) {
	total := max(int(rate*lasts.Seconds()), 1)
	took := make([]time.Duration, total)
	gap := time.Duration(float64(time.Second) / rate)
	var next atomic.Int64
	var fault fault
	var working sync.WaitGroup
	began := time.Now()
	for _, c := range t.callers {
		working.Go(func() {
			timer := time.NewTimer(0)
			defer timer.Stop()
			for {
				n := int(next.Add(1) - 1)
				if n >= total || fault.get() != nil {
					return
				}
				due := began.Add(time.Duration(n) * gap)
				if wait := time.Until(due); wait > 0 {
					timer.Reset(wait)
					select {
					case <-timer.C:
					case <-ctx.Done():
						fault.set(ctx.Err())
						return
					}
				}
				answer, err := c.one(ctx)
				if err != nil {
					fault.set(err)
					return
				}
				took[n] = time.Since(due)
				if heard != nil {
					heard(n, answer)
				}
			}
		})
	}
	working.Wait()
	return took, fault.get()
}

// quantile gives the q-quantile, in milliseconds.
func quantile(took []time.Duration, q float64) float64 {
	if len(took) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(took))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)].Seconds() * 1000
}

// median gives the middle one.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted) / 2
	if len(sorted)%2 == 0 {
		return (sorted[n-1] + sorted[n]) / 2
	}
	return sorted[n]
}
