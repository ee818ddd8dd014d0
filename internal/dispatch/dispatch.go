// Package dispatch carries out commands. It is the one write path: read the stream, fold it, decide, append after the version
// just read. Nothing else records events.
package dispatch

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/audit"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/limits"
	"github.com/chuishao/dispatch/internal/privacy"
	"github.com/chuishao/dispatch/internal/registry"
	"github.com/chuishao/dispatch/internal/rule"
	"github.com/chuishao/dispatch/internal/ticket"
	"github.com/chuishao/dispatch/internal/whistle"
)

// Options say how a Dispatcher works. The zero value is ready for use.
type Options struct {
	Clock    func() time.Time   // time.Now if nil
	Calendar *calendar.Calendar // in force before any was loaded; calendar.Default if nil
	Profile  *calendar.Profile  // in force before any was loaded; calendar.DefaultProfile if nil
	Cached   int                // folded streams kept in memory; 20,000 if 0
}

// Dispatcher carries out commands on a history. Its methods may be called by many goroutines, and many dispatchers may
// share one history.
type Dispatcher struct {
	store eventstore.Store
	keys  *privacy.Keys
	clock func() time.Time
	zone  *time.Location

	tickets  *streams[ticket.State]
	whistles *streams[whistle.State]
	notes    *streams[audit.State]
	registry registryStream
	limits   limitsStream
	kinds
}

// New makes a Dispatcher on a history and its keys; both stay the caller's to close. It reads the registry, calendars and profiles.
func New(ctx context.Context, store eventstore.Store, keys *privacy.Keys, o Options) (*Dispatcher, error) {
	d := &Dispatcher{store: store, keys: keys, clock: o.Clock}
	if d.clock == nil {
		d.clock = time.Now
	}
	builtIn, profile := o.Calendar, calendar.DefaultProfile()
	if builtIn == nil {
		builtIn = calendar.Default()
	}
	if o.Profile != nil {
		profile = *o.Profile
	}
	d.zone = builtIn.Zone()
	cached := o.Cached
	if cached == 0 {
		cached = 20_000
	}
	d.tickets = newStreams(cached, ticket.Decide, ticket.Evolve)
	d.tickets.subject = func(s *ticket.State) string { return s.Subject }
	d.whistles = newStreams(max(cached/8, 1), whistle.Decide, whistle.Evolve)
	d.whistles.subject = func(s *whistle.State) string { return s.Subject }
	d.openKinds(cached)
	d.notes = newStreams(max(cached/8, 1), audit.Decide, audit.Evolve)
	d.registry.streams = newStreams(1, registry.Decide, registry.Evolve)
	d.limits.streams = newStreams(1, limits.Decide, limits.Evolve)
	d.limits.empty.state = limits.New(builtIn, profile)
	if err := d.RefreshRegistry(ctx); err != nil {
		return nil, err
	}
	if err := d.RefreshLimits(ctx); err != nil {
		return nil, err
	}
	return d, nil
}

// Now is the dispatcher's clock, in whole microseconds UTC.
func (d *Dispatcher) Now() time.Time { return d.clock().UTC().Truncate(time.Microsecond) }

// Zone is the city's time zone.
func (d *Dispatcher) Zone() *time.Location { return d.zone }

// Store is the history, for those who read it.
func (d *Dispatcher) Store() eventstore.Store { return d.store }

// Request is a command and who gives it.
type Request struct {
	Actor    rule.Actor
	Command  proto.Message // a request of the contract; brings its request_id, etag, occurred_at and particulars along
	ID       string        // the request id, for a command that brings none
	CausedBy string        // "<stream>@<version>" of the event it follows from, for a policy
	Drawing  *rule.Drawing // what a sample is drawn from, for a spot check

	subject string // whose key seals the particulars, where the stream knows nobody yet
}

// Result is where a command left its stream.
type Result struct {
	Stream   string
	Version  eventstore.Version
	Position eventstore.Position
	Repeated bool // it had been carried out before; nothing was recorded now
}

// ETag is the result's version as an etag.
func (r Result) ETag() string { return `"` + strconv.FormatUint(uint64(r.Version), 10) + `"` }

// streams are the histories of one kind, with what was folded lately.
type streams[S any] struct {
	decide func(S, *rule.Asked, proto.Message) ([]proto.Message, error)
	evolve func(S, *pb.EventMeta, proto.Message) (S, error)
	cache  *lru.Cache[string, *folded[S]]
	// subject is whose key seals what is said on a stream; nobody's in particular for kinds that leave it out.
	subject func(*S) string
	empty   folded[S] // a stream that nobody wrote to
}

