// Package bench measures what a node does on this machine, each figure next to the limit that stands in its way: a bare gRPC echo, a bare
// scan, a bare insertion. Machines differ and are noisy; ratios of what was measured in the same run mean something.
//
// Callers and server share the process and the processors, over loopback TCP, for echo and commands alike.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/chuishao/dispatch/internal/app"
	"github.com/chuishao/dispatch/internal/eventstore"
)

// Numbers of tickets where Options does not say.
const (
	FullTickets  = 1_000_000
	QuickTickets = 50_000
	// QuickServerTickets is for stores behind a network, which take more time for each.
	QuickServerTickets = 20_000
)

// memory is what a node has, in bytes, times four: here two of them, their callers and what is measured share a process.
const memory = 1 << 30

// Options say what to measure. The zero value measures everything at a million tickets, and says so nowhere.
type Options struct {
	// Quick uses fewer tickets and shorter slices: under 50 s altogether, and under three minutes on servers.
	Quick bool
	// Tickets is how many there are. 0 means QuickTickets (QuickServerTickets, if Store is not a file) or FullTickets.
	Tickets int
	// Format is "table" or "json"; empty means "table".
	Format string
	// Dir takes what is written, in a directory of its own that is removed in the end. Empty means where the system keeps temporary
	// files, which must be a disk for commits to mean anything.
	Dir string
	// Store is the store that histories lie in: "sqlite", also if empty; "jetstream", three nodes that are started for the run; "esdb", a double of
	// EventStoreDB's protocol in this process's memory; or the URL of servers, with a stream (JetStream) or a log (EventStoreDB) that holds none of our
	// events. What is written to a URL stays there.
	Store string
	// Views and Keys are where the views and the keys of data subjects lie: "sqlite", also if empty; "postgres", a server that is started for the run; or the
	// URL of one. Views that were made are removed in the end, keys stay.
	Views, Keys string
	// Serve are the arguments with which this executable serves the data directory that follows them, so that a start and its memory
	// can be measured on a process of its own. Empty: they are measured in this process.
	Serve []string
	// Out gets the figures. Progress hears what is under way; nil: nobody does.
	Out, Progress io.Writer

	slices int           // how often each pair of slices is repeated; 5 if 0, 3 for Quick
	slice  time.Duration // how long one lasts
	lives  int           // tickets that a caller has under way; livesEach if 0
}

var (
	// epoch is an instant that nothing follows from.
	epoch = time.Unix(1_750_000_000, 0)
	year  = 365 * 24 * time.Hour
)

func stamp(t time.Time) *timestamppb.Timestamp { return timestamppb.New(t) }

// Run measures and prints. It takes some minutes for a million tickets. Whatever a figure is, it is no error.
func Run(ctx context.Context, o Options) (err error) {
	if err := checkPlaces(o); err != nil {
		return err
	}
	print, ok := formats[o.Format]
	if !ok {
		return fmt.Errorf("--format %q: want table or json", o.Format)
	}
	if o.Tickets < 0 {
		return fmt.Errorf("--tickets %d: want a positive number", o.Tickets)
	}
	if o.Tickets == 0 {
		o.Tickets = FullTickets
		if o.Quick {
			o.Tickets = QuickTickets
			if o.Store != "" && o.Store != embedded {
				o.Tickets = QuickServerTickets
			}
		}
	}
	if o.slices == 0 {
		o.slices, o.slice = 5, time.Second
		if o.Quick {
			o.slices, o.slice = 3, 400*time.Millisecond
		}
	}
	if o.lives == 0 {
		o.lives = livesEach
	}
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	app.Tune() // as a node is, so that limits and what is measured against them have the same
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memory)
	}
	began := time.Now()
	dir, err := os.MkdirTemp(o.Dir, "bench-")
	if err != nil {
		return fmt.Errorf("directory for the benchmark: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	r := &run{Options: o, dir: dir, report: newReport(o)}
	if r.city, err = openCity(); err != nil {
		return err
	}
	if r.places, err = openPlaces(ctx, dir, o); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close(), r.places.close()) }()
	r.report.Store, r.report.Views, r.report.Keys = r.places.store, r.places.views, r.places.keys
	type part struct {
		what string
		do   func(context.Context) error
	}
	bare := part{"append to a bare store", r.append}
	parts := []part{
		{"load the tickets", r.load},
		{"read the history", r.scan},
		{"rebuild the views", r.rebuild},
		{"open the nodes", r.open},
		bare,
		{"echo and commands", r.commands},
		{"latency of commands", r.latency},
		{"commands with views", r.lag},
		{"import records", r.importing},
		{"queries", r.queries},
		{"timers that are due", r.timers},
		{"start a node", r.start},
	}
	if r.places.one {
		// There is one history, and nobody who reads it may come across what is appended to measure.
		parts = append(slices.DeleteFunc(parts, func(p part) bool { return p.what == bare.what }), bare)
		r.report.missing("commands_ratio_flat", "the store holds one history alone: compare runs with different --tickets")
	}
	for _, part := range parts {
		fmt.Fprintf(o.Progress, "%6.1f s  %s\n", time.Since(began).Seconds(), part.what)
		if err := part.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", part.what, err)
		}
	}
	r.report.Seconds = time.Since(began).Seconds()
	return print(o.Out, r.report)
}

// run is a run under way.
type run struct {
	Options
	dir    string
	city   *city
	places *places
	report *report

	full, empty *app.Node // with the tickets, and with none; open once loaded. empty is nil where the store holds one history alone
	closers     []func() error

	echo, commandsFull, commandsEmpty *target

	whole *serving // the full node, with its views

	sample        []eventstore.Event
	history       int     // events of the loaded tickets
	scanPerSecond float64 // events
	bestPerSecond float64 // commands, of all numbers of callers
}

// later closes something when the run ends, the last first.
func (r *run) later(close func() error) { r.closers = append(r.closers, close) }

func (r *run) close() error {
	var errs []error
	for len(r.closers) > 0 {
		last := len(r.closers) - 1
		errs = append(errs, r.closers[last]())
		r.closers = r.closers[:last]
	}
	return errors.Join(errs...)
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
