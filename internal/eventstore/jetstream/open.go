package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chuishao/dispatch/internal/eventstore"
)

// leastVersion is the first version of the server that keeps the promises: before, "always" had holes.
var leastVersion = [3]int{2, 15, 2}

// leastPayload is what the largest event and its headers need.
const leastPayload = eventstore.MaxBytes + 16<<10

// Open opens the history in a stream of JetStream, and makes the stream if there is none, unless it is to be there. The URL is
//
//	jetstream://[user:password@]host:4222[,host:4222...]/STREAM?key=value&...
//
//	monitor=http://host:8222,...   the monitoring of each server; required, since it alone tells whether a server flushes before it acknowledges
//	replicas=3                     3 or 5, for a stream that is made
//	tls=true, tls_ca, tls_cert, tls_key, creds
//	unsafe=single-node             one replica, which keeps no promise about a lost disk; for tests. monitor is optional then
//
// A majority of the stream's servers must answer; those that do not are looked at when they do. What is not as it must be is an *OpenError that
// says what to change, and nothing is changed. While servers are silent, Open tries for Options.Patience; the error Is eventstore.ErrUnavailable then. The
// caller closes the store.
func Open(ctx context.Context, url string, opts Options) (*Store, error) {
	a, err := parse(url)
	if err != nil {
		return nil, err
	}
	if opts.Batches <= 0 {
		opts.Batches = 40
	}
	if opts.Patience <= 0 {
		opts.Patience = 15 * time.Second
	}
	if opts.Heads <= 0 {
		opts.Heads = 1 << 16
	}
	s := &Store{address: a, opts: opts, batches: make(chan struct{}, opts.Batches)}
	s.closing, s.close = context.WithCancel(context.Background())
	s.link.init()
	s.heads.init(opts.Heads)
	s.monitor = &http.Client{Transport: &http.Transport{TLSClientConfig: a.tls, Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 1}, Timeout: attemptMonitor}
	unseen, err := s.connect(ctx)
	if err != nil {
		if s.nc != nil {
			return nil, errors.Join(err, s.Close())
		}
		s.close()
		return nil, err
	}
	if len(a.monitors) > 0 {
		s.running.Go(func() { s.watch(unseen) })
	}
	return s, nil
}

func (s *Store) connect(ctx context.Context) (unseen bool, err error) {
	opts := []nats.Option{
		nats.Name("chuishao history"),
		nats.IgnoreDiscoveredServers(), // the URL says where the servers are
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(100 * time.Millisecond),
		nats.ReconnectJitter(50*time.Millisecond, 50*time.Millisecond),
		nats.ReconnectBufSize(-1),   // what cannot be sent now must not be sent later
		nats.IgnoreAuthErrorAbort(), // a user that was taken away may be given back
		nats.Timeout(2 * time.Second),
		nats.PingInterval(3 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.DisconnectErrHandler(func(*nats.Conn, error) { s.link.drop() }),
		nats.ConnectHandler(func(*nats.Conn) { s.link.restore() }),
		nats.ReconnectHandler(func(*nats.Conn) { s.link.restore() }),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // it is the connection's last error
	}
	if s.address.user != "" {
		opts = append(opts, nats.UserInfo(s.address.user, s.address.password))
	}
	if s.address.credentials != "" {
		opts = append(opts, nats.UserCredentials(s.address.credentials))
	}
	if s.address.tls != nil {
		opts = append(opts, nats.Secure(s.address.tls))
	}
	if s.nc, err = nats.Connect(strings.Join(s.address.servers, ","), opts...); err != nil {
		return false, s.refuse(err, "the connection cannot be set up; check the user, the creds and the certificates")
	}
	if s.js, err = jetstream.New(s.nc); err != nil {
		return false, s.refuse(err, "the connection cannot be used")
	}
	var info *jetstream.StreamInfo
	err = s.retry(ctx, func(ctx context.Context) error {
		made := time.Now()
		info, err = s.ensure(ctx)
		s.judge(err, made)
		return err
	})
	if err != nil {
		if _, ok := errors.AsType[*OpenError](err); ok || ctx.Err() != nil {
			return false, err
		}
		if said := s.nc.LastError(); errors.Is(said, nats.ErrAuthorization) {
			return false, s.refuse(said, "its servers do not let this user in; check user and password, or creds")
		} else if said != nil {
			err = fmt.Errorf("%w: %w", err, said)
		}
		return false, s.refuse(err, "its servers do not answer; check the addresses, the user, and that NATS runs with JetStream")
	}
	if most := s.nc.MaxPayload(); most < leastPayload {
		return false, s.refuse(nil, "the servers take messages of %d bytes at most; set max_payload to 1MB or more", most)
	}
	s.created = info.Created
	if reason := differs(&info.Config, s.wanted()); reason != "" {
		return false, s.refuse(nil, "the stream is not as a history must be: %s", reason)
	}
	seen, err := s.checkNodes(ctx)
	if err != nil {
		return false, err
	}
	if _, err := s.nc.Subscribe(s.newsSubject(), s.hear); err != nil {
		return false, s.refuse(unavailable(err), "the connection was lost")
	}
	return !seen, nil
}

func (s *Store) refuse(err error, format string, args ...any) *OpenError {
	return &OpenError{s.address.stream, fmt.Sprintf(format, args...), err}
}

// ensure returns what the stream is like, and makes it if there is none.
func (s *Store) ensure(ctx context.Context) (*jetstream.StreamInfo, error) {
	stream, err := s.js.Stream(ctx, s.address.stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if s.opts.Existing {
			return nil, s.refuse(nil, "there is no such stream; check its name and the servers")
		}
		// Not on servers that must not have it.
		if _, err := s.checkNodes(ctx); err != nil {
			return nil, err
		}
		stream, err = s.js.CreateStream(ctx, s.wanted())
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			stream, err = s.js.Stream(ctx, s.address.stream)
		}
	}
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.Code == 400 && api.ErrorCode != 10005 {
		return nil, s.refuse(err, "the stream cannot be made; look at what the server says")
	}
	if err != nil {
		return nil, err
	}
	return stream.CachedInfo(), nil
}

