package importing_test

import (
	"compress/gzip"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/importing"
)

// collect is a sink that keeps what it is given.
type collect struct {
	mu      sync.Mutex
	records []*pb.ImportRecordRequest
	seen    map[string]*pb.ImportRecordRequest
	fail    func(*pb.ImportRecordRequest) error
}

func (c *collect) Import(_ context.Context, r *pb.ImportRecordRequest) (*pb.ImportAnswer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail != nil {
		if err := c.fail(r); err != nil {
			return nil, err
		}
	}
	if c.seen == nil {
		c.seen = map[string]*pb.ImportRecordRequest{}
	}
	if before := c.seen[r.RequestId]; before != nil && proto.Equal(before, r) {
		return &pb.ImportAnswer{Unchanged: true}, nil
	}
	c.seen[r.RequestId] = r
	c.records = append(c.records, r)
	return &pb.ImportAnswer{}, nil
}

// sample gives a file of the real records, or skips the test.
func sample(t testing.TB, name string) string {
	t.Helper()
	dir := os.Getenv("CHUISHAO_DATA")
	if dir == "" {
		t.Skip("CHUISHAO_DATA is not set: it must name the directory of the real records (nyc311-sample.csv.gz and others)")
	}
	return filepath.Join(dir, name)
}

func example(t testing.TB, name string) *importing.Mapping {
	t.Helper()
	m, err := importing.LoadMapping(filepath.Join("..", "..", "examples", name, "mapping.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestExampleMappingsReadWithoutTheirRecords(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"nyc311", "nyccouncil", "boston311"} {
		if m := example(t, name); m.Source() != name || len(m.Levels()) == 0 {
			t.Errorf("%s: source %s, %d levels", name, m.Source(), len(m.Levels()))
		}
	}
}

// What the description of the real records counts.
var real = []struct {
	source   string
	rows     int64
	levels   []string // that the reference has
	oddities map[string]int64
}{
	{"nyc311", 23_310, []string{"borough", "community_board"}, map[string]int64{
		importing.DueMissing: 22_865, importing.StatusMissing: 20_000, importing.ClosedMissing: 8_030, importing.ReportedAtMidnight: 1_469,
		importing.ClosedInSameSecond: 591, importing.PositionMissing: 382, importing.LevelMissing + "community_board": 297,
		importing.ClosedAgainstStatus: 7, importing.ClosedBeforeReported: 1, importing.SubcategoryMissing: 1, importing.IDRepeated: 0,
		importing.LevelMissing + "borough": 0, importing.CategoryMissing: 0, importing.PositionUnreadable: 0,
	}},
	{"nyccouncil", 19_126, []string{"borough", "community_board", "council_district"}, map[string]int64{
		importing.ClosedInSameSecond: 5_745, importing.LevelMissing + "community_board": 3_490, importing.LevelMissing + "borough": 2_871,
		importing.LevelMissing + "council_district": 1_125, importing.ClosedMissing: 479, importing.CategoryMissing: 238,
		importing.IDRepeated: 1, importing.ReportedAtMidnight: 19_126, importing.DueMissing: 0, importing.StatusMissing: 0,
	}},
	{"boston311", 22_219, []string{"services_district", "neighborhood", "ward", "precinct"}, map[string]int64{
		importing.ClosedMissing: 7_619, importing.DueMissing: 6_290, importing.LevelMissing + "precinct": 324,
		importing.LevelMissing + "neighborhood": 268, importing.PositionMissing: 266, importing.LevelMissing + "ward": 262,
		importing.ClosedInSameSecond: 5, importing.ClosedBeforeReported: 3, importing.OnTimeMissing: 1, importing.OnTimeContradicted: 0,
		importing.IDRepeated: 0, importing.ChannelUnknown: 0, importing.OpenAgainstStatus: 0, importing.ClosedAgainstStatus: 0,
	}},
}

func TestRealRecordsAreCountedAsTheyAreDescribed(t *testing.T) {
	t.Parallel()
	for _, r := range real {
		t.Run(r.source, func(t *testing.T) {
			t.Parallel()
			sink := &collect{}
			opts := importing.Options{Quarantine: filepath.Join(t.TempDir(), "quarantine.csv")}
			files := []string{sample(t, r.source+"-sample.csv.gz")}
			report, err := importing.Run(t.Context(), example(t, r.source), files, sink, opts)
			if err != nil {
				t.Fatal(err)
			}
			if report.Rows != r.rows || report.Imported != r.rows || report.Quarantined != 0 || report.Unfinished != 0 {
				t.Errorf("got %+v, want %d rows, all imported", report, r.rows)
			}
			for kind, want := range r.oddities {
				if got := report.Oddities[kind]; got != want {
					t.Errorf("%s: got %d, want %d", kind, got, want)
				}
			}
			counted := map[string]int64{}
			for _, rec := range sink.records {
				for _, kind := range rec.Oddities {
					counted[kind]++
				}
			}
			if !maps.Equal(counted, report.Oddities) {
				t.Errorf("the records carry %v, the report says %v", counted, report.Oddities)
			}
			report, err = importing.Run(t.Context(), example(t, r.source), files, sink, opts)
			if err != nil || report.Imported != 0 || report.Unchanged != r.rows {
				t.Errorf("again: got %+v, %v, want all unchanged", report, err)
			}
			t.Run("figures equal the reference", func(t *testing.T) { equalReference(t, r.source, r.levels, sink.records) })
			t.Run("texts equal the file's", func(t *testing.T) { equalTexts(t, example(t, r.source), files[0], sink.records) })
		})
	}
}

// figures are those of one area at one instant.
type figures struct {
	total, closed, due, within, late, overdue int
	hours                                     []float64
}

func (f *figures) median() string {
	if len(f.hours) == 0 {
		return ""
	}
	slices.Sort(f.hours)
	n := len(f.hours)
	return strconv.FormatFloat((f.hours[n/2]+f.hours[(n-1)/2])/2, 'f', 4, 64)
}

func rate(part, whole int) string {
	if whole == 0 {
		return ""
	}
	return fmt.Sprintf("%.6f", float64(part)/float64(whole))
}

func equalReference(t *testing.T, source string, levels []string, records []*pb.ImportRecordRequest) {
	file, err := os.Open(sample(t, source+"-sample-reference.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	type key struct{ asOf, level, area string }
	got := map[key]*figures{}
	asOfs := map[string]time.Time{}
	want := 0
	for _, r := range rows[1:] {
		if r[0] != "all" {
			continue
		}
		want++
		at, err := time.Parse(time.RFC3339, r[2])
		if err != nil {
			t.Fatal(err)
		}
		asOfs[r[2]] = at
	}
	for name, at := range asOfs {
		for _, rec := range records {
			reported := rec.OccurredAt.AsTime()
			if reported.After(at) {
				continue
			}
			areas := []key{{name, "all", ""}}
			for _, d := range rec.Dimensions {
				if slices.Contains(levels, d.Level) {
					areas = append(areas, key{name, d.Level, d.Value})
				}
			}
			for _, k := range areas {
				f := got[k]
				if f == nil {
					f = &figures{}
					got[k] = f
				}
				f.total++
				closed := rec.ClosedAt != nil && !rec.ClosedAt.AsTime().After(at)
				if closed {
					f.closed++
					if d := rec.ClosedAt.AsTime().Sub(reported); d >= 0 {
						f.hours = append(f.hours, d.Hours())
					}
				}
				if rec.DueAt == nil {
					continue
				}
				f.due++
				switch {
				case closed && !rec.ClosedAt.AsTime().After(rec.DueAt.AsTime()):
					f.within++
				case closed:
					f.late++
				case rec.DueAt.AsTime().Before(at):
					f.overdue++
				}
			}
		}
	}
	if len(got) != want {
		t.Errorf("got figures of %d areas and instants, the reference has %d", len(got), want)
	}
	for _, r := range rows[1:] {
		if r[0] != "all" {
			continue
		}
		f := got[key{r[2], r[3], r[4]}]
		if f == nil {
			t.Errorf("%v: no such area", r)
			continue
		}
		line := []string{strconv.Itoa(f.total), strconv.Itoa(f.closed), rate(f.closed, f.total), strconv.Itoa(f.due), strconv.Itoa(f.within),
			strconv.Itoa(f.late), strconv.Itoa(f.overdue), rate(f.within, f.within+f.late+f.overdue), f.median()}
		if !slices.Equal(line[:8], r[5:13]) || !near(line[8], r[13]) {
			t.Errorf("%v: got %v, want %v", r[:5], line, r[5:])
		}
	}
}

func near(a, b string) bool {
	if a == "" || b == "" {
		return a == b
	}
	x, _ := strconv.ParseFloat(a, 64)
	y, _ := strconv.ParseFloat(b, 64)
	return math.Abs(x-y) <= 0.000_1001
}

func equalTexts(t *testing.T, m *importing.Mapping, path string, records []*pb.ImportRecordRequest) {
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	plain, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	byRef := map[string]*pb.ImportRecordRequest{}
	for _, r := range records {
		byRef[r.SourceRef] = r
	}
	in := csv.NewReader(plain)
	header, err := in.Read()
	if err != nil {
		t.Fatal(err)
	}
	nth := map[string]int{}
	for {
		fields, err := in.Read()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		at := func(name string) string { return fields[slices.Index(header, name)] }
		ref := at("id")
		if nth[ref]++; nth[ref] > 1 {
			ref += "#" + strconv.Itoa(nth[ref])
		}
		r := byRef[ref]
		if r == nil {
			t.Fatalf("no record %s", ref)
		}
		if r.Agency != at("agency") || r.GetParticulars().GetPlace() != at("location") {
			t.Errorf("%s: agency %q or place %q differ", ref, r.Agency, r.GetParticulars().GetPlace())
		}
		if slices.Contains(header, "resolution") && r.GetParticulars().GetReply() != at("resolution") {
			t.Errorf("%s: reply %q", ref, r.Particulars.Reply)
		}
		for i, l := range m.Levels() {
			if d := r.Dimensions[i]; d.Level != l.Name || d.Value != at(l.Name) {
				t.Errorf("%s: dimension %v, want %s %q", ref, d, l.Name, at(l.Name))
			}
		}
	}
}

// swallow is a sink without a cost.
type swallow struct{}

func (swallow) Import(context.Context, *pb.ImportRecordRequest) (*pb.ImportAnswer, error) {
	return &pb.ImportAnswer{}, nil
}

func BenchmarkRun(b *testing.B) {
	for _, name := range []string{"nyc311", "nyccouncil", "boston311"} {
		b.Run(name, func(b *testing.B) {
			file, m := sample(b, name+"-sample.csv.gz"), example(b, name)
			b.ReportAllocs()
			var rows int64
			for b.Loop() {
				report, err := importing.Run(b.Context(), m, []string{file}, swallow{}, importing.Options{})
				if err != nil {
					b.Fatal(err)
				}
				rows += report.Rows
			}
			b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
