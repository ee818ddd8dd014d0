package storetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chuishao/dispatch/internal/eventstore"
)

// patience bounds what would wait for ever on a store that breaks its promise. No check waits that long on one that
// keeps it.
const patience = 20 * time.Second

// Checks returns every promise of the port.
func Checks() []Check {
	return []Check{
		{"an unknown stream is empty", unknownIsEmpty},
		{"versions count from one without gaps", versionsCount},
		{"bytes come back as they were given", bytesComeBack},
		{"what a sequence yielded may be kept", mayBeKept},
		{"the position returned is that of the last event", positionIsLast},
		{"an append at the wrong version changes nothing", wrongVersion},
		{"of many writers at one version exactly one wins", oneWins},
		{"nobody gets between the events of one append", nobodyBetween},
		{"after is exclusive", afterIsExclusive},
		{"the global order only grows and keeps each stream's order", globalOrder},
		{"reading all ends at the present end while others write", readAllEnds},
		{"what was answered can be read at once", readYourWrites},
		{"a subscriber misses nothing while others write", subscriberMissesNothing},
		{"a subscription ends when its context does", subscriptionEnds},
		{"a sequence ends with its context's error", sequenceEnds},
		{"breaking out of a sequence frees everything", breakFrees},
		{"a cancelled append is all or nothing", cancelledAppend},
		{"limits are kept", limitsAreKept},
		{"the same events sent again succeed with the same position", sentAgain},
		{"other events at a version already taken are a conflict", otherEventsConflict},
		{"what is recorded survives reopening", survivesReopening},
		{"a restart in the middle loses nothing", restartLosesNothing},
		{"streams that are not ours are invisible", foreignIsInvisible},
	}
}

func unknownIsEmpty(tb TB, h *Harness) {
	stream := name("ticket")
	for _, after := range []eventstore.Version{0, 1, 7} {
		if got := read(tb, h, stream, after); len(got) != 0 {
			tb.Errorf("read a stream nobody wrote to after %d: got %d events, want none", after, len(got))
		}
	}
	// Neither is it there because somebody asked for it.
	add(tb, h, stream, 0, events(1))
}

func versionsCount(tb TB, h *Harness) {
	stream, other := name("ticket"), name("whistle")
	want := 0
	for i, n := range []int{1, 3, 1, 7, 2} {
		add(tb, h, stream, eventstore.Version(want), events(n))
		add(tb, h, other, eventstore.Version(i), events(1))
		want += n
	}
	got := read(tb, h, stream, 0)
	if len(got) != want {
		tb.Fatalf("got %d events, want %d", len(got), want)
	}
	for i, e := range got {
		if e.Version != eventstore.Version(i+1) || e.Stream != stream {
			tb.Errorf("event %d: got version %d of %s, want %d of %s", i, e.Version, e.Stream, i+1, stream)
		}
	}
}

func bytesComeBack(tb TB, h *Harness) {
	stream := name("ticket")
	given := events(5)
	given[0].Meta, given[0].Data = nil, []byte{}
	given[1].Meta, given[1].Data = []byte{0}, []byte("\x00\xff\xfe 吹哨报到 '\"\n\x00")
	given[2].Data = bytes.Repeat([]byte{0xa5, 0}, 200<<10) // larger than any page
	given[3].Type = "A" + strings.Repeat("z9", 49) + "Z"
	given[4].Meta = []byte(`{"not":"json`)
	sent := copied(given)
	start := marker(tb, h)
	add(tb, h, stream, 0, sent)
	for i := range sent { // the caller may use its memory again
		scribble(sent[i].Meta)
		scribble(sent[i].Data)
	}
	compare(tb, "ReadStream", read(tb, h, stream, 0), given)
	compare(tb, "ReadAll", all(tb, h, start, stream), given)
}

func mayBeKept(tb TB, h *Harness) {
	stream := name("ticket")
	given := events(40)
	start := marker(tb, h)
	for i := range given {
		add(tb, h, stream, eventstore.Version(i), given[i:i+1])
	}
	one, every := read(tb, h, stream, 0), all(tb, h, start, stream)
	for range 3 { // later reads must not reuse the memory
		read(tb, h, stream, 20)
		all(tb, h, start, stream)
	}
	for _, kept := range [][]eventstore.Recorded{one, every} {
		for i := range kept { // growing one slice must not reach into the next
			_ = append(kept[i].Meta, "overrun"...)
			_ = append(kept[i].Data, "overrun"...)
		}
		compare(tb, "kept", kept, given)
	}
}

