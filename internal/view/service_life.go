package view

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/ticket"
)

// life is what the figures of service follow from: what happened to a ticket, step by step, in the order of recording. What a
// ticket adds to a figure at T is found by walking the steps that had happened by T.
type life struct {
	ticket  int64 // the position of its first event
	id, no  string
	subject string // whose report it is; empty if nobody is known

	steps []step

	// The nodes of places it counts at.
	fixed, area []int64
	category    int64
}

// step is an event, as far as figures need it.
type step struct {
	what  what
	at    int64
	state pb.TicketState // that it leads to; UNSPECIFIED: it leaves the state
	by    []due
	unit  []int64 // the path of the unit that it is about, root first
	other []int64 // of a dispatch: the centre's path. Of a ruling: the units that do not lead. Of a move: the unit that is gone
	n     []int64 // codes, as each kind has them: what it says beside it
}

// due is a limit that a step sets; never: it stops.
type due struct {
	which which
	by    int64
}

type what byte

const (
	didReport what = iota + 1
	didImport
	didAccept
	didLeave // n: how, as facts have it
	didReturnToLife
	didAnswer
	didSet      // only its limits, state and holder matter
	didDispatch // n: the place of the lead's level, from 1, 0 if it is not known; then the co-handlers' units
	didDelegate // n: the place of the lead's level
	didEscalate // likewise
	didSendDown // likewise
	didSign
	didContact
	didAskReturn
	didApproveReturn // n: the fault
	didRejectReturn  // n: whether nobody decided in time
	didRule          // n: the fault
	didAskCo         // unit: the co-handler's
	didDropCo        // likewise
	didSubmitCo      // likewise
	didWaiveCo       // the result waits for no co-handler
	didExtend
	didSuspend // n: the reason
	didResume
	didSubmit
	didSendBack // the result does not stand
	didPass
	didFail
	didCallBack // n: contacted, solved, satisfaction
	didNotReach
	didClose
	didReopen
	didExclude   // n: the code, then the metrics' numbers
	didSupervise // n: the level, whether that lists the problem, and the place of the issuer's level
	didReply
	didClear
	didLift
	didWhistle
	didMove  // unit: the one that takes its place
	didLapse // its limit passed, and that led on
)

// which limit of a ticket.
type which byte

const (
	byAccept which = iota
	byDispatch
	bySign
	byContact
	byHandle
	byClose
	bySegment
	byVerify
	byCallback
	byDecide
	byRuling
	bySubmit
	byReply
	byClear
	limitKinds
)

// whatOf is the kind of an event of which nothing more needs to be said; 0 of others.
func whatOf(e proto.Message) what {
	switch e.(type) {
	case *pb.TicketAnsweredDirectly:
		return didAnswer
	case *pb.TicketSigned:
		return didSign
	case *pb.PetitionerContacted:
		return didContact
	case *pb.ReturnRequested:
		return didAskReturn
	case *pb.ExtensionGranted:
		return didExtend
	case *pb.TicketResumed:
		return didResume
	case *pb.ResultSubmitted:
		return didSubmit
	case *pb.ResultRejected:
		return didSendBack
	case *pb.VerificationPassed:
		return didPass
	case *pb.VerificationFailed:
		return didFail
	case *pb.CallbackUnreachable:
		return didNotReach
	case *pb.TicketClosed, *pb.ImportedRecordClosed:
		return didClose
	case *pb.TicketReopened:
		return didReopen
	case *pb.SupervisionReplied:
		return didReply
	case *pb.ListingCleared:
		return didClear
	case *pb.SupervisionLifted:
		return didLift
	case *pb.WhistleLinked:
		return didWhistle
	case *pb.SignOverdue:
		return didLapse
	case *pb.TriageCorrected, *pb.LimitsRecomputed, *pb.TicketArchived:
		return didSet
	}
	return 0
}

