package dispatch_test

import (
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/view"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// Street A is the example city's; B is the next street of the same district. A community of A moves to B under a new code.
const (
	streetA = dispatchtest.Street
	streetB = "320205002000"
	moving  = dispatchtest.Community
	moved   = "320205002301"
	gridOne = moving + "001"
	gridTwo = moving + "002"
	merged  = moved + "001"
)

var (
	july = time.Date(2025, 7, 1, 0, 0, 0, 0, time.FixedZone("CST", 8*3600))
	june = time.Date(2025, 6, 1, 0, 0, 0, 0, time.FixedZone("CST", 8*3600))
)

// each yields the names, without an error.
func each(names ...string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, name := range names {
			if !yield(name, nil) {
				return
			}
		}
	}
}

// content is a copy of the registry in force, for a new version.
func content(c *dispatchtest.City) *pb.RegistryPiece {
	r := c.Registry()
	return proto.CloneOf(&pb.RegistryPiece{Levels: r.Levels(), Areas: r.Areas(), Units: r.Units(), Categories: r.Categories()})
}

func load(t *testing.T, c *dispatchtest.City, version string, from time.Time, p *pb.RegistryPiece) []*pb.RegistryFault {
	t.Helper()
	faults, _, err := c.LoadRegistry(t.Context(), dispatchtest.System, version, from, []*pb.RegistryPiece{p}, false)
	if err != nil {
		t.Fatal(err)
	}
	return faults
}

func must(t *testing.T, faults []*pb.RegistryFault) {
	t.Helper()
	if len(faults) > 0 {
		t.Fatalf("the registry has faults: %v", faults)
	}
}

// withGrids gives the community that will move two grids, with a unit for each.
func withGrids(p *pb.RegistryPiece) *pb.RegistryPiece {
	p.Areas = slices.DeleteFunc(p.Areas, func(a *pb.Area) bool { return a.Parent == moving })
	p.Units = slices.DeleteFunc(p.Units, func(u *pb.Unit) bool { return u.Parent == moving })
	for _, code := range []string{gridOne, gridTwo} {
		p.Areas = append(p.Areas, &pb.Area{Code: code, Name: "网格" + code, Level: "grid", Parent: moving})
		p.Units = append(p.Units, &pb.Unit{Code: code, Name: "网格" + code, Kind: pb.UnitKind_UNIT_KIND_AREA, Parent: moving, Area: code})
	}
	return p
}

// redrawn moves the community to street B under a new code, and merges its grids.
func redrawn(p *pb.RegistryPiece) *pb.RegistryPiece {
	turn := timestamppb.New(july)
	for _, a := range p.Areas {
		switch a.Code {
		case moving:
			a.ValidTo, a.Successors = turn, []string{moved}
		case gridOne, gridTwo:
			a.ValidTo, a.Successors = turn, []string{merged}
		}
	}
	for _, u := range p.Units {
		if u.Code == moving || u.Code == gridOne || u.Code == gridTwo {
			u.ValidTo = turn
		}
	}
	p.Areas = append(p.Areas,
		&pb.Area{Code: moved, Name: "门楼社区居委会", Level: "community", Parent: streetB, ValidFrom: turn},
		&pb.Area{Code: merged, Name: "网格一", Level: "grid", Parent: moved, ValidFrom: turn})
	p.Units = append(p.Units,
		&pb.Unit{Code: moved, Name: "门楼社区居委会", Kind: pb.UnitKind_UNIT_KIND_AREA, Parent: streetB, Area: moved, ValidFrom: turn},
		&pb.Unit{Code: merged, Name: "网格一", Kind: pb.UnitKind_UNIT_KIND_AREA, Parent: moved, Area: merged, ValidFrom: turn})
	return p
}

// deskOf reads a city's views.
type deskOf struct {
	*view.Reader
	projector *projector.Projector
}

