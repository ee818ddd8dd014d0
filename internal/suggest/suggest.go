// Package suggest is what a dispatcher would look up before deciding: which category a matter has, who leads such matters by the
// dispatch rules, which tickets may be about the same, and which closed ones may have come back. It suggests and never decides, and it records nothing.
//
// What it knows of tickets it learns by following the history, and holds it in memory alone: words are unsealed, masked and kept as
// terms of an index, for so long as their data subject's key is there. Confidential tickets, tip-offs and tickets of petitioners
// who asked for confidence are never in it, and neither are records that were imported.
package suggest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/blevesearch/bleve/v2/analysis"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/dispatch"
	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/registry"
)

// Options say how much is kept. The zero value will do.
type Options struct {
	Keep time.Duration // how long after its report a ticket is looked at; 90 days if 0
	Most int           // how many tickets are; the oldest make room. 100,000 if 0
	// OnTrouble hears of an error before the history is read again. May be nil.
	OnTrouble func(error)
}

// Index is what is known of tickets lately reported. Its methods may be called by many goroutines.
type Index struct {
	dispatcher *dispatch.Dispatcher
	options    Options
	analyzer   analysis.Analyzer

	wanted sync.Once
	begin  chan struct{} // closed when somebody asks for the first time

	mu         sync.RWMutex
	tickets    map[string]*entry // by id
	queue      []*entry          // by when they were learnt of; some may have gone
	terms      *terms
	people     map[string][]*entry // by data subject
	cells      map[cell][]*entry
	spots      map[string][]*entry // by the lowest area
	precedents map[ruled]*pb.Precedent

	position eventstore.Position
	whole    bool          // it came to the end of the history once
	moved    chan struct{} // closed when position moves; nil while nobody waits

	names categoryNames
}

// entry is a ticket as it is compared with others.
type entry struct {
	id       string
	seq      uint32   // under which the terms know it
	terms    []uint32 // of title and text, ascending
	place    []uint32 // of the place in words, ascending
	subjects []string
	category string
	triaged  bool
	street   string // the code of the street it lies in; empty if unknown
	spot     string // the code of the lowest area it lies in; empty if it is known no better than the whole city
	reported time.Time
	ended    time.Time // zero while it is open
	position *point

	sealed *pb.Sealed // what it says, while that was not looked at yet
	added  bool       // more was said since, which was not looked at yet
}

// ruled is what a ruling was about.
type ruled struct{ category, area string }

// New makes an Index of what the dispatcher's history holds. It knows nothing until Run is under way.
func New(d *dispatch.Dispatcher, o Options) (*Index, error) {
	if o.Keep == 0 {
		o.Keep = 90 * 24 * time.Hour
	}
	if o.Most == 0 {
		o.Most = 100_000
	}
	a, err := newAnalyzer()
	if err != nil {
		return nil, err
	}
	return &Index{
		dispatcher: d, options: o, analyzer: a, begin: make(chan struct{}), tickets: map[string]*entry{}, terms: newTerms(),
		people: map[string][]*entry{}, cells: map[cell][]*entry{}, spots: map[string][]*entry{}, precedents: map[ruled]*pb.Precedent{},
	}, nil
}

const retryAfter = time.Second

// Run follows the history until the context ends, whose error it gives. It begins when somebody asks for the first time, so that a
// node nobody asks does nothing for it.
func (x *Index) Run(ctx context.Context) error {
	select {
	case <-x.begin:
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		err := x.follow(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		x.trouble(err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryAfter):
		}
	}
}

func (x *Index) trouble(err error) {
	if x.options.OnTrouble != nil {
		x.options.OnTrouble(err)
	}
}

func (x *Index) follow(ctx context.Context) error {
	store := x.dispatcher.Store()
	for r, err := range store.ReadAll(ctx, x.reachedSoFar()) {
		if err != nil {
			return err
		}
		if err := x.learn(ctx, &r); err != nil {
			return err
		}
	}
	if err := x.readWords(ctx); err != nil {
		return err
	}
	x.move(x.reachedSoFar(), true)
	for r, err := range store.Subscribe(ctx, x.reachedSoFar()) {
		if err != nil {
			return err
		}
		if err := x.learn(ctx, &r); err != nil {
			return err
		}
	}
	return errors.New("the history ended")
}

func (x *Index) reachedSoFar() eventstore.Position {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.position
}

// move says how far the index has come, and wakes those who wait for it.
func (x *Index) move(to eventstore.Position, whole bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.position, x.whole = to, x.whole || whole
	if x.moved != nil {
		close(x.moved)
		x.moved = nil
	}
}

// Wait waits until the index has come to the end of the history once, and to the position. The context's error if it ends before.
func (x *Index) Wait(ctx context.Context, position eventstore.Position) error {
	x.wanted.Do(func() { close(x.begin) })
	for {
		x.mu.Lock()
		if x.whole && x.position >= position {
			x.mu.Unlock()
			return nil
		}
		if x.moved == nil {
			x.moved = make(chan struct{})
		}
		moved := x.moved
		x.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Matter is what is asked about: a ticket, or what is being taken down.
type Matter struct {
	ID       string // the ticket's id; empty if it is none yet
	At       time.Time
	Path     []*pb.AreaNode
	Position *pb.LonLat
	Category string
	Grade    pb.Grade
	Words    *dispatch.Words // nil: nothing is said
	Subjects []string        // the data subjects of whoever raised it

	ComplainedOf string
	Fallback     string
}

// May says whether whoever asks may see a ticket, by its name.
type May func(ctx context.Context, name string) (bool, error)

// Suggest is what is suggested for a matter by the reference data in force.
func (x *Index) Suggest(ctx context.Context, r *registry.Snapshot, m Matter, may May) (*pb.SuggestTriageResponse, error) {
	x.prune()
	x.named(r)
	answer := &pb.SuggestTriageResponse{CatalogueVersion: r.Version(), Categories: x.categories(r, &m)}
	var err error
	if answer.Duplicates, err = x.duplicates(ctx, &m, may); err != nil {
		return nil, err
	}
	if m.Category == "" && len(answer.Categories) > 0 {
		m.Category = answer.Categories[0].Category
	}
	if answer.Recurrences, err = x.recurrences(ctx, &m, may); err != nil {
		return nil, err
	}
	answer.Leads = Leads(r, &m, x.rulings(r, &m), x.dispatcher.Now())
	for _, l := range answer.Leads {
		if l.Precedent != "" {
			seen, err := may(ctx, l.Precedent)
			if err != nil {
				return nil, err
			}
			if !seen {
				l.Precedent = ""
			}
		}
	}
	return answer, nil
}

// Size says how many tickets are known.
func (x *Index) Size() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.tickets)
}
