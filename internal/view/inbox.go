package view

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/ticket"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// task is something that a ticket waits for.
type task int64

// The tasks, by the numbers that rows have.
const (
	taskAccept task = iota + 1
	taskConfirm
	taskDispatch
	taskSign
	taskHandle
	taskCo
	taskExtension       // a shift leader decides
	taskSecondExtension // a supervisor decides
	taskSuspension
	taskReturn
	taskRule
	taskReview
	taskVerify
	taskCallback
	taskClose
	taskExclusion
	taskReply
	taskPlan
	taskClear
	taskRelease    // of a co-handler from its task
	taskOverturn   // a decline that was appealed against
	taskCorrection // of an archived ticket: another auditor confirms it
)

var taskNames = map[task]string{
	taskAccept: "accept", taskConfirm: "confirm", taskDispatch: "dispatch", taskSign: "sign", taskHandle: "handle", taskCo: "co_task",
	taskExtension: "decide_extension", taskSecondExtension: "decide_extension", taskSuspension: "decide_suspension", taskReturn: "decide_return",
	taskRule: "rule", taskReview: "review_suspension", taskVerify: "verify", taskCallback: "callback", taskClose: "close",
	taskExclusion: "decide_exclusion", taskReply: "reply", taskPlan: "plan", taskClear: "clear",
	taskRelease: "decide_co_decline", taskOverturn: "overturn", taskCorrection: "confirm",
}

// offices are the tasks of roles that act for what is held in their unit or below it.
var offices = map[pb.Role][]task{
	pb.Role_ROLE_AGENT:       {taskAccept},
	pb.Role_ROLE_DISPATCHER:  {taskAccept, taskDispatch, taskReturn, taskClose, taskRelease},
	pb.Role_ROLE_DUTY_LEADER: {taskConfirm, taskExtension, taskReturn, taskRule},
	pb.Role_ROLE_SUPERVISOR:  {taskSecondExtension, taskSuspension, taskReview, taskVerify, taskClear, taskOverturn},
	pb.Role_ROLE_GRID_WORKER: {taskVerify},
	pb.Role_ROLE_CALLER:      {taskCallback},
	pb.Role_ROLE_ASSESSMENT:  {taskExclusion},
	pb.Role_ROLE_AUDITOR:     {taskCorrection},
}

// desks are the tasks of the clerks of the unit that has them to do, or of a unit below it.
var desks = []task{taskSign, taskHandle, taskCo, taskReview, taskReply, taskPlan}

var clerks = []pb.Role{
	pb.Role_ROLE_DEPARTMENT_CLERK, pb.Role_ROLE_DEPARTMENT_HEAD, pb.Role_ROLE_STREET_CLERK, pb.Role_ROLE_STREET_LEADER,
	pb.Role_ROLE_STREET_SECRETARY, pb.Role_ROLE_STREET_DIRECTOR, pb.Role_ROLE_COMMUNITY_CLERK, pb.Role_ROLE_COMMUNITY_SECRETARY,
	pb.Role_ROLE_GRID_WORKER,
}

// HasInbox says whether tickets can wait for a role.
func HasInbox(r pb.Role) bool { return offices[r] != nil || slices.Contains(clerks, r) }

// waiting is a row of tickets_task_4: unit is whose clerks it waits for, or which unit handles what is verified or asked about.
type waiting struct {
	task task
	unit string
	by   int64 // ever where nobody set a limit
	warn int64 // from then on a quarter of the time is left, or less
}

// waits is what the tasks of a ticket follow from, besides its row.
type waits struct {
	flags      uint64
	handleFrom int64 // where the handle limit runs from
	beforeFrom int64 // where a merged ticket's next limit ran from

	extensionFrom, suspensionFrom, exclusionFrom int64 // when it was asked for
	supervisedFrom, replyBy, planBy, clearBy     int64

	helpers []string // co-handlers, of the dispatch and asked for
	co      []coWait // tasks of co-handlers that are not done
}

type coWait struct {
	unit     string
	from, by int64
	declines bool // and waits for a dispatcher's consent
}

