package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
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

// Story is a matter told from end to end over gRPC: many commands on several tickets, timers, and what is answered to those who ask.
//
//	name: a winter's job is suspended, and its review fires once
//	steps:
//	  - {ticket: A, life: handled, at: 2025-09-15 09:00:00}
//	  - {ticket: A, at: 2025-09-22 10:00:00, by: urban clerk, do: RequestSuspension, with: {…}, then: {events: [SuspensionRequested: {}]}}
//	  - {at: 2025-12-01 09:00:00, fires: {A: [SuspensionReviewDue]}}
//	  - {by: auditor, ask: GetTicket, with: {name: $A}, answer: {state: TICKET_STATE_SUSPENDED}}
//
// A step that says nothing of what it leads to must be carried out. $A stands for the name of the ticket or whistle A, and for a position
// of the history that was marked as A.
type Story struct {
	File  string `yaml:"-"`
	Name  string `yaml:"name"`
	Steps []Turn `yaml:"steps"`
}

// Turn is a step of a story.
type Turn struct {
	Step    `yaml:",inline"`
	Ticket  string `yaml:"ticket"`  // the ticket that a command is for, or that comes to life by it
	Whistle string `yaml:"whistle"` // likewise
	Post    string `yaml:"post"`    // likewise; a post and its ticket may both be named
	Then    *Then  `yaml:"then"`

	// Repeat carries the step out so many times, for the tickets C1, C2 and so on where Ticket is C. 0: once, for C itself.
	Repeat int `yaml:"repeat"`
	// Every is how long after one the next begins, where At is given.
	Every time.Duration `yaml:"every"`
	// Mark labels the position that the history has come to before the step. A step may be nothing else.
	Mark string `yaml:"mark"`

	// Fires lets all timers fire that are due at At: for each ticket named, the events that this records, in order. Others may fire too.
	Fires map[string][]string `yaml:"fires"`

	// Awaits waits for what follows by itself: until the latest events of each ticket named are these.
	Awaits map[string][]string `yaml:"awaits"`

	// Ask calls a query, and Answer is what must be in what it answers: of objects the fields that are given, of lists each. What is
	// answered as a stream is a list.
	Ask    string    `yaml:"ask"`
	Answer yaml.Node `yaml:"answer"`
	// Counts are the lengths of lists in the answer, by field.
	Counts map[string]int `yaml:"counts"`
}

// Teller plays stories.
type Teller interface {
	Player
	// Ask calls a query of the contract by its method's name. Views have seen what was commanded before.
	Ask(ctx context.Context, at time.Time, by rule.Actor, method protoreflect.MethodDescriptor, request proto.Message) (answers []proto.Message, err error)
	// Fire lets every timer fire that is due at the instant.
	Fire(ctx context.Context, at time.Time) error
	// Recorded are the types of all events of a ticket or whistle, in order.
	Recorded(ctx context.Context, name string) ([]string, error)
	// Await waits until the latest events of a ticket or whistle have these types.
	Await(ctx context.Context, name string, types []string) error
	// Reached is the position that the history has come to, as the contract writes it.
	Reached(ctx context.Context) (string, error)
}

// Stories are the stories of the corpus.
func (c *Corpus) Stories() ([]Story, error) {
	files, err := fs.Glob(corpus, "story/*.yaml")
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	var stories []Story
	for _, file := range files {
		text, err := corpus.ReadFile(file)
		if err != nil {
			return nil, err
		}
		d := yaml.NewDecoder(strings.NewReader(string(text)))
		d.KnownFields(true)
		s := Story{File: file}
		if err := d.Decode(&s); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		stories = append(stories, s)
	}
	return stories, nil
}

// Tell plays a story and says where it went otherwise than told.
func (c *Corpus) Tell(ctx context.Context, p Teller, s *Story, prefix string) error {
	r := &run{corpus: c, player: p, prefix: prefix, at: Start.Add(-time.Minute), names: map[string]string{}}
	for i := range s.Steps {
		t := &s.Steps[i]
		if err := r.turns(ctx, p, t); err != nil {
			return fmt.Errorf("step %d, %s%s%v: %w", i+1, t.Do, t.Ask, t.Life, err)
		}
	}
	return nil
}

// turns plays a step as often as it is repeated.
func (r *run) turns(ctx context.Context, p Teller, t *Turn) error {
	if t.Mark != "" {
		position, err := p.Reached(ctx)
		if err != nil {
			return err
		}
		r.names[t.Mark] = position
	}
	if t.Repeat == 0 {
		return r.turn(ctx, p, t)
	}
	for i := range t.Repeat {
		once := *t
		once.Ticket = fmt.Sprintf("%s%d", t.Ticket, i+1)
		if !t.At.IsZero() {
			once.At.Time = t.At.Add(time.Duration(i) * t.Every)
		}
		if err := r.turn(ctx, p, &once); err != nil {
			return fmt.Errorf("time %d: %w", i+1, err)
		}
	}
	return nil
}

