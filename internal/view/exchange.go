package view

import (
	"context"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/exchange"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// ExchangeView is the name of the view of needs and resources.
const ExchangeView = "exchange_1"

// Exchange is the view of needs and resources (需求清单, 资源清单): a row each.
func Exchange() projector.View {
	return projector.View{
		Name: ExchangeView,
		Schema: []string{
			// entry is the position of the first event, keeper the unit whose it is.
			`CREATE TABLE exchange_1 (
	entry     INTEGER PRIMARY KEY,
	id        TEXT NOT NULL UNIQUE,
	no        TEXT NOT NULL,
	kind      BIGINT NOT NULL,
	state     BIGINT NOT NULL,
	keeper    TEXT NOT NULL,
	topic     TEXT NOT NULL,
	opened_at BIGINT NOT NULL
)`,
			// The areas that it lies in.
			`CREATE TABLE exchange_step_1 (
	code  TEXT NOT NULL,
	entry BIGINT NOT NULL,
	PRIMARY KEY (code, entry)
) WITHOUT ROWID`,
		},
		Indexes: []string{`CREATE INDEX exchange_1_topic ON exchange_1 (topic, state)`},
		Apply: func(_ context.Context, tx *viewdb.Tx, batch []event.Decoded) error {
			for i := range batch {
				if err := applyEntry(tx, &batch[i]); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func applyEntry(tx *viewdb.Tx, d *event.Decoded) error {
	kind, id := kind(d)
	if kind != "exchange" {
		return others(d, kind)
	}
	after := exchange.StateAfter(d.Event)
	if after == pb.ExchangeState_EXCHANGE_STATE_UNSPECIFIED {
		return unknown(d)
	}
	if e, ok := d.Event.(*pb.EntryOpened); ok {
		err := tx.Put("INSERT INTO exchange_1 (entry, id, no, kind, state, keeper, topic, opened_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
			int64(d.Position), id, e.No, int64(e.Kind), int64(after), e.Unit, e.Topic, micros(d.Meta.OccurredAt))
		if err != nil {
			return err
		}
		return writeSteps(tx, "exchange_step_1", "entry", int64(d.Position), e.Path)
	}
	n, err := tx.Exec("UPDATE exchange_1 SET state = $1 WHERE id = $2", int64(after), id)
	if err == nil && n == 0 {
		err = orphan(d)
	}
	return err
}

var entryBoard = board{
	view: ExchangeView, table: "exchange_1", row: "entry", public: "1", orders: map[string]string{"": "opened_at DESC"},
	fields: declare(map[string]field{
		"no":    {kind: textField, column: "no"},
		"kind":  {kind: enumField, column: "kind", values: pb.ExchangeKind_value, prefix: "EXCHANGE_KIND_"},
		"state": {kind: enumField, column: "state", values: pb.ExchangeState_value, prefix: "EXCHANGE_STATE_"},
		"area":  {kind: setField, sql: "entry IN (SELECT entry FROM exchange_step_1 WHERE code = %s)"},
		"unit":  {kind: textField, column: "keeper"},
		"topic": {kind: textField, column: "topic"},
	}),
}

// ListEntries gives the ids of a page of the needs and resources that the filter lets through, the latest first.
func (r *Reader) ListEntries(ctx context.Context, q BoardQuery) (ids []string, next string, at eventstore.Position, err error) {
	return entryBoard.list(ctx, r, q)
}