const (
	isImported = 1 << iota // and no command was given for it yet
	isProposed             // to decline or void
	extensionAsked
	secondExtension
	suspensionAsked
	exclusionAsked
	isListed
	planGiven
	listingDone
	correctionAsked
)

func (w *waits) is(flag uint64) bool { return w.flags&flag != 0 }

func (w *waits) set(flag uint64, on bool) {
	w.flags &^= flag
	if on {
		w.flags |= flag
	}
}

func (w *waits) instants() [9]*int64 {
	return [...]*int64{
		&w.handleFrom, &w.beforeFrom, &w.extensionFrom, &w.suspensionFrom, &w.exclusionFrom, &w.supervisedFrom, &w.replyBy,
		&w.planBy, &w.clearBy,
	}
}

func newWaits() waits {
	var w waits
	for _, t := range w.instants() {
		*t = never
	}
	return w
}

// bytes adds the waits to buf as a row keeps them. Instants are kept as steps from those before.
func (w *waits) bytes(buf []byte) []byte {
	buf = binary.AppendUvarint(buf, w.flags)
	set, last := uint64(0), int64(0)
	for i, t := range w.instants() {
		if *t != never {
			set |= 1 << i
		}
	}
	buf = binary.AppendUvarint(buf, set)
	step := func(t int64) {
		buf = binary.AppendVarint(buf, t-last)
		last = t
	}
	for _, t := range w.instants() {
		if *t != never {
			step(*t)
		}
	}
	buf = binary.AppendUvarint(buf, uint64(len(w.helpers)))
	for _, u := range w.helpers {
		buf = appendText(buf, u)
	}
	for _, c := range w.co {
		buf = appendText(buf, c.unit)
		step(c.from)
		step(c.by)
		buf = append(buf, byte(flag(c.declines)))
	}
	return buf
}

// readWaits reads what bytes wrote.
func readWaits(buf []byte) (waits, error) {
	w := newWaits()
	u, last := unpacker{buf: buf}, int64(0)
	step := func() int64 {
		last += u.signed()
		return last
	}
	w.flags = u.next()
	set := u.next()
	for i, t := range w.instants() {
		if set&(1<<i) != 0 {
			*t = step()
		}
	}
	for range min(u.next(), uint64(len(u.buf))) {
		w.helpers = append(w.helpers, u.text())
	}
	for len(u.buf) > 0 {
		w.co = append(w.co, coWait{u.text(), step(), step(), u.next() == 1})
	}
	if u.cut {
		return w, errors.New("what a ticket waits for is cut short")
	}
	return w, nil
}

