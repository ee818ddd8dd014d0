package dispatch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/privacy"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/ticket"
	"github.com/chuishao/dispatch/internal/wall"
)

// A post, what stands on the mother wall and the ticket are one matter: the stream of the post is wall-<id>, that of its ticket ticket-<id>, and the ticket is
// reported and accepted as of the instant of the post. The post's stream decides; the ticket follows with request ids that are the same at every attempt.

// residents looks up who supports or reviews a post, and whether public words name the poster.
func (d *Dispatcher) residents(ctx context.Context, s wall.State, a *rule.Asked, command proto.Message) error {
	named, ok := command.(interface{ GetName() string })
	if !ok {
		return nil
	}
	stream, err := Stream(named.GetName(), "posts")
	if err != nil {
		return err
	}
	switch command.(type) {
	case *pb.SupportPostRequest:
		err = d.resident(ctx, stream, &s, a, particularsOf(command).GetPetitioner())
		a.Sealed = nil // it is enough to know that it was somebody
	case *pb.ReviewPostRequest:
		err = d.resident(ctx, stream, &s, a, particularsOf(command).GetPetitioner())
	case *pb.ScreenPostRequest, *pb.SelfSolvePostRequest:
		err = d.names(ctx, stream, a, command, s.Published)
	}
	return err
}

// resident is the data subject that a resident's number leads to. The poster is known by it too who wished to stay unnamed.
func (d *Dispatcher) resident(ctx context.Context, stream string, s *wall.State, a *rule.Asked, p *pb.Petitioner) error {
	who := identity(p)
	if who == "" || a.Sealed == nil {
		return nil
	}
	a.Petitioner = a.Sealed.Subject
	said, err := d.unseal(ctx, stream, s.Published)
	if errors.Is(err, privacy.ErrErased) {
		return nil
	}
	if err != nil {
		return err
	}
	if poster := said.GetPetitioner(); poster.GetAnonymous() {
		poster.Anonymous = false
		if identity(poster) == who {
			a.Petitioner = s.Subject
		}
	}
	return nil
}

// followPost makes the ticket of a post that has just been ticketed, or solved on its wall.
func (d *Dispatcher) followPost(ctx context.Context, stream string, s wall.State) error {
	if s.Decided.Version != s.Events {
		return nil // it was followed when that was decided, or policy does it
	}
	switch s.State {
	case pb.PostState_POST_STATE_TICKETED:
		return d.ticketPost(ctx, stream, &s)
	case pb.PostState_POST_STATE_SELF_SOLVED:
		return d.solvePost(ctx, stream, &s)
	}
	return nil
}

// reactToPost makes the ticket that an event of a post leads to.
func (d *Dispatcher) reactToPost(ctx context.Context, e *event.Decoded) error {
	s, err := d.posts.upTo(ctx, d.store, e.Stream, e.Version)
	if err != nil {
		return err
	}
	return d.followPost(ctx, e.Stream, s)
}

// saidOnWall is what the poster said. Of a poster who was erased it says only that there was a post.
func (d *Dispatcher) saidOnWall(ctx context.Context, stream string, s *wall.State) (*pb.Particulars, error) {
	said, err := d.unseal(ctx, stream, s.Published)
	if said == nil && (err == nil || errors.Is(err, privacy.ErrErased)) {
		return &pb.Particulars{Title: "问题墙 " + s.No, Petitioner: &pb.Petitioner{Anonymous: true}}, nil
	}
	return said, err
}

