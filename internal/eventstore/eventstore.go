// Package eventstore is the port behind which histories live: streams of events, each stream ordered and
// gap-free, all of them in one global order. A store holds bytes; it never learns what a ticket is.
//
// What every adapter must keep is written as checks in package storetest.
package eventstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
)

// Version is the number of events in one stream so far. A stream nobody wrote to is at 0; its first event
// has version 1.
type Version uint64

// Position is an event's place in the order of all events of a store. Positions grow with every event and
// may have gaps. 0 is before the first event.
type Position uint64

// Limits of one Append, set by the weakest of the supported stores and kept by all of them.
const (
	// MaxEvents is the largest number of events in one Append.
	MaxEvents = 500
	// MaxBytes is the largest sum, over the events of one Append, of Event.Size.
	MaxBytes = 900 << 10
)

// Kinds are the kinds of streams that belong to us. A stream's name is "<kind>-<id>". Streams of any other
// kind that share a server with ours are invisible.
var Kinds = []string{"ticket", "whistle", "wall", "registry", "audit", "subject", "listing", "admission", "period",
	"check", "review", "deliberation", "exchange"}

// Store is a history of streams of events.
type Store interface {
	// Append records all events or none, as the next events of the stream, durably: they survive a power cut
	// once Append has returned without an error. It returns the position of the last of them.
	//
	// *ConflictError: the stream is not at version after; nothing was recorded. Exception: if the events at
	// after+1… are these very events (same ids, in the same order), they were recorded by an earlier call whose outcome
	// was not learnt, and Append returns their position.
	// *LimitError: the events break a limit of the port; nothing was recorded, and never will be.
	// An error that Is ErrUnavailable, or a context's error, leaves it unknown whether the events were recorded: call
	// again with the same events.
	Append(ctx context.Context, stream string, after Version, events []Event) (Position, error)

	// ReadStream yields the events of a stream with a version greater than after, in order, up to the present end.
	// A stream nobody wrote to is empty. The first error ends the sequence. Breaking out of it frees everything.
	ReadStream(ctx context.Context, stream string, after Version) iter.Seq2[Recorded, error]

	// ReadAll yields the events of all streams with a position greater than after, in order, up to the present end.
	ReadAll(ctx context.Context, after Position) iter.Seq2[Recorded, error]

	// Subscribe is ReadAll that then waits for more. It ends with the context, whose error it yields last.
	Subscribe(ctx context.Context, after Position) iter.Seq2[Recorded, error]
}

// Event is one event to be recorded.
type Event struct {
	ID   [16]byte // a UUID made by the caller, the same at every attempt to record the event
	Type string   // 1 to 100 characters A-Z a-z 0-9, starting with an upper-case letter
	Meta []byte   // stored as they are, never re-encoded
	Data []byte   // stored as they are, never re-encoded
}

// Size is what the event counts towards MaxBytes.
func (e *Event) Size() int { return len(e.Meta) + len(e.Data) + 2*len(e.Type) }

// Recorded is an event that has been recorded. Its slices must not be changed.
type Recorded struct {
	Event
	Stream   string
	Version  Version
	Position Position
}

// ErrUnavailable marks an error that may pass and that leaves the outcome of an Append unknown.
var ErrUnavailable = errors.New("store unavailable")

// ConflictError says that a stream is not at the version the caller decided on.
type ConflictError struct {
	Stream string
	After  Version // what the caller expected
	Actual Version // what the store found
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("stream %s is at version %d, not %d", e.Stream, e.Actual, e.After)
}

// LimitError says that an Append breaks a limit of the port.
type LimitError struct {
	Field string // "stream", "events" or "events[i].type" and the like
	Limit string // what would be right, in words
}

func (e *LimitError) Error() string { return fmt.Sprintf("append: %s: %s", e.Field, e.Limit) }

// Check reports as a *LimitError what in an Append breaks a limit of the port. Every adapter calls it first.
func Check(stream string, events []Event) error {
	if err := CheckStream(stream); err != nil {
		return err
	}
	if len(events) == 0 || len(events) > MaxEvents {
		return &LimitError{"events", fmt.Sprintf("want 1 to %d events, got %d", MaxEvents, len(events))}
	}
	size := 0
	for i := range events {
		e := &events[i]
		size += e.Size()
		if !validType(e.Type) {
			return &LimitError{fmt.Sprintf("events[%d].type", i), "want 1 to 100 letters and digits, starting with an upper-case letter"}
		}
		if e.ID == ([16]byte{}) {
			return &LimitError{fmt.Sprintf("events[%d].id", i), "want a UUID, got none"}
		}
	}
	if size > MaxBytes {
		return &LimitError{"events", fmt.Sprintf("want at most %d bytes in one append, got %d", MaxBytes, size)}
	}
	return nil
}

// CheckStream reports as a *LimitError what is wrong with a stream's name: it must be one of our kinds, a
// hyphen, and 1 to 100 characters of A-Z a-z 0-9 - _ : in all.
func CheckStream(stream string) error {
	kind, id, _ := strings.Cut(stream, "-")
	known := false
	for _, k := range Kinds {
		known = known || k == kind
	}
	if !known || id == "" || len(stream) > 100 {
		return &LimitError{"stream", "want <kind>-<id> of a known kind, at most 100 characters"}
	}
	for i := 0; i < len(id); i++ {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == ':':
		default:
			return &LimitError{"stream", "want only letters, digits and - _ : in a stream's name"}
		}
	}
	return nil
}

func validType(t string) bool {
	if len(t) == 0 || len(t) > 100 || t[0] < 'A' || t[0] > 'Z' {
		return false
	}
	for i := 1; i < len(t); i++ {
		c := t[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9') {
			return false
		}
	}
	return true
}
