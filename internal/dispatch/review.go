package dispatch

import (
	"context"
	"errors"
	"strings"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/review"
	"github.com/chuishao/dispatch/internal/rule"
)

// reviewOf is the id of what is given once: the grade of a resident unit by a community for a period, and a street's opinion of a decision.
func reviewOf(r Request) (id string, ok bool) {
	var of []string
	switch c := r.Command.(type) {
	case *pb.GradeResidentUnitRequest:
		of = []string{"grade", r.Actor.Unit, c.Unit, c.From.AsTime().String(), c.To.AsTime().String()}
	case *pb.GiveStreetOpinionRequest:
		of = []string{"opinion", r.Actor.Unit, c.Department, c.DecisionRef}
	default:
		return "", false
	}
	return uuid.NewSHA1(space, []byte(strings.Join(of, "\x00"))).String(), true
}

// aboutReview looks up the ticket that a review is about.
func (d *Dispatcher) aboutReview(ctx context.Context, _ review.State, a *rule.Asked, command proto.Message) error {
	c, ok := command.(*pb.OpenReviewRequest)
	if !ok || c.Ticket == "" {
		return nil
	}
	t, result, err := d.LoadTicket(ctx, c.Ticket)
	refusal := new(rule.Refusal)
	switch {
	case errors.As(err, &refusal):
		return rule.Bad("ticket", refusal.Reason, "%s", refusal.Message)
	case err != nil:
		return err
	case !t.MaySee(a.Registry, a.Actor, a.At):
		return nil // whoever may not see it hears that there is none
	}
	id := ID(result.Stream)
	a.Linked = map[string]*pb.Ticket{id: t.Message(id)}
	return nil
}
