package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// Player carries out commands on a history, on the embedded example city's registry.
type Player interface {
	// Do carries out a request of the contract by an actor, at the instant: the clock stands there. A rule's no is a
	// *rule.Refusal; any other error ends the scenario.
	Do(ctx context.Context, at time.Time, by rule.Actor, command proto.Message) (Outcome, error)
}

// Outcome is what a command led to.
type Outcome struct {
	Name     string          // such as "tickets/{ticket}"
	Events   []proto.Message // what was recorded, in order, in the stream of the command
	Repeated bool            // it had been carried out before; Events is empty
	State    string          // the main state after it, such as "TICKET_STATE_CLOSED", or of kinds beside tickets and whistles "LISTED"
}

// Start is when a scenario begins that does not say: a Wednesday morning.
var Start = time.Date(2025, 3, 5, 9, 0, 0, 0, Zone)

// Play plays one scenario and says how it went otherwise than promised. Ids are prefixed, so that one history may hold many scenarios.
func (c *Corpus) Play(ctx context.Context, p Player, s *Scenario, prefix string) error {
	r := &run{corpus: c, player: p, prefix: prefix, at: Start.Add(-time.Minute), names: map[string]string{}}
	for i := range s.Given {
		if _, err := r.do(ctx, &s.Given[i]); err != nil {
			return fmt.Errorf("given %d, %s: %w", i+1, s.Given[i].Do, err)
		}
	}
	got, err := r.do(ctx, &s.When)
	if err := r.led(got, err, &s.Then); err != nil {
		return fmt.Errorf("when %s: %w", s.When.Do, err)
	}
	return nil
}

// led says in what a command led to something else than promised. Nothing promised: it must not fail.
func (r *run) led(got Outcome, err error, then *Then) error {
	refusal := new(rule.Refusal)
	if err != nil && !errors.As(err, &refusal) || err != nil && then == nil {
		return err
	}
	if then == nil {
		return nil
	}
	if want := then.Refusal; want != nil {
		switch {
		case err == nil:
			return fmt.Errorf("got %s, want it refused with %s", names(got.Events), want.Reason)
		case refusal.Reason != want.Reason || refusal.Field != want.Field || want.DecidedBy != "" && refusal.DecidedBy != want.DecidedBy:
			return fmt.Errorf("got the refusal %w, want %s, field %q, decided by %q", refusal, want.Reason, want.Field, want.DecidedBy)
		}
		return nil
	}
	if err != nil {
		return err
	}
	if got.Repeated != then.Repeated {
		return fmt.Errorf("got repeated %t, want %t", got.Repeated, then.Repeated)
	}
	if then.State != "" && got.State != then.State {
		return fmt.Errorf("got state %s, want %s", got.State, then.State)
	}
	if len(got.Events) != len(then.Events) {
		return fmt.Errorf("got %s, want %d events", names(got.Events), len(then.Events))
	}
	for i, e := range got.Events {
		for typ, fields := range then.Events[i] {
			if string(e.ProtoReflect().Descriptor().Name()) != typ {
				return fmt.Errorf("event %d: got %s, want %s", i+1, names(got.Events), typ)
			}
			if err := r.same(e, &fields); err != nil {
				return fmt.Errorf("event %d, %s: %w", i+1, typ, err)
			}
		}
	}
	return nil
}

func names(events []proto.Message) string {
	var out []string
	for _, e := range events {
		out = append(out, string(e.ProtoReflect().Descriptor().Name()))
	}
	return "[" + strings.Join(out, " ") + "]"
}

// run is a scenario under way.
type run struct {
	corpus *Corpus
	player Player
	prefix string
	at     time.Time
	n      int
	names  map[string]string // of the "ticket", the "whistle" and so on that commands are for, and of those that a story labels
}

func (r *run) do(ctx context.Context, s *Step) (Outcome, error) {
	r.n++
	if r.at = r.at.Add(time.Minute); !s.At.IsZero() {
		r.at = s.At.Time
	}
	by, ok := r.corpus.Cast[s.By]
	if !ok {
		return Outcome{}, fmt.Errorf("nobody of the cast is called %q", s.By)
	}
	command, kind, err := r.command(s)
	if err != nil {
		return Outcome{}, err
	}
	got, err := r.player.Do(ctx, r.at, by, command)
	if err == nil && got.Name != "" {
		if was := r.names[kind]; (kind == "ticket" || kind == "exchange") && was != "" && was != got.Name {
			r.names["before"] = was
		}
		r.names[kind] = got.Name
		for _, e := range got.Events {
			switch e.(type) {
			case *pb.PostTicketed, *pb.PostSelfSolved: // a post and its ticket have one id
				r.names["ticket"] = "tickets/" + strings.TrimPrefix(got.Name, "posts/")
			}
		}
	}
	return got, err
}

