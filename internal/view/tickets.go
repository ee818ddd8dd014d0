package view

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.einride.tech/aip/ordering"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/ticket"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// TicketsView is the name of the view of tickets.
const TicketsView = "tickets_4"

// Tickets is the view of tickets: a row each, for lists and inboxes, and for what must happen by a certain instant. What runs is
// ticket.State.Timers of what is kept of the ticket, which the same events were folded into: there is one definition of it.
func Tickets() projector.View {
	return projector.View{
		Name: TicketsView,
		Schema: []string{
			// Paths through the area tree (kind 0: level, code and name of each step) and through the unit tree (kind 1: down to the
			// holder, with '' where it is not known or nobody holds the ticket), co-handlers (kind 2) and units that
			// whistles summon (kind 3), each once.
			`CREATE TABLE tickets_path_4 (
	id   BIGINT PRIMARY KEY,
	kind BIGINT NOT NULL,
	path TEXT NOT NULL,
	UNIQUE (kind, path)
)`,
			`CREATE TABLE tickets_step_4 (
	kind BIGINT NOT NULL,
	code TEXT NOT NULL,
	path BIGINT NOT NULL,
	PRIMARY KEY (kind, code, path)
) WITHOUT ROWID`,
			// ticket is the position of the first event; units the path of the holder; co and summoned 0 where nobody helps
			// or is summoned; whistles the open ones with whom each summons; kept what limits and timers follow from. A
			// limit that does not run is 9223372036854775807, so that it comes last. due is the earliest of the timers, NULL where none runs.
			`CREATE TABLE tickets_4 (
	ticket       INTEGER PRIMARY KEY,
	id           TEXT NOT NULL UNIQUE,
	no           TEXT NOT NULL,
	state        BIGINT NOT NULL,
	closed       BIGINT NOT NULL,
	channel      BIGINT NOT NULL,
	kind         BIGINT NOT NULL,
	category     TEXT NOT NULL,
	grade        BIGINT NOT NULL,
	confidential BIGINT NOT NULL,
	area         TEXT NOT NULL,
	path         BIGINT NOT NULL,
	holder       TEXT NOT NULL,
	units        BIGINT NOT NULL,
	lead         TEXT NOT NULL,
	co           BIGINT NOT NULL,
	summoned     BIGINT NOT NULL,
	whistles     TEXT NOT NULL,
	round        BIGINT NOT NULL,
	next_by      BIGINT NOT NULL,
	handle_by    BIGINT NOT NULL,
	close_by     BIGINT NOT NULL,
	reported_at  BIGINT NOT NULL,
	accepted_at  BIGINT,
	closed_at    BIGINT,
	source       TEXT NOT NULL,
	source_ref   TEXT NOT NULL,
	supervision  BIGINT NOT NULL,
	next_from    BIGINT NOT NULL,
	waits        BLOB NOT NULL,
	kept         BLOB NOT NULL,
	against      TEXT NOT NULL,
	due          BIGINT
)`,
			// What tickets wait for. unit is whose clerks it waits for, or who handles what others verify or ask about; '' where it waits for an
			// office. units and path are the holder's and the place's. warn is from when on at most a quarter of the time is left; grey: the
			// clock stands.
			`CREATE TABLE tickets_task_4 (
	ticket       BIGINT NOT NULL,
	task         BIGINT NOT NULL,
	unit         TEXT NOT NULL,
	units        BIGINT NOT NULL,
	path         BIGINT NOT NULL,
	confidential BIGINT NOT NULL,
	due          BIGINT NOT NULL,
	warn         BIGINT NOT NULL,
	grey         BIGINT NOT NULL,
	PRIMARY KEY (ticket, task, unit)
) WITHOUT ROWID`,
		},
		Indexes: []string{
			`CREATE INDEX tickets_4_next ON tickets_4 (closed, next_by, ticket)`,
			`CREATE INDEX tickets_4_reported ON tickets_4 (closed, reported_at, ticket)`,
			`CREATE INDEX tickets_4_handle ON tickets_4 (closed, handle_by, ticket)`,
			`CREATE INDEX tickets_4_close ON tickets_4 (closed, close_by, ticket)`,
			`CREATE INDEX tickets_4_holder ON tickets_4 (holder, closed, next_by, ticket)`,
			`CREATE INDEX tickets_4_lead ON tickets_4 (lead, closed, next_by, ticket)`,
			`CREATE INDEX tickets_4_path ON tickets_4 (path, closed)`,
			`CREATE INDEX tickets_4_units ON tickets_4 (units, closed)`,
			`CREATE INDEX tickets_4_co ON tickets_4 (co, closed) WHERE co > 0`,
			`CREATE INDEX tickets_4_summoned ON tickets_4 (summoned, closed) WHERE summoned > 0`,
			`CREATE INDEX tickets_4_no ON tickets_4 (no)`,
			`CREATE INDEX tickets_4_source ON tickets_4 (source_ref)`,
			`CREATE INDEX tickets_4_supervision ON tickets_4 (supervision, closed, next_by, ticket) WHERE supervision > 0`,
			`CREATE INDEX tickets_4_due ON tickets_4 (due, ticket) WHERE due IS NOT NULL`,
			`CREATE INDEX tickets_task_4_office ON tickets_task_4 (task, units, due, warn, grey, ticket, unit, confidential)`,
			`CREATE INDEX tickets_task_4_desk ON tickets_task_4 (unit, task, confidential, due, warn, grey, ticket) WHERE unit <> ''`,
			`CREATE INDEX tickets_task_4_place ON tickets_task_4 (task, path, confidential, due, warn, grey, ticket, unit)`,
		},
		Folding: func() projector.Folding { return newTicketFolding() },
	}
}

