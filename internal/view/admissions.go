package view

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/admission"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// AdmissionsView is the name of the view of admissions.
const AdmissionsView = "admissions_1"

// Admissions is the view of admissions into communities, and of what the ban list kept out of them. Both are few, so figures are added up
// when asked for.
func Admissions() projector.View {
	return projector.View{
		Name: AdmissionsView,
		Schema: []string{
			// admission is the position of the first event.
			`CREATE TABLE admissions_1 (
	admission   INTEGER PRIMARY KEY,
	id          TEXT NOT NULL UNIQUE,
	no          TEXT NOT NULL,
	state       BIGINT NOT NULL,
	item        TEXT NOT NULL,
	unit        TEXT NOT NULL,
	decided_by  TEXT NOT NULL,
	valid_from  BIGINT NOT NULL,
	valid_to    BIGINT NOT NULL,
	budget      BIGINT NOT NULL,
	staff       BIGINT NOT NULL,
	applied_at  BIGINT NOT NULL,
	decide_by   BIGINT,
	ended_at    BIGINT,
	reason      TEXT NOT NULL,
	provisional BIGINT NOT NULL
)`,
			// The communities in the order in which they were named; of those that objected, objected says in which.
			`CREATE TABLE admissions_community_1 (
	admission BIGINT NOT NULL,
	place     BIGINT NOT NULL,
	community TEXT NOT NULL,
	objected  BIGINT NOT NULL,
	PRIMARY KEY (admission, place)
) WITHOUT ROWID`,
			// refused is the position of the first note of a request, which request tells from others: its retries count once. unit_path holds the
			// codes of the unit that tried and those above it, path level, code and name of each step to where the target is anchored.
			`CREATE TABLE admissions_banned_1 (
	refused      INTEGER PRIMARY KEY,
	request      TEXT NOT NULL UNIQUE,
	stream       TEXT NOT NULL,
	item         TEXT NOT NULL,
	target       TEXT NOT NULL,
	unit_path    TEXT NOT NULL,
	path         TEXT NOT NULL,
	attempted_at BIGINT NOT NULL
)`,
		},
		Indexes: []string{`CREATE INDEX admissions_1_item ON admissions_1 (item)`},
		Folding: func() projector.Folding { return newAdmissionFolding() },
	}
}

// admissionRow is an admission as a list shows it. Its message has no name yet.
type admissionRow struct {
	admission int64
	id        string
	*pb.Admission
}

// admissionFolding folds events into rows of admissions_1 and the tables beside it.
type admissionFolding struct {
	rows     hot[*admissionRow]
	attempts []*attempt
}

func newAdmissionFolding() *admissionFolding {
	return &admissionFolding{rows: newHot[*admissionRow]()}
}

func (f *admissionFolding) Add(tx *viewdb.Tx, d *event.Decoded) error {
	kind, id := kind(d)
	switch kind {
	case "admission":
	case "audit":
		if a := attempted(d); a != nil {
			f.attempts = append(f.attempts, a)
		}
		return nil
	default:
		return others(d, kind)
	}
	row, err := f.rows.of(id, d, func() (*admissionRow, error) { return loadAdmission(tx, id, d) })
	if err != nil {
		return err
	}
	return row.fold(d)
}

func (f *admissionFolding) Write(tx *viewdb.Tx, keep int) error {
	list := f.rows.drop(keep, func(row *admissionRow) bool { return admission.Ended(row.State) })
	slices.SortFunc(list, func(a, b *admissionRow) int { return cmp.Compare(a.admission, b.admission) })
	for _, row := range list {
		if err := row.save(tx); err != nil {
			return err
		}
	}
	for _, a := range f.attempts {
		if err := a.save(tx); err != nil {
			return err
		}
	}
	f.attempts = nil
	return nil
}

func newAdmissionRow(id string, d *event.Decoded) *admissionRow {
	return &admissionRow{int64(d.Position), id, new(pb.Admission)}
}

func loadAdmission(tx *viewdb.Tx, id string, d *event.Decoded) (*admissionRow, error) {
	if d.Version == 1 {
		return newAdmissionRow(id, d), nil
	}
	list, err := queryAdmissions(tx, "WHERE id = $1", id)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, orphan(d)
	}
	return list[0], nil
}

