package view

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/admission"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	listings "github.com/chuishao/dispatch/internal/listing"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/viewdb"
	"github.com/chuishao/dispatch/internal/whistle"
)

// DuesView is the name of the view of timers of everything but tickets.
const DuesView = "dues_2"

// timed are the kinds of streams that time makes things happen to, beside tickets.
var timed = map[string]timedKind{
	"whistle":   {"whistles", follow[whistle.State](whistle.Evolve)},
	"admission": {"admissions", follow[admission.State](admission.Evolve)},
	"listing":   {"listings", follow[listings.State](listings.Evolve)},
}

// timedKind is a kind of streams with timers: what its resources are called, and what begins to fold one.
type timedKind struct {
	collection string
	begin      func() followed
}

// followed is a stream that is folded for its timers.
type followed interface {
	take(meta *pb.EventMeta, e proto.Message) error
	timers() []rule.Timer
}

type following[S any, P interface {
	*S
	rule.Aggregate
}] struct {
	state  S
	evolve func(S, *pb.EventMeta, proto.Message) (S, error)
}

func follow[S any, P interface {
	*S
	rule.Aggregate
}](evolve func(S, *pb.EventMeta, proto.Message) (S, error)) func() followed {
	return func() followed { return &following[S, P]{evolve: evolve} }
}

func (f *following[S, P]) take(meta *pb.EventMeta, e proto.Message) (err error) {
	f.state, err = f.evolve(f.state, meta, e)
	return err
}

func (f *following[S, P]) timers() []rule.Timer {
	if t, ok := any(P(&f.state)).(rule.Timed); ok {
		return t.Timers()
	}
	return nil
}

// Dues is the view of what must happen to whistles, admissions and listings by a certain instant. What runs is what Timers says of the folded stream:
// there is one definition of it. There are few of them and their histories are short, so that a row keeps its stream's events, without what is sealed
// in them, to be folded again when one more comes.
func Dues() projector.View { return duesOf(timed) }

func duesOf(kinds map[string]timedKind) projector.View {
	return projector.View{
		Name: DuesView,
		Schema: []string{
			// A row a stream. began is the position of its first event. due is the earliest of the timers, NULL where none runs; version how many
			// events it had, timers and kept what these led to and are.
			`CREATE TABLE dues_2 (
	began   INTEGER PRIMARY KEY,
	stream  TEXT NOT NULL UNIQUE,
	due     BIGINT,
	version BIGINT NOT NULL,
	timers  BLOB NOT NULL,
	kept    BLOB NOT NULL
)`,
		},
		Indexes: []string{
			`CREATE INDEX dues_2_due ON dues_2 (due, began) WHERE due IS NOT NULL`,
		},
		Folding: func() projector.Folding { return newDueFolding(kinds) },
	}
}

// dueRow is a stream whose timers are followed.
type dueRow struct {
	began   int64
	stream  string
	version uint64
	state   followed
	kept    []byte
}

// dueFolding folds events into rows of dues_2.
type dueFolding struct {
	kinds map[string]timedKind
	rows  hot[*dueRow]
	buf   []byte
}

func newDueFolding(kinds map[string]timedKind) *dueFolding {
	return &dueFolding{kinds: kinds, rows: newHot[*dueRow]()}
}

func (f *dueFolding) Add(tx *viewdb.Tx, d *event.Decoded) error {
	kind, _ := kind(d)
	of, ok := f.kinds[kind]
	if !ok {
		return others(d, kind)
	}
	r, err := f.rows.of(d.Stream, d, func() (*dueRow, error) { return loadDues(tx, of, d) })
	if err != nil {
		return err
	}
	// What is not kept is not folded either, so that the row is the same wherever batches are cut.
	bare := unsealed(d.Event)
	if r.kept, err = keepEvent(r.kept, d, bare); err != nil {
		return err
	}
	r.version = uint64(d.Version)
	return r.state.take(lean(micros(d.Meta.OccurredAt), micros(d.Meta.RecordedAt), d.Meta.GetActor().GetUnit()), bare)
}

func (f *dueFolding) Write(tx *viewdb.Tx, keep int) error {
	list := f.rows.drop(keep, func(r *dueRow) bool { return len(r.state.timers()) == 0 })
	slices.SortFunc(list, func(a, b *dueRow) int { return cmp.Compare(a.began, b.began) })
	for _, r := range list {
		run := r.state.timers()
		var due any
		f.buf = f.buf[:0]
		for i, t := range run {
			if i == 0 {
				due = t.By.UnixMicro()
			}
			f.buf = appendText(binary.AppendVarint(binary.AppendUvarint(f.buf, uint64(t.Which)), t.By.UnixMicro()), t.Unit)
		}
		err := tx.Put(`INSERT INTO dues_2 (began, stream, due, version, timers, kept) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (began) DO UPDATE SET due = excluded.due, version = excluded.version, timers = excluded.timers, kept = excluded.kept`,
			r.began, r.stream, due, int64(r.version), f.buf, r.kept)
		if err != nil {
			return err
		}
	}
	return nil
}

