package main

import (
	"context"
	"math"
	"time"

	"github.com/chuishao/dispatch/internal/app"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/demo"
)

func playDemo(ctx context.Context, args []string, io app.IO) error {
	f := app.NewFlags("dispatcher demo", `
dispatcher demo [--speed N] [--tickets N] [--data DIR] [--grpc HOST:PORT] [--http HOST:PORT]

Plays a day of an example city, of the size of Wuxi, through gRPC: calls and reports come in, are dispatched, handled, whistled for, checked, closed, and
opened again; some are returned and ruled on, suspended, supervised, merged or withdrawn, and what nobody does in time has consequences when the city's clock
gets there. It prints a line for every hour of the day, then what became of it and what to try next, and serves the city until it is stopped; its clock goes on from the end of the
day. People and matters are invented.`)
	o := demo.Options{Out: io.Out}
	f.Float64Var(&o.Speed, "speed", 2000, "`SECONDS` of the day that pass in a second; 0 for as fast as it goes")
	f.IntVar(&o.Tickets, "tickets", 2000, "`NUMBER` of tickets")
	f.StringVar(&o.Data, "data", "", "data `DIR`ectory, new or empty; a temporary one, removed at the end, by default")
	f.StringVar(&o.GRPC, "grpc", "127.0.0.1:7878", "`HOST:PORT` of gRPC, on this machine; port 0 takes a free one")
	f.StringVar(&o.HTTP, "http", "127.0.0.1:7879", "`HOST:PORT` of /metrics, /healthz and /readyz; port 0 takes a free one")
	f.Uint64Var(&o.Seed, "seed", 1, "`NUMBER` that settles what happens: the same for the same day again")
	day := f.String("day", "", "`DATE` to play, as 2025-03-05; today by default")
	f.BoolVar(&o.Once, "once", false, "stop after the day")
	log := f.String("log", "text", "`FORMAT` of log lines: text or json")
	if err := f.Parse(args); err != nil {
		return err
	}
	switch {
	case f.NArg() > 0:
		return app.Usage("demo takes no argument %q", f.Arg(0))
	case o.Tickets < 1:
		return app.Usage("--tickets %d: want at least 1", o.Tickets)
	case !(o.Speed >= 0) || math.IsInf(o.Speed, 1):
		return app.Usage("--speed %v: want 0 or more", o.Speed)
	}
	if *day != "" {
		var err error
		if o.Day, err = time.ParseInLocation(time.DateOnly, *day, calendar.Default().Zone()); err != nil {
			return app.Usage("--day %q: want a date as 2025-03-05", *day)
		}
	}
	var err error
	if o.Log, err = app.Logger(io.Err, *log); err != nil {
		return err
	}
	return demo.Run(ctx, o)
}
