package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
)

// IO is where a command reads and writes.
type IO struct {
	Out io.Writer // what was asked for
	Err io.Writer // logs, progress and complaints
}

// Command is one subcommand.
type Command struct {
	Name, Summary string
	Run           func(ctx context.Context, args []string, io IO) error
}

// UsageError is a fault in how a command was called.
type UsageError struct{ Text string }

func (e *UsageError) Error() string { return e.Text }

// Usage makes a *UsageError.
func Usage(format string, args ...any) error { return &UsageError{fmt.Sprintf(format, args...)} }

// Main runs the subcommand that the arguments name until it ends or the process is told to stop, and gives the exit code: 0 done, 1 not done, 2 called
// wrongly.
func Main(name, about string, args []string, io IO, commands ...Command) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return Run(ctx, name, about, args, io, commands...)
}

// Run is Main with a context of the caller's.
func Run(ctx context.Context, name, about string, args []string, io IO, commands ...Command) int {
	usage := func(w interface{ Write([]byte) (int, error) }) {
		fmt.Fprintf(w, "%s: %s\n\nCommands:\n", name, about)
		for _, c := range commands {
			fmt.Fprintf(w, "  %-10s %s\n", c.Name, c.Summary)
		}
		fmt.Fprintf(w, "\n%s COMMAND -h tells more.\n", name)
	}
	if len(args) == 0 {
		usage(io.Err)
		return 2
	}
	if args[0] == "-h" || args[0] == "--help" || args[0] == "help" {
		usage(io.Out)
		return 0
	}
	for _, c := range commands {
		if c.Name != args[0] {
			continue
		}
		err := c.Run(ctx, args[1:], io)
		called, help := new(UsageError), new(HelpError)
		switch {
		case err == nil:
			return 0
		case errors.As(err, &help):
			fmt.Fprint(io.Out, help.Manual)
			return 0
		case errors.As(err, &called):
			fmt.Fprintf(io.Err, "%s %s: %s; -h tells more\n", name, c.Name, called.Text)
			return 2
		default:
			fmt.Fprintf(io.Err, "%s %s: %s\n", name, c.Name, plain(err))
			return 1
		}
	}
	fmt.Fprintf(io.Err, "%s: no command %q\n", name, args[0])
	usage(io.Err)
	return 2
}

// plain is an error as a person reads it: of a call that was refused, the field, what is wrong with it, and the reason's code.
func plain(err error) string {
	called, ok := errors.AsType[interface {
		error
		GRPCStatus() *status.Status
	}](err)
	if !ok {
		return err.Error()
	}
	s := called.GRPCStatus()
	text := s.Message()
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			if field := info.Metadata["field"]; field != "" {
				text = field + ": " + text
			}
			text += " (" + info.Reason + ")"
		}
	}
	return strings.Replace(err.Error(), called.Error(), text, 1)
}

// Logger writes log lines for people, or for machines as JSON.
func Logger(w io.Writer, format string) (*slog.Logger, error) {
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, nil)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, nil)), nil
	}
	return nil, Usage("--log %q: want text or json", format)
}

// Place is where a command finds its node: a data directory or stores that it opens itself, or a running server.
type Place struct {
	Data      string
	MasterKey string
	Where
	Remote
}

// Flags adds the flags of a place.
func (p *Place) Flags(f *Flags) {
	p.DataFlags(f)
	p.Remote.Flags(f)
	f.alternatives = [][]string{{"data", "store"}, {"addr"}}
}

// DataFlags adds the flags of a place that can only be one that the command opens itself.
func (p *Place) DataFlags(f *Flags) {
	f.StringVar(&p.Data, "data", "", "data `DIR`ectory; no running server may hold it")
	p.Where.Flags(f)
	f.StringVar(&p.MasterKey, "master-key", "", "`FILE` with the key that wraps the keys of data subjects; none by default")
}

// Local says whether the command opens the node itself.
func (p *Place) Local() bool { return p.Data != "" || p.Store != "" }

// MakeData makes the data directory if it is not there.
func (p *Place) MakeData() error {
	if p.Data == "" {
		return nil
	}
	if err := os.MkdirAll(p.Data, 0o750); err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	return nil
}

// Check refuses both or none of the two.
func (p *Place) Check() error {
	if p.Local() == (p.Addr != "") {
		return Usage("give one of --data (or --store) and --addr")
	}
	return nil
}

// OpenData opens the data directory, which must be there, or the stores.
func (p *Place) OpenData(ctx context.Context, io IO) (*Node, error) { return p.openData(ctx, io, Open) }

// OpenForVerify is OpenData for a node that only verifies.
func (p *Place) OpenForVerify(ctx context.Context, io IO) (*Node, error) {
	return p.openData(ctx, io, OpenForVerify)
}

// OpenForRebuild is OpenData for a node whose views are built anew.
func (p *Place) OpenForRebuild(ctx context.Context, io IO) (*Node, error) {
	return p.openData(ctx, io, OpenForRebuild)
}

func (p *Place) openData(ctx context.Context, io IO, open func(context.Context, string, Options) (*Node, error)) (*Node, error) {
	if p.Data != "" {
		if _, err := os.Stat(p.Data); err != nil {
			return nil, fmt.Errorf("--data: %w", err)
		}
	}
	return open(ctx, p.Data, Options{Where: p.Where, MasterKeyFile: p.MasterKey, Log: slog.New(slog.NewTextHandler(io.Err, nil))})
}
