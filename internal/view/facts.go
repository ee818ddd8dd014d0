package view

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/event"
)

// Instants are whole microseconds UTC. never is the instant of what has not happened, ever that after all instants.
const (
	never int64 = math.MinInt64
	ever  int64 = math.MaxInt64
)

func micros(t *timestamppb.Timestamp) int64 {
	if t == nil {
		return never
	}
	return t.Seconds*1_000_000 + int64(t.Nanos)/1_000
}

// facts are what the figures of a ticket follow from.
type facts struct {
	ticket   int64 // the position of its first event: a number that is the same however batches are cut
	id, no   string
	imported bool
	direct   bool // answered directly

	reported, accepted, dispatched int64 // dispatched is the first time

	limits []limit // handle_by, each with the instant it came into force, in the order of recording
	dues   []limit // close_by likewise
	rounds []round
	ends   []mark // why it left, or stays again, in the order of recording
	out    []mark // exclusions from M13 that were granted: the number of the code; 0: a later round counts again

	// The nodes it counts at.
	fixed, area, unit []int64
	category          int64
}

type limit struct{ from, by int64 }

// mark is something that became so at an instant.
type mark struct {
	at   int64
	what byte
}

// marked is what had become so by T; 0 if nothing.
func marked(marks []mark, t int64) (what byte) {
	for _, m := range marks {
		if m.at <= t {
			what = m.what
		}
	}
	return what
}

// round is one way through handling, from the report or a reopening to a closing.
type round struct {
	opened int64 // the reopening; never for the first
	closed int64
	limit  int64 // close_by as it was when the closing was recorded
	redo   int64 // redo_by
	result int64 // the last result submitted
}

// Why a ticket has left. stays: it has not, or has come back.
const (
	stays byte = iota
	declined
	voided
	merged
	withdrawn
)

// end is why the ticket had left by T.
func (f *facts) end(t int64) byte { return marked(f.ends, t) }

func (f *facts) leave(at int64, why byte) { f.ends = append(slices.Clip(f.ends), mark{at, why}) }