// fold takes in an event of the ticket's stream. Every event has its case.
func (l *life) fold(d *event.Decoded, nodes *nodes, anchors *anchors) error {
	s := step{at: micros(d.Meta.OccurredAt), state: ticket.StateAfter(d.Event), by: limitsOf(d.Event)}
	var err error
	switch e := d.Event.(type) {
	case *pb.TicketReported:
		*l = life{ticket: int64(d.Position), id: l.id, no: e.No, subject: e.Sealed.GetSubject()}
		s.what = didReport
		s.n = []int64{flag(e.Anonymous), flag(!e.CallbackWanted)}
		err = errors.Join(l.begin(e.Channel, e.Category, e.Path, nodes), nodes.units(&s.unit, e.Holder, e.HolderPath))
		if e.LiftedFrom != "" {
			err = errors.Join(err, anchors.landing(&s, e.LiftedFrom))
		}
	case *pb.RecordImported:
		*l = life{ticket: int64(d.Position), id: l.id, no: e.No}
		s.what = didImport
		err = l.begin(e.Channel, e.Category, e.Path, nodes)
		for _, dim := range e.Dimensions {
			err = errors.Join(err, nodes.put(&l.fixed, dim.Level, dim.Value))
		}
	case *pb.TicketAccepted:
		if subject := e.Sealed.GetSubject(); subject != "" && e.Anonymous != nil && !*e.Anonymous {
			l.subject = subject // the acceptance brought the petitioner
		}
		s.what = didAccept
		s.n = []int64{optional(e.Anonymous), -1}
		if e.CallbackWanted != nil {
			s.n[1] = flag(!*e.CallbackWanted)
		}
		err = errors.Join(l.lie(e.Path, nodes), nodes.units(&s.unit, e.Holder, e.HolderPath))
	case *pb.DeclineOverturned:
		s.what, s.n = didAccept, []int64{-1, -1}
		err = errors.Join(l.lie(e.Path, nodes), nodes.units(&s.unit, e.Holder, e.HolderPath))
	case *pb.TicketDeclined:
		s.what, s.n = didLeave, []int64{int64(declined)}
	case *pb.TicketVoided:
		s.what, s.n = didLeave, []int64{int64(voided)}
	case *pb.TicketMerged:
		s.what, s.n = didLeave, []int64{int64(merged)}
	case *pb.TicketWithdrawn:
		s.what, s.n = didLeave, []int64{int64(withdrawn)}
	case *pb.TicketUnmerged:
		s.what = didReturnToLife
	case *pb.TicketTriaged:
		s.what = didSet
		err = errors.Join(nodes.set(&l.category, "category", e.Category), l.lie(e.Path, nodes), nodes.units(&s.unit, e.Holder, e.HolderPath))
	case *pb.TriageCorrected:
		s.what = didSet
		err = l.lie(e.Path, nodes)
		if e.Category != "" {
			err = errors.Join(err, nodes.set(&l.category, "category", e.Category))
		}
		if e.Holder != "" {
			err = errors.Join(err, nodes.units(&s.unit, e.Holder, e.HolderPath))
		}
	case *pb.ArchiveCorrected:
		if e.Category != "" {
			err = nodes.set(&l.category, "category", e.Category)
		}
		return errors.Join(err, l.lie(e.Path, nodes))
	case *pb.TicketDispatched:
		s.what = didDispatch
		err = errors.Join(nodes.units(&s.unit, e.Lead, e.LeadPath), l.centre(&s, d, nodes), anchors.landing(&s, e.Lead))
		for _, code := range e.Co {
			err = errors.Join(err, nodes.put(&s.n, "unit", code))
		}
	case *pb.TicketDelegated:
		s.what = didDelegate
		err = errors.Join(nodes.units(&s.unit, e.To, e.LeadPath), l.centre(&s, d, nodes), anchors.landing(&s, e.To))
	case *pb.TicketEscalated:
		s.what = didEscalate
		err = errors.Join(nodes.units(&s.unit, e.To, e.LeadPath), anchors.landing(&s, e.To))
	case *pb.EscalationRefused:
		s.what = didSendDown
		err = errors.Join(nodes.units(&s.unit, e.To, e.LeadPath), anchors.landing(&s, e.To))
	case *pb.ReturnApproved:
		s.what, s.n = didApproveReturn, []int64{int64(e.Fault)}
		err = nodes.units(&s.unit, e.Holder, e.HolderPath)
	case *pb.ReturnRejected:
		s.what, s.n = didRejectReturn, []int64{flag(e.Lapsed)}
	case *pb.AdjudicationOpened:
		s.what = didSet
		err = nodes.units(&s.unit, e.Holder, e.HolderPath)
	case *pb.AdjudicationRuled:
		s.what, s.n = didRule, []int64{int64(e.Fault)}
		for _, code := range e.RuledOut {
			err = errors.Join(err, nodes.put(&s.other, "unit", code))
		}
	case *pb.CoHandlerRequested:
		s.what = didAskCo
		err = nodes.units(&s.unit, e.Unit, e.UnitPath)
	case *pb.CoHandlerDeclined:
		s.what = didDropCo
		err = nodes.put(&s.unit, "unit", e.Unit)
	case *pb.CoHandlerSubmitted:
		s.what = didSubmitCo
		err = nodes.put(&s.unit, "unit", e.Unit)
	case *pb.RequirementWaived:
		if e.What != pb.Requirement_REQUIREMENT_CO_TASKS {
			return nil // No figure of service changes.
		}
		s.what = didWaiveCo
	case *pb.SuspensionGranted:
		s.what, s.n = didSuspend, []int64{int64(e.Reason)}
	case *pb.CallbackRecorded:
		s.what, s.n = didCallBack, []int64{flag(e.Contacted), int64(e.Solved), int64(e.Satisfaction)}
	case *pb.ExclusionGranted:
		s.what, s.n = didExclude, []int64{int64(e.Code)}
		for _, m := range e.Metrics {
			if number, ok := metricNumber(m); ok {
				s.n = append(s.n, number)
			}
		}
	case *pb.SupervisionRaised:
		var place int64
		place, err = anchors.place(e.IssuerLevel)
		s.what, s.n = didSupervise, []int64{int64(e.Level), flag(ticket.Lists(e)), place}
	case *pb.HolderMoved:
		s.what = didMove
		err = errors.Join(nodes.units(&s.unit, e.To, e.HolderPath), nodes.put(&s.other, "unit", e.From))
	case *pb.DeclineProposed, *pb.DeclineDropped, *pb.ContactFailed, *pb.ProgressRecorded, *pb.CallbackAttemptFailed,
		*pb.VoidProposed, *pb.VoidDropped, *pb.WhistleSettled, *pb.DeclineAppealed, *pb.EmergencyHandedOver, *pb.DuplicateAttached,
		*pb.DuplicateDetached, *pb.FallbackAssigned, *pb.CoHandlerAccepted, *pb.CoHandlerDeclineProposed, *pb.CoHandlerDeclineDropped,
		*pb.ExtensionRequested, *pb.ExtensionRefused, *pb.SuspensionRequested, *pb.SuspensionRefused, *pb.SuspensionReviewDue,
		*pb.ExclusionRequested, *pb.ExclusionDenied, *pb.TicketUrged, *pb.ArchiveCorrectionProposed, *pb.ArchiveCorrectionDropped,
		*pb.AcceptOverdue, *pb.DispatchOverdue, *pb.ContactOverdue, *pb.HandleOverdue, *pb.VerifyOverdue, *pb.CallbackOverdue, *pb.RightLapsed,
		*pb.WhistleAsked, *pb.WhistleAskDeclined, *pb.TicketClaimed, *pb.EchoPublished,
		*pb.LeadRated, *pb.JointReviewRecorded, *pb.VerificationSampledOut, *pb.LateFactsAdmitted:
		return nil // No figure of service changes.
	default:
		if s.what = whatOf(e); s.what == 0 {
			return unknown(d)
		}
	}
	if err != nil {
		return err
	}
	l.steps = append(l.steps, s)
	return nil
}

