package suggest

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/registry"
)

// mostRecurrences are told.
const mostRecurrences = 10

// spot is the code of the lowest area of a path; empty where that says no more than the city. It is a string of its own: a path's lies in
// memory with all of its event.
func spot(path []*pb.AreaNode) string {
	if n := len(path); n > 1 && path[n-1].Code != registry.UnlocatedCode {
		return strings.Clone(path[n-1].Code)
	}
	return ""
}

func (x *Index) takeSpot(known *entry) {
	if known.spot != "" {
		x.spots[known.spot] = append(x.spots[known.spot], known)
	}
}

func (x *Index) leaveSpot(known *entry) {
	if known.spot != "" {
		without(x.spots, known.spot, known)
	}
}

// recurrences are the closed tickets that the matter may be again and that whoever asks may see, the latest first: of its category in its lowest
// area, closed when it was reported, and not long before.
func (x *Index) recurrences(ctx context.Context, m *Matter, may May) ([]*pb.Recurrence, error) {
	var ids []string
	x.mu.RLock()
	for _, e := range x.spots[spot(m.Path)] {
		if m.Category != "" && e.category == m.Category && e.id != m.ID && !e.ended.IsZero() && m.At.Sub(e.ended) <= closedLately {
			ids = append(ids, e.id)
		}
	}
	x.mu.RUnlock()
	var all []*pb.Recurrence
	for _, id := range ids {
		name := "tickets/" + id
		state, tells, err := x.tells(ctx, name)
		if err != nil {
			return nil, err
		}
		if !tells {
			x.forget(id)
			continue
		}
		lately := !state.ClosedAt.After(m.At) && m.At.Sub(state.ClosedAt) <= closedLately
		if state.State != pb.TicketState_TICKET_STATE_CLOSED || state.Lead == "" || state.Category != m.Category || !lately {
			continue // what was answered at once, or never dealt with, does not come back
		}
		seen, err := may(ctx, name)
		if err != nil {
			return nil, err
		}
		if seen {
			all = append(all, &pb.Recurrence{Name: name, No: state.No, ClosedAt: timestamppb.New(state.ClosedAt), Lead: state.Lead, Round: state.Round})
		}
	}
	slices.SortFunc(all, func(a, b *pb.Recurrence) int {
		if later := b.ClosedAt.AsTime().Compare(a.ClosedAt.AsTime()); later != 0 {
			return later
		}
		return strings.Compare(a.Name, b.Name)
	})
	return all[:min(mostRecurrences, len(all))], nil
}