func positionIsLast(tb TB, h *Harness) {
	stream := name("ticket")
	for i, n := range []int{1, 4, 2} {
		before := read(tb, h, stream, 0)
		position := add(tb, h, stream, eventstore.Version(len(before)), events(n))
		got := read(tb, h, stream, 0)
		if len(got) == 0 {
			tb.Fatalf("append %d: nothing is recorded", i)
		}
		if last := got[len(got)-1].Position; last != position || position == 0 {
			tb.Errorf("append %d: returned position %d, the last event is at %d", i, position, last)
		}
	}
}

func wrongVersion(tb TB, h *Harness) {
	stream := name("ticket")
	given := events(3)
	add(tb, h, stream, 0, given)
	for _, after := range []eventstore.Version{0, 1, 2, 4, 99} {
		conflicts(tb, h, stream, after, 3, events(2))
	}
	compare(tb, "after refused appends", read(tb, h, stream, 0), given)
	unborn := name("ticket")
	conflicts(tb, h, unborn, 1, 0, events(1))
	if got := read(tb, h, unborn, 0); len(got) != 0 {
		tb.Errorf("a refused append made a stream of %d events", len(got))
	}
	add(tb, h, stream, 3, events(1))
}

func oneWins(tb TB, h *Harness) {
	const writers, rounds = 16, 10
	stream := name("ticket")
	for round := range rounds {
		type answer struct {
			id       [16]byte
			position eventstore.Position
			err      error
		}
		answers := make([]answer, writers)
		together(writers, func(w int) {
			given := events(1)
			position, err := h.Store().Append(tb.Context(), stream, eventstore.Version(round), given)
			answers[w] = answer{given[0].ID, position, err}
		})
		var won []answer
		for _, a := range answers {
			if a.err == nil {
				won = append(won, a)
			} else if c, ok := errors.AsType[*eventstore.ConflictError](a.err); !ok {
				tb.Errorf("round %d: got %v, want a conflict", round, a.err)
			} else if c.After != eventstore.Version(round) || c.Actual <= c.After {
				tb.Errorf("round %d: conflict says after %d, actual %d", round, c.After, c.Actual)
			}
		}
		if len(won) != 1 {
			tb.Fatalf("round %d: %d of %d writers won, want 1", round, len(won), writers)
		}
		got := read(tb, h, stream, eventstore.Version(round))
		if len(got) != 1 || got[0].ID != won[0].id {
			tb.Fatalf("round %d: what is recorded is not what won", round)
		}
	}
}

func nobodyBetween(tb TB, h *Harness) {
	const writers, appends, size = 8, 5, 6
	stream := name("ticket")
	start := marker(tb, h)
	together(writers, func(w int) {
		given := make([][]eventstore.Event, appends)
		for i := range given {
			given[i] = events(size)
			for j := range given[i] {
				given[i][j].Data = []byte{byte(w), byte(i), byte(j)}
			}
			for !tryAtEnd(tb, h, stream, given[i]) {
				runtime.Gosched()
			}
		}
	})
	for where, got := range map[string][]eventstore.Recorded{"stream": read(tb, h, stream, 0), "all": all(tb, h, start, stream)} {
		if len(got) != writers*appends*size {
			tb.Fatalf("%s: got %d events, want %d", where, len(got), writers*appends*size)
		}
		for i, e := range got {
			first := got[i-i%size]
			if !bytes.Equal(e.Data[:2], first.Data[:2]) || e.Data[2] != byte(i%size) {
				tb.Fatalf("%s: event %d is %v, in the middle of the append of %v", where, i, e.Data, first.Data)
			}
		}
	}
}

