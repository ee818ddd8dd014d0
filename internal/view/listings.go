package view

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/check"
	"github.com/chuishao/dispatch/internal/event"
	problems "github.com/chuishao/dispatch/internal/listing"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/ticket"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// ListingsView is the name of the view of listed problems and spot checks.
const ListingsView = "listings_1"

// Listings is the view of listed problems that are no tickets, of spot checks and what they found, and of which tickets were ever listed. A city has a few a
// day, so each event writes its rows, and figures are added up when asked for.
func Listings() projector.View {
	return projector.View{
		Name: ListingsView,
		Schema: []string{
			// listing is the position of the first event. path holds level, code and name of each step, owner_path codes, root first, accounts the kind and the
			// instant of each time that the owner was held to account.
			`CREATE TABLE listings_1 (
	listing    INTEGER PRIMARY KEY,
	id         TEXT NOT NULL UNIQUE,
	no         TEXT NOT NULL,
	state      BIGINT NOT NULL,
	origin     BIGINT NOT NULL,
	area       TEXT NOT NULL,
	path       TEXT NOT NULL,
	owner      TEXT NOT NULL,
	owner_path TEXT NOT NULL,
	issuer     TEXT NOT NULL,
	level      TEXT NOT NULL,
	person     TEXT NOT NULL,
	failed     BIGINT NOT NULL,
	guessed    BIGINT NOT NULL,
	accounts   TEXT NOT NULL,
	listed_at  BIGINT NOT NULL,
	plan_by    BIGINT,
	clear_by   BIGINT,
	cleared_at BIGINT
)`,
			// spot is the position of the first event.
			`CREATE TABLE listings_check_1 (
	spot       INTEGER PRIMARY KEY,
	id         TEXT NOT NULL UNIQUE,
	no         TEXT NOT NULL,
	state      BIGINT NOT NULL,
	kind       BIGINT NOT NULL,
	area       TEXT NOT NULL,
	path       TEXT NOT NULL,
	unit       TEXT NOT NULL,
	unit_path  TEXT NOT NULL,
	category   TEXT NOT NULL,
	from_at    BIGINT NOT NULL,
	to_at      BIGINT NOT NULL,
	known_at   BIGINT NOT NULL,
	seed       BLOB NOT NULL,
	population BIGINT NOT NULL,
	hash       BLOB NOT NULL,
	drawn_at   BIGINT NOT NULL
)`,
			// The tickets of a sample, in the order in which they were drawn. path and lead_path are the ticket's when somebody looked again.
			`CREATE TABLE listings_item_1 (
	spot       BIGINT NOT NULL,
	place      BIGINT NOT NULL,
	ticket     TEXT NOT NULL,
	checked_at BIGINT,
	untrue     BIGINT NOT NULL,
	path       TEXT NOT NULL,
	lead_path  TEXT NOT NULL,
	PRIMARY KEY (spot, place)
) WITHOUT ROWID`,
			// The areas (kind 0) that listings lie in and the units (kind 1) that have to put them right, with those above; the same of spot checks and the units
			// that drew (kinds 2 and 3).
			`CREATE TABLE listings_step_1 (
	kind  BIGINT NOT NULL,
	code  TEXT NOT NULL,
	entry BIGINT NOT NULL,
	PRIMARY KEY (kind, code, entry)
) WITHOUT ROWID`,
			`CREATE TABLE listings_ticket_1 (id TEXT PRIMARY KEY)`,
		},
		Indexes: []string{
			`CREATE INDEX listings_1_clear ON listings_1 (clear_by)`,
			`CREATE INDEX listings_item_1_checked ON listings_item_1 (checked_at)`,
		},
		Apply: func(ctx context.Context, tx *viewdb.Tx, batch []event.Decoded) error {
			for i := range batch {
				if err := applyListing(tx, &batch[i]); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// The kinds of rows of listings_step_1.
const (
	listingArea = iota
	listingUnit
	checkArea
	checkUnit
)

func applyListing(tx *viewdb.Tx, d *event.Decoded) error {
	kind, id := kind(d)
	switch kind {
	case "listing":
		w, err := loadListing(tx, id, d)
		if err != nil {
			return err
		}
		if err := w.fold(d); err != nil {
			return err
		}
		return w.save(tx)
	case "check":
		return applyCheck(tx, id, d)
	case "ticket":
		if e, ok := d.Event.(*pb.SupervisionRaised); ok && ticket.Lists(e) {
			err := tx.Put("INSERT INTO listings_ticket_1 (id) VALUES ($1) ON CONFLICT DO NOTHING", id)
			return err
		}
		return nil
	}
	return others(d, kind)
}

// account is once that an owner was held to account.
type accounted struct {
	kind pb.AccountKind
	at   int64
}

// problem is a listed problem that is no ticket.
type problem struct {
	listing                          int64
	id, no                           string
	state                            pb.ListingState
	origin                           pb.ListingOrigin
	path                             []*pb.AreaNode
	owner                            string
	ownerPath                        []string
	issuer, level, person            string
	failed                           uint32
	guessed                          bool
	accounts                         []accounted
	listed, planBy, clearBy, cleared int64 // never where there is none
}

func newProblem(id string, d *event.Decoded) *problem {
	return &problem{listing: int64(d.Position), id: id, listed: never, planBy: never, clearBy: never, cleared: never}
}

func loadListing(tx *viewdb.Tx, id string, d *event.Decoded) (*problem, error) {
	if d.Version == 1 {
		return newProblem(id, d), nil
	}
	list, err := queryProblems(tx, "WHERE id = $1", id)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, orphan(d)
	}
	return list[0], nil
}

// fold takes in an event of the listing's stream. Every event has its case.
func (w *problem) fold(d *event.Decoded) error {
	at := micros(d.Meta.OccurredAt)
	if after := problems.StateAfter(d.Event); after != 0 {
		w.state = after
	}
	switch e := d.Event.(type) {
	case *pb.ProblemListed:
		w.no, w.origin, w.path, w.owner, w.ownerPath = e.No, e.Origin, e.Path, e.Owner, e.OwnerPath
		if len(w.ownerPath) == 0 {
			w.ownerPath = []string{e.Owner}
		}
		w.issuer, w.level, w.guessed, w.listed = e.Issuer, e.Level, e.Provisional, at
		w.planBy, w.clearBy = micros(e.PlanBy), micros(e.ClearBy)
	case *pb.RectificationPlanned:
		w.person = e.Person
	case *pb.RectificationChecked:
		if !e.Passed {
			w.failed++
			w.person = ""
		}
	case *pb.ListedProblemCleared:
		w.cleared = max(at, w.listed)
	case *pb.OwnerAccounted:
		w.accounts = append(w.accounts, accounted{e.Kind, max(at, w.listed)})
	case *pb.RectificationReported, *pb.ListingTimerPassed:
		// The state says it, and the instant its limit.
	default:
		return unknown(d)
	}
	return nil
}

// quoteSteps gives level, code and name of each node of a path.
func quoteSteps(path []*pb.AreaNode) string {
	var list []string
	for _, n := range path {
		list = append(list, n.Level, n.Code, n.Name)
	}
	return quoteAll(list)
}

// readSteps is what quoteSteps wrote.
func readSteps(text string) (path []*pb.AreaNode) {
	parts := unquote(text)
	for i := 0; i+2 < len(parts); i += 3 {
		path = append(path, &pb.AreaNode{Level: parts[i], Code: parts[i+1], Name: parts[i+2]})
	}
	return path
}

// leaf is the code of a path's end; empty of none.
func leaf(path []*pb.AreaNode) string {
	if len(path) == 0 {
		return ""
	}
	return path[len(path)-1].Code
}

func (w *problem) save(tx *viewdb.Tx) error {
	var accounts []string
	for _, a := range w.accounts {
		accounts = append(accounts, strconv.Itoa(int(a.kind)), strconv.FormatInt(a.at, 10))
	}
	err := tx.Put(`INSERT INTO listings_1 (listing, id, no, state, origin, area, path, owner, owner_path, issuer, level, person, failed, guessed, accounts,
		listed_at, plan_by, clear_by, cleared_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
		ON CONFLICT (listing) DO UPDATE SET state = excluded.state, person = excluded.person, failed = excluded.failed, accounts = excluded.accounts,
		cleared_at = excluded.cleared_at`,
		w.listing, w.id, w.no, int64(w.state), int64(w.origin), leaf(w.path), quoteSteps(w.path), w.owner, quoteAll(w.ownerPath), w.issuer, w.level, w.person,
		int64(w.failed), w.guessed, quoteAll(accounts), w.listed, orNull(w.planBy), orNull(w.clearBy), orNull(w.cleared))
	if err != nil {
		return err
	}
	return saveSteps(tx, w.listing, listingArea, w.path, w.ownerPath)
}

// saveSteps notes the areas of a row, as rows of a kind, and its units, as those of the next.
func saveSteps(tx *viewdb.Tx, row int64, kind int, path []*pb.AreaNode, units []string) error {
	codes := [2][]string{1: units}
	for _, n := range path {
		codes[0] = append(codes[0], n.Code)
	}
	for i, list := range codes {
		for _, code := range list {
			if err := tx.Put("INSERT INTO listings_step_1 (kind, code, entry) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", kind+i, code, row); err != nil {
				return err
			}
		}
	}
	return nil
}

// orNever is an instant that may be missing.
func orNever(row viewdb.Row, i int) int64 {
	if row.Null(i) {
		return never
	}
	return row.Int64(i)
}

// queryProblems reads listings. rest follows FROM.
func queryProblems(tx *viewdb.Tx, rest string, args ...any) ([]*problem, error) {
	var list []*problem
	for row, err := range tx.Query(`SELECT listing, id, no, state, origin, path, owner, owner_path, issuer, level, person, failed, guessed, accounts,
		listed_at, plan_by, clear_by, cleared_at FROM listings_1 `+rest, args...) {
		if err != nil {
			return nil, err
		}
		w := &problem{
			listing: row.Int64(0), id: row.Text(1), no: row.Text(2), state: pb.ListingState(row.Int64(3)), origin: pb.ListingOrigin(row.Int64(4)),
			path: readSteps(row.Text(5)), owner: row.Text(6), ownerPath: unquote(row.Text(7)), issuer: row.Text(8), level: row.Text(9), person: row.Text(10),
			failed: uint32(row.Int64(11)), guessed: row.Bool(12), listed: row.Int64(14), planBy: orNever(row, 15), clearBy: orNever(row, 16), cleared: orNever(row, 17),
		}
		parts := unquote(row.Text(13))
		for i := 0; i+1 < len(parts); i += 2 {
			kind, err := strconv.Atoi(parts[i])
			if err != nil {
				return nil, fmt.Errorf("listing %s: %w", w.id, err)
			}
			at, err := strconv.ParseInt(parts[i+1], 10, 64)
			if err != nil {
				return nil, fmt.Errorf("listing %s: %w", w.id, err)
			}
			w.accounts = append(w.accounts, accounted{pb.AccountKind(kind), at})
		}
		list = append(list, w)
	}
	return list, nil
}

// message is the listing as lists show it.
func (w *problem) message(now int64) *pb.Listing {
	m := &pb.Listing{
		Name: "listings/" + w.id, No: w.no, State: w.state, Origin: w.origin, Path: w.path, Owner: w.owner, Issuer: w.issuer, Level: w.level,
		Person: w.person, ListedAt: stamp(w.listed), PlanBy: stamp(w.planBy), ClearBy: stamp(w.clearBy), ClearedAt: stamp(w.cleared), Failed: w.failed,
		Provisional: w.guessed,
	}
	if until := now; w.clearBy != never {
		if w.cleared != never {
			until = w.cleared
		}
		m.Overdue = passed(w.clearBy, until-until%1e6) // the second that it lies in is in time
	}
	for _, a := range w.accounts {
		m.Accounts = append(m.Accounts, a.kind)
	}
	return m
}

// spot is a spot check, item a ticket of it.
type spot struct {
	spot            int64
	id, no          string
	state           pb.CheckState
	kind            pb.CheckKind
	path            []*pb.AreaNode
	unit            string
	unitPath        []string
	category        string
	from, to, drawn int64
	known           int64
	seed, hash      []byte
	population      int64
	items           []item
}

type item struct {
	ticket   string
	checked  int64 // never while nobody looked
	untrue   bool
	path     []*pb.AreaNode
	leadPath []string
}

func newSpot(id string, d *event.Decoded) *spot { return &spot{spot: int64(d.Position), id: id} }

func applyCheck(tx *viewdb.Tx, id string, d *event.Decoded) error {
	s := newSpot(id, d)
	if d.Version > 1 {
		list, err := querySpots(tx, "WHERE id = $1", id)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return orphan(d)
		}
		s = list[0]
	}
	if err := s.fold(d); err != nil {
		return err
	}
	return s.save(tx)
}

// fold takes in an event of the spot check's stream. Every event has its case.
func (s *spot) fold(d *event.Decoded) error {
	at := micros(d.Meta.OccurredAt)
	if after := check.StateAfter(d.Event); after != 0 {
		s.state = after
	}
	switch e := d.Event.(type) {
	case *pb.SpotCheckDrawn:
		s.no, s.kind, s.path, s.unit, s.unitPath, s.category = e.No, e.Kind, e.Path, e.Unit, e.UnitPath, e.Category
		s.from, s.to, s.drawn, s.known = micros(e.From), micros(e.To), at, int64(e.KnownAt)
		s.seed, s.hash, s.population = e.Seed, e.PopulationHash, int64(e.Population)
		for _, id := range e.Tickets {
			s.items = append(s.items, item{ticket: id, checked: never})
		}
	case *pb.SpotCheckRecorded:
		for i := range s.items {
			if x := &s.items[i]; x.ticket == e.Ticket {
				x.checked, x.untrue, x.path, x.leadPath = at, e.FalseResult, e.Path, e.LeadPath
				if len(x.leadPath) == 0 && e.Lead != "" {
					x.leadPath = []string{e.Lead}
				}
			}
		}
	default:
		return unknown(d)
	}
	return nil
}

func (s *spot) save(tx *viewdb.Tx) error {
	err := tx.Put(`INSERT INTO listings_check_1 (spot, id, no, state, kind, area, path, unit, unit_path, category, from_at, to_at, known_at, seed, population, hash,
		drawn_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
		ON CONFLICT (spot) DO UPDATE SET state = excluded.state`,
		s.spot, s.id, s.no, int64(s.state), int64(s.kind), leaf(s.path), quoteSteps(s.path), s.unit, quoteAll(s.unitPath), s.category, s.from, s.to, s.known, s.seed,
		s.population, s.hash, s.drawn)
	if err != nil {
		return err
	}
	for i, x := range s.items {
		err := tx.Put(`INSERT INTO listings_item_1 (spot, place, ticket, checked_at, untrue, path, lead_path) VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (spot, place) DO UPDATE SET checked_at = excluded.checked_at, untrue = excluded.untrue, path = excluded.path, lead_path = excluded.lead_path`,
			s.spot, i, x.ticket, orNull(x.checked), x.untrue, quoteSteps(x.path), quoteAll(x.leadPath))
		if err != nil {
			return err
		}
	}
	return saveSteps(tx, s.spot, checkArea, s.path, append([]string{s.unit}, s.unitPath...))
}

// querySpots reads spot checks with their items. rest follows FROM.
func querySpots(tx *viewdb.Tx, rest string, args ...any) ([]*spot, error) {
	var list []*spot
	for row, err := range tx.Query(`SELECT spot, id, no, state, kind, path, unit, unit_path, category, from_at, to_at, known_at, seed, population, hash, drawn_at
		FROM listings_check_1 `+rest, args...) {
		if err != nil {
			return nil, err
		}
		list = append(list, &spot{
			spot: row.Int64(0), id: row.Text(1), no: row.Text(2), state: pb.CheckState(row.Int64(3)), kind: pb.CheckKind(row.Int64(4)),
			path: readSteps(row.Text(5)), unit: row.Text(6), unitPath: unquote(row.Text(7)), category: row.Text(8), from: row.Int64(9), to: row.Int64(10),
			known: row.Int64(11), seed: row.Bytes(12, nil), population: row.Int64(13), hash: row.Bytes(14, nil), drawn: row.Int64(15),
		})
	}
	for _, s := range list {
		for row, err := range tx.Query("SELECT ticket, checked_at, untrue, path, lead_path FROM listings_item_1 WHERE spot = $1 ORDER BY place", s.spot) {
			if err != nil {
				return nil, err
			}
			s.items = append(s.items, item{row.Text(0), orNever(row, 1), row.Bool(2), readSteps(row.Text(3)), unquote(row.Text(4))})
		}
	}
	return list, nil
}

// message is the spot check as lists show it. The token of what was known is the caller's to make of the position.
func (s *spot) message() *pb.SpotCheck {
	m := &pb.SpotCheck{
		Name: "checks/" + s.id, No: s.no, State: s.state, Kind: s.kind, Path: s.path, From: stamp(s.from), To: stamp(s.to), Category: s.category,
		Seed: s.seed, Population: uint64(s.population), PopulationHash: s.hash, Unit: s.unit, DrawnAt: stamp(s.drawn),
	}
	for _, x := range s.items {
		m.Items = append(m.Items, &pb.SpotCheckItem{Ticket: "tickets/" + x.ticket, Checked: x.checked != never, FalseResult: x.untrue, CheckedAt: stamp(x.checked)})
	}
	return m
}

// areaNames are the names along a path, as nodes tell them.
func areaNames(path []*pb.AreaNode) string {
	names := make([]string, len(path))
	for i, n := range path {
		names[i] = n.Name
	}
	return strings.Join(names, "/")
}
