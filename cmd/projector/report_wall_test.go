package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/app"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/rule"
)

func TestTheWallReportSaysTheSameInEveryFormat(t *testing.T) {
	t.Parallel()
	dir, _ := city(t)
	if code, out, errs := run(t, "report", "wall", "--data", dir, "--level", "grid", "--format", "json"); code != 0 || strings.TrimSpace(out) != "[]" {
		t.Errorf("before anything was posted: exit code %d\n%s%s", code, out, errs)
	}
	node, err := app.Open(t.Context(), dir, quiet)
	if err != nil {
		t.Fatal(err)
	}
	const grid, community = "320205001001001", "320205001001"
	carry := func(role pb.Role, unit string, command proto.Message) string {
		t.Helper()
		by := rule.Actor{Person: unit, Roles: []pb.Role{role}, Unit: unit}
		_, result, err := node.Dispatcher.Carry(t.Context(), dispatch.Request{Actor: by, Command: command})
		if err != nil {
			t.Fatalf("%T: %v", command, err)
		}
		return "posts/" + dispatch.ID(result.Stream)
	}
	for i := range 4 {
		id := func(step string) string { return fmt.Sprint(step, i) }
		post := carry(pb.Role_ROLE_CITIZEN, community, &pb.PostOnWallRequest{RequestId: id("p"), Area: grid, Category: "0101", Particulars: &pb.Particulars{Text: "堆物"}})
		screen := &pb.ScreenPostRequest{RequestId: id("s"), Name: post, Admit: i != 3, Particulars: &pb.Particulars{Reply: "堆物"}}
		if i == 3 {
			screen.Reason, screen.Particulars = "NO_MATTER", nil
		}
		carry(pb.Role_ROLE_COMMUNITY_CLERK, community, screen)
		switch i {
		case 0:
			carry(pb.Role_ROLE_GRID_WORKER, grid, &pb.SelfSolvePostRequest{RequestId: id("o"), Name: post, Particulars: &pb.Particulars{Reply: "已清理"}})
		case 1:
			carry(pb.Role_ROLE_GRID_WORKER, grid, &pb.LiftPostRequest{RequestId: id("l"), Name: post, Reason: pb.EscalationReason_ESCALATION_REASON_RESOURCES})
		}
	}
	if err := node.Close(); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"level": "grid", "area_code": grid, "child_posts": "3", "self_solved": "1", "self_solved_rate": "0.333333", "lifted": "1", "lifted_closed": "0",
		"lifted_closed_rate": "0.000000", "refused": "1",
	}
	code, out, errs := run(t, "report", "wall", "--data", dir, "--level", "grid", "--area", community, "--format", "csv")
	lines, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if code != 0 || err != nil || len(lines) != 2 {
		t.Fatalf("csv: exit code %d, %v\n%s%s", code, err, out, errs)
	}
	for i, column := range lines[0] {
		if w, ok := want[column]; ok && lines[1][i] != w {
			t.Errorf("csv: %s is %s, want %s", column, lines[1][i], w)
		}
	}
	code, out, errs = run(t, "report", "wall", "--data", dir, "--level", "grid", "--format", "table")
	if table := strings.Split(strings.TrimSpace(out), "\n"); code != 0 || len(table) != 2 || strings.Join(strings.Fields(table[0]), ",") != strings.Join(lines[0], ",") {
		t.Errorf("table: exit code %d\n%s%s", code, out, errs)
	}
	code, out, errs = run(t, "report", "wall", "--data", dir, "--level", "grid", "--format", "json")
	var rows []map[string]any
	if err := json.Unmarshal([]byte(out), &rows); code != 0 || err != nil || len(rows) != 1 {
		t.Fatalf("json: exit code %d, %v\n%s%s", code, err, out, errs)
	}
	for _, column := range lines[0] {
		if _, ok := rows[0][column]; !ok {
			t.Errorf("json: no %s", column)
		}
	}
	if rows[0]["child_posts"] != 3.0 || rows[0]["self_solved"] != 1.0 || rows[0]["refused"] != 1.0 || rows[0]["lifted"] != 1.0 || rows[0]["lifted_closed_rate"] != 0.0 {
		t.Errorf("json: got %v", rows[0])
	}
	for _, bad := range [][]string{{"--metric", "M29"}, {"--kind", "listing"}, {"--format", "xml"}} {
		if code, out, _ := run(t, append([]string{"report", "wall", "--data", dir, "--level", "grid"}, bad...)...); code != 2 || out != "" {
			t.Errorf("%v: exit code %d, want 2\n%s", bad, code, out)
		}
	}
}
