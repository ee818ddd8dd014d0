package view

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// ServiceView is the name of the view of how tickets are served.
const ServiceView = "service_3"

// Service is the view of how tickets are served: M05 to M11, M17 to M24, M26 to M28 and M30, the stays in stages, the ledgers.
//
// A ticket is a row with what happened to it. What it adds to figures, as of any instant, follows from that row; the counters are
// what all tickets add as things are now, by node, figure and the day that the instant which decides the period lies in. Parts of
// days, and what was otherwise at an earlier instant, are computed from the rows.
func Service(zone *time.Location) projector.View {
	return projector.View{
		Name: ServiceView,
		Schema: []string{
			`CREATE TABLE service_zone_3 (zone TEXT PRIMARY KEY)`,
			fmt.Sprintf(`INSERT INTO service_zone_3 (zone) VALUES ('%s')`, strings.ReplaceAll(zone.String(), "'", "''")),
			nodeTable("service_node_3"),
			// What of the registry tells a unit's level: the levels of areas (kind 0) and the areas of units (kind 1), as each version has them and
			// for when, [since, until). Versions that are in force at some time, each since when, in the order of publishing.
			`CREATE TABLE service_anchor_3 (
	kind    BIGINT NOT NULL,
	code    TEXT NOT NULL,
	version TEXT NOT NULL,
	since   BIGINT NOT NULL,
	until   BIGINT NOT NULL,
	value   TEXT NOT NULL,
	PRIMARY KEY (kind, code, version, since)
) WITHOUT ROWID`,
			`CREATE TABLE service_version_3 (
	version TEXT PRIMARY KEY,
	since   BIGINT NOT NULL,
	number  BIGINT NOT NULL
)`,
			// The levels that tickets landed on, by their places from 1, in the order in which they first did.
			`CREATE TABLE service_level_3 (
	place BIGINT PRIMARY KEY,
	name  TEXT NOT NULL UNIQUE
)`,
			// ticket is the position of its first event. Every instant that can decide a period for it lies from from_at to to_at, and
			// nothing happened to it after last_at; of what no figure counts, none does. subject is whose report it is. held: it was suspended at some time.
			`CREATE TABLE service_ticket_3 (
	ticket  INTEGER PRIMARY KEY,
	id      TEXT NOT NULL UNIQUE,
	no      TEXT NOT NULL,
	subject TEXT NOT NULL,
	held    BIGINT NOT NULL,
	from_at BIGINT NOT NULL,
	to_at   BIGINT NOT NULL,
	last_at BIGINT NOT NULL,
	life    BLOB NOT NULL
)`,
			// What is asked for together, or over all times, shares a shelf; days are counted in the zone.
			serviceCounters().schema(),
		},
		Indexes: []string{
			`CREATE INDEX service_ticket_3_to ON service_ticket_3 (to_at, from_at)`,
			`CREATE INDEX service_ticket_3_last ON service_ticket_3 (last_at)`,
			`CREATE INDEX service_ticket_3_subject ON service_ticket_3 (subject) WHERE subject <> ''`,
			`CREATE INDEX service_ticket_3_held ON service_ticket_3 (held) WHERE held = 1`,
		},
		Folding: func() projector.Folding { return newServiceFolding(zone) },
	}
}

// served is a ticket that a batch says something about, as it becomes, and what was written of it.
type served struct {
	life
	isNew      bool
	wasPosts   []post
	wasPlaces  []int64
	wasIndexed [len(indexedOfService)]any
}

// serviceFolding folds events into the rows of the view.
type serviceFolding struct {
	tickets hot[*served]
	nodes   *nodes
	anchors *anchors
	days    *calendar
	sums    *counters
	buf     []byte
}

func serviceCounters() *counters { return newCounters("service_counts_3", 4) }

func newServiceFolding(zone *time.Location) *serviceFolding {
	return &serviceFolding{
		tickets: newHot[*served](), nodes: newNodes(nil, "service_node_3"), anchors: &anchors{}, days: calendarOf(zone), sums: serviceCounters(),
	}
}

