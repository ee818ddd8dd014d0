package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/rule"
)

const grid = dispatchtest.Community + "001"

var (
	citizen    = dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_CITIZEN)
	gridWorker = dispatchtest.As(grid, pb.Role_ROLE_GRID_WORKER)
	community  = dispatchtest.As(dispatchtest.Community, pb.Role_ROLE_COMMUNITY_CLERK)
)

// carry carries out a command on a post that must not be refused, and gives the post's id.
func carry(t testing.TB, d *dispatch.Dispatcher, r dispatch.Request) string {
	t.Helper()
	_, result, err := d.Carry(t.Context(), r)
	if err != nil {
		t.Fatalf("%T: %v", r.Command, err)
	}
	return dispatch.ID(result.Stream)
}

// posted is a post on the grid's wall that everybody reads.
func posted(t testing.TB, c *dispatchtest.City, phone string) (id string) {
	t.Helper()
	id = carry(t, c.Dispatcher, dispatch.Request{Actor: citizen, Command: &pb.PostOnWallRequest{
		RequestId: c.RequestID(), Area: grid, Category: "0101",
		Particulars: &pb.Particulars{Text: "楼下堆放垃圾", Petitioner: &pb.Petitioner{Name: "赵小兰", Phone: phone}},
	}})
	c.Clock.Add(time.Minute)
	carry(t, c.Dispatcher, dispatch.Request{Actor: gridWorker, Command: &pb.ScreenPostRequest{
		Name: "posts/" + id, RequestId: c.RequestID(), Admit: true, Particulars: &pb.Particulars{Reply: "楼下堆放垃圾，已受理"},
	}})
	return id
}

func lifted(t testing.TB, c *dispatchtest.City, id string) {
	t.Helper()
	carry(t, c.Dispatcher, dispatch.Request{Actor: gridWorker, Command: &pb.LiftPostRequest{
		Name: "posts/" + id, RequestId: c.RequestID(), Reason: pb.EscalationReason_ESCALATION_REASON_RESOURCES,
	}})
}

// cut fails every append to streams of a kind.
type cut struct {
	eventstore.Store
	kind string
}

func (s *cut) Append(ctx context.Context, stream string, after eventstore.Version, events []eventstore.Event) (eventstore.Position, error) {
	if s.kind != "" && strings.HasPrefix(stream, s.kind+"-") {
		return 0, fmt.Errorf("cut off: %w", eventstore.ErrUnavailable)
	}
	return s.Store.Append(ctx, stream, after, events)
}

// react lets a policy see the whole history, some times over.
func react(t testing.TB, c *dispatchtest.City, times int) {
	t.Helper()
	for range times {
		for r, err := range c.Store.ReadAll(t.Context(), 0) {
			if err != nil {
				t.Fatal(err)
			}
			e, err := event.Decode(r)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.React(t.Context(), &e); err != nil {
				t.Fatalf("react to %s@%d: %v", e.Stream, e.Version, err)
			}
		}
	}
}

func types(all []event.Decoded) (names []string) {
	for _, e := range all {
		names = append(names, e.Type)
	}
	return names
}

