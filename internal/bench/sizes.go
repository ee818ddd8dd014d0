package bench

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/chuishao/dispatch/internal/app"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// sizes measures what the loaded tickets take. Of servers that were not started here it is not told: others may use them too.
func (r *run) sizes(ctx context.Context) error {
	lives := r.Tickets / tenth
	r.report.add("events_per_ticket", float64(r.history)/float64(r.Tickets), "",
		fmt.Sprintf("%d lives of up to %d commands, the others records of other systems", lives, steps))
	switch {
	case r.places.history == nil:
		r.report.add("history_bytes_per_event", float64(fileSize(filepath.Join(r.full.Dir, app.HistoryFile)))/float64(r.history), "B", "of the file")
	case r.places.nats != nil:
		size, err := treeSize(filepath.Join(r.dir, "nats", r.places.nats.Node(0).Name()))
		if err != nil {
			return err
		}
		r.report.add("history_bytes_per_event", float64(size)/float64(r.history), "B", "on each of the three nodes, with the log of replication")
		r.report.add("store_rss_mib", r.places.resident(), "MiB", fmt.Sprintf("of the largest node, with %d streams of tickets", r.Tickets))
	}
	var size int64
	note := "of the file"
	if r.places.viewsURL == "" {
		size = fileSize(filepath.Join(r.full.Dir, app.ViewsFile))
	} else {
		note = "of the tables with their indexes"
		err := r.full.Views.Read(ctx, func(tx *viewdb.Tx) error {
			for row, err := range tx.Query("SELECT CAST(SUM(pg_total_relation_size(c.oid)) AS BIGINT) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = current_schema() AND c.relkind = 'r'") {
				if err != nil {
					return err
				}
				size = row.Int64(0)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	r.report.add("views_bytes_per_ticket", float64(size)/float64(r.Tickets), "B", note)
	if r.places.keysURL == "" && lives > 0 {
		r.report.add("keys_bytes_per_life", float64(fileSize(filepath.Join(r.full.Dir, app.KeysFile)))/float64(lives), "B", "of the file; a life has a petitioner, a record has none")
	}
	return nil
}

// fileSize is the size of a database with its log; 0 if there is none.
func fileSize(path string) (size int64) {
	for _, suffix := range []string{"", "-wal"} {
		if info, err := os.Stat(path + suffix); err == nil {
			size += info.Size()
		}
	}
	return size
}

// treeSize is the sum of the sizes of all files below a directory. A server may be at work on them.
func treeSize(dir string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if os.IsNotExist(err) {
				return nil
			}
			return err
		}
		if info, err := d.Info(); err == nil {
			size += info.Size()
		}
		return nil
	})
	return size, err
}

// resident is the resident memory in MiB of the largest of the servers' processes; 0 if none was started here.
func (p *places) resident() (most float64) {
	if p.nats == nil {
		return 0
	}
	for _, n := range p.nats.Nodes() {
		most = max(most, residentMiB(strconv.Itoa(n.Pid())))
	}
	return most
}

// ticks is how many of /proc's units of processor time are a second, on every Linux that Go runs on.
const ticks = 100

// processorTime is what the store's processes have used so far; 0 if none was started here, or the system does not say.
func (p *places) processorTime() (used time.Duration) {
	if p.nats == nil {
		return 0
	}
	for _, n := range p.nats.Nodes() {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.Pid()))
		if err != nil {
			return 0
		}
		// The program's name, in brackets, may hold anything. Of the fields behind it the 12th and the 13th count.
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		if len(fields) < 13 {
			return 0
		}
		for _, f := range fields[11:13] {
			n, err := strconv.ParseInt(f, 10, 64)
			if err != nil {
				return 0
			}
			used += time.Duration(n) * time.Second / ticks
		}
	}
	return used
}

// residentMiB is the resident memory of a process, without files that are only mapped; 0 where the system does not say.
func residentMiB(pid string) float64 {
	f, err := os.Open("/proc/" + pid + "/status")
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "VmRSS:"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(text), " kB"), 64)
			if err != nil {
				return 0
			}
			return kib / 1024
		}
	}
	return 0
}
