package privacy

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// What must be erasable without a trace never moves inside the file. SQLite's secure_delete wipes what is deleted, but not
// the copies that stay behind when a full page is split or pages are merged. So rows of subjects and chains are only ever
// appended at the end, and changed only by values of the same length, which SQLite writes over the old ones in place. An
// index over the hashes of identities would move them: people are found through chains instead.
//
// A chain links, from the newest to the oldest, the people whose hashes fall into it. seq falls along a chain.
const schema = `
CREATE TABLE settings (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE subjects (
	seq   INTEGER PRIMARY KEY,
	id    BLOB NOT NULL, -- 16 bytes
	key   BLOB NOT NULL, -- wrapped, bound to the id; zeros when destroyed
	mac   BLOB NOT NULL, -- keyed hash of the identity; zeros when destroyed, empty when anonymous
	older BLOB NOT NULL  -- seq of the next in the chain, 8 bytes; empty when anonymous
);
CREATE UNIQUE INDEX subjects_id ON subjects (id);
CREATE TABLE chains (n INTEGER PRIMARY KEY, newest BLOB NOT NULL); -- 500 times the first seq of a chain, 8 bytes each
CREATE TABLE erased (id BLOB PRIMARY KEY, erased_at INTEGER NOT NULL) WITHOUT ROWID;
`

const (
	chainRows = 512
	perRow    = 500 // a row of 4000 bytes fills a page
)

// create makes an empty key database, whole or not at all.
func create(path string, master []byte) error {
	settings, err := newSettings(master)
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(path), ".keys-*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	defer temp.Close()
	if err := fill(temp.Name(), settings); err != nil {
		return fmt.Errorf("make it: %w", err)
	}
	return install(temp, path)
}

// fill makes the tables of a key database without subjects in an empty file.
func fill(path string, settings map[string][]byte) (err error) {
	conn, err := sqlite.OpenConn(path, sqlite.OpenReadWrite)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	pragmas := fmt.Sprintf(`PRAGMA page_size = 4096; PRAGMA auto_vacuum = NONE; PRAGMA journal_mode = MEMORY;
		PRAGMA application_id = %d; PRAGMA user_version = %d;`, applicationID, userVersion)
	if err := sqlitex.ExecuteScript(conn, pragmas+schema, nil); err != nil {
		return err
	}
	defer sqlitex.Save(conn)(&err)
	insert := conn.Prep("INSERT INTO chains (n, newest) VALUES ($1, $2)")
	for n := range chainRows {
		insert.BindInt64(1, int64(n))
		insert.BindBytes(2, make([]byte, 8*perRow))
		if err := step(insert); err != nil {
			return err
		}
	}

	setting := conn.Prep("INSERT INTO settings (name, value) VALUES ($1, $2)")
	for name, value := range settings {
		setting.BindText(1, name)
		setting.BindBytes(2, value)
		if err := step(setting); err != nil {
			return err
		}
	}
	return nil
}

// readSettings reads what a database is opened by, and sees to it that its tables are there.
func readSettings(conn *sqlite.Conn) (map[string][]byte, error) {
	settings := map[string][]byte{}
	err := sqlitex.Execute(conn, "SELECT name, value FROM settings", &sqlitex.ExecOptions{
		ResultFunc: func(row *sqlite.Stmt) error {
			settings[row.ColumnText(0)] = columnBytes(row, 1)
			return nil
		},
	})
	if err != nil {
		return nil, damaged(err)
	}
	for _, query := range []string{selectSeq, selectID, selectChain, selectNewest, selectErased} {
		if _, err := conn.Prepare(query); err != nil {
			return nil, damaged(err)
		}
	}
	return settings, nil
}

