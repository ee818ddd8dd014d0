package dispatch

import (
	"context"
	"fmt"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/ticket"
)

// carryOn reports the hazard that remains after a ticket was withdrawn as a ticket of its own, without the petitioner. It is reported
// once, however often this is called. Of a confidential ticket it does not tell the number, by which the petitioner could be found; and
// who was complained of does not get it.
func (d *Dispatcher) carryOn(ctx context.Context, stream string, s *ticket.State, causedBy string) error {
	ref := "withdrawn/" + ID(stream)
	if f, _, err := d.tickets.load(ctx, d.store, sourceStream(proactive, ref)); err != nil || f.version > 0 {
		return err
	}
	now, registry := d.Now(), d.Registry()
	title := "工单 " + s.No + " 撤诉后仍存隐患"
	if s.Confidentiality == pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL {
		title = "撤诉后仍存隐患"
	}
	report := &pb.ReportTicketRequest{
		RequestId: ref, Source: proactive, SourceRef: ref, Channel: pb.Channel_CHANNEL_PROACTIVE, Kind: pb.MatterKind_MATTER_KIND_OTHER,
		Position: s.Position, Confidentiality: s.Confidentiality,
		Particulars: &pb.Particulars{Title: title, Petitioner: &pb.Petitioner{Anonymous: true}},
	}
	if _, ok := registry.Unit(s.ComplainedOf, now); ok {
		report.ComplainedOf = s.ComplainedOf
	}
	if _, ok := registry.Category(s.Category, now); ok {
		report.Category = s.Category
	}
	// The lowest area of its path that is still there; none if its place is unknown.
	for _, node := range s.Path {
		if _, ok := registry.Path(node.Code, now); ok {
			report.Area = node.Code
		} else if unlocated := registry.Unlocated(); len(unlocated) > 0 && node.Code == unlocated[len(unlocated)-1].Code {
			report.Area = ""
		}
	}
	if _, _, err := d.Ticket(ctx, Request{Actor: policyActor, Command: report, CausedBy: causedBy}); err != nil {
		return fmt.Errorf("report the hazard that remains after %s: %w", stream, err)
	}
	return nil
}

const proactive = ticket.Proactive
