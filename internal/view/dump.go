package view

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// dumps are the queries that give all rows of a view in an order of their own.
var dumps = map[string][]string{
	TicketsView: {
		"SELECT 'path', id, kind, path FROM tickets_path_3 ORDER BY id",
		"SELECT 'step', kind, code, path FROM tickets_step_3 ORDER BY kind, code, path",
		"SELECT 'ticket', " + ticketColumns + ", closed FROM tickets_3 ORDER BY ticket",
		"SELECT 'task', ticket, task, unit, units, path, confidential, due, warn, grey FROM tickets_task_3 ORDER BY ticket, task, unit",
	},
	ClosureView: {
		"SELECT 'zone', zone FROM closure_zone_2",
		"SELECT 'node', " + nodeColumns + " FROM closure_node_2 ORDER BY id",
		"SELECT 'ticket', ticket, id, no, reported_at, accepted_at, facts FROM closure_ticket_2 ORDER BY ticket",
		"SELECT 'due', due, ticket FROM closure_due_2 ORDER BY due, ticket",
		"SELECT 'change', at, ticket, delta, nodes FROM closure_change_2 ORDER BY at, ticket",
		"SELECT 'day', * FROM closure_day_2 ORDER BY node, day",
	},
	ServiceView: {
		"SELECT 'zone', zone FROM service_zone_1",
		"SELECT 'node', " + nodeColumns + " FROM service_node_1 ORDER BY id",
		"SELECT 'anchor', kind, code, version, since, until, value FROM service_anchor_1 ORDER BY kind, code, version, since",
		"SELECT 'version', version, since, number FROM service_version_1 ORDER BY number",
		"SELECT 'level', place, name FROM service_level_1 ORDER BY place",
		"SELECT 'ticket', ticket, id, no, subject, held, from_at, to_at, last_at, life FROM service_ticket_1 ORDER BY ticket",
		"SELECT 'figures', node, shelf, day, counts FROM service_day_1 ORDER BY node, shelf, day",
	},
	TimersView: {
		"SELECT 'timer', ticket, id, due, timer, kept FROM timers_1 ORDER BY ticket",
	},
	DuesView: {
		"SELECT 'due', began, stream, due, version, timers, kept FROM dues_1 ORDER BY began",
	},
	PrecedentsView: {
		"SELECT 'precedent', ruling, id, category, area, lead, co, basis, ruled_at FROM precedents_1 ORDER BY ruling",
	},
	WhistlesView: {
		"SELECT 'whistle', whistle, id, no, kind, state, street, area, blown_at, closed_at, from_at, to_at, changed, life FROM whistles_2 ORDER BY whistle",
		"SELECT 'step', kind, code, whistle FROM whistles_step_2 ORDER BY kind, code, whistle",
	},
}

// Dump writes the rows of a view, one a line, in an order that depends on nothing but the rows, and says at what position
// they stand: two databases that have seen the same events write the same bytes. Counters that have come back to zero say
// nothing and are left out.
func Dump(ctx context.Context, db *viewdb.DB, view string, w io.Writer) (at eventstore.Position, err error) {
	queries, ok := dumps[view]
	if !ok {
		return 0, fmt.Errorf("no view %s in this release", view)
	}
	out := bufio.NewWriterSize(w, 1<<16)
	err = db.Read(ctx, func(tx *viewdb.Tx) error {
		if at, err = projector.Position(tx, view); err != nil {
			return err
		}
		var line []byte
		for _, query := range queries {
			for row, err := range tx.Query(query) {
				if err != nil {
					return err
				}
				if line = appendRow(line[:0], row); line == nil {
					continue
				}
				if _, err := out.Write(line); err != nil {
					return err
				}
			}
		}
		return out.Flush()
	})
	return at, err
}

func appendRow(line []byte, row viewdb.Row) []byte {
	// Counters come after the columns that say what they count.
	keys := map[string]int{"day": 2}[row.Text(0)]
	zero := keys > 0
	for i := range row.Columns() {
		if i > 0 {
			line = append(line, '\t')
		}
		switch row.Kind(i) {
		case 'i':
			line = strconv.AppendInt(line, row.Int64(i), 10)
			zero = zero && (i <= keys || row.Int64(i) == 0)
		case 's':
			if i == 0 {
				line = append(line, row.Text(i)...)
			} else {
				line = strconv.AppendQuote(line, row.Text(i))
			}
		case 'b':
			line = fmt.Appendf(line, "%x", row.Bytes(i, nil))
		case 'f':
			line = strconv.AppendFloat(line, row.Float(i), 'g', -1, 64)
		case '0':
			line = append(line, '-')
		}
	}
	if zero {
		return nil
	}
	return append(line, '\n')
}
