package ticket

import (
	"slices"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// requestCo: the lead asks a unit for a bounded task (协办). The unit is a co-handler from then on.
func requestCo(s State, a *rule.Asked, c *pb.RequestCoHandlerRequest) ([]proto.Message, error) {
	if err := s.byLead(a); err != nil {
		return nil, err
	}
	if err := s.in(pb.TicketState_TICKET_STATE_HANDLING); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.Decided.At); err != nil {
		return nil, err
	}
	if err := said("text", c.GetParticulars().GetText()); err != nil {
		return nil, err
	}
	if c.Unit == "" {
		return nil, rule.Bad("unit", rule.MissingField, "is required")
	}
	if err := activeUnit(a, "unit", c.Unit); err != nil {
		return nil, err
	}
	if c.Unit == s.Lead {
		return nil, rule.Bad("unit", rule.BadField, "unit %q is the lead already", c.Unit)
	}
	if s.Confidentiality == pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL && rule.Within(a.Registry, c.Unit, s.ComplainedOf) {
		return nil, rule.Bad("unit", rule.LeadComplainedOf, "unit %q, or one above it, is complained of and would see a confidential matter", c.Unit)
	}
	if err := s.deliver(a, "unit", c.Unit, c); err != nil {
		return nil, err
	}
	if t, ok := s.task(c.Unit); ok && !t.settled() {
		return nil, rule.Bad("unit", rule.TasksOpen, "unit %q has a task that is open", c.Unit)
	}
	by := s.Limits.HandleBy
	if c.SubmitBy != nil {
		if by = rule.Instant(c.SubmitBy); by.Before(a.OccurredAt) {
			return nil, rule.Bad("submit_by", rule.BadField, "lies in the past")
		}
		if by.After(s.Limits.HandleBy) {
			return nil, rule.Bad("submit_by", rule.LimitLengthened, "lies after the ticket's own limit")
		}
	}
	task, admission := s.ordered(c)
	return rule.One(&pb.CoHandlerRequested{
		Unit: c.Unit, UnitPath: a.Registry.UnitPath(c.Unit), Mandatory: c.Mandatory, SubmitBy: rule.Stamp(by), Sealed: a.Sealed,
		Task: task, Admission: admission,
	})
}

func (s *State) coHandlerRequested(e *pb.CoHandlerRequested) {
	s.delivered(e.Task, e.Admission, e.Unit)
	if !slices.Contains(s.Co, e.Unit) {
		s.Co = append(slices.Clip(s.Co), e.Unit)
	}
	s.CoTasks = append(slices.DeleteFunc(slices.Clone(s.CoTasks), func(t CoTask) bool { return t.Unit == e.Unit }), CoTask{
		Unit: e.Unit, Mandatory: e.Mandatory, State: pb.CoTaskState_CO_TASK_STATE_REQUESTED, SubmitBy: rule.Instant(e.SubmitBy),
	})
}

// answerCo: the co-handler takes its task, or says why it is not its own.
func answerCo(s State, a *rule.Asked, c *pb.AnswerCoHandlingRequest) ([]proto.Message, error) {
	t, err := s.ownTask(a)
	if err != nil {
		return nil, err
	}
	if t.State != pb.CoTaskState_CO_TASK_STATE_REQUESTED {
		return nil, rule.No(rule.AlreadyDone, "unit %q has answered already", t.Unit)
	}
	if c.Accepted {
		return rule.One(&pb.CoHandlerAccepted{Unit: t.Unit})
	}
	if err := said("note", c.GetParticulars().GetNote()); err != nil {
		return nil, err
	}
	return rule.One(&pb.CoHandlerDeclineProposed{Unit: t.Unit, Sealed: a.Sealed})
}

