package dispatch_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/rule"
)

func reason(err error) rule.Reason {
	r := new(rule.Refusal)
	if errors.As(err, &r) {
		return r.Reason
	}
	return ""
}

func TestATicketGoesItsWholeWay(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	name := c.Report(t, dispatchtest.Community)
	c.ToHandling(t, name, dispatchtest.DistrictUrban)
	c.ToClosed(t, name, dispatchtest.DistrictUrban)
	s, result, err := c.LoadTicket(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if s.State != pb.TicketState_TICKET_STATE_CLOSED || s.CloseKind != pb.CloseKind_CLOSE_KIND_SOLVED || len(s.Path) != 4 {
		t.Errorf("got %+v", s)
	}
	if result.Version != 10 {
		t.Errorf("got version %d, want 10", result.Version)
	}
	p, erased, err := c.Particulars(t.Context(), result.Stream, s, dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_SUPERVISOR))
	if err != nil || erased {
		t.Fatal(err, erased)
	}
	if p.Title != "路灯不亮" || p.Petitioner.Name != "张**" || p.Reply != "已修复" {
		t.Errorf("got %v", p)
	}
}

func TestTheSameRequestGivesTheSameAnswerAndOneEvent(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	name := c.Report(t, dispatchtest.Community)
	accept := dispatch.Request{Actor: dispatchtest.Hotline, Command: &pb.AcceptTicketRequest{Name: name, RequestId: "a"}}
	_, first, err := c.Ticket(t.Context(), accept)
	if err != nil {
		t.Fatal(err)
	}
	c.Do(t, dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_DISPATCHER), &pb.TriageTicketRequest{Name: name, RequestId: "t", Category: "0302"})
	s, again, err := c.Ticket(t.Context(), accept)
	if err != nil {
		t.Fatal(err)
	}
	if !again.Repeated || again.Version != first.Version || again.Position != first.Position || s.State != pb.TicketState_TICKET_STATE_ACCEPTED {
		t.Errorf("got %+v in state %v, want %+v again", again, s.State, first)
	}
	_, _, err = c.Ticket(t.Context(), dispatch.Request{Actor: dispatchtest.Hotline, Command: &pb.AcceptTicketRequest{Name: name, RequestId: "a", Area: dispatchtest.Street}})
	if reason(err) != rule.RequestIDReused {
		t.Errorf("got %v, want %s", err, rule.RequestIDReused)
	}
}

func TestOfTwoDispatchersExactlyOneDispatches(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	for range 20 {
		name := c.Report(t, dispatchtest.Community)
		c.Do(t, dispatchtest.Hotline, &pb.AcceptTicketRequest{Name: name, RequestId: c.RequestID()})
		c.Do(t, dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_DISPATCHER), &pb.TriageTicketRequest{Name: name, RequestId: c.RequestID(), Category: "0302"})
		var wg sync.WaitGroup
		var errs [2]error
		for i, lead := range []string{dispatchtest.DistrictUrban, dispatchtest.DistrictTraffic} {
			wg.Go(func() {
				_, _, errs[i] = c.Ticket(t.Context(), dispatch.Request{
					Actor:   dispatchtest.As(dispatchtest.DistrictCentre, pb.Role_ROLE_DISPATCHER),
					Command: &pb.DispatchTicketRequest{Name: name, RequestId: "dispatch to " + lead, Lead: lead},
				})
			})
		}
		wg.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Fatalf("got %v, want one of them refused", errs)
		}
		refused := new(rule.Refusal)
		if !errors.As(errors.Join(errs[:]...), &refused) || refused.Reason != rule.WrongState || refused.DecidedBy != "TicketDispatched@4 by unit "+dispatchtest.DistrictCentre {
			t.Errorf("got %v, want a refusal that names the deciding event", refused)
		}
	}
}

func TestAnETagThatIsNotCurrentIsAConflict(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	name := c.Report(t, dispatchtest.Community)
	_, _, err := c.Ticket(t.Context(), dispatch.Request{Actor: dispatchtest.Hotline, Command: &pb.AcceptTicketRequest{Name: name, RequestId: "a", Etag: `"7"`}})
	conflict := new(eventstore.ConflictError)
	if !errors.As(err, &conflict) || conflict.Actual != 1 || conflict.After != 7 {
		t.Errorf("got %v", err)
	}
}