// ticketPost reports the ticket of a post, and accepts it.
func (d *Dispatcher) ticketPost(ctx context.Context, stream string, s *wall.State) error {
	id, of := ID(stream), Request{Actor: policyActor, CausedBy: fmt.Sprintf("%s@%d", stream, s.Events), subject: s.Subject}
	name := "tickets/" + id
	asOfPost := func(_ *ticket.State, a *rule.Asked) error {
		a.OccurredAt = s.PostedAt // however long ago that was: T0 is when it was posted
		return nil
	}
	t, _, err := d.LoadTicket(ctx, name)
	if refusal := new(rule.Refusal); errors.As(err, &refusal) && refusal.Reason == rule.NotFound {
		report := &pb.ReportTicketRequest{
			RequestId: "wall/" + id + "/report", Source: ticket.Wall, SourceRef: id, Channel: pb.Channel_CHANNEL_WALL, Kind: pb.MatterKind_MATTER_KIND_OTHER,
			Area: s.PostedPath[len(s.PostedPath)-1].Code, Position: s.Position, Category: s.Category, Attachments: s.Attachments,
		}
		if s.Keeper != s.PostedTo {
			report.LiftedFrom = s.PostedTo
		}
		if _, valid := d.Registry().Category(s.Category, d.Now()); !valid {
			report.Category = "" // the catalogue changed while it stood on the wall; triage says what it is now
		}
		if report.Particulars, err = d.saidOnWall(ctx, stream, s); err != nil {
			return err
		}
		of.Command = report
		var reported *ticket.State
		reported, _, err = do(ctx, d, d.tickets, "ticket-"+id, of, asOfPost)
		t = *reported
	}
	if err != nil {
		return fmt.Errorf("report the ticket of post %s: %w", id, err)
	}
	if t.State != pb.TicketState_TICKET_STATE_REPORTED {
		return nil
	}
	of.Command = &pb.AcceptTicketRequest{RequestId: "wall/" + id + "/accept", Name: name}
	if _, _, err := do(ctx, d, d.tickets, "ticket-"+id, of, asOfPost); err != nil {
		return fmt.Errorf("accept the ticket of post %s: %w", id, err)
	}
	return nil
}

// solvePost records the ticket of a post that a grid worker solved.
func (d *Dispatcher) solvePost(ctx context.Context, stream string, s *wall.State) error {
	id := ID(stream)
	said, err := d.saidOnWall(ctx, stream, s)
	if err != nil {
		return err
	}
	said.Reply = "已解决"
	switch echo, err := d.unseal(ctx, stream, s.Solution); {
	case err == nil:
		said.Reply = echo.GetReply()
	case !errors.Is(err, privacy.ErrErased):
		return err
	}
	solve := &pb.SolveOnWallRequest{
		Name: "tickets/" + id, RequestId: "wall/" + id + "/solve", Particulars: said, Post: "posts/" + id, Area: s.PostedPath[len(s.PostedPath)-1].Code,
		Unit: s.Keeper, Category: s.Category, PostedAt: rule.Stamp(s.PostedAt), Anonymous: s.Anonymous, Position: s.Position, Attachments: s.Attachments,
		Drawn: s.Drawn, Percent: s.Percent,
	}
	_, _, err = do(ctx, d, d.tickets, "ticket-"+id, Request{
		Actor: policyActor, Command: solve, CausedBy: fmt.Sprintf("%s@%d", stream, s.Events), subject: s.Subject,
	}, func(_ *ticket.State, a *rule.Asked) error {
		a.OccurredAt = s.SolvedAt
		return nil
	})
	if err != nil {
		return fmt.Errorf("record the ticket of post %s: %w", id, err)
	}
	return nil
}

// published is an echo as a ticket recorded it.
type published struct {
	kind    pb.EchoKind
	version eventstore.Version
	at      time.Time
	ofPost  bool // the post said so itself, and is not told again
}

func echoAt(e *event.Decoded) published {
	return published{e.Event.(*pb.EchoPublished).Kind, e.Version, e.Meta.OccurredAt.AsTime(), strings.HasPrefix(e.Meta.CausedBy, "wall-")}
}

// tellEcho tells the walls of the echo that a version of a ticket's stream is.
func (d *Dispatcher) tellEcho(ctx context.Context, stream string, version eventstore.Version, s *ticket.State) error {
	e, err := d.echo(ctx, stream, version)
	if err != nil {
		return err
	}
	return d.tellWalls(ctx, stream, s, echoAt(e))
}

// echo is the EchoPublished that a version of a ticket's stream is.
func (d *Dispatcher) echo(ctx context.Context, stream string, version eventstore.Version) (*event.Decoded, error) {
	for r, err := range d.store.ReadStream(ctx, stream, version-1) {
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", stream, err)
		}
		e, err := event.Decode(r)
		if err != nil {
			return nil, err
		}
		if _, ok := e.Event.(*pb.EchoPublished); ok {
			return &e, nil
		}
		break
	}
	return nil, fmt.Errorf("%s@%d is no echo", stream, version)
}

