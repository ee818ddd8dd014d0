package dispatch_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch/dispatchtest"
	"github.com/chuishao/dispatch/internal/rule"
)

var update = flag.Bool("update", false, "write the golden files anew")

// What every role is shown stands in testdata/shown.txt; a change there is a change of who learns what.
func TestEveryRoleIsShownItsPartOfTheParticulars(t *testing.T) {
	t.Parallel()
	c := dispatchtest.Open(t)
	name := c.Do(t, dispatchtest.Hotline, &pb.ReportTicketRequest{
		RequestId: "r", Channel: pb.Channel_CHANNEL_HOTLINE, Kind: pb.MatterKind_MATTER_KIND_HELP, Area: dispatchtest.Community,
		Particulars: &pb.Particulars{
			Title: "电话13812345678", Text: "电话13812345678", Place: "电话13812345678", Cause: "电话13812345678", Course: "电话13812345678",
			Reply: "电话13812345678", Note: "电话13812345678",
			Petitioner: &pb.Petitioner{Name: "张三丰", Phone: "13812345678", Address: "春笋中路12号"},
		},
	})
	s, result, err := c.LoadTicket(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	s.Holder, s.Lead, s.Co = dispatchtest.DistrictUrban, dispatchtest.DistrictUrban, []string{dispatchtest.OtherStreet}
	var golden strings.Builder
	for _, confidentiality := range []pb.Confidentiality{pb.Confidentiality_CONFIDENTIALITY_OPEN, pb.Confidentiality_CONFIDENTIALITY_CONFIDENTIAL} {
		s.Confidentiality = confidentiality
		for _, at := range []struct{ what, unit string }{{"lead", dispatchtest.DistrictUrban}, {"co-handler", dispatchtest.OtherStreet}} {
			for role := range int32(len(pb.Role_name)) {
				actor := rule.Actor{Person: "p", Roles: []pb.Role{pb.Role(role)}, Unit: at.unit}
				p, erased, err := c.Particulars(t.Context(), result.Stream, s, actor)
				if err != nil || erased {
					t.Fatal(err, erased)
				}
				var seen []string
				if who := p.Petitioner; who != nil {
					seen = append(seen, "petitioner")
					if who.Name != "张**" || who.Phone != "138****5678" || strings.Contains(who.Address, "12") {
						t.Errorf("%s: the petitioner is shown as %v", pb.Role(role), who)
					}
				}
				for _, text := range []struct{ name, shown string }{
					{"title", p.Title}, {"text", p.Text}, {"place", p.Place}, {"cause", p.Cause}, {"course", p.Course}, {"reply", p.Reply}, {"note", p.Note},
				} {
					if text.shown == "" {
						continue
					}
					seen = append(seen, text.name)
					if text.shown != "电话138****5678" {
						t.Errorf("%s: %s is shown as %q", pb.Role(role), text.name, text.shown)
					}
				}
				fmt.Fprintln(&golden, strings.TrimPrefix(confidentiality.String(), "CONFIDENTIALITY_"), at.what, strings.TrimPrefix(pb.Role(role).String(), "ROLE_")+":", strings.Join(seen, " "))
			}
		}
	}
	const path = "testdata/shown.txt"
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(golden.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if golden.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", golden.String(), want)
	}
	both := rule.Actor{Person: "p", Roles: []pb.Role{pb.Role_ROLE_CITIZEN, pb.Role_ROLE_SUPERVISOR}, Unit: dispatchtest.OtherStreet}
	if p, _, err := c.Particulars(t.Context(), result.Stream, s, both); err != nil || p.GetPetitioner() == nil || p.GetNote() == "" {
		t.Errorf("of several roles the one that is shown most counts: %v, %v", p, err)
	}
}
