package suggest

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/ticket"
)

// What makes two tickets look like one matter.
const (
	// nearby is how far apart, in metres, and placeWindow how long after one another matters of one category are reported that may be one.
	nearby      = 300.0
	placeWindow = 24 * time.Hour
	// personWindow is in what time one person's matters of a category, or matters that say the same, may be one.
	personWindow = 30 * 24 * time.Hour
	// closedLately is how long a matter that is ended may still be the one that is raised again.
	closedLately = 15 * 24 * time.Hour
	// alike is what two texts have in common that say the same: 1 is all. With the same category, or person, less will do.
	alike       = 0.3
	alikeEnough = 0.2

	mostDuplicates = 10  // that are told
	mostLooked     = 100 // that are looked at to find them
)

// candidate is a ticket that may be about the same matter, as it was when it was found.
type candidate struct {
	id       string
	reasons  []string
	score    float64
	distance *float64
}

// found gathers what speaks for a ticket. Its caller locks the index.
func (x *Index) found(m *Matter) []candidate {
	text, where := x.split(m.Words)
	q, place := x.terms.query(text), x.terms.query(where)
	at := pointOf(m.Position)
	here := street(x.dispatcher.Registry(), m.Path)
	type evidence struct {
		text         float64
		person, near bool
	}
	all := map[*entry]*evidence{}
	of := func(e *entry) *evidence {
		if all[e] == nil {
			all[e] = &evidence{text: x.terms.alike(q, e.terms)}
		}
		return all[e]
	}
	within := func(e *entry, window time.Duration) bool {
		apart := m.At.Sub(e.reported)
		return e.id != m.ID && max(apart, -apart) <= window && (e.ended.IsZero() || m.At.Sub(e.ended) <= closedLately)
	}
	sameCategory := func(e *entry) bool { return m.Category != "" && m.Category == e.category }

	for _, s := range m.Subjects {
		for _, e := range x.people[s] {
			if within(e, personWindow) && (sameCategory(e) || x.terms.alike(q, e.terms) >= alikeEnough) {
				of(e).person = true
			}
		}
	}
	if at != nil {
		for _, c := range cellsAround(*at, nearby) {
			for _, e := range x.cells[c] {
				// While a matter is taken down nobody may know its category yet.
				if within(e, placeWindow) && metres(*at, *e.position) <= nearby && (sameCategory(e) || m.Category == "" || e.category == "") {
					of(e).near = true
				}
			}
		}
	}
	for _, s := range x.terms.similar(q, 2*mostLooked) {
		enough := alike
		if sameCategory(s.entry) {
			enough = alikeEnough
		}
		// The same words of another street are another matter.
		if s.score >= enough && within(s.entry, personWindow) && (here == "" || s.street == "" || here == s.street) {
			of(s.entry)
		}
	}

	candidates := make([]candidate, 0, len(all))
	for e, v := range all {
		c := candidate{id: e.id}
		if at != nil && e.position != nil {
			d := metres(*at, *e.position)
			c.distance = &d
		}
		not := 1.0
		if v.person {
			c.reasons = append(c.reasons, "same_person")
			not *= 1 - 0.5
		}
		if v.near {
			c.reasons = append(c.reasons, "same_place")
			not *= 1 - 0.6*(1-*c.distance/(2*nearby))
		}
		if v.text >= alike || v.text >= alikeEnough && sameCategory(e) {
			c.reasons = append(c.reasons, "similar_text")
		}
		not *= (1 - 0.7*v.text) * (1 - 0.2*x.terms.alike(place, e.place))
		c.score = 1 - not
		candidates = append(candidates, c)
	}
	slices.SortFunc(candidates, func(a, b candidate) int { return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.id, b.id)) })
	return candidates[:min(mostLooked, len(candidates))]
}

// duplicates are the tickets that may be about the same matter and that whoever asks may see. Of a ticket that was merged it is the one
// it was merged into.
func (x *Index) duplicates(ctx context.Context, m *Matter, may May) ([]*pb.Duplicate, error) {
	x.mu.RLock()
	candidates := x.found(m)
	x.mu.RUnlock()

	var all []*pb.Duplicate
	told := map[string]bool{"tickets/" + m.ID: true}
	for _, c := range candidates {
		if len(all) == mostDuplicates {
			break
		}
		name := "tickets/" + c.id
		state, tells, err := x.tells(ctx, name)
		if err != nil {
			return nil, err
		}
		if !tells {
			x.forget(c.id)
			continue
		}
		if state.State == pb.TicketState_TICKET_STATE_MERGED {
			name = "tickets/" + state.MergedInto
			state, tells, err = x.tells(ctx, name)
			if refusal := new(rule.Refusal); errors.As(err, &refusal) {
				continue
			}
			if err != nil {
				return nil, err
			}
		}
		if told[name] || !tells {
			continue
		}
		told[name] = true
		seen, err := may(ctx, name)
		if err != nil {
			return nil, err
		}
		if seen {
			all = append(all, &pb.Duplicate{
				Name: name, No: state.No, Reasons: c.reasons, Score: c.score, Distance: c.distance, State: state.State,
				ReportedAt: timestamppb.New(state.ReportedAt),
			})
		}
	}
	return all, nil
}

// tells says whether anybody may be told of a ticket as it is at this moment. The index comes after: the key may have gone, or the petitioner
// asked for confidence, in words that it did not read yet.
func (x *Index) tells(ctx context.Context, name string) (ticket.State, bool, error) {
	state, result, err := x.dispatcher.LoadTicket(ctx, name)
	if err != nil {
		return state, false, err
	}
	words, erased, err := x.dispatcher.TicketWords(ctx, result.Stream, &state)
	if err != nil {
		return state, false, x.unreadable(err)
	}
	return state, !erased && !Hidden(&state, words), nil
}

// Hidden says whether nobody is to be told who raised a ticket: it is confidential or a tip-off, or its petitioner asked for confidence. The words are
// the ticket's; nil where it has none.
func Hidden(s *ticket.State, words *dispatch.Words) bool {
	return s.Confidentiality == pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL || s.Kind == pb.MatterKind_MATTER_KIND_TIP_OFF ||
		words != nil && words.Hidden
}
