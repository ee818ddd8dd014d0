package dispatch

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/privacy"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/whistle"
)

// Whistle carries out a command on a whistle. A rule's refusal is a *rule.Refusal, and is noted beside the whistle. The linked
// tickets have learnt of a whistle that was blown or ended when it returns; if that is cut off, policy makes up for it.
func (d *Dispatcher) Whistle(ctx context.Context, r Request) (whistle.State, Result, error) {
	stream, err := whistleStream(r)
	if err != nil {
		return whistle.State{}, Result{}, err
	}
	if blow, ok := r.Command.(*pb.BlowWhistleRequest); ok && len(blow.Tickets) > 0 {
		// What is said of a ticket's matter goes with its petitioner's key. A ticket that is not there is the rule's to refuse.
		if t, _, err := d.LoadTicket(ctx, blow.Tickets[0]); err == nil {
			r.subject = t.Subject
		}
	}
	s, result, err := do(ctx, d, d.whistles, stream, r, func(s *whistle.State, a *rule.Asked) error {
		return d.linked(ctx, stream, *s, a, r.Command)
	})
	if err != nil {
		return *s, result, d.noteRefusal(ctx, stream, result.Version, r, err)
	}
	return *s, result, d.after(ctx, stream, *s, r.Command)
}

func whistleStream(r Request) (string, error) {
	c, ok := r.Command.(interface{ GetName() string })
	if !ok {
		return "", fmt.Errorf("%T names no whistle", r.Command)
	}
	if blow, ok := r.Command.(*pb.BlowWhistleRequest); ok && blow.Name == "" {
		if err := checkRequestID(blow.RequestId); err != nil {
			return "", err
		}
		return "whistle-" + requested(whistleSpace, r.Actor, blow.RequestId), nil
	}
	return Stream(c.GetName(), "whistles")
}

// linked looks up what the rule must know about: the linked tickets and whom the confidential of them complain of, the admissions under which units are summoned, whom a resident's rating is
// of, and the id of the whistle that a raised one goes on as.
func (d *Dispatcher) linked(ctx context.Context, stream string, s whistle.State, a *rule.Asked, command proto.Message) error {
	names := make([]string, len(s.Tickets))
	for i, id := range s.Tickets {
		names[i] = "tickets/" + id
	}
	switch c := command.(type) {
	case *pb.BlowWhistleRequest:
		if !s.Exists() {
			names = c.Tickets
		}
	case *pb.WhistleBlown:
		names = nil
		for _, id := range c.Tickets {
			names = append(names, "tickets/"+id)
		}
	case *pb.ScreenWhistleRequest, *pb.AddParticipantRequest, *pb.RequestExcuseRequest, *pb.DecideExcuseRequest, *pb.JoinWhistleRequest:
	case *pb.RateUnitRequest:
		return d.petitioned(ctx, s, a, c)
	case *pb.RaiseWhistleRequest:
		a.Child = childOf(ID(stream))
		return d.admitted(ctx, a, command, under(&s))
	default:
		return nil
	}
	a.Linked = map[string]*pb.Ticket{}
	for i, name := range names {
		t, result, err := d.LoadTicket(ctx, name)
		refusal := new(rule.Refusal)
		switch {
		case errors.As(err, &refusal):
			return rule.Bad(fmt.Sprintf("tickets[%d]", i), refusal.Reason, "%s", refusal.Message)
		case err != nil:
			return err
		}
		id := ID(result.Stream)
		a.Linked[id] = t.Message(id)
		if against := t.Against(a.Registry); against != "" {
			a.Against = append(a.Against, against)
		}
	}
	return d.admitted(ctx, a, command, under(&s))
}

// under are the names of the admissions under which units are summoned to a whistle.
func under(s *whistle.State) []string {
	var names []string
	for i := range s.Participants {
		if id := s.Participants[i].Admission; id != "" {
			names = append(names, "admissions/"+id)
		}
	}
	return names
}

// petitioned tells the rule for whom a gateway rates: whom the command identifies, if something was said of a linked ticket with that person's
// key, else who raised the first of the tickets.
func (d *Dispatcher) petitioned(ctx context.Context, s whistle.State, a *rule.Asked, c *pb.RateUnitRequest) error {
	if !slices.Contains(a.Actor.Roles, pb.Role_ROLE_CITIZEN) {
		return nil
	}
	named := identity(c.GetParticulars().GetPetitioner()) != ""
	for _, id := range s.Tickets {
		t, _, err := d.LoadTicket(ctx, "tickets/"+id)
		if err != nil {
			return fmt.Errorf("ticket %s of a whistle: %w", id, err)
		}
		switch {
		case named && slices.Contains(t.Subjects, a.Sealed.GetSubject()):
			a.Petitioner = a.Sealed.Subject
		case !named && a.Petitioner == "":
			a.Petitioner = t.Subject
		}
	}
	return nil
}

