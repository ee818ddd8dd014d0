// Package verify replays a whole history and checks it: that every event is, byte for byte, the one that was recorded; that versions have no
// gaps; that everything decodes and keeps the invariants; and that every view is what a rebuild gives.
package verify

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/admission"
	"github.com/chuishao/dispatch/internal/audit"
	"github.com/chuishao/dispatch/internal/calendar"
	"github.com/chuishao/dispatch/internal/check"
	"github.com/chuishao/dispatch/internal/deliberation"
	"github.com/chuishao/dispatch/internal/event"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/exchange"
	"github.com/chuishao/dispatch/internal/limits"
	"github.com/chuishao/dispatch/internal/listing"
	"github.com/chuishao/dispatch/internal/registry"
	"github.com/chuishao/dispatch/internal/review"
	"github.com/chuishao/dispatch/internal/ticket"
	"github.com/chuishao/dispatch/internal/viewdb"
	"github.com/chuishao/dispatch/internal/wall"
	"github.com/chuishao/dispatch/internal/whistle"
)

// Config says what is verified.
type Config struct {
	Store eventstore.Store
	// Integrity is the store's own check of its files; nil if it has none.
	Integrity func(context.Context) error
	// Views are compared with a rebuild; nil leaves them out. The history must be at hand as of where they stand or further.
	Views *viewdb.DB
	// Parts are the databases of the partitions that figures are kept in, in their order; none if Views has them whole.
	Parts []*viewdb.DB
	// Zone is what the views count days in.
	Zone *time.Location
	// Dir takes the file that views are rebuilt in, and is left as it was.
	Dir string
}

const (
	// maxFindings is how many findings are told; a damaged history can have millions.
	maxFindings = 100
	tellEvery   = 50_000
	// statesKept is how many streams' states are kept in memory; others are folded anew when they go on.
	statesKept = 50_000
)

// link is how far a stream was checked.
type link struct {
	version eventstore.Version
	hash    event.Hash
	sum     uint64 // of the events so far: which they are, and where they lie
	broken  bool   // a finding was told; what follows in the stream is not checked
}

type verifier struct {
	c        Config
	tell     func(*pb.VerifyHistoryResponse) error
	events   uint64
	last     eventstore.Position // of the events so far
	findings int
	links    map[string]link
	folds    map[string]func(context.Context, *event.Decoded) error // by the kind of stream
	registry registry.State
	limits   limits.State
}

// Run checks everything and tells what it finds, and from time to time how far it is. The last message is done and names the views that were compared.
// The error is trouble that kept it from checking, or tell's own; findings are no error.
func Run(ctx context.Context, c Config, tell func(*pb.VerifyHistoryResponse) error) error {
	v := &verifier{c: c, tell: tell, links: map[string]link{}, limits: limits.New(calendar.Default(), calendar.DefaultProfile())}
	v.folds = map[string]func(context.Context, *event.Decoded) error{
		"ticket":       folding(v, ticket.Evolve, ticket.CheckInvariants),
		"whistle":      folding(v, whistle.Evolve, whistle.CheckInvariants),
		"wall":         folding(v, wall.Evolve, wall.CheckInvariants),
		"deliberation": folding(v, deliberation.Evolve, deliberation.CheckInvariants),
		"exchange":     folding(v, exchange.Evolve, exchange.CheckInvariants),
		"admission":    folding(v, admission.Evolve, admission.CheckInvariants),
		"listing":      folding(v, listing.Evolve, listing.CheckInvariants),
		"check":        folding(v, check.Evolve, check.CheckInvariants),
		"review":       folding(v, review.Evolve, review.CheckInvariants),
	}
	if c.Integrity != nil {
		if err := c.Integrity(ctx); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := v.found(&pb.VerifyFinding{Kind: "STORE", Message: err.Error()}); err != nil {
				return err
			}
		}
	}
	whole, err := v.history(ctx)
	if err != nil {
		return err
	}
	var views []string
	if c.Views != nil && whole {
		if views, err = v.views(ctx); err != nil {
			return err
		}
	}
	return tell(&pb.VerifyHistoryResponse{Events: v.events, ConsistencyToken: token(v.last), Done: true, Views: views})
}

