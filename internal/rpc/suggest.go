package rpc

import (
	"context"
	"errors"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/suggest"
	"github.com/chuishao/dispatch/internal/ticket"
)

// SuggestTriage says what a dispatcher would look up. What the request tells of a petitioner is used and not kept.
func (s ticketService) SuggestTriage(ctx context.Context, q *pb.SuggestTriageRequest) (*pb.SuggestTriageResponse, error) {
	if _, err := requireRole(ctx, pb.Role_ROLE_AGENT, pb.Role_ROLE_DISPATCHER, pb.Role_ROLE_DUTY_LEADER, pb.Role_ROLE_SUPERVISOR); err != nil {
		return nil, err
	}
	if s.suggest == nil {
		return nil, &rule.Refusal{Reason: UnknownMethod, Message: "this server suggests nothing"}
	}
	r, err := registryService{service: s.service}.inForce()
	if err != nil {
		return nil, err
	}
	m := suggest.Matter{At: s.dispatcher.Now()}
	if q.Name != "" {
		err = s.ticketMatter(ctx, q, &m)
	} else {
		err = s.newMatter(ctx, q, &m)
	}
	if err != nil {
		return nil, err
	}
	if err := s.suggestionsReach(ctx, q.MinConsistencyToken); err != nil {
		return nil, err
	}
	return s.suggest.Suggest(ctx, r, m, s.mayLook)
}

// ticketMatter is a ticket that the caller may see, as it is now. Fields for a matter that is none yet have no place beside it.
func (s ticketService) ticketMatter(ctx context.Context, q *pb.SuggestTriageRequest, m *suggest.Matter) error {
	for field, given := range map[string]bool{
		"area": q.Area != "", "position": q.Position != nil, "category": q.Category != "", "particulars": q.Particulars != nil,
	} {
		if given {
			return rule.Bad(field, rule.BadField, "the ticket that is named says it; leave it out")
		}
	}
	state, result, err := found[*ticket.State](ctx, &s.service, "tickets", q.Name)
	if err != nil {
		return err
	}
	words, erased, err := s.dispatcher.TicketWords(ctx, result.Stream, state)
	if err != nil {
		return err
	}
	subjects := state.Subjects
	if erased || suggest.Hidden(state, words) {
		// That another ticket is the same person's would tell who raised this one.
		subjects = nil
	}
	*m = suggest.Matter{
		ID: dispatch.ID(result.Stream), At: state.ReportedAt, Path: state.Path, Position: state.Position, Category: state.Category, Grade: state.Grade,
		Words: words, Subjects: subjects, ComplainedOf: state.ComplainedOf, Fallback: state.Fallback,
	}
	return nil
}

// newMatter is what is being taken down.
func (s ticketService) newMatter(ctx context.Context, q *pb.SuggestTriageRequest, m *suggest.Matter) error {
	r := s.dispatcher.Registry()
	m.Path, m.Position, m.Category = r.Unlocated(), q.Position, q.Category
	if q.Area != "" {
		path, ok := r.Path(q.Area, m.At)
		if !ok {
			return rule.Bad("area", rule.UnknownArea, "there is no area %q now", q.Area)
		}
		m.Path = path
	}
	if q.Category != "" {
		if _, ok := r.Category(q.Category, m.At); !ok {
			return rule.Bad("category", rule.UnknownCategory, "there is no category %q now", q.Category)
		}
	}
	m.Words = dispatch.WordsOf(q.Particulars)
	person, err := s.dispatcher.Person(ctx, q.Particulars.GetPetitioner())
	if person != "" {
		m.Subjects = []string{person}
	}
	return err
}

// suggestionsReach waits until the suggestions rest on the history up to a token: on all of it, when they begin.
func (s ticketService) suggestionsReach(ctx context.Context, token string) error {
	position, err := ParseToken("min_consistency_token", token)
	if token == "" {
		position, err = 0, nil
	}
	if err != nil {
		return err
	}
	within, cancel := waiting(ctx)
	defer cancel()
	err = s.suggest.Wait(within, position)
	if err != nil && errors.Is(within.Err(), context.DeadlineExceeded) {
		return &rule.Refusal{Reason: ViewBehind, Field: "min_consistency_token", Message: "what suggestions rest on has not come that far within the call's time"}
	}
	return err
}
