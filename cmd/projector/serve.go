package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chuishao/dispatch/internal/app"
)

// serving are the flags of a projector that serves.
type serving struct {
	app.Where
	data, only, partition, http, log string
}

func (s *serving) flags(f *app.Flags) {
	f.StringVar(&s.data, "data", "", "data `DIR`ectory of what is a file; none by default")
	s.Where.Flags(f)
	f.StringVar(&s.only, "only", "", "`VIEW,...` to keep up; all by default")
	f.StringVar(&s.partition, "partition", "", "`K/N`: the only partition of the figures to keep up, of N; with 1/N all other views too. Several projectors may keep the same")
	f.StringVar(&s.http, "http", "127.0.0.1:7889", "`HOST:PORT` of /metrics, /healthz and /readyz; port 0 takes a free one")
	f.StringVar(&s.log, "log", "text", "`FORMAT` of log lines: text or json")
}

func serve(ctx context.Context, args []string, std app.IO) (err error) {
	f := app.NewFlags("projector serve", `
projector serve --store URL --views URL [--only VIEW,...] [--partition K/N] [--http HOST:PORT]

Keeps views up with a history that dispatchers write. Any number of projectors may keep the same views: each event counts once, whoever applies it. With --only they
share the work. With --partition they share the figures too, by ticket: one or more for each of 1/N to N/N, and dispatchers with --partitions N. Dispatchers beside it are started with --no-views. It prints its address once it works. SIGINT or SIGTERM stops it.`)
	var s serving
	s.flags(f)
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return app.Usage("serve takes no argument %q", f.Arg(0))
	}
	logger, err := app.Logger(std.Err, s.log)
	if err != nil {
		return err
	}
	o := app.Options{Log: logger, Metrics: prometheus.NewRegistry(), Where: s.Where}
	if s.only != "" {
		o.Only = strings.Split(s.only, ",")
	}
	if s.partition != "" {
		if _, err := fmt.Sscanf(s.partition, "%d/%d", &o.Partition.Number, &o.Partition.Of); err != nil || s.partition != o.Partition.String() {
			return app.Usage("--partition %q: want K/N such as 1/4", s.partition)
		}
		if err := o.Partition.Check(); err != nil {
			return app.Usage("--partition: %v", err)
		}
	}
	node, err := app.OpenForViews(ctx, s.data, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.Close()) }()
	return node.ServeViews(ctx, s.http, func(http net.Addr) { fmt.Fprintf(std.Out, "http %s\n", http) })
}
