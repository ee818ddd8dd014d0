package whole

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	zombie "zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
)

// disk mounts a file system of its own, of the size given as tmpfs takes it.
func disk(t testing.TB, size string) string {
	t.Helper()
	dir := t.TempDir()
	err := syscall.Mount("disk", dir, "tmpfs", 0, "size="+size)
	if err == syscall.EPERM {
		t.Skip("SKIPPED, NOT TESTED: mounting a file system needs root")
	}
	if err != nil {
		t.Fatalf("mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// fill takes all space that is left, and gives the file that does.
func fill(t testing.TB, dir string) string {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	piece := make([]byte, 4096)
	for {
		if _, err := f.Write(piece); err != nil {
			return f.Name()
		}
	}
}

func TestOnAFullDiskTheServerRefusesAndGoesOnByItselfOnceThereIsSpace(t *testing.T) {
	t.Parallel()
	mounted := disk(t, "24m")
	data := filepath.Join(mounted, "data")
	loadCity(t, data)
	s := serve(t, data)
	c, ctx := s.dial(t), agent(t.Context())
	answered := map[string]*pb.TicketAnswer{}
	report := func(n int) (*pb.ReportTicketRequest, error) {
		r := matter(fmt.Sprintf("report-%d", n))
		r.Particulars.Text = strings.Repeat("水管爆裂", 500)
		a, err := c.ReportTicket(ctx, r)
		if err == nil {
			answered[r.RequestId] = a
		}
		return r, err
	}
	for n := range 20 {
		if _, err := report(n); err != nil {
			t.Fatal(err)
		}
	}
	ballast := fill(t, mounted)
	var cut *pb.ReportTicketRequest
	refusals := 0
	for n := 20; refusals < 30; n++ {
		if n > 20_000 {
			t.Fatal("the disk never got full")
		}
		r, err := report(n)
		if err == nil {
			continue
		}
		refusals++
		st := status.Convert(err)
		retry := false
		for _, d := range st.Details() {
			_, ok := d.(*errdetails.RetryInfo)
			retry = retry || ok
		}
		if st.Code() != codes.Unavailable || !retry {
			t.Fatalf("on a full disk: %v, with details %v; want Unavailable and when to try again", err, st.Details())
		}
		cut = r
	}
	if !strings.Contains(s.stderr.String(), "no space left") && !strings.Contains(s.stderr.String(), "disk is full") {
		t.Errorf("the log does not say that the disk is full")
	}
	// Reading goes on.
	first := answered["report-0"]
	if got, err := c.GetTicket(ctx, &pb.GetTicketRequest{Name: first.Name}); err != nil || got.Etag != first.Etag {
		t.Errorf("read on a full disk: %v, %v", got, err)
	}
	if code, body, err := s.get("/healthz"); code != 200 || err != nil {
		t.Errorf("/healthz on a full disk: %d %s %v", code, body, err)
	}

	// Starting on a full disk.
	full := disk(t, "64k")
	fill(t, full)
	refused(t, []string{"space"}, dispatcher, "serve", "--data", filepath.Join(full, "data"), "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	again, err := c.ReportTicket(ctx, cut)
	for late := time.Now().Add(patience); err != nil && time.Now().Before(late) && unknown(err); {
		again, err = c.ReportTicket(ctx, cut) // as RetryInfo said
	}
	if err != nil {
		t.Fatalf("the same request once there is space: %v", err)
	}
	answered[cut.RequestId] = again
	page, err := c.ListClosure(auditor(t.Context()), closureAt("all", time.Now(), again.ConsistencyToken))
	if err != nil || len(page.Rows) != 1 || page.Rows[0].Figures.Total != int64(len(answered)) {
		t.Errorf("the views once there is space: %v, %v; want %d tickets", page, err, len(answered))
	}
	found := map[string]int{}
	for _, e := range history(t, c, &pb.StreamHistoryRequest{}) {
		if e.Type == "TicketReported" {
			found[e.RequestId]++
		}
	}
	for id := range answered {
		if found[id] != 1 {
			t.Errorf("%s was answered and is in the history %d times", id, found[id])
		}
	}
	if len(found) != len(answered) {
		t.Errorf("%d reports are in the history; %d were answered", len(found), len(answered))
	}
	s.stop(t)
	verified(t, data)
	t.Logf("%d reports answered, %d refused while the disk was full", len(answered), refusals)
}

func TestAReadOnlyDirectoryIsRefusedAndLeftAsItIs(t *testing.T) {
	t.Parallel()
	mounted := disk(t, "32m")
	data := filepath.Join(mounted, "data")
	loadCity(t, data)
	before := contents(t, data)
	if err := syscall.Mount("", mounted, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{dispatcher, "serve", "--data", data, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"},
		{dispatcher, "serve", "--data", filepath.Join(mounted, "new"), "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"},
		{projector, "report", "closure", "--data", data, "--level", "all"},
		{projector, "rebuild", "--data", data},
		{dispatcher, "import", "--data", data, "--mapping", root(t, "examples", "nyc311", "mapping.yaml"), root(t, "README.md")},
	} {
		refused(t, []string{"read-only"}, args[0], args[1:]...)
	}
	if got := contents(t, data); !maps.Equal(got, before) {
		t.Error("a read-only directory was changed")
	}
}

func TestDamagedAndForeignFilesAreRefusedAndLeftAsTheyAre(t *testing.T) {
	t.Parallel()
	good := city(t)
	must(t, projector, "verify", "--data", good)
	foreign := filepath.Join(t.TempDir(), "foreign.db")
	conn, err := zombie.OpenConn(foreign, zombie.OpenReadWrite, zombie.OpenCreate)
	if err != nil {
		t.Fatal(err)
	}
	if err := sqlitex.ExecuteScript(conn, "CREATE TABLE shopping (what TEXT); INSERT INTO shopping VALUES ('milk')", nil); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(foreign)
	if err != nil {
		t.Fatal(err)
	}
	text := []byte(strings.Repeat("not a database at all\n", 500))

	for _, c := range []struct {
		name, file string
		change     func([]byte) []byte
		says       []string
	}{
		{"history of another application", "history.db", func([]byte) []byte { return other }, []string{"history.db", "another application"}},
		{"history that is a text", "history.db", func([]byte) []byte { return text }, []string{"history.db", "not an SQLite database"}},
		{"history with a broken head", "history.db", func(b []byte) []byte { copy(b[16:60], text); return b }, []string{"history.db"}},
		{"history cut off", "history.db", func(b []byte) []byte { return b[:len(b)/2] }, []string{"history.db", "damaged"}},
		{"history of a page and a half", "history.db", func(b []byte) []byte { return b[:6000] }, []string{"history.db", "damaged"}},
		{"keys of another application", "keys.db", func([]byte) []byte { return other }, []string{"keys.db", "not a key database"}},
		{"keys that are a text", "keys.db", func([]byte) []byte { return text }, []string{"keys.db", "not a key database"}},
		{"keys that are the history", "keys.db", func([]byte) []byte {
			b, err := os.ReadFile(filepath.Join(good, "history.db"))
			if err != nil {
				t.Error(err)
			}
			return b
		}, []string{"keys.db", "not a key database"}},
		{"keys cut off", "keys.db", func(b []byte) []byte { return b[:len(b)/2] }, []string{"keys.db", "damaged"}},
		{"views of another application", "views.db", func([]byte) []byte { return other }, []string{"views.db", "another application"}},
		{"views that are a text", "views.db", func([]byte) []byte { return text }, []string{"views.db"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			data := copyDir(t, good)
			path := filepath.Join(data, c.file)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, c.change(b), 0o640); err != nil {
				t.Fatal(err)
			}
			before := contents(t, data)
			refused(t, c.says, dispatcher, "serve", "--data", data, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")
			refused(t, c.says, projector, "report", "closure", "--data", data, "--level", "all")
			refused(t, c.says, projector, "verify", "--data", data)
			refused(t, c.says, dispatcher, "backup", "--data", data, "--to", filepath.Join(t.TempDir(), "backup.tar"))
			after := contents(t, data)
			for _, name := range []string{"/history.db", "/keys.db", "/views.db"} {
				if before[name] != after[name] {
					t.Errorf("%s was changed", name)
				}
			}
		})
	}
	t.Run("events overwritten in the middle", func(t *testing.T) {
		t.Parallel()
		data := copyDir(t, good)
		path := filepath.Join(data, "history.db")
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		at := bytes.Index(b, []byte("320211"))
		copy(b[at:], bytes.Repeat([]byte("damage"), 3000))
		if err := os.WriteFile(path, b, 0o640); err != nil {
			t.Fatal(err)
		}
		r := call(t, projector, "verify", "--data", data)
		if r.code != 1 || !strings.Contains(r.stderr, "damaged") && !strings.Contains(r.stdout, "registry-") {
			t.Errorf("verify: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, b) {
			t.Errorf("the damaged history was changed (%v)", err)
		}
	})
	t.Run("damaged views are built anew", func(t *testing.T) {
		t.Parallel()
		data := copyDir(t, good)
		path := filepath.Join(data, "views.db")
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b[:len(b)/2], 0o640); err != nil {
			t.Fatal(err)
		}
		serve(t, data).stop(t)
		verified(t, data)
	})
	t.Run("a file in place of the directory", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "data")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, []string{"a file stands where its directory should be"}, dispatcher, "serve", "--data", path, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")
		refused(t, []string{path}, projector, "report", "closure", "--data", path, "--level", "all")
		refused(t, []string{path}, dispatcher, "registry", "--data", path, "--version", "x", root(t, "examples", "wuxi"))
		if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, text) {
			t.Errorf("the file was changed (%v)", err)
		}
	})
	t.Run("no directory", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "data")
		refused(t, []string{path, "no such file"}, projector, "report", "closure", "--data", path, "--level", "all")
		if _, err := os.Stat(path); err == nil {
			t.Error("a report made the directory")
		}
	})
}

