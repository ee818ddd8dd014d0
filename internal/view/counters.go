package view

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/chuishao/dispatch/internal/viewdb"
)

// counters is a table of whole counters by node, shelf, day and column, and what is to be added to it. Days that lie together share a row:
// most nodes see few tickets, so that a row for each day would be a row for nearly each ticket.
type counters struct {
	table string
	bits  uint // 1<<bits days share a row

	sums []sum         // a node's day and shelf each, in the order in which they were first added to
	at   map[int64]int // where in sums, by first
	last int           // where in sums was added to last: the next addition is often to the same
	held int           // counters in sums

	// What rows that were written lately say, and those before them; a row is put among the first again when it is written again.
	known, before map[int64][]byte
}

// sum is what is to be added to the counters of a node's day and shelf.
type sum struct {
	first int64   // the number of its first column
	list  []count // in the order of their numbers
}

// count is a counter's number, and how much it is.
type count struct{ k, n int64 }

func newCounters(table string, bits uint) *counters {
	return &counters{table: table, bits: bits, at: map[int64]int{}, known: map[int64][]byte{}}
}

// A counter has the number node<<36 | shelf<<34 | (day-firstDay)<<12 | column, the row it lies in that of its first day, without the column.
// Shelves are 0 to 3, columns 0 to 4095, days those of the years that a timestamp can tell, counted from 1970-01-01.
const (
	firstDay   = -1 << 20
	lastDay    = firstDay + 1<<22 // excluded
	columnBits = 12
	nodeShift  = 24 // in the number of a row
	shelfShift = 22
)

// countersKept is how many counters a folding keeps in memory for each stream that it may keep.
const countersKept = 16

// countersRead is how many rows are read at a time.
const countersRead = 64

// countersKnown is how many rows that were written are remembered, and as many again of those before: some 4 MiB.
const countersKnown = 8_000

func (c *counters) schema() string {
	return "CREATE TABLE " + c.table + ` (
	place  INTEGER PRIMARY KEY,
	counts BLOB NOT NULL
)`
}

func (c *counters) dump() string {
	return "SELECT 'counts', place, counts FROM " + c.table + " ORDER BY place"
}

// cellAt is the number of the first column of a node's day.
func cellAt(node, shelf, day int64) int64 {
	return (node<<nodeShift | shelf<<shelfShift | min(max(day, firstDay), lastDay-1) - firstDay) << columnBits
}

func (c *counters) add(first int64, column int, n int64) {
	if c.last >= len(c.sums) || c.sums[c.last].first != first {
		i, ok := c.at[first]
		if !ok {
			i = len(c.sums)
			c.at[first] = i
			if i < cap(c.sums) {
				c.sums = c.sums[:i+1] // with the list that lies there, to be filled again
			} else {
				c.sums = append(c.sums, sum{})
			}
			c.sums[i].first, c.sums[i].list = first, c.sums[i].list[:0]
		}
		c.last = i
	}
	s := &c.sums[c.last]
	k := first | int64(column)
	i, ok := len(s.list), false
	if i > 0 && s.list[i-1].k >= k {
		i, ok = slices.BinarySearchFunc(s.list, k, func(a count, k int64) int { return cmp.Compare(a.k, k) })
	}
	if ok {
		s.list[i].n += n
		return
	}
	s.list = slices.Insert(s.list, i, count{k, n})
	c.held++
}

// ordered are the counters that something is to be added to, in the order of the table.
func (c *counters) ordered() []count {
	slices.SortFunc(c.sums, func(a, b sum) int { return cmp.Compare(a.first, b.first) })
	all := make([]count, 0, c.held)
	for i := range c.sums {
		for _, x := range c.sums[i].list {
			if x.n != 0 {
				all = append(all, x)
			}
		}
	}
	c.sums, c.last, c.held = c.sums[:0], 0, 0
	clear(c.at)
	return all
}

// save writes what was added, in the order of the table.
func (c *counters) save(tx *viewdb.Tx) error {
	insert := "INSERT INTO " + c.table + " (place, counts) VALUES ($1, $2)"
	update := "UPDATE " + c.table + " SET counts = $2 WHERE place = $1"
	var rows [][]count // those of one row each
	for list := c.ordered(); len(list) > 0; {
		place, n := c.placeOf(list[0].k), 1
		for n < len(list) && c.placeOf(list[n].k) == place {
			n++
		}
		rows, list = append(rows, list[:n]), list[n:]
	}
	if err := c.learn(tx, rows); err != nil {
		return err
	}
	var buf []byte
	for _, list := range rows {
		place := c.placeOf(list[0].k)
		was := c.known[place]
		var err error
		if buf, err = merge(buf[:0], place, was, list); err != nil {
			return err
		}
		switch {
		case len(buf) == 0: // then there is a row: what is added is not 0
			err = tx.Put("DELETE FROM "+c.table+" WHERE place = $1", place)
		case len(was) > 0:
			err = tx.Put(update, place, buf)
		default:
			err = tx.Put(insert, place, buf)
		}
		if err != nil {
			return err
		}
		c.known[place] = append(was[:0], buf...)
	}
	if len(c.known) > countersKnown {
		c.known, c.before = map[int64][]byte{}, c.known
	}
	return nil
}