// command makes the request of a step, and says what kind of resource it is for, such as "ticket".
func (r *run) command(s *Step) (command proto.Message, kind string, err error) {
	typ, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName("chuishao.v1." + s.Do + "Request"))
	if err != nil {
		return nil, "", fmt.Errorf("no command %q", s.Do)
	}
	kind = rule.ResourceOf(typ.New().Interface()).Kind()
	if typ.Descriptor().ParentFile().Path() == "chuishao/v1/registry.proto" {
		kind = "registry"
	}
	fields, _ := r.plain(&s.With).(map[string]any)
	if fields == nil {
		fields = map[string]any{}
	}
	if _, ok := fields["request_id"]; !ok {
		fields["request_id"] = fmt.Sprintf("%s/%d", r.prefix, r.n)
		if s.ID != "" {
			fields["request_id"] = r.prefix + "/" + s.ID
		}
	}
	if ref, ok := fields["source_ref"].(string); ok && ref != "" {
		fields["source_ref"] = r.prefix + "/" + ref
	}
	if _, ok := fields["name"]; !ok && typ.Descriptor().Fields().ByName("name") != nil && s.Do != "BlowWhistle" && kind != "registry" {
		fields["name"] = r.names[kind]
	}
	text, err := json.Marshal(fields)
	if err != nil {
		return nil, "", err
	}
	command = typ.New().Interface()
	return command, kind, protojson.Unmarshal(text, command)
}

// same says in what an event differs from what was expected of it.
func (r *run) same(e proto.Message, want *yaml.Node) error {
	got, err := object(e)
	if err != nil {
		return err
	}
	return differs("", got, r.plain(want))
}

// object is a message as JSON's types.
func object(m proto.Message) (got any, err error) {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	return got, json.Unmarshal(text, &got)
}

func differs(field string, got, want any) error {
	switch want := want.(type) {
	case nil:
		if got != nil {
			return fmt.Errorf("%s: got %v, want it unset", field, got)
		}
	case map[string]any:
		have, _ := got.(map[string]any)
		if text, ok := got.(string); ok { // JSON within a text
			if err := json.Unmarshal([]byte(text), &have); err != nil {
				return fmt.Errorf("%s: got %v, want an object", field, got)
			}
		}
		for key, w := range want {
			if err := differs(strings.TrimPrefix(field+"."+key, "."), have[key], w); err != nil {
				return err
			}
		}
	case []any:
		have, _ := got.([]any)
		if len(have) != len(want) {
			return fmt.Errorf("%s: got %v, want %v", field, got, want)
		}
		for i := range want {
			if err := differs(fmt.Sprintf("%s[%d]", field, i), have[i], want[i]); err != nil {
				return err
			}
		}
	case bool:
		if have, _ := got.(bool); have != want {
			return fmt.Errorf("%s: got %v, want %v", field, got, want)
		}
	default:
		if fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("%s: got %v, want %v", field, got, want)
		}
	}
	return nil
}

// plain is a node as JSON's types: numbers as their text, which protobuf's JSON reads as well and codes need, times in UTC, and
// names in place of $ticket, $whistle and $before.
func (r *run) plain(n *yaml.Node) any {
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Tag == "!!merge" {
				merged, _ := r.plain(n.Content[i+1]).(map[string]any)
				maps.Copy(m, merged)
				continue
			}
			m[n.Content[i].Value] = r.plain(n.Content[i+1])
		}
		return m
	case yaml.AliasNode:
		return r.plain(n.Alias)
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i := range n.Content {
			list[i] = r.plain(n.Content[i])
		}
		return list
	case yaml.ScalarNode:
		switch n.Tag {
		case "!!bool":
			return n.Value == "true"
		case "!!null":
			return nil
		}
		if t, err := time.ParseInLocation(layout, n.Value, Zone); err == nil {
			return t.UTC().Format(time.RFC3339Nano)
		}
		if label, ok := strings.CutPrefix(n.Value, "$"); ok {
			if name, ok := r.names[label]; ok {
				return name
			}
		}
		return n.Value
	}
	return nil
}
