package privacy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// In PostgreSQL a row that is changed or deleted is written anew or marked; the former bytes stay until a VACUUM, and longer in the free space of pages
// and in the write-ahead log. What a file does by chains and values of one length is to no avail here. So people are found by a plain index, an erased
// subject's row is deleted, and tables are vacuumed as soon as a row is dead.
//
// No id is in subjects and in erased: new ids are random, and who adds rows of another database locks erased first.
const postgresSchema = `
CREATE TABLE chuishao_keys.settings (name text COLLATE "C" PRIMARY KEY, value bytea NOT NULL);
CREATE TABLE chuishao_keys.subjects (
	id  bytea PRIMARY KEY CHECK (octet_length(id) = 16),
	key bytea NOT NULL CHECK (octet_length(key) = 60), -- wrapped, bound to the id
	mac bytea UNIQUE CHECK (octet_length(mac) = 32)    -- keyed hash of the identity; null when anonymous
) WITH (autovacuum_enabled = true, autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0);
CREATE TABLE chuishao_keys.erased (id bytea PRIMARY KEY CHECK (octet_length(id) = 16), erased_at bigint NOT NULL);
`

const (
	markerSetting = "chuishao keys" // its value is the layout

	// creationLock is the advisory lock under which a schema is made.
	creationLock = applicationID

	postgresConns = 8
	// patience is how long one call waits for a database that does not answer.
	patience = 10 * time.Second
)

// postgresEngine is a schema in PostgreSQL that many processes write.
type postgresEngine struct {
	config  *pgx.ConnConfig
	options Options
	slots   chan *pgx.Conn // nil where none is open
	closing chan struct{}

	dirty chan struct{} // asks the sweeper to go
	stop  context.CancelFunc
	swept chan struct{} // closed when the sweeper has ended
}

var _ engine = (*postgresEngine)(nil)

// OpenPostgres opens the key database in the schema chuishao_keys of a PostgreSQL database, or makes it if there is none and options allow writing. An
// empty schema of that name will do, for a role that may not make one. The caller closes it. url is a connection string of libpq; several hosts in it with
// target_session_attrs=read-write follow a failover. Errors: ErrForeign, ErrNewer, ErrCorrupt, ErrMasterKey, ErrUnavailable; fs.ErrNotExist where
// there is none to read; nothing is changed then.
//
// Any number of processes may have it open for writing: the same person is the same subject for all of them, and what one has erased nobody finds a
// moment later, since each use of a key begins with a look at its row.
func OpenPostgres(ctx context.Context, url string, options Options) (*Keys, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, errors.New("open key database in PostgreSQL: the URL cannot be read; want postgres://user@host:port/database") // it holds a password
	}
	k, err := open(options, func(k *Keys, unlock func(map[string][]byte) error) (engine, error) {
		return openPostgres(ctx, config, options, k.closing, unlock)
	})
	if err != nil {
		return nil, fmt.Errorf("open key database in PostgreSQL, database %s at %s:%d: %w", config.Database, config.Host, config.Port, err)
	}
	return k, nil
}

func openPostgres(ctx context.Context, config *pgx.ConnConfig, options Options, closing chan struct{}, unlock func(map[string][]byte) error) (*postgresEngine, error) {
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = patience / 2
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "chuishao keys"
	}
	config.OnNotice = func(*pgconn.PgConn, *pgconn.Notice) {}
	e := &postgresEngine{
		config: config, options: options, slots: make(chan *pgx.Conn, postgresConns), closing: closing,
		dirty: make(chan struct{}, 1), swept: make(chan struct{}),
	}
	for range postgresConns {
		e.slots <- nil
	}
	settings, err := e.settings(ctx)
	if errors.Is(err, fs.ErrNotExist) && !options.ReadOnly {
		settings, err = e.create(ctx)
	}
	if err == nil {
		err = unlock(settings)
	}
	if err != nil {
		e.closeIdle()
		return nil, err
	}
	if options.ReadOnly {
		close(e.swept)
		e.stop = func() {}
		return e, nil
	}
	sweeping, stop := context.WithCancel(context.Background())
	e.stop = stop
	e.dirty <- struct{}{} // for an erasure that a crash cut short
	go e.sweeper(sweeping)
	return e, nil
}

