package view_test

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/eventstore/sqlite"
	"github.com/chuishao/dispatch/internal/projector"
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

func (h *history) views(name string) *viewdb.DB {
	h.tb.Helper()
	db, err := viewdb.Open(filepath.Join(h.tb.TempDir(), name), viewdb.Options{})
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
	db := h.views("views.db")
	h.catchUp(db, 0)
	return view.NewReader(db, h.store)
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
