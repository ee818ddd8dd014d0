package check

import (
	"bytes"
	"slices"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// CheckInvariants says what is wrong with a recorded event, given the states before and after it that Evolve gave: nil if it keeps all
// that must hold, whoever recorded it. It does not decide again, and asks no registry.
func CheckInvariants(before, after State, meta *pb.EventMeta, event proto.Message) error {
	if err := before.Step(&after.Life, "spot check", meta, event, legal(event), StateAfter(event)); err != nil {
		return err
	}
	wrong := rule.Wrong(event)
	switch e := event.(type) {
	case *pb.SpotCheckDrawn:
		ids := len(e.Tickets)
		switch {
		case len(e.Path) == 0:
			return wrong("lies nowhere")
		case !e.From.AsTime().Before(e.To.AsTime()) || e.To.AsTime().After(meta.GetRecordedAt().AsTime()):
			return wrong("draws from [%s, %s)", e.From.AsTime(), e.To.AsTime())
		case (e.Kind == pb.CheckKind_CHECK_KIND_FOCUSED_INSPECTION) != (e.Category != ""):
			return wrong("draws from category %q", e.Category)
		case len(e.Seed) != SeedSize:
			return wrong("the seed has %d bytes", len(e.Seed))
		case ids == 0 || ids > mostDrawn || uint64(ids) > e.Population:
			return wrong("draws %d of %d", ids, e.Population)
		case len(distinct(e.Tickets)) != ids:
			return wrong("draws a ticket twice")
		case !slices.Equal(Sample(e.Seed, e.Tickets, ids), e.Tickets):
			return wrong("the tickets are not in the order of the seed")
		case !bytes.Equal(PopulationHash(e.Tickets), e.PopulationHash) && uint64(ids) == e.Population:
			return wrong("draws all, and another population")
		}
	case *pb.SpotCheckRecorded:
		was := before.find(e.Ticket)
		switch {
		case was == nil || !was.CheckedAt.IsZero():
			return wrong("ticket %s was not drawn, or looked at before", e.Ticket)
		case (after.left() == 0) != e.Done:
			return wrong("%d tickets are left; done: %t", after.left(), e.Done)
		case e.Lead != "" && meta.GetActor().GetUnit() == e.Lead:
			return wrong("unit %q looked at what it handled itself", e.Lead)
		}
	}
	return nil
}

// legal are the states an event can happen in; nil for what is no event of a check.
func legal(event proto.Message) []pb.CheckState {
	switch event.(type) {
	case *pb.SpotCheckDrawn:
		return []pb.CheckState{pb.CheckState_CHECK_STATE_UNSPECIFIED}
	case *pb.SpotCheckRecorded:
		return []pb.CheckState{pb.CheckState_CHECK_STATE_DRAWN}
	}
	return nil
}
