package whole

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/servers"
)

// dispatcher and projector are the paths of the binaries.
var dispatcher, projector string

func TestMain(m *testing.M) {
	servers.Main() // a NATS node is this program, run again
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "whole-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-o", dir+"/", "./cmd/dispatcher", "./cmd/projector")
	build.Dir, build.Stderr = filepath.Join("..", ".."), os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build the binaries:", err)
		return 1
	}
	dispatcher, projector = filepath.Join(dir, "dispatcher"), filepath.Join(dir, "projector")
	return m.Run()
}

// patience is how long anything that gives no signal of its own may take; only a fault takes that long.
const patience = time.Minute

// Units of the example city.
const (
	centre      = "320200000000-ZH"
	community   = "320205001001"
	street      = "320205001000"
	otherStreet = "320206001000"
)

// environment is this process's without what would set flags.
func environment(extra ...string) []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "CHUISHAO_") {
			env = append(env, v)
		}
	}
	return append(env, extra...)
}

// result is what a process left.
type result struct {
	code           int
	stdout, stderr string
}

// call runs a binary to its end.
func call(t testing.TB, binary string, args ...string) result {
	t.Helper()
	return callIn(t, nil, binary, args...)
}

// callIn is call with further variables of the environment.
func callIn(t testing.TB, env []string, binary string, args ...string) result {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 2*patience)
	defer stop()
	cmd := exec.CommandContext(ctx, binary, args...)
	var out, complaints bytes.Buffer
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = environment(env...), t.TempDir(), &out, &complaints
	err := cmd.Run()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) || cmd.ProcessState.ExitCode() < 0 {
		t.Fatalf("%s %v: %v\n%s", filepath.Base(binary), args, err, &complaints)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), complaints.String()}
}

// must runs a binary that must do what it is told, and gives what it printed.
func must(t testing.TB, binary string, args ...string) string {
	t.Helper()
	r := call(t, binary, args...)
	if r.code != 0 {
		t.Fatalf("%s %v: exit code %d\n%s%s", filepath.Base(binary), args, r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// refused runs a binary that must refuse: exit code 1, and one clear error that holds all the texts.
func refused(t testing.TB, texts []string, binary string, args ...string) {
	t.Helper()
	r := call(t, binary, args...)
	if r.code != 1 {
		t.Errorf("%s %v: exit code %d; want 1\n%s%s", filepath.Base(binary), args, r.code, r.stdout, r.stderr)
	}
	for _, text := range texts {
		if !strings.Contains(r.stderr, text) {
			t.Errorf("%s %v: does not say %q:\n%s", filepath.Base(binary), args, text, r.stderr)
		}
	}
	if strings.Contains(r.stderr, "panic") || strings.Contains(r.stderr, "goroutine ") {
		t.Errorf("%s %v: panics:\n%s", filepath.Base(binary), args, r.stderr)
	}
}

// log collects what a process writes while it runs.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// server is a dispatcher that serves.
type server struct {
	grpc, http string
	stderr     *log
	cmd        *exec.Cmd
	ended      chan struct{} // closed when the process is gone
}

// launch starts "dispatcher serve". It is not ready yet. Its standard output must be read.
func launch(t testing.TB, env []string, args ...string) (*server, io.Reader) {
	t.Helper()
	s := &server{stderr: new(log), ended: make(chan struct{})}
	s.cmd = exec.Command(dispatcher, append([]string{"serve"}, args...)...)
	s.cmd.Env, s.cmd.Dir, s.cmd.Stderr = environment(env...), t.TempDir(), s.stderr
	read, write := io.Pipe()
	s.cmd.Stdout = write
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = s.cmd.Wait()
		_ = write.Close()
		close(s.ended)
	}()
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			t.Logf("the server's log:\n%s", s.stderr)
		}
	})
	return s, read
}

// ready waits until the server prints its addresses; false if it ends before.
func (s *server) ready(stdout io.Reader) bool {
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		switch what, addr, _ := strings.Cut(lines.Text(), " "); what {
		case "grpc":
			s.grpc = addr
		case "http":
			s.http = addr
		}
		if s.grpc != "" && s.http != "" {
			go io.Copy(io.Discard, stdout)
			return true
		}
	}
	return false
}

