package event

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/chuishao/dispatch/api/gen/chuishao/v1"
	"github.com/chuishao/dispatch/internal/eventstore"
)

var addGolden = flag.Bool("golden", false, "add examples of event types that have none; those that are there stay")

// golden is an event as it was once recorded, alone in its stream.
type golden struct {
	Type string `json:"type"`
	ID   string `json:"id"`
	Meta string `json:"meta"`
	Data string `json:"data"`
}

const goldenStream = "ticket-00000000-0000-0000-0000-000000000001"

// Every event that was ever recorded must be understood for ever. The examples are bytes as a release wrote them, with every field
// set; none is ever changed or taken away.
func TestEveryRecordedEventIsUnderstoodForEver(t *testing.T) {
	t.Parallel()
	const file = "testdata/golden.json"
	text, err := os.ReadFile(file)
	if err != nil && !(*addGolden && errors.Is(err, fs.ErrNotExist)) {
		t.Fatal(err)
	}
	var examples []golden
	if len(text) > 0 {
		if err := json.Unmarshal(text, &examples); err != nil {
			t.Fatal(err)
		}
	}
	if *addGolden {
		examples = slices.Concat(examples, missing(t, examples))
		text, err := json.MarshalIndent(examples, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if more := missing(t, examples); len(more) > 0 {
		t.Errorf("no example of %s and %d more; add them with -golden", more[0].Type, len(more)-1)
	}
	for _, g := range examples {
		r := eventstore.Recorded{Stream: goldenStream, Version: 1}
		r.Type, r.ID, r.Meta, r.Data = g.Type, [16]byte(decode(t, g.ID)), decode(t, g.Meta), decode(t, g.Data)
		if _, err := Verify(Hash{}, &r); err != nil {
			t.Errorf("%s: %v", g.Type, err)
		}
		d, err := Decode(r)
		if err != nil {
			t.Errorf("%s: %v", g.Type, err)
			continue
		}
		if data, err := marshal.Marshal(d.Event); err != nil || !bytes.Equal(data, r.Data) {
			t.Errorf("%s: written again it has other bytes (%v)", g.Type, err)
		}
		if meta, err := marshal.Marshal(d.Meta); err != nil || !bytes.Equal(meta, r.Meta) {
			t.Errorf("%s: written again its envelope has other bytes (%v)", g.Type, err)
		}
		for _, m := range []proto.Message{d.Event, d.Meta} {
			if field := unknown(m.ProtoReflect()); field != "" {
				t.Errorf("%s: %s has a field that is not known any more", g.Type, field)
			}
		}
	}
}

func decode(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// missing makes an example of each event type that has none.
func missing(t *testing.T, have []golden) []golden {
	t.Helper()
	names := Types()
	slices.Sort(names)
	var more []golden
	for _, typ := range names {
		if slices.ContainsFunc(have, func(g golden) bool { return g.Type == typ }) {
			continue
		}
		msg, meta := types[typ](), new(pb.EventMeta)
		fill(msg.ProtoReflect())
		fill(meta.ProtoReflect())
		e, err := Encode(goldenStream, 1, Hash{}, meta, msg)
		if err != nil {
			t.Fatal(err)
		}
		more = append(more, golden{typ, hex.EncodeToString(e.ID[:]), hex.EncodeToString(e.Meta), hex.EncodeToString(e.Data)})
	}
	return more
}

// fill sets every field of a message.
func fill(m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		set := func(v protoreflect.Value) {
			if f.IsList() {
				m.Mutable(f).List().Append(v)
			} else {
				m.Set(f, v)
			}
		}
		switch f.Kind() {
		case protoreflect.MessageKind:
			var part protoreflect.Value
			if f.IsList() {
				part = m.NewField(f).List().NewElement()
			} else {
				part = m.NewField(f)
			}
			fill(part.Message())
			set(part)
		case protoreflect.StringKind:
			set(protoreflect.ValueOfString(string(f.Name())))
		case protoreflect.BytesKind:
			set(protoreflect.ValueOfBytes([]byte(f.Name())))
		case protoreflect.BoolKind:
			set(protoreflect.ValueOfBool(true))
		case protoreflect.EnumKind:
			set(protoreflect.ValueOfEnum(1))
		case protoreflect.DoubleKind:
			set(protoreflect.ValueOfFloat64(1.5))
		case protoreflect.Int32Kind:
			set(protoreflect.ValueOfInt32(int32(f.Number())))
		case protoreflect.Int64Kind:
			set(protoreflect.ValueOfInt64(int64(f.Number())))
		case protoreflect.Uint32Kind:
			set(protoreflect.ValueOfUint32(uint32(f.Number())))
		case protoreflect.Uint64Kind:
			set(protoreflect.ValueOfUint64(uint64(f.Number())))
		default:
			panic("no example for " + f.FullName())
		}
	}
}

// unknown names a message that has unknown fields; empty if none has.
func unknown(m protoreflect.Message) (name protoreflect.FullName) {
	if len(m.GetUnknown()) > 0 {
		return m.Descriptor().FullName()
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Kind() != protoreflect.MessageKind {
			return true
		}
		if !f.IsList() {
			name = unknown(v.Message())
			return name == ""
		}
		for i := range v.List().Len() {
			if name = unknown(v.List().Get(i).Message()); name != "" {
				return false
			}
		}
		return true
	})
	return name
}
