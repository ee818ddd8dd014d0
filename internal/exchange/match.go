package exchange

import (
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// match: one of the two units claims what the other stated or offers (双向认领). It is decided at the resource, whichever of the two the command
// names; a.Entries has the other side. Then the need follows, or the resource is freed.
func match(s State, a *rule.Asked, c *pb.MatchEntryRequest) ([]proto.Message, error) {
	if err := a.Require(traders...); err != nil {
		return nil, err
	}
	if c.With == "" {
		return nil, rule.Bad("with", rule.MissingField, "is required")
	}
	name, with := strings.TrimPrefix(c.Name, "exchanges/"), strings.TrimPrefix(c.With, "exchanges/")
	other, id, mine, its := a.Entries[with], with, "", "with"
	if other == nil {
		if other, id, mine, its = a.Entries[name], name, "with", ""; other == nil {
			return nil, rule.Bad("with", rule.NotFound, "no such entry")
		}
	}
	if !rule.Within(a.Registry, a.Actor.Unit, s.Unit) && !rule.Within(a.Registry, a.Actor.Unit, other.Unit) {
		return nil, rule.No(rule.OutOfScope, "the one is unit %q's, the other unit %q's, neither yours", s.Unit, other.Unit)
	}
	switch {
	case s.Kind == other.Kind:
		return nil, rule.Bad("with", rule.BadField, "a need is matched with a resource")
	case s.Topic != other.Topic:
		return nil, rule.Bad("with", rule.BadField, "the one is about %s, the other about %s", s.Topic, other.Topic)
	}
	if err := s.in(mine, pb.ExchangeState_EXCHANGE_STATE_OPEN); err != nil {
		return nil, err
	}
	if other.State != pb.ExchangeState_EXCHANGE_STATE_OPEN {
		it := rule.Life[pb.ExchangeState]{State: other.State}
		return nil, it.In(its, "entry", pb.ExchangeState_EXCHANGE_STATE_OPEN)
	}
	if err := a.CheckTime(rule.Latest(s.LastAt, rule.Instant(other.OpenedAt))); err != nil {
		return nil, err
	}
	for _, side := range []struct {
		field string
		until time.Time
	}{{mine, s.OpenUntil}, {its, rule.Instant(other.OpenUntil)}} {
		if !side.until.IsZero() && !a.OccurredAt.Before(side.until) {
			return nil, rule.Bad(side.field, rule.LimitPassed, "was open until %s", side.until.UTC().Format(time.RFC3339))
		}
	}
	return rule.One(&pb.EntryMatched{With: id, Unit: other.Unit})
}

// follow: a need learns that a resource is matched with it. Once it has said yes or no to a resource it says the same for ever: it goes back to
// OPEN from nowhere.
func follow(s State, a *rule.Asked, c *pb.EntryMatched) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_SYSTEM); err != nil {
		return nil, err
	}
	if s.With == c.With {
		return nil, nil
	}
	if err := s.in("", pb.ExchangeState_EXCHANGE_STATE_OPEN); err != nil {
		return nil, err
	}
	return rule.One(c)
}

// free: a resource whose need went another way is open again.
func free(s State, a *rule.Asked, c *pb.EntryFreed) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_SYSTEM); err != nil {
		return nil, err
	}
	if s.State != pb.ExchangeState_EXCHANGE_STATE_MATCHED || s.With != c.With {
		return nil, nil
	}
	return rule.One(c)
}
