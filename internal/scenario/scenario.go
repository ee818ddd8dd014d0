// Package scenario is the corpus of what the rules promise: given what was commanded before, when somebody commands something
// at an instant, then these events, or this refusal. The corpus is data, and is played through whatever carries out commands.
//
// A file holds scenarios as YAML documents, each with a name that states a promise:
//
//	name: a general matter is due after five working days, whatever the holidays
//	given:
//	  - {life: triaged, at: 2025-01-24 16:00:00}
//	when: {by: dispatcher, at: 2025-01-24 16:30:00, do: DispatchTicket, with: {lead: 320205000000-CG}}
//	then:
//	  events:
//	    - TicketDispatched: {handle_by: 2025-02-07 23:59:59, close_by: 2025-02-12 23:59:59}
//
// A step is a request of the contract without the word Request, by one of the cast (cast.yaml), with the request's fields as in
// JSON. Times are the city's. Left out, "at" is a minute after the step before, "name" is the scenario's own ticket, whistle or other
// resource of the command's kind, and the request id is one of its own; $ticket, $whistle, $post and so on stand for names within fields, $before for that of the ticket or entry that was commanded
// before the latest. A life (lives.yaml) is steps that many
// scenarios begin with. Of an event only the fields that are given are compared; null means unset.
package scenario

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

//go:embed *.yaml */*.yaml
var corpus embed.FS

// Scenario is one promise.
type Scenario struct {
	File  string `yaml:"-"`
	Name  string `yaml:"name"`
	Given []Step `yaml:"given"`
	When  Step   `yaml:"when"`
	Then  Then   `yaml:"then"`
	// Beyond says what more than the rules keeps the promise, such as "dispatch"; empty if they keep it alone.
	Beyond string `yaml:"beyond"`
}

// Step is a command.
type Step struct {
	Life string    `yaml:"life"` // steps of this life instead of a command
	By   string    `yaml:"by"`
	At   Time      `yaml:"at"`
	Do   string    `yaml:"do"`
	With yaml.Node `yaml:"with"`
	ID   string    `yaml:"id"` // the request id, where it matters
}

// Then is what a command leads to: events or a refusal.
type Then struct {
	Events   []map[string]yaml.Node `yaml:"events"` // one field each: the event's type and its fields
	Refusal  *Refusal               `yaml:"refusal"`
	Repeated bool                   `yaml:"repeated"` // it had been carried out before: nothing is recorded now
	State    string                 `yaml:"state"`    // the main state after it, where it matters
}

// Refusal is a no, as expected.
type Refusal struct {
	Reason    rule.Reason `yaml:"reason"`
	Field     string      `yaml:"field"`
	DecidedBy string      `yaml:"decided_by"` // where it matters
}

// Time is an instant, written as the city's clocks show it.
type Time struct{ time.Time }

// Zone is the city's.
var Zone = time.FixedZone("CST", 8*3600)

const layout = "2006-01-02 15:04:05"

// UnmarshalYAML reads "2025-01-24 16:30:00".
func (t *Time) UnmarshalYAML(n *yaml.Node) (err error) {
	t.Time, err = time.ParseInLocation(layout, n.Value, Zone)
	return err
}

// Corpus are all scenarios and the cast that plays them.
type Corpus struct {
	Scenarios []Scenario
	Cast      map[string]rule.Actor
	lives     map[string][]Step
}

// Load reads the corpus.
func Load() (*Corpus, error) {
	c := &Corpus{Cast: map[string]rule.Actor{}}
	var cast map[string]struct {
		Unit  string   `yaml:"unit"`
		Roles []string `yaml:"roles"`
	}
	if err := read("cast.yaml", &cast); err != nil {
		return nil, err
	}
	for name, who := range cast {
		actor := rule.Actor{Person: name, Unit: who.Unit}
		for _, r := range who.Roles {
			role, ok := pb.Role_value["ROLE_"+r]
			if !ok {
				return nil, fmt.Errorf("cast.yaml: %s has the unknown role %q", name, r)
			}
			actor.Roles = append(actor.Roles, pb.Role(role))
		}
		c.Cast[name] = actor
	}
	if err := read("lives.yaml", &c.lives); err != nil {
		return nil, err
	}
	files, err := fs.Glob(corpus, "*/*.yaml")
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	for _, file := range files {
		if strings.HasPrefix(file, "story/") {
			continue
		}
		f, err := corpus.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		for d := yaml.NewDecoder(f); ; {
			d.KnownFields(true)
			s := Scenario{File: file}
			if err := d.Decode(&s); err != nil {
				if err.Error() == "EOF" {
					break
				}
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			if s.Given, err = c.whole(s.Given); err != nil {
				return nil, fmt.Errorf("%s: %s: %w", file, s.Name, err)
			}
			c.Scenarios = append(c.Scenarios, s)
		}
	}
	return c, nil
}

func read(file string, into any) error {
	text, err := corpus.ReadFile(file)
	if err != nil {
		return err
	}
	d := yaml.NewDecoder(strings.NewReader(string(text)))
	d.KnownFields(true)
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// whole puts the steps of lives in their place. A life begins at its step's instant.
func (c *Corpus) whole(steps []Step) ([]Step, error) {
	var out []Step
	for _, s := range steps {
		if s.Life == "" {
			out = append(out, s)
			continue
		}
		life, ok := c.lives[s.Life]
		if !ok {
			return nil, fmt.Errorf("no life %q", s.Life)
		}
		life, err := c.whole(life)
		if err != nil {
			return nil, err
		}
		if len(life) > 0 && !s.At.IsZero() {
			life = slices.Clone(life)
			life[0].At = s.At
		}
		out = append(out, life...)
	}
	return out, nil
}
