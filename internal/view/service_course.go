package view

import (
	"slices"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/ticket"
)

// course is a ticket's life up to an instant, as figures ask for it. Instants that have not come are never.
type course struct {
	state        pb.TicketState
	limits       [limitKinds]int64 // in force
	stood        [limitKinds]int64 // that were, before the clock was stopped
	holder, lead []int64           // paths of units, root first

	accepted  int64
	end       byte // as facts have it
	endAt     int64
	imported  bool
	direct    bool
	anonymous bool
	unwanted  bool // nobody is to be called back
	whistled  bool
	extended  bool
	suspended bool // at least once

	first      int // the place of the first dispatch in segments; -1: none yet
	dispatchBy int64
	raised     int // escalations that stand

	lifted     int64 // the place of the level of the child wall that its post was lifted from; 0: none
	liftedAt   int64
	liftedUnit []int64

	segments []segment
	rounds   []turn
	verified []verified
	closings []closing
	co       []coTask
	children []answer // of the petitioner of a merged ticket

	stays      []stay
	stay       stay // the present one; stage UNSPECIFIED: none
	supervised stay
	holds      []hold
	listings   []listing
	raises     []raise
}

// segment is the time that one lead has a ticket for: a hop, an escalation, a delegation, or the round of a reopening.
type segment struct {
	what            what
	at, round       int64
	unit, centre    []int64
	level           int64 // its place; 0 if it is not known
	signBy, signed  int64
	asked, rejected bool // that it be returned
	fault           pb.ReturnFault
	wrong           bool
}

// turn is one way through handling.
type turn struct {
	opened             int64 // the first dispatch of the round, or the reopening
	handle, segment    int64 // limits, as they last ran
	contactBy, contact int64
	result             int64 // the last that was not sent back
	unit               []int64
	stopped            int64 // microseconds of suspension before the result
	failed             int
	out                [64]byte // by a metric's number: the code of the exclusion granted, which holds for this round
	outUnit            int64    // whose metrics the exclusion is about: the lead when it was granted
	put                int64    // to callback
	settled            int64
	answer             *answer // nil: settled without one
	closed             int64
}

type answer struct {
	at                              int64
	contacted, solved, satisfaction int64
}

type verified struct {
	at     int64
	failed bool
	unit   []int64
}

type closing struct {
	at               int64
	direct, reopened bool
	unit             []int64
}

// coTask is due unless it is gone: it ended by nobody's fault.
type coTask struct {
	by, done int64
	gone     bool
	unit     []int64
}

// stay is the time spent in a stage.
type stay struct {
	stage    pb.Stage
	from, to int64
	overdue  bool
	unit     []int64
}

// hold is a suspension. to is never while it goes on.
type hold struct {
	reason   int64
	from, to int64
	unit     []int64
}

// listing is the time a problem is listed for. account is when its supervision rose above that, by the day that it is to be cleared by, level the place
// of the issuer's level.
type listing struct {
	from, to, account int64
	by, level         int64
	unit              []int64
}

// raise is once that supervision was raised.
type raise struct {
	at, level int64
	unit      []int64
}

// walk is what had happened by T, of what is recorded. The lead is the one that is known now: figures are grouped by that.
func (l *life) walk(t int64) *course {
	c := &course{accepted: never, first: -1, dispatchBy: never}
	for i := range c.limits {
		c.limits[i], c.stood[i] = never, never
	}
	for i := range l.steps {
		if s := &l.steps[i]; s.at <= t {
			c.step(s)
		}
	}
	if t != ever {
		c.lead = l.walk(ever).lead
	}
	return c
}

