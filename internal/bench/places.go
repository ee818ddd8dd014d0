package bench

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/chuishao/dispatch/internal/app"
	"github.com/chuishao/dispatch/internal/eventstore/esdb/double"
	"github.com/chuishao/dispatch/internal/privacy"
	"github.com/chuishao/dispatch/internal/servers"
	"github.com/chuishao/dispatch/internal/viewdb"
)

// The nodes of a run, each with a history and views of its own.
const (
	withTickets = "full"
	withNone    = "empty"
	// bareStore is no node: raw appends go there.
	bareStore = "append"
	// Tables that no node has.
	bareRows  = "bare"
	timerRows = "timers"
)

// stream is the stream of JetStream that a cluster started here has the tickets in.
const stream = "BENCH"

// schema is the schema of PostgreSQL that views are in where no URL names one.
const schema = "chuishao_bench"

// places are where a run keeps histories, views and keys, on servers or in files of its directory.
type places struct {
	dir string
	// one says that the store holds one history alone, so that no second one can be measured beside the first.
	one bool
	// What is said of them in the report.
	store, views, keys string

	history  func(name string) (url string, err error) // nil: a file
	viewsURL string                                    // empty: a file
	keysURL  string                                    // empty: a file

	nats    *servers.NATS // nil unless it was started here
	schemas []string      // locations of schemas that nodes of this run made, which go in the end
	closers []func() error
}

// choices of --store, --views and --keys; a URL is one too.
const (
	embedded     = "sqlite"
	ownJetStream = "jetstream"
	ownESDB      = "esdb"
	ownPostgres  = "postgres"
)

// errNotEmpty is about a place that somebody else may use.
var errNotEmpty = errors.New("something is there already; want an empty one, since what is measured mixes with what is there and stays")

// checkPlaces refuses what names no place. It repeats no URL, which may hold a password.
func checkPlaces(o Options) error {
	switch scheme, _, isURL := strings.Cut(o.Store, "://"); {
	case o.Store == "" || o.Store == embedded || o.Store == ownJetStream || o.Store == ownESDB:
	case isURL && (scheme == "jetstream" || scheme == "esdb" || scheme == "esdb+discover"):
	default:
		return errors.New("--store: want sqlite, jetstream, esdb, or a URL jetstream://…, esdb://… or esdb+discover://…")
	}
	for _, p := range []struct{ flag, value string }{{"--views", o.Views}, {"--keys", o.Keys}} {
		if p.value != "" && p.value != embedded && p.value != ownPostgres && !isPostgres(p.value) {
			return fmt.Errorf("%s: want sqlite, postgres, or a URL postgres://…", p.flag)
		}
	}
	return nil
}

func isPostgres(text string) bool {
	return strings.HasPrefix(text, "postgres://") || strings.HasPrefix(text, "postgresql://")
}

