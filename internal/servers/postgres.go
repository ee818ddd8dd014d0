package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// NoSync is a setting for StartPostgres: nothing is flushed to the disk, so that only a crash of the machine loses what was committed. A killed server
// loses nothing.
const NoSync = "fsync=off"

// MissingError says that a server cannot be started because its program is not on this machine.
type MissingError struct {
	Program string // what was looked for
	Package string // Debian's package that has it
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("no %s on this machine: install Debian's package %s", e.Program, e.Package)
}

// Postgres is a PostgreSQL server of its own, on a loopback port that stays the same. It ends with the process that started it. It is safe for
// concurrent use.
type Postgres struct {
	bin, home string
	settings  []string
	as        *syscall.SysProcAttr
	port      int

	mu      sync.Mutex
	running *exec.Cmd
	ended   chan struct{} // closed when running has ended
}

// superuser is who all connections are; the server asks nobody on the loopback for a password.
const superuser = "chuishao"

// StartPostgres makes a new PostgreSQL in a directory, which must be there, and starts it. PostgreSQL refuses to run as root: if this process is root, the
// server runs as the user postgres (or nobody), which the directory is given to. Settings are as the server takes them, "name=value". The error is a
// *MissingError if PostgreSQL is not installed. The caller closes the server, and removes the directory if it is to go.
func StartPostgres(ctx context.Context, dir string, settings ...string) (*Postgres, error) {
	bin, err := postgresPrograms()
	if err != nil {
		return nil, err
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	// The signal is an immediate shutdown: the server's own processes end with it.
	p := &Postgres{bin: bin, home: filepath.Join(abs, "postgres"), settings: settings, as: &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}}
	if err := os.Mkdir(p.home, 0o700); err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	if os.Geteuid() == 0 {
		if err := p.lend(); err != nil {
			return nil, fmt.Errorf("start PostgreSQL: %w", err)
		}
	}
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "--pgdata", p.data(), "--username", superuser, "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync")
	initdb.SysProcAttr, initdb.Dir = p.as, p.home
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, lastLines(out))
	}
	// Another process may take a port between the moment it is found free and the server's start.
	for range 5 {
		if p.port, err = freePort(); err != nil {
			return nil, fmt.Errorf("start PostgreSQL: %w", err)
		}
		if err = p.Start(ctx); err == nil || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// postgresPrograms is the directory where PostgreSQL's programs are: of those that are on the path, or of the newest of Debian's packages.
func postgresPrograms() (string, error) {
	var places []string
	if found, err := exec.LookPath("postgres"); err == nil {
		if real, err := filepath.EvalSymlinks(found); err == nil {
			places = append(places, filepath.Dir(real))
		}
	}
	installed, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		return "", err
	}
	number := func(dir string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
		return n
	}
	slices.SortFunc(installed, func(a, b string) int { return number(b) - number(a) })
	for _, dir := range append(places, installed...) {
		_, server := os.Stat(filepath.Join(dir, "postgres"))
		_, maker := os.Stat(filepath.Join(dir, "initdb"))
		if server == nil && maker == nil {
			return dir, nil
		}
	}
	return "", &MissingError{Program: "PostgreSQL server", Package: "postgresql"}
}

// lend gives the server's directory to a user that is not root, and lets that user pass through the temporary directories above it.
func (p *Postgres) lend() error {
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return err
		}
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return err
	}
	p.as.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	if err := os.Chown(p.home, int(uid), int(gid)); err != nil {
		return err
	}
	temporary, err := filepath.Abs(os.TempDir())
	if err != nil {
		return err
	}
	for dir := filepath.Dir(p.home); dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		switch {
		case err != nil:
			return err
		case info.Mode()&0o001 != 0:
		case strings.HasPrefix(dir, temporary+string(filepath.Separator)):
			if err := os.Chmod(dir, info.Mode().Perm()|0o011); err != nil {
				return err
			}
		default:
			return fmt.Errorf("the user %s cannot pass through %s, and PostgreSQL does not run as root: give a directory that it can reach", u.Username, dir)
		}
	}
	return nil
}

func (p *Postgres) data() string { return filepath.Join(p.home, "data") }
func (p *Postgres) log() string  { return filepath.Join(p.home, "log") }

