// Package ticket holds the rules of a ticket (工单): what each command needs, what it refuses, the events it gives, and
// what those change. One action, one file. The package is pure: who acts, when, and the reference data come in as values.
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

// Decide says what a command makes happen to a ticket, or why not: a *rule.Refusal. No events and no error: it had been done
// before. Neither s nor what it points to is changed.
func Decide(s State, a *rule.Asked, command proto.Message) ([]proto.Message, error) {
	switch c := command.(type) {
	case *pb.ReportTicketRequest:
		return report(s, a, c)
	case *pb.ImportRecordRequest:
		return importRecord(s, a, c)
	case *pb.SolveOnWallRequest:
		return solveOnWall(s, a, c)
	}
	if !s.Exists() {
		return nil, rule.Bad("name", rule.NotFound, "no such ticket")
	}
	if err := s.second(command); err != nil {
		return nil, err
	}
	a.LateFrom = s.lateFrom(a, command)
	switch c := command.(type) {
	case *pb.AcceptTicketRequest:
		return accept(s, a, c)
	case *pb.DeclineTicketRequest:
		return decline(s, a, c)
	case *pb.AnswerTicketDirectlyRequest:
		return answerDirectly(s, a, c)
	case *pb.TriageTicketRequest:
		return triage(s, a, c)
	case *pb.CorrectTriageRequest:
		return correctTriage(s, a, c)
	case *pb.DispatchTicketRequest:
		return dispatch(s, a, c)
	case *pb.SignTicketRequest:
		return sign(s, a, c)
	case *pb.RecordContactRequest:
		return contact(s, a, c)
	case *pb.RecordProgressRequest:
		return progress(s, a, c)
	case *pb.WaiveRequirementRequest:
		return waive(s, a, c)
	case *pb.AdmitLateFactsRequest:
		return admitLateFacts(s, a, c)
	case *pb.SubmitResultRequest:
		return submitResult(s, a, c)
	case *pb.VerifyResultRequest:
		return verify(s, a, c)
	case *pb.RecordCallbackRequest:
		return callback(s, a, c)
	case *pb.CloseTicketRequest:
		return closeRound(s, a, c)
	case *pb.ReopenTicketRequest:
		return reopen(s, a, c)
	case *pb.VoidTicketRequest:
		return void(s, a, c)
	case *pb.RevealIdentityRequest:
		return reveal(s, a, c)
	case *pb.AppealDeclineRequest:
		return appealDecline(s, a, c)
	case *pb.OverturnDeclineRequest:
		return overturnDecline(s, a, c)
	case *pb.HandOverEmergencyRequest:
		return handOverEmergency(s, a, c)
	case *pb.MergeTicketRequest:
		return merge(s, a, c)
	case *pb.UnmergeTicketRequest:
		return unmerge(s, a, c)
	case *pb.TicketMerged:
		return becomeDuplicate(s, a, c)
	case *pb.DuplicateDetached:
		return detach(s, a, c)
	case *pb.WithdrawTicketRequest:
		return withdraw(s, a, c)
	case *pb.ArchiveTicketRequest:
		return archive(s, a, c)
	case *pb.CorrectArchiveRequest:
		return correctArchive(s, a, c)
	case *pb.RequestReturnRequest:
		return requestReturn(s, a, c)
	case *pb.DecideReturnRequest:
		return decideReturn(s, a, c)
	case *pb.OpenAdjudicationRequest:
		return openAdjudication(s, a, c)
	case *pb.RuleAdjudicationRequest:
		return ruleAdjudication(s, a, c)
	case *pb.RequestCoHandlerRequest:
		return requestCo(s, a, c)
	case *pb.AnswerCoHandlingRequest:
		return answerCo(s, a, c)
	case *pb.DecideCoDeclineRequest:
		return decideCoDecline(s, a, c)
	case *pb.SubmitCoTaskRequest:
		return submitCo(s, a, c)
	case *pb.EscalateTicketRequest:
		return escalate(s, a, c)
	case *pb.RefuseEscalationRequest:
		return refuseEscalation(s, a, c)
	case *pb.DelegateTicketRequest:
		return delegate(s, a, c)
	case *pb.RequestExtensionRequest:
		return requestExtension(s, a, c)
	case *pb.DecideExtensionRequest:
		return decideExtension(s, a, c)
	case *pb.RequestSuspensionRequest:
		return requestSuspension(s, a, c)
	case *pb.DecideSuspensionRequest:
		return decideSuspension(s, a, c)
	case *pb.ResumeTicketRequest:
		return resume(s, a, c)
	case *pb.RejectResultRequest:
		return rejectResult(s, a, c)
	case *pb.RequestExclusionRequest:
		return requestExclusion(s, a, c)
	case *pb.DecideExclusionRequest:
		return decideExclusion(s, a, c)
	case *pb.UrgeTicketRequest:
		return urge(s, a, c)
	case *pb.RaiseSupervisionRequest:
		return raiseSupervision(s, a, c)
	case *pb.ReplySupervisionRequest:
		return replySupervision(s, a, c)
	case *pb.ClearListingRequest:
		return clearListing(s, a, c)
	case *pb.LiftSupervisionRequest:
		return liftSupervision(s, a, c)
	case *pb.PassTimerRequest:
		return passTimer(s, a, c)
	case *pb.RecomputeLimitsRequest:
		return recompute(s, a, c)
	case *pb.MoveHolderRequest:
		return moveHolder(s, a, c)
	case *pb.AskWhistleRequest:
		return askWhistle(s, a, c)
	case *pb.DeclineWhistleAskRequest:
		return declineWhistleAsk(s, a, c)
	case *pb.ClaimTicketRequest:
		return claim(s, a, c)
	case *pb.PublishEchoRequest:
		return publishEcho(s, a, c)
	case *pb.RateLeadRequest:
		return rateLead(s, a, c)
	case *pb.RecordJointReviewRequest:
		return jointReview(s, a, c)
	case *pb.WhistleLinked:
		return linkWhistle(s, a, c)
	case *pb.WhistleSettled:
		return settleWhistle(s, a, c)
	case *pb.SupervisionRaised:
		return superviseFor(s, a, c)
	}
	return nil, fmt.Errorf("no rule for command %T", command)
}

