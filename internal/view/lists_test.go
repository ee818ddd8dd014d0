package view_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/ticket"
	"github.com/chuishao/dispatch/internal/view"
)

var everyone = view.Scope{All: true}

func list(t *testing.T, r *view.Reader, q view.TicketQuery) []*pb.TicketRow {
	t.Helper()
	var all []*pb.TicketRow
	for {
		page, next, _, err := r.ListTickets(t.Context(), q)
		if err != nil {
			t.Fatalf("%q: %v", q.Filter, err)
		}
		all = append(all, page...)
		if next == "" {
			return all
		}
		q.PageToken = next
		q.PageSize++ // a changed size is honoured
	}
}

func TestPagesOfAListAreTheWholeListInOrder(t *testing.T) {
	onEach(t, func(t *testing.T, newHistory func(testing.TB) *history) {
		h := newHistory(t)
		lives(h, rand.New(rand.NewPCG(5, 5)), 80)
		r := h.reader()
		all := list(t, r, view.TicketQuery{Scope: everyone, PageSize: 7})
		if len(all) != 80 {
			t.Fatalf("got %d tickets, want 80", len(all))
		}
		isOpen := func(row *pb.TicketRow) bool {
			switch row.State {
			case pb.TicketState_TICKET_STATE_CLOSED, pb.TicketState_TICKET_STATE_DECLINED, pb.TicketState_TICKET_STATE_VOIDED:
				return false
			}
			return true
		}
		in := func(row *pb.TicketRow, code string) bool {
			return slices.ContainsFunc(row.Path, func(n *pb.AreaNode) bool { return n.Code == code })
		}
		limit := time.Date(2026, 3, 8, 0, 0, 0, 0, time.UTC)
		for filter, want := range map[string]func(*pb.TicketRow) bool{
			`open`:                            isOpen,
			`NOT open`:                        func(r *pb.TicketRow) bool { return !isOpen(r) },
			`open = false`:                    func(r *pb.TicketRow) bool { return !isOpen(r) },
			`area = "d1" AND open`:            func(r *pb.TicketRow) bool { return in(r, "d1") && isOpen(r) },
			`area = d1`:                       func(r *pb.TicketRow) bool { return in(r, "d1") },
			`-area = d1`:                      func(r *pb.TicketRow) bool { return !in(r, "d1") },
			`area != d1`:                      func(r *pb.TicketRow) bool { return !in(r, "d1") },
			`holder = u1 open`:                func(r *pb.TicketRow) bool { return r.Holder == "u1" && isOpen(r) },
			`holder = m1`:                     func(r *pb.TicketRow) bool { return r.Holder == "m1" },
			`state = CLOSED`:                  func(r *pb.TicketRow) bool { return r.State == pb.TicketState_TICKET_STATE_CLOSED },
			`state = TICKET_STATE_DISPATCHED`: func(r *pb.TicketRow) bool { return r.State == pb.TicketState_TICKET_STATE_DISPATCHED },
			`lead = u1 OR lead = u2 AND area = d2`: func(r *pb.TicketRow) bool {
				return (r.Lead == "u1" || r.Lead == "u2") && in(r, "d2")
			},
			`( lead=u1 OR lead = u2 )   open`:    func(r *pb.TicketRow) bool { return (r.Lead == "u1" || r.Lead == "u2") && isOpen(r) },
			`category = 0801`:                    func(r *pb.TicketRow) bool { return r.Category == "0801" },
			`category = '0801' AND open = true`:  func(r *pb.TicketRow) bool { return r.Category == "0801" && isOpen(r) },
			`no = ticket-007`:                    func(r *pb.TicketRow) bool { return r.No == "ticket-007" },
			`no = "ticket-01*"`:                  func(r *pb.TicketRow) bool { return strings.HasPrefix(r.No, "ticket-01") },
			`close_by > 2026-03-08T00:00:00Z`:    func(r *pb.TicketRow) bool { return r.CloseBy != nil && r.CloseBy.AsTime().After(limit) },
			`close_by <= "2026-03-08T00:00:00Z"`: func(r *pb.TicketRow) bool { return r.CloseBy != nil && !r.CloseBy.AsTime().After(limit) },
			`closed_at:*`:                        func(r *pb.TicketRow) bool { return r.ClosedAt != nil },
			`NOT (open OR channel = IMPORT)`:     func(r *pb.TicketRow) bool { return !isOpen(r) && r.Channel != pb.Channel_CHANNEL_IMPORT },
		} {
			var names []string
			for _, row := range all {
				if want(row) {
					names = append(names, row.Name)
				}
			}
			for _, order := range []string{"", "next_by desc", "handle_by", "close_by desc", "reported_at", "reported_at desc"} {
				got := list(t, r, view.TicketQuery{Scope: everyone, Filter: filter, OrderBy: order, PageSize: 5})
				key := func(r *pb.TicketRow) int64 {
					at := map[string]interface{ AsTime() time.Time }{"": r.NextBy, "next_by": r.NextBy, "handle_by": r.HandleBy, "close_by": r.CloseBy, "reported_at": r.ReportedAt}[strings.TrimSuffix(order, " desc")]
					if fmt.Sprint(at) == "<nil>" {
						return 1<<63 - 1
					}
					return at.AsTime().UnixMicro()
				}
				var found []string
				for i, row := range got {
					found = append(found, row.Name)
					if i > 0 && (strings.HasSuffix(order, "desc") && key(got[i-1]) < key(row) || !strings.HasSuffix(order, "desc") && key(got[i-1]) > key(row)) {
						t.Errorf("%q by %q: %s stands after %s", filter, order, row.Name, got[i-1].Name)
					}
				}
				slices.Sort(found)
				slices.Sort(names)
				if !slices.Equal(found, names) {
					t.Errorf("%q by %q: got %v, want %v", filter, order, found, names)
				}
			}
		}
	})
}