// childOf is the id of the whistle that the one of an id is raised to.
func childOf(id string) string {
	return uuid.NewSHA1(whistleSpace, []byte("child\x00"+id)).String()
}

// LoadWhistle is a whistle as it is now, by its name. A *rule.Refusal NOT_FOUND if nobody blew it.
func (d *Dispatcher) LoadWhistle(ctx context.Context, name string) (whistle.State, Result, error) {
	stream, err := Stream(name, "whistles")
	if err != nil {
		return whistle.State{}, Result{}, err
	}
	f, err := d.whistles.latest(ctx, d.store, stream)
	if err != nil {
		return whistle.State{}, Result{}, err
	}
	if f.version == 0 {
		return whistle.State{}, Result{}, rule.Bad("name", rule.NotFound, "no such whistle")
	}
	return f.state, Result{stream, f.version, f.position, false}, nil
}

// policyActor is who acts when one stream follows from another.
var policyActor = rule.Actor{Person: "policy", Roles: []pb.Role{pb.Role_ROLE_SYSTEM}}

// after does what follows from a command on a whistle, or from one of its events, that left it as s: its tickets learn that it was blown, who was
// summoned since, and that it ended; what was raised goes on above; what its participants missed is supervised. It may be done any number of
// times: the request ids are the same at every attempt.
func (d *Dispatcher) after(ctx context.Context, stream string, s whistle.State, what proto.Message) error {
	switch e := what.(type) {
	case *pb.BlowWhistleRequest, *pb.ScreenWhistleRequest, *pb.AddParticipantRequest, *pb.DecideExcuseRequest, *pb.CloseWhistleRequest, *pb.CancelWhistleRequest,
		*pb.WhistleBlown, *pb.WhistleIssued, *pb.ParticipantAdded, *pb.ParticipantExcused, *pb.WhistleRefused, *pb.WhistleClosed, *pb.WhistleCancelled:
		return d.tell(ctx, stream, s)
	case *pb.RaiseWhistleRequest, *pb.WhistleRaised:
		if s.Child == "" {
			return nil
		}
		if err := d.goOn(ctx, stream, s); err != nil {
			return err
		}
		return d.tell(ctx, stream, s)
	case *pb.LeaveWhistleRequest, *pb.LeftEarly:
		return d.leftEarly(ctx, stream, s)
	case *pb.NoShow:
		return d.missed(ctx, stream, s, pb.WhistleTimer_WHISTLE_TIMER_REPORT_IN, e.Unit)
	case *pb.PassWhistleTimerRequest:
		return d.missed(ctx, stream, s, e.Timer, e.Unit)
	case *pb.WhistleTimerPassed:
		return d.missed(ctx, stream, s, e.Timer, e.Unit)
	}
	return nil
}

// tell lets the tickets of a whistle know that it was blown and who was summoned, or that it ended.
func (d *Dispatcher) tell(ctx context.Context, stream string, s whistle.State) error {
	if s.BlownAt.IsZero() { // a draft, of which nobody knows
		return nil
	}
	id := ID(stream)
	if whistle.Ended(s.State) {
		return d.tellTickets(ctx, stream, s, "settle", &pb.WhistleSettled{Whistle: id, Outcome: s.State})
	}
	linked := &pb.WhistleLinked{Whistle: id}
	for i := range s.Participants {
		linked.Participants = append(linked.Participants, s.Participants[i].Unit)
	}
	// Participants that are added are another word to the ticket.
	return d.tellTickets(ctx, stream, s, fmt.Sprintf("link-%d", len(linked.Participants)), linked)
}

// tellTickets says one word to each ticket of a whistle.
func (d *Dispatcher) tellTickets(ctx context.Context, stream string, s whistle.State, what string, word proto.Message) error {
	for _, t := range s.Tickets {
		_, _, err := do(ctx, d, d.tickets, "ticket-"+t, Request{
			Actor: policyActor, ID: what + "/" + ID(stream) + "/" + t, Command: word, CausedBy: fmt.Sprintf("%s@%d", stream, s.Events),
		}, nil)
		if err != nil {
			return fmt.Errorf("tell ticket %s of whistle %s: %w", t, ID(stream), err)
		}
	}
	return nil
}