// Evolve is the state after an event. An event that is not a ticket's is an error. s is not changed.
func Evolve(s State, meta *pb.EventMeta, event proto.Message) (State, error) {
	at := meta.GetOccurredAt().AsTime()
	limits, grade := s.Limits, s.Grade
	switch e := event.(type) {
	case *pb.TicketReported:
		s.reported(at, e)
		s.LearntAt, s.Reporter = meta.GetRecordedAt().AsTime(), meta.GetActor()
	case *pb.RecordImported:
		s.recordImported(at, e)
	case *pb.ImportedRecordClosed:
		s.importedRecordClosed(at, e)
	case *pb.TicketAccepted:
		s.accepted(at, e)
	case *pb.DeclineProposed:
		s.declineProposed(meta.GetActor(), e)
	case *pb.DeclineDropped:
		s.declineDropped(e)
	case *pb.TicketDeclined:
		s.declined(e)
	case *pb.TicketAnsweredDirectly:
		s.answeredDirectly(at, e)
	case *pb.TicketTriaged:
		s.triaged(e)
	case *pb.TriageCorrected:
		s.triageCorrected(e)
	case *pb.TicketDispatched:
		s.dispatched(meta, e)
	case *pb.TicketSigned:
		s.signed()
	case *pb.PetitionerContacted:
		s.petitionerContacted()
	case *pb.ContactFailed:
		s.contactFailed()
	case *pb.ProgressRecorded:
		s.progressRecorded(meta)
	case *pb.RequirementWaived:
		s.requirementWaived(e)
	case *pb.LateFactsAdmitted:
		s.lateFactsAdmitted(meta, e)
	case *pb.ResultSubmitted:
		s.resultSubmitted(at, e)
	case *pb.VerificationPassed:
		s.verificationPassed(at, meta.GetActor(), e)
	case *pb.VerificationFailed:
		s.verificationFailed(e)
	case *pb.CallbackRecorded:
		s.callbackRecorded(at, e)
	case *pb.CallbackAttemptFailed:
		s.callbackAttemptFailed(at)
	case *pb.CallbackUnreachable:
		s.callbackUnreachable(at, e)
	case *pb.TicketClosed:
		s.closed(at, e)
	case *pb.TicketReopened:
		s.reopened(meta, e)
	case *pb.VoidProposed:
		s.voidProposed(meta.GetActor())
	case *pb.VoidDropped:
		s.voidDropped()
	case *pb.TicketVoided:
		s.voided()
	case *pb.DeclineAppealed:
		s.declineAppealed(meta, e)
	case *pb.DeclineOverturned:
		s.declineOverturned(meta, e)
	case *pb.EmergencyHandedOver:
		s.emergencyHandedOver(meta, e)
	case *pb.DuplicateAttached:
		s.duplicateAttached(meta, e)
	case *pb.DuplicateDetached:
		s.duplicateDetached(meta, e)
	case *pb.TicketMerged:
		s.merged(meta, e)
	case *pb.TicketUnmerged:
		if s.Before != nil {
			limits = s.Before.Limits // which of them are provisional comes back with them
		}
		s.unmerged(meta, e)
	case *pb.TicketWithdrawn:
		s.withdrawn(meta, e)
	case *pb.TicketArchived:
		s.archived(meta, e)
	case *pb.ArchiveCorrectionProposed:
		s.archiveCorrectionProposed(meta, e)
	case *pb.ArchiveCorrectionDropped:
		s.archiveCorrectionDropped(meta, e)
	case *pb.ArchiveCorrected:
		s.archiveCorrected(meta, e)
	case *pb.ReturnRequested:
		s.returnRequested(e)
	case *pb.ReturnApproved:
		s.returnApproved(meta, e)
	case *pb.ReturnRejected:
		s.returnRejected()
	case *pb.AdjudicationOpened:
		s.adjudicationOpened(e)
	case *pb.AdjudicationRuled:
		s.adjudicationRuled(e)
	case *pb.FallbackAssigned:
		s.fallbackAssigned(e)
	case *pb.CoHandlerRequested:
		s.coHandlerRequested(e)
	case *pb.CoHandlerAccepted:
		s.coTask(e.Unit, pb.CoTaskState_CO_TASK_STATE_ACCEPTED)
	case *pb.CoHandlerDeclineProposed:
		s.coTask(e.Unit, pb.CoTaskState_CO_TASK_STATE_DECLINE_PROPOSED)
	case *pb.CoHandlerDeclineDropped:
		s.coTask(e.Unit, pb.CoTaskState_CO_TASK_STATE_ACCEPTED)
	case *pb.CoHandlerDeclined:
		s.coHandlerDeclined(e)
	case *pb.CoHandlerSubmitted:
		s.coTask(e.Unit, pb.CoTaskState_CO_TASK_STATE_SUBMITTED)
	case *pb.TicketEscalated:
		s.escalated(at, e)
	case *pb.EscalationRefused:
		s.escalationRefused(at, e)
	case *pb.TicketDelegated:
		s.delegated(meta, e)
	case *pb.ExtensionRequested:
		s.extensionRequested(meta, e)
	case *pb.ExtensionGranted:
		s.extensionGranted(meta, e)
	case *pb.ExtensionRefused:
		s.extensionRefused(meta, e)
	case *pb.SuspensionRequested:
		s.suspensionRequested(meta, e)
	case *pb.SuspensionGranted:
		s.suspensionGranted(meta, e)
	case *pb.SuspensionRefused:
		s.suspensionRefused(meta, e)
	case *pb.TicketResumed:
		limits.ContactBy = s.StoppedContactBy // which comes back as it was
		s.resumed(meta, e)
	case *pb.SuspensionReviewDue:
		s.suspensionReviewDue(meta, e)
	case *pb.ResultRejected:
		s.resultRejected(meta, e)
	case *pb.ExclusionRequested:
		s.exclusionRequested(meta, e)
	case *pb.ExclusionGranted:
		s.exclusionGranted(meta, e)
	case *pb.ExclusionDenied:
		s.exclusionDenied(meta, e)
	case *pb.TicketUrged:
		s.urged(meta, e)
	case *pb.SupervisionRaised:
		s.supervisionRaised(meta, e)
	case *pb.SupervisionReplied:
		s.supervisionReplied(meta, e)
	case *pb.ListingCleared:
		s.listingCleared(meta, e)
	case *pb.SupervisionLifted:
		s.supervisionLifted(meta, e)
	case *pb.AcceptOverdue:
		s.acceptOverdue(meta, e)
	case *pb.DispatchOverdue:
		s.dispatchOverdue(meta, e)
	case *pb.SignOverdue:
		s.signOverdue(meta, e)
	case *pb.ContactOverdue:
		s.contactOverdue(meta, e)
	case *pb.HandleOverdue:
		s.handleOverdue(meta, e)
	case *pb.VerifyOverdue:
		s.verifyOverdue(meta, e)
	case *pb.CallbackOverdue:
		s.callbackOverdue(meta, e)
	case *pb.RightLapsed:
		s.rightLapsed(meta, e)
	case *pb.LimitsRecomputed:
		s.limitsRecomputed(meta, e)
		if !e.Provisional {
			limits.guessed = 0 // nor is what it left
		}
	case *pb.HolderMoved:
		s.holderMoved(meta, e)
	case *pb.WhistleAsked:
		s.whistleAsked(meta, e)
	case *pb.WhistleAskDeclined:
		s.whistleAskDeclined(meta, e)
	case *pb.TicketClaimed:
		s.ticketClaimed(meta, e)
	case *pb.EchoPublished:
		s.echoPublished(meta, e)
	case *pb.LeadRated:
		s.leadRated(meta, e)
	case *pb.JointReviewRecorded:
		s.jointReviewRecorded(meta, e)
	case *pb.VerificationSampledOut:
		s.verificationSampledOut(meta, e)
	case *pb.WhistleLinked:
		s.whistleLinked(e)
	case *pb.WhistleSettled:
		s.whistleSettled(e)
	default:
		return s, fmt.Errorf("%T is no event of a ticket", event)
	}
	s.holds(event)
	if box, ok := event.(interface{ GetSealed() *pb.Sealed }); ok {
		s.sealed(box.GetSealed())
	}
	if shown, ok := event.(interface{ GetAttachments() []*pb.Attachment }); ok {
		s.shown(shown.GetAttachments())
	}
	s.Limits.lasting(&limits, event)
	guess, _ := event.(interface{ GetProvisional() bool })
	set, profile := s.Limits.follow(limits, guess != nil && guess.GetProvisional()), meta.GetProfileVersion()
	if s.Grade != grade || set && profile != s.LimitsProfile {
		s.Limits.outdate(limits)
	}
	if set {
		s.LimitsProfile = profile
	}
	after := StateAfter(event)
	s.Happened(meta, event, after)
	if after != pb.TicketState_TICKET_STATE_UNSPECIFIED {
		s.moot()
		switch event.(type) {
		case *pb.TicketMerged, *pb.TicketUnmerged: // it is again where it was
		case *pb.TicketEscalated:
			s.Escalated = true
		default:
			s.Escalated = false
		}
	}
	return s, nil
}