func TestOnlyWhatIsInScopeIsListed(t *testing.T) {
	onEach(t, func(t *testing.T, newHistory func(testing.TB) *history) {
		const confidential = pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL
		h := newHistory(t)
		street := []string{"root", "district", "street"}
		reported := func(no string, c pb.Confidentiality) happened {
			return happened{day0, &pb.TicketReported{No: no, Path: path("c", "a"), Holder: "street", HolderPath: street, Confidentiality: c}}
		}
		dispatched := happened{day0, &pb.TicketDispatched{Lead: "lead", LeadPath: []string{"root", "bureau", "lead"}, Co: []string{"co"}}}
		h.record("ticket-open", reported("open", 0), dispatched)
		h.record("ticket-secret", reported("secret", confidential), dispatched)
		h.record("ticket-new", reported("new", 0))
		h.record("ticket-tip", reported("tip", confidential))
		h.record("ticket-triaged", reported("triaged", 0),
			happened{day0, &pb.TicketAccepted{Path: path("c", "a"), Holder: "street", HolderPath: street}},
			happened{day0, &pb.TicketTriaged{Lead: "lead", Co: []string{"co"}, Holder: "street", HolderPath: street}},
			happened{day0, &pb.TriageCorrected{Confidentiality: confidential, Holder: "district", HolderPath: street[:2]}})
		h.record("ticket-nobody", happened{day0, &pb.TicketReported{No: "nobody", Path: path("c")}})
		h.record("ticket-record", happened{day0, &pb.RecordImported{No: "record", Path: path("c", "a"), Agency: "lead"}})
		h.record("ticket-again", reported("again", 0), dispatched, happened{day0, &pb.TicketClosed{}}, happened{day0, &pb.TicketReopened{Round: 2, Lead: "lead"}})
		h.record("ticket-moved", reported("moved", 0), dispatched,
			happened{day0, &pb.TicketDispatched{Lead: "other", LeadPath: []string{"root", "other"}}})
		h.record("ticket-called", happened{day0, &pb.TicketReported{No: "called", Path: path("c")}},
			happened{day0, &pb.WhistleLinked{Whistle: "1", Participants: []string{"x"}}}, happened{day0, &pb.WhistleLinked{Whistle: "2", Participants: []string{"y"}}},
			happened{day0, &pb.WhistleLinked{Whistle: "1", Participants: []string{"x", "y", "z"}}},
			happened{day0, &pb.WhistleSettled{Whistle: "2", Outcome: pb.WhistleState_WHISTLE_STATE_CLOSED}})
		h.record("ticket-uncalled", reported("uncalled", 0), happened{day0, &pb.WhistleLinked{Whistle: "3", Participants: []string{"x"}}},
			happened{day0, &pb.WhistleSettled{Whistle: "3", Outcome: pb.WhistleState_WHISTLE_STATE_CLOSED}})
		h.record("ticket-hidden", reported("hidden", confidential), happened{day0, &pb.WhistleLinked{Whistle: "4", Participants: []string{"x"}}})
		r := h.reader()
		all := []string{"again", "called", "hidden", "moved", "new", "nobody", "open", "record", "secret", "tip", "triaged", "uncalled"}
		for _, c := range []struct {
			scope view.Scope
			want  []string
		}{
			{view.Scope{}, nil}, {everyone, all}, {view.Scope{Path: []string{"root"}}, all}, {view.Scope{Areas: []string{"a", "c"}}, nil},
			{view.Scope{Path: []string{"root", "bureau"}}, []string{"again", "open", "secret"}},
			{view.Scope{Path: []string{"root", "bureau", "lead"}}, []string{"again", "open", "secret"}},
			{view.Scope{Path: []string{"root", "bureau", "lead", "team"}}, []string{"again", "open"}},
			{view.Scope{Path: []string{"root", "bureau", "lead", "team"}, Leads: []string{"lead", "team"}}, []string{"again", "open", "secret"}},
			{view.Scope{Path: []string{"root", "bureau", "co"}}, []string{"again", "open"}},
			{view.Scope{Path: []string{"root", "co", "team"}}, []string{"again", "open"}},
			{view.Scope{Path: []string{"root", "other"}}, []string{"moved"}},
			{view.Scope{Path: street}, []string{"hidden", "new", "tip", "uncalled"}},
			{view.Scope{Path: street[:2]}, []string{"hidden", "new", "tip", "triaged", "uncalled"}},
			{view.Scope{Path: append(street, "community")}, nil},
			{view.Scope{Path: []string{"root", "office"}}, nil}, {view.Scope{Path: []string{"root", "office"}, Assesses: []string{"c"}}, all},
			{view.Scope{Path: []string{"root", "office"}, Assesses: []string{"a"}}, slices.DeleteFunc(slices.Clone(all), func(no string) bool { return no == "called" || no == "nobody" })},
			{view.Scope{Path: []string{"root", "office"}, Assesses: []string{"elsewhere"}}, nil}, {view.Scope{Assesses: []string{"c"}}, nil},
			{view.Scope{Path: []string{"root", "x", "team"}}, []string{"called"}}, {view.Scope{Path: []string{"root", "y"}}, []string{"called"}},
		} {
			for _, filter := range []string{"", "open", "area = c", "area = c AND open", "next_by:* OR open"} {
				var got []string
				for _, row := range list(t, r, view.TicketQuery{Scope: c.scope, Filter: filter, PageSize: 1}) {
					got = append(got, row.No)
				}
				if slices.Sort(got); !slices.Equal(got, c.want) {
					t.Errorf("%+v, %q: got %v, want %v", c.scope, filter, got, c.want)
				}
			}
		}
		for filter, want := range map[string]int{`holder = street`: 4, `holder = lead`: 3, `holder = district`: 1, `holder = ""`: 3, `lead = lead`: 4, `holder:*`: 9} {
			if got := list(t, r, view.TicketQuery{Scope: everyone, Filter: filter}); len(got) != want {
				t.Errorf("%s: got %d tickets, want %d", filter, len(got), want)
			}
		}
	})
}

