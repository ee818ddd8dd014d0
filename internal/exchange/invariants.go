package exchange

import (
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// CheckInvariants says what is wrong with a recorded event, given the states before and after it that Evolve gave: nil if it keeps all
// that must hold, whoever recorded it. It does not decide again, and asks no registry.
func CheckInvariants(before, after State, meta *pb.EventMeta, event proto.Message) error {
	if err := before.Step(&after.Life, "entry", meta, event, legal(event), StateAfter(event)); err != nil {
		return err
	}
	wrong := rule.Wrong(event)
	switch {
	case before.Exists() && (after.No != before.No || after.Kind != before.Kind || after.Unit != before.Unit || after.Topic != before.Topic):
		return wrong("changed the entry's number, kind, unit or topic")
	case (after.With != "") != (after.State == pb.ExchangeState_EXCHANGE_STATE_MATCHED || after.State == pb.ExchangeState_EXCHANGE_STATE_FULFILLED):
		return wrong("it is %s, with %q", after.State, after.With)
	}
	switch e := event.(type) {
	case *pb.EntryOpened:
		if e.Kind == pb.ExchangeKind_EXCHANGE_KIND_UNSPECIFIED || e.Unit == "" || e.Topic == "" || len(e.Path) == 0 {
			return wrong("its kind, unit, topic or place is missing")
		}
		if e.OpenUntil != nil && !e.OpenUntil.AsTime().After(meta.GetOccurredAt().AsTime()) {
			return wrong("it was open until %s", e.OpenUntil.AsTime())
		}
	case *pb.EntryMatched:
		if e.With == "" || e.Unit == "" {
			return wrong("matched with nothing, or nobody's")
		}
	case *pb.EntryFreed:
		if before.Kind != pb.ExchangeKind_EXCHANGE_KIND_RESOURCE || e.With != before.With {
			return wrong("only a resource is freed, and of the need it is matched with")
		}
	case *pb.EntryFulfilled:
		if e.With != before.With {
			return wrong("fulfilled with %q, matched with %q", e.With, before.With)
		}
	}
	return nil
}

// legal are the states an event can happen in; nil for what is no event of an exchange.
func legal(event proto.Message) []pb.ExchangeState {
	switch event.(type) {
	case *pb.EntryOpened:
		return []pb.ExchangeState{pb.ExchangeState_EXCHANGE_STATE_UNSPECIFIED}
	case *pb.EntryMatched, *pb.EntryWithdrawn:
		return []pb.ExchangeState{pb.ExchangeState_EXCHANGE_STATE_OPEN}
	case *pb.EntryFreed, *pb.EntryFulfilled:
		return []pb.ExchangeState{pb.ExchangeState_EXCHANGE_STATE_MATCHED}
	}
	return nil
}
