package limits_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/limits"
	"github.com/chuishao/dispatch/internal/rule"
)

func builtIn() limits.State { return limits.New(calendar.Default(), calendar.DefaultProfile()) }

// days are those of a built-in year, to be corrected.
func days(t *testing.T, year int) *pb.LoadCalendarYearRequest {
	t.Helper()
	for _, y := range calendar.Default().Table().Years {
		if y.Year == year {
			return &pb.LoadCalendarYearRequest{Year: int32(year), Off: y.Off, Work: y.Work}
		}
	}
	t.Fatalf("no year %d", year)
	return nil
}

// without26January is 2025 with 26 January no longer a working day.
func without26January(t *testing.T) *pb.LoadCalendarYearRequest {
	c := days(t, 2025)
	c.Work = slices.DeleteFunc(c.Work, func(d string) bool { return d == "2025-01-26" })
	return c
}

func decide(s limits.State, c proto.Message) ([]proto.Message, error) {
	return limits.Decide(s, &rule.Asked{Actor: rule.Actor{Roles: []pb.Role{pb.Role_ROLE_AUDITOR}}}, c)
}

// after is the state after a command that must make one event.
func after(t *testing.T, s limits.State, c proto.Message) (limits.State, proto.Message) {
	t.Helper()
	events, err := decide(s, c)
	if err != nil || len(events) != 1 {
		t.Fatalf("%T: got %v, %v, want one event", c, events, err)
	}
	next, err := limits.Evolve(s, &pb.EventMeta{}, events[0])
	if err != nil {
		t.Fatal(err)
	}
	return next, events[0]
}

func TestALoadedYearTakesThePlaceOfTheFormerAndBothKeepTheirNames(t *testing.T) {
	t.Parallel()
	before := builtIn()
	s, e := after(t, before, without26January(t))
	version := e.(*pb.CalendarYearLoaded).Version
	if !strings.HasPrefix(version, "2025-") || s.Calendar().Version() != version {
		t.Errorf("got version %q in the event, %q in force", version, s.Calendar().Version())
	}
	day := time.Date(2025, 1, 26, 10, 0, 0, 0, time.FixedZone("CST", 8*3600))
	for name, want := range map[string]bool{calendar.Default().Version(): true, version: false} {
		c, ok := s.CalendarNamed(name)
		if !ok {
			t.Fatalf("no calendar %s", name)
		}
		if works, guess, err := c.WorkingDay(day); works != want || guess || err != nil {
			t.Errorf("calendar %s: got working %t, provisional %t, %v; want %t", name, works, guess, err, want)
		}
	}
	if before.Calendar() != calendar.Default() {
		t.Error("the state before was changed")
	}
	back, e := after(t, s, days(t, 2025))
	if again := e.(*pb.CalendarYearLoaded).Version; again == version || again == calendar.Default().Version() {
		t.Errorf("a year that was put back has the name %s, which another calendar has", again)
	}
	if works, _, _ := back.Calendar().WorkingDay(day); !works {
		t.Error("the year was not put back")
	}
}

func TestADayThatIsLoadedAgainInAnyOrderChangesNothing(t *testing.T) {
	t.Parallel()
	s, _ := after(t, builtIn(), without26January(t))
	c := without26January(t)
	slices.Reverse(c.Off)
	for of, command := range map[string]struct {
		state   limits.State
		command proto.Message
	}{
		"the built-in year": {builtIn(), days(t, 2026)}, "a loaded year": {s, c},
		"the built-in profile": {s, &pb.LoadProfileRequest{Content: calendar.DefaultProfile().JSON()}},
	} {
		if events, err := decide(command.state, command.command); len(events) > 0 || err != nil {
			t.Errorf("%s: got %v, %v", of, events, err)
		}
	}
}

func TestTheSameLoadHasTheSameNameEverywhere(t *testing.T) {
	t.Parallel()
	_, one := after(t, builtIn(), without26January(t))
	c := without26January(t)
	slices.Reverse(c.Off)
	if _, other := after(t, builtIn(), c); !proto.Equal(one, other) {
		t.Errorf("got %v and %v", one, other)
	}
}

