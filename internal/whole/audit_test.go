package whole

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

func TestATicketIsSeenAsItWasAndAsItWasKnown(t *testing.T) {
	t.Parallel()
	data := city(t)
	s := serve(t, data)
	c, ctx := s.dial(t), agent(t.Context())
	now := time.Now().Truncate(time.Microsecond)
	ago := func(h float64) *timestamppb.Timestamp {
		return timestamppb.New(now.Add(-time.Duration(h * float64(time.Hour))))
	}

	// Told an hour after another: what happened and what was known are two orders.
	report := matter("report")
	report.OccurredAt = ago(10)
	reported, err := c.ReportTicket(ctx, report)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.CloseTicket(ctx, &pb.CloseTicketRequest{Name: reported.Name, RequestId: "too-early"}); status.Code(err) != codes.FailedPrecondition {
		t.Fatalf("closed before it was accepted: %v", err)
	}
	accepted, err := c.AcceptTicket(ctx, &pb.AcceptTicketRequest{Name: reported.Name, RequestId: "accept", OccurredAt: ago(6)})
	if err != nil {
		t.Fatal(err)
	}
	closed, err := c.AnswerTicketDirectly(ctx, &pb.AnswerTicketDirectlyRequest{Name: reported.Name, RequestId: "answer", OccurredAt: ago(2), KnowledgeRef: "KB-1", Particulars: &pb.Particulars{Reply: "已答复"}})
	if err != nil {
		t.Fatal(err)
	}
	other, err := c.ReportTicket(ctx, matter("other"))
	if err != nil {
		t.Fatal(err)
	}

	const (
		reportedState = pb.TicketState_TICKET_STATE_REPORTED
		acceptedState = pb.TicketState_TICKET_STATE_ACCEPTED
		closedState   = pb.TicketState_TICKET_STATE_CLOSED
	)
	for _, q := range []struct {
		at    *timestamppb.Timestamp
		known string
		want  pb.TicketState // unspecified: there was no such ticket
	}{
		{ago(11), "", 0},
		{ago(10), "", reportedState},
		{ago(7), "", reportedState},
		{ago(6), "", acceptedState},
		{ago(3), "", acceptedState},
		{ago(1), "", closedState},
		{nil, "", closedState},
		{ago(1), reported.ConsistencyToken, reportedState},
		{ago(1), accepted.ConsistencyToken, acceptedState},
		{ago(7), accepted.ConsistencyToken, reportedState},
		{ago(1), closed.ConsistencyToken, closedState},
		{nil, accepted.ConsistencyToken, acceptedState},
		{ago(11), closed.ConsistencyToken, 0},
	} {
		got, err := c.GetTicketAsOf(auditor(t.Context()), &pb.GetTicketAsOfRequest{Name: reported.Name, AsOf: q.at, KnownAt: q.known})
		if q.want == 0 && status.Code(err) == codes.NotFound || q.want != 0 && err == nil && got.State == q.want {
			continue
		}
		t.Errorf("as of %v, known at %q: %v, %v; want %v", q.at.AsTime(), q.known, got.GetState(), err, q.want)
	}
	if _, err := c.GetTicketAsOf(auditor(t.Context()), &pb.GetTicketAsOfRequest{Name: other.Name, KnownAt: closed.ConsistencyToken}); status.Code(err) != codes.NotFound {
		t.Errorf("a ticket that was not known yet: %v", err)
	}
	if _, err := c.GetTicketAsOf(ctx, &pb.GetTicketAsOfRequest{Name: reported.Name}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("asked by somebody who is no auditor: %v", err)
	}

	id := strings.TrimPrefix(reported.Name, "tickets/")
	want := []string{"TicketReported", "CommandRefused", "TicketAccepted", "TicketAnsweredDirectly"}
	types := func(text string) (got []string) {
		for _, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
			var e struct {
				Position, Stream, Type, Hash string
				Version                      int
				OccurredAt                   time.Time `json:"occurred_at"`
				RequestID                    string    `json:"request_id"`
			}
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			if len(e.Hash) != 64 || e.Position == "" || e.Version < 1 || e.RequestID == "" || !strings.HasSuffix(e.Stream, id) {
				t.Errorf("a line lacks something: %s", line)
			}
			got = append(got, e.Type)
		}
		return got
	}
	over := must(t, projector, "replay", "--addr", s.grpc, "--ticket", id, "--format", "json")
	story := types(over)
	if got := fmt.Sprint(story); got != fmt.Sprint(want) {
		t.Errorf("the ticket's story is %s; want %v", got, want)
	}
	if strings.Contains(over, "张三丰") || strings.Contains(over, "13812345678") || strings.Contains(over, "sealed") {
		t.Error("the replay shows what is sealed")
	}
	s.stop(t)
	if here := must(t, projector, "replay", "--data", data, "--ticket", reported.Name, "--format", "json"); here != over {
		t.Errorf("replay of the directory differs from that of the server:\n%s\n%s", here, over)
	}
	until := must(t, projector, "replay", "--data", data, "--ticket", id, "--format", "json", "--until", ago(5).AsTime().Format(time.RFC3339))
	if got := fmt.Sprint(types(until)); got != "[TicketReported TicketAccepted]" {
		t.Errorf("what happened until five hours ago is %s", got)
	}
	text := must(t, projector, "replay", "--data", data, "--ticket", id)
	if lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n"); len(lines) != len(story) || !strings.Contains(lines[1], "CommandRefused") || !strings.Contains(lines[1], "WRONG_STATE") || !strings.Contains(lines[0], "later)") {
		t.Errorf("the timeline is\n%s", text)
	}
	after := must(t, projector, "replay", "--data", data, "--after", closed.ConsistencyToken, "--format", "json")
	if strings.Count(after, "\n") != 1 || !strings.Contains(after, `"request_id":"other"`) {
		t.Errorf("what follows the closing is\n%s", after)
	}
	if got := must(t, projector, "replay", "--data", data, "--area", street, "--format", "json"); strings.Count(got, `"type":"TicketReported"`) != 2 {
		t.Errorf("the street's history is\n%s", got)
	}
	if got := must(t, projector, "replay", "--data", data, "--area", otherStreet, "--format", "json"); got != "" {
		t.Errorf("another street's history is\n%s", got)
	}
	refused(t, []string{"NOT_FOUND"}, projector, "replay", "--data", data, "--ticket", "00000000-0000-4000-8000-000000000000")
	verified(t, data)
}
