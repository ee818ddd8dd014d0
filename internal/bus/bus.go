// Package bus repeats what is recorded on NATS: every committed event, exactly once, under subjects that spell the place of the matter, and the closure
// figures of areas as they change. Connected systems read their own subtree and nothing else, and may send commands, which are answered.
//
// What a node is made of:
//
//	Start      a NATS server in the process, with its data in a folder; it listens on no port unless asked to
//	Dial       a connection to a NATS server elsewhere
//	Prepare    makes the streams EVENTS and RATES as they must be
//	Relay      repeats events; any number may run, each event comes once
//	Rates      repeats figures likewise
//	Consumers  keeps a durable consumer for each connected system
//	Commands   carries out the commands that come over NATS
//
// Everything with a Run has ended when Run returns. An error that may pass Is eventstore.ErrUnavailable. Personal data stays sealed as it was recorded; the
// keys are nowhere near this package. docs/BUS.md is what connected systems read.
package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chuishao/dispatch/internal/eventstore"
)

// The streams, and how the subjects of each begin.
const (
	Events = "EVENTS"
	Rate   = "RATES"

	eventsRoot  = "events"
	ratesRoot   = "rates"
	liveRoot    = "live"
	commandRoot = "commands"
)

// Levels are the levels of areas that subjects have a token for, from the top.
var Levels = [depth]string{"city", "district", "street", "community", "grid"}

const depth = 5

// Shape is what the streams of a bus are like.
type Shape struct {
	// Replicas is on how many servers each message lies: 1 embedded, 3 in a cluster. 0 means 1.
	Replicas int
	// MaxAge is how long events stay; 0 means for ever. Rates stay for ever: the last of each area.
	MaxAge time.Duration
	// MaxBytes bounds the stream of events, of which the oldest go; 0 means no bound.
	MaxBytes int64
	// MaxMessages likewise: a server keeps some 230 bytes of each message's subject in memory. 0 means no bound.
	MaxMessages int64
}

// Prepare makes the streams, or makes them what the shape says. The server must be 2.12 or later and sync always, which it does not tell: a bus
// that loses its tail in a power cut would skip events of its readers.
func Prepare(ctx context.Context, nc *nats.Conn, shape Shape) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("prepare the bus: %w", err)
	}
	unless0 := func(n int64) int64 { return cmp.Or(n, -1) }
	for _, c := range []jetstream.StreamConfig{
		{
			Name: Events, Subjects: []string{eventsRoot + ".>"}, Description: "what was recorded, by place",
			MaxAge: shape.MaxAge, MaxBytes: unless0(shape.MaxBytes), MaxMsgs: unless0(shape.MaxMessages), MaxMsgsPerSubject: -1,
			RePublish: &jetstream.RePublish{Source: eventsRoot + ".>", Destination: liveRoot + ".>"},
		},
		{
			Name: Rate, Subjects: []string{ratesRoot + ".>"}, Description: "the last closure figures of each area",
			MaxBytes: -1, MaxMsgs: -1, MaxMsgsPerSubject: 1,
		},
	} {
		c.Storage, c.Retention, c.Discard = jetstream.FileStorage, jetstream.LimitsPolicy, jetstream.DiscardOld
		c.Replicas = max(shape.Replicas, 1)
		c.DenyDelete, c.AllowDirect, c.AllowAtomicPublish = true, true, true
		c.MaxConsumers, c.MaxMsgSize = -1, -1
		if _, err := js.CreateOrUpdateStream(ctx, c); err != nil {
			return passing(fmt.Errorf("prepare the stream %s: %w", c.Name, err))
		}
	}
	return nil
}

// passing says of an error of the connection, or of a server that has no leader now, that it may pass.
func passing(err error) error {
	var api *jetstream.APIError
	switch {
	case err == nil, errors.Is(err, eventstore.ErrUnavailable):
		return err
	case errors.As(err, &api) && api.Code < 500:
		return err
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrPermissionViolation), errors.Is(err, nats.ErrMaxPayload):
		return err
	}
	return fmt.Errorf("%w: %w", eventstore.ErrUnavailable, err)
}

// pause waits between attempts. It says whether the context goes on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

const retryAfter = time.Second