func afterIsExclusive(tb TB, h *Harness) {
	stream := name("ticket")
	start := marker(tb, h)
	given := events(5)
	add(tb, h, stream, 0, given[:2])
	add(tb, h, stream, 2, given[2:])
	for after := range len(given) + 2 {
		compare(tb, fmt.Sprintf("ReadStream after %d", after), read(tb, h, stream, eventstore.Version(after)), given[min(after, len(given)):])
	}
	recorded := read(tb, h, stream, 0)
	for i, e := range recorded {
		compare(tb, fmt.Sprintf("ReadAll after event %d", i), all(tb, h, e.Position, stream), given[i+1:])
		if i+1 < len(given) {
			compare(tb, fmt.Sprintf("Subscribe after event %d", i), follow(tb, h, e.Position, len(given)-i-1, stream), given[i+1:])
		}
	}
	compare(tb, "Subscribe after the one before", follow(tb, h, start, len(given), stream), given)
}

func globalOrder(tb TB, h *Harness) {
	const writers, appends = 8, 12
	start := marker(tb, h)
	streams := make([]string, writers)
	for w := range streams {
		streams[w] = name("ticket")
	}
	together(writers, func(w int) {
		for i := range appends {
			add(tb, h, streams[w], eventstore.Version(2*i), events(2))
		}
	})
	first := all(tb, h, start, streams...)
	if len(first) != writers*appends*2 {
		tb.Fatalf("got %d events, want %d", len(first), writers*appends*2)
	}
	ordered(tb, first)
	ordered(tb, follow(tb, h, start, len(first), streams...))
	for i, e := range all(tb, h, start, streams...) {
		if e.ID != first[i].ID || e.Position != first[i].Position {
			tb.Fatalf("event %d is another when read again", i)
		}
	}
	for _, stream := range streams {
		ordered(tb, read(tb, h, stream, 0))
	}
}

func readAllEnds(tb TB, h *Harness) {
	start := marker(tb, h)
	stream := name("ticket")
	add(tb, h, stream, 0, events(1))
	// Every event read makes another: a sequence that runs after the end never gets there.
	ctx, cancel := soon(tb)
	defer cancel()
	seen := 0
	for e, err := range h.Store().ReadAll(ctx, start) {
		if err != nil {
			tb.Fatalf("read all: %v", err)
		}
		if e.Stream != stream {
			continue
		}
		add(tb, h, stream, eventstore.Version(seen+1), events(1))
		if seen++; seen > 3000 {
			tb.Fatalf("the sequence follows what is appended while it is read")
		}
	}
	if seen == 0 {
		tb.Errorf("what was there at the beginning was not read")
	}
}

func readYourWrites(tb TB, h *Harness) {
	together(4, func(int) {
		stream := name("ticket")
		last := marker(tb, h)
		for i := range 25 {
			position := add(tb, h, stream, eventstore.Version(i), events(1))
			if got := read(tb, h, stream, eventstore.Version(i)); len(got) != 1 {
				tb.Errorf("read the stream after append %d: got %d events, want 1", i, len(got))
			}
			if got := all(tb, h, last, stream); len(got) != 1 {
				tb.Errorf("read all after append %d: got %d events, want 1", i, len(got))
			}
			last = position
		}
	})
}

func subscriberMissesNothing(tb TB, h *Harness) {
	const writers, appends, subscribers = 6, 40, 3
	start := marker(tb, h)
	streams := make([]string, writers)
	for w := range streams {
		streams[w] = name("ticket")
	}
	want := writers * appends
	got := make([][]eventstore.Recorded, subscribers)
	together(writers+subscribers, func(i int) {
		if i < subscribers {
			got[i] = follow(tb, h, start, want, streams...)
			return
		}
		for n := range appends {
			add(tb, h, streams[i-subscribers], eventstore.Version(n), events(1))
			if n%8 == 7 {
				// Let the subscribers reach the end and wait, as they mostly do.
				follow(tb, h, start, n, streams[i-subscribers])
			}
		}
	})
	for i := range got {
		if len(got[i]) != want {
			tb.Fatalf("subscriber %d: got %d events, want %d", i, len(got[i]), want)
		}
		ordered(tb, got[i])
	}
	// One at a time, so that each event finds the subscriber waiting at the end.
	ctx, cancel := soon(tb)
	defer cancel()
	next, stop := iter.Pull2(h.Store().Subscribe(ctx, marker(tb, h)))
	defer stop()
	lone := name("ticket")
	for n := range 20 {
		var arrived eventstore.Recorded
		var last error
		given := events(1)
		together(2, func(i int) {
			if i == 1 {
				add(tb, h, lone, eventstore.Version(n), given)
				return
			}
			for ok := true; ok && last == nil && arrived.Stream != lone; {
				arrived, last, ok = next()
			}
		})
		if last != nil || arrived.ID != given[0].ID {
			tb.Fatalf("event %d does not arrive at a subscriber that waits for it: %v", n, last)
		}
	}
}

