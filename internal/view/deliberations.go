package view

import (
	"context"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/deliberation"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// DeliberationsView is the name of the view of deliberations.
const DeliberationsView = "deliberations_1"

// Deliberations is the view of communities' matters of the month (一月一事一议一公开): a row each. There are a dozen a year and community.
func Deliberations() projector.View {
	return projector.View{
		Name: DeliberationsView,
		Schema: []string{
			// matter is the position of the first event.
			`CREATE TABLE deliberations_1 (
	matter    INTEGER PRIMARY KEY,
	id        TEXT NOT NULL UNIQUE,
	no        TEXT NOT NULL,
	state     BIGINT NOT NULL,
	month     TEXT NOT NULL,
	keeper    TEXT NOT NULL,
	chosen_at BIGINT NOT NULL
)`,
			// The areas that it lies in.
			`CREATE TABLE deliberations_step_1 (
	code   TEXT NOT NULL,
	matter BIGINT NOT NULL,
	PRIMARY KEY (code, matter)
) WITHOUT ROWID`,
		},
		Apply: func(_ context.Context, tx *viewdb.Tx, batch []event.Decoded) error {
			for i := range batch {
				if err := applyDeliberation(tx, &batch[i]); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func applyDeliberation(tx *viewdb.Tx, d *event.Decoded) error {
	kind, id := kind(d)
	if kind != "deliberation" {
		return others(d, kind)
	}
	after := deliberation.StateAfter(d.Event)
	if after == pb.DeliberationState_DELIBERATION_STATE_UNSPECIFIED {
		return unknown(d)
	}
	if e, ok := d.Event.(*pb.MatterChosen); ok {
		err := tx.Put("INSERT INTO deliberations_1 (matter, id, no, state, month, keeper, chosen_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
			int64(d.Position), id, e.No, int64(after), e.Month, e.Keeper, micros(d.Meta.OccurredAt))
		if err != nil {
			return err
		}
		return writeSteps(tx, "deliberations_step_1", "matter", int64(d.Position), e.Path)
	}
	n, err := tx.Exec("UPDATE deliberations_1 SET state = $1 WHERE id = $2", int64(after), id)
	if err == nil && n == 0 {
		err = orphan(d)
	}
	return err
}

var deliberationBoard = board{
	view: DeliberationsView, table: "deliberations_1", row: "matter", public: "state = 4", orders: map[string]string{"": "chosen_at DESC"},
	fields: declare(map[string]field{
		"no":    {kind: textField, column: "no"},
		"state": {kind: enumField, column: "state", values: pb.DeliberationState_value, prefix: "DELIBERATION_STATE_"},
		"area":  {kind: setField, sql: "matter IN (SELECT matter FROM deliberations_step_1 WHERE code = %s)"},
		"month": {kind: textField, column: "month"},
	}),
}

// ListDeliberations gives the ids of a page of matters of the month that the filter lets through, the latest first: those that are published, and of
// the others those that the caller may know of.
func (r *Reader) ListDeliberations(ctx context.Context, q BoardQuery) (ids []string, next string, at eventstore.Position, err error) {
	return deliberationBoard.list(ctx, r, q)
}