func TestARequestIDIsItsActorsOwn(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	name := c.Report(t, dispatchtest.Community)
	stream := "ticket-" + name[len("tickets/"):]
	c.ToHandling(t, name, dispatchtest.Street)

	// A stranger who repeats a request id is answered by the rules, not by what somebody else was told.
	stranger := dispatchtest.As(dispatchtest.OtherStreet, pb.Role_ROLE_STREET_CLERK)
	clerk := dispatchtest.As(dispatchtest.Street, pb.Role_ROLE_STREET_CLERK)
	contact := &pb.RecordContactRequest{Name: name, RequestId: "contact", Channel: "phone", Reached: true}
	c.Do(t, clerk, contact)
	if _, _, err := c.Ticket(t.Context(), dispatch.Request{Actor: stranger, Command: contact}); reason(err) != rule.OutOfScope {
		t.Errorf("got %v, want %s", err, rule.OutOfScope)
	}
	// Nor can a caller take the ids under which a policy acts: the whistle's id follows from its request, so that it can be foreseen.
	leader := dispatchtest.As(dispatchtest.Street, pb.Role_ROLE_STREET_LEADER)
	blow := &pb.BlowWhistleRequest{
		RequestId: "blow", Kind: pb.WhistleKind_WHISTLE_KIND_ROUTINE, Tickets: []string{name}, Particulars: &pb.Particulars{Text: "x"},
		Summons: []*pb.Summons{{Unit: dispatchtest.DistrictUrban}},
	}
	_, foreseen, err := dispatchtest.Open(t).Whistle(t.Context(), dispatch.Request{Actor: leader, Command: &pb.BlowWhistleRequest{
		RequestId: "blow", Kind: blow.Kind, Particulars: blow.Particulars, Summons: blow.Summons,
	}})
	if err != nil {
		t.Fatal(err)
	}
	c.Do(t, clerk, &pb.RecordContactRequest{
		Name: name, RequestId: "link-1/" + dispatch.ID(foreseen.Stream) + "/" + dispatch.ID(stream), Channel: "phone", Reached: true,
	})
	_, blown, err := c.Whistle(t.Context(), dispatch.Request{Actor: leader, Command: blow})
	if err != nil || blown.Stream != foreseen.Stream {
		t.Fatalf("got %+v, %v", blown, err)
	}
	if s, _, err := c.LoadTicket(t.Context(), name); err != nil || len(s.Whistles) != 1 {
		t.Errorf("the ticket did not learn of its whistle: %+v, %v", s.Whistles, err)
	}
	// Each reveal is recorded, whatever its request id.
	su := dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_SUPERVISOR)
	other := su
	other.Person = "another"
	see := &pb.RevealIdentityRequest{Name: name, RequestId: "see", Purpose: pb.RevealPurpose_REVEAL_PURPOSE_CALLBACK}
	for _, who := range []rule.Actor{su, other, su} {
		if _, _, err := c.Reveal(t.Context(), who, see); err != nil {
			t.Fatal(err)
		}
	}
	reveals := 0
	for r, err := range c.Store.ReadStream(t.Context(), "audit-"+name[len("tickets/"):], 0) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Type == "IdentityRevealed" {
			reveals++
		}
	}
	if reveals != 2 {
		t.Errorf("got %d reveals recorded, want 2: one a person", reveals)
	}
	// And two people's reports under one id are two matters.
	report := &pb.ReportTicketRequest{RequestId: "1", Channel: pb.Channel_CHANNEL_HOTLINE, Kind: pb.MatterKind_MATTER_KIND_HELP, Particulars: &pb.Particulars{Text: "x"}}
	if c.Do(t, dispatchtest.Hotline, report) == c.Do(t, su, report) {
		t.Error("two people's matters became one ticket")
	}
}

func TestARefusalIsNotedBesideTheTicket(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	name := c.Report(t, dispatchtest.Community)
	for range 2 {
		_, _, err := c.Ticket(t.Context(), dispatch.Request{Actor: dispatchtest.Hotline, Command: &pb.SignTicketRequest{Name: name, RequestId: "s"}})
		if reason(err) != rule.RoleNotAllowed {
			t.Fatalf("got %v", err)
		}
	}
	n := 0
	for r, err := range c.Store.ReadStream(t.Context(), "audit-"+name[len("tickets/"):], 0) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Type != "CommandRefused" {
			t.Errorf("got %s", r.Type)
		}
		n++
	}
	if n != 1 {
		t.Errorf("got %d notes, want 1", n)
	}
}

