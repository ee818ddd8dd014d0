package whistle

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// CheckInvariants says what is wrong with a recorded event, given the states before and after it that Evolve gave: nil if it
// keeps all that must hold of every whistle, whoever recorded it and under whatever rules. It does not decide again, and asks
// no registry.
func CheckInvariants(before, after State, meta *pb.EventMeta, event proto.Message) error {
	if err := before.Step(&after.Life, "whistle", meta, event, legal(event), before.leads(event)); err != nil {
		return err
	}
	wrong := rule.Wrong(event)
	if before.Exists() && (after.No != before.No || after.Street != before.Street || !slices.Equal(after.Tickets, before.Tickets)) {
		return wrong("changed the whistle's number, street or tickets")
	}
	if _, retyped := event.(*pb.WhistleRetyped); before.Exists() && !retyped && after.Kind != before.Kind {
		return wrong("changed the whistle's kind")
	}
	if !before.BlownAt.IsZero() && !after.BlownAt.Equal(before.BlownAt) || !before.IssuedAt.IsZero() && !after.IssuedAt.Equal(before.IssuedAt) {
		return wrong("changed when the whistle was blown or issued")
	}
	if err := participants(before, after, event); err != nil {
		return wrong("%w", err)
	}

	switch e := event.(type) {
	case *pb.WhistleDrafted:
		if e.Kind != pb.WhistleKind_WHISTLE_KIND_TOUGH {
			return wrong("a %s whistle needs no second signature", e.Kind)
		}
	case *pb.WhistleBlown:
		if e.Kind != pb.WhistleKind_WHISTLE_KIND_TOUGH || e.Parent != "" { // the one it was raised from was signed
			break
		}
		first, then := before.DraftedBy, meta.GetActor()
		roles := []pb.Role{first.GetRole(), then.GetRole()}
		if !slices.Contains(roles, pb.Role_ROLE_STREET_SECRETARY) || !slices.Contains(roles, pb.Role_ROLE_STREET_DIRECTOR) || first.GetPerson() == then.GetPerson() {
			return wrong("a tough whistle was signed by %s as %s and %s as %s", first.GetPerson(), first.GetRole(), then.GetPerson(), then.GetRole())
		}
	case *pb.WhistleIssued:
		if (before.Kind == pb.WhistleKind_WHISTLE_KIND_EMERGENCY) != (e.ReviewBy != nil) {
			return wrong("an emergency whistle, and no other, is looked at after the fact")
		}
	case *pb.WhistleReviewed:
		if before.Kind != pb.WhistleKind_WHISTLE_KIND_EMERGENCY || !before.ReviewedAt.IsZero() {
			return wrong("only an emergency whistle is looked at after the fact, and once")
		}
	case *pb.ReportedIn:
		p := before.find(e.Unit)
		if late := p != nil && p.ReportInBy != nil && after.find(e.Unit).ReportedInAt.After(p.ReportInBy.AsTime()); e.InTime == late {
			return wrong("unit %q reported in; in time: %t", e.Unit, e.InTime)
		}
		if came := all(after, accounted); came != e.Convened {
			return wrong("every compulsory participant is there: %t, not %t", came, e.Convened)
		}
	case *pb.ParticipantExcused:
		p := before.find(e.Unit)
		if p == nil || p.Excuse == nil || !p.Endorsed {
			return wrong("unit %q did not ask, or the street did not agree", e.Unit)
		}
		if e.Replacement.GetUnit() != p.Excuse.Replacement || (e.Replacement == nil) == (e.RulingRef == "") {
			return wrong("unit %q asked for %q in its place, not %q", e.Unit, p.Excuse.Replacement, e.Replacement.GetUnit())
		}
		if came := all(after, accounted); came != e.Convened {
			return wrong("every compulsory participant is accounted for: %t, not %t", came, e.Convened)
		}
	case *pb.ExcuseEndorsed:
		if p := before.find(e.Unit); p == nil || p.Excuse == nil {
			return wrong("unit %q did not ask", e.Unit)
		}
	case *pb.NoShow:
		p := before.find(e.Unit)
		if p == nil || !p.Compulsory || p.ReportInBy == nil || !p.ReportedInAt.IsZero() || !meta.GetRecordedAt().AsTime().After(p.ReportInBy.AsTime()) {
			return wrong("unit %q came, or need not have come yet", e.Unit)
		}
		if came := all(after, accounted); came != e.Convened {
			return wrong("every compulsory participant is accounted for: %t, not %t", came, e.Convened)
		}
	case *pb.LeftEarly:
		if p := before.find(e.Unit); p == nil || !p.there() {
			return wrong("unit %q was not there", e.Unit)
		}
	case *pb.Released:
		if p := before.find(e.Unit); p == nil || !p.there() {
			return wrong("unit %q was not there", e.Unit)
		}
	case *pb.TaskWaived:
		if p := before.find(e.Unit); p == nil || p.settled() {
			return wrong("nothing of the task of unit %q is open", e.Unit)
		}
	case *pb.WhistleRetyped:
		if e.Kind == before.Kind || e.Kind == pb.WhistleKind_WHISTLE_KIND_EMERGENCY || before.Kind == pb.WhistleKind_WHISTLE_KIND_EMERGENCY {
			return wrong("from %s to %s", before.Kind, e.Kind)
		}
	case *pb.WhistleTimerPassed:
		if e.Timer == pb.WhistleTimer_WHISTLE_TIMER_RESOLVE && before.Resolved {
			return wrong("the matter is resolved")
		}
		if before.Fired(e.Timer, e.Unit) || !after.Fired(e.Timer, e.Unit) {
			return wrong("timer %s of %q fired before, or there is none", e.Timer, e.Unit)
		}
	case *pb.WhistleRaised:
		if !before.raisable() {
			return wrong("the matter is resolved")
		}
		if e.To == "" || e.Child == "" {
			return wrong("is raised to unit %q as %q", e.To, e.Child)
		}
		for _, unit := range e.Called {
			if before.find(unit) == nil {
				return wrong("calls unit %q again, which was not summoned", unit)
			}
		}
		if e.Cause == pb.RaiseCause_RAISE_CAUSE_NO_SHOWS && !before.TooManyNoShows() || e.Cause == pb.RaiseCause_RAISE_CAUSE_UNRESOLVED && !before.Unresolved() {
			return wrong("is raised for %s, which is not so", e.Cause)
		}
	case *pb.WhistleConfirmed:
		if !all(before, (*Participant).settled) {
			return wrong("a compulsory task is open")
		}
	case *pb.UnitRated:
		if e.Response < 1 || e.Response > 5 || e.Cooperation < 1 || e.Cooperation > 5 || e.Result < 1 || e.Result > 5 {
			return wrong("the marks are %d, %d and %d", e.Response, e.Cooperation, e.Result)
		}
		if p := before.find(e.Unit); p == nil || ofStreet(e) && p.Rated != nil || !ofStreet(e) && (e.Rater == "" || p.ratedBy(e.RaterKind, e.Rater)) {
			return wrong("unit %q was not summoned or is rated already", e.Unit)
		}
		if rated := ofStreet(e) && all(after, rated); rated != e.AllRated {
			return wrong("every compulsory participant is rated: %t, not %t", rated, e.AllRated)
		}
	case *pb.WhistleClosed:
		if !all(before, rated) {
			return wrong("a compulsory participant is not rated")
		}
		for i := range before.Participants {
			if p := &before.Participants[i]; p.there() {
				return wrong("unit %q is still there", p.Unit)
			}
		}
	}
	return nil
}

