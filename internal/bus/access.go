package bus

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Principals knows who may connect to the bus, and what for; *principal.File does.
type Principals interface {
	// BusGrant gives the person whose bearer token it is, and the subtrees they read, as of now. An error says that they may not connect.
	BusGrant(token string, now time.Time) (person string, subtrees []string, err error)
	// BusGrants gives the subtrees of every person who may connect, now or at some other time.
	BusGrants() map[string][]string
}

// Grant is what a connected system reads of the bus.
type Grant struct {
	// ID is a token of subjects: what the system is called on the bus, its user's name there.
	ID       string
	subtrees []subtree
}

// subtree is a part of the bus. Of an area, the tokens of its path; of a unit, its token; of neither, all.
type subtree struct {
	area []string
	unit string
}

// NewGrant is the grant of a person. Subtrees are "area:" and the codes of an area's path, city first, with slashes and with _ for a level that is skipped; "unit:" and a
// unit's code, wherever the matter lies; or "all". None: the system may send commands and reads nothing.
func NewGrant(person string, subtrees []string) (Grant, error) {
	g := Grant{ID: slug(person)}
	if person == "" {
		return g, fmt.Errorf("a grant of the bus is somebody's")
	}
	for _, s := range subtrees {
		t, err := parseSubtree(s)
		if err != nil {
			return g, err
		}
		g.subtrees = append(g.subtrees, t)
	}
	return g, nil
}

// Grants are those of everybody who may connect, by name.
func Grants(p Principals) ([]Grant, error) {
	all := p.BusGrants()
	var list []Grant
	for _, person := range slices.Sorted(maps.Keys(all)) {
		g, err := NewGrant(person, all[person])
		if err != nil {
			return nil, fmt.Errorf("the bus of %s: %w", person, err)
		}
		list = append(list, g)
	}
	return list, nil
}

func parseSubtree(s string) (subtree, error) {
	kind, rest, _ := strings.Cut(s, ":")
	switch {
	case s == "all":
		return subtree{}, nil
	case kind == "unit" && rest != "":
		return subtree{unit: slug(rest)}, nil
	case kind == "area":
		var t subtree
		codes := strings.Split(rest, "/")
		for i, code := range codes {
			if code == "" || code == none && (i == 0 || i == len(codes)-1) || i == depth {
				return t, fmt.Errorf("subtree %q: want the codes of an area's path, at most %d, city first", s, depth)
			}
			if code != none {
				code = slug(code)
			}
			t.area = append(t.area, code)
		}
		return t, nil
	}
	return subtree{}, fmt.Errorf("subtree %q: want area:CODE/CODE, unit:CODE or all", s)
}

// filter is what the subtree is of a kind of subjects; empty if it is nothing of it.
func (t subtree) filter(root string) string {
	switch {
	case t.unit != "" && root == ratesRoot:
		return ""
	case t.unit != "":
		return root + strings.Repeat(".*", depth) + "." + t.unit + ".>"
	case root == ratesRoot && len(t.area) == depth:
		return root + "." + strings.Join(t.area, ".")
	}
	return strings.Join(slices.Concat([]string{root}, t.area, []string{">"}), ".")
}

