package servers

import (
	"errors"
	"net"
	"sync"
)

// Proxy is a TCP proxy on the loopback interface that can be cut, as a cable can. It is safe for concurrent use.
type Proxy struct {
	target   string
	listener net.Listener
	running  sync.WaitGroup

	mu     sync.Mutex
	how    Cut
	lost   int64
	closed bool
	conns  map[net.Conn]struct{}
}

// Cut says what a proxy does with connections.
type Cut int

const (
	// Whole passes everything on.
	Whole Cut = iota
	// Refuse drops the connections there are, and new ones as soon as they are made.
	Refuse
	// Blackhole keeps connections and takes new ones, and passes nothing on: neither side learns of it.
	Blackhole
	// LoseRequests is a blackhole for what clients send: it is not done.
	LoseRequests
	// LoseAnswers is a blackhole for what the target sends: it is done, and nobody learns of it.
	LoseAnswers
)

// StartProxy starts a proxy to target, HOST:PORT. The caller closes it.
func StartProxy(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{target: target, listener: l, conns: make(map[net.Conn]struct{})}
	p.running.Go(p.accept)
	return p, nil
}

// Addr is where the proxy listens, 127.0.0.1:PORT.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Cut cuts the connection in the given way. What a blackhole has swallowed is lost: the connections it held are dropped when it ends.
func (p *Proxy) Cut(how Cut) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if how == Refuse || how != p.how && p.how >= Blackhole {
		p.drop()
	}
	p.how, p.lost = how, 0
}

// Lost is how many bytes were swallowed since the last Cut.
func (p *Proxy) Lost() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lost
}

// Heal makes the proxy pass everything on again.
func (p *Proxy) Heal() { p.Cut(Whole) }

// Close drops all connections and returns when nothing of the proxy runs any more.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	p.drop()
	p.mu.Unlock()
	err := p.listener.Close()
	p.running.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// drop closes every connection. The caller holds the lock.
func (p *Proxy) drop() {
	for c := range p.conns {
		c.Close()
	}
	clear(p.conns)
}

func (p *Proxy) accept() {
	for {
		from, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() { p.serve(from) })
	}
}

func (p *Proxy) serve(from net.Conn) {
	defer from.Close()
	if !p.hold(from) {
		return
	}
	defer p.release(from)
	to, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer to.Close()
	if !p.hold(to) {
		return
	}
	defer p.release(to)
	var both sync.WaitGroup
	both.Go(func() { p.pass(to, from, LoseRequests) })
	both.Go(func() { p.pass(from, to, LoseAnswers) })
	both.Wait()
}

// pass copies one direction, which a cut of its own swallows, until either side ends, and then ends the other.
func (p *Proxy) pass(to, from net.Conn, swallow Cut) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && !p.swallows(n, swallow) {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *Proxy) swallows(n int, swallow Cut) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.how != Blackhole && p.how != swallow {
		return false
	}
	p.lost += int64(n)
	return true
}

// hold remembers a connection, unless none are taken.
func (p *Proxy) hold(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.how == Refuse {
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *Proxy) release(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}
