package jetstream

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chuishao/dispatch/internal/eventstore"
)

const (
	// A page is read in one go and handed out after everything is let go again.
	pageEvents = 1000
	pageBytes  = 4 << 20

	// lookEvery is how soon a subscription sees what it was not told of.
	lookEvery = time.Second

	// catchUp is how long a leader may take to know all that was ever acknowledged.
	catchUp = 5 * time.Second
)

type sequence = iter.Seq2[eventstore.Recorded, error]

// ReadStream implements eventstore.Store. A name that breaks the rules of the port is a *eventstore.LimitError.
func (s *Store) ReadStream(ctx context.Context, stream string, after eventstore.Version) sequence {
	return func(yield func(eventstore.Recorded, error) bool) {
		if err := eventstore.CheckStream(stream); err != nil {
			yield(eventstore.Recorded{}, err)
			return
		}
		at, last, err := s.last(ctx, stream)
		if err != nil {
			yield(eventstore.Recorded{}, err)
			return
		}
		if at.version == after+1 && last.Version == at.version {
			yield(last.Recorded, nil)
			return
		}
		s.stream(ctx, stream, after, at)(yield)
	}
}

// stream yields the events of a stream after a version up to where the leader says that it stands.
func (s *Store) stream(ctx context.Context, stream string, after eventstore.Version, at head) sequence {
	return func(yield func(eventstore.Recorded, error) bool) {
		version, position := eventstore.Version(0), uint64(0) // of the event before the next
		if known, ok := s.heads.get(stream); ok && known.version == after {
			version, position = after, known.position
		}
		subject := s.subject(stream)
		for version < at.version && after < at.version {
			page, err := s.page(ctx, subject, position+1, at.position, uint64(at.version-version), func(e *stored) bool {
				if e.Version != version+1 {
					return false
				}
				version++
				return true
			})
			if err != nil {
				yield(eventstore.Recorded{}, err)
				return
			}
			position = uint64(page[len(page)-1].Position)
			for i := range page {
				if page[i].Version <= after {
					continue
				}
				if err := ctx.Err(); err != nil {
					yield(eventstore.Recorded{}, err)
					return
				}
				if !yield(page[i].Recorded, nil) {
					return
				}
			}
		}
	}
}

// ReadAll implements eventstore.Store. The present end is where the history ends when the sequence is begun.
func (s *Store) ReadAll(ctx context.Context, after eventstore.Position) sequence {
	return func(yield func(eventstore.Recorded, error) bool) {
		end, err := s.head(ctx, uint64(after))
		if err != nil {
			yield(eventstore.Recorded{}, err)
			return
		}
		s.hand(ctx, uint64(after), end, yield)
	}
}

// Subscribe implements eventstore.Store. It goes on over restarts and changes of leader; it also ends when the store is closed or no server has answered
// for Options.Patience, with an error that Is eventstore.ErrUnavailable.
func (s *Store) Subscribe(ctx context.Context, after eventstore.Position) sequence {
	return func(yield func(eventstore.Recorded, error) bool) {
		at := uint64(after)
		look := time.NewTimer(0)
		defer look.Stop()
		for {
			end, signal := s.news.next() // before the look, so that nothing slips in between
			if end <= at {
				select {
				case <-signal:
					continue
				case <-look.C:
				case <-ctx.Done():
					yield(eventstore.Recorded{}, ctx.Err())
					return
				case <-s.closing.Done():
					yield(eventstore.Recorded{}, errClosed)
					return
				}
				var err error
				if end, err = s.head(ctx, at); err != nil {
					yield(eventstore.Recorded{}, err)
					return
				}
				look.Reset(lookEvery)
			}
			var ok bool
			if at, ok = s.hand(ctx, at, end, yield); !ok {
				return
			}
		}
	}
}