// StateAfter is the main state an event leads to; UNSPECIFIED for an event that changes no main state.
func StateAfter(event proto.Message) pb.TicketState {
	switch e := event.(type) {
	case *pb.TicketUnmerged:
		return e.State
	case *pb.TicketReported, *pb.RecordImported:
		return pb.TicketState_TICKET_STATE_REPORTED
	case *pb.TicketAccepted, *pb.DeclineOverturned:
		return pb.TicketState_TICKET_STATE_ACCEPTED
	case *pb.TicketDeclined:
		return pb.TicketState_TICKET_STATE_DECLINED
	case *pb.TicketTriaged, *pb.ReturnApproved:
		return pb.TicketState_TICKET_STATE_TRIAGED
	case *pb.TicketDispatched, *pb.TicketReopened, *pb.TicketEscalated, *pb.TicketDelegated:
		return pb.TicketState_TICKET_STATE_DISPATCHED
	case *pb.TicketSigned, *pb.SignOverdue, *pb.VerificationFailed, *pb.ReturnRejected, *pb.EscalationRefused, *pb.TicketResumed,
		*pb.ResultRejected:
		return pb.TicketState_TICKET_STATE_HANDLING
	case *pb.ReturnRequested:
		return pb.TicketState_TICKET_STATE_RETURN_REVIEW
	case *pb.AdjudicationOpened:
		return pb.TicketState_TICKET_STATE_ADJUDICATION
	case *pb.SuspensionGranted:
		return pb.TicketState_TICKET_STATE_SUSPENDED
	case *pb.TicketMerged:
		return pb.TicketState_TICKET_STATE_MERGED
	case *pb.TicketWithdrawn:
		return pb.TicketState_TICKET_STATE_WITHDRAWN
	case *pb.TicketArchived:
		return pb.TicketState_TICKET_STATE_ARCHIVED
	case *pb.ResultSubmitted:
		return pb.TicketState_TICKET_STATE_RESULT_SUBMITTED
	case *pb.VerificationPassed, *pb.VerificationSampledOut:
		return pb.TicketState_TICKET_STATE_CALLBACK
	case *pb.TicketAnsweredDirectly, *pb.TicketClosed, *pb.ImportedRecordClosed:
		return pb.TicketState_TICKET_STATE_CLOSED
	case *pb.TicketVoided:
		return pb.TicketState_TICKET_STATE_VOIDED
	}
	return pb.TicketState_TICKET_STATE_UNSPECIFIED
}

