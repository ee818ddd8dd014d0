package ticket

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/rule"
)

// CheckInvariants says what is wrong with a recorded event, given the states before and after it that Evolve gave: nil if it
// keeps all that must hold of every ticket, whoever recorded it and under whatever rules. It does not decide again, and asks
// no registry.
func CheckInvariants(before, after State, meta *pb.EventMeta, event proto.Message) error {
	wrong := rule.Wrong(event)

	from, known := legal(event)
	switch {
	case !known:
		return wrong("is no event of a ticket")
	case from != nil && !slices.Contains(from, before.State), from == nil && !before.Exists():
		return wrong("happened to a ticket that is %s", before.State)
	case after.Events != before.Events+1:
		return wrong("event %d follows %d", after.Events, before.Events)
	}
	if want := StateAfter(event); want == 0 && after.State != before.State || want != 0 && after.State != want {
		return wrong("led from %s to %s", before.State, after.State)
	}
	imports := false // what a record of another system says is taken as it is
	switch event.(type) {
	case *pb.RecordImported, *pb.ImportedRecordClosed:
		imports = true
	}
	if !imports && meta.GetRecordedAt().AsTime().Before(meta.GetOccurredAt().AsTime()) {
		return wrong("was recorded before it happened")
	}
	if before.Exists() && (after.No != before.No || after.Source != before.Source || after.SourceRef != before.SourceRef || !after.ReportedAt.Equal(before.ReportedAt)) {
		return wrong("changed the report's number, source, reference or time")
	}
	if !before.AcceptedAt.IsZero() && !after.AcceptedAt.Equal(before.AcceptedAt) {
		return wrong("changed the time of acceptance from %s to %s", before.AcceptedAt, after.AcceptedAt)
	}
	switch after.State {
	case pb.TicketState_TICKET_STATE_DISPATCHED, pb.TicketState_TICKET_STATE_HANDLING:
		if after.Lead == "" || after.Holder != after.Lead || slices.Contains(after.Co, after.Lead) {
			return wrong("the ticket has no one lead that holds it: lead %q, holder %q, co-handlers %q", after.Lead, after.Holder, after.Co)
		}
		if after.Limits.HandleBy.IsZero() || after.Limits.CloseBy.Before(after.Limits.HandleBy) {
			return wrong("the ticket is in hand with the limits handle_by %s, close_by %s", after.Limits.HandleBy, after.Limits.CloseBy)
		}
	}
	if after.State == pb.TicketState_TICKET_STATE_MERGED && (after.MergedInto == "" || len(after.Duplicates) > 0) ||
		after.State != pb.TicketState_TICKET_STATE_MERGED && after.MergedInto != "" {
		return wrong("the ticket is %s and merged into %q, with the duplicates %q", after.State, after.MergedInto, after.Duplicates)
	}
	if _, lifted := event.(*pb.SupervisionLifted); !lifted && after.Supervision < before.Supervision {
		return wrong("led from level %d of supervision to %d", before.Supervision, after.Supervision)
	}
	if err := handleBy(before, after, meta, event); err != nil {
		return wrong("%w", err)
	}
	if _, reopened := event.(*pb.TicketReopened); !reopened && before.Round > 0 && after.Round != before.Round {
		return wrong("led from round %d to %d", before.Round, after.Round)
	}

	switch event.(type) {
	case *pb.TicketAnsweredDirectly, *pb.TicketDeclined, *pb.TicketVoided, *pb.TicketMerged, *pb.TicketWithdrawn:
		if before.Listed {
			return wrong("the problem is listed and not cleared")
		}
	}
	switch event.(type) {
	case *pb.TicketSigned, *pb.PetitionerContacted, *pb.ContactFailed, *pb.ProgressRecorded, *pb.CoHandlerSubmitted, *pb.ResultSubmitted:
		if err := before.tooLate(meta); err != nil {
			return wrong("%w", err)
		}
	}
	switch e := event.(type) {
	case *pb.LateFactsAdmitted:
		if from := rule.Instant(e.NotBefore); e.Unit == "" || from.Before(before.DispatchedAt) || meta.GetRecordedAt().AsTime().Sub(from) <= rule.MaxBackdate {
			return wrong("admits facts of unit %q since %s, of a ticket dispatched at %s", e.Unit, from, before.DispatchedAt)
		}
	case *pb.TicketDispatched:
		if e.Round != max(before.Round, 1) || e.Hop != before.Hop+1 {
			return wrong("is hop %d of round %d, after hop %d of round %d", e.Hop, e.Round, before.Hop, before.Round)
		}
		if before.ComplainedOf != "" && slices.Contains(e.LeadPath, before.ComplainedOf) {
			return wrong("the lead %q lies in unit %q, which is complained of", e.Lead, before.ComplainedOf)
		}
		if slices.Contains(before.RuledOut, e.Lead) {
			return wrong("it was ruled that %q does not lead", e.Lead)
		}
		if !e.NonReturnable && (before.Returns >= returnsEnough || before.State == pb.TicketState_TICKET_STATE_ADJUDICATION) {
			return wrong("dispatch to %q without a ruling, after %d requests to return it", e.Lead, before.Returns)
		}
		if e.NonReturnable && e.ReturnBy != nil {
			return wrong("may be returned until %s and may not be returned", e.ReturnBy.AsTime())
		}
	case *pb.LeadRated:
		if e.Unit != before.Lead || slices.Contains(before.Ratings, Rating{e.Rater, e.Unit}) {
			return wrong("rater %q rates unit %q again, or one that does not lead", e.Rater, e.Unit)
		}
		if min(e.Response, e.Cooperation, e.Result) < 1 || max(e.Response, e.Cooperation, e.Result) > 5 {
			return wrong("the marks are %d, %d and %d", e.Response, e.Cooperation, e.Result)
		}
	case *pb.JointReviewRecorded:
		if before.JointlyReviewed || e.Residents+e.Units+e.PartyMembers == 0 {
			return wrong("is the second of the round, or of nobody")
		}
	case *pb.TicketDelegated:
		if e.Round != max(before.Round, 1) || e.Hop != before.Hop+1 {
			return wrong("is hop %d of round %d, after hop %d of round %d", e.Hop, e.Round, before.Hop, before.Round)
		}
		if slices.Contains(before.RuledOut, e.To) {
			return wrong("it was ruled that %q does not lead", e.To)
		}
		if before.NonReturnable && e.ReturnBy != nil {
			return wrong("may be returned until %s, though the unit above may not", e.ReturnBy.AsTime())
		}
		return moved(wrong, before, e.From, e.To, e.FromLevel, e.ToLevel, e.LeadPath)
	case *pb.TicketEscalated:
		if after.Hop != before.Hop {
			return wrong("led from hop %d to %d", before.Hop, after.Hop)
		}
		return moved(wrong, before, e.From, e.To, e.FromLevel, e.ToLevel, e.LeadPath)
	case *pb.EscalationRefused:
		last, ok := before.justEscalated()
		if !ok || last.From != e.To || last.To != e.From {
			return wrong("sends it from %q back to %q, but the last move is %v", e.From, e.To, last)
		}
		if before.refusedBefore(last) {
			return wrong("is the second from %q to %q", e.From, e.To)
		}
		if before.ComplainedOf != "" && slices.Contains(e.LeadPath, before.ComplainedOf) {
			return wrong("the lead %q lies in unit %q, which is complained of", e.To, before.ComplainedOf)
		}
		if slices.Contains(before.RuledOut, e.To) {
			return wrong("it was ruled that %q does not lead", e.To)
		}
	case *pb.ReturnRequested:
		if !before.mayReturn(meta.GetOccurredAt().AsTime(), e) {
			return wrong("is request %d, by %q: lead %q, %d before, not returnable %t, asked %t, until %s",
				e.Number, e.Unit, before.Lead, before.Returns, before.NonReturnable, before.ReturnAsked, before.Limits.ReturnBy)
		}
	case *pb.ReturnApproved:
		if e.Unit != before.Lead {
			return wrong("releases %q, but %q leads", e.Unit, before.Lead)
		}
	case *pb.ReturnRejected:
		if e.Unit != before.Lead {
			return wrong("is for %q, but %q leads", e.Unit, before.Lead)
		}
	case *pb.AdjudicationRuled:
		if slices.Contains(e.RuledOut, e.Lead) {
			return wrong("%q leads and is ruled out", e.Lead)
		}
	case *pb.FallbackAssigned:
		if slices.Contains(e.RuledOut, e.Unit) {
			return wrong("%q leads and is ruled out", e.Unit)
		}
	case *pb.CoHandlerRequested:
		if t, ok := before.task(e.Unit); e.Unit == before.Lead || ok && !t.settled() {
			return wrong("%q leads or has an open task", e.Unit)
		}
		if rule.Instant(e.SubmitBy).After(before.Limits.HandleBy) {
			return wrong("is due at %s, after the ticket's own limit %s", e.SubmitBy.AsTime(), before.Limits.HandleBy)
		}
	case *pb.CoHandlerAccepted:
		return tasked(wrong, before, e.Unit, pb.CoTaskState_CO_TASK_STATE_REQUESTED)
	case *pb.CoHandlerDeclineProposed:
		return tasked(wrong, before, e.Unit, pb.CoTaskState_CO_TASK_STATE_REQUESTED)
	case *pb.CoHandlerDeclineDropped:
		return tasked(wrong, before, e.Unit, pb.CoTaskState_CO_TASK_STATE_DECLINE_PROPOSED)
	case *pb.CoHandlerDeclined:
		return tasked(wrong, before, e.Unit, pb.CoTaskState_CO_TASK_STATE_DECLINE_PROPOSED)
	case *pb.CoHandlerSubmitted:
		return tasked(wrong, before, e.Unit, pb.CoTaskState_CO_TASK_STATE_REQUESTED, pb.CoTaskState_CO_TASK_STATE_ACCEPTED)
	case *pb.TicketReopened:
		if e.Round != before.Round+1 || e.Lead != before.Lead {
			return wrong("round %d with lead %q follows round %d with lead %q", e.Round, e.Lead, before.Round, before.Lead)
		}
	case *pb.TicketDeclined:
		return second(wrong, before.DeclineProposal, e.ProposedBy, meta)
	case *pb.TicketVoided:
		return second(wrong, before.VoidProposal, e.ProposedBy, meta)
	case *pb.ResultSubmitted:
		if !before.Contacted && !before.Anonymous && before.FailedContacts < failedContactsEnough && !before.waived(pb.Requirement_REQUIREMENT_CONTACT) {
			return wrong("nobody contacted the petitioner")
		}
		if unit := before.openTask(); unit != "" && !before.waived(pb.Requirement_REQUIREMENT_CO_TASKS) {
			return wrong("the task of co-handler %q is open", unit)
		}
		return closedWhistles(wrong, before)
	case *pb.ExtensionGranted:
		if before.Extension == nil || e.Number != uint32(len(before.ExtendedBy))+1 || e.Number > maxExtensions {
			return wrong("is number %d after %d, asked for: %t", e.Number, len(before.ExtendedBy), before.Extension != nil)
		}
	case *pb.SuspensionGranted:
		if before.Suspension == nil || e.Renewed != (before.State == pb.TicketState_TICKET_STATE_SUSPENDED) {
			return wrong("renewed %t of a ticket that is %s, asked for: %t", e.Renewed, before.State, before.Suspension != nil)
		}
	case *pb.VerificationFailed:
		if e.Rework != before.Rework+1 {
			return wrong("is rework %d after %d", e.Rework, before.Rework)
		}
	case *pb.SupervisionRaised:
		again := Lists(e) && !before.Listed && e.Level == before.Supervision
		if e.Level <= before.Supervision && !again || e.Level > supervisionAccount {
			return wrong("rises from level %d to %d", before.Supervision, e.Level)
		}
	case *pb.SupervisionReplied:
		if e.Level != before.Supervision || e.Level < supervisionOrder {
			return wrong("answers level %d at level %d", e.Level, before.Supervision)
		}
	case *pb.ListingCleared:
		if !before.Listed || !before.ListingDone {
			return wrong("the problem is listed: %t, said to be gone: %t", before.Listed, before.ListingDone)
		}
	case *pb.SupervisionLifted:
		if before.Listed || e.Level != before.Supervision || e.Level == 0 {
			return wrong("lifts level %d at level %d, listed: %t", e.Level, before.Supervision, before.Listed)
		}
	case *pb.ExclusionRequested:
		if before.Exclusion != nil || before.Excluded != 0 || slices.Contains(before.ExclusionDenied, e.Code) {
			return wrong("%s was asked for, granted or denied before", e.Code)
		}
		for _, m := range e.Metrics {
			if !slices.Contains(excludes[e.Code], m) {
				return wrong("%s takes nothing out of %s", e.Code, m)
			}
		}
	case *pb.ExclusionGranted:
		if by := meta.GetActor().GetPerson(); before.Exclusion.GetCode() != e.Code || slices.Contains(before.Dispatchers, by) {
			return wrong("%s was asked for, the ticket was dispatched by %q, and %q decides", before.Exclusion.GetCode(), before.Dispatchers, by)
		}
	case *pb.ExclusionDenied:
		if before.Exclusion.GetCode() != e.Code {
			return wrong("%s was asked for", before.Exclusion.GetCode())
		}
	case *pb.SignOverdue:
		return passed(wrong, before.Limits.SignBy, e.By, meta)
	case *pb.AcceptOverdue:
		return passed(wrong, before.Limits.AcceptBy, e.By, meta)
	case *pb.DispatchOverdue:
		return passed(wrong, before.Limits.DispatchBy, e.By, meta)
	case *pb.ContactOverdue:
		return passed(wrong, before.Limits.ContactBy, e.By, meta)
	case *pb.HandleOverdue:
		return passed(wrong, before.Limits.HandleBy, e.By, meta)
	case *pb.VerifyOverdue:
		return passed(wrong, before.Limits.VerifyBy, e.By, meta)
	case *pb.CallbackOverdue:
		return passed(wrong, before.Limits.CallbackBy, e.By, meta)
	case *pb.SuspensionReviewDue:
		return passed(wrong, before.Limits.ReviewAt, e.By, meta)
	case *pb.TicketAnsweredDirectly:
		if err := before.told(); err != nil {
			return wrong("%w", err)
		}
	case *pb.TicketClaimed:
		if !before.OnWall() || e.Unit == "" || e.AsCo && slices.Contains(before.ProposedCo, e.Unit) {
			return wrong("by %q of a ticket on a wall: %t, with the co-handlers %q", e.Unit, before.OnWall(), before.ProposedCo)
		}
	case *pb.EchoPublished:
		if !before.OnWall() && !before.owesWalls() || e.Kind == pb.EchoKind_ECHO_KIND_UNSPECIFIED || e.Sealed == nil {
			return wrong("%s, with words: %t, of a ticket that is on no wall", e.Kind, e.Sealed != nil)
		}
	case *pb.VerificationSampledOut:
		if !before.SolvedOnWall || before.Round > 1 {
			return wrong("solved on the wall: %t, round %d", before.SolvedOnWall, before.Round)
		}
	case *pb.TicketClosed:
		if !before.Verified && !before.SampledOut {
			return wrong("the round was not verified")
		}
		if err := before.told(); err != nil {
			return wrong("%w", err)
		}
		if before.Listed {
			return wrong("the problem is listed and not cleared")
		}
		if !before.CallbackSettled && !before.Anonymous && before.CallbackWanted && !before.waived(pb.Requirement_REQUIREMENT_CALLBACK) {
			return wrong("the callback of the round is not settled")
		}
		return closedWhistles(wrong, before)
	case *pb.HolderMoved:
		if e.To == "" || e.From != before.Holder && e.From != before.Lead {
			return wrong("went from %q to %q, but the ticket is held by %q and led by %q", e.From, e.To, before.Holder, before.Lead)
		}
		if before.ComplainedOf != "" && slices.Contains(e.HolderPath, before.ComplainedOf) && e.To != e.From {
			return wrong("went to %q, which lies in unit %q, which is complained of", e.To, before.ComplainedOf)
		}
	case *pb.ImportedRecordClosed:
		if before.Imported == nil {
			return wrong("the ticket is no imported record")
		}
	case *pb.ArchiveCorrected:
		return second(wrong, before.CorrectionBy, e.ProposedBy, meta)
	case *pb.DeclineOverturned:
		if !before.DeclineAppealed || !before.AcceptedAt.IsZero() {
			return wrong("nobody appealed, or the ticket was accepted at %s", before.AcceptedAt)
		}
	case *pb.TicketMerged:
		if e.Into == "" || len(before.Duplicates) > 0 {
			return wrong("into %q, with the duplicates %q", e.Into, before.Duplicates)
		}
		return openWhistles(wrong, before)
	case *pb.TicketUnmerged:
		if e.From != before.MergedInto || before.Before == nil || e.State != before.Before.State {
			return wrong("from %q to %s, after it was merged into %q", e.From, e.State, before.MergedInto)
		}
	case *pb.DuplicateAttached:
		if !before.Open() || e.Ticket == "" {
			return wrong("%q was attached to a ticket that is %s", e.Ticket, before.State)
		}
	case *pb.DuplicateDetached:
		if !slices.Contains(before.Duplicates, e.Ticket) {
			return wrong("%q is no duplicate", e.Ticket)
		}
	case *pb.TicketWithdrawn:
		if len(before.Duplicates) > 0 {
			return wrong("the ticket has the duplicates %q", before.Duplicates)
		}
		return openWhistles(wrong, before)
	case *pb.WhistleAsked:
		if before.WhistleAsked != nil {
			return wrong("the street was asked before and has not answered")
		}
	case *pb.WhistleAskDeclined:
		if before.WhistleAsked == nil {
			return wrong("nobody asked for a whistle")
		}
	case *pb.WhistleSettled:
		i := slices.IndexFunc(before.Whistles, func(w Whistle) bool { return w.ID == e.Whistle })
		if i < 0 || before.Whistles[i].Outcome != 0 {
			return wrong("whistle %s is not open here", e.Whistle)
		}
	}
	return nil
}

