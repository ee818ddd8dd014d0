// Package limits holds the rules of the stream that calendars and deadline profiles are recorded in: which years of holidays were loaded, and which
// profile was put in force when. What it starts from, before the first event, is built in. It is pure.
package limits

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/rule"
)

// Stream is the one stream of calendars and profiles.
const Stream = "registry-limits"

// State is every calendar and profile there was, in the order in which they came into force. It is a value: Evolve leaves the state it is given as
// it was. It comes from New; the zero value has neither calendar nor profile.
type State struct {
	calendars []*calendar.Calendar
	profiles  []calendar.Profile
}

// New is the state before the first event. What the built-in profile was in former releases is known by its version: limits were set with it.
func New(c *calendar.Calendar, p calendar.Profile) State {
	return State{calendars: []*calendar.Calendar{c}, profiles: append(calendar.FormerDefaults(), p)}
}

// Calendar is the one in force.
func (s State) Calendar() *calendar.Calendar { return s.calendars[len(s.calendars)-1] }

// Profile is the one in force.
func (s State) Profile() calendar.Profile { return s.profiles[len(s.profiles)-1] }

// CalendarNamed is the calendar of a version, as events name it.
func (s State) CalendarNamed(version string) (*calendar.Calendar, bool) {
	i := slices.IndexFunc(s.calendars, func(c *calendar.Calendar) bool { return c.Version() == version })
	if i < 0 {
		return nil, false
	}
	return s.calendars[i], true
}

// ProfileNamed is the profile of a name and version, as events name it: "default@2".
func (s State) ProfileNamed(version string) (calendar.Profile, bool) {
	i := slices.IndexFunc(s.profiles, func(p calendar.Profile) bool { return p.String() == version })
	if i < 0 {
		return calendar.Profile{}, false
	}
	return s.profiles[i], true
}

// Decide carries out a command on the stream:
//
//   - LoadCalendarYearRequest puts a year's days in place of the calendar's former ones.
//   - LoadProfileRequest puts a profile in force. A name and version stand for one content for ever.
//
// What is in force already gives no event. Who: AUDITOR, SYSTEM.
func Decide(s State, a *rule.Asked, command proto.Message) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_AUDITOR, pb.Role_ROLE_SYSTEM); err != nil {
		return nil, err
	}
	switch c := command.(type) {
	case *pb.LoadCalendarYearRequest:
		return s.loadYear(c)
	case *pb.LoadProfileRequest:
		return s.loadProfile(c)
	}
	return nil, fmt.Errorf("limits: no rule for %T", command)
}

func (s State) loadYear(c *pb.LoadCalendarYearRequest) ([]proto.Message, error) {
	year := calendar.Year{Year: int(c.Year), Off: slices.Clone(c.Off), Work: slices.Clone(c.Work)}
	// In the order of the command, so that the field it names is the command's.
	if _, err := calendar.New(calendar.Table{Version: "check", Zone: "UTC", Years: []calendar.Year{year}}); err != nil {
		return nil, invalid(err)
	}
	slices.Sort(year.Off)
	slices.Sort(year.Work)
	now := s.Calendar().Table()
	if i := slices.IndexFunc(now.Years, func(y calendar.Year) bool { return y.Year == year.Year }); i >= 0 {
		was := now.Years[i]
		slices.Sort(was.Off)
		slices.Sort(was.Work)
		if slices.Equal(was.Off, year.Off) && slices.Equal(was.Work, year.Work) {
			return nil, nil
		}
	}
	e := &pb.CalendarYearLoaded{Year: c.Year, Off: year.Off, Work: year.Work}
	next, err := s.with(e)
	if err != nil {
		return nil, invalid(err)
	}
	// The name follows from the content and from what was in force before, so no two loads share one.
	content, err := json.Marshal(next.Table())
	if err != nil {
		return nil, err
	}
	e.Version = fmt.Sprintf("%d-%x", c.Year, sha256.Sum256(append([]byte(s.Calendar().Version()+"\x00"), content...)))[:len("2025-")+12]
	return rule.One(e)
}

// with is the calendar in force with a year's days in place of its former ones.
func (s State) with(e *pb.CalendarYearLoaded) (*calendar.Calendar, error) {
	t := s.Calendar().Table()
	t.Version = e.Version
	if t.Version == "" {
		t.Version = "next"
	}
	t.Years = slices.DeleteFunc(t.Years, func(y calendar.Year) bool { return y.Year == int(e.Year) })
	t.Years = append(t.Years, calendar.Year{Year: int(e.Year), Off: e.Off, Work: e.Work})
	return calendar.New(t)
}

// invalid is a calendar's fault as a refusal. A table of one year has its fields below years[0].
func invalid(err error) error {
	fault, ok := errors.AsType[*calendar.FieldError](err)
	if !ok {
		return err
	}
	field, problem := fault.Field, fault.Problem
	if fault.Value != "" {
		problem = fmt.Sprintf("%q: %s", fault.Value, problem)
	}
	if name, ok := strings.CutPrefix(field, "years[0]."); ok {
		return rule.Bad(name, rule.CalendarInvalid, "%s", problem)
	}
	return rule.Bad("year", rule.CalendarInvalid, "beside the other years, %s: %s", field, problem)
}

func (s State) loadProfile(c *pb.LoadProfileRequest) ([]proto.Message, error) {
	if c.Content == "" {
		return nil, rule.Bad("content", rule.MissingField, "is required")
	}
	p, err := calendar.ReadProfile([]byte(c.Content))
	if fault, ok := errors.AsType[*calendar.FieldError](err); ok {
		return nil, rule.Bad("content", rule.ProfileInvalid, "%s", fault)
	}
	if err != nil {
		return nil, err
	}
	if was, ok := s.ProfileNamed(p.String()); ok && !was.Equal(p) {
		return nil, rule.Bad("content", rule.AlreadyExists, "profile %s was published with other limits; give it another version", p)
	}
	if s.Profile().Equal(p) {
		return nil, nil
	}
	return rule.One(&pb.ProfilePublished{Name: p.Name(), Version: p.Version(), Content: p.JSON()})
}

// Evolve is the state after an event. An event that is not of this stream, or that no calendar or profile can be made of, is an error.
func Evolve(s State, _ *pb.EventMeta, event proto.Message) (State, error) {
	if len(s.calendars) == 0 {
		return s, errors.New("limits: nothing to start from")
	}
	switch e := event.(type) {
	case *pb.CalendarYearLoaded:
		c, err := s.with(e)
		if err != nil {
			return s, fmt.Errorf("calendar %s: %w", e.Version, err)
		}
		s.calendars = append(slices.Clip(s.calendars), c)
	case *pb.ProfilePublished:
		p, err := calendar.ReadProfile([]byte(e.Content))
		if err != nil {
			return s, fmt.Errorf("profile %s@%s: %w", e.Name, e.Version, err)
		}
		if p.Name() != e.Name || p.Version() != e.Version {
			return s, fmt.Errorf("profile %s@%s says it is %s", e.Name, e.Version, p)
		}
		s.profiles = append(slices.Clip(s.profiles), p)
	default:
		return s, fmt.Errorf("%T is no event of calendars and profiles", event)
	}
	return s, nil
}
