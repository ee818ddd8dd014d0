package faults

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// member is a dispatcher or projector, a process that can be killed and started again. It is safe for concurrent use.
type member struct {
	name, program, what, dir string
	args                     []string
	ended                    func(*member, error) // hears of an end that nobody wished for

	mu      sync.Mutex
	process *process
	conn    *grpc.ClientConn // to where it serves now, or served last; nil for one that serves no gRPC
}

// process is one life of a member.
type process struct {
	cmd    *exec.Cmd
	gone   chan struct{} // closed when it has ended
	wished bool          // somebody ended it; guarded by member.mu
}

// member makes one that is not started yet. It is ready when it prints where it serves what.
func (r *run) member(name, program, what string, args []string) *member {
	return &member{name: name, program: program, what: what, args: args, dir: filepath.Join(r.Dir, name),
		ended: func(m *member, err error) { r.findings.add("%s ended by itself: %v: %s", m.name, err, m.said()) }}
}

// start starts the process and waits until it is ready. One that cannot start, since what it needs does not work, is started again until the context ends.
func (m *member) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		addr, err := m.once(ctx)
		if err == nil && m.what == "grpc" {
			err = m.dial(addr)
		}
		if err == nil || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (m *member) once(ctx context.Context) (addr string, err error) {
	if err := os.MkdirAll(m.dir, 0o750); err != nil {
		return "", err
	}
	log, err := os.OpenFile(filepath.Join(m.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return "", err
	}
	defer log.Close() // the process has its own
	p := &process{cmd: exec.Command(m.program, m.args...), gone: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stderr, p.cmd.Env = m.dir, log, environment()
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	read, write, err := os.Pipe()
	if err != nil {
		return "", err
	}
	p.cmd.Stdout = write
	err = errors.Join(p.cmd.Start(), write.Close())
	if err != nil {
		return "", errors.Join(err, read.Close())
	}
	m.mu.Lock()
	m.process = p
	m.mu.Unlock()
	said := make(chan string, 1)
	go func() {
		defer read.Close()
		lines := bufio.NewScanner(read)
		for lines.Scan() {
			if at, ok := strings.CutPrefix(lines.Text(), m.what+" "); ok {
				said <- at
				break
			}
		}
		_, _ = io.Copy(io.Discard, read)
	}()
	ready := make(chan bool, 1)
	go func() {
		err := p.cmd.Wait()
		close(p.gone)
		m.mu.Lock()
		wished := p.wished
		m.mu.Unlock()
		if <-ready && !wished {
			m.ended(m, err)
		}
	}()
	select {
	case addr = <-said:
		ready <- true
		return addr, nil
	case <-p.gone:
		ready <- false
		return "", fmt.Errorf("%s does not start: %s", m.name, m.said())
	case <-ctx.Done():
		ready <- false
		return "", errors.Join(fmt.Errorf("%s is not ready: %w: %s", m.name, ctx.Err(), m.said()), m.end(syscall.SIGKILL, patience))
	}
}

// environment is this process's without what would set flags, or make a node of it.
func environment() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "CHUISHAO_") {
			env = append(env, v)
		}
	}
	return env
}

func (m *member) dial(addr string) error {
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hangUp()
	m.conn = conn
	return nil
}

// hangUp closes the connection there is. The caller holds the lock.
func (m *member) hangUp() {
	if m.conn != nil {
		_ = m.conn.Close() // it is only to be rid of
	}
}

// now is a connection to the member, which may be dead.
func (m *member) now() *grpc.ClientConn {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.conn
}

// end ends the process by a signal, if it runs, and returns when it is gone.
func (m *member) end(signal syscall.Signal, within time.Duration) error {
	m.mu.Lock()
	p := m.process
	if p == nil {
		m.mu.Unlock()
		return nil
	}
	p.wished = true
	m.mu.Unlock()
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end %s: %w", m.name, err)
	}
	late := time.NewTimer(within)
	defer late.Stop()
	select {
	case <-p.gone:
		return nil
	case <-late.C:
		_ = p.cmd.Process.Kill()
		<-p.gone
		return fmt.Errorf("%s did not end within %v", m.name, within)
	}
}

// kill ends the process at once, as kill -9 does.
func (m *member) kill() error { return m.end(syscall.SIGKILL, patience) }

// stop has the process end in good order, which it must do with exit code 0.
func (m *member) stop() error {
	if err := m.end(syscall.SIGTERM, patience); err != nil {
		return err
	}
	if code := m.process.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("%s was told to stop and ended with exit code %d: %s", m.name, code, m.said())
	}
	return nil
}

// close kills the process and hangs up.
func (m *member) close() error {
	err := m.kill()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hangUp()
	return err
}

// said is what the process last told about itself.
func (m *member) said() string {
	text, err := os.ReadFile(filepath.Join(m.dir, "log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], "; ")
}
