package event

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/eventstore"
)

func TestEveryMessageOfTheEventFileIsAnEventOrAPart(t *testing.T) {
	t.Parallel()
	messages := pb.File_chuishao_v1_events_proto.Messages()
	for i := range messages.Len() {
		name := string(messages.Get(i).Name())
		if _, event := types[name]; event == slices.Contains(parts, name) {
			t.Errorf("%s: want it in exactly one of types and parts", name)
		}
	}
	if got, want := len(types)+len(parts), messages.Len(); got != want {
		t.Errorf("got %d names, want %d", got, want)
	}
}

func record(t *testing.T, n int) []eventstore.Recorded {
	t.Helper()
	var prev Hash
	var out []eventstore.Recorded
	for i := range n {
		v := eventstore.Version(i + 1)
		e, err := Encode("ticket-1", v, prev, &pb.EventMeta{RequestId: "r", Index: uint32(i)}, &pb.ProgressRecorded{Sealed: &pb.Sealed{Subject: "s", Box: []byte{1, 2, byte(i)}}})
		if err != nil {
			t.Fatal(err)
		}
		r := eventstore.Recorded{Event: e, Stream: "ticket-1", Version: v}
		if prev, err = Verify(prev, &r); err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

func TestAnEventReadsBackAsWritten(t *testing.T) {
	t.Parallel()
	r := record(t, 1)[0]
	d, err := Decode(r)
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Event.(*pb.ProgressRecorded).Sealed.Box; !slices.Equal(got, []byte{1, 2, 0}) {
		t.Errorf("got %v", got)
	}
	if d.Meta.RequestId != "r" || d.Hash() == (Hash{}) {
		t.Errorf("got %v", d.Meta)
	}
	meta, err := proto.Marshal(d.Meta)
	if err != nil || !slices.Equal(meta, r.Meta) {
		t.Errorf("the envelope's bytes differ when written again: %v", err)
	}
}

func TestAnyFlippedBitBreaksTheChain(t *testing.T) {
	t.Parallel()
	r := record(t, 1)[0]
	flip := func(what string, b []byte) {
		for i := range b {
			b[i] ^= 1
			if _, err := Verify(Hash{}, &r); err == nil {
				t.Errorf("%s: byte %d changed unnoticed", what, i)
			}
			b[i] ^= 1
		}
	}
	flip("meta", r.Meta)
	flip("data", r.Data)
	flip("id", r.ID[:])
	for _, change := range []func(r *eventstore.Recorded){
		func(r *eventstore.Recorded) { r.Stream = "ticket-2" },
		func(r *eventstore.Recorded) { r.Version++ },
		func(r *eventstore.Recorded) { r.Type = "TicketSigned" },
	} {
		changed := r
		change(&changed)
		if _, err := Verify(Hash{}, &changed); err == nil {
			t.Errorf("changed unnoticed: %+v", changed)
		}
	}
}

func TestDroppedInsertedAndMovedEventsBreakTheChain(t *testing.T) {
	t.Parallel()
	walk := func(events []eventstore.Recorded) error {
		var prev Hash
		for i := range events {
			var err error
			if prev, err = Verify(prev, &events[i]); err != nil {
				return err
			}
		}
		return nil
	}
	events := record(t, 4)
	if err := walk(events); err != nil {
		t.Fatal(err)
	}
	for name, broken := range map[string][]eventstore.Recorded{
		"dropped":  {events[0], events[2], events[3]},
		"inserted": {events[0], events[1], events[1], events[2]},
		"moved":    {events[0], events[2], events[1], events[3]},
	} {
		if walk(broken) == nil {
			t.Errorf("%s unnoticed", name)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("TicketReported", []byte{0x7a, 0x20}, []byte{1})
	f.Fuzz(func(t *testing.T, typ string, meta, data []byte) {
		r := eventstore.Recorded{Event: eventstore.Event{Type: typ, Meta: meta, Data: data}, Stream: "ticket-1", Version: 1}
		_, _ = Decode(r)
		if _, err := Verify(Hash{}, &r); err == nil {
			t.Error("garbage verifies")
		}
	})
}