// ticketRow is a row of tickets_4.
type ticketRow struct {
	ticket                   int64
	id, no                   string
	state                    pb.TicketState
	channel                  pb.Channel
	kind                     pb.MatterKind
	category                 string
	grade                    pb.Grade
	confidential             bool
	area                     string
	path                     int64
	holder                   string
	units                    int64
	lead                     string
	co                       int64
	summoned                 int64
	whistles                 string // quoted words: w and a whistle, then u and each unit that it summons
	round                    uint32
	next, handleBy, closeBy  int64
	reported, accepted, done int64
	source, sourceRef        string
	supervision              uint32
	nextFrom                 int64 // where next runs from
	waits                    waits
	rules                    ticket.State // as it is kept: the limits follow from it
	against                  string       // the unit complained of
	due                      int64

	isNew      bool
	was        tasksOf                    // its rows of tickets_task_4 as they stand
	wasIndexed [len(indexedOfTickets)]any // what the row has in columns that indexes are over
}

func (r *ticketRow) closed() bool { return !isOpen(r.state) }

func isOpen(s pb.TicketState) bool {
	switch s {
	case pb.TicketState_TICKET_STATE_CLOSED, pb.TicketState_TICKET_STATE_DECLINED, pb.TicketState_TICKET_STATE_MERGED,
		pb.TicketState_TICKET_STATE_WITHDRAWN, pb.TicketState_TICKET_STATE_VOIDED, pb.TicketState_TICKET_STATE_ARCHIVED:
		return false
	}
	return true
}

// ticketFolding folds events into rows of tickets_4.
type ticketFolding struct {
	rows  hot[*ticketRow]
	paths paths
	buf   []byte
}

func newTicketFolding() *ticketFolding {
	return &ticketFolding{rows: newHot[*ticketRow](), paths: paths{ids: map[string]int64{}}}
}

func (f *ticketFolding) Add(tx *viewdb.Tx, d *event.Decoded) error {
	kind, id := kind(d)
	switch kind {
	case "ticket":
	default:
		return others(d, kind)
	}
	f.paths.tx = tx
	r, err := f.rows.of(id, d, func() (*ticketRow, error) { return loadTicket(tx, id, d) })
	if err != nil {
		return err
	}
	before, was := r.next, r.state
	if err := r.fold(d, &f.paths); err != nil {
		return err
	}
	if r.rules, err = ticket.Evolve(r.rules, d.Meta, d.Event); err != nil {
		return err
	}
	r.limits()
	r.wait(d, before, was)
	return nil
}

func (f *ticketFolding) Write(tx *viewdb.Tx, keep int) error {
	list := f.rows.drop(keep, (*ticketRow).closed)
	slices.SortFunc(list, func(a, b *ticketRow) int { return cmp.Compare(a.ticket, b.ticket) })
	for _, r := range list {
		f.buf = r.rules.AppendKept(f.buf[:0])
		if err := r.save(tx, f.buf); err != nil {
			return err
		}
	}
	return nil
}

const ticketColumns = "ticket, id, no, state, channel, kind, category, grade, confidential, area, path, holder, units, lead, co, round, " +
	"next_by, handle_by, close_by, reported_at, accepted_at, closed_at, source, source_ref, summoned, whistles, " +
	"supervision, next_from, waits, kept, against, due"

func readTicket(row viewdb.Row) (r *ticketRow, err error) {
	r = &ticketRow{
		ticket: row.Int64(0), id: row.Text(1), no: row.Text(2), state: pb.TicketState(row.Int64(3)), channel: pb.Channel(row.Int64(4)),
		kind: pb.MatterKind(row.Int64(5)), category: row.Text(6), grade: pb.Grade(row.Int64(7)), confidential: row.Bool(8),
		area: row.Text(9), path: row.Int64(10), holder: row.Text(11), units: row.Int64(12), lead: row.Text(13), co: row.Int64(14),
		round: uint32(row.Int64(15)), next: row.Int64(16), handleBy: row.Int64(17), closeBy: row.Int64(18), reported: row.Int64(19),
		accepted: never, done: never, source: row.Text(22), sourceRef: row.Text(23), summoned: row.Int64(24), whistles: row.Text(25),
		supervision: uint32(row.Int64(26)), nextFrom: row.Int64(27), against: row.Text(30), due: ever,
	}
	if !row.Null(20) {
		r.accepted = row.Int64(20)
	}
	if !row.Null(21) {
		r.done = row.Int64(21)
	}
	if !row.Null(31) {
		r.due = row.Int64(31)
	}
	r.waits, err = readWaits(row.Bytes(28, nil))
	return r, err
}

