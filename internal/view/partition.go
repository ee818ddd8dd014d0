package view

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/projector"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// MaxPartitions is how many partitions the views of figures may be kept in at most.
const MaxPartitions = 256

// Partition is one of Of parts of the views of figures, ClosureView and ServiceView: that of the tickets it has. Number counts from 1. The views of all partitions
// add up to those that are kept whole.
type Partition struct{ Number, Of int }

// Has says whether the ticket of that id is in the partition.
func (p Partition) Has(id string) bool {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id)) // never fails
	return h.Sum64()%uint64(p.Of) == uint64(p.Number-1)
}

func (p Partition) String() string { return fmt.Sprintf("%d/%d", p.Number, p.Of) }

// Check refuses what is no partition.
func (p Partition) Check() error {
	switch {
	case p.Of < 1 || p.Of > MaxPartitions:
		return fmt.Errorf("%d partitions: want 1 to %d", p.Of, MaxPartitions)
	case p.Number < 1 || p.Number > p.Of:
		return fmt.Errorf("partition %d of %d: want 1 to %d", p.Number, p.Of, p.Of)
	}
	return nil
}

// Partitioned are the names of the views that may be kept in partitions.
var Partitioned = []string{ClosureView, ServiceView}

// Whole are the views of a database whose figures are kept in so many partitions elsewhere; with 1 they are All. A database that is built with them names the number.
func Whole(zone *time.Location, partitions int) []projector.View {
	list := All(zone)
	if partitions > 1 {
		list = slices.DeleteFunc(list, func(v projector.View) bool { return slices.Contains(Partitioned, v.Name) })
	}
	list[0].Schema = append(slices.Clip(list[0].Schema), partitionsTable,
		fmt.Sprintf("INSERT INTO partitions_1 (one, parts) VALUES (1, %d) ON CONFLICT (one) DO NOTHING", partitions))
	return list
}

// Part are the views of a partition, for a database of its own.
func Part(zone *time.Location, p Partition) []projector.View {
	closure, service := Closure(zone), Service(zone)
	closure.Folding = func() projector.Folding {
		f := newClosureFolding(zone)
		return &ofPartition{Folding: f, partition: p, others: func(tx *viewdb.Tx, d *event.Decoded) error {
			f.nodes.tx = tx
			return new(facts).fold(d, f.nodes)
		}}
	}
	service.Folding = func() projector.Folding {
		f := newServiceFolding(zone)
		return &ofPartition{Folding: f, partition: p, others: func(tx *viewdb.Tx, d *event.Decoded) error {
			f.nodes.tx, f.anchors.tx = tx, tx
			return new(life).fold(d, f.nodes, f.anchors)
		}}
	}
	return []projector.View{closure, service}
}

// ofPartition folds in the tickets of a partition. Of those of others it learns only what events call areas, and in which order tickets landed on levels: so that
// every partition has the names that the history told last, and one order of levels.
type ofPartition struct {
	projector.Folding
	partition Partition
	others    func(tx *viewdb.Tx, d *event.Decoded) error
}

func (f *ofPartition) Add(tx *viewdb.Tx, d *event.Decoded) error {
	if kind, id := kind(d); kind == "ticket" && !f.partition.Has(id) {
		return f.others(tx, d)
	}
	return f.Folding.Add(tx, d)
}

// partitionsTable has one row.
const partitionsTable = "CREATE TABLE IF NOT EXISTS partitions_1 (one BIGINT PRIMARY KEY, parts BIGINT NOT NULL)"

// PartitionsError says that figures are kept in another number of partitions than was thought.
type PartitionsError struct {
	Path      string // of the views
	Kept, Got int    // 1: whole
}

func (e *PartitionsError) Error() string {
	kept := fmt.Sprintf("in %d partitions", e.Kept)
	if e.Kept == 1 {
		kept = "whole"
	}
	return fmt.Sprintf("views %s: figures are kept %s, and were asked for in %d; start with --partitions %d, or let projector rebuild --partitions %d build them anew",
		e.Path, kept, e.Got, e.Kept, e.Got)
}

// ClaimPartitions notes that a database of views keeps its figures in so many partitions elsewhere, whole if 1. Once noted, another number is a *PartitionsError:
// a rebuild alone changes it.
func ClaimPartitions(ctx context.Context, db *viewdb.DB, partitions int) error {
	return db.Write(ctx, func(tx *viewdb.Tx) error {
		if err := projector.Prepare(tx); err != nil {
			return err
		}
		if err := tx.Script(partitionsTable); err != nil {
			return err
		}
		first := partitions
		if _, err := projector.Position(tx, ClosureView); err == nil {
			first = 1 // if nobody has said: a release that knew no partitions kept them
		}
		if _, err := tx.Exec("INSERT INTO partitions_1 (one, parts) VALUES (1, $1) ON CONFLICT (one) DO NOTHING", int64(first)); err != nil {
			return err
		}
		return keptIn(tx, db.Path(), partitions)
	})
}

// KeptPartitions is the number of partitions that a database of views keeps its figures in; 1 if nobody has said.
func KeptPartitions(ctx context.Context, db *viewdb.DB) (n int, err error) {
	n = 1
	err = db.Write(ctx, func(tx *viewdb.Tx) error {
		if err := tx.Script(partitionsTable); err != nil {
			return err
		}
		for row, err := range tx.Query("SELECT parts FROM partitions_1") {
			if err != nil {
				return err
			}
			n = int(row.Int64(0))
		}
		return nil
	})
	return n, err
}

// keptIn refuses a number of partitions that figures are not kept in.
func keptIn(tx *viewdb.Tx, path string, partitions int) error {
	kept := 1
	for row, err := range tx.Query("SELECT parts FROM partitions_1") {
		if err != nil {
			return err
		}
		kept = int(row.Int64(0))
	}
	if kept != partitions {
		return &PartitionsError{path, kept, partitions}
	}
	return nil
}
