package exchange

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// CheckInvariants says what is wrong with a recorded event, given the states before and after it that Evolve gave: nil if it keeps all
// that must hold, whoever recorded it. It does not decide again, and asks no registry.
func CheckInvariants(before, after State, meta *pb.EventMeta, event proto.Message) error {
	typ := event.ProtoReflect().Descriptor().Name()
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%s: "+format, append([]any{typ}, args...)...)
	}
	from, ok := legal(event)
	switch {
	case !ok:
		return wrong("is no event of an exchange")
	case before.State != from:
		return wrong("happened to an entry that is %s", before.State)
	case after.Events != before.Events+1:
		return wrong("event %d follows %d", after.Events, before.Events)
	case after.State != StateAfter(event):
		return wrong("led from %s to %s", before.State, after.State)
	case meta.GetRecordedAt().AsTime().Before(meta.GetOccurredAt().AsTime()):
		return wrong("was recorded before it happened")
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

// legal is the state an event can happen in; ok is false for what is no event of an exchange.
func legal(event proto.Message) (from pb.ExchangeState, ok bool) {
	switch event.(type) {
	case *pb.EntryOpened:
		return pb.ExchangeState_EXCHANGE_STATE_UNSPECIFIED, true
	case *pb.EntryMatched, *pb.EntryWithdrawn:
		return pb.ExchangeState_EXCHANGE_STATE_OPEN, true
	case *pb.EntryFreed, *pb.EntryFulfilled:
		return pb.ExchangeState_EXCHANGE_STATE_MATCHED, true
	}
	return 0, false
}
