package jetstream_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/chuishao/dispatch/internal/eventstore"
	"github.com/chuishao/dispatch/internal/eventstore/jetstream"
	"github.com/chuishao/dispatch/internal/eventstore/storetest"
)

func TestPromisesOnOneNode(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) *storetest.Harness { return harness(t, &single) })
}

func TestPromisesOnACluster(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) *storetest.Harness { return harness(t, &cluster) })
}

func harness(t *testing.T, on *shared) *storetest.Harness {
	if strings.Contains(t.Name(), "restart") {
		on = on.restarted
	}
	stream := fresh()
	url := on.url(t, stream)
	var at storetest.Swap
	at.Set(open(t, url))
	return &storetest.Harness{
		Store: at.Get,
		Reopen: func(tb storetest.TB) {
			if err := at.Get().(*jetstream.Store).Close(); err != nil {
				tb.Fatalf("close: %v", err)
			}
			at.Set(open(t, url))
		},
		Restart: func(tb storetest.TB) {
			if err := on.restart(tb.Context(), stream); err != nil {
				tb.Fatalf("restart: %v", err)
			}
		},
		Foreign: func(tb storetest.TB, name string) {
			nc, err := nats.Connect(on.nats.Node(0).URL())
			if err != nil {
				tb.Fatalf("connect: %v", err)
			}
			defer nc.Close()
			js, err := nc.JetStream()
			if err != nil {
				tb.Fatalf("connect: %v", err)
			}
			for _, subject := range []string{"%s.00.%s", "%s.ticket.%s", "%s.64.ticket-of-%s"} {
				if _, err := js.Publish(fmt.Sprintf(subject, stream, name), []byte("theirs")); err != nil {
					tb.Fatalf("record in %s: %v", name, err)
				}
			}
		},
	}
}

var _ eventstore.Store = (*jetstream.Store)(nil)
