package ticket

import (
	"encoding/binary"
	"errors"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// What a view keeps of a ticket from one event to the next: what Timers follow from, and what of the state the effects of
// later events on that depend on. All else of a state that was kept is zero. Instants are whole microseconds. Whoever makes Timers, or what
// they follow from, depend on more adds it here and raises the number of the view; a test of the view says what was forgotten.

// keptTimes are the instants besides the limits.
func keptTimes(s *State) [7]*time.Time {
	return [...]*time.Time{&s.ReportedAt, &s.DispatchedAt, &s.HandleStart, &s.ClosedAt, &s.StoppedHandleBy, &s.StoppedSegmentBy, &s.StoppedContactBy}
}

// keptLimits are the limits, in an order that never changes within a number of the view.
func keptLimits(l *Limits) [20]*time.Time {
	return [...]*time.Time{
		&l.AcceptBy, &l.DispatchBy, &l.SignBy, &l.ContactBy, &l.ReturnBy, &l.HandleBy, &l.VerifyBy, &l.CallbackBy, &l.CloseBy, &l.SegmentBy,
		&l.DecideReturnBy, &l.RulingBy, &l.ReviewAt, &l.SuspensionOverdueAt, &l.LongOverdueAt, &l.AppealBy, &l.ExclusionBy, &l.ReplyBy,
		&l.PlanBy, &l.ClearBy,
	}
}

func keptFlags(s *State) [12]*bool {
	return [...]*bool{
		&s.Anonymous, &s.CallbackWanted, &s.Contacted, &s.Verified, &s.CallbackSettled, &s.Unreachable, &s.Listed, &s.ListingDone,
		&s.PlanGiven, &s.ReturnAsked, &s.NonReturnable, &s.DeclineAppealed,
	}
}

// keptNumbers are small numbers.
func keptNumbers(s *State) [6]*uint32 {
	return [...]*uint32{&s.Round, &s.Hop, &s.Rework, &s.Supervision, &s.Returns, &s.Limits.guessed}
}

// The bits after the flags say what waits for a decision, and whether the ticket is a record, or was somewhere before it was merged.
const (
	keptDecline = 1 << (iota + 16)
	keptVoid
	keptExtension
	keptSuspension
	keptExclusion
	keptImported
	keptBefore
)

// AppendKept adds what is kept of a state to b.
func (s *State) AppendKept(b []byte) []byte {
	flags := uint64(0)
	for i, f := range keptFlags(s) {
		if *f {
			flags |= 1 << i
		}
	}
	set := func(bit uint64, is bool) {
		if is {
			flags |= bit
		}
	}
	set(keptDecline, s.DeclineProposal != nil)
	set(keptVoid, s.VoidProposal != nil)
	set(keptExtension, s.Extension != nil)
	set(keptSuspension, s.Suspension != nil)
	set(keptExclusion, s.Exclusion != nil)
	set(keptImported, s.Imported != nil)
	set(keptBefore, s.Before != nil)
	b = binary.AppendUvarint(b, flags)
	b = binary.AppendUvarint(b, uint64(s.State))
	b = binary.AppendUvarint(b, s.Events)
	for _, n := range [...]uint64{uint64(s.Grade), uint64(s.Suspended), uint64(s.Excluded)} {
		b = binary.AppendUvarint(b, n)
	}
	b = binary.AppendUvarint(b, uint64(len(s.Waived)))
	for _, w := range s.Waived {
		b = binary.AppendUvarint(b, uint64(w))
	}
	for _, n := range keptNumbers(s) {
		b = binary.AppendUvarint(b, uint64(*n))
	}
	last := int64(0)
	times := keptTimes(s)
	b, last = appendTimes(b, last, times[:])
	limits := keptLimits(&s.Limits)
	b, last = appendTimes(b, last, limits[:])
	mask := uint64(0)
	for i, at := range s.fired {
		if at != 0 {
			mask |= 1 << i
		}
	}
	b = binary.AppendUvarint(b, mask)
	for _, at := range s.fired {
		if at != 0 {
			b = binary.AppendVarint(b, at-last)
			last = at
		}
	}
	if s.Before != nil {
		b = binary.AppendUvarint(b, uint64(s.Before.State))
		limits := keptLimits(&s.Before.Limits)
		b, _ = appendTimes(b, last, limits[:])
	}
	return b
}

// appendTimes adds which of the instants are set, and these, each as the step from the one before.
func appendTimes(b []byte, last int64, times []*time.Time) ([]byte, int64) {
	mask := uint64(0)
	for i, t := range times {
		if !t.IsZero() {
			mask |= 1 << i
		}
	}
	b = binary.AppendUvarint(b, mask)
	for i, t := range times {
		if mask&(1<<i) != 0 {
			at := t.UnixMicro()
			b = binary.AppendVarint(b, at-last)
			last = at
		}
	}
	return b, last
}

var errKept = errors.New("what is kept of a ticket cannot be read")

// keptReader reads what AppendKept made; after an error it gives zeroes.
type keptReader struct {
	b      []byte
	last   int64
	broken bool
}

func (r *keptReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.broken, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *keptReader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.broken, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *keptReader) times(times []*time.Time) {
	mask := r.uvarint()
	for i, t := range times {
		if mask&(1<<i) != 0 {
			r.last += r.varint()
			*t = time.UnixMicro(r.last).UTC()
		}
	}
}

// ReadKept is the state that AppendKept kept.
func ReadKept(b []byte) (s State, err error) {
	r := keptReader{b: b}
	flags := r.uvarint()
	for i, f := range keptFlags(&s) {
		*f = flags&(1<<i) != 0
	}
	s.State = pb.TicketState(r.uvarint())
	s.Events = r.uvarint()
	s.Grade, s.Suspended, s.Excluded = pb.Grade(r.uvarint()), pb.SuspensionReason(r.uvarint()), pb.ExclusionCode(r.uvarint())
	for range min(r.uvarint(), uint64(len(r.b))) {
		s.Waived = append(s.Waived, pb.Requirement(r.uvarint()))
	}
	for _, n := range keptNumbers(&s) {
		*n = uint32(r.uvarint())
	}
	times := keptTimes(&s)
	r.times(times[:])
	limits := keptLimits(&s.Limits)
	r.times(limits[:])
	mask := r.uvarint()
	for i := range s.fired {
		if mask&(1<<i) != 0 {
			r.last += r.varint()
			s.fired[i] = r.last
		}
	}
	if flags&keptDecline != 0 {
		s.DeclineProposal = new(pb.Actor)
	}
	if flags&keptVoid != 0 {
		s.VoidProposal = new(pb.Actor)
	}
	if flags&keptExtension != 0 {
		s.Extension = new(pb.ExtensionRequested)
	}
	if flags&keptSuspension != 0 {
		s.Suspension = new(pb.SuspensionRequested)
	}
	if flags&keptExclusion != 0 {
		s.Exclusion = new(pb.ExclusionRequested)
	}
	if flags&keptImported != 0 {
		s.Imported = new(pb.RecordImported)
	}
	if flags&keptBefore != 0 {
		s.Before = &Shelved{State: pb.TicketState(r.uvarint())}
		limits := keptLimits(&s.Before.Limits)
		r.times(limits[:])
	}
	if r.broken || len(r.b) > 0 {
		return s, errKept
	}
	return s, nil
}