func (f *serviceFolding) Add(tx *viewdb.Tx, d *event.Decoded) error {
	f.nodes.tx, f.anchors.tx = tx, tx
	kind, id := kind(d)
	switch kind {
	case "ticket":
	case "registry":
		return f.anchors.fold(d)
	default:
		return others(d, kind)
	}
	t, err := f.tickets.of(id, d, func() (*served, error) { return loadServed(tx, id, d) })
	if err != nil {
		return err
	}
	return t.fold(d, f.nodes, f.anchors)
}

func loadServed(tx *viewdb.Tx, id string, d *event.Decoded) (*served, error) {
	t := &served{life: life{id: id}, isNew: true}
	if d.Version == 1 {
		return t, nil
	}
	for row, err := range tx.Query("SELECT ticket, no, subject, life FROM service_ticket_3 WHERE id = $1", id) {
		if err != nil {
			return nil, err
		}
		t.isNew = false
		t.ticket, t.no, t.subject = row.Int64(0), row.Text(1), row.Text(2)
		if err := t.read(row.Bytes(3, nil)); err != nil {
			return nil, err
		}
	}
	if t.isNew {
		return nil, orphan(d)
	}
	t.wasIndexed = t.indexed()
	if !t.untouched() {
		t.wasPosts, t.wasPlaces = t.posts(ever), t.places()
	}
	return t, nil
}

func (f *serviceFolding) Write(tx *viewdb.Tx, keep int) error {
	list := f.tickets.drop(keep, func(t *served) bool { return t.settled() })
	slices.SortFunc(list, func(a, b *served) int { return cmp.Compare(a.ticket, b.ticket) })
	for _, t := range list {
		if !t.untouched() {
			posts, places := t.posts(ever), t.places()
			f.count(t.wasPosts, posts, t.wasPlaces, places)
			t.wasPosts, t.wasPlaces = posts, places
		}
	}
	for _, t := range list {
		if err := f.save(tx, t); err != nil {
			return err
		}
	}
	if keep == 0 {
		if err := f.nodes.save(); err != nil {
			return err
		}
	}
	if keep == 0 || f.sums.held > countersKept*keep {
		return f.sums.save(tx)
	}
	return nil
}

// settled says whether nothing more is expected of the ticket.
func (l *life) settled() bool {
	for i := len(l.steps) - 1; i >= 0; i-- {
		if s := l.steps[i].state; s != 0 {
			return !isOpen(s)
		}
	}
	return false
}

// eachNode yields the nodes that a post counts at.
func (p *post) eachNode(places []int64, yield func(id int64)) {
	if p.where != atUnits {
		for _, id := range places {
			yield(id)
		}
	}
	if p.where != atPlaces {
		for _, id := range p.unit {
			yield(id)
		}
	}
}

// count takes back what a ticket posted and adds what it posts, but for figures of which nothing has changed. Both are in the order of figures.
func (f *serviceFolding) count(was, is []post, wasPlaces, places []int64) {
	same := slices.Equal(wasPlaces, places)
	for len(was) > 0 || len(is) > 0 {
		figure := byte(math.MaxUint8)
		if len(was) > 0 {
			figure = was[0].figure
		}
		if len(is) > 0 {
			figure = min(figure, is[0].figure)
		}
		before, after := ofFigure(was, figure), ofFigure(is, figure)
		was, is = was[len(before):], is[len(after):]
		if same && slices.EqualFunc(before, after, post.equal) {
			continue
		}
		f.add(before, wasPlaces, -1)
		f.add(after, places, 1)
	}
}

// ofFigure are the posts that a list begins with, as far as they are of a figure.
func ofFigure(list []post, figure byte) []post {
	n := 0
	for n < len(list) && list[n].figure == figure {
		n++
	}
	return list[:n]
}

func (p post) equal(o post) bool {
	return p.figure == o.figure && p.cell == o.cell && p.where == o.where && p.at == o.at && p.n == o.n && slices.Equal(p.unit, o.unit)
}

