package exchange

import (
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// fulfil: the unit that stated a need says that it was met. The resource follows.
func fulfil(s State, a *rule.Asked) ([]proto.Message, error) {
	if s.Kind != pb.ExchangeKind_EXCHANGE_KIND_NEED {
		return nil, rule.Bad("name", rule.BadField, "is a resource; name the need that was met")
	}
	if err := s.own(a); err != nil {
		return nil, err
	}
	if err := s.in("", pb.ExchangeState_EXCHANGE_STATE_MATCHED); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.LastAt); err != nil {
		return nil, err
	}
	return rule.One(&pb.EntryFulfilled{With: s.With, Sealed: a.Sealed})
}

// fulfilled: a resource learns that the need it is matched with was met.
func fulfilled(s State, a *rule.Asked, c *pb.EntryFulfilled) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_SYSTEM); err != nil {
		return nil, err
	}
	if s.State == pb.ExchangeState_EXCHANGE_STATE_FULFILLED && s.With == c.With {
		return nil, nil
	}
	if err := s.in("", pb.ExchangeState_EXCHANGE_STATE_MATCHED); err != nil {
		return nil, err
	}
	if s.With != c.With {
		return nil, rule.No(rule.WrongState, "it is matched with another need")
	}
	return rule.One(c)
}
