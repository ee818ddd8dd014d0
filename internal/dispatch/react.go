package dispatch

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/ticket"
)

// reaction does what follows from a recorded event.
type reaction func(*Dispatcher, context.Context, *event.Decoded) error

// reactions are what follows, by the type of the event; more follows where a command centre wants it.
var reactions = map[string]reaction{
	"WhistleBlown":   (*Dispatcher).reactToWhistle,
	"WhistleIssued":  (*Dispatcher).reactToWhistle,
	"WhistleRefused": (*Dispatcher).reactToWhistle,
	"WhistleClosed":  (*Dispatcher).reactToWhistle,

	"ParticipantAdded":   (*Dispatcher).reactToWhistle,
	"ParticipantExcused": (*Dispatcher).reactToWhistle,
	"NoShow":             (*Dispatcher).reactToWhistle,
	"LeftEarly":          (*Dispatcher).reactToWhistle,
	"WhistleTimerPassed": (*Dispatcher).reactToWhistle,
	"WhistleCancelled":   (*Dispatcher).reactToWhistle,
	"WhistleRaised":      (*Dispatcher).reactToWhistle,

	"DuplicateAttached": (*Dispatcher).reactToTicket,
	"TicketUnmerged":    (*Dispatcher).reactToTicket,
	"TicketWithdrawn":   (*Dispatcher).reactToTicket,

	"EntryMatched":      (*Dispatcher).reactToEntry,
	"EntryFulfilled":    (*Dispatcher).reactToEntry,
	"PostTicketed":      (*Dispatcher).reactToPost,
	"PostSelfSolved":    (*Dispatcher).reactToPost,
	"EchoPublished":     (*Dispatcher).reactToTicket,
	"SpotCheckRecorded": (*Dispatcher).reactToCheck,

	"RegistryVersionPublished": func(d *Dispatcher, ctx context.Context, _ *event.Decoded) error { return d.RefreshRegistry(ctx) },
	"CalendarYearLoaded":       func(d *Dispatcher, ctx context.Context, _ *event.Decoded) error { return d.RefreshLimits(ctx) },
	"ProfilePublished":         func(d *Dispatcher, ctx context.Context, _ *event.Decoded) error { return d.RefreshLimits(ctx) },
}

// React does what follows from a recorded event: the tickets of a whistle learn that it was blown or ended and are supervised for what was missed,
// one that was raised goes on above, a duplicate that it was
// attached to its primary and a primary that it is none any more, which itself follows the calendar and the map again, a hazard goes on after its ticket was withdrawn, a post of a problem wall goes on as a
// ticket and hears its echoes, a need and a resource of the exchange learn what became of the other, a ticket whose
// result a spot check found false is opened again and supervised,
// what a trusted system reported is accepted and, where that is wanted, what is settled closed, and a registry version,
// a calendar or a profile that another process published is read. It may be called any number of times with the same event.
func (d *Dispatcher) React(ctx context.Context, e *event.Decoded) error {
	typ := event.TypeOf(e.Event)
	if follows := reactions[typ]; follows != nil {
		return follows(d, ctx, e)
	}
	if follows := wished[typ]; follows != nil {
		return follows(d, ctx, e)
	}
	return nil
}

// Follows says whether something may follow from events of the type, so that React is to hear of them. What only a command centre can wish for is
// passed over while none does.
func (d *Dispatcher) Follows(typ string) bool {
	return reactions[typ] != nil || wished[typ] != nil && d.Registry().Wishes()
}

// reactToWhistle does what follows from an event of a whistle.
func (d *Dispatcher) reactToWhistle(ctx context.Context, e *event.Decoded) error {
	state, err := d.whistles.upTo(ctx, d.store, e.Stream, e.Version)
	if err != nil {
		return err
	}
	return d.after(ctx, e.Stream, state, e.Event)
}

// reactToTicket does what follows from an event of a ticket.
func (d *Dispatcher) reactToTicket(ctx context.Context, e *event.Decoded) error {
	switch body := e.Event.(type) {
	case *pb.DuplicateAttached:
		if _, _, followed, err := d.follow(ctx, e.Stream, body.Ticket, ticket.AttachedBy(uint64(e.Version), e.Meta)); err != nil || !followed || !body.Wall {
			return err
		}
		return d.tellLateDuplicate(ctx, e.Stream, e.Version, body.Ticket)
	case *pb.EchoPublished:
		s, err := d.tickets.upTo(ctx, d.store, e.Stream, e.Version)
		if err != nil {
			return err
		}
		return d.tellWalls(ctx, e.Stream, &s, echoAt(e))
	case *pb.TicketUnmerged:
		if err := d.release(ctx, e.Stream, e.Version, body.From); err != nil {
			return err
		}
		return d.catchUp(ctx, e.Stream, e.Version)
	case *pb.TicketWithdrawn:
		if !body.Hazard {
			return nil
		}
		s, err := d.tickets.upTo(ctx, d.store, e.Stream, e.Version)
		if err != nil {
			return err
		}
		return d.carryOn(ctx, e.Stream, &s, fmt.Sprintf("%s@%d", e.Stream, e.Version))
	}
	return fmt.Errorf("nothing follows from %s", event.TypeOf(e.Event))
}

// catchUp lets a ticket that is none of another's any more follow what it was not told of while it was: a calendar that was corrected, and a map
// that changed. The request ids follow from the event that ended that. What is refused, as when it was merged again meanwhile, is left.
func (d *Dispatcher) catchUp(ctx context.Context, stream string, version eventstore.Version) error {
	name, cause := "tickets/"+ID(stream), fmt.Sprintf("%s@%d", stream, version)
	for what, command := range []proto.Message{&pb.RecomputeLimitsRequest{Name: name}, &pb.MoveHolderRequest{Name: name}} {
		_, _, err := do(ctx, d, d.tickets, stream, Request{
			Actor: policyActor, CausedBy: cause, ID: fmt.Sprintf("unmerged/%s/%d/%d", ID(stream), version, what), Command: command,
		}, nil)
		if _, refused := errors.AsType[*rule.Refusal](err); err != nil && !refused {
			return fmt.Errorf("%s after it was unmerged: %w", name, err)
		}
	}
	return nil
}
