package rpc

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/suggest"
	"github.com/chuishao/dispatch/internal/ticket"
)

type ticketService struct {
	pb.UnimplementedTicketServiceServer
	service
	suggest *suggest.Index // nil: this server suggests nothing
}

// carryOut does what every command on a ticket has in common, which is everything.
func (s ticketService) carryOut(ctx context.Context, command proto.Message) (*pb.TicketAnswer, error) {
	state, result, err := s.dispatcher.Ticket(ctx, request(ctx, command))
	if err != nil {
		return nil, s.refused(ctx, command, err)
	}
	return ticketAnswer(state, result), nil
}

func ticketAnswer(s *ticket.State, r dispatch.Result) *pb.TicketAnswer {
	return &pb.TicketAnswer{
		Name: "tickets/" + dispatch.ID(r.Stream), No: s.No, State: s.State, Etag: r.ETag(), ConsistencyToken: Token(r.Position),
		Limits: s.Limits.Message(), Repeated: r.Repeated,
	}
}

func (s ticketService) ReportTicket(ctx context.Context, r *pb.ReportTicketRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) AcceptTicket(ctx context.Context, r *pb.AcceptTicketRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) DeclineTicket(ctx context.Context, r *pb.DeclineTicketRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) AnswerTicketDirectly(ctx context.Context, r *pb.AnswerTicketDirectlyRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) TriageTicket(ctx context.Context, r *pb.TriageTicketRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) CorrectTriage(ctx context.Context, r *pb.CorrectTriageRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) DispatchTicket(ctx context.Context, r *pb.DispatchTicketRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) SignTicket(ctx context.Context, r *pb.SignTicketRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) RecordContact(ctx context.Context, r *pb.RecordContactRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) RecordProgress(ctx context.Context, r *pb.RecordProgressRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) WaiveRequirement(ctx context.Context, r *pb.WaiveRequirementRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) AdmitLateFacts(ctx context.Context, r *pb.AdmitLateFactsRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) SubmitResult(ctx context.Context, r *pb.SubmitResultRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) VerifyResult(ctx context.Context, r *pb.VerifyResultRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) RecordCallback(ctx context.Context, r *pb.RecordCallbackRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) CloseTicket(ctx context.Context, r *pb.CloseTicketRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) ReopenTicket(ctx context.Context, r *pb.ReopenTicketRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) VoidTicket(ctx context.Context, r *pb.VoidTicketRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) AppealDecline(ctx context.Context, r *pb.AppealDeclineRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) OverturnDecline(ctx context.Context, r *pb.OverturnDeclineRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) HandOverEmergency(ctx context.Context, r *pb.HandOverEmergencyRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) MergeTicket(ctx context.Context, r *pb.MergeTicketRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) UnmergeTicket(ctx context.Context, r *pb.UnmergeTicketRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) AskWhistle(ctx context.Context, r *pb.AskWhistleRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) DeclineWhistleAsk(ctx context.Context, r *pb.DeclineWhistleAskRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) ClaimTicket(ctx context.Context, r *pb.ClaimTicketRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) PublishEcho(ctx context.Context, r *pb.PublishEchoRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) RateLead(ctx context.Context, r *pb.RateLeadRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) RecordJointReview(ctx context.Context, r *pb.RecordJointReviewRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) SolveOnWall(ctx context.Context, r *pb.SolveOnWallRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) WithdrawTicket(ctx context.Context, r *pb.WithdrawTicketRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) ArchiveTicket(ctx context.Context, r *pb.ArchiveTicketRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) CorrectArchive(ctx context.Context, r *pb.CorrectArchiveRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) RequestReturn(ctx context.Context, r *pb.RequestReturnRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) DecideReturn(ctx context.Context, r *pb.DecideReturnRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) OpenAdjudication(ctx context.Context, r *pb.OpenAdjudicationRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) RuleAdjudication(ctx context.Context, r *pb.RuleAdjudicationRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) RequestCoHandler(ctx context.Context, r *pb.RequestCoHandlerRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) AnswerCoHandling(ctx context.Context, r *pb.AnswerCoHandlingRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) DecideCoDecline(ctx context.Context, r *pb.DecideCoDeclineRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) SubmitCoTask(ctx context.Context, r *pb.SubmitCoTaskRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) EscalateTicket(ctx context.Context, r *pb.EscalateTicketRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) RefuseEscalation(ctx context.Context, r *pb.RefuseEscalationRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) DelegateTicket(ctx context.Context, r *pb.DelegateTicketRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) RequestExtension(ctx context.Context, r *pb.RequestExtensionRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) DecideExtension(ctx context.Context, r *pb.DecideExtensionRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) RequestSuspension(ctx context.Context, r *pb.RequestSuspensionRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) DecideSuspension(ctx context.Context, r *pb.DecideSuspensionRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) ResumeTicket(ctx context.Context, r *pb.ResumeTicketRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) RejectResult(ctx context.Context, r *pb.RejectResultRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) RequestExclusion(ctx context.Context, r *pb.RequestExclusionRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) DecideExclusion(ctx context.Context, r *pb.DecideExclusionRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) UrgeTicket(ctx context.Context, r *pb.UrgeTicketRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) RaiseSupervision(ctx context.Context, r *pb.RaiseSupervisionRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) ReplySupervision(ctx context.Context, r *pb.ReplySupervisionRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) ClearListing(ctx context.Context, r *pb.ClearListingRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) LiftSupervision(ctx context.Context, r *pb.LiftSupervisionRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) PassTimer(ctx context.Context, r *pb.PassTimerRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) RecomputeLimits(ctx context.Context, r *pb.RecomputeLimitsRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

func (s ticketService) MoveHolder(ctx context.Context, r *pb.MoveHolderRequest) (*pb.TicketAnswer, error) {
	return s.carryOut(ctx, r)
}

// IntakeTickets reports the matters of a stream, and answers in their order.
func (s ticketService) IntakeTickets(stream grpc.BidiStreamingServer[pb.IntakeTicketsRequest, pb.IntakeTicketsResponse]) error {
	const method = pb.TicketService_IntakeTickets_FullMethodName
	key := func(in *pb.IntakeTicketsRequest) string { return sameMatter(in.GetReport()) }
	return bulk(stream, true, key, func(ctx context.Context, in *pb.IntakeTicketsRequest, wrong error) *pb.IntakeTicketsResponse {
		began := time.Now()
		out := &pb.IntakeTicketsResponse{Sequence: in.Sequence}
		var answer *pb.TicketAnswer
		err := wrong
		if err == nil {
			err = s.safely(func() (err error) {
				answer, err = s.carryOut(ctx, in.Report)
				return within("report", err)
			})
		}
		if err != nil {
			out.Outcome = &pb.IntakeTicketsResponse_Failure{Failure: s.failed(ctx, method, in.GetReport().GetRequestId(), began, err)}
			return out
		}
		s.metrics.message(method, codes.OK, began)
		out.Outcome = &pb.IntakeTicketsResponse_Answer{Answer: answer}
		return out
	})
}

// sameMatter is the same for two messages that may be about one ticket.
func sameMatter(r interface {
	GetSource() string
	GetSourceRef() string
	GetRequestId() string
}) string {
	if r.GetSourceRef() != "" {
		return r.GetSource() + "\x00" + r.GetSourceRef()
	}
	return r.GetRequestId()
}

// GetTicket gives the ticket as its history says it is now.
func (s ticketService) GetTicket(ctx context.Context, r *pb.GetTicketRequest) (*pb.Ticket, error) {
	state, result, err := found[*ticket.State](ctx, &s.service, "tickets", r.Name)
	if err != nil {
		return nil, err
	}
	return s.ticket(ctx, *state, result)
}

// ticket is a ticket as it is shown: personal data masked.
func (s *service) ticket(ctx context.Context, state ticket.State, result dispatch.Result) (*pb.Ticket, error) {
	m := state.Message(dispatch.ID(result.Stream))
	m.Etag, m.ConsistencyToken = result.ETag(), Token(result.Position)
	actor, _ := ActorFrom(ctx)
	var err error
	m.Particulars, m.Erased, err = s.dispatcher.Particulars(ctx, result.Stream, state, actor)
	return m, err
}

// ExplainDeadline tells how a limit came about.
func (s ticketService) ExplainDeadline(ctx context.Context, r *pb.ExplainDeadlineRequest) (*pb.ExplainDeadlineResponse, error) {
	if _, _, err := s.look(ctx, r.Name); err != nil {
		return nil, err
	}
	answer, result, err := s.dispatcher.Explain(ctx, r.Name, r.Timer)
	if err != nil {
		return nil, err
	}
	answer.ConsistencyToken = Token(result.Position)
	return answer, nil
}

// RevealIdentity shows the petitioner in clear, once it is recorded who is shown it and why.
func (s ticketService) RevealIdentity(ctx context.Context, r *pb.RevealIdentityRequest) (*pb.RevealIdentityResponse, error) {
	petitioner, result, err := s.dispatcher.Reveal(ctx, request(ctx, r).Actor, r)
	if err != nil {
		return nil, s.refused(ctx, r, err)
	}
	s.metrics.revealed(r.Purpose)
	return &pb.RevealIdentityResponse{Petitioner: petitioner, ConsistencyToken: Token(result.Position)}, nil
}