// openPlaces starts the servers that are wanted, and refuses servers of others that are not empty. The caller closes what it gets.
func openPlaces(ctx context.Context, dir string, o Options) (_ *places, err error) {
	p := &places{dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	if err := p.openStore(ctx, o.Store); err != nil {
		return nil, fmt.Errorf("--store: %w", err)
	}
	return p, p.openTables(ctx, o)
}

func (p *places) openStore(ctx context.Context, store string) error {
	switch {
	case store == "" || store == embedded:
		p.store = "SQLite, a file, flushed before each answer"
		return nil
	case store == ownJetStream:
		nats, err := servers.StartNATS(ctx, servers.NATSOptions{Nodes: 3, Dir: filepath.Join(p.dir, "nats")})
		if err != nil {
			return err
		}
		p.nats, p.closers = nats, append(p.closers, nats.Close)
		p.store = "NATS JetStream, three nodes as processes of this machine, which share its processors and its disk; each flushes before it acknowledges"
		p.history = func(name string) (string, error) {
			hosts := strings.ReplaceAll(strings.Join(nats.URLs(), ","), "nats://", "")
			return "jetstream://" + hosts + "/" + streamOf(stream, name) + "?monitor=" + strings.Join(nats.Monitors(), ","), nil
		}
		return nil
	case store == ownESDB:
		p.store = "EventStoreDB's protocol, answered from this process's memory by a double: durability is NOT part of it, nor is replication; it shows what client and adapter cost"
		started := map[string]string{}
		p.history = func(name string) (string, error) {
			if started[name] == "" {
				cluster, err := double.Start(1)
				if err != nil {
					return "", err
				}
				p.closers = append(p.closers, func() error {
					cluster.Close()
					return nil
				})
				started[name] = cluster.URL()
			}
			return started[name], nil
		}
		return nil
	case strings.HasPrefix(store, "jetstream://"):
		p.store = "NATS JetStream, servers given by their URL"
		p.history = func(name string) (string, error) {
			place, query, _ := strings.Cut(store, "?")
			at := strings.LastIndexByte(place, '/') + 1
			return place[:at] + streamOf(place[at:], name) + "?" + query, nil
		}
		return p.wantEmpty(ctx, withTickets, withNone, bareStore)
	}
	p.store, p.one = "EventStoreDB, servers given by their URL", true
	p.history = func(string) (string, error) { return store, nil }
	return p.wantEmpty(ctx, withTickets)
}

// streamOf is the stream of JetStream with the history of that name.
func streamOf(stream, name string) string {
	if name == withTickets {
		return stream
	}
	return stream + "_" + strings.ToUpper(name)
}

func (p *places) wantEmpty(ctx context.Context, names ...string) error {
	for _, name := range names {
		store, err := p.openHistory(ctx, name)
		if err != nil {
			return err
		}
		head, err := store.Head(ctx)
		if err == nil && head > 0 {
			err = errNotEmpty
		}
		if err := errors.Join(err, store.Close()); err != nil {
			return err
		}
	}
	return nil
}

// openTables finds room for views and keys.
func (p *places) openTables(ctx context.Context, o Options) error {
	p.views, p.keys = "SQLite, a file", "SQLite, a file"
	p.viewsURL, p.keysURL = o.Views, o.Keys
	if o.Views == ownPostgres || o.Keys == ownPostgres {
		flag := "--views"
		if o.Views != ownPostgres {
			flag = "--keys"
		}
		postgres, err := servers.StartPostgres(ctx, p.dir)
		if err != nil {
			return fmt.Errorf("%s: %w", flag, err)
		}
		p.closers = append(p.closers, postgres.Close)
		for _, t := range []struct {
			is       *string
			database string
		}{{&p.viewsURL, "views"}, {&p.keysURL, "keys"}} {
			if *t.is == ownPostgres {
				if err := postgres.Create(ctx, t.database); err != nil {
					return fmt.Errorf("%s: %w", flag, err)
				}
				*t.is = postgres.URL(t.database)
			}
		}
	}
	const own, given = "PostgreSQL, started on this machine as it comes", "PostgreSQL, a server given by its URL"
	said := map[string]string{ownPostgres: own, "": p.views, embedded: p.views}
	for _, t := range []struct {
		choice   string
		is, said *string
	}{{o.Views, &p.viewsURL, &p.views}, {o.Keys, &p.keysURL, &p.keys}} {
		if *t.is == embedded {
			*t.is = ""
		}
		if *t.said = said[t.choice]; *t.said == "" {
			*t.said = given
		}
	}
	if isPostgres(o.Keys) {
		if keys, err := privacy.OpenPostgres(ctx, o.Keys, privacy.Options{ReadOnly: true}); err == nil {
			return errors.Join(fmt.Errorf("--keys: %w", errNotEmpty), keys.Close())
		}
	}
	if p.viewsURL == "" {
		return nil
	}
	for _, name := range []string{withTickets, withNone, bareRows, timerRows} {
		location, err := p.tables(name)
		if err != nil {
			return err
		}
		if db, err := viewdb.Open(location, viewdb.Options{ReadOnly: true}); err == nil {
			return errors.Join(fmt.Errorf("--views: %w", errNotEmpty), db.Close())
		}
	}
	return nil
}

// made notes that a node has its views there.
func (p *places) made(location string) {
	if location != "" {
		p.schemas = append(p.schemas, location)
	}
}

// tables is the location of views of that name: a file, or a schema.
func (p *places) tables(name string) (string, error) {
	if p.viewsURL == "" {
		return filepath.Join(p.dir, name+".views.db"), nil
	}
	u, err := url.Parse(p.viewsURL)
	if err != nil {
		return "", errors.New("--views: this is no URL") // the error repeats it
	}
	query := u.Query()
	in := schema
	for _, key := range []string{"search_path", "schema"} {
		if v := query.Get(key); v != "" {
			in = v
		}
		query.Del(key)
	}
	query.Set("schema", in+"_"+name)
	u.RawQuery = query.Encode()
	return u.String(), nil
}

// besidePostgres says what processor time of this process leaves out.
func (p *places) besidePostgres() string {
	if p.viewsURL == "" {
		return ""
	}
	return ", that of PostgreSQL apart"
}

// nodeDir is the directory of a node, with what of it are files.
func (p *places) nodeDir(name string) string { return filepath.Join(p.dir, name) }

// where says where a node has what it has.
func (p *places) where(name string) (w app.Where, err error) {
	if p.history != nil {
		if w.Store, err = p.history(name); err != nil {
			return app.Where{}, err
		}
	}
	if p.viewsURL != "" {
		if w.Views, err = p.tables(name); err != nil {
			return app.Where{}, err
		}
	}
	w.Keys = p.keysURL
	return w, nil
}

// openHistory opens the history of that name alone.
func (p *places) openHistory(ctx context.Context, name string) (app.History, error) {
	w, err := p.where(name)
	if err != nil {
		return nil, err
	}
	return app.OpenHistory(ctx, w.Store, p.nodeDir(name), app.HistoryOptions{Log: quiet()})
}

// close removes the schemas and ends the servers.
func (p *places) close() error {
	var errs []error
	for _, s := range p.schemas {
		errs = append(errs, viewdb.Remove(s))
	}
	p.schemas = nil
	for i := len(p.closers) - 1; i >= 0; i-- {
		errs = append(errs, p.closers[i]())
	}
	p.closers = nil
	return errors.Join(errs...)
}
