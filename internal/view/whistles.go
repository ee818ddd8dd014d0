package view

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// WhistlesView is the name of the view of whistles.
const WhistlesView = "whistles_3"

// Whistles is the view of whistles and who has reported in. A city blows a few a day, so figures are added up when asked for.
func Whistles() projector.View {
	return projector.View{
		Name: WhistlesView,
		Schema: []string{
			// whistle is the position of the first event, changed that of the last. At from_at and to_at lie the first and the last instant that a
			// figure counts it by; both are NULL before there is one. life is everything that rows and figures follow from.
			`CREATE TABLE whistles_3 (
	whistle   INTEGER PRIMARY KEY,
	id        TEXT NOT NULL UNIQUE,
	no        TEXT NOT NULL,
	kind      BIGINT NOT NULL,
	state     BIGINT NOT NULL,
	street    TEXT NOT NULL,
	area      TEXT NOT NULL,
	blown_at  BIGINT,
	closed_at BIGINT,
	from_at   BIGINT,
	to_at     BIGINT,
	changed   BIGINT NOT NULL,
	life      BLOB NOT NULL
)`,
			// Areas (kind 0) the whistle lies in, units (kind 1) that blew it, screen it or take part, with those above, areas (kind 2)
			// that are affected too, participants (kind 3), and tickets it was blown for (kind 4).
			`CREATE TABLE whistles_step_3 (
	kind    BIGINT NOT NULL,
	code    TEXT NOT NULL,
	whistle BIGINT NOT NULL,
	PRIMARY KEY (kind, code, whistle)
) WITHOUT ROWID`,
		},
		Indexes: []string{
			`CREATE INDEX whistles_3_changed ON whistles_3 (changed)`,
			`CREATE INDEX whistles_3_open ON whistles_3 (whistle) WHERE closed_at IS NULL`,
			`CREATE INDEX whistles_3_count ON whistles_3 (to_at, from_at)`,
			`CREATE INDEX whistles_step_3_of ON whistles_step_3 (whistle)`,
		},
		Folding: func() projector.Folding { return newWhistleFolding() },
	}
}

// Kinds of steps beside areaPath and unitPath.
const (
	affectedStep = 2
	partyStep    = 3
	linkedStep   = 4
)

// whistleFolding folds events into rows of whistles_3 and the table beside it.
type whistleFolding struct {
	rows hot[*whistleRow]
	buf  []byte
}

func newWhistleFolding() *whistleFolding { return &whistleFolding{rows: newHot[*whistleRow]()} }

func (f *whistleFolding) Add(tx *viewdb.Tx, d *event.Decoded) error {
	kind, id := kind(d)
	switch kind {
	case "whistle":
	default:
		return others(d, kind)
	}
	w, err := f.rows.of(id, d, func() (*whistleRow, error) { return loadWhistle(tx, id, d) })
	if err != nil {
		return err
	}
	return w.fold(d)
}

func (f *whistleFolding) Write(tx *viewdb.Tx, keep int) error {
	list := f.rows.drop(keep, func(w *whistleRow) bool { return w.closed != never })
	slices.SortFunc(list, func(a, b *whistleRow) int { return cmp.Compare(a.whistle, b.whistle) })
	for _, w := range list {
		f.buf = w.bytes(f.buf[:0])
		if err := w.save(tx, f.buf); err != nil {
			return err
		}
	}
	return nil
}

func loadWhistle(tx *viewdb.Tx, id string, d *event.Decoded) (*whistleRow, error) {
	if d.Version == 1 {
		return newWhistle(id, d), nil
	}
	list, err := queryWhistles(tx, "WHERE id = $1", id)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, orphan(d)
	}
	return list[0], nil
}

func quoteAll(list []string) string {
	var b strings.Builder
	for _, s := range list {
		b.WriteString(strconv.Quote(s))
		b.WriteByte(' ')
	}
	return b.String()
}

func orNull(t int64) any {
	if t == never {
		return nil
	}
	return t
}

func (w *whistleRow) save(tx *viewdb.Tx, life []byte) error {
	from, to := w.counted()
	err := tx.Put(`INSERT INTO whistles_3 (whistle, id, no, kind, state, street, area, blown_at, closed_at, from_at, to_at, changed, life)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
		ON CONFLICT (whistle) DO UPDATE SET no = excluded.no, kind = excluded.kind, state = excluded.state, street = excluded.street,
		area = excluded.area, blown_at = excluded.blown_at, closed_at = excluded.closed_at, from_at = excluded.from_at, to_at = excluded.to_at,
		changed = excluded.changed, life = excluded.life`,
		w.whistle, w.id, w.no, int64(w.kind), int64(w.state), w.street, w.area(), orNull(w.blown), orNull(w.closed), orNull(from), orNull(to), w.changed, life)
	if err != nil {
		return err
	}
	if err := tx.Put("DELETE FROM whistles_step_3 WHERE whistle = $1", w.whistle); err != nil {
		return err
	}
	step := func(kind int64, codes ...string) error {
		for _, code := range codes {
			if code == "" {
				continue
			}
			err := tx.Put("INSERT INTO whistles_step_3 (kind, code, whistle) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", kind, code, w.whistle)
			if err != nil {
				return err
			}
		}
		return nil
	}
	for _, n := range w.path {
		if err := step(areaPath, n.Code); err != nil {
			return err
		}
	}
	if err := step(affectedStep, w.affects...); err != nil {
		return err
	}
	if err := step(unitPath, w.street, w.screener); err != nil {
		return err
	}
	if err := step(linkedStep, w.tickets...); err != nil {
		return err
	}
	for i := range w.parties {
		p := &w.parties[i]
		if err := step(unitPath, p.path...); err != nil {
			return err
		}
		if err := step(partyStep, p.unit); err != nil {
			return err
		}
	}
	return nil
}