func subscriptionEnds(tb TB, h *Harness) {
	limit, enough := soon(tb)
	defer enough()
	add(tb, h, name("ticket"), 0, events(1))
	cause := map[string]func() (context.Context, context.CancelFunc){
		"cancelled": func() (context.Context, context.CancelFunc) { return context.WithCancel(tb.Context()) },
		"deadline": func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(tb.Context(), 30*time.Millisecond)
		},
	}
	for which, begin := range cause {
		ctx, cancel := begin()
		after := marker(tb, h)
		mine := name("ticket")
		arrived, ended := make(chan struct{}), make(chan error, 1)
		go func() {
			var last error
			for e, err := range h.Store().Subscribe(ctx, after) {
				if e.Stream == mine {
					close(arrived)
				}
				last = err
			}
			ended <- last
		}()
		add(tb, h, mine, 0, events(1))
		if which == "cancelled" {
			select {
			case <-arrived: // the subscriber is at the end now, or nearly
			case <-limit.Done():
				cancel()
				tb.Fatalf("%s: the event does not arrive", which)
			}
			cancel()
		}
		select {
		case err := <-ended:
			if err == nil || !errors.Is(err, ctx.Err()) {
				tb.Errorf("%s: the last error is %v, want %v", which, err, ctx.Err())
			}
		case <-limit.Done():
			cancel()
			tb.Fatalf("%s: the subscription goes on", which)
		}
		cancel()
	}
}

func sequenceEnds(tb TB, h *Harness) {
	stream := name("ticket")
	start := marker(tb, h)
	add(tb, h, stream, 0, events(100))
	for which, sequence := range map[string]func(context.Context) iter.Seq2[eventstore.Recorded, error]{
		"ReadStream": func(ctx context.Context) iter.Seq2[eventstore.Recorded, error] {
			return h.Store().ReadStream(ctx, stream, 0)
		},
		"ReadAll": func(ctx context.Context) iter.Seq2[eventstore.Recorded, error] {
			return h.Store().ReadAll(ctx, start)
		},
		"Subscribe": func(ctx context.Context) iter.Seq2[eventstore.Recorded, error] {
			return h.Store().Subscribe(ctx, start)
		},
	} {
		dead, kill := context.WithCancel(tb.Context())
		kill()
		var first error
		for _, err := range sequence(dead) {
			first = err
			break
		}
		if !errors.Is(first, context.Canceled) {
			tb.Errorf("%s with a context that has ended: got %v, want its error", which, first)
		}
		ctx, cancel := context.WithCancel(tb.Context())
		seen := 0
		var last error
		for _, err := range sequence(ctx) {
			if last != nil {
				tb.Errorf("%s goes on after an error", which)
				break
			}
			if last = err; err == nil {
				if seen++; seen == 3 {
					cancel()
				}
			}
			if seen >= 100 { // a subscription that does not look at its context would wait for ever now
				break
			}
		}
		cancel()
		if !errors.Is(last, context.Canceled) {
			tb.Errorf("%s cancelled after 3 events: ended after %d with %v, want the context's error", which, seen, last)
		}
	}
}

func breakFrees(tb TB, h *Harness) {
	stream := name("ticket")
	start := marker(tb, h)
	add(tb, h, stream, 0, events(20))
	ctx, cancel := soon(tb)
	defer cancel()
	for range 100 {
		for _, sequence := range []iter.Seq2[eventstore.Recorded, error]{
			h.Store().ReadStream(ctx, stream, 0), h.Store().ReadAll(ctx, start), h.Store().Subscribe(ctx, start),
		} {
			for _, err := range sequence {
				if err != nil {
					tb.Fatalf("read after breaking out often: %v", err)
				}
				break
			}
		}
	}
	// Reading and appending inside a loop over a sequence works too, however deep.
	depth := 0
	var dive func()
	dive = func() {
		for _, err := range h.Store().ReadStream(ctx, stream, 0) {
			if err != nil {
				tb.Fatalf("read inside a loop over a sequence, %d deep: %v", depth, err)
			}
			if depth++; depth < 40 {
				dive()
			}
			break
		}
	}
	dive()
	if _, err := h.Store().Append(ctx, stream, 20, events(1)); err != nil {
		tb.Errorf("append after breaking out often: %v", err)
	}
}