// found tells of one thing that is wrong.
func (v *verifier) found(f *pb.VerifyFinding) error {
	if v.findings++; v.findings > maxFindings {
		return nil
	}
	return v.tell(&pb.VerifyHistoryResponse{Events: v.events, ConsistencyToken: token(v.last), Findings: []*pb.VerifyFinding{f}})
}

// history checks every event; whole says that all of it could be read and understood.
func (v *verifier) history(ctx context.Context) (whole bool, err error) {
	whole = true
	var last eventstore.Position
	for r, err := range v.c.Store.ReadAll(ctx, 0) {
		if err != nil {
			if ctx.Err() != nil {
				return false, ctx.Err()
			}
			if errors.Is(err, eventstore.ErrUnavailable) {
				return false, err
			}
			// The store itself cannot read on. The streams' own readings may tell which events it cannot give.
			if err := v.found(&pb.VerifyFinding{Kind: "STORE", Position: token(last), Message: err.Error()}); err != nil {
				return false, err
			}
			return false, v.ownReadings(ctx, true)
		}
		f := v.check(ctx, &r, last)
		if f != nil {
			whole = whole && f.Kind != "UNDECODABLE"
			f.Stream, f.Version, f.Position = r.Stream, uint64(r.Version), token(r.Position)
			if err := v.found(f); err != nil {
				return false, err
			}
		}
		last, v.last = r.Position, r.Position
		if v.events++; v.events%tellEvery == 0 {
			if err := v.tell(&pb.VerifyHistoryResponse{Events: v.events, ConsistencyToken: token(v.last)}); err != nil {
				return false, err
			}
		}
	}
	// What ReadAll passes over, a stream's own reading could still show, and the other way round: a position or a stream's name that was changed.
	return whole, v.ownReadings(ctx, false)
}

func token(p eventstore.Position) string { return "p" + strconv.FormatUint(uint64(p), 36) }

// check checks one event against those before it; nil if it is as it should be.
func (v *verifier) check(ctx context.Context, r *eventstore.Recorded, last eventstore.Position) *pb.VerifyFinding {
	l := v.links[r.Stream]
	if l.broken {
		return nil
	}
	finding := v.checkNext(ctx, r, &l, last)
	l.broken = finding != nil
	v.links[r.Stream] = l
	return finding
}

func (v *verifier) checkNext(ctx context.Context, r *eventstore.Recorded, l *link, last eventstore.Position) *pb.VerifyFinding {
	if r.Position <= last {
		return &pb.VerifyFinding{Kind: "STORE", Message: fmt.Sprintf("position %d follows %d", r.Position, last)}
	}
	if r.Version != l.version+1 {
		return &pb.VerifyFinding{Kind: "VERSION_GAP", Message: fmt.Sprintf("version %d follows %d", r.Version, l.version)}
	}
	hash, err := event.Verify(l.hash, r)
	if err != nil {
		return &pb.VerifyFinding{Kind: "HASH", Message: cause(err)}
	}
	d, err := event.Decode(*r)
	if err != nil {
		return &pb.VerifyFinding{Kind: "UNDECODABLE", Message: cause(err)}
	}
	l.version, l.hash, l.sum = r.Version, hash, sum(l.sum, r)
	if err := v.fold(ctx, &d); err != nil {
		return &pb.VerifyFinding{Kind: "INVARIANT", Message: err.Error()}
	}
	return nil
}

// cause leaves out the stream and version that a finding says anyway.
func cause(err error) string {
	decode := new(event.DecodeError)
	if errors.As(err, &decode) {
		return decode.Err.Error()
	}
	return err.Error()
}

// fold takes the event into its stream's state and checks the invariants.
func (v *verifier) fold(ctx context.Context, d *event.Decoded) error {
	kind, _, _ := strings.Cut(d.Stream, "-")
	if fold := v.folds[kind]; fold != nil {
		return fold(ctx, d)
	}
	switch kind {
	case "registry":
		var err error
		if d.Stream == limits.Stream {
			v.limits, err = limits.Evolve(v.limits, d.Meta, d.Event)
			return err
		}
		v.registry, err = registry.Evolve(v.registry, d.Meta, d.Event)
		return err
	case "audit", "subject":
		_, err := audit.Evolve(audit.State{}, d.Meta, d.Event)
		return err
	}
	return fmt.Errorf("no rules for streams of kind %q", kind)
}