func TestBadListArgumentsAreRefusedByField(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	h.due(3, 0, 0, day0, day0.AddDate(0, 0, 5), "c", "a")
	r := h.reader()
	_, next, _, err := r.ListTickets(t.Context(), view.TicketQuery{Scope: everyone, PageSize: 1, Filter: "open"})
	if err != nil || next == "" {
		t.Fatal(next, err)
	}
	type q = view.TicketQuery
	for _, c := range []struct {
		q     q
		field string
	}{
		{q{Filter: `colour = "red"`}, "filter"}, {q{Filter: `-colour`}, "filter"}, {q{Filter: `no = lower(no)`}, "filter"}, {q{Filter: `"no" = "a"`}, "filter"},
		{q{Filter: `open = (open)`}, "filter"}, {q{Filter: `a.b = 1`}, "filter"}, {q{Filter: `no = "\q"`}, "filter"}, {q{Filter: `close_by = "*"`}, "filter"},
		{q{Filter: strings.Repeat("a(", 999)}, "filter"}, {q{Filter: strings.Repeat("NOT(", 499)}, "filter"}, {q{Filter: strings.Repeat("-", 1999)}, "filter"},
		{q{Filter: strings.Repeat("a.", 999)}, "filter"}, {q{Filter: strings.Repeat("open OR ", 249) + "open"}, "filter"}, {q{Filter: `state = FLYING`}, "filter"}, {q{Filter: `state < CLOSED`}, "filter"},
		{q{Filter: `(open`}, "filter"}, {q{Filter: `open)`}, "filter"}, {q{Filter: `no`}, "filter"}, {q{Filter: `no =`}, "filter"},
		{q{Filter: `no = "a`}, "filter"}, {q{Filter: `close_by < yesterday`}, "filter"}, {q{Filter: `open AND`}, "filter"},
		{q{Filter: `no = "a" ; DROP TABLE tickets_4`}, "filter"}, {q{Filter: "no = \"\xff\""}, "filter"},
		{q{Filter: strings.Repeat("(", 30) + "open" + strings.Repeat(")", 30)}, "filter"}, {q{Filter: strings.Repeat("open ", 100)}, "filter"},
		{q{Filter: strings.Repeat("x", 5000)}, "filter"}, {q{Filter: `no = "*a"`}, "filter"}, {q{Filter: `open = maybe`}, "filter"},
		{q{OrderBy: "no"}, "order_by"}, {q{OrderBy: "next_by, no"}, "order_by"}, {q{OrderBy: "next_by sideways"}, "order_by"},
		{q{PageSize: -1}, "page_size"}, {q{PageToken: "!"}, "page_token"}, {q{PageToken: "AAAA"}, "page_token"},
		{q{PageToken: next}, "page_token"}, {q{PageToken: next, Filter: "open", OrderBy: "close_by"}, "page_token"},
	} {
		c.q.Scope = everyone
		_, _, _, err := r.ListTickets(t.Context(), c.q)
		refusal, ok := errors.AsType[*rule.Refusal](err)
		if !ok || refusal.Field != c.field {
			t.Errorf("%+v: got %v, want a refusal for %s", c.q, err, c.field)
		}
	}
}

