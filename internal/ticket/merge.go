package ticket

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// Attachment is how a duplicate came to be one of this ticket's.
type Attachment struct {
	Event uint64    // the event that attached it, by its place in this ticket's stream
	Seen  uint64    // the duplicate's version when that was decided; once the duplicate went another way, the attachment is void
	At    time.Time // when it happened
	Wall  bool      // the duplicate came from a problem wall
}

// merge: the ticket is a duplicate of another on the same matter (并件). The rule is asked twice, and a.Linked holds the other ticket
// each time: of the duplicate, whether it can become one; then of the primary, whose stream decides.
func merge(s State, a *rule.Asked, c *pb.MergeTicketRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_DISPATCHER); err != nil {
		return nil, err
	}
	if duplicate := a.Linked[strings.TrimPrefix(c.Name, "tickets/")]; duplicate != nil {
		events, err := s.attach(a, duplicate)
		return events, about("into", err)
	}
	if err := s.scope(a); err != nil {
		return nil, about("name", err)
	}
	if c.Into == c.Name {
		return nil, rule.Bad("into", rule.BadField, "a ticket is no duplicate of itself")
	}
	if err := s.mergeable(); err != nil {
		return nil, about("name", err)
	}
	if err := a.CheckTime(s.LastAt); err != nil {
		return nil, err
	}
	for id, primary := range a.Linked {
		if s.Confidentiality == pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL && primary.Confidentiality != s.Confidentiality {
			return nil, rule.Bad("into", rule.ConfidentialIntoOpen, "a confidential ticket is not merged into one that is not")
		}
		if rule.Within(a.Registry, primary.Lead, s.ComplainedOf) {
			return nil, rule.Bad("into", rule.LeadComplainedOf, "unit %q, which leads that ticket, or one above it, is complained of", primary.Lead)
		}
		return rule.One(&pb.TicketMerged{Into: id})
	}
	return nil, rule.Bad("into", rule.NotFound, "no such ticket")
}

// mergeable refuses a ticket that cannot become a duplicate in the state it is in.
func (s *State) mergeable() error {
	if err := s.second(nil); err != nil {
		return err
	}
	if err := s.in(pb.TicketState_TICKET_STATE_ACCEPTED, pb.TicketState_TICKET_STATE_TRIAGED, pb.TicketState_TICKET_STATE_DISPATCHED); err != nil {
		return err
	}
	if err := s.alone(); err != nil {
		return err
	}
	if w := s.openWhistle(); w != "" {
		return rule.No(rule.WhistleOpen, "whistle %s is open", w)
	}
	return s.unlisted()
}

// alone refuses a ticket that has duplicates: whatever ended it would end them unseen.
func (s *State) alone() error {
	if n := len(s.Duplicates); n > 0 {
		return rule.No(rule.HasDuplicates, "the ticket has %d duplicates; they must be unmerged first", n)
	}
	return nil
}

// opens says whether a confidential ticket would not be one any more.
func (s *State) opens(after pb.Confidentiality) bool {
	return s.Confidentiality == pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL && after != s.Confidentiality
}

// attach: the ticket gets a duplicate.
func (s *State) attach(a *rule.Asked, duplicate *pb.Ticket) ([]proto.Message, error) {
	if err := s.scope(a); err != nil {
		return nil, err
	}
	if !s.Open() || s.State == pb.TicketState_TICKET_STATE_REPORTED {
		return nil, &rule.Refusal{
			Reason: rule.WrongState, Message: fmt.Sprintf("the ticket is %s; it must be accepted and open", rule.Name(s.State)), DecidedBy: s.Decided.String(),
		}
	}
	if err := s.second(nil); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.AcceptedAt); err != nil {
		return nil, err
	}
	if duplicate.Confidentiality == pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL && s.Confidentiality != duplicate.Confidentiality {
		return nil, rule.No(rule.ConfidentialIntoOpen, "a confidential ticket is not merged into one that is not")
	}
	id := strings.TrimPrefix(duplicate.Name, "tickets/")
	if i := slices.Index(s.Duplicates, id); i >= 0 {
		// Only who has seen more of it knows whether that attachment is void.
		if seen, err := strconv.ParseUint(strings.Trim(duplicate.Etag, `"`), 10, 64); err == nil && seen <= s.Attached[i].Seen {
			return nil, rule.Bad("name", rule.AlreadyDone, "the ticket is attached already and about to be merged")
		}
	}
	return rule.One(&pb.DuplicateAttached{Ticket: id, PetitionerRef: a.Petitioner, Sealed: a.Sealed, Wall: duplicate.Post != ""})
}