// handleBy: the limit changes only where a round is first dispatched, where one is opened again, where a correction shortens it, by an
// extension and a suspension given while it had not passed, by the resumption that ends one, and where the calendar was corrected. It
// ends with a ticket that is withdrawn, and rests while one is merged.
func handleBy(before, after State, meta *pb.EventMeta, event proto.Message) error {
	was, is := before.Limits.HandleBy, after.Limits.HandleBy
	inTime := calendar.OnTime(meta.GetRecordedAt().AsTime(), was) && calendar.OnTime(meta.GetOccurredAt().AsTime(), was)
	switch event.(type) {
	case *pb.ExtensionRequested, *pb.ExtensionGranted:
		if !inTime {
			return fmt.Errorf("came after handle_by %s, which it is about", was.Format(time.RFC3339))
		}
	case *pb.SuspensionRequested, *pb.SuspensionGranted:
		if before.State != pb.TicketState_TICKET_STATE_SUSPENDED && !inTime {
			return fmt.Errorf("came after handle_by %s, which it is about", was.Format(time.RFC3339))
		}
	}
	if is.Equal(was) {
		return nil
	}
	switch event.(type) {
	case *pb.TicketReopened:
		return nil
	case *pb.TicketDispatched, *pb.TicketDelegated:
		if was.IsZero() {
			return nil
		}
	case *pb.TicketMerged, *pb.TicketWithdrawn:
		if is.IsZero() {
			return nil
		}
	case *pb.TicketUnmerged:
		if before.Before != nil && is.Equal(before.Before.Limits.HandleBy) {
			return nil
		}
	case *pb.TriageCorrected:
		if is.Before(was) && !is.IsZero() {
			return nil
		}
	case *pb.ExtensionGranted:
		if is.After(was) {
			return nil
		}
	case *pb.SuspensionGranted:
		if is.IsZero() {
			return nil
		}
	case *pb.TicketResumed:
		if was.IsZero() && !is.IsZero() {
			return nil
		}
	case *pb.LimitsRecomputed:
		if !was.IsZero() && !is.IsZero() {
			return nil
		}
	}
	return fmt.Errorf("changed handle_by from %s to %s", was.Format(time.RFC3339), is.Format(time.RFC3339))
}

