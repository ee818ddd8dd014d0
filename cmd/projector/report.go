package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/app"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/registry"
	"github.com/chuishao/dispatch/internal/view"
)

func report(ctx context.Context, args []string, std app.IO) (err error) {
	f := app.NewFlags("projector report", `
projector report closure --data DIR | --addr HOST:PORT  --level LEVEL [--area CODE] [--area-mode MODE] [--as-of RFC3339] [--format table|csv|json]
projector report stages  --data DIR | --addr HOST:PORT  --level LEVEL [--area CODE] [--area-mode MODE] [--from RFC3339] [--to RFC3339] [--as-of RFC3339]
                         [--format table|csv|json]
projector report ledger  --data DIR | --addr HOST:PORT  --level LEVEL --kind suspension|listing [--area CODE] [--area-mode MODE] [--from RFC3339]
                         [--to RFC3339] [--as-of RFC3339] [--format table|csv|json]
projector report wall    --data DIR | --addr HOST:PORT  --level LEVEL [--area CODE] [--area-mode MODE] [--from RFC3339] [--to RFC3339] [--as-of RFC3339]
                         [--format table|csv|json]
projector report whistles --data DIR | --addr HOST:PORT  [--area CODE] [--format table|csv|json]

closure prints, for every node of a level, how many matters were reported by then, how many of them are closed, and the rates. LEVEL is a level of the area tree
(city, district, street, community, grid), a dimension that imported records brought, or one of all, unit, category, channel. A LEVEL or CODE that nothing
is known by is an error; what is known and came to nothing is an empty report.

With --metric it prints that metric instead, in the period from --from up to and without --to: M01 intake, M02 acceptance, M04 dispatched, M05 repeated,
M06 dispatched rightly, M07 dispatched in time, M08 signed in time, M09 returned, M10 handled, M11 handled in time, M12 closure of what was due, M13 in time,
M14 of what was accepted, M15 overdue, M16 carry-over, M17 rework, M18 reopened, M19 closed at once, M20 extended or suspended, M21 hours, M22 response,
M23 resolution, M24 satisfaction, M26 called back, M27 co-tasks in time, M28 escalated by level, M29 solved on child walls, M30 suspended, M31 whistles, M32 whistles issued,
M33 report-in in time, M34 absent or left early, M35 whistles resolved in time, M36 whistled before, M37 rated by others,
M38 listings cleared, M39 results found false, M40 reviewed from three sides,
M44 kept out of communities by the ban list: of an area what was meant for it, of a unit what it tried; M45 echoed.

stages prints how many stays in each of the five stages ended in the period, how many hours they took together, and in how many a limit had passed. ledger
prints the statement of a period, of suspensions or of listings: opening, added, removed, closing, what is open by reason and, of listings, by age; below each node the statement of each level
that listed. Its last line is the sum of the nodes, and says whether opening + added - removed = closing for each line, and whether the parts of a node come to
the whole. wall prints, for every node of a level, of the posts put on
child walls in the period how many were solved there and how many lifted, and of these how many the community closed (M29); and of the wall's tickets that
were closed in it how many have their result echoed, and the mean and median hours from post to echo (M45). whistles prints the whistles in progress, the latest first, a
line for each participant: who has come, who has not, what is late, and who has to do something next.`)
	var place app.Place
	place.Flags(f)
	place.DevActor = "person=report;roles=AUDITOR;unit=-"
	level := f.String("level", "", "`LEVEL` whose nodes are listed")
	area := f.String("area", "", "`CODE` of an area: only nodes at or below it")
	areaMode := f.String("area-mode", "path_at_acceptance", "`MODE`: path_at_acceptance, areas as they were when matters were accepted; restated, as the map has them today")
	asOf := f.String("as-of", "", "`TIME` in RFC 3339: as it was then; now by default")
	format := f.String("format", "table", "`FORMAT`: table, csv or json")
	metric := f.String("metric", "", "`METRIC` to print in place of the closure report")
	from := f.String("from", "", "`TIME` in RFC 3339 that the period begins at; everything by default")
	to := f.String("to", "", "`TIME` in RFC 3339 that the period ends before; --as-of by default")
	kind := f.String("kind", "", "`KIND` of ledger: suspension or listing")
	if err := f.Parse(args); err != nil {
		return err
	}
	switch {
	case f.NArg() != 1 || !slices.Contains([]string{"closure", "stages", "ledger", "wall", "whistles"}, f.Arg(0)):
		return app.Usage("the reports are closure, stages, ledger, wall and whistles")
	case f.Arg(0) == "whistles" && (*level != "" || *from != "" || *to != ""):
		return app.Usage("--level, --from and --to do not go with whistles, which are those in progress")
	case f.Arg(0) != "whistles" && *level == "":
		return app.Usage("--level is required")
	case *format != "table" && *format != "csv" && *format != "json":
		return app.Usage("--format %q: want table, csv or json", *format)
	case areaModes[*areaMode] == pb.AreaMode_AREA_MODE_UNSPECIFIED:
		return app.Usage("--area-mode %q: want path_at_acceptance or restated", *areaMode)
	case f.Arg(0) != "closure" && *metric != "":
		return app.Usage("--metric goes with closure")
	case (f.Arg(0) == "ledger") != (*kind != ""):
		return app.Usage("--kind goes with ledger, and is required there")
	case *kind != "" && ledgers[*kind] == 0:
		return app.Usage("--kind %q: want suspension or listing", *kind)
	case f.Arg(0) == "closure" && *metric == "" && (*from != "" || *to != ""):
		return app.Usage("--from and --to go with --metric")
	}
	if err := place.Check(); err != nil {
		return err
	}
	times := map[string]*timestamppb.Timestamp{}
	for name, text := range map[string]string{"as-of": *asOf, "from": *from, "to": *to} {
		if text == "" {
			continue
		}
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return app.Usage("--%s %q: want a time like 2025-03-05T09:00:00+08:00", name, text)
		}
		times[name] = timestamppb.New(t)
	}
	out := printer{w: std.Out, format: *format}
	return withViews(ctx, &place, std, func(conn *grpc.ClientConn) error {
		views, mode := remote{pb.NewViewServiceClient(conn)}, areaModes[*areaMode]
		// What has no row at all may be asked for by a name that nothing has.
		known := func(rows int, err error) error {
			if err != nil || rows > 0 {
				return err
			}
			return views.known(ctx, pb.NewRegistryServiceClient(conn), *level, *area)
		}
		switch f.Arg(0) {
		case "stages":
			rows, err := views.stages(ctx, &pb.ListStagesRequest{Level: *level, Area: *area, From: times["from"], To: times["to"], AsOf: times["as-of"], AreaMode: mode})
			if err := known(len(rows), err); err != nil {
				return err
			}
			return out.stages(rows)
		case "ledger":
			rows, err := views.ledger(ctx, &pb.ListLedgerRequest{
				Kind: ledgers[*kind], Level: *level, Area: *area, From: times["from"], To: times["to"], AsOf: times["as-of"], AreaMode: mode,
			})
			if err := known(len(rows), err); err != nil {
				return err
			}
			return out.ledger(rows)
		case "wall":
			return views.wall(ctx, out, &pb.ListMetricsRequest{
				Level: *level, Area: *area, From: times["from"], To: times["to"], AsOf: times["as-of"], AreaMode: mode,
			})
		case "whistles":
			rows, err := views.whistles(ctx, *area)
			if err != nil {
				return err
			}
			return out.whistles(rows)
		}
		if *metric == "" {
			rows, err := views.closure(ctx, &pb.ListClosureRequest{Level: *level, Area: *area, AsOf: times["as-of"], WithMedian: true, AreaMode: mode})
			if err := known(len(rows), err); err != nil {
				return err
			}
			return out.closure(rows)
		}
		q := &pb.ListMetricsRequest{Metric: *metric, Level: *level, Area: *area, From: times["from"], To: times["to"], AsOf: times["as-of"], AreaMode: mode}
		figures, err := views.metrics(ctx, q)
		if err := known(len(figures), err); err != nil {
			return err
		}
		return out.metrics(figures)
	})
}

