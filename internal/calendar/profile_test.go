package calendar_test

import (
	"os"
	"strings"
	"testing"

	"github.com/chuishao/dispatch/internal/calendar"
)

func TestTheDefaultProfile(t *testing.T) {
	t.Parallel()
	p := calendar.DefaultProfile()
	if p.Name() != "default" || p.Version() == "" {
		t.Errorf("name %q, version %q", p.Name(), p.Version())
	}
	want := map[calendar.Timer]string{
		calendar.Accept:            "10 min, 30 min, 4 WH, 4 WH, 4 WH",
		calendar.Dispatch:          "10 min, 1 NH, 4 WH, 1 WD, 4 WH",
		calendar.Sign:              "30 min, 2 NH, 4 WH, 4 WH, 4 WH",
		calendar.Contact:           "2 NH, 24 NH, 1 WD, 1 WD, none",
		calendar.ReturnWindow:      "none, 2 NH, 1 WD, 1 WD, 1 WD",
		calendar.ReturnDecision:    "none, 1 NH, 4 WH, 4 WH, 4 WH",
		calendar.Ruling:            "1 NH, 4 NH, 1 WD, 2 WD, 1 WD",
		calendar.Handle:            "2 NH, 24 NH, 5 WD, 15 WD, 1 WD",
		calendar.Verify:            "4 NH, 1 WD, 1 WD, 1 WD, none",
		calendar.Callback:          "1 WD, 1 WD, 1 WD, 1 WD, 1 WD",
		calendar.Close:             "4 WD, 4 WD, 4 WD, 4 WD, 4 WD",
		calendar.Redo:              "24 NH, 24 NH, 3 WD, 5 WD, 1 WD",
		calendar.SuspensionReview:  "none, none, 90 ND, 90 ND, none",
		calendar.SuspensionGrace:   "5 WD, 5 WD, 5 WD, 5 WD, 5 WD",
		calendar.Extension:         "10 WD, 10 WD, 10 WD, 10 WD, 10 WD",
		calendar.OverdueGrace:      "5 WD, 5 WD, 5 WD, 5 WD, 5 WD",
		calendar.SupervisionReply:  "1 WD, 1 WD, 1 WD, 1 WD, 1 WD",
		calendar.RectificationPlan: "3 WD, 3 WD, 3 WD, 3 WD, 3 WD",
		calendar.Clearing:          "15 WD, 15 WD, 15 WD, 15 WD, 15 WD",
		calendar.DeclineAppeal:     "5 WD, 5 WD, 5 WD, 5 WD, 5 WD",
		calendar.Appeal:            "30 ND, 30 ND, 30 ND, 30 ND, 30 ND",
		calendar.ExclusionRequest:  "3 WD, 3 WD, 3 WD, 3 WD, none",
		calendar.WhistleSign:       "10 min, 1 NH, 1 NH, 1 NH, none",
		calendar.WhistleContact:    "none, 24 NH, 24 NH, 24 NH, none",
		calendar.WhistleReportIn:   "30 min, 1 WD, 3 WD, 5 WD, none",
		calendar.WhistleResolve:    "24 NH, 3 WD, 10 WD, 20 WD, none",
		calendar.Admission:         "15 WD, 15 WD, 15 WD, 15 WD, 15 WD",
		calendar.Seal:              "5 WD, 5 WD, 5 WD, 5 WD, 5 WD",
	}
	if len(want) != len(calendar.Timers()) {
		t.Errorf("%d timers are tested of %d", len(want), len(calendar.Timers()))
	}
	for _, timer := range calendar.Timers() {
		var got []string
		for _, grade := range calendar.Grades() {
			l, err := p.Limit(timer, grade)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, l.String())
		}
		if row := strings.Join(got, ", "); row != want[timer] {
			t.Errorf("%s: got %s, want %s", timer, row, want[timer])
		}
	}
	for _, timer := range []calendar.Timer{calendar.Admission, calendar.Seal} {
		if _, err := p.Limit(timer, calendar.AnyGrade); err != nil {
			t.Errorf("%s without a grade: %v", timer, err)
		}
	}
}

func TestAnUnknownTimerOrGradeHasNoLimit(t *testing.T) {
	t.Parallel()
	p := calendar.DefaultProfile()
	for _, grade := range []string{"", "G4", "g0", "ALL", " G0"} {
		_, err := p.Limit(calendar.Handle, grade)
		wantField(t, err, "grade")
	}
	_, err := p.Limit(calendar.Seal, "")
	wantField(t, err, "grade")
	_, err = p.Limit("nothing", calendar.G0)
	wantField(t, err, "timer")
	_, err = calendar.Profile{}.Limit(calendar.Handle, calendar.G0)
	wantField(t, err, "timer")
}

func TestAWhistleTakesTheColumnOfItsKindOrOfAMoreUrgentTicket(t *testing.T) {
	t.Parallel()
	for _, v := range []struct{ kind, grade, want string }{
		{"EMERGENCY", "", "G0"}, {"EMERGENCY", "G2", "G0"}, {"EMERGENCY", "G1", "G0"},
		{"ROUTINE", "", "G2"}, {"ROUTINE", "G3", "G2"}, {"ROUTINE", "CONSULT", "G2"}, {"ROUTINE", "G1", "G1"},
		{"ENFORCEMENT", "", "G2"}, {"ENFORCEMENT", "G0", "G0"},
		{"TOUGH", "", "G3"}, {"TOUGH", "G2", "G3"}, {"TOUGH", "G1", "G1"},
	} {
		got, err := calendar.WhistleGrade(v.kind, v.grade)
		if err != nil || got != v.want {
			t.Errorf("WhistleGrade(%s, %q) = %q, %v, want %s", v.kind, v.grade, got, err, v.want)
		}
	}
	_, err := calendar.WhistleGrade("", "G0")
	wantField(t, err, "kind")
	_, err = calendar.WhistleGrade("TOUGH", "G9")
	wantField(t, err, "grade")
}