// StageOf is the stage of the five-stage loop a state belongs to; UNSPECIFIED for the states that end a ticket otherwise.
func StageOf(s pb.TicketState) pb.Stage {
	switch s {
	case pb.TicketState_TICKET_STATE_REPORTED:
		return pb.Stage_STAGE_RECEIVE
	case pb.TicketState_TICKET_STATE_ACCEPTED, pb.TicketState_TICKET_STATE_TRIAGED,
		pb.TicketState_TICKET_STATE_ADJUDICATION, pb.TicketState_TICKET_STATE_RETURN_REVIEW:
		return pb.Stage_STAGE_ANALYSE
	case pb.TicketState_TICKET_STATE_DISPATCHED, pb.TicketState_TICKET_STATE_HANDLING, pb.TicketState_TICKET_STATE_SUSPENDED:
		return pb.Stage_STAGE_ROUTE
	case pb.TicketState_TICKET_STATE_RESULT_SUBMITTED, pb.TicketState_TICKET_STATE_CALLBACK, pb.TicketState_TICKET_STATE_CLOSED:
		return pb.Stage_STAGE_EVALUATE
	}
	return pb.Stage_STAGE_UNSPECIFIED
}

// in refuses unless the ticket is in one of the states, and says which event put it where it is.
func (s *State) in(states ...pb.TicketState) error { return s.In("", "ticket", states...) }

