package whole

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/servers"
)

func TestAFaultRunLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	r := call(t, dispatcher, "faults", "--for", "10s", "--kills", "1", "--each", "2", "--callers", "6", "--dispatchers", "2", "--projectors", "2", "--projector", projector)
	if strings.Contains(r.stderr, "install Debian's package") {
		t.Skip(r.stderr)
	}
	t.Logf("%s%s", r.stderr, r.stdout)
	if r.code != 0 || !strings.HasSuffix(r.stdout, "PASS\n") {
		t.Errorf("exit code %d", r.code)
	}
}

// postgres starts a PostgreSQL that ends with the test. Where it is not installed the test is skipped, and says what to install.
func postgres(t testing.TB) *servers.Postgres {
	t.Helper()
	p, err := servers.StartPostgres(t.Context(), t.TempDir(), servers.NoSync)
	if missing := new(servers.MissingError); errors.As(err, &missing) {
		t.Skip(missing)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// beyond are the flags of a history, views and keys on servers of the test's own, with the example city's registry.
func beyond(t testing.TB) []string {
	t.Helper()
	p := postgres(t)
	for _, name := range []string{"views", "keys"} {
		if err := p.Create(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	starting, started := context.WithTimeout(t.Context(), patience)
	defer started()
	n, err := servers.StartNATS(starting, servers.NATSOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	flags := []string{"--store", "jetstream://" + n.Node(0).Addr() + "/CITY?unsafe=single-node", "--views", p.URL("views"), "--keys", p.URL("keys")}
	must(t, dispatcher, append([]string{"registry", "--version", "wuxi-1", "--valid-from", "2020-01-01T00:00:00+08:00", root(t, "examples", "wuxi")}, flags...)...)
	return flags
}

// serveFleet has a dispatcher serve what others serve too.
func serveFleet(t testing.TB, flags []string) *server {
	t.Helper()
	s, out := launch(t, nil, append([]string{"--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--drain", "20s"}, flags...)...)
	if !s.ready(out) {
		t.Fatalf("the server ended:\n%s", s.stderr)
	}
	return s
}

// anywhere sends a command to one place after the other until it is answered. An error that is not about the connection is a fault.
func (b *books) anywhere(ctx context.Context, places []*place, first int, c command) (*pb.TicketAnswer, error) {
	for n := 0; ; n++ {
		at, _ := places[(first+n)%len(places)].now()
		answer, err := c.send(ctx, at)
		if err == nil {
			b.enter(c.id, answer, n > 0)
			return answer, nil
		}
		if ctx.Err() != nil || !unknown(err) {
			return nil, fmt.Errorf("%s: %w", c.id, err)
		}
	}
}

func TestARollingRestartUnderLoadAnswersEveryCommand(t *testing.T) {
	t.Parallel()
	flags := beyond(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	fleet, places := make([]*server, 2), []*place{newPlace(), newPlace()}
	begin := func(n int) {
		fleet[n] = serveFleet(t, flags)
		c, err := dial(fleet[n].grpc)
		if err != nil {
			t.Fatal(err)
		}
		places[n].move(c)
	}
	for n := range fleet {
		begin(n)
	}
	b, done := newBooks(), make(chan struct{})
	var callers sync.WaitGroup
	for n := range 6 {
		callers.Go(func() {
			ctx := agent(ctx)
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				report := matter(fmt.Sprintf("caller-%d/%d/report", n, i))
				a, err := b.anywhere(ctx, places, n, command{report.RequestId, func(ctx context.Context, c client) (*pb.TicketAnswer, error) { return c.ReportTicket(ctx, report) }})
				if err != nil {
					t.Error(err)
					return
				}
				// What one dispatcher recorded the other goes on with.
				accept := &pb.AcceptTicketRequest{Name: a.Name, RequestId: fmt.Sprintf("caller-%d/%d/accept", n, i), Etag: a.Etag}
				if _, err := b.anywhere(ctx, places, n+1, command{accept.RequestId, func(ctx context.Context, c client) (*pb.TicketAnswer, error) { return c.AcceptTicket(ctx, accept) }}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	began := time.Now()
	for range 2 {
		for n := range fleet {
			b.await(t, b.n.Load()+100)
			fleet[n].stop(t)
			b.await(t, b.n.Load()+100) // the other serves alone
			begin(n)
		}
	}
	b.await(t, b.n.Load()+100)
	close(done)
	callers.Wait()
	t.Logf("%d commands answered in %v, %d of them only when sent again, %d of these had been carried out before", b.n.Load(), time.Since(began), b.resent, b.repeats)

	token := b.anyToken()
	for _, p := range places {
		c, _ := p.now()
		b.check(t, c)
		if _, err := c.ListClosure(auditor(ctx), &pb.ListClosureRequest{Level: "all", MinConsistencyToken: token}); err != nil {
			t.Errorf("token %s, perhaps the other's: %v", token, err)
		}
		_ = c.conn.Close()
	}
	for _, s := range fleet {
		s.stop(t)
	}
	if out := must(t, projector, append([]string{"verify"}, flags...)...); !strings.HasPrefix(out, "verified ") || !strings.Contains(out, "equal to a rebuild: ") {
		t.Errorf("verify says %q", out)
	}
}