// known refuses a level or an area that neither the registry nor any ticket has. An empty area is none.
func (r remote) known(ctx context.Context, maps pb.RegistryServiceClient, level, area string) error {
	if known, err := r.knownLevel(ctx, maps, level); err != nil {
		return err
	} else if !known {
		return app.Usage("--level %q: there is no such level, dimension or grouping", level)
	}
	if area == "" || area == registry.UnlocatedCode {
		return nil
	}
	_, err := maps.GetAreaHistory(ctx, &pb.GetAreaHistoryRequest{Code: area, PageSize: 1})
	switch code := status.Code(err); {
	case err == nil:
		return nil
	case code != codes.NotFound && code != codes.FailedPrecondition: // without a registry, only records may have named it
		return err
	}
	// What lies in an area counts in all.
	page, err := r.c.ListClosure(ctx, &pb.ListClosureRequest{Level: "all", Area: area, PageSize: 1})
	if err == nil && len(page.Rows) == 0 {
		err = app.Usage("--area %q: there is no such area", area)
	}
	return err
}

func (r remote) knownLevel(ctx context.Context, maps pb.RegistryServiceClient, level string) (bool, error) {
	switch level {
	case "all", "unit", "category", "channel", view.DirectLevel, registry.UnlocatedLevel:
		return true, nil
	}
	version, err := maps.GetRegistry(ctx, &pb.GetRegistryRequest{})
	if err != nil && status.Code(err) != codes.FailedPrecondition {
		return false, err
	}
	if slices.ContainsFunc(version.GetLevels(), func(l *pb.Level) bool { return l.Name == level }) {
		return true, nil
	}
	page, err := r.c.ListClosure(ctx, &pb.ListClosureRequest{Level: level, PageSize: 1})
	return len(page.GetRows()) > 0, err
}

