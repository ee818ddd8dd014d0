package demo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/app"
	"github.com/chuishao/dispatch/internal/event"
)

func options(t *testing.T, out io.Writer) Options {
	t.Helper()
	return Options{
		Data: filepath.Join(t.TempDir(), "data"), GRPC: "127.0.0.1:0", HTTP: "127.0.0.1:0", Day: time.Date(2025, 3, 8, 12, 0, 0, 0, zone()),
		Tickets: len(featured) + 10, Seed: 1, Once: true, Out: out, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

var addresses = regexp.MustCompile(`127\.0\.0\.1:\d+`)

// On a Saturday, when those on duty work and deadlines do not run.
func TestASmallDayIsPlayedAndVerifiesTheSameAtAnySpeed(t *testing.T) {
	t.Parallel()
	play := func(speed float64) (Options, string) {
		var out bytes.Buffer
		o := options(t, &out)
		o.Speed = speed
		if err := Run(t.Context(), o); err != nil {
			t.Fatalf("%v\n%s", err, &out)
		}
		return o, out.String()
	}
	o, out := play(0)
	for _, want := range []string{"\n01:00 ", "\n24:00 ", "宜兴市", "grpcurl -plaintext", "projector replay --addr 127.0.0.1:", "projector verify --addr 127.0.0.1:"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not printed:\n%s", want, out)
		}
	}
	seen := look(t, o.Data)
	for _, typ := range event.Types() {
		switch typ {
		case "RecordImported", "ImportedRecordClosed", "SubjectErased", "HolderMoved": // no part of a city's day
		case "EntryFreed": // only where two claims meet
		default:
			if seen[typ] == 0 {
				t.Errorf("no %s happened", typ)
			}
		}
	}
	if want := fmt.Sprintf("\n%d commands were refused, on purpose", seen["CommandRefused"]); !strings.Contains(out, want) {
		t.Errorf("the history has %d refusals; printed was:\n%s", seen["CommandRefused"], out)
	}
	if err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "holds a history already") {
		t.Errorf("a directory with a history: got %v, want a word of the history that is there", err)
	}
	_, slow := play(100_000)
	if got, want := addresses.ReplaceAllString(slow, ""), addresses.ReplaceAllString(out, ""); got != want {
		t.Errorf("at a speed it was\n%s\nwant\n%s", got, want)
	}
}

// look verifies a data directory, and counts its events by type.
func look(t *testing.T, dir string) map[string]int {
	t.Helper()
	node, err := app.Open(t.Context(), dir, app.Options{Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := node.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := node.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	done := false
	if err := node.Verify(t.Context(), false, func(m *pb.VerifyHistoryResponse) error {
		for _, f := range m.Findings {
			t.Errorf("verify: %v", f)
		}
		done = done || m.Done
		return nil
	}); err != nil || !done {
		t.Errorf("verify: done %v, %v", done, err)
	}
	seen := map[string]int{}
	for r, err := range node.Store.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		seen[r.Type]++
	}
	return seen
}

func TestEveryMethodOfTheServicesIsCalled(t *testing.T) {
	t.Parallel()
	c, err := openCity()
	if err != nil {
		t.Fatal(err)
	}
	stories, err := plan(c, time.Date(2025, 3, 5, 0, 0, 0, 0, zone()), len(featured), 1)
	if err != nil {
		t.Fatal(err)
	}
	called := map[string]bool{}
	for _, s := range stories {
		for _, step := range s.steps {
			called[step.method] = true
		}
	}
	for _, file := range []protoreflect.FileDescriptor{
		pb.File_chuishao_v1_ticket_proto, pb.File_chuishao_v1_whistle_proto, pb.File_chuishao_v1_wall_proto, pb.File_chuishao_v1_admission_proto,
		pb.File_chuishao_v1_listing_proto, pb.File_chuishao_v1_review_proto,
	} {
		service := file.Services().Get(0)
		for i := range service.Methods().Len() {
			if name := fmt.Sprintf("/%s/%s", service.FullName(), service.Methods().Get(i).Name()); !called[name] {
				t.Errorf("%s is never called", name)
			}
		}
	}
}

// lines tells when something was printed.
type lines struct {
	find  string
	found func()
}

func (l lines) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(l.find)) {
		l.found()
	}
	return len(p), nil
}