// fold takes in an event of the ticket's stream. Every event has its case.
func (f *facts) fold(d *event.Decoded, nodes *nodes) error {
	at := micros(d.Meta.OccurredAt)
	switch e := d.Event.(type) {
	case *pb.TicketReported:
		f.begin(d, e.No, at)
		return errors.Join(
			nodes.put(&f.fixed, "all", ""),
			nodes.put(&f.fixed, "channel", e.Channel.String()),
			nodes.set(&f.category, "category", e.Category),
			f.lie(e.Path, nodes))
	case *pb.RecordImported:
		f.begin(d, e.No, at)
		f.imported = true
		if e.DueAt != nil {
			f.dues = append(f.dues, limit{at, micros(e.DueAt)})
		}
		err := errors.Join(
			nodes.put(&f.fixed, "all", ""),
			nodes.put(&f.fixed, "channel", e.Channel.String()),
			nodes.set(&f.category, "category", e.Category),
			f.lie(e.Path, nodes),
			nodes.put(&f.unit, "unit", e.Agency))
		for _, dim := range e.Dimensions {
			err = errors.Join(err, nodes.put(&f.fixed, dim.Level, dim.Value))
		}
		return err
	case *pb.TicketAccepted:
		f.accepted = at
		return f.lie(e.Path, nodes)
	case *pb.TicketTriaged:
		return errors.Join(nodes.set(&f.category, "category", e.Category), f.lie(e.Path, nodes))
	case *pb.TriageCorrected:
		f.moved(e.HandleBy)
		f.limits = within(f.limits, at, e.HandleBy)
		f.dues = within(f.dues, at, e.CloseBy)
		err := f.lie(e.Path, nodes)
		if e.Category != "" {
			err = errors.Join(err, nodes.set(&f.category, "category", e.Category))
		}
		return err
	case *pb.TicketDispatched:
		if f.dispatched == never {
			f.dispatched = at
		}
		f.limits = within(f.limits, at, e.HandleBy)
		f.dues = within(f.dues, at, e.CloseBy)
		return f.lead(e.Lead, e.LeadPath, nodes)
	case *pb.ResultSubmitted:
		f.round().result = at
	case *pb.TicketAnsweredDirectly:
		f.direct = true
		f.close(at)
	case *pb.TicketClosed:
		f.direct = f.direct || e.Kind == pb.CloseKind_CLOSE_KIND_DIRECT
		f.close(at)
	case *pb.ImportedRecordClosed:
		f.close(at)
	case *pb.TicketReopened:
		f.round() // the one that was closed is there, whatever is known of it
		f.rounds = append(f.rounds, round{opened: at, closed: never, limit: never, redo: micros(e.RedoBy), result: never})
		f.direct = false
		if n := len(f.out); n > 0 && f.out[n-1].what != 0 {
			f.out = append(slices.Clip(f.out), mark{at, 0}) // what was left out is the round that was closed
		}
		f.limits = within(f.limits, at, e.RedoBy)
		f.dues = within(f.dues, at, e.CloseBy)
	case *pb.TicketDeclined:
		f.leave(at, declined)
	case *pb.TicketVoided:
		f.leave(at, voided)
	case *pb.DeclineOverturned:
		f.accepted = at
		f.leave(at, stays)
		return f.lie(e.Path, nodes)
	case *pb.TicketMerged:
		f.leave(at, merged)
	case *pb.TicketUnmerged:
		f.leave(at, stays)
	case *pb.TicketWithdrawn:
		f.leave(at, withdrawn)
	case *pb.TicketEscalated:
		return f.lead(e.To, e.LeadPath, nodes)
	case *pb.EscalationRefused:
		return f.lead(e.To, e.LeadPath, nodes)
	case *pb.TicketDelegated:
		if f.dispatched == never {
			f.dispatched = at
		}
		f.limits = within(f.limits, at, e.HandleBy)
		f.dues = within(f.dues, at, e.CloseBy)
		return f.lead(e.To, e.LeadPath, nodes)
	case *pb.HolderMoved:
		n := len(f.unit)
		if n == 0 {
			return nil
		}
		from, err := nodes.get("unit", e.From)
		if err != nil || f.unit[n-1] != from.id {
			return err
		}
		return f.lead(e.To, e.HolderPath, nodes)
	case *pb.ExtensionGranted:
		f.moved(e.HandleBy)
		f.limits = within(f.limits, at, e.HandleBy)
		f.dues = within(f.dues, at, e.CloseBy)
	case *pb.SuspensionGranted:
		f.limits = append(slices.Clip(f.limits), limit{at, never})
		f.dues = append(slices.Clip(f.dues), limit{at, never})
	case *pb.ExclusionGranted:
		if slices.Contains(e.Metrics, "M13") {
			f.out = append(slices.Clip(f.out), mark{at, byte(e.Code)})
		}
	case *pb.TicketResumed:
		f.moved(e.HandleBy)
		f.limits = within(f.limits, at, e.HandleBy)
		f.dues = within(f.dues, at, e.CloseBy)
	case *pb.LimitsRecomputed:
		f.moved(e.HandleBy)
		f.limits = within(f.limits, at, e.HandleBy)
		f.dues = within(f.dues, at, e.CloseBy)
	case *pb.ArchiveCorrected:
		if e.Category != "" {
			if err := nodes.set(&f.category, "category", e.Category); err != nil {
				return err
			}
		}
		return f.lie(e.Path, nodes)
	case *pb.DeclineAppealed, *pb.EmergencyHandedOver, *pb.DuplicateAttached, *pb.DuplicateDetached, *pb.ReturnRequested, *pb.ReturnApproved,
		*pb.ReturnRejected, *pb.AdjudicationOpened, *pb.AdjudicationRuled, *pb.FallbackAssigned, *pb.CoHandlerRequested,
		*pb.CoHandlerAccepted, *pb.CoHandlerDeclineProposed, *pb.CoHandlerDeclineDropped, *pb.CoHandlerDeclined, *pb.CoHandlerSubmitted,
		*pb.ExtensionRequested, *pb.ExtensionRefused, *pb.SuspensionRequested, *pb.SuspensionRefused, *pb.SuspensionReviewDue,
		*pb.ResultRejected, *pb.ExclusionRequested, *pb.ExclusionDenied, *pb.TicketUrged, *pb.SupervisionRaised,
		*pb.SupervisionReplied, *pb.ListingCleared, *pb.SupervisionLifted, *pb.TicketArchived, *pb.ArchiveCorrectionProposed,
		*pb.ArchiveCorrectionDropped, *pb.AcceptOverdue, *pb.DispatchOverdue, *pb.SignOverdue, *pb.ContactOverdue, *pb.HandleOverdue,
		*pb.VerifyOverdue, *pb.CallbackOverdue, *pb.RightLapsed:
		// No figure changes.
	case *pb.DeclineProposed, *pb.DeclineDropped, *pb.TicketSigned, *pb.PetitionerContacted, *pb.ContactFailed,
		*pb.ProgressRecorded, *pb.RequirementWaived, *pb.VerificationPassed, *pb.VerificationFailed, *pb.CallbackRecorded,
		*pb.CallbackAttemptFailed, *pb.CallbackUnreachable, *pb.VoidProposed, *pb.VoidDropped, *pb.WhistleLinked, *pb.WhistleSettled,
		*pb.WhistleAsked, *pb.WhistleAskDeclined, *pb.TicketClaimed, *pb.EchoPublished,
		*pb.LeadRated, *pb.JointReviewRecorded, *pb.VerificationSampledOut, *pb.LateFactsAdmitted:
		// No figure changes.
	default:
		return unknown(d)
	}
	return nil
}