func copyDir(t testing.TB, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestASecondProcessOnADirectoryIsRefusedAndTheFirstGoesOn(t *testing.T) {
	t.Parallel()
	data := city(t)
	s := serve(t, data)
	c, ctx := s.dial(t), agent(t.Context())
	a, err := c.ReportTicket(ctx, matter("report"))
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{dispatcher, "serve", "--data", data, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"},
		{dispatcher, "import", "--data", data, "--mapping", root(t, "examples", "nyc311", "mapping.yaml"), root(t, "README.md")},
		{dispatcher, "registry", "--data", data, "--version", "wuxi-2", root(t, "examples", "wuxi")},
		{dispatcher, "backup", "--data", data, "--to", filepath.Join(t.TempDir(), "backup.tar")},
		{projector, "report", "closure", "--data", data, "--level", "all"},
		{projector, "replay", "--data", data},
		{projector, "verify", "--data", data},
		{projector, "rebuild", "--data", data},
	} {
		refused(t, []string{"another process", data}, args[0], args[1:]...)
	}
	if _, err := c.AcceptTicket(ctx, &pb.AcceptTicketRequest{Name: a.Name, RequestId: "accept"}); err != nil {
		t.Errorf("the first process does not go on: %v", err)
	}
	if out := must(t, projector, "verify", "--addr", s.grpc); !strings.HasPrefix(out, "verified ") {
		t.Errorf("verify of the running server: %s", out)
	}
	s.stop(t)
	verified(t, data)
}
