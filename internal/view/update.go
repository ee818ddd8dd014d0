package view

import (
	"fmt"
	"sync"

	"github.com/chuishao/dispatch/internal/viewdb"
)

// updates are the statements that change a row. Of the columns that indexes are over a statement names those that change: to name one costs its
// entries, changed or not.
type updates struct {
	set     string // what is always set, by the arguments $1 to $args
	args    int
	columns []string // that indexes are over, 32 at most
	where   string   // the column that names the row

	known sync.Map // the statements, by which of the columns they name
}

// exec changes the row: args are set, and of the columns those that are not what they were.
func (u *updates) exec(tx *viewdb.Tx, args, was, is []any, row int64) error {
	mask := uint32(0)
	for i, v := range is {
		if v != was[i] {
			mask |= 1 << i
			args = append(args, v)
		}
	}
	sql, ok := u.known.Load(mask)
	if !ok {
		text, n := u.set, u.args
		for i, column := range u.columns {
			if mask&(1<<i) != 0 {
				n++
				text += fmt.Sprintf(", %s = $%d", column, n)
			}
		}
		sql, _ = u.known.LoadOrStore(mask, text+fmt.Sprintf(" WHERE %s = $%d", u.where, n+1))
	}
	err := tx.Put(sql.(string), append(args, row)...)
	return err
}