// damaged is explain where a table of ours is read for the first time: if it is not there, the file is damaged.
func damaged(err error) error {
	if sqlite.ErrCode(err).ToPrimary() == sqlite.ResultError {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return explain(err)
}

const (
	selectSeq    = "SELECT seq, id, key, mac, older FROM subjects WHERE seq = $1"
	selectID     = "SELECT seq, id, key, mac, older FROM subjects WHERE id = $1"
	selectChain  = "SELECT newest FROM chains WHERE n = $1"
	selectNewest = "SELECT substr(newest, $1, 8) FROM chains WHERE n = $2"
	selectErased = "SELECT erased_at FROM erased WHERE id = $1"
)

// row is a row of subjects.
type row struct {
	id  subjectID
	key []byte // wrapped
	mac []byte // keyed hash of the identity; empty when anonymous

	// Of a file alone.
	seq   int64
	older []byte
}

// scanOne is scanRow of a statement that gives one row.
func scanOne(stmt *sqlite.Stmt) (row, bool, error) {
	defer stmt.Reset()
	return scanRow(stmt)
}

// scanRow reads the next row.
func scanRow(stmt *sqlite.Stmt) (r row, ok bool, err error) {
	if ok, err = stmt.Step(); err != nil || !ok {
		return r, false, err
	}
	r = row{seq: stmt.ColumnInt64(0), key: columnBytes(stmt, 2), mac: columnBytes(stmt, 3), older: columnBytes(stmt, 4)}
	if stmt.ColumnBytes(1, r.id[:]) != len(r.id) || len(r.key) != storedSize ||
		!(len(r.mac) == 0 && len(r.older) == 0 || len(r.mac) == sha256.Size && len(r.older) == 8) {
		return r, false, fmt.Errorf("%w: a subject's row is malformed", ErrCorrupt)
	}
	return r, true, nil
}

func columnBytes(stmt *sqlite.Stmt, column int) []byte {
	b := make([]byte, stmt.ColumnLen(column))
	stmt.ColumnBytes(column, b)
	return b
}

func findID(conn *sqlite.Conn, id subjectID) (row, bool, error) {
	stmt, err := conn.Prepare(selectID)
	if err != nil {
		return row{}, false, err
	}
	stmt.BindBytes(1, id[:])
	return scanOne(stmt)
}

func isErased(conn *sqlite.Conn, id subjectID) (bool, error) {
	stmt, err := conn.Prepare(selectErased)
	if err != nil {
		return false, err
	}
	defer stmt.Reset()
	stmt.BindBytes(1, id[:])
	return stmt.Step()
}

// chain is one chain's place: its first seq stands in row n at an offset.
type chain struct {
	n      int64
	offset int
}

func chainOf(mac []byte) chain {
	slot := binary.BigEndian.Uint64(mac) % (chainRows * perRow)
	return chain{int64(slot / perRow), int(slot%perRow) * 8}
}

func readChain(conn *sqlite.Conn, n int64) ([]byte, error) {
	stmt, err := conn.Prepare(selectChain)
	if err != nil {
		return nil, err
	}
	defer stmt.Reset()
	stmt.BindInt64(1, n)
	ok, err := stmt.Step()
	if err != nil {
		return nil, err
	}
	if !ok || stmt.ColumnLen(0) != 8*perRow {
		return nil, fmt.Errorf("%w: a chain is missing", ErrCorrupt)
	}
	return columnBytes(stmt, 0), nil
}

// readNewest reads the one seq of a chain, where readChain reads those of its neighbours too.
func readNewest(conn *sqlite.Conn, at chain) (newest [8]byte, err error) {
	stmt, err := conn.Prepare(selectNewest)
	if err != nil {
		return newest, err
	}
	defer stmt.Reset()
	stmt.BindInt64(1, int64(at.offset)+1)
	stmt.BindInt64(2, at.n)
	ok, err := stmt.Step()
	if err != nil {
		return newest, err
	}
	if !ok || stmt.ColumnLen(0) != len(newest) {
		return newest, fmt.Errorf("%w: a chain is missing", ErrCorrupt)
	}
	stmt.ColumnBytes(0, newest[:])
	return newest, nil
}

// walk calls visit for the rows of a chain until it returns false.
func walk(conn *sqlite.Conn, newest []byte, visit func(row) bool) error {
	stmt, err := conn.Prepare(selectSeq)
	if err != nil {
		return err
	}
	for seq := int64(binary.BigEndian.Uint64(newest)); seq != 0; {
		stmt.BindInt64(1, seq)
		r, ok, err := scanOne(stmt)
		if err != nil {
			return err
		}
		if !ok || len(r.older) != 8 {
			return fmt.Errorf("%w: a chain leads nowhere", ErrCorrupt)
		}
		if !visit(r) {
			return nil
		}
		older := int64(binary.BigEndian.Uint64(r.older))
		if older < 0 || older >= seq {
			return fmt.Errorf("%w: a chain does not end", ErrCorrupt)
		}
		seq = older
	}
	return nil
}

// findPerson finds a subject by the keyed hash of the identity. It reads several rows: the caller sees to it that they are all of the
// same state.
func findPerson(conn *sqlite.Conn, mac hash) (found row, ok bool, err error) {
	newest, err := readNewest(conn, chainOf(mac[:]))
	if err != nil {
		return row{}, false, err
	}
	err = walk(conn, newest[:], func(r row) bool {
		if ok = hash(r.mac) == mac; ok {
			found = r
		}
		return !ok
	})
	return found, ok, err
}

// step carries out a statement that returns no rows. Parameters count in the order in which they stand in it.
func step(stmt *sqlite.Stmt) error {
	_, err := stmt.Step()
	return errors.Join(err, stmt.Reset())
}

// stepOne is step for an update that must find its row.
func stepOne(conn *sqlite.Conn, stmt *sqlite.Stmt) error {
	if err := step(stmt); err != nil {
		return err
	}
	if conn.Changes() != 1 {
		return fmt.Errorf("%w: a row is missing", ErrCorrupt)
	}
	return nil
}

// insertSubject appends a subject. mac is nil for an anonymous one.
func insertSubject(conn *sqlite.Conn, id subjectID, stored, mac []byte) error {
	stmt, err := conn.Prepare("INSERT INTO subjects (id, key, mac, older) VALUES ($1, $2, $3, $4)")
	if err != nil {
		return err
	}
	var older, newest []byte
	var at chain
	if mac != nil {
		at = chainOf(mac)
		if newest, err = readChain(conn, at.n); err != nil {
			return err
		}
		older = newest[at.offset : at.offset+8]
	}
	stmt.BindBytes(1, id[:])
	stmt.BindBytes(2, stored)
	stmt.BindBytes(3, mac)
	stmt.BindBytes(4, older)
	if err := step(stmt); err != nil || mac == nil {
		return err
	}
	binary.BigEndian.PutUint64(newest[at.offset:], uint64(conn.LastInsertRowID()))
	return updateChain(conn, at.n, newest)
}

func updateChain(conn *sqlite.Conn, n int64, newest []byte) error {
	stmt, err := conn.Prepare("UPDATE chains SET newest = $1 WHERE n = $2")
	if err != nil {
		return err
	}
	stmt.BindBytes(1, newest)
	stmt.BindInt64(2, n)
	return stepOne(conn, stmt)
}

// eraseSubject destroys what a row says of a person and leaves a tombstone.
func eraseSubject(conn *sqlite.Conn, e *erasure) error {
	tombstone, err := conn.Prepare("INSERT INTO erased (id, erased_at) VALUES ($1, $2) ON CONFLICT DO NOTHING")
	if err != nil {
		return err
	}
	tombstone.BindBytes(1, e.id[:])
	tombstone.BindInt64(2, e.at)
	if err := step(tombstone); err != nil {
		return err
	}
	r, ok, err := findID(conn, e.id)
	if err != nil || !ok || allZero(r.key) {
		return err
	}
	if len(r.mac) > 0 {
		if err := unlink(conn, r); err != nil {
			return err
		}
	}
	stmt, err := conn.Prepare("UPDATE subjects SET key = $1, mac = $2, older = $3 WHERE seq = $4")
	if err != nil {
		return err
	}
	stmt.BindBytes(1, make([]byte, len(r.key)))
	stmt.BindBytes(2, make([]byte, len(r.mac)))
	stmt.BindBytes(3, make([]byte, len(r.older)))
	stmt.BindInt64(4, r.seq)
	return stepOne(conn, stmt)
}

// unlink takes a row out of its chain.
func unlink(conn *sqlite.Conn, r row) error {
	at := chainOf(r.mac)
	newest, err := readChain(conn, at.n)
	if err != nil {
		return err
	}
	var before int64
	found := false
	err = walk(conn, newest[at.offset:], func(each row) bool {
		if found = each.seq == r.seq; !found {
			before = each.seq
		}
		return !found
	})
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("%w: a subject is missing in its chain", ErrCorrupt)
	}
	if before == 0 {
		copy(newest[at.offset:], r.older)
		return updateChain(conn, at.n, newest)
	}
	stmt, err := conn.Prepare("UPDATE subjects SET older = $1 WHERE seq = $2")
	if err != nil {
		return err
	}
	stmt.BindBytes(1, r.older)
	stmt.BindInt64(2, before)
	return stepOne(conn, stmt)
}