// learn finds out what the rows say that are not known; of those that are not there, nothing.
func (c *counters) learn(tx *viewdb.Tx, rows [][]count) error {
	last := int64(math.MinInt64) // of the rows there are
	for row, err := range tx.Query("SELECT MAX(place) FROM " + c.table) {
		if err != nil {
			return err
		}
		if !row.Null(0) {
			last = row.Int64(0)
		}
	}
	var ask []any
	for _, list := range rows {
		place := c.placeOf(list[0].k)
		if _, ok := c.known[place]; ok {
			continue
		}
		if was, ok := c.before[place]; ok {
			c.known[place] = was
			delete(c.before, place)
		} else if place <= last {
			ask = append(ask, place)
		}
	}
	// Rows are read many at a time: a server would be waited for at each.
	query := "SELECT place, counts FROM " + c.table + " WHERE place IN (" + arguments(countersRead) + ")"
	for ; len(ask) > 0; ask = ask[min(len(ask), countersRead):] {
		for len(ask) < countersRead {
			ask = append(ask, ask[0])
		}
		for row, err := range tx.Query(query, ask[:countersRead]...) {
			if err != nil {
				return err
			}
			c.known[row.Int64(0)] = row.Bytes(1, nil)
		}
	}
	return nil
}

// placeOf is the row that a counter lies in.
func (c *counters) placeOf(k int64) int64 { return k >> columnBits &^ (1<<c.bits - 1) }

// arguments names so many arguments, from $1.
func arguments(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("$%d", i+1)
	}
	return strings.Join(list, ", ")
}

// merge appends the counters of a row with what is added, both in order: of each that is not 0 the step from the number before, and how
// much it is.
func merge(buf []byte, place int64, old []byte, add []count) ([]byte, error) {
	last := place << columnBits
	put := func(k, n int64) {
		if n != 0 {
			buf = binary.AppendVarint(binary.AppendUvarint(buf, uint64(k-last)), n)
			last = k
		}
	}
	err := eachCount(place, old, func(k, n int64) {
		for len(add) > 0 && add[0].k < k {
			put(add[0].k, add[0].n)
			add = add[1:]
		}
		if len(add) > 0 && add[0].k == k {
			n += add[0].n
			add = add[1:]
		}
		put(k, n)
	})
	for _, x := range add {
		put(x.k, x.n)
	}
	return buf, err
}

// eachCount yields the counters of a row by their numbers, in order.
func eachCount(place int64, buf []byte, yield func(k, n int64)) error {
	k := place << columnBits
	for len(buf) > 0 {
		step, i := binary.Uvarint(buf)
		n, j := binary.Varint(buf[max(i, 0):])
		if i <= 0 || j <= 0 {
			return errCounts
		}
		buf = buf[i+j:]
		k += int64(step)
		yield(k, n)
	}
	return nil
}

var errCounts = errors.New("counters are cut short")

// read yields what is written of the nodes asked about: the counters of a shelf, of days from first and before last.
func (c *counters) read(tx *viewdb.Tx, nodes string, of *selection, shelf, first, last int64, yield func(node int64, column int, n int64)) error {
	first, last = max(first, firstDay), min(last, lastDay)
	if first >= last {
		return nil
	}
	from, to := cellAt(0, shelf, first), cellAt(0, shelf, last-1)+1<<columnBits // of the numbers, without their node
	lowest, highest := from>>columnBits&^(1<<c.bits-1), (to-1)>>columnBits
	var buf []byte
	add := func(row viewdb.Row) error {
		place := row.Int64(0)
		node := place >> nodeShift
		if of.nodes[node] == nil {
			return nil
		}
		buf = row.Bytes(1, buf[:0])
		low, high := from+node<<(nodeShift+columnBits), to+node<<(nodeShift+columnBits)
		return eachCount(place, buf, func(k, n int64) {
			if k >= low && k < high {
				yield(node, int(k&(1<<columnBits-1)), n)
			}
		})
	}
	if of.level == "" || len(of.nodes) <= fewNodes {
		query := "SELECT place, counts FROM " + c.table + " WHERE place >= $1 AND place <= $2"
		for id := range of.nodes {
			for row, err := range tx.Query(query, id<<nodeShift+lowest, id<<nodeShift+highest) {
				if err == nil {
					err = add(row)
				}
				if err != nil {
					return err
				}
			}
		}
		return nil
	}
	query := fmt.Sprintf(`SELECT d.place, d.counts FROM %s n CROSS JOIN %s d
		WHERE n.level = $1 AND d.place >= n.id * %d + $2 AND d.place <= n.id * %d + $3`, nodes, c.table, 1<<nodeShift, 1<<nodeShift)
	for row, err := range tx.Query(query, of.level, lowest, highest) {
		if err == nil {
			err = add(row)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
