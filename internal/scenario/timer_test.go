package scenario_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/ticket"
)

// supervised are steps of supervision and what else sets limits that run.
func supervised(name string, s ticket.State, at time.Time) []step {
	p := particulars()
	clerk, ok := clerkOf[s.Lead]
	if !ok {
		clerk = "urban clerk"
	}
	evidence := []*pb.Attachment{{Uri: "a.jpg", Sha256: make([]byte, 32)}}
	return []step{
		{"supervisor", &pb.RaiseSupervisionRequest{Name: name, Level: 1, Particulars: p}},
		{"supervisor", &pb.RaiseSupervisionRequest{Name: name, Level: 3, Particulars: p}},
		{clerk, &pb.ReplySupervisionRequest{Name: name, Kind: pb.SupervisionReplyKind_SUPERVISION_REPLY_KIND_REPLY, Particulars: p, Attachments: evidence}},
		{clerk, &pb.ReplySupervisionRequest{Name: name, Kind: pb.SupervisionReplyKind_SUPERVISION_REPLY_KIND_PLAN, Owner: "P-1", ClearBy: timestamppb.New(at), Particulars: p}},
		{clerk, &pb.ReplySupervisionRequest{Name: name, Kind: pb.SupervisionReplyKind_SUPERVISION_REPLY_KIND_DONE, Particulars: p}},
		{"supervisor", &pb.ClearListingRequest{Name: name, Particulars: p, Attachments: evidence}},
		{"supervisor", &pb.LiftSupervisionRequest{Name: name, Particulars: p}},
		{"citizen", &pb.UrgeTicketRequest{Name: name}},
		{"dispatcher", &pb.RejectResultRequest{Name: name, Reason: pb.ResultRejection_RESULT_REJECTION_STALE_PHOTO, Particulars: p}},
		{clerk, &pb.RequestExclusionRequest{Name: name, Code: pb.ExclusionCode_EXCLUSION_CODE_X7, Particulars: p}},
		{"assessor", &pb.DecideExclusionRequest{Name: name, Particulars: p}},
		{"assessor", &pb.DecideExclusionRequest{Name: name, Granted: true, Particulars: p}},
		{"timer", &pb.ReopenTicketRequest{Name: name, Reason: pb.ReopenReason_REOPEN_REASON_SPOT_CHECK}},
		{clerk, &pb.RequestReturnRequest{Name: name, Reason: pb.ReturnReason_RETURN_REASON_NOT_OUR_DUTY, BasisRef: "L-1", Suggested: "320205000000-JT", Particulars: p}},
		{"dispatcher", &pb.DecideReturnRequest{Name: name, Approved: true, Fault: pb.ReturnFault_RETURN_FAULT_DISPATCH_ERROR, Particulars: p}},
		{"dispatcher", &pb.DispatchTicketRequest{Name: name, Lead: "320205000000-JT"}},
		{clerk, &pb.RequestExtensionRequest{Name: name, Kind: pb.ExtensionKind_EXTENSION_KIND_STANDARD, WorkingDays: 2, Particulars: p}},
		{"duty", &pb.DecideExtensionRequest{Name: name, Granted: true, Particulars: p}},
		{clerk, &pb.RequestSuspensionRequest{Name: name, Reason: pb.SuspensionReason_SUSPENSION_REASON_SEASON, ReviewAt: timestamppb.New(at.Add(48 * time.Hour)), Particulars: p}},
		{"supervisor", &pb.DecideSuspensionRequest{Name: name, Granted: true, Particulars: p}},
		{"supervisor", &pb.ResumeTicketRequest{Name: name, Particulars: p}},
	}
}

func TestWhateverHappensATimerThatHasPassedFiresOnceAndIsGone(t *testing.T) {
	t.Parallel()
	c := load(t)
	fired := map[pb.TicketTimer]int{}
	rapid.Check(t, func(t *rapid.T) {
		l, p := newLife(t, c, "timers"), newRules()
		for range rapid.IntRange(40, 120).Draw(t, "steps") {
			sensible := begin
			if len(l.tickets) > 0 {
				name := l.tickets[0]
				sensible = onward(name, p.tickets[name])
				if l.chance("supervised", 40) {
					sensible = supervised(name, p.tickets[name], l.at)
				}
			}
			by, command := l.next(sensible)
			out, err := p.Do(t.Context(), l.at, by, command)
			if refused := new(rule.Refusal); err != nil && !errors.As(err, &refused) {
				t.Fatalf("%T %v: %v", command, command, err)
			}
			l.know(out.Name)
			for _, name := range l.tickets {
				pass(t, l, p, name, fired)
			}
		}
	})
	for _, n := range []pb.TicketTimer{
		pb.TicketTimer_TICKET_TIMER_ACCEPT, pb.TicketTimer_TICKET_TIMER_DISPATCH, pb.TicketTimer_TICKET_TIMER_SIGN,
		pb.TicketTimer_TICKET_TIMER_CONTACT, pb.TicketTimer_TICKET_TIMER_RETURN_WINDOW, pb.TicketTimer_TICKET_TIMER_HANDLE,
	} {
		if fired[n] == 0 {
			t.Errorf("%s never fired: %v", n, fired)
		}
	}
}

// pass passes each timer that has run out, until none is left, the first that runs or any other.
func pass(t *rapid.T, l *life, p *rules, name string, fired map[pb.TicketTimer]int) {
	for n := 0; ; n++ {
		s := p.tickets[name]
		due := slices.DeleteFunc(s.Timers(), func(x ticket.Timer) bool { return calendar.OnTime(l.at, x.By) })
		if len(due) == 0 {
			return
		}
		if n > 40 {
			t.Fatalf("the timers do not end: %v", due)
		}
		x := due[0]
		if l.chance("another timer first", 20) {
			x = pick(l, "timer", due)
		}
		command := func() proto.Message {
			return &pb.PassTimerRequest{Name: name, RequestId: fmt.Sprint(x.Which, x.By), Timer: x.Which, By: timestamppb.New(x.By)}
		}
		out, err := p.Do(t.Context(), l.at, l.cast["timer"], command())
		if err != nil || len(out.Events) == 0 {
			t.Fatalf("%s, which ran out at %s in %s: got %v, %v", x.Which, x.By, s.State, out.Events, err)
		}
		fired[x.Which]++
		after := p.tickets[name]
		if slices.ContainsFunc(after.Timers(), func(y ticket.Timer) bool { return y.Which == x.Which && y.By.Equal(x.By) }) {
			t.Fatalf("%s of %s is still there after %v", x.Which, x.By, out.Events)
		}
		if out, err := p.Do(t.Context(), l.at, l.cast["timer"], command()); err != nil || len(out.Events) > 0 {
			t.Fatalf("%s fired again: got %v, %v", x.Which, out.Events, err)
		}
	}
}
