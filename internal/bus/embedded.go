package bus

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/chuishao/dispatch/internal/eventstore"
)

// Options are what a NATS server in the process is made of.
type Options struct {
	// Dir is where it keeps the streams. It belongs to one server at a time.
	Dir string
	// Listen is HOST:PORT where connected systems may connect; empty: nowhere, only this process has the bus. Port 0 takes any that is free.
	Listen string
	// TLS secures connections; without it only a loopback address may be listened at.
	TLS *tls.Config
	// Principals knows who may connect; nil: nobody but this process.
	Principals Principals
	// MaxStore bounds what all streams take on the disk, in bytes. 0: 10 GiB.
	MaxStore int64
}

// Server is a NATS server in this process.
type Server struct {
	nats *server.Server
	door *door

	maxStore int64

	end  context.CancelFunc
	done sync.WaitGroup
}

// startWithin is how long a server may take until it is there: it reads its streams' indexes first.
const startWithin = 30 * time.Second

// Start starts a server. Each message is on the disk, synced, before it is acknowledged. Close ends it.
func Start(o Options) (*Server, error) {
	secret := rand.Text()
	s := &Server{door: &door{principals: o.Principals, secret: secret, connected: map[uint64]session{}}}
	so := &server.Options{
		ServerName: "chuishao", NoSigs: true, NoLog: true, DontListen: o.Listen == "",
		JetStream: true, StoreDir: o.Dir, SyncAlways: true, JetStreamMaxStore: o.MaxStore, JetStreamMaxMemory: 64 << 20,
		JetStreamLimits:            server.JSLimitOpts{MaxBatchSize: mostEmbedded},
		CustomClientAuthentication: s.door, TLSConfig: o.TLS, TLSTimeout: 5, AuthTimeout: 5,
	}
	if so.JetStreamMaxStore == 0 {
		so.JetStreamMaxStore = 10 << 30
	}
	if o.Listen != "" {
		host, port, err := net.SplitHostPort(o.Listen)
		if err != nil {
			return nil, fmt.Errorf("listen for the bus: %w", err)
		}
		if so.Port, err = strconv.Atoi(port); err != nil || so.Port < 0 || so.Port > 65535 {
			return nil, fmt.Errorf("listen for the bus: want a port from 0 to 65535, got %q", port)
		}
		if so.Port == 0 {
			so.Port = server.RANDOM_PORT
		}
		so.Host = host
		if ip := net.ParseIP(host); o.TLS == nil && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return nil, fmt.Errorf("listen for the bus: without TLS only on a loopback address, not on %q", host)
		}
	}
	n, err := server.NewServer(so)
	if err != nil {
		return nil, fmt.Errorf("start the bus: %w", err)
	}
	s.nats, s.door.server, s.maxStore = n, n, so.JetStreamMaxStore
	n.Start()
	if n.ReadyForConnections(startWithin) && n.JetStreamEnabled() {
		err = exports(n.GlobalAccount())
	} else {
		err = fmt.Errorf("start the bus: %w: it was not ready within %s, or cannot keep streams in its folder", eventstore.ErrUnavailable, startWithin)
	}
	if err != nil {
		n.Shutdown()
		n.WaitForShutdown()
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.end = cancel
	s.done.Go(func() { s.door.watch(ctx) })
	return s, nil
}

// MaxBytes is how much of what the server may take on the disk is for events: what a Shape wants, so that the oldest go before the server takes no more.
func (s *Server) MaxBytes() int64 { return s.maxStore / 10 * 8 }

// Most is how many messages the server takes in one batch.
func (s *Server) Most() int { return mostEmbedded }

// Addr is where the server listens; nil if nowhere.
func (s *Server) Addr() net.Addr { return s.nats.Addr() }

// Connect connects this process, which may do everything. The caller closes the connection.
func (s *Server) Connect() (*nats.Conn, error) {
	nc, err := nats.Connect("", append(steady(), nats.InProcessServer(s.nats), nats.UserInfo(serviceUser, s.door.secret))...)
	if err != nil {
		return nil, passing(fmt.Errorf("connect to the bus: %w", err))
	}
	return nc, nil
}

// Close ends the server and all connections, and returns when nothing of it runs any more.
func (s *Server) Close() error {
	s.end()
	s.nats.Shutdown()
	s.nats.WaitForShutdown()
	s.done.Wait()
	return nil
}