// wait takes in an event after the row has: before and was are the limit and the state that the row had.
func (r *ticketRow) wait(d *event.Decoded, before int64, was pb.TicketState) {
	at, w := micros(d.Meta.OccurredAt), &r.waits
	switch after := ticket.StateAfter(d.Event); after {
	case 0, pb.TicketState_TICKET_STATE_HANDLING:
	default: // nobody can decide any more on time for a matter that is not in hand
		w.extensionFrom = never
		w.set(extensionAsked|secondExtension, false)
		if after != pb.TicketState_TICKET_STATE_SUSPENDED {
			w.suspensionFrom = never
			w.set(suspensionAsked, false)
		}
	}
	switch e := d.Event.(type) {
	case *pb.TicketReported:
		r.nextFrom = micros(d.Meta.RecordedAt) // the clock of admission starts when the matter is learnt of
		return
	case *pb.RecordImported:
		w.set(isImported, true)
	case *pb.TicketAccepted:
		w.set(isImported, false)
	case *pb.DeclineProposed, *pb.VoidProposed:
		w.set(isProposed, true)
	case *pb.DeclineDropped, *pb.VoidDropped, *pb.TicketDeclined, *pb.TicketVoided, *pb.ImportedRecordClosed:
		w.set(isProposed, false)
	case *pb.TicketTriaged:
		if was == pb.TicketState_TICKET_STATE_ACCEPTED {
			return // the limit to dispatch runs from where it ran
		}
	case *pb.TicketDispatched:
		if e.Hop <= 1 || w.handleFrom == never {
			w.handleFrom = at
		}
	case *pb.TriageCorrected, *pb.LimitsRecomputed:
		return // a limit moves, and runs from where it ran
	case *pb.TicketDelegated:
		if w.handleFrom == never {
			w.handleFrom = at
		}
	case *pb.TicketReopened:
		w.handleFrom, w.co = at, nil
		w.set(extensionAsked|suspensionAsked, false)
	case *pb.TicketResumed:
		w.handleFrom = at
	case *pb.TicketMerged:
		w.beforeFrom = r.nextFrom
	case *pb.TicketUnmerged:
		r.nextFrom, w.beforeFrom = w.beforeFrom, never
		return
	case *pb.CoHandlerRequested:
		by := micros(e.SubmitBy)
		if by == never {
			by = ever
		}
		w.co = append(w.without(e.Unit), coWait{unit: e.Unit, from: at, by: by})
	case *pb.CoHandlerDeclineProposed:
		w.decline(e.Unit, true)
	case *pb.CoHandlerDeclineDropped:
		w.decline(e.Unit, false)
	case *pb.CoHandlerSubmitted:
		w.co = w.without(e.Unit)
	case *pb.ArchiveCorrectionProposed:
		w.set(correctionAsked, true)
	case *pb.ArchiveCorrectionDropped, *pb.ArchiveCorrected:
		w.set(correctionAsked, false)
	case *pb.ExtensionRequested:
		w.extensionFrom = at
		w.set(extensionAsked, true)
		w.set(secondExtension, e.Kind == pb.ExtensionKind_EXTENSION_KIND_ENGINEERING || e.Number > 1)
	case *pb.ExtensionGranted, *pb.ExtensionRefused:
		w.extensionFrom = never
		w.set(extensionAsked|secondExtension, false)
	case *pb.SuspensionRequested:
		w.suspensionFrom = at
		w.set(suspensionAsked, true)
	case *pb.SuspensionGranted, *pb.SuspensionRefused:
		w.suspensionFrom = never
		w.set(suspensionAsked, false)
	case *pb.ExclusionRequested:
		w.exclusionFrom = at
		w.set(exclusionAsked, true)
	case *pb.ExclusionGranted, *pb.ExclusionDenied:
		w.exclusionFrom = never
		w.set(exclusionAsked, false)
	case *pb.SupervisionRaised:
		w.supervisedFrom = at
		if e.ReplyBy != nil {
			w.replyBy = micros(e.ReplyBy)
		}
		if ticket.Lists(e) {
			w.set(isListed, true)
			w.set(planGiven|listingDone, false)
			w.planBy, w.clearBy = micros(e.PlanBy), micros(e.ClearBy)
		}
	case *pb.SupervisionReplied:
		switch e.Kind {
		case pb.SupervisionReplyKind_SUPERVISION_REPLY_KIND_REPLY:
			w.replyBy = never
		case pb.SupervisionReplyKind_SUPERVISION_REPLY_KIND_PLAN:
			w.set(planGiven, true)
			w.set(listingDone, false)
			w.planBy = never
			if e.ClearBy != nil {
				w.clearBy = micros(e.ClearBy)
			}
		case pb.SupervisionReplyKind_SUPERVISION_REPLY_KIND_DONE:
			w.set(listingDone, true)
		}
	case *pb.ListingCleared:
		w.set(isListed|planGiven|listingDone, false)
		w.planBy, w.clearBy = never, never
	case *pb.SupervisionLifted:
		w.replyBy = never
	}
	switch {
	case r.next == before && r.state == was:
	case r.state == pb.TicketState_TICKET_STATE_HANDLING && r.next == r.handleBy:
		r.nextFrom = w.handleFrom
	default:
		r.nextFrom = at
	}
}

// listedLevel is the level of supervision that lists a problem (挂牌督办).
const listedLevel = 3

