package view_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/view"
)

// inbox is the whole inbox of a role in a unit, page by page.
func inbox(t *testing.T, r *view.Reader, q view.InboxQuery) (rows []*pb.InboxRow, counts *pb.InboxCounts) {
	t.Helper()
	for {
		page, n, next, _, err := r.Inbox(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if counts != nil && !proto.Equal(n, counts) {
			t.Errorf("counts went from %v to %v", counts, n)
		}
		rows, counts = append(rows, page...), n
		if q.PageToken = next; next == "" {
			return rows, counts
		}
	}
}

// told says what is in an inbox: the ticket, the task, the hours left and the light.
func told(rows []*pb.InboxRow, now time.Time) []string {
	var list []string
	for _, row := range rows {
		left := "-"
		if row.DueAt != nil {
			left = fmt.Sprintf("%.0fh", row.DueAt.AsTime().Sub(now).Hours())
		}
		list = append(list, fmt.Sprintf("%s %s %s %s", row.Ticket.No, row.Task, left, row.Light.String()[len("LIGHT_"):]))
	}
	return list
}

func after(hours float64) time.Time { return day0.Add(time.Duration(hours * float64(time.Hour))) }

func TestAnInboxHoldsWhatWaitsForTheRoleInTheUnit(t *testing.T) {
	t.Parallel()
	street := []string{"root", "street"}
	reported := &pb.TicketReported{No: "x", Path: path("c", "a"), Holder: "street", HolderPath: street, AcceptBy: at(after(4)), CallbackWanted: true}
	accepted := &pb.TicketAccepted{Path: path("c", "a"), Holder: "street", HolderPath: street, DispatchBy: at(after(8))}
	triaged := &pb.TicketTriaged{Holder: "street", HolderPath: street, DispatchBy: at(after(8))}
	dispatched := &pb.TicketDispatched{Lead: "lead", LeadPath: []string{"root", "bureau", "lead"}, Hop: 1, Round: 1, SignBy: at(after(4)), HandleBy: at(after(40)), CloseBy: at(after(80))}
	handling := []proto.Message{reported, accepted, triaged, dispatched, &pb.TicketSigned{}}
	submitted := slices.Concat(handling, []proto.Message{&pb.ResultSubmitted{VerifyBy: at(after(20))}})
	verified := slices.Concat(submitted, []proto.Message{&pb.VerificationPassed{CallbackBy: at(after(24))}})
	listed := slices.Concat(handling, []proto.Message{&pb.SupervisionRaised{Level: 3, ReplyBy: at(after(24)), PlanBy: at(after(30)), ClearBy: at(after(200))}})
	planned := slices.Concat(listed, []proto.Message{&pb.SupervisionReplied{Level: 3, Kind: pb.SupervisionReplyKind_SUPERVISION_REPLY_KIND_PLAN}})
	with := func(before []proto.Message, more ...proto.Message) []proto.Message {
		return slices.Concat(before, more)
	}
	type in struct {
		unit []string
		role pb.Role
		task string
		left string // hours
	}
	root, lead, co := []string{"root"}, []string{"root", "bureau", "lead"}, []string{"root", "co"}
	const (
		agent, dispatcher, duty, supervisor = pb.Role_ROLE_AGENT, pb.Role_ROLE_DISPATCHER, pb.Role_ROLE_DUTY_LEADER, pb.Role_ROLE_SUPERVISOR
		clerk, caller, assess, worker       = pb.Role_ROLE_DEPARTMENT_CLERK, pb.Role_ROLE_CALLER, pb.Role_ROLE_ASSESSMENT, pb.Role_ROLE_GRID_WORKER
	)
	// An assessment office is that of an area: who holds what lies there does not matter.
	office := []string{"root", "office"}
	areas := map[string][]string{"office": {"a"}, "other": {"b"}}
	asks := []in{{unit: office, role: assess}, {unit: office, role: pb.Role_ROLE_AUDITOR}}
	for _, unit := range [][]string{root, street, lead, append(slices.Clone(lead), "team"), co, {"root", "other"}} {
		for _, role := range []pb.Role{agent, dispatcher, duty, supervisor, clerk, caller, assess, worker, pb.Role_ROLE_CITIZEN} {
			asks = append(asks, in{unit: unit, role: role})
		}
	}
	team := append(slices.Clone(lead), "team")
	handle := []in{{lead, clerk, "handle", "40h"}, {team, clerk, "handle", "40h"}, {lead, worker, "handle", "40h"}, {team, worker, "handle", "40h"}}
	of := func(task, left string, units [][]string, roles ...pb.Role) (list []in) {
		for _, u := range units {
			for _, r := range roles {
				list = append(list, in{u, r, task, left})
			}
		}
		return list
	}
	h := newHistory(t)
	var cases, want []string
	for name, c := range map[string]struct {
		events []proto.Message
		want   []in
	}{
		"a report":                  {[]proto.Message{reported}, of("accept", "4h", [][]string{root, street}, agent, dispatcher)},
		"a decline proposed":        {[]proto.Message{reported, &pb.DeclineProposed{}}, of("confirm", "4h", [][]string{root, street}, duty)},
		"a decline dropped":         {[]proto.Message{reported, &pb.DeclineProposed{}, &pb.DeclineDropped{}}, of("accept", "4h", [][]string{root, street}, agent, dispatcher)},
		"a voiding proposed":        {[]proto.Message{reported, accepted, &pb.VoidProposed{}}, of("confirm", "8h", [][]string{root, street}, duty)},
		"voided":                    {[]proto.Message{reported, &pb.VoidProposed{}, &pb.TicketVoided{}}, nil},
		"an imported record":        {[]proto.Message{&pb.RecordImported{No: "x", Agency: "lead", DueAt: at(after(4)), Path: path("c", "a")}}, nil},
		"accepted":                  {[]proto.Message{reported, accepted}, of("dispatch", "8h", [][]string{root, street}, dispatcher)},
		"triaged":                   {[]proto.Message{reported, accepted, triaged}, of("dispatch", "8h", [][]string{root, street}, dispatcher)},
		"dispatched":                {[]proto.Message{reported, accepted, triaged, dispatched}, of("sign", "4h", [][]string{lead, team}, clerk, worker)},
		"handled":                   {handling, handle},
		"limits computed again":     {with(handling, &pb.LimitsRecomputed{HandleBy: at(after(50))}), of("handle", "50h", [][]string{lead, team}, clerk, worker)},
		"merged":                    {[]proto.Message{reported, accepted, &pb.TicketMerged{Into: "y"}}, nil},
		"unmerged":                  {[]proto.Message{reported, accepted, &pb.TicketMerged{Into: "y"}, &pb.TicketUnmerged{From: "y", State: pb.TicketState_TICKET_STATE_ACCEPTED}}, of("dispatch", "8h", [][]string{root, street}, dispatcher)},
		"a return asked for":        {with(handling, &pb.ReturnRequested{DecideBy: at(after(3))}), of("decide_return", "3h", [][]string{root, lead}, dispatcher, duty)},
		"a return rejected":         {with(handling, &pb.ReturnRequested{DecideBy: at(after(3))}, &pb.ReturnRejected{}), handle},
		"in dispute":                {with(handling, &pb.AdjudicationOpened{RulingBy: at(after(9)), Holder: "street", HolderPath: street}), of("rule", "9h", [][]string{root, street}, duty)},
		"an extension":              {with(handling, &pb.ExtensionRequested{Kind: pb.ExtensionKind_EXTENSION_KIND_STANDARD, Number: 1}), append(of("decide_extension", "40h", [][]string{root, lead}, duty), handle...)},
		"a second extension":        {with(handling, &pb.ExtensionRequested{Kind: pb.ExtensionKind_EXTENSION_KIND_STANDARD, Number: 2}), append(of("decide_extension", "40h", [][]string{root, lead}, supervisor), handle...)},
		"an extension granted":      {with(handling, &pb.ExtensionRequested{Number: 1}, &pb.ExtensionGranted{HandleBy: at(after(90))}), of("handle", "90h", [][]string{lead, team}, clerk, worker)},
		"a suspension":              {with(handling, &pb.SuspensionRequested{}), append(of("decide_suspension", "40h", [][]string{root, lead}, supervisor), handle...)},
		"suspended":                 {with(handling, &pb.SuspensionRequested{}, &pb.SuspensionGranted{ReviewAt: at(after(99))}), append(of("review_suspension", "99h", [][]string{root}, supervisor), append(of("review_suspension", "99h", [][]string{lead}, supervisor, clerk, worker), of("review_suspension", "99h", [][]string{team}, clerk, worker)...)...)},
		"resumed":                   {with(handling, &pb.SuspensionGranted{ReviewAt: at(after(99))}, &pb.TicketResumed{HandleBy: at(after(40))}), handle},
		"a co-handler asked":        {with(handling, &pb.CoHandlerRequested{Unit: "co", SubmitBy: at(after(7))}), append(of("co_task", "7h", [][]string{co}, clerk, worker), handle...)},
		"a co-handler done":         {with(handling, &pb.CoHandlerRequested{Unit: "co", SubmitBy: at(after(7))}, &pb.CoHandlerAccepted{Unit: "co"}, &pb.CoHandlerSubmitted{Unit: "co"}), handle},
		"a co-handler released":     {with(handling, &pb.CoHandlerRequested{Unit: "co", SubmitBy: at(after(7))}, &pb.CoHandlerDeclined{Unit: "co"}), handle},
		"a co-handler declines":     {with(handling, &pb.CoHandlerRequested{Unit: "co", SubmitBy: at(after(7))}, &pb.CoHandlerDeclineProposed{Unit: "co"}), append(of("decide_co_decline", "7h", [][]string{root, lead}, dispatcher), handle...)},
		"a co-handler not released": {with(handling, &pb.CoHandlerRequested{Unit: "co", SubmitBy: at(after(7))}, &pb.CoHandlerDeclineProposed{Unit: "co"}, &pb.CoHandlerDeclineDropped{Unit: "co"}), append(of("co_task", "7h", [][]string{co}, clerk, worker), handle...)},
		"declined":                  {[]proto.Message{reported, &pb.DeclineProposed{}, &pb.TicketDeclined{}}, nil},
		"a decline appealed":        {[]proto.Message{reported, &pb.DeclineProposed{}, &pb.TicketDeclined{}, &pb.DeclineAppealed{}}, of("overturn", "-", [][]string{root, street}, supervisor)},
		"a decline overturned":      {[]proto.Message{reported, &pb.DeclineProposed{}, &pb.TicketDeclined{}, &pb.DeclineAppealed{}, &pb.DeclineOverturned{Path: path("c", "a"), Holder: "street", HolderPath: street, DispatchBy: at(after(8))}}, of("dispatch", "8h", [][]string{root, street}, dispatcher)},
		"a correction":              {with(verified, &pb.CallbackRecorded{}, &pb.TicketClosed{}, &pb.TicketArchived{}, &pb.ArchiveCorrectionProposed{Category: "0801"}), of("confirm", "-", [][]string{office}, pb.Role_ROLE_AUDITOR)},
		"a correction dropped":      {with(verified, &pb.CallbackRecorded{}, &pb.TicketClosed{}, &pb.TicketArchived{}, &pb.ArchiveCorrectionProposed{Category: "0801"}, &pb.ArchiveCorrectionDropped{}), nil},
		"a correction made":         {with(verified, &pb.CallbackRecorded{}, &pb.TicketClosed{}, &pb.TicketArchived{}, &pb.ArchiveCorrectionProposed{Category: "0801"}, &pb.ArchiveCorrected{Category: "0801"}), nil},
		"a co-handler leads":        {with(handling, &pb.CoHandlerRequested{Unit: "co", SubmitBy: at(after(7))}, &pb.TicketEscalated{To: "co", LeadPath: co, SignBy: at(after(4))}, &pb.TicketSigned{}), of("handle", "40h", [][]string{co}, clerk, worker)},
		"returned":                  {with(handling, &pb.CoHandlerRequested{Unit: "co", SubmitBy: at(after(7))}, &pb.ReturnRequested{}, &pb.ReturnApproved{Holder: "street", HolderPath: street, DispatchBy: at(after(6))}), of("dispatch", "6h", [][]string{root, street}, dispatcher)},
		"dispatched again":          {with(handling, &pb.CoHandlerRequested{Unit: "co", SubmitBy: at(after(7))}, &pb.TicketDispatched{Lead: "lead", LeadPath: lead, Co: []string{"co"}, Hop: 2, HandleBy: at(after(40))}, &pb.TicketSigned{}), append(of("co_task", "7h", [][]string{co}, clerk, worker), handle...)},
		"a result":                  {submitted, of("verify", "20h", [][]string{root}, supervisor, worker)},
		"a result rejected":         {with(submitted, &pb.ResultRejected{}), handle},
		"verified":                  {verified, of("callback", "24h", [][]string{root}, caller)},
		"nobody to call back":       {with(verified, &pb.RequirementWaived{What: pb.Requirement_REQUIREMENT_CALLBACK}), of("close", "80h", [][]string{root, lead}, dispatcher)},
		"called back":               {with(verified, &pb.CallbackRecorded{}), of("close", "80h", [][]string{root, lead}, dispatcher)},
		"closed":                    {with(verified, &pb.CallbackRecorded{}, &pb.TicketClosed{}), nil},
		"an exclusion":              {with(verified, &pb.CallbackRecorded{}, &pb.TicketClosed{}, &pb.ExclusionRequested{}), of("decide_exclusion", "-", [][]string{office}, assess)},
		"an exclusion denied":       {with(verified, &pb.CallbackRecorded{}, &pb.TicketClosed{}, &pb.ExclusionRequested{}, &pb.ExclusionDenied{}), nil},
		"supervised":                {with(handling, &pb.SupervisionRaised{Level: 2, ReplyBy: at(after(24))}), append(of("reply", "24h", [][]string{lead, team}, clerk, worker), handle...)},
		"supervision answered":      {with(handling, &pb.SupervisionRaised{Level: 2, ReplyBy: at(after(24))}, &pb.SupervisionReplied{Level: 2, Kind: pb.SupervisionReplyKind_SUPERVISION_REPLY_KIND_REPLY}), handle},
		"listed":                    {listed, append(of("plan", "30h", [][]string{lead, team}, clerk, worker), handle...)},
		"listed, planned":           {planned, append(of("reply", "200h", [][]string{lead, team}, clerk, worker), handle...)},
		"listed, said to be done":   {with(planned, &pb.SupervisionReplied{Kind: pb.SupervisionReplyKind_SUPERVISION_REPLY_KIND_DONE}), append(of("clear", "200h", [][]string{root, lead}, supervisor), handle...)},
	} {
		var list []happened
		for _, e := range c.events {
			list = append(list, happened{day0, e})
		}
		cases = append(cases, name)
		h.record(fmt.Sprintf("ticket-%d", len(cases)), list...)
		for _, w := range c.want {
			want = append(want, fmt.Sprint(name, ": ", w.unit, w.role, w.task, w.left))
		}
	}
	r := h.reader()
	var got []string
	for _, ask := range asks {
		rows, _ := inbox(t, r, view.InboxQuery{Path: ask.unit, Areas: areas[ask.unit[len(ask.unit)-1]], Role: ask.role, Scope: everyone, Now: day0})
		for _, row := range rows {
			left := "-"
			if row.DueAt != nil {
				left = fmt.Sprintf("%.0fh", row.DueAt.AsTime().Sub(day0).Hours())
			}
			var n int
			if _, err := fmt.Sscanf(row.Ticket.Name, "tickets/%d", &n); err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(cases[n-1], ": ", ask.unit, ask.role, row.Task, left))
		}
	}
	for _, row := range got {
		if !slices.Contains(want, row) {
			t.Errorf("got %s, which is not wanted", row)
		}
	}
	for _, row := range want {
		if !slices.Contains(got, row) {
			t.Errorf("want %s", row)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %d rows, want %d", len(got), len(want))
	}
}

func TestAnInboxIsInTheOrderOfItsLightsAndCountsThem(t *testing.T) {
	onEach(t, func(t *testing.T, newHistory func(testing.TB) *history) {
		h := newHistory(t)
		unit := []string{"root", "lead"}
		dispatch := func(no string, sign, handle float64) []happened {
			return []happened{
				{day0, &pb.TicketReported{No: no, Path: path("c")}},
				{day0, &pb.TicketDispatched{Lead: "lead", LeadPath: unit, Hop: 1, Round: 1, SignBy: at(after(sign)), HandleBy: at(after(handle))}},
			}
		}
		h.record("ticket-green", dispatch("green", 100, 300)...)
		h.record("ticket-quarter", dispatch("quarter", 40, 300)...) // 30 of 40 hours are gone
		h.record("ticket-nearly", dispatch("nearly", 40.01, 300)...)
		h.record("ticket-late", dispatch("late", 29, 300)...)
		h.record("ticket-later", dispatch("later", 10, 300)...)
		h.record("ticket-just", dispatch("just", 30, 300)...)
		h.record("ticket-none", happened{day0, &pb.TicketReported{No: "none", Path: path("c")}}, happened{day0, &pb.TicketDispatched{Lead: "lead", LeadPath: unit}})
		h.record("ticket-still", append(dispatch("still", 10, 300), happened{day0, &pb.TicketSigned{}}, happened{day0, &pb.SuspensionGranted{ReviewAt: at(after(20))}})...)
		h.record("ticket-hurry", append(dispatch("hurry", 10, 300), happened{day0, &pb.TicketSigned{}}, happened{after(1), &pb.SupervisionRaised{Level: 2, ReplyBy: at(after(31))}})...)
		r := h.reader()
		now := after(30)
		for _, size := range []int32{0, 1, 2, 3} {
			q := view.InboxQuery{Path: unit, Role: pb.Role_ROLE_DEPARTMENT_CLERK, Now: now, PageSize: size}
			rows, counts := inbox(t, r, q)
			want := []string{
				"later sign -20h RED", "late sign -1h RED", "just sign 0h YELLOW", "hurry reply 1h YELLOW", "quarter sign 10h YELLOW", "nearly sign 10h GREEN",
				"green sign 70h GREEN", "hurry handle 270h GREEN", "still review_suspension -10h GREY", "none sign - UNSPECIFIED",
			}
			if got := told(rows, now); !slices.Equal(got, want) {
				t.Errorf("pages of %d: got %q, want %q", size, got, want)
			}
			if want := (&pb.InboxCounts{Red: 2, Yellow: 3, Green: 3, Grey: 1}); !proto.Equal(counts, want) {
				t.Errorf("got %v, want %v", counts, want)
			}
		}
		lights := map[string]pb.Light{}
		for _, row := range list(t, r, view.TicketQuery{Scope: everyone, Now: now}) {
			lights[row.No] = row.Light
		}
		for no, want := range map[string]pb.Light{
			"green": pb.Light_LIGHT_GREEN, "quarter": pb.Light_LIGHT_YELLOW, "late": pb.Light_LIGHT_RED, "still": pb.Light_LIGHT_GREY, "none": pb.Light_LIGHT_UNSPECIFIED,
		} {
			if lights[no] != want {
				t.Errorf("%s in a list: got %v, want %v", no, lights[no], want)
			}
		}
		supervised := list(t, r, view.TicketQuery{Scope: everyone, Filter: "supervision >= 1"})
		if len(supervised) != 1 || supervised[0].No != "hurry" || supervised[0].Supervision != 2 {
			t.Errorf("got %v, want the one that is supervised", supervised)
		}
		for _, filter := range []string{"supervision = 5", "supervision = -1", "supervision = high", "supervision:*"} {
			if _, _, _, err := r.ListTickets(t.Context(), view.TicketQuery{Scope: everyone, Filter: filter}); err == nil {
				t.Errorf("%q was answered", filter)
			}
		}
		_, _, next, _, err := r.Inbox(t.Context(), view.InboxQuery{Path: unit, Role: pb.Role_ROLE_DEPARTMENT_CLERK, Now: now, PageSize: 1})
		if err != nil {
			t.Fatal(err)
		}
		for field, q := range map[string]view.InboxQuery{
			"page_token": {Path: unit, Role: pb.Role_ROLE_DEPARTMENT_HEAD, Now: now, PageToken: next},
			"page_size":  {Path: unit, Role: pb.Role_ROLE_DEPARTMENT_CLERK, Now: now, PageSize: -1},
		} {
			_, _, _, _, err := r.Inbox(t.Context(), q)
			if refusal, ok := errors.AsType[*rule.Refusal](err); !ok || refusal.Field != field {
				t.Errorf("got %v, want a refusal for %s", err, field)
			}
		}
	})
}

func TestWhoHandlesAMatterDoesNotVerifyItAndAGridWorkerVerifiesNearby(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	for no, secret := range map[string]pb.Confidentiality{"plain": 0, "secret": pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL} {
		h.record("ticket-"+no,
			happened{day0, &pb.TicketReported{No: no, Path: path("c", "a", "s", "m"), Confidentiality: secret}},
			happened{day0, &pb.TicketDispatched{Lead: "lead", LeadPath: []string{"root", "lead"}, HandleBy: at(after(9)), Co: []string{"co"}}},
			happened{day0, &pb.TicketSigned{}}, happened{day0, &pb.CoHandlerRequested{Unit: "co2", SubmitBy: at(after(5))}})
	}
	r := h.reader()
	if rows, _ := inbox(t, r, view.InboxQuery{Path: []string{"root", "co2"}, Role: pb.Role_ROLE_STREET_CLERK, Now: day0}); !slices.Equal(told(rows, day0), []string{"plain co_task 5h GREEN"}) {
		t.Errorf("a co-handler: got %v", rows)
	}
	seen := list(t, r, view.TicketQuery{Scope: view.Scope{Path: []string{"root", "co2"}}})
	if len(seen) != 1 || seen[0].No != "plain" {
		t.Errorf("a co-handler sees %v", seen)
	}
	for _, no := range []string{"plain", "secret"} {
		h.record("ticket-"+no, happened{day0, &pb.ResultSubmitted{VerifyBy: at(after(8))}})
	}
	r = h.reader()
	for _, c := range []struct {
		role  pb.Role
		path  []string
		areas []string
		want  []string
	}{
		{pb.Role_ROLE_GRID_WORKER, []string{"root", "m"}, []string{"m"}, []string{"plain verify 8h GREEN"}},
		{pb.Role_ROLE_GRID_WORKER, []string{"root", "n"}, []string{"n"}, nil},
		{pb.Role_ROLE_GRID_WORKER, []string{"root", "lead"}, []string{"m"}, nil},
		{pb.Role_ROLE_SUPERVISOR, []string{"root", "lead"}, []string{"m"}, nil},
		{pb.Role_ROLE_SUPERVISOR, []string{"root"}, nil, []string{"plain verify 8h GREEN", "secret verify 8h GREEN"}},
	} {
		scope := view.Scope{Path: c.path, Leads: c.path}
		rows, _ := inbox(t, r, view.InboxQuery{Path: c.path, Areas: c.areas, Role: c.role, Scope: scope, Now: day0})
		got := told(rows, day0)
		slices.Sort(got)
		if !slices.Equal(got, c.want) {
			t.Errorf("%v of %v: got %q, want %q", c.role, c.path, got, c.want)
		}
	}
}

func TestPrecedentsAreTheRulingsThatMayBeFollowed(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	for i, c := range []struct{ category, area string }{{"0101", "d1"}, {"0101", "c"}, {"0202", "d1"}, {"0101", "s1"}, {"", ""}} {
		h.record(fmt.Sprintf("ticket-%d", i), happened{day0, &pb.TicketReported{No: fmt.Sprint(i)}},
			happened{after(float64(10 - i)), &pb.AdjudicationRuled{Lead: "lead", Co: []string{"a", "b c"}, BasisRef: "law", PrecedentCategory: c.category, PrecedentArea: c.area}})
	}
	r := h.reader()
	for _, c := range []struct {
		category string
		areas    []string
		want     []string
	}{
		{"", nil, []string{"0", "1", "2", "3"}},
		{"0101", nil, []string{"0", "1", "3"}},
		{"0101", []string{"c", "d1"}, []string{"0", "1"}},
		{"", []string{"c", "d1", "s1"}, []string{"0", "1", "2", "3"}},
		{"0303", nil, nil},
	} {
		q := view.PrecedentQuery{Category: c.category, Areas: c.areas, PageSize: 1}
		var got []string
		for {
			page, next, at, err := r.Precedents(t.Context(), q)
			if err != nil || at != h.last {
				t.Fatalf("%v at %d", err, at)
			}
			for _, p := range page {
				got = append(got, p.Ticket[len("tickets/"):])
				if p.Lead != "lead" || !slices.Equal(p.Co, []string{"a", "b c"}) || p.BasisRef != "law" || p.RuledAt == nil || p.Category == "" || p.Area == "" {
					t.Errorf("got %v", p)
				}
			}
			if q.PageToken = next; next == "" {
				break
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%q in %v: got %v, want %v", c.category, c.areas, got, c.want)
		}
	}
}
