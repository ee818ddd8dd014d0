package view

import (
	"context"
	"fmt"
	"slices"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// PrecedentsView is the name of the view of precedents.
const PrecedentsView = "precedents_1"

// Precedents is the view of precedents (先例): a row for each ruling that may be followed in later matters.
func Precedents() projector.View {
	return projector.View{
		Name: PrecedentsView,
		Schema: []string{
			// ruling is the position of the ruling, id the ticket's; co are quoted words.
			`CREATE TABLE precedents_1 (
	ruling   INTEGER PRIMARY KEY,
	id       TEXT NOT NULL,
	category TEXT NOT NULL,
	area     TEXT NOT NULL,
	lead     TEXT NOT NULL,
	co       TEXT NOT NULL,
	basis    TEXT NOT NULL,
	ruled_at BIGINT NOT NULL
)`,
		},
		Indexes: []string{
			`CREATE INDEX precedents_1_category ON precedents_1 (category, ruled_at, ruling)`,
			`CREATE INDEX precedents_1_ruled ON precedents_1 (ruled_at, ruling)`,
		},
		Apply: func(_ context.Context, tx *viewdb.Tx, batch []event.Decoded) error {
			for i := range batch {
				if err := applyPrecedent(tx, &batch[i]); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func applyPrecedent(tx *viewdb.Tx, d *event.Decoded) error {
	e, ok := d.Event.(*pb.AdjudicationRuled)
	if !ok || e.PrecedentCategory == "" {
		return nil
	}
	kind, id := kind(d)
	if kind != "ticket" {
		return unknown(d)
	}
	err := tx.Put("INSERT INTO precedents_1 (ruling, id, category, area, lead, co, basis, ruled_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		int64(d.Position), id, e.PrecedentCategory, e.PrecedentArea, e.Lead, quoteAll(e.Co), e.BasisRef, micros(d.Meta.OccurredAt))
	return err
}

// PrecedentQuery asks for a page of precedents.
type PrecedentQuery struct {
	Category string // empty: any
	// Areas are those of which a precedent's must be one; none: any.
	Areas []string
	// Former are those that others of them stand for now. They may be more from one page to the next.
	Former    []string
	PageSize  int32
	PageToken string
}

// Precedents gives a page of rulings that may be followed, the latest first.
func (r *Reader) Precedents(ctx context.Context, q PrecedentQuery) (rows []*pb.Precedent, next string, at eventstore.Position, err error) {
	size, err := ticketPages.size(q.PageSize)
	if err != nil {
		return nil, "", 0, err
	}
	bound := bind("precedents", q.Category, fmt.Sprintf("%q", q.Areas))
	text, paged, err := cursor(bound, q.PageToken)
	if err != nil {
		return nil, "", 0, err
	}
	c := condition{sql: "1 = 1"}
	if q.Category != "" {
		c.and("category = " + c.arg(q.Category))
	}
	if len(q.Areas) > 0 {
		c.and("area IN (" + names(&c, slices.Concat(q.Areas, q.Former)) + ")")
	}
	if paged {
		var ruled, ruling int64
		if _, err := fmt.Sscanf(text, "%d %d", &ruled, &ruling); err != nil {
			return nil, "", 0, rule.Bad("page_token", rule.BadField, "is none that this service gave")
		}
		c.and(fmt.Sprintf("(ruled_at, ruling) < (%s, %s)", c.arg(ruled), c.arg(ruling)))
	}
	query := "SELECT ruling, id, category, area, lead, co, basis, ruled_at FROM precedents_1 WHERE " + c.sql +
		fmt.Sprintf(" ORDER BY ruled_at DESC, ruling DESC LIMIT %d", size+1)
	err = r.db.Read(ctx, func(tx *viewdb.Tx) error {
		if at, err = projector.Position(tx, PrecedentsView); err != nil {
			return err
		}
		last := ""
		for row, err := range tx.Query(query, c.args...) {
			if err != nil {
				return err
			}
			if len(rows) == size {
				next = token(bound, last)
				break
			}
			rows = append(rows, &pb.Precedent{
				Ticket: "tickets/" + row.Text(1), Category: row.Text(2), Area: row.Text(3), Lead: row.Text(4), Co: unquote(row.Text(5)),
				BasisRef: row.Text(6), RuledAt: stamp(row.Int64(7)),
			})
			last = fmt.Sprintf("%d %d", row.Int64(7), row.Int64(0))
		}
		return nil
	})
	return rows, next, at, err
}

// PrecedentAreas gives the code of every area that a ruling which may be followed was made for.
func (r *Reader) PrecedentAreas(ctx context.Context) (areas []string, err error) {
	err = r.db.Read(ctx, func(tx *viewdb.Tx) error {
		for row, err := range tx.Query("SELECT DISTINCT area FROM precedents_1 ORDER BY area") {
			if err != nil {
				return err
			}
			areas = append(areas, row.Text(0))
		}
		return nil
	})
	return areas, err
}