// CheckURL says what is wrong with the URL of NATS servers elsewhere, "nats://host:4222" or several with commas. It repeats nothing of it: there may be a password.
func CheckURL(text string) error {
	for one := range strings.SplitSeq(text, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		if err != nil || u.Host == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			return errors.New("want nats://HOST:PORT or tls://HOST:PORT, several with commas between; in a user and password other characters than letters and digits as %XX")
		}
	}
	return nil
}

// Dial connects to NATS servers elsewhere, "nats://host:4222" or several with commas, with a file of credentials; empty: with what the URL has.
func Dial(url, credentials string) (*nats.Conn, error) {
	if err := CheckURL(url); err != nil {
		return nil, fmt.Errorf("connect to the bus: %w", err)
	}
	options := steady()
	if credentials != "" {
		options = append(options, nats.UserCredentials(credentials))
	}
	nc, err := nats.Connect(url, options...)
	if err != nil {
		return nil, passing(fmt.Errorf("connect to the bus: %w", err))
	}
	return nc, nil
}

// steady are the options of this service's connections: they come back by themselves, for ever, also after they were refused, as while credentials are exchanged, and keep
// nothing back meanwhile that would be sent late.
func steady() []nats.Option {
	return []nats.Option{
		nats.Name("chuishao"), nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(), nats.ReconnectWait(250 * time.Millisecond), nats.ReconnectBufSize(-1),
		// What is slow or refused is noticed where it was asked for.
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
	}
}

// serviceUser is this process itself.
const serviceUser = "service"

// door lets in who may connect to a server in the process, and turns out who may no more.
type door struct {
	principals Principals
	secret     string
	server     *server.Server

	mu        sync.Mutex
	connected map[uint64]session
}

// session is a connection and what it was let in for.
type session struct {
	client server.ClientAuthentication
	grant  Grant
}

// Check lets in a connection: this process by its secret, which never leaves it, and others by their bearer token as the password.
func (d *door) Check(c server.ClientAuthentication) bool {
	o := c.GetOpts()
	if o.Username == serviceUser && subtle.ConstantTimeCompare([]byte(o.Password), []byte(d.secret)) == 1 {
		c.RegisterUser(&server.User{Username: serviceUser})
		return true
	}
	grant, err := d.grant(c)
	if err != nil || o.Username != grant.ID {
		return false
	}
	account, err := d.account(grant)
	if err != nil {
		return false
	}
	publish, subscribe := Permissions(grant)
	c.RegisterUser(&server.User{Username: grant.ID, Account: account, Permissions: &server.Permissions{
		Publish: &server.SubjectPermission{Allow: publish}, Subscribe: &server.SubjectPermission{Allow: subscribe},
	}})
	d.mu.Lock()
	d.connected[c.GetID()] = session{c, grant}
	d.mu.Unlock()
	return true
}

// exports lets the accounts of connected systems see what they import.
func exports(inside *server.Account) error {
	for _, l := range lent("*") {
		var err error
		switch l.kind {
		case heard:
			err = inside.AddStreamExport(l.subject, nil)
		case answeredOften:
			err = inside.AddServiceExportWithResponse(l.subject, server.Streamed, nil)
		default:
			err = inside.AddServiceExport(l.subject, nil)
		}
		if err != nil {
			return fmt.Errorf("start the bus: let %s through: %w", l.subject, err)
		}
	}
	return nil
}

// account is that of a connected system, made when it first connects.
func (d *door) account(g Grant) (*server.Account, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	account, isNew := d.server.LookupOrRegisterAccount(g.account())
	if !isNew {
		return account, nil
	}
	inside := d.server.GlobalAccount()
	for _, l := range lent(g.durable()) {
		var err error
		if l.kind == heard {
			err = account.AddStreamImport(inside, l.subject, "")
		} else {
			err = account.AddServiceImport(inside, l.subject, l.subject)
		}
		if err != nil {
			return nil, err
		}
	}
	return account, nil
}

var errNobody = errors.New("nobody may connect")

func (d *door) grant(c server.ClientAuthentication) (Grant, error) {
	if d.principals == nil {
		return Grant{}, errNobody
	}
	return grantOf(d.principals, c.GetOpts().Password, time.Now())
}

// watch looks once a second at who is connected: credentials lapse, and are taken away.
func (d *door) watch(ctx context.Context) {
	for pause(ctx, time.Second) {
		d.mu.Lock()
		for id, in := range d.connected {
			if d.server.GetClient(id) == nil {
				delete(d.connected, id)
				continue
			}
			if grant, err := d.grant(in.client); err != nil || !grant.equal(in.grant) {
				delete(d.connected, id)
				_ = d.server.DisconnectClientByID(id) // it is gone already
			}
		}
		d.mu.Unlock()
	}
}
