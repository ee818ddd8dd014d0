package ticket

import (
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// rejectResult: the result is sent back before anybody verified it (退回重报). It counts as no rework; handle_by stays.
func rejectResult(s State, a *rule.Asked, c *pb.RejectResultRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_DISPATCHER, pb.Role_ROLE_SUPERVISOR); err != nil {
		return nil, err
	}
	if err := s.fromAbove(a); err != nil {
		return nil, err
	}
	if err := s.in(pb.TicketState_TICKET_STATE_RESULT_SUBMITTED); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.SubmittedAt); err != nil {
		return nil, err
	}
	if c.Reason == pb.ResultRejection_RESULT_REJECTION_UNSPECIFIED {
		return nil, rule.Bad("reason", rule.MissingField, "is required")
	}
	if err := said("note", c.GetParticulars().GetNote()); err != nil {
		return nil, err
	}
	return rule.One(&pb.ResultRejected{Reason: c.Reason, Sealed: a.Sealed})
}

func (s *State) resultRejected(*pb.EventMeta, *pb.ResultRejected) { s.noResult() }

// noResult forgets a result that did not hold.
func (s *State) noResult() {
	s.Result, s.SubmittedAt, s.Limits.VerifyBy = 0, time.Time{}, time.Time{}
	s.ResultEcho = 0 // the wall was told what is not so
}