func (r *run) turn(ctx context.Context, p Teller, t *Turn) error {
	for kind, label := range t.labels() {
		if label != "" {
			r.names[kind] = r.names[label]
		}
	}
	switch {
	case t.Ask != "":
		return r.ask(ctx, p, t)
	case t.Fires != nil:
		return r.fire(ctx, p, t)
	case t.Awaits != nil:
		for label, types := range t.Awaits {
			if err := p.Await(ctx, r.names[label], types); err != nil {
				return fmt.Errorf("on %s: %w", label, err)
			}
		}
		return nil
	case t.Do == "" && t.Life == "" && t.Mark != "":
		return nil
	}
	steps, err := r.corpus.whole([]Step{t.Step})
	if err != nil {
		return err
	}
	then := t.Then
	for i := range steps {
		last := i == len(steps)-1
		got, err := r.do(ctx, &steps[i])
		switch {
		case last && then != nil:
			err = r.led(got, err, then)
		case err == nil && got.Repeated:
			err = errors.New("had been carried out before")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", steps[i].Do, err)
		}
	}
	for kind, label := range t.labels() {
		if label != "" && r.names[kind] != "" {
			r.names[label] = r.names[kind]
		}
	}
	return nil
}

// labels are what the step calls the resources that it is for, by their kind.
func (t *Turn) labels() map[string]string {
	return map[string]string{"ticket": t.Ticket, "whistle": t.Whistle, "post": t.Post}
}

func (r *run) fire(ctx context.Context, p Teller, t *Turn) error {
	if r.at = r.at.Add(time.Minute); !t.At.IsZero() {
		r.at = t.At.Time
	}
	before := map[string]int{}
	for label := range t.Fires {
		types, err := p.Recorded(ctx, r.names[label])
		if err != nil {
			return err
		}
		before[label] = len(types)
	}
	if err := p.Fire(ctx, r.at); err != nil {
		return err
	}
	for label, want := range t.Fires {
		types, err := p.Recorded(ctx, r.names[label])
		if err != nil {
			return err
		}
		if got := types[before[label]:]; !slices.Equal(got, want) {
			return fmt.Errorf("on %s fired %v, want %v", label, got, want)
		}
	}
	return nil
}

func (r *run) ask(ctx context.Context, p Teller, t *Turn) error {
	by, ok := r.corpus.Cast[t.By]
	if !ok {
		return fmt.Errorf("nobody of the cast is called %q", t.By)
	}
	if r.at = r.at.Add(time.Minute); !t.At.IsZero() {
		r.at = t.At.Time
	}
	method := methodOf(t.Ask)
	if method == nil {
		return fmt.Errorf("no query %q", t.Ask)
	}
	request, err := newMessage(method.Input())
	if err != nil {
		return err
	}
	fields, _ := r.plain(&t.With).(map[string]any)
	text, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	if fields != nil {
		if err := protojson.Unmarshal(text, request); err != nil {
			return err
		}
	}
	answers, err := p.Ask(ctx, r.at, by, method, request)
	if err != nil {
		return r.led(Outcome{}, err, t.Then)
	}
	if t.Then != nil && t.Then.Refusal != nil {
		return fmt.Errorf("got %v, want it refused with %s", answers, t.Then.Refusal.Reason)
	}
	all := make([]any, len(answers))
	for i := range answers {
		if all[i], err = object(answers[i]); err != nil {
			return err
		}
	}
	var got any = all
	if !method.IsStreamingServer() {
		got = all[0]
	}
	if t.Answer.Kind != 0 {
		if err := differs("", got, r.plain(&t.Answer)); err != nil {
			return fmt.Errorf("%w, in %v", err, got)
		}
	}
	for field, want := range t.Counts {
		list := got
		for key := range strings.SplitSeq(field, ".") {
			fields, _ := list.(map[string]any)
			list = fields[key]
		}
		if n, _ := list.([]any); len(n) != want {
			return fmt.Errorf("%s: got %d, want %d", field, len(n), want)
		}
	}
	return nil
}

// methodOf is the method of the contract by its name; nil if there is none.
func methodOf(name string) protoreflect.MethodDescriptor {
	for _, file := range []protoreflect.FileDescriptor{
		pb.File_chuishao_v1_listing_proto,
		pb.File_chuishao_v1_ticket_proto, pb.File_chuishao_v1_whistle_proto, pb.File_chuishao_v1_view_proto, pb.File_chuishao_v1_registry_proto,
		pb.File_chuishao_v1_audit_proto, pb.File_chuishao_v1_admission_proto, pb.File_chuishao_v1_wall_proto,
	} {
		for i := range file.Services().Len() {
			if m := file.Services().Get(i).Methods().ByName(protoreflect.Name(name)); m != nil {
				return m
			}
		}
	}
	return nil
}

func newMessage(d protoreflect.MessageDescriptor) (proto.Message, error) {
	typ, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
	if err != nil {
		return nil, err
	}
	return typ.New().Interface(), nil
}
