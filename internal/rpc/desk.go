package rpc

import (
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/view"
)

// WatchDesk sends what goes on in a unit and below it, now and whenever it changes. A caller that falls behind gets the newest state next, not what it
// missed.
func (s viewService) WatchDesk(q *pb.WatchDeskRequest, stream grpc.ServerStreamingServer[pb.WatchDeskResponse]) error {
	ctx := stream.Context()
	actor, _ := ActorFrom(ctx)
	unit, err := s.desk(actor, q.Unit)
	if err != nil {
		return err
	}
	if err := s.wait(ctx, q.MinConsistencyToken, view.WhistlesView, view.TicketsView); err != nil {
		return err
	}
	area := ""
	if of, ok := s.dispatcher.Registry().Unit(unit, s.dispatcher.Now()); ok && governs(of) {
		area = of.Area
	}
	desk := s.reader.Desk(func(of string) bool { return rule.Within(s.dispatcher.Registry(), of, unit) }, area, s.scope(ctx).Path)
	return s.watch(ctx, view.WhistlesView, func(now time.Time) error {
		message, position, err := desk.Look(ctx, now)
		if err != nil || message == nil {
			return err
		}
		message.AsOf, message.ConsistencyToken = timestamppb.New(now), Token(position)
		return stream.Send(message)
	})
}

// desk is the unit whose desk an officer may watch: their own, or one below it; an auditor any.
func (s viewService) desk(actor rule.Actor, unit string) (string, error) {
	if !slices.ContainsFunc(actor.Roles, func(r pb.Role) bool { return r != pb.Role_ROLE_CITIZEN }) {
		return "", &rule.Refusal{Reason: rule.RoleNotAllowed, Message: "a desk is an officer's"}
	}
	registry := s.dispatcher.Registry()
	if unit == "" {
		unit = actor.Unit
	}
	_, there := registry.Unit(unit, s.dispatcher.Now())
	switch {
	case there && slices.Contains(actor.Roles, pb.Role_ROLE_AUDITOR), there && rule.Within(registry, unit, actor.Unit):
		return unit, nil
	}
	return "", rule.Bad("unit", rule.OutOfScope, absentMessage)
}
