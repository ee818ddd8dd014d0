package dispatch

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/admission"
	"github.com/chuishao/dispatch/internal/check"
	"github.com/chuishao/dispatch/internal/deliberation"
	"github.com/chuishao/dispatch/internal/exchange"
	"github.com/chuishao/dispatch/internal/listing"
	"github.com/chuishao/dispatch/internal/review"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/wall"
)

// kinds are the resources beside tickets and whistles.
type kinds struct {
	posts         kind[wall.State, *wall.State]
	deliberations kind[deliberation.State, *deliberation.State]
	exchanges     kind[exchange.State, *exchange.State]
	admissions    kind[admission.State, *admission.State]
	listings      kind[listing.State, *listing.State]
	checks        kind[check.State, *check.State]
	reviews       kind[review.State, *review.State]

	by map[string]carrier // by collection
}

// carrier carries out commands on one kind of resource.
type carrier interface {
	carryOut(ctx context.Context, r Request) (rule.Aggregate, Result, error)
	look(ctx context.Context, name string) (rule.Aggregate, Result, error)
}

// kind is how one kind of resource is carried out. S is its state, P a pointer to it.
type kind[S any, P interface {
	*S
	rule.Aggregate
}] struct {
	*streams[S]
	d        *Dispatcher
	resource rule.Resource
	// begun is the id of what a command brings to life, where it follows from more than the request; nothing by default.
	begun func(r Request) (id string, ok bool)
	// facts are looked up before the rule is asked; none by default.
	facts func(ctx context.Context, s S, a *rule.Asked, command proto.Message) error
	// subject is whose key seals what a command says of something new; of the petitioner in the command by default.
	owner func(ctx context.Context, r Request) (string, error)
	// follow does at once what policy would do later; nothing by default.
	follow func(ctx context.Context, stream string, s S) error
}

func newKind[S any, P interface {
	*S
	rule.Aggregate
}](d *Dispatcher, collection string, cached int, decide func(S, *rule.Asked, proto.Message) ([]proto.Message, error),
	evolve func(S, *pb.EventMeta, proto.Message) (S, error)) kind[S, P] {
	resource, ok := rule.ResourceIn(collection)
	if !ok {
		panic("no resource " + collection)
	}
	k := kind[S, P]{streams: newStreams(max(cached/16, 1), decide, evolve), d: d, resource: resource}
	k.streams.subject = func(s *S) string { return P(s).Owner() }
	return k
}

// open makes what carries out commands on each kind.
func (d *Dispatcher) openKinds(cached int) {
	d.posts = newKind[wall.State, *wall.State](d, "posts", cached, wall.Decide, wall.Evolve)
	d.deliberations = newKind[deliberation.State, *deliberation.State](d, "deliberations", cached, deliberation.Decide, deliberation.Evolve)
	d.exchanges = newKind[exchange.State, *exchange.State](d, "exchanges", cached, exchange.Decide, exchange.Evolve)
	d.admissions = newKind[admission.State, *admission.State](d, "admissions", cached, admission.Decide, admission.Evolve)
	d.listings = newKind[listing.State, *listing.State](d, "listings", cached, listing.Decide, listing.Evolve)
	d.checks = newKind[check.State, *check.State](d, "checks", cached, check.Decide, check.Evolve)
	d.reviews = newKind[review.State, *review.State](d, "reviews", cached, review.Decide, review.Evolve)
	d.reviews.begun, d.reviews.facts = reviewOf, d.aboutReview
	d.deliberations.begun, d.deliberations.facts = beginMatter, d.aboutMatter
	d.exchanges.follow = d.followEntry
	d.posts.facts, d.posts.follow = d.residents, d.followPost
	d.by = map[string]carrier{
		"posts":         &d.posts,
		"deliberations": &d.deliberations,
		"exchanges":     exchanges{&d.exchanges},
		"admissions":    &d.admissions,
		"listings":      &d.listings,
		"checks":        &d.checks,
		"reviews":       &d.reviews,
	}
	d.openChecks()
}

