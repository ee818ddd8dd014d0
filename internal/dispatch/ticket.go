package dispatch

import (
	"context"
	"encoding/base32"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/privacy"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/ticket"
)

// ticketSpace and whistleSpace are the name spaces of ids.
var (
	ticketSpace  = uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://github.com/chuishao/dispatch/ticket"))
	whistleSpace = uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://github.com/chuishao/dispatch/whistle"))
)

// Ticket carries out a command on a ticket. A rule's refusal is a *rule.Refusal, and is noted beside the ticket. What follows for another
// ticket is done when it returns; if that is cut off, policy makes up for it. The state is never nil, and belongs to the cache: nobody changes it.
func (d *Dispatcher) Ticket(ctx context.Context, r Request) (*ticket.State, Result, error) {
	switch c := r.Command.(type) {
	case *pb.MergeTicketRequest:
		s, result, err := d.merge(ctx, r, c)
		return &s, result, err
	case *pb.UnmergeTicketRequest:
		return d.unmerge(ctx, r, c)
	}
	stream, err := ticketStream(r)
	if err != nil {
		return &d.tickets.empty.state, Result{}, err
	}
	s, result, err := do(ctx, d, d.tickets, stream, r, func(s *ticket.State, a *rule.Asked) error { return d.related(ctx, s, a, r.Command) })
	if c, ok := r.Command.(*pb.WithdrawTicketRequest); ok && err == nil && c.Hazard {
		return s, result, d.carryOn(ctx, stream, s, fmt.Sprintf("%s@%d", stream, result.Version))
	}
	if _, ok := r.Command.(*pb.PublishEchoRequest); ok && err == nil {
		return s, result, d.tellEcho(ctx, stream, result.Version, s)
	}
	return s, result, d.noteRefusal(ctx, stream, result.Version, r, err)
}

// related looks up the admissions and the other ticket that the rule must know about.
func (d *Dispatcher) related(ctx context.Context, s *ticket.State, a *rule.Asked, command proto.Message) error {
	if err := d.admitted(ctx, a, command, s.Admissions()); err != nil {
		return err
	}
	if echo, ok := command.(*pb.PublishEchoRequest); ok {
		stream, err := Stream(echo.Name, "tickets")
		if err != nil {
			return err
		}
		if err := d.names(ctx, stream, a, command, s.Reported, s.Accepted); err != nil {
			return err
		}
		for _, id := range s.Duplicates { // whose walls hear it, too
			duplicate, result, err := d.LoadTicket(ctx, "tickets/"+id)
			if err != nil {
				return fmt.Errorf("a duplicate of the ticket: %w", err)
			}
			if err := d.names(ctx, result.Stream, a, command, duplicate.Reported, duplicate.Accepted); err != nil {
				return err
			}
		}
		return nil
	}
	if _, ok := command.(*pb.RecordCallbackRequest); !ok || s.MergedInto == "" {
		return nil
	}
	primary, _, err := d.LoadTicket(ctx, "tickets/"+s.MergedInto)
	if err != nil {
		return fmt.Errorf("the primary of a merged ticket: %w", err)
	}
	a.Linked = map[string]*pb.Ticket{s.MergedInto: primary.Message(s.MergedInto)}
	return nil
}

// ticketStream is the stream a ticket command is for. A matter's follows from its source and reference there, so that it is
// one ticket however often and under whatever request ids it is reported.
func ticketStream(r Request) (string, error) {
	switch c := r.Command.(type) {
	case *pb.ReportTicketRequest:
		if c.SourceRef != "" && c.Source == "" {
			return "", rule.Bad("source", rule.MissingField, "is required with source_ref")
		}
		if c.SourceRef != "" {
			return sourceStream(c.Source, c.SourceRef), nil
		}
		if err := checkRequestID(c.RequestId); err != nil {
			return "", err
		}
		return "ticket-" + requested(ticketSpace, r.Actor, c.RequestId), nil
	case *pb.ImportRecordRequest:
		if c.Source == "" {
			return "", rule.Bad("source", rule.MissingField, "is required")
		}
		if c.SourceRef == "" {
			return "", rule.Bad("source_ref", rule.MissingField, "is required")
		}
		return sourceStream(c.Source, c.SourceRef), nil
	case interface{ GetName() string }:
		return Stream(c.GetName(), "tickets")
	}
	return "", fmt.Errorf("%T names no ticket", r.Command)
}

// requested is the id of what an actor's request brings to life.
func requested(space uuid.UUID, by rule.Actor, requestID string) string {
	return uuid.NewSHA1(space, []byte("request\x00"+by.Person+"\x00"+by.Unit+"\x00"+requestID)).String()
}

func sourceStream(source, ref string) string {
	return "ticket-" + uuid.NewSHA1(ticketSpace, []byte("source\x00"+source+"\x00"+ref)).String()
}

// Stream is the stream of a resource's name, such as "tickets/{ticket}".
func Stream(name, collection string) (string, error) {
	of, known := rule.ResourceIn(collection)
	if !known {
		return "", rule.Bad("name", rule.InvalidName, "want the name of a ticket, a whistle or another resource")
	}
	id, ok := strings.CutPrefix(name, collection+"/")
	if u, err := uuid.Parse(id); !ok || err != nil || u.String() != id {
		return "", rule.Bad("name", rule.InvalidName, "want %s/ and a UUID in lower case", collection)
	}
	return of.Stream + "-" + id, nil
}

// PublicNumber is what a petitioner is told: twelve characters without I, L, O and U, derived from the stream's id.
func PublicNumber(stream string) string {
	_, id, _ := strings.Cut(stream, "-")
	u, err := uuid.Parse(id)
	if err != nil {
		return ""
	}
	text := crockford.EncodeToString(u[:10])
	return text[:4] + "-" + text[4:8] + "-" + text[8:12]
}