func loadTicket(tx *viewdb.Tx, id string, d *event.Decoded) (*ticketRow, error) {
	if d.Version == 1 {
		return &ticketRow{
			isNew: true, ticket: int64(d.Position), id: id, round: 1, reported: micros(d.Meta.OccurredAt), accepted: never, done: never,
			next: ever, handleBy: ever, closeBy: ever, nextFrom: never, due: ever, waits: newWaits(),
		}, nil
	}
	for row, err := range tx.Query("SELECT "+ticketColumns+" FROM tickets_4 WHERE id = $1", id) {
		if err != nil {
			return nil, err
		}
		r, err := readTicket(row)
		if err != nil {
			return nil, err
		}
		if r.rules, err = ticket.ReadKept(row.Bytes(29, nil)); err != nil {
			return nil, err
		}
		r.was, r.wasIndexed = r.waiting(), r.indexed()
		return r, nil
	}
	return nil, orphan(d)
}

// fold takes in an event of the ticket's stream, but for its limits. Every event has its case.
func (r *ticketRow) fold(d *event.Decoded, paths *paths) error {
	at := micros(d.Meta.OccurredAt)
	if after := ticket.StateAfter(d.Event); after != pb.TicketState_TICKET_STATE_UNSPECIFIED {
		r.state = after
	}
	switch e := d.Event.(type) {
	case *pb.TicketReported:
		r.no, r.source, r.sourceRef, r.channel, r.kind, r.category = e.No, e.Source, e.SourceRef, e.Channel, e.Kind, e.Category
		r.confidential = e.Confidentiality == pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL
		r.against = e.ComplainedOf
		return r.held(e.Path, e.Holder, e.HolderPath, paths)
	case *pb.RecordImported:
		r.no, r.source, r.sourceRef, r.channel, r.category = e.No, e.Source, e.SourceRef, e.Channel, e.Category
		r.lead = e.Agency // as the record has it: it need be no unit of the registry, and holds nothing
		return r.held(e.Path, "", nil, paths)
	case *pb.TicketAccepted:
		r.accepted = at
		if e.Confidentiality != pb.Confidentiality_CONFIDENTIALITY_UNSPECIFIED {
			r.confidential = e.Confidentiality == pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL
		}
		return r.held(e.Path, e.Holder, e.HolderPath, paths)
	case *pb.TicketTriaged:
		r.category, r.grade, r.against = e.Category, e.Grade, e.ComplainedOf
		r.confidential = e.Confidentiality == pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL
		return r.held(e.Path, e.Holder, e.HolderPath, paths)
	case *pb.TriageCorrected:
		if e.ComplainedOf != "" {
			r.against = e.ComplainedOf
		}
		if e.Category != "" {
			r.category = e.Category
		}
		if e.Grade != pb.Grade_GRADE_UNSPECIFIED {
			r.grade = e.Grade
		}
		if e.Confidentiality != pb.Confidentiality_CONFIDENTIALITY_UNSPECIFIED {
			r.confidential = e.Confidentiality == pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL
		}
		if e.Holder != "" {
			return r.held(e.Path, e.Holder, e.HolderPath, paths)
		}
		return r.lie(e.Path, paths)
	case *pb.TicketDispatched:
		r.lead, r.round = e.Lead, max(e.Round, 1)
		r.waits.co = slices.DeleteFunc(slices.Clone(r.waits.co), func(c coWait) bool { return c.unit == e.Lead || !slices.Contains(e.Co, c.unit) })
		if err := r.help(e.Co, paths); err != nil {
			return err
		}
		return r.hold(e.Lead, e.LeadPath, paths)
	case *pb.TicketReopened:
		r.round, r.done = e.Round, never
		if e.Lead != r.holder {
			return r.hold(e.Lead, nil, paths)
		}
	case *pb.TicketAnsweredDirectly, *pb.TicketClosed, *pb.ImportedRecordClosed:
		r.done = at
	case *pb.WhistleLinked:
		return r.summon(e.Whistle, true, e.Participants, paths)
	case *pb.WhistleSettled:
		return r.summon(e.Whistle, e.Outcome == pb.WhistleState_WHISTLE_STATE_UNSPECIFIED, nil, paths)
	case *pb.DeclineOverturned:
		r.accepted = at
		return r.held(e.Path, e.Holder, e.HolderPath, paths)
	case *pb.ReturnApproved:
		r.lead, r.waits.co = "", nil
		if err := r.help(nil, paths); err != nil {
			return err
		}
		return r.hold(e.Holder, e.HolderPath, paths)
	case *pb.AdjudicationOpened:
		return r.hold(e.Holder, e.HolderPath, paths)
	case *pb.TicketEscalated:
		r.lead = e.To
		return r.take(e.To, e.LeadPath, paths)
	case *pb.EscalationRefused:
		r.lead = e.To
		return r.take(e.To, e.LeadPath, paths)
	case *pb.TicketDelegated:
		r.lead, r.round = e.To, max(e.Round, 1)
		return r.take(e.To, e.LeadPath, paths)
	case *pb.HolderMoved:
		if r.lead == e.From {
			r.lead = e.To
			if err := r.release(e.To, paths); err != nil {
				return err
			}
		}
		if r.holder == e.From {
			return r.hold(e.To, e.HolderPath, paths)
		}
	case *pb.ArchiveCorrected:
		if e.Category != "" {
			r.category = e.Category
		}
		return r.lie(e.Path, paths)
	case *pb.CoHandlerRequested:
		if !slices.Contains(r.waits.helpers, e.Unit) {
			return r.help(append(slices.Clip(r.waits.helpers), e.Unit), paths)
		}
	case *pb.CoHandlerDeclined:
		return r.release(e.Unit, paths)
	case *pb.DeclineAppealed, *pb.EmergencyHandedOver, *pb.DuplicateAttached, *pb.DuplicateDetached, *pb.AdjudicationRuled,
		*pb.FallbackAssigned, *pb.CoHandlerAccepted, *pb.CoHandlerDeclineProposed, *pb.CoHandlerDeclineDropped,
		*pb.CoHandlerSubmitted, *pb.ExtensionRequested, *pb.ExtensionRefused, *pb.SuspensionRequested,
		*pb.SuspensionRefused, *pb.SuspensionReviewDue, *pb.ExclusionRequested, *pb.ExclusionGranted, *pb.ExclusionDenied, *pb.TicketUrged,
		*pb.SupervisionRaised, *pb.SupervisionReplied, *pb.ListingCleared, *pb.SupervisionLifted, *pb.ArchiveCorrectionProposed,
		*pb.ArchiveCorrectionDropped, *pb.AcceptOverdue, *pb.DispatchOverdue, *pb.ContactOverdue, *pb.HandleOverdue, *pb.VerifyOverdue,
		*pb.CallbackOverdue, *pb.RightLapsed,
		*pb.WhistleAsked, *pb.WhistleAskDeclined, *pb.TicketClaimed, *pb.EchoPublished,
		*pb.LeadRated, *pb.JointReviewRecorded, *pb.VerificationSampledOut, *pb.LateFactsAdmitted:
		// Nothing that a list shows, but for what the rules say.
	case *pb.DeclineProposed, *pb.DeclineDropped, *pb.PetitionerContacted, *pb.ContactFailed, *pb.ProgressRecorded,
		*pb.RequirementWaived, *pb.CallbackRecorded, *pb.CallbackAttemptFailed, *pb.CallbackUnreachable, *pb.VoidProposed,
		*pb.VoidDropped, *pb.TicketSigned, *pb.ResultSubmitted, *pb.VerificationPassed, *pb.VerificationFailed, *pb.ResultRejected,
		*pb.TicketDeclined, *pb.TicketVoided, *pb.TicketMerged, *pb.TicketUnmerged, *pb.TicketWithdrawn, *pb.TicketArchived,
		*pb.ReturnRequested, *pb.ReturnRejected, *pb.SignOverdue, *pb.ExtensionGranted, *pb.SuspensionGranted, *pb.TicketResumed,
		*pb.LimitsRecomputed:
		// Only the state and limits change.
	default:
		return unknown(d)
	}
	return nil
}