// moved: a ticket passes from who holds it to a unit of another level that is not complained of.
func moved(wrong func(string, ...any) error, before State, from, to, fromLevel, toLevel string, path []string) error {
	switch {
	case from != before.Holder:
		return wrong("passes from %q, but %q holds it", from, before.Holder)
	case to == from || toLevel == fromLevel:
		return wrong("passes from %q, %s, to %q, %s", from, fromLevel, to, toLevel)
	case before.ComplainedOf != "" && slices.Contains(path, before.ComplainedOf):
		return wrong("the lead %q lies in unit %q, which is complained of", to, before.ComplainedOf)
	case before.moves(from, to) >= movesEnough:
		return wrong("passes between %q and %q once too often", from, to)
	}
	return nil
}

// tasked: a co-handler's task moves on from one of the states.
func tasked(wrong func(string, ...any) error, before State, unit string, from ...pb.CoTaskState) error {
	if t, ok := before.task(unit); !ok || !slices.Contains(from, t.State) {
		return wrong("the task of %q is %s", unit, t.State)
	}
	return nil
}

func second(wrong func(string, ...any) error, proposal, said *pb.Actor, meta *pb.EventMeta) error {
	if proposal == nil || !proto.Equal(proposal, said) || proposal.Person == meta.GetActor().GetPerson() {
		return wrong("was proposed by %q and confirmed by %q", proposal.GetPerson(), meta.GetActor().GetPerson())
	}
	return nil
}