func (f *facts) begin(d *event.Decoded, no string, at int64) {
	*f = facts{ticket: int64(d.Position), id: f.id, no: no, reported: at, accepted: never, dispatched: never}
}

// lie notes where the ticket lies; an empty path says nothing.
func (f *facts) lie(path []*pb.AreaNode, nodes *nodes) error {
	if len(path) == 0 {
		return nil
	}
	ids, err := nodes.path(path)
	f.area = ids
	return err
}

// lead notes who leads now; its figures add up along its path.
func (f *facts) lead(unit string, path []string, nodes *nodes) error {
	f.unit = f.unit[:0]
	if len(path) == 0 {
		path = []string{unit}
	}
	for _, code := range path {
		if err := nodes.put(&f.unit, "unit", code); err != nil {
			return err
		}
	}
	return nil
}

// within notes a limit that came into force, unless it was in force already.
func within(limits []limit, from int64, by *timestamppb.Timestamp) []limit {
	if by == nil || len(limits) > 0 && limits[len(limits)-1].by == micros(by) {
		return limits
	}
	return append(slices.Clip(limits), limit{from, micros(by)})
}

// moved notes that the handle limit is another now: in a later round it is that of the redo.
func (f *facts) moved(by *timestamppb.Timestamp) {
	if n := len(f.rounds); n > 0 && by != nil && f.rounds[n-1].redo != never {
		f.rounds[n-1].redo = micros(by)
	}
}

// round is the present one.
func (f *facts) round() *round {
	if len(f.rounds) == 0 {
		f.rounds = append(f.rounds, round{opened: never, closed: never, limit: never, redo: never, result: never})
	}
	return &f.rounds[len(f.rounds)-1]
}

func (f *facts) close(at int64) {
	r := f.round()
	r.closed, r.limit = at, never
	if n := len(f.dues); n > 0 {
		r.limit = f.dues[n-1].by
	}
}

// keys are the ids of the nodes the ticket counts at, sorted, each once.
func (f *facts) keys() []int64 {
	all := make([]int64, 0, len(f.fixed)+len(f.area)+len(f.unit)+1)
	all = append(append(append(append(all, f.fixed...), f.area...), f.unit...), f.category)
	slices.Sort(all)
	return slices.Compact(all)
}

