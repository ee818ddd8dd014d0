// Package faults starts a small province on servers of its own, lets it work, and meanwhile kills what it is made of and cuts it off: the
// nodes of a JetStream cluster, dispatchers, projectors, PostgreSQL. Then it looks whether anything that was answered is lost or doubled.
package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/app"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/servers"
)

// Options of Run. All but Dir must be given.
type Options struct {
	// Lasts is how long there are faults, at least.
	Lasts time.Duration
	// Kills is how many processes are killed, at least, and Each how many faults of each kind there are; the run goes on until there were.
	Kills, Each int
	// Seed is what matters, and the order of faults and the pauses between them, are drawn from. What meets what follows from the machine.
	Seed uint64
	// Dispatchers, Projectors and Callers are how many there are; two dispatchers at least.
	Dispatchers, Projectors, Callers int
	// Dispatcher and Projector are the paths of the binaries.
	Dispatcher, Projector string
	// Isolated gives each NATS node a network namespace of its own, whose wire is pulled to cut it off; else proxies do that. This process needs
	// servers.OwnNetwork.
	Isolated bool
	// Dir takes all data and logs; a temporary one, which is removed, if empty.
	Dir string
	// Out gets the figures, Progress what happens meanwhile.
	Out, Progress io.Writer
}

// stream is the JetStream stream of the history.
const stream = "FAULTS"

// Deadlines: only a fault takes that long.
const (
	// patience is how long a part may take until it works again.
	patience = 2 * time.Minute
	// settles is how long the callers may take to have all that they asked for answered, after the last fault.
	settles = 3 * time.Minute
	// checks is how long the comparisons at the end may take.
	checks = 15 * time.Minute
)

// HoldsNotError says what did not hold.
type HoldsNotError struct{ Findings []string }

func (e *HoldsNotError) Error() string {
	return fmt.Sprintf("%d things do not hold; the first: %s", len(e.Findings), e.Findings[0])
}

// run is one run.
type run struct {
	Options
	where       app.Where
	nats        *servers.NATS
	postgres    *servers.Postgres
	dispatchers []*member
	projectors  []*member
	books       *books
	reader      *reader
	findings    findings
	tally       tally
	began       time.Time
	cutBy       string

	// What was found, for the report.
	faulty   time.Duration // how long there were faults
	events   int           // in the history
	compared int           // tickets
	whistles int           // that a ticket was to be told of
	verified uint64        // events
	views    []string      // equal to a rebuild
}