// openWhistles: not even who may waive that whistles are closed lets a ticket end beside them.
func openWhistles(wrong func(string, ...any) error, before State) error {
	if w := before.openWhistle(); w != "" {
		return wrong("whistle %s is open", w)
	}
	return nil
}

// passed: what was not done by a limit is noted of the limit that there was, at it or later, and recorded when nothing kept it any more.
func passed(wrong func(string, ...any) error, limit time.Time, by *timestamppb.Timestamp, meta *pb.EventMeta) error {
	said := rule.Instant(by)
	if by == nil || said.UnixMicro() != limit.UnixMicro() || meta.GetOccurredAt().AsTime().Before(said) || calendar.OnTime(meta.GetRecordedAt().AsTime(), said) {
		return wrong("the limit was %s, and is said to have been %s, at %s", limit, said, meta.GetOccurredAt().AsTime())
	}
	return nil
}

func closedWhistles(wrong func(string, ...any) error, before State) error {
	if w := before.openWhistle(); w != "" && !before.waived(pb.Requirement_REQUIREMENT_WHISTLES_CLOSED) {
		return wrong("whistle %s is open", w)
	}
	return nil
}

// legal are the states an event can happen in, nil for all but that of a ticket nobody reported; known is false for what is no
// event of a ticket.
func legal(event proto.Message) (from []pb.TicketState, known bool) {
	const (
		none       = pb.TicketState_TICKET_STATE_UNSPECIFIED
		reported   = pb.TicketState_TICKET_STATE_REPORTED
		accepted   = pb.TicketState_TICKET_STATE_ACCEPTED
		triaged    = pb.TicketState_TICKET_STATE_TRIAGED
		dispatched = pb.TicketState_TICKET_STATE_DISPATCHED
		handling   = pb.TicketState_TICKET_STATE_HANDLING
		review     = pb.TicketState_TICKET_STATE_RETURN_REVIEW
		ruling     = pb.TicketState_TICKET_STATE_ADJUDICATION
		suspended  = pb.TicketState_TICKET_STATE_SUSPENDED
		submitted  = pb.TicketState_TICKET_STATE_RESULT_SUBMITTED
		callback   = pb.TicketState_TICKET_STATE_CALLBACK
		closed     = pb.TicketState_TICKET_STATE_CLOSED
		declined   = pb.TicketState_TICKET_STATE_DECLINED
		merged     = pb.TicketState_TICKET_STATE_MERGED
		archived   = pb.TicketState_TICKET_STATE_ARCHIVED
	)
	in := func(states ...pb.TicketState) ([]pb.TicketState, bool) { return states, true }
	switch event.(type) {
	case *pb.TicketReported, *pb.RecordImported:
		return in(none)
	case *pb.TicketAccepted, *pb.DeclineProposed, *pb.DeclineDropped, *pb.TicketDeclined, *pb.ImportedRecordClosed:
		return in(reported)
	case *pb.VoidProposed, *pb.VoidDropped, *pb.TicketVoided:
		return in(reported, accepted, triaged)
	case *pb.TicketAnsweredDirectly, *pb.TicketTriaged:
		return in(accepted)
	case *pb.TriageCorrected:
		return in(triaged, dispatched, handling, review, ruling, suspended, submitted, callback)
	case *pb.TicketDispatched:
		return in(triaged, ruling)
	case *pb.WhistleAsked, *pb.WhistleAskDeclined:
		return in(handling)
	case *pb.TicketClaimed:
		return in(triaged)
	case *pb.EchoPublished:
		return in(reported, accepted, triaged, dispatched, handling, review, ruling, suspended, submitted, callback, closed)
	case *pb.LeadRated, *pb.JointReviewRecorded:
		return in(callback, closed)
	case *pb.VerificationSampledOut:
		return in(submitted)
	case *pb.TicketSigned:
		return in(dispatched)
	case *pb.PetitionerContacted, *pb.ContactFailed, *pb.LateFactsAdmitted:
		return in(dispatched, handling)
	case *pb.ProgressRecorded, *pb.ResultSubmitted:
		return in(handling)
	case *pb.RequirementWaived:
		return in(dispatched, handling, submitted, callback)
	case *pb.VerificationPassed, *pb.VerificationFailed:
		return in(submitted)
	case *pb.CallbackRecorded, *pb.CallbackAttemptFailed, *pb.CallbackUnreachable:
		return in(callback, merged)
	case *pb.TicketClosed:
		return in(callback)
	case *pb.TicketReopened:
		return in(callback, closed)
	case *pb.DeclineAppealed, *pb.DeclineOverturned:
		return in(declined)
	case *pb.EmergencyHandedOver:
		return in(reported, accepted)
	case *pb.TicketMerged:
		return in(accepted, triaged, dispatched)
	case *pb.TicketUnmerged:
		return in(merged)
	case *pb.ReturnRequested:
		return in(dispatched, handling)
	case *pb.ReturnApproved, *pb.ReturnRejected:
		return in(review)
	case *pb.AdjudicationOpened:
		return in(review, triaged, handling)
	case *pb.AdjudicationRuled, *pb.FallbackAssigned:
		return in(ruling)
	case *pb.CoHandlerRequested, *pb.CoHandlerAccepted, *pb.CoHandlerDeclineProposed, *pb.CoHandlerDeclineDropped, *pb.CoHandlerDeclined,
		*pb.CoHandlerSubmitted, *pb.TicketEscalated, *pb.ExtensionRequested, *pb.ExtensionGranted, *pb.ExtensionRefused:
		return in(handling)
	case *pb.EscalationRefused:
		return in(dispatched)
	case *pb.TicketDelegated:
		return in(triaged, handling)
	case *pb.SuspensionRequested, *pb.SuspensionGranted, *pb.SuspensionRefused:
		return in(handling, suspended)
	case *pb.TicketResumed, *pb.SuspensionReviewDue:
		return in(suspended)
	case *pb.ResultRejected, *pb.VerifyOverdue:
		return in(submitted)
	case *pb.ExclusionRequested, *pb.ExclusionGranted, *pb.ExclusionDenied, *pb.TicketArchived:
		return in(closed)
	case *pb.ArchiveCorrectionProposed, *pb.ArchiveCorrectionDropped, *pb.ArchiveCorrected:
		return in(archived)
	case *pb.TicketUrged, *pb.SupervisionRaised, *pb.SupervisionReplied, *pb.ListingCleared, *pb.SupervisionLifted, *pb.TicketWithdrawn,
		*pb.HolderMoved:
		return in(reported, accepted, triaged, dispatched, handling, review, ruling, suspended, submitted, callback)
	case *pb.AcceptOverdue:
		return in(reported)
	case *pb.DispatchOverdue:
		return in(accepted, triaged)
	case *pb.SignOverdue:
		return in(dispatched)
	case *pb.ContactOverdue:
		return in(dispatched, handling, review, ruling)
	case *pb.HandleOverdue:
		return in(triaged, dispatched, handling, review, ruling)
	case *pb.CallbackOverdue:
		return in(callback)
	case *pb.WhistleLinked, *pb.WhistleSettled, *pb.DuplicateAttached, *pb.DuplicateDetached, *pb.RightLapsed, *pb.LimitsRecomputed:
		return nil, true
	}
	return nil, false
}
