package dispatch

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/exchange"
	"github.com/chuishao/dispatch/internal/rule"
)

// A need and a resource are matched in two steps. The resource's stream decides, whichever of the two the command names: of many claims on a
// resource the first wins. Then the need is told. It follows if it is open; else the resource is freed and the claim refused. A need that is
// not open never is again, so that whoever tells it, how often and however late, hears the same: no entry stays matched with one that is
// matched elsewhere.

// exchanges carries out commands on entries of the exchange.
type exchanges struct {
	*kind[exchange.State, *exchange.State]
}

func (k exchanges) carryOut(ctx context.Context, r Request) (rule.Aggregate, Result, error) {
	if c, ok := r.Command.(*pb.MatchEntryRequest); ok {
		s, result, err := k.d.match(ctx, r, c)
		return &s, result, err
	}
	return k.kind.carryOut(ctx, r)
}

// match carries out a MatchEntryRequest. State and result are those of the entry that it names.
func (d *Dispatcher) match(ctx context.Context, r Request, c *pb.MatchEntryRequest) (exchange.State, Result, error) {
	if err := checkRequestID(c.RequestId); err != nil {
		return exchange.State{}, Result{}, err
	}
	named, seen, err := d.exchanges.state(ctx, c.Name)
	if err != nil {
		return named, seen, err
	}
	no := func(err error) (exchange.State, Result, error) {
		return named, seen, d.noteRefusal(ctx, seen.Stream, seen.Version, r, err)
	}
	// That there is none is the rule's to refuse.
	with, other, err := d.exchanges.state(ctx, c.With)
	if refusal := new(rule.Refusal); errors.As(err, &refusal) && (refusal.Reason == rule.NotFound || c.With == "") {
		err = nil
	}
	if err != nil {
		return no(rule.About("with", err))
	}
	decides, beside := seen.Stream, c.With
	if with.Kind == pb.ExchangeKind_EXCHANGE_KIND_RESOURCE && named.Kind != with.Kind {
		decides, beside = other.Stream, c.Name
	}
	request := proto.CloneOf(c)
	if decides != seen.Stream {
		request.Etag = "" // it is the named entry's
	}
	s, result, err := do(ctx, d, d.exchanges.streams, decides, Request{Actor: r.Actor, Command: request}, func(_ *exchange.State, a *rule.Asked) error {
		if err := sameVersion(c.Etag, seen); err != nil {
			return err
		}
		if !with.Exists() {
			return nil
		}
		o, at, err := d.exchanges.state(ctx, beside)
		if err == nil {
			a.Entries = map[string]*pb.Entry{ID(at.Stream): o.Message(ID(at.Stream))}
		}
		return err
	})
	if err != nil {
		return no(err)
	}
	need, told, err := d.join(ctx, decides, s)
	refusal := new(rule.Refusal)
	switch {
	case errors.As(err, &refusal) && decides == seen.Stream:
		return no(rule.About("with", err))
	case errors.As(err, &refusal):
		return no(err)
	case err != nil:
		return *s, result, err
	case decides == seen.Stream:
		return *s, result, nil
	}
	told.Repeated = result.Repeated
	return need, told, nil
}

// sameVersion refuses an etag, which may be empty, that is not the version seen.
func sameVersion(etag string, seen Result) error {
	if etag == "" {
		return nil
	}
	after, err := ParseETag(etag)
	if err == nil && after != seen.Version {
		err = &eventstore.ConflictError{Stream: seen.Stream, After: after, Actual: seen.Version}
	}
	return err
}

// join tells the need that a resource was matched with it. If the need says no, which is the error then, the resource is freed. s is the resource
// as that match left it. It may be called any number of times, by anybody.
func (d *Dispatcher) join(ctx context.Context, resource string, s *exchange.State) (exchange.State, Result, error) {
	place, with := fmt.Sprintf("%s@%d", resource, s.Matched), s.With
	need, told, err := do(ctx, d, d.exchanges.streams, "exchange-"+with, Request{
		Actor: policyActor, ID: "match/" + place, Command: &pb.EntryMatched{With: ID(resource), Unit: s.Unit}, CausedBy: place,
	}, nil)
	if refusal := new(rule.Refusal); !errors.As(err, &refusal) {
		return *need, told, err
	}
	matched := s.Matched
	_, _, freed := do(ctx, d, d.exchanges.streams, resource, Request{
		Actor: policyActor, ID: "free/" + place, Command: &pb.EntryFreed{With: with}, CausedBy: place,
	}, func(now *exchange.State, _ *rule.Asked) error {
		if now.Matched != matched {
			return errAnew
		}
		return nil
	})
	if freed != nil && !errors.Is(freed, errAnew) {
		return *need, told, fmt.Errorf("free %s of %s: %w", place, with, freed)
	}
	return *need, told, err
}

// followEntry lets the resource know that its need was met.
func (d *Dispatcher) followEntry(ctx context.Context, stream string, s exchange.State) error {
	if s.Kind != pb.ExchangeKind_EXCHANGE_KIND_NEED || s.State != pb.ExchangeState_EXCHANGE_STATE_FULFILLED {
		return nil
	}
	place := fmt.Sprintf("%s@%d", stream, s.Events)
	_, _, err := do(ctx, d, d.exchanges.streams, "exchange-"+s.With, Request{
		Actor: policyActor, ID: "fulfil/" + place, Command: &pb.EntryFulfilled{With: ID(stream)}, CausedBy: place,
	}, nil)
	if err != nil {
		return fmt.Errorf("tell the resource of %s: %w", place, err)
	}
	return nil
}

// reactToEntry does what follows from an event of an entry.
func (d *Dispatcher) reactToEntry(ctx context.Context, e *event.Decoded) error {
	s, err := d.exchanges.upTo(ctx, d.store, e.Stream, e.Version)
	if err != nil {
		return err
	}
	if s.Kind == pb.ExchangeKind_EXCHANGE_KIND_RESOURCE && s.State == pb.ExchangeState_EXCHANGE_STATE_MATCHED {
		_, _, err := d.join(ctx, e.Stream, &s)
		if refusal := new(rule.Refusal); errors.As(err, &refusal) {
			return nil // the resource is free again
		}
		return err
	}
	return d.followEntry(ctx, e.Stream, s)
}

// Entry is a need or a resource as an actor is shown it, by its name, with what was said of it, masked. A *rule.Refusal NOT_FOUND if there is none.
func (d *Dispatcher) Entry(ctx context.Context, name string, actor rule.Actor) (*pb.Entry, Result, error) {
	s, result, err := d.exchanges.state(ctx, name)
	if err != nil {
		return nil, result, err
	}
	m := s.Message(ID(result.Stream))
	m.Particulars, m.Erased, err = d.Said(ctx, result.Stream, nil, &pb.EntryOpened{Sealed: s.Opened}, actor)
	return m, result, err
}