func FuzzFilter(f *testing.F) {
	h := newHistory(f)
	h.due(1, 0, 0, day0, day0.AddDate(0, 0, 5), "c", "a")
	r := h.reader()
	for _, s := range []string{`open AND area = "c"`, `-(no = "a*" OR lead != b) close_by < 2026-01-01T00:00:00Z`, `state = CLOSED`, `AND(open, -open)`, `a(b(c('x\'y')`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, filter string) {
		_, _, _, err := r.ListTickets(t.Context(), view.TicketQuery{Scope: everyone, Filter: filter})
		if _, refused := errors.AsType[*rule.Refusal](err); err != nil && !refused {
			t.Errorf("%q: %v", filter, err)
		}
	})
}

func TestWhistlesAndWhoReportedIn(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	h.due(4, 0, 0, day0, day0.AddDate(0, 0, 5), "c", "d", "s")
	by := day0.Add(24 * time.Hour)
	parts := []*pb.Participant{
		{Unit: "u1", Compulsory: true, ReportInBy: at(by), UnitPath: []string{"root", "u1"}},
		{Unit: "u2", Compulsory: true, ReportInBy: at(by), UnitPath: []string{"root", "u2"}},
		{Unit: "u3", ReportInBy: at(by), UnitPath: []string{"root", "u3"}},
	}
	h.record("whistle-1",
		happened{day0, &pb.WhistleBlown{No: "W1", Kind: pb.WhistleKind_WHISTLE_KIND_ROUTINE, Street: "st", Path: path("c", "d", "s"), Participants: parts}},
		happened{day0.Add(time.Hour), &pb.WhistleIssued{Participants: parts}},
		happened{by, &pb.ReportedIn{Unit: "u1", InTime: true}},
		happened{by.Add(time.Second), &pb.ReportedIn{Unit: "u2", Convened: true}})
	r := h.reader()
	for _, c := range []struct {
		metric, level, code string
		num, den            int64
	}{
		{"M31", "street", "s", 1, 4}, {"M31", "all", "", 1, 4}, {"M33", "street", "s", 1, 2}, {"M33", "unit", "u1", 1, 1}, {"M33", "unit", "u2", 0, 1},
		{"M33", "unit", "u3", 0, 0}, {"M33", "unit", "root", 1, 2}, {"M33", "city", "c", 1, 2},
	} {
		got, _, err := r.MetricOf(t.Context(), view.MetricQuery{Metric: c.metric, Level: c.level, Code: c.code, From: day0, To: day0.AddDate(0, 0, 7), At: day0.AddDate(0, 0, 7)})
		if err != nil || got.Numerator != c.num || got.GetDenominator() != c.den {
			t.Errorf("%s of %s %s: got %v, %v, want %d/%d", c.metric, c.level, c.code, got, err, c.num, c.den)
		}
	}
	behind, _, total, _, err := r.ListBehind(t.Context(), view.BehindQuery{Metric: "M31", Level: "street", Code: "s", Set: pb.FigureSet_FIGURE_SET_DENOMINATOR,
		From: day0, To: day0.AddDate(0, 0, 7), At: day0.AddDate(0, 0, 7)})
	if err != nil || total != 4 || len(behind) != 4 || !strings.HasPrefix(behind[0].Name, "tickets/") {
		t.Errorf("behind what whistles are held against: got %v, %d, %v; want the four tickets", behind, total, err)
	}
	for filter, want := range map[string]int{
		"": 1, "open": 1, "NOT open": 0, "unit = u2": 1, "unit = root": 0, "area = d": 1, "area = x": 0, "state = CONVENED": 1, "kind = TOUGH": 0, "street = st": 1,
		"blown_at < 2026-03-02T00:00:00Z": 1,
	} {
		got, _, _, err := r.ListWhistles(t.Context(), view.WhistleQuery{Scope: everyone, Filter: filter})
		if err != nil || len(got) != want {
			t.Errorf("%q: got %v, %v, want %d whistles", filter, got, err, want)
		}
	}
	for _, c := range []struct {
		scope view.Scope
		want  int
	}{{view.Scope{}, 0}, {view.Scope{Units: []string{"u1"}}, 1}, {view.Scope{Units: []string{"u9"}}, 0}, {view.Scope{Areas: []string{"d"}}, 1}} {
		got, _, _, err := r.ListWhistles(t.Context(), view.WhistleQuery{Scope: c.scope})
		if err != nil || len(got) != c.want {
			t.Errorf("%+v: got %v, %v, want %d whistles", c.scope, got, err, c.want)
		}
	}
}