func cancelledAppend(tb TB, h *Harness) {
	const size = 5
	for i := range 60 {
		stream := name("ticket")
		given := events(size)
		ctx, cancel := context.WithCancel(tb.Context())
		switch {
		case i%6 == 0:
			cancel()
		default:
			// Company, so that there is a queue to be cancelled in.
			go func() {
				for range i * 20 {
					runtime.Gosched()
				}
				cancel()
			}()
		}
		var position eventstore.Position
		var err error
		together(4, func(w int) {
			if w == 0 {
				position, err = h.Store().Append(ctx, stream, 0, given)
				return
			}
			add(tb, h, name("ticket"), 0, events(1))
		})
		cancel()
		if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, eventstore.ErrUnavailable) {
			tb.Errorf("cancelled append: got %v, want the context's error", err)
		}
		got := read(tb, h, stream, 0)
		if len(got) != 0 && len(got) != size {
			tb.Fatalf("a cancelled append of %d events recorded %d", size, len(got))
		}
		if err == nil && len(got) != size {
			tb.Fatalf("an append succeeded and recorded %d of %d events", len(got), size)
		}
		again := add(tb, h, stream, 0, given)
		if err == nil && again != position {
			tb.Errorf("sent again: position %d, was %d", again, position)
		}
		compare(tb, "sent again after a cancelled append", read(tb, h, stream, 0), given)
	}
}

func limitsAreKept(tb TB, h *Harness) {
	stream := name("ticket")
	with := func(change func(*eventstore.Event)) []eventstore.Event {
		given := events(2)
		change(&given[1])
		return given
	}
	heavy := func(total int) []eventstore.Event {
		given := events(2)
		given[0].Meta, given[0].Data, given[1].Meta, given[1].Data = nil, nil, nil, nil
		rest := total - given[0].Size() - given[1].Size()
		given[0].Data = make([]byte, rest/2)
		given[1].Meta = make([]byte, rest-rest/2)
		return given
	}
	for what, given := range map[string][]eventstore.Event{
		"no events":                        {},
		"too many events":                  events(eventstore.MaxEvents + 1),
		"too many bytes":                   heavy(eventstore.MaxBytes + 1),
		"a type that is empty":             with(func(e *eventstore.Event) { e.Type = "" }),
		"a type in lower case":             with(func(e *eventstore.Event) { e.Type = "dispatched" }),
		"a type with a dot":                with(func(e *eventstore.Event) { e.Type = "Ticket.Dispatched" }),
		"a type that is too long":          with(func(e *eventstore.Event) { e.Type = "A" + strings.Repeat("b", 100) }),
		"an event without an id":           with(func(e *eventstore.Event) { e.ID = [16]byte{} }),
		"a type that is not ASCII letters": with(func(e *eventstore.Event) { e.Type = "A派单" }),
	} {
		limited(tb, h, what, stream, given)
	}
	for _, bad := range []string{"", "ticket", "ticket-", "-x", "order-1", "Ticket-1", "ticket-a b", "ticket-a*", "ticket-a.b", "ticket-区", "$all", "ticket-" + strings.Repeat("a", 100)} {
		limited(tb, h, fmt.Sprintf("stream %q", bad), bad, events(1))
	}
	if got := read(tb, h, stream, 0); len(got) != 0 {
		tb.Fatalf("refused appends recorded %d events", len(got))
	}
	for what, given := range map[string][]eventstore.Event{
		"the most events": events(eventstore.MaxEvents), "the most bytes": heavy(eventstore.MaxBytes),
	} {
		longest := name("ticket")
		longest += strings.Repeat("a", 100-len(longest))
		if _, err := h.Store().Append(tb.Context(), longest, 0, given); err != nil {
			tb.Errorf("%s: got %v, want it recorded", what, err)
			continue
		}
		compare(tb, what, read(tb, h, longest, 0), given)
	}
}

