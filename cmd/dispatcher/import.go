package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/app"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/importing"
	"github.com/chuishao/dispatch/internal/registry"
	"github.com/chuishao/dispatch/internal/rpc"
	"github.com/chuishao/dispatch/internal/rule"
)

// importer is who imports into a data directory: whoever can write its files.
var importer = rule.Actor{Person: "import", Roles: []pb.Role{pb.Role_ROLE_CONNECTED_SYSTEM}}

// localSink imports into an open node, and takes and refuses what a server would.
type localSink struct{ d *dispatch.Dispatcher }

func (s localSink) Import(ctx context.Context, record *pb.ImportRecordRequest) (*pb.ImportAnswer, error) {
	if err := rpc.Check(&pb.ImportRecordsRequest{Record: record}); err != nil {
		return nil, err
	}
	t, result, err := s.d.Ticket(ctx, dispatch.Request{Actor: importer, Command: record})
	if refusal := new(rule.Refusal); errors.As(err, &refusal) && refusal.Field != "" {
		// A server names fields as they stand in the message of its stream.
		named := *refusal
		named.Field = "record." + named.Field
		return nil, &named
	}
	if err != nil {
		return nil, err
	}
	return &pb.ImportAnswer{Name: "tickets/" + dispatch.ID(result.Stream), No: t.No, Unchanged: result.Repeated}, nil
}

func importRecords(ctx context.Context, args []string, io app.IO) (err error) {
	f := app.NewFlags("dispatcher import", `
dispatcher import --data DIR | --addr HOST:PORT  --mapping FILE RECORDS...

Imports records from CSV files, plain or gzip, through a mapping (see examples/). Records are kept as they are, oddities included; running the
same import again changes nothing. Rows that cannot be read go to the quarantine file. A report is printed at the end.`)
	var place app.Place
	place.Flags(f)
	place.DevActor = "person=import;roles=CONNECTED_SYSTEM;unit=-"
	mapping := f.String("mapping", "", "`FILE` that says which columns mean what")
	quarantine := f.String("quarantine", "quarantine.csv", "`FILE` for rows that cannot be imported; it may hold personal data")
	format := f.String("format", "text", "`FORMAT` of the report: text or json")
	callers := f.Int("callers", 0, "`NUMBER` of records on their way at once; 0 chooses")
	if err := f.Parse(args); err != nil {
		return err
	}
	switch {
	case *mapping == "":
		return app.Usage("--mapping is required")
	case f.NArg() == 0:
		return app.Usage("no files of records")
	case *format != "text" && *format != "json":
		return app.Usage("--format %q: want text or json", *format)
	}
	if err := place.Check(); err != nil {
		return err
	}
	m, err := importing.LoadMapping(*mapping)
	if err != nil {
		return err
	}
	sink, closeSink, err := openSink(ctx, &place, io)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeSink()) }()
	report, err := importing.Run(ctx, m, f.Args(), sink, importing.Options{Callers: *callers, Quarantine: *quarantine, Progress: io.Err})
	if report == nil {
		return err
	}
	write := report.WriteText
	if *format == "json" {
		write = report.WriteJSON
	}
	return errors.Join(err, write(io.Out))
}

// openSink opens what the records go to: a data directory, made if it is not there, or a running server.
func openSink(ctx context.Context, place *app.Place, io app.IO) (importing.Sink, func() error, error) {
	if place.Local() {
		if err := place.MakeData(); err != nil {
			return nil, nil, err
		}
		app.Tune()
		node, err := place.OpenData(ctx, io)
		if err != nil {
			return nil, nil, err
		}
		return localSink{node.Dispatcher}, node.Close, nil
	}
	conn, err := place.Dial()
	if err != nil {
		return nil, nil, err
	}
	sink, err := importing.NewStreamSink(ctx, pb.NewImportServiceClient(conn))
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return sink, func() error { return errors.Join(sink.Close(), conn.Close()) }, nil
}

// pieceBytes is the size of a message that carries registry content.
const pieceBytes = 512 << 10

