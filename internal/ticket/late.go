package ticket

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// admittedFor is for how long late facts are taken after they were admitted.
const admittedFor = 24 * time.Hour

// LateFacts are facts of a unit, and of those below it, that may be told although they are older than rule.MaxBackdate.
type LateFacts struct {
	Unit             string
	NotBefore, Until time.Time // when they happened at the earliest, and until when they are recorded
	By               string    // who admitted them; another person tells them
}

// admitLateFacts: a duty leader lets those who handle the matter tell what they did longer ago than 72 hours (补录). Who tells it is another
// person, from below.
func admitLateFacts(s State, a *rule.Asked, c *pb.AdmitLateFactsRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_DUTY_LEADER); err != nil {
		return nil, err
	}
	if err := s.fromAbove(a); err != nil {
		return nil, err
	}
	if err := s.in(pb.TicketState_TICKET_STATE_DISPATCHED, pb.TicketState_TICKET_STATE_HANDLING); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.Decided.At); err != nil {
		return nil, err
	}
	if c.Unit == "" {
		return nil, rule.Bad("unit", rule.MissingField, "is required")
	}
	handles := func(unit string) bool { return rule.Within(a.Registry, c.Unit, unit) }
	if !handles(s.Lead) && !slices.ContainsFunc(s.Co, handles) {
		return nil, rule.Bad("unit", rule.NotParticipant, "unit %q neither leads nor helps", c.Unit)
	}
	from := rule.Instant(c.NotBefore)
	switch {
	case from.IsZero():
		return nil, rule.Bad("not_before", rule.MissingField, "is required")
	case a.At.Sub(from) <= rule.MaxBackdate:
		return nil, rule.Bad("not_before", rule.BadField, "lies in the last 72 hours: such facts are taken without a word")
	case from.Before(s.DispatchedAt):
		return nil, rule.Bad("not_before", rule.OccurredBeforeCause, "lies before the dispatch, at %s", s.DispatchedAt.UTC().Format(time.RFC3339))
	}
	if err := said("note", c.GetParticulars().GetNote()); err != nil {
		return nil, err
	}
	return rule.One(&pb.LateFactsAdmitted{
		Unit: c.Unit, NotBefore: c.NotBefore, ValidUntil: rule.Stamp(a.At.Add(admittedFor)), Sealed: a.Sealed,
	})
}

// lateFactsAdmitted: of a unit the last word holds.
func (s *State) lateFactsAdmitted(meta *pb.EventMeta, e *pb.LateFactsAdmitted) {
	var list []LateFacts
	for _, l := range s.Late {
		if l.Unit != e.Unit {
			list = append(list, l)
		}
	}
	s.Late = append(list, LateFacts{
		Unit: e.Unit, NotBefore: rule.Instant(e.NotBefore), Until: rule.Instant(e.ValidUntil), By: meta.GetActor().GetPerson(),
	})
}

// lateFrom is since when what the actor tells with the command may have happened, where that was admitted; the zero time where it was not.
// What is asked for and decided is never told late.
func (s *State) lateFrom(a *rule.Asked, command proto.Message) (from time.Time) {
	switch command.(type) {
	case *pb.SignTicketRequest, *pb.RecordContactRequest, *pb.RecordProgressRequest, *pb.SubmitCoTaskRequest, *pb.SubmitResultRequest:
	default:
		return from
	}
	for _, l := range s.Late {
		if l.By == a.Actor.Person || a.At.After(l.Until) || !rule.Within(a.Registry, a.Actor.Unit, l.Unit) {
			continue
		}
		if from.IsZero() || l.NotBefore.Before(from) {
			from = l.NotBefore
		}
	}
	return from
}

// tooLate says what is wrong with a fact that was recorded longer after it happened than anybody admitted.
func (s *State) tooLate(meta *pb.EventMeta) error {
	told, at := meta.GetRecordedAt().AsTime(), meta.GetOccurredAt().AsTime()
	if told.Sub(at) <= rule.MaxBackdate || slices.ContainsFunc(s.Late, func(l LateFacts) bool {
		return l.By != meta.GetActor().GetPerson() && !at.Before(l.NotBefore) && !told.After(l.Until)
	}) {
		return nil
	}
	return fmt.Errorf("happened at %s and was told at %s, which nobody had admitted", at.Format(time.RFC3339), told.Format(time.RFC3339))
}