// at is the limit in force at T, never if there is none.
func at(limits []limit, t int64) int64 {
	by := never
	for _, l := range limits {
		if l.from <= t {
			by = l.by
		}
	}
	return by
}

// stood is the limit that was in force before the clock was stopped, never if it runs at T.
func stood(limits []limit, t int64) int64 {
	by := never
	stopped := false
	for _, l := range limits {
		if l.from > t {
			continue
		}
		if stopped = l.by == never; !stopped {
			by = l.by
		}
	}
	if !stopped {
		return never
	}
	return by
}

// last is the round that has begun at T.
func (f *facts) last(t int64) (n int, r round) {
	r = round{closed: never}
	for i := range f.rounds {
		if f.rounds[i].opened <= t {
			n, r = i, f.rounds[i]
		}
	}
	return n, r
}

// Columns of the stock: what of it a ticket is, at an instant, or has been counted as up to it.
const (
	cReported   = iota // flow: M01
	cTotal             // reported, less voided and merged
	cClosed            // of these, the last round closed
	cDue               // of total, with a close_by
	cWithin            // of closed, at or before close_by
	cLate              // of closed, after close_by
	cOverdue           // of total, not closed, close_by passed
	cPast              // open and handle_by passed: M15
	cAccepted          // flow into the open stock of M16
	cClosings          // flow
	cLeft              // flow: declined, voided, withdrawn
	cMerged            // flow
	cReopened          // flow
	cDispatched        // flow: M04
	stockColumns
)

type stock [stockColumns]int8

// status is where a ticket stands towards the open stock.
type status byte

const (
	before status = iota
	open
	shut
	left
)

// state is what a ticket is at T, and where it stands. Flows are not in it.
func (f *facts) state(t int64) (s stock, at1 status) {
	if t < f.reported {
		return s, before
	}
	end := f.end(t)
	_, r := f.last(t)
	closed := r.closed != never && r.closed <= t
	due := at(f.dues, t)
	if end != voided && end != merged {
		s[cTotal] = 1
		if due != never {
			s[cDue] = 1
		}
		switch {
		case closed:
			s[cClosed] = 1
			if due != never && r.closed <= due {
				s[cWithin] = 1
			} else if due != never {
				s[cLate] = 1
			}
		case due != never && due < t:
			s[cOverdue] = 1
		}
	}
	limit := due // an imported record knows no other
	taken := f.reported
	if !f.imported {
		taken = f.accepted
		limit = at(f.limits, t)
	}
	switch {
	case taken == never || taken > t:
		return s, before
	case end != stays:
		return s, left
	case closed:
		return s, shut
	}
	if limit != never && limit < t {
		s[cPast] = 1
	}
	return s, open
}

// change is what a ticket adds to the counts of its nodes from an instant on.
type change struct {
	at    int64
	delta stock
	// rated: what it adds to the rates of a period changes too.
	rated bool
}

// changes are the ticket's contribution as a function of the instant: a sum of steps, in order.
func (f *facts) changes() []change {
	points := make([]int64, 0, 12)
	add := func(t int64) {
		if t != never {
			points = append(points, max(t, f.reported))
		}
	}
	add(f.reported)
	add(f.accepted)
	add(f.dispatched)
	for _, m := range f.ends {
		add(m.at)
	}
	for _, m := range f.out {
		add(m.at)
	}
	for _, limits := range [][]limit{f.dues, f.limits} {
		for _, l := range limits {
			add(l.from)
			if l.by != never {
				add(l.by + 1)
			}
		}
	}
	for _, r := range f.rounds {
		add(r.opened)
		add(r.closed)
	}
	slices.Sort(points)
	points = slices.Compact(points)
	list := make([]change, 0, len(points))
	var was stock
	var stoodAt status
	rated := f.rates(never + 1)
	for _, t := range points {
		is, stands := f.state(t)
		c := change{at: t}
		for i := range is {
			c.delta[i] = is[i] - was[i]
		}
		if t == f.reported {
			c.delta[cReported] = 1
		}
		if f.dispatched != never && t == max(f.dispatched, f.reported) {
			c.delta[cDispatched] = 1
		}
		c.flow(stoodAt, stands, f.end(t))
		rates := f.rates(t)
		c.rated = rates != rated
		if c.rated || c.delta != (stock{}) {
			list = append(list, c)
		}
		was, stoodAt, rated = is, stands, rates
	}
	return list
}

