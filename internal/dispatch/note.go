package dispatch

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/audit"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/rule"
)

// note records something beside a ticket or whistle, in its audit stream.
func (d *Dispatcher) note(ctx context.Context, stream string, actor rule.Actor, role pb.Role, requestID string, note proto.Message) (Result, error) {
	_, result, err := do(ctx, d, d.notes, "audit-"+ID(stream), Request{Actor: actor, Command: note, ID: requestID},
		func(_ *audit.State, a *rule.Asked) error {
			a.Acting = role
			return nil
		})
	return result, err
}

// noteRefusal records that a rule said no to somebody, and gives the refusal back. What never reached a rule of an existing stream is not noted, unless
// the ban list kept it out of a community: that is noted beside what was not to be.
func (d *Dispatcher) noteRefusal(ctx context.Context, stream string, version eventstore.Version, r Request, err error) error {
	if err == nil {
		return nil
	}
	refusal := new(rule.Refusal)
	if !errors.As(err, &refusal) || version == 0 && refusal.BanItem == "" || refusal.Reason == rule.NotFound {
		return err
	}
	id := r.ID
	if c, ok := r.Command.(command); ok && c.GetRequestId() != "" {
		id = c.GetRequestId()
	}
	if checkRequestID(id) != nil {
		return err
	}
	note := &pb.CommandRefused{
		Stream: stream, Version: uint64(version), Command: event.TypeOf(r.Command), Reason: string(refusal.Reason), Field: refusal.Field, RequestId: id,
		BanItem: refusal.BanItem, Target: refusal.Target,
	}
	if refusal.BanItem != "" {
		now, registry := d.Now(), d.Registry()
		if target, ok := registry.Unit(refusal.Target, now); ok {
			note.TargetPath, _ = registry.Path(target.Area, now)
		}
		note.UnitPath = registry.UnitPath(r.Actor.Unit)
	}
	// The same request of the same person, refused again for the same reason at the same version, is one refusal.
	content, malformed := deterministic.Marshal(note)
	if malformed != nil {
		return err
	}
	noteID := fmt.Sprintf("refused/%x", sha256.Sum256(fmt.Appendf(content, "\x00%s\x00%s", r.Actor.Person, r.Actor.Unit)))
	var role pb.Role
	if len(r.Actor.Roles) > 0 {
		role = r.Actor.Roles[0]
	}
	if _, noted := d.note(ctx, stream, r.Actor, role, noteID, note); noted != nil {
		return fmt.Errorf("note a refusal beside %s: %w", stream, noted)
	}
	return err
}

// Erase destroys the keys of the data subjects of a ticket or a post: what was sealed with them, in every ticket and copy, can never be read
// again. Histories, figures and proofs stay as they are. A ticket has two subjects where nobody was identified at first; the
// latest is returned, with the result of its record.
func (d *Dispatcher) Erase(ctx context.Context, actor rule.Actor, c *pb.EraseSubjectRequest) (subject string, result Result, err error) {
	if c.OrderRef == "" {
		return "", result, rule.Bad("order_ref", rule.MissingField, "is required")
	}
	if err := checkRequestID(c.RequestId); err != nil {
		return "", result, err
	}
	asked := &rule.Asked{Actor: actor}
	if err := asked.Require(pb.Role_ROLE_AUDITOR); err != nil {
		return "", result, err
	}
	subjects, latest, err := d.subjectsOf(ctx, c.Name)
	if err != nil {
		return "", result, err
	}
	if latest == "" {
		return "", result, rule.Bad("name", rule.NotFound, "it holds no personal data")
	}
	// The keys go first: a record that says a subject was erased is then never wrong.
	for _, subject := range subjects {
		if err := d.keys.Erase(ctx, subject, d.Now()); err != nil {
			return "", result, fmt.Errorf("erase: %w", err)
		}
	}
	last := slices.Index(subjects, latest)
	for _, subject := range slices.Concat(subjects[:last], subjects[last+1:], subjects[last:last+1]) {
		erased := &pb.SubjectErased{Subject: subject, OrderRef: c.OrderRef}
		if _, result, err = do(ctx, d, d.notes, "subject-"+subject, Request{Actor: actor, Command: erased, ID: c.RequestId}, nil); err != nil {
			return latest, result, err
		}
	}
	return latest, result, nil
}

// subjectsOf are the data subjects of a ticket, or of a post that is none yet, and the latest of them; empty if nothing was said.
func (d *Dispatcher) subjectsOf(ctx context.Context, name string) (all []string, latest string, err error) {
	if strings.HasPrefix(name, "posts/") {
		s, _, err := d.posts.state(ctx, name)
		return []string{s.Subject}, s.Subject, err
	}
	s, _, err := d.LoadTicket(ctx, name)
	return s.Subjects, s.Subject, err
}
