package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

func rowsOf(closing, aged, cityClosing int64) []*pb.LedgerRow {
	return []*pb.LedgerRow{
		{Level: "district", Code: "d1", Opening: 2, Added: 3, Removed: 1, Closing: closing, Reasons: map[string]int64{"3": closing}, Ages: map[string]int64{"to_15_days": aged},
			Issuers: []*pb.LedgerLine{{Level: "city", Opening: 1, Removed: 1, Closing: cityClosing}, {Level: "district", Opening: 1, Added: 3, Closing: 4}}},
		{Level: "district", Code: "d2", Added: 1, Closing: 1, Reasons: map[string]int64{"4": 1}, Ages: map[string]int64{"to_30_days": 1}, Issuers: []*pb.LedgerLine{{Level: "city", Added: 1, Closing: 1}}},
	}
}

func TestAStatementSaysWhetherItBalances(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rows     []*pb.LedgerRow
		balanced bool
	}{
		"balanced":                       {rowsOf(4, 4, 0), true},
		"closing is something else":      {rowsOf(5, 5, 0), false},
		"something is open of no age":    {rowsOf(4, 3, 0), false},
		"a level's line does not add up": {rowsOf(4, 4, 1), false},
		"nothing":                        {nil, true},
	} {
		if r := reconcile(c.rows); r.Balanced != c.balanced {
			t.Errorf("%s: got %+v", name, r)
		}
	}
}

func TestAStatementIsPrintedWithItsIssuersAndItsSum(t *testing.T) {
	t.Parallel()
	print := func(format string, rows []*pb.LedgerRow) string {
		var b bytes.Buffer
		if err := (printer{&b, format}).ledger(rows); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	want := `level,area_code,area_name,path,issuer_level,opening,added,removed,closing,reasons,ages,difference
district,d1,,,,2,3,1,4,"{""3"":4}","{""to_15_days"":4}",0
district,d1,,,city,1,0,1,0,,,0
district,d1,,,district,1,3,0,4,,,0
district,d2,,,,0,1,0,1,"{""4"":1}","{""to_30_days"":1}",0
district,d2,,,city,0,1,0,1,,,0
sum,,balanced,,,2,4,1,5,,,0
`
	if got := print("csv", rowsOf(4, 4, 0)); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	table := strings.Split(strings.TrimSpace(print("table", rowsOf(5, 5, 0))), "\n")
	if last := strings.Fields(table[len(table)-1]); strings.Join(last, " ") != "sum not balanced 2 4 1 6 -1" {
		t.Errorf("got %q", last)
	}
	var all []map[string]any
	if err := json.Unmarshal([]byte(print("json", rowsOf(4, 4, 0))), &all); err != nil || len(all) != 3 || all[2]["balanced"] != true || all[2]["level"] != sumLevel {
		t.Errorf("got %v, %v", all, err)
	}
}