// hand yields all events of ours after one position up to another, or a little further, so that no append is cut in two. It returns how far it
// came, and whether to go on.
func (s *Store) hand(ctx context.Context, after, end uint64, yield func(eventstore.Recorded, error) bool) (uint64, bool) {
	ctx, cancel := context.WithCancel(ctx)
	var ahead sync.WaitGroup // of the next page, which is read while this one is handed out
	defer ahead.Wait()
	defer cancel()
	var page, next []stored
	var err, failed error
	if after < end {
		page, err = s.run(ctx, after, end)
	}
	for after < end {
		if err != nil {
			yield(eventstore.Recorded{}, err)
			return after, false
		}
		last := &page[len(page)-1]
		reached := uint64(last.Position)
		if end = max(end, reached+last.rest); reached < end {
			ahead.Go(func() { next, failed = s.run(ctx, reached, end) })
		}
		for i := range page {
			if err := ctx.Err(); err != nil {
				yield(eventstore.Recorded{}, err)
				return after, false
			}
			if page[i].ours && !yield(page[i].Recorded, nil) {
				return after, false
			}
			after = uint64(page[i].Position)
		}
		ahead.Wait()
		page, err = next, failed
	}
	return after, true
}

// run reads the messages after a position, without a gap, up to another or not quite.
func (s *Store) run(ctx context.Context, after, end uint64) ([]stored, error) {
	next := after + 1
	return s.page(ctx, "", next, end, end-after, func(e *stored) bool {
		if uint64(e.Position) != next {
			return false
		}
		next++
		return true
	})
}

// page reads the messages of one subject, or all if it is "", from a position up to another, in order: one at least, not always all n. follows says
// whether a message is the next. What a replica does not have is read at the leader; what that does not have either is gone.
func (s *Store) page(ctx context.Context, subject string, from, upTo, n uint64, follows func(*stored) bool) ([]stored, error) {
	var page []stored
	err := s.retry(ctx, func(ctx context.Context) error {
		got, err := s.getDirect(ctx, get{Seq: from, Next: subject, Batch: int(min(n, pageEvents)), MaxBytes: pageBytes})
		if err != nil {
			return err
		}
		for i := range got {
			if uint64(got[i].Position) > upTo || !follows(&got[i]) {
				break
			}
			page = got[:i+1]
		}
		if len(page) > 0 {
			return nil
		}
		filter := subject
		if filter == "" {
			filter = ">"
		}
		one, ok, err := s.getAtLeader(ctx, get{Seq: from, Next: filter})
		switch {
		case err != nil:
			return err
		case !ok:
			return fmt.Errorf("the leader has not caught up to position %d", upTo)
		case !follows(&one):
			return &HistoryError{s.address.stream, fmt.Sprintf("what should come next from position %d is gone, the next is at %d", from, one.Position)}
		}
		page = []stored{one}
		return nil
	})
	return page, err
}

// head asks the leader for the position of the last message, which must be at least a position that it was at before, and any that this store
// has heard of.
func (s *Store) head(ctx context.Context, least uint64) (uint64, error) {
	var info struct {
		Created time.Time `json:"created"`
		State   struct {
			LastSeq uint64 `json:"last_seq"`
		} `json:"state"`
	}
	heard, _ := s.news.next()
	least = max(least, heard)
	limit := time.Now().Add(catchUp)
	err := s.retry(ctx, func(ctx context.Context) error {
		if err := s.request(ctx, "STREAM.INFO."+s.address.stream, nil, &info); err != nil {
			return err
		}
		if !info.Created.Equal(s.created) {
			return &HistoryError{s.address.stream, fmt.Sprintf("it was made at %s, the one that was opened at %s", info.Created.UTC().Format(time.RFC3339), s.created.UTC().Format(time.RFC3339))}
		}
		if info.State.LastSeq < least {
			err := &HistoryError{s.address.stream, fmt.Sprintf("it ends at position %d, before position %d that was recorded in it", info.State.LastSeq, least)}
			if time.Now().After(limit) {
				return err
			}
			return fmt.Errorf("not yet caught up: %s", err.Detail)
		}
		return nil
	})
	return info.State.LastSeq, err
}

// hear notes how far the history has come, as its leader tells whoever listens. It is a hint: what is not heard is looked for.
func (s *Store) hear(m *nats.Msg) {
	if position, err := strconv.ParseUint(m.Header.Get(headerSequence), 10, 64); err == nil {
		s.news.tell(position)
	}
}
