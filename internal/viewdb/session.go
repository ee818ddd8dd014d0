package viewdb

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// session is a connection to PostgreSQL and what is prepared on it. It belongs to one goroutine at a time.
type session struct {
	conn *pgconn.PgConn
	of   *postgres
	ctx  context.Context // of the transaction under way

	stmts map[string][]*prepared // by text: one for each list of the arguments' types
	named int                    // statements that were ever prepared
	kept  int                    // of these, those that are

	live   *result // whose rows are still on their way; nothing else can be asked before they are read
	queue  pgconn.Batch
	queued []string // the statements of the queue
	bytes  int      // of their arguments

	failed error // the first error of the transaction: it can only be rolled back

	types  []byte
	values [][]byte
	buf    []byte
}

const (
	// A queue is sent when it has so many statements, or so many bytes of arguments.
	queueStatements = 500
	queueBytes      = 1 << 20
)

// prepared is a statement that the server has prepared, for arguments of certain types.
type prepared struct {
	types string
	*pgconn.StatementDescription
	kinds []byte // of its columns, as decode knows them
}

var binaryFormat = []int16{pgtype.BinaryFormatCode}

// simple runs statements without arguments.
func (s *session) simple(sql string) error {
	if err := s.settle(); err != nil {
		return err
	}
	_, err := s.conn.Exec(s.ctx, sql).ReadAll()
	return s.note(sql, err)
}

// note says what went wrong, and remembers it.
func (s *session) note(sql string, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s: %w", head(sql), s.of.explain(err))
	if s.failed == nil {
		s.failed = err
	}
	return err
}

// within runs do between begin and COMMIT. What fails is rolled back.
func (s *session) within(ctx context.Context, begin string, do func() error) (err error) {
	s.ctx, s.failed = ctx, nil
	defer func() {
		s.abandon()
		if err != nil && ctx.Err() != nil {
			err = ctx.Err()
		}
		s.ctx = nil
	}()
	if err := s.simple(begin); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	if err := s.settle(); err != nil {
		return err
	}
	// Of a transaction that has failed the engine says that it committed nothing, and calls that no error. A reader has lost nothing by that.
	if s.failed != nil && begin != beginRead {
		return s.failed
	}
	s.failed = nil
	return s.simple("COMMIT")
}

// abandon rolls back what is not committed.
func (s *session) abandon() {
	s.forgetQueue()
	if s.conn.IsClosed() || s.conn.TxStatus() == 'I' && s.live == nil {
		return
	}
	ctx, stop := context.WithTimeout(context.WithoutCancel(s.ctx), connectWithin)
	defer stop()
	if s.live != nil {
		s.live.close()
	}
	if _, err := s.conn.Exec(ctx, "ROLLBACK").ReadAll(); err != nil {
		_ = s.conn.Close(ctx) // which rolls back too
	}
}

func (s *session) close() {
	ctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
	defer stop()
	_ = s.conn.Close(ctx)
}

// lockName lets nobody else make tables of the schema, or the schema itself, until the transaction ends: the engine's IF NOT EXISTS is not enough where two
// do it at a time.
func (s *session) lockName() error {
	_, err := s.all("SELECT 1 FROM (SELECT pg_advisory_xact_lock(hashtextextended($1, 0))) AS locked", "tables "+s.of.schema)
	return err
}

// settle reads what is on its way and sends what is queued, so that something else can be asked.
func (s *session) settle() error {
	if s.live != nil {
		s.live.keep()
	}
	return s.flush()
}

func (s *session) exec(sql string, args []any) (int64, error) {
	if err := s.settle(); err != nil {
		return 0, err
	}
	p, err := s.prepare(sql, args)
	if err != nil {
		return 0, err
	}
	tag, err := s.conn.ExecStatement(s.ctx, p.StatementDescription, s.values, binaryFormat, binaryFormat).Close()
	return tag.RowsAffected(), s.note(sql, err)
}

// put queues a statement.
func (s *session) put(sql string, args []any) error {
	if s.live != nil {
		s.live.keep()
	}
	p, err := s.prepare(sql, args)
	if err != nil {
		return err
	}
	s.queue.ExecStatement(p.StatementDescription, s.values, binaryFormat, binaryFormat)
	s.queued = append(s.queued, sql)
	s.bytes += len(s.buf)
	if len(s.queued) >= queueStatements || s.bytes >= queueBytes {
		return s.flush()
	}
	return nil
}

// flush sends the queue and waits until all of it is done.
func (s *session) flush() error {
	if len(s.queued) == 0 {
		return nil
	}
	done := 0
	results := s.conn.ExecBatch(s.ctx, &s.queue)
	for results.NextResult() {
		if _, err := results.ResultReader().Close(); err != nil {
			break
		}
		done++
	}
	err := s.note(s.queued[min(done, len(s.queued)-1)], results.Close())
	s.forgetQueue()
	return err
}