// limits notes the limits in force, as the rules have them, and of these the one that runs next.
func (r *ticketRow) limits() {
	l := &r.rules.Limits
	r.handleBy, r.closeBy = orEver(l.HandleBy), orEver(l.CloseBy)
	r.supervision = r.rules.Supervision
	r.next = ever
	switch r.state {
	case pb.TicketState_TICKET_STATE_REPORTED:
		if r.next = orEver(l.AcceptBy); r.rules.Imported != nil {
			r.next = r.closeBy // a record knows no other
		}
	case pb.TicketState_TICKET_STATE_ACCEPTED, pb.TicketState_TICKET_STATE_TRIAGED:
		r.next = orEver(l.DispatchBy)
	case pb.TicketState_TICKET_STATE_DISPATCHED:
		r.next = orEver(l.SignBy)
	case pb.TicketState_TICKET_STATE_HANDLING:
		r.next = r.handleBy
	case pb.TicketState_TICKET_STATE_RETURN_REVIEW:
		r.next = orEver(l.DecideReturnBy)
	case pb.TicketState_TICKET_STATE_ADJUDICATION:
		r.next = orEver(l.RulingBy)
	case pb.TicketState_TICKET_STATE_SUSPENDED:
		r.next = orEver(l.ReviewAt)
	case pb.TicketState_TICKET_STATE_RESULT_SUBMITTED:
		r.next = orEver(l.VerifyBy)
	case pb.TicketState_TICKET_STATE_CALLBACK:
		if r.next = orEver(l.CallbackBy); !r.asks() {
			r.next = r.closeBy
		}
	}
}

// asks says whether the petitioner is still to be asked.
func (r *ticketRow) asks() bool {
	s := &r.rules
	return s.CallbackWanted && !s.Anonymous && !s.CallbackSettled && !slices.Contains(s.Waived, pb.Requirement_REQUIREMENT_CALLBACK)
}

// orEver is an instant as rows have it.
func orEver(t time.Time) int64 {
	if t.IsZero() {
		return ever
	}
	return t.UnixMicro()
}

// held notes the ticket's place and who has it there.
func (r *ticketRow) held(place []*pb.AreaNode, holder string, path []string, paths *paths) error {
	if err := r.lie(place, paths); err != nil {
		return err
	}
	return r.hold(holder, path, paths)
}