func sentAgain(tb TB, h *Harness) {
	stream := name("ticket")
	one, two, three := events(1), events(3), events(2)
	p1 := add(tb, h, stream, 0, one)
	p2 := add(tb, h, stream, 1, two)
	p3 := add(tb, h, stream, 4, three)
	for range 2 {
		for _, sent := range []struct {
			after  eventstore.Version
			events []eventstore.Event
			want   eventstore.Position
		}{{0, one, p1}, {1, two, p2}, {4, three, p3}} {
			if got := add(tb, h, stream, sent.after, copied(sent.events)); got != sent.want {
				tb.Errorf("events after %d sent again: got position %d, want %d", sent.after, got, sent.want)
			}
		}
		if got := read(tb, h, stream, 0); len(got) != 6 {
			tb.Fatalf("sent again: the stream has %d events, want 6", len(got))
		}
		h.Reopen(tb)
	}
	// At the same time too, as when a client gives up waiting and tries again.
	for v := range 10 {
		given := events(2)
		positions := make([]eventstore.Position, 8)
		together(len(positions), func(w int) {
			positions[w] = add(tb, h, stream, eventstore.Version(6+2*v), given)
		})
		if slices.Min(positions) != slices.Max(positions) {
			tb.Errorf("sent by several at once: got positions %v, want one", positions)
		}
	}
	if got := read(tb, h, stream, 0); len(got) != 26 {
		tb.Errorf("the stream has %d events, want 26", len(got))
	}
}

func otherEventsConflict(tb TB, h *Harness) {
	stream := name("ticket")
	given := events(4)
	add(tb, h, stream, 0, given[:2])
	add(tb, h, stream, 2, given[2:])
	other := events(2)
	swapped := []eventstore.Event{given[1], given[0]}
	longer := append(copied(given), other[0])
	for what, sent := range map[string]struct {
		after  eventstore.Version
		events []eventstore.Event
	}{
		"other ids":                        {2, other},
		"the same in another order":        {0, swapped},
		"the same at another version":      {1, given[:2]},
		"the first the same":               {2, []eventstore.Event{given[2], other[0]}},
		"the last the same":                {2, []eventstore.Event{other[0], given[3]}},
		"the same and one more":            {0, longer},
		"the last of them and one more":    {3, []eventstore.Event{given[3], other[0]}},
		"other ids at the first version":   {0, other},
		"the same ones past the end again": {3, given[2:]},
	} {
		if _, err := h.Store().Append(tb.Context(), stream, sent.after, sent.events); !isConflict(err) {
			tb.Errorf("%s: got %v, want a conflict", what, err)
		}
	}
	compare(tb, "after conflicts", read(tb, h, stream, 0), given)
}

func survivesReopening(tb TB, h *Harness) {
	start := marker(tb, h)
	streams := []string{name("ticket"), name("wall"), name("audit")}
	for i, stream := range streams {
		for v := range 3 + i {
			add(tb, h, stream, eventstore.Version(v), events(1))
		}
	}
	before := all(tb, h, start, streams...)
	for round := range 3 {
		h.Reopen(tb)
		after := all(tb, h, start, streams...)
		if len(after) != len(before) {
			tb.Fatalf("reopened: got %d events, want %d", len(after), len(before))
		}
		for i := range before {
			if !same(&before[i], &after[i]) {
				tb.Fatalf("reopened: event %d differs: got %+v, want %+v", i, after[i], before[i])
			}
		}
		// And the history goes on where it was.
		conflicts(tb, h, streams[0], 0, eventstore.Version(3+round), events(1))
		add(tb, h, streams[0], eventstore.Version(3+round), events(1))
		before = all(tb, h, start, streams...)
		ordered(tb, before)
	}
}