// second refuses everything but the deciding word while a proposal waits for its second person.
func (s *State) second(command proto.Message) error {
	switch command.(type) {
	case *pb.RevealIdentityRequest, *pb.RecomputeLimitsRequest, *pb.PassTimerRequest, *pb.MoveHolderRequest, *pb.WhistleLinked,
		*pb.WhistleSettled, *pb.SupervisionRaised, *pb.DuplicateDetached:
		return nil
	case *pb.HandOverEmergencyRequest:
		return nil // life first
	case *pb.MergeTicketRequest:
		return nil // it is about two tickets, and says itself which of them it is that waits
	case *pb.DeclineTicketRequest:
		if s.VoidProposal == nil {
			return nil
		}
	case *pb.VoidTicketRequest:
		if s.DeclineProposal == nil {
			return nil
		}
	case *pb.CorrectArchiveRequest:
		return nil // nothing else can be proposed of an archived ticket
	default:
		if s.DeclineProposal == nil && s.VoidProposal == nil && s.Correction == nil {
			return nil
		}
	}
	return rule.No(rule.SecondPersonNeeded, "a proposal to decline, void or correct waits for a second person; confirm or drop it first")
}

// scope refuses unless the ticket's holder lies in the subtree of the actor's unit, or that unit is or lies below its lead or
// a co-handler.
func (s *State) scope(a *rule.Asked) error {
	if s.commands(a.Registry, a.Actor.Unit) {
		return nil
	}
	return &rule.Refusal{
		Reason: rule.OutOfScope, Message: fmt.Sprintf("the ticket is held by unit %q, which is not below yours", s.Holder), DecidedBy: s.Decided.String(),
	}
}

