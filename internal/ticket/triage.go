package ticket

import (
	"cmp"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/rule"
)

// triage: the matter is classified, located and graded (研判), and a lead is proposed.
func triage(s State, a *rule.Asked, c *pb.TriageTicketRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_DISPATCHER); err != nil {
		return nil, err
	}
	if err := s.scope(a); err != nil {
		return nil, err
	}
	if err := s.in(pb.TicketState_TICKET_STATE_ACCEPTED); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.AcceptedAt); err != nil {
		return nil, err
	}
	if c.Category == "" {
		return nil, rule.Bad("category", rule.MissingField, "is required")
	}
	category, ok := a.Registry.Category(c.Category, a.At)
	if !ok {
		return nil, rule.Bad("category", rule.UnknownCategory, "no category %q is valid today", c.Category)
	}
	grade := c.Grade
	if grade == pb.Grade_GRADE_UNSPECIFIED {
		grade = category.Grade
	}
	if grade == pb.Grade_GRADE_UNSPECIFIED {
		return nil, rule.Bad("grade", rule.MissingField, "is required; the category brings none")
	}
	against := cmp.Or(c.ComplainedOf, s.ComplainedOf)
	e := &pb.TicketTriaged{
		Category: c.Category, Grade: grade, Path: s.Path, Holder: s.Holder, Lead: c.Lead, Co: c.Co, Fallback: c.Fallback,
		Confidentiality: c.Confidentiality, ComplainedOf: against, Sealed: a.Sealed,
	}
	if e.Confidentiality == pb.Confidentiality_CONFIDENTIALITY_UNSPECIFIED {
		e.Confidentiality = s.Confidentiality
	}
	if c.Area != "" {
		var err error
		// The path is that of the acceptance: a ticket is counted where its place belonged at T0.
		if e.Path, e.Holder, err = place(a, "area", c.Area, s.AcceptedAt); err != nil {
			return nil, err
		}
	}
	if err := coHandlers(a, c.Lead, c.Co); err != nil {
		return nil, err
	}
	for _, u := range []struct{ field, unit string }{{"lead", c.Lead}, {"fallback", c.Fallback}, {"complained_of", c.ComplainedOf}} {
		if u.unit == "" {
			continue
		}
		if err := activeUnit(a, u.field, u.unit); err != nil {
			return nil, err
		}
	}
	if against != "" && e.Confidentiality == pb.Confidentiality_CONFIDENTIALITY_UNSPECIFIED && s.Kind == pb.MatterKind_MATTER_KIND_TIP_OFF {
		e.Confidentiality = pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL
	}
	if s.opens(e.Confidentiality) {
		return nil, rule.Bad("confidentiality", rule.RoleNotAllowed, "triage does not open what is confidential; a supervisor above the lead may, after it")
	}
	if err := complainedOf(a, against, e.Confidentiality, c.Lead, c.Co); err != nil {
		return nil, err
	}
	if rule.Within(a.Registry, c.Fallback, against) {
		return nil, rule.Bad("fallback", rule.LeadComplainedOf, "unit %q, or one above it, is complained of", c.Fallback)
	}
	e.Holder = above(a.Registry, e.Holder, against)
	e.HolderPath = a.Registry.UnitPath(e.Holder)
	d := due{asked: a, grade: Column(grade)}
	e.DispatchBy = d.by(calendar.Dispatch, s.dispatchFrom())
	e.Provisional = d.provisional
	if d.err != nil {
		return nil, d.err
	}
	return rule.One(e)
}

func (s *State) triaged(e *pb.TicketTriaged) {
	s.Category, s.Grade, s.Path, s.Holder, s.Confidentiality = e.Category, e.Grade, e.Path, e.Holder, e.Confidentiality
	s.ProposedLead, s.ProposedCo, s.Fallback, s.ComplainedOf = e.Lead, e.Co, e.Fallback, e.ComplainedOf
	s.Limits.DispatchBy = rule.Instant(e.DispatchBy)
}

