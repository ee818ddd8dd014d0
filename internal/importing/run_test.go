package importing_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/importing"
	"github.com/chuishao/dispatch/internal/rule"
)

func mapping(t testing.TB, text string) *importing.Mapping {
	t.Helper()
	m, err := importing.ParseMapping("m.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func zipped(t testing.TB, text string) string {
	t.Helper()
	var to bytes.Buffer
	w := gzip.NewWriter(&to)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return to.String()
}

const whole = `
source: test
id: id
time: {zone: Asia/Shanghai, formats: [rfc3339, datetime]}
reported: at
closed: closed
due: due
category: cat
status: {column: status, closed: [Done]}
channel: {column: way, values: {Phone: hotline}, default: media}
position: {lon: lon, lat: lat, datum: gcj02}
particulars: {place: [kind, place], text: words}
petitioner: {name: who, phone: phone}
levels:
  - {name: district, column: district, tree: true, name_column: district_name}
  - {name: street, column: street, tree: true}
  - {name: board, column: board, tree: false}
`

const columns = "id,at,closed,due,cat,status,way,lon,lat,kind,place,words,who,phone,district,district_name,street,board\n"

func run(t *testing.T, m *importing.Mapping, sink importing.Sink, files ...string) (*importing.Report, error) {
	t.Helper()
	return importing.Run(t.Context(), m, files, sink, importing.Options{Callers: 4, Quarantine: filepath.Join(t.TempDir(), "q.csv")})
}

func TestARowBecomesARecord(t *testing.T) {
	t.Parallel()
	sink := &collect{}
	file := write(t, t.TempDir(), "a.csv", "\xef\xbb\xbf"+columns+
		`7,2024-05-06 07:08:09,2024-05-06T00:00:00.123456789Z,2024-05-07 00:00:00,noise,Open,Phone,120.3,31.5,shop,"1, East Road",loud,Wang,138-0000 0000,D1,District 1,S1," "`+"\n")
	if _, err := run(t, mapping(t, whole), sink, file); err != nil {
		t.Fatal(err)
	}
	r := sink.records[0]
	got := fmt.Sprintln(r.RequestId, r.Source, r.SourceRef, r.OccurredAt.AsTime(), r.ClosedAt.AsTime(), r.DueAt.AsTime(), r.Category, r.Status, r.Channel)
	want := fmt.Sprintln("import/test/7", "test", "7", "2024-05-05 23:08:09 +0000 UTC", "2024-05-06 00:00:00.123456 +0000 UTC", "2024-05-06 16:00:00 +0000 UTC",
		"noise", "Open", pb.Channel_CHANNEL_HOTLINE)
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if p := r.Position; p.Lon != 120.3 || p.Lat != 31.5 || p.Datum != pb.Datum_DATUM_GCJ02 {
		t.Errorf("position %v", p)
	}
	if p := r.Particulars; p.Place != "shop; 1, East Road" || p.Text != "loud" || p.Petitioner.Name != "Wang" || p.Petitioner.Phone != "13800000000" {
		t.Errorf("particulars %v", p)
	}
	if len(r.Path) != 2 || r.Path[0].Level != "district" || r.Path[0].Code != "D1" || r.Path[0].Name != "District 1" || r.Path[1].Code != "S1" || r.Path[1].Name != "S1" {
		t.Errorf("path %v", r.Path)
	}
	if len(r.Dimensions) != 1 || r.Dimensions[0].Level != "board" || r.Dimensions[0].Value != " " {
		t.Errorf("dimensions %v", r.Dimensions)
	}
	if want := []string{importing.ClosedAgainstStatus, importing.LevelMissing + "board"}; !slices.Equal(r.Oddities, want) {
		t.Errorf("oddities %v, want %v", r.Oddities, want)
	}
}

func TestWhatIsOddIsImportedAndCounted(t *testing.T) {
	t.Parallel()
	sink := &collect{}
	file := write(t, t.TempDir(), "a.csv", columns+strings.Join([]string{
		"1,2024-05-05T16:00:00Z,,,,Done,Fax,x,1,,,,,nobody,,,,",
		"2,2024-05-05T16:00:01Z,2024-05-05T16:00:00Z,2024-05-04T00:00:00Z,c,,,,,,,,,,D,,,b",
		"2,2024-05-05T16:00:01.2Z,2024-05-05T16:00:01.9Z,,c,Done,Phone,1,2,,,,,,,,S,b",
	}, "\n"))
	report, err := run(t, mapping(t, whole), sink, file)
	if err != nil || report.Imported != 3 || report.Quarantined != 0 {
		t.Fatalf("got %+v, %v", report, err)
	}
	want := map[string]int64{
		importing.ClosedMissing: 1, importing.OpenAgainstStatus: 1, importing.ReportedAtMidnight: 1, importing.DueMissing: 2,
		importing.CategoryMissing: 1, importing.ChannelUnknown: 1, importing.ChannelMissing: 1, importing.PositionUnreadable: 1, importing.PositionMissing: 1,
		importing.PhoneUnreadable: 1, importing.PathMissing: 1, importing.LevelMissing + "district": 2, importing.LevelMissing + "street": 2,
		importing.LevelMissing + "board": 1, importing.ClosedBeforeReported: 1, importing.DueBeforeReported: 1, importing.StatusMissing: 1,
		importing.ClosedWithoutStatus: 1, importing.ClosedInSameSecond: 1, importing.IDRepeated: 1,
	}
	if fmt.Sprint(report.Oddities) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", report.Oddities, want)
	}
	for _, r := range sink.records {
		if r.SourceRef == "1" && (r.Channel != pb.Channel_CHANNEL_MEDIA || r.Particulars.GetNote() != "nobody" || len(r.Path) != 0) {
			t.Errorf("got %v", r)
		}
	}
}

