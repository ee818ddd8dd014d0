package dispatch

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/ticket"
)

// What this system does without anybody's word, where a command centre said in the registry that it may.

// wished are what follows where it may, by the type of the event.
var wished = map[string]reaction{
	"TicketReported": (*Dispatcher).acceptTrusted,

	"VerificationPassed":  (*Dispatcher).closeSettled,
	"CallbackRecorded":    (*Dispatcher).closeSettled,
	"CallbackUnreachable": (*Dispatcher).closeSettled,
	"RequirementWaived":   (*Dispatcher).closeSettled,
	"WhistleSettled":      (*Dispatcher).closeSettled,
	"SupervisionReplied":  (*Dispatcher).closeSettled,
	"SupervisionLifted":   (*Dispatcher).closeSettled,
	"ListingCleared":      (*Dispatcher).closeSettled,
}

// acceptTrusted accepts what a system reported that is trusted by the holder or above it. What lacks one of the five elements or a place, or that
// somebody was quicker with, is left to people.
func (d *Dispatcher) acceptTrusted(ctx context.Context, e *event.Decoded) error {
	body, ok := e.Event.(*pb.TicketReported)
	if !ok || !ticket.Trusted(d.Registry(), e.Meta.Actor, body.Holder, d.Now()) {
		return nil
	}
	return d.unasked(ctx, e, "trusted/"+ID(e.Stream), &pb.AcceptTicketRequest{Name: "tickets/" + ID(e.Stream)})
}

// closeSettled closes a round that is settled as things are now, whatever they were when the event was recorded.
func (d *Dispatcher) closeSettled(ctx context.Context, e *event.Decoded) error {
	name := "tickets/" + ID(e.Stream)
	s, _, err := d.LoadTicket(ctx, name)
	if err != nil || !s.Settled() || !s.ClosesSettled(d.Registry(), d.Now()) {
		return err
	}
	return d.unasked(ctx, e, fmt.Sprintf("settled/%s/%d", ID(e.Stream), s.Round), &pb.CloseTicketRequest{Name: name})
}

// unasked carries out a command that follows from an event of the ticket. What the rules refuse is not done, and is no trouble.
func (d *Dispatcher) unasked(ctx context.Context, e *event.Decoded, id string, command proto.Message) error {
	cause := fmt.Sprintf("%s@%d", e.Stream, e.Version)
	_, _, err := do(ctx, d, d.tickets, e.Stream, Request{Actor: policyActor, ID: id, CausedBy: cause, Command: command}, nil)
	if _, refused := errors.AsType[*rule.Refusal](err); err != nil && !refused {
		return fmt.Errorf("follow %s: %w", cause, err)
	}
	return nil
}
