package main

import (
	"context"
	"errors"
	"os"

	"github.com/chuishao/dispatch/internal/app"
	"github.com/chuishao/dispatch/internal/year"
)

func simulate(ctx context.Context, args []string, std app.IO) (err error) {
	f := app.NewFlags("dispatcher simulate", `
dispatcher simulate [--tickets N] [--days N] [--seed N] [--data DIR]

Plays a year of the example city on a driven clock: every command on tickets, every timer. Then it adds up all figures of all months in all
areas, builds all views twice, and verifies the history. The exit status is 1 if anything does not hold.`)
	o := year.Options{Out: std.Out}
	f.IntVar(&o.Tickets, "tickets", 200_000, "`NUMBER` of matters")
	f.IntVar(&o.Days, "days", 365, "`NUMBER` of days in which they come in")
	f.Uint64Var(&o.Seed, "seed", 1, "`NUMBER` that the year is drawn from")
	f.StringVar(&o.Dir, "data", "", "`DIR` that takes the history; a temporary one by default")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 || o.Tickets < 1 || o.Days < 1 {
		return app.Usage("simulate takes no arguments, and at least one ticket and day")
	}
	if o.Dir == "" {
		if o.Dir, err = os.MkdirTemp("", "chuishao-year-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.Dir)) }()
	}
	return year.Simulate(ctx, o)
}