func defaultProfile(t testing.TB) string {
	t.Helper()
	raw, err := os.ReadFile("profile.json")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestAProfileIsRefusedByTheFieldThatIsWrong(t *testing.T) {
	t.Parallel()
	whole := defaultProfile(t)
	for _, v := range []struct{ old, new, field string }{
		{`"name": "default"`, `"name": ""`, "name"},
		{`"version": "3"`, `"version": "1 "`, "version"},
		{`"version": "3",`, ``, "version"},
		{`"version": "3"`, `"version": "3", "extra": 1`, "json"},
		{`"version": "3"`, `"version": "3", "version": "4"`, "json"},
		{`"G1": "24 NH", "G2": "5 WD"`, `"G1": "24 NH", "G1": "24 NH", "G2": "5 WD"`, "json"},
		{`"seal": {"ALL": "5 WD"}`, `"seal": {"ALL": 5}`, "json"},
		{`"seal"`, `"seals"`, "timers"},
		{`,
    "seal": {"ALL": "5 WD"}`, ``, "timers.seal"},
		{`"seal": {"ALL": "5 WD"}`, `"seal": {}`, "timers.seal.G0"},
		{`"seal": {"ALL": "5 WD"}`, `"seal": null`, "timers.seal.G0"},
		{`"seal": {"ALL": "5 WD"}`, `"seal": {"ALL": null}`, "timers.seal.ALL"},
		{`"seal": {"ALL": "5 WD"}`, `"seal": {"ALL": "5 WD", "G0": "5 WD"}`, "timers.seal"},
		{`"seal": {"ALL": "5 WD"}`, `"seal": {"ALL": "5 days"}`, "timers.seal.ALL"},
		{`"seal": {"ALL": "5 WD"}`, `"seal": {"ALL": "0 WH"}`, "timers.seal.ALL"},
		{`"G0": "2 NH", "G1": "24 NH", "G2": "5 WD"`, `"G0": "2 NH", "G1": "24 NH", "G2": "none"`, "timers.handle.G2"},
		{`"G1": "24 NH", "G2": "5 WD"`, `"G1": "24 NH", "G2": "5 WD roll"`, "timers.handle.G2"},
		{`"G1": "24 NH", "G2": "5 WD"`, `"G1": "24 NH", "g2": "5 WD"`, "timers.handle"},
		{`"G1": "24 NH", "G2": "5 WD"`, `"G2": "5 WD"`, "timers.handle.G1"},
	} {
		raw := strings.Replace(whole, v.old, v.new, 1)
		if raw == whole {
			t.Errorf("%s does not occur", v.old)
		}
		if _, err := calendar.ReadProfile([]byte(raw)); err == nil {
			t.Errorf("%s is accepted", v.new)
		} else {
			t.Run(v.new, func(t *testing.T) { wantField(t, err, v.field) })
		}
	}
}

func TestANaturalProfileMayHandleInNaturalDaysAndOnTheSameDay(t *testing.T) {
	t.Parallel()
	raw := strings.Replace(defaultProfile(t), `"G2": "5 WD", "G3": "15 WD", "CONSULT": "1 WD"`, `"G2": "7 ND", "G3": "15 ND roll", "CONSULT": "0 ND"`, 1)
	p, err := calendar.ReadProfile([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	for grade, want := range map[string]string{"G2": "7 ND", "G3": "15 ND roll", "CONSULT": "0 ND"} {
		if l, err := p.Limit(calendar.Handle, grade); err != nil || l.String() != want {
			t.Errorf("%s: got %s, %v, want %s", grade, l, err, want)
		}
	}
}

func FuzzReadProfile(f *testing.F) {
	f.Add([]byte(defaultProfile(f)))
	f.Add([]byte(`{"name":"a","version":"b","timers":{"seal":{"ALL":"5 WD"}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := calendar.ReadProfile(raw)
		if err != nil {
			return
		}
		for _, timer := range calendar.Timers() {
			for _, grade := range calendar.Grades() {
				l, err := p.Limit(timer, grade)
				if err != nil {
					t.Fatalf("%s of %s is read but has no answer: %v", timer, grade, err)
				}
				if err := l.Check(); err != nil && !l.None() {
					t.Fatalf("%s of %s: %v", timer, grade, err)
				}
			}
		}
	})
}

func TestAProfileOfAFormerReleaseIsReadAndHasNoLimitItDidNotKnow(t *testing.T) {
	t.Parallel()
	former := calendar.FormerDefaults()
	if len(former) != 1 || former[0].String() != "default@2" {
		t.Fatalf("got %v", former)
	}
	p, err := calendar.ReadProfile([]byte(former[0].JSON()))
	if err != nil || !p.Equal(former[0]) || strings.Contains(p.JSON(), string(calendar.WhistleResolve)) {
		t.Errorf("got %s, %v", p.JSON(), err)
	}
	if l, err := p.Limit(calendar.WhistleResolve, calendar.G2); err != nil || !l.None() {
		t.Errorf("got %s, %v, want no limit", l, err)
	}
	for _, timer := range calendar.Timers() {
		now, err := calendar.DefaultProfile().Limit(timer, calendar.G2)
		if err != nil {
			t.Fatal(err)
		}
		if then, err := p.Limit(timer, calendar.G2); err != nil || then != now && timer != calendar.WhistleResolve {
			t.Errorf("%s: got %s, %v, want %s", timer, then, err, now)
		}
	}
}