func loadRegistry(ctx context.Context, args []string, io app.IO) (err error) {
	f := app.NewFlags("dispatcher registry", `
dispatcher registry --data DIR | --addr HOST:PORT  --version NAME [--check] CSVDIR

Loads a version of the registry from levels.csv, areas.csv, units.csv, categories.csv, catalogue.csv, bans.csv and call_items.csv in CSVDIR
(see examples/wuxi). Every fault is listed, and with a single one nothing is loaded. The version takes effect whole, at --valid-from or at once.

dispatcher registry --data DIR | --addr HOST:PORT  [--year-file FILE] [--profile FILE]

Loads a year of holidays, as github.com/NateScarlet/holiday-cn publishes them or as {"year", "off", "work"}, or a deadline profile (see
examples/profiles), for what is decided from now on. Limits that still run are computed again on a corrected year, by a server that serves.`)
	var place app.Place
	place.Flags(f)
	place.DevActor = "person=registry;roles=AUDITOR;unit=-"
	version := f.String("version", "", "`NAME` of the version, never used before")
	from := f.String("valid-from", "", "`TIME` in RFC 3339 from which it is valid; now by default")
	check := f.Bool("check", false, "only check")
	year := f.String("year-file", "", "`FILE` of a year's holidays")
	profile := f.String("profile", "", "`FILE` of a deadline profile")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *year != "" || *profile != "" {
		if *version != "" || *from != "" || *check || f.NArg() > 0 {
			return app.Usage("--year-file and --profile go with no CSV files")
		}
		if err := place.Check(); err != nil {
			return err
		}
		return loadLimits(ctx, &place, *year, *profile, io)
	}
	if *version == "" || f.NArg() != 1 {
		return app.Usage("want --version and one directory of CSV files")
	}
	if err := place.Check(); err != nil {
		return err
	}
	var validFrom time.Time
	if *from != "" {
		if validFrom, err = time.Parse(time.RFC3339, *from); err != nil {
			return app.Usage("--valid-from: %v", err)
		}
	}
	if _, err := os.Stat(filepath.Join(f.Arg(0), "areas.csv")); errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(filepath.Join(f.Arg(0), "areas.csv.gz")); err != nil {
			return fmt.Errorf("%s holds no areas.csv", f.Arg(0))
		}
	}
	content, faults := registry.ReadDir(os.DirFS(f.Arg(0)))
	faults = append(faults, content.Validate(nil, time.Now())...)
	if len(faults) == 0 {
		if place.Local() {
			faults, err = loadHere(ctx, &place, *version, validFrom, content, *check, io)
		} else {
			faults, err = loadThere(ctx, &place, *version, validFrom, content, *check)
		}
		if err != nil {
			return err
		}
	}
	for _, fault := range faults {
		fmt.Fprintf(io.Err, "%s %s: %s\n", fault.Field, fault.Kind, fault.Message)
	}
	if len(faults) > 0 {
		return fmt.Errorf("%d faults; nothing was loaded", len(faults))
	}
	verb := "loaded"
	if *check {
		verb = "checked"
	}
	fmt.Fprintf(io.Out, "%s %s: %d areas, %d units, %d categories, %d catalogue entries\n", verb, *version,
		len(content.Piece.Areas), len(content.Piece.Units), len(content.Piece.Categories), len(content.Piece.Catalogue))
	return nil
}

func loadHere(ctx context.Context, place *app.Place, version string, from time.Time, content *registry.Content, check bool, io app.IO) (faults []*pb.RegistryFault, err error) {
	if err := place.MakeData(); err != nil {
		return nil, err
	}
	node, err := place.OpenData(ctx, io)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, node.Close()) }()
	actor := rule.Actor{Person: "registry", Roles: []pb.Role{pb.Role_ROLE_SYSTEM}}
	faults, _, err = node.Dispatcher.LoadRegistry(ctx, actor, version, from, content.Pieces(), check)
	return faults, err
}

func loadThere(ctx context.Context, place *app.Place, version string, from time.Time, content *registry.Content, check bool) (faults []*pb.RegistryFault, err error) {
	conn, err := place.Dial()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	stream, err := pb.NewRegistryServiceClient(conn).LoadRegistry(ctx)
	if err != nil {
		return nil, err
	}
	return sendRegistry(stream, version, from, content, check)
}

func sendRegistry(stream grpc.ClientStreamingClient[pb.LoadRegistryRequest, pb.LoadRegistryResponse], version string, from time.Time, content *registry.Content, check bool) ([]*pb.RegistryFault, error) {
	for i, piece := range registry.Split(content.Piece, pieceBytes) {
		m := &pb.LoadRegistryRequest{Piece: piece}
		if i == 0 {
			m.Version, m.RequestId, m.ValidateOnly = version, "registry/"+version, check
			if !from.IsZero() {
				m.ValidFrom = stamp(from)
			}
		}
		if err := stream.Send(m); err != nil {
			break // the answer says why
		}
	}
	answer, err := stream.CloseAndRecv()
	if err != nil {
		return nil, err
	}
	return answer.Faults, nil
}
