package main

import (
	"context"

	"github.com/chuishao/dispatch/internal/app"
	"github.com/chuishao/dispatch/internal/bench"
)

func runBench(ctx context.Context, args []string, std app.IO) error {
	f := app.NewFlags("dispatcher bench", `
dispatcher bench [--quick] [--tickets N] [--format table|json] [--store sqlite]

Measures commands, import, rebuild and queries next to limits measured in the same run, and prints a table with what is to be reached.`)
	o := bench.Options{Out: std.Out, Progress: std.Err, Serve: []string{"serve", "--data"}}
	f.BoolVar(&o.Quick, "quick", false, "50,000 tickets instead of 1,000,000")
	f.IntVar(&o.Tickets, "tickets", 0, "`NUMBER` of tickets; 0 for the default")
	f.StringVar(&o.Format, "format", "table", "`FORMAT`: table or json")
	f.StringVar(&o.Store, "store", "sqlite", "`STORE` to measure: sqlite")
	f.StringVar(&o.Dir, "dir", "", "`DIR` to work in; a temporary one by default")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return app.Usage("bench takes no argument %q", f.Arg(0))
	}
	return bench.Run(ctx, o)
}