// coHandlers refuses units that cannot handle beside the lead: unknown ones, the lead itself, and any named twice.
func coHandlers(a *rule.Asked, lead string, co []string) error {
	for i, unit := range co {
		if err := activeUnit(a, rule.Index("co", i), unit); err != nil {
			return err
		}
		if unit == lead {
			return rule.Bad(rule.Index("co", i), rule.BadField, "unit %q is the lead already", unit)
		}
		if slices.Contains(co[:i], unit) {
			return rule.Bad(rule.Index("co", i), rule.BadField, "unit %q is named twice", unit)
		}
	}
	return nil
}

// complainedOf refuses a lead that is the unit complained of or lies below it, and of a confidential matter co-handlers too: they
// would learn of it.
func complainedOf(a *rule.Asked, unit string, confidentiality pb.Confidentiality, lead string, co []string) error {
	if rule.Within(a.Registry, lead, unit) {
		return rule.Bad("lead", rule.LeadComplainedOf, "unit %q, or one above it, is complained of", lead)
	}
	if confidentiality != pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL {
		return nil
	}
	for i, c := range co {
		if rule.Within(a.Registry, c, unit) {
			return rule.Bad(rule.Index("co", i), rule.LeadComplainedOf, "unit %q, or one above it, is complained of", c)
		}
	}
	return nil
}

// above is who holds a ticket in place of holder where a unit is complained of: the one above that unit if holder lies in it.
func above(r rule.Registry, holder, complainedOf string) string {
	if !rule.Within(r, holder, complainedOf) {
		return holder
	}
	path := r.UnitPath(complainedOf)
	return path[max(len(path)-2, 0)]
}

// correctTriage: triage was wrong in something. A grade can shorten limits; to lengthen them is an extension, not a correction.
func correctTriage(s State, a *rule.Asked, c *pb.CorrectTriageRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_DISPATCHER, pb.Role_ROLE_SUPERVISOR); err != nil {
		return nil, err
	}
	if err := s.fromAbove(a); err != nil {
		return nil, err
	}
	if err := s.in(pb.TicketState_TICKET_STATE_TRIAGED, pb.TicketState_TICKET_STATE_DISPATCHED, pb.TicketState_TICKET_STATE_HANDLING,
		pb.TicketState_TICKET_STATE_RETURN_REVIEW, pb.TicketState_TICKET_STATE_ADJUDICATION, pb.TicketState_TICKET_STATE_SUSPENDED,
		pb.TicketState_TICKET_STATE_RESULT_SUBMITTED, pb.TicketState_TICKET_STATE_CALLBACK); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.Decided.At); err != nil {
		return nil, err
	}
	if err := said("note", c.GetParticulars().GetNote()); err != nil {
		return nil, err
	}
	e := &pb.TriageCorrected{Sealed: a.Sealed}
	if c.Category != "" && c.Category != s.Category {
		if _, ok := a.Registry.Category(c.Category, a.At); !ok {
			return nil, rule.Bad("category", rule.UnknownCategory, "no category %q is valid today", c.Category)
		}
		corrected := s
		corrected.Category = c.Category
		for _, unit := range append([]string{s.Lead}, s.Co...) { // who has it would be handed what the ban list keeps out
			if err := corrected.stays(a, "category", unit); err != nil {
				return nil, err
			}
		}
		e.Category = c.Category
	}
	if c.Area != "" {
		path, holder, err := place(a, "area", c.Area, s.AcceptedAt)
		if err != nil {
			return nil, err
		}
		e.Path = path
		if s.State == pb.TicketState_TICKET_STATE_TRIAGED {
			e.Holder = holder
		}
	}
	if c.ComplainedOf != "" {
		if err := activeUnit(a, "complained_of", c.ComplainedOf); err != nil {
			return nil, err
		}
		if s.Lead != "" && rule.Within(a.Registry, s.Lead, c.ComplainedOf) {
			return nil, rule.Bad("complained_of", rule.LeadComplainedOf, "the lead %q is that unit or lies below it; another must lead first", s.Lead)
		}
		if c.ComplainedOf != s.ComplainedOf {
			e.ComplainedOf = c.ComplainedOf
		}
	}
	if s.State == pb.TicketState_TICKET_STATE_TRIAGED || s.State == pb.TicketState_TICKET_STATE_ADJUDICATION {
		holder := cmp.Or(e.Holder, s.Holder)
		if e.Holder = above(a.Registry, holder, cmp.Or(c.ComplainedOf, s.ComplainedOf)); e.Holder == s.Holder {
			e.Holder = ""
		}
		e.HolderPath = a.Registry.UnitPath(e.Holder)
	}
	if c.Confidentiality != s.Confidentiality {
		if s.opens(cmp.Or(c.Confidentiality, s.Confidentiality)) {
			if a.Require(pb.Role_ROLE_SUPERVISOR) != nil {
				return nil, rule.Bad("confidentiality", rule.RoleNotAllowed, "only a supervisor above the lead opens what is confidential")
			}
			if err := about("confidentiality", s.alone()); err != nil { // duplicates may be confidential themselves
				return nil, err
			}
		}
		e.Confidentiality = c.Confidentiality
	}
	if c.Grade != pb.Grade_GRADE_UNSPECIFIED && c.Grade != s.Grade {
		e.Grade = c.Grade
		if err := s.shorten(a, e); err != nil {
			return nil, err
		}
	}
	if e.ComplainedOf != "" || e.Confidentiality != 0 {
		field := "confidentiality"
		if e.ComplainedOf != "" {
			field = "complained_of"
		}
		if cmp.Or(e.Confidentiality, s.Confidentiality) == pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL {
			for _, co := range s.Co {
				if rule.Within(a.Registry, co, cmp.Or(e.ComplainedOf, s.ComplainedOf)) {
					return nil, rule.Bad(field, rule.LeadComplainedOf, "co-handler %q is the unit complained of or lies below it, and would see a confidential matter", co)
				}
			}
		}
	}
	if e.Category == "" && e.Grade == 0 && e.Path == nil && e.ComplainedOf == "" && e.Confidentiality == 0 {
		return nil, rule.Bad("category", rule.MissingField, "nothing would change: give a category, grade, area, complained_of or confidentiality that is another")
	}
	return rule.One(e)
}

