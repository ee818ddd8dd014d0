package ticket

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// answered are the kinds of matters that an agent may answer in their own words.
var answered = []pb.MatterKind{pb.MatterKind_MATTER_KIND_CONSULT, pb.MatterKind_MATTER_KIND_SUGGESTION, pb.MatterKind_MATTER_KIND_THANKS}

// maxKnowledgeRef is the length of the longest reference to an entry of the knowledge base.
const maxKnowledgeRef = 128

// answerDirectly: the agent answers at once and the ticket is never dispatched (直接答复).
func answerDirectly(s State, a *rule.Asked, c *pb.AnswerTicketDirectlyRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_AGENT); err != nil {
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
	if err := said("reply", c.GetParticulars().GetReply()); err != nil {
		return nil, err
	}
	if c.KnowledgeRef == "" && !slices.Contains(answered, s.Kind) {
		return nil, rule.Bad("knowledge_ref", rule.MissingField, "is required: a matter that is no question, suggestion or thanks is answered only from the knowledge base")
	}
	if len(c.KnowledgeRef) > maxKnowledgeRef {
		return nil, rule.Bad("knowledge_ref", rule.BadField, "want at most %d characters", maxKnowledgeRef)
	}
	if err := rule.Word("knowledge_ref", c.KnowledgeRef, rule.Printable); err != nil {
		return nil, err
	}
	if err := s.unlisted(); err != nil {
		return nil, err
	}
	if err := s.told(); err != nil {
		return nil, err
	}
	return rule.One(&pb.TicketAnsweredDirectly{KnowledgeRef: c.KnowledgeRef, Sealed: a.Sealed})
}

func (s *State) answeredDirectly(at time.Time, e *pb.TicketAnsweredDirectly) {
	s.ClosedAt, s.CloseKind, s.Replied, s.Limits = at, pb.CloseKind_CLOSE_KIND_DIRECT, e.Sealed, Limits{}
}