// participants: each is summoned once, somebody has to come, and none is lost or goes back, but for an absent one that comes after all.
func participants(before, after State, event proto.Message) error {
	seen := map[string]bool{}
	for i := range after.Participants {
		p := &after.Participants[i]
		if seen[p.Unit] {
			return fmt.Errorf("unit %q is summoned twice", p.Unit)
		}
		seen[p.Unit] = true
	}
	if !slices.ContainsFunc(after.Participants, func(p Participant) bool { return p.Compulsory }) {
		return fmt.Errorf("nobody has to come")
	}
	for i := range before.Participants {
		was := &before.Participants[i]
		is := after.find(was.Unit)
		switch {
		case is == nil:
			return fmt.Errorf("participant %q was lost", was.Unit)
		case is.State < was.State && (was.State != pb.ParticipantState_PARTICIPANT_STATE_NO_SHOW || is.State != pb.ParticipantState_PARTICIPANT_STATE_REPORTED_IN):
			return fmt.Errorf("participant %q went from %s to %s", was.Unit, was.State, is.State)
		}
	}
	more := 0
	switch e := event.(type) {
	case *pb.ParticipantAdded:
		more = 1
	case *pb.ParticipantExcused:
		if e.Replacement != nil {
			more = 1
		}
	}
	if !before.IssuedAt.IsZero() && len(after.Participants) != len(before.Participants)+more {
		return fmt.Errorf("%d participants became %d after the whistle was issued", len(before.Participants), len(after.Participants))
	}
	return nil
}

