package storetest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/eventstore/sqlite"
	"github.com/chuishao/dispatch/internal/eventstore/storetest"
)

type (
	ctxt     = context.Context
	sequence = iter.Seq2[eventstore.Recorded, error]
	store    = eventstore.Store
	position = eventstore.Position
	version  = eventstore.Version
	event    = eventstore.Event
)

// mutant is a store with one promise broken. What is nil is done by the good store.
type mutant struct {
	store
	append     func(s store, ctx ctxt, stream string, after version, events []event) (position, error)
	readStream func(s store, ctx ctxt, stream string, after version) sequence
	readAll    func(s store, ctx ctxt, after position) sequence
	subscribe  func(s store, ctx ctxt, after position) sequence
}

func (m *mutant) Append(ctx ctxt, stream string, after version, events []event) (position, error) {
	if m.append == nil {
		return m.store.Append(ctx, stream, after, events)
	}
	return m.append(m.store, ctx, stream, after, events)
}

func (m *mutant) ReadStream(ctx ctxt, stream string, after version) sequence {
	if m.readStream == nil {
		return m.store.ReadStream(ctx, stream, after)
	}
	return m.readStream(m.store, ctx, stream, after)
}

func (m *mutant) ReadAll(ctx ctxt, after position) sequence {
	if m.readAll == nil {
		return m.store.ReadAll(ctx, after)
	}
	return m.readAll(m.store, ctx, after)
}

func (m *mutant) Subscribe(ctx ctxt, after position) sequence {
	if m.subscribe == nil {
		return m.store.Subscribe(ctx, after)
	}
	return m.subscribe(m.store, ctx, after)
}