func TestRowsThatCannotBeReadGoToQuarantine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good := "good,2024-01-01T00:00:00Z" + strings.Repeat(",", 16)
	bad := []struct{ row, reason string }{
		{"a,b", "has 2 columns, the header has 18"},
		{strings.Replace(good, "good", `go"od`, 1), "quotes do not match"},
		{strings.Replace(good, "good", "\xff", 1), "is not UTF-8"},
		{strings.Replace(good, "good", " ", 1), "id: is empty"},
		{"x,, ,,,,,,,,,,,,,,,", "at: is empty"},
		{"x,yesterday,,,,,,,,,,,,,,,,", "at: is not a time of the mapping's formats"},
		{"x,2024-01-01T00:00:00Z,soon,,,,,,,,,,,,,,,", "closed: is not a time of the mapping's formats"},
		{"x,2024-01-01T00:00:00Z,0001-01-01T00:00:00Z,,,,,,,,,,,,,,,", "closed: is not a time of the mapping's formats"},
		{"x,2024-01-01T00:00:00Z,,31.02.2024,,,,,,,,,,,,,,", "due: is not a time of the mapping's formats"},
		{"x,2024-01-01T00:00:00Z,,," + strings.Repeat("长", 501) + ",,,,,,,,,,,,,", "cat: has more than 500 characters"},
		{"x,2024-01-01T00:00:00Z,,,,,,,,,," + strings.Repeat("长", 8001) + ",,,,,,", "words: has more than 8000 characters"},
		{"x,2024-01-01T00:00:00Z,,,,,,,,k," + strings.Repeat("长", 8000) + ",,,,,,,", "kind and what is joined to it: has more than 8000 characters"},
		{"refused,2024-01-01T00:00:00Z,,,,,,,,,,,,,,,,", "BAD_FIELD: source: is no good"},
	}
	text := columns + good + "\n"
	for _, b := range bad {
		text += b.row + "\n"
	}
	text += "fine" + good + "\nlast,\"2024"
	sink := &collect{fail: func(r *pb.ImportRecordRequest) error {
		if r.SourceRef == "refused" {
			return fmt.Errorf("wrapped: %w", rule.Bad("source", rule.BadField, "is no good"))
		}
		return nil
	}}
	file := write(t, dir, "a.csv", text)
	taken := write(t, dir, "q.csv", "of an earlier run")
	report, err := importing.Run(t.Context(), mapping(t, whole), []string{file}, sink, importing.Options{Callers: 1, Quarantine: taken})
	if err != nil {
		t.Fatal(err)
	}
	bad = append(bad, struct{ row, reason string }{"last,\"2024", "a quote is never closed"})
	if report.Imported != 2 || report.Quarantined != int64(len(bad)) || report.Rows != int64(len(bad))+2 || report.Unfinished != 0 {
		t.Errorf("got %+v", report)
	}
	if report.Reasons["unreadable time"] != 4 || report.Reasons["refused: BAD_FIELD"] != 1 || report.Reasons["too long"] != 3 {
		t.Errorf("reasons %v", report.Reasons)
	}
	if before, _ := os.ReadFile(taken); string(before) != "of an earlier run" {
		t.Errorf("the earlier quarantine holds %q", before)
	}
	info, err := os.Stat(report.QuarantineFile)
	if err != nil || info.Mode().Perm() != 0o600 || filepath.Base(report.QuarantineFile) != "q-2.csv" {
		t.Fatalf("quarantine %s: %v, %v", report.QuarantineFile, info, err)
	}
	q, err := os.Open(report.QuarantineFile)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	rows, err := csv.NewReader(q).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range bad {
		// The sink's refusal comes when it comes.
		line := i + 3
		if b.reason == "a quote is never closed" {
			line++
		}
		want := []string{file, fmt.Sprint(line), b.reason, b.row}
		if !slices.ContainsFunc(rows, func(r []string) bool { return slices.Equal(r, want) }) {
			t.Errorf("no row %.200q in quarantine", want)
		}
	}
}