func newStreams[S any](cached int, decide func(S, *rule.Asked, proto.Message) ([]proto.Message, error), evolve func(S, *pb.EventMeta, proto.Message) (S, error)) *streams[S] {
	cache, err := lru.New[string, *folded[S]](cached)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return &streams[S]{decide: decide, evolve: evolve, cache: cache, subject: func(*S) string { return "" }}
}

// folded is a stream as far as it was read. Once it is in the cache, neither it nor anything it leads to is ever changed.
type folded[S any] struct {
	state    S
	version  eventstore.Version
	position eventstore.Position
	hash     event.Hash
	last     *done  // the request that was carried out last; nil before the first
	requests uint64 // a bit for each request that was, which some of them share
}

// requestBit is the bit of a request's id in folded.requests.
func requestBit(id string) uint64 { return 1 << (maphash.String(requestSeed, id) % 64) }

var requestSeed = maphash.MakeSeed()

// find is the request of that id by that actor, if it was carried out; nil if not.
func (f *folded[S]) find(request, person, unit string) *done {
	if f.requests&requestBit(request) == 0 {
		return nil
	}
	return f.last.find(request, person, unit)
}

// done is a request that was carried out on the stream.
type done struct {
	request      string
	person, unit string // who asked: another\'s request under the same id is another request
	fingerprint  [sha256.Size]byte
	subject      string // whose key the fingerprint was made with; empty for a plain hash
	version      eventstore.Version
	position     eventstore.Position
	before       *done // nil for the first
}

// is says whether it is the request of that id by that actor.
func (d *done) is(request, person, unit string) bool {
	return d.request == request && d.person == person && d.unit == unit
}

// find is the request of that id by that actor, among this one and those before it; nil if there is none.
func (d *done) find(request, person, unit string) *done {
	for d != nil && !d.is(request, person, unit) {
		d = d.before
	}
	return d
}

// add folds one more event into f, which nobody else may know yet. After an error f is of no use.
func (s *streams[S]) add(f *folded[S], e *event.Decoded) error {
	var err error
	if f.state, err = s.evolve(f.state, e.Meta, e.Event); err != nil {
		return fmt.Errorf("fold %s@%d: %w", e.Stream, e.Version, err)
	}
	if e.Version != f.version+1 {
		return fmt.Errorf("fold %s: version %d follows %d", e.Stream, e.Version, f.version)
	}
	f.version, f.position, f.hash = e.Version, e.Position, e.Hash()
	actor := e.Meta.GetActor()
	d := &done{request: e.Meta.RequestId, person: actor.GetPerson(), unit: actor.GetUnit(), version: e.Version, position: e.Position, before: f.last}
	copy(d.fingerprint[:], e.Meta.Fingerprint)
	if sealed, ok := e.Event.(interface{ GetSealed() *pb.Sealed }); ok {
		d.subject = sealed.GetSealed().GetSubject()
	}
	if by, ok := e.Event.(interface{ GetResident() string }); ok && d.subject == "" {
		d.subject = by.GetResident() // whose particulars are kept nowhere
	}
	if last := f.last; last != nil && last.is(d.request, d.person, d.unit) {
		if d.subject == "" {
			d.subject = last.subject
		}
		d.before = last.before
	}
	f.last = d
	f.requests |= requestBit(d.request)
	return nil
}

// read is f with what the stream has after it.
func (s *streams[S]) read(ctx context.Context, store eventstore.Store, stream string, f *folded[S]) (*folded[S], error) {
	next := *f
	for r, err := range store.ReadStream(ctx, stream, f.version) {
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", stream, err)
		}
		e, err := event.Decode(r)
		if err != nil {
			return nil, err
		}
		if err := s.add(&next, &e); err != nil {
			return nil, err
		}
	}
	return &next, nil
}

// load is the stream as it is now, as far as the cache knows; fresh says that it was read just now.
func (s *streams[S]) load(ctx context.Context, store eventstore.Store, stream string) (f *folded[S], fresh bool, err error) {
	if f, ok := s.cache.Get(stream); ok {
		return f, false, nil
	}
	f, err = s.read(ctx, store, stream, &s.empty)
	if err != nil {
		return nil, true, err
	}
	if f.version > 0 {
		s.cache.Add(stream, f)
	}
	return f, true, nil
}

