package servers

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
)

// What tells a process that its network is its own, and a node where it is in it.
const (
	networkVariable = "CHUISHAO_SERVERS_OWN_NETWORK"
	addressVariable = "CHUISHAO_SERVERS_ADDRESS"
)

// The network that isolated nodes are in: a bridge, and at each of its ports the namespace of a node.
const (
	bridge  = "nodes"
	subnet  = "10.77.0."
	network = "link set lo up\nlink add " + bridge + " type bridge\naddr add " + subnet + "254/24 dev " + bridge + "\nlink set " + bridge + " up\n"
)

// HasOwnNetwork says whether OwnNetwork has given this process a network of its own.
func HasOwnNetwork() bool { return os.Getenv(networkVariable) != "" }

// OwnNetwork runs this program anew, as the same process and with the same arguments, in a network namespace of its own, where nobody else is and nothing
// is left when it ends. Then HasOwnNetwork is true, and StartNATS can isolate nodes. It returns only where that cannot be, with the reason: it
// takes Linux, the rights of root, and the program ip.
func OwnNetwork() error {
	if HasOwnNetwork() {
		return errors.New("this process has a network of its own already")
	}
	// All that will be needed is tried in a namespace that is thrown away: from the other there is no way back.
	trial := network + "link add v0 type veth peer name v1\nlink set v0 master " + bridge + " up\n"
	if err := ip(trial, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}); err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	failed := make(chan error)
	go func() {
		// A namespace is a thread's, and what is executed from that thread has it as a whole. If it comes to nothing the thread ends with the goroutine.
		runtime.LockOSThread()
		failed <- begin(program)
	}()
	return <-failed
}

// begin executes a program in a new network. It returns if that fails.
func begin(program string) error {
	if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
		return fmt.Errorf("a network namespace: %w", err)
	}
	if err := ip(network, nil); err != nil {
		return err
	}
	return syscall.Exec(program, os.Args, append(os.Environ(), networkVariable+"=1"))
}

// ip runs the program of that name on lines of commands.
func ip(commands string, how *syscall.SysProcAttr) error {
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin, cmd.SysProcAttr = strings.NewReader(commands), how
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip: %w: %s", err, lastLines(out))
	}
	return nil
}

// host is where a node, counted from 0, listens.
func (o *NATSOptions) host(node int) string {
	if o.Isolated {
		return fmt.Sprint(subnet, node+1)
	}
	return "127.0.0.1"
}

// isolate gives the process that is to be the node a network namespace of its own, which ends with it.
func (d *Node) isolate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	cmd.Env = append(cmd.Env, addressVariable+"="+d.host)
}

// connect lays the wire from the bridge to the namespace of the node's process, and tells that. The caller holds the lock.
func (d *Node) connect(stdin io.Writer) error {
	// The name is new in each life: the wire of the last one goes when the system finds time for it. The address of the hardware stays, as that of a
	// machine does.
	d.link = fmt.Sprintf("n%dl%d", d.number, d.lives)
	err := ip(fmt.Sprintf("link add %s type veth peer name eth0 address 02:00:00:00:00:%02x netns %d\nlink set %s master %s up\n",
		d.link, d.number, d.process.Process.Pid, d.link, bridge), nil)
	if err != nil {
		return fmt.Errorf("connect %s: %w", d.name, err)
	}
	_, err = io.WriteString(stdin, "connected\n")
	return err
}

// plug plugs the node's wire in, or pulls it out.
func (d *Node) plug(in bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.process == nil {
		return fmt.Errorf("%s is down", d.name)
	}
	return ip(fmt.Sprintf("link set %s %s\n", d.link, map[bool]string{true: "up", false: "down"}[in]), nil)
}

// joinNetwork waits, in the process of an isolated node, for its wire, and takes its address.
func joinNetwork() error {
	address, isolated := os.LookupEnv(addressVariable)
	if !isolated {
		return nil
	}
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return fmt.Errorf("wait for the network: %w", err)
	}
	return ip(fmt.Sprintf("link set lo up\naddr add %s/24 dev eth0\nlink set eth0 up\n", address), nil)
}
