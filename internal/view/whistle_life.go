package view

import (
	"cmp"
	"encoding/binary"
	"errors"
	"slices"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/whistle"
)

// whistleRow is what is known of a whistle: when each thing happened to it, so that figures of any instant follow. never: it did not.
type whistleRow struct {
	whistle, changed int64 // the positions of the first event and of the last
	id, no           string
	state            pb.WhistleState
	kind, blownAs    pb.WhistleKind // as it is, and as it was before it was retyped
	street, screener string
	path             []*pb.AreaNode
	affects          []string // areas
	tickets          []string
	item, parent     string // of the call-item list; the id of the whistle it was raised from
	resolved         bool   // as the street confirmed

	drafted, blown, retyped, issued, refused, reviewed, confirmed, cancelled, raised, closed int64
	resolveBy, reviewBy                                                                      int64

	parties []party
}

// party is a participant.
type party struct {
	unit, category     string
	path               []string // root first
	compulsory, inTime bool

	summoned, signed, contacted, at, done, waived, released, left, excused, absent int64
	asked, endorsed                                                                int64 // to be excused, and not decided
	signBy, contactBy, by                                                          int64
}

func (w *whistleRow) instants() []*int64 {
	return []*int64{
		&w.drafted, &w.blown, &w.retyped, &w.issued, &w.refused, &w.reviewed, &w.confirmed, &w.cancelled, &w.raised, &w.closed,
		&w.resolveBy, &w.reviewBy,
	}
}

func (p *party) instants() []*int64 {
	return []*int64{
		&p.summoned, &p.signed, &p.contacted, &p.at, &p.done, &p.waived, &p.released, &p.left, &p.excused, &p.absent, &p.asked, &p.endorsed,
		&p.signBy, &p.contactBy, &p.by,
	}
}

func newWhistle(id string, d *event.Decoded) *whistleRow {
	w := &whistleRow{whistle: int64(d.Position), id: id}
	for _, t := range w.instants() {
		*t = never
	}
	return w
}

// fold takes in an event of the whistle's stream. Every event has its case.
func (w *whistleRow) fold(d *event.Decoded) error {
	at := micros(d.Meta.OccurredAt)
	w.changed = int64(d.Position)
	switch after := whistle.StateAfter(d.Event); {
	case after == pb.WhistleState_WHISTLE_STATE_UNSPECIFIED:
	case after == pb.WhistleState_WHISTLE_STATE_WORKING && w.state == pb.WhistleState_WHISTLE_STATE_CONVENED:
		// Somebody coming late to a convened whistle does not undo that.
	default:
		w.state = after
	}
	switch e := d.Event.(type) {
	case *pb.WhistleDrafted:
		w.no, w.kind, w.street, w.path, w.item, w.drafted = e.No, e.Kind, e.Street, e.Path, e.CallItem, at
		w.screener, w.tickets, w.affects, w.blownAs = e.ScreenedBy, e.Tickets, e.AlsoAffects, e.Kind
		w.summon(at, e.Participants)
	case *pb.WhistleBlown:
		w.no, w.kind, w.street, w.path, w.item, w.blown = cmp.Or(e.No, w.no), e.Kind, e.Street, e.Path, e.CallItem, at
		w.screener, w.tickets, w.affects, w.blownAs, w.parent = e.ScreenedBy, e.Tickets, e.AlsoAffects, e.Kind, e.Parent
		w.summon(at, e.Participants)
	case *pb.WhistleRetyped:
		w.kind, w.retyped = e.Kind, at
	case *pb.WhistleIssued:
		w.issued, w.resolveBy, w.reviewBy = at, micros(e.ResolveBy), micros(e.ReviewBy)
		w.summon(at, e.Participants)
	case *pb.WhistleReviewed:
		w.reviewed = at
	case *pb.WhistleRefused:
		w.refused, w.closed = at, at
	case *pb.ParticipantAdded:
		w.add(at, e.Participant)
	case *pb.WhistleSigned:
		w.party(e.Unit).signed = at
	case *pb.WhistleContacted:
		w.party(e.Unit).contacted = at
	case *pb.ExcuseRequested:
		w.party(e.Unit).asked = at
	case *pb.ExcuseEndorsed:
		w.party(e.Unit).endorsed = at
	case *pb.ExcuseRefused:
		p := w.party(e.Unit)
		p.asked, p.endorsed = never, never
	case *pb.ParticipantExcused:
		p := w.party(e.Unit)
		p.excused, p.asked, p.endorsed = at, never, never
		if e.Replacement != nil {
			w.add(at, e.Replacement)
		}
		w.convene(e.Convened)
	case *pb.ReportedIn:
		p := w.party(e.Unit)
		if p.left = never; p.at == never { // the first time counts
			p.at, p.inTime = at, e.InTime
		}
		w.convene(e.Convened)
	case *pb.NoShow:
		w.party(e.Unit).absent = at
		w.convene(e.Convened)
	case *pb.TaskDone:
		w.party(e.Unit).done = at
	case *pb.TaskWaived:
		w.party(e.Unit).waived = at
	case *pb.LeftEarly:
		w.party(e.Unit).left = at
	case *pb.Released:
		w.party(e.Unit).released = at
	case *pb.WhistleConfirmed:
		w.confirmed, w.resolved = at, e.Resolved
	case *pb.WhistleCancelled:
		w.state, w.cancelled, w.closed = pb.WhistleState_WHISTLE_STATE_CANCELLED, at, at
	case *pb.WhistleRaised:
		w.state, w.raised, w.closed = pb.WhistleState_WHISTLE_STATE_RAISED, at, at
	case *pb.WhistleClosed:
		w.closed = at
	case *pb.UnitRated, *pb.HelperJoined, *pb.WhistleTimerPassed:
		// The state says it, or the limits do.
	default:
		return unknown(d)
	}
	return nil
}