// without are the tasks of other co-handlers.
func (w *waits) without(unit string) []coWait {
	var rest []coWait
	for _, c := range w.co {
		if c.unit != unit {
			rest = append(rest, c)
		}
	}
	return rest
}

// decline notes whether a co-handler asks to be released from its task.
func (w *waits) decline(unit string, asked bool) {
	w.co = slices.Clone(w.co)
	for i := range w.co {
		if w.co[i].unit == unit {
			w.co[i].declines = asked
		}
	}
}

// tasks are what the ticket waits for.
func (r *ticketRow) tasks() []waiting {
	var list []waiting
	w := &r.waits
	add := func(t task, unit string, from, by int64) {
		if by == never {
			by = ever
		}
		list = append(list, waiting{t, unit, by, warning(from, by)})
	}
	switch r.state {
	case pb.TicketState_TICKET_STATE_REPORTED, pb.TicketState_TICKET_STATE_ACCEPTED, pb.TicketState_TICKET_STATE_TRIAGED:
		switch {
		case w.is(isImported): // another system sees to it
		case w.is(isProposed): // and nothing else can be done
			add(taskConfirm, "", r.nextFrom, r.next)
		case r.state == pb.TicketState_TICKET_STATE_REPORTED:
			add(taskAccept, "", r.nextFrom, r.next)
		default:
			add(taskDispatch, "", r.nextFrom, r.next)
		}
	case pb.TicketState_TICKET_STATE_DISPATCHED:
		add(taskSign, r.lead, r.nextFrom, r.next)
	case pb.TicketState_TICKET_STATE_HANDLING:
		add(taskHandle, r.lead, w.handleFrom, r.handleBy)
		for _, c := range w.co {
			if c.declines {
				add(taskRelease, c.unit, c.from, c.by)
			} else {
				add(taskCo, c.unit, c.from, c.by)
			}
		}
		if w.is(extensionAsked) {
			decide := taskExtension
			if w.is(secondExtension) {
				decide = taskSecondExtension
			}
			add(decide, "", w.extensionFrom, r.handleBy)
		}
		if w.is(suspensionAsked) {
			add(taskSuspension, "", w.suspensionFrom, r.handleBy)
		}
	case pb.TicketState_TICKET_STATE_RETURN_REVIEW:
		add(taskReturn, "", r.nextFrom, r.next)
	case pb.TicketState_TICKET_STATE_ADJUDICATION:
		add(taskRule, "", r.nextFrom, r.next)
	case pb.TicketState_TICKET_STATE_SUSPENDED:
		add(taskReview, r.lead, r.nextFrom, r.next)
		if w.is(suspensionAsked) {
			add(taskSuspension, "", w.suspensionFrom, r.next)
		}
	case pb.TicketState_TICKET_STATE_RESULT_SUBMITTED:
		add(taskVerify, r.lead, r.nextFrom, r.next)
	case pb.TicketState_TICKET_STATE_CALLBACK:
		if r.asks() {
			add(taskCallback, r.lead, r.nextFrom, r.next)
		} else {
			add(taskClose, "", r.nextFrom, r.closeBy)
		}
	case pb.TicketState_TICKET_STATE_CLOSED:
		if w.is(exclusionAsked) {
			add(taskExclusion, "", w.exclusionFrom, never)
		}
	case pb.TicketState_TICKET_STATE_DECLINED:
		if r.rules.DeclineAppealed {
			add(taskOverturn, "", never, never)
		}
	case pb.TicketState_TICKET_STATE_ARCHIVED:
		if w.is(correctionAsked) {
			add(taskCorrection, "", never, never)
		}
	}
	if !isOpen(r.state) {
		return list
	}
	switch {
	case w.is(isListed) && !w.is(planGiven):
		add(taskPlan, r.lead, w.supervisedFrom, w.planBy)
	case w.is(isListed) && w.is(listingDone):
		add(taskClear, "", w.supervisedFrom, w.clearBy)
	case w.is(isListed):
		add(taskReply, r.lead, w.supervisedFrom, w.clearBy) // that the plan was carried out
	case w.replyBy != never:
		add(taskReply, r.lead, w.supervisedFrom, w.replyBy)
	}
	return list
}

