package importing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/rule"
)

// Sink is where records go. Import is called by many callers at once and returns when the record is durable. An error that is
// a *rule.Refusal is about this record alone, unless its reason is one that would meet every other; any other error ends the
// run. A record that comes again must change nothing.
type Sink interface {
	Import(ctx context.Context, record *pb.ImportRecordRequest) (*pb.ImportAnswer, error)
}

// Options are how a run is done. The zero value will do.
type Options struct {
	// Callers is how many records are on their way to the sink at once; 512 if 0. A store that commits in groups needs many.
	Callers int
	// Quarantine is the file for rows that are not imported; quarantine.csv if empty. It is only made if there is one. If it
	// exists, it stays, and the name gets a number.
	Quarantine string
	// Progress is told how far the run is: a bar on a terminal, otherwise a line every few seconds. Nil: nobody is.
	Progress io.Writer
}

const defaultCallers = 512

// These refusals say something about the caller or the node, so that every record would meet them.
var stopping = []rule.Reason{rule.RoleNotAllowed, rule.OutOfScope, rule.RegistryNotLoaded}

// job is a record on its way to the sink, with the row it was made of.
type job struct {
	record *record
	file   string
	line   int
	raw    string
}

// counters are what the callers count.
type counters struct {
	imported, unchanged, quarantined atomic.Int64
}

func (c *counters) done() int64 { return c.imported.Load() + c.unchanged.Load() + c.quarantined.Load() }

// Run imports the records of files, in their order, and reports. Before anything is imported it sees that each file has the
// columns that the mapping names. With an error that came later there is a report too, of what was done until then; the same
// run again then goes on, since what is imported already stays as it is.
func Run(ctx context.Context, m *Mapping, files []string, sink Sink, opts Options) (*Report, error) {
	size, err := m.check(files)
	if err != nil {
		return nil, err
	}
	callers := opts.Callers
	if callers <= 0 {
		callers = defaultCallers
	}
	q := &quarantine{want: opts.Quarantine}
	if q.want == "" {
		q.want = "quarantine.csv"
	}
	report := newReport(m)
	begin := time.Now()

	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	jobs := make(chan job, callers)
	var count counters
	var callersDone sync.WaitGroup
	for range callers {
		callersDone.Go(func() {
			for j := range jobs {
				if ctx.Err() != nil {
					continue // the reader has stopped or is about to
				}
				if err := hand(ctx, sink, q, &count, j); err != nil {
					stop(err)
				}
			}
		})
	}

	var read atomic.Int64
	shown := showProgress(opts.Progress, m.source, size, &read, &count)
	ids := numbering{}
	for _, file := range files {
		// After an error of reading, what was read before it is still imported. Later files wait, so that ids keep their numbers.
		if err = readFile(ctx, m, file, &read, ids, jobs, q, &count, report); err != nil {
			break
		}
	}
	close(jobs)
	callersDone.Wait()
	shown()

	report.Imported, report.Unchanged = count.imported.Load(), count.unchanged.Load()
	report.Quarantined = count.quarantined.Load()
	report.Unfinished = report.Rows - count.done()
	for kind, n := range q.counts {
		report.Reasons[string(kind)] = n
	}
	report.QuarantineFile = q.path
	report.Took = Seconds(time.Since(begin).Seconds())
	if report.Took > 0 {
		report.Rate = float64(count.done()) / float64(report.Took)
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if err != nil {
		err = fmt.Errorf("import stopped after %d rows, %d without a known outcome: %w", report.Rows, report.Unfinished, err)
	}
	return report, errors.Join(err, q.close())
}

// readFile sends a file's records to jobs. An error names the file.
func readFile(ctx context.Context, m *Mapping, file string, read *atomic.Int64, ids numbering, jobs chan<- job, q *quarantine, count *counters, report *Report) error {
	in, err := m.open(file, read)
	if err != nil {
		return err
	}
	defer in.Close()
	for {
		row, err := in.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("%s: the compressed data end in the middle, in line %d; the rows before it were taken", file, in.line)
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %w", file, in.line, err)
		}
		report.Rows++
		kind, why := row.kind, row.bad
		var rec *record
		if why == "" {
			rec, kind, why = in.b.record(row.fields, ids)
		}
		if rec == nil {
			if err := q.put(file, row.line, kind, why, row.raw); err != nil {
				return err
			}
			count.quarantined.Add(1)
			continue
		}
		report.note(rec)
		select {
		case jobs <- job{rec, file, row.line, row.raw}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// hand gives one record to the sink and counts the outcome. An error ends the run.
func hand(ctx context.Context, sink Sink, q *quarantine, count *counters, j job) error {
	answer, err := sink.Import(ctx, &j.record.req)
	var no *rule.Refusal
	switch {
	case err == nil && answer.GetUnchanged():
		count.unchanged.Add(1)
	case err == nil:
		count.imported.Add(1)
	case errors.As(err, &no) && !slices.Contains(stopping, no.Reason):
		if err := q.put(j.file, j.line, byRule+reason(no.Reason), no.Error(), j.raw); err != nil {
			return err
		}
		count.quarantined.Add(1)
	default:
		return fmt.Errorf("%s:%d: %w", j.file, j.line, err)
	}
	return nil
}