// queryWhistles reads whistles. rest follows FROM.
func queryWhistles(tx *viewdb.Tx, rest string, args ...any) ([]*whistleRow, error) {
	var list []*whistleRow
	var buf []byte
	for row, err := range tx.Query("SELECT whistle, id, changed, life FROM whistles_3 "+rest, args...) {
		if err != nil {
			return nil, err
		}
		w := &whistleRow{whistle: row.Int64(0), id: row.Text(1), changed: row.Int64(2)}
		buf = row.Bytes(3, buf[:0])
		if err := w.read(buf); err != nil {
			return nil, err
		}
		list = append(list, w)
	}
	return list, nil
}

// WhistleQuery asks for a page of whistles.
type WhistleQuery struct {
	Scope Scope
	// Filter is as ListWhistlesRequest has it.
	Filter string
	// Now is the instant by which they are late.
	Now       time.Time
	PageSize  int32
	PageToken string
}

var whistleFields = declare(map[string]field{
	"no":       {kind: textField, column: "no"},
	"kind":     {kind: enumField, column: "kind", values: pb.WhistleKind_value, prefix: "WHISTLE_KIND_"},
	"state":    {kind: enumField, column: "state", values: pb.WhistleState_value, prefix: "WHISTLE_STATE_"},
	"street":   {kind: textField, column: "street"},
	"area":     {kind: setField, sql: "whistle IN (SELECT whistle FROM whistles_step_3 WHERE kind = 0 AND code = %s)"},
	"unit":     {kind: setField, sql: "whistle IN (SELECT whistle FROM whistles_step_3 WHERE kind = 3 AND code = %s)"},
	"blown_at": {kind: timeField, column: "blown_at"},
	"open":     {kind: boolField, sql: "closed_at IS NULL"},
})

// whistles lets the whistles in scope through, but none that was blown for a confidential ticket which complains of the unit or of one above it. A ticket
// that the view of tickets has not come to may be such a one.
func (s *Scope) whistles(c *condition) {
	if s.All {
		return
	}
	either := []string{"1 = 0"}
	in := func(kind int, codes []string) {
		for _, code := range codes {
			either = append(either, fmt.Sprintf("whistle IN (SELECT whistle FROM whistles_step_3 WHERE kind = %d AND code = %s)", kind, c.arg(code)))
		}
	}
	in(areaPath, s.Areas)
	in(affectedStep, s.Areas)
	in(unitPath, s.Units)
	c.and("(" + strings.Join(either, " OR ") + ")")
	if len(s.Path) < 2 {
		return // a complaint of the root is against nobody
	}
	c.and(`NOT EXISTS (SELECT 1 FROM whistles_step_3 AS linked LEFT JOIN ` + TicketsView + ` AS t ON t.id = linked.code
		WHERE linked.whistle = whistles_3.whistle AND linked.kind = 4 AND (t.id IS NULL OR t.confidential <> 0 AND t.against IN (` + names(c, s.Path[1:]) + ")))")
}

// hides says whether the unit of a path may not know of the whistle, as Scope.whistles has it.
func (w *whistleRow) hides(tx *viewdb.Tx, path []string) (bool, error) {
	if len(path) < 2 {
		return false, nil
	}
	for _, id := range w.tickets {
		known := false
		for row, err := range tx.Query("SELECT confidential, against FROM "+TicketsView+" WHERE id = $1", id) {
			if err != nil {
				return false, err
			}
			known = !row.Bool(0) || !slices.Contains(path[1:], row.Text(1))
		}
		if !known {
			return true, nil
		}
	}
	return false, nil
}

// ListWhistles gives a page of the whistles in scope that the filter lets through, the latest first.
func (r *Reader) ListWhistles(ctx context.Context, q WhistleQuery) (rows []*pb.WhistleRow, next string, at eventstore.Position, err error) {
	page, err := (&latest{
		number: "whistle", fields: whistleFields, filter: q.Filter, pageSize: q.PageSize, pageToken: q.PageToken,
		bound: bind("whistles", q.Filter, q.Scope.text()), scope: q.Scope.whistles,
	}).page()
	if err != nil {
		return nil, "", 0, err
	}
	err = r.db.Read(ctx, func(tx *viewdb.Tx) error {
		of, err := projector.Position(tx, TicketsView)
		if err != nil {
			return err
		}
		if at, err = projector.Position(tx, WhistlesView); err != nil {
			return err
		}
		at = min(at, of)
		list, err := queryWhistles(tx, page.rest, page.args...)
		if err != nil {
			return err
		}
		list, next = cut(page, list, func(w *whistleRow) int64 { return w.whistle })
		for _, w := range list {
			rows = append(rows, w.message(q.Now.UnixMicro()))
		}
		return nil
	})
	return rows, next, at, err
}