func (c *course) step(s *step) {
	if s.what == didDispatch || s.what == didDelegate {
		if c.first < 0 {
			c.dispatchBy = c.limits[byDispatch]
		}
	}
	if s.what == didSupervise || s.what == didClear {
		c.supervised.overdue = c.supervised.overdue || passed(c.limits[byReply], s.at) || passed(c.limits[byClear], s.at)
	}
	if s.what == didLapse || s.what == didRejectReturn && s.n[0] == 1 {
		c.stay.overdue = true // what happens when a limit has passed is dated at the limit
	}
	if s.state != 0 && s.what != didImport {
		c.enter(s.state, s.at)
	}
	if s.what != didAskCo {
		c.set(s.by)
	}
	if g := c.segment(); g != nil && s.what == didSet && c.state == pb.TicketState_TICKET_STATE_DISPATCHED {
		g.signBy = c.limits[bySign] // counted again, or for another grade
	}
	switch s.what {
	case didReport:
		c.anonymous, c.unwanted = s.n[0] == 1, s.n[1] == 1
		c.holder = s.unit
		if len(s.n) > 2 { // its unit is that of the wall it was lifted from
			c.lifted, c.liftedAt, c.liftedUnit = s.n[2], s.at, s.unit
		}
	case didImport:
		c.imported = true
	case didAccept:
		c.accepted, c.end = s.at, stays
		if s.n[0] >= 0 {
			c.anonymous = s.n[0] == 1
		}
		if s.n[1] >= 0 {
			c.unwanted = s.n[1] == 1
		}
		c.hold(s.unit)
	case didLeave:
		c.end, c.endAt = byte(s.n[0]), s.at
		c.endSupervision(s.at)
		c.endListing(s.at)
	case didReturnToLife:
		c.end, c.children = stays, nil // it is asked about for itself again
	case didAnswer:
		c.direct = true
		c.close(s.at)
	case didSet:
		c.hold(s.unit)
	case didMove:
		if isOf(c.holder, s.other[0]) {
			c.hold(s.unit)
		}
		if isOf(c.lead, s.other[0]) {
			c.dropCo(s.at, s.keepsCo)
			c.lead = s.unit
		}
	case didDispatch, didDelegate, didEscalate, didSendDown:
		c.dropCo(s.at, s.keepsCo)
		c.take(s)
	case didSign:
		if g := c.segment(); g != nil && g.signed == never {
			g.signed = s.at
		}
	case didContact:
		if r := c.turn(); r.contact == never || s.at < r.contact {
			r.contact = s.at
		}
	case didAskReturn:
		if g := c.segment(); g != nil {
			g.asked = true
		}
	case didApproveReturn:
		if g := c.segment(); g != nil {
			g.fault = pb.ReturnFault(s.n[0])
			g.wrong = g.fault == pb.ReturnFault_RETURN_FAULT_DISPATCH_ERROR
		}
		c.dropCo(s.at, nil)
		c.hold(s.unit)
	case didRejectReturn:
		if g := c.segment(); g != nil {
			g.rejected = true
		}
	case didRule:
		c.rule(s)
	case didAskCo:
		by := never
		for _, d := range s.by {
			by = d.by
		}
		c.co = append(c.co, coTask{by: by, done: never, unit: s.unit})
	case didDropCo, didSubmitCo:
		c.coDone(s)
	case didWaiveCo:
		c.dropCo(s.at, nil)
	case didResume:
		// The clock of others' tasks stood too, but no task outlasts the ticket's own limit.
		c.eachCo(s.at, func(t *coTask) { t.by = min(t.by, max(s.at, c.limits[byHandle])) })
	case didExtend:
		c.extended = true
	case didSuspend:
		c.suspended = true
		if n := len(c.holds); n == 0 || c.holds[n-1].to != never {
			c.holds = append(c.holds, hold{reason: s.n[0], from: s.at, to: never, unit: c.lead})
		}
	case didSubmit:
		r := c.turn()
		r.result, r.unit = s.at, c.lead
		r.stopped = c.stopped(r.opened, s.at)
	case didSendBack:
		c.turn().result = never
	case didPass, didFail:
		r := c.turn()
		c.verified = append(c.verified, verified{s.at, s.what == didFail, c.lead})
		if s.what == didFail {
			r.failed++
			r.result = never
		} else {
			r.put = s.at
		}
	case didCallBack:
		a := &answer{s.at, s.n[0], s.n[1], s.n[2]}
		if c.end == merged {
			c.children = append(c.children, *a)
			break
		}
		r := c.turn()
		r.settled, r.answer = s.at, a
	case didNotReach:
		r := c.turn()
		r.settled, r.answer = s.at, nil
	case didClose:
		if r := c.turn(); r.settled == never && r.put != never {
			r.settled = s.at
		}
		c.close(s.at)
	case didReopen:
		c.reopen(s)
	case didExclude:
		r := c.turn()
		for _, metric := range s.n[1:] {
			r.out[metric] = byte(s.n[0])
		}
		if n := len(c.lead); n > 0 {
			r.outUnit = c.lead[n-1]
		}
	case didSupervise:
		c.supervise(s)
	case didReply:
		c.supervised.overdue = c.supervised.overdue || passed(c.limits[byReply], s.at)
		c.limits[byReply] = never
	case didClear:
		c.endListing(s.at)
		c.limits[byClear] = never
	case didLift:
		c.endSupervision(s.at)
		c.endListing(s.at)
	case didWhistle:
		c.whistled = true
	}
	if n := len(c.rounds); n > 0 {
		r := &c.rounds[n-1]
		if by := c.limits[byHandle]; by != never {
			r.handle = by
		}
		if by := c.limits[bySegment]; by != never {
			r.segment = by
		}
		r.contactBy = c.limits[byContact]
	}
	if g := c.listing(); g != nil && c.limits[byClear] != never {
		g.by = c.limits[byClear]
	}
}