func TestAWhistleForAConfidentialTicketIsHiddenFromWhoIsComplainedOf(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	const open, confidential = pb.Confidentiality_CONFIDENTIALITY_OPEN, pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL
	for id, triaged := range map[string]*pb.TicketTriaged{
		"hidden": {Confidentiality: confidential, ComplainedOf: "m"}, "open": {Confidentiality: open, ComplainedOf: "m"}, "nobody": {Confidentiality: confidential},
		"root": {Confidentiality: confidential, ComplainedOf: "root"},
	} {
		triaged.Path, triaged.Holder, triaged.HolderPath = path("c", "d", "s", "m"), "st", []string{"root", "st"}
		h.record("ticket-"+id, happened{day0, &pb.TicketReported{No: id, Path: triaged.Path, Holder: "root", HolderPath: []string{"root"}}}, happened{day0, triaged})
	}
	for i, tickets := range [][]string{{"hidden"}, {"open"}, {"nobody"}, {"open", "hidden"}, {"root"}, nil, {"unknown"}} {
		h.record(fmt.Sprint("whistle-", i), happened{day0, &pb.WhistleBlown{No: fmt.Sprint(i), Kind: 1, Street: "st", Path: path("c", "d", "s", "m"), Tickets: tickets}})
	}
	r := h.reader()
	numbers := func(rows []*pb.WhistleRow) (list []string) {
		for _, w := range rows {
			list = append(list, w.No)
		}
		slices.Sort(list)
		return list
	}
	for _, c := range []struct {
		path []string
		want []string
	}{
		{[]string{"root", "m"}, []string{"1", "2", "4", "5"}},
		{[]string{"root", "m", "g"}, []string{"1", "2", "4", "5"}},
		{[]string{"root", "st"}, []string{"0", "1", "2", "3", "4", "5"}},
		{[]string{"root"}, []string{"0", "1", "2", "3", "4", "5", "6"}},
	} {
		got, next, _, err := r.ListWhistles(t.Context(), view.WhistleQuery{Scope: view.Scope{Path: c.path, Areas: []string{"m"}}, Now: day0, PageSize: int32(len(c.want))})
		if err != nil || next != "" || !slices.Equal(numbers(got), c.want) {
			t.Errorf("the list of %v: got %v, %q, %v, want %v", c.path, numbers(got), next, err, c.want)
		}
		m, _, err := r.Desk(func(string) bool { return false }, "m", c.path).Look(t.Context(), day0)
		if err != nil || !slices.Equal(numbers(m.GetWhistles()), c.want) || m.Counts.Whistles != int64(len(c.want)) {
			t.Errorf("the desk of %v: got %v, %v, want %v", c.path, m, err, c.want)
		}
	}
}

