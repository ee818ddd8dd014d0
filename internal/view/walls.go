package view

import (
	"cmp"
	"context"
	"slices"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/viewdb"
	"github.com/chuishao/dispatch/internal/wall"
)

// WallsView is the name of the view of the walls.
const WallsView = "walls_1"

// Walls is the view of posts of problem walls (问题墙), each with what became of its ticket, which has the same id.
func Walls() projector.View {
	return projector.View{
		Name: WallsView,
		Schema: []string{
			// post is the position of the first event. keeper is the unit that has the wall it stands on now, first the one it was posted to; path holds
			// level, code and name of each step of where it was posted. mother: it was posted on a mother wall. home is the unit of the mother wall it was
			// lifted to, lead the path of its ticket's lead, turns what walls_turn says.
			`CREATE TABLE walls_1 (
	post       INTEGER PRIMARY KEY,
	id         TEXT NOT NULL UNIQUE,
	no         TEXT NOT NULL,
	state      BIGINT NOT NULL,
	keeper     TEXT NOT NULL,
	first      TEXT NOT NULL,
	category   TEXT NOT NULL,
	mother     BIGINT NOT NULL,
	path       TEXT NOT NULL,
	posted_at  BIGINT NOT NULL,
	refused_at BIGINT,
	solved_at  BIGINT,
	lifted_at  BIGINT,
	home       TEXT NOT NULL,
	lead       TEXT NOT NULL,
	supports   BIGINT NOT NULL
)`,
			// What its ticket was closed, reopened and echoed, in the order of recording: turn is one of turnClosed and so on.
			`CREATE TABLE walls_turn_1 (
	post  BIGINT NOT NULL,
	place BIGINT NOT NULL,
	turn  BIGINT NOT NULL,
	at    BIGINT NOT NULL,
	PRIMARY KEY (post, place)
) WITHOUT ROWID`,
			// The areas it lies in: of where it was posted, and of the mother wall.
			`CREATE TABLE walls_step_1 (
	code TEXT NOT NULL,
	post BIGINT NOT NULL,
	PRIMARY KEY (code, post)
) WITHOUT ROWID`,
			`CREATE TABLE walls_tag_1 (
	tag  TEXT NOT NULL,
	post BIGINT NOT NULL,
	PRIMARY KEY (tag, post)
) WITHOUT ROWID`,
		},
		Indexes: []string{
			`CREATE INDEX walls_1_posted ON walls_1 (posted_at, post)`,
			`CREATE INDEX walls_1_supports ON walls_1 (supports, post)`,
			`CREATE INDEX walls_turn_1_at ON walls_turn_1 (turn, at)`,
		},
		Folding: func() projector.Folding { return newWallFolding() },
	}
}

// What happened to a post or its ticket that figures ask for.
const (
	turnClosed   = 1 // by whoever it was
	turnTaken    = 2 // closed by the community that it was lifted to, or by one of its grids
	turnReopened = 3
	turnEchoed   = 4 // the result echo
)

type wallTurn struct {
	what int64
	at   int64
}

// wallRow is a post. absent is what is kept of a ticket that has none, so that nobody looks again.
type wallRow struct {
	absent                  bool
	post                    int64
	id, no                  string
	state                   pb.PostState
	keeper, first, category string
	mother                  bool
	path, lifted            []*pb.AreaNode // lifted only while the row is new or has just been lifted: it is written once
	tags                    []string       // likewise
	posted                  int64
	refused, solved, liftAt int64
	home                    string
	lead                    []string
	supports                int64
	turns                   []wallTurn
	written                 int // of turns, how many stand in the table
}

// wallFolding folds events into rows of walls_1 and the tables beside it.
type wallFolding struct{ rows hot[*wallRow] }

func newWallFolding() *wallFolding { return &wallFolding{newHot[*wallRow]()} }

func (f *wallFolding) Add(tx *viewdb.Tx, d *event.Decoded) error {
	kind, id := kind(d)
	switch kind {
	case "wall":
	case "ticket":
		if !concernsWall(d) {
			return nil
		}
	default:
		return others(d, kind)
	}
	w, err := f.rows.of(id, d, func() (*wallRow, error) { return loadPost(tx, id) })
	if err != nil {
		return err
	}
	return w.fold(kind, id, d)
}

func (f *wallFolding) Write(tx *viewdb.Tx, keep int) error {
	list := f.rows.drop(keep, func(w *wallRow) bool { return w.absent || w.state == pb.PostState_POST_STATE_REFUSED })
	list = slices.DeleteFunc(list, func(w *wallRow) bool { return w.absent })
	slices.SortFunc(list, func(a, b *wallRow) int { return cmp.Compare(a.post, b.post) })
	for _, w := range list {
		if err := w.save(tx); err != nil {
			return err
		}
	}
	return nil
}