// fold takes in an event of the admission's stream. Every event has its case.
func (row *admissionRow) fold(d *event.Decoded) error {
	if after := admission.StateAfter(d.Event); after != 0 {
		row.State = after
	}
	switch e := d.Event.(type) {
	case *pb.AdmissionApplied:
		row.No, row.Item, row.Unit, row.Communities, row.DecidedBy = e.No, e.Item, e.Unit, slices.Clone(e.Communities), e.DecidedBy
		row.ValidFrom, row.ValidTo, row.Budget, row.Staff = e.ValidFrom, e.ValidTo, e.Budget, e.Staff
		row.AppliedAt, row.DecideBy, row.Provisional = d.Meta.OccurredAt, e.DecideBy, e.Provisional
	case *pb.AdmissionReviewed:
		// The state says it.
	case *pb.CommunityObjected:
		row.Communities = slices.DeleteFunc(row.Communities, func(c string) bool { return c == e.Community })
		row.Objected = append(row.Objected, e.Community)
	case *pb.AdmissionAdmitted:
		row.ValidFrom, row.ValidTo = e.ValidFrom, e.ValidTo
	case *pb.AdmissionRefused:
		row.EndedAt, row.Reason = d.Meta.OccurredAt, e.Reason
	case *pb.AdmissionRevoked:
		row.EndedAt, row.Reason = d.Meta.OccurredAt, e.Reason
	case *pb.AdmissionExpired:
		row.EndedAt = d.Meta.OccurredAt
	default:
		return unknown(d)
	}
	return nil
}

func (row *admissionRow) save(tx *viewdb.Tx) error {
	err := tx.Put(`INSERT INTO admissions_1 (admission, id, no, state, item, unit, decided_by, valid_from, valid_to, budget, staff, applied_at,
		decide_by, ended_at, reason, provisional)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
		ON CONFLICT (admission) DO UPDATE SET state = excluded.state, valid_from = excluded.valid_from, valid_to = excluded.valid_to,
		ended_at = excluded.ended_at, reason = excluded.reason`,
		row.admission, row.id, row.No, int64(row.State), row.Item, row.Unit, row.DecidedBy, micros(row.ValidFrom), micros(row.ValidTo), int64(row.Budget),
		int64(row.Staff), micros(row.AppliedAt), orNull(micros(row.DecideBy)), orNull(micros(row.EndedAt)), row.Reason, row.Provisional)
	if err != nil {
		return err
	}
	if err := tx.Put("DELETE FROM admissions_community_1 WHERE admission = $1", row.admission); err != nil {
		return err
	}
	for i, community := range slices.Concat(row.Communities, row.Objected) {
		err := tx.Put("INSERT INTO admissions_community_1 (admission, place, community, objected) VALUES ($1, $2, $3, $4)",
			row.admission, i, community, i >= len(row.Communities))
		if err != nil {
			return err
		}
	}
	return nil
}

// queryAdmissions reads admissions with their communities. rest follows FROM.
func queryAdmissions(tx *viewdb.Tx, rest string, args ...any) ([]*admissionRow, error) {
	at := func(row viewdb.Row, i int) int64 {
		if row.Null(i) {
			return never
		}
		return row.Int64(i)
	}
	var list []*admissionRow
	for row, err := range tx.Query(`SELECT admission, id, no, state, item, unit, decided_by, valid_from, valid_to, budget, staff, applied_at, decide_by, ended_at,
		reason, provisional FROM admissions_1 `+rest, args...) {
		if err != nil {
			return nil, err
		}
		list = append(list, &admissionRow{row.Int64(0), row.Text(1), &pb.Admission{
			No: row.Text(2), State: pb.AdmissionState(row.Int64(3)), Item: row.Text(4), Unit: row.Text(5), DecidedBy: row.Text(6),
			ValidFrom: stamp(row.Int64(7)), ValidTo: stamp(row.Int64(8)), Budget: uint64(row.Int64(9)), Staff: uint32(row.Int64(10)),
			AppliedAt: stamp(row.Int64(11)), DecideBy: stamp(at(row, 12)), EndedAt: stamp(at(row, 13)), Reason: row.Text(14), Provisional: row.Bool(15),
		}})
	}
	for _, a := range list {
		for row, err := range tx.Query("SELECT community, objected FROM admissions_community_1 WHERE admission = $1 ORDER BY place", a.admission) {
			if err != nil {
				return nil, err
			}
			if row.Bool(1) {
				a.Objected = append(a.Objected, row.Text(0))
			} else {
				a.Communities = append(a.Communities, row.Text(0))
			}
		}
	}
	return list, nil
}