// sum takes one more event into the sum of those before it.
func sum(before uint64, r *eventstore.Recorded) uint64 {
	h := fnv.New64a()
	var b [40]byte
	binary.BigEndian.PutUint64(b[0:], before)
	binary.BigEndian.PutUint64(b[8:], uint64(r.Position))
	binary.BigEndian.PutUint64(b[16:], uint64(r.Version))
	copy(b[24:], r.ID[:])
	_, _ = h.Write(b[:])
	return h.Sum64()
}

// ownReadings compares, for every stream, its own reading with what the reading of everything saw of it: commands are decided by the first, views
// are made of the second. If the reading of everything broke off, each is read to its end.
func (v *verifier) ownReadings(ctx context.Context, brokeOff bool) error {
	for _, stream := range slices.Sorted(maps.Keys(v.links)) {
		l := v.links[stream]
		if l.broken {
			continue
		}
		f, err := v.ownReading(ctx, stream, l, brokeOff)
		if err != nil {
			return err
		}
		if f != nil {
			f.Stream = stream
			if err := v.found(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// ownReading finds the first event in which a stream's own reading differs; nil if there is none.
func (v *verifier) ownReading(ctx context.Context, stream string, l link, brokeOff bool) (*pb.VerifyFinding, error) {
	const differs = "the stream's own reading differs from that of everything: "
	var own link
	for r, err := range v.c.Store.ReadStream(ctx, stream, 0) {
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return &pb.VerifyFinding{Kind: "STORE", Version: uint64(own.version + 1), Message: err.Error()}, nil
		}
		if own.version >= l.version && !brokeOff {
			break // events that were appended since are none of ours
		}
		if r.Version != own.version+1 {
			return &pb.VerifyFinding{Kind: "VERSION_GAP", Version: uint64(own.version + 1), Position: token(r.Position), Message: fmt.Sprintf("%sversion %d follows %d", differs, r.Version, own.version)}, nil
		}
		if own.version = r.Version; own.version <= l.version {
			own.sum = sum(own.sum, &r)
		}
	}
	if own.version < l.version {
		return &pb.VerifyFinding{Kind: "VERSION_GAP", Version: uint64(own.version + 1), Message: fmt.Sprintf("%sit ends after version %d", differs, own.version)}, nil
	}
	if own.sum == l.sum {
		return nil, nil
	}
	// Some event is another one. The chain tells which is the first.
	own = link{}
	for r, err := range v.c.Store.ReadStream(ctx, stream, 0) {
		if err != nil {
			return nil, err
		}
		if own.hash, err = event.Verify(own.hash, &r); err != nil {
			return &pb.VerifyFinding{Kind: "HASH", Version: uint64(r.Version), Position: token(r.Position), Message: differs + cause(err)}, nil
		}
		if r.Version == l.version {
			break
		}
	}
	return &pb.VerifyFinding{Kind: "STORE", Version: 1, Message: differs + "its events lie at other positions"}, nil
}

// folding takes events of one kind of stream into their streams' states and checks the invariants.
func folding[S any](v *verifier, evolve func(S, *pb.EventMeta, proto.Message) (S, error),
	check func(before, after S, meta *pb.EventMeta, e proto.Message) error) func(context.Context, *event.Decoded) error {
	states, err := lru.New[string, S](statesKept)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return func(ctx context.Context, d *event.Decoded) error {
		return foldInto(ctx, v, states, d, evolve, check)
	}
}

// foldInto takes one event into its stream's state and checks the invariants.
func foldInto[S any](ctx context.Context, v *verifier, states *lru.Cache[string, S], d *event.Decoded,
	evolve func(S, *pb.EventMeta, proto.Message) (S, error), check func(before, after S, meta *pb.EventMeta, e proto.Message) error) error {
	before, ok := states.Get(d.Stream)
	if !ok && d.Version > 1 {
		for r, err := range v.c.Store.ReadStream(ctx, d.Stream, 0) {
			if err != nil {
				return err
			}
			if r.Version >= d.Version {
				break
			}
			e, err := event.Decode(r)
			if err != nil {
				return err
			}
			if before, err = evolve(before, e.Meta, e.Event); err != nil {
				return err
			}
		}
	}
	after, err := evolve(before, d.Meta, d.Event)
	if err != nil {
		return err
	}
	states.Add(d.Stream, after)
	return check(before, after, d.Meta, d.Event)
}
