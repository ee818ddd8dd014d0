package dispatch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/check"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/ticket"
)

// openChecks says what spot checks need besides their own streams.
func (d *Dispatcher) openChecks() {
	d.checks.facts = func(ctx context.Context, _ check.State, a *rule.Asked, command proto.Message) error {
		c, ok := command.(*pb.RecordSpotCheckRequest)
		if !ok {
			return nil
		}
		t, err := d.sampled(ctx, c.Ticket)
		if err == nil && t != nil {
			a.Sampled = t.Sampled(a.Registry, a.Actor, a.At)
		}
		return err
	}
	// What is said of a ticket goes with its petitioner's key.
	d.checks.owner = func(ctx context.Context, r Request) (string, error) {
		c, ok := r.Command.(*pb.RecordSpotCheckRequest)
		if !ok {
			return "", nil
		}
		t, err := d.sampled(ctx, c.Ticket)
		if err != nil || t == nil {
			return "", err
		}
		return t.Subject, nil
	}
	d.checks.follow = func(ctx context.Context, stream string, s check.State) error {
		for i := range s.Items {
			if item := &s.Items[i]; item.Ticket == s.Latest && item.False {
				return d.answerFalse(ctx, stream, s.Events, item.Ticket, item.CheckedAt)
			}
		}
		return nil
	}
}

// sampled is the ticket of a sample; nil for one that is not there, which is the rule's to refuse.
func (d *Dispatcher) sampled(ctx context.Context, name string) (*ticket.State, error) {
	t, _, err := d.LoadTicket(ctx, name)
	if _, no := errors.AsType[*rule.Refusal](err); no {
		return nil, nil
	}
	return &t, err
}

// accountLevel is the level of supervision that a false result leads to: 通报, 约谈.
const accountLevel = 4

// reactToCheck does what follows from a second look at a ticket.
func (d *Dispatcher) reactToCheck(ctx context.Context, e *event.Decoded) error {
	body, ok := e.Event.(*pb.SpotCheckRecorded)
	if !ok || !body.FalseResult {
		return nil
	}
	return d.answerFalse(ctx, e.Stream, uint64(e.Version), body.Ticket, e.Meta.GetOccurredAt().AsTime())
}

// answerFalse opens a ticket again whose result a spot check found false at the instant, and raises its supervision. The request ids are the same at every
// attempt. What its rules refuse is left: a ticket that is archived, or was opened again too often, stays as it is; and so does one that went on
// since, since what was found is not of that.
func (d *Dispatcher) answerFalse(ctx context.Context, stream string, version uint64, id string, found time.Time) error {
	name, cause := "tickets/"+id, fmt.Sprintf("%s@%d", stream, version)
	follow := func(what string, command proto.Message, began func(s ticket.State) time.Time) (done bool, err error) {
		_, _, err = do(ctx, d, d.tickets, "ticket-"+id, Request{
			Actor: policyActor, CausedBy: cause, ID: fmt.Sprintf("false/%s/%s/%s", ID(stream), id, what), Command: command,
		}, func(s *ticket.State, _ *rule.Asked) error {
			if began(*s).After(found) {
				return rule.No(rule.WrongState, "the ticket went on since it was looked at")
			}
			return nil
		})
		if _, refused := errors.AsType[*rule.Refusal](err); refused {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("%s %s after its result was found false: %w", what, name, err)
		}
		return true, nil
	}
	reopened, err := follow("reopen", &pb.ReopenTicketRequest{Name: name, Reason: pb.ReopenReason_REOPEN_REASON_SPOT_CHECK},
		func(s ticket.State) time.Time { return s.ClosedAt })
	if err != nil {
		return err
	}
	_, err = follow("raise", &pb.SupervisionRaised{Level: accountLevel, Trigger: pb.SupervisionTrigger_SUPERVISION_TRIGGER_FALSE_RESULT},
		func(s ticket.State) time.Time {
			if reopened {
				return time.Time{}
			}
			return s.DispatchedAt
		})
	return err
}
