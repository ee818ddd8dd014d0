package view

import (
	"context"
	"fmt"
	"slices"
	"strings"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// board is a list of resources of one kind: which there are, in what order. What is said of each stands in its history.
type board struct {
	view   string
	table  string
	row    string            // the column that numbers rows, the latest highest
	public string            // SQL: everybody may know of the row
	fields *fields           // what it may be filtered by
	orders map[string]string // by what order_by says: the column, with DESC where it falls; "" is the default
}

// BoardQuery asks for a page of a board.
type BoardQuery struct {
	// Filter and OrderBy are as the request of the contract has them.
	Filter, OrderBy string
	// Sees says whether the caller may know of what a unit keeps before everybody may; nil: nothing of it.
	Sees      func(keeper string) bool
	PageSize  int32
	PageToken string
}

// list gives the ids of a page.
func (b *board) list(ctx context.Context, r *Reader, q BoardQuery) (ids []string, next string, at eventstore.Position, err error) {
	size, err := usualPages.size(q.PageSize)
	if err != nil {
		return nil, "", 0, err
	}
	order, ok := b.orders[q.OrderBy]
	if !ok {
		var known []string
		for name := range b.orders {
			if name != "" {
				known = append(known, fmt.Sprintf("%q", name))
			}
		}
		slices.Sort(known)
		return nil, "", 0, rule.Bad("order_by", rule.BadField, "want one of %s", strings.Join(known, ", "))
	}
	column, desc := strings.CutSuffix(order, " DESC")
	direction, beyond := "", ">"
	if desc {
		direction, beyond = " DESC", "<"
	}
	c := condition{sql: "1 = 1"}
	if err := parseFilter(q.Filter, b.fields, &c); err != nil {
		return nil, "", 0, err
	}
	bound := bind(b.view, q.Filter, q.OrderBy)
	text, paged, err := cursor(bound, q.PageToken)
	if err != nil {
		return nil, "", 0, err
	}
	if paged {
		var key, row int64
		if _, err := fmt.Sscanf(text, "%d %d", &key, &row); err != nil {
			return nil, "", 0, rule.Bad("page_token", rule.BadField, "is none that this service gave")
		}
		c.and(fmt.Sprintf("(%s, %s) %s (%s, %s)", column, b.row, beyond, c.arg(key), c.arg(row)))
	}
	query := fmt.Sprintf("SELECT id, keeper, %s, %s, %s FROM %s WHERE %s ORDER BY %s%s, %s%s", b.public, column, b.row, b.table, c.sql, column, direction, b.row, direction)
	err = r.db.Read(ctx, func(tx *viewdb.Tx) error {
		if at, err = projector.Position(tx, b.view); err != nil {
			return err
		}
		last := ""
		for row, err := range tx.Query(query, c.args...) {
			if err != nil {
				return err
			}
			if !row.Bool(2) && (q.Sees == nil || !q.Sees(row.Text(1))) {
				continue
			}
			if len(ids) == size {
				next = token(bound, last)
				break
			}
			ids = append(ids, row.Text(0))
			last = fmt.Sprintf("%d %d", row.Int64(3), row.Int64(4))
		}
		return nil
	})
	return ids, next, at, err
}

// writeSteps writes the areas that a row lies in.
func writeSteps(tx *viewdb.Tx, table, column string, row int64, paths ...[]*pb.AreaNode) error {
	for _, path := range paths {
		for _, n := range path {
			if err := tx.Put("INSERT INTO "+table+" (code, "+column+") VALUES ($1, $2) ON CONFLICT DO NOTHING", n.Code, row); err != nil {
				return err
			}
		}
	}
	return nil
}

// above says whether a node of a level is one of a path's areas above the one that is asked about, of which only nodes at or below it are told; not
// where none is asked about.
func above(path []*pb.AreaNode, area, level, code string) bool {
	for _, n := range path {
		if n.Code == area || area == "" {
			return false
		}
		if n.Level == level && n.Code == code {
			return true
		}
	}
	return false
}
