package policy_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/examples/wuxi"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/registry"
	"github.com/chuishao/dispatch/internal/rule"
)

// willing is a city whose centre trusts a system, and of which one district's centre trusts another and wants what is settled closed.
func willing(t *testing.T) *dispatchtest.City {
	t.Helper()
	c := dispatchtest.Open(t)
	content, faults := registry.ReadDir(wuxi.Files)
	for _, u := range content.Piece.Units {
		switch u.Code {
		case dispatchtest.CityCentre:
			u.TrustedSystems = []string{everywhere.Person}
		case dispatchtest.DistrictCentre:
			u.TrustedSystems, u.ClosesSettled = []string{"other", gateway.Person}, true
		}
	}
	more, _, err := c.LoadRegistry(t.Context(), dispatchtest.System, "willing", c.Now(), content.Pieces(), false)
	if faults = append(faults, more...); err != nil || len(faults) > 0 {
		t.Fatal(faults, err)
	}
	c.Clock.Add(time.Minute)
	return c
}

var (
	gateway    = rule.Actor{Person: "gateway", Roles: []pb.Role{pb.Role_ROLE_CONNECTED_SYSTEM}, Unit: dispatchtest.CityCentre}
	everywhere = rule.Actor{Person: "everywhere", Roles: gateway.Roles, Unit: dispatchtest.CityCentre}
)

// followed lets two replicas of a policy react to the whole history, twice. A last thing is reacted to after all that came before it.
func followed(t *testing.T, c *dispatchtest.City) {
	t.Helper()
	for range 2 {
		primary, child := two(t, c)
		c.Do(t, desk, &pb.MergeTicketRequest{RequestId: c.RequestID(), Name: child, Into: primary})
		finish(t, c, supervisor, &pb.UnmergeTicketRequest{RequestId: c.RequestID(), Name: child, Particulars: &pb.Particulars{Note: "另有一事"}}, "DuplicateDetached")
	}
}

// types are the events of a ticket.
func types(t *testing.T, c *dispatchtest.City, name string) (list []string) {
	t.Helper()
	for r, err := range c.Store.ReadStream(t.Context(), stream(name), 0) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, r.Type)
	}
	return list
}

// call is a report with all five elements.
func call(c *dispatchtest.City, change func(*pb.ReportTicketRequest)) *pb.ReportTicketRequest {
	r := &pb.ReportTicketRequest{
		RequestId: c.RequestID(), Channel: pb.Channel_CHANNEL_HOTLINE, Kind: pb.MatterKind_MATTER_KIND_HELP, Area: dispatchtest.Community, Category: "0302",
		Particulars: &pb.Particulars{
			Title: "路灯不亮", Text: "小区门口路灯三天不亮", Place: "春笋中路", Cause: "线路老化", Course: "三天前开始",
			Petitioner: &pb.Petitioner{Name: "张三丰", Phone: "13800000001", CallbackWanted: true},
		},
	}
	if change != nil {
		change(r)
	}
	return r
}

func TestWhatATrustedSystemReportedIsAcceptedOnce(t *testing.T) {
	t.Parallel()
	c := willing(t)
	both := gateway
	both.Roles = []pb.Role{pb.Role_ROLE_AGENT}
	stranger := gateway
	stranger.Person = "stranger"
	cases := map[string]struct {
		by     rule.Actor
		change func(*pb.ReportTicketRequest)
		want   bool
	}{
		"of the five elements": {gateway, nil, true},
		"anonymous, of a street": {gateway, func(r *pb.ReportTicketRequest) {
			r.Area, r.Particulars.Petitioner = dispatchtest.Street, &pb.Petitioner{Anonymous: true}
		}, true},
		"with an element missing":        {gateway, func(r *pb.ReportTicketRequest) { r.Particulars.Cause = "" }, false},
		"of an unknown place":            {gateway, func(r *pb.ReportTicketRequest) { r.Area = "" }, false},
		"by one that the city trusts":    {everywhere, func(r *pb.ReportTicketRequest) { r.Area = dispatchtest.OtherStreet }, true},
		"of a place nobody knows":        {everywhere, func(r *pb.ReportTicketRequest) { r.Area = "" }, false},
		"of another district":            {gateway, func(r *pb.ReportTicketRequest) { r.Area = dispatchtest.OtherStreet }, false},
		"by a system that nobody trusts": {stranger, nil, false},
		"by an agent of the same name":   {both, nil, false},
	}
	names := map[string]string{}
	for what, r := range cases {
		names[what] = c.Do(t, r.by, call(c, r.change))
	}
	followed(t, c)
	for what, r := range cases {
		want := []string{"TicketReported"}
		if r.want {
			want = append(want, "TicketAccepted")
		}
		if got := types(t, c, names[what]); !slices.Equal(got, want) {
			t.Errorf("a report %s: got %v, want %v", what, got, want)
		}
	}
	s, _, err := c.LoadTicket(t.Context(), names["of the five elements"])
	if err != nil || s.AcceptedAt.IsZero() || s.Limits.DispatchBy.IsZero() || s.Holder != dispatchtest.Community {
		t.Errorf("got %s held by %q, to be dispatched by %s, %v", s.State, s.Holder, s.Limits.DispatchBy, err)
	}
}

