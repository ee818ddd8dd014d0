package servers

import (
	"errors"
	"fmt"
	"sync"
)

// wires are the proxies that a cuttable cluster's bytes go through: of each node one for its clients and one for its monitoring, and
// from each node to each other.
type wires struct {
	clients, monitors []*Proxy
	between           [][]*Proxy // [from][to]; nil from a node to itself

	mu  sync.Mutex
	cut []bool
}

// lay starts the proxies of nodes whose ports are, three a node, for clients, monitoring and routes.
func (w *wires) lay(ports []int) error {
	nodes := len(ports) / 3
	start := func(port int) (*Proxy, error) { return StartProxy(fmt.Sprintf("127.0.0.1:%d", port)) }
	for i := range nodes {
		client, err := start(ports[3*i])
		if err != nil {
			return err
		}
		w.clients = append(w.clients, client)
		monitor, err := start(ports[3*i+1])
		if err != nil {
			return err
		}
		w.monitors = append(w.monitors, monitor)
		w.between = append(w.between, make([]*Proxy, nodes))
		for to := range nodes {
			if to == i {
				continue
			}
			if w.between[i][to], err = start(ports[3*to+2]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *wires) urls(scheme string, of []*Proxy) []string {
	urls := make([]string, len(of))
	for i, p := range of {
		urls[i] = scheme + p.Addr()
	}
	return urls
}

// of are the proxies of all that a node says and hears.
func (w *wires) of(node int) []*Proxy {
	all := []*Proxy{w.clients[node], w.monitors[node]}
	for other := range w.between {
		if other != node {
			all = append(all, w.between[node][other], w.between[other][node])
		}
	}
	return all
}

func (w *wires) close() error {
	var all error
	for _, p := range w.clients {
		all = errors.Join(all, p.Close())
	}
	for _, p := range w.monitors {
		all = errors.Join(all, p.Close())
	}
	for _, to := range w.between {
		for _, p := range to {
			if p != nil {
				all = errors.Join(all, p.Close())
			}
		}
	}
	return all
}

// Cut cuts a node of a cuttable or isolated cluster, counted from 0, off from the other nodes and from all clients, so that neither side learns of it, until
// Heal. Its process goes on. One node at a time can be cut off.
func (n *NATS) Cut(node int) error { return n.setCut(node, Blackhole) }

// Heal ends a Cut.
func (n *NATS) Heal(node int) error { return n.setCut(node, Whole) }

func (n *NATS) setCut(node int, how Cut) error {
	n.wires.mu.Lock()
	defer n.wires.mu.Unlock()
	for other, cut := range n.wires.cut {
		if cut && other != node {
			return fmt.Errorf("cut %s off: %s is", n.nodes[node].name, n.nodes[other].name)
		}
	}
	switch {
	case n.opts.Isolated:
		if err := n.nodes[node].plug(how == Whole); err != nil {
			return err
		}
	case n.opts.Cuttable:
		for _, p := range n.wires.of(node) {
			p.Cut(how)
		}
	default:
		return fmt.Errorf("%s cannot be cut off", n.nodes[node].name)
	}
	n.wires.cut[node] = how != Whole
	return nil
}

// IsCut says whether a node, counted from 0, is cut off.
func (n *NATS) IsCut(node int) bool {
	n.wires.mu.Lock()
	defer n.wires.mu.Unlock()
	return n.wires.cut[node]
}