func watch(t *testing.T, c *dispatchtest.City) deskOf {
	t.Helper()
	db, err := viewdb.Open(filepath.Join(t.TempDir(), "views.db"), viewdb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	p, err := projector.Open(t.Context(), c.Store, db, projector.Options{}, view.All(c.Zone())...)
	if err != nil {
		t.Fatal(err)
	}
	return deskOf{view.NewReader(db, c.Store), p}
}

func (d deskOf) catchUp(t *testing.T) {
	t.Helper()
	if err := d.projector.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// listed are the tickets that a unit of that path sees.
func (d deskOf) listed(t *testing.T, c *dispatchtest.City, unit string) (names []string) {
	t.Helper()
	d.catchUp(t)
	rows, _, _, err := d.ListTickets(t.Context(), view.TicketQuery{Scope: view.Scope{Path: c.Registry().UnitPath(unit), Units: []string{unit}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		names = append(names, r.Name)
	}
	return names
}

// totals are "closed/total" of each node of a level, by code.
func (d deskOf) totals(t *testing.T, level string, m view.Map) map[string]string {
	t.Helper()
	d.catchUp(t)
	rows, _, _, err := d.ListClosure(t.Context(), view.ClosureQuery{Level: level, Map: m, WithDirect: true})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, r := range rows {
		code := r.Code
		if r.Direct {
			code = "direct " + code
		}
		all[code] = fmt.Sprintf("%d/%d", r.Figures.Closed, r.Figures.Total)
	}
	return all
}

// taken reports and accepts a matter, and hands it to a unit.
func taken(t *testing.T, c *dispatchtest.City, area, lead string) string {
	t.Helper()
	name := c.Report(t, area)
	c.ToHandling(t, name, lead)
	return name
}

func TestTheMapChanges(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	d := watch(t, c)
	c.Clock.Set(june)
	must(t, load(t, c, "with-grids", june, withGrids(content(c))))
	c.Clock.Set(time.Date(2025, 6, 28, 10, 0, 0, 0, july.Location()))
	must(t, load(t, c, "redrawn", july, redrawn(content(c))))
	if next, ok := c.NextMapChange(); !ok || !next.Equal(july) {
		t.Errorf("the map changes next at %v, %t, want %v", next, ok, july)
	}

	t1 := taken(t, c, gridOne, moving)
	onlyDistrict := c.Report(t, dispatchtest.District)
	tickets := []string{t1, onlyDistrict}
	if err := c.MoveHolders(t.Context(), each(tickets...)); err != nil {
		t.Fatal(err)
	}
	if s, _, err := c.LoadTicket(t.Context(), t1); err != nil || s.Holder != moving || s.Events != 5 {
		t.Errorf("before the map changed: held by %s after %d events, %v", s.Holder, s.Events, err)
	}

	c.Clock.Set(time.Date(2025, 7, 2, 10, 0, 0, 0, july.Location()))
	if _, ok := c.NextMapChange(); ok {
		t.Error("no change of the map lies ahead any more")
	}
	t2 := taken(t, c, merged, moved)
	tickets = append(tickets, t2)
	if faults := load(t, c, "orphan", time.Time{}, changed(c, func(p *pb.RegistryPiece) {
		p.Areas = append(p.Areas, &pb.Area{Code: streetB + "999", Name: "无主网格", Level: "grid", Parent: streetB})
	})); kinds(faults) != "[ORPHAN]" {
		t.Errorf("a grid of no community: got %v", faults)
	}
	if faults := load(t, c, "overlap", time.Time{}, changed(c, func(p *pb.RegistryPiece) {
		p.Areas = append(p.Areas, &pb.Area{Code: merged, Name: "网格一", Level: "grid", Parent: moved, ValidFrom: timestamppb.New(july.AddDate(0, 0, 1))})
	})); kinds(faults) != "[OVERLAP]" {
		t.Errorf("a grid twice at once: got %v", faults)
	}
	if faults := load(t, c, "reused", time.Time{}, changed(c, func(p *pb.RegistryPiece) {
		p.Areas = append(p.Areas, &pb.Area{Code: gridOne, Name: "另一网格", Level: "grid", Parent: moved, ValidFrom: timestamppb.New(july.AddDate(1, 0, 0))})
	})); kinds(faults) != "[REUSED_CODE]" {
		t.Errorf("a code of another grid: got %v", faults)
	}

	// Until it moved, nobody of street B has to do with the first.
	clerkB := dispatchtest.As(streetB, pb.Role_ROLE_STREET_CLERK)
	if got := d.listed(t, c, streetB); !slices.Equal(got, []string{t2}) {
		t.Errorf("street B sees %v, want %v", got, []string{t2})
	}
	for range 2 { // as often as any process likes
		if err := c.MoveHolders(t.Context(), each(tickets...)); err != nil {
			t.Fatal(err)
		}
	}
	s, result, err := c.LoadTicket(t.Context(), t1)
	if err != nil {
		t.Fatal(err)
	}
	if s.Holder != moved || s.Lead != moved || s.Events != 6 || s.State != pb.TicketState_TICKET_STATE_HANDLING {
		t.Errorf("the first is held by %s and led by %s after %d events, want %s and one more event", s.Holder, s.Lead, s.Events, moved)
	}
	last := lastEvent(t, c, result.Stream)
	want := &pb.HolderMoved{From: moving, To: moved, HolderPath: c.Registry().UnitPath(moved)}
	if !proto.Equal(last.Event, want) || !slices.Contains(want.HolderPath, streetB) || last.Meta.RequestId != fmt.Sprintf("move/redrawn/%d/%s", july.Unix(), dispatch.ID(result.Stream)) {
		t.Errorf("got %v under %s, want %v", last.Event, last.Meta.RequestId, want)
	}
	for name, events := range map[string]uint64{onlyDistrict: 1, t2: 5} {
		if s, _, err := c.LoadTicket(t.Context(), name); err != nil || s.Events != events {
			t.Errorf("%s has nothing to follow: %d events, want %d; %v", name, s.Events, events, err)
		}
	}
	if a, b := d.listed(t, c, streetA), d.listed(t, c, streetB); slices.Contains(a, t1) || !slices.Contains(b, t1) || !slices.Contains(b, t2) {
		t.Errorf("street A sees %v, street B %v; want both tickets with B", a, b)
	}

	// Workers of B act on it, those of A no longer.
	c.Clock.Set(time.Date(2025, 7, 3, 10, 0, 0, 0, july.Location()))
	if !s.InScope(c.Registry(), streetB) || s.InScope(c.Registry(), streetA) {
		t.Error("the first is in the scope of street A, or out of that of street B")
	}
	if _, _, err := c.Ticket(t.Context(), dispatch.Request{Actor: dispatchtest.As(moving, pb.Role_ROLE_COMMUNITY_CLERK), Command: &pb.RecordContactRequest{
		Name: t1, RequestId: c.RequestID(), Channel: "phone", Reached: true,
	}}); reason(err) != rule.OutOfScope {
		t.Errorf("the community that is gone: got %v, want %s", err, rule.OutOfScope)
	}
	c.ToClosed(t, t1, moved)
	if _, _, err := c.Ticket(t.Context(), dispatch.Request{Actor: clerkB, Command: &pb.RecordContactRequest{Name: t2, RequestId: c.RequestID(), Channel: "phone", Reached: true}}); reason(err) != rule.OutOfScope {
		t.Errorf("a clerk above the lead: got %v, want %s", err, rule.OutOfScope)
	}

	// As at acceptance the first counts with A, the second with B; restated both with B. What lies above is the same.
	now := c.Registry().MapAt(c.Now())
	for _, w := range []struct {
		level    string
		was, now string
	}{
		{"grid", fmt.Sprintf("map[%s:1/1 %s:0/1]", gridOne, merged), fmt.Sprintf("map[%s:1/2]", merged)},
		{"community", fmt.Sprintf("map[%s:1/1 %s:0/1]", moving, moved), fmt.Sprintf("map[%s:1/2]", moved)},
		{"street", fmt.Sprintf("map[%s:1/1 %s:0/1 direct %s:0/1]", streetA, streetB, dispatchtest.District), fmt.Sprintf("map[%s:1/2 direct %s:0/1]", streetB, dispatchtest.District)},
		{"district", fmt.Sprintf("map[%s:1/3]", dispatchtest.District), fmt.Sprintf("map[%s:1/3]", dispatchtest.District)},
		{"city", "map[320200000000:1/3]", "map[320200000000:1/3]"},
	} {
		if got := fmt.Sprint(d.totals(t, w.level, nil)); got != w.was {
			t.Errorf("%s as at acceptance: got %s, want %s", w.level, got, w.was)
		}
		if got := fmt.Sprint(d.totals(t, w.level, now)); got != w.now {
			t.Errorf("%s restated: got %s, want %s", w.level, got, w.now)
		}
	}

	// Who leads the first now answers for it.
	if got := d.totals(t, "unit", nil); got[moved] != "1/2" || got[streetB] != "1/2" || got[moving] != "" || got[streetA] != "" {
		t.Errorf("got the units %v, want both tickets with %s, below %s", got, moved, streetB)
	}

	// The grid's history can be walked.
	var walk []string
	for _, step := range c.Registry().Lineage(merged) {
		walk = append(walk, fmt.Sprintf("%v %s %v", step.Predecessors, step.Area.Code, step.Area.Successors))
	}
	if got, want := fmt.Sprint(walk), fmt.Sprintf("[[] %s [%s] [] %s [%s] [%s %s] %s []]", gridOne, merged, gridTwo, merged, gridOne, gridTwo, merged); got != want {
		t.Errorf("got the history %s, want %s", got, want)
	}
	if at, ok := c.Registry().Successor(gridTwo, c.Now()); !ok || at != merged {
		t.Errorf("%s became %q, want %s", gridTwo, at, merged)
	}
}

func changed(c *dispatchtest.City, change func(*pb.RegistryPiece)) *pb.RegistryPiece {
	p := content(c)
	change(p)
	return p
}

func kinds(faults []*pb.RegistryFault) string {
	var all []string
	for _, f := range faults {
		all = append(all, f.Kind)
	}
	return fmt.Sprint(all)
}

func lastEvent(t *testing.T, c *dispatchtest.City, stream string) event.Decoded {
	t.Helper()
	var last event.Decoded
	for r, err := range c.Store.ReadStream(t.Context(), stream, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if last, err = event.Decode(r); err != nil {
			t.Fatal(err)
		}
	}
	return last
}

// What the map does to a unit, and where a ticket goes that the unit has.
func TestATicketFollowsTheMap(t *testing.T) {
	t.Parallel()
	end := func(p *pb.RegistryPiece, code string, successors ...string) {
		for _, a := range p.Areas {
			if a.Code == code {
				a.ValidTo, a.Successors = timestamppb.New(july), successors
			}
		}
		for _, u := range p.Units {
			if u.Code == code || u.Area == code {
				u.ValidTo = timestamppb.New(july)
			}
		}
	}
	drop := func(p *pb.RegistryPiece, code string) {
		p.Units = slices.DeleteFunc(p.Units, func(u *pb.Unit) bool { return u.Code == code })
	}
	for _, w := range []struct {
		name       string
		area, lead string // the lead; empty: it was only reported
		complained string
		change     func(p *pb.RegistryPiece)
		from, to   string // empty: nothing happens
	}{
		{name: "nothing changes", area: gridOne, lead: moving, change: func(*pb.RegistryPiece) {}},
		{name: "a unit that keeps its code and moves keeps the ticket", area: moving, lead: moving, change: func(p *pb.RegistryPiece) {
			for _, a := range p.Areas {
				if a.Code == moving {
					a.Parent = streetB
				}
			}
			for _, u := range p.Units {
				if u.Code == moving {
					u.Parent = streetB
				}
			}
		}, from: moving, to: moving},
		{name: "a matter that nobody leads moves with its place", area: gridOne, change: func(p *pb.RegistryPiece) { redrawn(p) }, from: gridOne, to: merged},
		{name: "a department that was closed hands over to its district", area: gridOne, lead: dispatchtest.DistrictUrban,
			change: func(p *pb.RegistryPiece) { end(p, dispatchtest.DistrictUrban) }, from: dispatchtest.DistrictUrban, to: dispatchtest.District},
		{name: "a department that no content tells of any more", area: gridOne, lead: dispatchtest.DistrictUrban,
			change: func(p *pb.RegistryPiece) { drop(p, dispatchtest.DistrictUrban) }, from: dispatchtest.DistrictUrban, to: gridOne},
		{name: "of a community that was divided the part with the place leads", area: gridOne, lead: moving, change: func(p *pb.RegistryPiece) {
			turn := timestamppb.New(july)
			end(p, moving, moved, moved+"-2")
			end(p, gridOne, merged)
			end(p, gridTwo, moved+"-2")
			for _, code := range []string{moved, moved + "-2"} {
				p.Areas = append(p.Areas, &pb.Area{Code: code, Name: code, Level: "community", Parent: streetB, ValidFrom: turn})
				p.Units = append(p.Units, &pb.Unit{Code: code, Name: code, Kind: pb.UnitKind_UNIT_KIND_AREA, Parent: streetB, Area: code, ValidFrom: turn})
			}
			p.Areas = append(p.Areas, &pb.Area{Code: merged, Name: merged, Level: "grid", Parent: moved, ValidFrom: turn})
		}, from: moving, to: moved},
		{name: "of a community that was divided around the place, the street of both parts leads", area: moving, lead: moving, change: func(p *pb.RegistryPiece) {
			turn := timestamppb.New(july)
			end(p, moving, moved, moved+"-2")
			end(p, gridOne, moved)
			end(p, gridTwo, moved)
			for _, code := range []string{moved, moved + "-2"} {
				p.Areas = append(p.Areas, &pb.Area{Code: code, Name: code, Level: "community", Parent: streetB, ValidFrom: turn})
				p.Units = append(p.Units, &pb.Unit{Code: code, Name: code, Kind: pb.UnitKind_UNIT_KIND_AREA, Parent: streetB, Area: code, ValidFrom: turn})
			}
		}, from: moving, to: streetB},
		{name: "a unit that is complained of is passed over", area: gridOne, lead: streetA, complained: streetB, change: func(p *pb.RegistryPiece) {
			turn := timestamppb.New(july)
			p.Units = slices.DeleteFunc(p.Units, func(u *pb.Unit) bool { return u.Code == streetA })
			for _, u := range p.Units {
				if u.Parent == streetA {
					u.Parent = streetB
				}
			}
			for _, a := range p.Areas {
				switch {
				case a.Code == streetA:
					a.ValidTo, a.Successors = turn, []string{streetB}
				case a.Parent == streetA:
					a.ValidTo = turn
				}
			}
			for _, a := range slices.Clone(p.Areas) {
				if a.Parent == streetA {
					next := proto.CloneOf(a)
					next.Parent, next.ValidFrom, next.ValidTo = streetB, turn, nil
					p.Areas = append(p.Areas, next)
				}
			}
		}, from: streetA, to: dispatchtest.District},
	} {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			c := dispatchtest.Open(t)
			c.Clock.Set(june)
			must(t, load(t, c, "with-grids", june, withGrids(content(c))))
			name := c.Report(t, w.area)
			if w.lead != "" {
				dispatcher := dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_DISPATCHER)
				c.Do(t, dispatchtest.Hotline, &pb.AcceptTicketRequest{Name: name, RequestId: c.RequestID()})
				c.Do(t, dispatcher, &pb.TriageTicketRequest{Name: name, RequestId: c.RequestID(), Category: "0302", ComplainedOf: w.complained})
				c.Do(t, dispatcher, &pb.DispatchTicketRequest{Name: name, RequestId: c.RequestID(), Lead: w.lead})
			}
			before, _, err := c.LoadTicket(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			must(t, load(t, c, "changed", july, changed(c, w.change)))
			c.Clock.Set(july.Add(time.Hour))
			if err := c.MoveHolders(t.Context(), each(name)); err != nil {
				t.Fatal(err)
			}
			s, result, err := c.LoadTicket(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			if w.to == "" {
				if s.Events != before.Events {
					t.Errorf("got %v, want that nothing happens", lastEvent(t, c, result.Stream).Event)
				}
				return
			}
			want := &pb.HolderMoved{From: w.from, To: w.to, HolderPath: c.Registry().UnitPath(w.to)}
			if last := lastEvent(t, c, result.Stream).Event; !proto.Equal(last, want) || s.Events != before.Events+1 {
				t.Errorf("got %v, want %v", last, want)
			}
			if s.Holder != w.to || !slices.Equal(s.HolderPath, want.HolderPath) || w.lead != "" && (s.Lead != w.to || !slices.Equal(s.LeadPath, want.HolderPath)) {
				t.Errorf("held by %s %v, led by %s %v", s.Holder, s.HolderPath, s.Lead, s.LeadPath)
			}
			if s.State != before.State || s.Limits != before.Limits {
				t.Errorf("the move changed the state from %v to %v, or limits", before.State, s.State)
			}
		})
	}
}

func TestClosedTicketsAreMovedWhenTheyAreReopened(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	c.Clock.Set(june)
	must(t, load(t, c, "with-grids", june, withGrids(content(c))))
	done, open := taken(t, c, gridOne, moving), taken(t, c, gridTwo, moving)
	c.ToClosed(t, done, moving)
	must(t, load(t, c, "redrawn", july, redrawn(content(c))))
	c.Clock.Set(july)
	if err := c.MoveHolders(t.Context(), each(done, open)); err != nil {
		t.Fatal(err)
	}
	if s, _, err := c.LoadTicket(t.Context(), done); err != nil || s.Holder != moving {
		t.Errorf("the closed one is held by %s, %v", s.Holder, err)
	}
	c.Clock.Add(time.Hour)
	c.Do(t, dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_SUPERVISOR), &pb.ReopenTicketRequest{
		Name: done, RequestId: c.RequestID(), Reason: pb.ReopenReason_REOPEN_REASON_SPOT_CHECK, Particulars: &pb.Particulars{Note: "抽查未解决"},
	})
	if s, _, err := c.LoadTicket(t.Context(), done); err != nil || s.Holder != moved || s.Lead != moved || s.State != pb.TicketState_TICKET_STATE_DISPATCHED {
		t.Errorf("reopened it is held by %s and led by %s, %v; want %s", s.Holder, s.Lead, err, moved)
	}
	if s, _, err := c.LoadTicket(t.Context(), open); err != nil || s.Holder != moved {
		t.Errorf("the open one is held by %s, %v", s.Holder, err)
	}
	for r, err := range c.Store.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(r.Stream, "audit-") {
			t.Errorf("got a note in %s", r.Stream)
		}
	}
	if err := c.MoveHolders(t.Context(), each("tickets/none")); reason(err) != rule.InvalidName {
		t.Errorf("got %v, want %s", err, rule.InvalidName)
	}
}