func (r *ticketRow) lie(path []*pb.AreaNode, paths *paths) error {
	if len(path) == 0 {
		return nil
	}
	key := append(paths.key[:0], areaPath)
	for _, n := range path {
		key = appendText(appendText(appendText(key, n.Level), n.Code), n.Name)
	}
	paths.key = key
	r.area = path[len(path)-1].Code
	id, err := paths.id(areaPath, func() (list, codes []string) {
		for _, n := range path {
			list, codes = append(list, n.Level, n.Code, n.Name), append(codes, n.Code)
		}
		return list, codes
	})
	r.path = id
	return err
}

// hold notes who has the ticket, and the holder's path. Where the path is not known, roots see the ticket as they see what nobody
// holds.
func (r *ticketRow) hold(holder string, path []string, paths *paths) error {
	r.holder = holder
	switch {
	case holder == "":
		path = []string{""}
	case len(path) == 0:
		path = []string{"", holder}
	}
	id, err := paths.ofUnits(unitPath, path)
	r.units = id
	return err
}

// take notes that a unit leads from now on, and helps no more if it did.
func (r *ticketRow) take(unit string, path []string, paths *paths) error {
	if err := r.release(unit, paths); err != nil {
		return err
	}
	return r.hold(unit, path, paths)
}

// release notes that a unit helps no more.
func (r *ticketRow) release(unit string, paths *paths) error {
	if !slices.Contains(r.waits.helpers, unit) {
		return nil
	}
	r.waits.co = r.waits.without(unit)
	return r.help(slices.DeleteFunc(slices.Clone(r.waits.helpers), func(u string) bool { return u == unit }), paths)
}

func (r *ticketRow) help(co []string, paths *paths) error {
	r.co, r.waits.helpers = 0, co
	if len(co) == 0 {
		return nil
	}
	id, err := paths.ofUnits(coUnits, co)
	r.co = id
	return err
}

// summon notes whom a whistle summons while it is open.
func (r *ticketRow) summon(whistle string, open bool, units []string, paths *paths) error {
	var words, summoned []string
	of := ""
	for _, word := range unquote(r.whistles) {
		if word[0] == 'w' {
			of = word[1:]
		}
		if of == whistle {
			continue
		}
		words = append(words, word)
		if word[0] == 'u' {
			summoned = append(summoned, word[1:])
		}
	}
	if open {
		words = append(words, "w"+whistle)
		for _, u := range units {
			words, summoned = append(words, "u"+u), append(summoned, u)
		}
	}
	r.whistles, r.summoned = quoteAll(words), 0
	if len(summoned) == 0 {
		return nil
	}
	slices.Sort(summoned)
	id, err := paths.ofUnits(calledUnits, slices.Compact(summoned))
	r.summoned = id
	return err
}

// indexedOfTickets are the columns that indexes are over, but for those that never change.
var indexedOfTickets = [...]string{
	"closed", "path", "holder", "units", "lead", "co", "summoned", "supervision", "next_by", "handle_by", "close_by", "due",
}

func (r *ticketRow) indexed() [len(indexedOfTickets)]any {
	return [...]any{
		r.closed(), r.path, r.holder, r.units, r.lead, r.co, r.summoned, int64(r.supervision), r.next, r.handleBy, r.closeBy, unless(r.due, ever),
	}
}

const insertTicket = `INSERT INTO tickets_4 (state, category, grade, confidential, area, round, accepted_at, closed_at, whistles, next_from, waits, kept, against,
		closed, path, holder, units, lead, co, summoned, supervision, next_by, handle_by, close_by, due,
		ticket, id, no, channel, kind, reported_at, source, source_ref)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33)`

// The columns that it does not name never change after the first event.
var updateTicket = updates{
	set: "UPDATE tickets_4 SET state = $1, category = $2, grade = $3, confidential = $4, area = $5, round = $6, accepted_at = $7, closed_at = $8, " +
		"whistles = $9, next_from = $10, waits = $11, kept = $12, against = $13",
	args: 13, columns: indexedOfTickets[:], where: "ticket",
}

// unless is NULL for what stands for none.
func unless(t, none int64) any {
	if t == none {
		return nil
	}
	return t
}

func (r *ticketRow) save(tx *viewdb.Tx, kept []byte) error {
	r.due = ever
	if run := r.rules.Timers(); len(run) > 0 {
		r.due = run[0].By.UnixMicro()
	}
	waits, was := r.waits.bytes(nil), r.wasIndexed
	r.wasIndexed = r.indexed()
	args := append(make([]any, 0, 33), int64(r.state), r.category, int64(r.grade), r.confidential, r.area, int64(r.round), unless(r.accepted, never),
		unless(r.done, never), r.whistles, r.nextFrom, waits, kept, r.against)
	if r.isNew {
		r.isNew = false
		args = append(append(args, r.wasIndexed[:]...), r.ticket, r.id, r.no, int64(r.channel), int64(r.kind), r.reported, r.source, r.sourceRef)
		if err := tx.Put(insertTicket, args...); err != nil {
			return err
		}
		return r.saveTasks(tx)
	}
	if err := updateTicket.exec(tx, args, was[:], r.wasIndexed[:], r.ticket); err != nil {
		return err
	}
	return r.saveTasks(tx)
}

const (
	areaPath    = 0
	unitPath    = 1
	coUnits     = 2
	calledUnits = 3
)

// paths numbers paths in the order in which events first mention them.
type paths struct {
	tx   *viewdb.Tx
	ids  map[string]int64 // by key
	last int64
	key  []byte // of the path that is asked for
}

