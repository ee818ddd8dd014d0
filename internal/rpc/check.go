package rpc

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	spotcheck "github.com/chuishao/dispatch/internal/check"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/view"
)

// DrawSpotCheck draws from what the views know of the tickets closed there, once they have seen all that is recorded now.
func (s listingService) DrawSpotCheck(ctx context.Context, r *pb.DrawSpotCheckRequest) (*pb.CommandAnswer, error) {
	if s.views == nil {
		return s.UnimplementedListingServiceServer.DrawSpotCheck(ctx, r)
	}
	q := request(ctx, r)
	// Who holds none of the roles, and who names no period, is refused by the rule before it asks.
	_, err := requireRole(ctx, pb.Role_ROLE_SUPERVISOR, pb.Role_ROLE_ASSESSMENT)
	if err == nil && r.From != nil && r.To != nil {
		if q.Drawing, err = s.population(ctx, r); err != nil {
			return nil, err
		}
	}
	return s.carryRequest(ctx, q)
}

// population is what there is to draw from, and a seed. A confidential ticket is drawn only for who may see it.
func (s listingService) population(ctx context.Context, r *pb.DrawSpotCheckRequest) (*rule.Drawing, error) {
	last, err := s.views.reader.At(ctx, view.TicketsView)
	if err != nil {
		return nil, err
	}
	for e, err := range s.dispatcher.Store().ReadAll(ctx, last) {
		if err != nil {
			return nil, fmt.Errorf("look for the end of the history: %w", err)
		}
		last = e.Position
	}
	if err := s.views.wait(ctx, Token(last), view.TicketsView); err != nil {
		return nil, err
	}
	closed, at, err := s.views.reader.ClosedTickets(ctx, r.Area, rule.Instant(r.From), rule.Instant(r.To))
	if err != nil {
		return nil, err
	}
	d := &rule.Drawing{KnownAt: uint64(at), Seed: make([]byte, spotcheck.SeedSize)}
	if _, err := rand.Read(d.Seed); err != nil {
		return nil, fmt.Errorf("make a seed: %w", err)
	}
	now := s.dispatcher.Now()
	for _, t := range closed {
		if r.Category != "" && !rule.Below(s.dispatcher.Registry(), t.Category, r.Category, now) {
			continue
		}
		if t.Confidential {
			seen, err := s.views.mayLook(ctx, "tickets/"+t.ID)
			if err != nil {
				return nil, err
			}
			if !seen {
				continue
			}
		}
		d.Tickets = append(d.Tickets, t.ID)
	}
	return d, nil
}

// GetSpotCheck gives the spot check as its history says it is now.
func (s listingService) GetSpotCheck(ctx context.Context, r *pb.GetSpotCheckRequest) (*pb.SpotCheck, error) {
	state, result, err := found[*spotcheck.State](ctx, &s.service, "checks", r.Name)
	if err != nil {
		return nil, err
	}
	m := state.Message(dispatch.ID(result.Stream))
	m.Etag, m.ConsistencyToken, m.KnownAt = result.ETag(), Token(result.Position), Token(eventstore.Position(state.Drawn.GetKnownAt()))
	return m, s.shown(ctx, m)
}

// shown takes the names of tickets that the caller may not see out of a spot check. Auditors and assessment offices are told all.
func (s *service) shown(ctx context.Context, m *pb.SpotCheck) error {
	actor, _ := ActorFrom(ctx)
	if slices.Contains(actor.Roles, pb.Role_ROLE_AUDITOR) || slices.Contains(actor.Roles, pb.Role_ROLE_ASSESSMENT) {
		return nil
	}
	for _, item := range m.Items {
		t, _, err := s.dispatcher.LoadTicket(ctx, item.Ticket)
		if err != nil {
			return err
		}
		sampled := t.Sampled(s.dispatcher.Registry(), actor, s.dispatcher.Now())
		if !sampled.Visible && (sampled.Confidential || !rule.Nearby(s.dispatcher.Registry(), actor.Unit, sampled.Path, s.dispatcher.Now())) {
			item.Ticket = ""
		}
	}
	return nil
}

// listingScope is whose listings and spot checks the caller's lists hold; all is who sees every one.
func (s viewService) listingScope(ctx context.Context, all ...pb.Role) view.ListingScope {
	actor, _ := ActorFrom(ctx)
	for _, role := range all {
		if slices.Contains(actor.Roles, role) {
			return view.ListingScope{All: true}
		}
	}
	r, now := s.dispatcher.Registry(), s.dispatcher.Now()
	scope := view.ListingScope{
		Path: r.UnitPath(actor.Unit),
		Near: slices.Contains(actor.Roles, pb.Role_ROLE_GRID_WORKER) || slices.Contains(actor.Roles, pb.Role_ROLE_SUPERVISOR),
	}
	if unit, ok := r.Unit(actor.Unit, now); ok && unit.Area != "" {
		path, _ := r.Path(unit.Area, now)
		for _, n := range path {
			scope.AreaPath = append(scope.AreaPath, n.Code)
		}
	}
	return scope
}

// ListListings gives a page of the listed problems in the caller's scope that are no tickets.
func (s viewService) ListListings(ctx context.Context, q *pb.ListListingsRequest) (*pb.ListListingsResponse, error) {
	if err := s.wait(ctx, q.MinConsistencyToken, view.ListingsView); err != nil {
		return nil, err
	}
	rows, next, position, err := s.reader.ListListings(ctx, view.ListingQuery{
		Scope: s.listingScope(ctx, pb.Role_ROLE_AUDITOR), Filter: q.Filter, Now: s.dispatcher.Now(), PageSize: q.PageSize, PageToken: q.PageToken,
	})
	if err != nil {
		return nil, err
	}
	return &pb.ListListingsResponse{Listings: rows, NextPageToken: next, ConsistencyToken: Token(position)}, nil
}

// ListSpotChecks gives a page of the spot checks in the caller's scope.
func (s viewService) ListSpotChecks(ctx context.Context, q *pb.ListSpotChecksRequest) (*pb.ListSpotChecksResponse, error) {
	if err := s.wait(ctx, q.MinConsistencyToken, view.ListingsView); err != nil {
		return nil, err
	}
	rows, known, next, position, err := s.reader.ListSpotChecks(ctx, view.ListingQuery{
		Scope: s.listingScope(ctx, pb.Role_ROLE_AUDITOR, pb.Role_ROLE_ASSESSMENT), Filter: q.Filter, PageSize: q.PageSize, PageToken: q.PageToken,
	})
	if err != nil {
		return nil, err
	}
	for i, m := range rows {
		m.KnownAt = Token(known[i])
		if err := s.shown(ctx, m); err != nil {
			return nil, err
		}
	}
	return &pb.ListSpotChecksResponse{SpotChecks: rows, NextPageToken: next, ConsistencyToken: Token(position)}, nil
}