func TestASourceReferenceIsOneTicketWhateverTheRequestID(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	report := func(id string) dispatch.Result {
		_, r, err := c.Ticket(t.Context(), dispatch.Request{Actor: dispatchtest.Hotline, Command: &pb.ReportTicketRequest{
			RequestId: id, Source: "hotline", SourceRef: "A-1", Channel: pb.Channel_CHANNEL_HOTLINE, Kind: pb.MatterKind_MATTER_KIND_HELP,
			Particulars: &pb.Particulars{Text: "x"},
		}})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	first := report("1")
	if again := report("2"); !again.Repeated || again.Stream != first.Stream || again.Version != 1 {
		t.Errorf("got %+v", again)
	}
}

func TestWhatWasSealedIsGoneAfterErasureAndRetriesStillWork(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	report := &pb.ReportTicketRequest{
		RequestId: "r", Channel: pb.Channel_CHANNEL_HOTLINE, Kind: pb.MatterKind_MATTER_KIND_HELP, Area: dispatchtest.Community,
		Particulars: &pb.Particulars{Text: "x", Petitioner: &pb.Petitioner{Name: "李四", Phone: "13812345678"}},
	}
	name := c.Do(t, dispatchtest.Hotline, report)
	auditor := dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_AUDITOR)
	p, _, err := c.Reveal(t.Context(), auditor, &pb.RevealIdentityRequest{Name: name, RequestId: "see", Purpose: pb.RevealPurpose_REVEAL_PURPOSE_INVESTIGATION})
	if err != nil || p.Phone != "13812345678" {
		t.Fatalf("got %v, %v", p, err)
	}
	if _, _, err := c.Erase(t.Context(), auditor, &pb.EraseSubjectRequest{Name: name, RequestId: "e", OrderRef: "order-1"}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Reveal(t.Context(), auditor, &pb.RevealIdentityRequest{Name: name, RequestId: "see again", Purpose: pb.RevealPurpose_REVEAL_PURPOSE_INVESTIGATION}); reason(err) != rule.SubjectErased {
		t.Errorf("got %v", err)
	}
	if _, r, err := c.Ticket(t.Context(), dispatch.Request{Actor: dispatchtest.Hotline, Command: report}); err != nil || !r.Repeated {
		t.Errorf("got %+v, %v", r, err)
	}
	s, r, err := c.LoadTicket(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if p, erased, err := c.Particulars(t.Context(), r.Stream, s, auditor); p != nil || !erased || err != nil {
		t.Errorf("got %v, %v, %v", p, erased, err)
	}
}

func TestErasureOfAPetitionerTakesWhatAWhistleSaidOfTheMatter(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	name := c.Report(t, dispatchtest.Community)
	c.ToHandling(t, name, dispatchtest.Street)
	_, r, err := c.Whistle(t.Context(), dispatch.Request{Actor: dispatchtest.As(dispatchtest.Street, pb.Role_ROLE_STREET_LEADER), Command: &pb.BlowWhistleRequest{
		RequestId: "blow", Kind: pb.WhistleKind_WHISTLE_KIND_ROUTINE, Tickets: []string{name}, Particulars: &pb.Particulars{Text: "张三丰家门口"},
		Summons: []*pb.Summons{{Unit: dispatchtest.DistrictUrban}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	w, _, err := c.LoadWhistle(t.Context(), "whistles/"+dispatch.ID(r.Stream))
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := c.LoadTicket(t.Context(), name)
	if err != nil || w.Subject == "" || w.Subject != s.Subject {
		t.Errorf("got %q, want the ticket's subject %q, %v", w.Subject, s.Subject, err)
	}
}

func TestAWhistleGoesItsWholeWayAndItsTicketLearnsOfIt(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	name := c.Report(t, dispatchtest.Community)
	c.ToHandling(t, name, dispatchtest.Street)
	blow := func(actor rule.Actor, cmd *pb.BlowWhistleRequest) (string, error) {
		_, r, err := c.Whistle(t.Context(), dispatch.Request{Actor: actor, Command: cmd})
		return "whistles/" + dispatch.ID(r.Stream), err
	}
	leader := dispatchtest.As(dispatchtest.Street, pb.Role_ROLE_STREET_LEADER)
	whistle, err := blow(leader, &pb.BlowWhistleRequest{
		RequestId: "blow", Kind: pb.WhistleKind_WHISTLE_KIND_ROUTINE, Tickets: []string{name}, Particulars: &pb.Particulars{Text: "需城管到场"},
		Summons: []*pb.Summons{{Unit: dispatchtest.DistrictUrban}, {Unit: dispatchtest.DistrictTraffic}},
	})
	if err != nil {
		t.Fatal(err)
	}
	urban, traffic := dispatchtest.As(dispatchtest.DistrictUrban, pb.Role_ROLE_DEPARTMENT_CLERK), dispatchtest.As(dispatchtest.DistrictTraffic, pb.Role_ROLE_DEPARTMENT_CLERK)
	clerk := dispatchtest.As(dispatchtest.Street, pb.Role_ROLE_STREET_CLERK)
	c.Do(t, clerk, &pb.RecordContactRequest{Name: name, RequestId: c.RequestID(), Channel: "phone", Reached: true})
	submit := &pb.SubmitResultRequest{Name: name, RequestId: "submit", Result: pb.ResultCode_RESULT_CODE_RESOLVED, Particulars: &pb.Particulars{Reply: "ok"}}
	if _, _, err := c.Ticket(t.Context(), dispatch.Request{Actor: clerk, Command: submit}); reason(err) != rule.WhistleOpen {
		t.Errorf("got %v, want %s", err, rule.WhistleOpen)
	}
	here := &pb.LonLat{Lon: 120.3, Lat: 31.6}
	steps := []dispatch.Request{
		{Actor: dispatchtest.As(dispatchtest.DistrictCentre, pb.Role_ROLE_DISPATCHER), Command: &pb.ScreenWhistleRequest{Name: whistle, RequestId: "1", Issue: true}},
		{Actor: urban, Command: &pb.SignWhistleRequest{Name: whistle, RequestId: "2"}},
		{Actor: urban, Command: &pb.ContactStreetRequest{Name: whistle, RequestId: "3"}},
		{Actor: urban, Command: &pb.ReportInRequest{Name: whistle, RequestId: "4", Person: "U-1", Rank: "科长", Position: here}},
		{Actor: traffic, Command: &pb.ReportInRequest{Name: whistle, RequestId: "5", Person: "T-1", Rank: "科员", Position: here}},
		{Actor: urban, Command: &pb.CompleteTaskRequest{Name: whistle, RequestId: "6"}},
		{Actor: traffic, Command: &pb.CompleteTaskRequest{Name: whistle, RequestId: "7"}},
		{Actor: clerk, Command: &pb.ReleaseParticipantRequest{Name: whistle, RequestId: "8", Unit: dispatchtest.DistrictUrban}},
		{Actor: clerk, Command: &pb.ReleaseParticipantRequest{Name: whistle, RequestId: "9", Unit: dispatchtest.DistrictTraffic}},
		{Actor: leader, Command: &pb.ConfirmWhistleRequest{Name: whistle, RequestId: "10", Resolved: true}},
		{Actor: clerk, Command: &pb.RateUnitRequest{Name: whistle, RequestId: "11", Unit: dispatchtest.DistrictUrban, Response: 5, Cooperation: 4, Result: 5}},
		{Actor: clerk, Command: &pb.RateUnitRequest{Name: whistle, RequestId: "12", Unit: dispatchtest.DistrictTraffic, Response: 3, Cooperation: 3, Result: 3}},
		{Actor: clerk, Command: &pb.CloseWhistleRequest{Name: whistle, RequestId: "13"}},
	}
	for _, step := range steps {
		c.Clock.Add(time.Minute)
		if _, _, err := c.Whistle(t.Context(), step); err != nil {
			t.Fatalf("%T: %v", step.Command, err)
		}
	}
	w, _, err := c.LoadWhistle(t.Context(), whistle)
	if err != nil || w.State != pb.WhistleState_WHISTLE_STATE_CLOSED || !w.Participants[0].InTime {
		t.Errorf("got %+v, %v", w, err)
	}
	c.Do(t, clerk, submit)
	s, _, err := c.LoadTicket(t.Context(), name)
	if err != nil || len(s.Whistles) != 1 || s.Whistles[0].Outcome != pb.WhistleState_WHISTLE_STATE_CLOSED {
		t.Errorf("got %+v, %v", s.Whistles, err)
	}
}
