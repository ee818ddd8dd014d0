package esdb

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
)

// settings are the keys of a connection string that may be given, in lower case.
var settings = map[string]bool{
	"tls": true, "tlsverifycert": true, "tlscafile": true, "usercertfile": true, "userkeyfile": true,
	"maxdiscoverattempts": true, "discoveryinterval": true, "gossiptimeout": true,
	"keepaliveinterval": true, "keepalivetimeout": true,
	"nodepreference": true, "defaultdeadline": true,
}

// parse reads a connection string. The client ignores what it does not know and misreads some of what it does, so that is
// refused here. No error repeats the string: it may hold a password.
func parse(s string) (*esdb.Configuration, error) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || scheme != "esdb" && scheme != "esdb+discover" {
		return nil, errors.New("the store's URL must begin with esdb:// or esdb+discover://")
	}
	rest, query, _ := strings.Cut(rest, "?")
	if strings.Contains(query, "@") {
		// Of a password with a ? in it the rest would be taken for settings, and the user for a host.
		return nil, errors.New("the store's URL: want no @ after the ?; write %3F for ? in user and password, and %40 for @ in settings")
	}
	user, hosts := "", rest
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		user, hosts = rest[:i], rest[i+1:]
	}
	hosts = strings.TrimSuffix(hosts, "/")
	for i, host := range strings.Split(hosts, ",") {
		name, port, found := strings.Cut(host, ":")
		number, err := strconv.ParseUint(port, 10, 16)
		if !plain(name) || found && (err != nil || number == 0) {
			return nil, fmt.Errorf("the store's URL: number %d of what stands for the nodes is not a host or host:port", i+1)
		}
	}
	if scheme == "esdb+discover" && strings.Contains(hosts, ",") {
		return nil, errors.New("the store's URL: esdb+discover:// takes one DNS name; list nodes with esdb://")
	}
	given, err := url.ParseQuery(query)
	if err != nil {
		return nil, errors.New("the store's URL: its query cannot be read")
	}
	low := make(map[string]string, len(given))
	for key, values := range given {
		k := strings.ToLower(key)
		if _, twice := low[k]; twice || len(values) != 1 {
			return nil, fmt.Errorf("the store's URL: %s is given more than once", key)
		}
		low[k] = values[0]
		if !settings[k] {
			return nil, fmt.Errorf("the store's URL: there is no setting %s", key)
		}
	}
	if at := strings.ToLower(low["nodepreference"]); at != "" && at != "leader" {
		return nil, errors.New("the store's URL: nodePreference must be leader, since elsewhere one may read what is no longer so")
	}
	if _, ok := low["defaultdeadline"]; ok {
		return nil, errors.New("the store's URL: defaultDeadline is not used; calls end with their context")
	}
	for _, k := range []string{"maxdiscoverattempts", "gossiptimeout", "discoveryinterval", "keepaliveinterval", "keepalivetimeout"} {
		v, ok := low[k]
		n, err := strconv.Atoi(v)
		if ok && (err != nil || n < 1 && !(n == -1 && strings.HasPrefix(k, "keepalive"))) {
			return nil, fmt.Errorf("the store's URL: %s must be a whole number from 1", k)
		}
	}
	if low["tls"] == "false" && user != "" {
		return nil, errors.New("the store's URL: with tls=false the user and password would not be sent; take them out, or use TLS")
	}
	config, err := esdb.ParseConnectionString(s)
	if err != nil {
		if user != "" {
			return nil, errors.New("the store's URL cannot be read; escape what is not a letter or digit in user and password")
		}
		return nil, fmt.Errorf("the store's URL: %w", err)
	}
	// Trying again is done here, so that whoever waits can stop waiting.
	if _, ok := low["maxdiscoverattempts"]; !ok {
		config.MaxDiscoverAttempts = 1
	}
	if _, ok := low["gossiptimeout"]; !ok {
		config.GossipTimeout = 2
	}
	config.NodePreference = esdb.NodePreferenceLeader
	return config, nil
}

// plain reports whether a host's name is made of what names and addresses of version 4 are made of; the client reads no others.
func plain(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '-', c == '_':
		default:
			return false
		}
	}
	return name != ""
}
