package whole

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

func TestToldToStopUnderLoadTheServerEndsWellWithEverythingAnsweredRecorded(t *testing.T) {
	t.Parallel()
	data := city(t)
	p, b, done := newPlace(), newBooks(), make(chan struct{})
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	s := serve(t, data, "--drain", "20s")
	var callers sync.WaitGroup
	for n := range 6 {
		callers.Go(func() {
			if err := b.load(ctx, p, fmt.Sprintf("caller-%d", n), done); err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	move := func() {
		c, err := dial(s.grpc)
		if err != nil {
			t.Fatal(err)
		}
		p.move(c)
	}
	move()
	b.await(t, 200)

	// A call that is under way keeps the server up, unready, until it ends.
	stream, err := s.dial(t).IntakeTickets(agent(ctx))
	if err != nil {
		t.Fatal(err)
	}
	talk := func(n uint64) error {
		r := matter(fmt.Sprintf("talk-%d", n))
		if err := stream.Send(&pb.IntakeTicketsRequest{Sequence: n, Report: r}); err != nil {
			return err
		}
		m, err := stream.Recv()
		if err == nil && m.GetAnswer() == nil {
			err = fmt.Errorf("message %d: %v", n, m)
		}
		if err == nil {
			b.enter(r.RequestId, m.GetAnswer(), false)
		}
		return err
	}
	if err := talk(1); err != nil {
		t.Fatal(err)
	}
	if code, _, err := s.get("/readyz"); code != 200 || err != nil {
		t.Errorf("/readyz is %d, %v; want 200", code, err)
	}
	s.terminate(t)
	code := 0
	for late := time.Now().Add(patience); code != 503; {
		if code, _, err = s.get("/readyz"); err != nil || time.Now().After(late) {
			t.Fatalf("/readyz after SIGTERM is %d, %v; want 503", code, err)
		}
	}
	if alive, _, err := s.get("/healthz"); alive != 200 || err != nil {
		t.Errorf("/healthz while stopping is %d, %v; want 200", alive, err)
	}
	if err := talk(2); err != nil {
		t.Errorf("a call under way was cut off: %v", err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the stream ended with %v; want EOF", err)
	}
	s.gone(t, 20*time.Second)

	// Its drain time over, a call that does not end is cut off.
	s = serve(t, data, "--drain", "1s")
	move()
	idle, err := s.dial(t).IntakeTickets(agent(ctx))
	if err != nil {
		t.Fatal(err)
	}
	b.await(t, b.n.Load()+100)
	began := time.Now()
	s.terminate(t)
	s.gone(t, 10*time.Second)
	if took := time.Since(began); took < time.Second {
		t.Errorf("an open call was given %v of 1 s", took)
	}
	if _, err := idle.Recv(); err == nil {
		t.Error("a call outlived its server")
	}

	// A watch, which never ends by itself, does not hold it up.
	s = serve(t, data, "--drain", "30s")
	move()
	watch, err := s.dial(t).WatchClosure(auditor(ctx), &pb.WatchClosureRequest{Level: "all"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	b.await(t, b.n.Load()+50)
	began = time.Now()
	s.stop(t)
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("with a watch open the server took %v to stop", took)
	}

	s = serve(t, data)
	move()
	close(done)
	callers.Wait()
	b.check(t, s.dial(t))
	s.stop(t)
	verified(t, data)
}

func TestFlagsAlsoComeFromTheEnvironment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, out := launch(t, []string{"CHUISHAO_DATA_DIR=" + filepath.Join(dir, "data"), "CHUISHAO_GRPC=127.0.0.1:0", "CHUISHAO_HTTP=localhost:1", "CHUISHAO_LOG=json"}, "--http", "127.0.0.1:0")
	if !s.ready(out) {
		t.Fatalf("the server ended:\n%s", s.stderr)
	}
	for _, addr := range []string{s.grpc, s.http} {
		if _, port, err := net.SplitHostPort(addr); err != nil || port == "0" || !strings.HasPrefix(addr, "127.0.0.1:") {
			t.Errorf("it prints the address %q", addr)
		}
	}
	if code, _, err := s.get("/readyz"); code != 200 || err != nil {
		t.Errorf("/readyz is %d, %v", code, err)
	}
	s.stop(t)
	verified(t, filepath.Join(dir, "data"))
	if r := callIn(t, []string{"CHUISHAO_DRAIN=soon"}, dispatcher, "serve", "--data", filepath.Join(dir, "data")); r.code != 2 || !strings.Contains(r.stderr, "CHUISHAO_DRAIN") {
		t.Errorf("a wrong variable: exit code %d\n%s", r.code, r.stderr)
	}
}

func TestHelpIsTheManualAndAWrongCallIsToldApartFromAFailure(t *testing.T) {
	t.Parallel()
	for binary, commands := range map[string][]string{
		dispatcher: {"serve", "demo", "import", "registry", "backup", "restore", "bench", "token"},
		projector:  {"report", "replay", "verify", "rebuild"},
	} {
		for _, help := range []string{"-h", "--help", "help"} {
			if r := call(t, binary, help); r.code != 0 || !strings.Contains(r.stdout, "Commands:") {
				t.Errorf("%s %s: exit code %d\n%s", binary, help, r.code, r.stdout)
			}
		}
		for _, name := range commands {
			r := call(t, binary, name, "-h")
			if r.code != 0 || !strings.Contains(r.stdout, filepath.Base(binary)+" "+name) || r.stderr != "" {
				t.Errorf("%s %s -h: exit code %d, on standard output %q, on standard error %q", binary, name, r.code, r.stdout, r.stderr)
			}
			if name != "token" && !strings.Contains(r.stdout, "[CHUISHAO_") {
				t.Errorf("%s %s -h does not tell the flags:\n%s", binary, name, r.stdout)
			}
			r = call(t, binary, name, "--no-such-flag")
			if r.code != 2 || !strings.Contains(r.stderr, "no-such-flag") || strings.Count(r.stderr, "\n") > 2 {
				t.Errorf("%s %s --no-such-flag: exit code %d; want 2 and a line\n%s", binary, name, r.code, r.stderr)
			}
		}
		for _, args := range [][]string{{"no-such-command"}, {}} {
			if r := call(t, binary, args...); r.code != 2 || !strings.Contains(r.stderr, "Commands:") {
				t.Errorf("%s %v: exit code %d; want 2\n%s", binary, args, r.code, r.stderr)
			}
		}
	}
	for _, args := range [][]string{
		{dispatcher, "serve", "argument"},
		{dispatcher, "serve", "--log", "loud"},
		{dispatcher, "serve", "--drain", "soon"},
		{dispatcher, "import", "--mapping", "m.yaml"},
		{dispatcher, "import", "--mapping", "m.yaml", "records.csv"},
		{dispatcher, "backup"},
		{dispatcher, "restore", "--from", "x"},
		{projector, "report"},
		{projector, "report", "closure"},
		{projector, "report", "closure", "--level", "all", "--data", "a", "--addr", "b"},
		{projector, "report", "closure", "--level", "all", "--data", "a", "--format", "xml"},
		{projector, "report", "closure", "--level", "all", "--data", "a", "--as-of", "yesterday"},
		{projector, "replay", "--data", "a", "--until", "yesterday"},
		{projector, "verify"},
		{projector, "rebuild"},
	} {
		if r := call(t, args[0], args[1:]...); r.code != 2 || r.stderr == "" {
			t.Errorf("%v: exit code %d; want 2\n%s", args, r.code, r.stderr)
		}
	}
}

func TestToldToStopAtOnceTheServerStillEndsWell(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	for range 15 {
		serve(t, data).stop(t)
	}
	verified(t, data)
}