// flow counts a step so that opening + accepted - closings - left - merged + reopened = closing. A ticket that comes back after it
// had left counts as reopened, one whose decline is overturned as accepted, since it had not been.
func (c *change) flow(from, to status, end byte) {
	if from == before && to != before {
		c.delta[cAccepted]++
		from = open
	}
	switch {
	case from == open && to == shut:
		c.delta[cClosings]++
	case from == shut && to == open, from == left && to == open:
		c.delta[cReopened]++
	case from == open && to == left && end == merged:
		c.delta[cMerged]++
	case from == open && to == left:
		c.delta[cLeft]++
	}
}

// Columns of the rates of periods.
const (
	rIntake    = iota // M02: reported
	rTaken            // M02: of these, accepted
	rDue              // M12: close_by in the period
	rClosed           // M12: of these, closed
	rTimed            // M13: close_by in the period
	rInTime           // M13: of these, in time in every round
	rDueX1            // declined, voided or withdrawn
	rDueX2            // merged
	rDueX3            // answered directly
	rDueX4            // suspended; by the close_by it had until then
	rTimedX9          // M13: force majeure
	rTimedX11         // M13: harassment
	rTimedX12         // M13: in another procedure
	rAccepted         // M14: accepted
	rDone             // M14: of these, closed
	rAccepted1        // declined, voided or withdrawn
	rAccepted2        // merged
	rateColumns
)

// rates is what a ticket adds to the rates of periods, each at the instant that decides the period.
type rates struct {
	intake, accepted, due int64 // never: it adds nothing
	cols                  [rateColumns]int8
}

// bucket is the instant that decides the period of a column.
func (r *rates) bucket(col int) int64 {
	switch {
	case col <= rTaken:
		return r.intake
	case col <= rTimedX12:
		return r.due
	}
	return r.accepted
}

// rates is what is true at T; ever is as good as now, with all that is known.
func (f *facts) rates(t int64) rates {
	r := rates{intake: never, accepted: never, due: never}
	if t < f.reported {
		return r
	}
	end := f.end(t)
	n, last := f.last(t)
	closed := last.closed != never && last.closed <= t
	if !f.imported {
		r.intake, r.cols[rIntake] = f.reported, 1
		if f.accepted != never && f.accepted <= t {
			r.accepted = f.accepted
			r.cols[rTaken] = 1
			switch {
			case end == merged:
				r.cols[rAccepted2] = 1
			case end != stays:
				r.cols[rAccepted1] = 1
			default:
				r.cols[rAccepted] = 1
				if closed {
					r.cols[rDone] = 1
				}
			}
		}
	}
	suspended := false
	if r.due = at(f.dues, t); r.due == never {
		if r.due = stood(f.dues, t); r.due == never {
			return r
		}
		suspended = true
	}
	switch {
	case end == merged:
		r.cols[rDueX2] = 1
	case end != stays:
		r.cols[rDueX1] = 1
	case closed && f.direct:
		r.cols[rDueX3] = 1
	case suspended:
		r.cols[rDueX4] = 1
	default:
		r.cols[rDue] = 1
		if closed {
			r.cols[rClosed] = 1
		}
		switch code := pb.ExclusionCode(marked(f.out, t)); {
		case code == pb.ExclusionCode_EXCLUSION_CODE_X9:
			r.cols[rTimedX9] = 1
		case code == pb.ExclusionCode_EXCLUSION_CODE_X11:
			r.cols[rTimedX11] = 1
		case code == pb.ExclusionCode_EXCLUSION_CODE_X12:
			r.cols[rTimedX12] = 1
		default:
			r.cols[rTimed] = 1
			if closed && f.inTime(n) {
				r.cols[rInTime] = 1
			}
		}
	}
	return r
}

