package principal

import (
	"fmt"
	"net"
	"strings"

	"github.com/chuishao/dispatch/internal/rule"
)

// DevActorHeader is the metadata key under which a caller says who it is, while developing.
const DevActorHeader = "chuishao-dev-actor"

// ParseDevActor understands what stands under DevActorHeader: "person=zhang;roles=DISPATCHER,AGENT;unit=320200", each
// field once.
func ParseDevActor(text string) (rule.Actor, error) {
	var actor rule.Actor
	seen := map[string]bool{}
	for part := range strings.SplitSeq(text, ";") {
		key, value, _ := strings.Cut(part, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if seen[key] {
			return rule.Actor{}, fmt.Errorf("%s: %q comes twice", DevActorHeader, key)
		}
		seen[key] = true
		switch key {
		case "person":
			actor.Person = value
		case "unit":
			actor.Unit = value
		case "roles":
			for role := range strings.SplitSeq(value, ",") {
				var err error
				if actor.Roles, err = addRole(actor.Roles, strings.TrimSpace(role)); err != nil {
					return rule.Actor{}, fmt.Errorf("%s: %w", DevActorHeader, err)
				}
			}
		default:
			return rule.Actor{}, fmt.Errorf("%s: unknown field %q, want person=…;roles=…,…;unit=…", DevActorHeader, key)
		}
	}
	if actor.Person == "" || actor.Unit == "" || len(actor.Roles) == 0 {
		return rule.Actor{}, fmt.Errorf("%s: want person=…;roles=…,…;unit=…", DevActorHeader)
	}
	return actor, nil
}

// Loopback says whether an address cannot be reached from another machine.
func Loopback(addr net.Addr) bool {
	switch a := addr.(type) {
	case *net.TCPAddr:
		return a.IP.IsLoopback()
	case *net.UnixAddr:
		return true
	case nil:
		return false
	}
	host, _, err := net.SplitHostPort(addr.String())
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
