package view

import (
	"cmp"
	"slices"

	"github.com/chuishao/dispatch/internal/viewdb"
)

// unionLog is the logbook of all partitions.
type unionLog struct {
	*union
	whole *viewdb.Tx // of the views that are not kept in partitions
}

func (u *unionLog) sum(figure byte, in period, of *selection) (map[int64]*cells, error) {
	return sumsOf(u.union, of, addCells, func(t *table, of *selection) (map[int64]*cells, error) { return (&logs{t}).sum(figure, in, of) })
}

// life is that of a partition's ticket, with our nodes.
func (u *unionLog) life(i int, l *life) *life {
	is := *l
	is.fixed, is.area, is.category = u.ids(i, nil, l.fixed), u.ids(i, nil, l.area), u.id(i, l.category)
	is.steps = slices.Clone(l.steps)
	for k := range is.steps {
		s := &is.steps[k]
		s.unit, s.other = u.ids(i, nil, s.unit), u.ids(i, nil, s.other)
		if s.what == didDispatch && len(s.n) > 1 { // co-handlers' units
			s.n = append([]int64{s.n[0]}, u.ids(i, nil, s.n[1:])...)
		}
	}
	return &is
}

func (u *unionLog) between(after, from, to int64, yield func(l *life) (bool, error)) error {
	return inOrder(u.union, func(t *table, yield func(l *life) (bool, error)) error {
		return (&logs{t}).between(after, from, to, yield)
	},
		func(a, b *life) int { return cmp.Compare(a.ticket, b.ticket) },
		func(i int, l *life) (bool, error) { return yield(u.life(i, l)) })
}

func (u *unionLog) held(yield func(l *life)) error {
	for i, t := range u.tables {
		if err := (&logs{t}).held(func(l *life) { yield(u.life(i, l)) }); err != nil {
			return err
		}
	}
	return nil
}

// persons asks each partition for all who are known: the others of a person may be in another.
func (u *unionLog) persons(from, to int64, yield func(all []*life)) error {
	type report struct {
		part int
		of   reported
	}
	var all []report
	end := func() error {
		defer func() { all = all[:0] }()
		if len(all) < 2 {
			return nil
		}
		var lives []*life
		for _, r := range all {
			l := &life{subject: r.of.subject, ticket: r.of.ticket}
			if err := l.read(r.of.life); err != nil {
				return err
			}
			lives = append(lives, u.life(r.part, l))
		}
		yield(lives)
		return nil
	}
	err := inOrder(u.union, func(t *table, yield func(r reported) (bool, error)) error { return (&logs{t}).reports(from, to, yield) },
		func(a, b reported) int {
			return cmp.Or(cmp.Compare(a.subject, b.subject), cmp.Compare(a.ticket, b.ticket))
		},
		func(i int, r reported) (bool, error) {
			if len(all) > 0 && all[0].of.subject != r.subject {
				if err := end(); err != nil {
					return false, err
				}
			}
			all = append(all, report{i, r})
			return true, nil
		})
	if err != nil {
		return err
	}
	return end()
}

// reported is a ticket whose petitioner is known.
type reported struct {
	subject string
	ticket  int64
	life    []byte
}

// reports yields those of which something may count in [from, to), by their petitioners.
func (b *logs) reports(from, to int64, yield func(r reported) (bool, error)) error {
	query := "SELECT subject, ticket, life FROM service_ticket_3 WHERE subject <> '' AND to_at >= $1 AND from_at < $2 ORDER BY subject, ticket"
	for row, err := range b.tx.Query(query, from, to) {
		if err != nil {
			return err
		}
		if more, err := yield(reported{row.Text(0), row.Int64(1), row.Bytes(2, nil)}); err != nil || !more {
			return err
		}
	}
	return nil
}

// levels are those of the partition that has come farthest: all have them in one order.
func (u *unionLog) levels() ([]string, error) { return levelsIn(u.tables[0].tx) }

// everListed looks tickets up that the view of listings names.
func (u *unionLog) everListed(yield func(l *life) (bool, error)) error {
	var ids []any
	for row, err := range u.whole.Query("SELECT id FROM listings_ticket_1 ORDER BY id") {
		if err != nil {
			return err
		}
		ids = append(ids, row.Text(0))
	}
	where := "id IN (" + arguments(countersRead) + ")"
	for some := range slices.Chunk(ids, countersRead) {
		args := slices.Clone(some)
		for len(args) < countersRead {
			args = append(args, some[0])
		}
		for i, t := range u.tables {
			err := (&logs{t}).lives(where, args, func(l *life) (bool, error) { return yield(u.life(i, l)) })
			if err != nil {
				return err
			}
		}
	}
	return nil
}