// shortenStopped is shorten of a ticket whose clock stands: not to a grade that is never suspended, nor to one with a longer limit. Of what was left
// is left no more than the whole limit of the new grade.
func (s *State) shortenStopped(a *rule.Asked, e *pb.TriageCorrected) error {
	if review, err := a.Profile.Limit(calendar.SuspensionReview, Column(e.Grade)); err != nil || review.None() {
		return rule.Bad("grade", rule.SuspensionNotAllowed, "a matter of grade %s is never suspended; resume it first", Column(e.Grade))
	}
	was, err := s.handleLimit(a.Profile)
	if s.RoundLimit != "" {
		was, err = calendar.ParseLimit(s.RoundLimit)
	}
	whole, wrong := a.Profile.Limit(s.handleTimer(), Column(e.Grade))
	left, unread := calendar.ParseLimit(s.Remaining)
	var ends [3]time.Time // of the three limits, had they begun together
	for i, l := range []calendar.Limit{was, whole, left} {
		var out error
		ends[i], _, out = a.Calendar.Due(s.HandleStart, l)
		err = cmp.Or(err, wrong, unread, out)
	}
	if err != nil {
		return rule.No(rule.DeadlineOutOfRange, "the limits of the grades cannot be compared")
	}
	if ends[1].After(ends[0]) {
		return rule.Bad("grade", rule.LimitLengthened, "that grade would lengthen the limit; resume it, and ask for an extension instead")
	}
	e.HandleLimit = whole.String()
	if ends[1].Before(ends[2]) {
		e.Remaining = e.HandleLimit
	}
	return nil
}

