// Package view is what the history adds up to: lists of tickets and whistles, and the figures. A view is one file: its
// tables, what events do to them, and how they are read.
//
// Views hold no personal data and no free text. They are computed from events alone, so they may be thrown away.
package view

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// Shanghai is the zone that days are counted in where a city names no other.
const Shanghai = "Asia/Shanghai"

// All are the views of this release. Days are counted in the zone, such as Shanghai; the file of views remembers it.
func All(zone *time.Location) []projector.View {
	return []projector.View{Tickets(), Closure(zone), Service(zone), Whistles(), Precedents(), Reviews(), Admissions(),
		Walls(), Deliberations(), Exchange(), Listings(), Dues()}
}

// Reader answers questions from the views in a database. It is safe for concurrent use.
type Reader struct {
	db    *viewdb.DB
	parts []*viewdb.DB // those that figures are kept in; none: in db
	store eventstore.Store
	zones zones
	held  holders
}

// NewReader reads from db. The store is asked only for what was known at an earlier position; it may be nil where nobody
// asks for that.
func NewReader(db *viewdb.DB, store eventstore.Store) *Reader { return &Reader{db: db, store: store} }

// NewPartsReader reads from db what is whole, and figures from the databases of all partitions, in the order of their numbers. Figures are those that whole views
// would give: what is counted is added up, rates are made of the sums. If db keeps figures otherwise, each question about them is answered with a *PartitionsError.
func NewPartsReader(db *viewdb.DB, parts []*viewdb.DB, store eventstore.Store) *Reader {
	return &Reader{db: db, parts: parts, store: store}
}

// kind is the kind of stream an event stands in, and the id.
func kind(d *event.Decoded) (kind, id string) { return kindOf(d.Stream) }

func kindOf(stream string) (kind, id string) {
	kind, id, _ = strings.Cut(stream, "-")
	return kind, id
}

// unknown is the error for an event that a view does not know: to skip it is to guess at the past.
func unknown(d *event.Decoded) error {
	return fmt.Errorf("event %s@%d: a view knows nothing of %s in such a stream", d.Stream, d.Version, d.Type)
}

// orphan is the error for an event of a stream whose beginning a view has not seen.
func orphan(d *event.Decoded) error {
	return fmt.Errorf("event %s@%d: %s, but the view does not know the stream", d.Stream, d.Version, d.Type)
}

func stamp(t int64) *timestamppb.Timestamp {
	if t == never || t == ever {
		return nil
	}
	return timestamppb.New(time.UnixMicro(t))
}

// others is what a view says of an event that is not of its kinds of streams: nothing, if the contract has the kind.
func others(d *event.Decoded, kind string) error {
	if slices.Contains(eventstore.Kinds, kind) {
		return nil
	}
	return unknown(d)
}
