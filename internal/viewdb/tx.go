package viewdb

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// Tx is a transaction. It belongs to one goroutine and ends with the function it was given to.
type Tx struct {
	db   *DB
	turn *turn // nil where one goroutine alone has the transaction

	pg    *session // PostgreSQL's; nil for SQLite, whose are the others
	conn  *sqlite.Conn
	stmts map[string]*stmt
}

// turn is whose turn it is among goroutines that share a transaction.
type turn struct {
	all   *sync.Mutex
	mine  bool
	depth int // statements under way, one inside the other
	done  int // since the turn began
}

// turnStatements is how many statements are run before others get their turn: enough for a change of turns to cost little.
const turnStatements = 256

// Share gives the transaction to so many goroutines, a Tx to each. Their statements take turns, many at a time, so that each calls Rest
// before it does anything that takes long. tx itself is not used until they are done.
func (tx *Tx) Share(n int) []*Tx {
	all := new(sync.Mutex)
	list := make([]*Tx, n)
	for i := range list {
		list[i] = &Tx{db: tx.db, pg: tx.pg, conn: tx.conn, stmts: tx.stmts, turn: &turn{all: all}}
	}
	return list
}

// Rest ends the turn, if the transaction is shared and it is this one's.
func (tx *Tx) Rest() {
	if t := tx.turn; t != nil && t.mine && t.depth == 0 {
		t.mine, t.done = false, 0
		t.all.Unlock()
	}
}

func (tx *Tx) enter() {
	if t := tx.turn; t != nil {
		if !t.mine {
			t.all.Lock()
			t.mine = true
		}
		t.depth++
	}
}

func (tx *Tx) leave() {
	if t := tx.turn; t != nil {
		t.depth--
		if t.done++; t.done >= turnStatements {
			tx.Rest()
		}
	}
}

// stmt is a prepared statement and the number of the argument that each of its parameters takes.
type stmt struct {
	*sqlite.Stmt
	args []int
	busy bool
	kept bool // in the connection's map
}

// maxStatements bounds what a connection keeps prepared; queries made from filters come in many shapes.
const maxStatements = 500

func newTx(db *DB, conn *sqlite.Conn) *Tx {
	return &Tx{db: db, conn: conn, stmts: map[string]*stmt{}}
}

func (tx *Tx) close() error {
	if tx.pg != nil {
		tx.pg.close()
		return nil
	}
	return errors.Join(tx.forget(), tx.conn.Close())
}

func (tx *Tx) run(ctx context.Context, begin string, do func(*Tx) error) (err error) {
	tx.conn.SetInterrupt(ctx.Done())
	defer tx.conn.SetInterrupt(nil)
	defer func() {
		if err != nil && ctx.Err() != nil {
			err = ctx.Err()
		}
	}()
	if err := tx.exec(begin); err != nil {
		return err
	}
	defer func() {
		if tx.conn.AutocommitEnabled() {
			return // committed, or the engine rolled back by itself
		}
		tx.conn.SetInterrupt(nil)
		err = errors.Join(err, tx.exec("ROLLBACK"))
	}()
	if err := do(tx); err != nil {
		return err
	}
	return tx.exec("COMMIT")
}

func (tx *Tx) exec(sql string) error {
	_, err := tx.Exec(sql)
	return err
}

// Exec runs a statement and says how many rows it changed. Arguments are int64, int, string, []byte, bool, float64 or nil.
func (tx *Tx) Exec(sql string, args ...any) (int64, error) {
	tx.enter()
	defer tx.leave()
	if tx.pg != nil {
		return tx.pg.exec(sql, args)
	}
	s, err := tx.prepare(sql)
	if err != nil {
		return 0, err
	}
	defer tx.release(s)
	if err := s.bind(args); err != nil {
		return 0, err
	}
	for {
		row, err := s.Step()
		if err != nil {
			return 0, fmt.Errorf("%s: %w", head(sql), err)
		}
		if !row {
			return int64(tx.conn.Changes()), nil
		}
	}
}

// Put runs a statement of which nobody asks how many rows it changed. A server may be sent many at a time: each takes effect before what follows it in the
// transaction, but what is wrong with it may be told by a later call, by Flush at the latest.
func (tx *Tx) Put(sql string, args ...any) error {
	if tx.pg == nil {
		_, err := tx.Exec(sql, args...)
		return err
	}
	tx.enter()
	defer tx.leave()
	return tx.pg.put(sql, args)
}

// Flush waits until all that was put has been done.
func (tx *Tx) Flush() error {
	if tx.pg == nil {
		return nil
	}
	tx.enter()
	defer tx.leave()
	return tx.pg.settle()
}

// Script runs statements without arguments, one after the other.
func (tx *Tx) Script(statements ...string) error {
	tx.enter()
	defer tx.leave()
	if tx.pg != nil {
		return tx.pg.script(statements)
	}
	for _, sql := range statements {
		if err := sqlitex.ExecuteTransient(tx.conn, sql, nil); err != nil {
			return fmt.Errorf("%s: %w", head(sql), err)
		}
	}
	return nil
}

