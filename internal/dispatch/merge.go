package dispatch

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/ticket"
)

// A ticket becomes a duplicate in two steps. The primary's stream decides: it records that the duplicate was attached, and in caused_by
// the duplicate's version that this was decided on. Then the duplicate is told, which holds only if nothing happened to it since.
// Whatever is recorded there next is either the word that it is merged or rules that out for ever, so whoever looks, and however late,
// finds the same: the attachment stands or is void. One that is void is taken back from the primary.
//
// What a version of the duplicate was attached on is never attached anew on an older one: the earlier attachment could still become true, and the later
// one, which is void, be taken back in its place. Whoever looked that long ago looks again.
//
// A primary that has a duplicate attached cannot become a duplicate itself, and a ticket that is one gets none attached: so no
// duplicate ever points to a duplicate.

// merge carries out a MergeTicketRequest. State and result are the duplicate's.
func (d *Dispatcher) merge(ctx context.Context, r Request, c *pb.MergeTicketRequest) (ticket.State, Result, error) {
	if err := checkRequestID(c.RequestId); err != nil {
		return ticket.State{}, Result{}, err
	}
	var known uint64 // how far somebody has seen the duplicate
	for attempt := 0; ; {
		s, seen, err := d.LoadTicket(ctx, c.Name)
		if err != nil {
			return s, seen, err
		}
		if s.Events < known {
			return s, seen, behind(seen.Stream, s.Events, known)
		}
		// The request's own id is the first attempt's; later ones have ids that follow from it.
		request := proto.CloneOf(c)
		request.Etag = "" // it is the duplicate's
		id := c.RequestId
		if attempt > 0 {
			request.RequestId = ""
			id = fmt.Sprintf("merge/%x/%d", sha256.Sum256([]byte(c.RequestId)), attempt)
		}
		primary, err := d.primary(ctx, r.Actor, id, &s, c.Into)
		if err != nil {
			return s, seen, d.noteRefusal(ctx, seen.Stream, seen.Version, r, err)
		}
		p, attached, err := do(ctx, d, d.tickets, primary, Request{
			Actor: r.Actor, Command: request, ID: id, CausedBy: fmt.Sprintf("%s@%d", seen.Stream, seen.Version),
		}, func(p *ticket.State, a *rule.Asked) error {
			if i := slices.Index(p.Duplicates, ID(seen.Stream)); i >= 0 && p.Attached[i].Seen > s.Events {
				known = p.Attached[i].Seen
				return errOld
			}
			return d.mayMerge(a, c, &s, seen, p, primary)
		})
		if errors.Is(err, errOld) {
			continue // the same attempt: nothing was recorded of it
		}
		if err != nil {
			return s, seen, d.noteRefusal(ctx, seen.Stream, seen.Version, r, err)
		}
		i := slices.Index(p.Duplicates, ID(seen.Stream))
		if i < 0 {
			return s, seen, fmt.Errorf("%s@%d has no duplicate %s", primary, attached.Version, seen.Stream)
		}
		s, result, followed, err := d.follow(ctx, primary, ID(seen.Stream), p.Attached[i])
		if followed || err != nil {
			result.Repeated = result.Repeated && attached.Repeated
			return s, result, err
		}
		attempt++ // something else happened to the duplicate meanwhile; a fresh look may decide otherwise
	}
}

// errOld says that a duplicate was attached by somebody who had seen more of it.
var errOld = errors.New("the duplicate was looked at before it was attached")

// behind says that the history does not give a stream as far as somebody has seen it, as when its store is cut off from the others. It may pass.
func behind(stream string, version, seen uint64) error {
	return fmt.Errorf("%s is read as far as %d and was seen at %d: %w", stream, version, seen, eventstore.ErrUnavailable)
}

// primary is the stream that decides what a ticket is merged into: that of the ticket named, or of its own primary if it is merged. If a
// request of this id was carried out before, it is the stream that decided then.
func (d *Dispatcher) primary(ctx context.Context, by rule.Actor, id string, duplicate *ticket.State, into string) (string, error) {
	stream, err := Stream(into, "tickets")
	if err != nil {
		return "", rule.About("into", err)
	}
	candidates := []string{stream}
	if duplicate.MergedInto != "" {
		candidates = append(candidates, "ticket-"+duplicate.MergedInto)
	}
	for _, candidate := range candidates {
		// What is remembered may be from before another process carried it out.
		if f, err := d.tickets.latest(ctx, d.store, candidate); err != nil {
			return "", err
		} else if f.find(id, by.Person, by.Unit) != nil {
			return candidate, nil
		}
	}
	p, _, err := d.LoadTicket(ctx, into)
	if refusal := new(rule.Refusal); err != nil && !errors.As(err, &refusal) {
		return "", err // that there is none is the rule's to refuse
	}
	if p.MergedInto != "" {
		stream = "ticket-" + p.MergedInto
	}
	return stream, nil
}

