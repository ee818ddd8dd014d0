package whole

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	zombie "zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/eventstore/sqlite"
	"github.com/chuishao/dispatch/internal/verify"
)

// smallHistory makes a data directory with a few tickets of one community, and gives its history and events.
func smallHistory(t *testing.T) (file []byte, events []eventstore.Recorded) {
	t.Helper()
	data := filepath.Join(t.TempDir(), "data")
	must(t, dispatcher, "registry", "--data", data, "--version", "small-1", smallCity(t))
	s := serve(t, data)
	c, ctx := s.dial(t), agent(t.Context())
	for n := range 40 {
		r := matter(fmt.Sprintf("report-%d", n))
		if n == 7 {
			r.Particulars.Text = strings.Repeat("水管爆裂", 1500) // larger than a page
		}
		a, err := c.ReportTicket(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		if n%2 == 0 {
			if _, err := c.AcceptTicket(ctx, &pb.AcceptTicketRequest{Name: a.Name, RequestId: fmt.Sprintf("accept-%d", n)}); err != nil {
				t.Fatal(err)
			}
		}
		if n%4 == 0 {
			if _, err := c.AnswerTicketDirectly(ctx, &pb.AnswerTicketDirectlyRequest{Name: a.Name, RequestId: fmt.Sprintf("answer-%d", n), KnowledgeRef: "KB-1", Particulars: &pb.Particulars{Reply: "已答复"}}); err != nil {
				t.Fatal(err)
			}
			// Refused, and noted.
			if _, err := c.AcceptTicket(ctx, &pb.AcceptTicketRequest{Name: a.Name, RequestId: fmt.Sprintf("again-%d", n)}); err == nil {
				t.Fatal("accepted twice")
			}
		}
	}
	s.stop(t)
	path := filepath.Join(data, "history.db")
	if info, err := os.Stat(path + "-wal"); err == nil && info.Size() > 0 {
		t.Fatal("the log was not moved into the file")
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	store, err := sqlite.Open(path, sqlite.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for e, err := range store.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	return file, events
}

// smallCity is the example city with one community, in a directory of CSV files.
func smallCity(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"levels.csv", "areas.csv", "units.csv", "categories.csv"} {
		text, err := os.ReadFile(root(t, "examples", "wuxi", name))
		if err != nil {
			t.Fatal(err)
		}
		var kept []string
		for i, line := range strings.Split(string(text), "\n") {
			code, _, _ := strings.Cut(line, ",")
			switch code {
			case "320200000000", "320205000000-ZH", "320205000000", street, community, centre, "03", "0302":
			default:
				if i > 0 && name != "levels.csv" {
					continue
				}
			}
			kept = append(kept, line)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Join(kept, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// readable is all that can be read of a history: every table, whole and through its indexes, and how it is laid out.
func readable(path string) (string, error) {
	conn, err := zombie.OpenConn(path, zombie.OpenReadOnly)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	var all strings.Builder
	for _, query := range []string{
		"SELECT type, name, tbl_name, sql FROM sqlite_schema",
		"PRAGMA application_id", "PRAGMA user_version", "PRAGMA encoding",
		"SELECT position, stream, version, name, type, hex(id), hex(meta), hex(data), typeof(name), typeof(meta), typeof(data) FROM events NOT INDEXED ORDER BY position",
		"SELECT stream, version, position FROM events INDEXED BY events_by_stream WHERE stream > -1e18 ORDER BY stream, version",
		"SELECT name, first FROM streams ORDER BY name",
	} {
		err := sqlitex.ExecuteTransient(conn, query, &sqlitex.ExecOptions{ResultFunc: func(row *zombie.Stmt) error {
			for i := range row.ColumnCount() {
				fmt.Fprintf(&all, "%s|", row.ColumnText(i))
			}
			all.WriteByte('\n')
			return nil
		}})
		if err != nil {
			return all.String(), err
		}
	}
	return all.String(), nil
}

// examine opens a history and verifies it. The error is why it cannot be opened or read.
func examine(ctx context.Context, path string) (found []*pb.VerifyFinding, err error) {
	store, err := sqlite.Open(path, sqlite.Options{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer store.Close()
	err = verify.Run(ctx, verify.Config{Store: store, Integrity: store.CheckIntegrity}, func(m *pb.VerifyHistoryResponse) error {
		found = append(found, m.Findings...)
		return nil
	})
	return found, err
}

// regions are the offsets of a history's file by what stands there.
func regions(file []byte, events []eventstore.Recorded) map[string][]int {
	const page = 4096
	at := map[string][]int{}
	add := func(what string, from, to int) {
		for i := from; i < to; i++ {
			at[what] = append(at[what], i)
		}
	}
	add("file header", 0, 100)
	for p := 0; p*page < len(file); p++ {
		h := p * page
		if p == 0 {
			h = 100
		}
		kind, cells := file[h], int(binary.BigEndian.Uint16(file[h+3:]))
		size, name := 8, ""
		switch kind {
		case 2:
			size, name = 12, "index interior page"
		case 5:
			size, name = 12, "table interior page"
		case 10:
			name = "index leaf page"
		case 13:
			name = "table leaf page"
		default:
			add("overflow page", p*page, (p+1)*page)
			continue
		}
		add(name+" header", h, h+size)
		add(name+" pointers", h+size, h+size+2*cells)
		content := int(binary.BigEndian.Uint16(file[h+5:]))
		if p == 0 {
			name = "schema"
		}
		add(name+" unused", h+size+2*cells, p*page+content)
		add(name+" cells", p*page+content, (p+1)*page)
	}
	for _, e := range events {
		for what, part := range parts(file, &e) {
			add("an event's "+what, part[0], part[1])
		}
	}
	return at
}

// parts are where an event's columns lie, from and to, as far as they lie on the event's own page. Unused space can hold what a page held before, so
// only what a cell of the table of events holds counts.
func parts(file []byte, e *eventstore.Recorded) map[string][2]int {
	const page = 4096
	row := slices.Concat([]byte(e.Stream), []byte(e.Type), e.ID[:], e.Meta)
	for p := page; p < len(file); p += page {
		if file[p] != 13 {
			continue
		}
		for n := range int(binary.BigEndian.Uint16(file[p+3:])) {
			cell := p + int(binary.BigEndian.Uint16(file[p+8+2*n:]))
			i := bytes.Index(file[cell:min(cell+60+len(row), p+page)], row)
			if i < 0 {
				continue
			}
			name := cell + i
			id := name + len(e.Stream) + len(e.Type)
			meta, data := id+16, id+16+len(e.Meta)
			at := map[string][2]int{"stream name": {name, name + len(e.Stream)}, "type": {name + len(e.Stream), id}, "id": {id, meta}, "meta": {meta, data}}
			if end := data + len(e.Data); end <= p+page && len(e.Data) > 0 && bytes.Equal(file[data:end], e.Data) {
				at["data"] = [2]int{data, end}
			}
			return at
		}
	}
	return nil
}

func TestOneFlippedByteAnywhereInTheHistoryIsFound(t *testing.T) {
	t.Parallel()
	file, events := smallHistory(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "history.db")
	write := func(b []byte) {
		t.Helper()
		for _, suffix := range []string{"-wal", "-shm"} {
			_ = os.Remove(path + suffix)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(file)
	if found, err := examine(t.Context(), path); err != nil || len(found) > 0 {
		t.Fatalf("untouched: %v, %v", found, err)
	}
	whole, err := readable(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(whole, "\n"); n < 2*len(events) {
		t.Fatalf("only %d rows can be read of %d events", n, len(events))
	}

	began, tried, reported, named, unopened, idle := time.Now(), 0, 0, 0, 0, map[string]int{}
	flip := func(what string, at int, bits byte) ([]*pb.VerifyFinding, error) {
		t.Helper()
		tried++
		damaged := slices.Clone(file)
		damaged[at] ^= bits
		write(damaged)
		found, err := examine(t.Context(), path)
		switch {
		case err != nil:
			unopened++
		case len(found) > 0:
			reported++
			if slices.ContainsFunc(found, func(f *pb.VerifyFinding) bool {
				return f.Stream != "" && f.Version > 0 || strings.Contains(f.Message, "-") && strings.Contains(f.Message, "@")
			}) {
				named++
			}
		default:
			write(damaged) // examining left it as it was; opening may make a log
			if now, err := readable(path); err != nil || now != whole {
				t.Errorf("%s, byte %d ^ %#02x: not found, though what can be read differs (%v): %s", what, at, bits, err, differ(strings.Split(now, "\n"), strings.Split(whole, "\n")))
			}
			idle[what]++
		}
		return found, err
	}

	random := rand.New(rand.NewPCG(7, 7))
	all := regions(file, events)
	for _, what := range slices.Sorted(maps.Keys(all)) {
		offsets := all[what]
		n := 60
		if strings.HasSuffix(what, "cells") {
			n = 240
		}
		n /= slow
		for range min(n, len(offsets)) {
			flip(what, offsets[random.IntN(len(offsets))], 1<<random.IntN(8))
		}
	}
	for range 300 / slow {
		flip("anywhere", random.IntN(len(file)), byte(1+random.IntN(255)))
	}

	// What an event says: exactly that event is named.
	exact := 0
	for _, e := range events {
		where := parts(file, &e)
		for _, what := range []string{"meta", "data", "id", "type"} {
			part, ok := where[what]
			if !ok {
				continue // empty, or beyond the event's own page
			}
			if slow > 1 && random.IntN(slow) > 0 && what != "meta" {
				continue
			}
			at := part[0] + random.IntN(part[1]-part[0])
			found, err := flip("an event's "+what, at, 1<<random.IntN(8))
			if err != nil || len(found) != 1 || found[0].Stream != e.Stream || found[0].Version != uint64(e.Version) {
				t.Errorf("%s of %s@%d, byte %d: got %v, %v; want one finding that names it", what, e.Stream, e.Version, at, found, err)
			}
			exact++
		}
	}
	if tried < 300 || exact < len(events) {
		t.Errorf("only %d flips were tried, %d of them inside events", tried, exact)
	}
	t.Logf("%d flips in %d bytes, %d events (%.0f s): %d reported (%d name stream and version), %d refused when opened or read; of %d flips of meta, data and ids each named its event; nothing readable differs after: %v",
		tried, len(file), len(events), time.Since(began).Seconds(), reported, named, unopened, exact, idle)
}