// mutants are grouped by the check that must catch them. Each is made anew whenever the store is opened.
var mutants = map[string]map[string]func(store) *mutant{
	"an unknown stream is empty": {
		"yields an event nobody recorded": func(store) *mutant {
			return &mutant{readStream: func(s store, ctx ctxt, stream string, after version) sequence {
				return func(yield func(eventstore.Recorded, error) bool) {
					n := 0
					for e, err := range s.ReadStream(ctx, stream, after) {
						n++
						if !yield(e, err) {
							return
						}
					}
					if n == 0 {
						yield(eventstore.Recorded{Stream: stream, Version: 1}, nil)
					}
				}
			}}
		},
		"yields an error": func(store) *mutant {
			return &mutant{readStream: func(s store, ctx ctxt, stream string, after version) sequence {
				return func(yield func(eventstore.Recorded, error) bool) {
					n := 0
					for e, err := range s.ReadStream(ctx, stream, after) {
						n++
						if !yield(e, err) {
							return
						}
					}
					if n == 0 {
						yield(eventstore.Recorded{}, errors.New("stream not found"))
					}
				}
			}}
		},
	},
	"versions count from one without gaps": {
		"from zero":   eachRead(func(e eventstore.Recorded) eventstore.Recorded { e.Version--; return e }),
		"with gaps":   eachRead(func(e eventstore.Recorded) eventstore.Recorded { e.Version += e.Version / 3; return e }),
		"by position": eachRead(func(e eventstore.Recorded) eventstore.Recorded { e.Version = version(e.Position); return e }),
	},
	"bytes come back as they were given": {
		"as text":             eachRead(func(e eventstore.Recorded) eventstore.Recorded { e.Data = bytes.ToValidUTF8(e.Data, nil); return e }),
		"up to the first NUL": eachRead(func(e eventstore.Recorded) eventstore.Recorded { e.Data, _, _ = bytes.Cut(e.Data, []byte{0}); return e }),
		"cut short": eachRead(func(e eventstore.Recorded) eventstore.Recorded {
			e.Data = e.Data[:min(len(e.Data), 64<<10)]
			return e
		}),
		"types of 99 characters": eachRead(func(e eventstore.Recorded) eventstore.Recorded {
			e.Type = e.Type[:min(len(e.Type), 99)]
			return e
		}),
		"memory of the caller": func(store) *mutant {
			var mu sync.Mutex
			kept := make(map[[16]byte][]byte)
			return &mutant{
				append: func(s store, ctx ctxt, stream string, after version, events []event) (position, error) {
					mu.Lock()
					defer mu.Unlock()
					for _, e := range events {
						kept[e.ID] = e.Data
					}
					return s.Append(ctx, stream, after, events)
				},
				readStream: func(s store, ctx ctxt, stream string, after version) sequence {
					return changed(s.ReadStream(ctx, stream, after), func(e eventstore.Recorded) eventstore.Recorded {
						mu.Lock()
						defer mu.Unlock()
						e.Data = kept[e.ID]
						return e
					})
				},
			}
		},
	},
	"what a sequence yielded may be kept": {
		"one buffer for all": func(store) *mutant {
			shared := make([]byte, 1<<10)
			return &mutant{readAll: func(s store, ctx ctxt, after position) sequence {
				return changed(s.ReadAll(ctx, after), func(e eventstore.Recorded) eventstore.Recorded {
					e.Data = shared[:copy(shared, e.Data)]
					return e
				})
			}}
		},
		"slices that reach into the next": func(store) *mutant {
			return &mutant{readStream: func(s store, ctx ctxt, stream string, after version) sequence {
				shared := make([]byte, 0, 1<<20)
				return changed(s.ReadStream(ctx, stream, after), func(e eventstore.Recorded) eventstore.Recorded {
					from := len(shared)
					shared = append(shared, e.Data...)
					e.Data = shared[from:]
					return e
				})
			}}
		},
	},
	"the position returned is that of the last event": {
		"of the first": func(store) *mutant {
			return &mutant{append: func(s store, ctx ctxt, stream string, after version, events []event) (position, error) {
				p, err := s.Append(ctx, stream, after, events)
				return p - position(len(events)) + 1, err
			}}
		},
		"none": func(store) *mutant {
			return &mutant{append: func(s store, ctx ctxt, stream string, after version, events []event) (position, error) {
				_, err := s.Append(ctx, stream, after, events)
				return 0, err
			}}
		},
	},
	"an append at the wrong version changes nothing": {
		"appends at the end":     atEnd(func(after, actual version) bool { return true }),
		"ahead goes to the end":  atEnd(func(after, actual version) bool { return after > actual }),
		"behind goes to the end": atEnd(func(after, actual version) bool { return after < actual }),
		"another kind of error": onConflict(func(*eventstore.ConflictError) (position, error) {
			return 0, errors.New("wrong version")
		}),
		"says another version": onConflict(func(c *eventstore.ConflictError) (position, error) {
			return 0, &eventstore.ConflictError{Stream: c.Stream, After: c.After, Actual: c.Actual + 1}
		}),
		"succeeds without recording": onConflict(func(*eventstore.ConflictError) (position, error) { return 1, nil }),
	},
	"of many writers at one version exactly one wins": {
		"all win":                  atEnd(func(after, actual version) bool { return true }),
		"losers are told they won": onConflict(func(*eventstore.ConflictError) (position, error) { return 1, nil }),
		"losers are told it may pass": onConflict(func(*eventstore.ConflictError) (position, error) {
			return 0, eventstore.ErrUnavailable
		}),
	},
	"nobody gets between the events of one append": {
		"one by one": func(store) *mutant {
			return &mutant{append: func(s store, ctx ctxt, stream string, after version, events []event) (position, error) {
				p, err := s.Append(ctx, stream, after, events[:1])
				for i := 1; err == nil && i < len(events); i++ {
					runtime.Gosched()
					p, err = anywhere(s, ctx, stream, events[i:i+1])
				}
				return p, err
			}}
		},
	},
	"after is exclusive": {
		"not for ReadStream": func(store) *mutant {
			return &mutant{readStream: func(s store, ctx ctxt, stream string, after version) sequence {
				return s.ReadStream(ctx, stream, max(after, 1)-1)
			}}
		},
		"not for ReadAll": func(store) *mutant {
			return &mutant{readAll: func(s store, ctx ctxt, after position) sequence { return s.ReadAll(ctx, max(after, 1)-1) }}
		},
		"not for Subscribe": func(store) *mutant {
			return &mutant{subscribe: func(s store, ctx ctxt, after position) sequence { return s.Subscribe(ctx, max(after, 1)-1) }}
		},
		"ReadStream leaves one out": func(store) *mutant {
			return &mutant{readStream: func(s store, ctx ctxt, stream string, after version) sequence {
				return s.ReadStream(ctx, stream, after+1)
			}}
		},
		"ReadAll leaves one out": func(store) *mutant {
			return &mutant{readAll: func(s store, ctx ctxt, after position) sequence { return s.ReadAll(ctx, after+1) }}
		},
	},
	"the global order only grows and keeps each stream's order": {
		"two change places": func(store) *mutant {
			return &mutant{readAll: func(s store, ctx ctxt, after position) sequence { return swapped(s.ReadAll(ctx, after)) }}
		},
		"two change places for a subscriber": func(store) *mutant {
			return &mutant{subscribe: func(s store, ctx ctxt, after position) sequence { return swapped(s.Subscribe(ctx, after)) }}
		},
		"positions stand still": eachAll(func(e eventstore.Recorded) eventstore.Recorded { e.Position &^= 1; return e }),
		"another order each time": func(store) *mutant {
			var mu sync.Mutex
			times := position(0)
			return &mutant{readAll: func(s store, ctx ctxt, after position) sequence {
				mu.Lock()
				defer mu.Unlock()
				times += 1000
				shift := times
				return changed(s.ReadAll(ctx, after), func(e eventstore.Recorded) eventstore.Recorded { e.Position += shift; return e })
			}}
		},
	},
	"reading all ends at the present end while others write": {
		"follows": func(store) *mutant {
			return &mutant{readAll: func(s store, ctx ctxt, after position) sequence {
				return func(yield func(eventstore.Recorded, error) bool) {
					for more := true; more; {
						more = false
						for e, err := range s.ReadAll(ctx, after) {
							if !yield(e, err) || err != nil {
								return
							}
							after, more = e.Position, true
						}
					}
				}
			}}
		},
	},
	"what was answered can be read at once": {
		"ReadAll is one behind": func(store) *mutant {
			return &mutant{readAll: func(s store, ctx ctxt, after position) sequence { return withoutLast(s.ReadAll(ctx, after)) }}
		},
		"ReadStream is one behind": func(store) *mutant {
			return &mutant{readStream: func(s store, ctx ctxt, stream string, after version) sequence {
				return withoutLast(s.ReadStream(ctx, stream, after))
			}}
		},
	},
	"a subscriber misses nothing while others write": {
		"drops some": func(store) *mutant {
			return &mutant{subscribe: func(s store, ctx ctxt, after position) sequence {
				return kept(s.Subscribe(ctx, after), func(e eventstore.Recorded) bool { return e.Position%61 != 60 })
			}}
		},
		"looks once": func(store) *mutant {
			return &mutant{subscribe: func(s store, ctx ctxt, after position) sequence {
				return func(yield func(eventstore.Recorded, error) bool) {
					for e, err := range s.ReadAll(ctx, after) {
						if !yield(e, err) {
							return
						}
					}
					<-ctx.Done()
					yield(eventstore.Recorded{}, ctx.Err())
				}
			}}
		},
		"twice": func(store) *mutant {
			return &mutant{subscribe: func(s store, ctx ctxt, after position) sequence {
				return func(yield func(eventstore.Recorded, error) bool) {
					for e, err := range s.Subscribe(ctx, after) {
						if !yield(e, err) || (e.Position%61 == 60 && !yield(e, err)) {
							return
						}
					}
				}
			}}
		},
	},
	"a subscription ends when its context does": {
		"goes on": func(store) *mutant {
			return &mutant{subscribe: func(s store, ctx ctxt, after position) sequence {
				return s.Subscribe(context.WithoutCancel(ctx), after)
			}}
		},
		"ends without a word": func(store) *mutant {
			return &mutant{subscribe: func(s store, ctx ctxt, after position) sequence { return silent(s.Subscribe(ctx, after)) }}
		},
	},
	"a sequence ends with its context's error": {
		"ReadStream does not look at it": func(store) *mutant {
			return &mutant{readStream: func(s store, ctx ctxt, stream string, after version) sequence {
				return s.ReadStream(context.WithoutCancel(ctx), stream, after)
			}}
		},
		"ReadAll does not look at it": func(store) *mutant {
			return &mutant{readAll: func(s store, ctx ctxt, after position) sequence {
				return s.ReadAll(context.WithoutCancel(ctx), after)
			}}
		},
		"ReadAll ends without a word": func(store) *mutant {
			return &mutant{readAll: func(s store, ctx ctxt, after position) sequence { return silent(s.ReadAll(ctx, after)) }}
		},
		"goes on after the error": func(store) *mutant {
			return &mutant{readStream: func(s store, ctx ctxt, stream string, after version) sequence {
				return func(yield func(eventstore.Recorded, error) bool) {
					for e, err := range s.ReadStream(ctx, stream, after) {
						if !yield(e, err) || (err != nil && !yield(e, err)) {
							return
						}
					}
				}
			}}
		},
	},
	"breaking out of a sequence frees everything": {
		"a connection is lost": func(store) *mutant {
			connections := make(chan struct{}, 50)
			return &mutant{readAll: func(s store, ctx ctxt, after position) sequence {
				return func(yield func(eventstore.Recorded, error) bool) {
					select {
					case connections <- struct{}{}:
					case <-ctx.Done():
						yield(eventstore.Recorded{}, ctx.Err())
						return
					}
					for e, err := range s.ReadAll(ctx, after) {
						if !yield(e, err) {
							return
						}
					}
					<-connections
				}
			}}
		},
		"a connection is held inside the loop": func(store) *mutant {
			connections := make(chan struct{}, 8)
			return &mutant{readStream: func(s store, ctx ctxt, stream string, after version) sequence {
				return func(yield func(eventstore.Recorded, error) bool) {
					select {
					case connections <- struct{}{}:
					case <-ctx.Done():
						yield(eventstore.Recorded{}, ctx.Err())
						return
					}
					defer func() { <-connections }()
					for e, err := range s.ReadStream(ctx, stream, after) {
						if !yield(e, err) {
							return
						}
					}
				}
			}}
		},
	},
	"a cancelled append is all or nothing": {
		"half": func(store) *mutant {
			return &mutant{append: func(s store, ctx ctxt, stream string, after version, events []event) (position, error) {
				if ctx.Err() != nil && len(events) > 1 {
					s.Append(context.WithoutCancel(ctx), stream, after, events[:len(events)/2])
					return 0, ctx.Err()
				}
				return s.Append(ctx, stream, after, events)
			}}
		},
		"nothing and no error": func(store) *mutant {
			return &mutant{append: func(s store, ctx ctxt, stream string, after version, events []event) (position, error) {
				p, err := s.Append(ctx, stream, after, events)
				if errors.Is(err, context.Canceled) {
					return 1, nil
				}
				return p, err
			}}
		},
		"a conflict": func(store) *mutant {
			return &mutant{append: func(s store, ctx ctxt, stream string, after version, events []event) (position, error) {
				p, err := s.Append(ctx, stream, after, events)
				if errors.Is(err, context.Canceled) {
					return 0, &eventstore.ConflictError{Stream: stream, After: after}
				}
				return p, err
			}}
		},
	},
	"limits are kept": {
		"none": func(store) *mutant {
			return &mutant{append: func(s store, ctx ctxt, stream string, after version, events []event) (position, error) {
				if eventstore.Check(stream, events) != nil {
					return 1, nil
				}
				return s.Append(ctx, stream, after, events)
			}}
		},
		"cut to size": func(store) *mutant {
			return &mutant{append: func(s store, ctx ctxt, stream string, after version, events []event) (position, error) {
				return s.Append(ctx, stream, after, events[:min(len(events), eventstore.MaxEvents)])
			}}
		},
		"less than promised": func(store) *mutant {
			return &mutant{append: func(s store, ctx ctxt, stream string, after version, events []event) (position, error) {
				if len(events) >= eventstore.MaxEvents {
					return 0, &eventstore.LimitError{Field: "events", Limit: "too many"}
				}
				return s.Append(ctx, stream, after, events)
			}}
		},
		"another kind of error": func(store) *mutant {
			return &mutant{append: func(s store, ctx ctxt, stream string, after version, events []event) (position, error) {
				if err := eventstore.Check(stream, events); err != nil {
					return 0, fmt.Errorf("%w: %s", eventstore.ErrUnavailable, err)
				}
				return s.Append(ctx, stream, after, events)
			}}
		},
	},
	"the same events sent again succeed with the same position": {
		"a conflict": func(store) *mutant {
			return &mutant{append: func(s store, ctx ctxt, stream string, after version, events []event) (position, error) {
				if actual := length(s, ctx, stream); actual > after {
					return 0, &eventstore.ConflictError{Stream: stream, After: after, Actual: actual}
				}
				return s.Append(ctx, stream, after, events)
			}}
		},
		"the present end": func(store) *mutant {
			return &mutant{append: func(s store, ctx ctxt, stream string, after version, events []event) (position, error) {
				p, err := s.Append(ctx, stream, after, events)
				for e := range s.ReadStream(ctx, stream, 0) {
					p = max(p, e.Position)
				}
				return p, err
			}}
		},
		"recorded twice": func(store) *mutant {
			return &mutant{append: func(s store, ctx ctxt, stream string, after version, events []event) (position, error) {
				if length(s, ctx, stream) > after {
					return anywhere(s, ctx, stream, events)
				}
				return s.Append(ctx, stream, after, events)
			}}
		},
		"forgotten when reopened": func(store) *mutant {
			var mu sync.Mutex
			seen := make(map[[16]byte]bool)
			return &mutant{append: func(s store, ctx ctxt, stream string, after version, events []event) (position, error) {
				mu.Lock()
				defer mu.Unlock()
				if actual := length(s, ctx, stream); actual > after && !seen[events[0].ID] {
					return 0, &eventstore.ConflictError{Stream: stream, After: after, Actual: actual}
				}
				seen[events[0].ID] = true
				return s.Append(ctx, stream, after, events)
			}}
		},
	},
	"other events at a version already taken are a conflict": {
		"any of the same number will do": likeness(func(recorded, given [][16]byte) bool { return len(recorded) == len(given) }),
		"the first decides":              likeness(func(recorded, given [][16]byte) bool { return recorded[0] == given[0] }),
		"the last decides": likeness(func(recorded, given [][16]byte) bool {
			return recorded[len(recorded)-1] == given[len(given)-1]
		}),
		"in any order": likeness(func(recorded, given [][16]byte) bool {
			for _, id := range given {
				if !slices.Contains(recorded, id) {
					return false
				}
			}
			return true
		}),
		"a beginning will do": likeness(func(recorded, given [][16]byte) bool {
			return slices.Equal(recorded, given[:len(recorded)])
		}),
	},
	"what is recorded survives reopening": {
		"but for the last": func(opened store) *mutant {
			var last position
			for e := range opened.ReadAll(context.Background(), 0) {
				last = e.Position
			}
			keep := func(e eventstore.Recorded) bool { return e.Position != last }
			return &mutant{
				readAll: func(s store, ctx ctxt, after position) sequence { return kept(s.ReadAll(ctx, after), keep) },
			}
		},
		"with other bytes": func(opened store) *mutant {
			again := false
			for range opened.ReadAll(context.Background(), 0) {
				again = true
				break
			}
			return eachAll(func(e eventstore.Recorded) eventstore.Recorded {
				if again {
					e.Meta = append(bytes.Clone(e.Meta), '\n')
				}
				return e
			})(opened)
		},
	},
	"a restart in the middle loses nothing": {
		"what was answered from memory": func(store) *mutant {
			var mu sync.Mutex
			type held struct {
				after  version
				events []event
			}
			late := make(map[string]held)
			flush := func(s store, ctx ctxt, stream string) error {
				h, ok := late[stream]
				if !ok {
					return nil
				}
				delete(late, stream)
				_, err := s.Append(ctx, stream, h.after, h.events)
				return err
			}
			return &mutant{
				append: func(s store, ctx ctxt, stream string, after version, events []event) (position, error) {
					mu.Lock()
					defer mu.Unlock()
					if err := flush(s, ctx, stream); err != nil {
						return 0, err
					}
					late[stream] = held{after, events}
					return 1, nil
				},
			}
		},
		"what was sent again is recorded again": func(store) *mutant {
			return &mutant{append: func(s store, ctx ctxt, stream string, after version, events []event) (position, error) {
				p, err := s.Append(ctx, stream, after, events)
				if err == nil && after == 10 {
					anywhere(s, ctx, stream, renamed(events))
				}
				return p, err
			}}
		},
	},
	"streams that are not ours are invisible": {
		"they can be written": func(store) *mutant {
			return &mutant{append: func(s store, ctx ctxt, stream string, after version, events []event) (position, error) {
				if strings.HasPrefix(stream, "theirs-") {
					stream = "listing-" + stream
				}
				return s.Append(ctx, stream, after, events)
			}}
		},
		"ReadAll yields them":   eachAll(unmasked),
		"Subscribe yields them": eachSubscribed(unmasked),
		"ReadStream yields them": func(store) *mutant {
			return &mutant{readStream: func(s store, ctx ctxt, stream string, after version) sequence {
				if strings.HasPrefix(stream, "theirs-") {
					stream = "listing-" + stream
				}
				return changed(s.ReadStream(ctx, stream, after), unmasked)
			}}
		},
	},
}

