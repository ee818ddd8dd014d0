package bench

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/app"
)

// start measures a node from its start to its first answer, and its memory after a full load.
func (r *run) start(ctx context.Context) error {
	// The history and its files are one node's at a time.
	if err := errors.Join(r.close(), ctx.Err()); err != nil {
		return err
	}
	debug.FreeOSMemory()
	if len(r.Serve) > 0 {
		return r.startProcess(ctx)
	}
	began := time.Now()
	node, err := r.reopen(ctx)
	if err != nil {
		return err
	}
	defer node.Close()
	whole, err := serveWhole(ctx, node)
	if err != nil {
		return err
	}
	defer whole.stop()
	if err := firstAnswer(ctx, whole.addr); err != nil {
		return err
	}
	took := time.Since(began)
	if err := r.loadFully(ctx, whole.addr); err != nil {
		return err
	}
	r.report.add("start_seconds", took.Seconds(), "s", "in this process, to the first figures")
	r.report.add("rss_mib", residentMiB("self"), "MiB", "of this process, callers included, after a full load")
	return nil
}

// startProcess starts this executable as a node.
func (r *run) startProcess(ctx context.Context) (err error) {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	where, err := r.places.where(withTickets)
	if err != nil {
		return err
	}
	began := time.Now()
	node := exec.CommandContext(ctx, self, slices.Concat(r.Serve, []string{r.places.nodeDir(withTickets), "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--no-timers"})...)
	// What the environment says of other flags is about another node. URLs hold passwords, which arguments would show to everybody.
	node.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "CHUISHAO_") })
	node.Env = append(node.Env, app.Env("store")+"="+where.Store, app.Env("views")+"="+where.Views, app.Env("keys")+"="+where.Keys)
	out, err := node.StdoutPipe()
	if err != nil {
		return err
	}
	if err := node.Start(); err != nil {
		return err
	}
	defer func() {
		_ = node.Process.Signal(syscall.SIGTERM) // it may have ended
		_ = node.Wait()                          // how it ends is no figure
	}()
	addr := ""
	for lines := bufio.NewScanner(out); addr == "" && lines.Scan(); {
		addr, _ = strings.CutPrefix(lines.Text(), "grpc ")
	}
	if addr == "" {
		return errors.New("the node ended before it took calls")
	}
	if err := firstAnswer(ctx, addr); err != nil {
		return err
	}
	took := time.Since(began)
	if err := r.loadFully(ctx, addr); err != nil {
		return err
	}
	r.report.add("start_seconds", took.Seconds(), "s", "a process of its own, to the first figures")
	r.report.add("rss_mib", residentMiB(strconv.Itoa(node.Process.Pid)), "MiB", "a process of its own, after a full load")
	return nil
}

// patience is how long a node may take to its first answer.
const patience = time.Minute

// firstAnswer waits until a node says how the city stands.
func firstAnswer(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(metadata.NewOutgoingContext(ctx, dispatcher.metadata), patience)
	defer cancel()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: time.Second}))
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = pb.NewViewServiceClient(conn).GetClosure(ctx, &pb.GetClosureRequest{Level: "city", Code: "320200000000"}, grpc.WaitForReady(true))
	return err
}

// loadFully has a node carry out commands as fast as it can for a while.
func (r *run) loadFully(ctx context.Context, addr string) error {
	t, err := dial(ctx, r.city, addr, commandService, "start", r.lives)
	if err != nil {
		return err
	}
	defer t.close()
	_, err = t.closedLoop(ctx, maxCallers, paced*r.slice)
	return err
}