// goOn opens the whistle that another was raised to, with what was said when that was blown.
func (d *Dispatcher) goOn(ctx context.Context, stream string, s whistle.State) error {
	child := "whistle-" + s.Child
	said, err := d.unseal(ctx, stream, s.Blown)
	if err != nil && !errors.Is(err, privacy.ErrErased) {
		return err
	}
	command := s.ChildOf(ID(stream), s.RaisedTo)
	state, _, err := do(ctx, d, d.whistles, child, Request{
		Actor: policyActor, ID: "child/" + ID(stream), Command: command, CausedBy: fmt.Sprintf("%s@%d", stream, s.Events),
	}, func(c *whistle.State, a *rule.Asked) error {
		if said != nil {
			key, err := d.subject(ctx, s.Subject, nil)
			if err != nil {
				return fmt.Errorf("key for %s: %w", child, err)
			}
			clear, err := deterministic.Marshal(said)
			if err != nil {
				return fmt.Errorf("particulars of %s cannot be written", stream) // the cause could quote them
			}
			a.Sealed = &pb.Sealed{Subject: key.ID(), Box: key.Seal(clear, []byte(child))}
		}
		return d.linked(ctx, child, *c, a, command)
	})
	if err != nil {
		return fmt.Errorf("open the whistle that %s was raised to: %w", stream, err)
	}
	return d.after(ctx, child, *state, command)
}

// The levels of supervision that follow from a whistle: a call for haste, a listing, an account.
const (
	urged     = 1
	listed    = 3
	accounted = 4
)

// missed does what follows from a participant that did not sign, call or come in time, and from a matter that was not resolved: it is supervised,
// and two that did not come, or a matter that is not resolved, raise the whistle.
func (d *Dispatcher) missed(ctx context.Context, stream string, s whistle.State, timer pb.WhistleTimer, unit string) error {
	level, trigger, cause := uint32(0), pb.SupervisionTrigger_SUPERVISION_TRIGGER_UNSPECIFIED, pb.RaiseCause_RAISE_CAUSE_UNSPECIFIED
	switch timer {
	case pb.WhistleTimer_WHISTLE_TIMER_SIGN, pb.WhistleTimer_WHISTLE_TIMER_CONTACT:
		if s.Fired(timer, unit) {
			level, trigger = urged, pb.SupervisionTrigger_SUPERVISION_TRIGGER_SIGN_OVERDUE
		}
	case pb.WhistleTimer_WHISTLE_TIMER_REPORT_IN:
		if s.TooManyNoShows() {
			level, trigger, cause = listed, pb.SupervisionTrigger_SUPERVISION_TRIGGER_NO_SHOWS, pb.RaiseCause_RAISE_CAUSE_NO_SHOWS
		}
	case pb.WhistleTimer_WHISTLE_TIMER_RESOLVE:
		if s.Unresolved() {
			level, trigger, cause = listed, pb.SupervisionTrigger_SUPERVISION_TRIGGER_WHISTLE_UNRESOLVED, pb.RaiseCause_RAISE_CAUSE_UNRESOLVED
		}
	}
	if level == 0 {
		return nil
	}
	if err := d.superviseFor(ctx, stream, s, level, trigger); err != nil || cause == pb.RaiseCause_RAISE_CAUSE_UNSPECIFIED {
		return err
	}
	raise := &pb.RaiseWhistleRequest{Name: "whistles/" + ID(stream), Cause: cause}
	raised, _, err := do(ctx, d, d.whistles, stream, Request{
		Actor: policyActor, ID: fmt.Sprintf("raise/%s/%d", ID(stream), cause), Command: raise, CausedBy: fmt.Sprintf("%s@%d", stream, s.Events),
	}, func(s *whistle.State, a *rule.Asked) error { return d.linked(ctx, stream, *s, a, raise) })
	if _, refused := errors.AsType[*rule.Refusal](err); refused {
		return nil // it ended meanwhile, or nobody stands above
	}
	if err != nil {
		return fmt.Errorf("raise %s: %w", stream, err)
	}
	return d.after(ctx, stream, *raised, raise)
}

// leftEarly: who leaves an emergency before it is let go is called to account.
func (d *Dispatcher) leftEarly(ctx context.Context, stream string, s whistle.State) error {
	gone := slices.ContainsFunc(s.Participants, func(p whistle.Participant) bool { return p.State == pb.ParticipantState_PARTICIPANT_STATE_LEFT_EARLY })
	if !gone || s.Kind != pb.WhistleKind_WHISTLE_KIND_EMERGENCY {
		return nil
	}
	return d.superviseFor(ctx, stream, s, accounted, pb.SupervisionTrigger_SUPERVISION_TRIGGER_LEFT_EARLY)
}

// superviseFor raises the supervision of a whistle's tickets, once for each trigger.
func (d *Dispatcher) superviseFor(ctx context.Context, stream string, s whistle.State, level uint32, trigger pb.SupervisionTrigger) error {
	return d.tellTickets(ctx, stream, s, fmt.Sprintf("supervise-%d", trigger), &pb.SupervisionRaised{Level: level, Trigger: trigger})
}
