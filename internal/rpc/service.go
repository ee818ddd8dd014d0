package rpc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/privacy"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/ticket"
	"github.com/chuishao/dispatch/internal/whistle"
)

// service is what the services of the contract share.
type service struct {
	*interceptor
	dispatcher *dispatch.Dispatcher
}

// request is a command with who gives it.
func request(ctx context.Context, command proto.Message) dispatch.Request {
	actor, _ := ActorFrom(ctx)
	return dispatch.Request{Actor: actor, Command: command}
}

// requireRole refuses a caller who holds none of the roles.
func requireRole(ctx context.Context, roles ...pb.Role) (rule.Actor, error) {
	actor, _ := ActorFrom(ctx)
	asked := rule.Asked{Actor: actor}
	return actor, asked.Require(roles...)
}

// absent says that something is not there only to those who may know: whose scope is everything.
func (s *service) absent(ctx context.Context, err error) error {
	refusal := new(rule.Refusal)
	if !errors.As(err, &refusal) || refusal.Reason != rule.NotFound {
		return err
	}
	actor, _ := ActorFrom(ctx)
	nobodys := ticket.State{}
	if slices.Contains(actor.Roles, pb.Role_ROLE_AUDITOR) || nobodys.InScope(s.dispatcher.Registry(), actor.Unit) {
		return err
	}
	return &rule.Refusal{Reason: rule.OutOfScope, Field: refusal.Field, Message: absentMessage}
}

// absentMessage is told of what is not there and of what the caller may not see, alike.
const absentMessage = "there is no such thing in your scope"

// shows refuses a caller who may not know of something.
func (s *service) shows(ctx context.Context, it rule.Aggregate) error {
	actor, _ := ActorFrom(ctx)
	if !it.MaySee(s.dispatcher.Registry(), actor, s.dispatcher.Now()) {
		return rule.Bad("name", rule.OutOfScope, absentMessage)
	}
	if w, ok := it.(*whistle.State); ok && !slices.Contains(actor.Roles, pb.Role_ROLE_AUDITOR) {
		return s.impartial(ctx, w, actor)
	}
	return nil
}

// impartial refuses a caller whose unit a confidential ticket of the whistle complains of: it would learn there what it may not learn of the ticket.
func (s *service) impartial(ctx context.Context, w *whistle.State, actor rule.Actor) error {
	registry := s.dispatcher.Registry()
	for _, id := range w.Tickets {
		t, _, err := s.dispatcher.LoadTicket(ctx, "tickets/"+id)
		if err != nil {
			return fmt.Errorf("ticket %s of a whistle: %w", id, err)
		}
		if rule.Within(registry, actor.Unit, t.Against(registry)) {
			return rule.Bad("name", rule.OutOfScope, absentMessage)
		}
	}
	return nil
}

// look finds a ticket, a whistle or another resource that the caller may know of.
func (s *service) look(ctx context.Context, name string) (rule.Aggregate, dispatch.Result, error) {
	return s.lookIn(ctx, collection(name), name)
}

// lookIn is look for a name of a collection alone.
func (s *service) lookIn(ctx context.Context, collection, name string) (rule.Aggregate, dispatch.Result, error) {
	it, result, err := s.dispatcher.Look(ctx, collection, name)
	if err != nil {
		return nil, result, s.absent(ctx, err)
	}
	return it, result, s.shows(ctx, it)
}

// found is what lookIn finds, of the state S that the collection's resources have.
func found[S rule.Aggregate](ctx context.Context, s *service, collection, name string) (state S, result dispatch.Result, err error) {
	it, result, err := s.lookIn(ctx, collection, name)
	if err != nil {
		return state, result, err
	}
	state, ok := it.(S)
	if !ok {
		return state, result, fmt.Errorf("%s is %T", name, it)
	}
	return state, result, nil
}

// mayLook says whether the caller may know of a resource; not of one that is not there.
func (s *service) mayLook(ctx context.Context, name string) (bool, error) {
	_, _, err := s.look(ctx, name)
	if _, no := errors.AsType[*rule.Refusal](err); no {
		return false, nil
	}
	return err == nil, err
}

// refused is what a caller is told of a command that failed. Who may not see what it names hears the same whatever its rule
// said, and whether it is there at all: only what is wrong with the message itself, and faults, are told.
func (s *service) refused(ctx context.Context, command proto.Message, err error) error {
	if !tells(err) {
		return err
	}
	if blow, ok := command.(*pb.BlowWhistleRequest); ok && blow.Name == "" {
		for i, name := range blow.Tickets {
			if _, _, unseen := s.look(ctx, name); unseen != nil {
				return rule.About(fmt.Sprintf("tickets[%d]", i), unseen)
			}
		}
		return err
	}
	if _, begins := command.(*pb.SolveOnWallRequest); begins {
		return err // it says nothing of what is there
	}
	if named, ok := command.(interface{ GetName() string }); ok {
		if _, _, unseen := s.look(ctx, named.GetName()); unseen != nil {
			return unseen
		}
	}
	if merge, ok := command.(*pb.MergeTicketRequest); ok {
		if _, _, unseen := s.look(ctx, merge.Into); unseen != nil {
			return rule.About("into", unseen)
		}
	}
	return err
}

// tells says whether an error may depend on what stands in a history.
func tells(err error) bool {
	refusal, conflict := new(rule.Refusal), new(eventstore.ConflictError)
	if errors.As(err, &refusal) {
		return !slices.Contains([]rule.Reason{rule.InvalidRequestID, rule.InvalidETag, rule.InvalidName}, refusal.Reason)
	}
	return errors.As(err, &conflict) || errors.Is(err, privacy.ErrErased)
}

// within puts what a refusal within a stream's message is about under the field that holds the command.
func within(outer string, err error) error {
	refusal := new(rule.Refusal)
	if !errors.As(err, &refusal) || refusal.Field == "" {
		return err
	}
	inner := *refusal
	inner.Field = outer + "." + inner.Field
	return &inner
}

// failed is the failure that answers a message of a stream, and counts it.
func (s *service) failed(ctx context.Context, method, requestID string, began time.Time, err error) *pb.Failure {
	st := s.statusFor(ctx, requestID, err)
	s.metrics.message(method, st.Code(), began)
	return failure(st)
}

// collection is the kind of resource a name is of, such as "tickets".
func collection(name string) string {
	c, _, _ := strings.Cut(name, "/")
	return c
}