func TestAPostWhoseTicketWasCutOffGoesOnAsOneAllTheSame(t *testing.T) {
	t.Parallel()
	for what, last := range map[string]func(c *dispatchtest.City, id string) dispatch.Request{
		"ticketed": func(c *dispatchtest.City, id string) dispatch.Request {
			lifted(t, c, id)
			c.Clock.Add(10 * 24 * time.Hour) // longer than anybody may date a fact back
			return dispatch.Request{Actor: community, Command: &pb.TicketPostRequest{Name: "posts/" + id, RequestId: "last"}}
		},
		"self-solved": func(c *dispatchtest.City, id string) dispatch.Request {
			c.Clock.Add(10 * 24 * time.Hour)
			return dispatch.Request{Actor: gridWorker, Command: &pb.SelfSolvePostRequest{Name: "posts/" + id, RequestId: "last", Particulars: &pb.Particulars{Reply: "垃圾已清运"}}}
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c := dispatchtest.Open(t)
			began := c.Clock.Now()
			id := posted(t, c, "13700000001")
			request := last(c, id)
			d, err := dispatch.New(t.Context(), &cut{c.Store, "ticket"}, c.Keys, dispatch.Options{Clock: c.Clock.Now})
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := d.Carry(t.Context(), request); !errors.Is(err, eventstore.ErrUnavailable) {
				t.Fatalf("got %v", err)
			}
			if n := chain(t, c.Store, "ticket-"+id); n != 0 {
				t.Fatalf("the ticket has %d events", n)
			}
			c.Clock.Add(time.Hour)
			react(t, c, 1)
			first := types(history(t, c, "tickets/"+id))
			react(t, c, 2)
			carry(t, c.Dispatcher, request) // sent again, as whoever was told of no outcome does
			if again := types(history(t, c, "tickets/"+id)); len(first) < 2 || strings.Join(first, " ") != strings.Join(again, " ") {
				t.Errorf("got %v, then %v", first, again)
			}
			s := look(t, c, "tickets/"+id)
			if !s.AcceptedAt.Equal(began) || !s.ReportedAt.Equal(began) {
				t.Errorf("reported at %s and accepted at %s, posted at %s", s.ReportedAt, s.AcceptedAt, began)
			}
			if m := s.Message(id); m.Post != "posts/"+id || !strings.HasPrefix(m.No, dispatch.PublicNumber("wall-"+id)) {
				t.Errorf("got the ticket %v", m)
			}
			p, _, err := c.Particulars(t.Context(), "ticket-"+id, s, dispatchtest.Hotline)
			if err != nil || p.GetText() != "楼下堆放垃圾" || p.GetPetitioner().GetPhone() != "137****0001" {
				t.Errorf("got %v, %v", p, err)
			}
			if post, _, err := c.Look(t.Context(), "posts", "posts/"+id); err != nil || post.Owner() != s.Subject {
				t.Errorf("the ticket is of %q, the post of %v, %v", s.Subject, post.Owner(), err)
			}
		})
	}
}

// told takes a ticket of the wall to where it has a result, and tells the wall of it.
func told(t testing.TB, c *dispatchtest.City, name string) {
	t.Helper()
	secretary := dispatchtest.As(dispatchtest.Community, pb.Role_ROLE_COMMUNITY_SECRETARY)
	for _, step := range []proto.Message{
		&pb.ClaimTicketRequest{Name: name, RequestId: c.RequestID()},
		&pb.SignTicketRequest{Name: name, RequestId: c.RequestID()},
		&pb.RecordContactRequest{Name: name, RequestId: c.RequestID(), Channel: "phone", Reached: true},
		&pb.SubmitResultRequest{Name: name, RequestId: c.RequestID(), Result: pb.ResultCode_RESULT_CODE_RESOLVED, Particulars: &pb.Particulars{Reply: "已清运"}},
		&pb.PublishEchoRequest{Name: name, RequestId: c.RequestID(), Kind: pb.EchoKind_ECHO_KIND_RESULT, Particulars: &pb.Particulars{Reply: "垃圾已清运"}},
	} {
		c.Do(t, secretary, step)
	}
}

func TestTheWallHearsAnEchoOnce(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	id := posted(t, c, "13700000001")
	lifted(t, c, id)
	carry(t, c.Dispatcher, dispatch.Request{Actor: community, Command: &pb.TicketPostRequest{Name: "posts/" + id, RequestId: c.RequestID()}})
	c.Do(t, desk, &pb.TriageTicketRequest{Name: "tickets/" + id, RequestId: c.RequestID(), Category: "0101"})
	told(t, c, "tickets/"+id)
	// A post whose ticket is merged into this one after that is told all the same.
	late := posted(t, c, "13700000002")
	lifted(t, c, late)
	carry(t, c.Dispatcher, dispatch.Request{Actor: community, Command: &pb.TicketPostRequest{Name: "posts/" + late, RequestId: c.RequestID()}})
	c.Do(t, desk, &pb.MergeTicketRequest{Name: "tickets/" + late, RequestId: c.RequestID(), Into: "tickets/" + id})
	react(t, c, 3)
	for _, id := range []string{id, late} {
		_, post, _, err := c.Post(t.Context(), "posts/"+id)
		if err != nil {
			t.Fatal(err)
		}
		if len(post.Echoes) != 1 || post.Echoes[0].Words != "垃圾已清运" || post.State != pb.PostState_POST_STATE_ECHOED || post.Words != "楼下堆放垃圾，已受理" {
			t.Errorf("got %v", post)
		}
	}
}

