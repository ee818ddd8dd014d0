package view_test

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/eventstore/sqlite"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/servers/serverstest"
	"github.com/chuishao/dispatch/internal/view"
	"github.com/chuishao/dispatch/internal/viewdb"
)

var shanghai = func() *time.Location {
	zone, err := time.LoadLocation(view.Shanghai)
	if err != nil {
		panic(err)
	}
	return zone
}()

// day0 is the beginning of a day in Shanghai.
var day0 = time.Date(2026, 3, 1, 0, 0, 0, 0, shanghai)

// history is a store that a test writes events to.
type history struct {
	tb       testing.TB
	store    *sqlite.Store
	versions map[string]eventstore.Version
	hashes   map[string]event.Hash
	last     eventstore.Position
	n        int

	postgres      bool   // views lie there
	dir, database string // of views, once there are any
	opened        int    // databases of views
}

func newHistory(tb testing.TB) *history {
	tb.Helper()
	store, err := sqlite.Open(filepath.Join(tb.TempDir(), "history.db"), sqlite.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { store.Close() })
	return &history{tb: tb, store: store, versions: map[string]eventstore.Version{}, hashes: map[string]event.Hash{}}
}

type happened struct {
	at  time.Time
	msg proto.Message
}

// record appends events to a stream, each as having happened at its time.
func (h *history) record(stream string, list ...happened) eventstore.Position {
	h.tb.Helper()
	after := h.versions[stream]
	hash := h.hashes[stream]
	var events []eventstore.Event
	for i, e := range list {
		h.n++
		meta := &pb.EventMeta{
			RequestId: fmt.Sprintf("request-%d", h.n), Count: 1,
			OccurredAt: timestamppb.New(e.at), RecordedAt: timestamppb.New(e.at.Add(time.Second)),
			Actor: &pb.Actor{Person: "p1", Role: pb.Role_ROLE_DISPATCHER, Unit: "u1"},
		}
		ev, err := event.Encode(stream, after+eventstore.Version(i+1), hash, meta, e.msg)
		if err != nil {
			h.tb.Fatal(err)
		}
		hash = event.Hash(meta.Hash)
		events = append(events, ev)
	}
	at, err := h.store.Append(h.tb.Context(), stream, after, events)
	if err != nil {
		h.tb.Fatal(err)
	}
	h.versions[stream] = after + eventstore.Version(len(list))
	h.hashes[stream] = hash
	h.last = at
	return at
}

// place is where views of a name are.
func (h *history) place(name string) string {
	h.tb.Helper()
	if h.dir == "" {
		h.dir = h.tb.TempDir()
	}
	switch {
	case !h.postgres:
		return filepath.Join(h.dir, name)
	case h.database == "":
		h.database = serverstest.Database(h.tb)
	}
	return h.database + "&schema=" + strings.TrimSuffix(name, ".db")
}

func TestMain(m *testing.M) { serverstest.Main(m) }

// onEach runs a test with views on each engine.
func onEach(t *testing.T, test func(t *testing.T, newHistory func(testing.TB) *history)) {
	t.Helper()
	t.Parallel()
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		test(t, newHistory)
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		serverstest.Postgres(t)
		test(t, func(tb testing.TB) *history {
			h := newHistory(tb)
			h.postgres = true
			return h
		})
	})
}

func (h *history) views(name string) *viewdb.DB {
	h.tb.Helper()
	if h.opened++; h.opened > 1 && name != "rivals.db" {
		name = fmt.Sprintf("again%d_%s", h.opened, name)
	}
	db, err := viewdb.Open(h.place(name), viewdb.Options{})
	if err != nil {
		h.tb.Fatal(err)
	}
	h.tb.Cleanup(func() { db.Close() })
	return db
}

func (h *history) catchUp(db *viewdb.DB, batch int) {
	h.tb.Helper()
	p, err := projector.Open(h.tb.Context(), h.store, db, projector.Options{Batch: batch}, view.All(shanghai)...)
	if err != nil {
		h.tb.Fatal(err)
	}
	if err := p.CatchUp(h.tb.Context()); err != nil {
		h.tb.Fatal(err)
	}
}

func (h *history) reader() *view.Reader {
	h.tb.Helper()
	return h.readerOf(h.store)
}

// readerOf reads views that are up to date, and asks a store for what was known.
func (h *history) readerOf(store eventstore.Store) *view.Reader {
	h.tb.Helper()
	db := h.views("views.db")
	h.catchUp(db, 0)
	return view.NewReader(db, store)
}

// remembered is a history as it is now, read from its file once: for readers who are asked some thousand times what was known.
type remembered struct {
	eventstore.Store
	all []eventstore.Recorded
}

func (h *history) remembered() remembered {
	h.tb.Helper()
	m := remembered{Store: h.store}
	for r, err := range h.store.ReadAll(h.tb.Context(), 0) {
		if err != nil {
			h.tb.Fatal(err)
		}
		m.all = append(m.all, r)
	}
	return m
}

// ReadAll is a store's.
func (m remembered) ReadAll(_ context.Context, after eventstore.Position) iter.Seq2[eventstore.Recorded, error] {
	return func(yield func(eventstore.Recorded, error) bool) {
		for _, r := range m.all {
			if r.Position > after && !yield(r, nil) {
				return
			}
		}
	}
}

func dump(tb testing.TB, db *viewdb.DB) string {
	tb.Helper()
	var b bytes.Buffer
	for _, name := range []string{view.TicketsView, view.ClosureView, view.ServiceView, view.WhistlesView, view.PrecedentsView, view.ReviewsView, view.AdmissionsView,
		view.WallsView, view.DeliberationsView, view.ExchangeView, view.ListingsView, view.DuesView} {
		at, err := view.Dump(context.Background(), db, name, &b)
		if err != nil {
			tb.Fatal(err)
		}
		fmt.Fprintln(&b, name, at)
	}
	return b.String()
}

func at(t time.Time) *timestamppb.Timestamp { return timestamppb.New(t) }

func path(steps ...string) []*pb.AreaNode {
	levels := []string{"city", "district", "street", "community", "grid"}
	var list []*pb.AreaNode
	for i, code := range steps {
		list = append(list, &pb.AreaNode{Level: levels[i], Code: code, Name: "n" + code})
	}
	return list
}