// listing is that which is not cleared; nil if there is none.
func (c *course) listing() *listing {
	if n := len(c.listings); n > 0 && c.listings[n-1].to == never {
		return &c.listings[n-1]
	}
	return nil
}

// set puts limits in force.
func (c *course) set(by []due) {
	for _, d := range by {
		switch {
		case d.by != never:
			c.stood[d.which] = never
		case c.limits[d.which] != never:
			c.stood[d.which] = c.limits[d.which]
		}
		c.limits[d.which] = d.by
	}
}

// due is the limit that decides the period; stopped: it was, when the clock was stopped. never if there is none.
func (c *course) due(which which) (by int64, stopped bool) {
	if by := c.limits[which]; by != never {
		return by, false
	}
	return c.stood[which], true
}

func (c *course) hold(unit []int64) {
	if len(unit) > 0 {
		c.holder = unit
	}
}

// isOf says whether a path is that of a unit.
func isOf(path []int64, unit int64) bool { return len(path) > 0 && path[len(path)-1] == unit }

func passed(by, at int64) bool { return by != never && by < at }

// enter notes a main state. An EVALUATE stay ends with the closing: a closed ticket waits for nobody.
func (c *course) enter(state pb.TicketState, at int64) {
	if state == c.state {
		return
	}
	if n := len(c.holds); n > 0 && c.holds[n-1].to == never && state != pb.TicketState_TICKET_STATE_SUSPENDED {
		h := &c.holds[n-1]
		h.to = max(at, h.from)
		c.eachCo(h.from, func(t *coTask) { t.by += h.to - h.from })
	}
	for _, which := range limitsIn(c.state) {
		c.stay.overdue = c.stay.overdue || passed(c.limits[which], at)
	}
	stage := ticket.StageOf(state)
	if state == pb.TicketState_TICKET_STATE_CLOSED {
		stage = pb.Stage_STAGE_UNSPECIFIED
	}
	c.state = state
	if stage == c.stay.stage {
		return
	}
	if c.stay.stage != pb.Stage_STAGE_UNSPECIFIED {
		c.stay.to, c.stay.unit = max(at, c.stay.from), c.holder
		c.stays = append(c.stays, c.stay)
	}
	c.stay = stay{stage: stage, from: at}
}

// limitsIn are the limits that run in a state.
func limitsIn(s pb.TicketState) []which {
	switch s {
	case pb.TicketState_TICKET_STATE_REPORTED:
		return []which{byAccept}
	case pb.TicketState_TICKET_STATE_ACCEPTED, pb.TicketState_TICKET_STATE_TRIAGED:
		return []which{byDispatch}
	case pb.TicketState_TICKET_STATE_RETURN_REVIEW:
		return []which{byDecide}
	case pb.TicketState_TICKET_STATE_ADJUDICATION:
		return []which{byRuling}
	case pb.TicketState_TICKET_STATE_DISPATCHED:
		return []which{bySign, byHandle}
	case pb.TicketState_TICKET_STATE_HANDLING:
		return []which{byHandle}
	case pb.TicketState_TICKET_STATE_RESULT_SUBMITTED:
		return []which{byVerify}
	case pb.TicketState_TICKET_STATE_CALLBACK:
		return []which{byCallback, byClose}
	}
	return nil
}

// segment is the present lead's; nil before the first dispatch.
func (c *course) segment() *segment {
	if len(c.segments) == 0 {
		return nil
	}
	return &c.segments[len(c.segments)-1]
}

// turn is the present round.
func (c *course) turn() *turn {
	if len(c.rounds) == 0 {
		c.rounds = append(c.rounds, newTurn(never))
	}
	return &c.rounds[len(c.rounds)-1]
}

// out is the code of the exclusion that keeps the present round out of a metric; 0: none does.
func (c *course) out(metric int64) byte {
	if len(c.rounds) == 0 {
		return 0
	}
	return c.turn().out[metric]
}

func newTurn(opened int64) turn {
	return turn{opened: opened, handle: never, segment: never, contactBy: never, contact: never, result: never, put: never, settled: never, closed: never}
}

// take notes a new lead.
func (c *course) take(s *step) {
	r := c.turn()
	if r.opened == never {
		r.opened = s.at
	}
	c.lead, c.holder = s.unit, s.unit
	switch s.what {
	case didDispatch, didDelegate:
		if c.first < 0 {
			c.first = len(c.segments)
		}
	case didEscalate:
		c.raised++
	case didSendDown:
		c.raised--
	}
	c.segments = append(c.segments, segment{
		what: s.what, at: s.at, round: int64(len(c.rounds)), unit: s.unit, level: s.n[0], centre: s.other, signBy: c.limits[bySign], signed: never,
	})
}