func TestAPosterWhoIsErasedLeavesPostsAndFiguresAsTheyAre(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	id := posted(t, c, "13700000001")
	support := dispatch.Request{Actor: citizen, Command: &pb.SupportPostRequest{
		Name: "posts/" + id, RequestId: "me too", Particulars: &pb.Particulars{Petitioner: &pb.Petitioner{Phone: "13700000002"}},
	}}
	carry(t, c.Dispatcher, support)
	lifted(t, c, id)
	// The supporter's own matter, whose subject is erased with the poster's.
	other := posted(t, c, "13700000002")
	for _, id := range []string{id, other} {
		if id == other {
			lifted(t, c, other)
		}
		carry(t, c.Dispatcher, dispatch.Request{Actor: community, Command: &pb.TicketPostRequest{Name: "posts/" + id, RequestId: c.RequestID()}})
	}
	c.Do(t, desk, &pb.TriageTicketRequest{Name: "tickets/" + id, RequestId: c.RequestID(), Category: "0101"})
	told(t, c, "tickets/"+id)
	before, _, result, err := c.Post(t.Context(), "posts/"+id)
	if err != nil {
		t.Fatal(err)
	}
	auditor := dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_AUDITOR)
	for _, id := range []string{id, other} {
		if _, _, err := c.Erase(t.Context(), auditor, &pb.EraseSubjectRequest{Name: "tickets/" + id, RequestId: "e/" + id, OrderRef: "order-1"}); err != nil {
			t.Fatal(err)
		}
	}
	after, post, _, err := c.Post(t.Context(), "posts/"+id)
	if err != nil {
		t.Fatal(err)
	}
	if !post.Erased || post.Words != "" || len(post.Echoes) != 1 || post.Echoes[0].Words != "" {
		t.Errorf("got %v", post)
	}
	if post.Supports != 1 || after.State != before.State || after.Events != before.Events {
		t.Errorf("got %v after %v", post, result)
	}
	if _, again, err := c.Carry(t.Context(), support); err != nil || !again.Repeated {
		t.Errorf("sent again: %v, %v", again, err)
	}
	// Nothing of either is in the history.
	for r, err := range c.Store.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"13700000001", "13700000002", "赵小兰", "楼下堆放垃圾", "垃圾已清运"} {
			if strings.Contains(string(r.Data)+string(r.Meta), secret) {
				t.Errorf("%s@%d holds %q", r.Stream, r.Version, secret)
			}
		}
	}
}

func TestAPostOfSomebodyErasedMeanwhileStillGoesOn(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	first := posted(t, c, "13700000001")
	lifted(t, c, first)
	carry(t, c.Dispatcher, dispatch.Request{Actor: community, Command: &pb.TicketPostRequest{Name: "posts/" + first, RequestId: c.RequestID()}})
	ticketed, solved := posted(t, c, "13700000001"), posted(t, c, "13700000001")
	lifted(t, c, ticketed)
	auditor := dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_AUDITOR)
	if _, _, err := c.Erase(t.Context(), auditor, &pb.EraseSubjectRequest{Name: "tickets/" + first, RequestId: "e", OrderRef: "order-1"}); err != nil {
		t.Fatal(err)
	}
	carry(t, c.Dispatcher, dispatch.Request{Actor: community, Command: &pb.TicketPostRequest{Name: "posts/" + ticketed, RequestId: c.RequestID()}})
	carry(t, c.Dispatcher, dispatch.Request{Actor: gridWorker, Command: &pb.SelfSolvePostRequest{
		Name: "posts/" + solved, RequestId: c.RequestID(), OccurredAt: timestamppb.New(c.Clock.Now()), Particulars: &pb.Particulars{Reply: "垃圾已清运"},
	}})
	if s := look(t, c, "tickets/"+ticketed); s.State != pb.TicketState_TICKET_STATE_ACCEPTED || !s.Anonymous {
		t.Errorf("got %s, anonymous %t", s.State, s.Anonymous)
	}
	if s := look(t, c, "tickets/"+solved); !s.SolvedOnWall || s.ResultEcho == 0 {
		t.Errorf("got %+v", s)
	}
}

func TestOfAPostEverybodyReadsThePublicWordsAlone(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	id := posted(t, c, "13700000001")
	for _, who := range []struct {
		actor rule.Actor
		text  string
	}{
		{gridWorker, "楼下堆放垃圾"}, {community, "楼下堆放垃圾"}, {dispatchtest.As(dispatchtest.Street, pb.Role_ROLE_STREET_CLERK), "楼下堆放垃圾"},
		{dispatchtest.As(dispatchtest.OtherUrban, pb.Role_ROLE_AUDITOR), "楼下堆放垃圾"},
		{dispatchtest.As(dispatchtest.OtherUrban, pb.Role_ROLE_DEPARTMENT_CLERK), ""}, {citizen, ""},
	} {
		var text, words string
		for r, err := range c.Store.ReadStream(t.Context(), "wall-"+id, 0) {
			if err != nil {
				t.Fatal(err)
			}
			e, err := event.Decode(r)
			if err != nil {
				t.Fatal(err)
			}
			said, _, err := c.Said(t.Context(), r.Stream, nil, e.Event, who.actor)
			if err != nil || said.GetPetitioner() != nil {
				t.Fatalf("got %v, %v", said, err)
			}
			text, words = text+said.GetText(), words+said.GetReply()
		}
		if text != who.text || words != "楼下堆放垃圾，已受理" {
			t.Errorf("%s is shown %q and %q", who.actor.Person, text, words)
		}
	}
}