// concernsWall says whether an event of a ticket may change its post's row. Every other event of a ticket says nothing about a wall.
func concernsWall(d *event.Decoded) bool {
	switch d.Event.(type) {
	case *pb.TicketDispatched, *pb.TicketEscalated, *pb.EscalationRefused, *pb.TicketDelegated, *pb.HolderMoved, *pb.ReturnApproved,
		*pb.TicketClosed, *pb.TicketAnsweredDirectly, *pb.TicketReopened:
		return true
	}
	return false
}

func loadPost(tx *viewdb.Tx, id string) (*wallRow, error) {
	list, err := queryPosts(tx, "WHERE id = $1", id)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return &wallRow{absent: true}, nil
	}
	return list[0], nil
}

// fold takes in an event of the post's stream, or one of its ticket's that concerns it. Every event of a wall has its case.
func (w *wallRow) fold(kind, id string, d *event.Decoded) error {
	at := micros(d.Meta.OccurredAt)
	if e, ok := d.Event.(*pb.PostPublished); ok && kind == "wall" {
		*w = wallRow{
			post: int64(d.Position), id: id, no: e.No, state: wall.StateAfter(e), keeper: e.Keeper, first: e.Keeper, category: e.Category,
			mother: e.Mother, path: e.Path, tags: e.Tags, posted: at, refused: never, solved: never, liftAt: never,
		}
		return nil
	}
	if kind == "ticket" {
		if !w.absent {
			w.ticket(at, d)
		}
		return nil
	}
	if w.absent {
		return orphan(d)
	}
	switch e := d.Event.(type) {
	case *pb.PostScreened:
		w.category = cmp.Or(e.Category, w.category)
	case *pb.PostRefused:
		w.refused = at
	case *pb.PostSupported:
		w.supports++
	case *pb.PostSelfSolved:
		w.solved = at
		w.turns = append(w.turns, wallTurn{turnEchoed, at})
	case *pb.PostLifted:
		w.liftAt, w.home, w.keeper, w.lifted = at, e.Keeper, e.Keeper, e.Path
	case *pb.PostEchoed:
		if e.Kind == pb.EchoKind_ECHO_KIND_RESULT {
			w.turns = append(w.turns, wallTurn{turnEchoed, at})
		}
	case *pb.PostTicketed, *pb.PostJointlyHandled, *pb.PostJointlySolved, *pb.PostReviewed:
		// The state says it, or the history.
	default:
		return unknown(d)
	}
	after := wall.StateAfter(d.Event)
	if after == pb.PostState_POST_STATE_ECHOED && w.state != pb.PostState_POST_STATE_TICKETED {
		return nil // what was solved on the wall, or reviewed, stays so
	}
	if after != pb.PostState_POST_STATE_UNSPECIFIED {
		w.state = after
	}
	return nil
}

// ticket takes in an event of the post's ticket.
func (w *wallRow) ticket(at int64, d *event.Decoded) {
	led := func(unit string, path []string) {
		if w.lead = path; len(path) == 0 && unit != "" {
			w.lead = []string{unit}
		}
	}
	switch e := d.Event.(type) {
	case *pb.TicketDispatched:
		led(e.Lead, e.LeadPath)
	case *pb.TicketEscalated:
		led(e.To, e.LeadPath)
	case *pb.EscalationRefused:
		led(e.To, e.LeadPath)
	case *pb.TicketDelegated:
		led(e.To, e.LeadPath)
	case *pb.HolderMoved:
		if n := len(w.lead); n > 0 && w.lead[n-1] == e.From {
			led(e.To, e.HolderPath)
		}
	case *pb.ReturnApproved:
		led("", nil)
	case *pb.TicketClosed, *pb.TicketAnsweredDirectly:
		what := int64(turnClosed)
		if w.home != "" && slices.Contains(w.lead, w.home) {
			what = turnTaken
		}
		w.turns = append(w.turns, wallTurn{what, at})
	case *pb.TicketReopened:
		w.turns = append(w.turns, wallTurn{turnReopened, at})
	}
}

