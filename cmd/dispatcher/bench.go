package main

import (
	"context"

	"github.com/chuishao/dispatch/internal/app"
	"github.com/chuishao/dispatch/internal/bench"
)

func runBench(ctx context.Context, args []string, std app.IO) error {
	f := app.NewFlags("dispatcher bench", `
dispatcher bench [--quick] [--tickets N] [--format table|json] [--store sqlite|jetstream|esdb|URL] [--views sqlite|postgres|URL]

Measures commands, import, rebuild and queries next to limits measured in the same run, and prints a table with what is to be reached: the same for every
store, with the rate of bare appends to it.

jetstream starts a cluster of three nodes on this machine, esdb a double of EventStoreDB's protocol that keeps nothing on a disk, postgres a server of
Debian's package. A URL is that of servers which hold nothing of ours: a stream, a log, a schema. Histories and keys that were written there stay.
EventStoreDB has one log, so that rate of appends is then measured last, and the rate with no tickets not at all.`)
	o := bench.Options{Out: std.Out, Progress: std.Err, Serve: []string{"serve", "--data"}}
	f.BoolVar(&o.Quick, "quick", false, "50,000 tickets, 20,000 on servers, instead of 1,000,000")
	f.IntVar(&o.Tickets, "tickets", 0, "`NUMBER` of tickets; 0 for the default")
	f.StringVar(&o.Format, "format", "table", "`FORMAT`: table or json")
	f.StringVar(&o.Store, "store", "sqlite", "`STORE` of the history: sqlite, jetstream, esdb, or a URL jetstream://…, esdb://…, esdb+discover://…")
	f.StringVar(&o.Views, "views", "sqlite", "`PLACE` of the views: sqlite, postgres, or a URL postgres://…")
	f.StringVar(&o.Keys, "keys", "sqlite", "`PLACE` of the keys of data subjects: sqlite, postgres, or a URL postgres://…")
	f.StringVar(&o.Dir, "dir", "", "`DIR` to work in; a temporary one by default")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return app.Usage("bench takes no argument %q", f.Arg(0))
	}
	return bench.Run(ctx, o)
}