func TestAPosterIsErasedThoughThePostIsNoTicketYet(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	id := posted(t, c, "13700000001")
	auditor := dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_AUDITOR)
	subject, _, err := c.Erase(t.Context(), auditor, &pb.EraseSubjectRequest{Name: "posts/" + id, RequestId: "e", OrderRef: "order-1"})
	if err != nil || subject == "" {
		t.Fatalf("got %q, %v", subject, err)
	}
	if _, post, _, err := c.Post(t.Context(), "posts/"+id); err != nil || !post.Erased || post.Words != "" {
		t.Errorf("got %v, %v", post, err)
	}
}

// republished publishes the registry with its categories and ban list changed.
func republished(t *testing.T, c *dispatchtest.City, change func(*pb.RegistryPiece)) {
	t.Helper()
	r := c.Registry()
	p := proto.CloneOf(&pb.RegistryPiece{
		Levels: r.Levels(), Areas: r.Areas(), Units: r.Units(), Categories: r.Categories(), Bans: r.Bans(),
	})
	change(p)
	must(t, load(t, c, "later", c.Clock.Now(), p))
}

func TestAPostWhoseCategoryIsNoMoreGoesOnAsATicketWithoutOne(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	id := posted(t, c, "13700000001")
	lifted(t, c, id)
	republished(t, c, func(p *pb.RegistryPiece) {
		for _, k := range p.Categories {
			if k.Code == "0101" {
				k.ValidTo = timestamppb.New(c.Clock.Now())
			}
		}
	})
	c.Clock.Add(time.Hour)
	carry(t, c.Dispatcher, dispatch.Request{Actor: community, Command: &pb.TicketPostRequest{Name: "posts/" + id, RequestId: c.RequestID()}})
	if s := look(t, c, "tickets/"+id); s.State != pb.TicketState_TICKET_STATE_ACCEPTED || s.Category != "" {
		t.Errorf("got %s of category %q", s.State, s.Category)
	}
}