// The good store cannot hold streams of others, so the tests record "theirs-x" as "listing-theirs-x", and a mutant
// shows it under its name.
func unmasked(e eventstore.Recorded) eventstore.Recorded {
	e.Stream = strings.Replace(e.Stream, "listing-theirs-", "theirs-", 1)
	return e
}

func TestChecksPassOnAGoodStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) *storetest.Harness {
		return harness(t, func(s store) store { return s })
	})
}

func TestEveryCheckCatchesItsMutants(t *testing.T) {
	t.Parallel()
	known := make(map[string]bool)
	for _, check := range storetest.Checks() {
		known[check.Name] = true
		if len(mutants[check.Name]) == 0 {
			t.Errorf("no mutant breaks %q", check.Name)
		}
		for how, breaks := range mutants[check.Name] {
			t.Run(check.Name+"/"+how, func(t *testing.T) {
				t.Parallel()
				h := harness(t, func(s store) store {
					m := breaks(s)
					m.store = s
					return m
				})
				fails(t, check, h, hangs[how])
			})
		}
	}
	for name := range mutants {
		if !known[name] {
			t.Errorf("mutants break %q, which no check is about", name)
		}
	}
}

// harness opens a good store and lets the caller break it, each time it is opened.
func harness(t *testing.T, breaks func(store) store) *storetest.Harness {
	path := filepath.Join(t.TempDir(), "history.db")
	var at storetest.Swap
	var good *sqlite.Store
	open := func() {
		s, err := sqlite.Open(path, sqlite.Options{})
		if err != nil {
			t.Errorf("open: %v", err)
			return
		}
		good = s
		at.Set(breaks(s))
	}
	open()
	t.Cleanup(func() { good.Close() })
	reopen := func(tb storetest.TB) {
		if err := good.Close(); err != nil {
			tb.Errorf("close: %v", err)
		}
		open()
	}
	return &storetest.Harness{
		Store:   at.Get,
		Reopen:  reopen,
		Restart: reopen,
		Foreign: func(tb storetest.TB, stream string) {
			e := event{ID: [16]byte{1}, Type: "Theirs"}
			if _, err := good.Append(tb.Context(), "listing-"+stream, 0, []event{e}); err != nil {
				tb.Errorf("record in %s: %v", stream, err)
			}
		},
	}
}

