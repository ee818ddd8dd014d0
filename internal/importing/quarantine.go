package importing

import (
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// quarantine is a file of the rows that were not imported. It is made with the first of them, readable by its owner alone,
// since they may hold personal data, and never in place of an earlier one.
type quarantine struct {
	want string

	mu     sync.Mutex
	path   string // what it became
	file   *os.File
	csv    *csv.Writer
	counts map[reason]int64
}

func (q *quarantine) put(file string, line int, kind reason, why, raw string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.file == nil {
		if err := q.open(); err != nil {
			return fmt.Errorf("quarantine: %w", err)
		}
	}
	if q.counts == nil {
		q.counts = map[reason]int64{}
	}
	q.counts[kind]++
	// Written at once: a run that is killed still leaves them.
	if err := q.write(file, strconv.Itoa(line), why, raw); err != nil {
		return fmt.Errorf("quarantine: %w", err)
	}
	return nil
}

func (q *quarantine) write(fields ...string) error {
	if err := q.csv.Write(fields); err != nil {
		return err
	}
	q.csv.Flush()
	return q.csv.Error()
}

func (q *quarantine) open() error {
	ext := filepath.Ext(q.want)
	for n := 1; ; n++ {
		path := q.want
		if n > 1 {
			path = fmt.Sprintf("%s-%d%s", strings.TrimSuffix(q.want, ext), n, ext)
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if errors.Is(err, os.ErrExist) && n < 10_000 {
			continue
		}
		if err != nil {
			return err
		}
		q.path, q.file, q.csv = path, f, csv.NewWriter(f)
		return q.write("file", "line", "reason", "row")
	}
}

func (q *quarantine) close() error {
	if q.file == nil {
		return nil
	}
	if err := errors.Join(q.file.Sync(), q.file.Close()); err != nil {
		return fmt.Errorf("quarantine: %w", err)
	}
	return nil
}