// convene notes that everybody is accounted for.
func (w *whistleRow) convene(all bool) {
	switch w.state {
	case pb.WhistleState_WHISTLE_STATE_ISSUED, pb.WhistleState_WHISTLE_STATE_WORKING:
		if all {
			w.state = pb.WhistleState_WHISTLE_STATE_CONVENED
		}
	}
}

// summon takes the participants as the event has them; what they did already stays.
func (w *whistleRow) summon(at int64, list []*pb.Participant) {
	if len(list) == 0 {
		return
	}
	was := w.parties
	w.parties = make([]party, 0, len(list))
	for _, p := range list {
		w.add(at, p)
		for i := range was {
			if was[i].unit == p.Unit {
				is := &w.parties[len(w.parties)-1]
				signBy, contactBy, by := is.signBy, is.contactBy, is.by
				path, category, compulsory := is.path, is.category, is.compulsory
				*is = was[i]
				is.signBy, is.contactBy, is.by, is.path, is.category, is.compulsory = signBy, contactBy, by, path, category, compulsory
			}
		}
	}
}

func (w *whistleRow) add(at int64, p *pb.Participant) {
	path := p.UnitPath
	if len(path) == 0 {
		path = []string{p.Unit}
	}
	is := newParty(p.Unit, path)
	is.compulsory, is.category, is.summoned = p.Compulsory, p.Category, at
	is.signBy, is.contactBy, is.by = micros(p.SignBy), micros(p.ContactBy), micros(p.ReportInBy)
	w.parties = append(w.parties, is)
}

func newParty(unit string, path []string) party {
	p := party{unit: unit, path: path}
	for _, t := range p.instants() {
		*t = never
	}
	return p
}

// party is a participant, as it was summoned last; one that was never summoned takes part of its own will.
func (w *whistleRow) party(unit string) *party {
	for i := len(w.parties) - 1; i >= 0; i-- {
		if w.parties[i].unit == unit {
			return &w.parties[i]
		}
	}
	w.parties = append(w.parties, newParty(unit, []string{unit}))
	return &w.parties[len(w.parties)-1]
}

func (w *whistleRow) area() string {
	if len(w.path) == 0 {
		return ""
	}
	return w.path[len(w.path)-1].Code
}

