package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/app"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/servers"
	"github.com/chuishao/dispatch/internal/servers/serverstest"
	"github.com/chuishao/dispatch/internal/view"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// asProjector makes a process of the tests a projector, which can be killed.
const asProjector = "CHUISHAO_TEST_AS_PROJECTOR"

func TestMain(m *testing.M) {
	servers.Main()
	if os.Getenv(asProjector) != "" {
		os.Exit(app.Main("projector", "", os.Args[1:], app.IO{Out: os.Stdout, Err: os.Stderr}, commands...))
	}
	serverstest.Main(m)
}

// keeper starts a process that keeps a partition up, and returns when it works.
func keeper(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], append([]string{"serve", "--http", "127.0.0.1:0"}, args...)...)
	cmd.Env = append(os.Environ(), asProjector+"=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(cmd) })
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("projector %q: got %q, %v, want its address", args, line, err)
	}
	return cmd
}

func kill(cmd *exec.Cmd) {
	if cmd.ProcessState == nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}
}

// TestProjectorsShareTheFiguresOfOneHistory runs a projector for each partition, and a rival, on a history that a dispatcher writes; they are killed and started
// again meanwhile. It is not parallel: between fork and exec a new process holds the locks of histories that other tests close and open again.
func TestProjectorsShareTheFiguresOfOneHistory(t *testing.T) {
	dir := t.TempDir()
	ctx, stop := context.WithTimeout(t.Context(), 8*time.Minute)
	defer stop()
	nats, err := servers.StartNATS(ctx, servers.NATSOptions{Dir: filepath.Join(dir, "nats")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nats.Close() })
	for engine, views := range map[string]func(t *testing.T) string{
		"SQLite":     func(t *testing.T) string { return "sqlite:" + filepath.Join(dir, "figures.db") },
		"PostgreSQL": func(t *testing.T) string { return serverstest.Database(t) },
	} {
		t.Run(engine, func(t *testing.T) {
			where := app.Where{
				Store: "jetstream://" + strings.TrimPrefix(nats.URLs()[0], "nats://") + "/" + engine + "?unsafe=single-node&monitor=" + nats.Monitors()[0],
				Views: views(t), Keys: "sqlite:" + filepath.Join(dir, engine+"-keys.db"), Partitions: 3,
			}
			sharing(t, ctx, where, "sqlite:"+filepath.Join(dir, engine+"-aside.db"))
		})
	}
}