// latest is the stream as it is now, whatever the cache knows.
func (s *streams[S]) latest(ctx context.Context, store eventstore.Store, stream string) (*folded[S], error) {
	f, fresh, err := s.load(ctx, store, stream)
	if err == nil && !fresh {
		f, err = s.refresh(ctx, store, stream, f)
	}
	return f, err
}

// recall is load for a stream that is taken for new unless the cache knows better.
func (s *streams[S]) recall(_ context.Context, _ eventstore.Store, stream string) (f *folded[S], fresh bool, err error) {
	if f, ok := s.cache.Get(stream); ok {
		return f, false, nil
	}
	return &s.empty, false, nil
}

// command is what every request of the contract brings.
type command interface{ GetRequestId() string }

// do carries out one command on one stream. edit completes what the rule is told. The state, which edit gets too, is never nil, and belongs to the
// cache: nobody changes it.
func do[S any](ctx context.Context, d *Dispatcher, s *streams[S], stream string, r Request, edit func(*S, *rule.Asked) error) (*S, Result, error) {
	none := &s.empty.state
	id := r.ID
	if c, ok := r.Command.(command); ok && c.GetRequestId() != "" {
		id = c.GetRequestId()
	}
	if err := checkRequestID(id); err != nil {
		return none, Result{}, err
	}
	var after *eventstore.Version
	if c, ok := r.Command.(interface{ GetEtag() string }); ok && c.GetEtag() != "" {
		v, err := ParseETag(c.GetEtag())
		if err != nil {
			return none, Result{}, err
		}
		after = &v
	}
	_, importing := r.Command.(*pb.ImportRecordRequest)
	look := s.load
	switch r.Command.(type) {
	case *pb.ReportTicketRequest, *pb.ImportRecordRequest:
		// A matter that comes in is nearly always new. If it is not, the append says so.
		look = s.recall
	}
	for ; ; look = s.load {
		f, fresh, err := look(ctx, d.store, stream)
		if err != nil {
			return none, Result{}, err
		}
		if was := f.find(id, r.Actor.Person, r.Actor.Unit); was != nil && !importing {
			return repeat(ctx, d, s, stream, f, was, r.Command)
		}
		events, asked, fingerprint, err := decide(ctx, d, s, stream, f, r, after, edit)
		if (err != nil || len(events) == 0) && !fresh {
			// What was cached may be old: since then somebody may have made possible what is refused here, or given something to do.
			s.cache.Remove(stream)
			continue
		}
		if err != nil {
			return &f.state, Result{stream, f.version, f.position, false}, err
		}
		if len(events) == 0 {
			return &f.state, Result{stream, f.version, f.position, true}, nil
		}
		if asked.Sealed != nil && !slices.ContainsFunc(events, keepsSealed) {
			return &f.state, Result{}, rule.Bad("particulars", rule.BadField, "this command keeps no particulars; leave them out")
		}
		next, recorded, err := s.encode(stream, f, events, d.envelopes(len(events), id, fingerprint, asked, r.CausedBy))
		if err != nil {
			return none, Result{}, err
		}
		position, err := d.store.Append(ctx, stream, f.version, recorded)
		if _, ok := errors.AsType[*eventstore.ConflictError](err); ok {
			s.cache.Remove(stream)
			continue // a fresh look may decide otherwise
		}
		if err != nil {
			s.cache.Remove(stream)
			return none, Result{}, fmt.Errorf("append to %s after version %d: %w", stream, f.version, err)
		}
		next.position = position
		next.last.position = position
		s.cache.Add(stream, next)
		return &next.state, Result{stream, next.version, position, false}, nil
	}
}

// decide asks the rule, as the stream is in f.
func decide[S any](ctx context.Context, d *Dispatcher, s *streams[S], stream string, f *folded[S], r Request, after *eventstore.Version,
	edit func(*S, *rule.Asked) error) (events []proto.Message, asked *rule.Asked, fingerprint []byte, err error) {
	if after != nil && *after != f.version {
		return nil, nil, nil, &eventstore.ConflictError{Stream: stream, After: *after, Actual: f.version}
	}
	if asked, fingerprint, err = d.asked(ctx, stream, r, s.subject(&f.state)); err != nil {
		return nil, nil, nil, err
	}
	if f.version == 0 {
		asked.No = PublicNumber(stream)
	}
	if edit != nil {
		if err := edit(&f.state, asked); err != nil {
			return nil, nil, nil, err
		}
	}
	events, err = s.decide(f.state, asked, r.Command)
	return events, asked, fingerprint, err
}