func TestColumnsThatAreMissingAreFoundBeforeAnythingIsImported(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := mapping(t, "source: s\nid: id\nreported: at\nlevels:\n  - {name: ward, column: ward, tree: false}\n")
	good := write(t, dir, "good.csv", "id,at,ward\n1,2024-01-01T00:00:00Z,x\n")
	for name, c := range map[string]struct{ text, want string }{
		"missing.csv": {"id,reported\n", `m.yaml:3: reported: the header of ` + filepath.Join(dir, "missing.csv") + ` has no column "at"`},
		"second.csv":  {"id,at\n", `levels[0].column: the header of`},
		"twice.csv":   {"id,at,ward,at\n", `has more than one column "at"`},
		"empty.csv":   {"", "is empty"},
		"utf16.csv":   {"\xff\xfei\x00d\x00", "is UTF-16"},
		"bytes.csv":   {"id,at,ward,\xe9\n", "the header is not UTF-8"},
		"zip.csv":     {"\x1f\x8bnothing", "decompress"},
		"cut.csv":     {zipped(t, "id,at,ward\n")[:12], "the header the file ends in the middle"},
	} {
		sink := &collect{}
		report, err := run(t, m, sink, good, write(t, dir, name, c.text))
		if err == nil || report != nil || !strings.Contains(err.Error(), c.want) || len(sink.records) != 0 {
			t.Errorf("%s: got %v, %d records, want %s", name, err, len(sink.records), c.want)
		}
	}
	for want, files := range map[string][]string{"no files": nil, "given twice": {good, good}, "not a regular file": {dir}, "no such file": {good + "x"}} {
		if _, err := run(t, m, &collect{}, files...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestRowsWithOneIDAreNumberedInOrderOnEveryRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := mapping(t, "source: s\nid: id\nreported: at\ncategory: cat\n")
	one := write(t, dir, "one.csv", "id,at,cat\n7,2024-01-01T00:00:00Z,first\n8,2024-01-01T00:00:00Z,other\n7,never,unreadable\n7,2024-01-01T00:00:00Z,third\n")
	two := write(t, dir, "two.csv.gz", zipped(t, "cat,id,at\nfourth,7,2024-01-01T00:00:00Z\n"))
	for range 20 {
		sink := &collect{}
		if _, err := run(t, m, sink, one, two); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range sink.records {
			got = append(got, r.SourceRef+" "+r.Category)
		}
		slices.Sort(got)
		if want := []string{"7 first", "7#3 third", "7#4 fourth", "8 other"}; !slices.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
}

func TestOfATruncatedFileAllThatCouldBeReadIsImported(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := mapping(t, "source: s\nid: id\nreported: at\n")
	text := "id,at\n"
	rows := map[string]bool{}
	for i := range 20_000 {
		row := fmt.Sprintf("%d,2024-01-01T%02d:%02d:%02dZ", i*7919, i%24, i%60, i*13%60)
		rows[row] = true
	}
	text += strings.Join(slices.Sorted(maps.Keys(rows)), "\n")
	whole := zipped(t, text)
	cut := write(t, dir, "cut.csv.gz", whole[:len(whole)/2])
	later := write(t, dir, "later.csv", "id,at\nlater,2024-01-01T00:00:00Z\n")
	sink := &collect{}
	report, err := run(t, m, sink, cut, later)
	if err == nil || !strings.Contains(err.Error(), "cut.csv.gz: the compressed data end in the middle") {
		t.Fatalf("got %v", err)
	}
	if report.Imported < 5_000 || report.Imported >= 20_000 || report.Imported+report.Quarantined != report.Rows || report.Unfinished != 0 || report.Quarantined > 1 {
		t.Errorf("got %+v", report)
	}
	if _, is := sink.seen["import/s/later"]; is {
		t.Error("a later file was imported, though ids of this one may yet come")
	}
	for _, r := range sink.records {
		if !rows[r.SourceRef+r.OccurredAt.AsTime().Format(",2006-01-02T15:04:05Z")] {
			t.Fatalf("the file has no record %v", r)
		}
	}
}

func TestAFaultOfTheSinkEndsTheRunAndTheNextGoesOn(t *testing.T) {
	t.Parallel()
	m := mapping(t, "source: s\nid: id\nreported: at\n")
	text := "id,at\n"
	for i := range 3000 {
		text += fmt.Sprintf("%d,2024-01-01T00:00:00Z\n", i)
	}
	file := write(t, t.TempDir(), "a.csv", text)
	for _, fault := range []error{errors.New("the disk is full"), rule.No(rule.RoleNotAllowed, "none of your roles may do this")} {
		sink := &collect{}
		sink.fail = func(*pb.ImportRecordRequest) error {
			if len(sink.records) >= 1000 {
				return fault
			}
			return nil
		}
		report, err := run(t, m, sink, file)
		if !errors.Is(err, fault) || report.Imported != 1000 || report.Quarantined != 0 || report.Rows != report.Imported+report.Unfinished {
			t.Errorf("got %+v, %v", report, err)
		}
		sink.fail = nil
		report, err = run(t, m, sink, file)
		if err != nil || report.Unchanged != 1000 || report.Imported != 2000 || report.Unfinished != 0 {
			t.Errorf("again: got %+v, %v", report, err)
		}
	}
}

func TestACancelledRunEnds(t *testing.T) {
	t.Parallel()
	file := write(t, t.TempDir(), "a.csv", "id,at\n"+strings.Repeat("1,2024-01-01T00:00:00Z\n", 5000))
	ctx, cancel := context.WithCancel(t.Context())
	sink := &collect{fail: func(*pb.ImportRecordRequest) error { cancel(); return ctx.Err() }}
	report, err := importing.Run(ctx, mapping(t, "source: s\nid: id\nreported: at\n"), []string{file}, sink, importing.Options{})
	if !errors.Is(err, context.Canceled) || report.Imported != 0 {
		t.Errorf("got %+v, %v", report, err)
	}
}

func TestAsManyCallersAsAskedFor(t *testing.T) {
	t.Parallel()
	file := write(t, t.TempDir(), "a.csv", "id,at\n"+strings.Repeat("1,2024-01-01T00:00:00Z\n", 32))
	var together sync.WaitGroup
	together.Add(32)
	sink := &collect{}
	// Nobody is answered until all have called.
	all := sinkFunc(func(ctx context.Context, r *pb.ImportRecordRequest) (*pb.ImportAnswer, error) {
		together.Done()
		together.Wait()
		return sink.Import(ctx, r)
	})
	report, err := importing.Run(t.Context(), mapping(t, "source: s\nid: id\nreported: at\n"), []string{file}, all, importing.Options{Callers: 32})
	if err != nil || report.Imported != 32 {
		t.Errorf("got %+v, %v", report, err)
	}
}

type sinkFunc func(context.Context, *pb.ImportRecordRequest) (*pb.ImportAnswer, error)

func (f sinkFunc) Import(ctx context.Context, r *pb.ImportRecordRequest) (*pb.ImportAnswer, error) {
	return f(ctx, r)
}

func TestAReportReadsAsTextAndJSON(t *testing.T) {
	t.Parallel()
	file := write(t, t.TempDir(), "a.csv", "id,at\n1,2024-01-01T00:00:00Z\n1,2024-01-03T00:00:00Z\n,\n")
	report, err := run(t, mapping(t, "source: s\nid: id\nreported: at\n"), &collect{}, file)
	if err != nil {
		t.Fatal(err)
	}
	var text, js bytes.Buffer
	if err := errors.Join(report.WriteText(&text), report.WriteJSON(&js)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"imported", "id_repeated", "no id", "2024-01-01T00:00:00Z to 2024-01-03T00:00:00Z", report.QuarantineFile} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	var back importing.Report
	if err := json.Unmarshal(js.Bytes(), &back); err != nil || back.Imported != 2 || back.Reasons["no id"] != 1 || !back.Last.Equal(*report.Last) {
		t.Errorf("got %+v, %v", back, err)
	}
}