// Query yields the rows of a statement. A row is good until the next one. Breaking out of it frees everything.
func (tx *Tx) Query(sql string, args ...any) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		tx.enter()
		defer tx.leave()
		if tx.pg != nil {
			tx.pg.yield(yield, sql, args)
			return
		}
		s, err := tx.prepare(sql)
		if err != nil {
			yield(Row{}, err)
			return
		}
		defer tx.release(s)
		if err := s.bind(args); err != nil {
			yield(Row{}, err)
			return
		}
		for {
			more, err := s.Step()
			if err != nil {
				yield(Row{}, fmt.Errorf("%s: %w", head(sql), err))
				return
			}
			if !more || !yield(Row{s: s.Stmt}, nil) {
				return
			}
		}
	}
}

// Row is a row of a Query.
type Row struct {
	s  *sqlite.Stmt
	pg *result // PostgreSQL's; nil for SQLite
}

// Int64 is column i, from 0; 0 for NULL.
func (r Row) Int64(i int) int64 {
	if r.pg != nil {
		return r.pg.int64(i)
	}
	return r.s.ColumnInt64(i)
}

// Bool is whether column i is not 0.
func (r Row) Bool(i int) bool { return r.Int64(i) != 0 }

// Text is a copy of column i; empty for NULL.
func (r Row) Text(i int) string {
	if r.pg != nil {
		return r.pg.text(i)
	}
	return r.s.ColumnText(i)
}

// Bytes appends column i to buf.
func (r Row) Bytes(i int, buf []byte) []byte {
	if r.pg != nil {
		return append(buf, r.pg.now[i]...)
	}
	n := r.s.ColumnLen(i)
	at := len(buf)
	for cap(buf)-at < n {
		buf = append(buf[:cap(buf)], 0)
	}
	buf = buf[:at+n]
	r.s.ColumnBytes(i, buf[at:])
	return buf
}

// Float is column i; 0 for NULL.
func (r Row) Float(i int) float64 {
	if r.pg != nil {
		return r.pg.float(i)
	}
	return r.s.ColumnFloat(i)
}

// Null is whether column i is NULL.
func (r Row) Null(i int) bool {
	if r.pg != nil {
		return r.pg.now[i] == nil
	}
	return r.s.ColumnIsNull(i)
}

// Kind is what column i holds: 'i' a whole number, 'f' a float, 's' text, 'b' bytes, '0' NULL.
func (r Row) Kind(i int) byte {
	if r.pg != nil {
		return r.pg.kind(i)
	}
	switch r.s.ColumnType(i) {
	case sqlite.TypeInteger:
		return 'i'
	case sqlite.TypeFloat:
		return 'f'
	case sqlite.TypeText:
		return 's'
	case sqlite.TypeBlob:
		return 'b'
	}
	return '0'
}

// Columns is how many columns the row has.
func (r Row) Columns() int {
	if r.pg != nil {
		return len(r.pg.kinds)
	}
	return r.s.ColumnCount()
}

func (tx *Tx) prepare(sql string) (*stmt, error) {
	if s := tx.stmts[sql]; s != nil && !s.busy {
		s.busy = true
		return s, nil
	}
	if len(tx.stmts) >= maxStatements {
		if err := tx.forget(); err != nil {
			return nil, err
		}
	}
	raw, rest, err := tx.conn.PrepareTransient(sql)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", head(sql), err)
	}
	if rest != 0 {
		return nil, errors.Join(fmt.Errorf("%s: more than one statement", head(sql)), raw.Finalize())
	}
	s := &stmt{Stmt: raw, busy: true, args: make([]int, raw.BindParamCount())}
	for i := range s.args {
		// The engine numbers named parameters in the order they first stand in the text.
		if _, err := fmt.Sscanf(raw.BindParamName(i+1), "$%d", &s.args[i]); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: parameters are named $1, $2, …", head(sql)), raw.Finalize())
		}
	}
	if tx.stmts[sql] == nil {
		tx.stmts[sql], s.kept = s, true
	}
	return s, nil
}

func (tx *Tx) release(s *stmt) {
	// A statement that failed reports its error again here.
	_ = s.Reset()
	s.busy = false
	if !s.kept {
		_ = s.Finalize()
	}
}

func (tx *Tx) forget() error {
	var err error
	for sql, s := range tx.stmts {
		if !s.busy {
			err = errors.Join(err, s.Finalize())
			delete(tx.stmts, sql)
		}
	}
	return err
}

func (s *stmt) bind(args []any) error {
	for i, n := range s.args {
		if n < 1 || n > len(args) {
			return fmt.Errorf("statement takes $%d, got %d arguments", n, len(args))
		}
		switch v := args[n-1].(type) {
		case int64:
			s.BindInt64(i+1, v)
		case string:
			s.BindText(i+1, v)
		case []byte:
			if v == nil {
				v = []byte{}
			}
			s.BindBytes(i+1, v)
		case bool:
			s.BindBool(i+1, v)
		case nil:
			s.BindNull(i + 1)
		case int:
			s.BindInt64(i+1, int64(v))
		case float64:
			s.BindFloat(i+1, v)
		default:
			return fmt.Errorf("statement: $%d is of a type that columns do not have", n)
		}
	}
	return nil
}

// head is the beginning of a statement, for errors. It holds no arguments.
func head(sql string) string {
	r := []rune(sql)
	if len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return sql
}
