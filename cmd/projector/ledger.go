package main

import (
	"encoding/json"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

var ledgerColumns = []string{"level", "area_code", "area_name", "path", "issuer_level", "opening", "added", "removed", "closing", "reasons", "ages", "difference"}

// reconciliation is the sum of a statement's nodes (对账).
type reconciliation struct {
	Level      string `json:"level"`
	Opening    int64  `json:"opening"`
	Added      int64  `json:"added"`
	Removed    int64  `json:"removed"`
	Closing    int64  `json:"closing"`
	Difference int64  `json:"difference"`
	Balanced   bool   `json:"balanced"`
}

// sumLevel stands where the nodes have their level.
const sumLevel = "sum"

// reconcile adds a statement's nodes up, and says whether it balances: each line, the levels that listed with their node, and what is open by reason and by age, which are
// counted one by one, with the closing.
func reconcile(rows []*pb.LedgerRow) reconciliation {
	r := reconciliation{Level: sumLevel, Balanced: true}
	for _, row := range rows {
		r.Opening, r.Added, r.Removed, r.Closing = r.Opening+row.Opening, r.Added+row.Added, r.Removed+row.Removed, r.Closing+row.Closing
		var of pb.LedgerLine
		for _, l := range row.Issuers {
			of.Opening, of.Added, of.Removed, of.Closing = of.Opening+l.Opening, of.Added+l.Added, of.Removed+l.Removed, of.Closing+l.Closing
			r.Balanced = r.Balanced && difference(l) == 0
		}
		whole := line(row)
		r.Balanced = r.Balanced && difference(whole) == 0 && (len(row.Issuers) == 0 || proto.Equal(&of, whole)) &&
			sum(row.Reasons) == row.Closing && (len(row.Ages) == 0 || sum(row.Ages) == row.Closing)
	}
	r.Difference = r.Opening + r.Added - r.Removed - r.Closing
	return r
}

func line(row *pb.LedgerRow) *pb.LedgerLine {
	return &pb.LedgerLine{Opening: row.Opening, Added: row.Added, Removed: row.Removed, Closing: row.Closing}
}

// difference is what a line's closing lacks; 0 where it balances.
func difference(l *pb.LedgerLine) int64 { return l.Opening + l.Added - l.Removed - l.Closing }

func sum(parts map[string]int64) (all int64) {
	for _, n := range parts {
		all += n
	}
	return all
}

func (p printer) ledger(rows []*pb.LedgerRow) error {
	r := reconcile(rows)
	if p.format == "json" {
		all := make([]any, 0, len(rows)+1)
		for _, row := range rows {
			text, err := protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}.Marshal(row)
			if err != nil {
				return err
			}
			all = append(all, json.RawMessage(text))
		}
		out := json.NewEncoder(p.w)
		out.SetIndent("", "  ")
		return out.Encode(append(all, r))
	}
	var lines [][]string
	for _, row := range rows {
		lines = append(lines, append([]string{row.Level, row.Code, row.Name, row.Path, ""}, amounts(line(row), counts(row.Reasons), counts(row.Ages))...))
		for _, l := range row.Issuers {
			lines = append(lines, append([]string{row.Level, row.Code, row.Name, row.Path, l.Level}, amounts(l, "", "")...))
		}
	}
	said := "balanced"
	if !r.Balanced {
		said = "not balanced"
	}
	whole := &pb.LedgerLine{Opening: r.Opening, Added: r.Added, Removed: r.Removed, Closing: r.Closing}
	lines = append(lines, append([]string{sumLevel, "", said, "", ""}, amounts(whole, "", "")...))
	return print[*pb.LedgerRow](p, ledgerColumns, lines, nil)
}

func amounts(l *pb.LedgerLine, reasons, ages string) []string {
	return []string{count(l.Opening), count(l.Added), count(l.Removed), count(l.Closing), reasons, ages, count(difference(l))}
}