// maxPaths is how many paths are remembered at a time.
const maxPaths = 100_000

// id is the number of the path whose key is set. parts gives its words and the codes it is found by.
func (p *paths) id(kind int64, parts func() (words, codes []string)) (int64, error) {
	if id, ok := p.ids[string(p.key)]; ok {
		return id, nil
	}
	if len(p.ids) >= maxPaths {
		clear(p.ids)
	}
	words, codes := parts()
	text := quoteAll(words)
	for row, err := range p.tx.Query("SELECT id FROM tickets_path_4 WHERE kind = $1 AND path = $2", kind, text) {
		if err != nil {
			return 0, err
		}
		p.ids[string(p.key)] = row.Int64(0)
		return row.Int64(0), nil
	}
	if p.last == 0 {
		for row, err := range p.tx.Query("SELECT MAX(id) FROM tickets_path_4") {
			if err != nil {
				return 0, err
			}
			p.last = row.Int64(0)
		}
	}
	p.last++
	p.ids[string(p.key)] = p.last
	if err := p.tx.Put("INSERT INTO tickets_path_4 (id, kind, path) VALUES ($1, $2, $3)", p.last, kind, text); err != nil {
		return 0, err
	}
	for _, code := range codes {
		if err := p.tx.Put("INSERT INTO tickets_step_4 (kind, code, path) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", kind, code, p.last); err != nil {
			return 0, err
		}
	}
	return p.last, nil
}

// ofUnits is the number of a path, or another list, of units.
func (p *paths) ofUnits(kind byte, units []string) (int64, error) {
	key := append(p.key[:0], kind)
	for _, u := range units {
		key = appendText(key, u)
	}
	p.key = key
	return p.id(int64(kind), func() (list, codes []string) { return units, units })
}

// unquote splits what quoteAll made.
func unquote(text string) []string {
	var list []string
	for text != "" {
		quoted, err := strconv.QuotedPrefix(text)
		if err != nil {
			return list
		}
		s, _ := strconv.Unquote(quoted)
		list = append(list, s)
		text = strings.TrimPrefix(text[len(quoted):], " ")
	}
	return list
}

// Scope is whose tickets and whistles may be seen. The zero Scope sees none.
type Scope struct {
	All bool
	// Path is a unit's path through the unit tree, root first, itself included. The unit sees tickets that it or a unit below it
	// holds; those that a unit on the path leads, of the confidential only if it is one of Leads; and those that one helps with or is summoned to by an open whistle, if they are not
	// confidential. A root sees those
	// that nobody holds. With Assesses it is the rule of ticket.State.MaySee, with the holder's path as it was when the holder got the ticket.
	Path []string
	// Leads are the units on the path that are of the unit's own level: with these it leads.
	Leads []string
	// Units see whistles that they or units below them have part in.
	Units []string
	// Areas see whistles that lie in them.
	Areas []string
	// Assesses are areas whose tickets the unit assesses: it sees those whose matter lies in one, as well.
	Assesses []string
}

func (s *Scope) text() string {
	return fmt.Sprintf("%t %q %q %q %q %q", s.All, s.Path, s.Leads, s.Units, s.Areas, s.Assesses)
}

// TicketQuery asks for a page of tickets.
type TicketQuery struct {
	Scope Scope
	// Filter and OrderBy are as ListTicketsRequest has them.
	Filter, OrderBy string
	// Now is the instant of the lights.
	Now       time.Time
	PageSize  int32
	PageToken string
}

var ticketPages = pages{50, 1_000}

const inPaths = "path IN (SELECT path FROM tickets_step_4 WHERE kind = 0 AND code = %s)"

var ticketFields = declare(map[string]field{
	"no":          {kind: textField, column: "no"},
	"state":       {kind: enumField, column: "state", values: pb.TicketState_value, prefix: "TICKET_STATE_"},
	"channel":     {kind: enumField, column: "channel", values: pb.Channel_value, prefix: "CHANNEL_"},
	"kind":        {kind: enumField, column: "kind", values: pb.MatterKind_value, prefix: "MATTER_KIND_"},
	"category":    {kind: textField, column: "category"},
	"grade":       {kind: enumField, column: "grade", values: pb.Grade_value, prefix: "GRADE_"},
	"area":        {kind: setField, sql: "+" + inPaths},
	"holder":      {kind: textField, column: "holder"},
	"lead":        {kind: textField, column: "lead"},
	"source":      {kind: textField, column: "source"},
	"source_ref":  {kind: textField, column: "source_ref"},
	"next_by":     {kind: limitField, column: "next_by"},
	"handle_by":   {kind: limitField, column: "handle_by"},
	"close_by":    {kind: limitField, column: "close_by"},
	"reported_at": {kind: timeField, column: "reported_at"},
	"closed_at":   {kind: timeField, column: "closed_at"},
	"supervision": {kind: numberField, column: "supervision", most: 4},
	"open":        {kind: boolField, sql: "closed = 0"},
})

// narrow is how many tickets an area or a unit may have for all of them to be looked at and sorted; with more, a walk in
// the order asked for finds a page soon.
const narrow = 2_000

