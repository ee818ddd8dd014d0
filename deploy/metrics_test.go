package deploy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/promql/parser"
)

const (
	rulesFile     = "prometheus/chuishao.rules.yaml"
	dashboardFile = "grafana/chuishao.json"
)

// series gives the names in what a process exports, each with its labels.
func series(t *testing.T, text string) map[string]map[string]bool {
	t.Helper()
	found := map[string]map[string]bool{}
	p := textparse.NewPromParser([]byte(text), labels.NewSymbolTable(), false)
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		if entry != textparse.EntrySeries {
			continue
		}
		var one labels.Labels
		p.Labels(&one)
		name := one.Get(labels.MetricName)
		if found[name] == nil {
			found[name] = map[string]bool{}
		}
		one.Range(func(l labels.Label) { found[name][l.Name] = true })
	}
}

// scraped are the labels that Prometheus gives whatever it scrapes from a pod.
var scraped = []string{"job", "instance", "namespace", "pod"}

// others are metrics that come from elsewhere, with their labels: kubelets tell how full volumes are.
var others = map[string][]string{
	"kubelet_volume_stats_available_bytes": {"persistentvolumeclaim"},
	"kubelet_volume_stats_capacity_bytes":  {"persistentvolumeclaim"},
}

func rules(t *testing.T) *rulefmt.RuleGroups {
	t.Helper()
	groups, errs := rulefmt.ParseFile(rulesFile, false, model.LegacyValidation)
	if len(errs) > 0 {
		t.Fatal(errors.Join(errs...))
	}
	return groups
}

// dashboard is what of a dashboard is looked at. Panels of rows may hold panels.
type dashboard struct {
	UID        string
	Title      string
	Panels     []panel
	Templating struct{ List []struct{ Name string } }
}

type panel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ X, Y, W, H int }
	Targets                  []struct{ Expr string }
	Panels                   []panel
}

func board(t *testing.T) dashboard {
	t.Helper()
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// filled is an expression of a dashboard with its variables filled in.
var filled = strings.NewReplacer("$namespace", ".*", "$__rate_interval", "5m")

// expressions are those of rules and dashboard, by where they stand.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, g := range rules(t).Groups {
		for _, r := range g.Rules {
			found["rule "+r.Record+r.Alert] = r.Expr
		}
	}
	for _, p := range board(t).Panels {
		for i, target := range p.Targets {
			found[fmt.Sprintf("panel %q, %d", p.Title, i)] = filled.Replace(target.Expr)
		}
	}
	return found
}

// A misspelt metric makes an alert that never fires and a panel that stays empty, and nobody would be told.
func TestRulesAndDashboardAskForMetricsThatAreThere(t *testing.T) {
	t.Parallel()
	known := exported(t)
	for name := range known {
		for _, l := range scraped {
			known[name][l] = true
		}
	}
	for name, own := range others {
		known[name] = map[string]bool{}
		for _, l := range append(slices.Clone(own), scraped...) {
			known[name][l] = true
		}
	}
	recorded := map[string]bool{}
	for _, g := range rules(t).Groups {
		for _, r := range g.Rules {
			if r.Record != "" {
				recorded[r.Record] = true
				known[r.Record] = map[string]bool{}
				by, _, _ := strings.Cut(r.Record, ":")
				for l := range strings.SplitSeq(by, "_") {
					known[r.Record][l] = true
				}
			}
		}
	}
	used := map[string]bool{}
	for at, text := range expressions(t) {
		expr, err := parser.ParseExpr(text)
		if err != nil {
			t.Errorf("%s: %v", at, err)
			continue
		}
		for _, name := range metricsOf(expr) {
			used[name] = true
			if known[name] == nil {
				t.Errorf("%s: nothing exports %s", at, name)
			}
		}
		for _, fault := range unknownLabels(expr, known) {
			t.Errorf("%s: %s", at, fault)
		}
	}
	for name := range recorded {
		if !used[name] {
			t.Errorf("nothing asks for %s", name)
		}
	}
	if len(used) == 0 {
		t.Error("no expression asks for anything")
	}
}

func metricsOf(expr parser.Expr) []string {
	var found []string
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		if v, ok := n.(*parser.VectorSelector); ok {
			found = append(found, v.Name)
		}
		return nil
	})
	return found
}

// unknownLabels says which selectors and groupings name a label that no metric in question has.
func unknownLabels(expr parser.Expr, known map[string]map[string]bool) []string {
	var faults []string
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		switch n := n.(type) {
		case *parser.VectorSelector:
			for _, m := range n.LabelMatchers {
				if m.Name != labels.MetricName && known[n.Name] != nil && !known[n.Name][m.Name] {
					faults = append(faults, fmt.Sprintf("%s has no label %s", n.Name, m.Name))
				}
			}
		case *parser.AggregateExpr:
			for _, by := range n.Grouping {
				if !slices.ContainsFunc(metricsOf(n.Expr), func(name string) bool { return known[name][by] }) {
					faults = append(faults, fmt.Sprintf("%s is grouped by %s, which it has not", n.Expr, by))
				}
			}
		}
		return nil
	})
	return faults
}

func TestTheDashboardIsWhole(t *testing.T) {
	t.Parallel()
	d := board(t)
	if d.UID != "chuishao" || d.Title == "" || len(d.Templating.List) != 2 {
		t.Errorf("got uid %q, title %q, %d variables", d.UID, d.Title, len(d.Templating.List))
	}
	ids := map[int]bool{}
	taken := map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.ID == 0 {
			t.Errorf("%q: the id %d stands twice or is none", p.Title, p.ID)
		}
		ids[p.ID] = true
		if len(p.Panels) > 0 {
			t.Errorf("%q holds panels that no test looks at", p.Title)
		}
		if p.Type != "row" && (p.Title == "" || p.Description == "" || len(p.Targets) == 0) {
			t.Errorf("panel %d (%q) does not say what it shows, or shows nothing", p.ID, p.Title)
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%q lies on %q, or outside", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
}
