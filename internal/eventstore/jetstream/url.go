package jetstream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/chuishao/dispatch/internal/eventstore"
)

// OpenError says why a history cannot be opened, and what to do about it. It holds no password. It Is eventstore.ErrUnavailable if it may pass.
type OpenError struct {
	Stream string // the stream of JetStream; "" if the URL names none
	Reason string // what is wrong and what to do, one sentence
	Err    error  // what the server said; may be nil
}

func (e *OpenError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("open history in JetStream stream %q: %s", e.Stream, e.Reason)
	}
	return fmt.Sprintf("open history in JetStream stream %q: %s (%v)", e.Stream, e.Reason, e.Err)
}

func (e *OpenError) Unwrap() error { return e.Err }

// unavailable makes of an error one that may pass.
func unavailable(err error) error {
	if err == nil {
		return eventstore.ErrUnavailable
	}
	if errors.Is(err, eventstore.ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", eventstore.ErrUnavailable, err)
}

// address is what a URL says.
type address struct {
	servers        []string // nats://host:port or tls://host:port
	user, password string
	stream         string
	monitors       []string // http://host:port
	replicas       int
	single         bool // unsafe=single-node
	credentials    string
	tls            *tls.Config // nil without TLS
}

var streamName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// parse reads a URL. What it complains of holds no part of it but the stream's name and the names of keys.
func parse(text string) (address, error) {
	var a address
	wrong := func(format string, args ...any) (address, error) {
		return address{}, &OpenError{Stream: a.stream, Reason: fmt.Sprintf(format, args...)}
	}
	// Several hosts with ports are no URL to net/url: they are cut out first.
	rest, ok := strings.CutPrefix(text, "jetstream://")
	if !ok {
		return wrong("want a URL jetstream://[user:password@]host:4222[,host:4222]/STREAM?monitor=http://host:8222[,...]")
	}
	rest, query, _ := strings.Cut(rest, "?")
	if strings.Contains(query, "@") {
		// Parts of a password with a / and a ? in it would be taken for the stream and for keys.
		return wrong("want no @ after the ?; write other characters than letters and digits as %%XX in user and password, and @ as %%40 in keys")
	}
	rest, name, _ := strings.Cut(rest, "/")
	if !streamName.MatchString(name) {
		return wrong("want the name of the stream after the hosts: 1 to 64 letters, digits and - _")
	}
	a.stream = name
	hosts := rest
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		hosts = rest[at+1:]
		user, password, _ := strings.Cut(rest[:at], ":")
		var err, bad error
		a.user, err = url.PathUnescape(user)
		a.password, bad = url.PathUnescape(password)
		if err != nil || bad != nil || a.user == "" {
			return wrong("want user:password before the @, with other characters than letters and digits as %%XX")
		}
	}
	keys, err := url.ParseQuery(query)
	if err != nil {
		return wrong("the part after the ? cannot be read; want key=value&key=value")
	}
	a.replicas = 3
	use, ca, cert, key := false, "", "", ""
	for k, values := range keys {
		v := values[0]
		if len(values) > 1 {
			return wrong("%s is said twice", k)
		}
		switch k {
		case "monitor":
			for _, m := range strings.Split(v, ",") {
				u, err := url.Parse(m)
				if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil {
					return wrong("monitor: want http://host:8222 of each server, with commas between")
				}
				a.monitors = append(a.monitors, strings.TrimSuffix(m, "/"))
			}
		case "replicas":
			a.replicas, err = strconv.Atoi(v)
			if err != nil || a.replicas != 3 && a.replicas != 5 {
				return wrong("replicas: want 3 or 5")
			}
		case "unsafe":
			if v != "single-node" {
				return wrong("unsafe: want single-node, and only for tests")
			}
			a.single, a.replicas = true, 1
		case "tls":
			if use, err = strconv.ParseBool(v); err != nil {
				return wrong("tls: want true or false")
			}
		case "tls_ca":
			ca = v
		case "tls_cert":
			cert = v
		case "tls_key":
			key = v
		case "creds":
			a.credentials = v
		default:
			return wrong("there is no key %q; the keys are monitor, replicas, tls, tls_ca, tls_cert, tls_key, creds, unsafe", k)
		}
	}
	if a.single && keys.Has("replicas") {
		return wrong("a single node has no replicas; leave out replicas or unsafe")
	}
	if !a.single && len(a.monitors) == 0 {
		return wrong("monitor is missing: whether a server flushes to disk before it acknowledges is told by its monitoring alone; set http_port on each server and add monitor=http://host:8222,...")
	}
	if !use && (ca != "" || cert != "" || key != "") {
		return wrong("tls_ca, tls_cert and tls_key need tls=true")
	}
	scheme := "nats://"
	if use {
		scheme = "tls://"
		if a.tls, err = certificates(ca, cert, key); err != nil {
			return address{}, &OpenError{a.stream, "the files of tls_ca, tls_cert and tls_key cannot be used; check them", err}
		}
	}
	for _, host := range strings.Split(hosts, ",") {
		u, err := url.Parse(scheme + host)
		if err != nil || u.Hostname() == "" || u.Path != "" {
			return wrong("want the hosts as host:port, with commas between")
		}
		a.servers = append(a.servers, scheme+host)
	}
	return a, nil
}

func certificates(ca, cert, key string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", ca)
		}
	}
	if cert != "" || key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