var crockford = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

// ID is the id within a stream's name.
func ID(stream string) string {
	_, id, _ := strings.Cut(stream, "-")
	return id
}

// LoadTicket is a ticket as it is now, by its name. A *rule.Refusal NOT_FOUND if nobody reported it.
func (d *Dispatcher) LoadTicket(ctx context.Context, name string) (ticket.State, Result, error) {
	stream, err := Stream(name, "tickets")
	if err != nil {
		return ticket.State{}, Result{}, err
	}
	f, err := d.tickets.latest(ctx, d.store, stream)
	if err != nil {
		return ticket.State{}, Result{}, err
	}
	if f.version == 0 {
		return ticket.State{}, Result{}, rule.Bad("name", rule.NotFound, "no such ticket")
	}
	return f.state, Result{stream, f.version, f.position, false}, nil
}

// TicketAsOf is a ticket as it was at an instant of the world (zero: now), as known at a log position (0: all that is known):
// what happened and what was recorded are two axes.
func (d *Dispatcher) TicketAsOf(ctx context.Context, name string, asOf time.Time, knownAt eventstore.Position) (ticket.State, Result, error) {
	stream, err := Stream(name, "tickets")
	if err != nil {
		return ticket.State{}, Result{}, err
	}
	var s ticket.State
	result := Result{Stream: stream}
	for r, err := range d.store.ReadStream(ctx, stream, 0) {
		if err != nil {
			return s, result, fmt.Errorf("read %s: %w", stream, err)
		}
		if knownAt > 0 && r.Position > knownAt {
			break
		}
		e, err := event.Decode(r)
		if err != nil {
			return s, result, err
		}
		if !asOf.IsZero() && e.Meta.OccurredAt.AsTime().After(asOf) {
			if r.Version == 1 {
				break // nothing before the report is a fact of this ticket yet
			}
			continue
		}
		if s, err = ticket.Evolve(s, e.Meta, e.Event); err != nil {
			return s, result, fmt.Errorf("fold %s@%d: %w", stream, r.Version, err)
		}
		result.Version, result.Position = r.Version, r.Position
	}
	if !s.Exists() {
		return s, result, rule.Bad("name", rule.NotFound, "no such ticket at that time")
	}
	return s, result, nil
}

// Particulars are what an actor is shown of a ticket's personal data and free text, masked: names, numbers and addresses of the
// petitioner always, and whatever looks like one in the texts. Whether the actor may see the ticket is the caller's to ask. Erased says that the data
// subject's key was destroyed; nothing is left to show then.
func (d *Dispatcher) Particulars(ctx context.Context, stream string, s ticket.State, actor rule.Actor) (p *pb.Particulars, erased bool, err error) {
	if p, erased, err = d.told(ctx, stream, &s); err != nil || p == nil && erased {
		return nil, erased, err
	}
	if s.Replied != nil {
		reply, err := d.unseal(ctx, stream, s.Replied)
		switch {
		case errors.Is(err, privacy.ErrErased):
		case err != nil:
			return nil, false, err
		default:
			if p == nil {
				p = new(pb.Particulars)
			}
			p.Reply = reply.Reply
		}
	}
	mask(p, d.sees(&s, actor))
	return p, erased, nil
}

func (d *Dispatcher) unseal(ctx context.Context, stream string, box *pb.Sealed) (*pb.Particulars, error) {
	if box == nil {
		return nil, nil
	}
	clear, err := d.keys.Unseal(ctx, box.Subject, box.Box, []byte(stream))
	if err != nil {
		return nil, fmt.Errorf("unseal particulars of %s: %w", stream, err)
	}
	p := new(pb.Particulars)
	if err := proto.Unmarshal(clear, p); err != nil {
		return nil, fmt.Errorf("particulars of %s cannot be read", stream) // the cause could quote them
	}
	return p, nil
}

// Reveal shows a petitioner's identity in clear, after it recorded beside the ticket who is shown it and what for.
func (d *Dispatcher) Reveal(ctx context.Context, actor rule.Actor, c *pb.RevealIdentityRequest) (*pb.Petitioner, Result, error) {
	r := Request{Actor: actor, Command: c}
	s, result, err := d.LoadTicket(ctx, c.Name)
	if err != nil {
		return nil, result, err
	}
	stream := result.Stream
	asked, _, err := d.asked(ctx, stream, Request{Actor: actor, Command: &pb.RevealIdentityRequest{}}, "")
	if err != nil {
		return nil, result, err
	}
	events, err := ticket.Decide(s, asked, c)
	if err != nil {
		return nil, result, d.noteRefusal(ctx, stream, result.Version, r, err)
	}
	p, erased, err := d.told(ctx, stream, &s)
	if err != nil {
		return nil, result, err
	}
	if p.GetPetitioner().GetConfidential() && slices.Contains(handlers, asked.Acting) {
		return nil, result, d.noteRefusal(ctx, stream, result.Version, r,
			rule.No(rule.RoleNotAllowed, "the petitioner asked for confidence and is not shown to the handling unit"))
	}
	note := events[0].(*pb.IdentityRevealed)
	note.Stream = stream
	result, err = d.note(ctx, stream, actor, asked.Acting, c.RequestId, note)
	if err != nil {
		return nil, result, err
	}
	if erased && p.GetPetitioner() == nil {
		return nil, result, rule.No(rule.SubjectErased, "the petitioner's data was erased")
	}
	return p.GetPetitioner(), result, nil
}