var areaModes = map[string]pb.AreaMode{
	"path_at_acceptance": pb.AreaMode_AREA_MODE_AT_ACCEPTANCE,
	"restated":           pb.AreaMode_AREA_MODE_RESTATED,
}

// ledgers are the kinds of ledger that --kind names.
var ledgers = map[string]pb.LedgerKind{"suspension": pb.LedgerKind_LEDGER_KIND_SUSPENSION, "listing": pb.LedgerKind_LEDGER_KIND_LISTING}

const pageSize = 10_000

// remote reads all pages.
type remote struct{ c pb.ViewServiceClient }

func (r remote) closure(ctx context.Context, q *pb.ListClosureRequest) (all []*pb.ClosureRow, err error) {
	for q.PageSize = pageSize; ; {
		page, err := r.c.ListClosure(ctx, q)
		if all = append(all, page.GetRows()...); err != nil || page.NextPageToken == "" {
			return all, err
		}
		q.PageToken = page.NextPageToken
	}
}

func (r remote) metrics(ctx context.Context, q *pb.ListMetricsRequest) (all []*pb.MetricFigure, err error) {
	for q.PageSize = pageSize; ; {
		page, err := r.c.ListMetrics(ctx, q)
		if all = append(all, page.GetFigures()...); err != nil || page.NextPageToken == "" {
			return all, err
		}
		q.PageToken = page.NextPageToken
	}
}

func (r remote) stages(ctx context.Context, q *pb.ListStagesRequest) (all []*pb.StageRow, err error) {
	for q.PageSize = pageSize; ; {
		page, err := r.c.ListStages(ctx, q)
		if all = append(all, page.GetRows()...); err != nil || page.NextPageToken == "" {
			return all, err
		}
		q.PageToken = page.NextPageToken
	}
}

func (r remote) ledger(ctx context.Context, q *pb.ListLedgerRequest) (all []*pb.LedgerRow, err error) {
	for q.PageSize = pageSize; ; {
		page, err := r.c.ListLedger(ctx, q)
		if all = append(all, page.GetRows()...); err != nil || page.NextPageToken == "" {
			return all, err
		}
		q.PageToken = page.NextPageToken
	}
}

// whistles are those in progress, in an area or anywhere.
func (r remote) whistles(ctx context.Context, area string) (all []*pb.WhistleRow, err error) {
	q := &pb.ListWhistlesRequest{PageSize: 1_000, Filter: "open"}
	if area != "" {
		q.Filter += " AND area = " + strconv.Quote(area)
	}
	for {
		page, err := r.c.ListWhistles(ctx, q)
		if all = append(all, page.GetWhistles()...); err != nil || page.NextPageToken == "" {
			return all, err
		}
		q.PageToken = page.NextPageToken
	}
}

// printer prints rows as a table, CSV or JSON.
type printer struct {
	w      io.Writer
	format string
}

var closureColumns = []string{
	"level", "area_code", "area_name", "path", "total", "closed", "closure_rate", "due_total", "closed_within_due", "closed_late",
	"open_overdue", "within_due_rate", "median_hours_to_close",
}

func (p printer) closure(rows []*pb.ClosureRow) error {
	lines := make([][]string, len(rows))
	for i, r := range rows {
		f := r.GetFigures()
		lines[i] = []string{
			r.Level, r.Code, r.Name, r.Path, count(f.Total), count(f.Closed), decimal(f.ClosureRate, 6), count(f.DueTotal),
			count(f.ClosedWithinDue), count(f.ClosedLate), count(f.OpenOverdue), decimal(f.WithinDueRate, 6), decimal(f.MedianHoursToClose, 4),
		}
	}
	return print(p, closureColumns, lines, rows)
}

