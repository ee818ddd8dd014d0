package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/app"
	"github.com/chuishao/dispatch/internal/rpc"
)

// callersOf are the numbers of callers that echo and commands are measured with.
var callersOf = [...]int{1, 16, 64, maxCallers}

// serveWriting serves the write side of a node, as a dispatcher without views does.
func (r *run) serveWriting(node *app.Node) (addr string, err error) {
	metrics, err := rpc.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		return "", err
	}
	addr, stop, err := serve(func(at net.Addr) *grpc.Server {
		return rpc.New(rpc.Config{Log: quiet(), Metrics: metrics, DevActor: true, Listens: []net.Addr{at}, Dispatcher: node.Dispatcher})
	})
	if err == nil {
		r.later(func() error {
			stop()
			return nil
		})
	}
	return addr, err
}

// dial dials a server and closes the target when the run ends.
func (r *run) dial(ctx context.Context, addr, service, name string) (*target, error) {
	t, err := dial(ctx, r.city, addr, service, name, r.lives)
	if err == nil {
		r.later(func() error {
			t.close()
			return nil
		})
	}
	return t, err
}

// commands measures echo and commands in turns, in slices so short that both see the same noise.
func (r *run) commands(ctx context.Context) error {
	addr, stop, err := serveEcho()
	if err != nil {
		return err
	}
	r.later(func() error {
		stop()
		return nil
	})
	if r.echo, err = r.dial(ctx, addr, echoService, "echo"); err != nil {
		return err
	}
	for _, s := range []struct {
		node *app.Node
		name string
		to   **target
	}{{r.full, "full", &r.commandsFull}, {r.empty, "empty", &r.commandsEmpty}} {
		if s.node == nil {
			continue
		}
		if addr, err = r.serveWriting(s.node); err != nil {
			return err
		}
		if *s.to, err = r.dial(ctx, addr, commandService, s.name); err != nil {
			return err
		}
	}
	var ratios []figure
	for _, n := range callersOf {
		var echo, full, empty []pace
		for range r.slices {
			for _, turn := range []struct {
				of *target
				to *[]pace
			}{{r.echo, &echo}, {r.commandsFull, &full}, {r.commandsEmpty, &empty}} {
				if turn.of == nil || turn.of == r.commandsEmpty && n != maxCallers {
					continue
				}
				spent := r.places.processorTime()
				p, err := turn.of.closedLoop(ctx, n, r.slice)
				if err != nil {
					return err
				}
				p.store = (r.places.processorTime() - spent) / time.Duration(p.done)
				*turn.to = append(*turn.to, p)
			}
		}
		note := fmt.Sprintf("%d callers on %d connections", n, min(n, connections))
		r.report.at(0, fmt.Sprintf("echo_per_second_%d", n), median(of(echo, perSecond)), "1/s", note)
		rate := median(of(full, perSecond))
		r.report.add(fmt.Sprintf("commands_per_second_%d", n), rate, "1/s", note)
		r.bestPerSecond = max(r.bestPerSecond, rate)
		ratios = append(ratios, figure{
			Name: fmt.Sprintf("commands_ratio_%d", n), Value: median(over(full, echo)),
			Note: fmt.Sprintf("median of %d pairs of slices; processor time of a command %s µs%s, of an echo %s µs",
				len(full), number(median(of(full, cpuMicros))), r.ofStore(full), number(median(of(echo, cpuMicros)))),
		})
		if n == maxCallers && len(empty) > 0 {
			ratios = append(ratios, figure{
				Name: "commands_ratio_flat", Value: median(over(full, empty)),
				Note: fmt.Sprintf("to %s/s with no tickets before", number(median(of(empty, perSecond)))),
			})
		}
	}
	for _, f := range ratios {
		r.report.add(f.Name, f.Value, "", f.Note)
	}
	return nil
}

func perSecond(p pace) float64 { return p.perSecond }

func cpuMicros(p pace) float64 { return float64(p.cpu) / float64(time.Microsecond) }

// ofStore says what the servers of the store took for a command, where they are processes of their own.
func (r *run) ofStore(full []pace) string {
	if r.places.nats == nil {
		return ""
	}
	return fmt.Sprintf(" and of the store's servers %s µs more", number(median(of(full, func(p pace) float64 { return float64(p.store) / float64(time.Microsecond) }))))
}

func of(paces []pace, what func(pace) float64) []float64 {
	values := make([]float64, len(paces))
	for i, p := range paces {
		values[i] = what(p)
	}
	return values
}

// over gives the ratio of each slice to the one it took turns with.
func over(paces, limits []pace) []float64 {
	values := make([]float64, len(paces))
	for i := range paces {
		values[i] = paces[i].perSecond / limits[i].perSecond
	}
	return values
}

// paced is how long the paced loops last, in slices.
const paced = 6

