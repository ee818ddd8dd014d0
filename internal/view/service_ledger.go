package view

import (
	"context"
	"math"
	"slices"
	"strconv"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/rule"
)

// PeriodQuery asks what a period [From, To) came to at the nodes of a level. A zero From is the beginning, a zero To just after At.
type PeriodQuery struct {
	Level string
	// Area restricts as it does ListClosure.
	Area     string
	From, To time.Time
	// At is the instant as of which it is told; the zero time is the end of all times. KnownAt and Map are as in MetricQuery.
	At      time.Time
	KnownAt *eventstore.Position
	Map     Map
	// Now is when ages are told if the period ends later or never does.
	Now time.Time
	// WithQuantiles adds medians and 90th percentiles to ListStages, for which each stay is looked at.
	WithQuantiles bool
	PageSize      int32
	PageToken     string
}

// pageOf reads the rows of a query and gives a page of them. read makes all, in the order of their keys.
func pageOf[T any](ctx context.Context, r *Reader, what string, q PeriodQuery, key func(row T) string,
	read func(b logbook, in period, list []*node, of *selection) ([]T, error),
) (rows []T, next string, at eventstore.Position, err error) {
	size, err := closurePages.size(q.PageSize)
	if err != nil {
		return nil, "", 0, err
	}
	from, to, t, err := (&MetricQuery{From: q.From, To: q.To, At: q.At}).span()
	if err != nil {
		return nil, "", 0, err
	}
	bound := bind(what, q.Level, q.Area, strconv.FormatInt(from, 10), strconv.FormatInt(to, 10), strconv.FormatInt(t, 10), knownText(q.KnownAt), mapText(q.Map))
	after, paged, err := cursor(bound, q.PageToken)
	if err != nil {
		return nil, "", 0, err
	}
	at, err = r.openService(ctx, q.KnownAt, func(b logbook) error {
		b, err := logOnMap(b, q.Map)
		if err != nil {
			return err
		}
		list, of, err := selectNodes(b, q.Level, q.Area, false)
		if err != nil {
			return err
		}
		rows, err = read(b, period{from: from, to: to, at: t}, list, of)
		return err
	})
	if err != nil {
		return nil, "", 0, err
	}
	if paged {
		rows = slices.DeleteFunc(rows, func(row T) bool { return key(row) <= after })
	}
	if len(rows) > size {
		rows = rows[:size]
		next = token(bound, key(rows[size-1]))
	}
	return rows, next, at, nil
}

// ListStages gives what the tickets of each node of a level spent in each stage, in the order of codes and stages. A node and stage
// without a stay that ended has no row.
func (r *Reader) ListStages(ctx context.Context, q PeriodQuery) (rows []*pb.StageRow, next string, at eventstore.Position, err error) {
	key := func(row *pb.StageRow) string { return row.Code + "\x00" + strconv.Itoa(int(row.Stage)) }
	return pageOf(ctx, r, "stages", q, key, func(b logbook, in period, list []*node, of *selection) (rows []*pb.StageRow, err error) {
		sums := map[pb.Stage]map[int64]*cells{}
		for stage, figure := range stageFigures {
			if sums[stage], err = b.sum(figure, in, of); err != nil {
				return nil, err
			}
		}
		var took map[stageAt][]int64
		if q.WithQuantiles {
			if took, err = staysOf(b, in, of); err != nil {
				return nil, err
			}
		}
		for _, n := range list {
			for stage := pb.Stage_STAGE_RECEIVE; stage <= pb.Stage_STAGE_EVALUATE; stage++ {
				if c := sums[stage][n.id]; c != nil && c[cellStays] != 0 {
					t := took[stageAt{stage, n.id}]
					rows = append(rows, &pb.StageRow{
						Level: n.level, Code: n.code, Name: n.label(), Path: n.path, Stage: stage,
						Stays: c[cellStays], Hours: float64(c[cellMicros]) / 3.6e9, Overdue: c[cellOverdue],
						MedianHours: median(t), P90Hours: tenth(t),
					})
				}
			}
		}
		return rows, nil
	})
}

// stageAt is a stage at a node.
type stageAt struct {
	stage pb.Stage
	node  int64
}

// staysOf are the stays that ended in a period, in microseconds.
func staysOf(b logbook, in period, of *selection) (map[stageAt][]int64, error) {
	took := map[stageAt][]int64{}
	return took, b.between(0, in.from, in.to, func(l *life) (bool, error) {
		for _, s := range l.walk(in.at).stays {
			if s.to >= in.from && s.to < in.to {
				of.counted(l, s.unit, func(id int64) {
					at := stageAt{s.stage, id}
					took[at] = append(took[at], s.to-s.from)
				})
			}
		}
		return true, nil
	})
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
	key := func(row *pb.LedgerRow) string { return row.Code }
	of := eventstore.Position(math.MaxInt64)
	var c checks
	if kind == pb.LedgerKind_LEDGER_KIND_LISTING && q.KnownAt != nil {
		if c, err = recallChecks(ctx, r.store, *q.KnownAt); err != nil {
			return nil, "", 0, err
		}
	}
	rows, next, at, err = pageOf(ctx, r, "ledger "+kind.String(), q, key, func(b logbook, in period, list []*node, chosen *selection) (rows []*pb.LedgerRow, err error) {
		within, err := b.sum(figure, in, chosen)
		if err != nil {
			return nil, err
		}
		before := map[int64]*cells{}
		if in.from != never {
			if before, err = b.sum(figure, period{from: never, to: in.from, at: in.at}, chosen); err != nil {
				return nil, err
			}
		}
		for _, n := range list {
			was, is := orNone(before[n.id]), orNone(within[n.id])
			if *was == (cells{}) && *is == (cells{}) {
				continue
			}
			row := statement(was, is)
			row.Level, row.Code, row.Name, row.Path = n.level, n.code, n.label(), n.path
			rows = append(rows, row)
		}
		if kind == pb.LedgerKind_LEDGER_KIND_LISTING {
			if tx, ok := wholeOf(b); ok {
				if of, err = projector.Position(tx, ListingsView); err != nil {
					return nil, err
				}
				if c, err = readChecks(tx); err != nil {
					return nil, err
				}
			}
			return listingLedger(b, c, &q, in, list, chosen, rows, before, within)
		}
		return rows, nil
	})
	return rows, next, min(at, of), err
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