// profile is the default one under another name, with one cell changed.
func profile(t *testing.T, version, timer, grade, limit string) string {
	t.Helper()
	var p map[string]any
	if err := json.Unmarshal([]byte(calendar.DefaultProfile().JSON()), &p); err != nil {
		t.Fatal(err)
	}
	p["name"], p["version"] = "test", version
	p["timers"].(map[string]any)[timer].(map[string]any)[grade] = limit
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAProfileIsInForceUntilTheNextAndKeepsItsName(t *testing.T) {
	t.Parallel()
	s, _ := after(t, builtIn(), &pb.LoadProfileRequest{Content: profile(t, "1", "handle", "G2", "7 ND")})
	if l, err := s.Profile().Limit(calendar.Handle, calendar.G2); err != nil || l.String() != "7 ND" {
		t.Errorf("got %s, %v", l, err)
	}
	s, _ = after(t, s, &pb.LoadProfileRequest{Content: profile(t, "2", "handle", "G2", "8 ND")})
	for version, want := range map[string]string{calendar.DefaultProfile().String(): "5 WD", "test@1": "7 ND", "test@2": "8 ND"} {
		p, ok := s.ProfileNamed(version)
		if l, err := p.Limit(calendar.Handle, calendar.G2); !ok || err != nil || l.String() != want {
			t.Errorf("%s: got %s, %v, want %s", version, l, err, want)
		}
	}
	// A former one can be put in force again; under its name no other.
	if s, _ = after(t, s, &pb.LoadProfileRequest{Content: profile(t, "1", "handle", "G2", "7 ND")}); s.Profile().String() != "test@1" {
		t.Errorf("got %s in force", s.Profile())
	}
	refused(t, s, &pb.LoadProfileRequest{Content: profile(t, "2", "handle", "G2", "9 ND")}, rule.AlreadyExists, "content")
}

func refused(t *testing.T, s limits.State, c proto.Message, reason rule.Reason, field string) {
	t.Helper()
	events, err := decide(s, c)
	refusal, ok := errors.AsType[*rule.Refusal](err)
	if !ok || refusal.Reason != reason || refusal.Field != field {
		t.Errorf("%v: got %v, %v, want %s for field %q", c, events, err, reason, field)
	}
}

func TestWhatIsWrongWithAYearOrAProfileIsNamed(t *testing.T) {
	t.Parallel()
	s := builtIn()
	for field, c := range map[string]*pb.LoadCalendarYearRequest{
		"year":    {Year: 1899},
		"off[1]":  {Year: 2027, Off: []string{"2027-01-01", "2027-01-02"}},
		"work[0]": {Year: 2027, Work: []string{"2027-01-01"}},
		"off[0]":  {Year: 2027, Off: []string{"1 January"}},
		"work[1]": {Year: 2027, Work: []string{"2027-01-02", "2027-01-02"}},
	} {
		refused(t, s, c, rule.CalendarInvalid, field)
	}
	// A day of the December before that the former year's notice has already.
	s, _ = after(t, s, &pb.LoadCalendarYearRequest{Year: 2027, Off: []string{"2027-12-31"}})
	refused(t, s, &pb.LoadCalendarYearRequest{Year: 2028, Off: []string{"2027-12-31"}}, rule.CalendarInvalid, "year")
	for _, content := range []string{"{", "{}", profile(t, "1", "handle", "G2", "none"), profile(t, "1", "handle", "G9", "5 WD"), profile(t, "", "handle", "G2", "5 WD")} {
		refused(t, s, &pb.LoadProfileRequest{Content: content}, rule.ProfileInvalid, "content")
	}
	refused(t, s, &pb.LoadProfileRequest{}, rule.MissingField, "content")
	for _, c := range []proto.Message{&pb.LoadCalendarYearRequest{Year: 2027}, &pb.LoadProfileRequest{Content: "{}"}} {
		_, err := limits.Decide(s, &rule.Asked{Actor: rule.Actor{Roles: []pb.Role{pb.Role_ROLE_SUPERVISOR}}}, c)
		if refusal, ok := errors.AsType[*rule.Refusal](err); !ok || refusal.Reason != rule.RoleNotAllowed {
			t.Errorf("a supervisor: %T: got %v", c, err)
		}
	}
}

func TestAnEventThatNoCalendarCanBeMadeOfIsAnError(t *testing.T) {
	t.Parallel()
	for _, e := range []proto.Message{
		&pb.CalendarYearLoaded{Version: "x", Year: 2027, Off: []string{"nonsense"}}, &pb.ProfilePublished{Name: "a", Version: "1", Content: "{}"},
		&pb.ProfilePublished{Name: "other", Version: "2", Content: calendar.DefaultProfile().JSON()}, &pb.TicketSigned{},
	} {
		if _, err := limits.Evolve(builtIn(), &pb.EventMeta{}, e); err == nil {
			t.Errorf("%T was taken", e)
		}
	}
}