func (l *life) begin(channel pb.Channel, category string, path []*pb.AreaNode, nodes *nodes) error {
	return errors.Join(nodes.put(&l.fixed, "all", ""), nodes.put(&l.fixed, "channel", channel.String()),
		nodes.set(&l.category, "category", category), l.lie(path, nodes))
}

// lie notes where the ticket lies; an empty path says nothing.
func (l *life) lie(path []*pb.AreaNode, nodes *nodes) (err error) {
	if len(path) > 0 {
		l.area, err = nodes.path(path)
	}
	return err
}

// centre notes who dispatched: the actor's unit, below the units above it as far as the ticket's holders tell.
func (l *life) centre(s *step, d *event.Decoded, nodes *nodes) error {
	code := d.Meta.Actor.GetUnit()
	if code == "" {
		return nil
	}
	var ids []int64
	if err := nodes.put(&ids, "unit", code); err != nil {
		return err
	}
	own := ids[0]
	for i := range l.steps {
		if at := slices.Index(l.steps[i].unit, own); at >= 0 {
			ids = l.steps[i].unit[:at+1]
		}
	}
	if at := slices.Index(s.unit, own); len(ids) == 1 && at >= 0 {
		ids = s.unit[:at+1]
	}
	s.other = slices.Clone(ids)
	return nil
}