// all says whether something holds of every participant that had to come.
func all(s State, holds func(*Participant) bool) bool {
	for i := range s.Participants {
		if p := &s.Participants[i]; p.Compulsory && !holds(p) {
			return false
		}
	}
	return true
}

// accounted says whether a participant is there or gone, excused or absent.
func accounted(p *Participant) bool { return !p.expected() }

func rated(p *Participant) bool {
	return p.Rated != nil || p.State == pb.ParticipantState_PARTICIPANT_STATE_EXCUSED
}

// legal are the states an event can happen in; nil for what is no event of a whistle.
func legal(event proto.Message) []pb.WhistleState {
	const (
		none      = pb.WhistleState_WHISTLE_STATE_UNSPECIFIED
		draft     = pb.WhistleState_WHISTLE_STATE_DRAFT
		blown     = pb.WhistleState_WHISTLE_STATE_BLOWN
		working   = pb.WhistleState_WHISTLE_STATE_WORKING
		issued    = pb.WhistleState_WHISTLE_STATE_ISSUED
		confirmed = pb.WhistleState_WHISTLE_STATE_CONFIRMED
		rated     = pb.WhistleState_WHISTLE_STATE_RATED
	)
	switch e := event.(type) {
	case *pb.WhistleDrafted:
		return []pb.WhistleState{none}
	case *pb.WhistleBlown:
		return []pb.WhistleState{none, draft}
	case *pb.WhistleIssued, *pb.WhistleRefused:
		return []pb.WhistleState{blown}
	case *pb.WhistleSigned, *pb.WhistleContacted, *pb.ReportedIn, *pb.TaskDone, *pb.WhistleConfirmed,
		*pb.ParticipantAdded, *pb.ExcuseRequested, *pb.ExcuseEndorsed, *pb.ExcuseRefused, *pb.ParticipantExcused, *pb.NoShow, *pb.TaskWaived,
		*pb.HelperJoined:
		return under
	case *pb.WhistleRaised:
		return while
	case *pb.WhistleReviewed:
		return reviewable
	case *pb.WhistleTimerPassed:
		switch e.Timer {
		case pb.WhistleTimer_WHISTLE_TIMER_REVIEW:
			return reviewable
		case pb.WhistleTimer_WHISTLE_TIMER_RESOLVE:
			return append(slices.Clone(while), pb.WhistleState_WHISTLE_STATE_CLOSED)
		}
		return under
	case *pb.Released, *pb.LeftEarly:
		return while
	case *pb.WhistleRetyped:
		return []pb.WhistleState{blown}
	case *pb.WhistleCancelled:
		return []pb.WhistleState{draft, blown, issued, working}
	case *pb.UnitRated:
		return []pb.WhistleState{confirmed, rated}
	case *pb.WhistleClosed:
		return []pb.WhistleState{rated}
	}
	return nil
}