// refresh reads on from what was cached.
func (s *streams[S]) refresh(ctx context.Context, store eventstore.Store, stream string, f *folded[S]) (*folded[S], error) {
	f, err := s.read(ctx, store, stream, f)
	if err != nil {
		s.cache.Remove(stream)
		return nil, err
	}
	if f.version > 0 {
		s.cache.Add(stream, f)
	}
	return f, nil
}

// encode makes the events that are to be recorded, and what the stream is after them.
func (s *streams[S]) encode(stream string, f *folded[S], events []proto.Message, envelopes []*pb.EventMeta) (*folded[S], []eventstore.Event, error) {
	recorded := make([]eventstore.Event, len(events))
	next := *f
	for i, msg := range events {
		m := envelopes[i]
		if later, ok := msg.(rule.Later); ok {
			msg, m.OccurredAt = later.Message, timestamppb.New(later.OccurredAt)
		}
		version := next.version + 1
		e, err := event.Encode(stream, version, next.hash, m, msg)
		if err != nil {
			return nil, nil, err
		}
		recorded[i] = e
		d := event.Decoded{Recorded: eventstore.Recorded{Event: e, Stream: stream, Version: version}, Meta: m, Event: msg}
		if err := s.add(&next, &d); err != nil {
			return nil, nil, err
		}
	}
	return &next, recorded, nil
}

func keepsSealed(e proto.Message) bool {
	if later, ok := e.(rule.Later); ok {
		e = later.Message
	}
	s, ok := e.(interface{ GetSealed() *pb.Sealed })
	return ok && s.GetSealed() != nil
}

// repeat answers a request that was carried out before with what it led to then.
func repeat[S any](ctx context.Context, d *Dispatcher, s *streams[S], stream string, f *folded[S], was *done, command proto.Message) (*S, Result, error) {
	same, err := d.sameContent(ctx, was, command)
	if err != nil {
		return &f.state, Result{}, err
	}
	if !same {
		return &f.state, Result{}, rule.Bad("request_id", rule.RequestIDReused, "this request id was used before with other content")
	}
	state := &f.state
	if was.version != f.version {
		then, err := s.upTo(ctx, d.store, stream, was.version)
		if err != nil {
			return &f.state, Result{}, err
		}
		state = &then
	}
	return state, Result{stream, was.version, was.position, true}, nil
}

// upTo is the state as of a version.
func (s *streams[S]) upTo(ctx context.Context, store eventstore.Store, stream string, version eventstore.Version) (S, error) {
	f := s.empty
	for r, err := range store.ReadStream(ctx, stream, 0) {
		if err != nil {
			return f.state, fmt.Errorf("read %s: %w", stream, err)
		}
		if r.Version > version {
			break
		}
		e, err := event.Decode(r)
		if err != nil {
			return f.state, err
		}
		if err := s.add(&f, &e); err != nil {
			return f.state, err
		}
	}
	return f.state, nil
}

// asked is what the rule is told besides the command, and the fingerprint of the command's content.
func (d *Dispatcher) asked(ctx context.Context, stream string, r Request, subject string) (*rule.Asked, []byte, error) {
	now := d.Now()
	inForce := d.limits.inForce.Load()
	a := &rule.Asked{
		Actor: r.Actor, At: now, OccurredAt: now, Registry: d.registry.at(now),
		Calendar: inForce.calendar, Profile: inForce.profile, ProfileVersion: inForce.profileVersion,
	}
	if c, ok := r.Command.(interface{ GetOccurredAt() *timestamppb.Timestamp }); ok && c.GetOccurredAt() != nil {
		a.OccurredAt, a.Backdated = c.GetOccurredAt().AsTime().Truncate(time.Microsecond), true
	}
	switch r.Command.(type) {
	case *pb.ImportRecordRequest:
		a.Imported = true
	case *pb.RecomputeLimitsRequest:
		a.ProfileNamed = inForce.state.ProfileNamed
	}
	content, err := deterministic.Marshal(r.Command)
	if err != nil {
		return nil, nil, rule.Bad("", rule.MalformedMessage, "the command cannot be read")
	}
	a.Unredacted = needsRedaction(public(r.Command))
	particulars := particularsOf(r.Command)
	if particulars == nil {
		hash := sha256.Sum256(content)
		return a, hash[:], nil
	}
	if subject == "" {
		subject = r.subject
	}
	key, err := d.subject(ctx, subject, particulars.GetPetitioner())
	if err != nil {
		return nil, nil, fmt.Errorf("key for %s: %w", stream, err)
	}
	clear, err := deterministic.Marshal(particulars)
	if err != nil {
		return nil, nil, rule.Bad("particulars", rule.MalformedMessage, "cannot be read")
	}
	a.Sealed = &pb.Sealed{Subject: key.ID(), Box: key.Seal(clear, []byte(stream))}
	return a, key.Fingerprint(content), nil
}

