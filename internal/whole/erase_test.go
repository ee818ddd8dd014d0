package whole

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

func TestAfterAnErasureNothingOfThePersonIsLeftAndNoFigureChanges(t *testing.T) {
	t.Parallel()
	data := city(t)
	s := serve(t, data)
	c, ctx := s.dial(t), agent(t.Context())
	person := &pb.Petitioner{Name: "欧阳娜娜芬", Phone: "13987654321", Address: "无锡市锡山区春雷路七十七弄", IdNumber: "320205198001011234", CallbackWanted: true}
	traces := []string{person.Name, person.Phone, person.Address, person.IdNumber, "厨房漏水到楼下客厅", "四单元三零二门前", "水管接头锈断了", "上周五夜里开始", "渗漏投诉标题", "师傅周六上门换管", "她说白天不在家"}
	report := matter("hers")
	report.Particulars = &pb.Particulars{Petitioner: person, Text: traces[4], Place: traces[5], Cause: traces[6], Course: traces[7], Title: traces[8]}

	var instants []time.Time
	mark := func() { instants = append(instants, time.Now()) }
	mark()
	reported, err := c.ReportTicket(ctx, report)
	if err != nil {
		t.Fatal(err)
	}
	mark()
	for n := range 12 { // other people, so that figures are more than hers
		r := matter(fmt.Sprintf("theirs-%d", n))
		r.Particulars.Petitioner.Phone = fmt.Sprintf("1380000%04d", n)
		a, err := c.ReportTicket(ctx, r)
		if err == nil && n%2 == 0 {
			if a, err = c.AcceptTicket(ctx, &pb.AcceptTicketRequest{Name: a.Name, RequestId: r.RequestId + "/accept"}); err == nil && n%4 == 0 {
				_, err = c.AnswerTicketDirectly(ctx, &pb.AnswerTicketDirectlyRequest{Name: a.Name, RequestId: r.RequestId + "/answer", KnowledgeRef: "KB-1", Particulars: &pb.Particulars{Reply: "已答复"}})
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	mark()
	if _, err := c.AcceptTicket(ctx, &pb.AcceptTicketRequest{Name: reported.Name, RequestId: "hers/accept", Particulars: &pb.Particulars{Note: traces[10]}}); err != nil {
		t.Fatal(err)
	}
	mark()
	// Refused, with her words in it: the refusal is noted, the words are not.
	if _, err := c.SubmitResult(ctx, &pb.SubmitResultRequest{Name: reported.Name, RequestId: "hers/too-early", Result: pb.ResultCode_RESULT_CODE_RESOLVED, Particulars: &pb.Particulars{Reply: traces[9]}}); err == nil {
		t.Fatal("a result was submitted before the dispatch")
	}
	if _, err := c.AnswerTicketDirectly(ctx, &pb.AnswerTicketDirectlyRequest{Name: reported.Name, RequestId: "hers/answer", KnowledgeRef: "KB-1", Particulars: &pb.Particulars{Reply: traces[9]}}); err != nil {
		t.Fatal(err)
	}
	seen, err := c.RevealIdentity(ctx, &pb.RevealIdentityRequest{Name: reported.Name, RequestId: "hers/reveal", Purpose: pb.RevealPurpose_REVEAL_PURPOSE_CONTACT})
	if err != nil || seen.Petitioner.GetName() != person.Name {
		t.Fatalf("reveal: %v, %v", seen, err)
	}
	mark()

	// Malformed, with her number in the wrong field.
	bad := matter("hers/malformed")
	bad.Area, bad.Particulars = "no such area", report.Particulars
	if _, err := c.ReportTicket(ctx, bad); err == nil {
		t.Error("a report with an unknown area was accepted")
	}
	instants = append(instants, time.Now().Add(24*time.Hour), time.Now().AddDate(1, 0, 0))
	past := func() (all []string) {
		token := tail(t, c)
		for _, at := range instants {
			all = append(all, figures(t, c, at, "", token)...)
		}
		return all
	}
	before := past()

	auditing := auditor(t.Context())
	erased, err := c.EraseSubject(auditing, &pb.EraseSubjectRequest{Name: reported.Name, RequestId: "erase", OrderRef: "order-1"})
	if err != nil || erased.Subject == "" {
		t.Fatalf("erase: %v, %v", erased, err)
	}
	if d := differ(past(), before); d != "" || len(before) < 3*len(instants) {
		t.Errorf("figures of the past changed with the erasure: %s", d)
	}
	shown, err := c.GetTicket(ctx, &pb.GetTicketRequest{Name: reported.Name})
	if err != nil || !shown.Erased || shown.Particulars != nil {
		t.Errorf("after the erasure: %v, %v", shown, err)
	}
	if _, err := c.RevealIdentity(ctx, &pb.RevealIdentityRequest{Name: reported.Name, RequestId: "hers/reveal-2", Purpose: pb.RevealPurpose_REVEAL_PURPOSE_CONTACT}); err == nil {
		t.Error("an erased identity was revealed")
	}
	again, err := c.ReportTicket(ctx, report)
	if err != nil || !again.Repeated || again.Name != reported.Name || again.ConsistencyToken != reported.ConsistencyToken {
		t.Errorf("the original report again: %v, %v; want %v", again, err, reported)
	}
	if d := differ(past(), before); d != "" {
		t.Errorf("figures of the past changed with the repeated report: %s", d)
	}

	searched := 0
	search := func(what string, b []byte) {
		t.Helper()
		searched += len(b)
		for _, trace := range traces {
			if bytes.Contains(b, []byte(trace)) {
				t.Errorf("%s holds %q", what, trace)
			}
		}
	}
	searchDir := func(dir string) {
		t.Helper()
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			search(path, b)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	searchDir(data) // with the logs of the databases as they are while it runs
	_, exposed, err := s.get("/metrics")
	if err != nil || !strings.Contains(exposed, "chuishao_commands_total") {
		t.Errorf("/metrics: %v", err)
	}
	search("/metrics", []byte(exposed))
	backup := filepath.Join(t.TempDir(), "backup.tar")
	must(t, dispatcher, "backup", "--addr", s.grpc, "--to", backup)
	searchDir(filepath.Dir(backup))
	for _, format := range []string{"text", "json"} {
		search("replay", []byte(must(t, projector, "replay", "--addr", s.grpc, "--format", format)))
	}
	s.stop(t)
	search("the log", []byte(s.stderr.String()))
	searchDir(data)
	verified(t, data)
	restored := filepath.Join(t.TempDir(), "restored")
	must(t, dispatcher, "restore", "--from", backup, "--data", restored)
	verified(t, restored)
	searchDir(restored)
	t.Logf("%d texts of the person sought in %d bytes; %d figures at %d instants the same before and after", len(traces), searched, len(before), len(instants))
}