func sharing(t *testing.T, ctx context.Context, where app.Where, aside string) {
	place := []string{"--store", where.Store, "--views", where.Views}
	keep := func(partition string) *exec.Cmd {
		return keeper(t, append(slices.Clone(place), "--partition", partition)...)
	}
	of := []string{"3/3", "1/3", "2/3", "3/3"}
	var running []*exec.Cmd
	for _, partition := range of {
		running = append(running, keep(partition))
	}
	o := quiet
	o.Where = where
	node, err := app.Open(ctx, "", o)
	if err != nil {
		t.Fatal(err)
	}
	following, unfollow := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- node.Projector.Follow(following, 20*time.Millisecond) }()
	r := rand.New(rand.NewPCG(3, 4))
	var last eventstore.Position
	actor := rule.Actor{Person: "import", Roles: []pb.Role{pb.Role_ROLE_SYSTEM}}
	for i := range 60 {
		at := time.Date(2025, 3, 5, 9, i, 0, 0, time.UTC)
		_, result, err := node.Dispatcher.Ticket(ctx, dispatch.Request{Actor: actor, Command: &pb.ImportRecordRequest{
			RequestId: fmt.Sprint(i), Source: "elsewhere", SourceRef: fmt.Sprint(i), OccurredAt: timestamppb.New(at), DueAt: timestamppb.New(at.AddDate(0, 0, i%5)),
			Dimensions: []*pb.Dimension{{Level: "precinct", Value: fmt.Sprint(i % 7)}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		last = result.Position
		if i%12 == 5 {
			victim := r.IntN(len(running))
			kill(running[victim])
			running[victim] = keep(of[victim])
		}
	}
	if err := node.Projector.WaitFor(ctx, last); err != nil {
		t.Fatal(err)
	}
	whole := quiet
	whole.Where = app.Where{Store: where.Store, Views: aside}
	other, err := app.OpenForViews(ctx, "", whole)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.CatchUp(ctx); err != nil {
		t.Fatal(err)
	}
	for _, level := range []string{"all", "precinct"} {
		q := view.ClosureQuery{Level: level, At: time.Date(2025, 3, 7, 0, 0, 0, 0, time.UTC), WithMedian: true}
		got, _, at, err := node.Reader.ListClosure(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		want, _, _, err := other.Reader.ListClosure(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) || len(got) == 0 || at != last {
			t.Errorf("%s: got %v as of %d, want %v as of %d", level, got, at, want, last)
		}
	}
	unfollow()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for _, p := range running {
		kill(p)
	}
	if err := errors.Join(node.Close(), other.Close()); err != nil {
		t.Fatal(err)
	}
	keys := []string{"--keys", where.Keys}
	with := func(command string, args ...string) []string { return slices.Concat([]string{command}, place, args) }
	code, out, errs := run(t, with("verify", append(keys, "--partitions", "3")...)...)
	if code != 0 || !strings.Contains(out, "closure_3 1/3, service_3 1/3, closure_3 2/3") || !strings.Contains(out, "tickets_4") {
		t.Errorf("verify: exit code %d\n%s%s", code, out, errs)
	}
	for _, partitions := range []string{"1", "4"} {
		if code, out, errs := run(t, with("verify", append(keys, "--partitions", partitions)...)...); code != 1 || !strings.Contains(errs, "kept in 3 partitions") {
			t.Errorf("verify of %s partitions: exit code %d\n%s%s, want a refusal", partitions, code, out, errs)
		}
	}
	if code, out, errs := run(t, with("serve", "--partition", "2/4")...); code != 1 || !strings.Contains(errs, "kept in 3 partitions") {
		t.Errorf("a projector of four partitions: exit code %d\n%s%s, want a refusal", code, out, errs)
	}
	// What is wrong in one partition is found there.
	damaged, err := viewdb.Open(node.Views.Part(2, 3), viewdb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = damaged.Write(ctx, func(tx *viewdb.Tx) error {
		_, err := tx.Exec("UPDATE closure_ticket_3 SET no = 'another'")
		return err
	})
	if err := errors.Join(err, damaged.Close()); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := run(t, with("verify", append(keys, "--partitions", "3")...)...); code != 1 || strings.Count(out, "VIEW_DIFFERS") != 1 || !strings.Contains(out, "view closure_3 2/3") {
		t.Errorf("verify of a damaged partition: exit code %d\n%s%s", code, out, errs)
	}
	// A rebuild repairs it, and changes the number, there and back.
	for _, partitions := range []string{"3", "2", "1"} {
		if code, out, errs := run(t, with("rebuild", "--partitions", partitions)...); code != 0 || strings.Contains(out, "closure_3 2/2") != (partitions == "2") {
			t.Errorf("rebuild in %s partitions: exit code %d\n%s%s", partitions, code, out, errs)
		}
		if code, out, errs := run(t, with("verify", append(keys, "--partitions", partitions)...)...); code != 0 {
			t.Errorf("verify of %s partitions: exit code %d\n%s%s", partitions, code, out, errs)
		}
	}
	if path, ok := strings.CutPrefix(where.Views, "sqlite:"); ok {
		if left, err := filepath.Glob(strings.TrimSuffix(path, ".db") + ".*of*"); err != nil || len(left) > 0 {
			t.Errorf("got files %q left of partitions, %v, want none", left, err)
		}
	}
}

func TestAPartitionThatIsNoneIsAFaultOfTheCall(t *testing.T) {
	t.Parallel()
	for _, partition := range []string{"0/3", "4/3", "3", "1/300", "1/3x", "-1/3", "a/b"} {
		if code, _, errs := run(t, "serve", "--store", "sqlite:x", "--views", "sqlite:y", "--partition", partition); code != 2 || !strings.Contains(errs, "--partition") {
			t.Errorf("%q: exit code %d, %s", partition, code, errs)
		}
	}
}
