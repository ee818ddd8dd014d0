package dispatch

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/whistle"
)

// Whistle carries out a command on a whistle. A rule's refusal is a *rule.Refusal, and is noted beside the whistle. The linked
// tickets have learnt of a whistle that was blown or ended when it returns; if that is cut off, policy makes up for it.
func (d *Dispatcher) Whistle(ctx context.Context, r Request) (whistle.State, Result, error) {
	stream, err := whistleStream(r)
	if err != nil {
		return whistle.State{}, Result{}, err
	}
	if blow, ok := r.Command.(*pb.BlowWhistleRequest); ok && len(blow.Tickets) > 0 {
		// What is said of a ticket's matter goes with its petitioner's key. A ticket that is not there is the rule's to refuse.
		if t, _, err := d.LoadTicket(ctx, blow.Tickets[0]); err == nil {
			r.subject = t.Subject
		}
	}
	s, result, err := do(ctx, d, d.whistles, stream, r, func(s *whistle.State, a *rule.Asked) error {
		return d.linked(ctx, *s, a, r.Command)
	})
	if err != nil {
		return *s, result, d.noteRefusal(ctx, stream, result.Version, r, err)
	}
	return *s, result, d.tell(ctx, stream, *s)
}

func whistleStream(r Request) (string, error) {
	c, ok := r.Command.(interface{ GetName() string })
	if !ok {
		return "", fmt.Errorf("%T names no whistle", r.Command)
	}
	if blow, ok := r.Command.(*pb.BlowWhistleRequest); ok && blow.Name == "" {
		if err := checkRequestID(blow.RequestId); err != nil {
			return "", err
		}
		return "whistle-" + requested(whistleSpace, r.Actor, blow.RequestId), nil
	}
	return Stream(c.GetName(), "whistles")
}

// linked looks up the tickets that the rule must know about.
func (d *Dispatcher) linked(ctx context.Context, s whistle.State, a *rule.Asked, command proto.Message) error {
	names := make([]string, len(s.Tickets))
	for i, id := range s.Tickets {
		names[i] = "tickets/" + id
	}
	switch c := command.(type) {
	case *pb.BlowWhistleRequest:
		if !s.Exists() {
			names = c.Tickets
		}
	case *pb.ScreenWhistleRequest:
	default:
		return nil
	}
	a.Linked = map[string]*pb.Ticket{}
	for i, name := range names {
		t, result, err := d.LoadTicket(ctx, name)
		refusal := new(rule.Refusal)
		switch {
		case errors.As(err, &refusal):
			return rule.Bad(fmt.Sprintf("tickets[%d]", i), refusal.Reason, "%s", refusal.Message)
		case err != nil:
			return err
		}
		id := ID(result.Stream)
		a.Linked[id] = t.Message(id)
	}
	return nil
}

// LoadWhistle is a whistle as it is now, by its name. A *rule.Refusal NOT_FOUND if nobody blew it.
func (d *Dispatcher) LoadWhistle(ctx context.Context, name string) (whistle.State, Result, error) {
	stream, err := Stream(name, "whistles")
	if err != nil {
		return whistle.State{}, Result{}, err
	}
	f, fresh, err := d.whistles.load(ctx, d.store, stream)
	if err == nil && !fresh {
		f, err = d.whistles.refresh(ctx, d.store, stream, f)
	}
	if err != nil {
		return whistle.State{}, Result{}, err
	}
	if f.version == 0 {
		return whistle.State{}, Result{}, rule.Bad("name", rule.NotFound, "no such whistle")
	}
	return f.state, Result{stream, f.version, f.position, false}, nil
}

// policyActor is who acts when one stream follows from another.
var policyActor = rule.Actor{Person: "policy", Roles: []pb.Role{pb.Role_ROLE_SYSTEM}}

// tell lets the tickets of a whistle know that it was blown, or that it ended. The request ids are the same at every attempt.
func (d *Dispatcher) tell(ctx context.Context, stream string, s whistle.State) error {
	id := ID(stream)
	var say func() proto.Message
	var what string
	switch {
	case whistle.Ended(s.State):
		what, say = "settle", func() proto.Message { return &pb.WhistleSettled{Whistle: id, Outcome: s.State} }
	case s.State == pb.WhistleState_WHISTLE_STATE_BLOWN, s.State == pb.WhistleState_WHISTLE_STATE_ISSUED:
		summoned := make([]string, len(s.Participants))
		for i := range s.Participants {
			summoned[i] = s.Participants[i].Unit
		}
		// Participants that screening adds are another word to the ticket.
		what = fmt.Sprintf("link-%d", len(summoned))
		say = func() proto.Message { return &pb.WhistleLinked{Whistle: id, Participants: summoned} }
	default:
		return nil
	}
	for _, t := range s.Tickets {
		_, _, err := do(ctx, d, d.tickets, "ticket-"+t, Request{
			Actor: policyActor, ID: what + "/" + id + "/" + t, Command: say(), CausedBy: fmt.Sprintf("%s@%d", stream, s.Events),
		}, nil)
		if err != nil {
			return fmt.Errorf("tell ticket %s of whistle %s: %w", t, id, err)
		}
	}
	return nil
}
