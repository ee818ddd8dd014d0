package rule_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/rule"
)

const (
	none    = pb.PostState_POST_STATE_UNSPECIFIED
	posted  = pb.PostState_POST_STATE_POSTED
	refused = pb.PostState_POST_STATE_REFUSED
)

var noon = time.Date(2025, 3, 5, 4, 0, 0, 0, time.UTC)

func meta(occurred, recorded time.Time) *pb.EventMeta {
	return &pb.EventMeta{OccurredAt: rule.Stamp(occurred), RecordedAt: rule.Stamp(recorded), Actor: &pb.Actor{Unit: "u"}}
}

func TestALifeGoesOnWithEachEvent(t *testing.T) {
	t.Parallel()
	var l rule.Life[pb.PostState]
	if _, state := l.Standing(); l.Exists() || state != "UNSPECIFIED" {
		t.Errorf("it is %s before anything happened", state)
	}
	l.Happened(meta(noon, noon), &pb.PostPublished{}, posted)
	l.Happened(meta(noon.Add(-time.Hour), noon), &pb.PostSupported{}, none) // learnt of late; it changes no main state
	l.Sealed(&pb.PostPublished{Sealed: &pb.Sealed{Subject: "a"}})
	l.Sealed(&pb.PostRefused{})
	want := rule.Decision{Event: "PostPublished", Version: 1, Unit: "u", At: noon}
	if _, state := l.Standing(); !l.Exists() || state != "POSTED" || l.Events != 2 || !l.LastAt.Equal(noon) || l.Decided != want || l.Owner() != "a" {
		t.Errorf("got %+v", l)
	}
	if err := l.In("", "post", none, posted); err != nil {
		t.Errorf("in POSTED: got %v", err)
	}
	const no = "WRONG_STATE: with: the post is POSTED; this needs [SCREENED LIFTED] (PostPublished@1 by unit u)"
	if err := l.In("with", "post", pb.PostState_POST_STATE_SCREENED, pb.PostState_POST_STATE_LIFTED); err == nil || err.Error() != no {
		t.Errorf("got %v, want %s", err, no)
	}
}

func TestAStepThatCannotHaveBeenIsFound(t *testing.T) {
	t.Parallel()
	before := rule.Life[pb.PostState]{State: posted, Events: 1}
	in := []pb.PostState{none, posted}
	for name, c := range map[string]struct {
		state pb.PostState
		n     uint64
		meta  *pb.EventMeta
		legal []pb.PostState
		want  pb.PostState
		holds bool
	}{
		"to another state":     {refused, 2, meta(noon, noon), in, refused, true},
		"to none":              {posted, 2, meta(noon, noon), in, none, true},
		"no event of the kind": {refused, 2, meta(noon, noon), nil, refused, false},
		"from another state":   {refused, 2, meta(noon, noon), []pb.PostState{refused}, refused, false},
		"not counted":          {refused, 1, meta(noon, noon), in, refused, false},
		"stays":                {posted, 2, meta(noon, noon), in, refused, false},
		"leads somewhere":      {refused, 2, meta(noon, noon), in, none, false},
		"before it happened":   {refused, 2, meta(noon, noon.Add(-time.Second)), in, refused, false},
	} {
		after := rule.Life[pb.PostState]{State: c.state, Events: c.n}
		if err := before.Step(&after, "post", c.meta, &pb.PostRefused{}, c.legal, c.want); (err == nil) != c.holds {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestATimerHasPassedOnceItsSecondIsOver(t *testing.T) {
	t.Parallel()
	const review, resolve = pb.WhistleTimer_WHISTLE_TIMER_REVIEW, pb.WhistleTimer_WHISTLE_TIMER_RESOLVE
	by := noon.Add(300 * time.Millisecond)
	running := []rule.Timer{{Which: int32(review), By: by}, {Which: int32(resolve), Unit: "a", By: by}}
	system := rule.Actor{Roles: []pb.Role{pb.Role_ROLE_SYSTEM}}
	for name, c := range map[string]struct {
		who   rule.Actor
		at    time.Time
		timer pb.WhistleTimer
		unit  string
		by    time.Time
		want  bool
		no    rule.Reason
	}{
		"over":                {system, noon.Add(time.Second), review, "", by, true, ""},
		"of a unit":           {system, noon.Add(time.Second), resolve, "a", by, true, ""},
		"in its second":       {system, noon.Add(999 * time.Millisecond), review, "", by, false, ""},
		"of nobody":           {system, noon.Add(time.Second), resolve, "", by, false, ""},
		"to another instant":  {system, noon.Add(time.Second), review, "", noon, false, ""},
		"not by this system":  {rule.Actor{}, noon.Add(time.Second), review, "", by, false, rule.RoleNotAllowed},
		"without its name":    {system, noon.Add(time.Second), 0, "", by, false, rule.MissingField},
		"without its instant": {system, noon.Add(time.Second), review, "", time.Time{}, false, rule.MissingField},
	} {
		a := &rule.Asked{Actor: c.who, At: c.at, Calendar: calendar.Default()}
		got, err := rule.Passed(a, c.timer, rule.Stamp(c.by), rule.Runs(running, c.timer, c.unit))
		reason := rule.Reason("")
		if no, ok := err.(*rule.Refusal); ok {
			reason = no.Reason
		}
		if got != c.want || reason != c.no {
			t.Errorf("%s: got %t, %v", name, got, err)
		}
	}
}

func TestAWrongEventIsNamed(t *testing.T) {
	t.Parallel()
	if err := rule.Wrong(proto.Message(&pb.PostRefused{}))("is %s", rule.Name(refused)); err.Error() != "PostRefused: is REFUSED" {
		t.Errorf("got %v", err)
	}
}
