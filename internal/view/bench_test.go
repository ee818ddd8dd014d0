package view_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

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

// city opens the history that benchmarks are about, and makes it if it is not there.
func city(b *testing.B) (store *sqlite.Store, dir string, tickets int) {
	tickets = 50_000
	if n, err := strconv.Atoi(os.Getenv("CHUISHAO_TICKETS")); err == nil {
		tickets = n
	}
	dir = os.Getenv("CHUISHAO_BENCH")
	if dir == "" {
		dir = b.TempDir()
	}
	store, err := sqlite.Open(filepath.Join(dir, fmt.Sprintf("history-%d.db", tickets)), sqlite.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { store.Close() })
	if head, err := store.Head(b.Context()); err != nil {
		b.Fatal(err)
	} else if head == 0 {
		fill(b, store, tickets)
	}
	return store, dir, tickets
}

// spent is the processor time of this process: on a busy machine it says more than the clock.
func spent() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkRebuild builds all views of the city from the first event.
func BenchmarkRebuild(b *testing.B) {
	store, dir, tickets := city(b)
	path := filepath.Join(dir, "rebuilt.db")
	used := spent()
	b.ResetTimer()
	for range b.N {
		if err := projector.Build(b.Context(), store, path, projector.Options{}, view.All(shanghai)...); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)*float64(tickets)/b.Elapsed().Seconds(), "tickets/s")
	b.ReportMetric((spent()-used).Seconds()/float64(b.N), "cpu-s")
}