var deterministic = proto.MarshalOptions{Deterministic: true}

func particularsOf(command proto.Message) *pb.Particulars {
	c, ok := command.(interface{ GetParticulars() *pb.Particulars })
	if !ok || c.GetParticulars() == nil || proto.Size(c.GetParticulars()) == 0 {
		return nil
	}
	return c.GetParticulars()
}

// subject is whose key seals: the petitioner's whom the command identifies, so that erasing that person takes it along; else the
// ticket's subject while its key is there, else nobody's in particular.
func (d *Dispatcher) subject(ctx context.Context, subject string, p *pb.Petitioner) (privacy.Subject, error) {
	person := identity(p)
	if subject != "" && person == "" {
		key, err := d.keys.Lookup(ctx, subject)
		if !errors.Is(err, privacy.ErrErased) {
			return key, err
		}
	}
	return d.keys.Subject(ctx, person)
}

// identity is what makes two petitioners the same person; empty if nothing does.
func identity(p *pb.Petitioner) string {
	switch {
	case p.GetAnonymous():
		return ""
	case privacy.NormalizePhone(p.GetPhone()) != "":
		return "phone:" + privacy.NormalizePhone(p.GetPhone())
	case p.GetIdNumber() != "":
		return "id:" + strings.ToUpper(strings.TrimSpace(p.GetIdNumber()))
	}
	return ""
}

// sameContent says whether a command is the one that was carried out. After its subject's erasure nobody can tell any more;
// it then counts as the same.
func (d *Dispatcher) sameContent(ctx context.Context, was *done, command proto.Message) (bool, error) {
	content, err := deterministic.Marshal(command)
	if err != nil {
		return false, nil
	}
	if was.subject == "" || particularsOf(command) == nil { // what it led to may hold what an earlier command said
		return sha256.Sum256(content) == was.fingerprint, nil
	}
	key, err := d.keys.Lookup(ctx, was.subject)
	if errors.Is(err, privacy.ErrErased) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("key of a repeated request: %w", err)
	}
	return slices.Equal(key.Fingerprint(content), was.fingerprint[:]), nil
}

// envelopes are those of the n events of one command. All but their place among these is the same, and shared.
func (d *Dispatcher) envelopes(n int, requestID string, fingerprint []byte, a *rule.Asked, causedBy string) []*pb.EventMeta {
	recorded := timestamppb.New(a.At)
	occurred := recorded
	if !a.OccurredAt.Equal(a.At) {
		occurred = timestamppb.New(a.OccurredAt)
	}
	actor := &pb.Actor{Person: a.Actor.Person, Role: a.Acting, Unit: a.Actor.Unit}
	envelopes := make([]*pb.EventMeta, n)
	for i := range envelopes {
		envelopes[i] = &pb.EventMeta{
			RequestId: requestID, Fingerprint: fingerprint, Index: uint32(i), Count: uint32(n), OccurredAt: occurred, RecordedAt: recorded,
			Actor: actor, CausedBy: causedBy, RegistryVersion: a.Registry.Version(), CalendarVersion: a.Calendar.Version(),
			ProfileVersion: a.ProfileVersion,
		}
	}
	return envelopes
}

// maxRequestID is the length of the longest request id.
const maxRequestID = 128

func checkRequestID(id string) error {
	if id == "" {
		return rule.Bad("request_id", rule.MissingField, "is required")
	}
	if len(id) > maxRequestID {
		return rule.Bad("request_id", rule.InvalidRequestID, "want at most %d characters", maxRequestID)
	}
	for i := range len(id) {
		if id[i] < 0x20 || id[i] > 0x7e {
			return rule.Bad("request_id", rule.InvalidRequestID, "want printable ASCII characters")
		}
	}
	return nil
}

// ParseETag reads an etag: a version in quotes.
func ParseETag(etag string) (eventstore.Version, error) {
	text, ok := strings.CutPrefix(etag, `"`)
	text, ok2 := strings.CutSuffix(text, `"`)
	v, err := strconv.ParseUint(text, 10, 63)
	if !ok || !ok2 || err != nil {
		return 0, rule.Bad("etag", rule.InvalidETag, "want a version in quotes, as an answer gave it")
	}
	return eventstore.Version(v), nil
}