var metricColumns = []string{"metric", "level", "area_code", "area_name", "path", "numerator", "denominator", "rate", "excluded", "parts", "mean_hours",
	"median_hours", "p90_hours"}

func (p printer) metrics(rows []*pb.MetricFigure) error {
	lines := make([][]string, len(rows))
	for i, r := range rows {
		denominator := ""
		if r.Denominator != nil {
			denominator = count(*r.Denominator)
		}
		lines[i] = []string{
			r.Metric, r.Level, r.Code, r.Name, r.Path, count(r.Numerator), denominator, decimal(r.Rate, 6), counts(r.Excluded), counts(r.Parts),
			decimal(r.MeanHours, 4), decimal(r.MedianHours, 4), decimal(r.P90Hours, 4),
		}
	}
	return print(p, metricColumns, lines, rows)
}

var stageColumns = []string{"level", "area_code", "area_name", "path", "stage", "stays", "hours", "overdue"}

func (p printer) stages(rows []*pb.StageRow) error {
	lines := make([][]string, len(rows))
	for i, r := range rows {
		lines[i] = []string{r.Level, r.Code, r.Name, r.Path, word(r.Stage, "STAGE_"), count(r.Stays), decimal(&r.Hours, 4), count(r.Overdue)}
	}
	return print(p, stageColumns, lines, rows)
}

var whistleColumns = []string{"no", "kind", "state", "street", "area", "call_item", "blown_at", "issued_at", "resolve_by", "late", "waits_for",
	"unit", "compulsory", "participant", "report_in_by", "signed_at", "reported_in_at", "in_time", "left_at"}

// whistles prints a line for each participant.
func (p printer) whistles(rows []*pb.WhistleRow) error {
	var lines [][]string
	for _, w := range rows {
		whole := []string{
			w.No, word(w.Kind, "WHISTLE_KIND_"), word(w.State, "WHISTLE_STATE_"), w.Street, w.Area, w.CallItem, instant(w.BlownAt), instant(w.IssuedAt),
			instant(w.ResolveBy), strconv.FormatBool(w.Late), strings.Join(w.WaitsFor, " "),
		}
		for _, a := range w.Arrivals {
			inTime := ""
			if a.ReportedInAt != nil {
				inTime = strconv.FormatBool(a.InTime)
			}
			lines = append(lines, append(slices.Clone(whole), a.Unit, strconv.FormatBool(a.Compulsory), word(a.State, "PARTICIPANT_STATE_"),
				instant(a.ReportInBy), instant(a.SignedAt), instant(a.ReportedInAt), inTime, instant(a.LeftAt)))
		}
	}
	return print(p, whistleColumns, lines, rows)
}

// word is a value of an enum in small letters, without the enum's prefix.
func word(of fmt.Stringer, prefix string) string {
	return strings.ToLower(strings.TrimPrefix(of.String(), prefix))
}

// instant is a time that may be missing, in the city's zone.
func instant(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().In(calendar.Default().Zone()).Format(time.RFC3339)
}

func count(n int64) string { return strconv.FormatInt(n, 10) }

// decimal is a number that may be missing.
func decimal(f *float64, places int) string {
	if f == nil {
		return ""
	}
	return strconv.FormatFloat(*f, 'f', places, 64)
}

func counts(m map[string]int64) string {
	if len(m) == 0 {
		return ""
	}
	text, err := json.Marshal(m) // keys in order
	if err != nil {
		return ""
	}
	return string(text)
}

func print[M proto.Message](p printer, columns []string, lines [][]string, rows []M) error {
	switch p.format {
	case "csv":
		w := csv.NewWriter(p.w)
		return errors.Join(w.Write(columns), w.WriteAll(lines))
	case "json":
		all := make([]json.RawMessage, len(rows))
		for i, r := range rows {
			text, err := protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}.Marshal(r)
			if err != nil {
				return fmt.Errorf("print row %d: %w", i, err)
			}
			all[i] = text
		}
		out := json.NewEncoder(p.w)
		out.SetIndent("", "  ")
		return out.Encode(all)
	}
	w := tabwriter.NewWriter(p.w, 0, 4, 2, ' ', 0)
	writeLine := func(cells []string) {
		for i, c := range cells {
			if i > 0 {
				fmt.Fprint(w, "\t")
			}
			fmt.Fprint(w, c)
		}
		fmt.Fprintln(w)
	}
	writeLine(columns)
	for _, line := range lines {
		writeLine(line)
	}
	return w.Flush()
}
