package suggest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/privacy"
)

// telling are the events that change what is known here. Others are not even decoded.
var telling = map[string]bool{
	"TicketReported": true, "TicketAccepted": true, "TicketTriaged": true, "TriageCorrected": true, "TicketVoided": true,
	"TicketClosed": true, "TicketDeclined": true, "TicketAnsweredDirectly": true, "TicketWithdrawn": true, "TicketMerged": true,
	"TicketReopened": true, "TicketUnmerged": true, "DeclineOverturned": true, "AdjudicationRuled": true, "SubjectErased": true,
}

// learn takes in one event.
func (x *Index) learn(ctx context.Context, r *eventstore.Recorded) error {
	if telling[r.Type] {
		e, err := event.Decode(*r)
		if err != nil {
			return err
		}
		if err := x.told(ctx, &e); err != nil {
			return fmt.Errorf("learn of %s@%d: %w", r.Stream, r.Version, err)
		}
	}
	x.move(r.Position, false)
	return nil
}

func (x *Index) told(ctx context.Context, d *event.Decoded) error {
	switch e := d.Event.(type) {
	case *pb.TicketReported:
		return x.reported(ctx, d, e)
	case *pb.SubjectErased:
		x.mu.Lock()
		defer x.mu.Unlock()
		for _, known := range slices.Clone(x.people[e.GetSubject()]) {
			x.remove(known)
		}
		return nil
	case *pb.AdjudicationRuled:
		if e.GetPrecedentCategory() != "" {
			x.mu.Lock()
			defer x.mu.Unlock()
			x.precedents[ruled{e.GetPrecedentCategory(), e.GetPrecedentArea()}] = &pb.Precedent{
				Ticket: "tickets/" + dispatch.ID(d.Stream), Category: e.GetPrecedentCategory(), Area: e.GetPrecedentArea(), Lead: e.GetLead(), Co: e.GetCo(),
				BasisRef: e.GetBasisRef(), RuledAt: d.Meta.GetOccurredAt(),
			}
		}
		return nil
	}
	x.mu.Lock()
	known := x.tickets[dispatch.ID(d.Stream)]
	x.mu.Unlock()
	if known == nil {
		return nil
	}
	if e, ok := d.Event.(*pb.TicketAccepted); ok && e.GetSealed() != nil {
		if x.isWhole() {
			return x.again(ctx, d.Stream, known, e.GetPath())
		}
		known.added = true
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	switch e := d.Event.(type) {
	case *pb.TicketAccepted:
		x.moveTo(known, e.GetPath())
	case *pb.DeclineOverturned:
		x.moveTo(known, e.GetPath())
		known.ended = time.Time{}
	case *pb.TicketTriaged:
		known.category, known.triaged = e.GetCategory(), true
		x.moveTo(known, e.GetPath())
		x.hide(known, e.GetConfidentiality())
	case *pb.TriageCorrected:
		if e.GetCategory() != "" {
			known.category = e.GetCategory()
		}
		x.moveTo(known, e.GetPath())
		x.hide(known, e.GetConfidentiality())
	case *pb.TicketVoided:
		x.remove(known)
	case *pb.TicketReopened, *pb.TicketUnmerged:
		known.ended = time.Time{}
	default:
		known.ended = d.Meta.GetOccurredAt().AsTime()
	}
	return nil
}

// reported takes in a ticket, unless nobody is ever to be told of it or it was reported too long ago.
func (x *Index) reported(ctx context.Context, d *event.Decoded, e *pb.TicketReported) error {
	at := d.Meta.GetOccurredAt()
	if e.GetConfidentiality() == pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL || e.GetKind() == pb.MatterKind_MATTER_KIND_TIP_OFF || x.tooOld(at) {
		return nil
	}
	known := &entry{
		id: dispatch.ID(d.Stream), category: e.GetCategory(), reported: at.AsTime(), position: pointOf(e.GetPosition()), sealed: e.GetSealed(),
	}
	if e.GetSealed() != nil {
		known.subjects = []string{e.GetSealed().GetSubject()}
	}
	x.mu.Lock()
	if x.tickets[known.id] != nil {
		x.mu.Unlock()
		return nil // read again after an error
	}
	x.moveTo(known, e.GetPath())
	x.add(known, nil, nil)
	whole := x.whole
	x.mu.Unlock()
	if !whole {
		return nil
	}
	return x.read(ctx, known)
}

// readWords reads what the tickets say that were learnt of while catching up. Most that a long history tells of have made room by then,
// and were never read.
func (x *Index) readWords(ctx context.Context) error {
	x.mu.RLock()
	all := slices.Clone(x.queue)
	x.mu.RUnlock()
	for _, known := range all {
		switch {
		case known.added:
			if err := x.again(ctx, "ticket-"+known.id, known, nil); err != nil {
				return err
			}
			known.added = false
		case known.sealed != nil:
			if err := x.read(ctx, known); err != nil {
				return err
			}
		}
	}
	return nil
}

// read takes in what the report of a ticket says. A ticket whose words can or may not be read is known no more.
func (x *Index) read(ctx context.Context, known *entry) error {
	words, erased, err := x.dispatcher.Words(ctx, "ticket-"+known.id, known.sealed)
	if err != nil {
		if err = x.unreadable(err); err != nil {
			return err
		}
		erased = true
	}
	text, place := x.split(words)
	x.mu.Lock()
	defer x.mu.Unlock()
	known.sealed = nil
	switch {
	case x.tickets[known.id] != known:
	case erased || words != nil && words.Hidden:
		x.remove(known)
	default:
		x.terms.remove(known)
		x.terms.add(known, text, place)
	}
	return nil
}

func (x *Index) isWhole() bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.whole
}

