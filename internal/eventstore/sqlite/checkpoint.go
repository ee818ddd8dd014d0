package sqlite

import (
	"sync/atomic"

	"zombiezen.com/go/sqlite"
)

const (
	// checkpointEvery is about how many bytes of log are written between two checkpoints. Small ones disturb
	// appends little; large ones took their p99 from 33 to 120 ms.
	checkpointEvery = 4 << 20

	// finishAbove is the length of the log, in pages, from which the writer itself moves the rest.
	finishAbove = 4096
)

// checkpointer moves the log into the file beside the appends, on a connection of its own. Under load it never
// reaches the end of the log, which then would only grow: from finishAbove on it asks the writer to move the
// little that is left, between two commits, whereupon the log starts anew.
type checkpointer struct {
	conn *sqlite.Conn
	move *sqlite.Stmt

	since  int // bytes since the last one; the writer's
	due    chan struct{}
	finish atomic.Bool
}

func newCheckpointer(path string) (*checkpointer, error) {
	conn, err := openWriter(path)
	if err != nil {
		return nil, explainOpen(path, err)
	}
	move, err := conn.Prepare("PRAGMA wal_checkpoint(PASSIVE)")
	if err != nil {
		conn.Close()
		return nil, explainOpen(path, err)
	}
	return &checkpointer{conn: conn, move: move, due: make(chan struct{}, 1)}, nil
}

// grown counts what the writer wrote and reports whether the writer shall finish a checkpoint.
func (c *checkpointer) grown(bytes int) bool {
	if c.since += bytes; c.since >= checkpointEvery {
		c.since = 0
		select {
		case c.due <- struct{}{}:
		default:
		}
	}
	return c.finish.Load()
}

func (c *checkpointer) run(closing <-chan struct{}) {
	for {
		select {
		case <-c.due:
			length, moved := checkpoint(c.move)
			c.finish.Store(length >= finishAbove && length-moved < finishAbove/2)
		case <-closing:
			return
		}
	}
}

func (w *writer) finishCheckpoint() {
	checkpoint(w.finish)
	w.store.wal.finish.Store(false)
}

// checkpoint returns the length of the log in pages and how many of them have been moved. One that fails, on a
// full disk or while a long read is under way, is tried again after the next commits; the log is as durable as the file.
func checkpoint(move *sqlite.Stmt) (length, moved int64) {
	defer move.Reset()
	if found, err := move.Step(); err != nil || !found {
		return 0, 0
	}
	return move.ColumnInt64(1), move.ColumnInt64(2)
}