func (f *serviceFolding) add(posts []post, places []int64, sign int64) {
	for i := range posts {
		p := &posts[i]
		shelf, day, column := shelfOf(p.figure), f.days.day(p.at), int(p.figure)<<cellBits|int(p.cell)
		p.eachNode(places, func(id int64) { f.sums.add(cellAt(id, shelf, day), column, sign*p.n) })
	}
}

// cellBits are those of a column that tell the cell; the others tell the figure.
const cellBits = 6

// indexed are the columns of its row that indexes are over.
func (t *served) indexed() [len(indexedOfService)]any {
	from, to, last := t.span()
	held := int64(0)
	for i := range t.steps {
		if t.steps[i].what == didSuspend {
			held = 1
		}
	}
	return [...]any{t.subject, held, from, to, last}
}

var indexedOfService = [...]string{"subject", "held", "from_at", "to_at", "last_at"}

var updateService = updates{set: "UPDATE service_ticket_3 SET life = $1", args: 1, columns: indexedOfService[:], where: "ticket"}

func (f *serviceFolding) save(tx *viewdb.Tx, t *served) error {
	was := t.wasIndexed
	t.wasIndexed = t.indexed()
	f.buf = t.bytes(f.buf[:0])
	var err error
	if t.isNew {
		err = tx.Put("INSERT INTO service_ticket_3 (ticket, id, no, life, subject, held, from_at, to_at, last_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
			append([]any{t.ticket, t.id, t.no, f.buf}, t.wasIndexed[:]...)...)
	} else {
		err = updateService.exec(tx, []any{f.buf}, was[:], t.wasIndexed[:], t.ticket)
	}
	t.isNew = false
	return err
}

// Shelves are the groups that counters of a node and a day are kept in: what is asked for together, or over all times, lies together.
const (
	shelfMetrics = iota
	shelfLedgers
	shelfStages
)

func shelfOf(figure byte) int64 {
	switch figure {
	case figHolds, figListings:
		return shelfLedgers
	case figReceive, figAnalyse, figRoute, figSupervise, figEvaluate:
		return shelfStages
	}
	return shelfMetrics
}

// anchors tell the level of the area that a unit is anchored at, by the registry in force at an instant.
type anchors struct {
	tx *viewdb.Tx // nil: only what is staged and published before it is known
	// Without tx all that is known, with it what was looked up.
	known map[anchor][]anchored
	// Only without tx: what is staged of the version, and how many are published.
	staged    map[anchor][]anchored
	staging   string
	published int64
	levels    []string // by place, from 1
	loaded    bool     // the levels are
}

type anchor struct {
	kind int64
	code string
}

// anchored is what a version of the registry, in force from an instant on, says of a code in [since, until).
type anchored struct {
	from, number, since, until int64
	value                      string
}

const (
	areaLevel int64 = iota
	unitArea
)

// fold takes in an event of the registry's stream.
func (a *anchors) fold(d *event.Decoded) error {
	switch e := d.Event.(type) {
	case *pb.RegistryStaged:
		if err := a.stage(e.Version, e.Piece); err != nil {
			return err
		}
		for _, area := range e.Content.GetAreas() {
			if err := a.put(e.Version, anchor{areaLevel, area.Code}, area.ValidFrom, area.ValidTo, area.Level); err != nil {
				return err
			}
		}
		for _, unit := range e.Content.GetUnits() {
			if err := a.put(e.Version, anchor{unitArea, unit.Code}, unit.ValidFrom, unit.ValidTo, unit.Area); err != nil {
				return err
			}
		}
	case *pb.RegistryVersionPublished:
		from := micros(e.ValidFrom)
		if from == never {
			from = micros(d.Meta.OccurredAt)
		}
		return a.publish(e.Version, from)
	}
	return nil
}

// stage begins a piece of a version. The first takes the place of all that was staged and not published.
func (a *anchors) stage(version string, piece uint32) error {
	if a.tx == nil {
		if piece == 1 || a.staging != version {
			a.staged, a.staging = map[anchor][]anchored{}, version
		}
		return nil
	}
	if piece != 1 {
		return nil
	}
	err := a.tx.Put("DELETE FROM service_anchor_3 WHERE version NOT IN (SELECT version FROM service_version_3)")
	return err
}