func TestADayCanBeInterrupted(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	for name, when := range map[string]string{"in the morning": "09:00", "while it is served": "projector verify"} {
		ctx, stop := context.WithCancel(t.Context())
		o := options(t, lines{when, stop})
		o.Data, o.Once, o.Tickets = "", false, 10
		if err := Run(ctx, o); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		stop()
		left, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(left) > 0 {
			t.Errorf("%s: %s was not removed", name, left[0].Name())
		}
	}
}

func TestTheClockKeepsToItsSpeedAndEnd(t *testing.T) {
	t.Parallel()
	start := time.Date(2025, 3, 5, 0, 0, 0, 0, time.UTC)
	c := new(clock)
	c.stop(start)
	if got := c.Now(); !got.Equal(start) {
		t.Errorf("it stands at %s, want %s", got, start)
	}
	if got := c.stop(start.Add(-time.Hour)); !got.Equal(start) {
		t.Errorf("it went back to %s", got)
	}
	end := start.Add(time.Hour)
	c.run(1000, end)
	real := c.since
	for after, want := range map[time.Duration]time.Time{0: start, time.Second: start.Add(1000 * time.Second), time.Minute: end} {
		if got := c.now(real.Add(after)); !got.Equal(want) {
			t.Errorf("after %s it shows %s, want %s", after, got, want)
		}
	}
	c.stop(end)
	c.run(1, time.Time{})
	if got := c.now(c.since.Add(24 * time.Hour)); !got.Equal(end.Add(24 * time.Hour)) {
		t.Errorf("a day after the end it shows %s", got)
	}
}

func TestMattersComeAtTheirHours(t *testing.T) {
	t.Parallel()
	c, err := openCity()
	if err != nil {
		t.Fatal(err)
	}
	day := time.Date(2025, 3, 5, 0, 0, 0, 0, zone())
	stories, err := plan(c, day, 4000, 3)
	if err != nil {
		t.Fatal(err)
	}
	var hours [24]int
	left := 0
	for _, s := range stories {
		if s.begin.Before(day) {
			left++
			continue
		}
		hours[s.begin.Hour()]++
	}
	for _, peak := range []int{10, 15} {
		for _, quiet := range []int{3, 13, 22} {
			if hours[peak] <= hours[quiet] {
				t.Errorf("%d matters come after %d:00, %d after %d:00: %v", hours[peak], peak, hours[quiet], quiet, hours)
			}
		}
	}
	if left < 200 || left > 500 {
		t.Errorf("%d of 4000 come from days before", left)
	}
}

// What is said of people must not be anybody's: erasing and masking are to be tried with it.
func TestPeopleAreInvented(t *testing.T) {
	t.Parallel()
	c, err := openCity()
	if err != nil {
		t.Fatal(err)
	}
	stories, err := plan(c, time.Date(2025, 3, 5, 0, 0, 0, 0, zone()), 300, 1)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for _, s := range stories {
		p := s.petitioner()
		if !strings.HasPrefix(p.Phone, "1380000") || len(p.Phone) != 11 {
			t.Fatalf("phone %s", p.Phone)
		}
		if !slices.ContainsFunc(givenNames, func(g string) bool { return strings.HasSuffix(p.Name, g) }) {
			t.Fatalf("name %s", p.Name)
		}
		if was := names[p.Phone]; was != "" && was != p.Name {
			t.Errorf("%s is %s and %s", p.Phone, was, p.Name)
		}
		names[p.Phone] = p.Name
	}
}

func TestEveryCategoryHasItsWords(t *testing.T) {
	t.Parallel()
	c, err := openCity()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range c.piece.Categories {
		if k.Parent != "" && !slices.ContainsFunc(matters, func(m matter) bool { return m.category == k.Code }) {
			t.Errorf("nobody speaks of %s %s", k.Code, k.Name)
		}
	}
	units := map[string]bool{}
	for _, u := range c.piece.Units {
		units[u.Code] = true
	}
	for _, m := range matters {
		for _, lead := range m.leads {
			if unit := c.places[0].unit(lead); !units[unit] {
				t.Errorf("%s names %s, which is no unit", m.category, unit)
			}
		}
	}
}