// latency measures how long commands take at half of the highest rate.
func (r *run) latency(ctx context.Context) error {
	rate := r.bestPerSecond / 2
	took, err := r.commandsFull.openLoop(ctx, rate, paced*r.slice, nil)
	if err != nil {
		return err
	}
	note := fmt.Sprintf("at %s commands/s, each from when it was due", number(rate))
	r.report.add("command_p50_ms", quantile(took, 0.50), "ms", note)
	r.report.add("command_p99_ms", quantile(took, 0.99), "ms", note)
	return nil
}

// serving is a node that is served whole: commands, views and what follows from events.
type serving struct {
	addr string
	stop func() error
}

func serveWhole(ctx context.Context, node *app.Node) (*serving, error) {
	ctx, cancel := context.WithCancel(ctx)
	ready := make(chan string, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- node.Serve(ctx, app.ServeConfig{GRPC: "127.0.0.1:0", HTTP: "127.0.0.1:0", NoTimers: true, Ready: func(grpc, _, _ net.Addr) { ready <- grpc.String() }})
	}()
	select {
	case addr := <-ready:
		return &serving{addr, sync.OnceValue(func() error {
			cancel()
			return <-ended
		})}, nil
	case err := <-ended:
		cancel()
		return nil, errors.Join(errors.New("the node does not serve"), err)
	}
}

// relayed waits until an embedded bus has what was recorded before: the first time that a node serves it begins with the first event. That is not what is
// measured.
func relayed(ctx context.Context, node *app.Node) error {
	if node.Dir == "" || !node.Embedded() {
		return nil
	}
	head, err := node.Store.Head(ctx)
	if err != nil {
		return err
	}
	for node.Relayed() < head {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// sampled is of how many commands one is followed to its row.
const sampled = 16

// lag measures the node with its views in the same process: the rate of commands, and at half load how long a row is behind its answer.
func (r *run) lag(ctx context.Context) error {
	whole, err := serveWhole(ctx, r.full)
	if err != nil {
		return err
	}
	r.later(whole.stop)
	if err := relayed(ctx, r.full); err != nil {
		return err
	}
	// The first time that a node serves, its policy looks at every open ticket once, for the map. That is not what is measured.
	follows := r.full.Policy()
	if err := follows.Dispatcher.MoveHolders(ctx, follows.OpenTickets(ctx, 0)); err != nil {
		return err
	}
	t, err := r.dial(ctx, whole.addr, commandService, "whole")
	if err != nil {
		return err
	}
	best, err := t.closedLoop(ctx, maxCallers, 3*r.slice)
	if err != nil {
		return err
	}
	r.report.add("commands_per_second_with_views", best.perSecond, "1/s", fmt.Sprintf("%d callers, all views following in the same process; processor time of a command %s µs%s",
		maxCallers, number(cpuMicros(best)), r.places.besidePostgres()))
	if err := r.caughtUp(ctx); err != nil {
		return err
	}

	half := min(r.bestPerSecond, best.perSecond) / 2
	watched, err := watchDesk(ctx, t.conns[0])
	if err != nil {
		return err
	}
	defer watched.close()
	var told []time.Duration
	var untold error
	var watching sync.WaitGroup
	over := make(chan struct{})
	watching.Go(func() { told, untold = watched.delays(ctx, over) })
	var mu sync.Mutex
	var behind []time.Duration
	var fault fault
	var following sync.WaitGroup
	took, err := t.openLoop(ctx, half, paced*r.slice, func(n int, answer *pb.TicketAnswer) {
		if n%sampled != 0 {
			return
		}
		answered := time.Now()
		following.Go(func() {
			position, err := rpc.ParseToken("", answer.ConsistencyToken)
			if err == nil {
				err = r.full.Projector.WaitFor(ctx, position)
			}
			if err != nil {
				fault.set(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			behind = append(behind, time.Since(answered))
		})
	})
	close(over)
	following.Wait()
	watching.Wait()
	if err := errors.Join(err, fault.get(), untold); err != nil {
		return err
	}
	r.report.add("projection_lag_p99_ms", quantile(behind, 0.99), "ms", fmt.Sprintf("at %s commands/s, until all views have it; median %s, commands' p99 meanwhile %s",
		number(half), number(quantile(behind, 0.5)), number(quantile(took, 0.99))))
	r.report.add("desk_delay_p99_ms", quantile(told, 0.99), "ms", fmt.Sprintf("at %s commands/s, until the street's desk is told what happened to a whistle; median %s, worst of %d %s",
		number(half), number(quantile(told, 0.5)), len(told), number(quantile(told, 1))))
	r.whole = whole
	return r.caughtUp(ctx)
}

// caughtUp waits until the views of the whole node have seen everything.
func (r *run) caughtUp(ctx context.Context) error {
	head, err := r.full.Store.Head(ctx)
	if err != nil {
		return err
	}
	return r.full.Projector.WaitFor(ctx, head)
}