// wanted is what the stream must be like.
func (s *Store) wanted() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:               s.address.stream,
		Subjects:           []string{s.address.stream + ".*.*"},
		Retention:          jetstream.LimitsPolicy,
		Storage:            jetstream.FileStorage,
		Replicas:           s.address.replicas,
		MaxMsgs:            -1,
		MaxBytes:           -1,
		MaxMsgsPerSubject:  -1,
		MaxMsgSize:         -1,
		Duplicates:         2 * time.Minute,
		DenyDelete:         true,
		DenyPurge:          true,
		AllowDirect:        true,
		AllowAtomicPublish: true,
		// Subscribers hear of what was recorded and then read it.
		RePublish: &jetstream.RePublish{Source: s.address.stream + ".*.*", Destination: s.newsSubject(), HeadersOnly: true},
	}
}

func (s *Store) newsSubject() string { return "news." + s.address.stream }

// differs says in which setting a stream is not what is wanted, and what to do; "" if it is.
func differs(got *jetstream.StreamConfig, want jetstream.StreamConfig) string {
	for _, c := range []struct {
		right bool
		what  string
	}{
		{slices.Equal(got.Subjects, want.Subjects), "subjects: want " + want.Subjects[0] + " alone; it belongs to somebody else: give another name"},
		{got.Mirror == nil && len(got.Sources) == 0, "mirror, sources: it copies another stream; give another name"},
		{got.Replicas >= want.Replicas, fmt.Sprintf("replicas: want %d or more, it has %d; raise them with nats stream edit", want.Replicas, got.Replicas)},
		{got.Storage == want.Storage, "storage: want file; make it anew"},
		{got.Retention == want.Retention, "retention: want limits; make it anew"},
		{got.MaxMsgs <= 0 && got.MaxBytes <= 0 && got.MaxMsgsPerSubject <= 0 && got.MaxAge == 0,
			"max_msgs, max_bytes, max_msgs_per_subject, max_age: want no limit, or events are lost; take the limit away with nats stream edit"},
		{got.FirstSeq <= 1, "first_seq: want 1; make it anew"},
		{got.MaxMsgSize <= 0, "max_msg_size: want no limit; take it away with nats stream edit"},
		{!got.AllowRollup && !got.AllowMsgTTL && !got.AllowMsgCounter && !got.AllowMsgSchedules, "allow_rollup_hdrs, allow_msg_ttl, allow_msg_counter, allow_msg_schedules: want none, or events can go; make it anew"},
		{got.PersistMode == want.PersistMode, "persist_mode: want default, or what is acknowledged is not on disk; make it anew"},
		{got.DenyDelete && got.DenyPurge, "deny_delete, deny_purge: want both, or events can be taken out; make it anew"},
		{got.AllowDirect, "allow_direct: want it on; turn it on with nats stream edit"},
		{got.AllowAtomicPublish, "allow_atomic: want it on; turn it on with nats stream edit"},
		{!got.NoAck, "no_ack: want acknowledgements; turn it off with nats stream edit"},
		{!got.Sealed, "sealed: nothing can be added to it; give another name"},
		{got.SubjectTransform == nil, "subject_transform: want none; make it anew"},
		{got.RePublish != nil && *got.RePublish == *want.RePublish, fmt.Sprintf("republish: want headers only from %s to %s; set it with nats stream edit", want.RePublish.Source, want.RePublish.Destination)},
	} {
		if !c.right {
			return c.what
		}
	}
	return ""
}

// node is what a server tells of itself.
type node struct {
	Name      string `json:"server_name"`
	Version   string `json:"version"`
	JetStream struct {
		Config *struct {
			SyncAlways bool `json:"sync_always"`
		} `json:"config"`
	} `json:"jetstream"`
}