// counted are the first and the last instant that a figure counts the whistle by; never if there is none.
func (w *whistleRow) counted() (from, to int64) {
	from, to = never, never
	take := func(t int64) {
		if t == never {
			return
		}
		if from == never || t < from {
			from = t
		}
		to = max(to, t)
	}
	for _, t := range []int64{w.blown, w.issued, w.refused, w.resolveBy} {
		take(t)
	}
	for i := range w.parties {
		take(w.parties[i].by)
	}
	return from, to
}

// bytes adds to buf what a row keeps of the whistle.
func (w *whistleRow) bytes(buf []byte) []byte {
	texts := func(list []string) {
		buf = binary.AppendUvarint(buf, uint64(len(list)))
		for _, s := range list {
			buf = appendText(buf, s)
		}
	}
	base := cmp.Or(max(w.drafted, 0), max(w.blown, 0))
	buf = binary.AppendVarint(buf, base)
	for _, s := range []string{w.no, w.street, w.screener, w.item, w.parent} {
		buf = appendText(buf, s)
	}
	for _, n := range []int64{int64(w.state), int64(w.kind), int64(w.blownAs), flag(w.resolved)} {
		buf = binary.AppendUvarint(buf, uint64(n))
	}
	buf = binary.AppendUvarint(buf, uint64(len(w.path)))
	for _, n := range w.path {
		buf = appendText(appendText(appendText(buf, n.Level), n.Code), n.Name)
	}
	texts(w.affects)
	texts(w.tickets)
	for _, t := range w.instants() {
		buf = appendInstant(buf, base, *t)
	}
	buf = binary.AppendUvarint(buf, uint64(len(w.parties)))
	for i := range w.parties {
		p := &w.parties[i]
		buf = appendText(appendText(buf, p.unit), p.category)
		texts(p.path)
		buf = binary.AppendUvarint(buf, uint64(flag(p.compulsory)|flag(p.inTime)<<1))
		for _, t := range p.instants() {
			buf = appendInstant(buf, base, *t)
		}
	}
	return buf
}

// read reads what bytes wrote.
func (w *whistleRow) read(buf []byte) error {
	u := unpacker{buf: buf}
	texts := func() (list []string) {
		for range u.count() {
			list = append(list, u.text())
		}
		return list
	}
	u.base = u.signed()
	for _, s := range []*string{&w.no, &w.street, &w.screener, &w.item, &w.parent} {
		*s = u.text()
	}
	w.state, w.kind, w.blownAs, w.resolved = pb.WhistleState(u.next()), pb.WhistleKind(u.next()), pb.WhistleKind(u.next()), u.next() == 1
	for range u.count() {
		w.path = append(w.path, &pb.AreaNode{Level: u.text(), Code: u.text(), Name: u.text()})
	}
	w.affects, w.tickets = texts(), texts()
	for _, t := range w.instants() {
		*t = u.instant()
	}
	for range u.count() {
		p := party{unit: u.text(), category: u.text(), path: texts()}
		flags := u.next()
		p.compulsory, p.inTime = flags&1 != 0, flags&2 != 0
		for _, t := range p.instants() {
			*t = u.instant()
		}
		w.parties = append(w.parties, p)
	}
	if !u.whole() {
		return errors.New("what is kept of a whistle is damaged")
	}
	return nil
}

// seen says whether something had happened at an instant.
func seen(what, at int64) bool { return what != never && what <= at }

// isPast says whether a limit is no more kept at an instant: from the second after it on.
func isPast(by, now int64) bool { return by != never && now >= (by/1_000_000+1)*1_000_000 }