// shorten sets the limits that end sooner under the corrected grade. It refuses a grade that would lengthen the time for handling;
// of the other limits it leaves those that would.
func (s *State) shorten(a *rule.Asked, e *pb.TriageCorrected) error {
	d := due{asked: a, grade: Column(e.Grade)}
	if s.State == pb.TicketState_TICKET_STATE_SUSPENDED {
		return s.shortenStopped(a, e)
	}
	if !s.Limits.HandleBy.IsZero() {
		e.HandleBy, e.HandleLimit = d.by(s.handleTimer(), s.HandleStart), d.text(s.handleTimer())
		e.CloseBy = d.by(calendar.Close, rule.Instant(e.HandleBy))
	}
	for _, l := range []struct {
		timer   calendar.Timer
		was     time.Time
		start   time.Time
		shorter **timestamppb.Timestamp
	}{
		{calendar.Dispatch, s.Limits.DispatchBy, s.dispatchFrom(), &e.DispatchBy},
		{calendar.Sign, s.Limits.SignBy, s.DispatchedAt, &e.SignBy},
		{calendar.Contact, s.Limits.ContactBy, s.ContactStart, &e.ContactBy},
		{calendar.ReturnWindow, s.Limits.ReturnBy, s.DispatchedAt, &e.ReturnBy},
		{calendar.ReturnDecision, s.Limits.DecideReturnBy, s.Decided.At, &e.DecideReturnBy},
		{calendar.Ruling, s.Limits.RulingBy, s.Decided.At, &e.RulingBy},
		{calendar.Verify, s.Limits.VerifyBy, s.SubmittedAt, &e.VerifyBy},
		{calendar.Callback, s.Limits.CallbackBy, s.VerifiedAt, &e.CallbackBy},
	} {
		if l.was.IsZero() { // it does not run, or is met
			continue
		}
		one := due{asked: a, grade: d.grade, err: d.err}
		by := one.by(l.timer, l.start)
		if d.err = one.err; by != nil && rule.Instant(by).Before(l.was) {
			*l.shorter, d.provisional = by, d.provisional || one.provisional
		}
	}
	if d.err != nil {
		return d.err
	}
	if rule.Instant(e.HandleBy).After(s.Limits.HandleBy) || rule.Instant(e.CloseBy).After(s.Limits.CloseBy) {
		return rule.Bad("grade", rule.LimitLengthened, "that grade would lengthen the limit; ask for an extension instead")
	}
	e.Provisional = d.provisional
	return nil
}

func (s *State) triageCorrected(e *pb.TriageCorrected) {
	if e.Category != "" {
		s.Category = e.Category
	}
	if e.Path != nil {
		s.Path = e.Path
	}
	if e.Holder != "" {
		s.Holder = e.Holder
	}
	if e.ComplainedOf != "" {
		s.ComplainedOf = e.ComplainedOf
	}
	if e.Confidentiality != 0 {
		s.Confidentiality = e.Confidentiality
	}
	if e.Grade != 0 {
		s.Grade = e.Grade
	}
	for _, l := range []struct {
		is *time.Time
		by *timestamppb.Timestamp
	}{
		{&s.Limits.DispatchBy, e.DispatchBy}, {&s.Limits.SignBy, e.SignBy}, {&s.Limits.ContactBy, e.ContactBy},
		{&s.Limits.VerifyBy, e.VerifyBy}, {&s.Limits.CallbackBy, e.CallbackBy}, {&s.Limits.ReturnBy, e.ReturnBy},
		{&s.Limits.DecideReturnBy, e.DecideReturnBy}, {&s.Limits.RulingBy, e.RulingBy},
	} {
		if l.by != nil {
			*l.is = rule.Instant(l.by)
		}
	}
	if e.HandleBy != nil {
		was := s.Limits.HandleBy
		s.Limits.HandleBy, s.Limits.CloseBy = rule.Instant(e.HandleBy), rule.Instant(e.CloseBy)
		if s.fired[pb.TicketTimer_TICKET_TIMER_HANDLE] == was.UnixMicro() && !was.IsZero() { // it is noted of this round that there was no result in time
			s.fire(pb.TicketTimer_TICKET_TIMER_HANDLE, s.Limits.HandleBy)
		}
		s.HandleLimit, s.RoundLimit = e.HandleLimit, e.HandleLimit
		s.countAnew()
		if s.Limits.SegmentBy.After(s.Limits.HandleBy) {
			s.Limits.SegmentBy = s.Limits.HandleBy
		}
	}
	if s.State == pb.TicketState_TICKET_STATE_SUSPENDED {
		s.RoundLimit = cmp.Or(e.HandleLimit, s.RoundLimit)
		s.Remaining = cmp.Or(e.Remaining, s.Remaining)
	}
}