// InScope says whether an actor of the unit may see the ticket: who may command it, and while a whistle is open for it, unless it
// is confidential, those whom that summons.
func (s *State) InScope(r rule.Registry, unit string) bool {
	if s.commands(r, unit) {
		return true
	}
	if s.Confidentiality == pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL {
		return false
	}
	return slices.ContainsFunc(s.Whistles, func(w Whistle) bool {
		return w.Outcome == pb.WhistleState_WHISTLE_STATE_UNSPECIFIED &&
			slices.ContainsFunc(w.Participants, func(summoned string) bool { return rule.Within(r, unit, summoned) })
	})
}

// MaySee says whether an actor may see the ticket at the instant: who has it in scope, an assessment office in whose area the matter lies, and any
// auditor.
func (s *State) MaySee(r rule.Registry, actor rule.Actor, at time.Time) bool {
	return slices.Contains(actor.Roles, pb.Role_ROLE_AUDITOR) || s.InScope(r, actor.Unit) ||
		slices.Contains(actor.Roles, pb.Role_ROLE_ASSESSMENT) && s.assessedBy(r, actor.Unit, at) &&
			!(s.Confidentiality == pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL && s.against(r, actor.Unit))
}

// assessedBy says whether the matter lies in the area of an assessment office. Such an office stands beside the units that hold tickets, not
// above them, and the confidential are among what it assesses, of which it is shown the reply alone.
func (s *State) assessedBy(r rule.Registry, unit string, at time.Time) bool {
	office, ok := r.Unit(unit, at)
	return ok && slices.ContainsFunc(s.Path, func(n *pb.AreaNode) bool { return n.Code == office.Area })
}

// assessment refuses an actor in whose office's area the matter does not lie.
func (s *State) assessment(a *rule.Asked) error {
	if s.assessedBy(a.Registry, a.Actor.Unit, a.At) {
		return nil
	}
	return rule.No(rule.OutOfScope, "the matter does not lie in the area of your office")
}

// commands says whether an actor of the unit may command the ticket, as far as the unit goes.
func (s *State) commands(r rule.Registry, unit string) bool {
	if s.Holder == "" || len(r.UnitPath(s.Holder)) == 0 {
		return len(r.UnitPath(unit)) == 1 // nobody holds it: the root's matter
	}
	confidential := s.Confidentiality == pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL
	if confidential && s.against(r, unit) {
		return false
	}
	if rule.Within(r, s.Holder, unit) || s.ofLead(r, unit) {
		return true
	}
	if confidential {
		return false // only holder, lead and those above see it
	}
	return slices.ContainsFunc(s.Co, func(co string) bool { return rule.Within(r, unit, co) })
}

// against says whether the ticket is a complaint of the unit, or of one above it: such a unit neither sees a confidential one nor handles
// any. A complaint of the root is against nobody, since nobody else could hold it.
func (s *State) against(r rule.Registry, unit string) bool {
	return rule.Within(r, unit, s.ComplainedOf) && len(r.UnitPath(s.ComplainedOf)) > 1
}

// Against is the unit that a confidential ticket complains of, which may not learn of it; empty if there is none.
func (s *State) Against(r rule.Registry) string {
	if s.Confidentiality != pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL || !s.against(r, s.ComplainedOf) {
		return ""
	}
	return s.ComplainedOf
}

// ofLead says whether the unit belongs to the lead: it is that or lies below it. Of the lead of a confidential ticket only those of its own
// level do; the units of the areas below are no departments of it and learn nothing.
func (s *State) ofLead(r rule.Registry, unit string) bool {
	if s.Lead == "" || !rule.Within(r, unit, s.Lead) {
		return false
	}
	if s.Confidentiality != pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL || unit == s.Lead {
		return true
	}
	_, own := r.Level(unit)
	_, leads := r.Level(s.Lead)
	return own == leads
}

