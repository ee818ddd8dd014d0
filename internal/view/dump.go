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
		"SELECT 'path', id, kind, path FROM tickets_path_4 ORDER BY id",
		"SELECT 'step', kind, code, path FROM tickets_step_4 ORDER BY kind, code, path",
		"SELECT 'ticket', " + ticketColumns + ", closed FROM tickets_4 ORDER BY ticket",
		"SELECT 'task', ticket, task, unit, units, path, confidential, due, warn, grey FROM tickets_task_4 ORDER BY ticket, task, unit",
	},
	ClosureView: {
		"SELECT 'zone', zone FROM closure_zone_3",
		"SELECT 'node', " + nodeColumns + " FROM closure_node_3 ORDER BY id",
		"SELECT 'ticket', ticket, id, no, reported_at, accepted_at, facts FROM closure_ticket_3 ORDER BY ticket",
		"SELECT 'due', due, ticket FROM closure_due_3 ORDER BY due, ticket",
		"SELECT 'change', at, ticket, delta, nodes FROM closure_change_3 ORDER BY at, ticket",
		closureCounters().dump(),
	},
	ServiceView: {
		"SELECT 'zone', zone FROM service_zone_3",
		"SELECT 'node', " + nodeColumns + " FROM service_node_3 ORDER BY id",
		"SELECT 'anchor', kind, code, version, since, until, value FROM service_anchor_3 ORDER BY kind, code, version, since",
		"SELECT 'version', version, since, number FROM service_version_3 ORDER BY number",
		"SELECT 'level', place, name FROM service_level_3 ORDER BY place",
		"SELECT 'ticket', ticket, id, no, subject, held, from_at, to_at, last_at, life FROM service_ticket_3 ORDER BY ticket",
		serviceCounters().dump(),
	},
	DuesView: {
		"SELECT 'due', began, stream, due, version, timers, kept FROM dues_2 ORDER BY began",
	},
	PrecedentsView: {
		"SELECT 'precedent', ruling, id, category, area, lead, co, basis, ruled_at FROM precedents_1 ORDER BY ruling",
	},
	ReviewsView: {
		"SELECT 'rating', rating, behind, unit_path, path, kind, response, cooperation, result, rated_at FROM reviews_rating_1 ORDER BY rating",
		"SELECT 'review', review, id, no, kind, state, unit, unit_path, person, opened_by, ticket, members, scored, points, from_at, to_at, opened_at, closed_at, closed FROM reviews_1 ORDER BY review",
	},
	AdmissionsView: {
		"SELECT 'admission', admission, id, no, state, item, unit, decided_by, valid_from, valid_to, budget, staff, applied_at, decide_by, ended_at, reason, provisional FROM admissions_1 ORDER BY admission",
		"SELECT 'community', admission, place, community, objected FROM admissions_community_1 ORDER BY admission, place",
		"SELECT 'banned', refused, request, stream, item, target, unit_path, path, attempted_at FROM admissions_banned_1 ORDER BY refused",
	},
	WallsView: {
		"SELECT 'post', post, id, no, state, keeper, first, category, mother, path, posted_at, refused_at, solved_at, lifted_at, home, lead, supports FROM walls_1 ORDER BY post",
		"SELECT 'turn', post, place, turn, at FROM walls_turn_1 ORDER BY post, place",
		"SELECT 'step', code, post FROM walls_step_1 ORDER BY code, post",
		"SELECT 'tag', tag, post FROM walls_tag_1 ORDER BY tag, post",
	},
	DeliberationsView: {
		"SELECT 'matter', matter, id, no, state, month, keeper, chosen_at FROM deliberations_1 ORDER BY matter",
		"SELECT 'step', code, matter FROM deliberations_step_1 ORDER BY code, matter",
	},
	ExchangeView: {
		"SELECT 'entry', entry, id, no, kind, state, keeper, topic, opened_at FROM exchange_1 ORDER BY entry",
		"SELECT 'step', code, entry FROM exchange_step_1 ORDER BY code, entry",
	},
	ListingsView: {
		"SELECT 'listing', listing, id, no, state, origin, area, path, owner, owner_path, issuer, level, person, failed, guessed, accounts, listed_at, plan_by, clear_by, cleared_at FROM listings_1 ORDER BY listing",
		"SELECT 'check', spot, id, no, state, kind, area, path, unit, unit_path, category, from_at, to_at, known_at, seed, population, hash, drawn_at FROM listings_check_1 ORDER BY spot",
		"SELECT 'item', spot, place, ticket, checked_at, untrue, path, lead_path FROM listings_item_1 ORDER BY spot, place",
		"SELECT 'step', kind, code, entry FROM listings_step_1 ORDER BY kind, code, entry",
		"SELECT 'ever', id FROM listings_ticket_1 ORDER BY id",
	},
	WhistlesView: {
		"SELECT 'whistle', whistle, id, no, kind, state, street, area, blown_at, closed_at, from_at, to_at, changed, life FROM whistles_3 ORDER BY whistle",
		"SELECT 'step', kind, code, whistle FROM whistles_step_3 ORDER BY kind, code, whistle",
	},
}

// Dump writes the rows of a view, one a line, in an order that depends on nothing but the rows, and says at what position
// they stand: two databases that have seen the same events write the same bytes.
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
				line = appendRow(line[:0], row)
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
	for i := range row.Columns() {
		if i > 0 {
			line = append(line, '\t')
		}
		switch row.Kind(i) {
		case 'i':
			line = strconv.AppendInt(line, row.Int64(i), 10)
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
	return append(line, '\n')
}