// filters are the subjects the grant reads, none of which is part of another.
func (g Grant) filters(root string) []string {
	var all []string
	for _, t := range g.subtrees {
		if f := t.filter(root); f != "" && !slices.Contains(all, f) {
			all = append(all, f)
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(f string) bool {
		return slices.ContainsFunc(all, func(wider string) bool { return wider != f && covers(wider, f) })
	})
}

// covers says whether every subject that a filter has is one of a wider filter.
func covers(wider, f string) bool {
	w, n := strings.Split(wider, "."), strings.Split(f, ".")
	for i, token := range w {
		switch {
		case token == ">":
			return i < len(n)
		case i == len(n), n[i] == ">", token != "*" && token != n[i]:
			return false
		}
	}
	return len(w) == len(n)
}

func (g Grant) equal(other Grant) bool {
	return g.ID == other.ID && slices.Equal(g.filters(eventsRoot), other.filters(eventsRoot)) && slices.Equal(g.filters(ratesRoot), other.filters(ratesRoot))
}

func grantOf(p Principals, token string, now time.Time) (Grant, error) {
	person, subtrees, err := p.BusGrant(token, now)
	if err != nil {
		return Grant{}, err
	}
	return NewGrant(person, subtrees)
}

// durable is the name of a connected system's consumer, on EVENTS and on RATES.
func (g Grant) durable() string { return "dept-" + g.ID }

// Inbox is the prefix that a connected system must have its answers sent to.
func (g Grant) Inbox() string { return "_INBOX_" + g.ID }

// Permissions are the subjects that a connected system may publish and subscribe to: to pull from its own consumers and to acknowledge what came from them, to
// send commands, and to hear its subtree live. Nothing else: not to make consumers, to read messages by number or subject, nor to publish events. This is
// the only place that says so.
func Permissions(g Grant) (publish, subscribe []string) {
	publish = []string{commandRoot + ".*.*"}
	for _, of := range []struct{ stream, root string }{{Events, eventsRoot}, {Rate, ratesRoot}} {
		if len(g.filters(of.root)) == 0 {
			continue
		}
		consumer := of.stream + "." + g.durable()
		publish = append(publish, "$JS.API.CONSUMER.INFO."+consumer, "$JS.API.CONSUMER.MSG.NEXT."+consumer, "$JS.ACK."+consumer+".>")
	}
	return publish, append([]string{g.Inbox() + ".>"}, g.filters(liveRoot)...)
}

// account is the name of a connected system's own account. Whoever may ask a NATS server for something may have the answer sent under any subject, also one that they
// may not publish to. In the account where the streams are an answer could so become an event, or an order to delete a stream; in one of its own it reaches
// nothing but what is lent to it.
func (g Grant) account() string { return "outside-" + g.ID }

// lending is a subject of the service's account that is known in that of a connected system.
type lending struct {
	subject string
	kind    lendingKind
}

type lendingKind int

const (
	answered      lendingKind = iota // it can be asked, for one answer
	answeredOften                    // or for many
	heard                            // it can be listened to
)

// lent is what the account of the connected system with a durable knows. Permissions say what of it may be used.
func lent(durable string) []lending {
	list := []lending{{commandRoot + ".*.*", answered}, {liveRoot + ".>", heard}}
	for _, stream := range []string{Events, Rate} {
		consumer := stream + "." + durable
		list = append(list, lending{"$JS.API.CONSUMER.INFO." + consumer, answered}, lending{"$JS.API.CONSUMER.MSG.NEXT." + consumer, answeredOften}, lending{"$JS.ACK." + consumer + ".>", answered})
	}
	return list
}

// Config is the accounts, users and permissions of the service and of connected systems as NATS servers elsewhere have them in their configuration. Passwords are left to their
// environment: BUS_SERVICE is the service's, and of a connected system it is BUS_ and the id in capitals, with _ for - and __ for _.
func Config(grants []Grant) string {
	var b strings.Builder
	quote := func(subjects []string) string {
		var list []string
		for _, s := range subjects {
			list = append(list, fmt.Sprintf("%q", s))
		}
		return "[" + strings.Join(list, ", ") + "]"
	}
	fmt.Fprintf(&b, "accounts {\n  service {\n    jetstream: enabled\n    users = [ { user: %q, password: $BUS_SERVICE } ]\n    exports = [\n", serviceUser)
	for _, l := range lent("*") {
		fmt.Fprintf(&b, "      { %s: %q%s }\n", l.kind, l.subject, map[bool]string{true: ", response_type: stream"}[l.kind == answeredOften])
	}
	// Of an account that has no streams a server answers to all of $JS.API that it has none, beside the answer that is asked for, unless that leads elsewhere.
	b.WriteString("      { service: \"nowhere.>\" }\n    ]\n  }\n")
	for _, g := range grants {
		publish, subscribe := Permissions(g)
		variable := "BUS_" + strings.ToUpper(strings.NewReplacer("-", "_", "_", "__").Replace(g.ID))
		fmt.Fprintf(&b, "  %q {\n    users = [ { user: %q, password: $%s, permissions: {\n      publish: { allow: %s }\n      subscribe: { allow: %s }\n    } } ]\n    imports = [\n",
			g.account(), g.ID, variable, quote(publish), quote(subscribe))
		for _, l := range lent(g.durable()) {
			fmt.Fprintf(&b, "      { %s: { account: service, subject: %q } }\n", l.kind, l.subject)
		}
		b.WriteString("      { service: { account: service, subject: \"nowhere.>\" }, to: \"$JS.API.>\" }\n    ]\n  }\n")
	}
	b.WriteString("}\n")
	return b.String()
}

// String is the kind in a configuration.
func (k lendingKind) String() string {
	if k == heard {
		return "stream"
	}
	return "service"
}

// Consumers keeps for each connected system a durable consumer on each stream, with its subtrees as the filter. A consumer remembers what was
// acknowledged. One whose system is in the list no more is left as it is, as another process may know better; nobody can read from it.
type Consumers struct {
	Conn       *nats.Conn
	Principals Principals
	// OnTrouble hears of an error before it is tried again. May be nil.
	OnTrouble func(error)
}

// Run keeps them until the context ends, whose error it gives.
func (c *Consumers) Run(ctx context.Context) error {
	js, err := jetstream.New(c.Conn)
	if err != nil {
		return fmt.Errorf("keep the consumers of the bus: %w", err)
	}
	made := map[string][]string{}
	for {
		list := c.Principals.BusGrants()
		for _, person := range slices.Sorted(maps.Keys(list)) {
			if was, ok := made[person]; ok && slices.Equal(was, list[person]) {
				continue
			}
			g, err := NewGrant(person, list[person])
			if err == nil {
				err = g.make(ctx, js)
			}
			if err == nil {
				made[person] = list[person]
			} else if ctx.Err() == nil && c.OnTrouble != nil {
				c.OnTrouble(fmt.Errorf("keep the consumers of the bus: %w", err))
			}
		}
		if !pause(ctx, retryAfter) {
			return ctx.Err()
		}
	}
}

// make makes the consumers of a grant, or makes them what it says.
func (g Grant) make(ctx context.Context, js jetstream.JetStream) error {
	for _, of := range []struct{ stream, root string }{{Events, eventsRoot}, {Rate, ratesRoot}} {
		filters := g.filters(of.root)
		if len(filters) == 0 {
			continue
		}
		config := jetstream.ConsumerConfig{
			Durable: g.durable(), DeliverPolicy: jetstream.DeliverAllPolicy, AckPolicy: jetstream.AckExplicitPolicy,
			AckWait: 30 * time.Second, MaxAckPending: 1_000, MaxDeliver: -1,
		}
		if config.FilterSubjects = filters; len(filters) == 1 {
			config.FilterSubject, config.FilterSubjects = filters[0], nil
		}
		if _, err := js.CreateOrUpdateConsumer(ctx, of.stream, config); err != nil {
			return passing(err)
		}
	}
	return nil
}