// impartial refuses who belongs to the unit complained of, and of a confidential ticket without a word that it is.
func (s *State) impartial(a *rule.Asked) error {
	switch {
	case !s.against(a.Registry, a.Actor.Unit):
		return nil
	case s.Confidentiality == pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL:
		return rule.No(rule.OutOfScope, "your unit neither leads nor helps with the ticket")
	}
	return rule.No(rule.SeparationOfDuties, "your unit, or one above it, is complained of and does not handle the matter")
}

// clerks are the roles that act for a unit that leads, co-handles or was summoned.
var clerks = []pb.Role{
	pb.Role_ROLE_DEPARTMENT_CLERK, pb.Role_ROLE_DEPARTMENT_HEAD, pb.Role_ROLE_STREET_CLERK, pb.Role_ROLE_STREET_LEADER,
	pb.Role_ROLE_STREET_SECRETARY, pb.Role_ROLE_STREET_DIRECTOR, pb.Role_ROLE_COMMUNITY_CLERK,
	pb.Role_ROLE_COMMUNITY_SECRETARY, pb.Role_ROLE_GRID_WORKER,
}

// byLead refuses unless the actor is a clerk of the lead or of a unit below it, and does not belong to the unit complained of.
func (s *State) byLead(a *rule.Asked) error {
	if err := a.Require(clerks...); err != nil {
		return err
	}
	if err := s.impartial(a); err != nil {
		return err
	}
	if !s.ofLead(a.Registry, a.Actor.Unit) {
		return rule.No(rule.OutOfScope, "the lead is unit %q, not yours", s.Lead)
	}
	return nil
}

// place resolves an area to its path and the unit that holds tickets there. An empty area is unlocated.
func place(a *rule.Asked, field, area string, at time.Time) ([]*pb.AreaNode, string, error) {
	if area == "" {
		path := a.Registry.Unlocated()
		holder := ""
		if len(path) > 0 {
			if u, ok := a.Registry.Responsible(path[0].Code, at); ok {
				holder = u.Code
			}
		}
		return path, holder, nil
	}
	path, ok := a.Registry.Path(area, at)
	if !ok {
		return nil, "", rule.Bad(field, rule.UnknownArea, "no area %q is valid at that time", area)
	}
	holder := ""
	if u, ok := a.Registry.Responsible(area, at); ok {
		holder = u.Code
	}
	return path, holder, nil
}

// activeUnit refuses a unit that is not in the registry or not valid now.
func activeUnit(a *rule.Asked, field, unit string) error {
	if _, ok := a.Registry.Unit(unit, a.At); !ok {
		return rule.Bad(field, rule.UnknownUnit, "no unit %q is active today", unit)
	}
	return nil
}

// due computes limits and remembers whether one of them is provisional.
type due struct {
	asked       *rule.Asked
	grade       string
	provisional bool
	err         error
}

func (s *State) due(a *rule.Asked) *due { return &due{asked: a, grade: Column(s.Grade)} }

func (d *due) by(t calendar.Timer, start time.Time) *timestamppb.Timestamp {
	if d.err != nil {
		return nil
	}
	by, provisional, err := d.asked.Due(t, d.grade, start)
	if err != nil {
		d.err = rule.No(rule.DeadlineOutOfRange, "the limit %q cannot be computed from that time", t)
		return nil
	}
	d.provisional = d.provisional || provisional
	return rule.Stamp(by)
}

// text is the limit of a timer as the profile writes it.
func (d *due) text(t calendar.Timer) string {
	limit, err := d.asked.Profile.Limit(t, d.grade)
	if err != nil && d.err == nil {
		d.err = rule.No(rule.DeadlineOutOfRange, "the profile has no limit %q", t)
	}
	return limit.String()
}

// Column is a grade's column in a deadline profile. A matter that is not graded yet counts as G2.
func Column(g pb.Grade) string {
	switch g {
	case pb.Grade_GRADE_G0:
		return calendar.G0
	case pb.Grade_GRADE_G1:
		return calendar.G1
	case pb.Grade_GRADE_G3:
		return calendar.G3
	case pb.Grade_GRADE_CONSULT:
		return calendar.Consult
	}
	return calendar.G2
}

// said says whether a command brought the text, and refuses if it did not.
func said(field, text string) error {
	if text == "" {
		return rule.Bad("particulars."+field, rule.MissingField, "is required")
	}
	return nil
}