// ListTickets gives a page of the tickets in scope that the filter lets through.
func (r *Reader) ListTickets(ctx context.Context, q TicketQuery) (rows []*pb.TicketRow, next string, at eventstore.Position, err error) {
	size, err := ticketPages.size(q.PageSize)
	if err != nil {
		return nil, "", 0, err
	}
	order, desc, err := ticketOrder(q.OrderBy)
	if err != nil {
		return nil, "", 0, err
	}
	var c condition
	if err := parseFilter(q.Filter, ticketFields, &c); err != nil {
		return nil, "", 0, err
	}
	bound := bind("tickets", q.Filter, order, fmt.Sprint(desc), q.Scope.text())
	text, paged, err := cursor(bound, q.PageToken)
	if err != nil {
		return nil, "", 0, err
	}
	area, byArea := c.must["area"]
	q.Scope.restrict(&c)
	if paged {
		var key, id int64
		if _, err := fmt.Sscanf(text, "%d %d", &key, &id); err != nil {
			return nil, "", 0, rule.Bad("page_token", rule.BadField, "is none that this service gave")
		}
		sign := ">"
		if desc {
			sign = "<"
		}
		c.and(fmt.Sprintf("(%s, ticket) %s (%s, %s)", order, sign, c.arg(key), c.arg(id)))
	}
	at, err = r.readTickets(ctx, func(tx *viewdb.Tx) error {
		var list []*ticketRow
		query, args, err := ticketPlan(tx, &c, q.Scope, area, byArea, order, desc, size+1)
		if err != nil {
			return err
		}
		for row, err := range tx.Query(query, args...) {
			if err != nil {
				return err
			}
			t, err := readTicket(row)
			if err != nil {
				return err
			}
			list = append(list, t)
		}
		if len(list) > size {
			list = list[:size]
			last := list[size-1]
			next = token(bound, fmt.Sprintf("%d %d", last.key(order), last.ticket))
		}
		rows, err = ticketMessages(tx, list, q.Now.UnixMicro())
		return err
	})
	return rows, next, at, err
}

func (r *Reader) readTickets(ctx context.Context, do func(tx *viewdb.Tx) error) (at eventstore.Position, err error) {
	err = r.db.Read(ctx, func(tx *viewdb.Tx) error {
		if at, err = projector.Position(tx, TicketsView); err != nil {
			return err
		}
		return do(tx)
	})
	return at, err
}

func ticketOrder(by string) (column string, desc bool, err error) {
	var o ordering.OrderBy
	if err := o.UnmarshalString(by); err != nil || len(o.Fields) > 1 {
		return "", false, rule.Bad("order_by", rule.BadField, "want one field, with desc after it or not")
	}
	if len(o.Fields) == 0 {
		return "next_by", false, nil
	}
	switch o.Fields[0].Path {
	case "next_by", "handle_by", "close_by", "reported_at":
		return o.Fields[0].Path, o.Fields[0].Desc, nil
	}
	return "", false, rule.Bad("order_by", rule.BadField, "want next_by, handle_by, close_by or reported_at")
}

func (r *ticketRow) key(order string) int64 {
	switch order {
	case "next_by":
		return r.next
	case "handle_by":
		return r.handleBy
	case "close_by":
		return r.closeBy
	}
	return r.reported
}

// restrict lets through what is in scope.
func (s *Scope) restrict(c *condition) {
	switch {
	case s.All:
	case len(s.Path) == 0:
		c.and("1 = 0")
	default:
		assessed := ""
		if len(s.Assesses) > 0 {
			assessed = " OR +path IN (" + steps(c, areaPath, s.Assesses) + ")"
		}
		c.and(fmt.Sprintf("(+units IN (%s) OR holder || '' <> '' AND (lead || '' IN (%s) AND (+confidential = 0 OR lead || '' IN (%s)) OR +confidential = 0 AND +co IN (%s)) OR +confidential = 0 AND +summoned IN (%s)%s)",
			steps(c, unitPath, s.holders()), names(c, s.Path), names(c, append([]string{s.unit()}, s.Leads...)), steps(c, coUnits, s.Path), steps(c, calledUnits, s.Path), assessed))
		if len(s.Path) > 1 { // a complaint of the root is against nobody
			c.and("(+confidential = 0 OR against || '' NOT IN (" + names(c, s.Path[1:]) + "))")
		}
	}
}

// sets are queries that together find what is in scope, and maybe more, each by an index.
func (s *Scope) sets(c *condition) []string {
	if len(s.Path) == 0 {
		return nil
	}
	sets := []string{
		"SELECT ticket FROM tickets_4 WHERE units IN (" + steps(c, unitPath, s.holders()) + ")",
		// What the unit itself holds is among the first.
		"SELECT ticket FROM tickets_4 WHERE lead IN (" + names(c, s.Path) + ") AND holder || '' NOT IN ('', " + c.arg(s.unit()) + ")",
		"SELECT ticket FROM tickets_4 WHERE co > 0 AND co IN (" + steps(c, coUnits, s.Path) + ") AND +confidential = 0",
		"SELECT ticket FROM tickets_4 WHERE summoned > 0 AND summoned IN (" + steps(c, calledUnits, s.Path) + ") AND +confidential = 0",
	}
	if len(s.Assesses) > 0 {
		sets = append(sets, "SELECT ticket FROM tickets_4 WHERE path IN ("+steps(c, areaPath, s.Assesses)+")")
	}
	return sets
}