// state is how far a participant has come.
func (p *party) state() pb.ParticipantState {
	switch {
	case p.excused != never:
		return pb.ParticipantState_PARTICIPANT_STATE_EXCUSED
	case p.left != never:
		return pb.ParticipantState_PARTICIPANT_STATE_LEFT_EARLY
	case p.released != never:
		return pb.ParticipantState_PARTICIPANT_STATE_RELEASED
	case p.done != never:
		return pb.ParticipantState_PARTICIPANT_STATE_TASK_DONE
	case p.at != never:
		return pb.ParticipantState_PARTICIPANT_STATE_REPORTED_IN
	case p.absent != never:
		return pb.ParticipantState_PARTICIPANT_STATE_NO_SHOW
	case p.contacted != never:
		return pb.ParticipantState_PARTICIPANT_STATE_CONTACTED
	case p.signed != never:
		return pb.ParticipantState_PARTICIPANT_STATE_SIGNED
	}
	return pb.ParticipantState_PARTICIPANT_STATE_PENDING
}

// awaited says whether the participant has to come and has not.
func (p *party) awaited() bool {
	return p.compulsory && p.at == never && p.excused == never && p.waived == never && p.released == never
}

// behind says whether the participant has let a limit pass at the instant, and has not made up for it.
func (p *party) behind(now int64) bool {
	return p.awaited() && (isPast(p.by, now) || p.signed == never && p.contacted == never && isPast(p.signBy, now) || p.contacted == never && isPast(p.contactBy, now))
}

// underWay says whether participants come, work and go.
func (w *whistleRow) underWay() bool {
	switch w.state {
	case pb.WhistleState_WHISTLE_STATE_ISSUED, pb.WhistleState_WHISTLE_STATE_WORKING, pb.WhistleState_WHISTLE_STATE_CONVENED:
		return true
	}
	return false
}

// late says whether a participant or the whole is behind a limit.
func (w *whistleRow) late(now int64) bool {
	if w.closed != never {
		return false
	}
	if !w.resolved && isPast(w.resolveBy, now) || w.reviewed == never && isPast(w.reviewBy, now) {
		return true
	}
	return w.underWay() && slices.ContainsFunc(w.parties, func(p party) bool { return p.behind(now) })
}

// waitsFor are the units that have to do something next.
func (w *whistleRow) waitsFor() []string {
	var units []string
	add := func(unit string) {
		if unit != "" && !slices.Contains(units, unit) {
			units = append(units, unit)
		}
	}
	switch {
	case w.closed != never:
		return nil
	case w.state == pb.WhistleState_WHISTLE_STATE_BLOWN:
		add(w.screener)
	case w.underWay():
		for i := range w.parties {
			switch p := &w.parties[i]; {
			case p.awaited() && p.endorsed != never:
				add(w.screener)
			case p.awaited() && p.asked != never:
				add(w.street)
			case p.awaited():
				add(p.unit)
			}
		}
		if len(units) > 0 {
			break
		}
		for i := range w.parties {
			if p := &w.parties[i]; p.compulsory && p.waived == never && p.state() == pb.ParticipantState_PARTICIPANT_STATE_REPORTED_IN {
				add(p.unit)
			}
		}
		if len(units) == 0 {
			add(w.street)
		}
	default: // to be signed, rated or closed
		add(w.street)
	}
	if w.reviewBy != never && w.reviewed == never {
		add(w.screener)
	}
	return units
}

// message is the row as the contract shows it at an instant.
func (w *whistleRow) message(now int64) *pb.WhistleRow {
	m := &pb.WhistleRow{
		Name: "whistles/" + w.id, No: w.no, Kind: w.kind, State: w.state, Street: w.street, Area: w.area(),
		BlownAt: stamp(w.blown), IssuedAt: stamp(w.issued), ClosedAt: stamp(w.closed),
		ResolveBy: stamp(w.resolveBy), Late: w.late(now), WaitsFor: w.waitsFor(), CallItem: w.item,
	}
	if w.parent != "" {
		m.Parent = "whistles/" + w.parent
	}
	for i := range w.parties {
		p := &w.parties[i]
		m.Arrivals = append(m.Arrivals, &pb.WhistleArrival{
			Unit: p.unit, Compulsory: p.compulsory, State: p.state(), ReportInBy: stamp(p.by), ReportedInAt: stamp(p.at),
			SignedAt: stamp(p.signed), LeftAt: stamp(p.left), InTime: p.inTime,
		})
	}
	return m
}