func restartLosesNothing(tb TB, h *Harness) {
	const writers, appends = 6, 30
	start := marker(tb, h)
	streams := make([]string, writers)
	for w := range streams {
		streams[w] = name("ticket")
	}
	limit, enough := soon(tb)
	defer enough()
	back, half := make(chan struct{}), make(chan struct{})
	var reached sync.Once
	together(writers+1, func(w int) {
		if w == writers {
			defer close(back)
			<-half
			h.Restart(tb)
			return
		}
		defer reached.Do(func() { close(half) }) // should the writer fail before
		for i := range appends {
			if i == appends/2 {
				reached.Do(func() { close(half) })
			}
			given := events(2)
			_, err := h.Store().Append(tb.Context(), streams[w], eventstore.Version(2*i), given)
			for errors.Is(err, eventstore.ErrUnavailable) && limit.Err() == nil {
				<-back // and then the same events again, since the outcome is unknown
				_, err = h.Store().Append(tb.Context(), streams[w], eventstore.Version(2*i), given)
			}
			if err != nil {
				tb.Errorf("append %d across a restart: %v", i, err)
				return
			}
		}
	})
	h.Restart(tb)
	for _, stream := range streams {
		if got := read(tb, h, stream, 0); len(got) != 2*appends {
			tb.Errorf("got %d events after a restart, want %d", len(got), 2*appends)
		}
	}
	ordered(tb, all(tb, h, start, streams...))
}

func foreignIsInvisible(tb TB, h *Harness) {
	start := marker(tb, h)
	foreign := "theirs-" + hex.EncodeToString(random(8))
	if _, err := h.Store().Append(tb.Context(), foreign, 0, events(1)); err == nil {
		tb.Errorf("append to %s succeeded, want it refused", foreign)
	}
	if h.Foreign != nil {
		h.Foreign(tb, foreign)
	}
	last := marker(tb, h) // so that a subscriber passes what is foreign
	for e, err := range h.Store().ReadStream(tb.Context(), foreign, 0) {
		if err == nil {
			tb.Errorf("read %s: got version %d, want nothing", foreign, e.Version)
		}
	}
	for which, sequence := range map[string]iter.Seq2[eventstore.Recorded, error]{
		"ReadAll": h.Store().ReadAll(tb.Context(), start), "Subscribe": h.Store().Subscribe(tb.Context(), start),
	} {
		for e, err := range sequence {
			if err != nil {
				tb.Fatalf("%s: %v", which, err)
			}
			if eventstore.CheckStream(e.Stream) != nil {
				tb.Errorf("%s yields an event of %s", which, e.Stream)
			}
			if e.Position >= last {
				break
			}
		}
	}
}

// name returns the name of a stream that nobody has written to.
func name(kind string) string { return kind + "-" + hex.EncodeToString(random(16)) }

// soon returns a context that bounds a wait.
func soon(tb TB) (context.Context, context.CancelFunc) {
	return context.WithTimeout(tb.Context(), patience)
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func events(n int) []eventstore.Event {
	made := make([]eventstore.Event, n)
	for i := range made {
		made[i] = eventstore.Event{Type: "TicketDispatched", Meta: random(20), Data: random(40)}
		copy(made[i].ID[:], random(16))
		made[i].ID[6] = made[i].ID[6]&0x0f | 0x40
		made[i].ID[8] = made[i].ID[8]&0x3f | 0x80
	}
	return made
}

func copied(given []eventstore.Event) []eventstore.Event {
	made := slices.Clone(given)
	for i := range made {
		made[i].Meta, made[i].Data = bytes.Clone(made[i].Meta), bytes.Clone(made[i].Data)
	}
	return made
}

func scribble(b []byte) {
	for i := range b {
		b[i] = '!'
	}
}

// together runs f(0) to f(n-1) at the same time and waits for all.
func together(n int, f func(int)) {
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-begin
			f(i)
		})
	}
	close(begin)
	wg.Wait()
}

// add appends what must be recorded. It is called on many goroutines, so it goes on after an error.
func add(tb TB, h *Harness, stream string, after eventstore.Version, given []eventstore.Event) eventstore.Position {
	tb.Helper()
	position, err := h.Store().Append(tb.Context(), stream, after, given)
	if err != nil {
		tb.Errorf("append %d events to %s after %d: %v", len(given), stream, after, err)
	}
	return position
}

// marker appends an event of no interest and returns its position, for checks that look at what comes after.
func marker(tb TB, h *Harness) eventstore.Position {
	tb.Helper()
	return add(tb, h, name("period"), 0, events(1))
}