// Run makes a run, and prints its figures. The error is a *HoldsNotError if something was lost, doubled or left different, and
// a *servers.MissingError if PostgreSQL is not installed. Whatever it started has ended when it returns, and ends with this process too.
func Run(ctx context.Context, o Options) (err error) {
	r := &run{Options: o, books: newBooks(), began: time.Now(), cutBy: "proxies that swallow what is sent"}
	if r.Isolated {
		r.cutBy = "network namespaces, one a node, whose wire is pulled"
	}
	if r.Dir == "" {
		if r.Dir, err = os.MkdirTemp("", "chuishao-faults-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(r.Dir)) }()
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.start(ctx); err != nil {
		return err
	}
	if err := r.work(ctx); err != nil {
		return err
	}
	if err := r.check(ctx); err != nil {
		return err
	}
	r.report()
	if found := r.findings.all(); len(found) > 0 {
		return &HoldsNotError{found}
	}
	return nil
}

func (r *run) say(format string, args ...any) {
	fmt.Fprintf(r.Progress, "%7.1f s  %s\n", time.Since(r.began).Seconds(), fmt.Sprintf(format, args...))
}

// start starts all servers and processes, and loads the city.
func (r *run) start(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	for _, d := range []string{"nats", "postgres"} {
		if err := os.MkdirAll(filepath.Join(r.Dir, d), 0o755); err != nil {
			return err
		}
	}
	if r.postgres, err = servers.StartPostgres(ctx, filepath.Join(r.Dir, "postgres")); err != nil {
		return err
	}
	for _, name := range []string{"views", "keys"} {
		if err := r.postgres.Create(ctx, name); err != nil {
			return err
		}
	}
	if r.nats, err = servers.StartNATS(ctx, servers.NATSOptions{Nodes: 3, Dir: filepath.Join(r.Dir, "nats"), Isolated: r.Isolated, Cuttable: !r.Isolated}); err != nil {
		return err
	}
	var hosts []string
	for _, u := range r.nats.URLs() {
		hosts = append(hosts, strings.TrimPrefix(u, "nats://"))
	}
	r.where = app.Where{
		Store: "jetstream://" + strings.Join(hosts, ",") + "/" + stream + "?monitor=" + strings.Join(r.nats.Monitors(), ","),
		Views: r.postgres.URL("views"), Keys: r.postgres.URL("keys"),
	}
	r.say("nodes are cut off by %s", r.cutBy)
	r.say("a cluster of 3 NATS nodes and PostgreSQL run")
	city, err := openCity()
	if err != nil {
		return err
	}
	if err := r.load(ctx, city); err != nil {
		return err
	}
	at := []string{"--store", r.where.Store, "--views", r.where.Views, "--http", "127.0.0.1:0"}
	for n := range r.Projectors {
		r.projectors = append(r.projectors, r.member(fmt.Sprintf("projector-%d", n+1), r.Projector, "http", append([]string{"serve"}, at...)))
	}
	for n := range r.Dispatchers {
		r.dispatchers = append(r.dispatchers, r.member(fmt.Sprintf("dispatcher-%d", n+1), r.Dispatcher, "grpc",
			append([]string{"serve", "--keys", r.where.Keys, "--no-views", "--suggest=false", "--grpc", "127.0.0.1:0"}, at...)))
	}
	starting, all := errgroup.WithContext(ctx)
	for _, m := range append(r.projectors, r.dispatchers...) {
		starting.Go(func() error { return m.start(all) })
	}
	if err := starting.Wait(); err != nil {
		return err
	}
	r.say("%d dispatchers and %d projectors serve", r.Dispatchers, r.Projectors)
	for n := range r.Callers {
		r.books.callers = append(r.books.callers, newCaller(r, city, n))
	}
	return nil
}

// load puts the example city's registry into the empty history.
func (r *run) load(ctx context.Context, city *city) (err error) {
	node, err := app.Open(ctx, "", app.Options{Where: r.where, Log: r.quiet()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.Close()) }()
	system := rule.Actor{Person: "system", Unit: centre, Roles: []pb.Role{pb.Role_ROLE_SYSTEM}}
	faults, _, err := node.Dispatcher.LoadRegistry(ctx, system, "faults-1", node.Dispatcher.Now().Add(-24*time.Hour), city.content.Pieces(), false)
	if err == nil && len(faults) > 0 {
		err = fmt.Errorf("example registry: %v", faults[0])
	}
	return err
}

// quiet keeps the log of parts that this process opens itself in a file of the directory.
func (r *run) quiet() *slog.Logger {
	f, err := os.OpenFile(filepath.Join(r.Dir, "faults.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(f, nil))
}

// work has callers call and a reader read while there are faults, and until all that was asked is answered.
func (r *run) work(ctx context.Context) error {
	store, err := app.OpenHistory(ctx, r.where.Store, "", app.HistoryOptions{Log: r.quiet()})
	if err != nil {
		return err
	}
	r.reader = newReader(store)
	reading, stopReading := context.WithCancel(ctx)
	read := make(chan struct{})
	go func() {
		defer close(read)
		r.reader.follow(reading)
	}()
	defer func() {
		stopReading()
		<-read
		_ = store.Close() // nothing is to be lost in it
	}()

	calling, stopCalling := context.WithCancel(ctx)
	defer stopCalling()
	done := make(chan struct{})
	callers, all := errgroup.WithContext(calling)
	for _, c := range r.books.callers {
		callers.Go(func() error { return c.call(all, done) })
	}
	began := time.Now()
	faulty := r.faults(all)
	r.faulty = time.Since(began)
	close(done)
	if faulty == nil {
		r.say("no more faults; what was asked is answered")
	}
	answered := make(chan error, 1)
	go func() { answered <- callers.Wait() }()
	late := time.NewTimer(settles)
	defer late.Stop()
	select {
	case err = <-answered:
	case <-late.C:
		stopCalling()
		err = errors.Join(fmt.Errorf("%v after the last fault there are commands without an answer", settles), <-answered)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return errors.Join(err, faulty)
	}
	if faulty != nil {
		return faulty
	}
	return r.reader.reach(ctx, r.books.last(), patience)
}

// close ends all that runs.
func (r *run) close() error {
	var errs []error
	for _, m := range append(r.dispatchers, r.projectors...) {
		errs = append(errs, m.close())
	}
	if r.nats != nil {
		errs = append(errs, r.nats.Close())
	}
	if r.postgres != nil {
		errs = append(errs, r.postgres.Kill())
	}
	return errors.Join(errs...)
}

// draw is a source of chance for one purpose.
func (r *run) draw(purpose uint64) *rand.Rand { return rand.New(rand.NewPCG(r.Seed, purpose)) }
