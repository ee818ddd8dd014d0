package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/ticket"
)

var (
	desk       = dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_DISPATCHER)
	supervisor = dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_SUPERVISOR)
)

// accepted reports a matter and accepts it.
func accepted(t testing.TB, c *dispatchtest.City) string {
	t.Helper()
	name := c.Report(t, dispatchtest.Community)
	c.Do(t, dispatchtest.Hotline, &pb.AcceptTicketRequest{Name: name, RequestId: c.RequestID()})
	return name
}

func bare(name string) string { return strings.TrimPrefix(name, "tickets/") }

func look(t testing.TB, c *dispatchtest.City, name string) ticket.State {
	t.Helper()
	s, _, err := c.LoadTicket(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func merge(d *dispatch.Dispatcher, ctx context.Context, id, name, into string) (*ticket.State, dispatch.Result, error) {
	return d.Ticket(ctx, dispatch.Request{Actor: desk, Command: &pb.MergeTicketRequest{RequestId: id, Name: name, Into: into}})
}

// history is a ticket's events, oldest first, each decoded.
func history(t testing.TB, c *dispatchtest.City, name string) (all []event.Decoded) {
	t.Helper()
	for r, err := range c.Store.ReadStream(t.Context(), "ticket-"+bare(name), 0) {
		if err != nil {
			t.Fatal(err)
		}
		e, err := event.Decode(r)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func count(all []event.Decoded, typ string) (n int) {
	for _, e := range all {
		if e.Type == typ {
			n++
		}
	}
	return n
}

// checkDuplicates finds what is wrong with who is a duplicate of whom: no duplicate has one, and primaries and duplicates agree.
func checkDuplicates(t *testing.T, c *dispatchtest.City, names []string) {
	t.Helper()
	for _, name := range names {
		s := look(t, c, name)
		if merged := s.State == pb.TicketState_TICKET_STATE_MERGED; merged != (s.MergedInto != "") {
			t.Errorf("%s is %s and merged into %q", name, s.State, s.MergedInto)
		}
		if s.MergedInto != "" {
			if len(s.Duplicates) > 0 {
				t.Errorf("%s is a duplicate and has the duplicates %v", name, s.Duplicates)
			}
			if p := look(t, c, "tickets/"+s.MergedInto); p.MergedInto != "" || !slices.Contains(p.Duplicates, bare(name)) {
				t.Errorf("%s points to %s, which is merged into %q and has the duplicates %v", name, s.MergedInto, p.MergedInto, p.Duplicates)
			}
		}
		for _, d := range s.Duplicates {
			if child := look(t, c, "tickets/"+d); child.MergedInto != bare(name) {
				t.Errorf("%s has the duplicate %s, which is merged into %q", name, d, child.MergedInto)
			}
		}
		var state ticket.State
		for _, e := range history(t, c, name) {
			before := state
			var err error
			if state, err = ticket.Evolve(state, e.Meta, e.Event); err != nil {
				t.Fatal(err)
			}
			if err := ticket.CheckInvariants(before, state, e.Meta, e.Event); err != nil {
				t.Errorf("%s@%d: %v", name, e.Version, err)
			}
		}
	}
}

func TestAMergeIsAnsweredTheSameHoweverOftenItIsSent(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	primary, child := accepted(t, c), accepted(t, c)
	s, first, err := merge(c.Dispatcher, t.Context(), "m", child, primary)
	if err != nil {
		t.Fatal(err)
	}
	if s.State != pb.TicketState_TICKET_STATE_MERGED || s.MergedInto != bare(primary) || first.Repeated || first.Stream != "ticket-"+bare(child) {
		t.Fatalf("got %+v, %+v", s, first)
	}
	again := func() {
		t.Helper()
		s, result, err := merge(c.Dispatcher, t.Context(), "m", child, primary)
		if err != nil || !result.Repeated || result.Version != first.Version || result.Position != first.Position || s.MergedInto != bare(primary) {
			t.Errorf("got %+v in state %s, %v, want %+v again", result, s.State, err, first)
		}
	}
	again()
	c.Do(t, supervisor, &pb.UnmergeTicketRequest{Name: child, RequestId: "u", Particulars: &pb.Particulars{Note: "另有一事"}})
	again()
	if s := look(t, c, child); s.State != pb.TicketState_TICKET_STATE_ACCEPTED {
		t.Errorf("an old request merged the ticket anew: it is %s", s.State)
	}
	if _, _, err := merge(c.Dispatcher, t.Context(), "m", child, accepted(t, c)); err != nil {
		t.Errorf("got %v: the id is known to neither of these tickets, and the request may be carried out", err)
	}
	checkDuplicates(t, c, []string{primary, child})
}

func TestAnETagOfAMergeIsTheDuplicates(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	primary, child := accepted(t, c), accepted(t, c)
	try := func(etag string) error {
		_, _, err := c.Ticket(t.Context(), dispatch.Request{Actor: desk, Command: &pb.MergeTicketRequest{RequestId: "m", Name: child, Into: primary, Etag: etag}})
		return err
	}
	conflict := new(eventstore.ConflictError)
	if err := try(`"1"`); !errors.As(err, &conflict) || conflict.Stream != "ticket-"+bare(child) || conflict.Actual != 2 {
		t.Errorf("got %v, want a conflict at the duplicate", err)
	}
	if err := try(`"2"`); err != nil {
		t.Error(err)
	}
	if err := try("2"); err != nil {
		t.Errorf("got %v for what was carried out before", err)
	}
}

func TestWhatIsMergedIntoADuplicateBelongsToItsPrimary(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	primary, duplicate, third := accepted(t, c), accepted(t, c), accepted(t, c)
	for i, pair := range [][2]string{{duplicate, primary}, {third, duplicate}} {
		if s, _, err := merge(c.Dispatcher, t.Context(), fmt.Sprint("m", i), pair[0], pair[1]); err != nil || s.MergedInto != bare(primary) {
			t.Fatalf("got a duplicate of %q, %v, want of %s", s.MergedInto, err, primary)
		}
	}
	// What the request named then is no duplicate any more: what was decided stays.
	c.Do(t, supervisor, &pb.UnmergeTicketRequest{Name: duplicate, RequestId: "u", Particulars: &pb.Particulars{Note: "另有一事"}})
	if s, result, err := merge(c.Dispatcher, t.Context(), "m1", third, duplicate); err != nil || !result.Repeated || s.MergedInto != bare(primary) {
		t.Errorf("got a duplicate of %q, repeated %t, %v", s.MergedInto, result.Repeated, err)
	}
	checkDuplicates(t, c, []string{primary, duplicate, third})
}

func TestADuplicateOfTheSamePersonShows(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	report := func(phone string) string {
		p := &pb.Petitioner{Name: "张三丰", Phone: phone}
		if phone == "" {
			p = &pb.Petitioner{Anonymous: true}
		}
		name := c.Do(t, dispatchtest.Hotline, &pb.ReportTicketRequest{
			RequestId: c.RequestID(), Channel: pb.Channel_CHANNEL_HOTLINE, Kind: pb.MatterKind_MATTER_KIND_HELP, Area: dispatchtest.Community,
			Particulars: &pb.Particulars{Text: "水管爆裂", Place: "春笋中路", Cause: "老化", Course: "刚才", Petitioner: p},
		})
		return c.Do(t, dispatchtest.Hotline, &pb.AcceptTicketRequest{Name: name, RequestId: c.RequestID()})
	}
	primary := report("13800000001")
	for i, phone := range []string{"13800000001", "13800000002", ""} {
		if _, _, err := merge(c.Dispatcher, t.Context(), fmt.Sprint("m", i), report(phone), primary); err != nil {
			t.Fatal(err)
		}
	}
	var refs []string
	for _, e := range history(t, c, primary) {
		if a, ok := e.Event.(*pb.DuplicateAttached); ok {
			refs = append(refs, a.PetitionerRef)
		}
	}
	if own := look(t, c, primary).Subject; len(refs) != 3 || refs[0] != own || refs[1] == own || refs[1] == "" || refs[2] != "" {
		t.Errorf("got %q, want the primary's own %q, another's, nobody's", refs, own)
	}
}

func TestABurstMainHasTwoHundredAndFortyDuplicatesAndGivesOneBack(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	const calls = 240
	primary := accepted(t, c)
	var lift string
	for i := range calls {
		c.Clock.Add(time.Second)
		call := accepted(t, c)
		if i == 100 {
			lift = call
		}
		if _, _, err := merge(c.Dispatcher, t.Context(), fmt.Sprint("m", i), call, primary); err != nil {
			t.Fatal(err)
		}
	}
	s := look(t, c, primary)
	if len(s.Duplicates) != calls || len(s.Message(bare(primary)).Duplicates) != calls {
		t.Fatalf("got %d duplicates, want %d", len(s.Duplicates), calls)
	}
	merged := look(t, c, lift)
	before := merged.Before
	if before == nil || merged.Limits.DispatchBy != (time.Time{}) {
		t.Fatalf("a merged ticket has the limits %+v", merged.Limits)
	}
	c.Clock.Add(20 * time.Minute)
	c.Do(t, supervisor, &pb.UnmergeTicketRequest{Name: lift, RequestId: "u", Particulars: &pb.Particulars{Note: "电梯困人"}})
	c.Do(t, dispatchtest.Hotline, &pb.HandOverEmergencyRequest{Name: lift, RequestId: "h", Line: pb.EmergencyLine_EMERGENCY_LINE_FIRE})
	after := look(t, c, lift)
	if !after.AcceptedAt.Equal(merged.AcceptedAt) || after.Limits != before.Limits || after.State != before.State || after.MergedInto != "" {
		t.Errorf("got T0 %s, limits %+v, state %s; want %s, %+v, %s", after.AcceptedAt, after.Limits, after.State, merged.AcceptedAt, before.Limits, before.State)
	}
	if s := look(t, c, primary); len(s.Duplicates) != calls-1 || slices.Contains(s.Duplicates, bare(lift)) {
		t.Errorf("got %d duplicates, want %d without the lift's", len(s.Duplicates), calls-1)
	}
}

func TestWhicheverTicketsAreMergedAtOnceNoDuplicateIsOfADuplicate(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	// Two processes on one history.
	other, err := dispatch.New(t.Context(), c.Store, c.Keys, dispatch.Options{Clock: c.Clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for round := range 25 {
		names := []string{accepted(t, c), accepted(t, c), accepted(t, c)}
		pairs := [][2]int{{0, 1}, {1, 0}, {1, 2}, {2, 0}, {0, 2}, {2, 1}}
		rand.Shuffle(len(pairs), func(i, j int) { pairs[i], pairs[j] = pairs[j], pairs[i] })
		var wg sync.WaitGroup
		errs := make([]error, len(pairs))
		for i, pair := range pairs {
			d := []*dispatch.Dispatcher{c.Dispatcher, other}[i%2]
			wg.Go(func() {
				_, _, errs[i] = merge(d, t.Context(), fmt.Sprintf("m/%d/%d", round, i), names[pair[0]], names[pair[1]])
			})
		}
		wg.Wait()
		for _, err := range errs {
			if err == nil {
				continue
			}
			if reason(err) == "" {
				t.Fatal(err)
			}
			refused++
		}
		checkDuplicates(t, c, names)
	}
	if refused == 0 {
		t.Error("nothing was refused")
	}
}

func TestOfTwoPrimariesExactlyOneGetsTheDuplicate(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	for round := range 20 {
		names := []string{accepted(t, c), accepted(t, c), accepted(t, c)}
		var wg sync.WaitGroup
		var errs [2]error
		for i := range errs {
			wg.Go(func() {
				_, _, errs[i] = merge(c.Dispatcher, t.Context(), fmt.Sprintf("m/%d/%d", round, i), names[2], names[i])
			})
		}
		wg.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Fatalf("got %v, want one of them refused", errs)
		}
		if err := errors.Join(errs[:]...); reason(err) != rule.WrongState {
			t.Errorf("got %v", err)
		}
		checkDuplicates(t, c, names)
	}
}

// between lets something happen right after a duplicate was attached and before it is told.
type between struct {
	eventstore.Store
	then func()
}

func (b *between) Append(ctx context.Context, stream string, after eventstore.Version, events []eventstore.Event) (eventstore.Position, error) {
	p, err := b.Store.Append(ctx, stream, after, events)
	if then := b.then; events[0].Type == "DuplicateAttached" && then != nil {
		b.then = nil
		then()
	}
	return p, err
}

func TestWhatHappensToADuplicateBeforeItIsToldCounts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		meanwhile func(*dispatchtest.City, string)
		want      rule.Reason
		attached  int
	}{
		{name: "it can still be merged", attached: 2, meanwhile: func(c *dispatchtest.City, child string) {
			c.Do(t, desk, &pb.TriageTicketRequest{Name: child, RequestId: "t", Category: "0302"})
		}},
		{name: "it is in hand by now", attached: 1, want: rule.WrongState, meanwhile: func(c *dispatchtest.City, child string) {
			c.Do(t, desk, &pb.TriageTicketRequest{Name: child, RequestId: "t", Category: "0302"})
			c.Do(t, desk, &pb.DispatchTicketRequest{Name: child, RequestId: "d", Lead: dispatchtest.DistrictUrban})
			c.Do(t, dispatchtest.As(dispatchtest.DistrictUrban, pb.Role_ROLE_DEPARTMENT_CLERK), &pb.SignTicketRequest{Name: child, RequestId: "s"})
		}},
		{name: "it has a duplicate by now", attached: 1, want: rule.HasDuplicates, meanwhile: func(c *dispatchtest.City, child string) {
			if _, _, err := merge(c.Dispatcher, t.Context(), "other", accepted(t, c), child); err != nil {
				t.Error(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			city := dispatchtest.Open(t)
			primary, child := accepted(t, city), accepted(t, city)
			store := &between{Store: city.Store, then: func() { c.meanwhile(city, child) }}
			d, err := dispatch.New(t.Context(), store, city.Keys, dispatch.Options{Clock: city.Clock.Now})
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = merge(d, t.Context(), "m", child, primary)
			if reason(err) != c.want || c.want == "" && err != nil {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			told := history(t, city, primary)
			if count(told, "DuplicateAttached") != c.attached || count(told, "DuplicateDetached") != 1 {
				t.Errorf("the primary was told %d times that it has a duplicate and %d times that it has none", count(told, "DuplicateAttached"), count(told, "DuplicateDetached"))
			}
			checkDuplicates(t, city, []string{primary, child})
			// The same again, whoever asks: nothing more is recorded of what was decided.
			_, result, err := merge(city.Dispatcher, t.Context(), "m", child, primary)
			if reason(err) != c.want || err == nil && !result.Repeated {
				t.Errorf("got %+v, %v, when it is sent again", result, err)
			}
			// Nor does it come back when the words that were overtaken are heard again.
			for _, e := range append(told, history(t, city, child)...) {
				if err := city.React(t.Context(), &e); err != nil {
					t.Fatal(err)
				}
			}
			if now := history(t, city, primary); len(now) != len(told) {
				t.Errorf("got %d events of the primary, want the %d there were", len(now), len(told))
			}
			checkDuplicates(t, city, []string{primary, child})
		})
	}
}

func TestARefusedMergeIsNotedBesideTheDuplicate(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	primary, child := c.Report(t, dispatchtest.Community), accepted(t, c)
	if _, _, err := merge(c.Dispatcher, t.Context(), "m", child, primary); reason(err) != rule.WrongState {
		t.Fatalf("got %v", err)
	}
	var notes []*pb.CommandRefused
	for r, err := range c.Store.ReadStream(t.Context(), "audit-"+bare(child), 0) {
		if err != nil {
			t.Fatal(err)
		}
		e, err := event.Decode(r)
		if err != nil {
			t.Fatal(err)
		}
		notes = append(notes, e.Event.(*pb.CommandRefused))
	}
	if len(notes) != 1 || notes[0].Reason != string(rule.WrongState) || notes[0].Field != "into" || notes[0].RequestId != "m" {
		t.Errorf("got %v", notes)
	}
}

func TestAHazardGoesOnWithoutThePetitionerAfterItsTicketIsWithdrawn(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	name := c.Do(t, dispatchtest.Hotline, &pb.ReportTicketRequest{
		RequestId: "r", Channel: pb.Channel_CHANNEL_HOTLINE, Kind: pb.MatterKind_MATTER_KIND_COMPLAINT, Area: dispatchtest.Community, Category: "0302",
		Position: &pb.LonLat{Lon: 120.3, Lat: 31.6}, Confidentiality: pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL,
		Particulars: &pb.Particulars{Text: "张三丰家门口", Petitioner: &pb.Petitioner{Name: "张三丰", Phone: "13800000001"}},
	})
	withdraw := &pb.WithdrawTicketRequest{Name: name, RequestId: "w", Hazard: true, Particulars: &pb.Particulars{Text: "不追究了"}}
	for range 2 {
		c.Do(t, dispatchtest.Hotline, withdraw)
	}
	var found []string
	for r, err := range c.Store.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Type == "TicketReported" && r.Stream != "ticket-"+bare(name) {
			found = append(found, r.Stream)
		}
	}
	if len(found) != 1 {
		t.Fatalf("got %v, want one ticket more", found)
	}
	was, s := look(t, c, name), look(t, c, "tickets/"+dispatch.ID(found[0]))
	if was.State != pb.TicketState_TICKET_STATE_WITHDRAWN || was.Open() || was.Limits != (ticket.Limits{}) {
		t.Errorf("the withdrawn ticket is %s with the limits %+v", was.State, was.Limits)
	}
	if s.State != pb.TicketState_TICKET_STATE_REPORTED || s.Channel != pb.Channel_CHANNEL_PROACTIVE || s.Source != "proactive" ||
		s.SourceRef != "withdrawn/"+bare(name) || !s.Anonymous || s.Category != "0302" || !proto.Equal(s.Position, was.Position) ||
		len(s.Path) != len(was.Path) || s.Confidentiality != was.Confidentiality || s.Subject == was.Subject {
		t.Errorf("got %+v", s)
	}
	p, _, err := c.Particulars(t.Context(), found[0], s, supervisor)
	if err != nil || p.Title == "" || strings.Contains(p.Title, was.No) || p.Text != "" || p.Petitioner.GetName() != "" {
		t.Errorf("got %v, %v", p, err)
	}
}

func TestAHazardOfAWithdrawnTipOffIsHeldAboveWhoWasComplainedOf(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	name := c.Do(t, dispatchtest.Hotline, &pb.ReportTicketRequest{
		RequestId: "r", Channel: pb.Channel_CHANNEL_HOTLINE, Kind: pb.MatterKind_MATTER_KIND_TIP_OFF, Area: dispatchtest.Community,
		Particulars: &pb.Particulars{Text: "街道执法队", Petitioner: &pb.Petitioner{Anonymous: true}},
	})
	street := c.Registry().UnitPath(dispatchtest.Community)
	against := street[len(street)-2]
	c.Do(t, dispatchtest.Hotline, &pb.AcceptTicketRequest{Name: name, RequestId: "a"})
	centre := dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_DISPATCHER)
	c.Do(t, centre, &pb.TriageTicketRequest{Name: name, RequestId: "t", Category: "0302", ComplainedOf: against})
	c.Do(t, dispatchtest.Hotline, &pb.WithdrawTicketRequest{Name: name, RequestId: "w", Hazard: true, Particulars: &pb.Particulars{Text: "不追究了"}})
	for r, err := range c.Store.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Type != "TicketReported" || r.Stream == "ticket-"+bare(name) {
			continue
		}
		carried := "tickets/" + dispatch.ID(r.Stream)
		held := func(when string) {
			s := look(t, c, carried)
			if s.ComplainedOf != against || s.Holder != street[len(street)-3] || s.InScope(c.Registry(), against) || s.InScope(c.Registry(), dispatchtest.Community) {
				t.Errorf("%s it is held by %s, against %s, seen by the street: %t", when, s.Holder, s.ComplainedOf, s.InScope(c.Registry(), against))
			}
		}
		held("reported")
		c.Do(t, dispatchtest.Hotline, &pb.AcceptTicketRequest{Name: carried, RequestId: "a2"})
		held("accepted")
		c.Do(t, centre, &pb.TriageTicketRequest{Name: carried, RequestId: "t2", Category: "0302"})
		held("triaged")
		return
	}
	t.Error("the hazard was not reported")
}

// cutOff fails every append to one stream, as a process does that dies before it.
type cutOff struct {
	eventstore.Store
	stream string
}

func (c cutOff) Append(ctx context.Context, stream string, after eventstore.Version, events []eventstore.Event) (eventstore.Position, error) {
	if stream == c.stream {
		return 0, fmt.Errorf("cut off: %w", eventstore.ErrUnavailable)
	}
	return c.Store.Append(ctx, stream, after, events)
}

func TestAMergeThatWasCutOffIsFinishedByTheSameRequest(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	primary, child, another := accepted(t, c), accepted(t, c), accepted(t, c)
	dying, err := dispatch.New(t.Context(), cutOff{c.Store, "ticket-" + bare(child)}, c.Keys, dispatch.Options{Clock: c.Clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := merge(dying, t.Context(), "m", child, primary); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Fatalf("got %v, want the outcome to be unknown", err)
	}
	// Somebody else's request does not get between.
	if _, _, err := merge(c.Dispatcher, t.Context(), "m2", child, primary); reason(err) != rule.AlreadyDone {
		t.Errorf("got %v, want %s", err, rule.AlreadyDone)
	}
	// Nor does the primary become a duplicate meanwhile.
	if _, _, err := merge(c.Dispatcher, t.Context(), "m3", primary, another); reason(err) != rule.HasDuplicates {
		t.Errorf("got %v, want %s", err, rule.HasDuplicates)
	}
	for i := range 2 {
		s, result, err := merge(c.Dispatcher, t.Context(), "m", child, primary)
		if err != nil || s.MergedInto != bare(primary) || result.Repeated != (i == 1) || result.Version != 3 {
			t.Errorf("got a duplicate of %q, %+v, %v", s.MergedInto, result, err)
		}
	}
	if n := count(history(t, c, primary), "DuplicateAttached"); n != 1 {
		t.Errorf("it was attached %d times", n)
	}
	checkDuplicates(t, c, []string{primary, child, another})
}

// overtaken lets something happen right before the first duplicate is attached, and something else right after one was.
type overtaken struct {
	eventstore.Store
	first, after func()
}

func (o *overtaken) Append(ctx context.Context, stream string, after eventstore.Version, events []eventstore.Event) (eventstore.Position, error) {
	attaches := events[0].Type == "DuplicateAttached"
	if first := o.first; attaches && first != nil {
		o.first = nil
		first()
	}
	p, err := o.Store.Append(ctx, stream, after, events)
	if then := o.after; attaches && err == nil && then != nil {
		o.after = nil
		then()
	}
	return p, err
}

func TestAMergeDecidedOnAnOldLookDoesNotReplaceOneDecidedOnALaterOne(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		since    func(*dispatchtest.City, string) // what happens to the duplicate after the other merge was decided
		want     rule.Reason
		attached int
	}{
		{name: "which is about to be told", want: rule.AlreadyDone, attached: 1, since: func(*dispatchtest.City, string) {}},
		{name: "which is told already", want: rule.WrongState, attached: 1, since: func(c *dispatchtest.City, _ string) { react(t, c, 1) }},
		{name: "which is void by now", attached: 2, since: func(c *dispatchtest.City, child string) {
			c.Do(t, desk, &pb.DispatchTicketRequest{Name: child, RequestId: "d", Lead: dispatchtest.DistrictUrban})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			city := dispatchtest.Open(t)
			primary, child := accepted(t, city), accepted(t, city)
			another, err := dispatch.New(t.Context(), cutOff{city.Store, "ticket-" + bare(child)}, city.Keys, dispatch.Options{Clock: city.Clock.Now})
			if err != nil {
				t.Fatal(err)
			}
			late := &overtaken{Store: city.Store, first: func() {
				// By now the duplicate has been looked at. It goes on, and another process, which sees that, attaches it.
				city.Do(t, desk, &pb.TriageTicketRequest{Name: child, RequestId: "t", Category: "0302"})
				if _, _, err := merge(another, t.Context(), "another", child, primary); !errors.Is(err, eventstore.ErrUnavailable) {
					t.Errorf("got %v, want it attached and not told", err)
				}
				c.since(city, child)
			}, after: func() { react(t, city, 1) }}
			d, err := dispatch.New(t.Context(), late, city.Keys, dispatch.Options{Clock: city.Clock.Now})
			if err != nil {
				t.Fatal(err)
			}
			s, first, err := merge(d, t.Context(), "m", child, primary)
			if reason(err) != c.want || c.want == "" && (err != nil || s.MergedInto != bare(primary)) {
				t.Errorf("got a duplicate of %q, %v, want %q", s.MergedInto, err, c.want)
			}
			react(t, city, 2)
			if s := look(t, city, child); s.MergedInto != bare(primary) {
				t.Errorf("the duplicate is %s and merged into %q", s.State, s.MergedInto)
			}
			told := history(t, city, primary)
			if count(told, "DuplicateAttached") != c.attached || count(told, "DuplicateDetached") != 0 {
				t.Errorf("the primary was told %v", types(told))
			}
			checkDuplicates(t, city, []string{primary, child})
			// Sent again it is answered the same.
			if _, again, err := merge(city.Dispatcher, t.Context(), "m", child, primary); c.want == "" && (err != nil || !again.Repeated || again.Version != first.Version) {
				t.Errorf("got %+v, %v, want %+v again", again, err, first)
			}
		})
	}
}

// behind does not know the latest event of a stream yet.
type behind struct {
	eventstore.Store
	stream string
	upTo   eventstore.Version
}

func (b *behind) ReadStream(ctx context.Context, stream string, after eventstore.Version) iter.Seq2[eventstore.Recorded, error] {
	return func(yield func(eventstore.Recorded, error) bool) {
		for r, err := range b.Store.ReadStream(ctx, stream, after) {
			if stream == b.stream && r.Version > b.upTo || !yield(r, err) {
				return
			}
		}
	}
}

func TestADuplicateThatIsNotKnownAsFarAsItWasSeenIsNotTakenForOneThatWentAnotherWay(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	primary, child := accepted(t, c), accepted(t, c)
	c.Do(t, desk, &pb.TriageTicketRequest{Name: child, RequestId: "t", Category: "0302"})
	dying, err := dispatch.New(t.Context(), cutOff{c.Store, "ticket-" + bare(child)}, c.Keys, dispatch.Options{Clock: c.Clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := merge(dying, t.Context(), "m", child, primary); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Fatalf("got %v, want it attached and not told", err)
	}
	store := &behind{c.Store, "ticket-" + bare(child), 2}
	d, err := dispatch.New(t.Context(), store, c.Keys, dispatch.Options{Clock: c.Clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	told := history(t, c, primary)
	if err := d.React(t.Context(), &told[len(told)-1]); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("a policy got %v, want it to try again", err)
	}
	for _, id := range []string{"m", "m2"} {
		if _, _, err := merge(d, t.Context(), id, child, primary); !errors.Is(err, eventstore.ErrUnavailable) {
			t.Errorf("%s: got %v, want it to be tried again", id, err)
		}
	}
	if n := len(history(t, c, primary)); n != len(told) {
		t.Errorf("got %d events of the primary, want the %d there were", n, len(told))
	}
	store.upTo = 3 // it has caught up
	if s, _, err := merge(d, t.Context(), "m", child, primary); err != nil || s.MergedInto != bare(primary) {
		t.Errorf("got a duplicate of %q, %v", s.MergedInto, err)
	}
	checkDuplicates(t, c, []string{primary, child})
}