// units puts the nodes of a unit's path, root first; a path that is not known is the unit alone.
func (m *nodes) units(ids *[]int64, unit string, path []string) error {
	if len(path) == 0 {
		if unit == "" {
			return nil
		}
		path = []string{unit}
	}
	for _, code := range path {
		if err := m.put(ids, "unit", code); err != nil {
			return err
		}
	}
	return nil
}

func flag(is bool) int64 {
	if is {
		return 1
	}
	return 0
}

// optional is -1 where nothing is said.
func optional(is *bool) int64 {
	if is == nil {
		return -1
	}
	return flag(*is)
}

// limitsOf are the limits that an event sets.
func limitsOf(e proto.Message) (list []due) {
	put := func(which which, t *timestamppb.Timestamp) {
		if t != nil {
			list = append(list, due{which, micros(t)})
		}
	}
	switch e.(type) {
	case *pb.ExtensionRequested, *pb.SupervisionReplied:
		return nil // what is only asked for or promised
	case *pb.SuspensionGranted:
		return []due{{byHandle, never}, {byClose, never}, {bySegment, never}}
	}
	if e, ok := e.(interface{ GetAcceptBy() *timestamppb.Timestamp }); ok {
		put(byAccept, e.GetAcceptBy())
	}
	if e, ok := e.(interface{ GetDispatchBy() *timestamppb.Timestamp }); ok {
		put(byDispatch, e.GetDispatchBy())
	}
	if e, ok := e.(interface{ GetSignBy() *timestamppb.Timestamp }); ok {
		put(bySign, e.GetSignBy())
	}
	if e, ok := e.(interface{ GetContactBy() *timestamppb.Timestamp }); ok {
		put(byContact, e.GetContactBy())
	}
	if e, ok := e.(interface{ GetHandleBy() *timestamppb.Timestamp }); ok {
		put(byHandle, e.GetHandleBy())
	}
	if e, ok := e.(interface{ GetRedoBy() *timestamppb.Timestamp }); ok {
		put(byHandle, e.GetRedoBy())
		put(bySegment, e.GetRedoBy())
	}
	if e, ok := e.(interface{ GetCloseBy() *timestamppb.Timestamp }); ok {
		put(byClose, e.GetCloseBy())
	}
	if e, ok := e.(interface{ GetSegmentBy() *timestamppb.Timestamp }); ok {
		put(bySegment, e.GetSegmentBy())
	}
	if e, ok := e.(interface{ GetVerifyBy() *timestamppb.Timestamp }); ok {
		put(byVerify, e.GetVerifyBy())
	}
	if e, ok := e.(interface{ GetCallbackBy() *timestamppb.Timestamp }); ok {
		put(byCallback, e.GetCallbackBy())
	}
	if e, ok := e.(interface{ GetDecideBy() *timestamppb.Timestamp }); ok {
		put(byDecide, e.GetDecideBy())
	}
	if e, ok := e.(interface{ GetDecideReturnBy() *timestamppb.Timestamp }); ok {
		put(byDecide, e.GetDecideReturnBy())
	}
	if e, ok := e.(interface{ GetRulingBy() *timestamppb.Timestamp }); ok {
		put(byRuling, e.GetRulingBy())
	}
	if e, ok := e.(interface{ GetSubmitBy() *timestamppb.Timestamp }); ok {
		put(bySubmit, e.GetSubmitBy())
	}
	if e, ok := e.(interface{ GetReplyBy() *timestamppb.Timestamp }); ok {
		put(byReply, e.GetReplyBy())
	}
	if e, ok := e.(interface{ GetClearBy() *timestamppb.Timestamp }); ok {
		put(byClear, e.GetClearBy())
	}
	return list
}

