package view

import (
	"context"
	"strconv"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/rule"
)

// PeriodQuery asks what a period [From, To) came to at the nodes of a level. A zero From is the beginning, a zero To the end of all
// times.
type PeriodQuery struct {
	Level string
	// Area restricts as it does ListClosure.
	Area      string
	From, To  time.Time
	PageSize  int32
	PageToken string
}

// periodNodes reads what a query is about, then runs each for the nodes of a page, in the order of their codes. each says how many
// rows it added; a page ends with the node that fills it.
func (r *Reader) periodNodes(ctx context.Context, what string, q PeriodQuery, read func(b logbook, in period, of *selection) error, each func(n *node) int) (next string, at eventstore.Position, err error) {
	size, err := closurePages.size(q.PageSize)
	if err != nil {
		return "", 0, err
	}
	from, to, t, err := (&MetricQuery{From: q.From, To: q.To}).span()
	if err != nil {
		return "", 0, err
	}
	bound := bind(what, q.Level, q.Area, strconv.FormatInt(from, 10), strconv.FormatInt(to, 10))
	start, paged, err := cursor(bound, q.PageToken)
	if err != nil {
		return "", 0, err
	}
	at, err = r.openService(ctx, nil, func(b logbook) error {
		list, of, err := selectNodes(b, q.Level, q.Area, false)
		if err != nil {
			return err
		}
		if err := read(b, period{from: from, to: to, at: t}, of); err != nil {
			return err
		}
		rows, last := 0, ""
		for _, n := range list {
			if paged && n.code <= start {
				continue
			}
			if rows >= size {
				next = token(bound, last)
				return nil
			}
			rows += each(n)
			last = n.code
		}
		return nil
	})
	return next, at, err
}

// ListStages gives what the tickets of each node of a level spent in each stage, in the order of codes and stages: a page of nodes,
// each with all of its rows. A node and stage without a stay that ended has no row.
func (r *Reader) ListStages(ctx context.Context, q PeriodQuery) (rows []*pb.StageRow, next string, at eventstore.Position, err error) {
	sums := map[pb.Stage]map[int64]*cells{}
	next, at, err = r.periodNodes(ctx, "stages", q, func(b logbook, in period, of *selection) (err error) {
		for stage, figure := range stageFigures {
			if sums[stage], err = b.sum(figure, in, of); err != nil {
				return err
			}
		}
		return nil
	}, func(n *node) (added int) {
		for stage := pb.Stage_STAGE_RECEIVE; stage <= pb.Stage_STAGE_EVALUATE; stage++ {
			if c := sums[stage][n.id]; c != nil && c[cellStays] != 0 {
				rows = append(rows, &pb.StageRow{
					Level: n.level, Code: n.code, Name: n.label(), Path: n.path, Stage: stage,
					Stays: c[cellStays], Hours: float64(c[cellMicros]) / 3.6e9, Overdue: c[cellOverdue],
				})
				added++
			}
		}
		return added
	})
	return rows, next, at, err
}

// ListLedger gives the statement of a period of each node of a level, in the order of codes: opening + added - removed = closing. A
// node of which nothing was ever suspended or listed by the end of the period has no row.
func (r *Reader) ListLedger(ctx context.Context, kind pb.LedgerKind, q PeriodQuery) (rows []*pb.LedgerRow, next string, at eventstore.Position, err error) {
	figure, statement := byte(figHolds), holdsStatement
	switch kind {
	case pb.LedgerKind_LEDGER_KIND_SUSPENSION:
	case pb.LedgerKind_LEDGER_KIND_LISTING:
		figure, statement = figListings, listingsStatement
	default:
		return nil, "", 0, rule.Bad("kind", rule.UnknownValue, "want suspension or listing")
	}
	var before, within map[int64]*cells
	next, at, err = r.periodNodes(ctx, "ledger "+kind.String(), q, func(b logbook, in period, of *selection) (err error) {
		if within, err = b.sum(figure, in, of); err != nil || in.from == never {
			return err
		}
		before, err = b.sum(figure, period{from: never, to: in.from, at: in.at}, of)
		return err
	}, func(n *node) int {
		was, is := before[n.id], within[n.id]
		if was == nil && is == nil {
			return 0
		}
		row := statement(orNone(was), orNone(is))
		row.Level, row.Code, row.Name, row.Path = n.level, n.code, n.label(), n.path
		rows = append(rows, row)
		return 1
	})
	return rows, next, at, err
}

func orNone(c *cells) *cells {
	if c == nil {
		return new(cells)
	}
	return c
}

// holdsStatement tells what is suspended at the end by reason, such as "ENGINEERING".
func holdsStatement(was, is *cells) *pb.LedgerRow {
	row := &pb.LedgerRow{Reasons: map[string]int64{}}
	for i := range holdReasons {
		opening := was[i] - was[holdReasons+i]
		row.Opening += opening
		row.Added += is[i]
		row.Removed += is[holdReasons+i]
		if closing := opening + is[i] - is[holdReasons+i]; closing != 0 {
			row.Reasons[reasonName(i)] = closing
			row.Closing += closing
		}
	}
	return row
}

// listingsStatement tells what is listed at the end by level of supervision: "3", or "4" where it has risen since.
func listingsStatement(was, is *cells) *pb.LedgerRow {
	row := &pb.LedgerRow{
		Opening: was[cellListed] - was[cellCleared], Added: is[cellListed], Removed: is[cellCleared], Reasons: map[string]int64{},
	}
	row.Closing = row.Opening + row.Added - row.Removed
	account := was[cellAccount] + is[cellAccount]
	for level, n := range map[string]int64{"3": row.Closing - account, "4": account} {
		if n != 0 {
			row.Reasons[level] = n
		}
	}
	return row
}