func TestRowsHaveTheLimitsOfTheFoldedTicket(t *testing.T) {
	t.Parallel()
	by := func(want time.Time) string {
		if want.IsZero() {
			return "none"
		}
		return want.UTC().Truncate(time.Microsecond).String()
	}
	for seed := range uint64(2) {
		h := newHistory(t)
		folded := tumult(t, h, rand.New(rand.NewPCG(seed, 12)), 40, 1200)
		cut := h.views("cut.db")
		h.catchUp(cut, 20)
		rows, _, _, err := view.NewReader(cut, h.store).ListTickets(t.Context(), view.TicketQuery{Scope: view.Scope{All: true}, PageSize: 1000})
		if err != nil || len(rows) != len(folded) {
			t.Fatalf("got %d rows, %v, want %d", len(rows), err, len(folded))
		}
		limited := 0
		for _, row := range rows {
			s := folded[row.Name[len("tickets/"):]]
			if s.Imported != nil && s.Lead == "" {
				row.Lead = "" // its agency, which leads nothing
			}
			got := fmt.Sprint(row.State, row.Supervision, row.Lead, row.Holder, by(instantOf(row.NextBy)), by(instantOf(row.HandleBy)), by(instantOf(row.CloseBy)))
			want := fmt.Sprint(s.State, s.Supervision, s.Lead, s.Holder, by(nextLimit(&s)), by(s.Limits.HandleBy), by(s.Limits.CloseBy))
			if got != want {
				t.Errorf("seed %d, %s: got %s, want %s", seed, row.Name, got, want)
			}
			if row.NextBy != nil {
				limited++
			}
		}
		if limited < 5 {
			t.Errorf("seed %d: a limit runs of %d tickets only", seed, limited)
		}
	}
}

func instantOf(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

// nextLimit is the limit of what is to be done in a state.
func nextLimit(s *ticket.State) time.Time {
	l := &s.Limits
	switch s.State {
	case pb.TicketState_TICKET_STATE_REPORTED:
		if s.Imported != nil {
			return l.CloseBy
		}
		return l.AcceptBy
	case pb.TicketState_TICKET_STATE_ACCEPTED, pb.TicketState_TICKET_STATE_TRIAGED:
		return l.DispatchBy
	case pb.TicketState_TICKET_STATE_DISPATCHED:
		return l.SignBy
	case pb.TicketState_TICKET_STATE_HANDLING:
		return l.HandleBy
	case pb.TicketState_TICKET_STATE_RETURN_REVIEW:
		return l.DecideReturnBy
	case pb.TicketState_TICKET_STATE_ADJUDICATION:
		return l.RulingBy
	case pb.TicketState_TICKET_STATE_SUSPENDED:
		return l.ReviewAt
	case pb.TicketState_TICKET_STATE_RESULT_SUBMITTED:
		return l.VerifyBy
	case pb.TicketState_TICKET_STATE_CALLBACK:
		waived := slices.Contains(s.Waived, pb.Requirement_REQUIREMENT_CALLBACK)
		if s.CallbackWanted && !s.Anonymous && !s.CallbackSettled && !waived {
			return l.CallbackBy
		}
		return l.CloseBy
	}
	return time.Time{}
}

func TestAnUnmergedTicketHasTheLimitsThatItHad(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	h.record("ticket-1", begun(sent(3, "a", 100, 200))...)
	limits := func() string {
		t.Helper()
		rows, _, _, err := h.reader().ListTickets(t.Context(), view.TicketQuery{Scope: view.Scope{All: true}})
		if err != nil || len(rows) != 1 {
			t.Fatalf("got %v, %v", rows, err)
		}
		return fmt.Sprint(rows[0].State, rows[0].NextBy, rows[0].HandleBy, rows[0].CloseBy)
	}
	before := limits()
	h.record("ticket-1", in(5, &pb.TicketMerged{Into: "2"}))
	if got := limits(); got == before {
		t.Errorf("merged: got %s", got)
	}
	h.record("ticket-1", in(6, &pb.TicketUnmerged{From: "2", State: pb.TicketState_TICKET_STATE_DISPATCHED}))
	if got := limits(); got != before {
		t.Errorf("unmerged: got %s, want %s", got, before)
	}
}