func (s *session) forgetQueue() {
	s.queue, s.queued, s.bytes = pgconn.Batch{}, s.queued[:0], 0
}

// all gives the rows of a query that has few.
func (s *session) all(sql string, args ...any) (rows []Row, err error) {
	r, err := s.query(sql, args)
	if err != nil {
		return nil, err
	}
	r.keep()
	if r.err != nil {
		return nil, r.err
	}
	for _, values := range r.rest {
		rows = append(rows, Row{pg: &result{kinds: r.kinds, now: values}})
	}
	return rows, nil
}

func (s *session) query(sql string, args []any) (*result, error) {
	if err := s.settle(); err != nil {
		return nil, err
	}
	p, err := s.prepare(sql, args)
	if err != nil {
		return nil, err
	}
	r := &result{s: s, sql: sql, kinds: p.kinds, reader: s.conn.ExecStatement(s.ctx, p.StatementDescription, s.values, binaryFormat, binaryFormat)}
	s.live = r
	return r, nil
}

// yield is Tx.Query.
func (s *session) yield(yield func(Row, error) bool, sql string, args []any) {
	r, err := s.query(sql, args)
	if err != nil {
		yield(Row{}, err)
		return
	}
	defer r.close()
	for r.next() {
		if !yield(Row{pg: r}, nil) {
			return
		}
	}
	if r.err != nil {
		yield(Row{}, r.err)
	}
}

// prepare encodes the arguments and gives the statement for their types.
func (s *session) prepare(sql string, args []any) (*prepared, error) {
	if s.failed != nil {
		return nil, s.failed
	}
	if err := s.encode(args); err != nil {
		return nil, err
	}
	for _, p := range s.stmts[sql] {
		if p.types == string(s.types) {
			return p, nil
		}
	}
	if s.kept >= maxStatements {
		// Those of the queue are among what is forgotten.
		if err := s.simple("DEALLOCATE ALL"); err != nil {
			return nil, err
		}
		clear(s.stmts)
		s.kept = 0
	}
	oids := make([]uint32, len(s.types))
	for i, t := range s.types {
		oids[i] = map[byte]uint32{'i': pgtype.Int8OID, 's': pgtype.TextOID, 'b': pgtype.ByteaOID, 'f': pgtype.Float8OID}[t]
	}
	s.named++
	d, err := s.conn.Prepare(s.ctx, "s"+strconv.Itoa(s.named), sql, oids)
	if err != nil {
		return nil, s.note(sql, err)
	}
	if n := len(d.ParamOIDs); n > len(args) {
		return nil, fmt.Errorf("statement takes $%d, got %d arguments", n, len(args))
	}
	p := &prepared{types: string(s.types), StatementDescription: d, kinds: make([]byte, len(d.Fields))}
	for i, f := range d.Fields {
		if p.kinds[i] = kindOf[f.DataTypeOID]; p.kinds[i] == 0 {
			return nil, fmt.Errorf("%s: column %d is of a type that views do not have", head(sql), i)
		}
	}
	s.stmts[sql] = append(s.stmts[sql], p)
	s.kept++
	return p, nil
}

// encode makes of arguments what the server takes, in the binary format. What it makes is good until the next time.
func (s *session) encode(args []any) error {
	s.types, s.values, s.buf = s.types[:0], s.values[:0], s.buf[:0]
	for i, arg := range args {
		at := len(s.buf)
		t := byte('i')
		switch v := arg.(type) {
		case int64:
			s.buf = binary.BigEndian.AppendUint64(s.buf, uint64(v))
		case int:
			s.buf = binary.BigEndian.AppendUint64(s.buf, uint64(int64(v)))
		case bool:
			n := uint64(0)
			if v {
				n = 1
			}
			s.buf = binary.BigEndian.AppendUint64(s.buf, n)
		case string:
			t, s.buf = 's', appendEscaped(s.buf, v)
		case []byte:
			t, s.buf = 'b', append(s.buf, v...)
		case float64:
			t, s.buf = 'f', binary.BigEndian.AppendUint64(s.buf, math.Float64bits(v))
		case nil:
			s.types, s.values = append(s.types, '0'), append(s.values, nil)
			continue
		default:
			return fmt.Errorf("statement: $%d is of a type that columns do not have", i+1)
		}
		value := s.buf[at:len(s.buf):len(s.buf)]
		if value == nil {
			value = []byte{}
		}
		s.types, s.values = append(s.types, t), append(s.values, value)
	}
	return nil
}

// The engine's texts hold no NUL. It is kept as 1 1, and 1 as 1 2, which leaves the order of texts as it is.
func appendEscaped(buf []byte, text string) []byte {
	if strings.IndexByte(text, 0) < 0 && strings.IndexByte(text, 1) < 0 {
		return append(buf, text...)
	}
	for i := range len(text) {
		if c := text[i]; c <= 1 {
			buf = append(buf, 1, c+1)
		} else {
			buf = append(buf, c)
		}
	}
	return buf
}

