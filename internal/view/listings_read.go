package view

import (
	"context"
	"fmt"
	"strings"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// ListingScope is whose listings and spot checks a list holds. It is the rule of listing.State.MaySee and check.State.MaySee, with the paths of units as
// they were when it was listed or drawn.
type ListingScope struct {
	All bool
	// Path is the caller's unit path through the unit tree, root first, itself included: it sees what it or a unit below it has to put right, or drew, and
	// the listings of units above it.
	Path []string
	// Near says that the caller looks at what waits for that in AreaPath, the path of the unit's own area, root first, and below it.
	Near     bool
	AreaPath []string
}

func (s *ListingScope) text() string {
	return fmt.Sprintf("%t %q %t %q", s.All, s.Path, s.Near, s.AreaPath)
}

// where is the condition on rows; kind is that of their areas in listings_step_1, and that of their units the next.
func (s *ListingScope) where(c *condition, key string, kind int, waits string, below bool) string {
	if s.All {
		return ""
	}
	in := func(kind int, code string) string {
		return fmt.Sprintf("%s IN (SELECT entry FROM listings_step_1 WHERE kind = %d AND code = %s)", key, kind, c.arg(code))
	}
	either := []string{"1 = 0"}
	if n := len(s.Path); n > 0 {
		either = append(either, in(kind+1, s.Path[n-1]))
		if below {
			for _, unit := range s.Path {
				either = append(either, "owner = "+c.arg(unit))
			}
		}
	}
	if n := len(s.AreaPath); s.Near && n > 0 {
		near := []string{in(kind, s.AreaPath[n-1])}
		for _, code := range s.AreaPath {
			near = append(near, "area = "+c.arg(code))
		}
		either = append(either, "("+waits+" AND ("+strings.Join(near, " OR ")+"))")
	}
	return "(" + strings.Join(either, " OR ") + ")"
}

// ListingQuery asks for a page of listings or spot checks.
type ListingQuery struct {
	Scope ListingScope
	// Filter is as ListListingsRequest or ListSpotChecksRequest has it.
	Filter string
	// Now is when what is not cleared is overdue.
	Now       time.Time
	PageSize  int32
	PageToken string
}

var listingFields = declare(map[string]field{
	"no":       {kind: textField, column: "no"},
	"state":    {kind: enumField, column: "state", values: pb.ListingState_value, prefix: "LISTING_STATE_"},
	"origin":   {kind: enumField, column: "origin", values: pb.ListingOrigin_value, prefix: "LISTING_ORIGIN_"},
	"area":     {kind: setField, sql: "listing IN (SELECT entry FROM listings_step_1 WHERE kind = 0 AND code = %s)"},
	"owner":    {kind: textField, column: "owner"},
	"issuer":   {kind: textField, column: "issuer"},
	"level":    {kind: textField, column: "level"},
	"clear_by": {kind: timeField, column: "clear_by"},
	"open":     {kind: boolField, sql: "cleared_at IS NULL"},
})

var checkFields = declare(map[string]field{
	"no":    {kind: textField, column: "no"},
	"state": {kind: enumField, column: "state", values: pb.CheckState_value, prefix: "CHECK_STATE_"},
	"kind":  {kind: enumField, column: "kind", values: pb.CheckKind_value, prefix: "CHECK_KIND_"},
	"area":  {kind: setField, sql: "spot IN (SELECT entry FROM listings_step_1 WHERE kind = 2 AND code = %s)"},
	"unit":  {kind: textField, column: "unit"},
})

// page is that of rows of a kind; see where.
func (q *ListingQuery) page(what, key string, of *fields, kind int, waits string, below bool) (latestPage, error) {
	return (&latest{
		number: key, fields: of, filter: q.Filter, pageSize: q.PageSize, pageToken: q.PageToken, bound: bind(what, q.Filter, q.Scope.text()),
		scope: func(c *condition) {
			if scope := q.Scope.where(c, key, kind, waits, below); scope != "" {
				c.and(scope)
			}
		},
	}).page()
}

// ListListings gives a page of the listings in scope that the filter lets through, the latest first.
func (r *Reader) ListListings(ctx context.Context, q ListingQuery) (rows []*pb.Listing, next string, at eventstore.Position, err error) {
	waits := fmt.Sprintf("state = %d", pb.ListingState_LISTING_STATE_REPORTED_DONE)
	page, err := q.page("listings", "listing", listingFields, listingArea, waits, true)
	if err != nil {
		return nil, "", 0, err
	}
	err = r.db.Read(ctx, func(tx *viewdb.Tx) error {
		if at, err = projector.Position(tx, ListingsView); err != nil {
			return err
		}
		list, err := queryProblems(tx, page.rest, page.args...)
		if err != nil {
			return err
		}
		list, next = cut(page, list, func(w *problem) int64 { return w.listing })
		for _, w := range list {
			rows = append(rows, w.message(q.Now.UnixMicro()))
		}
		return nil
	})
	return rows, next, at, err
}

// ListSpotChecks gives a page of the spot checks in scope that the filter lets through, the latest first, and the log position that each was drawn at.
func (r *Reader) ListSpotChecks(ctx context.Context, q ListingQuery) (rows []*pb.SpotCheck, known []eventstore.Position, next string, at eventstore.Position, err error) {
	waits := fmt.Sprintf("state = %d", pb.CheckState_CHECK_STATE_DRAWN)
	page, err := q.page("checks", "spot", checkFields, checkArea, waits, false)
	if err != nil {
		return nil, nil, "", 0, err
	}
	err = r.db.Read(ctx, func(tx *viewdb.Tx) error {
		if at, err = projector.Position(tx, ListingsView); err != nil {
			return err
		}
		list, err := querySpots(tx, page.rest, page.args...)
		if err != nil {
			return err
		}
		list, next = cut(page, list, func(s *spot) int64 { return s.spot })
		for _, s := range list {
			rows, known = append(rows, s.message()), append(known, eventstore.Position(s.known))
		}
		return nil
	})
	return rows, known, next, at, err
}

// ClosedTicket is one that a spot check may draw.
type ClosedTicket struct {
	ID, Category string
	Confidential bool
}

// ClosedTickets are the tickets that lie in an area and were closed in [from, to) after a unit had led them, closed or archived still, by their ids; at is the
// position that they are known as of.
func (r *Reader) ClosedTickets(ctx context.Context, area string, from, to time.Time) (list []ClosedTicket, at eventstore.Position, err error) {
	query := fmt.Sprintf(`SELECT id, category, confidential FROM %s WHERE closed = 1 AND closed_at >= $1 AND closed_at < $2 AND state IN (%d, %d) AND lead <> ''
		AND path IN (SELECT path FROM %s WHERE kind = 0 AND code = $3) ORDER BY id`, TicketsView,
		pb.TicketState_TICKET_STATE_CLOSED, pb.TicketState_TICKET_STATE_ARCHIVED, strings.Replace(TicketsView, "tickets", "tickets_step", 1))
	err = r.db.Read(ctx, func(tx *viewdb.Tx) error {
		if at, err = projector.Position(tx, TicketsView); err != nil {
			return err
		}
		for row, err := range tx.Query(query, from.UnixMicro(), to.UnixMicro(), area) {
			if err != nil {
				return err
			}
			list = append(list, ClosedTicket{row.Text(0), row.Text(1), row.Bool(2)})
		}
		return nil
	})
	return list, at, err
}

// At is the position that a view stands at.
func (r *Reader) At(ctx context.Context, view string) (at eventstore.Position, err error) {
	err = r.db.Read(ctx, func(tx *viewdb.Tx) error {
		at, err = projector.Position(tx, view)
		return err
	})
	return at, err
}