func TestThisSystemAcceptsNothingElseWhoeverAsks(t *testing.T) {
	t.Parallel()
	c := willing(t)
	nowhere := func(r *pb.ReportTicketRequest) { r.Area = "" }
	for what, r := range map[string]struct {
		name string
		want rule.Reason
	}{
		"what nobody trusted reported":              {c.Report(t, dispatchtest.Community), rule.RoleNotAllowed},
		"what is held by a centre that does not":    {c.Do(t, gateway, call(c, nowhere)), rule.RoleNotAllowed},
		"what lies nobody knows where":              {c.Do(t, everywhere, call(c, nowhere)), rule.UnknownArea},
		"what lacks an element, though it is known": {c.Do(t, everywhere, call(c, func(r *pb.ReportTicketRequest) { r.Particulars.Course = "" })), rule.FiveElementsNeeded},
	} {
		_, _, err := c.Ticket(t.Context(), dispatch.Request{Actor: dispatchtest.System, Command: &pb.AcceptTicketRequest{Name: r.name, RequestId: c.RequestID()}})
		if refusal, ok := errors.AsType[*rule.Refusal](err); !ok || refusal.Reason != r.want {
			t.Errorf("%s: got %v, want %s", what, err, r.want)
		}
	}
}

func TestWhatIsSettledIsClosedOnceWhereACentreWantsIt(t *testing.T) {
	t.Parallel()
	c := willing(t)
	caller := dispatchtest.As(dispatchtest.CityCentre, pb.Role_ROLE_CALLER)
	answer := func(solved pb.Solved) func(string) {
		return func(name string) {
			c.Do(t, caller, &pb.RecordCallbackRequest{Name: name, RequestId: c.RequestID(), Answered: true, Contacted: true, Solved: solved, Satisfaction: 4})
		}
	}
	waive := func(name string) {
		c.Do(t, supervisor, &pb.WaiveRequirementRequest{Name: name, RequestId: c.RequestID(), What: pb.Requirement_REQUIREMENT_CALLBACK, Particulars: &pb.Particulars{Note: "免访"}})
	}
	unreachable := func(name string) {
		for range 3 {
			c.Do(t, caller, &pb.RecordCallbackRequest{Name: name, RequestId: c.RequestID()})
			c.Clock.Add(24 * time.Hour)
		}
	}
	cases := map[string]struct {
		lead   string
		quiet  bool // nobody wants to be called back
		settle func(string)
		want   bool
	}{
		"the petitioner says it is solved": {dispatchtest.DistrictUrban, false, answer(pb.Solved_SOLVED_YES), true},
		"the petitioner says it is not":    {dispatchtest.DistrictUrban, false, answer(pb.Solved_SOLVED_NO), false},
		"the petitioner says partly":       {dispatchtest.DistrictUrban, false, answer(pb.Solved_SOLVED_PARTLY), false},
		"the petitioner cannot be reached": {dispatchtest.DistrictUrban, false, unreachable, true},
		"nobody need be called back":       {dispatchtest.DistrictUrban, false, waive, true},
		"nobody wants to be called back":   {dispatchtest.DistrictUrban, true, nil, true},
		"nobody has called back yet":       {dispatchtest.DistrictUrban, false, nil, false},
		"it is solved in another district": {dispatchtest.OtherUrban, false, answer(pb.Solved_SOLVED_YES), false},
		"supervision is still to be answered": {dispatchtest.DistrictUrban, false, func(name string) {
			c.Do(t, supervisor, &pb.RaiseSupervisionRequest{Name: name, RequestId: c.RequestID(), Level: 2, Particulars: &pb.Particulars{Note: "请说明"}})
			answer(pb.Solved_SOLVED_YES)(name)
		}, false},
		"supervision was answered": {dispatchtest.DistrictUrban, false, func(name string) {
			c.Do(t, supervisor, &pb.RaiseSupervisionRequest{Name: name, RequestId: c.RequestID(), Level: 2, Particulars: &pb.Particulars{Note: "请说明"}})
			answer(pb.Solved_SOLVED_YES)(name)
			c.Do(t, dispatchtest.As(dispatchtest.DistrictUrban, pb.Role_ROLE_DEPARTMENT_CLERK), &pb.ReplySupervisionRequest{
				Name: name, RequestId: c.RequestID(), Kind: pb.SupervisionReplyKind_SUPERVISION_REPLY_KIND_REPLY, Particulars: &pb.Particulars{Text: "已处理"},
			})
		}, true},
	}
	names := map[string]string{}
	for what, r := range cases {
		name := c.Do(t, dispatchtest.Hotline, call(c, func(m *pb.ReportTicketRequest) {
			m.Particulars.Petitioner.CallbackWanted = !r.quiet
		}))
		names[what] = name
		c.ToHandling(t, name, r.lead)
		clerk := dispatchtest.As(r.lead, pb.Role_ROLE_DEPARTMENT_CLERK)
		for _, command := range []proto.Message{
			&pb.RecordContactRequest{Name: name, RequestId: c.RequestID(), Channel: "phone", Reached: true},
			&pb.SubmitResultRequest{Name: name, RequestId: c.RequestID(), Result: pb.ResultCode_RESULT_CODE_RESOLVED, Particulars: &pb.Particulars{Reply: "已修复"}},
		} {
			c.Do(t, clerk, command)
		}
		c.Do(t, supervisor, &pb.VerifyResultRequest{Name: name, RequestId: c.RequestID(), Passed: true})
		if r.settle != nil {
			r.settle(name)
		}
	}
	followed(t, c)
	for what, r := range cases {
		closed := 0
		for _, typ := range types(t, c, names[what]) {
			if typ == "TicketClosed" {
				closed++
			}
		}
		if r.want && closed != 1 || !r.want && closed != 0 {
			t.Errorf("when %s: closed %d times, want closed %t", what, closed, r.want)
		}
	}
	// What is opened again, and supervised for that, is closed again once that is answered and it is settled anew.
	name := names["the petitioner says it is solved"]
	c.Do(t, supervisor, &pb.ReopenTicketRequest{Name: name, RequestId: c.RequestID(), Reason: pb.ReopenReason_REOPEN_REASON_UNSOLVED, Particulars: &pb.Particulars{Note: "又坏了"}})
	clerk := dispatchtest.As(dispatchtest.DistrictUrban, pb.Role_ROLE_DEPARTMENT_CLERK)
	c.Do(t, clerk, &pb.SignTicketRequest{Name: name, RequestId: c.RequestID()})
	c.Do(t, clerk, &pb.ReplySupervisionRequest{
		Name: name, RequestId: c.RequestID(), Kind: pb.SupervisionReplyKind_SUPERVISION_REPLY_KIND_REPLY, Particulars: &pb.Particulars{Text: "立即重办"},
	})
	c.Do(t, clerk, &pb.RecordContactRequest{Name: name, RequestId: c.RequestID(), Channel: "phone", Reached: true})
	c.Do(t, clerk, &pb.SubmitResultRequest{Name: name, RequestId: c.RequestID(), Result: pb.ResultCode_RESULT_CODE_RESOLVED, Particulars: &pb.Particulars{Reply: "已修复"}})
	c.Do(t, supervisor, &pb.VerifyResultRequest{Name: name, RequestId: c.RequestID(), Passed: true})
	answer(pb.Solved_SOLVED_YES)(name)
	followed(t, c)
	if s, _, err := c.LoadTicket(t.Context(), name); err != nil || s.State != pb.TicketState_TICKET_STATE_CLOSED || s.Round != 2 {
		t.Errorf("got %s in round %d, supervised %d until %s, listed %t, %v", s.State, s.Round, s.Supervision, s.Limits.ReplyBy, s.Listed, err)
	}
}
