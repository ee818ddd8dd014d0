package check

import (
	"errors"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// record: somebody who neither handled the ticket nor verified it looks at it again. A false result is the ticket's to answer for: it is opened again and
// supervised, which follows from the event.
func record(s State, a *rule.Asked, c *pb.RecordSpotCheckRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_SUPERVISOR, pb.Role_ROLE_GRID_WORKER); err != nil {
		return nil, err
	}
	if c.Ticket == "" {
		return nil, rule.Bad("ticket", rule.MissingField, "is required")
	}
	id := strings.TrimPrefix(c.Ticket, "tickets/")
	item := s.find(id)
	switch {
	case item == nil:
		return nil, rule.Bad("ticket", rule.NotFound, "no such ticket is in the sample")
	case !item.CheckedAt.IsZero():
		return nil, rule.Bad("ticket", rule.AlreadyDone, "it was looked at before")
	}
	if err := a.CheckTime(s.DrawnAt); err != nil {
		return nil, err
	}
	t := a.Sampled
	if t == nil {
		return nil, errors.New("a spot check needs to know the ticket")
	}
	if !t.Visible && (t.Confidential || !rule.Nearby(a.Registry, a.Actor.Unit, t.Path, a.At)) {
		return nil, rule.Bad("ticket", rule.OutOfScope, "the ticket lies neither in the area of your unit nor with a unit below it")
	}
	for _, unit := range append([]string{t.Lead}, t.Co...) {
		if rule.Within(a.Registry, a.Actor.Unit, unit) {
			return nil, rule.Bad("ticket", rule.SeparationOfDuties, "whoever looks must not belong to unit %q, which handled the matter", unit)
		}
	}
	if v := t.Verifier; v != nil && (v.Unit == a.Actor.Unit || v.Person == a.Actor.Person) {
		return nil, rule.Bad("ticket", rule.SeparationOfDuties, "whoever looks must not be of unit %q, which verified the result", v.Unit)
	}
	if c.FalseResult && c.GetParticulars().GetText() == "" {
		return nil, rule.Bad("particulars.text", rule.MissingField, "is required where the result is false")
	}
	if err := rule.Attachments(c.Attachments); err != nil {
		return nil, err
	}
	return rule.One(&pb.SpotCheckRecorded{
		Ticket: id, Lead: t.Lead, FalseResult: c.FalseResult, Attachments: c.Attachments, Done: s.left() == 1, Sealed: a.Sealed, Path: t.Path,
		LeadPath: a.Registry.UnitPath(t.Lead),
	})
}

func (s *State) recorded(at time.Time, e *pb.SpotCheckRecorded) {
	s.Items = slices.Clone(s.Items)
	if i := s.find(e.Ticket); i != nil {
		i.CheckedAt, i.False = at, e.FalseResult
	}
	s.Latest = e.Ticket
}

// left is how many tickets of the sample nobody has looked at yet.
func (s *State) left() (n int) {
	for i := range s.Items {
		if s.Items[i].CheckedAt.IsZero() {
			n++
		}
	}
	return n
}
