package jetstream

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/chuishao/dispatch/internal/eventstore"
)

// Append implements eventstore.Store.
func (s *Store) Append(ctx context.Context, stream string, after eventstore.Version, events []eventstore.Event) (eventstore.Position, error) {
	if err := eventstore.Check(stream, events); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if s.closing.Err() != nil {
		return 0, errClosed
	}
	if refused := s.refused.Load(); refused != nil {
		return 0, refused
	}
	at, known := s.heads.get(stream)
	if (!known || at.version < after) && after > 0 {
		var err error
		if at, _, err = s.last(ctx, stream); err != nil {
			return 0, err
		}
	}
	if at.version != after {
		return s.settle(ctx, stream, at, after, events)
	}
	if len(events) > 1 {
		select {
		case s.batches <- struct{}{}:
			defer func() { <-s.batches }()
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-s.closing.Done():
			return 0, errClosed
		}
	}
	return s.insist(ctx, stream, at, events)
}

// insist sends an append until it is known what became of it. at is where the stream stood; nothing of what is sent can be recorded but right after
// that, so that of all that was sent one at most is.
func (s *Store) insist(ctx context.Context, stream string, at head, events []eventstore.Event) (eventstore.Position, error) {
	limit := time.Now().Add(s.opts.Patience)
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, longestPause) {
		var position uint64
		err := s.attempt(ctx, attemptWrite, func(ctx context.Context) (err error) {
			position, err = s.send(ctx, stream, at, events)
			return err
		})
		if err == nil {
			s.heads.put(stream, head{at.version + eventstore.Version(len(events)), position})
			s.news.tell(position)
			return eventstore.Position(position), nil
		}
		if final(err) || ctx.Err() != nil || errors.Is(err, errClosed) {
			return 0, err
		}
		// Either somebody was quicker, perhaps an earlier attempt, or it is not known what became of it.
		now, _, asked := s.last(ctx, stream)
		switch {
		case asked != nil:
			return 0, asked
		case now.version > at.version:
			return s.settle(ctx, stream, now, at.version, events)
		}
		if time.Now().After(limit) {
			return 0, unavailable(err)
		}
		if err := s.pause(ctx, pause); err != nil {
			return 0, err
		}
	}
}

// send sends an append once and returns the position of its last event.
func (s *Store) send(ctx context.Context, stream string, at head, events []eventstore.Event) (position uint64, err error) {
	made := time.Now()
	defer func() { s.judge(err, made) }()
	msgs := s.encode(stream, at.version, at.position, events, rand.Text())
	final := len(msgs) - 1
	for _, m := range msgs[:final] {
		if err := s.nc.PublishMsg(m); err != nil {
			return 0, err
		}
	}
	reply, err := s.nc.RequestMsgWithContext(ctx, msgs[final])
	if err != nil {
		return 0, err
	}
	var ack struct {
		Error  *apiError `json:"error"`
		Stream string    `json:"stream"`
		Seq    uint64    `json:"seq"`
	}
	if err := json.Unmarshal(reply.Data, &ack); err != nil {
		return 0, fmt.Errorf("read an acknowledgement: %w", err)
	}
	if ack.Error != nil {
		return 0, ack.Error
	}
	if ack.Stream != s.address.stream || ack.Seq == 0 {
		return 0, fmt.Errorf("the acknowledgement is of stream %q", ack.Stream)
	}
	return ack.Seq, nil
}

// settle answers an append to a stream that is not at the caller's version: either these events are what was recorded there, or it is a
// conflict.
func (s *Store) settle(ctx context.Context, stream string, at head, after eventstore.Version, events []eventstore.Event) (eventstore.Position, error) {
	conflict := &eventstore.ConflictError{Stream: stream, After: after, Actual: at.version}
	want := after + eventstore.Version(len(events))
	if at.version < want {
		// What is remembered may be behind, and who is told of a conflict wants to know the truth.
		now, _, err := s.last(ctx, stream)
		if err != nil {
			return 0, err
		}
		if conflict.Actual = max(now.version, at.version); conflict.Actual < want {
			return 0, conflict
		}
		at = now
	}
	next := after
	for e, err := range s.stream(ctx, stream, after, at) {
		if err != nil {
			return 0, err
		}
		if e.ID != events[next-after].ID {
			return 0, conflict
		}
		if next++; next == want {
			return e.Position, nil
		}
	}
	return 0, fmt.Errorf("%w: the stream was not read to its end", eventstore.ErrUnavailable)
}

// last asks the leader where a stream stands, and for the last event that it had. There is none if the version is 0. What this store has recorded or
// read before is in it.
func (s *Store) last(ctx context.Context, stream string) (at head, e stored, err error) {
	err = s.retry(ctx, func(ctx context.Context) error {
		var ok bool
		if e, ok, err = s.getAtLeader(ctx, get{Last: s.subject(stream)}); err != nil || !ok {
			at, e = head{}, stored{}
		} else {
			at = e.end()
		}
		if known, _ := s.heads.get(stream); err == nil && at.version < known.version {
			// It was replaced and does not know yet, or has not caught up.
			return fmt.Errorf("the leader knows version %d of a stream that has come to %d", at.version, known.version)
		}
		return err
	})
	if err != nil {
		return head{}, stored{}, err
	}
	s.heads.put(stream, at)
	return at, e, nil
}