func (w *wallRow) save(tx *viewdb.Tx) error {
	var named []string
	for _, n := range w.path {
		named = append(named, n.Level, n.Code, n.Name)
	}
	err := tx.Put(`INSERT INTO walls_1 (post, id, no, state, keeper, first, category, mother, path, posted_at, refused_at, solved_at, lifted_at, home, lead, supports)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
		ON CONFLICT (post) DO UPDATE SET state = excluded.state, keeper = excluded.keeper, category = excluded.category, refused_at = excluded.refused_at,
		solved_at = excluded.solved_at, lifted_at = excluded.lifted_at, home = excluded.home, lead = excluded.lead, supports = excluded.supports`,
		w.post, w.id, w.no, int64(w.state), w.keeper, w.first, w.category, w.mother, quoteAll(named), w.posted, orNull(w.refused), orNull(w.solved),
		orNull(w.liftAt), w.home, quoteAll(w.lead), w.supports)
	if err != nil {
		return err
	}
	if err := writeSteps(tx, "walls_step_1", "post", w.post, w.path, w.lifted); err != nil {
		return err
	}
	for _, tag := range w.tags {
		if err := tx.Put("INSERT INTO walls_tag_1 (tag, post) VALUES ($1, $2) ON CONFLICT DO NOTHING", tag, w.post); err != nil {
			return err
		}
	}
	for ; w.written < len(w.turns); w.written++ {
		turn := w.turns[w.written]
		if err := tx.Put("INSERT INTO walls_turn_1 (post, place, turn, at) VALUES ($1, $2, $3, $4)", w.post, w.written, turn.what, turn.at); err != nil {
			return err
		}
	}
	w.lifted, w.tags = nil, nil
	return nil
}

// queryPosts reads posts with what happened to their tickets. rest follows FROM.
func queryPosts(tx *viewdb.Tx, rest string, args ...any) ([]*wallRow, error) {
	at := func(row viewdb.Row, i int) int64 {
		if row.Null(i) {
			return never
		}
		return row.Int64(i)
	}
	const columns = "post, id, no, state, keeper, first, category, mother, path, posted_at, refused_at, solved_at, lifted_at, home, lead, supports"
	var list []*wallRow
	for row, err := range tx.Query("SELECT "+columns+" FROM walls_1 "+rest, args...) {
		if err != nil {
			return nil, err
		}
		w := &wallRow{
			post: row.Int64(0), id: row.Text(1), no: row.Text(2), state: pb.PostState(row.Int64(3)), keeper: row.Text(4), first: row.Text(5),
			category: row.Text(6), mother: row.Bool(7), posted: row.Int64(9), refused: at(row, 10), solved: at(row, 11), liftAt: at(row, 12),
			home: row.Text(13), lead: unquote(row.Text(14)), supports: row.Int64(15),
		}
		named := unquote(row.Text(8))
		for i := 0; i+2 < len(named); i += 3 {
			w.path = append(w.path, &pb.AreaNode{Level: named[i], Code: named[i+1], Name: named[i+2]})
		}
		list = append(list, w)
	}
	for _, w := range list {
		for row, err := range tx.Query("SELECT turn, at FROM walls_turn_1 WHERE post = $1 ORDER BY place", w.post) {
			if err != nil {
				return nil, err
			}
			w.turns = append(w.turns, wallTurn{row.Int64(0), row.Int64(1)})
		}
		w.written = len(w.turns)
	}
	return list, nil
}

var wallBoard = board{
	view: WallsView, table: "walls_1", row: "post", public: "state NOT IN (1, 8)",
	orders: map[string]string{"": "posted_at DESC", "posted_at desc": "posted_at DESC", "posted_at": "posted_at", "supports desc": "supports DESC"},
	fields: declare(map[string]field{
		"no":        {kind: textField, column: "no"},
		"state":     {kind: enumField, column: "state", values: pb.PostState_value, prefix: "POST_STATE_"},
		"area":      {kind: setField, sql: "post IN (SELECT post FROM walls_step_1 WHERE code = %s)"},
		"category":  {kind: textField, column: "category"},
		"tag":       {kind: setField, sql: "post IN (SELECT post FROM walls_tag_1 WHERE tag = %s)"},
		"posted_at": {kind: timeField, column: "posted_at"},
		"open":      {kind: boolField, sql: "state IN (1, 2, 4, 5)"},
	}),
}

// ListWallPosts gives the ids of a page of posts that the filter lets through: those that stand on a wall for everybody, and of the others those that the
// caller may know of; with the light of each one's ticket at an instant.
func (r *Reader) ListWallPosts(ctx context.Context, q BoardQuery, now time.Time) (ids []string, lights []pb.Light, next string, at eventstore.Position, err error) {
	ids, next, at, err = wallBoard.list(ctx, r, q)
	if err != nil {
		return nil, nil, "", 0, err
	}
	err = r.db.Read(ctx, func(tx *viewdb.Tx) error {
		lights = make([]pb.Light, len(ids))
		for i, id := range ids {
			for row, err := range tx.Query("SELECT "+ticketColumns+" FROM tickets_4 WHERE id = $1", id) {
				if err != nil {
					return err
				}
				t, err := readTicket(row)
				if err != nil {
					return err
				}
				lights[i] = t.light(now.UnixMicro())
			}
		}
		return nil
	})
	return ids, lights, next, at, err
}
