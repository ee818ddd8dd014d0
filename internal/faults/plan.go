package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// The kinds of faults.
const (
	leaderKilled     = "leader of the stream killed"
	dispatcherKilled = "dispatcher killed"
	projectorKilled  = "projector killed"
	postgresKilled   = "PostgreSQL killed"
	nodeCut          = "node cut off"
)

// kinds are in the order in which they are told.
var kinds = []string{leaderKilled, dispatcherKilled, projectorKilled, postgresKilled, nodeCut}

// tally counts faults.
type tally struct {
	mu    sync.Mutex
	count map[string]int
	kills int
}

func (t *tally) add(kind string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count == nil {
		t.count = map[string]int{}
	}
	t.count[kind]++
	if kind != nodeCut {
		t.kills++
	}
}

// wants says whether a fault of the kind is wanting still: for the number of its kind, or, if it kills, for that of all kills.
func (t *tally) wants(kind string, each, kills int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count[kind] < each || kind != nodeCut && t.kills < kills
}

// findings are what does not hold.
type findings struct {
	mu   sync.Mutex
	list []string
}

func (f *findings) add(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, fmt.Sprintf(format, args...))
}

func (f *findings) all() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.list...)
}

// faults makes what goes wrong: the servers of the history in one row, all other processes in another beside it. It returns when there were enough, and all
// works again.
func (r *run) faults(ctx context.Context) error {
	until := time.Now().Add(r.Lasts)
	// More time, should the kills take longer, but not for ever.
	ctx, cancel := context.WithTimeout(ctx, 3*r.Lasts+2*patience)
	defer cancel()
	rows := []struct {
		deck []string
		of   map[string]func(context.Context, *rand.Rand) error
	}{
		{[]string{leaderKilled, leaderKilled, nodeCut}, map[string]func(context.Context, *rand.Rand) error{leaderKilled: r.killLeader, nodeCut: r.cutNode}},
		{[]string{dispatcherKilled, projectorKilled, postgresKilled}, map[string]func(context.Context, *rand.Rand) error{
			dispatcherKilled: func(ctx context.Context, draw *rand.Rand) error { return r.killMember(ctx, draw, r.dispatchers) },
			projectorKilled:  func(ctx context.Context, draw *rand.Rand) error { return r.killMember(ctx, draw, r.projectors) },
			postgresKilled:   r.killPostgres,
		}},
	}
	making, all := errgroup.WithContext(ctx)
	for n, row := range rows {
		draw := r.draw(uint64(1 + n))
		making.Go(func() error {
			wanted := func(kind string) bool { return time.Now().Before(until) || r.tally.wants(kind, r.Each, r.Kills) }
			for slices.ContainsFunc(row.deck, wanted) {
				draw.Shuffle(len(row.deck), func(i, j int) { row.deck[i], row.deck[j] = row.deck[j], row.deck[i] })
				for _, kind := range row.deck {
					if !wanted(kind) {
						continue
					}
					if err := r.progress(all); err != nil {
						return err
					}
					if err := pause(all, upTo(draw, 1500*time.Millisecond)); err != nil {
						return err
					}
					if err := row.of[kind](all, draw); err != nil {
						return fmt.Errorf("%s: %w", kind, err)
					}
					r.tally.add(kind)
				}
			}
			return nil
		})
	}
	return making.Wait()
}

// progress waits until one more command is answered.
func (r *run) progress(ctx context.Context) error {
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-r.books.next():
		return nil
	case <-late.C:
		return fmt.Errorf("no command was answered for %v", patience)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *run) killLeader(ctx context.Context, draw *rand.Rand) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	leader, err := r.nats.Leader(ctx, stream)
	if err != nil {
		return err
	}
	r.say("kill -9 of %s, which leads the stream", leader.Name())
	if err := leader.Kill(); err != nil {
		return err
	}
	if err := pause(ctx, upTo(draw, 3*time.Second)); err != nil {
		return err
	}
	if err := leader.Start(); err != nil {
		return err
	}
	// Another kill before would leave one of three.
	return r.nats.WaitHealthy(ctx)
}

func (r *run) cutNode(ctx context.Context, draw *rand.Rand) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	node := draw.IntN(len(r.nats.Nodes()))
	r.say("%s is cut off from the other nodes and from all clients", r.nats.Node(node).Name())
	if err := r.nats.Cut(node); err != nil {
		return err
	}
	if err := errors.Join(pause(ctx, 3*time.Second+upTo(draw, 5*time.Second)), r.nats.Heal(node)); err != nil {
		return err
	}
	return r.nats.WaitHealthy(ctx)
}

func (r *run) killMember(ctx context.Context, draw *rand.Rand, of []*member) error {
	m := of[draw.IntN(len(of))]
	r.say("kill -9 of %s", m.name)
	if err := m.kill(); err != nil {
		return err
	}
	if err := pause(ctx, upTo(draw, time.Second)); err != nil {
		return err
	}
	return m.start(ctx)
}

func (r *run) killPostgres(ctx context.Context, draw *rand.Rand) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r.say("kill -9 of PostgreSQL")
	if err := r.postgres.Kill(); err != nil {
		return err
	}
	if err := pause(ctx, upTo(draw, time.Second)); err != nil {
		return err
	}
	return r.postgres.Start(ctx)
}

func upTo(draw *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(draw.Int64N(int64(most)))
}

// pause lets things take their course for a while.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