// decideCoDecline: a dispatcher releases the co-handler from its task, or does not.
func decideCoDecline(s State, a *rule.Asked, c *pb.DecideCoDeclineRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_DISPATCHER); err != nil {
		return nil, err
	}
	if err := s.over(a); err != nil {
		return nil, err
	}
	if err := s.in(pb.TicketState_TICKET_STATE_HANDLING); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.Decided.At); err != nil {
		return nil, err
	}
	t, ok := s.task(c.Unit)
	if !ok || t.State != pb.CoTaskState_CO_TASK_STATE_DECLINE_PROPOSED {
		return nil, rule.Bad("unit", rule.NothingProposed, "unit %q has not asked to be released from a task", c.Unit)
	}
	if c.Consented {
		return rule.One(&pb.CoHandlerDeclined{Unit: t.Unit, Sealed: a.Sealed})
	}
	if err := said("note", c.GetParticulars().GetNote()); err != nil {
		return nil, err
	}
	return rule.One(&pb.CoHandlerDeclineDropped{Unit: t.Unit, Sealed: a.Sealed})
}

// coHandlerDeclined: who is released from its task co-handles no longer.
func (s *State) coHandlerDeclined(e *pb.CoHandlerDeclined) {
	s.coTask(e.Unit, pb.CoTaskState_CO_TASK_STATE_DECLINED)
	s.Co = without(s.Co, e.Unit)
}

// submitCo: the co-handler's part is done.
func submitCo(s State, a *rule.Asked, c *pb.SubmitCoTaskRequest) ([]proto.Message, error) {
	t, err := s.ownTask(a)
	if err != nil {
		return nil, err
	}
	switch t.State {
	case pb.CoTaskState_CO_TASK_STATE_REQUESTED, pb.CoTaskState_CO_TASK_STATE_ACCEPTED:
	case pb.CoTaskState_CO_TASK_STATE_DECLINE_PROPOSED:
		return nil, rule.No(rule.AlreadyProposed, "unit %q has asked to be released from the task", t.Unit)
	default:
		return nil, rule.No(rule.AlreadyDone, "the task of unit %q is settled", t.Unit)
	}
	if c.GetParticulars().GetText() == "" && len(c.Attachments) == 0 {
		return nil, rule.Bad("particulars.text", rule.MissingField, "a text or an attachment is required")
	}
	if err := rule.Attachments(c.Attachments); err != nil {
		return nil, err
	}
	return rule.One(&pb.CoHandlerSubmitted{Unit: t.Unit, Attachments: c.Attachments, Sealed: a.Sealed})
}

// ownTask is the task of the actor's unit, or of the nearest unit above it that has one.
func (s *State) ownTask(a *rule.Asked) (CoTask, error) {
	if err := a.Require(clerks...); err != nil {
		return CoTask{}, err
	}
	if err := s.impartial(a); err != nil {
		return CoTask{}, err
	}
	var own CoTask
	for _, unit := range slices.Backward(a.Registry.UnitPath(a.Actor.Unit)) {
		if t, ok := s.task(unit); ok {
			own = t
			break
		}
	}
	if own.Unit == "" {
		return CoTask{}, rule.No(rule.NotParticipant, "your unit was asked for no task")
	}
	if err := s.in(pb.TicketState_TICKET_STATE_HANDLING); err != nil {
		return CoTask{}, err
	}
	return own, a.CheckTime(s.DispatchedAt)
}

// task is the latest task of a co-handler.
func (s *State) task(unit string) (CoTask, bool) {
	i := slices.IndexFunc(s.CoTasks, func(t CoTask) bool { return t.Unit == unit })
	if i < 0 {
		return CoTask{}, false
	}
	return s.CoTasks[i], true
}

// coTask moves a co-handler's task on.
func (s *State) coTask(unit string, to pb.CoTaskState) {
	s.CoTasks = slices.Clone(s.CoTasks)
	for i := range s.CoTasks {
		if s.CoTasks[i].Unit == unit {
			s.CoTasks[i].State = to
		}
	}
}

// settled says whether nothing is expected of the co-handler any more.
func (t *CoTask) settled() bool {
	return t.State == pb.CoTaskState_CO_TASK_STATE_SUBMITTED || t.State == pb.CoTaskState_CO_TASK_STATE_DECLINED
}

// openTask is a co-handler whose task the result must wait for; empty if there is none.
func (s *State) openTask() string {
	for _, t := range s.CoTasks {
		if t.Mandatory && !t.settled() {
			return t.Unit
		}
	}
	return ""
}