// AdmissionQuery asks for a page of admissions.
type AdmissionQuery struct {
	// Filter is as ListAdmissionsRequest has it.
	Filter    string
	PageSize  int32
	PageToken string
}

var admissionFields = declare(map[string]field{
	"no":        {kind: textField, column: "no"},
	"state":     {kind: enumField, column: "state", values: pb.AdmissionState_value, prefix: "ADMISSION_STATE_"},
	"item":      {kind: textField, column: "item"},
	"unit":      {kind: textField, column: "unit"},
	"community": {kind: setField, sql: "admission IN (SELECT admission FROM admissions_community_1 WHERE objected = 0 AND community = %s)"},
	"valid_to":  {kind: timeField, column: "valid_to"},
})

// ListAdmissions gives a page of the admissions that the filter lets through, the latest first. Everybody may see them.
func (r *Reader) ListAdmissions(ctx context.Context, q AdmissionQuery) (rows []*pb.Admission, next string, at eventstore.Position, err error) {
	page, err := (&latest{
		number: "admission", fields: admissionFields, filter: q.Filter, pageSize: q.PageSize, pageToken: q.PageToken, bound: bind("admissions", q.Filter),
	}).page()
	if err != nil {
		return nil, "", 0, err
	}
	err = r.db.Read(ctx, func(tx *viewdb.Tx) error {
		if at, err = projector.Position(tx, AdmissionsView); err != nil {
			return err
		}
		list, err := queryAdmissions(tx, page.rest, page.args...)
		if err != nil {
			return err
		}
		list, next = cut(page, list, func(row *admissionRow) int64 { return row.admission })
		for _, row := range list {
			row.Name = "admissions/" + row.id
			rows = append(rows, row.Admission)
		}
		return nil
	})
	return rows, next, at, err
}

// attempt is one refused try to bring something into a community that the ban list keeps out.
type attempt struct {
	refused      int64 // the position of its note
	request      string
	stream, item string
	target       string
	units        []string // the one that tried and those above it, root first
	path         []*pb.AreaNode
	at           int64
}

// attempted is the attempt that a note tells of; nil if it tells of none.
func attempted(d *event.Decoded) *attempt {
	e, ok := d.Event.(*pb.CommandRefused)
	if !ok || e.BanItem == "" {
		return nil
	}
	who := d.Meta.GetActor()
	// A request id is its actor's, for one stream.
	id := sha256.Sum256([]byte(strings.Join([]string{e.Stream, who.GetPerson(), who.GetUnit(), e.RequestId}, "\x00")))
	a := &attempt{
		refused: int64(d.Position), request: hex.EncodeToString(id[:]), stream: e.Stream, item: e.BanItem, target: e.Target,
		units: e.UnitPath, path: e.TargetPath, at: micros(d.Meta.OccurredAt),
	}
	if len(a.units) == 0 {
		a.units = []string{who.GetUnit()}
	}
	return a
}

func (a *attempt) save(tx *viewdb.Tx) error {
	var steps []string
	for _, n := range a.path {
		steps = append(steps, n.Level, n.Code, n.Name)
	}
	err := tx.Put(`INSERT INTO admissions_banned_1 (refused, request, stream, item, target, unit_path, path, attempted_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`,
		a.refused, a.request, a.stream, a.item, a.target, quoteAll(a.units), quoteAll(steps), a.at)
	return err
}

// queryAttempts reads all attempts, in the order in which they were recorded.
func queryAttempts(tx *viewdb.Tx) ([]*attempt, error) {
	var list []*attempt
	for row, err := range tx.Query("SELECT refused, request, stream, item, target, unit_path, path, attempted_at FROM admissions_banned_1 ORDER BY refused") {
		if err != nil {
			return nil, err
		}
		a := &attempt{
			refused: row.Int64(0), request: row.Text(1), stream: row.Text(2), item: row.Text(3), target: row.Text(4), units: unquote(row.Text(5)),
			at: row.Int64(7),
		}
		parts := unquote(row.Text(6))
		for i := 0; i+2 < len(parts); i += 3 {
			a.path = append(a.path, &pb.AreaNode{Level: parts[i], Code: parts[i+1], Name: parts[i+2]})
		}
		list = append(list, a)
	}
	return list, nil
}