// places are the nodes of areas, channel and category that the ticket counts at, sorted, each once.
func (l *life) places() []int64 {
	all := make([]int64, 0, len(l.fixed)+len(l.area)+1)
	all = append(append(append(all, l.fixed...), l.area...), l.category)
	slices.Sort(all)
	return slices.Compact(all)
}

// untouched says whether the ticket is a record of another system to which nothing but its closing there happened: no figure counts it.
func (l *life) untouched() bool {
	for i := range l.steps {
		if s := l.steps[i].what; s != didImport && s != didClose || i == 0 && s != didImport {
			return false
		}
	}
	return true
}

// span is the first and the last instant that can decide a period for the ticket, and the last at which anything happened.
func (l *life) span() (from, to, last int64) {
	from, to, last = ever, never, never
	if l.untouched() {
		return from, to, last
	}
	for i := range l.steps {
		s := &l.steps[i]
		from, to, last = min(from, s.at), max(to, s.at), max(last, s.at)
		for _, d := range s.by {
			if d.by != never {
				from, to = min(from, d.by), max(to, d.by)
			}
		}
	}
	return from, to, last
}

// bytes is the life as a row keeps it, without ticket, id, no and subject.
func (l *life) bytes(buf []byte) []byte {
	base := int64(0)
	if len(l.steps) > 0 {
		base = l.steps[0].at
	}
	buf = binary.AppendVarint(buf, base)
	off := func(t int64) { buf = appendInstant(buf, base, t) }
	ids := func(ids []int64) { buf = appendIDs(buf, ids) }
	buf = binary.AppendUvarint(buf, uint64(l.category))
	ids(l.fixed)
	ids(l.area)
	buf = binary.AppendUvarint(buf, uint64(len(l.steps)))
	for i := range l.steps {
		s := &l.steps[i]
		buf = append(buf, byte(s.what), byte(s.state))
		off(s.at)
		buf = binary.AppendUvarint(buf, uint64(len(s.by)))
		for _, d := range s.by {
			buf = append(buf, byte(d.which))
			off(d.by)
		}
		ids(s.unit)
		ids(s.other)
		buf = binary.AppendUvarint(buf, uint64(len(s.n)))
		for _, n := range s.n {
			buf = binary.AppendVarint(buf, n)
		}
	}
	return buf
}

// read fills in what bytes wrote.
func (l *life) read(buf []byte) error {
	u := unpacker{buf: buf}
	u.base = u.signed()
	l.category = int64(u.next())
	l.fixed, l.area = u.ids(l.fixed), u.ids(l.area)
	steps := u.count()
	l.steps = slices.Grow(l.steps[:0], steps)[:steps]
	for i := range l.steps {
		s := &l.steps[i]
		s.what, s.state = what(u.next()), pb.TicketState(u.next())
		s.at = u.instant()
		s.by = s.by[:0]
		for range u.count() {
			s.by = append(s.by, due{which(u.next()), u.instant()})
		}
		s.unit, s.other, s.n = u.ids(s.unit), u.ids(s.other), s.n[:0]
		for range u.count() {
			s.n = append(s.n, u.signed())
		}
	}
	if !u.whole() {
		return fmt.Errorf("life of ticket %d is cut short", l.ticket)
	}
	return nil
}