// tryAtEnd appends at the end of the stream and reports whether nobody was faster.
func tryAtEnd(tb TB, h *Harness, stream string, given []eventstore.Event) bool {
	end := eventstore.Version(len(read(tb, h, stream, 0)))
	_, err := h.Store().Append(tb.Context(), stream, end, given)
	if err != nil && !isConflict(err) {
		tb.Errorf("append: %v", err)
		return true
	}
	return err == nil
}

func isConflict(err error) bool {
	_, ok := errors.AsType[*eventstore.ConflictError](err)
	return ok
}

func conflicts(tb TB, h *Harness, stream string, after, actual eventstore.Version, given []eventstore.Event) {
	tb.Helper()
	_, err := h.Store().Append(tb.Context(), stream, after, given)
	got, ok := errors.AsType[*eventstore.ConflictError](err)
	if want := (eventstore.ConflictError{Stream: stream, After: after, Actual: actual}); !ok || *got != want {
		tb.Errorf("append after %d to a stream at %d: got %v, want %v", after, actual, err, &want)
	}
}

func limited(tb TB, h *Harness, what, stream string, given []eventstore.Event) {
	tb.Helper()
	_, err := h.Store().Append(tb.Context(), stream, 0, given)
	if _, ok := errors.AsType[*eventstore.LimitError](err); !ok {
		tb.Errorf("%s: got %v, want a *LimitError", what, err)
	}
}

func read(tb TB, h *Harness, stream string, after eventstore.Version) []eventstore.Recorded {
	tb.Helper()
	return collect(tb, h.Store().ReadStream(tb.Context(), stream, after), stream)
}

func all(tb TB, h *Harness, after eventstore.Position, streams ...string) []eventstore.Recorded {
	tb.Helper()
	return collect(tb, h.Store().ReadAll(tb.Context(), after), streams...)
}

func collect(tb TB, sequence iter.Seq2[eventstore.Recorded, error], streams ...string) []eventstore.Recorded {
	tb.Helper()
	var got []eventstore.Recorded
	for e, err := range sequence {
		if err != nil {
			tb.Errorf("read: %v", err)
			return got
		}
		if slices.Contains(streams, e.Stream) {
			got = append(got, e)
		}
	}
	return got
}

// follow subscribes until n events of the streams have arrived.
func follow(tb TB, h *Harness, after eventstore.Position, n int, streams ...string) []eventstore.Recorded {
	tb.Helper()
	if n == 0 {
		return nil
	}
	ctx, cancel := soon(tb)
	defer cancel()
	var got []eventstore.Recorded
	for e, err := range h.Store().Subscribe(ctx, after) {
		if err != nil {
			tb.Errorf("subscribe: got %d of %d events, then %v", len(got), n, err)
			return got
		}
		if slices.Contains(streams, e.Stream) {
			if got = append(got, e); len(got) == n {
				return got
			}
		}
	}
	tb.Errorf("subscribe: ended after %d of %d events without an error", len(got), n)
	return got
}

// ordered reports positions that do not grow and streams whose versions do not follow each other.
func ordered(tb TB, got []eventstore.Recorded) {
	tb.Helper()
	at := make(map[string]eventstore.Version)
	for i, e := range got {
		if i > 0 && e.Position <= got[i-1].Position {
			tb.Errorf("position %d comes after %d", e.Position, got[i-1].Position)
			return
		}
		if e.Version != at[e.Stream]+1 {
			tb.Errorf("version %d of %s comes after %d", e.Version, e.Stream, at[e.Stream])
			return
		}
		at[e.Stream] = e.Version
	}
}

func same(a, b *eventstore.Recorded) bool {
	return sameEvent(&a.Event, &b.Event) && a.Stream == b.Stream && a.Version == b.Version && a.Position == b.Position
}

func sameEvent(a, b *eventstore.Event) bool {
	return a.ID == b.ID && a.Type == b.Type && bytes.Equal(a.Meta, b.Meta) && bytes.Equal(a.Data, b.Data)
}

func compare(tb TB, what string, got []eventstore.Recorded, want []eventstore.Event) {
	tb.Helper()
	if len(got) != len(want) {
		tb.Errorf("%s: got %d events, want %d", what, len(got), len(want))
		return
	}
	for i := range want {
		if !sameEvent(&got[i].Event, &want[i]) {
			tb.Errorf("%s: event %d is not as it was given", what, i)
		}
	}
}