// Start starts the server where it does not run, on the data it has, and waits until it answers.
func (p *Postgres) Start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running != nil {
		return errors.New("start PostgreSQL: it runs")
	}
	log, err := os.Create(p.log())
	if err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	defer log.Close() // the server has its own
	args := []string{"-D", p.data()}
	for _, s := range append([]string{
		"listen_addresses=127.0.0.1", "port=" + strconv.Itoa(p.port), "unix_socket_directories=", "max_connections=200", "shared_buffers=64MB", "log_timezone=UTC", "TimeZone=UTC",
	}, p.settings...) {
		args = append(args, "-c", s)
	}
	cmd := exec.Command(filepath.Join(p.bin, "postgres"), args...)
	cmd.SysProcAttr, cmd.Dir, cmd.Stdout, cmd.Stderr = p.as, p.home, log, log
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // its log says more
	}()
	p.running, p.ended = cmd, ended
	if err := p.answers(ctx); err != nil {
		err = fmt.Errorf("start PostgreSQL: %w: %s", err, p.lastLog())
		return errors.Join(err, p.kill())
	}
	return nil
}

// answers waits until the server takes connections.
func (p *Postgres) answers(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	for {
		conn, err := pgx.Connect(ctx, p.URL("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-p.ended:
			return errors.New("it ended at once")
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (p *Postgres) lastLog() string {
	out, err := os.ReadFile(p.log())
	if err != nil {
		return err.Error()
	}
	return lastLines(out)
}

// URL is how a client reaches a database of the server. It is the same after another Start.
func (p *Postgres) URL(database string) string {
	return fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s?sslmode=disable", superuser, p.port, url.PathEscape(database))
}

// Create makes an empty database.
func (p *Postgres) Create(ctx context.Context, name string) error {
	return p.exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
}

// Drop removes a database, and ends the connections to it.
func (p *Postgres) Drop(ctx context.Context, name string) error {
	return p.exec(ctx, "DROP DATABASE IF EXISTS "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)")
}

func (p *Postgres) exec(ctx context.Context, sql string) error {
	conn, err := pgx.Connect(ctx, p.URL("postgres"))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, sql)
	return errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
}

// Kill ends the server and all its processes with SIGKILL, as the loss of its machine would, and returns when none is left. What was committed is there
// after the next Start. A server that does not run is no error.
func (p *Postgres) Kill() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.kill()
}

func (p *Postgres) kill() error {
	if p.running == nil {
		return nil
	}
	// Stopped first, so that it starts no process that is not seen.
	main := p.running.Process.Pid
	_ = syscall.Kill(main, syscall.SIGSTOP)
	hanging := childrenOf(main)
	_ = syscall.Kill(main, syscall.SIGKILL)
	for _, child := range hanging {
		_ = syscall.Kill(child, syscall.SIGKILL)
	}
	<-p.ended
	p.running = nil
	// They hold the shared memory, without which the next start is refused.
	deadline := time.Now().Add(30 * time.Second)
	for slices.ContainsFunc(hanging, alive) {
		if time.Now().After(deadline) {
			return errors.New("kill PostgreSQL: some of its processes do not end")
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

// Close shuts the server down and waits for its end. It may be called twice.
func (p *Postgres) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == nil {
		return nil
	}
	// The fast shutdown: clients are cut off, what they were about is rolled back.
	if err := p.running.Process.Signal(syscall.SIGINT); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.ended:
		p.running = nil
		return nil
	case <-time.After(30 * time.Second):
		return p.kill()
	}
}

// childrenOf are the processes that a process has started and that have not been waited for.
func childrenOf(parent int) (list []int) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil
	}
	for _, name := range stats {
		if _, of, ok := statOf(name); ok && of == parent {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
			list = append(list, pid)
		}
	}
	return list
}

// alive says whether a process still holds anything: one that only waits to be waited for does not.
func alive(pid int) bool {
	state, _, ok := statOf(fmt.Sprintf("/proc/%d/stat", pid))
	return ok && state != "Z" && state != "X"
}

// statOf reads a process's state and parent. ok is false if there is no such process.
func statOf(name string) (state string, parent int, ok bool) {
	text, err := os.ReadFile(name)
	if err != nil {
		return "", 0, false
	}
	// The program's name, in brackets, may hold anything.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 2 {
		return "", 0, false
	}
	parent, err = strconv.Atoi(fields[1])
	return fields[0], parent, err == nil
}

// freePort is a port on the loopback that nobody listens on.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// lastLines is the end of what a program said.
func lastLines(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "; ")
}