func (s *State) duplicateAttached(meta *pb.EventMeta, e *pb.DuplicateAttached) {
	at := AttachedBy(s.Events+1, meta)
	at.Wall = e.Wall
	if i := slices.Index(s.Duplicates, e.Ticket); i >= 0 { // anew
		s.Attached = slices.Clone(s.Attached)
		s.Attached[i] = at
		return
	}
	s.Duplicates = append(slices.Clip(s.Duplicates), e.Ticket)
	s.Attached = append(slices.Clip(s.Attached), at)
}

// AttachedBy is the attachment that a DuplicateAttached at that place in its stream makes. What it was decided on stands in caused_by.
func AttachedBy(event uint64, meta *pb.EventMeta) Attachment {
	_, version, _ := strings.Cut(meta.GetCausedBy(), "@")
	seen, _ := strconv.ParseUint(version, 10, 64)
	return Attachment{Event: event, Seen: seen, At: meta.GetOccurredAt().AsTime()}
}

// becomeDuplicate: the ticket learns that it was attached to its primary.
func becomeDuplicate(s State, a *rule.Asked, c *pb.TicketMerged) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_SYSTEM); err != nil {
		return nil, err
	}
	if err := s.mergeable(); err != nil {
		return nil, err
	}
	return rule.One(&pb.TicketMerged{Into: c.Into})
}

func (s *State) merged(_ *pb.EventMeta, e *pb.TicketMerged) {
	s.MergedInto, s.Before = e.Into, &Shelved{State: s.State, Limits: s.Limits}
	s.Limits = Limits{}
}

// unmerge: it was no duplicate after all. The ticket is where it was, its clocks run from where they began.
func unmerge(s State, a *rule.Asked, c *pb.UnmergeTicketRequest) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_SUPERVISOR); err != nil {
		return nil, err
	}
	if err := s.scope(a); err != nil {
		return nil, err
	}
	if err := s.in(pb.TicketState_TICKET_STATE_MERGED); err != nil {
		return nil, err
	}
	if err := a.CheckTime(s.LastAt); err != nil {
		return nil, err
	}
	if err := said("note", c.GetParticulars().GetNote()); err != nil {
		return nil, err
	}
	return rule.One(&pb.TicketUnmerged{From: s.MergedInto, State: s.Before.State, Sealed: a.Sealed})
}

func (s *State) unmerged(_ *pb.EventMeta, _ *pb.TicketUnmerged) {
	if s.Before != nil {
		s.Limits = s.Before.Limits
	}
	s.MergedInto, s.Before = "", nil
	// What the petitioner said of the primary's result is not said of this ticket's own.
	s.CallbackSettled, s.Unreachable, s.FailedCallbacks, s.Solved, s.Satisfaction = false, false, nil, 0, 0
}

// detach: a duplicate is none any more, or could not become one. Which attachment that ends is the caller's to see to.
func detach(s State, a *rule.Asked, c *pb.DuplicateDetached) ([]proto.Message, error) {
	if err := a.Require(pb.Role_ROLE_SYSTEM); err != nil {
		return nil, err
	}
	if !slices.Contains(s.Duplicates, c.Ticket) {
		return nil, nil
	}
	return rule.One(&pb.DuplicateDetached{Ticket: c.Ticket})
}

func (s *State) duplicateDetached(_ *pb.EventMeta, e *pb.DuplicateDetached) {
	if i := slices.Index(s.Duplicates, e.Ticket); i >= 0 {
		s.Duplicates = slices.Delete(slices.Clone(s.Duplicates), i, i+1)
		s.Attached = slices.Delete(slices.Clone(s.Attached), i, i+1)
	}
}

// about is a refusal that is about a field, where it names none itself.
func about(field string, err error) error {
	if refusal, ok := errors.AsType[*rule.Refusal](err); !ok || refusal.Field != "" {
		return err
	}
	return rule.About(field, err)
}