// inTime says whether the first round was closed by close_by and each later one had its result by redo_by.
func (f *facts) inTime(last int) bool {
	for i := range f.rounds[:last+1] {
		r := &f.rounds[i]
		done, by := r.closed, r.limit
		if r.redo != never {
			done, by = r.result, r.redo
		}
		if done == never || by != never && done > by {
			return false // a round that was reopened before it was closed never was
		}
	}
	return true
}

// bytes is the facts as a row keeps them, without ticket, id and no.
func (f *facts) bytes(buf []byte) []byte {
	flags := uint64(0)
	if f.imported {
		flags |= 1
	}
	if f.direct {
		flags |= 2
	}
	buf = binary.AppendUvarint(buf, flags)
	buf = binary.AppendVarint(buf, f.reported)
	off := func(t int64) { buf = appendInstant(buf, f.reported, t) }
	off(f.accepted)
	off(f.dispatched)
	for _, marks := range [][]mark{f.ends, f.out} {
		buf = binary.AppendUvarint(buf, uint64(len(marks)))
		for _, m := range marks {
			off(m.at)
			buf = append(buf, m.what)
		}
	}
	for _, limits := range [][]limit{f.limits, f.dues} {
		buf = binary.AppendUvarint(buf, uint64(len(limits)))
		for _, l := range limits {
			off(l.from)
			off(l.by)
		}
	}
	buf = binary.AppendUvarint(buf, uint64(len(f.rounds)))
	for i := range f.rounds {
		r := &f.rounds[i]
		off(r.opened)
		off(r.closed)
		off(r.limit)
		off(r.redo)
		off(r.result)
	}
	buf = binary.AppendUvarint(buf, uint64(f.category))
	for _, ids := range [][]int64{f.fixed, f.area, f.unit} {
		buf = appendIDs(buf, ids)
	}
	return buf
}

// read fills in what bytes wrote.
func (f *facts) read(buf []byte) error {
	u := unpacker{buf: buf}
	flags := u.next()
	f.imported, f.direct = flags&1 != 0, flags&2 != 0
	f.reported = u.signed()
	u.base = f.reported
	f.accepted, f.dispatched = u.instant(), u.instant()
	for _, marks := range []*[]mark{&f.ends, &f.out} {
		*marks = (*marks)[:0]
		for range u.count() {
			*marks = append(*marks, mark{u.instant(), byte(u.next())})
		}
	}
	for _, limits := range []*[]limit{&f.limits, &f.dues} {
		*limits = (*limits)[:0]
		for range u.count() {
			*limits = append(*limits, limit{u.instant(), u.instant()})
		}
	}
	f.rounds = f.rounds[:0]
	for range u.count() {
		f.rounds = append(f.rounds, round{u.instant(), u.instant(), u.instant(), u.instant(), u.instant()})
	}
	f.category = int64(u.next())
	f.fixed, f.area, f.unit = u.ids(f.fixed), u.ids(f.area), u.ids(f.unit)
	if !u.whole() {
		return fmt.Errorf("facts of ticket %d are cut short", f.ticket)
	}
	return nil
}

func appendKeys(buf []byte, ids []int64) []byte {
	for _, id := range ids {
		buf = binary.AppendUvarint(buf, uint64(id))
	}
	return buf
}

// eachKey yields the ids that appendKeys wrote.
func eachKey(buf []byte, yield func(id int64)) {
	for len(buf) > 0 {
		v, n := binary.Uvarint(buf)
		if n <= 0 {
			return
		}
		yield(int64(v))
		buf = buf[n:]
	}
}

// pack makes one number of a change: a bit for each column that grows, one for each that shrinks, one for rated.
func (c *change) pack() int64 {
	var v int64
	for i, d := range c.delta {
		switch d {
		case 1:
			v |= 1 << i
		case -1:
			v |= 1 << (i + 16)
		}
	}
	if c.rated {
		v |= ratedBit
	}
	return v
}

const ratedBit = 1 << 32