// hangs names the mutants that are known by what does not happen.
var hangs = map[string]bool{
	"a connection is held inside the loop": true,
	"a connection is lost":                 true,
	"drops some":                           true,
	"goes on":                              true,
	"looks once":                           true,
}

// fails runs a check that must complain. To run out of time is a complaint only of a mutant that hangs.
func fails(t *testing.T, check storetest.Check, h *storetest.Harness, hangs bool) {
	t.Helper()
	limit := time.Minute
	if hangs {
		limit = 2 * time.Second
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	r := &recorder{ctx: ctx, cancel: cancel}
	var wg sync.WaitGroup
	wg.Go(func() { check.Run(r, h) })
	wg.Wait()
	switch {
	case r.complaint == "":
		t.Errorf("the check passes on a store that breaks it")
	case r.late != hangs:
		t.Errorf("out of time: got %v, want %v: %s", r.late, hangs, r.complaint)
	default:
		t.Log(r.complaint)
	}
}

// recorder is a storetest.TB that remembers the first complaint and ends what goes on after it.
type recorder struct {
	ctx       context.Context
	cancel    context.CancelFunc
	mu        sync.Mutex
	complaint string
	late      bool // the time was up before the complaint
}

func (r *recorder) Helper()                  {}
func (r *recorder) Context() context.Context { return r.ctx }

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.complaint == "" {
		r.complaint = fmt.Sprintf(format, args...)
		r.late = r.ctx.Err() != nil
		r.cancel()
	}
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func changed(from sequence, change func(eventstore.Recorded) eventstore.Recorded) sequence {
	return func(yield func(eventstore.Recorded, error) bool) {
		for e, err := range from {
			if err == nil {
				e = change(e)
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

func kept(from sequence, keep func(eventstore.Recorded) bool) sequence {
	return func(yield func(eventstore.Recorded, error) bool) {
		for e, err := range from {
			if (err != nil || keep(e)) && !yield(e, err) {
				return
			}
		}
	}
}

func silent(from sequence) sequence {
	return func(yield func(eventstore.Recorded, error) bool) {
		for e, err := range from {
			if err != nil || !yield(e, nil) {
				return
			}
		}
	}
}

func withoutLast(from sequence) sequence {
	return func(yield func(eventstore.Recorded, error) bool) {
		var late *eventstore.Recorded
		for e, err := range from {
			if late != nil && !yield(*late, err) {
				return
			}
			late = &e
		}
	}
}

// swapped exchanges an event and the next every now and then.
func swapped(from sequence) sequence {
	return func(yield func(eventstore.Recorded, error) bool) {
		var held *eventstore.Recorded
		for e, err := range from {
			switch {
			case err == nil && held == nil && e.Position%20 == 7:
				held = &e
				continue
			case !yield(e, err):
				return
			case held != nil:
				if !yield(*held, nil) {
					return
				}
				held = nil
			}
		}
		if held != nil {
			yield(*held, nil)
		}
	}
}

func eachRead(change func(eventstore.Recorded) eventstore.Recorded) func(store) *mutant {
	return func(store) *mutant {
		return &mutant{readStream: func(s store, ctx ctxt, stream string, after version) sequence {
			return changed(s.ReadStream(ctx, stream, after), change)
		}}
	}
}

func eachAll(change func(eventstore.Recorded) eventstore.Recorded) func(store) *mutant {
	return func(store) *mutant {
		return &mutant{readAll: func(s store, ctx ctxt, after position) sequence {
			return changed(s.ReadAll(ctx, after), change)
		}}
	}
}

func eachSubscribed(change func(eventstore.Recorded) eventstore.Recorded) func(store) *mutant {
	return func(store) *mutant {
		return &mutant{subscribe: func(s store, ctx ctxt, after position) sequence {
			return changed(s.Subscribe(ctx, after), change)
		}}
	}
}

// atEnd appends at the end of the stream, whatever the caller asked for, if the two versions are as which says.
func atEnd(which func(after, actual version) bool) func(store) *mutant {
	return func(store) *mutant {
		return &mutant{append: func(s store, ctx ctxt, stream string, after version, events []event) (position, error) {
			p, err := s.Append(ctx, stream, after, events)
			if c, ok := errors.AsType[*eventstore.ConflictError](err); ok && which(c.After, c.Actual) {
				return anywhere(s, ctx, stream, events)
			}
			return p, err
		}}
	}
}

func onConflict(answer func(*eventstore.ConflictError) (position, error)) func(store) *mutant {
	return func(store) *mutant {
		return &mutant{append: func(s store, ctx ctxt, stream string, after version, events []event) (position, error) {
			p, err := s.Append(ctx, stream, after, events)
			if c, ok := errors.AsType[*eventstore.ConflictError](err); ok {
				return answer(c)
			}
			return p, err
		}}
	}
}

// likeness takes events for those recorded already if alike says so. Neither of its arguments is empty, and the
// first is not longer than the second.
func likeness(alike func(recorded, given [][16]byte) bool) func(store) *mutant {
	return func(store) *mutant {
		return &mutant{append: func(s store, ctx ctxt, stream string, after version, events []event) (position, error) {
			p, err := s.Append(ctx, stream, after, events)
			if c, ok := errors.AsType[*eventstore.ConflictError](err); !ok || c.Actual <= after {
				return p, err
			}
			var recorded, given [][16]byte
			for e := range s.ReadStream(ctx, stream, after) {
				if len(recorded) == len(events) {
					break
				}
				recorded, p = append(recorded, e.ID), e.Position
			}
			for i := range events {
				given = append(given, events[i].ID)
			}
			if alike(recorded, given) {
				return p, nil
			}
			return 0, err
		}}
	}
}

func anywhere(s store, ctx ctxt, stream string, events []event) (position, error) {
	for {
		p, err := s.Append(ctx, stream, length(s, ctx, stream), events)
		if _, ok := errors.AsType[*eventstore.ConflictError](err); !ok {
			return p, err
		}
	}
}

func length(s store, ctx ctxt, stream string) version {
	n := version(0)
	for _, err := range s.ReadStream(ctx, stream, 0) {
		if err != nil {
			return n
		}
		n++
	}
	return n
}

func renamed(events []event) []event {
	other := slices.Clone(events)
	for i := range other {
		other[i].ID[0] ^= 0xff
	}
	return other
}