// rule notes a ruling: a dispatch to a unit that does not lead by it was wrong, unless only the facts had changed.
func (c *course) rule(s *step) {
	for i := range c.segments {
		g := &c.segments[i]
		n := len(g.unit)
		if g.round != int64(len(c.rounds)) || g.fault != 0 || n == 0 {
			continue
		}
		for _, unit := range s.other {
			if unit == g.unit[n-1] {
				g.fault = pb.ReturnFault(s.n[0])
				g.wrong = g.fault != pb.ReturnFault_RETURN_FAULT_FACTS_CHANGED
			}
		}
	}
}

// coDone ends the latest open task of a unit; one that is declined is none.
func (c *course) coDone(s *step) {
	for i := len(c.co) - 1; i >= 0; i-- {
		t := &c.co[i]
		if t.gone || t.done != never || !isOf(t.unit, s.unit[0]) {
			continue
		}
		t.done, t.gone = s.at, s.what == didDropCo
		return
	}
}

// eachCo yields the tasks that are not done and were not overdue at an instant.
func (c *course) eachCo(at int64, yield func(t *coTask)) {
	for i := range c.co {
		if t := &c.co[i]; !t.gone && t.done == never && t.by != never && t.by >= at {
			yield(t)
		}
	}
}

// dropCo ends the open tasks that are not overdue yet: their ticket goes on without them, or not at all. keep says of which that is not so.
func (c *course) dropCo(at int64, keep func(t *coTask) bool) {
	c.eachCo(at, func(t *coTask) { t.gone = keep == nil || !keep(t) })
}

// keepsCo says whether a task goes on under the lead that a step names: a dispatch lists the co-handlers; else only that of a unit that
// leads itself now is none.
func (s *step) keepsCo(t *coTask) bool {
	n := len(t.unit)
	if n == 0 {
		return false
	}
	if s.what == didDispatch {
		return slices.Contains(s.n[1:], t.unit[n-1])
	}
	return !isOf(s.unit, t.unit[n-1])
}

// stopped is for how long of [from, to) the clock stood.
func (c *course) stopped(from, to int64) (sum int64) {
	for _, h := range c.holds {
		end := h.to
		if end == never {
			end = to
		}
		if d := min(end, to) - max(h.from, from); d > 0 {
			sum += d
		}
	}
	return sum
}

func (c *course) close(at int64) {
	c.turn().closed = at
	if c.imported && c.first < 0 {
		return // another system's closing, of which nothing more is known
	}
	c.dropCo(at, nil)
	c.closings = append(c.closings, closing{at: at, direct: c.direct, unit: c.lead})
	c.endSupervision(at)
	c.endListing(at)
}

func (c *course) reopen(s *step) {
	if n := len(c.closings); n > 0 && c.turn().closed != never {
		c.closings[n-1].reopened = true
	}
	c.direct = false
	c.dropCo(s.at, nil)
	c.rounds = append(c.rounds, newTurn(s.at))
	c.holder = c.lead
	level := int64(0)
	if g := c.segment(); g != nil {
		level = g.level
	}
	c.segments = append(c.segments, segment{what: s.what, at: s.at, round: int64(len(c.rounds)), unit: c.lead, level: level, signBy: c.limits[bySign], signed: never})
}

func (c *course) supervise(s *step) {
	if c.supervised.stage == pb.Stage_STAGE_UNSPECIFIED {
		c.supervised = stay{stage: pb.Stage_STAGE_SUPERVISE, from: s.at}
	}
	open := c.listing()
	c.raises = append(c.raises, raise{s.at, s.n[0], c.lead})
	switch level := s.n[0]; {
	case open == nil && (level == listedLevel || s.n[1] == 1):
		g := listing{from: s.at, to: never, account: never, by: never, level: s.n[2], unit: c.lead}
		if level > listedLevel {
			g.account = s.at
		}
		c.listings = append(c.listings, g)
	case level > listedLevel && open != nil && open.account == never:
		open.account = max(s.at, open.from)
	}
}

func (c *course) endSupervision(at int64) {
	if c.supervised.stage != pb.Stage_STAGE_UNSPECIFIED {
		s := c.supervised
		s.to, s.unit = max(at, s.from), c.lead
		s.overdue = s.overdue || passed(c.limits[byReply], at) || passed(c.limits[byClear], at)
		c.stays = append(c.stays, s)
	}
	c.supervised = stay{}
	c.limits[byReply], c.limits[byClear] = never, never
}

func (c *course) endListing(at int64) {
	if g := c.listing(); g != nil {
		g.to = max(at, g.from, g.account)
	}
}
