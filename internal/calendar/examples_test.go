package calendar_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chuishao/dispatch/internal/calendar"
)

// stated are the limits that the sources of the example profiles state: "timer grade limit".
var stated = map[string][]string{
	"beijing": {"contact G0 2 NH", "handle G0 2 NH", "contact G1 24 NH", "handle G1 24 NH", "contact G2 24 NH", "contact G3 24 NH",
		"handle G2 7 ND", "handle G3 15 ND"},
	"shanghai-daning": {"contact G2 1 WD", "contact G3 1 WD", "contact CONSULT 1 WD", "handle CONSULT 1 WD", "handle G2 5 WD", "handle G3 15 WD",
		"redo G2 3 WD", "redo G3 3 WD"},
	"shanghai-xiayang": {"contact G2 1 WD", "contact G3 1 WD", "contact CONSULT 1 WD", "handle G2 5 WD", "handle G3 5 WD", "redo G2 3 WD", "redo G3 3 WD"},
	"shandong":         {"handle G2 5 WD", "handle G3 5 WD", "extension ALL 10 WD", "return_window G2 2 WD", "return_window G3 2 WD", "return_window CONSULT 2 WD"},
	"guangdong-bureau": {"handle G0 0 ND", "handle G1 0 ND", "handle G2 13 WD", "handle G3 13 WD", "handle CONSULT 3 WD"},
	"digital-city":     {"handle G1 4 WH", "handle G2 5 WD", "handle G3 15 WD"},
	"jiangyin-2011":    {"contact G2 3 ND", "contact G3 3 ND", "contact CONSULT 3 ND", "handle G2 10 ND", "handle G3 10 ND"},
	"whistle-gulou": {"whistle_sign G1 1 NH", "whistle_sign G2 1 NH", "whistle_sign G3 1 NH", "whistle_contact G1 24 NH", "whistle_contact G2 24 NH",
		"whistle_contact G3 24 NH", "whistle_report_in G2 3 WD", "whistle_report_in G3 5 WD"},
	"whistle-pinggu": {"whistle_report_in G0 30 min"},
	"whistle-guangling": {"handle CONSULT 0 WD", "handle G2 3 WD", "handle G3 10 WD", "whistle_resolve G1 0 WD",
		"whistle_resolve G2 3 WD", "whistle_resolve G3 10 WD"},
}

func TestExampleProfilesStateWhatTheirSourcesDoAndAreOtherwiseTheDefault(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("..", "..", "examples", "profiles")
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) != len(stated) {
		t.Errorf("got %d files, %v, want %d", len(files), err, len(stated))
	}
	readme, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		p, err := calendar.ReadProfile(raw)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if p.Name()+".json" != filepath.Base(file) {
			t.Errorf("%s is named %s", file, p.Name())
		}
		if !strings.Contains(string(readme), "`"+p.Name()+".json`") {
			t.Errorf("the README does not tell of %s", p.Name())
		}
		again, err := calendar.ReadProfile([]byte(p.JSON()))
		if err != nil || !again.Equal(p) {
			t.Errorf("%s is not read back as it is written: %v", p, err)
		}
		want := map[string]string{}
		for _, cell := range stated[p.Name()] {
			part := strings.SplitN(cell, " ", 3)
			want[part[0]+" "+part[1]] = part[2]
		}
		for _, timer := range calendar.Timers() {
			for _, grade := range calendar.Grades() {
				cell := string(timer) + " " + grade
				limit, err := p.Limit(timer, grade)
				if err != nil {
					t.Fatal(err)
				}
				standard, err := calendar.DefaultProfile().Limit(timer, grade)
				if err != nil {
					t.Fatal(err)
				}
				expected, ok := want[cell]
				if !ok {
					expected, ok = want[string(timer)+" ALL"]
				}
				if !ok {
					expected = standard.String()
				}
				if limit.String() != expected {
					t.Errorf("%s: %s is %s, want %s", p, cell, limit, expected)
				}
			}
		}
	}
}