// again takes in what a ticket says since its acceptance added to it.
func (x *Index) again(ctx context.Context, stream string, known *entry, path []*pb.AreaNode) error {
	state, _, err := x.dispatcher.LoadTicket(ctx, "tickets/"+dispatch.ID(stream))
	if err != nil {
		return err
	}
	words, erased, err := x.dispatcher.TicketWords(ctx, stream, &state)
	if err != nil {
		if err = x.unreadable(err); err != nil {
			return err
		}
		erased = true
	}
	text, place := x.split(words)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.tickets[known.id] != known {
		return nil
	}
	// Taken out before anything changes, since it is found by what it was.
	x.remove(known)
	if erased || words != nil && words.Hidden {
		return nil
	}
	known.subjects, known.sealed = slices.Clone(state.Subjects), nil
	x.moveTo(known, path)
	x.add(known, text, place)
	return nil
}

// unreadable lets pass what can never be read, and says so; any other error stands.
func (x *Index) unreadable(err error) error {
	if errors.Is(err, privacy.ErrUnknown) || errors.Is(err, privacy.ErrTampered) {
		x.trouble(err)
		return nil
	}
	return err
}

func (x *Index) tooOld(reported *timestamppb.Timestamp) bool {
	return reported.AsTime().Before(x.dispatcher.Now().Add(-x.options.Keep))
}

// split gives the terms of what a matter is about, and of where it is.
func (x *Index) split(w *dispatch.Words) (text, place []string) {
	if w == nil {
		return nil, nil
	}
	place = x.words(w.Place)
	for i, word := range place {
		place[i] = "@" + word
	}
	return x.words(w.Title, w.Text), place
}

// moveTo says where a ticket lies; a path that says nothing changes nothing.
func (x *Index) moveTo(known *entry, path []*pb.AreaNode) {
	if len(path) > 0 {
		x.leaveSpot(known)
		known.spot = spot(path)
		if x.tickets[known.id] == known {
			x.takeSpot(known)
		}
		known.street = strings.Clone(street(x.dispatcher.Registry(), path))
	}
}

func (x *Index) hide(known *entry, c pb.Confidentiality) {
	if c == pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL {
		x.remove(known)
	}
}

// add makes a ticket one that can be found. The oldest make room for it.
func (x *Index) add(known *entry, text, place []string) {
	x.tickets[known.id] = known
	x.queue = append(x.queue, known)
	x.terms.add(known, text, place)
	for _, s := range known.subjects {
		x.people[s] = append(x.people[s], known)
	}
	if known.position != nil {
		c := cellOf(*known.position)
		x.cells[c] = append(x.cells[c], known)
	}
	x.takeSpot(known)
	for len(x.tickets) > x.options.Most {
		x.dropOldest()
	}
	if len(x.queue) > 2*len(x.tickets)+64 {
		x.queue = slices.DeleteFunc(x.queue, func(e *entry) bool { return x.tickets[e.id] != e })
	}
}

// remove makes a ticket one that cannot be found, and forgets its words.
func (x *Index) remove(known *entry) {
	if x.tickets[known.id] != known {
		return
	}
	delete(x.tickets, known.id)
	x.terms.remove(known)
	for _, s := range known.subjects {
		without(x.people, s, known)
	}
	x.leaveSpot(known)
	if known.position != nil {
		without(x.cells, cellOf(*known.position), known)
	}
}

func without[K comparable](of map[K][]*entry, key K, gone *entry) {
	left := slices.DeleteFunc(of[key], func(e *entry) bool { return e == gone })
	if len(left) == 0 {
		delete(of, key)
	} else {
		of[key] = left
	}
}

func (x *Index) dropOldest() {
	oldest := x.queue[0]
	x.queue[0] = nil
	x.queue = x.queue[1:]
	x.remove(oldest)
}

// prune drops what was reported too long ago.
func (x *Index) prune() {
	limit := x.dispatcher.Now().Add(-x.options.Keep)
	x.mu.Lock()
	defer x.mu.Unlock()
	for len(x.queue) > 0 && (x.tickets[x.queue[0].id] != x.queue[0] || x.queue[0].reported.Before(limit)) {
		x.dropOldest()
	}
}

// forget drops a ticket whose words can no more be read.
func (x *Index) forget(id string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if known := x.tickets[id]; known != nil {
		x.remove(known)
	}
}