// warning is from when on a quarter of the time of a limit is left, or less.
func warning(from, by int64) int64 {
	if by == ever || from == never || from >= by {
		return by
	}
	return by - (by-from)/4
}

// light is the light of the limit that runs next.
func (r *ticketRow) light(now int64) pb.Light {
	switch {
	case r.state == pb.TicketState_TICKET_STATE_SUSPENDED:
		return pb.Light_LIGHT_GREY
	case r.next == ever || !isOpen(r.state):
		return pb.Light_LIGHT_UNSPECIFIED
	case r.next < now:
		return pb.Light_LIGHT_RED
	case warning(r.nextFrom, r.next) <= now:
		return pb.Light_LIGHT_YELLOW
	}
	return pb.Light_LIGHT_GREEN
}

// waiting is what the rows of what the ticket waits for come to.
func (r *ticketRow) waiting() tasksOf {
	return tasksOf{r.tasks(), r.units, r.path, r.confidential, r.state == pb.TicketState_TICKET_STATE_SUSPENDED}
}

// saveTasks writes what the ticket waits for, if that changed.
func (r *ticketRow) saveTasks(tx *viewdb.Tx) error {
	is := r.waiting()
	was := r.was
	if r.was = is; is.equal(&was) {
		return nil
	}
	if len(was.list) > 0 {
		if err := tx.Put("DELETE FROM tickets_task_4 WHERE ticket = $1", r.ticket); err != nil {
			return err
		}
	}
	for _, w := range is.list {
		err := tx.Put(`INSERT INTO tickets_task_4 (ticket, task, unit, units, path, confidential, due, warn, grey)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			r.ticket, int64(w.task), w.unit, is.units, is.path, is.confidential, w.by, w.warn, is.grey)
		if err != nil {
			return err
		}
	}
	return nil
}

// tasksOf are the rows of a ticket in tickets_task_4.
type tasksOf struct {
	list               []waiting
	units, path        int64
	confidential, grey bool
}

func (t *tasksOf) equal(u *tasksOf) bool {
	return slices.Equal(t.list, u.list) &&
		(len(t.list) == 0 || t.units == u.units && t.path == u.path && t.confidential == u.confidential && t.grey == u.grey)
}

// InboxQuery asks for a page of what waits for a unit in a role's hands.
type InboxQuery struct {
	// Path is the unit's path through the unit tree, root first, itself included.
	Path []string
	// Areas are those that a grid worker's unit governs: what is to be verified there waits too, whoever holds it; and those of an assessment
	// office, for which what lies there waits alone.
	Areas []string
	Role  pb.Role
	// Scope is whose tickets the caller may see: a confidential one waits for nobody else, not even by its number.
	Scope Scope
	// Now is the instant of the lights.
	Now       time.Time
	PageSize  int32
	PageToken string
}

// ranks are the lights in the order of an inbox, by the numbers that queries give them; the last is for what has no limit.
var ranks = []pb.Light{pb.Light_LIGHT_UNSPECIFIED, pb.Light_LIGHT_RED, pb.Light_LIGHT_YELLOW, pb.Light_LIGHT_GREEN, pb.Light_LIGHT_GREY, pb.Light_LIGHT_UNSPECIFIED}

// Inbox gives a page of what waits, the most urgent light first, and of each light what has the least time left; and how much waits by light. A
// ticket has a row for each thing that it waits for.
func (r *Reader) Inbox(ctx context.Context, q InboxQuery) (rows []*pb.InboxRow, counts *pb.InboxCounts, next string, at eventstore.Position, err error) {
	size, err := ticketPages.size(q.PageSize)
	if err != nil {
		return nil, nil, "", 0, err
	}
	now := q.Now.UnixMicro()
	bound := bind("inbox", q.Role.String(), fmt.Sprint(now), fmt.Sprintf("%q %q", q.Path, q.Areas), q.Scope.text())
	text, paged, err := cursor(bound, q.PageToken)
	if err != nil {
		return nil, nil, "", 0, err
	}
	after := []int64{0, 0, 0, 0} // rank, due, ticket, task
	unit := ""
	if paged {
		if _, err := fmt.Sscanf(text, "%d %d %d %d %q", &after[0], &after[1], &after[2], &after[3], &unit); err != nil || !utf8.ValidString(unit) {
			return nil, nil, "", 0, rule.Bad("page_token", rule.BadField, "is none that this service gave")
		}
	}
	counts = new(pb.InboxCounts)
	at, err = r.readTickets(ctx, func(tx *viewdb.Tx) error {
		// Large inboxes are read through in full here, and nowhere else: an index has all that is looked at, and nothing is sorted.
		var all condition
		count := "SELECT SUM(CASE WHEN rank = 1 THEN 1 ELSE 0 END), SUM(CASE WHEN rank = 2 THEN 1 ELSE 0 END), SUM(CASE WHEN rank = 3 THEN 1 ELSE 0 END), " +
			"SUM(CASE WHEN rank = 4 THEN 1 ELSE 0 END) FROM (" + q.waiting(&all, now, false) + ") AS w"
		for row, err := range tx.Query(count, all.args...) {
			if err != nil {
				return err
			}
			counts.Red, counts.Yellow, counts.Green, counts.Grey = row.Int64(0), row.Int64(1), row.Int64(2), row.Int64(3)
		}
		var c condition
		page := "SELECT ticket, task, unit, due, rank FROM (" + q.waiting(&c, now, !paged && counts.Red > int64(size)) + ") AS w"
		if paged {
			page += fmt.Sprintf(" WHERE (rank, due, ticket, task, unit) > (%s, %s, %s, %s, %s)",
				c.arg(after[0]), c.arg(after[1]), c.arg(after[2]), c.arg(after[3]), c.arg(unit))
		}
		page += fmt.Sprintf(" ORDER BY rank, due, ticket, task, unit LIMIT %d", size+1)
		var tickets []int64
		last := ""
		for row, err := range tx.Query(page, c.args...) {
			if err != nil {
				return err
			}
			if len(rows) == size {
				next = token(bound, last)
				break
			}
			tickets = append(tickets, row.Int64(0))
			rows = append(rows, &pb.InboxRow{Task: taskNames[task(row.Int64(1))], DueAt: stamp(row.Int64(3)), Light: ranks[row.Int64(4)]})
			last = fmt.Sprintf("%d %d %d %d %q", row.Int64(4), row.Int64(3), row.Int64(0), row.Int64(1), row.Text(2))
		}
		messages, err := ticketsByNumber(tx, tickets, now)
		for i, t := range tickets {
			if err == nil {
				rows[i].Ticket = messages[t]
			}
		}
		return err
	})
	return rows, counts, next, at, err
}

// waiting is the query for everything that waits, or only for what has a red light: ticket, task, unit, due and the rank of its light.
func (q *InboxQuery) waiting(c *condition, now int64, red bool) string {
	if len(q.Path) == 0 {
		return "SELECT 0 AS ticket, 0 AS task, '' AS unit, 0 AS due, 0 AS rank WHERE 1 = 0"
	}
	at := c.arg(now)
	columns := fmt.Sprintf("SELECT ticket, task, unit, due, CASE WHEN grey = 1 THEN 4 WHEN due < %s THEN 1 WHEN due = %d THEN 5 WHEN warn <= %s THEN 2 ELSE 3 END AS rank FROM tickets_task_4",
		at, ever, at)
	only := ""
	if red {
		only = fmt.Sprintf(" AND grey = 0 AND due < %s", at)
	}
	scope := Scope{Path: q.Path}
	var parts []string
	switch tasks := offices[q.Role]; {
	case q.Role == pb.Role_ROLE_ASSESSMENT:
		// An assessment office stands beside the units that hold tickets: its are those whose matter lies in its area.
		if len(q.Areas) > 0 {
			parts = append(parts, columns+" WHERE task IN ("+numbers(tasks)+") AND path IN ("+steps(c, areaPath, q.Areas)+")"+only+q.seen(c))
		}
	case q.Role == pb.Role_ROLE_AUDITOR:
		parts = append(parts, columns+" WHERE task IN ("+numbers(tasks)+")"+only+q.seen(c)) // of whatever unit
	case len(tasks) > 0:
		parts = append(parts, columns+" WHERE task IN ("+numbers(tasks)+") AND units IN ("+steps(c, unitPath, scope.holders())+")"+only+q.outside(c, tasks)+q.seen(c))
	}
	if slices.Contains(clerks, q.Role) {
		parts = append(parts, fmt.Sprintf("%s WHERE unit IN (%s) AND unit <> '' AND task IN (%s)", columns, names(c, q.Path), numbers(desks))+only+q.seen(c))
	}
	if q.Role == pb.Role_ROLE_GRID_WORKER && len(q.Areas) > 0 {
		parts = append(parts, fmt.Sprintf("%s WHERE task = %d AND confidential = 0 AND path IN (%s)", columns, taskVerify, steps(c, areaPath, q.Areas))+
			only+q.outside(c, []task{taskVerify})+q.unblamed(c))
	}
	if len(parts) == 0 {
		return "SELECT 0 AS ticket, 0 AS task, '' AS unit, 0 AS due, 0 AS rank WHERE 1 = 0"
	}
	return strings.Join(parts, " UNION ")
}

// seen keeps out the confidential tickets that are not in scope, by the rule of lists. What is not confidential waits only for who may see it.
func (q *InboxQuery) seen(c *condition) string {
	if q.Scope.All {
		return ""
	}
	of := condition{args: c.args}
	q.Scope.restrict(&of)
	c.args = of.args
	return " AND (confidential = 0 OR EXISTS (SELECT 1 FROM tickets_4 WHERE tickets_4.ticket = tickets_task_4.ticket AND " + of.sql + "))"
}

// unblamed keeps out what the unit, or one above it, is complained of: it does not verify that, and does not learn of it by the place.
func (q *InboxQuery) unblamed(c *condition) string {
	if len(q.Path) < 2 {
		return ""
	}
	return " AND NOT EXISTS (SELECT 1 FROM tickets_4 WHERE tickets_4.ticket = tickets_task_4.ticket AND against IN (" + names(c, q.Path[1:]) + "))"
}

// outside keeps out what a unit may not verify or ask about, since it or one above it handles the matter.
func (q *InboxQuery) outside(c *condition, tasks []task) string {
	if !slices.Contains(tasks, taskVerify) && !slices.Contains(tasks, taskCallback) {
		return ""
	}
	return fmt.Sprintf(" AND (task NOT IN (%d, %d) OR unit NOT IN (%s))", taskVerify, taskCallback, names(c, q.Path))
}

func numbers(tasks []task) string {
	list := make([]string, len(tasks))
	for i, t := range tasks {
		list[i] = fmt.Sprint(int64(t))
	}
	return strings.Join(list, ", ")
}

// ticketsByNumber are the rows of tickets, by their numbers.
func ticketsByNumber(tx *viewdb.Tx, tickets []int64, now int64) (map[int64]*pb.TicketRow, error) {
	if len(tickets) == 0 {
		return nil, nil
	}
	wanted := slices.Compact(slices.Sorted(slices.Values(tickets)))
	var c condition
	marks := make([]string, len(wanted))
	for i, t := range wanted {
		marks[i] = c.arg(t)
	}
	var list []*ticketRow
	for row, err := range tx.Query("SELECT "+ticketColumns+" FROM tickets_4 WHERE ticket IN ("+strings.Join(marks, ", ")+")", c.args...) {
		if err != nil {
			return nil, err
		}
		t, err := readTicket(row)
		if err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	messages, err := ticketMessages(tx, list, now)
	if err != nil {
		return nil, err
	}
	byNumber := make(map[int64]*pb.TicketRow, len(list))
	for i, t := range list {
		byNumber[t.ticket] = messages[i]
	}
	return byNumber, nil
}