// BenchmarkEngines follows a history of CHUISHAO_TICKETS tickets, in batches as they come when a view is behind, and builds it anew, on each engine.
func BenchmarkEngines(b *testing.B) {
	store, dir, _ := city(b)
	events := 0
	for _, err := range store.ReadAll(b.Context(), 0) {
		if err != nil {
			b.Fatal(err)
		}
		events++
	}
	for name, place := range map[string]func(b *testing.B) string{
		"SQLite":     func(b *testing.B) string { return filepath.Join(dir, "followed.db") },
		"PostgreSQL": func(b *testing.B) string { return serverstest.Database(b) },
	} {
		for _, batch := range []int{100, 10_000} {
			b.Run(fmt.Sprintf("%s/follow in %d", name, batch), func(b *testing.B) {
				at := place(b)
				for range b.N {
					if err := viewdb.Remove(at); err != nil {
						b.Fatal(err)
					}
					db, err := viewdb.Open(at, viewdb.Options{})
					if err != nil {
						b.Fatal(err)
					}
					p, err := projector.Open(b.Context(), store, db, projector.Options{Batch: batch}, view.All(shanghai)...)
					if err != nil {
						b.Fatal(err)
					}
					if err := p.CatchUp(b.Context()); err != nil {
						b.Fatal(err)
					}
					if err := db.Close(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N)*float64(events)/b.Elapsed().Seconds(), "events/s")
			})
		}
		b.Run(name+"/build", func(b *testing.B) {
			at := place(b)
			for range b.N {
				if err := projector.Build(b.Context(), store, at, projector.Options{}, view.All(shanghai)...); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)*float64(events)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkPartition follows a history of CHUISHAO_TICKETS tickets with the views of figures: whole, and one of several partitions.
func BenchmarkPartition(b *testing.B) {
	store, dir, _ := city(b)
	for _, of := range []int{1, 2, 4, 8} {
		b.Run(fmt.Sprintf("one of %d", of), func(b *testing.B) {
			used := spent()
			for i := range b.N {
				db, err := viewdb.Open(filepath.Join(dir, fmt.Sprintf("part-%d-%d-%d.db", of, b.N, i)), viewdb.Options{})
				if err != nil {
					b.Fatal(err)
				}
				p, err := projector.Open(b.Context(), store, db, projector.Options{Batch: 100}, view.Part(shanghai, view.Partition{Number: 1, Of: of})...)
				if err != nil {
					b.Fatal(err)
				}
				if err := errors.Join(p.CatchUp(b.Context()), db.Close(), viewdb.Remove(db.Path())); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((spent()-used).Seconds()/float64(b.N), "cpu-s")
		})
	}
}

// BenchmarkCity builds the views of CHUISHAO_TICKETS tickets (50,000 by default), 10,000 a day, in a tree of Wuxi's size, and asks them. The
// directory CHUISHAO_BENCH, if set, keeps the history for the next time. With CHUISHAO_ENGINE=postgres the views lie in a PostgreSQL.
func BenchmarkCity(b *testing.B) {
	store, dir, tickets := city(b)
	started := time.Now()
	events := 0
	for r, err := range store.ReadAll(b.Context(), 0) {
		if err != nil {
			b.Fatal(err)
		}
		if _, err := event.Decode(r); err != nil {
			b.Fatal(err)
		}
		events++
	}
	scan := time.Since(started)
	name := filepath.Join(dir, "views.db")
	if os.Getenv("CHUISHAO_ENGINE") == "postgres" {
		name = serverstest.Database(b)
	}
	started = time.Now()
	if err := projector.Build(b.Context(), store, name, projector.Options{}, view.All(shanghai)...); err != nil {
		b.Fatal(err)
	}
	build := time.Since(started)
	size := int64(0) // not known of a server
	if info, err := os.Stat(name); err == nil {
		size = info.Size()
	}
	b.Logf("%d events: scanned and decoded %.0f/s, rebuilt %.0f/s, ratio %.2f, %d MB", events, float64(events)/scan.Seconds(), float64(events)/build.Seconds(), scan.Seconds()/build.Seconds(), size>>20)

	db, err := viewdb.Open(name, viewdb.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	r := view.NewReader(db, store)
	span := time.Duration(tickets) * (24 * time.Hour / 10_000)
	rnd := rand.New(rand.NewPCG(3, 3))
	when := func() time.Time { return day0.Add(time.Duration(rnd.Int64N(int64(span)))) }
	measure := func(what string, n int, do func() error) {
		var took []time.Duration
		for range n {
			started := time.Now()
			if err := do(); err != nil {
				b.Fatalf("%s: %v", what, err)
			}
			took = append(took, time.Since(started))
		}
		slices.Sort(took)
		b.Logf("%-40s p50 %v p99 %v", what, took[n/2].Round(10*time.Microsecond), took[n*99/100].Round(10*time.Microsecond))
	}
	ctx := context.Background()
	for _, n := range [][2]string{{"city", "3202"}, {"street", "320200001"}, {"community", "320200001001"}, {"all", ""}} {
		measure("closure of a "+n[0], 200, func() error {
			_, _, err := r.ClosureAt(ctx, view.ClosureQuery{Level: n[0], Code: n[1], At: when().Add(24 * time.Hour)})
			return err
		})
	}
	for _, m := range []string{"M02", "M12", "M14", "M16"} {
		measure(m+" of the city, a month, now", 50, func() error {
			from := when()
			_, _, err := r.MetricOf(ctx, view.MetricQuery{Metric: m, Level: "city", Code: "3202", From: from, To: from.AddDate(0, 1, 0), At: day0.Add(span).AddDate(0, 0, 30)})
			return err
		})
		measure(m+" of the city, a month, at its end", 10, func() error {
			from := when()
			_, _, err := r.MetricOf(ctx, view.MetricQuery{Metric: m, Level: "city", Code: "3202", From: from, To: from.AddDate(0, 1, 0), At: from.AddDate(0, 1, 0)})
			return err
		})
	}
	measure("closure of all streets", 20, func() error {
		_, _, _, err := r.ListClosure(ctx, view.ClosureQuery{Level: "street", At: when()})
		return err
	})
	measure("closure of all communities", 10, func() error {
		_, _, _, err := r.ListClosure(ctx, view.ClosureQuery{Level: "community", At: when(), PageSize: 10_000})
		return err
	})
	measure("median of the city", 2, func() error {
		_, _, err := r.ClosureAt(ctx, view.ClosureQuery{Level: "city", Code: "3202", At: when().Add(24 * time.Hour), WithMedian: true})
		return err
	})
	all := view.Scope{All: true}
	for what, q := range map[string]view.TicketQuery{
		"inbox of a unit":               {Scope: all, Filter: `holder = "dep7" AND open`},
		"inbox of a unit by scope":      {Scope: view.Scope{Path: []string{"root", "dep", "dep7"}}, Filter: `open`},
		"all of a unit by scope":        {Scope: view.Scope{Path: []string{"root", "dep", "dep7"}}},
		"inbox below a lead":            {Scope: view.Scope{Path: []string{"root", "dep", "dep7", "team"}}, Filter: `open`},
		"open of a department":          {Scope: view.Scope{Path: []string{"root", "dep"}}, Filter: `open`},
		"to be dispatched, of a street": {Scope: view.Scope{Path: []string{"3202", "320201", "320200001"}}, Filter: `open`},
		"open of the city":              {Scope: all, Filter: `area = "3202" AND open`},
		"open of a street":              {Scope: all, Filter: `area = "320200001" AND open`},
		"open of a community":           {Scope: all, Filter: `area = "320200001001" AND open`},
		"all of a street":               {Scope: all, Filter: `area = "320200001"`},
		"open, by close_by":             {Scope: all, Filter: `open`, OrderBy: "close_by"},
		"all, latest first":             {Scope: all, OrderBy: "reported_at desc"},
		"all, by next_by":               {Scope: all},
		"handling in a street, a no":    {Scope: all, Filter: `state = HANDLING AND area = "320200002" AND open`},
		"overdue in a street":           {Scope: all, Filter: `close_by < "2026-03-20T00:00:00Z" AND open AND area = "320200002"`},
	} {
		measure(what, 50, func() error {
			_, _, _, err := r.ListTickets(ctx, q)
			return err
		})
	}
	for what, q := range map[string]view.InboxQuery{
		"inbox of a clerk":           {Path: []string{"root", "dep", "dep7"}, Role: pb.Role_ROLE_DEPARTMENT_CLERK},
		"inbox of a department head": {Path: []string{"root", "dep"}, Role: pb.Role_ROLE_DEPARTMENT_HEAD},
		"inbox of a dispatcher":      {Path: []string{"3202", "320201", "320200001"}, Role: pb.Role_ROLE_DISPATCHER},
		"inbox of the supervisors":   {Path: []string{"root"}, Role: pb.Role_ROLE_SUPERVISOR},
		"inbox of the dispatchers":   {Path: []string{"3202"}, Role: pb.Role_ROLE_DISPATCHER},
	} {
		measure(what, 50, func() error {
			q.Now, q.Scope = when(), view.Scope{Path: q.Path, Leads: q.Path}
			_, _, _, _, err := r.Inbox(ctx, q)
			return err
		})
	}
	measure("timers that are due", 50, func() error {
		_, _, err := r.Due(ctx, when(), 100)
		return err
	})
}

// codes are those of the units that govern the areas, which have the areas' codes.
func codes(path []*pb.AreaNode) []string {
	list := make([]string, len(path))
	for i, n := range path {
		list[i] = n.Code
	}
	return list
}

// fill records lives of ten events, at their own times, so that those of many tickets are mixed.
func fill(b *testing.B, store *sqlite.Store, tickets int) {
	rnd := rand.New(rand.NewPCG(1, 1))
	type step struct {
		ticket int
		at     int64
	}
	steps := make([][3]step, 0, tickets)
	for i := range tickets {
		t := int64(i) * 8_640_000 // µs: 10,000 a day
		d := t + rnd.Int64N(4*3600e6)
		steps = append(steps, [3]step{{i, t}, {i, d}, {i, d + rnd.Int64N(6*86400e6)}})
	}
	var order []step
	for _, s := range steps {
		order = append(order, s[0], s[1], s[2])
	}
	slices.SortFunc(order, func(a, b step) int { return int(min(max(a.at-b.at, -1), 1)) })
	type place struct {
		path []*pb.AreaNode
		unit string
	}
	places := make([]place, tickets)
	stages := make([]uint8, tickets)
	hashes := make([]event.Hash, tickets)
	versions := make([]eventstore.Version, tickets)
	jobs := make(chan func(), 256)
	for range 64 {
		go func() {
			for do := range jobs {
				do()
			}
		}()
	}
	busy := make([]chan struct{}, tickets)
	for _, s := range order {
		i := s.ticket
		if places[i].path == nil {
			street := 1 + rnd.IntN(88)
			community := rnd.IntN(15)
			p := []*pb.AreaNode{{Level: "city", Code: "3202", Name: "无锡市"}, {Level: "district", Code: fmt.Sprintf("32020%d", street%7), Name: "区"},
				{Level: "street", Code: fmt.Sprintf("320200%03d", street), Name: "街道"}, {Level: "community", Code: fmt.Sprintf("320200%03d%03d", street, community), Name: "社区"}}
			places[i] = place{p, fmt.Sprintf("dep%d", rnd.IntN(120))}
		}
		p := places[i]
		t := day0.Add(time.Duration(s.at) * time.Microsecond)
		closeBy := timestamppb.New(day0.Add(time.Duration(int64(i)*8_640_000)*time.Microsecond).AddDate(0, 0, 5))
		var list []happened
		stages[i]++
		switch stages[i] {
		case 1:
			list = []happened{{t, &pb.TicketReported{No: fmt.Sprintf("2026%08d", i), Source: "12345", SourceRef: fmt.Sprint(i), Channel: pb.Channel(1 + i%6), Path: p.path, AcceptBy: closeBy, Holder: p.path[2].Code, HolderPath: codes(p.path[:3])}},
				{t.Add(time.Minute), &pb.TicketAccepted{Path: p.path, DispatchBy: closeBy, Holder: p.path[2].Code, HolderPath: codes(p.path[:3])}}}
		case 2:
			list = []happened{{t, &pb.TicketTriaged{Category: fmt.Sprintf("%04d", 101+rnd.IntN(42)), Grade: pb.Grade_GRADE_G2, Path: p.path, Lead: p.unit,
				Holder: p.path[2].Code, HolderPath: codes(p.path[:3])}},
				{t.Add(time.Second), &pb.TicketDispatched{Lead: p.unit, LeadPath: []string{"root", "dep", p.unit}, Round: 1, Hop: 1, SignBy: closeBy, HandleBy: closeBy, CloseBy: closeBy}},
				{t.Add(time.Minute), &pb.TicketSigned{}}, {t.Add(time.Hour), &pb.PetitionerContacted{}}}
		default:
			if i%20 == 0 {
				continue // stays open
			}
			list = []happened{{t, &pb.ResultSubmitted{Result: pb.ResultCode_RESULT_CODE_RESOLVED, VerifyBy: closeBy}}, {t.Add(time.Minute), &pb.VerificationPassed{CallbackBy: closeBy}},
				{t.Add(time.Hour), &pb.CallbackRecorded{Contacted: true, Solved: pb.Solved_SOLVED_YES, Satisfaction: 5}}, {t.Add(61 * time.Minute), &pb.TicketClosed{Kind: pb.CloseKind_CLOSE_KIND_SOLVED}}}
		}
		stream := fmt.Sprintf("ticket-%08x-0000-5000-8000-%012x", uint32(i)*2654435761, i)
		var events []eventstore.Event
		for j, e := range list {
			meta := &pb.EventMeta{RequestId: fmt.Sprintf("r-%d-%d", i, stages[i]), Fingerprint: make([]byte, 32), Index: uint32(j), Count: uint32(len(list)), OccurredAt: timestamppb.New(e.at), RecordedAt: timestamppb.New(e.at),
				Actor: &pb.Actor{Person: "p-17", Role: pb.Role_ROLE_AGENT, Unit: "u-hotline"}, RegistryVersion: "2026-1", CalendarVersion: "2026", ProfileVersion: "1"}
			ev, err := event.Encode(stream, versions[i]+eventstore.Version(j+1), hashes[i], meta, e.msg)
			if err != nil {
				b.Fatal(err)
			}
			hashes[i] = event.Hash(meta.Hash)
			events = append(events, ev)
		}
		after := versions[i]
		versions[i] += eventstore.Version(len(list))
		before, done := busy[i], make(chan struct{})
		busy[i] = done
		jobs <- func() {
			if before != nil {
				<-before
			}
			if _, err := store.Append(context.Background(), stream, after, events); err != nil {
				b.Error(err)
			}
			close(done)
		}
	}
	for _, done := range busy {
		<-done
	}
	close(jobs)
}