func (s *Scope) unit() string { return s.Path[len(s.Path)-1] }

// holders are the steps of which one must be on a holder's path for the unit to see all that it holds.
func (s *Scope) holders() []string {
	if len(s.Path) == 1 {
		return []string{s.unit(), ""}
	}
	return []string{s.unit()}
}

// steps finds the paths that have one of the codes on them.
func steps(c *condition, kind int64, codes []string) string {
	return fmt.Sprintf("SELECT path FROM tickets_step_4 WHERE kind = %d AND code IN (%s)", kind, names(c, codes))
}

// names adds arguments and gives their names.
func names(c *condition, codes []string) string {
	names := make([]string, len(codes))
	for i, code := range codes {
		names[i] = c.arg(code)
	}
	return strings.Join(names, ", ")
}

// ticketPlan makes the query that finds a page soonest. Engines cannot choose here: they know neither how many tickets an
// area has nor how dense they lie in the order asked for. A + before a number, or || ” behind a text, keeps a column out of their choice.
func ticketPlan(tx *viewdb.Tx, c *condition, scope Scope, area string, byArea bool, order string, desc bool, limit int) (string, []any, error) {
	direction := ""
	if desc {
		direction = " DESC"
	}
	end := fmt.Sprintf(" ORDER BY %s%s, ticket%s LIMIT %d", order, direction, direction, limit)
	where := c.sql
	if where == "" {
		where = "1 = 1"
	}
	all := "SELECT " + ticketColumns + " FROM tickets_4 WHERE " + where
	for _, name := range []string{"no", "source_ref", "lead", "holder"} {
		if _, ok := c.must[name]; ok {
			return all + end, c.args, nil
		}
	}
	openOnly := ""
	if c.must["open"] == "true" {
		openOnly = " AND closed = 0"
	}
	// Few enough in the area, or in the scope: look at all of them.
	var sets []string
	var probe condition
	switch {
	case byArea:
		sets = []string{"SELECT ticket FROM tickets_4 WHERE path IN (" + steps(&probe, areaPath, []string{area}) + ")"}
	case !scope.All:
		sets = scope.sets(&probe)
	}
	for i := range sets {
		sets[i] += openOnly
	}
	if len(sets) > 0 {
		var few []int64
		for row, err := range tx.Query(strings.Join(sets, " UNION ALL ")+fmt.Sprintf(" LIMIT %d", narrow+1), probe.args...) {
			if err != nil {
				return "", nil, err
			}
			few = append(few, row.Int64(0))
		}
		if len(few) <= narrow {
			shifted := shift(strings.Join(sets, " UNION "), len(c.args))
			return "SELECT " + ticketColumns + " FROM tickets_4 WHERE ticket IN (" + shifted + ") AND " + where +
				strings.Replace(end, "ORDER BY "+order, "ORDER BY +"+order, 1), append(c.args, probe.args...), nil
		}
	}
	if openOnly != "" {
		return all + end, c.args, nil
	}
	// An index has the open ones first and then the others; the two walks are put together.
	half := func(closed int) string {
		return fmt.Sprintf("SELECT * FROM (%s AND closed = %d%s) AS walk", all, closed, end)
	}
	return "SELECT * FROM (" + half(0) + " UNION ALL " + half(1) + ") AS walks" + end, c.args, nil
}

// shift renames $1, $2, … of a query to follow n others.
func shift(query string, n int) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(query, "$")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		digits := 0
		for digits < len(after) && after[digits] >= '0' && after[digits] <= '9' {
			digits++
		}
		i, _ := strconv.Atoi(after[:digits])
		fmt.Fprintf(&b, "$%d", i+n)
		query = after[digits:]
	}
}

func ticketMessages(tx *viewdb.Tx, list []*ticketRow, now int64) ([]*pb.TicketRow, error) {
	known := map[int64][]*pb.AreaNode{}
	rows := make([]*pb.TicketRow, len(list))
	for i, r := range list {
		path, ok := known[r.path]
		if !ok {
			for row, err := range tx.Query("SELECT path FROM tickets_path_4 WHERE id = $1", r.path) {
				if err != nil {
					return nil, err
				}
				parts := unquote(row.Text(0))
				for j := 0; j+2 < len(parts); j += 3 {
					path = append(path, &pb.AreaNode{Level: parts[j], Code: parts[j+1], Name: parts[j+2]})
				}
			}
			known[r.path] = path
		}
		rows[i] = &pb.TicketRow{
			Name: "tickets/" + r.id, No: r.no, State: r.state, Stage: ticket.StageOf(r.state), Channel: r.channel, Kind: r.kind,
			Category: r.category, Grade: r.grade, Area: r.area, Path: path, Holder: r.holder, Lead: r.lead, Round: r.round,
			NextBy: stamp(r.next), HandleBy: stamp(r.handleBy), CloseBy: stamp(r.closeBy), ReportedAt: stamp(r.reported),
			AcceptedAt: stamp(r.accepted), ClosedAt: stamp(r.done), Source: r.source, SourceRef: r.sourceRef,
			Supervision: r.supervision, Light: r.light(now),
		}
	}
	return rows, nil
}