// tellWalls lets the post of a ticket, and those of its duplicates, know of an echo.
func (d *Dispatcher) tellWalls(ctx context.Context, stream string, s *ticket.State, e published) error {
	if s.OnWall() && !e.ofPost {
		if err := d.tellPost(ctx, stream, ID(stream), e); err != nil {
			return err
		}
	}
	for i, duplicate := range s.Duplicates {
		if !s.Attached[i].Wall {
			continue
		}
		if err := d.tellPost(ctx, stream, duplicate, e); err != nil {
			return err
		}
	}
	return nil
}

// tellPost lets one post know of an echo of a ticket.
func (d *Dispatcher) tellPost(ctx context.Context, stream, post string, e published) error {
	place := fmt.Sprintf("%s@%d", stream, e.version)
	_, _, err := do(ctx, d, d.posts.streams, "wall-"+post, Request{
		Actor: policyActor, ID: "echo/" + place, CausedBy: place,
		Command: &pb.PostEchoed{Kind: e.kind, Ticket: ID(stream), Version: uint64(e.version)},
	}, func(_ *wall.State, a *rule.Asked) error {
		if e.at.Before(a.At) { // clocks of two processes may differ
			a.OccurredAt = e.at
		}
		return nil
	})
	if refusal := new(rule.Refusal); errors.As(err, &refusal) && refusal.Reason == rule.NotFound {
		return nil // this system brought the ticket in without a post, and no wall waits
	}
	if err != nil {
		return fmt.Errorf("tell post %s of %s: %w", post, place, err)
	}
	return nil
}

// tellLateDuplicate lets the post of a duplicate that was attached after the result echo of its primary know of that.
func (d *Dispatcher) tellLateDuplicate(ctx context.Context, primary string, attached eventstore.Version, duplicate string) error {
	p, err := d.tickets.upTo(ctx, d.store, primary, attached)
	if err != nil || p.ResultEcho == 0 {
		return err
	}
	e, err := d.echo(ctx, primary, eventstore.Version(p.ResultEcho))
	if err != nil {
		return err
	}
	return d.tellPost(ctx, primary, duplicate, echoAt(e))
}

// Post is a post as everybody is shown it, by its name: with its public words and echoes. Erased says that some of these can never be read again.
// Whether the caller may see it is not asked. A *rule.Refusal NOT_FOUND if there is none.
func (d *Dispatcher) Post(ctx context.Context, name string) (*wall.State, *pb.Post, Result, error) {
	s, result, err := d.posts.state(ctx, name)
	if err != nil {
		return nil, nil, result, err
	}
	m := s.Message(ID(result.Stream))
	if m.Words, err = d.publicWords(ctx, m, result.Stream, s.Words); err != nil {
		return nil, nil, result, err
	}
	if s.Solution != nil {
		words, err := d.publicWords(ctx, m, result.Stream, s.Solution)
		if err != nil {
			return nil, nil, result, err
		}
		m.Echoes = append(m.Echoes, &pb.Echo{Kind: pb.EchoKind_ECHO_KIND_RESULT, At: rule.Stamp(s.SolvedAt), Words: words})
	}
	for _, told := range s.Echoes {
		stream := "ticket-" + told.Ticket
		e, err := d.echo(ctx, stream, eventstore.Version(told.Version))
		if err != nil {
			return nil, nil, result, err
		}
		words, err := d.publicWords(ctx, m, stream, e.Event.(*pb.EchoPublished).Sealed)
		if err != nil {
			return nil, nil, result, err
		}
		m.Echoes = append(m.Echoes, &pb.Echo{Kind: told.Kind, At: rule.Stamp(told.At), Words: words})
	}
	slices.SortStableFunc(m.Echoes, func(a, b *pb.Echo) int { return a.At.AsTime().Compare(b.At.AsTime()) })
	return &s, m, result, nil
}

// publicWords are the words of a box that everybody reads, masked still: a mask that has learnt more since they were published hides more.
func (d *Dispatcher) publicWords(ctx context.Context, m *pb.Post, stream string, box *pb.Sealed) (string, error) {
	said, err := d.unseal(ctx, stream, box)
	if errors.Is(err, privacy.ErrErased) {
		m.Erased = true
		return "", nil
	}
	return privacy.MaskPublic(said.GetReply()), err
}