// mayMerge asks the duplicate's rule, and tells the primary's of the duplicate.
func (d *Dispatcher) mayMerge(a *rule.Asked, c *pb.MergeTicketRequest, s *ticket.State, seen Result, p *ticket.State, primary string) error {
	if c.Etag != "" {
		after, err := ParseETag(c.Etag)
		if err != nil {
			return err
		}
		if after != seen.Version {
			return &eventstore.ConflictError{Stream: seen.Stream, After: after, Actual: seen.Version}
		}
	}
	its := *a
	if p.Exists() && primary != seen.Stream {
		its.Linked = map[string]*pb.Ticket{ID(primary): p.Message(ID(primary))}
	}
	if _, err := ticket.Decide(*s, &its, c); err != nil {
		return err
	}
	duplicate := s.Message(ID(seen.Stream))
	duplicate.Etag = seen.ETag()
	a.Linked = map[string]*pb.Ticket{ID(seen.Stream): duplicate}
	if !s.Anonymous {
		a.Petitioner = s.Subject
	}
	return nil
}

// errOtherwise says that a duplicate went another way before it was told.
var errOtherwise = errors.New("the duplicate went another way")

// follow tells a duplicate that it was attached to its primary, and says whether it followed; the state and the result are as it did. If it
// went another way the primary is told. It may be called any number of times, by anybody.
func (d *Dispatcher) follow(ctx context.Context, primary, id string, attached ticket.Attachment) (s ticket.State, result Result, followed bool, err error) {
	place := fmt.Sprintf("%s@%d", primary, attached.Event)
	is, result, err := do(ctx, d, d.tickets, "ticket-"+id, Request{
		Actor: policyActor, ID: "merge/" + place, Command: &pb.TicketMerged{Into: ID(primary)}, CausedBy: place,
	}, func(s *ticket.State, a *rule.Asked) error {
		if s.Events < attached.Seen {
			return behind("ticket-"+id, s.Events, attached.Seen)
		}
		if s.Events > attached.Seen {
			return errOtherwise
		}
		if attached.At.Before(a.At) { // clocks of two processes may differ
			a.OccurredAt = attached.At
		}
		return nil
	})
	refusal := new(rule.Refusal)
	switch {
	case err == nil:
		return *is, result, true, nil
	case errors.Is(err, errOtherwise), errors.As(err, &refusal):
		return *is, result, false, d.detach(ctx, primary, id, attached.Event, place)
	}
	return *is, result, false, fmt.Errorf("tell ticket %s that it was merged by %s: %w", id, place, err)
}

// errAnew says that a duplicate was attached again since.
var errAnew = errors.New("the duplicate was attached anew")

// detach takes back what the event of a primary attached, unless it was attached anew since.
func (d *Dispatcher) detach(ctx context.Context, primary, id string, attached uint64, causedBy string) error {
	_, _, err := do(ctx, d, d.tickets, primary, Request{
		Actor: policyActor, ID: fmt.Sprintf("detach/%s@%d", primary, attached), Command: &pb.DuplicateDetached{Ticket: id}, CausedBy: causedBy,
	}, func(p *ticket.State, _ *rule.Asked) error {
		if i := slices.Index(p.Duplicates, id); i >= 0 && p.Attached[i].Event != attached {
			return errAnew
		}
		return nil
	})
	if err != nil && !errors.Is(err, errAnew) {
		return fmt.Errorf("tell %s that ticket %s is no duplicate: %w", primary, id, err)
	}
	return nil
}

// release tells the primary that a ticket is none of its duplicates any more, since the version of that ticket's stream.
func (d *Dispatcher) release(ctx context.Context, stream string, version eventstore.Version, from string) error {
	p, result, err := d.LoadTicket(ctx, "tickets/"+from)
	if err != nil {
		return err
	}
	i := slices.Index(p.Duplicates, ID(stream))
	if i < 0 || p.Attached[i].Seen >= uint64(version) {
		return nil
	}
	return d.detach(ctx, result.Stream, ID(stream), p.Attached[i].Event, fmt.Sprintf("%s@%d", stream, version))
}

// unmerge carries out an UnmergeTicketRequest, and lets the primary know.
func (d *Dispatcher) unmerge(ctx context.Context, r Request, c *pb.UnmergeTicketRequest) (*ticket.State, Result, error) {
	stream, err := ticketStream(r)
	if err != nil {
		return &d.tickets.empty.state, Result{}, err
	}
	var from string
	s, result, err := do(ctx, d, d.tickets, stream, r, func(s *ticket.State, _ *rule.Asked) error {
		from = s.MergedInto
		return nil
	})
	if err != nil || from == "" { // carried out before, and followed up by whoever did or by policy
		return s, result, d.noteRefusal(ctx, stream, result.Version, r, err)
	}
	return s, result, d.release(ctx, stream, result.Version, from)
}