// checkNodes asks the servers what they are and refuses those that are not as they must be. It reports whether all that
// hold the stream have answered; fewer than most of them is an error that Is eventstore.ErrUnavailable.
func (s *Store) checkNodes(ctx context.Context) (all bool, err error) {
	if version := s.nc.ConnectedServerVersion(); version != "" && older(version) {
		return false, s.refuse(nil, "the server is of version %s; upgrade all servers to 2.15.2 or later", version)
	}
	if len(s.address.monitors) == 0 {
		return true, nil
	}
	answers := make([]*node, len(s.address.monitors))
	failed := make([]error, len(s.address.monitors))
	var wg sync.WaitGroup
	for i, monitor := range s.address.monitors {
		wg.Go(func() { answers[i], failed[i] = s.ask(ctx, monitor) })
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return false, err
	}
	seen := make(map[string]bool)
	for i, n := range answers {
		switch {
		case n == nil:
		case older(n.Version):
			return false, s.refuse(nil, "server %s is of version %s; upgrade all servers to 2.15.2 or later", n.Name, n.Version)
		case n.JetStream.Config == nil: // as while it starts
			failed[i] = fmt.Errorf("server %s runs without JetStream", n.Name)
		case !n.JetStream.Config.SyncAlways:
			return false, s.refuse(nil, "server %s acknowledges before it flushes to disk; set sync_interval: always in its jetstream section and restart it", n.Name)
		default:
			seen[n.Name] = true
		}
	}
	holders, err := s.holders(ctx)
	if err != nil {
		return false, err
	}
	if holders == nil { // there is no stream yet
		if len(seen) < len(answers)/2+1 {
			return false, s.refuse(unavailable(errors.Join(failed...)), "of %d servers %d tell how they are set; check the addresses in monitor, and that http_port is set", len(answers), len(seen))
		}
		return len(seen) == len(answers), nil
	}
	known := 0
	for _, name := range holders {
		if seen[name] {
			known++
		}
	}
	if len(seen) == len(answers) && known < len(holders) {
		return false, s.refuse(nil, "the stream lies on %s, not all of which are in monitor; add them", strings.Join(holders, ", "))
	}
	if known < len(holders)/2+1 {
		return false, s.refuse(unavailable(errors.Join(failed...)), "of %d servers that hold the stream %d tell how they are set; check the addresses in monitor, and that http_port is set", len(holders), known)
	}
	return known == len(holders), nil
}

// holders returns the names of the servers that the stream lies on; nil if there is no such stream.
func (s *Store) holders(ctx context.Context) ([]string, error) {
	var info *jetstream.StreamInfo
	err := s.retry(ctx, func(ctx context.Context) (err error) {
		made := time.Now()
		defer func() { s.judge(err, made) }()
		stream, err := s.js.Stream(ctx, s.address.stream)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if info = stream.CachedInfo(); info.Cluster != nil && info.Cluster.Leader == "" {
			return fmt.Errorf("the stream has no leader")
		}
		return nil
	})
	if err != nil || info == nil {
		return nil, err
	}
	if info.Cluster == nil {
		return []string{s.nc.ConnectedServerName()}, nil
	}
	names := []string{info.Cluster.Leader}
	for _, r := range info.Cluster.Replicas {
		names = append(names, r.Name)
	}
	return names, nil
}

func (s *Store) ask(ctx context.Context, monitor string) (*node, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, monitor+"/varz", nil)
	if err != nil {
		return nil, err
	}
	resp, err := s.monitor.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s/varz: %s", monitor, resp.Status)
	}
	n := new(node)
	if err := json.NewDecoder(resp.Body).Decode(n); err != nil {
		return nil, fmt.Errorf("%s/varz: %w", monitor, err)
	}
	if n.Name == "" {
		return nil, fmt.Errorf("%s/varz: this is no NATS server", monitor)
	}
	return n, nil
}

// older reports whether a version, such as 2.15.2 or 2.16.0-RC.1, is below the least. What cannot be read is.
func older(version string) bool {
	numbers, _, _ := strings.Cut(version, "-")
	parts := strings.Split(numbers, ".")
	if len(parts) != 3 {
		return true
	}
	var got [3]int
	for i, p := range parts {
		n, err := strconv.Atoi(p)
		if err != nil {
			return true
		}
		got[i] = n
	}
	return slices.Compare(got[:], leastVersion[:]) < 0
}

// final reports whether an error stays however often one tries.
func final(err error) bool {
	if _, ok := errors.AsType[*OpenError](err); ok {
		return !errors.Is(err, eventstore.ErrUnavailable)
	}
	if _, ok := errors.AsType[*HistoryError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*eventstore.ConflictError](err); ok {
		return true
	}
	refusal, ok := errors.AsType[*apiError](err)
	return ok && refusal.stays()
}