// space is what ids of new resources are derived in.
var space = uuid.MustParse("c3f1a0de-5f0e-5b0a-9d53-6a1c7c5a2f11")

// stream is the stream that a command is for.
func (k *kind[S, P]) stream(r Request) (string, error) {
	if named, ok := r.Command.(interface{ GetName() string }); ok {
		return Stream(named.GetName(), k.resource.Collection)
	}
	if k.begun != nil {
		if id, ok := k.begun(r); ok {
			return k.resource.Stream + "-" + id, nil
		}
	}
	begin, ok := r.Command.(command)
	if !ok {
		return "", fmt.Errorf("%T names nothing", r.Command)
	}
	if err := checkRequestID(begin.GetRequestId()); err != nil {
		return "", err
	}
	return k.resource.Stream + "-" + requested(space, r.Actor, k.resource.Stream+"/"+begin.GetRequestId()), nil
}

func (k *kind[S, P]) carryOut(ctx context.Context, r Request) (rule.Aggregate, Result, error) {
	s, result, err := k.do(ctx, r)
	return P(&s), result, err
}

// do carries out a command on one of them, and notes a rule's refusal beside it.
func (k *kind[S, P]) do(ctx context.Context, r Request) (S, Result, error) {
	stream, err := k.stream(r)
	if err != nil {
		var none S
		return none, Result{}, err
	}
	if k.owner != nil {
		if r.subject, err = k.owner(ctx, r); err != nil {
			var none S
			return none, Result{}, err
		}
	}
	s, result, err := do(ctx, k.d, k.streams, stream, r, func(s *S, a *rule.Asked) error {
		a.Drawing = r.Drawing
		if k.facts == nil {
			return nil
		}
		return k.facts(ctx, *s, a, r.Command)
	})
	if err != nil {
		return *s, result, k.d.noteRefusal(ctx, stream, result.Version, r, err)
	}
	if k.follow != nil {
		err = k.follow(ctx, stream, *s)
	}
	return *s, result, err
}

func (k *kind[S, P]) look(ctx context.Context, name string) (rule.Aggregate, Result, error) {
	s, result, err := k.state(ctx, name)
	return P(&s), result, err
}

// state is one of them as it is now, by its name. A *rule.Refusal NOT_FOUND if there is none.
func (k *kind[S, P]) state(ctx context.Context, name string) (S, Result, error) {
	var none S
	stream, err := Stream(name, k.resource.Collection)
	if err != nil {
		return none, Result{}, err
	}
	f, err := k.latest(ctx, k.d.store, stream)
	if err != nil {
		return none, Result{}, err
	}
	if f.version == 0 {
		return none, Result{}, rule.Bad("name", rule.NotFound, "no such %s", k.resource.Kind())
	}
	return f.state, Result{stream, f.version, f.position, false}, nil
}

// Carry carries out a command on whatever it is for but tickets and whistles. A rule's refusal is a *rule.Refusal, and is noted beside it.
func (d *Dispatcher) Carry(ctx context.Context, r Request) (rule.Aggregate, Result, error) {
	k := d.by[rule.ResourceOf(r.Command).Collection]
	if k == nil {
		return nil, Result{}, fmt.Errorf("no rules for command %T", r.Command)
	}
	return k.carryOut(ctx, r)
}

// Look is a ticket, whistle or any other resource as it is now, by its name. A *rule.Refusal NOT_FOUND if there is none.
func (d *Dispatcher) Look(ctx context.Context, collection, name string) (rule.Aggregate, Result, error) {
	switch collection {
	case "tickets":
		s, result, err := d.LoadTicket(ctx, name)
		return &s, result, err
	case "whistles":
		s, result, err := d.LoadWhistle(ctx, name)
		return &s, result, err
	}
	k := d.by[collection]
	if k == nil {
		return nil, Result{}, rule.Bad("name", rule.InvalidName, "there are no %s", "such things")
	}
	return k.look(ctx, name)
}