// serve serves a data directory on free ports, and is ready.
func serve(t testing.TB, data string, args ...string) *server {
	t.Helper()
	s, out := launch(t, nil, append([]string{"--data", data, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"}, args...)...)
	if !s.ready(out) {
		t.Fatalf("the server ended:\n%s", s.stderr)
	}
	return s
}

// kill ends the process as a power cut would, if it is there, and waits until it is gone.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	<-s.ended
}

// terminate tells the process to stop.
func (s *server) terminate(t testing.TB) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

// stop stops the server gently, and wants it to end well.
func (s *server) stop(t testing.TB) {
	t.Helper()
	s.terminate(t)
	s.gone(t, patience)
}

// gone waits for the process to end, and wants exit code 0.
func (s *server) gone(t testing.TB, within time.Duration) {
	t.Helper()
	select {
	case <-s.ended:
	case <-time.After(within):
		t.Fatalf("the server has not stopped within %v", within)
	}
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("the server stopped with exit code %d; want 0\n%s", code, s.stderr)
	}
}

// get gives what an HTTP path answers.
func (s *server) get(path string) (code int, body string, err error) {
	r, err := http.Get("http://" + s.http + path)
	if err != nil {
		return 0, "", err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	return r.StatusCode, string(text), err
}

// client has a client for every service of one server.
type client struct {
	pb.TicketServiceClient
	pb.ViewServiceClient
	pb.AuditServiceClient
	conn *grpc.ClientConn
}

// dial connects as a development actor.
func (s *server) dial(t testing.TB) client {
	t.Helper()
	c, err := dial(s.grpc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.conn.Close() })
	return c
}

func dial(addr string) (client, error) {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return client{}, err
	}
	return client{pb.NewTicketServiceClient(conn), pb.NewViewServiceClient(conn), pb.NewAuditServiceClient(conn), conn}, nil
}

// as is a context of a development actor of a unit, in some roles.
func as(ctx context.Context, unit, roles string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "chuishao-dev-actor", "person=p-1;roles="+roles+";unit="+unit)
}

// agent answers the hotline, and may dispatch.
func agent(ctx context.Context) context.Context { return as(ctx, centre, "AGENT,DISPATCHER") }

// auditor may see everything.
func auditor(ctx context.Context) context.Context { return as(ctx, centre, "AUDITOR") }

// city makes a data directory with the example city's registry.
func city(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	loadCity(t, dir)
	return dir
}

func loadCity(t testing.TB, dir string) {
	t.Helper()
	must(t, dispatcher, "registry", "--data", dir, "--version", "wuxi-1", "--valid-from", "2020-01-01T00:00:00+08:00", root(t, "examples", "wuxi"))
}

// root is a path of the repository.
func root(t testing.TB, path ...string) string {
	t.Helper()
	abs, err := filepath.Abs(filepath.Join(append([]string{"..", ".."}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

// matter is a report of a matter by a person of its own.
func matter(requestID string) *pb.ReportTicketRequest {
	return &pb.ReportTicketRequest{
		RequestId: requestID, Channel: pb.Channel_CHANNEL_HOTLINE, Kind: pb.MatterKind_MATTER_KIND_HELP, Area: community, Category: "0302",
		Particulars: &pb.Particulars{
			Title: "路灯不亮", Text: "小区门口路灯三天不亮", Place: "东亭街道春笋中路", Cause: "线路老化", Course: "三天前开始",
			Petitioner: &pb.Petitioner{Name: "张三丰", Phone: "13812345678", CallbackWanted: true},
		},
	}
}

// history is what StreamHistory gives.
func history(t testing.TB, c client, q *pb.StreamHistoryRequest) []*pb.HistoryEvent {
	t.Helper()
	stream, err := c.StreamHistory(auditor(t.Context()), q)
	if err != nil {
		t.Fatal(err)
	}
	var all []*pb.HistoryEvent
	for {
		e, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
}

// verified wants projector verify to find nothing wrong in a directory.
func verified(t testing.TB, dir string) {
	t.Helper()
	if out := must(t, projector, "verify", "--data", dir); !strings.HasPrefix(out, "verified ") || !strings.Contains(out, "equal to a rebuild: ") {
		t.Errorf("verify says %q", out)
	}
}

// contents sums the files of a directory.
func contents(t testing.TB, dir string) map[string][32]byte {
	t.Helper()
	sums := map[string][32]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		sums[strings.TrimPrefix(path, dir)] = sha256.Sum256(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sums
}

// unknown says that the outcome of a call is not known, or that the server was not there.
func unknown(err error) bool {
	code := status.Code(err)
	return code == codes.Unavailable || code == codes.Canceled
}
