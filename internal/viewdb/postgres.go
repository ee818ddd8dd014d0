package viewdb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"

	"github.com/chuishao/dispatch/internal/eventstore"
)

const (
	// application marks our schemas, in the table marker.
	application = "chuishao views"
	// marker is the table that says whose a schema is. Whoever uses the schema holds a lock on it, so that who removes or exchanges the schema waits.
	marker = "viewdb"
	// defaultSchema is where the views are if a URL names no schema.
	defaultSchema = "chuishao_views"
	// besideSuffix is added to the name of a schema for one that is to take its place.
	besideSuffix = "_rebuild"

	connectWithin = 15 * time.Second
	// quietWithin is how long it is tried to find a moment in which nobody uses a schema.
	quietWithin = 10 * time.Minute
	// quietTry is how long users are kept waiting for that moment at a time, and quietPause the time between.
	quietTry   = "1s"
	quietPause = 200 * time.Millisecond
)

// schemaName leaves room for besideSuffix: the engine's names have 63 bytes.
var schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,47}$`)

// TroubleError is an error of a database server or of the way to it. It may pass: what was to be done may be done again.
type TroubleError struct{ Err error }

func (e *TroubleError) Error() string { return e.Err.Error() }
func (e *TroubleError) Unwrap() error { return e.Err }

// Is makes it an eventstore.ErrUnavailable.
func (e *TroubleError) Is(target error) bool { return target == eventstore.ErrUnavailable }

// postgres is where views are in a PostgreSQL: a schema of a database. All of a city is in one schema.
type postgres struct {
	location string // as it was given
	name     string // for people: it has no password
	schema   string
	config   *pgconn.Config
}

// isURL says whether a location is that of a PostgreSQL.
func isURL(location string) bool {
	return strings.HasPrefix(location, "postgres://") || strings.HasPrefix(location, "postgresql://")
}

func parsePostgres(location string) (*postgres, error) {
	u, err := url.Parse(location)
	if err != nil {
		// The error repeats the URL, and with it a password.
		return nil, &OpenError{Path: "postgres://…", Reason: "the URL cannot be read; want postgres://user:password@host:port/database?schema=name"}
	}
	query := u.Query()
	schema := defaultSchema
	for _, name := range []string{"search_path", "schema"} {
		if v := query.Get(name); v != "" {
			schema = v
		}
		query.Del(name)
	}
	p := &postgres{location: location, schema: schema, name: "postgres://" + u.Host + u.EscapedPath() + "?schema=" + url.QueryEscape(schema)}
	if !schemaName.MatchString(strings.TrimSuffix(schema, besideSuffix)) {
		return nil, &OpenError{Path: p.name, Reason: "a schema is named by at most 48 small letters, digits and underscores, and does not begin with a digit"}
	}
	u.RawQuery = query.Encode()
	if p.config, err = pgconn.ParseConfig(u.String()); err != nil {
		return nil, &OpenError{Path: p.name, Reason: "the URL cannot be read; want postgres://user:password@host:port/database?schema=name", Err: err}
	}
	for name, value := range map[string]string{
		"search_path": schema, "application_name": application, "jit": "off", "default_transaction_isolation": "read committed", "default_transaction_read_only": "off",
		// The server gives up a connection whose other end is gone, and with it the locks of its transaction.
		"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3", "tcp_user_timeout": "30000",
	} {
		p.config.RuntimeParams[name] = value
	}
	dialer := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}}
	p.config.DialFunc = dialer.DialContext
	if p.config.ConnectTimeout == 0 {
		p.config.ConnectTimeout = connectWithin
	}
	// A context that ends stops the statement and leaves the connection as it is.
	p.config.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: c, DeadlineDelay: 5 * time.Second}
	}
	return p, nil
}

func (p *postgres) dial(ctx context.Context) (*session, error) {
	conn, err := pgconn.ConnectConfig(ctx, p.config)
	if err != nil {
		return nil, p.explain(err)
	}
	return &session{conn: conn, of: p, stmts: map[string][]*prepared{}}, nil
}

// explain says what an error of the engine is: trouble that may pass, damage, or the fault of who asked.
func (p *postgres) explain(err error) error {
	said, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case err == nil:
		return nil
	case !ok: // of the connection
		return &TroubleError{err}
	case said.Code == "XX001" || said.Code == "XX002":
		return &CorruptError{p.name, err}
	case passes(said.Code), said.SeverityUnlocalized == "FATAL", said.SeverityUnlocalized == "PANIC": // the latter two end the connection, whatever was asked
		return &TroubleError{err}
	}
	return err
}

// passes says whether an error of PostgreSQL may pass without any change of what was asked.
func passes(code string) bool {
	switch code {
	case "25006", // the server only reads: another has taken its place
		"42501",          // a privilege is missing
		"42P01", "3F000", // the views are not there: somebody builds them anew
		"55P03", // a lock was not to be had
		"3D000": // no such database
		return true
	}
	switch code[:min(2, len(code))] {
	case "08", // connection
		"28", // a user or password that is refused
		"40", // deadlock, serialisation
		"53", // out of disk, memory or connections
		"57", // shut down, cancelled
		"58": // the server's own system
		return true
	}
	return false
}

// openError is explain for an error that stands in the way of opening.
func (p *postgres) openError(reason string, err error) error {
	return &OpenError{Path: p.name, Reason: reason, Err: err}
}

// whose is what is known of a schema before anything of it is touched.
type whose struct {
	there   bool // the schema is
	tables  bool // something is in it
	ours    bool
	layout  int64
	whole   bool
	marking bool // it has a table of the marker's name
}

func (s *session) look() (w whose, err error) {
	rows, err := s.all(`SELECT n.oid IS NOT NULL, EXISTS (SELECT 1 FROM pg_class c WHERE c.relnamespace = n.oid),
		EXISTS (SELECT 1 FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname IN ('application', 'layout', 'whole') WHERE c.relnamespace = n.oid AND c.relname = $2 GROUP BY c.oid HAVING COUNT(*) = 3)
		FROM (SELECT 1) AS one LEFT JOIN pg_namespace n ON n.nspname = $1`, s.of.schema, marker)
	if err != nil || len(rows) == 0 {
		return w, err
	}
	w.there, w.tables, w.marking = rows[0].Bool(0), rows[0].Bool(1), rows[0].Bool(2)
	if !w.marking {
		return w, nil
	}
	if rows, err = s.all("SELECT application, layout, whole FROM " + s.of.schema + "." + marker); err != nil || len(rows) == 0 {
		return w, err
	}
	w.ours, w.layout, w.whole = rows[0].Text(0) == application, rows[0].Int64(1), rows[0].Bool(2)
	return w, nil
}

func (s *session) found(whole bool, there bool) error {
	var list []string
	if !there {
		list = append(list, "CREATE SCHEMA "+s.of.schema)
	}
	list = append(list, "CREATE TABLE "+s.of.schema+"."+marker+" (application TEXT NOT NULL, layout BIGINT NOT NULL, whole BIGINT NOT NULL)",
		fmt.Sprintf("INSERT INTO %s.%s (application, layout, whole) VALUES ('%s', %d, %d)", s.of.schema, marker, application, layout, map[bool]int{true: 1}[whole]))
	return s.simple(strings.Join(list, ";"))
}

const (
	foreignSchema = "the schema is another application's; give the name of a schema of views, or of one that is not there"
	cannotOpen    = "the database cannot be used; check the URL, that the server runs, and that its user may create schemas in the database"
)

// connectPostgres looks at the schema, makes it if there is none, and refuses what is not ours.
func (db *DB) connectPostgres() error {
	p := db.pg
	ctx, stop := context.WithTimeout(context.Background(), connectWithin)
	defer stop()
	s, err := p.dial(ctx)
	if err != nil {
		return p.openError(cannotOpen, err)
	}
	err = s.within(ctx, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", func() error { return db.claim(s) })
	if err != nil {
		s.close()
		if _, ok := errors.AsType[*OpenError](err); !ok {
			err = p.openError(cannotOpen, err)
		}
		return err
	}
	db.reads = make(chan *Tx, db.opts.Readers)
	for range db.opts.Readers {
		db.reads <- nil
	}
	if db.opts.ReadOnly {
		<-db.reads
		db.reads <- &Tx{db: db, pg: s}
		return nil
	}
	db.write = make(chan *Tx, 1)
	db.write <- &Tx{db: db, pg: s}
	return nil
}

func (db *DB) claim(s *session) error {
	p := db.pg
	if db.opts.ReadOnly {
		switch w, err := s.look(); {
		case err != nil:
			return err
		case !w.marking:
			return p.openError("there are no views to read; check the URL, or rebuild them", nil)
		case !w.ours:
			return p.openError(foreignSchema, nil)
		case w.layout != layout:
			return p.otherLayout(w.layout)
		}
		return nil
	}
	if err := s.lockName(); err != nil {
		return err
	}
	if db.opts.Fresh {
		// Held until the connection ends, so that nobody else builds there.
		switch rows, err := s.all("SELECT pg_try_advisory_lock(hashtextextended($1, 0))", "rebuild "+p.schema); {
		case err != nil:
			return err
		case !rows[0].Bool(0):
			return p.openError("somebody else is building views there; wait until they are done", nil)
		}
	}
	w, err := s.look()
	switch {
	case err != nil:
		return err
	case w.tables && !w.ours:
		return p.openError(foreignSchema, nil)
	case w.ours && db.opts.Fresh:
		if err := s.simple("DROP SCHEMA " + p.schema + " CASCADE"); err != nil {
			return err
		}
		return s.found(false, false)
	case w.ours && w.layout != layout:
		return p.otherLayout(w.layout)
	case w.ours:
		return nil
	}
	return s.found(!db.opts.Fresh, w.there)
}

func (p *postgres) otherLayout(other int64) error {
	return &OpenError{Path: p.name, Reason: fmt.Sprintf("the schema has layout %d, this release knows %d; remove it and rebuild the views", other, layout), Disposable: true}
}

// quiet runs do in a transaction of its own at a moment in which nobody uses the schema, if it is there and ours; if not, do hears of it.
func (p *postgres) quiet(ctx context.Context, s *session, do func(w whose) error) error {
	for {
		err := s.within(ctx, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", func() error {
			w, err := s.look()
			if err != nil {
				return err
			}
			if w.ours {
				// Whoever asks for the lock from now on waits, though it is not yet had. So it is given up after a while, for the sake of those.
				if err := s.simple("SET LOCAL lock_timeout = '" + quietTry + "'; LOCK TABLE " + p.schema + "." + marker + " IN ACCESS EXCLUSIVE MODE; SET LOCAL lock_timeout = 0"); err != nil {
					return err
				}
			}
			return do(w)
		})
		if said, ok := errors.AsType[*pgconn.PgError](err); !ok || said.Code != "55P03" {
			return err
		}
		select {
		case <-time.After(quietPause):
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

// removePostgres removes a schema of views, once nobody uses it.
func removePostgres(location string) error {
	p, err := parsePostgres(location)
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(context.Background(), quietWithin)
	defer stop()
	s, err := p.dial(ctx)
	if err != nil {
		return fmt.Errorf("remove views %s: %w", p.name, err)
	}
	defer s.close()
	err = p.quiet(ctx, s, func(w whose) error {
		switch {
		case w.ours:
			return s.simple("DROP SCHEMA " + p.schema + " CASCADE")
		case w.tables:
			return p.openError(foreignSchema, nil)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("remove views %s: %w", p.name, err)
	}
	return nil
}

// beside is the location of views that are to take the place of these.
func (p *postgres) beside() string {
	return p.named(strings.TrimSuffix(p.schema, besideSuffix) + besideSuffix)
}

// named is the location of a schema of the same database.
func (p *postgres) named(schema string) string {
	u, err := url.Parse(p.location)
	if err != nil {
		return p.location // it could be read when it was opened
	}
	query := u.Query()
	query.Del("search_path")
	query.Set("schema", schema)
	u.RawQuery = query.Encode()
	return u.String()
}

// replaceWith gives the schema of fresh, which is whole, the name of this one, in one transaction. Others wait for the time of the exchange, since they lock
// the marker before they look: who has begun sees the old rows to its end, who begins later the new ones.
func (p *postgres) replaceWith(fresh string) error {
	q, err := parsePostgres(fresh)
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(context.Background(), quietWithin)
	defer stop()
	s, err := p.dial(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	return p.quiet(ctx, s, func(w whose) error {
		if w.tables && !w.ours {
			return p.openError(foreignSchema, nil)
		}
		s.of = q
		defer func() { s.of = p }()
		switch n, err := s.look(); {
		case err != nil:
			return err
		case !n.ours || !n.whole:
			return q.openError("what was built there is not whole; somebody else has begun to build meanwhile", nil)
		}
		// DROP, though it is not ours alone: another process may have removed it a moment ago.
		return s.simple("DROP SCHEMA IF EXISTS " + p.schema + " CASCADE; ALTER SCHEMA " + q.schema + " RENAME TO " + p.schema)
	})
}

// How transactions begin. The lock on the marker comes first, and takes no snapshot: what follows sees the schema as it was then, and nobody exchanges or
// removes it before the transaction ends.
//
// A writer sees with each statement what others have committed by then, and that is enough for rival projectors: the first statement of each is the
// compare-and-swap of a checkpoint, which waits for the lock that a rival has on that row, then looks at the row anew and does not find the position. Who has
// won holds that lock until it commits, and nobody writes a view's rows without it, so that what its later statements see of the view does not change under
// them. A snapshot for the whole transaction would be from before the wait, and the engine would have to refuse it each time. Views that are moved together
// by some and apart by others may come to wait for each other: the engine ends one of them, and that passes.
const (
	beginWrite = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; LOCK TABLE " + marker + " IN ACCESS SHARE MODE"
	beginRead  = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; LOCK TABLE " + marker + " IN ACCESS SHARE MODE"
)

// runPostgres runs a transaction on a connection of the pool.
func (db *DB) runPostgres(ctx context.Context, pool chan *Tx, begin string, do func(tx *Tx) error) (err error) {
	var tx *Tx
	select {
	case tx = <-pool:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() {
		if tx != nil && tx.pg.conn.IsClosed() && !db.opts.Fresh {
			tx = nil
		}
		pool <- tx
	}()
	// A connection may have been lost while nobody used it. Then nothing has been done, and another is tried.
	for tries := 0; ; tries++ {
		if tx == nil {
			s, err := db.pg.dial(ctx)
			if err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				return err
			}
			tx, tries = &Tx{db: db, pg: s}, 1
		}
		begun := false
		err := tx.pg.within(ctx, begin, func() error {
			begun = true
			return do(tx)
		})
		if err == nil || begun || tries > 0 || db.opts.Fresh || !tx.pg.conn.IsClosed() || ctx.Err() != nil {
			return err
		}
		tx = nil
	}
}

// finishPostgres says of what was built that it is whole, and has the engine look at it, so that it answers well from the first query.
func (db *DB) finishPostgres() error {
	tx := <-db.write
	defer func() { db.write <- tx }()
	if tx.pg.conn.IsClosed() {
		return &TroubleError{errors.New("the connection was lost")}
	}
	ctx, stop := context.WithTimeout(context.Background(), quietWithin)
	defer stop()
	return tx.pg.within(ctx, beginWrite, func() error {
		tables, err := tx.pg.all("SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind = 'r' ORDER BY c.relname", db.pg.schema)
		if err != nil {
			return err
		}
		for _, t := range tables {
			if err := tx.pg.simple("ANALYZE " + t.Text(0)); err != nil {
				return err
			}
		}
		return tx.pg.simple("UPDATE " + marker + " SET whole = 1")
	})
}

func (db *DB) replacePostgres(fresh string) error {
	db.gate.RLock()
	defer db.gate.RUnlock()
	switch {
	case db.closed:
		return ErrClosed
	case db.opts.ReadOnly:
		return ErrReadOnly
	}
	if err := db.pg.replaceWith(fresh); err != nil {
		return fmt.Errorf("replace views %s: %w", db.path, err)
	}
	return nil
}
