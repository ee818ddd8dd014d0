package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/chuishao/dispatch/internal/app"
	"github.com/chuishao/dispatch/internal/faults"
	"github.com/chuishao/dispatch/internal/servers"
)

func runFaults(ctx context.Context, args []string, std app.IO) error {
	f := app.NewFlags("dispatcher faults", `
dispatcher faults [--for TIME] [--kills N] [--each N] [--seed N] [--projector FILE]

Starts a cluster of three NATS nodes, PostgreSQL, dispatchers and projectors as processes of this machine, has callers call, and meanwhile kills -9 the
leader of the history, dispatchers, projectors and PostgreSQL again and again, and cuts nodes off. Then every answered command must be in the
history exactly once, every view equal to a rebuild, and what all dispatchers tell the same. It prints figures, and PASS or what does not hold; then the
exit status is 1. PostgreSQL must be installed (Debian's package postgresql); nothing else.`)
	o := faults.Options{Out: std.Out, Progress: std.Err}
	f.DurationVar(&o.Lasts, "for", time.Minute, "`TIME` in which there are faults, at least")
	f.IntVar(&o.Kills, "kills", 10, "`NUMBER` of processes to kill, at least")
	f.IntVar(&o.Each, "each", 1, "`NUMBER` of faults of each kind, at least")
	f.Uint64Var(&o.Seed, "seed", 1, "`NUMBER` that matters and faults are drawn from")
	f.IntVar(&o.Dispatchers, "dispatchers", 3, "`NUMBER` of dispatchers")
	f.IntVar(&o.Projectors, "projectors", 2, "`NUMBER` of projectors")
	f.IntVar(&o.Callers, "callers", 12, "`NUMBER` of callers")
	f.StringVar(&o.Projector, "projector", "", "`FILE` of the projector; the one beside this program by default")
	f.StringVar(&o.Dir, "dir", "", "`DIR` that takes all data and logs and keeps them; a temporary one by default")
	cut := f.String("cut", "", "`HOW` nodes are cut off: namespace, for network namespaces of Linux, or proxy; by default the first where the rights allow it")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *cut != "" && *cut != "namespace" && *cut != "proxy" {
		return app.Usage("--cut %q: want namespace or proxy", *cut)
	}
	if f.NArg() > 0 || o.Kills < 1 || o.Each < 1 || o.Dispatchers < 2 || o.Projectors < 1 || o.Callers < 1 || o.Lasts <= 0 {
		return app.Usage("faults takes no arguments, and some time, a kill, a fault of each kind, two dispatchers, a projector and a caller at least")
	}
	var err error
	if o.Dispatcher, err = os.Executable(); err != nil {
		return err
	}
	if o.Projector == "" {
		o.Projector = filepath.Join(filepath.Dir(o.Dispatcher), "projector")
	}
	if o.Projector, err = exec.LookPath(o.Projector); err != nil {
		return fmt.Errorf("--projector: %w; make build makes both programs", err)
	}
	if *cut != "proxy" && !servers.HasOwnNetwork() {
		err := servers.OwnNetwork() // if it can be, this program begins anew
		if *cut == "namespace" {
			return fmt.Errorf("--cut namespace: %w", err)
		}
		fmt.Fprintf(std.Err, "no network namespaces, so proxies: %v\n", err)
	}
	o.Isolated = servers.HasOwnNetwork()
	if o.Dir != "" {
		if o.Dir, err = filepath.Abs(o.Dir); err != nil {
			return err
		}
		if err := os.MkdirAll(o.Dir, 0o755); err != nil {
			return fmt.Errorf("--dir: %w", err)
		}
	}
	err = faults.Run(ctx, o)
	if missing := new(servers.MissingError); errors.As(err, &missing) {
		return fmt.Errorf("a fault run needs PostgreSQL: %w", missing)
	}
	return err
}
