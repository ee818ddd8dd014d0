package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chuishao/dispatch/internal/app"
	"github.com/chuishao/dispatch/internal/principal"
)

// serving are the flags of whatever serves.
type serving struct {
	app.ServeConfig
	app.Where
	data, masterKey, log string
}

func (s *serving) flags(f *app.Flags, data string) {
	f.StringVar(&s.data, "data", data, "data `DIR`ectory; made if it is not there")
	s.Where.Flags(f)
	f.StringVar(&s.masterKey, "master-key", "", "`FILE` with the key that wraps the keys of data subjects; none by default")
	f.StringVar(&s.GRPC, "grpc", "127.0.0.1:7878", "`HOST:PORT` of gRPC; port 0 takes a free one")
	f.StringVar(&s.HTTP, "http", "127.0.0.1:7879", "`HOST:PORT` of /metrics, /healthz and /readyz; port 0 takes a free one")
	f.StringVar(&s.Principals, "principals", "", "`FILE` of who may call; without it only this machine is served, and callers say who they are")
	f.StringVar(&s.TLSCert, "tls-cert", "", "`FILE` with the server's certificate in PEM")
	f.StringVar(&s.TLSKey, "tls-key", "", "`FILE` with its key in PEM")
	f.StringVar(&s.TLSClientCA, "tls-client-ca", "", "`FILE` with the CA whose client certificates are credentials, in PEM")
	f.DurationVar(&s.Drain, "drain", 10*time.Second, "`TIME` that calls may go on after the server is told to stop")
	f.BoolVar(&s.Suggest, "suggest", true, "suggest category, lead and duplicates to dispatchers; takes memory once somebody asks")
	f.BoolVar(&s.NoTimers, "no-timers", false, "leaves what is due by an instant, such as overdue marks, to other processes")
	f.BoolVar(&s.NoViews, "no-views", false, "leaves it to other processes to keep the views up, and only reads them")
	f.StringVar(&s.Bus.URL, "bus", "", "`WHERE` what is recorded is repeated for connected systems: embedded, none, or nats://HOST:PORT; embedded by default where the history is a file of --data")
	f.StringVar(&s.Bus.Listen, "bus-listen", "", "`HOST:PORT` where connected systems reach an embedded bus; nowhere by default")
	f.StringVar(&s.Bus.Credentials, "bus-creds", "", "`FILE` of NATS credentials for a bus elsewhere")
	f.DurationVar(&s.Bus.MaxAge, "bus-max-age", 30*24*time.Hour, "`TIME` that events stay on the bus")
	f.Int64Var(&s.Bus.MaxMessages, "bus-max-messages", 250_000, "`NUMBER` of messages that an embedded bus keeps at most, the latest; each takes some 230 bytes of memory")
	f.StringVar(&s.log, "log", "text", "`FORMAT` of log lines: text or json")
}

// open opens the data directory with metrics.
func (s *serving) open(ctx context.Context, io app.IO) (*app.Node, error) {
	logger, err := app.Logger(io.Err, s.log)
	if err != nil {
		return nil, err
	}
	return app.Open(ctx, s.data, app.Options{Log: logger, Metrics: prometheus.NewRegistry(), MasterKeyFile: s.masterKey, Where: s.Where})
}

func serve(ctx context.Context, args []string, io app.IO) (err error) {
	f := app.NewFlags("dispatcher serve", `
dispatcher serve [--data DIR] [--grpc HOST:PORT] [--http HOST:PORT]

Serves a data directory: commands, queries and audit over gRPC, with reflection and health; metrics and probes over HTTP. The views are kept up
in the same process. It prints the addresses once it takes calls. SIGINT or SIGTERM stops it: it is not ready, lets calls end, and closes.

Reached from other machines it must know who calls (--principals) and be secured (--tls-cert, --tls-key).`)
	var s serving
	s.flags(f, "data")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return app.Usage("serve takes no argument %q", f.Arg(0))
	}
	node, err := s.open(ctx, io)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.Close()) }()
	s.Ready = func(grpc, http, bus net.Addr) {
		fmt.Fprintf(io.Out, "grpc %s\nhttp %s\n", grpc, http)
		if bus != nil {
			fmt.Fprintf(io.Out, "bus %s\n", bus)
		}
	}
	return node.Serve(ctx, s.ServeConfig)
}

func hashToken(_ context.Context, args []string, io app.IO) error {
	f := app.NewFlags("dispatcher token", `
dispatcher token < TOKEN

Prints the SHA-256 of the bearer token on standard input, as the file of principals wants it.`)
	if err := f.Parse(args); err != nil {
		return err
	}
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if token := strings.TrimSpace(line); token != "" {
		fmt.Fprintln(io.Out, principal.HashToken(token))
		return nil
	}
	return errors.Join(app.Usage("no token on standard input"), err)
}
