package exchange

import (
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// open: a unit states a need or offers a resource.
func open(s State, a *rule.Asked, c *pb.OpenEntryRequest) ([]proto.Message, error) {
	if err := a.Require(traders...); err != nil {
		return nil, err
	}
	if s.Exists() {
		return nil, rule.Bad("request_id", rule.AlreadyExists, "the entry was opened before")
	}
	if err := a.CheckTime(time.Time{}); err != nil {
		return nil, err
	}
	unit, ok := a.Registry.Unit(a.Actor.Unit, a.At)
	if !ok {
		return nil, rule.No(rule.UnknownUnit, "your unit %q is not active today", a.Actor.Unit)
	}
	if c.Kind == pb.ExchangeKind_EXCHANGE_KIND_UNSPECIFIED {
		return nil, rule.Bad("kind", rule.MissingField, "is required")
	}
	if c.Topic == "" {
		return nil, rule.Bad("topic", rule.MissingField, "is required")
	}
	if err := rule.Word("topic", c.Topic, rule.LowerWord); err != nil {
		return nil, err
	}
	if c.GetParticulars().GetText() == "" {
		return nil, rule.Bad("particulars.text", rule.MissingField, "is required")
	}
	area := c.Area
	if area == "" {
		area = unit.Area
	}
	path, ok := a.Registry.Path(area, a.OccurredAt)
	if !ok {
		return nil, rule.Bad("area", rule.UnknownArea, "no area %q is valid at that time", area)
	}
	if c.OpenUntil != nil && !c.OpenUntil.AsTime().After(a.OccurredAt) {
		return nil, rule.Bad("open_until", rule.BadField, "has passed when it is opened")
	}
	return rule.One(&pb.EntryOpened{No: a.No, Kind: c.Kind, Path: path, Unit: unit.Code, Topic: c.Topic, OpenUntil: c.OpenUntil, Sealed: a.Sealed})
}

// withdraw: the unit takes it back, as long as nobody has claimed it.
func withdraw(s State, a *rule.Asked) ([]proto.Message, error) {
	if err := s.own(a); err != nil {
		return nil, err
	}
	if err := s.in("", pb.ExchangeState_EXCHANGE_STATE_OPEN); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.LastAt); err != nil {
		return nil, err
	}
	return rule.One(&pb.EntryWithdrawn{Sealed: a.Sealed})
}