// settings reads the settings of the database. fs.ErrNotExist: there is no schema, or nothing in it.
func (e *postgresEngine) settings(ctx context.Context) (settings map[string][]byte, err error) {
	err = e.do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		settings, err = readPostgres(ctx, conn)
		return err
	})
	return settings, err
}

// querier is a connection or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func readPostgres(ctx context.Context, q querier) (map[string][]byte, error) {
	var some, ours bool
	err := q.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_class WHERE relnamespace = to_regnamespace('chuishao_keys')),
		to_regclass('chuishao_keys.settings') IS NOT NULL`).Scan(&some, &ours)
	switch {
	case err != nil:
		return nil, err
	case !some:
		return nil, fmt.Errorf("there is no schema chuishao_keys, or nothing in it: %w", fs.ErrNotExist)
	case !ours:
		return nil, fmt.Errorf("%w: the schema chuishao_keys holds something else", ErrForeign)
	}
	settings := map[string][]byte{}
	rows, err := q.Query(ctx, "SELECT name, value FROM chuishao_keys.settings")
	if err == nil {
		var name string
		var value []byte
		_, err = pgx.ForEachRow(rows, []any{&name, &value}, func() error {
			settings[name] = bytes.Clone(value)
			return nil
		})
	}
	if pg := new(pgconn.PgError); errors.As(err, &pg) && (pg.Code == "42703" || pg.Code == "42883") || errors.As(err, new(pgx.ScanArgError)) {
		return nil, fmt.Errorf("%w: the table of settings is another", ErrForeign)
	}
	if err != nil {
		return nil, err
	}
	marker := settings[markerSetting]
	switch {
	case len(marker) != 1:
		return nil, fmt.Errorf("%w: the schema chuishao_keys holds something else", ErrForeign)
	case marker[0] > userVersion:
		return nil, ErrNewer
	}
	// What is not there is missing for good.
	err = q.QueryRow(ctx, `SELECT EXISTS (SELECT id, key, mac FROM chuishao_keys.subjects), EXISTS (SELECT id, erased_at FROM chuishao_keys.erased)`).Scan(&some, &some)
	if pg := new(pgconn.PgError); errors.As(err, &pg) && strings.HasPrefix(pg.Code, "42") && pg.Code != "42501" {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return settings, err
}

// create makes the tables, unless another process is quicker.
func (e *postgresEngine) create(ctx context.Context) (settings map[string][]byte, err error) {
	err = e.transaction(ctx, patience, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", creationLock); err != nil {
			return err
		}
		settings, err = readPostgres(ctx, tx)
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		var exists bool
		if err := tx.QueryRow(ctx, "SELECT to_regnamespace('chuishao_keys') IS NOT NULL").Scan(&exists); err != nil {
			return err
		}
		script := postgresSchema
		if !exists { // IF NOT EXISTS asks for the right to make one all the same
			script = "CREATE SCHEMA chuishao_keys;" + script
		}
		if _, err := tx.Exec(ctx, script, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
		if settings, err = newSettings(e.options.MasterKey); err != nil {
			return err
		}
		settings[markerSetting] = []byte{userVersion}
		for name, value := range settings {
			if _, err := tx.Exec(ctx, "INSERT INTO chuishao_keys.settings (name, value) VALUES ($1, $2)", name, value); err != nil {
				return err
			}
		}
		return nil
	})
	return settings, err
}

func (e *postgresEngine) shared() bool { return true }

func (e *postgresEngine) find(ctx context.Context, macs []hash) ([]row, error) {
	var rows []row
	err := e.do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		rows = make([]row, len(macs))
		found, err := findPeople(ctx, conn, macs)
		for i, mac := range macs {
			rows[i] = found[mac]
		}
		return err
	})
	return rows, err
}

const selectPeople = "SELECT id, key, mac FROM chuishao_keys.subjects WHERE mac = ANY ($1)"

func findPeople(ctx context.Context, q querier, macs []hash) (map[hash]row, error) {
	rows, err := q.Query(ctx, selectPeople, byteas(macs, func(m *hash) []byte { return m[:] }))
	if err != nil {
		return nil, err
	}
	found := map[hash]row{}
	return found, eachRow(rows, func(r row) { found[hash(r.mac)] = r })
}

// eachRow reads rows of id, key and mac.
func eachRow(rows pgx.Rows, visit func(row)) error {
	defer rows.Close()
	for rows.Next() {
		raw := rows.RawValues()
		if len(raw) != 3 || len(raw[0]) != len(subjectID{}) || len(raw[1]) != storedSize || raw[2] != nil && len(raw[2]) != len(hash{}) {
			return fmt.Errorf("%w: a subject's row is malformed", ErrCorrupt)
		}
		visit(row{id: subjectID(raw[0]), key: bytes.Clone(raw[1]), mac: bytes.Clone(raw[2])})
	}
	return rows.Err()
}

// byteas are values as an argument of type bytea[].
func byteas[T any](values []T, of func(*T) []byte) [][]byte {
	out := make([][]byte, len(values))
	for i := range values {
		out[i] = of(&values[i])
	}
	return out
}

func (e *postgresEngine) lookup(ctx context.Context, id subjectID) (stored []byte, err error) {
	err = e.do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		var erased bool
		err := conn.QueryRow(ctx, `SELECT (SELECT key FROM chuishao_keys.subjects WHERE id = $1), EXISTS (SELECT FROM chuishao_keys.erased WHERE id = $1)`,
			id[:]).Scan(&stored, &erased)
		switch {
		case err != nil:
			return err
		case erased:
			return ErrErased
		case stored == nil:
			return ErrUnknown
		case len(stored) != storedSize:
			return fmt.Errorf("%w: a subject's row is malformed", ErrCorrupt)
		}
		return nil
	})
	return stored, err
}

const (
	// The secret is compared where a lock on the table is held already, which adopt waits for.
	insertSubjects = `INSERT INTO chuishao_keys.subjects (id, key, mac) SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[])
		WHERE EXISTS (SELECT FROM chuishao_keys.settings WHERE name = 'secret' AND value = $4) ON CONFLICT DO NOTHING`
	selectSecret = "SELECT value = $1 FROM chuishao_keys.settings WHERE name = 'secret'"
	insertErased = `INSERT INTO chuishao_keys.erased (id, erased_at) SELECT * FROM unnest($1::bytea[], $2::bigint[]) ON CONFLICT DO NOTHING`
	deleteErased = "DELETE FROM chuishao_keys.subjects WHERE id = ANY ($1)"
)

// queueInsert queues the insertion of those rows that do not conflict with any, in the order of their hashes, so that two who insert the same people wait
// for each other in one direction.
func queueInsert(b *pgx.Batch, secret []byte, rows []row) {
	rows = slices.SortedFunc(slices.Values(rows), func(a, b row) int { return bytes.Compare(a.mac, b.mac) })
	b.Queue(insertSubjects,
		byteas(rows, func(r *row) []byte { return r.id[:] }),
		byteas(rows, func(r *row) []byte { return r.key }),
		byteas(rows, func(r *row) []byte {
			if len(r.mac) == 0 {
				return nil // anonymous
			}
			return r.mac
		}), secret)
}

// record sends a batch in one round trip, which is one transaction. A person may be erased between the statement that finds her there already and the one
// that reads her row: then she is made anew.
func (e *postgresEngine) record(b *batch) error {
	for {
		known := true
		err := e.call(context.Background(), patience, func(ctx context.Context, conn *pgx.Conn) error {
			var send pgx.Batch
			same := true
			clear(b.found)
			if n := len(b.people) + len(b.spares); n > 0 {
				queueInsert(&send, b.secret, slices.Concat(b.people, b.spares))
				send.Queue(selectSecret, b.secret).QueryRow(func(row pgx.Row) error { return row.Scan(&same) })
			}
			if len(b.people) > 0 {
				send.Queue(selectPeople, byteas(b.people, func(r *row) []byte { return r.mac })).Query(func(rows pgx.Rows) error {
					return eachRow(rows, func(r row) { b.found[hash(r.mac)] = r })
				})
			}
			if len(b.erase) > 0 {
				gone := slices.SortedFunc(slices.Values(b.erase), func(a, b erasure) int { return bytes.Compare(a.id[:], b.id[:]) })
				ids := byteas(gone, func(each *erasure) []byte { return each.id[:] })
				at := make([]int64, len(gone))
				for i, each := range gone {
					at[i] = each.at
				}
				send.Queue(insertErased, ids, at)
				send.Queue(deleteErased, ids)
			}
			if err := conn.SendBatch(ctx, &send).Close(); err != nil {
				return err
			}
			if !same {
				return ErrReplaced
			}
			known = len(b.found) == len(b.people)
			return nil
		})
		if err != nil || known {
			return err
		}
	}
}

func (e *postgresEngine) erasing(context.Context) (done func(), err error) { return func() {}, nil }

// sweep has the sweeper remove what is left of deleted rows. Nobody waits for it: no query finds them any more, and how long it takes is up to who still
// reads an older state. Autovacuum goes on with what it had to leave.
func (e *postgresEngine) sweep() error {
	select {
	case e.dirty <- struct{}{}:
	default:
	}
	return nil
}

// sweeper vacuums when asked to, once for all who ask meanwhile.
func (e *postgresEngine) sweeper(ctx context.Context) {
	defer close(e.swept)
	for {
		select {
		case <-e.dirty:
		case <-ctx.Done():
			return
		}
		// An error is as good as a state that somebody reads: autovacuum comes later.
		_ = e.lend(ctx, func(conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, "VACUUM (INDEX_CLEANUP ON) chuishao_keys.subjects", pgx.QueryExecModeSimpleProtocol)
			return err
		})
	}
}

func (e *postgresEngine) subjects(ctx context.Context, visit func([]row) error) error {
	return inPages(ctx, e, subjectsAfter, func(r *row) *subjectID { return &r.id }, visit)
}

// inPages visits what read gives after an id, a page at a time, to the end.
func inPages[T any](ctx context.Context, e *postgresEngine, read func(context.Context, querier, []byte) ([]T, error), idOf func(*T) *subjectID, visit func([]T) error) error {
	for last := []byte{}; ; {
		var page []T
		err := e.do(ctx, func(ctx context.Context, conn *pgx.Conn) (err error) {
			page, err = read(ctx, conn, last)
			return err
		})
		if err == nil && len(page) > 0 {
			last = bytes.Clone(idOf(&page[len(page)-1])[:])
			err = visit(page)
		}
		if err != nil || len(page) < pageSize {
			return err
		}
	}
}

func subjectsAfter(ctx context.Context, q querier, last []byte) (page []row, err error) {
	rows, err := q.Query(ctx, "SELECT id, key, mac FROM chuishao_keys.subjects WHERE id > $1 ORDER BY id LIMIT $2", last, pageSize)
	if err != nil {
		return nil, err
	}
	return page, eachRow(rows, func(r row) { page = append(page, r) })
}

func (e *postgresEngine) erasures(ctx context.Context, visit func([]erasure) error) error {
	return inPages(ctx, e, erasuresAfter, func(x *erasure) *subjectID { return &x.id }, visit)
}

func erasuresAfter(ctx context.Context, q querier, last []byte) (page []erasure, err error) {
	rows, err := q.Query(ctx, "SELECT id, erased_at FROM chuishao_keys.erased WHERE id > $1 ORDER BY id LIMIT $2", last, pageSize)
	if err != nil {
		return nil, err
	}
	var id []byte
	var at int64
	_, err = pgx.ForEachRow(rows, []any{&id, &at}, func() error {
		if len(id) != len(subjectID{}) {
			return fmt.Errorf("%w: a tombstone is malformed", ErrCorrupt)
		}
		page = append(page, erasure{subjectID(id), at})
		return nil
	})
	return page, err
}

// check finds what is there and must not be: a subject with a tombstone.
func (e *postgresEngine) check(ctx context.Context) error {
	return e.do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		var risen bool
		err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM chuishao_keys.subjects JOIN chuishao_keys.erased USING (id))").Scan(&risen)
		if err == nil && risen {
			err = fmt.Errorf("%w: an erased subject has a key", ErrCorrupt)
		}
		return err
	})
}

// backup reads one state of the database into a file, which any embedded node opens.
func (e *postgresEngine) backup(ctx context.Context, path string) error {
	select {
	case <-e.closing:
		return errClosed
	default:
	}
	return e.transaction(ctx, 0, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(ctx context.Context, tx pgx.Tx) (err error) {
		settings, err := readPostgres(ctx, tx)
		if err != nil {
			return err
		}
		delete(settings, markerSetting)
		if err := os.Truncate(path, 0); err != nil { // of an attempt before
			return err
		}
		if err := fill(path, settings); err != nil {
			return err
		}
		conn, err := sqlite.OpenConn(path, sqlite.OpenReadWrite)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, conn.Close()) }()
		if err := sqlitex.ExecuteTransient(conn, "PRAGMA journal_mode = MEMORY", nil); err != nil {
			return err
		}
		defer sqlitex.Save(conn)(&err)
		for last := []byte{}; ; {
			page, err := subjectsAfter(ctx, tx, last)
			if err != nil {
				return err
			}
			if _, err := absorb(conn, page); err != nil { // no two have the same person: the index sees to it
				return err
			}
			if len(page) < pageSize {
				break
			}
			last = bytes.Clone(page[len(page)-1].id[:])
		}
		for last := []byte{}; ; {
			page, err := erasuresAfter(ctx, tx, last)
			if err != nil {
				return err
			}
			for i := range page {
				if err := eraseSubject(conn, &page[i]); err != nil {
					return err
				}
			}
			if len(page) < pageSize {
				return nil
			}
			last = bytes.Clone(page[len(page)-1].id[:])
		}
	})
}

func (e *postgresEngine) owns(string) bool { return false }

func (e *postgresEngine) adopt(stored []byte) error {
	return e.transaction(context.Background(), patience, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(ctx context.Context, tx pgx.Tx) error {
		// Waits for insertions under way; those after it compare the secret anew.
		if _, err := tx.Exec(ctx, "LOCK TABLE chuishao_keys.subjects IN SHARE ROW EXCLUSIVE MODE"); err != nil {
			return err
		}
		var some bool
		if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM chuishao_keys.subjects)").Scan(&some); err != nil {
			return err
		}
		if some {
			return errNotEmpty
		}
		_, err := tx.Exec(ctx, "UPDATE chuishao_keys.settings SET value = $1 WHERE name = 'secret'", stored)
		return err
	})
}

func (e *postgresEngine) absorb(secret []byte, rows []row) (clash *row, err error) {
	err = e.transaction(context.Background(), patience, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(ctx context.Context, tx pgx.Tx) error {
		clash = nil
		// Waits for erasures under way and holds up others, so that none of these rows comes in beside its tombstone.
		if _, err := tx.Exec(ctx, "LOCK TABLE chuishao_keys.erased IN SHARE MODE"); err != nil {
			return err
		}
		ids := byteas(rows, func(r *row) []byte { return r.id[:] })
		gone, err := idsOf(ctx, tx, "SELECT id FROM chuishao_keys.erased WHERE id = ANY ($1)", ids)
		if err != nil {
			return err
		}
		alive := slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return gone[r.id] })
		var send pgx.Batch
		queueInsert(&send, secret, alive)
		same := false
		send.Queue(selectSecret, secret).QueryRow(func(row pgx.Row) error { return row.Scan(&same) })
		if err := tx.SendBatch(ctx, &send).Close(); err != nil {
			return err
		}
		if !same {
			return ErrReplaced
		}
		there, err := idsOf(ctx, tx, "SELECT id FROM chuishao_keys.subjects WHERE id = ANY ($1)", ids)
		if err != nil {
			return err
		}
		for i, r := range rows {
			if !gone[r.id] && !there[r.id] {
				clash = &rows[i]
			}
		}
		return nil
	})
	return clash, err
}

func idsOf(ctx context.Context, q querier, sql string, ids [][]byte) (map[subjectID]bool, error) {
	rows, err := q.Query(ctx, sql, ids)
	if err != nil {
		return nil, err
	}
	found := map[subjectID]bool{}
	var id []byte
	_, err = pgx.ForEachRow(rows, []any{&id}, func() error {
		found[subjectID(id)] = true
		return nil
	})
	return found, err
}

func (e *postgresEngine) close() error {
	e.stop()
	<-e.swept
	for range postgresConns { // waits for who has it
		closeConn(<-e.slots)
	}
	return nil
}

// closeIdle closes what is not lent.
func (e *postgresEngine) closeIdle() {
	for range len(e.slots) {
		select {
		case conn := <-e.slots:
			closeConn(conn)
			e.slots <- nil
		default:
		}
	}
}

// closeConn takes leave of the server; that this does not come off matters to nobody.
func closeConn(conn *pgx.Conn) {
	if conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}

// do calls with a connection for a reader, whom Close ends.
func (e *postgresEngine) do(ctx context.Context, try func(context.Context, *pgx.Conn) error) error {
	select {
	case <-e.closing:
		return errClosed
	default:
		return e.call(ctx, patience, try)
	}
}

// transaction is call with a transaction.
func (e *postgresEngine) transaction(ctx context.Context, limit time.Duration, options pgx.TxOptions, try func(context.Context, pgx.Tx) error) error {
	return e.call(ctx, limit, func(ctx context.Context, conn *pgx.Conn) error {
		return pgx.BeginTxFunc(ctx, conn, options, func(tx pgx.Tx) error { return try(ctx, tx) })
	})
}

// call calls with a connection, and does so again where that may help: after a deadlock, and where the connection turns out to be lost, as all are after a
// restart of the server. So what is done must be the same if done twice. It may take as long as the limit in all; 0 for none.
func (e *postgresEngine) call(ctx context.Context, limit time.Duration, try func(context.Context, *pgx.Conn) error) error {
	limited := ctx
	if limit > 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	var err error
	for range 3 {
		err = e.lend(limited, func(conn *pgx.Conn) error { return try(limited, conn) })
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		err = explainPostgres(err)
		if limited.Err() != nil || !errors.Is(err, ErrUnavailable) {
			return err
		}
		e.closeIdle()
	}
	return err
}

// lend lends a connection, and opens one where the slot has none.
func (e *postgresEngine) lend(ctx context.Context, do func(*pgx.Conn) error) error {
	var conn *pgx.Conn
	select {
	case conn = <-e.slots:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() {
		if conn != nil && conn.IsClosed() {
			conn = nil
		}
		e.slots <- conn
	}()
	if conn == nil || conn.IsClosed() {
		var err error
		if conn, err = e.connect(ctx); err != nil {
			return err
		}
	}
	return do(conn)
}

// connect opens a connection to a server that takes writes. A standby may still have the key of who was erased a moment ago.
func (e *postgresEngine) connect(ctx context.Context) (_ *pgx.Conn, err error) {
	conn, err := pgx.ConnectConfig(ctx, e.config.Copy())
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			closeConn(conn)
		}
	}()
	var standby, hasty bool
	err = conn.QueryRow(ctx, "SELECT pg_is_in_recovery(), current_setting('synchronous_commit') = 'off'", pgx.QueryExecModeSimpleProtocol).Scan(&standby, &hasty)
	if err != nil {
		return nil, err
	}
	if standby {
		return nil, fmt.Errorf("%w: the server is a standby", ErrUnavailable)
	}
	// Rows are found by an index, also while the statistics take the table for an empty one.
	session := "SET default_transaction_isolation TO 'read committed'; SET lock_timeout TO '10s'; SET enable_seqscan TO off;"
	if hasty {
		session += "SET synchronous_commit TO 'on';" // what is answered must be durable
	}
	if e.options.ReadOnly {
		session += "SET default_transaction_read_only TO on;"
	}
	_, err = conn.Exec(ctx, session, pgx.QueryExecModeSimpleProtocol)
	return conn, err
}

// explainPostgres gives an error of PostgreSQL, or of the way there, the meaning that callers decide by.
func explainPostgres(err error) error {
	for _, ours := range []error{nil, ErrErased, ErrUnknown, ErrCorrupt, ErrForeign, ErrNewer, ErrReadOnly, ErrReplaced, ErrMasterKey, ErrUnavailable, errNotEmpty, fs.ErrNotExist} {
		if errors.Is(err, ours) {
			return err
		}
	}
	if errors.Is(err, context.Canceled) || errors.As(err, new(pgx.ScanArgError)) {
		return err
	}
	pg := new(pgconn.PgError)
	if !errors.As(err, &pg) {
		if sqlite.ErrCode(err).ToPrimary() != sqlite.ResultError {
			return explain(err) // of the file that a backup is written to
		}
		// The connection was lost, or none was to be had in time: that is our own limit, and not the caller's.
		return fmt.Errorf("%w: %v", ErrUnavailable, err)
	}
	switch pg.Code {
	case "XX001", "XX002", "42P01", "42703", "3F000": // damaged pages, or tables that somebody took away
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	case "25006", "55P03", "57014", "58030": // a server that is no more the first, a lock that is not given, a statement that took too long, a disk
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	switch pg.Code[:min(2, len(pg.Code))] {
	case "08", "40", "53", "57": // connections, deadlocks and the like, a full disk or memory, a server that shuts down or starts
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if pg.SeverityUnlocalized == "FATAL" || pg.SeverityUnlocalized == "PANIC" { // whatever was asked, the server ended the connection
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}