func unescape(text []byte) string {
	s := string(text)
	if strings.IndexByte(s, 1) < 0 {
		return s
	}
	return strings.NewReplacer("\x01\x01", "\x00", "\x01\x02", "\x01").Replace(s)
}

// kindOf are the types that columns of a query may have: of Row.Kind, where a whole number of 64 bits is 'i', one of 32 'h', of 16 'q', and a truth 't'.
var kindOf = map[uint32]byte{
	pgtype.Int8OID: 'i', pgtype.Int4OID: 'h', pgtype.Int2OID: 'q', pgtype.BoolOID: 't', pgtype.TextOID: 's', pgtype.NameOID: 's', pgtype.VarcharOID: 's',
	pgtype.ByteaOID: 'b', pgtype.Float8OID: 'f',
}

// result is what a query answers: rows that are on their way, or were read because something else was to be asked.
type result struct {
	s      *session
	sql    string
	kinds  []byte
	reader *pgconn.ResultReader // nil when all rows are read
	now    [][]byte             // the row that is looked at
	rest   [][][]byte           // rows that were read before they were asked for
	err    error
}

func (r *result) next() bool {
	if len(r.rest) > 0 {
		r.now, r.rest = r.rest[0], r.rest[1:]
		return true
	}
	if r.reader == nil {
		return false
	}
	if r.reader.NextRow() {
		r.now = r.reader.Values()
		return true
	}
	r.end()
	return false
}

// end ends the query. Rows that were not read are passed over.
func (r *result) end() {
	if r.reader == nil {
		return
	}
	_, err := r.reader.Close()
	r.err = r.s.note(r.sql, err)
	r.reader, r.s.live = nil, nil
}

func (r *result) close() {
	r.end()
	r.rest = nil
}

// keep reads all rows that are on their way.
func (r *result) keep() {
	r.now = copyRow(r.now)
	for r.reader.NextRow() {
		r.rest = append(r.rest, copyRow(r.reader.Values()))
	}
	r.end()
}

func copyRow(row [][]byte) [][]byte {
	size := 0
	for _, v := range row {
		size += len(v)
	}
	all, list := make([]byte, 0, size), make([][]byte, len(row))
	for i, v := range row {
		if v != nil {
			at := len(all)
			all = append(all, v...)
			list[i] = all[at:len(all):len(all)]
		}
	}
	return list
}

func (r *result) kind(i int) byte {
	if r.now[i] == nil {
		return '0'
	}
	switch k := r.kinds[i]; k {
	case 'h', 'q', 't':
		return 'i'
	default:
		return k
	}
}

func (r *result) int64(i int) int64 {
	v := r.now[i]
	if v == nil {
		return 0
	}
	switch r.kinds[i] {
	case 'i':
		return int64(binary.BigEndian.Uint64(v))
	case 'h':
		return int64(int32(binary.BigEndian.Uint32(v)))
	case 'q':
		return int64(int16(binary.BigEndian.Uint16(v)))
	case 't':
		return int64(v[0])
	case 'f':
		return int64(r.float(i))
	}
	return 0
}

func (r *result) float(i int) float64 {
	if r.kinds[i] == 'f' && r.now[i] != nil {
		return math.Float64frombits(binary.BigEndian.Uint64(r.now[i]))
	}
	return float64(r.int64(i))
}

func (r *result) text(i int) string {
	switch r.kind(i) {
	case '0':
		return ""
	case 'i':
		return strconv.FormatInt(r.int64(i), 10)
	case 'f':
		return strconv.FormatFloat(r.float(i), 'g', -1, 64)
	}
	return unescape(r.now[i])
}

// What SQLite has words of its own for in the definition of a table.
var dialect = []struct {
	from *regexp.Regexp
	to   string
}{
	{regexp.MustCompile(`\)\s*WITHOUT ROWID\b`), ")"},
	{regexp.MustCompile(`\bINTEGER PRIMARY KEY\b`), "BIGINT PRIMARY KEY"},
	{regexp.MustCompile(`\bBLOB\b`), "BYTEA"},
	{regexp.MustCompile(`\bTEXT\b`), `TEXT COLLATE "C"`},
	{regexp.MustCompile(`\b(FLOAT|REAL)\b`), "DOUBLE PRECISION"},
}

// translate gives the definition of a table in PostgreSQL's words. Other statements are the same for both engines.
func translate(sql string) string {
	if !strings.HasPrefix(strings.TrimSpace(sql), "CREATE TABLE") {
		return sql
	}
	for _, d := range dialect {
		sql = d.from.ReplaceAllString(sql, d.to)
	}
	return sql
}

func (s *session) script(statements []string) error {
	if err := s.settle(); err != nil {
		return err
	}
	if err := s.lockName(); err != nil {
		return err
	}
	for _, sql := range statements {
		if err := s.simple(translate(sql)); err != nil {
			return err
		}
	}
	return nil
}