func (a *anchors) put(version string, key anchor, from, to *timestamppb.Timestamp, value string) error {
	since, until := micros(from), ever
	if to != nil {
		until = micros(to)
	}
	if a.tx == nil {
		a.staged[key] = append(a.staged[key], anchored{since: since, until: until, value: value})
		return nil
	}
	err := a.tx.Put(`INSERT INTO service_anchor_3 (kind, code, version, since, until, value) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (kind, code, version, since) DO UPDATE SET until = excluded.until, value = excluded.value`, key.kind, key.code, version, since, until, value)
	return err
}

// publish puts a staged version in force from an instant on.
func (a *anchors) publish(version string, from int64) error {
	if a.tx == nil {
		if a.known == nil {
			a.known = map[anchor][]anchored{}
		}
		a.published++
		for key, list := range a.staged {
			for _, x := range list {
				x.from, x.number = from, a.published
				a.known[key] = append(a.known[key], x)
			}
		}
		a.staged, a.staging = nil, ""
		return nil
	}
	clear(a.known)
	err := a.tx.Put("INSERT INTO service_version_3 (version, since, number) SELECT $1, $2, COUNT(*) + 1 FROM service_version_3", version, from)
	return err
}

// get is what the registry said of a code at an instant. What the version in force does not name stays as the one before had it.
func (a *anchors) get(kind int64, code string, at int64) (value string, err error) {
	key := anchor{kind, code}
	list, ok := a.known[key]
	if !ok && a.tx != nil {
		query := `SELECT v.since, v.number, a.since, a.until, a.value FROM service_anchor_3 a JOIN service_version_3 v ON v.version = a.version
			WHERE a.kind = $1 AND a.code = $2`
		for row, err := range a.tx.Query(query, kind, code) {
			if err != nil {
				return "", err
			}
			list = append(list, anchored{row.Int64(0), row.Int64(1), row.Int64(2), row.Int64(3), row.Text(4)})
		}
		if a.known == nil {
			a.known = map[anchor][]anchored{}
		}
		a.known[key] = list
	}
	best := anchored{from: never}
	for _, x := range list {
		if x.from <= at && x.since <= at && at < x.until && cmp.Or(cmp.Compare(x.from, best.from), cmp.Compare(x.number, best.number)) >= 0 {
			best = x
		}
	}
	return best.value, nil
}

// landing notes the place of a unit's level, at the instant of the step; 0 if it is not known.
func (a *anchors) landing(s *step, unit string) error {
	area, err := a.get(unitArea, unit, s.at)
	if err != nil {
		return err
	}
	level, err := a.get(areaLevel, area, s.at)
	if err != nil {
		return err
	}
	place, err := a.place(level)
	s.n = append(s.n, place)
	return err
}

// place is that of a level; one that is new gets the next.
func (a *anchors) place(level string) (int64, error) {
	if level == "" {
		return 0, nil
	}
	if !a.loaded && a.tx != nil {
		var err error
		if a.levels, err = levelsIn(a.tx); err != nil {
			return 0, err
		}
		a.loaded = true
	}
	if i := slices.Index(a.levels, level); i >= 0 {
		return int64(i + 1), nil
	}
	a.levels = append(a.levels, level)
	place := int64(len(a.levels))
	if a.tx == nil {
		return place, nil
	}
	err := a.tx.Put("INSERT INTO service_level_3 (place, name) VALUES ($1, $2)", place, level)
	return place, err
}

// levelsIn are the levels that tickets landed on, by their places from 1.
func levelsIn(tx *viewdb.Tx) (levels []string, err error) {
	for row, err := range tx.Query("SELECT name FROM service_level_3 ORDER BY place") {
		if err != nil {
			return nil, err
		}
		levels = append(levels, row.Text(0))
	}
	return levels, nil
}