func TestWhatWasSolvedBeforeTheBanListHadItHasItsTicketAllTheSame(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	id := carry(t, c.Dispatcher, dispatch.Request{Actor: citizen, Command: &pb.PostOnWallRequest{
		RequestId: c.RequestID(), Area: grid, Category: "0101",
		Particulars: &pb.Particulars{Text: "楼下堆放垃圾", Petitioner: &pb.Petitioner{Name: "赵小兰", Phone: "13700000001", Confidential: true}},
	}})
	carry(t, c.Dispatcher, dispatch.Request{Actor: gridWorker, Command: &pb.ScreenPostRequest{
		Name: "posts/" + id, RequestId: c.RequestID(), Admit: true, Particulars: &pb.Particulars{Reply: "楼下堆放垃圾，已受理"},
	}})
	d, err := dispatch.New(t.Context(), &cut{c.Store, "ticket"}, c.Keys, dispatch.Options{Clock: c.Clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	solve := &pb.SelfSolvePostRequest{Name: "posts/" + id, RequestId: "solve", Particulars: &pb.Particulars{Reply: "垃圾已清运"}}
	if _, _, err := d.Carry(t.Context(), dispatch.Request{Actor: gridWorker, Command: solve}); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	c.Clock.Add(time.Hour)
	republished(t, c, func(p *pb.RegistryPiece) {
		p.Bans = append(p.Bans, &pb.BanItem{Code: "B99", Name: "清运", Categories: []string{"0101"}, ValidFrom: timestamppb.New(c.Clock.Now())})
	})
	c.Clock.Add(time.Hour)
	react(t, c, 1)
	s := look(t, c, "tickets/"+id)
	if !s.SolvedOnWall || s.Confidentiality != pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL {
		t.Errorf("solved on the wall %t, %s", s.SolvedOnWall, s.Confidentiality)
	}
}

func TestWhatAMatterOfTheMonthCameToDoesNotNameWhoPostedIt(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	post := posted(t, c, "13700000001") // of 赵小兰
	month := c.Clock.Now().In(time.FixedZone("CST", 8*3600)).Format("2006-01")
	by := dispatchtest.As(dispatchtest.Community, pb.Role_ROLE_COMMUNITY_SECRETARY)
	name := "deliberations/" + carry(t, c.Dispatcher, dispatch.Request{Actor: by, Command: &pb.ChooseMatterRequest{
		RequestId: c.RequestID(), Area: dispatchtest.Community, Month: month, Posts: []string{"posts/" + post}, Particulars: &pb.Particulars{Text: "垃圾"},
	}})
	carry(t, c.Dispatcher, dispatch.Request{Actor: by, Command: &pb.RecordDeliberationRequest{Name: name, RequestId: c.RequestID(), Particulars: &pb.Particulars{Text: "清运"}}})
	carry(t, c.Dispatcher, dispatch.Request{Actor: by, Command: &pb.DecideMatterRequest{Name: name, RequestId: c.RequestID(), Particulars: &pb.Particulars{Text: "清运"}}})
	for _, w := range []struct {
		reply  string
		reason rule.Reason
	}{{"赵小兰反映的垃圾已清运", rule.NeedsRedaction}, {"赵女士反映的垃圾已清运", rule.NeedsRedaction}, {"楼下垃圾已清运", ""}} {
		_, _, err := c.Carry(t.Context(), dispatch.Request{Actor: by, Command: &pb.PublishMatterRequest{Name: name, RequestId: c.RequestID(), Particulars: &pb.Particulars{Reply: w.reply}}})
		refusal, _ := errors.AsType[*rule.Refusal](err)
		if w.reason == "" && err != nil || w.reason != "" && (refusal == nil || refusal.Reason != w.reason) {
			t.Errorf("%s: got %v, want %q", w.reply, err, w.reason)
		}
	}
}

// A ticket that somebody may not see is not there for them, whichever unit leads it.
func TestAReviewTellsNobodyOfATicketThatTheyMayNotSee(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	ticket := c.Report(t, dispatchtest.Street)
	far := dispatchtest.As(streetB, pb.Role_ROLE_STREET_SECRETARY)
	group := []*pb.Reviewer{
		{Person: "a", Kind: pb.ReviewerKind_REVIEWER_KIND_ORGANISATION, Capacity: "x"}, {Person: "b", Kind: pb.ReviewerKind_REVIEWER_KIND_PARTY_MEMBER, Capacity: "x"},
		{Person: "c", Kind: pb.ReviewerKind_REVIEWER_KIND_RESIDENT, Capacity: "x"},
	}
	now := c.Clock.Now()
	for _, name := range []string{ticket, "tickets/00000000-0000-4000-8000-000000000000"} {
		_, _, err := c.Carry(t.Context(), dispatch.Request{Actor: far, Command: &pb.OpenReviewRequest{
			RequestId: c.RequestID(), Unit: "320205002001", Ticket: name, From: timestamppb.New(now.AddDate(0, -2, 0)), To: timestamppb.New(now.AddDate(0, -1, 0)), Group: group,
		}})
		refusal, _ := errors.AsType[*rule.Refusal](err)
		if refusal == nil || refusal.Reason != rule.NotFound || refusal.Field != "ticket" {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestAnEchoDoesNotNameThePetitionerOfADuplicate(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	id := posted(t, c, "13700000001")
	lifted(t, c, id)
	carry(t, c.Dispatcher, dispatch.Request{Actor: community, Command: &pb.TicketPostRequest{Name: "posts/" + id, RequestId: c.RequestID()}})
	call := c.Report(t, dispatchtest.Community) // of 张三丰
	c.Do(t, desk, &pb.AcceptTicketRequest{Name: call, RequestId: c.RequestID()})
	c.Do(t, desk, &pb.TriageTicketRequest{Name: "tickets/" + id, RequestId: c.RequestID(), Category: "0101"})
	c.Do(t, desk, &pb.MergeTicketRequest{Name: call, RequestId: c.RequestID(), Into: "tickets/" + id})
	react(t, c, 1)
	_, _, err := c.Ticket(t.Context(), dispatch.Request{Actor: community, Command: &pb.PublishEchoRequest{
		Name: "tickets/" + id, RequestId: c.RequestID(), Kind: pb.EchoKind_ECHO_KIND_PROGRESS, Particulars: &pb.Particulars{Reply: "张三丰反映的垃圾正在清运"},
	}})
	if refusal, ok := errors.AsType[*rule.Refusal](err); !ok || refusal.Reason != rule.NeedsRedaction {
		t.Errorf("got %v", err)
	}
}
