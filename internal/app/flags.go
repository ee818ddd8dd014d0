package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

// Flags are a command's flags, each of which can also be given by the environment: --data by CHUISHAO_DATA_DIR, and any other by CHUISHAO_ and its
// name in capitals, with _ for -. A flag on the command line wins.
type Flags struct {
	*flag.FlagSet
	manual string
	// alternatives are sets of flags; one on the command line makes the environment's values of the other sets void.
	alternatives [][]string
}

// HelpError is that a command was asked for its manual. It Is flag.ErrHelp.
type HelpError struct{ Manual string }

func (e *HelpError) Error() string { return flag.ErrHelp.Error() }

// Unwrap gives flag.ErrHelp.
func (e *HelpError) Unwrap() error { return flag.ErrHelp }

// NewFlags makes the flags of a command. Usage begins its manual: the line of use, then what it does.
func NewFlags(name, usage string) *Flags {
	f := &Flags{FlagSet: flag.NewFlagSet(name, flag.ContinueOnError), manual: strings.TrimSpace(usage)}
	f.SetOutput(io.Discard) // Parse's error says it all
	f.Usage = func() {}
	return f
}

// help is the manual.
func (f *Flags) help() error {
	var text strings.Builder
	fmt.Fprintf(&text, "%s\n", f.manual)
	first := true
	f.VisitAll(func(fl *flag.Flag) {
		if first {
			fmt.Fprint(&text, "\nFlags (each also from the environment, as the name in brackets):\n")
			first = false
		}
		kind, what := flag.UnquoteUsage(fl)
		fmt.Fprintf(&text, "  --%s %s\n      %s [%s]", fl.Name, kind, what, Env(fl.Name))
		if fl.DefValue != "" && fl.DefValue != "false" && fl.DefValue != "0" {
			fmt.Fprintf(&text, " (default %s)", fl.DefValue)
		}
		fmt.Fprintln(&text)
	})
	return &HelpError{text.String()}
}

// Env is the environment variable that stands for a flag.
func Env(name string) string {
	if name == "data" {
		// CHUISHAO_DATA is where tests find records.
		return "CHUISHAO_DATA_DIR"
	}
	return "CHUISHAO_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// Parse takes flags from the environment, then from the arguments, in any order with other arguments. Its error is a *UsageError or a *HelpError.
func (f *Flags) Parse(args []string) error {
	var errs []error
	f.VisitAll(func(fl *flag.Flag) {
		if v, ok := os.LookupEnv(Env(fl.Name)); ok {
			if err := fl.Value.Set(v); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", Env(fl.Name), err))
			}
		}
	})
	if err := errors.Join(errs...); err != nil {
		return Usage("%v", err)
	}
	var rest []string
	for {
		switch err := f.FlagSet.Parse(args); {
		case errors.Is(err, flag.ErrHelp):
			return f.help()
		case err != nil:
			return Usage("%v", err)
		}
		left := f.Args()
		if len(left) == 0 {
			break
		}
		if len(args) > len(left) && args[len(args)-len(left)-1] == "--" {
			rest = append(rest, left...)
			break
		}
		rest, args = append(rest, left[0]), left[1:]
	}
	if err := f.voidAlternatives(); err != nil {
		return Usage("%v", err)
	}
	return f.FlagSet.Parse(append([]string{"--"}, rest...))
}

// voidAlternatives takes back what the environment said of alternatives to what the command line says.
func (f *Flags) voidAlternatives() error {
	given := map[string]bool{}
	f.Visit(func(fl *flag.Flag) { given[fl.Name] = true }) // what the environment set is not visited
	named := func(set []string) bool {
		return slices.ContainsFunc(set, func(name string) bool { return given[name] })
	}
	if !slices.ContainsFunc(f.alternatives, named) {
		return nil
	}
	for _, set := range f.alternatives {
		if named(set) {
			continue
		}
		for _, name := range set {
			fl := f.Lookup(name)
			if err := fl.Value.Set(fl.DefValue); err != nil {
				return err
			}
		}
	}
	return nil
}

// Remote says how another process is reached.
type Remote struct {
	Addr      string
	TokenFile string
	CA        string
	// DevActor is who this process says it is to a server in development, which is one that knows no principals.
	DevActor string
}

// Flags adds the flags of a remote.
func (r *Remote) Flags(f *Flags) {
	f.StringVar(&r.Addr, "addr", "", "`HOST:PORT` of a running server")
	f.StringVar(&r.TokenFile, "token-file", "", "`FILE` that holds the bearer token; none for a server on this machine in development")
	f.StringVar(&r.CA, "tls-ca", "", "`FILE` with the server's CA in PEM, or \"system\"; plain text if empty, on this machine only")
}

// Dial connects. The caller closes the connection.
func (r *Remote) Dial() (*grpc.ClientConn, error) {
	creds := insecure.NewCredentials()
	switch r.CA {
	case "":
	case "system":
		creds = credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12})
	default:
		pem, err := os.ReadFile(r.CA)
		if err != nil {
			return nil, fmt.Errorf("--tls-ca: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--tls-ca: %s holds no certificate", r.CA)
		}
		creds = credentials.NewTLS(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12})
	}
	key, value := "chuishao-dev-actor", r.DevActor
	if r.TokenFile != "" {
		text, err := os.ReadFile(r.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("--token-file: %w", err)
		}
		token := strings.TrimSpace(string(text))
		if token == "" || strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }) {
			return nil, fmt.Errorf("--token-file: %s does not hold one token", r.TokenFile)
		}
		key, value = "authorization", "Bearer "+token
	}
	conn, err := grpc.NewClient(r.Addr, grpc.WithTransportCredentials(creds),
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			return invoke(metadata.AppendToOutgoingContext(ctx, key, value), method, req, reply, cc, opts...)
		}),
		grpc.WithStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, stream grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			return stream(metadata.AppendToOutgoingContext(ctx, key, value), desc, cc, method, opts...)
		}))
	if err != nil {
		return nil, fmt.Errorf("--addr %s: %w", r.Addr, err)
	}
	return conn, nil
}