func loadDues(tx *viewdb.Tx, of timedKind, d *event.Decoded) (*dueRow, error) {
	r := &dueRow{began: int64(d.Position), stream: d.Stream, state: of.begin()}
	if d.Version == 1 {
		return r, nil
	}
	for row, err := range tx.Query("SELECT began, kept FROM dues_2 WHERE stream = $1", d.Stream) {
		if err != nil {
			return nil, err
		}
		r.began, r.kept = row.Int64(0), row.Bytes(1, nil)
		if err := eachKept(r.kept, r.state.take); err != nil {
			return nil, fmt.Errorf("timers of %s: %w", d.Stream, err)
		}
		return r, nil
	}
	return nil, orphan(d)
}

// lean is what is kept of an envelope: when it happened and was recorded, and which unit did it.
func lean(at, recorded int64, unit string) *pb.EventMeta {
	return &pb.EventMeta{OccurredAt: stamp(at), RecordedAt: stamp(recorded), Actor: &pb.Actor{Unit: unit}}
}

// unsealed is an event without what is sealed in it.
func unsealed(e proto.Message) proto.Message {
	if box, ok := e.(interface{ GetSealed() *pb.Sealed }); !ok || box.GetSealed() == nil {
		return e
	}
	m := proto.Clone(e).ProtoReflect()
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		if f := fields.Get(i); f.Message() != nil && f.Message().FullName() == sealed {
			m.Clear(f)
		}
	}
	return m.Interface()
}

// keepEvent adds an event to what a row keeps.
func keepEvent(buf []byte, d *event.Decoded, bare proto.Message) ([]byte, error) {
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(bare)
	if err != nil {
		return nil, err
	}
	buf = appendText(buf, d.Type)
	buf = binary.AppendVarint(binary.AppendVarint(buf, micros(d.Meta.OccurredAt)), micros(d.Meta.RecordedAt))
	return append(binary.AppendUvarint(appendText(buf, d.Meta.GetActor().GetUnit()), uint64(len(data))), data...), nil
}

var sealed = new(pb.Sealed).ProtoReflect().Descriptor().FullName()

// eachKept yields what keepEvent wrote, in order.
func eachKept(buf []byte, take func(meta *pb.EventMeta, e proto.Message) error) error {
	u := unpacker{buf: buf}
	for len(u.buf) > 0 {
		typ := u.text()
		at, recorded := u.signed(), u.signed()
		unit, data := u.text(), u.text()
		if u.cut {
			return errors.New("what is kept of a stream is cut short")
		}
		e, ok := event.New(typ)
		if !ok {
			return fmt.Errorf("no event %s", typ)
		}
		if err := proto.Unmarshal([]byte(data), e); err != nil {
			return err
		}
		if err := take(lean(at, recorded, unit), e); err != nil {
			return err
		}
	}
	return nil
}

// DueOther is a timer of a whistle, an admission or a listing that has come.
type DueOther struct {
	Name string // "whistles/{whistle}"
	rule.Timer
	// Version is how many of the stream's events the view had seen.
	Version eventstore.Version
}

// DueOthers gives the timers whose instant has passed at now, which is once the second it lies in is over, of at most so many streams: those first that
// have waited longest; of a stream all, in the order of their instants. An index finds them: what it costs does not depend on how many run.
func (r *Reader) DueOthers(ctx context.Context, now time.Time, streams int) (list []DueOther, err error) {
	from := now.Truncate(time.Second) // what lies in this second is in time still
	err = r.db.Read(ctx, func(tx *viewdb.Tx) error {
		var buf []byte
		for row, err := range tx.Query("SELECT stream, version, timers FROM dues_2 WHERE due < $1 ORDER BY due, began LIMIT $2", from.UnixMicro(), streams) {
			if err != nil {
				return err
			}
			kind, id := kindOf(row.Text(0))
			name := timed[kind].collection + "/" + id
			buf = row.Bytes(2, buf[:0])
			u := unpacker{buf: buf}
			for len(u.buf) > 0 {
				t := rule.Timer{Which: int32(u.next()), By: time.UnixMicro(u.signed()).UTC(), Unit: u.text()}
				if u.cut {
					return fmt.Errorf("timers of %s are cut short", name)
				}
				if t.By.Before(from) {
					list = append(list, DueOther{name, t, eventstore.Version(row.Int64(1))})
				}
			}
		}
		return nil
	})
	return list, err
}

// NextDueOther is the earliest instant, of those that DueOthers does not count as passed at now, by which something must happen to a stream to which nothing
// should have happened before; the zero time if there is none.
func (r *Reader) NextDueOther(ctx context.Context, now time.Time) (next time.Time, err error) {
	err = r.db.Read(ctx, func(tx *viewdb.Tx) error {
		for row, err := range tx.Query("SELECT due FROM dues_2 WHERE due >= $1 ORDER BY due LIMIT 1", now.Truncate(time.Second).UnixMicro()) {
			if err != nil {
				return err
			}
			next = time.UnixMicro(row.Int64(0)).UTC()
		}
		return nil
	})
	return next, err
}
